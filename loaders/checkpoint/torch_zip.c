/*
 * PyTorch's zip archives (torch/serialization.py, _load; caffe2/serialize/inline_container.cc): one folder, in it
 * "data.pkl", "data/KEY" for each storage, and "byteorder" and "version" where the writer was new enough.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint_impl.h"
#include "loaders/checkpoint/sniff.h"
#include "loaders/checkpoint/text.h"
#include "loaders/checkpoint/torch_storage_id.h"
#include "loaders/checkpoint/zip_index.h"
#include "src/base/checked.h"
#include "src/base/threads.h"

enum {
    max_name_bytes = 1024,
    max_folder_bytes = 512, /* PyTorch names it after the file */
    max_version = 10        /* kMaxSupportedFileFormatVersion */
};

typedef struct reader {
    anx_checkpoint_impl *impl;
    const anx_zip_index *index;
    const char *folder; /* with its slash, not terminated */
    size_t folder_bytes;
    bool big_endian;
    anx_storage **storages; /* for each entry of the index: the storage made of it, or NULL */
} reader;

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

/* The entry "FOLDER/name". */
static const anx_zip_entry *find(const reader *r, const char *name, size_t name_bytes) {
    char full[max_name_bytes];
    if (name_bytes > sizeof full || r->folder_bytes > sizeof full - name_bytes) return NULL;
    memcpy(full, r->folder, r->folder_bytes);
    memcpy(full + r->folder_bytes, name, name_bytes);
    return anx_zip_index_find(r->index, full, r->folder_bytes + name_bytes);
}

/* "FOLDER/data/KEY", with "data/" put before the key. */
static const anx_zip_entry *find_storage(const reader *r, const char *key, size_t key_bytes) {
    char name[max_name_bytes];
    if (key_bytes > sizeof name - 5) return NULL;
    memcpy(name, "data/", 5);
    memcpy(name + 5, key, key_bytes);
    return find(r, name, key_bytes + 5);
}

static anx_status in_entry(anx_status status, anx_error *err, const anx_zip_entry *e) {
    char text[200];
    if (status != ANX_OK) anx_error_in_entry(err, anx_text_printable(e->name, e->name_bytes, text, sizeof text));
    return status;
}

/* All entries in one folder: that of the first, as PyTorch takes it. */
static anx_status find_folder(reader *r, anx_error *err) {
    const anx_zip_entry *first = &r->index->entries[0];
    const char *slash = memchr(first->name, '/', first->name_bytes);
    if (slash == NULL)
        return in_entry(anx_error_set(err, ANX_ERR_FORMAT, "it is in no folder; PyTorch puts all entries into one"),
                        err, first);
    r->folder = first->name;
    r->folder_bytes = (size_t)(slash + 1 - first->name);
    if (r->folder_bytes > max_folder_bytes)
        return in_entry(anx_error_set(err, ANX_ERR_LIMIT, "the name of its folder has %zu bytes; at most %d are taken",
                                      r->folder_bytes - 1, (int)max_folder_bytes - 1),
                        err, first);
    for (size_t i = 1; i < r->index->count; i++) {
        const anx_zip_entry *e = &r->index->entries[i];
        if (e->name_bytes >= r->folder_bytes && memcmp(e->name, r->folder, r->folder_bytes) == 0) continue;
        char text[200];
        return in_entry(anx_error_set(err, ANX_ERR_FORMAT, "it is not in the folder '%s' of the entries before it",
                                      anx_text_printable(r->folder, r->folder_bytes, text, sizeof text)),
                        err, e);
    }
    return ANX_OK;
}

static anx_status read_byte_order(reader *r, anx_error *err) {
    const anx_zip_entry *e = find(r, "byteorder", 9);
    if (e == NULL) return ANX_OK; /* older than the entry: all of those are little-endian */
    const uint8_t *bytes = r->index->bytes + e->data_offset;
    char text[100];
    if (e->n_bytes == 3 && memcmp(bytes, "big", 3) == 0)
        r->big_endian = true;
    else if (e->n_bytes != 6 || memcmp(bytes, "little", 6) != 0)
        return in_entry(anx_error_set(err, ANX_ERR_FORMAT, "it says '%s'; 'little' or 'big' was expected",
                                      anx_text_printable(bytes, (size_t)e->n_bytes, text, sizeof text)),
                        err, e);
    return ANX_OK;
}

/* A decimal number and an optional newline. */
static anx_status check_version(const reader *r, anx_error *err) {
    const anx_zip_entry *e = find(r, "version", 7);
    if (e == NULL) return ANX_OK;
    const char *bytes = (const char *)r->index->bytes + e->data_offset;
    size_t digits = 0;
    int version = 0;
    while (digits < e->n_bytes && digits < 4 && bytes[digits] >= '0' && bytes[digits] <= '9')
        version = version * 10 + (bytes[digits++] - '0');
    char text[100];
    if (digits == 0 || e->n_bytes > digits + 1 || (e->n_bytes == digits + 1 && bytes[digits] != '\n'))
        return in_entry(anx_error_set(err, ANX_ERR_FORMAT, "it says '%s'; a number was expected",
                                      anx_text_printable(bytes, (size_t)e->n_bytes, text, sizeof text)),
                        err, e);
    if (version > max_version)
        return in_entry(anx_error_set(err, ANX_ERR_UNSUPPORTED, "file format version %d; at most %d is known", version,
                                      (int)max_version),
                        err, e);
    return ANX_OK;
}

