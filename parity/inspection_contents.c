#include "parity/inspection_contents.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/pickle_globals.h"
#include "loaders/checkpoint/text.h"

enum {
    n_slots = 1 << 15,   /* more than twice the nodes */
    max_flat_items = 16, /* a container of so few scalars is written out wherever it occurs */
    scalar_bytes = 400
};

bool anx_contents_is_container(const anx_pickle_value *value) {
    switch (value->kind) {
    case ANX_PICKLE_TUPLE:
    case ANX_PICKLE_LIST:
    case ANX_PICKLE_SET:
    case ANX_PICKLE_DICT:
    case ANX_PICKLE_OBJECT: return true;
    default: return false;
    }
}

/* ---- what a container holds ----------------------------------------------------------------------------- */

typedef struct item {
    const anx_pickle_value *key, *value;
    const char *label;
} item;

static size_t attributes_of(const anx_pickle_value *dict) {
    return dict != NULL && dict->kind == ANX_PICKLE_DICT ? dict->u.dict.count : 0;
}

static size_t arguments_of(const anx_pickle_value *object) {
    const anx_pickle_value *args = object->u.object.args;
    return args != NULL && args->kind == ANX_PICKLE_TUPLE ? args->u.list.count : 0;
}

/* Places in a container, some of which may be skipped. */
static size_t count_places(const anx_pickle_value *v) {
    switch (v->kind) {
    case ANX_PICKLE_TUPLE:
    case ANX_PICKLE_LIST:
    case ANX_PICKLE_SET: return v->u.list.count;
    case ANX_PICKLE_DICT: return v->u.dict.count + attributes_of(v->u.dict.attributes);
    case ANX_PICKLE_OBJECT: {
        const anx_pickle_value *state = v->u.object.state;
        return arguments_of(v) + (state == NULL ? 0 : state->kind == ANX_PICKLE_DICT ? state->u.dict.count : 1);
    }
    default: return 0;
    }
}

static item pair_of(const anx_pickle_value *dict, size_t i) {
    return (item){.key = dict->u.dict.items[2 * i], .value = dict->u.dict.items[2 * i + 1]};
}

static item item_at(const anx_pickle_value *v, size_t i) {
    switch (v->kind) {
    case ANX_PICKLE_DICT:
        return i < v->u.dict.count ? pair_of(v, i) : pair_of(v->u.dict.attributes, i - v->u.dict.count);
    case ANX_PICKLE_OBJECT: {
        const size_t n = arguments_of(v);
        const anx_pickle_value *state = v->u.object.state;
        if (i < n) return (item){.value = v->u.object.args->u.list.items[i]};
        return state->kind == ANX_PICKLE_DICT ? pair_of(state, i - n) : (item){.value = state, .label = "state"};
    }
    default: return (item){.value = v->u.list.items[i]};
    }
}

/* The state_dict's tensors are listed elsewhere, and its _metadata is summed up. */
static bool is_listed(const anx_checkpoint_impl *impl, const anx_pickle_value *in, size_t place, const item *it) {
    if (in != impl->state_dict) return false;
    return place < in->u.dict.count ? it->value->kind == ANX_PICKLE_TENSOR : it->value == impl->metadata;
}

/* ---- the walk ------------------------------------------------------------------------------------------- */

typedef struct walk {
    const anx_checkpoint_impl *impl;
    anx_contents *contents;
    uint32_t *slots; /* of containers that were met: index + 1 of the node, 0 where free */
} walk;

/* Few scalars and nothing else: as short as a reference to it. */
static bool is_flat(const anx_pickle_value *v) {
    const size_t n = count_places(v);
    if (n > max_flat_items || v->kind == ANX_PICKLE_DICT || v->kind == ANX_PICKLE_OBJECT) return n == 0;
    for (size_t i = 0; i < n; i++)
        if (anx_contents_is_container(v->u.list.items[i])) return false;
    return true;
}

/* The node that holds this container already, or node itself, which is then the first. */
static size_t meet(walk *w, size_t node) {
    const anx_pickle_value *value = w->contents->nodes[node].value;
    size_t i = (size_t)((uintptr_t)value >> 4) * (size_t)11400714819323198485u >> 20;
    for (;; i++) {
        uint32_t *slot = &w->slots[i % n_slots];
        if (*slot == 0) *slot = (uint32_t)node + 1;
        if (w->contents->nodes[*slot - 1].value == value) return *slot - 1;
    }
}

