#include "loaders/image/preprocess.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const off_t max_file_bytes = (off_t)1 << 30;

anx_status anx_read_file(const char *path, uint8_t **bytes, size_t *n_bytes, anx_error *err) {
    anx_status status = ANX_OK;
    uint8_t *data = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        status = anx_error_set_errno(err, errno == ENOENT ? ANX_ERR_NOT_FOUND : ANX_ERR_IO, errno, "cannot open");
        goto out;
    }
    struct stat st;
    if (fstat(fd, &st) != 0) {
        status = anx_error_set_errno(err, ANX_ERR_IO, errno, "cannot stat");
        goto out;
    }
    if (!S_ISREG(st.st_mode)) {
        status = anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "not a regular file");
        goto out;
    }
    if (st.st_size > max_file_bytes) {
        status = anx_error_set(err, ANX_ERR_LIMIT, "the file has %lld bytes; at most %lld are read into memory",
                               (long long)st.st_size, (long long)max_file_bytes);
        goto out;
    }
    const size_t size = (size_t)st.st_size;
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
