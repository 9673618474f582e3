#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "loaders/checkpoint/bin_format.h"
#include "loaders/checkpoint/checkpoint_impl.h"
#include "loaders/checkpoint/crc.h"
#include "loaders/checkpoint/saving.h"
#include "loaders/checkpoint/state_dict_json.h"
#include "loaders/checkpoint/text.h"
#include "src/base/checked.h"
#include "src/base/threads.h"

static const anx_dtype codes[] = {ANX_F32, ANX_F64, ANX_F16, ANX_BF16, ANX_I64,
                                  ANX_I32, ANX_I16, ANX_I8,  ANX_U8,   ANX_BOOL};

uint32_t anx_bin_dtype_code(anx_dtype dtype) {
    for (uint32_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i] == dtype) return i + 1;
    return 0;
}

bool anx_bin_dtype_find(uint32_t code, anx_dtype *out) {
    if (code < 1 || code > sizeof codes / sizeof codes[0]) return false;
    *out = codes[code - 1];
    return true;
}

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

/* What stands before the data. */
typedef struct front {
    anx_bin_header header;
    uint8_t *bytes; /* table, names, text, padding */
    size_t n_bytes;
} front;

/* ---- the table ------------------------------------------------------------------------------------------ */

static anx_status too_big(anx_error *err) {
    return anx_error_set(err, ANX_ERR_LIMIT, "more tensors, names or bytes than a file can hold");
}

static anx_status check_name(const anx_saving_item *item, anx_error *err) {
    char text[200];
    const size_t n = strlen(item->name);
    if (n > 0 && n < UINT32_MAX && anx_utf8_valid(item->name, n)) return ANX_OK;
    return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "'%s' cannot be the name of a tensor",
                         anx_text_printable(item->name, n, text, sizeof text));
}

/* Sizes of the parts, and room for them. */
static anx_status measure(const anx_saving *saving, const char *text, front *f, anx_error *err) {
    size_t names = 0, total = 0, table = 0, end = 0;
    for (size_t i = 0; i < saving->n_items; i++) {
        anx_status status = check_name(&saving->items[i], err);
        if (status != ANX_OK) return status;
        if (!anx_checked_add_size(names, strlen(saving->items[i].name) + 1, &names)) return too_big(err);
    }
    const size_t text_bytes = text != NULL ? strlen(text) : 0;
    if (saving->n_items > ANX_CHECKPOINT_MAX_TENSORS || names > ANX_BIN_MAX_NAMES_BYTES)
        return anx_error_set(err, ANX_ERR_LIMIT, "%zu tensors with %zu bytes of names; at most %d and %d are written",
                             saving->n_items, names, (int)ANX_CHECKPOINT_MAX_TENSORS, (int)ANX_BIN_MAX_NAMES_BYTES);
    if (!anx_checked_mul_size(saving->n_items, sizeof(anx_bin_record), &table) ||
        !anx_checked_add_size(table, names, &total) || !anx_checked_add_size(total, text_bytes, &total) ||
        !anx_checked_add_size(total, sizeof f->header, &end) || !anx_checked_align_size(end, ANX_BIN_ALIGNMENT, &end))
        return too_big(err);
    f->header = (anx_bin_header){.version = ANX_BIN_VERSION,
                                 .n_tensors = (uint32_t)saving->n_items,
                                 .names_bytes = names,
                                 .text_bytes = text_bytes,
                                 .data_offset = end};
    memcpy(f->header.magic, ANX_BIN_MAGIC, ANX_BIN_MAGIC_BYTES);
    f->n_bytes = end - sizeof f->header;
    f->bytes = calloc(f->n_bytes + 1, 1);
    return f->bytes != NULL ? ANX_OK : out_of_memory(err);
}

static anx_status fill(const anx_saving *saving, const uint32_t *crcs, const char *text, front *f, anx_error *err) {
    anx_bin_record *records = (void *)f->bytes;
    char *names = (char *)(records + saving->n_items);
    uint64_t at = f->header.data_offset;
    for (size_t i = 0; i < saving->n_items; i++) {
        const anx_saving_item *item = &saving->items[i];
        const anx_tensor *t = &item->elements.tensor;
        const size_t name_bytes = strlen(item->name);
        size_t start;
        if (!anx_checked_align_size((size_t)at, ANX_BIN_ALIGNMENT, &start)) return too_big(err);
        records[i] = (anx_bin_record){.name_offset = sizeof f->header + (uint64_t)(names - (char *)f->bytes),
                                      .name_bytes = (uint32_t)name_bytes,
                                      .dtype = anx_bin_dtype_code(item->dtype),
                                      .rank = (uint32_t)t->rank,
                                      .crc = crcs[i],
                                      .data_offset = start,
                                      .data_bytes = anx_saving_item_bytes(item)};
        for (int k = 0; k < t->rank; k++) records[i].shape[k] = (uint64_t)t->shape[k];
        if (__builtin_add_overflow(start, records[i].data_bytes, &at)) return too_big(err);
        memcpy(names, item->name, name_bytes + 1);
        names += name_bytes + 1;
    }
    if (text != NULL) memcpy(names, text, strlen(text));
    f->header.file_bytes = at;
    f->header.table_crc = (uint32_t)crc32_z(0, f->bytes, f->n_bytes);
    f->header.header_crc = (uint32_t)crc32_z(0, (const Bytef *)&f->header, offsetof(anx_bin_header, header_crc));
    return ANX_OK;
}