static void add_child(walk *w, size_t parent, size_t place, const item *it) {
    anx_contents *c = w->contents;
    const size_t i = c->count++;
    c->nodes[i] = (anx_contents_node){.value = it->value,
                                      .key = it->key,
                                      .label = it->label,
                                      .parent = parent,
                                      .depth = c->nodes[parent].depth + 1,
                                      .place = place};
    c->nodes[parent].n_children++;
}

/* Counts what a node holds, and makes nodes of it as far as there is room. */
static void expand(walk *w, size_t node) {
    anx_contents *c = w->contents;
    anx_contents_node *n = &c->nodes[node];
    if (!anx_contents_is_container(n->value)) return;
    n->same_as = is_flat(n->value) ? node : meet(w, node);
    n->is_reference = n->same_as != node;
    if (n->is_reference) return;
    const size_t places = count_places(n->value);
    n->first_child = c->count;
    for (size_t i = 0; i < places; i++) {
        const item it = item_at(n->value, i);
        if (is_listed(w->impl, n->value, i, &it)) {
            n->n_tensors += it.value->kind == ANX_PICKLE_TENSOR;
            continue;
        }
        n->n_items++;
        if (c->count < ANX_CONTENTS_MAX_NODES && n->n_children < ANX_CONTENTS_MAX_ITEMS &&
            n->depth < ANX_CONTENTS_MAX_DEPTH)
            add_child(w, node, i, &it);
        else
            c->complete = false;
    }
}

anx_status anx_contents_init(const anx_checkpoint *checkpoint, anx_contents *out, anx_error *err) {
    const anx_checkpoint_impl *impl = anx_checkpoint_impl_of(checkpoint);
    *out = (anx_contents)ANX_CONTENTS_INIT;
    if (impl->root == NULL) return ANX_OK;
    walk w = {.impl = impl, .contents = out, .slots = calloc(n_slots, sizeof *w.slots)};
    out->nodes = calloc(ANX_CONTENTS_MAX_NODES, sizeof *out->nodes);
    if (w.slots == NULL || out->nodes == NULL) {
        free(w.slots);
        anx_contents_fini(out);
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    }
    out->nodes[0].value = impl->root;
    out->count = 1;
    /* In order of depth, so that one large part does not take the room of what lies beside it. */
    for (size_t i = 0; i < out->count; i++) expand(&w, i);
    free(w.slots);
    return ANX_OK;
}

void anx_contents_fini(anx_contents *contents) {
    free(contents->nodes);
    *contents = (anx_contents)ANX_CONTENTS_INIT;
}

/* ---- texts ---------------------------------------------------------------------------------------------- */

/* The shortest text that is read as the same number, with something that shows that it is no int. */
static void put_float(double value, char *buf, size_t size) {
    if (isnan(value)) {
        snprintf(buf, size, "nan");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(buf, size, "%.*g", digits, value);
        if (strtod(buf, NULL) == value) break;
    }
    const size_t used = strlen(buf);
    if (isfinite(value) && strcspn(buf, ".e") == used) snprintf(buf + used, size - used, ".0");
}

/* Hexadecimal digits of a little-endian two's complement, the lowest last. */
static void put_big_int(const anx_pickle_value *v, char *buf, size_t size) {
    const uint8_t *bytes = (const uint8_t *)v->u.text.bytes;
    const size_t n = v->u.text.n_bytes;
    const bool negative = n > 0 && (bytes[n - 1] & 0x80) != 0;
    if (negative || n > 64) {
        snprintf(buf, size, "%s int of %zu bits", negative ? "a negative" : "an", 8 * n);
        return;
    }
    size_t used = (size_t)snprintf(buf, size, "0x");
    bool leading = true;
    for (size_t i = n; i-- > 0 && used + 3 < size;) {
        if (leading && bytes[i] == 0) continue;
        used += (size_t)snprintf(buf + used, size - used, leading ? "%x" : "%02x", bytes[i]);
        leading = false;
    }
}

