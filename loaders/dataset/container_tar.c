#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loaders/checkpoint/sniff.h"
#include "loaders/checkpoint/text.h"
#include "loaders/dataset/container.h"

enum { BLOCK_BYTES = 512, READ_BYTES = 4096 };
static const uint64_t max_file_bytes = (uint64_t)1 << 30; /* as anx_read_file */

typedef struct tar_walk {
    anx_listing *listing;
    anx_defects *defects;
    int64_t *n_ignored;
    struct archive *archive;
    uint64_t tar_bytes;
    uint64_t header; /* of the entry at hand */
} tar_walk;

/* A file whose data's place is known once the next entry's is: it ends, padded, where that begins. */
typedef struct pending {
    bool is_file;
    size_t file;     /* index in the listing */
    uint64_t header; /* where its first header begins */
} pending;

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

/* ---- names ---------------------------------------------------------------------------------------------- */

/* Drops parts that are empty or "."; NULL (malloc'd otherwise) where memory is out. */
static char *tidy_name(const char *name) {
    char *tidy = malloc(strlen(name) + 1), *to = tidy;
    if (tidy == NULL) return NULL;
    while (*name != '\0') {
        const size_t n = strcspn(name, "/");
        if (n > 0 && !(n == 1 && name[0] == '.')) {
            if (to > tidy) *to++ = '/';
            memcpy(to, name, n);
            to += n;
        }
        name += n;
        if (*name == '/') name++;
    }
    *to = '\0';
    return tidy;
}

static bool climbs(const char *name) {
    for (;;) {
        const size_t n = strcspn(name, "/");
        if (n == 2 && name[0] == '.' && name[1] == '.') return true;
        if (name[n] == '\0') return false;
        name += n + 1;
    }
}

/* The entry's name as its bytes are; NULL where there is none. */
static const char *entry_name(struct archive_entry *entry) {
    const char *name = archive_entry_pathname(entry);
    return name != NULL ? name : archive_entry_pathname_utf8(entry); /* the locale cannot spell it */
}

/* ---- entries -------------------------------------------------------------------------------------------- */

/* What keeps an entry with an image's name from being read in place; NULL: nothing. */
static const char *obstacle(struct archive_entry *entry, const char *name) {
    if (name[0] == '/') return "an absolute path; such an archive is not trusted";
    if (climbs(name)) return "a path that climbs with '..'; such an archive is not trusted";
    if (archive_entry_hardlink(entry) != NULL) return "a hard link to another entry; unpack the archive";
    if (archive_entry_filetype(entry) == AE_IFLNK) return "a symbolic link; unpack the archive";
    if (archive_entry_filetype(entry) != AE_IFREG) return "neither a file nor a folder";
    if (archive_entry_sparse_count(entry) > 0) return "a sparse file; unpack the archive";
    return NULL;
}

/* Whether the entry's bytes end behind the archive's, even if it has one header block alone (place() knows better). */
static bool is_cut(const tar_walk *w, struct archive_entry *entry) {
    const int64_t size = archive_entry_size(entry);
    uint64_t end;
    return size < 0 || __builtin_add_overflow(w->header + BLOCK_BYTES, (uint64_t)size, &end) || end > w->tar_bytes;
}

static void add_cut(tar_walk *w, struct archive_entry *entry, const char *name) {
    char shown[600];
    anx_defects_add(w->defects, "'%s': its %lld bytes go beyond the end of the archive, which has %llu bytes",
                    anx_text_printable(name, strlen(name), shown, sizeof shown), (long long)archive_entry_size(entry),
                    (unsigned long long)w->tar_bytes);
    anx_defects_hint(w->defects, "Is the archive complete? Compare its size with the original's.");
}

/* *cut: nothing can be found behind this entry. */
static anx_status add_file(tar_walk *w, struct archive_entry *entry, const char *name, pending *p, bool *cut,
                           anx_error *err) {
    char shown[600];
    const char *why = obstacle(entry, name);
    if (why != NULL && anx_image_extension(name) == NULL && archive_entry_filetype(entry) != AE_IFREG) {
        (*w->n_ignored)++;
        return ANX_OK;
    }
    if (why != NULL) {
        anx_defects_add(w->defects, "'%s': %s", anx_text_printable(name, strlen(name), shown, sizeof shown), why);
        return ANX_OK;
    }
    if (is_cut(w, entry)) {
        add_cut(w, entry, name);
        *cut = true;
        return ANX_OK;
    }
    char *tidy = tidy_name(name);
    if (tidy == NULL) return out_of_memory(err);
    *p = (pending){true, w->listing->n_files, w->header};
    const anx_status status = anx_listing_add(w->listing, tidy, (uint64_t)archive_entry_size(entry), 0, err);
    free(tidy);
    return status;
}

