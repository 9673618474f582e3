#include "loaders/checkpoint/torch_storage_id.h"

#include "loaders/checkpoint/text.h"

anx_status anx_torch_storage_id_parse(const anx_pickle_value *id, bool legacy, anx_torch_storage_id *out,
                                      anx_error *err) {
    anx_pickle_value *const *items = id->u.list.items;
    const size_t n = legacy ? 6 : 5;
    if (id->kind == ANX_PICKLE_TUPLE && id->u.list.count > 0 && anx_pickle_is_string(items[0], "module"))
        return anx_error_set(err, ANX_ERR_UNSUPPORTED,
                             "a whole module was saved, with its source code; save model.state_dict() instead");
    if (id->kind != ANX_PICKLE_TUPLE || id->u.list.count != n || !anx_pickle_is_string(items[0], "storage") ||
        items[1]->kind != ANX_PICKLE_GLOBAL || !items[1]->u.global->is_storage || items[2]->kind != ANX_PICKLE_STRING ||
        items[3]->kind != ANX_PICKLE_STRING || items[4]->kind != ANX_PICKLE_INT)
        return anx_error_set(err, ANX_ERR_FORMAT,
                             "a persistent id other than ('storage', storage class, key, location, elements%s)",
                             legacy ? ", view" : "");
    if (items[4]->u.integer < 0)
        return anx_error_set(err, ANX_ERR_FORMAT, "a storage of %lld elements", (long long)items[4]->u.integer);
    *out = (anx_torch_storage_id){.dtype = items[1]->u.global->dtype,
                                  .key = items[2]->u.text.bytes,
                                  .key_bytes = items[2]->u.text.n_bytes,
                                  .n_elems = items[4]->u.integer,
                                  .view = legacy && items[5]->kind != ANX_PICKLE_NONE ? items[5] : NULL};
    return ANX_OK;
}

anx_status anx_torch_storage_id_conflict(const anx_torch_storage_id *id, const anx_storage *before, anx_error *err) {
    char key[100];
    return anx_error_set(err, ANX_ERR_FORMAT, "storage '%s' of %lld %s elements was %lld %s elements before",
                         anx_text_printable(id->key, id->key_bytes, key, sizeof key), (long long)id->n_elems,
                         anx_dtype_name(id->dtype), (long long)before->n_elems, anx_dtype_name(before->dtype));
}
