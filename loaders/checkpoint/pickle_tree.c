#include "loaders/checkpoint/pickle_tree.h"

#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/pickle_globals.h"

void anx_pickle_tree_fini(anx_pickle_tree *tree) {
    free(tree->names);
    anx_arena_fini(&tree->arena);
    *tree = (anx_pickle_tree)ANX_PICKLE_TREE_INIT;
}

static anx_pickle_value *fail(anx_pickle_tree *tree) {
    tree->failed = true;
    tree->nothing = (anx_pickle_value){.kind = ANX_PICKLE_NONE};
    return &tree->nothing;
}

static anx_pickle_value *new_value(anx_pickle_tree *tree, anx_pickle_kind kind) {
    anx_pickle_value *v = tree->failed ? NULL : anx_arena_alloc(&tree->arena, 1, sizeof *v);
    if (v == NULL) return fail(tree);
    v->kind = kind;
    return v;
}

anx_pickle_value *anx_pickle_tree_none(anx_pickle_tree *tree) {
    return new_value(tree, ANX_PICKLE_NONE);
}

anx_pickle_value *anx_pickle_tree_bool(anx_pickle_tree *tree, bool value) {
    anx_pickle_value *v = new_value(tree, ANX_PICKLE_BOOL);
    v->u.boolean = value;
    return v;
}

anx_pickle_value *anx_pickle_tree_int(anx_pickle_tree *tree, int64_t value) {
    anx_pickle_value *v = new_value(tree, ANX_PICKLE_INT);
    v->u.integer = value;
    return v;
}

anx_pickle_value *anx_pickle_tree_float(anx_pickle_tree *tree, double value) {
    anx_pickle_value *v = new_value(tree, ANX_PICKLE_FLOAT);
    v->u.real = value;
    return v;
}

anx_pickle_value *anx_pickle_tree_leaf(anx_pickle_tree *tree, size_t leaf) {
    anx_pickle_value *v = new_value(tree, ANX_PICKLE_TENSOR);
    v->u.leaf = leaf;
    return v;
}

/* ---- strings -------------------------------------------------------------------------------------------- */

static anx_pickle_value *new_string(anx_pickle_tree *tree, const char *text, size_t n_bytes) {
    char *copy = tree->failed ? NULL : anx_arena_text(&tree->arena, text, n_bytes);
    if (copy == NULL) return fail(tree);
    anx_pickle_value *v = new_value(tree, ANX_PICKLE_STRING);
    if (tree->failed) return v;
    v->u.text.bytes = copy;
    v->u.text.n_bytes = n_bytes;
    return v;
}

static anx_pickle_value **slot_of(anx_pickle_value **slots, size_t capacity, const char *text, size_t n_bytes) {
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < n_bytes; i++) hash = (hash ^ (uint8_t)text[i]) * 1099511628211u;
    for (size_t i = (size_t)(hash ^ hash >> 32);; i++) {
        anx_pickle_value **slot = &slots[i & (capacity - 1)];
        if (*slot == NULL) return slot;
        if ((*slot)->u.text.n_bytes == n_bytes && memcmp((*slot)->u.text.bytes, text, n_bytes) == 0) return slot;
    }
}

static bool grow(anx_pickle_tree *tree) {
    const size_t capacity = tree->capacity == 0 ? 128 : tree->capacity * 2;
    anx_pickle_value **names = calloc(capacity, sizeof *names);
    if (names == NULL) return false;
    for (size_t i = 0; i < tree->capacity; i++) {
        anx_pickle_value *v = tree->names[i];
        if (v != NULL) *slot_of(names, capacity, v->u.text.bytes, v->u.text.n_bytes) = v;
    }
    free(tree->names);
    tree->names = names;
    tree->capacity = capacity;
    return true;
}

anx_pickle_value *anx_pickle_tree_name(anx_pickle_tree *tree, const char *text) {
    if (2 * (tree->n_names + 1) > tree->capacity && !grow(tree)) return fail(tree);
    const size_t n_bytes = strlen(text);
    anx_pickle_value **slot = slot_of(tree->names, tree->capacity, text, n_bytes);
    if (*slot != NULL) return *slot;
    anx_pickle_value *v = new_string(tree, text, n_bytes);
    if (tree->failed) return v;
    tree->n_names++;
    return *slot = v;
}

bool anx_pickle_tree_is_singleton(const char *text) {
    if (text[0] == '\0' || text[1] == '\0') return true;
    return ((uint8_t)text[0] == 0xc2 || (uint8_t)text[0] == 0xc3) && text[2] == '\0';
}

anx_pickle_value *anx_pickle_tree_text(anx_pickle_tree *tree, const char *text) {
    return anx_pickle_tree_is_singleton(text) ? anx_pickle_tree_name(tree, text) : new_string(tree, text, strlen(text));
}

/* ---- containers ----------------------------------------------------------------------------------------- */

anx_pickle_value *anx_pickle_tree_list(anx_pickle_tree *tree) {
    return new_value(tree, ANX_PICKLE_LIST);
}

anx_pickle_value *anx_pickle_tree_dict(anx_pickle_tree *tree, bool ordered) {
    anx_pickle_value *v = new_value(tree, ANX_PICKLE_DICT);
    v->u.dict.ordered = ordered;
    return v;
}

/* Room for n_more items behind the `used` ones. */
static bool make_room(anx_pickle_tree *tree, anx_pickle_value ***items, size_t *capacity, size_t used, size_t n_more) {
    if (tree->failed) return false;
    if (used + n_more <= *capacity) return true;
    const size_t wanted = *capacity == 0 ? 8 : *capacity * 2;
    anx_pickle_value **larger = anx_arena_alloc(&tree->arena, wanted, sizeof *larger);
    if (larger == NULL) {
        fail(tree);
        return false;
    }
    if (used > 0) memcpy(larger, *items, used * sizeof *larger);
    *items = larger;
    *capacity = wanted;
    return true;
}

void anx_pickle_tree_append(anx_pickle_tree *tree, anx_pickle_value *list, anx_pickle_value *item) {
    if (!make_room(tree, &list->u.list.items, &list->u.list.capacity, list->u.list.count, 1)) return;
    list->u.list.items[list->u.list.count++] = item;
}

void anx_pickle_tree_set(anx_pickle_tree *tree, anx_pickle_value *dict, anx_pickle_value *key,
                         anx_pickle_value *value) {
    const size_t used = 2 * dict->u.dict.count;
    if (!make_room(tree, &dict->u.dict.items, &dict->u.dict.capacity, used, 2)) return;
    dict->u.dict.items[used] = key;
    dict->u.dict.items[used + 1] = value;
    dict->u.dict.count++;
}

void anx_pickle_tree_set_name(anx_pickle_tree *tree, anx_pickle_value *dict, const char *key, anx_pickle_value *value) {
    anx_pickle_tree_set(tree, dict, anx_pickle_tree_name(tree, key), value);
}

anx_pickle_value *anx_pickle_tree_object(anx_pickle_tree *tree, const char *module, const char *name,
                                         anx_pickle_value *arg, anx_pickle_value *state) {
    anx_pickle_value *args = anx_pickle_tree_list(tree), *v = new_value(tree, ANX_PICKLE_OBJECT);
    if (arg != NULL) anx_pickle_tree_append(tree, args, arg);
    if (tree->failed) return v;
    args->kind = ANX_PICKLE_TUPLE; /* which is a list that does not change */
    v->u.object.class = anx_pickle_global_find(module, strlen(module), name, strlen(name));
    v->u.object.args = args;
    v->u.object.state = state;
    return v;
}
