/* From what a file holds to named tensors: where the state_dict is, and what its keys are called. */
#include <stdio.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint_impl.h"
#include "loaders/checkpoint/text.h"

static const char module_prefix[] = "module."; /* what DataParallel and DistributedDataParallel put before names */
enum { module_bytes = sizeof module_prefix - 1 };

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

static bool has_module_prefix(const char *name, size_t n_bytes) {
    return n_bytes > module_bytes && memcmp(name, module_prefix, module_bytes) == 0;
}

/* ---- finding it ----------------------------------------------------------------------------------------- */

static size_t count_tensors(const anx_pickle_value *dict) {
    size_t n = 0;
    for (size_t i = 0; i < dict->u.dict.count; i++) n += dict->u.dict.items[2 * i + 1]->kind == ANX_PICKLE_TENSOR;
    return n;
}

/* "'epoch' (int), 'net' (dict), ..." into buf. */
static char *list_keys(const anx_pickle_value *dict, char *buf, size_t size) {
    size_t used = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < dict->u.dict.count; i++) {
        const anx_pickle_value *key = dict->u.dict.items[2 * i], *value = dict->u.dict.items[2 * i + 1];
        char text[64] = "?";
        if (key->kind == ANX_PICKLE_STRING)
            anx_text_printable(key->u.text.bytes, key->u.text.n_bytes, text, sizeof text);
        if (i == 8 || used + 100 > size) {
            snprintf(buf + used, size - used, ", ...");
            break;
        }
        used += (size_t)snprintf(buf + used, size - used, "%s'%s' (%s)", i > 0 ? ", " : "", text,
                                 anx_pickle_kind_name(value->kind));
    }
    return buf;
}

/* The dict that holds the tensors: the root, or what training scripts wrap it in. */
static anx_status find_state_dict(anx_checkpoint *checkpoint, anx_error *err) {
    static const char *const wrappers[] = {"state_dict", "model"};
    anx_checkpoint_impl *impl = anx_checkpoint_impl_of(checkpoint);
    if (impl->root->kind != ANX_PICKLE_DICT)
        return anx_error_set(err, ANX_ERR_FORMAT, "the file holds %s; a state_dict was expected",
                             anx_pickle_kind_phrase(impl->root->kind));
    impl->state_dict = impl->root;
    for (size_t i = 0; i < sizeof wrappers / sizeof wrappers[0] && impl->state_dict == impl->root; i++) {
        anx_pickle_value *inner = anx_pickle_dict_find(impl->root, wrappers[i]);
        if (inner == NULL || inner->kind != ANX_PICKLE_DICT) continue;
        impl->state_dict = inner;
        checkpoint->wrapped_in = strdup(wrappers[i]);
        if (checkpoint->wrapped_in == NULL) return out_of_memory(err);
    }
    if (count_tensors(impl->state_dict) > 0) return ANX_OK;
    char keys[1024];
    if (impl->state_dict->u.dict.count == 0)
        return anx_error_set(err, ANX_ERR_FORMAT, "%s%s is an empty dict; tensors were expected in it",
                             checkpoint->wrapped_in != NULL ? "its " : "the file",
                             checkpoint->wrapped_in != NULL ? checkpoint->wrapped_in : "");
    return anx_error_set(err, ANX_ERR_FORMAT,
                         "no tensors among %s; a state_dict was expected, by itself, or under 'state_dict' or 'model'",
                         list_keys(impl->state_dict, keys, sizeof keys));
}

/* ---- its tensors ---------------------------------------------------------------------------------------- */

anx_tensor anx_pickle_tensor_view(const anx_pickle_tensor *t) {
    const char *data = t->storage->data;
    const int64_t element_bytes = (int64_t)anx_dtype_bytes(t->storage->dtype);
    anx_tensor view = anx_tensor_view(t->storage->dtype, t->rank, t->shape, data + t->offset * element_bytes);
    memcpy(view.stride, t->stride, sizeof view.stride);
    return view;
}

static anx_status add(anx_checkpoint *checkpoint, const char *name, const anx_tensor *tensor, anx_error *err) {
    if (checkpoint->module_prefix_removed) name += module_bytes;
    anx_status status = anx_state_dict_add(&checkpoint->tensors, name, tensor, err);
    if (status != ANX_ERR_EXISTS) return status;
    char text[200];
    return anx_error_set(err, ANX_ERR_FORMAT, "the key '%s' occurs twice",
                         anx_text_printable(name, strlen(name), text, sizeof text));
}

static anx_status key_text(anx_checkpoint_impl *impl, const anx_pickle_value *key, const char **out, anx_error *err) {
    char text[200];
    if (key->kind != ANX_PICKLE_STRING)
        return anx_error_set(err, ANX_ERR_FORMAT, "the state_dict has %s as a key; names were expected",
                             anx_pickle_kind_phrase(key->kind));
    if (memchr(key->u.text.bytes, '\0', key->u.text.n_bytes) != NULL)
        return anx_error_set(err, ANX_ERR_FORMAT, "the key '%s' holds a NUL",
                             anx_text_printable(key->u.text.bytes, key->u.text.n_bytes, text, sizeof text));
    const char *copy = anx_arena_text(&impl->arena, key->u.text.bytes, key->u.text.n_bytes);
    if (copy == NULL) return anx_arena_error(&impl->arena, err);
    *out = copy;
    return ANX_OK;
}