static anx_status add_folder(tar_walk *w, const char *name, anx_error *err) {
    if (name[0] == '/' || climbs(name)) return ANX_OK; /* what lies in it is refused by name */
    char *tidy = tidy_name(name);
    if (tidy == NULL) return out_of_memory(err);
    const anx_status status = tidy[0] != '\0' ? anx_listing_add_folder(w->listing, tidy, err) : ANX_OK;
    free(tidy);
    return status;
}

static anx_status add_entry(tar_walk *w, struct archive_entry *entry, pending *p, bool *cut, anx_error *err) {
    const char *name = entry_name(entry);
    if (name == NULL || name[0] == '\0') {
        anx_error_set(err, ANX_ERR_FORMAT, "an entry without a name");
        anx_error_at_offset(err, w->header);
        return ANX_ERR_FORMAT;
    }
    if (archive_entry_filetype(entry) == AE_IFDIR) return add_folder(w, name, err);
    return add_file(w, entry, name, p, cut, err);
}

/*
 * Where the pending file's data lie, now that the next entry is known to begin at `next`. Headers before it may be
 * several (long names, pax), so it is measured from the end; a file stored in another way than whole does not fit.
 */
static void place(tar_walk *w, pending *p, uint64_t next) {
    if (!p->is_file) return;
    p->is_file = false;
    anx_listed *file = &w->listing->files[p->file];
    const uint64_t padded =
        (file->file_bytes + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES; /* below tar_bytes + 512 */
    const bool fits = next >= padded && next - padded >= p->header + BLOCK_BYTES &&
                      (next - padded - p->header) % BLOCK_BYTES == 0 &&
                      next - padded + file->file_bytes <= w->tar_bytes;
    if (fits) {
        file->offset = next - padded;
        return;
    }
    char shown[600];
    anx_defects_add(w->defects, "'%s': not stored whole; unpack the archive",
                    anx_text_printable(file->name, strlen(file->name), shown, sizeof shown));
}

/* libarchive's own reason; a file of a known other kind is called by its name. */
static anx_status refuse(const tar_walk *w, int fd, anx_error *err) {
    uint8_t head[BLOCK_BYTES];
    const ssize_t n = pread(fd, head, sizeof head, 0);
    const anx_file_format *format = anx_sniff(head, n > 0 ? (size_t)n : 0);
    if (w->header == 0 && n == 0) return anx_error_set(err, ANX_ERR_FORMAT, "an empty file, not a tar archive");
    if (w->header == 0 && format->kind != ANX_FILE_UNKNOWN && strstr(format->name, "tar archive") == NULL)
        return anx_error_set(err, ANX_ERR_UNSUPPORTED,
                             "%s, not a plain tar archive; images are read in place, so an archive must be unpacked, "
                             "or decompressed to a plain tar",
                             format->name);
    const char *reason = archive_error_string(w->archive);
    const anx_status status =
        anx_error_set(err, archive_errno(w->archive) == ENOMEM ? ANX_ERR_OUT_OF_MEMORY : ANX_ERR_FORMAT,
                      w->header == 0 ? "not a tar archive: %s" : "damaged tar archive: %s",
                      reason != NULL ? reason : "libarchive gives no reason");
    if (err != NULL) err->native_code = archive_errno(w->archive);
    anx_error_at_offset(err, w->header);
    return status;
}

/* The headers at hand cannot be read, so it is said which file they follow. */
static void add_place(const char *name, anx_error *err) {
    char shown[600];
    anx_error_prefix(err, "behind '%s': ", anx_text_printable(name, strlen(name), shown, sizeof shown));
}

static anx_status walk_entries(tar_walk *w, int fd, anx_error *err) {
    pending p = {0};
    bool cut = false;
    anx_status status = ANX_OK;
    for (uint64_t count = 0; status == ANX_OK && !cut; count++) {
        struct archive_entry *entry = NULL;
        const int rc = archive_read_next_header(w->archive, &entry);
        w->header = (uint64_t)archive_read_header_position(w->archive);
        if (rc != ARCHIVE_EOF && rc != ARCHIVE_OK && rc != ARCHIVE_WARN) {
            status = refuse(w, fd, err);
            if (p.is_file) add_place(w->listing->files[p.file].name, err);
            return status;
        }
        place(w, &p, w->header);
        if (rc == ARCHIVE_EOF) return ANX_OK;
        if (count >= ANX_MAX_LISTED)
            return anx_error_set(err, ANX_ERR_LIMIT, "more than %d entries", (int)ANX_MAX_LISTED);
        status = add_entry(w, entry, &p, &cut, err);
    }
    return status;
}

/* Hands the tar's headers to libarchive; what lies between them is skipped, not read. */
static anx_status list(anx_listing *listing, int *fd, anx_defects *defects, int64_t *n_ignored, anx_error *err) {
    *fd = -1;
    *n_ignored = 0;
    const int opened = open(listing->root, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (opened < 0)
        return anx_error_set_errno(err, errno == ENOENT ? ANX_ERR_NOT_FOUND : ANX_ERR_IO, errno, "cannot open");
    tar_walk w = {.listing = listing, .defects = defects, .n_ignored = n_ignored, .archive = archive_read_new()};
    anx_status status = ANX_OK;
    struct stat st;
    if (w.archive == NULL) {
        status = out_of_memory(err);
        goto out;
    }
    if (fstat(opened, &st) != 0) {
        status = anx_error_set_errno(err, ANX_ERR_IO, errno, "cannot stat");
        goto out;
    }
    w.tar_bytes = (uint64_t)st.st_size;
    (void)posix_fadvise(opened, 0, 0, POSIX_FADV_RANDOM); /* or reading ahead would fetch all that is skipped */
    if (archive_read_support_format_tar(w.archive) != ARCHIVE_OK ||
        archive_read_open_fd(w.archive, opened, READ_BYTES) != ARCHIVE_OK)
        status = refuse(&w, opened, err);
    else
        status = walk_entries(&w, opened, err);
    (void)posix_fadvise(opened, 0, 0, POSIX_FADV_NORMAL);
out:
    archive_read_free(w.archive);
    if (status == ANX_OK)
        *fd = opened;
    else
        close(opened);
    return status;
}

static anx_status read_whole(const anx_listed *file, int fd, const char *root, uint8_t **bytes, size_t *n_bytes,
                             anx_error *err) {
    anx_status status = ANX_OK;
    uint8_t *data = NULL;
    if (file->file_bytes > max_file_bytes) {
        status = anx_error_set(err, ANX_ERR_LIMIT, "the file has %llu bytes; at most %llu are read into memory",
                               (unsigned long long)file->file_bytes, (unsigned long long)max_file_bytes);
        goto out;
    }
    const size_t size = (size_t)file->file_bytes;
    data = malloc(size > 0 ? size : 1);
    if (data == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for %zu bytes", size);
        goto out;
    }
    for (size_t got = 0; got < size;) {
        const ssize_t n = pread(fd, data + got, size - got, (off_t)(file->offset + got));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            status = n < 0 ? anx_error_set_errno(err, ANX_ERR_IO, errno, "cannot read")
                           : anx_error_set(err, ANX_ERR_IO, "the archive is shorter than when it was opened");
            goto out;
        }
        got += (size_t)n;
    }
    *bytes = data;
    *n_bytes = size;
    data = NULL;
out:
    if (status != ANX_OK) {
        anx_error_in_file(err, root);
        anx_error_in_entry(err, file->name);
    }
    free(data);
    return status;
}

static void prefetch(const anx_listed *file, int fd) {
    if (file->file_bytes > 0)
        (void)posix_fadvise(fd, (off_t)file->offset, (off_t)file->file_bytes, POSIX_FADV_WILLNEED);
}

const anx_container anx_container_tar = {
    .type = S_IFREG,
    .may_have_outer = true,
    .flat = "tar",
    .nested = "tar",
    .of_folders = " in a tar",
    .list = list,
    .read = read_whole,
    .prefetch = prefetch,
};
