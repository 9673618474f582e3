#include "loaders/checkpoint/pickle_value_writer.h"

#include <stdlib.h>
#include <string.h>

enum { largest_long1 = 255, walking = -2 /* a container whose items are being looked at */ };

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

/* ---- numbers by identity -------------------------------------------------------------------------------- */

typedef struct slot {
    const anx_pickle_value *value; /* NULL: free */
    int64_t number;
} slot;

typedef struct table {
    slot *slots;
    size_t n, capacity; /* a power of two, or 0 */
} table;

static slot *slot_of(const table *t, const anx_pickle_value *value) {
    size_t i = (size_t)((uintptr_t)value / sizeof(void *) * 11400714819323198485u >> 20);
    while (t->slots[i & (t->capacity - 1)].value != NULL && t->slots[i & (t->capacity - 1)].value != value) i++;
    return &t->slots[i & (t->capacity - 1)];
}

static bool grow(table *t) {
    const table old = *t;
    t->capacity = old.capacity == 0 ? 256 : old.capacity * 2;
    t->slots = calloc(t->capacity, sizeof *t->slots);
    if (t->slots == NULL) {
        *t = old;
        return false;
    }
    for (size_t i = 0; i < old.capacity; i++)
        if (old.slots[i].value != NULL) *slot_of(t, old.slots[i].value) = old.slots[i];
    free(old.slots);
    return true;
}

static bool set_number(table *t, const anx_pickle_value *value, int64_t number) {
    if (2 * (t->n + 1) > t->capacity && !grow(t)) return false;
    slot *s = slot_of(t, value);
    if (s->value == NULL) t->n++;
    *s = (slot){value, number};
    return true;
}

/* ANX_PICKLE_NO_MEMO where it has none. */
static int64_t number_of(const table *t, const anx_pickle_value *value) {
    if (t->capacity == 0) return ANX_PICKLE_NO_MEMO;
    const slot *s = slot_of(t, value);
    return s->value != NULL ? s->number : ANX_PICKLE_NO_MEMO;
}

/* ---- walking -------------------------------------------------------------------------------------------- */

typedef struct frame {
    const anx_pickle_value *value; /* a container */
    size_t next;                   /* of its children: for a dict key, value, key, value, ... */
} frame;

typedef struct walk {
    frame *frames;
    size_t depth, capacity;
    table numbers;
} walk;

static void walk_fini(walk *w) {
    free(w->frames);
    free(w->numbers.slots);
}

static bool enter(walk *w, const anx_pickle_value *value) {
    if (w->depth == w->capacity) {
        const size_t capacity = w->capacity == 0 ? 32 : w->capacity * 2;
        frame *frames = reallocarray(w->frames, capacity, sizeof *frames);
        if (frames == NULL) return false;
        w->frames = frames;
        w->capacity = capacity;
    }
    w->frames[w->depth++] = (frame){value, 0};
    return true;
}

static bool is_container(const anx_pickle_value *v) {
    return v->kind == ANX_PICKLE_TUPLE || v->kind == ANX_PICKLE_LIST || v->kind == ANX_PICKLE_DICT;
}

static size_t count_children(const anx_pickle_value *v) {
    return v->kind == ANX_PICKLE_DICT ? 2 * v->u.dict.count : v->u.list.count;
}

static const anx_pickle_value *child(const anx_pickle_value *v, size_t i) {
    return v->kind == ANX_PICKLE_DICT ? v->u.dict.items[i] : v->u.list.items[i];
}

static bool is_plain_atom(const anx_pickle_value *v) {
    return v->kind == ANX_PICKLE_NONE || v->kind == ANX_PICKLE_BOOL || v->kind == ANX_PICKLE_INT ||
           v->kind == ANX_PICKLE_FLOAT || v->kind == ANX_PICKLE_STRING ||
           (v->kind == ANX_PICKLE_BIG_INT && v->u.text.n_bytes <= largest_long1);
}

anx_status anx_pickle_is_plain(const anx_pickle_value *value, bool *plain, anx_error *err) {
    walk w = {.frames = NULL};
    anx_status status = ANX_OK;
    const anx_pickle_value *next = value;
    *plain = true;
    for (;;) {
        if (next != NULL && is_container(next)) {
            const int64_t state = number_of(&w.numbers, next);
            const bool attributed = next->kind == ANX_PICKLE_DICT && next->u.dict.attributes != NULL;
            *plain = state != walking && !attributed;
            if (*plain && state == ANX_PICKLE_NO_MEMO && (!set_number(&w.numbers, next, walking) || !enter(&w, next))) {
                status = out_of_memory(err);
                break;
            }
        } else if (next != NULL) {
            *plain = is_plain_atom(next);
        }
        if (!*plain || w.depth == 0) break;
        frame *top = &w.frames[w.depth - 1];
        next = NULL;
        if (top->next < count_children(top->value)) {
            next = child(top->value, top->next++);
        } else {
            (void)set_number(&w.numbers, top->value, 0); /* it has a slot already */
            w.depth--;
        }
    }
    walk_fini(&w);
    return status;
}

