#include "loaders/checkpoint/saving.h"

#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint_impl.h"
#include "loaders/checkpoint/state_dict_json.h"
#include "src/base/checked.h"

enum { piece_bytes = 1 << 18 }; /* stays in a core's second-level cache between being made, summed and written */

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

/* The keys of the tensors, where there is _metadata whose texts they may be. */
static anx_status find_keys(const anx_checkpoint_impl *impl, anx_saving *saving, anx_error *err) {
    const anx_pickle_value *dict = impl->state_dict;
    if (impl->metadata == NULL || dict == NULL) return ANX_OK;
    saving->keys = calloc(saving->n_items + 1, sizeof *saving->keys);
    if (saving->keys == NULL) return out_of_memory(err);
    size_t n = 0;
    for (size_t i = 0; i < dict->u.dict.count && n < saving->n_items; i++)
        if (dict->u.dict.items[2 * i + 1]->kind == ANX_PICKLE_TENSOR) saving->keys[n++] = dict->u.dict.items[2 * i];
    return ANX_OK;
}

anx_status anx_saving_init(const anx_checkpoint *checkpoint, anx_saving *out, anx_error *err) {
    const anx_checkpoint_impl *impl = anx_checkpoint_impl_of(checkpoint);
    const size_t n = checkpoint->tensors.count;
    const size_t n_pairs = impl->safetensors != NULL ? impl->safetensors->n_metadata : 0;
    anx_saving saving = ANX_SAVING_INIT;
    saving.items = calloc(n + 1, sizeof *saving.items);
    saving.pairs = calloc(n_pairs + 1, sizeof *saving.pairs);
    if (saving.items == NULL || saving.pairs == NULL) {
        anx_saving_fini(&saving);
        return out_of_memory(err);
    }
    for (size_t i = 0; i < n; i++) {
        const anx_checkpoint_entry *entry = &impl->entries[i];
        saving.items[i] = (anx_saving_item){.name = checkpoint->tensors.items[i].name,
                                            .elements = anx_checkpoint_elements(checkpoint, i),
                                            .dtype = entry->storage->dtype,
                                            .storage = entry->storage,
                                            .offset = entry->offset,
                                            .is_parameter = entry->is_parameter,
                                            .requires_grad = entry->requires_grad,
                                            .object = entry->object};
    }
    for (size_t i = 0; i < n_pairs; i++)
        if (strcmp(impl->safetensors->metadata[i].key, anx_state_dict_pair) != 0 || !impl->has_text)
            saving.pairs[saving.n_pairs++] =
                (anx_safetensors_meta){impl->safetensors->metadata[i].key, impl->safetensors->metadata[i].value};
    saving.n_items = n;
    saving.has_pairs = impl->safetensors != NULL;
    saving.by_name = impl->safetensors != NULL && !impl->has_text;
    saving.metadata = impl->metadata;
    saving.plain_dict = impl->plain_dict;
    const anx_status status = find_keys(impl, &saving, err);
    if (status == ANX_OK)
        *out = saving;
    else
        anx_saving_fini(&saving);
    return status;
}

void anx_saving_fini(anx_saving *saving) {
    if (saving == NULL) return;
    free(saving->items);
    free(saving->pairs);
    free(saving->keys);
    anx_arena_fini(&saving->arena);
    *saving = (anx_saving)ANX_SAVING_INIT;
}

uint64_t anx_saving_item_bytes(const anx_saving_item *item) {
    size_t bytes;
    const size_t elems = (size_t)anx_tensor_elems(&item->elements.tensor);
    return anx_checked_mul_size(elems, anx_dtype_bytes(item->dtype), &bytes) ? bytes : UINT64_MAX;
}

anx_status anx_saving_item_read(const anx_saving_item *item, anx_rounding *rounding, anx_saving_take take, void *user,
                                anx_error *err) {
    const anx_elements *e = &item->elements;
    const int64_t elems = anx_tensor_elems(&e->tensor), bytes = (int64_t)anx_dtype_bytes(item->dtype);
    const int64_t in_piece = piece_bytes / bytes;
    const char *in_place = item->dtype == e->tensor.dtype ? anx_elements_in_place(e) : NULL;
    char *piece = in_place == NULL && elems > 0 ? malloc(piece_bytes) : NULL;
    if (in_place == NULL && elems > 0 && piece == NULL) return out_of_memory(err);
    anx_status status = ANX_OK;
    for (int64_t done = 0; done < elems && status == ANX_OK; done += in_piece) {
        const int64_t now = elems - done < in_piece ? elems - done : in_piece;
        if (in_place == NULL) anx_elements_read(e, done, now, item->dtype, piece, rounding);
        status = take(user, in_place != NULL ? in_place + done * bytes : piece, (size_t)(now * bytes), err);
    }
    free(piece);
    return status;
}
