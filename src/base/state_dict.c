#include "src/base/state_dict.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/*
 * FNV-1a from a start that differs from run to run, so that a file cannot be made whose names all collide.
 */
static size_t hash(const char *name) {
    static uint64_t start;
    if (start == 0) {
        uint64_t random = 0;
        if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random) random = 0;
        start = (14695981039346656037u ^ random) | 1;
    }
    uint64_t h = start;
    for (const char *p = name; *p != '\0'; p++) h = (h ^ (unsigned char)*p) * 1099511628211u;
    return (size_t)(h ^ h >> 32);
}

/* The slot that holds the name, or the free one where it would go. */
static uint32_t *slot_of(const anx_state_dict *dict, const char *name) {
    size_t i = hash(name);
    for (;; i++) {
        uint32_t *slot = &dict->slots[i & (dict->n_slots - 1)];
        if (*slot == 0 || strcmp(dict->items[*slot - 1].name, name) == 0) return slot;
    }
}

bool anx_state_dict_index(const anx_state_dict *dict, const char *name, size_t *out) {
    size_t i = 0;
    if (dict->n_slots > 0) {
        const uint32_t slot = *slot_of(dict, name);
        if (slot == 0) return false;
        *out = slot - 1;
        return true;
    }
    while (i < dict->count && strcmp(dict->items[i].name, name) != 0) i++;
    *out = i;
    return i < dict->count;
}

const anx_tensor *anx_state_dict_find(const anx_state_dict *dict, const char *name) {
    size_t i;
    return anx_state_dict_index(dict, name, &i) ? &dict->items[i].tensor : NULL;
}

/* Room for one more item, and a table at most half full. */
static bool grow(anx_state_dict *dict) {
    if (dict->count < dict->capacity) return true;
    if (dict->count >= UINT32_MAX / 4) return false;
    const size_t capacity = dict->capacity == 0 ? 16 : dict->capacity * 2;
    anx_named_tensor *items = reallocarray(dict->items, capacity, sizeof *items);
    if (items == NULL) return false;
    dict->items = items;
    uint32_t *slots = calloc(capacity * 2, sizeof *slots);
    if (slots == NULL) return false;
    free(dict->slots);
    dict->slots = slots;
    dict->n_slots = capacity * 2;
    dict->capacity = capacity;
    for (size_t i = 0; i < dict->count; i++) *slot_of(dict, items[i].name) = (uint32_t)i + 1;
    return true;
}

anx_status anx_state_dict_add(anx_state_dict *dict, const char *name, const anx_tensor *tensor, anx_error *err) {
    if (anx_state_dict_find(dict, name) != NULL)
        return anx_error_set(err, ANX_ERR_EXISTS, "the name '%s' occurs twice", name);
    if (!grow(dict)) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    char *copy = strdup(name);
    if (copy == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    *slot_of(dict, copy) = (uint32_t)dict->count + 1;
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
    free(dict->slots);
    *dict = (anx_state_dict)ANX_STATE_DICT_INIT;
}
