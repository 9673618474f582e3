#include "loaders/checkpoint/pth_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/crc.h"
#include "loaders/checkpoint/pickle_value_writer.h"
#include "loaders/checkpoint/pth_layout.h"
#include "loaders/checkpoint/pth_pickle.h"
#include "loaders/checkpoint/zip_writer.h"
#include "src/base/threads.h"

enum { piece_bytes = 1 << 18 }; /* stays in a core's second-level cache between being made, summed and written */

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

/* What goes into an archive, and where from. */
typedef struct contents {
    anx_pth_layout layout;
    const anx_pth_source *source; /* of the storages that say so */
    anx_rounding *rounding;       /* may be NULL */
} contents;

anx_status anx_pth_folder(const char *path, char **out, anx_error *err) {
    for (const char *c = path; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x80) continue;
        *out = strdup("archive");
        return *out != NULL ? ANX_OK : out_of_memory(err);
    }
    const char *name = path;
    for (const char *c = path; *c != '\0'; c++)
        if (*c == '/' || *c == '\\') name = c + 1;
    const char *dot = strrchr(name, '.');
    const size_t length = dot != NULL ? (size_t)(dot - name) : strlen(name);
    if (length == 0) {
        anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                      "an invalid name for a checkpoint: nothing stands before its ending; try \"model%s\"", name);
        anx_error_in_file(err, path);
        return ANX_ERR_INVALID_ARGUMENT;
    }
    *out = strndup(name, length);
    return *out != NULL ? ANX_OK : out_of_memory(err);
}

/* ---- records -------------------------------------------------------------------------------------------- */

static anx_status append(void *user, const void *bytes, size_t n_bytes, anx_error *err) {
    return anx_zip_writer_append(user, bytes, n_bytes, err);
}

static anx_status append_from_source(anx_zip_writer *zip, const anx_pth_storage *st, const anx_pth_source *source,
                                     anx_error *err) {
    uint8_t *piece = malloc(piece_bytes);
    if (piece == NULL) return out_of_memory(err);
    anx_status status = ANX_OK;
    for (uint64_t left = anx_pth_storage_bytes(st); left > 0 && status == ANX_OK;) {
        const size_t now = left < piece_bytes ? (size_t)left : piece_bytes;
        status = source->read(source->user, st->first_item, piece, now, err);
        if (status == ANX_OK) status = anx_zip_writer_append(zip, piece, now, err);
        left -= now;
    }
    free(piece);
    return status;
}

/* Sums what lies in memory as it will be written, and is not summed yet, with all threads. */
static anx_status sum_storages(anx_pth_layout *l, anx_error *err) {
    anx_crc_block *blocks = calloc(l->n_storages + 1, sizeof *blocks);
    if (blocks == NULL) return out_of_memory(err);
    for (size_t i = 0; i < l->n_storages; i++) {
        const anx_pth_storage *st = &l->storages[i];
        const anx_saving_item *content = &st->content;
        if (!st->has_crc && !st->from_source && content->dtype == content->elements.tensor.dtype)
            blocks[i].data = anx_elements_in_place(&content->elements);
        if (blocks[i].data != NULL) blocks[i].n_bytes = (size_t)anx_pth_storage_bytes(st);
    }
    anx_status status = anx_crc_blocks(blocks, l->n_storages, anx_threads_available(), err);
    for (size_t i = 0; i < l->n_storages && status == ANX_OK; i++) {
        if (blocks[i].data == NULL) continue;
        l->storages[i].has_crc = true;
        l->storages[i].crc = blocks[i].crc;
    }
    free(blocks);
    return status;
}

static anx_status write_storage(anx_zip_writer *zip, size_t key, const anx_pth_storage *st, const contents *c,
                                anx_error *err) {
    char name[32];
    snprintf(name, sizeof name, "data/%zu", key);
    const uint64_t n_bytes = anx_pth_storage_bytes(st);
    anx_status status = st->has_crc ? anx_zip_writer_begin_summed(zip, name, n_bytes, st->crc, err)
                                    : anx_zip_writer_begin(zip, name, n_bytes, err);
    if (status == ANX_OK)
        status = st->from_source ? append_from_source(zip, st, c->source, err)
                                 : anx_saving_item_read(&st->content, c->rounding, append, zip, err);
    return status == ANX_OK ? anx_zip_writer_end(zip, err) : status;
}

static anx_status write_records(anx_zip_writer *zip, const anx_pickle_writer *pickle, const contents *c,
                                anx_error *err) {
    static const struct {
        const char *name, *content;
    } before[] = {{".format_version", "1"}, {".storage_alignment", "64"}, {"byteorder", "little"}};
    anx_status status = anx_zip_writer_add(zip, "data.pkl", pickle->bytes, pickle->size, err);
    for (size_t i = 0; status == ANX_OK && i < sizeof before / sizeof before[0]; i++)
        status = anx_zip_writer_add(zip, before[i].name, before[i].content, strlen(before[i].content), err);
    for (size_t i = 0; status == ANX_OK && i < c->layout.n_storages; i++)
        status = write_storage(zip, i, &c->layout.storages[i], c, err);
    if (status == ANX_OK) status = anx_zip_writer_add(zip, "version", "3\n", 2, err);
    return status == ANX_OK ? anx_zip_writer_finish(zip, err) : status;
}

