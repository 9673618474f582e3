#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "loaders/checkpoint/bin_format.h"
#include "loaders/checkpoint/checkpoint_impl.h"
#include "loaders/checkpoint/crc.h"
#include "loaders/checkpoint/state_dict_json.h"
#include "loaders/checkpoint/text.h"
#include "src/base/checked.h"
#include "src/base/threads.h"

/* What is read, and where in it. */
typedef struct reader {
    anx_checkpoint *checkpoint;
    const uint8_t *bytes;
    size_t n_bytes;
    anx_bin_header header;
    const anx_bin_record *records; /* in place: the mapping is aligned, and so is the table in it */
    uint64_t name_at, data_at;     /* where the next name, the next tensor's padding begin */
} reader;

static anx_status at_offset(anx_status status, uint64_t offset, anx_error *err) {
    anx_error_at_offset(err, offset);
    return status;
}

/* Counts, or refuses, what does not sum up. */
static anx_status judge_crc(reader *r, const char *what, uint32_t wanted, uint32_t got, anx_error *err) {
    const anx_checkpoint_options *options = &anx_checkpoint_impl_of(r->checkpoint)->options;
    if (wanted == got || options->skip_crc) return ANX_OK;
    r->checkpoint->n_bad_crc++;
    if (options->accept_bad_crc) return ANX_OK;
    return anx_error_set(
        err, ANX_ERR_FORMAT,
        "the CRC-32 of %s is %08x, the file says %08x: damaged; --accept-bad-crc reads it all the same", what, got,
        wanted);
}

/* ---- what stands before the data ------------------------------------------------------------------------ */

static anx_status check_zeros(const reader *r, uint64_t from, uint64_t to, anx_error *err) {
    for (uint64_t i = from; i < to; i++)
        if (r->bytes[i] != 0) return at_offset(anx_error_set(err, ANX_ERR_FORMAT, "padding that is not zero"), i, err);
    return ANX_OK;
}

static anx_status read_header(reader *r, anx_error *err) {
    anx_bin_header *h = &r->header;
    if (r->n_bytes < sizeof *h)
        return anx_error_set(err, ANX_ERR_FORMAT, "%zu bytes; an anx bin file begins with a header of %zu: truncated?",
                             r->n_bytes, sizeof *h);
    memcpy(h, r->bytes, sizeof *h);
    if (h->version != ANX_BIN_VERSION)
        return anx_error_set(err, ANX_ERR_UNSUPPORTED, "version %u of the format; this release reads version %d",
                             h->version, (int)ANX_BIN_VERSION);
    anx_status status = judge_crc(r, "the header", h->header_crc,
                                  (uint32_t)crc32_z(0, r->bytes, offsetof(anx_bin_header, header_crc)), err);
    if (status != ANX_OK) return status;
    if (h->file_bytes != r->n_bytes)
        return anx_error_set(err, ANX_ERR_FORMAT, "the file has %zu bytes, its header says %llu%s", r->n_bytes,
                             (unsigned long long)h->file_bytes, h->file_bytes > r->n_bytes ? ": truncated?" : "");
    if (h->reserved != 0)
        return at_offset(anx_error_set(err, ANX_ERR_FORMAT, "a reserved field that is not zero"),
                         offsetof(anx_bin_header, reserved), err);
    return ANX_OK;
}

/* Table, names and text fill what lies before the data, but for padding. */
static anx_status check_parts(reader *r, anx_error *err) {
    const anx_bin_header *h = &r->header;
    size_t end = sizeof *h, table, aligned;
    if (!anx_checked_mul_size(h->n_tensors, sizeof(anx_bin_record), &table) ||
        !anx_checked_add_size(end, table, &end) || !anx_checked_add_size(end, h->names_bytes, &end) ||
        !anx_checked_add_size(end, h->text_bytes, &end) || !anx_checked_align_size(end, ANX_BIN_ALIGNMENT, &aligned) ||
        aligned > r->n_bytes)
        return anx_error_set(err, ANX_ERR_FORMAT,
                             "a table of %u tensors, %llu bytes of names and %llu of text do not fit into a file of "
                             "%zu bytes",
                             h->n_tensors, (unsigned long long)h->names_bytes, (unsigned long long)h->text_bytes,
                             r->n_bytes);
    if (h->n_tensors > ANX_CHECKPOINT_MAX_TENSORS || h->names_bytes > ANX_BIN_MAX_NAMES_BYTES ||
        h->text_bytes > ANX_STATE_DICT_MAX_TEXT_BYTES)
        return anx_error_set(err, ANX_ERR_LIMIT,
                             "a table of %u tensors, %llu bytes of names and %llu of text; at most %d, %d and %d are "
                             "taken",
                             h->n_tensors, (unsigned long long)h->names_bytes, (unsigned long long)h->text_bytes,
                             (int)ANX_CHECKPOINT_MAX_TENSORS, (int)ANX_BIN_MAX_NAMES_BYTES,
                             (int)ANX_STATE_DICT_MAX_TEXT_BYTES);
    if (h->data_offset != aligned)
        return at_offset(anx_error_set(err, ANX_ERR_FORMAT, "the data begin at %zu, the header says %llu", aligned,
                                       (unsigned long long)h->data_offset),
                         offsetof(anx_bin_header, data_offset), err);
    anx_status status =
        judge_crc(r, "the table", h->table_crc, (uint32_t)crc32_z(0, r->bytes + sizeof *h, aligned - sizeof *h), err);
    if (status != ANX_OK) return status;
    const void *records = r->bytes + sizeof *h;
    r->records = records;
    r->name_at = sizeof *h + table;
    r->data_at = aligned;
    return check_zeros(r, end, aligned, err);
}

