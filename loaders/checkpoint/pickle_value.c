#include <string.h>

#include "loaders/checkpoint/pickle.h"

const char *anx_pickle_kind_phrase(anx_pickle_kind kind) {
    static const char *const phrases[ANX_PICKLE_KIND_COUNT] = {
        [ANX_PICKLE_NONE] = "None",         [ANX_PICKLE_BOOL] = "a bool",     [ANX_PICKLE_INT] = "an int",
        [ANX_PICKLE_BIG_INT] = "an int",    [ANX_PICKLE_FLOAT] = "a float",   [ANX_PICKLE_STRING] = "a str",
        [ANX_PICKLE_BYTES] = "a bytes",     [ANX_PICKLE_TUPLE] = "a tuple",   [ANX_PICKLE_LIST] = "a list",
        [ANX_PICKLE_SET] = "a set",         [ANX_PICKLE_DICT] = "a dict",     [ANX_PICKLE_GLOBAL] = "a global",
        [ANX_PICKLE_STORAGE] = "a storage", [ANX_PICKLE_TENSOR] = "a tensor", [ANX_PICKLE_OBJECT] = "an object",
    };
    return (unsigned)kind < ANX_PICKLE_KIND_COUNT ? phrases[kind] : "unknown";
}

const char *anx_pickle_kind_name(anx_pickle_kind kind) {
    const char *phrase = anx_pickle_kind_phrase(kind), *space = strchr(phrase, ' ');
    return space != NULL ? space + 1 : phrase;
}

bool anx_pickle_is_string(const anx_pickle_value *value, const char *text) {
    return value->kind == ANX_PICKLE_STRING && value->u.text.n_bytes == strlen(text) &&
           memcmp(value->u.text.bytes, text, value->u.text.n_bytes) == 0;
}

anx_status anx_pickle_storage_value(const anx_storage *storage, anx_arena *arena, anx_pickle_value **out,
                                    anx_error *err) {
    anx_pickle_value *v = anx_arena_alloc(arena, 1, sizeof *v);
    if (v == NULL) return anx_arena_error(arena, err);
    v->kind = ANX_PICKLE_STORAGE;
    v->u.storage = storage;
    *out = v;
    return ANX_OK;
}

anx_pickle_value *anx_pickle_dict_find(const anx_pickle_value *dict, const char *key) {
    for (size_t i = dict->u.dict.count; i-- > 0;)
        if (anx_pickle_is_string(dict->u.dict.items[2 * i], key)) return dict->u.dict.items[2 * i + 1];
    return NULL;
}