/* 'text', as much of it as fits. */
static void put_text(const anx_pickle_value *v, char *buf, size_t size) {
    const bool is_bytes = v->kind == ANX_PICKLE_BYTES;
    const size_t before = is_bytes ? 2 : 1;
    if (size < 12) {
        snprintf(buf, size, "...");
        return;
    }
    memcpy(buf, "b'", 2);
    if (!is_bytes) buf[0] = '\'';
    anx_text_printable(v->u.text.bytes, v->u.text.n_bytes, buf + before, size - before - 1);
    const size_t used = strlen(buf);
    snprintf(buf + used, size - used, "'");
}

static void put_tensor(const anx_pickle_tensor *t, char *buf, size_t size) {
    char shape[200];
    snprintf(buf, size, "%s %s %s", t->is_parameter ? "Parameter" : "tensor", anx_dtype_name(t->storage->dtype),
             anx_shape_format(t->rank, t->shape, shape, sizeof shape));
}

char *anx_contents_value(const anx_pickle_value *v, char *buf, size_t size) {
    switch (v->kind) {
    case ANX_PICKLE_NONE: snprintf(buf, size, "None"); break;
    case ANX_PICKLE_BOOL: snprintf(buf, size, "%s", v->u.boolean ? "True" : "False"); break;
    case ANX_PICKLE_INT: snprintf(buf, size, "%lld", (long long)v->u.integer); break;
    case ANX_PICKLE_BIG_INT: put_big_int(v, buf, size); break;
    case ANX_PICKLE_FLOAT: put_float(v->u.real, buf, size); break;
    case ANX_PICKLE_STRING:
    case ANX_PICKLE_BYTES: put_text(v, buf, size); break;
    case ANX_PICKLE_GLOBAL: snprintf(buf, size, "%s.%s", v->u.global->module, v->u.global->name); break;
    case ANX_PICKLE_STORAGE:
        snprintf(buf, size, "storage of %lld %s", (long long)v->u.storage->n_elems,
                 anx_dtype_name(v->u.storage->dtype));
        break;
    case ANX_PICKLE_TENSOR: put_tensor(v->u.tensor, buf, size); break;
    default: snprintf(buf, size, "%s", anx_pickle_kind_name(v->kind)); break;
    }
    return buf;
}

char *anx_contents_kind(const anx_pickle_value *v, char buf[128]) {
    if (v->kind == ANX_PICKLE_OBJECT)
        snprintf(buf, 128, "%s.%s", v->u.object.class->module, v->u.object.class->name);
    else if (v->kind == ANX_PICKLE_DICT && v->u.dict.ordered)
        snprintf(buf, 128, "OrderedDict");
    else
        snprintf(buf, 128, "%s", anx_pickle_kind_name(v->kind));
    return buf;
}

char *anx_contents_key(const anx_contents *contents, size_t node, char buf[ANX_CONTENTS_KEY_BYTES]) {
    const anx_contents_node *n = &contents->nodes[node];
    char text[scalar_bytes];
    if (node == 0)
        buf[0] = '\0';
    else if (n->label != NULL)
        snprintf(buf, ANX_CONTENTS_KEY_BYTES, "%s", n->label);
    else if (n->key == NULL)
        snprintf(buf, ANX_CONTENTS_KEY_BYTES, "%zu", n->place);
    else if (n->key->kind == ANX_PICKLE_STRING)
        anx_text_printable(n->key->u.text.bytes, n->key->u.text.n_bytes, buf, ANX_CONTENTS_KEY_BYTES);
    else
        anx_text_printable(text, strlen(anx_contents_value(n->key, text, sizeof text)), buf, ANX_CONTENTS_KEY_BYTES);
    return buf;
}

char *anx_contents_path(const anx_contents *contents, size_t node, char *buf, size_t size) {
    size_t at = size - 1; /* built from its end */
    buf[at] = '\0';
    for (size_t i = node; i != 0; i = contents->nodes[i].parent) {
        char key[ANX_CONTENTS_KEY_BYTES];
        const size_t n = strlen(anx_contents_key(contents, i, key)), dot = i != node;
        if (n + dot + 3 > at) {
            memcpy(buf + at - 3, "...", 3);
            at -= 3;
            break;
        }
        if (dot) buf[--at] = '.';
        at -= n;
        memcpy(buf + at, key, n);
    }
    memmove(buf, buf + at, size - at);
    return buf;
}
