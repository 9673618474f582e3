#include "loaders/checkpoint/pickle_value_writer.h"

#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/pickle_globals.h"

enum { largest_long1 = 255, walking = -2 /* a container whose items are being looked at */ };

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

/* ---- numbers by identity -------------------------------------------------------------------------------- */

typedef struct anx_pickle_number {
    const void *object; /* NULL: free */
    int64_t number;
} slot;

static slot *slot_of(const anx_pickle_numbers *t, const void *object) {
    size_t i = (size_t)((uintptr_t)object / sizeof(void *) * 11400714819323198485u >> 20);
    while (t->slots[i & (t->capacity - 1)].object != NULL && t->slots[i & (t->capacity - 1)].object != object) i++;
    return &t->slots[i & (t->capacity - 1)];
}

static bool grow(anx_pickle_numbers *t) {
    const anx_pickle_numbers old = *t;
    t->capacity = old.capacity == 0 ? 256 : old.capacity * 2;
    t->slots = calloc(t->capacity, sizeof *t->slots);
    if (t->slots == NULL) {
        *t = old;
        return false;
    }
    for (size_t i = 0; i < old.capacity; i++)
        if (old.slots[i].object != NULL) *slot_of(t, old.slots[i].object) = old.slots[i];
    free(old.slots);
    return true;
}

static bool set_number(anx_pickle_numbers *t, const void *object, int64_t number) {
    if (2 * (t->n + 1) > t->capacity && !grow(t)) return false;
    slot *s = slot_of(t, object);
    if (s->object == NULL) t->n++;
    *s = (slot){object, number};
    return true;
}

/* ANX_PICKLE_NO_MEMO where it has none. */
static int64_t number_of(const anx_pickle_numbers *t, const void *object) {
    if (t->capacity == 0) return ANX_PICKLE_NO_MEMO;
    const slot *s = slot_of(t, object);
    return s->object != NULL ? s->number : ANX_PICKLE_NO_MEMO;
}

/* ---- walking -------------------------------------------------------------------------------------------- */

void anx_pickle_values_fini(anx_pickle_values *v) {
    free(v->frames);
    free(v->memos.slots);
    *v = (anx_pickle_values){.writer = NULL};
}

static bool enter(anx_pickle_values *w, const anx_pickle_value *value) {
    if (w->depth == w->capacity) {
        const size_t capacity = w->capacity == 0 ? 32 : w->capacity * 2;
        anx_pickle_frame *frames = reallocarray(w->frames, capacity, sizeof *frames);
        if (frames == NULL) return false;
        w->frames = frames;
        w->capacity = capacity;
    }
    w->frames[w->depth++] = (anx_pickle_frame){value, 0};
    return true;
}

static bool is_container(const anx_pickle_value *v) {
    return v->kind == ANX_PICKLE_TUPLE || v->kind == ANX_PICKLE_LIST || v->kind == ANX_PICKLE_DICT;
}

/* Of a dict the attributes come last; an object has its arguments and its state. */
static size_t count_children(const anx_pickle_value *v) {
    if (v->kind == ANX_PICKLE_OBJECT) return v->u.object.state != NULL ? 2 : 1;
    if (v->kind == ANX_PICKLE_DICT) return 2 * v->u.dict.count + (v->u.dict.attributes != NULL);
    return v->u.list.count;
}

static const anx_pickle_value *child(const anx_pickle_value *v, size_t i) {
    if (v->kind == ANX_PICKLE_OBJECT) return i == 0 ? v->u.object.args : v->u.object.state;
    if (v->kind != ANX_PICKLE_DICT) return v->u.list.items[i];
    return i < 2 * v->u.dict.count ? v->u.dict.items[i] : v->u.dict.attributes;
}

static bool is_plain_atom(const anx_pickle_value *v) {
    return v->kind == ANX_PICKLE_NONE || v->kind == ANX_PICKLE_BOOL || v->kind == ANX_PICKLE_INT ||
           v->kind == ANX_PICKLE_FLOAT || v->kind == ANX_PICKLE_STRING ||
           (v->kind == ANX_PICKLE_BIG_INT && v->u.text.n_bytes <= largest_long1);
}

anx_status anx_pickle_is_plain(const anx_pickle_value *value, bool *plain, anx_error *err) {
    anx_pickle_values w = {.frames = NULL};
    anx_status status = ANX_OK;
    const anx_pickle_value *next = value;
    *plain = true;
    for (;;) {
        if (next != NULL && is_container(next)) {
            const int64_t state = number_of(&w.memos, next);
            const bool attributed = next->kind == ANX_PICKLE_DICT && next->u.dict.attributes != NULL;
            *plain = state != walking && !attributed;
            if (*plain && state == ANX_PICKLE_NO_MEMO && (!set_number(&w.memos, next, walking) || !enter(&w, next))) {
                status = out_of_memory(err);
                break;
            }
        } else if (next != NULL) {
            *plain = is_plain_atom(next);
        }
        if (!*plain || w.depth == 0) break;
        anx_pickle_frame *top = &w.frames[w.depth - 1];
        next = NULL;
        if (top->next < count_children(top->value)) {
            next = child(top->value, top->next++);
        } else {
            (void)set_number(&w.memos, top->value, 0); /* it has a slot already */
            w.depth--;
        }
    }
    anx_pickle_values_fini(&w);
    return status;
}

/* ---- writing -------------------------------------------------------------------------------------------- */

