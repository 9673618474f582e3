#include <string.h>

#include "loaders/checkpoint/pickle.h"

const char *anx_pickle_kind_name(anx_pickle_kind kind) {
    static const char *const names[ANX_PICKLE_KIND_COUNT] = {
        [ANX_PICKLE_NONE] = "None",       [ANX_PICKLE_BOOL] = "bool",     [ANX_PICKLE_INT] = "int",
        [ANX_PICKLE_BIG_INT] = "int",     [ANX_PICKLE_FLOAT] = "float",   [ANX_PICKLE_STRING] = "str",
        [ANX_PICKLE_BYTES] = "bytes",     [ANX_PICKLE_TUPLE] = "tuple",   [ANX_PICKLE_LIST] = "list",
        [ANX_PICKLE_SET] = "set",         [ANX_PICKLE_DICT] = "dict",     [ANX_PICKLE_GLOBAL] = "global",
        [ANX_PICKLE_STORAGE] = "storage", [ANX_PICKLE_TENSOR] = "tensor", [ANX_PICKLE_OBJECT] = "object",
    };
    return (unsigned)kind < ANX_PICKLE_KIND_COUNT ? names[kind] : "unknown";
}

bool anx_pickle_is_string(const anx_pickle_value *value, const char *text) {
    return value->kind == ANX_PICKLE_STRING && value->u.text.n_bytes == strlen(text) &&
           memcmp(value->u.text.bytes, text, value->u.text.n_bytes) == 0;
}

anx_pickle_value *anx_pickle_dict_find(const anx_pickle_value *dict, const char *key) {
    for (size_t i = dict->u.dict.count; i-- > 0;)
        if (anx_pickle_is_string(dict->u.dict.items[2 * i], key)) return dict->u.dict.items[2 * i + 1];
    return NULL;
}