/* ---- checksums ------------------------------------------------------------------------------------------ */

static anx_status sum(void *user, const void *bytes, size_t n_bytes, anx_error *err) {
    uint32_t *crc = user;
    (void)err;
    *crc = (uint32_t)crc32_z(*crc, bytes, n_bytes);
    return ANX_OK;
}

/* Was the whole of it compared with its checksum when it was read? */
static bool is_summed(const anx_saving_item *item) {
    const anx_storage *st = item->storage;
    return st != NULL && st->has_crc && !st->swapped && item->dtype == st->dtype && item->offset == 0 &&
           anx_tensor_is_contiguous(&item->elements.tensor) && anx_tensor_elems(&item->elements.tensor) == st->n_elems;
}

/*
 * The checksums stand before the data in the file, and the file is written in one go: so they are computed first.
 * What lies in memory as it will be written, with all threads at once.
 */
static anx_status sum_all(const anx_saving *saving, uint32_t *crcs, anx_error *err) {
    anx_crc_block *blocks = calloc(saving->n_items + 1, sizeof *blocks);
    if (blocks == NULL) return out_of_memory(err);
    anx_status status = ANX_OK;
    for (size_t i = 0; i < saving->n_items && status == ANX_OK; i++) {
        const anx_saving_item *item = &saving->items[i];
        if (is_summed(item)) {
            crcs[i] = item->storage->crc;
        } else if (item->dtype == item->elements.tensor.dtype && anx_elements_in_place(&item->elements) != NULL) {
            blocks[i].data = anx_elements_in_place(&item->elements);
            blocks[i].n_bytes = (size_t)anx_saving_item_bytes(item);
        } else {
            status = anx_saving_item_read(item, NULL, sum, &crcs[i], err);
        }
    }
    if (status == ANX_OK) status = anx_crc_blocks(blocks, saving->n_items, anx_threads_available(), err);
    for (size_t i = 0; i < saving->n_items && status == ANX_OK; i++)
        if (blocks[i].data != NULL) crcs[i] = blocks[i].crc;
    free(blocks);
    return status;
}

/* ---- writing -------------------------------------------------------------------------------------------- */

static anx_status append(void *user, const void *bytes, size_t n_bytes, anx_error *err) {
    return anx_file_writer_write(user, bytes, n_bytes, err);
}

static anx_status write_data(const anx_saving *saving, const front *f, anx_file_writer *file, anx_rounding *rounding,
                             anx_error *err) {
    static const char zeros[ANX_BIN_ALIGNMENT];
    const anx_bin_record *records = (const void *)f->bytes;
    uint64_t at = f->header.data_offset;
    anx_status status = ANX_OK;
    for (size_t i = 0; i < saving->n_items && status == ANX_OK; i++) {
        status = anx_file_writer_write(file, zeros, (size_t)(records[i].data_offset - at), err);
        if (status == ANX_OK) status = anx_saving_item_read(&saving->items[i], rounding, append, file, err);
        at = records[i].data_offset + records[i].data_bytes;
    }
    return status;
}

anx_status anx_bin_can_keep_metadata(const anx_saving *saving, bool *can, anx_error *err) {
    return anx_state_dict_fits_json(saving, false, can, err); /* the order is the table's */
}

anx_status anx_bin_save(const anx_saving *saving, const char *path, anx_file_writer *file, anx_rounding *rounding,
                        anx_error *err) {
    (void)path;
    front f = {.bytes = NULL};
    char *text = NULL;
    bool complete = true;
    uint32_t *crcs = calloc(saving->n_items + 1, sizeof *crcs);
    anx_status status = crcs != NULL ? ANX_OK : out_of_memory(err);
    if (status == ANX_OK) status = anx_state_dict_to_json(saving, false, &text, &complete, err);
    if (status == ANX_OK) status = measure(saving, text, &f, err);
    if (status == ANX_OK) status = sum_all(saving, crcs, err);
    if (status == ANX_OK) status = fill(saving, crcs, text, &f, err);
    if (status == ANX_OK) status = anx_file_writer_expect(file, f.header.file_bytes, err);
    if (status == ANX_OK) status = anx_file_writer_write(file, &f.header, sizeof f.header, err);
    if (status == ANX_OK) status = anx_file_writer_write(file, f.bytes, f.n_bytes, err);
    if (status == ANX_OK) status = write_data(saving, &f, file, rounding, err);
    free(f.bytes);
    free(text);
    free(crcs);
    return status;
}
