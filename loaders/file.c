#include "loaders/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loaders/live_paths.h"

static anx_live_paths mapped;

static const off_t max_file_bytes = (off_t)1 << 30;

/* Opens a regular file for reading; *fd and *size are set on success alone. The path is left to the caller to add. */
static anx_status open_regular(const char *path, int *fd, off_t *size, anx_error *err) {
    /* O_NONBLOCK: a FIFO must be refused, not waited for; it means nothing to regular files. */
    int opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (opened < 0)
        return anx_error_set_errno(err, errno == ENOENT ? ANX_ERR_NOT_FOUND : ANX_ERR_IO, errno, "cannot open");
    struct stat st;
    anx_status status = ANX_OK;
    if (fstat(opened, &st) != 0)
        status = anx_error_set_errno(err, ANX_ERR_IO, errno, "cannot stat");
    else if (!S_ISREG(st.st_mode))
        status = anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                               S_ISDIR(st.st_mode) ? "a folder, not a file" : "not a regular file");
    if (status != ANX_OK) {
        close(opened);
        return status;
    }
    *fd = opened;
    *size = st.st_size;
    return ANX_OK;
}

anx_status anx_read_file(const char *path, uint8_t **bytes, size_t *n_bytes, anx_error *err) {
    uint8_t *data = NULL;
    int fd = -1;
    off_t file_bytes = 0;
    anx_status status = open_regular(path, &fd, &file_bytes, err);
    if (status != ANX_OK) goto out;
    if (file_bytes > max_file_bytes) {
        status = anx_error_set(err, ANX_ERR_LIMIT, "the file has %lld bytes; at most %lld are read into memory",
                               (long long)file_bytes, (long long)max_file_bytes);
        goto out;
    }
    const size_t size = (size_t)file_bytes;
    data = malloc(size > 0 ? size : 1);
    if (data == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for %zu bytes", size);
        goto out;
    }
    size_t got = 0;
    while (got < size) {
        ssize_t n = read(fd, data + got, size - got);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            status = anx_error_set_errno(err, ANX_ERR_IO, errno, "cannot read");
            goto out;
        }
        if (n == 0) break; /* it shrank meanwhile: what is there counts */
        got += (size_t)n;
    }
    *bytes = data;
    *n_bytes = got;
    data = NULL;
out:
    anx_error_in_file(status == ANX_OK ? NULL : err, path);
    free(data);
    if (fd >= 0) close(fd);
    return status;
}

anx_status anx_file_map_init(anx_file_map *out, const char *path, anx_error *err) {
    int fd = -1;
    off_t file_bytes = 0;
    anx_status status = open_regular(path, &fd, &file_bytes, err);
    if (status != ANX_OK) goto out;
    const size_t size = (size_t)file_bytes;
    void *bytes = NULL;
    if (size > 0) {
        bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED) {
            status = anx_error_set_errno(err, ANX_ERR_IO, errno, "cannot map %zu bytes", size);
            goto out;
        }
    }
    out->bytes = bytes;
    out->n_bytes = size;
    if (bytes != NULL) anx_live_paths_add(mapped, bytes, size, path);
out:
    anx_error_in_file(status == ANX_OK ? NULL : err, path);
    if (fd >= 0) close(fd); /* the mapping keeps the file */
    return status;
}

void anx_file_map_fini(anx_file_map *map) {
    if (map == NULL) return;
    if (map->bytes != NULL) {
        anx_live_paths_remove(mapped, map->bytes);
        munmap((void *)(uintptr_t)map->bytes, map->n_bytes);
    }
    map->bytes = NULL;
    map->n_bytes = 0;
}

const char *anx_file_map_path(const void *address) {
    const uintptr_t at = (uintptr_t)address;
    for (int i = 0; i < ANX_LIVE_PATHS; i++) {
        const uintptr_t from = (uintptr_t)atomic_load(&mapped[i].key);
        if (from != 0 && at >= from && at - from < atomic_load(&mapped[i].n_bytes)) return atomic_load(&mapped[i].path);
    }
    return NULL;
}

void anx_file_map_prefetch(const anx_file_map *map) {
    if (map->bytes != NULL) (void)madvise((void *)(uintptr_t)map->bytes, map->n_bytes, MADV_WILLNEED);
}