/* ---- tensors -------------------------------------------------------------------------------------------- */

static anx_status read_name(reader *r, const anx_bin_record *record, const char **out, anx_error *err) {
    const uint64_t end = sizeof r->header + r->header.n_tensors * sizeof *record + r->header.names_bytes;
    if (record->name_offset != r->name_at)
        return anx_error_set(err, ANX_ERR_FORMAT, "its name begins at %llu, where %llu was expected",
                             (unsigned long long)record->name_offset, (unsigned long long)r->name_at);
    if (record->name_bytes >= end - r->name_at)
        return anx_error_set(err, ANX_ERR_FORMAT, "its name of %u bytes at %llu reaches beyond the names' end at %llu",
                             record->name_bytes, (unsigned long long)r->name_at, (unsigned long long)end);
    const char *name = (const char *)r->bytes + r->name_at;
    const char *wrong = record->name_bytes == 0                          ? "is empty"
                        : memchr(name, '\0', record->name_bytes) != NULL ? "holds a NUL"
                        : name[record->name_bytes] != '\0'               ? "is not ended by a NUL"
                        : !anx_utf8_valid(name, record->name_bytes)      ? "is not UTF-8"
                                                                         : NULL;
    if (wrong != NULL) return anx_error_set(err, ANX_ERR_FORMAT, "its name %s", wrong);
    r->name_at += record->name_bytes + UINT64_C(1);
    *out = name;
    return ANX_OK;
}

static anx_status read_shape(const anx_bin_record *record, anx_dtype dtype, int64_t shape[ANX_MAX_RANK],
                             anx_error *err) {
    if (record->rank > ANX_MAX_RANK)
        return anx_error_set(err, ANX_ERR_FORMAT, "%u dimensions; at most %d are possible", record->rank,
                             (int)ANX_MAX_RANK);
    for (uint32_t i = 0; i < ANX_MAX_RANK; i++) {
        if (record->shape[i] > INT64_MAX || (i >= record->rank && record->shape[i] != 0))
            return anx_error_set(err, ANX_ERR_FORMAT, "an extent of %llu in dimension %u",
                                 (unsigned long long)record->shape[i], i);
        shape[i] = (int64_t)record->shape[i];
    }
    int64_t elems = 0;
    size_t bytes = 0;
    char text[200];
    anx_shape_format((int)record->rank, shape, text, sizeof text);
    if (!anx_shape_elems((int)record->rank, shape, &elems) ||
        !anx_checked_mul_size((size_t)elems, anx_dtype_bytes(dtype), &bytes))
        return anx_error_set(err, ANX_ERR_FORMAT, "its shape %s overflows", text);
    if (bytes != record->data_bytes)
        return anx_error_set(err, ANX_ERR_FORMAT, "%s of shape %s takes %zu bytes, the table says %llu",
                             anx_dtype_name(dtype), text, bytes, (unsigned long long)record->data_bytes);
    return ANX_OK;
}

/* Its elements begin at the first multiple of 64 behind the tensor before, and end inside the file. */
static anx_status check_place(reader *r, const anx_bin_record *record, anx_error *err) {
    size_t start = 0;
    if (!anx_checked_align_size((size_t)r->data_at, ANX_BIN_ALIGNMENT, &start) || record->data_offset != start)
        return anx_error_set(err, ANX_ERR_FORMAT, "its data begin at %llu, where %zu was expected",
                             (unsigned long long)record->data_offset, start);
    if (start > r->n_bytes || record->data_bytes > r->n_bytes - start)
        return anx_error_set(err, ANX_ERR_FORMAT, "its %llu bytes at %zu reach beyond the file's %zu",
                             (unsigned long long)record->data_bytes, start, r->n_bytes);
    anx_status status = check_zeros(r, r->data_at, start, err);
    r->data_at = start + record->data_bytes;
    return status;
}

static anx_status read_tensor(reader *r, const anx_bin_record *record, anx_state_dict *tensors, anx_error *err) {
    const char *name = NULL;
    anx_dtype dtype;
    int64_t shape[ANX_MAX_RANK];
    char text[200];
    anx_status status = read_name(r, record, &name, err);
    if (status != ANX_OK) return status;
    if (!anx_bin_dtype_find(record->dtype, &dtype))
        status = anx_error_set(err, ANX_ERR_UNSUPPORTED, "elements of type %u, which is not known", record->dtype);
    if (status == ANX_OK) status = read_shape(record, dtype, shape, err);
    if (status == ANX_OK) status = check_place(r, record, err);
    if (status == ANX_OK) {
        const anx_tensor t = anx_tensor_view(dtype, (int)record->rank, shape, r->bytes + record->data_offset);
        status = anx_state_dict_add(tensors, name, &t, err);
        if (status == ANX_ERR_EXISTS) status = anx_error_set(err, ANX_ERR_FORMAT, "the name occurs twice");
    }
    if (status != ANX_OK) anx_error_in_entry(err, anx_text_printable(name, record->name_bytes, text, sizeof text));
    return status;
}