/* ---- writing -------------------------------------------------------------------------------------------- */

void anx_pickle_put_ordered_dict(anx_pickle_writer *w, anx_pickle_memo *ordered_dict) {
    anx_pickle_share_global(w, "collections", "OrderedDict", ordered_dict);
    anx_pickle_put_op(w, ANX_PICKLE_OP_EMPTY_TUPLE);
    anx_pickle_put_op(w, ANX_PICKLE_OP_REDUCE);
    anx_pickle_put_memo(w);
}

static void put_atom(anx_pickle_writer *w, const anx_pickle_value *v) {
    switch (v->kind) {
    case ANX_PICKLE_BOOL: anx_pickle_put_bool(w, v->u.boolean); break;
    case ANX_PICKLE_INT: anx_pickle_put_int(w, v->u.integer); break;
    case ANX_PICKLE_BIG_INT: anx_pickle_put_big_int(w, v->u.text.bytes, v->u.text.n_bytes); break;
    case ANX_PICKLE_FLOAT: anx_pickle_put_float(w, v->u.real); break;
    default: anx_pickle_put_op(w, ANX_PICKLE_OP_NONE); break;
    }
}

/* What stands before a container's children; the container is memoised here unless it is a tuple. */
static bool open_container(anx_pickle_writer *w, walk *at, const anx_pickle_value *v, anx_pickle_memo *ordered) {
    if (v->kind == ANX_PICKLE_TUPLE) {
        anx_pickle_open_tuple(w, (int)(v->u.list.count > 4 ? 4 : v->u.list.count));
        return enter(at, v);
    }
    const anx_pickle_memo memo = (anx_pickle_memo)w->memo;
    if (v->kind == ANX_PICKLE_DICT && v->u.dict.ordered) {
        anx_pickle_put_ordered_dict(w, ordered);
        return set_number(&at->numbers, v, (anx_pickle_memo)w->memo - 1) && enter(at, v);
    }
    anx_pickle_put_op(w, v->kind == ANX_PICKLE_DICT ? ANX_PICKLE_OP_EMPTY_DICT : ANX_PICKLE_OP_EMPTY_LIST);
    anx_pickle_put_memo(w);
    return set_number(&at->numbers, v, memo) && enter(at, v);
}

/* Before child i of n, or behind the last one. */
static void between(anx_pickle_writer *w, const anx_pickle_value *v, size_t i, size_t n) {
    if (v->kind == ANX_PICKLE_LIST) anx_pickle_list_item(w, i, n);
    if (v->kind != ANX_PICKLE_DICT || i % 2 != 0) return;
    if (v->u.dict.ordered)
        anx_pickle_item(w, i / 2, n / 2);
    else
        anx_pickle_dict_item(w, i / 2, n / 2);
}

static bool put_one(anx_pickle_writer *w, walk *at, const anx_pickle_value *v, anx_pickle_memo *ordered) {
    const int64_t memo = number_of(&at->numbers, v);
    if (memo != ANX_PICKLE_NO_MEMO) {
        anx_pickle_get(w, memo);
        return true;
    }
    if (v->kind == ANX_PICKLE_STRING)
        return set_number(&at->numbers, v, anx_pickle_put_text(w, v->u.text.bytes, v->u.text.n_bytes));
    if (is_container(v)) return open_container(w, at, v, ordered);
    put_atom(w, v);
    return true;
}

/* Behind a container's last child. */
static bool close_container(anx_pickle_writer *w, walk *at) {
    const anx_pickle_value *v = at->frames[--at->depth].value;
    const size_t n = count_children(v);
    if (v->kind != ANX_PICKLE_TUPLE) {
        between(w, v, n, n);
        return true;
    }
    anx_pickle_close_tuple(w, (int)(n > 4 ? 4 : n));
    return n == 0 || set_number(&at->numbers, v, (anx_pickle_memo)w->memo - 1);
}

anx_status anx_pickle_put_value(anx_pickle_writer *w, const anx_pickle_value *value, const anx_pickle_written *before,
                                size_t n_before, anx_pickle_memo *ordered_dict, anx_error *err) {
    bool plain = false;
    anx_status status = anx_pickle_is_plain(value, &plain, err);
    if (status != ANX_OK) return status;
    if (!plain)
        return anx_error_set(err, ANX_ERR_UNSUPPORTED, "a value that is not made of numbers, text and containers");
    walk at = {.frames = NULL};
    bool good = true;
    for (size_t i = 0; i < n_before && good; i++)
        good = before[i].value == NULL || set_number(&at.numbers, before[i].value, before[i].memo);
    good = good && put_one(w, &at, value, ordered_dict);
    while (good && at.depth > 0) {
        frame *top = &at.frames[at.depth - 1];
        const size_t n = count_children(top->value), i = top->next;
        if (i == n) {
            good = close_container(w, &at);
        } else {
            between(w, top->value, i, n);
            top->next++;
            good = put_one(w, &at, child(top->value, i), ordered_dict);
        }
    }
    walk_fini(&at);
    return good && !w->failed ? ANX_OK : out_of_memory(err);
}
