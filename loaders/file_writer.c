#include "loaders/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "loaders/live_paths.h"
#include "src/base/interrupt.h"

static anx_live_paths temporaries;

enum { buffer_bytes = 1 << 16, writeback_bytes = 8 << 20 };

struct anx_file_writer {
    char *path;   /* as given: what messages name */
    char *target; /* the same with links resolved */
    char *temp;   /* beside target; NULL when writing to a device directly or once it has become the target */
    int fd;
    bool force;
    uint64_t offset;          /* bytes appended, buffered ones included */
    uint64_t handed, started; /* bytes given to the system; ... and those of them it was told to write to the disk */
    size_t buffered;
    uint8_t buffer[buffer_bytes];
};

static anx_status fail_errno(const anx_file_writer *w, anx_error *err, const char *what) {
    anx_status status = anx_error_set_errno(err, ANX_ERR_IO, errno, "%s", what);
    anx_error_in_file(err, w->path);
    return status;
}

static anx_status fail_exists(const anx_file_writer *w, anx_error *err) {
    anx_status status = anx_error_set(err, ANX_ERR_EXISTS, "exists already and is not overwritten unless forced");
    anx_error_in_file(err, w->path);
    return status;
}

static anx_status fail_memory(anx_error *err, const char *path) {
    anx_status status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    anx_error_in_file(err, path);
    return status;
}

/* Creates ".NAME.XXXXXXXX" beside the target; mkstemp would not honour the umask. */
static anx_status create_temp(anx_file_writer *w, anx_error *err) {
    const char *slash = strrchr(w->target, '/');
    const int folder_len = slash != NULL ? (int)(slash + 1 - w->target) : 0;
    const char *name = w->target + folder_len;
    for (int attempt = 0; attempt < 100; attempt++) {
        uint32_t tag = 0;
        if (getrandom(&tag, sizeof tag, GRND_NONBLOCK) != (ssize_t)sizeof tag)
            tag = (uint32_t)getpid() + (uint32_t)attempt;
        char *temp = NULL;
        /* The name is shortened so that a target of the greatest length still has room for the tag. */
        if (asprintf(&temp, "%.*s.%.200s.%08x", folder_len, w->target, name, tag) < 0) return fail_memory(err, w->path);
        w->fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (w->fd >= 0) {
            w->temp = temp;
            anx_live_paths_add(temporaries, w, 0, temp);
            return ANX_OK;
        }
        free(temp);
        if (errno != EEXIST) break;
    }
    const anx_status kind = errno == ENOENT || errno == ENOTDIR ? ANX_ERR_NOT_FOUND : ANX_ERR_IO;
    anx_status status = anx_error_set_errno(err, kind, errno, "cannot create a file in its folder");
    anx_error_in_file(err, w->path);
    return status;
}

anx_status anx_file_writer_create(const char *path, bool force, anx_file_writer **out, anx_error *err) {
    anx_status status = ANX_OK;
    if (path[0] == '\0') return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "an empty file name to write to");
    anx_file_writer *w = malloc(sizeof *w);
    if (w == NULL) return fail_memory(err, path);
    *w = (anx_file_writer){.fd = -1, .force = force};
    anx_interrupt_hold(); /* until the writer is destroyed, which removes the temporary file */
    w->path = strdup(path);
    if (w->path == NULL) {
        status = fail_memory(err, path);
        goto out;
    }
    struct stat st;
    const bool there = stat(path, &st) == 0;
    if (there && S_ISDIR(st.st_mode)) {
        status = anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "a folder; a file name to write to was expected");
        anx_error_in_file(err, path);
        goto out;
    }
    if (there && !S_ISREG(st.st_mode)) { /* a temporary file renamed over a device would destroy the device */
        w->fd = open(path, O_WRONLY | O_CLOEXEC);
        if (w->fd < 0) status = fail_errno(w, err, "cannot open for writing");
        goto out;
    }
    if (there && !force) {
        status = fail_exists(w, err);
        goto out;
    }
    w->target = there ? realpath(path, NULL) : strdup(path);
    if (w->target == NULL) {
        status = there ? fail_errno(w, err, "cannot resolve the path") : fail_memory(err, path);
        goto out;
    }
    status = create_temp(w, err);
