#include "src/base/state_dict.h"

#include <stdlib.h>
#include <string.h>

const anx_tensor *anx_state_dict_find(const anx_state_dict *dict, const char *name) {
    for (size_t i = 0; i < dict->count; i++)
        if (strcmp(dict->items[i].name, name) == 0) return &dict->items[i].tensor;
    return NULL;
}

anx_status anx_state_dict_add(anx_state_dict *dict, const char *name, const anx_tensor *tensor, anx_error *err) {
    if (anx_state_dict_find(dict, name) != NULL)
        return anx_error_set(err, ANX_ERR_EXISTS, "the name '%s' occurs twice", name);
    if (dict->count == dict->capacity) {
        const size_t capacity = dict->capacity == 0 ? 16 : dict->capacity * 2;
        anx_named_tensor *items = reallocarray(dict->items, capacity, sizeof *items);
        if (items == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
        dict->items = items;
        dict->capacity = capacity;
    }
    char *copy = strdup(name);
    if (copy == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    dict->items[dict->count++] = (anx_named_tensor){.name = copy, .tensor = *tensor};
    return ANX_OK;
}

void anx_state_dict_fini(anx_state_dict *dict) {
    if (dict == NULL) return;
    for (size_t i = 0; i < dict->count; i++) {
        free(dict->items[i].name);
        anx_tensor_fini(&dict->items[i].tensor);
    }
    free(dict->items);
    *dict = (anx_state_dict)ANX_STATE_DICT_INIT;
}
