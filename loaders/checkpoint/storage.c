#include "loaders/checkpoint/storage.h"

#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint_impl.h"
#include "src/base/checked.h"

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

/* Aligned memory that lives as long as the checkpoint. */
static anx_status add_copy(anx_checkpoint_impl *impl, size_t n_bytes, void **out, anx_error *err) {
    if (impl->n_copies == impl->copies_capacity) {
        const size_t capacity = impl->copies_capacity == 0 ? 16 : impl->copies_capacity * 2;
        void **copies = reallocarray(impl->copies, capacity, sizeof *copies);
        if (copies == NULL) return out_of_memory(err);
        impl->copies = copies;
        impl->copies_capacity = capacity;
    }
    size_t rounded;
    void *copy = NULL;
    if (anx_checked_align_size(n_bytes > 0 ? n_bytes : 1, ANX_ALIGNMENT_BYTES, &rounded))
        copy = aligned_alloc(ANX_ALIGNMENT_BYTES, rounded);
    if (copy == NULL) return out_of_memory(err);
    impl->copies[impl->n_copies++] = copy;
    *out = copy;
    return ANX_OK;
}

anx_status anx_storage_create(anx_checkpoint_impl *impl, anx_dtype dtype, int64_t n_elems, const char *key,
                              size_t key_bytes, const uint8_t *bytes, bool big_endian, anx_storage **out,
                              anx_error *err) {
    anx_storage *storage = anx_arena_alloc(&impl->arena, 1, sizeof *storage);
    char *name = anx_arena_text(&impl->arena, key, key_bytes);
    if (storage == NULL || name == NULL) return anx_arena_error(&impl->arena, err);
    *storage = (anx_storage){.dtype = dtype, .n_elems = n_elems, .key = name};
    anx_status status = anx_storage_place(impl, storage, bytes, big_endian, err);
    if (status == ANX_OK) *out = storage;
    return status;
}

anx_status anx_storage_place(anx_checkpoint_impl *impl, anx_storage *storage, const uint8_t *bytes, bool big_endian,
                             anx_error *err) {
    const size_t element_bytes = anx_dtype_bytes(storage->dtype);
    const bool swapped = big_endian && element_bytes > 1;
    storage->file_offset = (uint64_t)(bytes - impl->map.bytes);
    if (impl->options.as_stored || (!swapped && (uintptr_t)bytes % element_bytes == 0)) {
        storage->data = bytes;
        storage->swapped = swapped;
        return ANX_OK;
    }
    void *copy = NULL;
    anx_status status = add_copy(impl, (size_t)storage->n_elems * element_bytes, &copy, err);
    if (status != ANX_OK) return status;
    const anx_elements elements = {.tensor = anx_tensor_view(storage->dtype, 1, &storage->n_elems, bytes),
                                   .swapped = swapped};
    if (storage->n_elems > 0) anx_elements_read(&elements, 0, storage->n_elems, storage->dtype, copy, NULL);
    storage->data = copy;
    return ANX_OK;
}