out:
    if (status == ANX_OK)
        *out = w;
    else
        anx_file_writer_destroy(w);
    return status;
}

anx_status anx_file_writer_stdout(anx_file_writer **out, anx_error *err) {
    static const char name[] = "standard output";
    anx_file_writer *w = malloc(sizeof *w);
    if (w == NULL) return fail_memory(err, name);
    *w = (anx_file_writer){.fd = -1};
    anx_interrupt_hold();
    w->path = strdup(name);
    anx_status status = w->path != NULL ? ANX_OK : fail_memory(err, name);
    if (status == ANX_OK) {
        w->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
        if (w->fd < 0) status = fail_errno(w, err, "cannot write");
    }
    if (status == ANX_OK)
        *out = w;
    else
        anx_file_writer_destroy(w);
    return status;
}

static anx_status write_all(anx_file_writer *w, const uint8_t *data, size_t n_bytes, anx_error *err) {
    while (n_bytes > 0) {
        ssize_t n = write(w->fd, data, n_bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(w, err, "cannot write");
        data += n;
        n_bytes -= (size_t)n;
        w->handed += (uint64_t)n;
    }
    /* The disk begins while more is coming: the fsync at the end then waits for less. A hint: it may fail. */
    if (w->temp != NULL && w->handed - w->started >= writeback_bytes) {
        (void)sync_file_range(w->fd, (off_t)w->started, (off_t)(w->handed - w->started), SYNC_FILE_RANGE_WRITE);
        w->started = w->handed;
    }
    return ANX_OK;
}

static anx_status flush(anx_file_writer *w, anx_error *err) {
    const size_t n_bytes = w->buffered;
    w->buffered = 0;
    return write_all(w, w->buffer, n_bytes, err);
}

anx_status anx_file_writer_write(anx_file_writer *writer, const void *data, size_t n_bytes, anx_error *err) {
    anx_file_writer *w = writer;
    if (anx_interrupt_requested()) {
        anx_error_set(err, ANX_ERR_INTERRUPTED,
                      w->temp != NULL ? "interrupted; nothing was written"
                                      : "interrupted; what came before that was written, and is not all");
        anx_error_in_file(err, w->path);
        return ANX_ERR_INTERRUPTED;
    }
    if (n_bytes > buffer_bytes - w->buffered) {
        anx_status status = flush(w, err);
        if (status != ANX_OK) return status;
    }
    if (n_bytes > buffer_bytes) {
        anx_status status = write_all(w, data, n_bytes, err);
        if (status != ANX_OK) return status;
    } else if (n_bytes > 0) {
        memcpy(w->buffer + w->buffered, data, n_bytes);
        w->buffered += n_bytes;
    }
    w->offset += n_bytes;
    return ANX_OK;
}

anx_status anx_file_writer_expect(anx_file_writer *writer, uint64_t n_bytes, anx_error *err) {
    struct statvfs fs;
    /* Devices and pipes have no room to ask for; f_blocks is 0 where a file system does not say. */
    if (writer->temp == NULL || fstatvfs(writer->fd, &fs) != 0 || fs.f_blocks == 0 || fs.f_frsize == 0) return ANX_OK;
    if (n_bytes / fs.f_frsize + (n_bytes % fs.f_frsize != 0) <= fs.f_bavail) return ANX_OK;
    anx_status status =
        anx_error_set(err, ANX_ERR_IO, "needs %llu bytes, and %llu are free on its file system",
                      (unsigned long long)n_bytes, (unsigned long long)fs.f_bavail * (unsigned long long)fs.f_frsize);
    anx_error_in_file(err, writer->path);
    return status;
}

uint64_t anx_file_writer_offset(const anx_file_writer *writer) {
    return writer->offset;
}

static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? strdup(".") : strndup(path, (size_t)(slash + 1 - path));
}