/* What all storages take. Saturates: no file system has so much room. */
static uint64_t storage_bytes(const anx_pth_layout *l) {
    uint64_t total = 0;
    for (size_t i = 0; i < l->n_storages; i++)
        if (__builtin_add_overflow(total, anx_pth_storage_bytes(&l->storages[i]), &total)) return UINT64_MAX;
    return total;
}

static anx_status write_archive(contents *c, const char *folder, const anx_pickle_writer *pickle, anx_file_writer *file,
                                anx_error *err) {
    anx_zip_writer *zip = NULL;
    anx_status status = anx_file_writer_expect(file, storage_bytes(&c->layout), err);
    if (status == ANX_OK) status = sum_storages(&c->layout, err);
    if (status == ANX_OK) status = anx_zip_writer_create(file, folder, &zip, err);
    if (status == ANX_OK) status = write_records(zip, pickle, c, err);
    anx_zip_writer_destroy(zip);
    return status;
}

/* ---- files ---------------------------------------------------------------------------------------------- */

static anx_status write_file(const char *path, contents *c, const anx_pickle_writer *pickle,
                             const anx_pth_options *options, anx_error *err) {
    char *folder = NULL;
    anx_file_writer *file = NULL;
    anx_status status = options->folder == NULL ? anx_pth_folder(path, &folder, err) : ANX_OK;
    if (status == ANX_OK) status = anx_file_writer_create(path, options->force, &file, err);
    if (status == ANX_OK)
        status = write_archive(c, options->folder != NULL ? options->folder : folder, pickle, file, err);
    if (status == ANX_OK) status = anx_file_writer_commit(file, err);
    anx_file_writer_destroy(file);
    free(folder);
    return status;
}

anx_status anx_pth_write_pickling(const char *path, anx_pth_layout *layout, const anx_pth_pickling *pickling,
                                  const anx_pth_options *options, anx_error *err) {
    contents c = {.layout = *layout, .source = options->source}; /* a view: the layout stays the caller's */
    anx_pickle_writer pickle = {0};
    anx_status status = anx_pth_pickle(layout, pickling, &pickle, err);
    if (status == ANX_OK) status = write_file(path, &c, &pickle, options, err);
    anx_pickle_fini(&pickle);
    return status;
}

anx_status anx_pth_write(const char *path, const anx_state_dict *dict, const anx_pth_options *options, anx_error *err) {
    static const anx_pth_options defaults = {.folder = NULL};
    if (options == NULL) options = &defaults;
    anx_pickle_tree tree = ANX_PICKLE_TREE_INIT;
    const anx_pth_pickling pickling = {
        .n_tensors = dict->count, .modules = options->modules, .n_modules = options->n_modules, .tree = &tree};
    anx_pth_layout layout = {.storages = NULL};
    anx_status status = anx_pth_layout_by_memory(dict->items, dict->count, options->source != NULL, &layout, err);
    if (status == ANX_OK) status = anx_pth_write_pickling(path, &layout, &pickling, options, err);
    if (status != ANX_OK) anx_error_in_file(err, path);
    anx_pickle_tree_fini(&tree);
    anx_pth_layout_fini(&layout);
    return status;
}

anx_status anx_pth_can_keep_metadata(const anx_saving *saving, bool *can, anx_error *err) {
    *can = !saving->plain_dict; /* only an OrderedDict has attributes */
    return *can ? anx_pickle_is_plain(saving->metadata, can, err) : ANX_OK;
}

anx_status anx_pth_save(const anx_saving *saving, const char *path, anx_file_writer *file, anx_rounding *rounding,
                        anx_error *err) {
    char *folder = NULL;
    contents c = {.rounding = rounding};
    anx_pickle_tree tree = ANX_PICKLE_TREE_INIT;
    const anx_pth_pickling pickling = {.n_tensors = saving->n_items,
                                       .plain_dict = saving->plain_dict,
                                       .metadata = saving->metadata,
                                       .keys = saving->keys,
                                       .tree = &tree};
    anx_pickle_writer pickle = {0};
    const bool named = strcmp(path, "-") != 0; /* torch.save calls what it writes to a file object "archive" */
    anx_status status = named ? anx_pth_folder(path, &folder, err) : ANX_OK;
    if (status == ANX_OK) status = anx_pth_layout_by_storage(saving, &c.layout, err);
    if (status == ANX_OK) status = anx_pth_pickle(&c.layout, &pickling, &pickle, err);
    if (status == ANX_OK) status = write_archive(&c, named ? folder : "archive", &pickle, file, err);
    anx_pickle_fini(&pickle);
    anx_pickle_tree_fini(&tree);
    anx_pth_layout_fini(&c.layout);
    free(folder);
    return status;
}
