#include "tools/train_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loaders/file.h"

static const char *const names[ANX_TRAIN_FILES] = {"last.pth",       "best.pth",    "last-model.pth",
                                                   "best-model.pth", "classes.tsv", "log.jsonl"};

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

/* ---- names ---------------------------------------------------------------------------------------------- */

static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return strdup(".");
    return strndup(path, slash > path ? (size_t)(slash - path) : 1);
}

anx_status anx_train_folder_init(const char *output, const char *beside, const char *log, anx_train_folder *out,
                                 anx_error *err) {
    anx_train_folder f = {.path = output != NULL ? strdup(output) : folder_of(beside)};
    bool good = f.path != NULL;
    for (size_t n = good ? strlen(f.path) : 0; n > 1 && f.path[n - 1] == '/'; n--) f.path[n - 1] = '\0';
    for (int i = 0; good && i < ANX_TRAIN_FILES; i++) {
        if (i == ANX_TRAIN_LOG && log != NULL)
            f.files[i] = strdup(log);
        else if (asprintf(&f.files[i], "%s/%s", f.path, names[i]) < 0)
            f.files[i] = NULL;
        good = f.files[i] != NULL;
    }
    if (!good) {
        anx_train_folder_fini(&f);
        return out_of_memory(err);
    }
    *out = f;
    return ANX_OK;
}

void anx_train_folder_fini(anx_train_folder *folder) {
    for (int i = 0; i < ANX_TRAIN_FILES; i++) free(folder->files[i]);
    free(folder->path);
    if (folder->locked) close(folder->lock);
    *folder = (anx_train_folder){.path = NULL};
}

bool anx_train_is_file(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool anx_train_folder_is_in(const anx_train_folder *folder, const char *outer) {
    char *parent = folder_of(folder->path);
    const bool is_in = parent != NULL && anx_file_is_same(parent, outer);
    free(parent);
    return is_in;
}

/* ---- making --------------------------------------------------------------------------------------------- */

static anx_status make_one(const char *path, anx_error *err) {
    struct stat st;
    if (mkdir(path, 0777) == 0) return ANX_OK;
    if (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return ANX_OK;
    const anx_status status = errno == EEXIST
                                  ? anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "a file, not a folder to write into")
                                  : anx_error_set_errno(err, ANX_ERR_IO, errno, "cannot make the folder");
    anx_error_in_file(err, path);
    return status;
}

anx_status anx_train_folder_make(const anx_train_folder *folder, anx_error *err) {
    anx_status status = ANX_OK;
    char *path = strdup(folder->path);
    if (path == NULL) return out_of_memory(err);
    for (char *slash = strchr(path + 1, '/'); slash != NULL && status == ANX_OK; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        status = make_one(path, err);
        *slash = '/';
    }
    if (status == ANX_OK) status = make_one(path, err);
    free(path);
    if (status != ANX_OK) return status;
    anx_file_writer *probe = NULL; /* leaves nothing behind */
    status = anx_file_writer_create(folder->files[ANX_TRAIN_LAST], true, &probe, err);
    anx_file_writer_destroy(probe);
    return status;
}

anx_status anx_train_folder_lock(anx_train_folder *folder, anx_error *err) {
    const int fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return ANX_OK;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        folder->locked = true;
        folder->lock = fd;
        return ANX_OK;
    }
    const bool taken = errno == EWOULDBLOCK;
    close(fd);
    if (!taken) return ANX_OK;
    const anx_status status = anx_error_set(err, ANX_ERR_IO, "another process is training in this folder");
    anx_error_in_file(err, folder->path);
    return status;
}

/* ---- earlier runs --------------------------------------------------------------------------------------- */

static anx_status exists(const anx_train_folder *folder, const char *path, anx_error *err) {
    const char *last = folder->files[ANX_TRAIN_LAST];
    const bool goes_on = access(last, F_OK) == 0;
    const anx_status status =
        anx_error_set(err, ANX_ERR_EXISTS,
                      "an earlier run's: give -o another folder,%s%s%s or give --force to begin anew in its place",
                      goes_on ? " go on with that run (--resume " : "", goes_on ? last : "", goes_on ? ")," : "");
    anx_error_in_file(err, path);
    return status;
}

anx_status anx_train_folder_check_empty(const anx_train_folder *folder, anx_error *err) {
    for (int i = 0; i < ANX_TRAIN_FILES; i++) {
        const char *path = folder->files[i];
        if (i == ANX_TRAIN_LOG ? anx_train_is_file(path) : access(path, F_OK) == 0) return exists(folder, path, err);
    }
    return ANX_OK;
}

anx_status anx_train_folder_clear(const anx_train_folder *folder, anx_error *err) {
    for (int i = 0; i < ANX_TRAIN_LOG; i++) {
        if (unlink(folder->files[i]) == 0 || errno == ENOENT) continue;
        const anx_status status = anx_error_set_errno(err, ANX_ERR_IO, errno, "cannot remove an earlier run's file");
        anx_error_in_file(err, folder->files[i]);
        return status;
    }
    return ANX_OK;
}

void anx_train_folder_take_back(const anx_train_folder *folder) {
    const anx_train_file made[] = {ANX_TRAIN_CLASSES, ANX_TRAIN_LOG};
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++)
        if (anx_train_is_file(folder->files[made[i]])) unlink(folder->files[made[i]]);
}

/* ".last.pth.0123abcd": as a file writer names them. */
static bool is_temporary(const char *name) {
    for (int i = 0; i < ANX_TRAIN_FILES; i++) {
        const size_t n = strlen(names[i]);
        if (name[0] == '.' && strncmp(name + 1, names[i], n) == 0 && name[n + 1] == '.' &&
            strspn(name + n + 2, "0123456789abcdef") == 8 && name[n + 10] == '\0')
            return true;
    }
    return false;
}

void anx_train_folder_sweep(const anx_train_folder *folder) {
    DIR *d = opendir(folder->path);
    if (d == NULL) return;
    for (const struct dirent *entry = readdir(d); entry != NULL; entry = readdir(d))
        if (is_temporary(entry->d_name)) unlinkat(dirfd(d), entry->d_name, 0);
    closedir(d);
}