/* The rename is on the disk once the folder is; file systems that cannot sync a folder say EINVAL, and are let be. */
static anx_status sync_folder(const anx_file_writer *w, const char *folder, anx_error *err) {
    anx_status status = ANX_OK;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        if (fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP)
            status = fail_errno(w, err, "cannot sync its folder");
        close(fd);
    } /* a folder that may be written to but not read cannot be synced */
    return status;
}

/* link() refuses an existing target atomically; where a file system has no links the target is looked for first. */
static anx_status take_free_name(anx_file_writer *w, anx_error *err) {
    if (link(w->temp, w->target) == 0) {
        unlink(w->temp);
        return ANX_OK;
    }
    if (errno == EEXIST) return fail_exists(w, err);
    struct stat st;
    if (lstat(w->target, &st) == 0) return fail_exists(w, err);
    return rename(w->temp, w->target) == 0 ? ANX_OK : fail_errno(w, err, "cannot rename the finished file");
}

anx_status anx_file_writer_commit(anx_file_writer *writer, anx_error *err) {
    anx_file_writer *w = writer;
    anx_status status = flush(w, err);
    if (status != ANX_OK || w->temp == NULL) return status;
    if (fsync(w->fd) != 0) return fail_errno(w, err, "cannot sync to the disk");
    char *folder = folder_of(w->target); /* now: behind the rename there is no failing for want of memory */
    if (folder == NULL) return fail_memory(err, w->path);
    if (!w->force)
        status = take_free_name(w, err);
    else if (rename(w->temp, w->target) != 0)
        status = fail_errno(w, err, "cannot rename the finished file");
    if (status == ANX_OK) {
        anx_live_paths_remove(temporaries, w);
        free(w->temp);
        w->temp = NULL;
        status = sync_folder(w, folder, err);
    }
    free(folder);
    return status;
}

void anx_file_writer_destroy(anx_file_writer *writer) {
    if (writer == NULL) return;
    if (writer->fd >= 0) close(writer->fd);
    if (writer->temp != NULL) unlink(writer->temp);
    anx_live_paths_remove(temporaries, writer);
    free(writer->temp);
    free(writer->target);
    free(writer->path);
    free(writer);
    anx_interrupt_release();
}

anx_status anx_file_replace(const char *path, const void *data, size_t n_bytes, anx_error *err) {
    anx_file_writer *file = NULL;
    anx_status status = anx_file_writer_create(path, true, &file, err);
    if (status == ANX_OK) status = anx_file_writer_write(file, data, n_bytes, err);
    if (status == ANX_OK) status = anx_file_writer_commit(file, err);
    anx_file_writer_destroy(file);
    return status;
}

void anx_file_writers_abandon(void) {
    for (int i = 0; i < ANX_LIVE_PATHS; i++) {
        const char *path = atomic_load(&temporaries[i].key) != NULL ? atomic_load(&temporaries[i].path) : NULL;
        if (path != NULL) unlink(path);
    }
}

/* ---- files that one means by two names ------------------------------------------------------------------ */

static bool is_one(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* The folder that a path's last part is in, and that part. */
static bool find_folder(const char *path, struct stat *folder, const char **name) {
    const char *slash = strrchr(path, '/');
    *name = slash != NULL ? slash + 1 : path;
    char *text = slash != NULL ? strndup(path, (size_t)(slash + 1 - path)) : strdup(".");
    const bool found = text != NULL && stat(text, folder) == 0;
    free(text);
    return found;
}

bool anx_file_is_same(const char *a, const char *b) {
    struct stat x, y;
    const char *name_a, *name_b;
    const bool has_a = stat(a, &x) == 0, has_b = stat(b, &y) == 0;
    if (has_a || has_b) return has_a && has_b && is_one(&x, &y);
    return find_folder(a, &x, &name_a) && find_folder(b, &y, &name_b) && is_one(&x, &y) && strcmp(name_a, name_b) == 0;
}

bool anx_file_is_standard_output(const char *path) {
    struct stat named, out;
    return stat(path, &named) == 0 && fstat(STDOUT_FILENO, &out) == 0 && is_one(&named, &out);
}
