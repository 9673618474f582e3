#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loaders/checkpoint/text.h"
#include "loaders/dataset/container.h"
#include "loaders/file.h"

enum { MAX_FOLDERS = 1 << 18 }; /* links that fan out can multiply folders without end */

/* A folder seen on the way; they are visited in the order in which they are found. */
typedef struct visit {
    char *name; /* below the root, "" for the root itself */
    size_t parent;
    dev_t device;
    ino_t inode;
} visit;

typedef struct walk {
    anx_listing *listing;
    anx_defects *defects;
    visit *visits; /* (n) */
    size_t n, capacity;
} walk;

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

/* FOLDER/NAME, or NAME below the root; malloc'd. */
static char *join(const char *folder, const char *name) {
    const size_t a = strlen(folder), b = strlen(name);
    char *path = malloc(a + b + 2);
    if (path == NULL) return NULL;
    memcpy(path, folder, a);
    if (a > 0) path[a] = '/';
    memcpy(path + a + (a > 0), name, b + 1);
    return path;
}

static anx_status add_visit(walk *w, char *name, size_t parent, anx_error *err) {
    if (w->n == MAX_FOLDERS)
        return anx_error_set(err, ANX_ERR_LIMIT, "more than %d folders; do symbolic links lead in many ways there?",
                             (int)MAX_FOLDERS);
    if (w->n == w->capacity) {
        const size_t more = w->n == 0 ? 1024 : 2 * w->n;
        visit *visits = reallocarray(w->visits, more, sizeof *visits);
        if (visits == NULL) return out_of_memory(err);
        w->visits = visits;
        w->capacity = more;
    }
    w->visits[w->n++] = (visit){.name = name, .parent = parent};
    return ANX_OK;
}

/* The folder above visit i that is the same one: then a symbolic link led back to it. NULL: there is none. */
static const visit *same_above(const walk *w, size_t i) {
    const visit *v = &w->visits[i];
    while (i > 0) {
        i = w->visits[i].parent;
        const visit *above = &w->visits[i];
        if (above->device == v->device && above->inode == v->inode) return above;
    }
    return NULL;
}

static void add_cycle(const walk *w, size_t i, const visit *above) {
    char name[400], back[400];
    anx_text_printable(w->visits[i].name, strlen(w->visits[i].name), name, sizeof name);
    anx_text_printable(above->name, strlen(above->name), back, sizeof back);
    anx_defects_add(w->defects, "'%s': a symbolic link back to %s%s%s, which holds it", name,
                    above->name[0] != '\0' ? "'" : "the dataset's folder", back, above->name[0] != '\0' ? "'" : "");
    anx_defects_hint(w->defects, "torchvision would count the same files again and again there, up to 40 times.");
}

/* os.DirEntry.is_dir: follows links, false for those that lead nowhere. Sets the size of what is no folder. */
static bool is_folder(int fd, const struct dirent *entry, uint64_t *file_bytes) {
    struct stat st;
    *file_bytes = 0;
    if (entry->d_type == DT_DIR) return true;
    if (fstatat(fd, entry->d_name, &st, 0) != 0) return false;
    if (S_ISREG(st.st_mode)) *file_bytes = (uint64_t)st.st_size;
    return S_ISDIR(st.st_mode);
}

static anx_status add_entry(walk *w, size_t i, int fd, const struct dirent *entry, anx_error *err) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) return ANX_OK;
    char *name = join(w->visits[i].name, entry->d_name);
    if (name == NULL) return out_of_memory(err);
    uint64_t file_bytes;
    anx_status status = ANX_OK;
    if (!is_folder(fd, entry, &file_bytes)) {
        status = anx_listing_add(w->listing, name, file_bytes, 0, err);
    } else {
        if (i == 0) status = anx_listing_add_folder(w->listing, name, err);
        if (status == ANX_OK) status = add_visit(w, name, i, err);
        if (status == ANX_OK) name = NULL; /* the visit's now */
    }
    free(name);
    return status;
}

static anx_status read_entries(walk *w, size_t i, DIR *dir, anx_error *err) {
    struct stat st;
    if (fstat(dirfd(dir), &st) != 0) return anx_error_set_errno(err, ANX_ERR_IO, errno, "cannot stat");
    w->visits[i].device = st.st_dev;
    w->visits[i].inode = st.st_ino;
    const visit *above = same_above(w, i);
    if (above != NULL) {
        add_cycle(w, i, above);
        return ANX_OK;
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL && errno != 0) return anx_error_set_errno(err, ANX_ERR_IO, errno, "cannot read the folder");
        if (entry == NULL) return ANX_OK;
        const anx_status status = add_entry(w, i, dirfd(dir), entry, err);
        if (status != ANX_OK) return status;
    }
}

static anx_status visit_folder(walk *w, size_t i, anx_error *err) {
    char *path = i == 0 ? strdup(w->listing->root) : join(w->listing->root, w->visits[i].name);
    if (path == NULL) return out_of_memory(err);
    anx_status status = ANX_OK;
    DIR *dir = opendir(path);
    if (dir != NULL)
        status = read_entries(w, i, dir, err);
    else if (i == 0 || (errno != ENOENT && errno != ELOOP && errno != ENOTDIR)) /* os.walk skips all of them */
        status =
            anx_error_set_errno(err, errno == ENOENT ? ANX_ERR_NOT_FOUND : ANX_ERR_IO, errno, "cannot open the folder");
    if (dir != NULL) closedir(dir);
    if (status != ANX_OK) anx_error_in_file(err, path);
    free(path);
    return status;
}

/* As os.walk(followlinks=True) from each of the folders in the root; unlike it, it stops at links that lead back. */
static anx_status list(anx_listing *listing, int *fd, anx_defects *defects, int64_t *n_ignored, anx_error *err) {
    walk w = {.listing = listing, .defects = defects};
    *fd = -1;
    *n_ignored = 0;
    char *root = strdup("");
    anx_status status = root != NULL ? add_visit(&w, root, 0, err) : out_of_memory(err);
    for (size_t i = 0; status == ANX_OK && i < w.n; i++) status = visit_folder(&w, i, err);
    for (size_t i = 0; i < w.n; i++) free(w.visits[i].name);
    if (w.n == 0) free(root);
    free(w.visits);
    return status;
}

static anx_status read_whole(const anx_listed *file, int fd, const char *root, uint8_t **bytes, size_t *n_bytes,
                             anx_error *err) {
    (void)fd;
    (void)root;
    return anx_read_file(file->path, bytes, n_bytes, err);
}

static void prefetch(const anx_listed *file, int kept) {
    (void)kept;
    const int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED);
    close(fd);
}

const anx_container anx_container_folder = {
    .type = S_IFDIR,
    .flat = "flat folder",
    .nested = "folders",
    .of_folders = "",
    .list = list,
    .read = read_whole,
    .prefetch = prefetch,
};