static anx_status add_entry(anx_checkpoint *checkpoint, const char *name, const anx_tensor *tensor,
                            const anx_checkpoint_entry *entry, anx_error *err) {
    anx_checkpoint_impl *impl = anx_checkpoint_impl_of(checkpoint);
    const size_t i = checkpoint->tensors.count;
    anx_status status = add(checkpoint, name, tensor, err);
    if (status == ANX_OK) impl->entries[i] = *entry;
    return status;
}

static anx_status make_entries(anx_checkpoint_impl *impl, size_t n, anx_error *err) {
    if (n > ANX_CHECKPOINT_MAX_TENSORS)
        return anx_error_set(err, ANX_ERR_LIMIT, "the file holds %zu tensors; at most %d are taken", n,
                             (int)ANX_CHECKPOINT_MAX_TENSORS);
    impl->entries = anx_arena_alloc(&impl->arena, n, sizeof *impl->entries);
    return impl->entries != NULL ? ANX_OK : anx_arena_error(&impl->arena, err);
}

static const anx_pickle_value *find_metadata(const anx_pickle_value *dict) {
    const anx_pickle_value *attributes = dict->u.dict.attributes;
    const anx_pickle_value *metadata = attributes != NULL ? anx_pickle_dict_find(attributes, "_metadata") : NULL;
    return metadata != NULL && metadata->kind == ANX_PICKLE_DICT ? metadata : NULL;
}

anx_status anx_state_dict_extract(anx_checkpoint *checkpoint, anx_error *err) {
    anx_checkpoint_impl *impl = anx_checkpoint_impl_of(checkpoint);
    anx_status status = find_state_dict(checkpoint, err);
    if (status != ANX_OK) return status;
    const anx_pickle_value *dict = impl->state_dict;
    const size_t n_tensors = count_tensors(dict);
    impl->metadata = find_metadata(dict);
    impl->plain_dict = !dict->u.dict.ordered;
    impl->others = anx_arena_alloc(&impl->arena, dict->u.dict.count - n_tensors, sizeof *impl->others);
    if (impl->others == NULL) return anx_arena_error(&impl->arena, err);
    status = make_entries(impl, n_tensors, err);
    if (status != ANX_OK) return status;
    size_t prefixed = 0;
    for (size_t i = 0; i < dict->u.dict.count; i++) {
        const anx_pickle_value *key = dict->u.dict.items[2 * i];
        prefixed += dict->u.dict.items[2 * i + 1]->kind == ANX_PICKLE_TENSOR && key->kind == ANX_PICKLE_STRING &&
                    has_module_prefix(key->u.text.bytes, key->u.text.n_bytes);
    }
    checkpoint->module_prefix_removed = prefixed == n_tensors && !impl->options.keep_prefix;
    for (size_t i = 0; i < dict->u.dict.count && status == ANX_OK; i++) {
        const anx_pickle_value *value = dict->u.dict.items[2 * i + 1];
        const char *name = NULL;
        status = key_text(impl, dict->u.dict.items[2 * i], &name, err);
        if (status != ANX_OK) break;
        if (value->kind != ANX_PICKLE_TENSOR) {
            if (checkpoint->module_prefix_removed && has_module_prefix(name, strlen(name))) name += module_bytes;
            impl->others[impl->n_others++] = (anx_checkpoint_other){name, value->kind};
            continue;
        }
        const anx_pickle_tensor *t = value->u.tensor;
        const anx_tensor view = anx_pickle_tensor_view(t);
        status = add_entry(checkpoint, name, &view,
                           &(anx_checkpoint_entry){.storage = t->storage,
                                                   .offset = t->offset,
                                                   .is_parameter = t->is_parameter,
                                                   .requires_grad = t->requires_grad,
                                                   .object = value},
                           err);
    }
    return status;
}

anx_status anx_state_dict_from_list(anx_checkpoint *checkpoint, const anx_state_dict *tensors, const uint8_t *bytes,
                                    const uint32_t *crcs, anx_error *err) {
    anx_checkpoint_impl *impl = anx_checkpoint_impl_of(checkpoint);
    size_t prefixed = 0;
    for (size_t i = 0; i < tensors->count; i++)
        prefixed += has_module_prefix(tensors->items[i].name, strlen(tensors->items[i].name));
    if (tensors->count == 0) return anx_error_set(err, ANX_ERR_FORMAT, "the file holds no tensors");
    checkpoint->module_prefix_removed = prefixed == tensors->count && !impl->options.keep_prefix;
    anx_status status = make_entries(impl, tensors->count, err);
    for (size_t i = 0; i < tensors->count && status == ANX_OK; i++) {
        anx_tensor view = tensors->items[i].tensor;
        anx_storage *storage = anx_arena_alloc(&impl->arena, 1, sizeof *storage);
        const char *key = anx_arena_text(&impl->arena, tensors->items[i].name, strlen(tensors->items[i].name));
        if (storage == NULL || key == NULL) return anx_arena_error(&impl->arena, err);
        *storage =
            (anx_storage){.dtype = view.dtype, .n_elems = anx_tensor_elems(&view), .data = view.data, .key = key};
        storage->has_crc = crcs != NULL;
        if (crcs != NULL) storage->crc = crcs[i];
        const uintptr_t at = (uintptr_t)view.data - (uintptr_t)bytes;
        if (at <= checkpoint->file_bytes) storage->file_offset = at; /* a copy's place in the file is not known */
        view.owned = NULL;                                           /* stays with the list, which lives as long */
        status = add_entry(checkpoint, tensors->items[i].name, &view, &(anx_checkpoint_entry){.storage = storage}, err);
    }
    return status;
}
