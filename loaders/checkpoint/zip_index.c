#include "loaders/checkpoint/zip_index.h"

#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/text.h"
#include "src/base/checked.h"

enum {
    local_bytes = 30,
    central_bytes = 46,
    end_bytes = 22,
    end64_bytes = 56,
    locator_bytes = 20,
    max_comment_bytes = 65535,
    max_entries = 1 << 17, /* libzip and the index take about 400 bytes for each */

    local_signature = 0x04034b50,
    central_signature = 0x02014b50,
    end_signature = 0x06054b50,
    end64_signature = 0x06064b50,
    locator_signature = 0x07064b50,
    descriptor_signature = 0x08074b50,

    extra_zip64 = 1,

    flag_encrypted = 1 << 0,
    flag_options = 3 << 1, /* of compression methods other than "stored" */
    flag_descriptor = 1 << 3,
    flag_strong_encryption = 1 << 6,
    flag_utf8 = 1 << 11,
    flag_masked_headers = 1 << 13
};

static const uint32_t full32 = 0xffffffff;
static const uint16_t full16 = 0xffff;

static uint16_t le16(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t le32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t le64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

#define FORMAT_AT(err, at, ...) format_at(anx_error_set((err), ANX_ERR_FORMAT, __VA_ARGS__), (err), (at))

static anx_status format_at(anx_status status, anx_error *err, uint64_t offset) {
    anx_error_at_offset(err, offset);
    return status;
}

/* Adds the entry to an error; offsets in messages about entries are spelt out, since err->offset is within the entry.
 */
static anx_status in_entry(anx_status status, anx_error *err, const char *name, size_t name_bytes) {
    char text[200];
    if (status != ANX_OK) anx_error_in_entry(err, anx_text_printable(name, name_bytes, text, sizeof text));
    return status;
}

/* ---- end records ---------------------------------------------------------------------------------------- */

/* Where the central directory lies and how many entries it has. */
typedef struct directory {
    uint64_t offset, n_bytes, count;
} directory;

static bool find_end(const uint8_t *bytes, size_t n_bytes, size_t *at) {
    if (n_bytes < end_bytes) return false;
    const size_t last = n_bytes - end_bytes;
    const size_t first = last > max_comment_bytes ? last - max_comment_bytes : 0;
    for (size_t i = last + 1; i-- > first;) {
        if (le32(bytes + i) != end_signature || le16(bytes + i + 20) != n_bytes - i - end_bytes) continue;
        *at = i;
        return true;
    }
    return false;
}

/* The zip64 end record before `locator`; the 32-bit record's fields must be equal or saturated. */
static anx_status read_end64(const anx_zip_index *z, size_t locator, const directory *small, directory *out,
                             size_t *directory_end, anx_error *err) {
    const uint8_t *p = z->bytes + locator;
    const uint64_t at = le64(p + 8);
    if (le32(p + 4) != 0 || le32(p + 16) != 1)
        return FORMAT_AT(err, locator, "the archive claims to be split over several disks");
    if (locator < end64_bytes || at > locator - end64_bytes || le32(z->bytes + at) != end64_signature)
        return FORMAT_AT(err, locator, "the zip64 locator points to byte %llu, where no zip64 end record is",
                         (unsigned long long)at);
    p = z->bytes + at;
    if (le64(p + 4) != locator - at - 12)
        return FORMAT_AT(err, at, "the zip64 end record does not reach to its locator");
    if (le32(p + 16) != 0 || le32(p + 20) != 0 || le64(p + 24) != le64(p + 32))
        return FORMAT_AT(err, at, "the archive claims to be split over several disks");
    *out = (directory){.offset = le64(p + 48), .n_bytes = le64(p + 40), .count = le64(p + 32)};
    if ((small->offset != out->offset && small->offset != full32) ||
        (small->n_bytes != out->n_bytes && small->n_bytes != full32) ||
        (small->count != out->count && small->count != full16))
        return FORMAT_AT(err, at, "the zip64 end record and the end record disagree");
    *directory_end = (size_t)at;
    return ANX_OK;
}

static anx_status read_end(const anx_zip_index *z, directory *out, anx_error *err) {
    size_t end = 0;
    if (!find_end(z->bytes, z->n_bytes, &end))
        return FORMAT_AT(err, z->n_bytes,
                         "the zip archive has no end record: the file is truncated, or has something appended");
    const uint8_t *p = z->bytes + end;
    directory d = {.offset = le32(p + 16), .n_bytes = le32(p + 12), .count = le16(p + 10)};
    if (le16(p + 4) != 0 || le16(p + 6) != 0 || le16(p + 8) != d.count)
        return FORMAT_AT(err, end, "the archive claims to be split over several disks");
    size_t directory_end = end;
    if (end >= locator_bytes && le32(p - locator_bytes) == locator_signature) {
        const directory small = d;
        anx_status status = read_end64(z, end - locator_bytes, &small, &d, &directory_end, err);
        if (status != ANX_OK) return status;
    } else if (d.offset == full32 || d.n_bytes == full32 || d.count == full16) {
        return FORMAT_AT(err, end, "the end record refers to a zip64 end record, which is missing");
    }
    if (d.offset > directory_end || d.n_bytes != directory_end - d.offset)
        return FORMAT_AT(err, end,
                         "the end record places the central directory at byte %llu with %llu bytes; it must end at "
                         "byte %zu",
                         (unsigned long long)d.offset, (unsigned long long)d.n_bytes, directory_end);
    if (d.count > d.n_bytes / central_bytes)
        return FORMAT_AT(err, end, "the end record counts %llu entries; a directory of %llu bytes cannot hold them",
                         (unsigned long long)d.count, (unsigned long long)d.n_bytes);
    if (d.count > max_entries)
        return anx_error_set(err, ANX_ERR_LIMIT, "the archive has %llu entries; at most %d are taken",
                             (unsigned long long)d.count, (int)max_entries);
    *out = d;
    return ANX_OK;
}

/* ---- extra fields --------------------------------------------------------------------------------------- */

/*
 * Walks the extra fields and finds the zip64 one. *zip64 is NULL where there is none. False where the fields do not
 * fill n exactly.
 */
static bool find_zip64(const uint8_t *extra, size_t n, const uint8_t **zip64, size_t *zip64_bytes) {
    *zip64 = NULL;
    *zip64_bytes = 0;
    while (n > 0) {
        if (n < 4) return false;
        const size_t id = le16(extra), length = le16(extra + 2);
        if (length > n - 4) return false;
        if (id == extra_zip64 && *zip64 == NULL) {
            *zip64 = extra + 4;
            *zip64_bytes = length;
        }
        extra += 4 + length;
        n -= 4 + length;
    }
    return true;
}

/* Replaces a saturated 32-bit value by the next 64-bit one of the zip64 field. False where there is none left. */
static bool widen(uint64_t *value, const uint8_t **zip64, size_t *zip64_bytes) {
    if (*value != full32) return true;
    if (*zip64_bytes < 8) return false;
    *value = le64(*zip64);
    *zip64 += 8;
    *zip64_bytes -= 8;
    return true;
}

/* ---- the central directory ------------------------------------------------------------------------------ */

static anx_status read_central(anx_zip_index *z, uint64_t at, uint64_t end, anx_zip_entry *e, char **names,
                               uint64_t *next, anx_error *err) {
    if (end - at < central_bytes || le32(z->bytes + at) != central_signature)
        return FORMAT_AT(err, at, "a central directory entry was expected");
    const uint8_t *p = z->bytes + at;
    const size_t name_bytes = le16(p + 28), extra_bytes = le16(p + 30), comment_bytes = le16(p + 32);
    if (name_bytes + extra_bytes + comment_bytes > end - at - central_bytes)
        return FORMAT_AT(err, at, "a central directory entry reaches beyond the directory");
    *e = (anx_zip_entry){.name = *names,
                         .name_bytes = name_bytes,
                         .header_offset = le32(p + 42),
                         .packed_bytes = le32(p + 20),
                         .n_bytes = le32(p + 24),
                         .crc = le32(p + 16),
                         .method = le16(p + 10),
                         .flags = le16(p + 8)};
    memcpy(*names, p + central_bytes, name_bytes);
    (*names)[name_bytes] = '\0';
    *names += name_bytes + 1;
    if (name_bytes == 0) return FORMAT_AT(err, at, "a central directory entry without a name");
    if (memchr(e->name, '\0', name_bytes) != NULL)
        return FORMAT_AT(err, at, "a central directory entry has a NUL in its name");
    const uint8_t *zip64;
    size_t zip64_bytes;
    if (!find_zip64(p + central_bytes + name_bytes, extra_bytes, &zip64, &zip64_bytes))
        return in_entry(anx_error_set(err, ANX_ERR_FORMAT, "its extra fields in the directory are malformed"), err,
                        e->name, name_bytes);
    if (!widen(&e->n_bytes, &zip64, &zip64_bytes) || !widen(&e->packed_bytes, &zip64, &zip64_bytes) ||
        !widen(&e->header_offset, &zip64, &zip64_bytes))
        return in_entry(anx_error_set(err, ANX_ERR_FORMAT, "its zip64 sizes are missing from the directory"), err,
                        e->name, name_bytes);
    if (le16(p + 34) != 0)
        return in_entry(anx_error_set(err, ANX_ERR_FORMAT, "it claims to be on another disk"), err, e->name,
                        name_bytes);
    *next = at + central_bytes + name_bytes + extra_bytes + comment_bytes;
    return ANX_OK;
}

anx_status anx_zip_index_create(const uint8_t *bytes, size_t n_bytes, anx_zip_index **out, anx_error *err) {
    anx_zip_index *z = calloc(1, sizeof *z);
    if (z == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    z->bytes = bytes;
    z->n_bytes = n_bytes;
    directory d = {0};
    anx_status status = read_end(z, &d, err);
    if (status != ANX_OK) goto out;
    z->records_end = d.offset;
    /* Each entry takes more bytes in the directory than its name and terminator do here. */
    z->names = malloc((size_t)d.n_bytes + 1);
    z->entries = calloc((size_t)d.count + 1, sizeof *z->entries);
    if (z->names == NULL || z->entries == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
        goto out;
    }
    uint64_t at = d.offset;
    const uint64_t end = d.offset + d.n_bytes;
    char *names = z->names;
    for (; z->count < d.count; z->count++) {
        status = read_central(z, at, end, &z->entries[z->count], &names, &at, err);
        if (status != ANX_OK) goto out;
    }
    if (at != end)
        status = FORMAT_AT(err, at, "%llu bytes after the last of the central directory's %zu entries",
                           (unsigned long long)(end - at), z->count);
out:
    if (status == ANX_OK)
        *out = z;
    else
        anx_zip_index_destroy(z);
    return status;
}

void anx_zip_index_destroy(anx_zip_index *index) {
    if (index == NULL) return;
    free(index->by_name);
    free(index->entries);
    free(index->names);
    free(index);
}

/* ---- names ---------------------------------------------------------------------------------------------- */

static unsigned fold(char c) {
    return (unsigned)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c) & 0xffu;
}

static int compare_folded(const char *a, size_t a_bytes, const char *b, size_t b_bytes) {
    for (size_t i = 0; i < a_bytes && i < b_bytes; i++)
        if (fold(a[i]) != fold(b[i])) return fold(a[i]) < fold(b[i]) ? -1 : 1;
    return a_bytes < b_bytes ? -1 : a_bytes > b_bytes;
}

static int by_folded_name(const void *a, const void *b, void *entries) {
    const anx_zip_entry *x = (const anx_zip_entry *)entries + *(const size_t *)a;
    const anx_zip_entry *y = (const anx_zip_entry *)entries + *(const size_t *)b;
    return compare_folded(x->name, x->name_bytes, y->name, y->name_bytes);
}

static anx_status sort_names(anx_zip_index *z, anx_error *err) {
    z->by_name = calloc(z->count + 1, sizeof *z->by_name);
    if (z->by_name == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    for (size_t i = 0; i < z->count; i++) z->by_name[i] = i;
    qsort_r(z->by_name, z->count, sizeof *z->by_name, by_folded_name, z->entries);
    for (size_t i = 1; i < z->count; i++) {
        if (by_folded_name(&z->by_name[i - 1], &z->by_name[i], z->entries) != 0) continue;
        const anx_zip_entry *a = &z->entries[z->by_name[i - 1]], *b = &z->entries[z->by_name[i]];
        return in_entry(anx_error_set(err, ANX_ERR_FORMAT, "the name occurs twice%s, at bytes %llu and %llu",
                                      strcmp(a->name, b->name) == 0 ? "" : " but for upper and lower case",
                                      (unsigned long long)a->header_offset, (unsigned long long)b->header_offset),
                        err, b->name, b->name_bytes);
    }
    return ANX_OK;
}

const anx_zip_entry *anx_zip_index_find(const anx_zip_index *index, const char *name, size_t name_bytes) {
    size_t low = 0, high = index->count;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        const anx_zip_entry *e = &index->entries[index->by_name[mid]];
        const int order = compare_folded(e->name, e->name_bytes, name, name_bytes);
        if (order == 0) return memcmp(e->name, name, name_bytes) == 0 ? e : NULL;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

/* No part is "..", no leading slash, no drive: names that would leave the folder an archive is unpacked in. */
static bool name_is_safe(const char *name) {
    if (name[0] == '/' || name[0] == '\\' || (name[0] != '\0' && name[1] == ':' && name[2] == '\\')) return false;
    for (const char *part = name; part != NULL;) {
        const size_t length = strcspn(part, "/");
        if (length == 2 && part[0] == '.' && part[1] == '.') return false;
        part = part[length] == '/' ? part + length + 1 : NULL;
    }
    return true;
}

/* ---- local headers -------------------------------------------------------------------------------------- */

static anx_status check_method(const anx_zip_entry *e, anx_error *err) {
    if ((e->flags & (flag_encrypted | flag_strong_encryption | flag_masked_headers)) != 0)
        return anx_error_set(err, ANX_ERR_UNSUPPORTED, "it is encrypted");
    const int unknown = e->flags & ~(flag_options | flag_descriptor | flag_utf8);
    if (unknown != 0)
        return anx_error_set(err, ANX_ERR_UNSUPPORTED, "it has general purpose flags 0x%04x set, which are not known",
                             (unsigned)unknown);
    if (e->method != 0)
        return anx_error_set(err, ANX_ERR_UNSUPPORTED,
                             "it is compressed (method %d); checkpoints are stored uncompressed: unpack the archive "
                             "and pack it again with `zip -0 -r`, or save it again with torch.save",
                             e->method);
    if (e->packed_bytes != e->n_bytes)
        return anx_error_set(err, ANX_ERR_FORMAT, "it is stored, yet its sizes are %llu packed and %llu unpacked",
                             (unsigned long long)e->packed_bytes, (unsigned long long)e->n_bytes);
    return ANX_OK;
}

/*
 * The descriptor after the data of an entry whose local header was written before its CRC was known: an optional
 * signature, CRC, and two sizes of 4 or 8 bytes. All four forms occur; the one that says what the directory says
 * counts.
 */
static bool find_descriptor(const anx_zip_index *z, const anx_zip_entry *e, uint64_t at, uint64_t *end) {
    static const struct { int signature, size; } forms[] = {{4, 4}, {4, 8}, {0, 4}, {0, 8}};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        const uint64_t length = (uint64_t)(forms[i].signature + 4 + 2 * forms[i].size);
        if (length > z->records_end - at) continue;
        const uint8_t *p = z->bytes + at;
        if (forms[i].signature != 0 && le32(p) != descriptor_signature) continue;
        p += forms[i].signature;
        const uint64_t packed = forms[i].size == 8 ? le64(p + 4) : le32(p + 4);
        const uint64_t unpacked = forms[i].size == 8 ? le64(p + 12) : le32(p + 8);
        if (le32(p) != e->crc || packed != e->packed_bytes || unpacked != e->n_bytes) continue;
        *end = at + length;
        return true;
    }
    return false;
}

/* Where a descriptor follows, the local header may leave a field 0. */
static bool agrees(uint64_t local, uint64_t central, bool deferred) {
    return local == central || (deferred && local == 0);
}

static anx_status locate(const anx_zip_index *z, anx_zip_entry *e, anx_error *err) {
    const unsigned long long at = e->header_offset;
    if (e->header_offset > z->records_end || z->records_end - e->header_offset < local_bytes ||
        le32(z->bytes + e->header_offset) != local_signature)
        return anx_error_set(err, ANX_ERR_FORMAT, "no local header at byte %llu, where the directory places it", at);
    const uint8_t *p = z->bytes + e->header_offset;
    const size_t name_bytes = le16(p + 26), extra_bytes = le16(p + 28);
    const uint64_t left = z->records_end - e->header_offset - local_bytes;
    if (name_bytes + extra_bytes > left)
        return anx_error_set(err, ANX_ERR_FORMAT, "its local header at byte %llu reaches into the directory", at);
    if (name_bytes != e->name_bytes || memcmp(p + local_bytes, e->name, name_bytes) != 0) {
        char text[200];
        return anx_error_set(err, ANX_ERR_FORMAT, "its local header at byte %llu has another name: '%s'", at,
                             anx_text_printable(p + local_bytes, name_bytes, text, sizeof text));
    }
    if (le16(p + 6) != e->flags || le16(p + 8) != e->method)
        return anx_error_set(
            err, ANX_ERR_FORMAT,
            "its local header at byte %llu has flags 0x%04x and method %d, the directory 0x%04x and %d", at,
            le16(p + 6), le16(p + 8), e->flags, e->method);
    const uint8_t *zip64;
    size_t zip64_bytes;
    uint64_t packed = le32(p + 18), unpacked = le32(p + 22);
    if (!find_zip64(p + local_bytes + name_bytes, extra_bytes, &zip64, &zip64_bytes) ||
        !widen(&unpacked, &zip64, &zip64_bytes) || !widen(&packed, &zip64, &zip64_bytes))
        return anx_error_set(err, ANX_ERR_FORMAT, "the extra fields of its local header at byte %llu are malformed",
                             at);
    const bool deferred = (e->flags & flag_descriptor) != 0;
    if (!agrees(le32(p + 14), e->crc, deferred) || !agrees(packed, e->packed_bytes, deferred) ||
        !agrees(unpacked, e->n_bytes, deferred))
        return anx_error_set(
            err, ANX_ERR_FORMAT,
            "its local header at byte %llu says CRC-32 %08x and %llu bytes, the directory %08x and %llu", at,
            le32(p + 14), (unsigned long long)packed, e->crc, (unsigned long long)e->packed_bytes);
    if (e->packed_bytes > left - name_bytes - extra_bytes)
        return anx_error_set(err, ANX_ERR_FORMAT, "its %llu bytes reach beyond the records, which end at byte %llu",
                             (unsigned long long)e->packed_bytes, (unsigned long long)z->records_end);
    e->data_offset = e->header_offset + local_bytes + name_bytes + extra_bytes;
    e->end_offset = e->data_offset + e->packed_bytes;
    if (deferred && !find_descriptor(z, e, e->end_offset, &e->end_offset))
        return anx_error_set(err, ANX_ERR_FORMAT, "no data descriptor at byte %llu that agrees with the directory",
                             (unsigned long long)e->end_offset);
    return ANX_OK;
}

static int by_position(const void *a, const void *b, void *entries) {
    const anx_zip_entry *x = (const anx_zip_entry *)entries + *(const size_t *)a;
    const anx_zip_entry *y = (const anx_zip_entry *)entries + *(const size_t *)b;
    return x->header_offset < y->header_offset ? -1 : x->header_offset > y->header_offset;
}

static anx_status check_overlap(const anx_zip_index *z, anx_error *err) {
    size_t *order = calloc(z->count + 1, sizeof *order);
    if (order == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    for (size_t i = 0; i < z->count; i++) order[i] = i;
    qsort_r(order, z->count, sizeof *order, by_position, z->entries);
    anx_status status = ANX_OK;
    for (size_t i = 1; i < z->count && status == ANX_OK; i++) {
        const anx_zip_entry *a = &z->entries[order[i - 1]], *b = &z->entries[order[i]];
        char text[200];
        if (a->end_offset > b->header_offset)
            status = in_entry(anx_error_set(err, ANX_ERR_FORMAT,
                                            "it starts at byte %llu, inside entry '%s', which ends at byte %llu",
                                            (unsigned long long)b->header_offset,
                                            anx_text_printable(a->name, a->name_bytes, text, sizeof text),
                                            (unsigned long long)a->end_offset),
                              err, b->name, b->name_bytes);
    }
    free(order);
    return status;
}

anx_status anx_zip_index_locate(anx_zip_index *index, anx_error *err) {
    for (size_t i = 0; i < index->count; i++) {
        anx_zip_entry *e = &index->entries[i];
        anx_status status = ANX_OK;
        if (!name_is_safe(e->name))
            status = anx_error_set(err, ANX_ERR_FORMAT, "the name is absolute or climbs out of its folder");
        else if ((e->flags & flag_utf8) != 0 && !anx_utf8_valid(e->name, e->name_bytes))
            status = anx_error_set(err, ANX_ERR_FORMAT, "the name is not UTF-8, as its flags claim");
        if (status == ANX_OK) status = check_method(e, err);
        if (status == ANX_OK) status = locate(index, e, err);
        if (status != ANX_OK) return in_entry(status, err, e->name, e->name_bytes);
    }
    anx_status status = sort_names(index, err);
    return status == ANX_OK ? check_overlap(index, err) : status;
}