void anx_pickle_values_remember(anx_pickle_values *v, const anx_pickle_value *value, anx_pickle_memo memo) {
    if (!set_number(&v->memos, value, memo)) v->writer->failed = true;
}

/* The value on top of the stack is this one from now on. */
static void memoise(anx_pickle_values *v, const void *object) {
    if (!set_number(&v->memos, object, anx_pickle_put_memo(v->writer))) v->writer->failed = true;
}

static void put_global(anx_pickle_values *v, const anx_pickle_global *global) {
    anx_pickle_memo memo = number_of(&v->memos, global);
    const bool first = memo == ANX_PICKLE_NO_MEMO;
    anx_pickle_share_global(v->writer, global->module, global->name, &memo);
    if (first && !set_number(&v->memos, global, memo)) v->writer->failed = true;
}

void anx_pickle_values_put_global(anx_pickle_values *v, const char *module, const char *name) {
    put_global(v, anx_pickle_global_find(module, strlen(module), name, strlen(name)));
}

/* OrderedDict(), not memoised yet */
static void put_empty_ordered_dict(anx_pickle_values *v) {
    anx_pickle_values_put_global(v, "collections", "OrderedDict");
    anx_pickle_put_op(v->writer, ANX_PICKLE_OP_EMPTY_TUPLE);
    anx_pickle_put_op(v->writer, ANX_PICKLE_OP_REDUCE);
}

void anx_pickle_values_put_ordered_dict(anx_pickle_values *v) {
    put_empty_ordered_dict(v);
    anx_pickle_put_memo(v->writer);
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

/* What stands before the children. A tuple and an object are memoised when they are complete. */
static void open_parent(anx_pickle_values *v, const anx_pickle_value *value) {
    anx_pickle_writer *w = v->writer;
    switch (value->kind) {
    case ANX_PICKLE_TUPLE: anx_pickle_open_tuple(w, (int)(value->u.list.count > 4 ? 4 : value->u.list.count)); break;
    case ANX_PICKLE_OBJECT: put_global(v, value->u.object.class); break;
    case ANX_PICKLE_DICT:
        if (value->u.dict.ordered)
            put_empty_ordered_dict(v);
        else
            anx_pickle_put_op(w, ANX_PICKLE_OP_EMPTY_DICT);
        memoise(v, value);
        break;
    default:
        anx_pickle_put_op(w, ANX_PICKLE_OP_EMPTY_LIST);
        memoise(v, value);
        break;
    }
    if (!enter(v, value)) w->failed = true;
}

/* Before child i, or behind the last one. */
static void between(anx_pickle_values *v, const anx_pickle_value *value, size_t i) {
    anx_pickle_writer *w = v->writer;
    if (value->kind == ANX_PICKLE_LIST) anx_pickle_list_item(w, i, value->u.list.count);
    if (value->kind == ANX_PICKLE_OBJECT && i == 1) {
        anx_pickle_put_op(w, value->u.object.class->by_newobj ? ANX_PICKLE_OP_NEWOBJ : ANX_PICKLE_OP_REDUCE);
        memoise(v, value);
    }
    const size_t n_pairs = value->u.dict.count;
    if (value->kind != ANX_PICKLE_DICT || i % 2 != 0 || i > 2 * n_pairs) return;
    if (value->u.dict.ordered)
        anx_pickle_item(w, i / 2, n_pairs);
    else
        anx_pickle_dict_item(w, i / 2, n_pairs);
}

/* Behind the last child. */
static void close_parent(anx_pickle_values *v, const anx_pickle_value *value) {
    anx_pickle_writer *w = v->writer;
    const size_t n = count_children(value);
    v->depth--;
    between(v, value, n);
    if (value->kind == ANX_PICKLE_TUPLE) {
        anx_pickle_close_tuple(w, (int)(n > 4 ? 4 : n));
        if (n > 0 && !set_number(&v->memos, value, (anx_pickle_memo)w->memo - 1)) w->failed = true;
    }
    const bool built = (value->kind == ANX_PICKLE_DICT && value->u.dict.attributes != NULL) ||
                       (value->kind == ANX_PICKLE_OBJECT && value->u.object.state != NULL);
    if (built) anx_pickle_put_op(w, ANX_PICKLE_OP_BUILD);
}

static void put_one(anx_pickle_values *v, const anx_pickle_value *value) {
    const anx_pickle_memo memo = number_of(&v->memos, value);
    if (memo != ANX_PICKLE_NO_MEMO) {
        anx_pickle_get(v->writer, memo);
    } else if (value->kind == ANX_PICKLE_STRING) {
        anx_pickle_values_remember(v, value,
                                   anx_pickle_put_text(v->writer, value->u.text.bytes, value->u.text.n_bytes));
    } else if (is_container(value) || value->kind == ANX_PICKLE_OBJECT) {
        open_parent(v, value);
    } else if (value->kind == ANX_PICKLE_TENSOR) {
        v->put_leaf(v, value, v->user);
    } else {
        put_atom(v->writer, value);
    }
}

void anx_pickle_values_put(anx_pickle_values *v, const anx_pickle_value *value) {
    const size_t below = v->depth;
    put_one(v, value);
    while (v->depth > below && !v->writer->failed) {
        anx_pickle_frame *top = &v->frames[v->depth - 1];
        const anx_pickle_value *parent = top->value;
        const size_t i = top->next++;
        if (i == count_children(parent)) {
            close_parent(v, parent);
        } else {
            between(v, parent, i);
            put_one(v, child(parent, i));
        }
    }
}