/* ---- storages ------------------------------------------------------------------------------------------- */

static anx_status make_storage(reader *r, const anx_torch_storage_id *id, const anx_zip_entry *e, anx_storage **out,
                               anx_error *err) {
    char key[100];
    const size_t element_bytes = anx_dtype_bytes(id->dtype);
    size_t bytes;
    if (!anx_checked_mul_size((size_t)id->n_elems, element_bytes, &bytes) || bytes != e->n_bytes)
        return anx_error_set(err, ANX_ERR_FORMAT,
                             "storage '%s' of %lld %s elements (%zu bytes each) does not fit its record of %llu bytes",
                             anx_text_printable(id->key, id->key_bytes, key, sizeof key), (long long)id->n_elems,
                             anx_dtype_name(id->dtype), element_bytes, (unsigned long long)e->n_bytes);
    anx_status status = anx_storage_create(r->impl, id->dtype, id->n_elems, id->key, id->key_bytes,
                                           r->index->bytes + e->data_offset, r->big_endian, out, err);
    if (status == ANX_OK) {
        (*out)->has_crc = e->crc_verified;
        (*out)->crc = e->crc;
    }
    return status;
}

static anx_status load_storage(void *user, const anx_pickle_value *value, anx_arena *arena, anx_pickle_value **out,
                               anx_error *err) {
    reader *r = user;
    char key[100];
    anx_torch_storage_id id = {0};
    anx_status status = anx_torch_storage_id_parse(value, false, &id, err);
    if (status != ANX_OK) return status;
    const anx_zip_entry *e = find_storage(r, id.key, id.key_bytes);
    if (e == NULL)
        return anx_error_set(err, ANX_ERR_FORMAT, "storage '%s' has no record data/%s in the archive",
                             anx_text_printable(id.key, id.key_bytes, key, sizeof key), key);
    anx_storage **slot = &r->storages[e - r->index->entries];
    if (*slot == NULL) {
        status = make_storage(r, &id, e, slot, err);
        if (status != ANX_OK) return status;
    } else if ((*slot)->dtype != id.dtype || (*slot)->n_elems != id.n_elems) {
        return anx_torch_storage_id_conflict(&id, *slot, err);
    }
    return anx_pickle_storage_value(*slot, arena, out, err);
}

/* ---- the archive ---------------------------------------------------------------------------------------- */

static anx_status run_pickle(reader *r, anx_error *err) {
    const anx_zip_entry *e = find(r, "data.pkl", 8);
    char folder[200];
    if (e == NULL)
        return anx_error_set(err, ANX_ERR_FORMAT, "no entry data.pkl in the archive's folder '%s'",
                             anx_text_printable(r->folder, r->folder_bytes - 1, folder, sizeof folder));
    if (e->n_bytes > ANX_MAX_PICKLE_BYTES)
        return in_entry(anx_error_set(err, ANX_ERR_LIMIT, "a pickle of %llu bytes; at most %d are taken",
                                      (unsigned long long)e->n_bytes, (int)ANX_MAX_PICKLE_BYTES),
                        err, e);
    r->storages = calloc(r->index->count, sizeof *r->storages);
    if (r->storages == NULL) return out_of_memory(err);
    const anx_pickle_input input = {.bytes = r->index->bytes + e->data_offset,
                                    .n_bytes = (size_t)e->n_bytes,
                                    .load_persistent = load_storage,
                                    .user = r};
    size_t used = 0;
    anx_status status = anx_pickle_run(&input, &r->impl->arena, &r->impl->root, &used, err);
    if (status == ANX_OK && used != input.n_bytes) {
        status = anx_error_set(err, ANX_ERR_FORMAT, "%zu bytes after the pickle's end", input.n_bytes - used);
        anx_error_at_offset(err, used);
    }
    return in_entry(status, err, e);
}

anx_status anx_torch_zip_read(anx_checkpoint *checkpoint, anx_error *err) {
    anx_checkpoint_impl *impl = anx_checkpoint_impl_of(checkpoint);
    const anx_checkpoint_options *options = &impl->options;
    anx_zip_index *index = NULL;
    reader r = {.impl = impl};
    checkpoint->format = "PyTorch zip";
    anx_status status = anx_zip_index_create(impl->map.bytes, impl->map.n_bytes, &index, err);
    if (status != ANX_OK) return status;
    r.index = index;
    const anx_file_format *other = anx_sniff_zip(index);
    if (other != NULL) {
        status = anx_sniff_refuse(other, err);
        goto out;
    }
    status = anx_zip_index_locate(index, err);
    if (status == ANX_OK) status = anx_zip_index_confirm(index, err);
    if (status == ANX_OK) status = find_folder(&r, err);
    if (status == ANX_OK) anx_file_map_prefetch(&impl->map);
    if (status == ANX_OK && !options->skip_crc)
        status = anx_zip_index_check_crcs(index, anx_threads_available(), options->accept_bad_crc,
                                          &checkpoint->n_bad_crc, err);
    if (status == ANX_OK) status = check_version(&r, err);
    if (status == ANX_OK) status = read_byte_order(&r, err);
    if (status == ANX_OK) status = run_pickle(&r, err);
    if (status == ANX_OK) status = anx_state_dict_extract(checkpoint, err);
out:
    free(r.storages);
    anx_zip_index_destroy(index);
    return status;
}
