#include "loaders/checkpoint/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint_impl.h"
#include "loaders/checkpoint/sniff.h"
#include "loaders/checkpoint/text.h"

/* A new format is one new file and one line here, and one in sniff.c. */
static const struct {
    anx_file_kind kind;
    anx_status (*read)(anx_checkpoint *checkpoint, anx_error *err);
} readers[] = {
    {ANX_FILE_ZIP, anx_torch_zip_read},
    {ANX_FILE_TORCH_LEGACY, anx_torch_legacy_read},
    {ANX_FILE_TORCH_TAR, anx_torch_tar_read},
    {ANX_FILE_SAFETENSORS, anx_safetensors_read},
    {ANX_FILE_BIN, anx_bin_read},
};

/*
 * What a file describes may take as much memory as the file is long, and a little more: ten thousand tensors take
 * 15 MB. A file is then no way to make a machine run out of memory that it could not fill itself.
 */
static size_t value_limit(size_t file_bytes) {
    static const size_t least = (size_t)24 << 20, most = (size_t)512 << 20;
    return file_bytes < most - least ? file_bytes + least : most;
}

static anx_status refuse_unknown(const anx_file_map *map, anx_error *err) {
    char text[80];
    return anx_error_set(err, ANX_ERR_UNSUPPORTED,
                         "an unknown kind of file, beginning with '%s'; a PyTorch checkpoint (zip, legacy stream or "
                         "tar), safetensors or anx bin was expected",
                         anx_text_printable(map->bytes, map->n_bytes < 16 ? map->n_bytes : 16, text, sizeof text));
}

static anx_status read_by_content(anx_checkpoint *checkpoint, anx_error *err) {
    const anx_file_map *map = &anx_checkpoint_impl_of(checkpoint)->map;
    const anx_file_format *format = anx_sniff(map->bytes, map->n_bytes);
    if (format->kind == ANX_FILE_REFUSED) return anx_sniff_refuse(format, err);
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++)
        if (readers[i].kind == format->kind) return readers[i].read(checkpoint, err);
    return refuse_unknown(map, err);
}

anx_status anx_checkpoint_open(const char *path, const anx_checkpoint_options *options, anx_checkpoint **out,
                               anx_error *err) {
    anx_status status = ANX_OK;
    anx_checkpoint *checkpoint = calloc(1, sizeof *checkpoint);
    anx_checkpoint_impl *impl = calloc(1, sizeof *impl);
    if (checkpoint != NULL) {
        checkpoint->impl = impl;
        checkpoint->path = strdup(path);
    }
    if (checkpoint == NULL || impl == NULL || checkpoint->path == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
        if (checkpoint == NULL) free(impl);
        goto out;
    }
    if (options != NULL) impl->options = *options;
    status = anx_file_map_init(&impl->map, path, err);
    if (status != ANX_OK) goto out;
    checkpoint->file_bytes = impl->map.n_bytes;
    impl->arena.limit_bytes = value_limit(impl->map.n_bytes);
    status = read_by_content(checkpoint, err);
out:
    if (status == ANX_OK) {
        *out = checkpoint;
    } else {
        anx_error_in_file(err, path);
        anx_checkpoint_close(checkpoint);
    }
    return status;
}

void anx_checkpoint_close(anx_checkpoint *checkpoint) {
    if (checkpoint == NULL) return;
    anx_checkpoint_impl *impl = checkpoint->impl;
    anx_state_dict_fini(&checkpoint->tensors);
    if (impl != NULL) {
        anx_safetensors_close(impl->safetensors);
        for (size_t i = 0; i < impl->n_copies; i++) free(impl->copies[i]);
        free(impl->copies);
        anx_arena_fini(&impl->arena);
        anx_file_map_fini(&impl->map);
        free(impl);
    }
    free(checkpoint->wrapped_in);
    free(checkpoint->path);
    free(checkpoint);
}

anx_elements anx_checkpoint_elements(const anx_checkpoint *checkpoint, size_t i) {
    const anx_storage *storage = anx_checkpoint_impl_of(checkpoint)->entries[i].storage;
    return (anx_elements){.tensor = checkpoint->tensors.items[i].tensor, .swapped = storage->swapped};
}

anx_status anx_checkpoint_file_digest(anx_checkpoint *checkpoint, anx_digest *out, anx_error *err) {
    anx_checkpoint_impl *impl = anx_checkpoint_impl_of(checkpoint);
    if (!impl->has_digest) {
        anx_status status = anx_sha256_buffer(impl->map.bytes, impl->map.n_bytes, &impl->digest, err);
        if (status != ANX_OK) return status;
        impl->has_digest = true;
    }
    *out = impl->digest;
    return ANX_OK;
}