static anx_status read_table(reader *r, anx_state_dict *tensors, anx_error *err) {
    anx_status status = ANX_OK;
    for (uint32_t i = 0; i < r->header.n_tensors && status == ANX_OK; i++) {
        status = read_tensor(r, &r->records[i], tensors, err);
        if (status != ANX_OK && err != NULL && !err->has_offset)
            anx_error_at_offset(err, sizeof r->header + i * (uint64_t)sizeof *r->records);
    }
    if (status != ANX_OK) return status;
    if (r->name_at != sizeof r->header + r->header.n_tensors * sizeof *r->records + r->header.names_bytes)
        return anx_error_set(err, ANX_ERR_FORMAT, "the names take fewer bytes than the header says");
    if (r->data_at != r->n_bytes)
        return anx_error_set(err, ANX_ERR_FORMAT, "the tensors end at %llu, the file at %zu",
                             (unsigned long long)r->data_at, r->n_bytes);
    return ANX_OK;
}

/* ---- checksums and the rest ----------------------------------------------------------------------------- */

/* *crcs: of all tensors, malloc'd; NULL where they were not compared or not all are right. */
static anx_status check_data(reader *r, uint32_t **crcs, anx_error *err) {
    const size_t n = r->header.n_tensors, bad_before = r->checkpoint->n_bad_crc;
    *crcs = NULL;
    if (anx_checkpoint_impl_of(r->checkpoint)->options.skip_crc) return ANX_OK;
    anx_crc_block *blocks = calloc(n + 1, sizeof *blocks);
    uint32_t *compared = calloc(n + 1, sizeof *compared);
    anx_status status =
        blocks != NULL && compared != NULL ? ANX_OK : anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    for (size_t i = 0; i < n && status == ANX_OK; i++)
        blocks[i] =
            (anx_crc_block){.data = r->bytes + r->records[i].data_offset, .n_bytes = (size_t)r->records[i].data_bytes};
    if (status == ANX_OK) status = anx_crc_blocks(blocks, n, anx_threads_available(), err);
    for (size_t i = 0; i < n && status == ANX_OK; i++) {
        char text[200];
        compared[i] = blocks[i].crc;
        status = judge_crc(r, "its elements", r->records[i].crc, blocks[i].crc, err);
        if (status == ANX_OK) continue;
        anx_error_in_entry(
            err, anx_text_printable(r->bytes + r->records[i].name_offset, r->records[i].name_bytes, text, sizeof text));
        anx_error_at_offset(err, r->records[i].data_offset);
    }
    free(blocks);
    if (status == ANX_OK && r->checkpoint->n_bad_crc == bad_before)
        *crcs = compared;
    else
        free(compared);
    return status;
}

static anx_status read_text(reader *r, anx_error *err) {
    anx_checkpoint_impl *impl = anx_checkpoint_impl_of(r->checkpoint);
    anx_state_dict_text text = {.keys = NULL};
    if (r->header.text_bytes == 0) return ANX_OK;
    const uint64_t at = r->name_at;
    anx_status status =
        anx_state_dict_from_json((const char *)r->bytes + at, (size_t)r->header.text_bytes, &impl->arena, &text, err);
    if (status != ANX_OK) return at_offset(status, at, err);
    if (text.keys != NULL)
        return at_offset(anx_error_set(err, ANX_ERR_FORMAT, "the text lists keys, which the table's order says"), at,
                         err);
    impl->metadata = text.metadata;
    impl->plain_dict = text.plain_dict;
    return ANX_OK;
}

anx_status anx_bin_read(anx_checkpoint *checkpoint, anx_error *err) {
    const anx_file_map *map = &anx_checkpoint_impl_of(checkpoint)->map;
    reader r = {.checkpoint = checkpoint, .bytes = map->bytes, .n_bytes = map->n_bytes};
    anx_state_dict tensors = ANX_STATE_DICT_INIT;
    uint32_t *crcs = NULL;
    checkpoint->format = "anx bin";
    anx_status status = read_header(&r, err);
    if (status == ANX_OK) status = check_parts(&r, err);
    if (status == ANX_OK) status = read_table(&r, &tensors, err);
    if (status == ANX_OK) status = read_text(&r, err);
    if (status == ANX_OK) anx_file_map_prefetch(map);
    if (status == ANX_OK) status = check_data(&r, &crcs, err);
    if (status == ANX_OK) status = anx_state_dict_from_list(checkpoint, &tensors, map->bytes, crcs, err);
    free(crcs);
    anx_state_dict_fini(&tensors);
    return status;
}
