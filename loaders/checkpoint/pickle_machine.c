#include "loaders/checkpoint/pickle_machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

anx_status anx_unpickle_out_of_memory(const anx_unpickle_machine *m) {
    return anx_arena_error(m->arena, m->err);
}

/* ---- bytes, stack, memo --------------------------------------------------------------------------------- */

anx_status anx_unpickle_ran_out(const anx_unpickle_machine *m, const char *message) {
    if (!m->in->cut) return anx_error_set(m->err, ANX_ERR_FORMAT, "%s", message);
    return anx_error_set(m->err, ANX_ERR_LIMIT, "a pickle of more than %zu bytes, the most that are taken",
                         m->in->n_bytes);
}

anx_status anx_unpickle_take(anx_unpickle_machine *m, size_t n, const uint8_t **out) {
    const size_t left = m->in->n_bytes - m->at;
    if (n > left) {
        char message[80];
        snprintf(message, sizeof message, "takes %zu bytes, %zu are left", n, left);
        return anx_unpickle_ran_out(m, message);
    }
    *out = m->in->bytes + m->at;
    m->at += n;
    return ANX_OK;
}

/* Makes room for `wanted` elements in an array of the machine's own, which counts like the values that it makes. */
static bool reserve(anx_unpickle_machine *m, void **array, size_t wanted, size_t *capacity, size_t element_bytes) {
    if (wanted <= *capacity) return true;
    size_t bigger = *capacity == 0 ? 64 : *capacity * 2;
    while (bigger < wanted) bigger *= 2;
    const size_t added = (bigger - *capacity) * element_bytes;
    if (!anx_arena_charge(m->arena, added)) return false;
    void *p = reallocarray(*array, bigger, element_bytes);
    if (p == NULL) {
        anx_arena_discharge(m->arena, added);
        return false;
    }
    m->charged_bytes += added;
    *array = p;
    *capacity = bigger;
    return true;
}

void anx_unpickle_fini(anx_unpickle_machine *m) {
    free(m->memo);
    free(m->marks);
    free(m->stack);
    anx_arena_discharge(m->arena, m->charged_bytes);
}

anx_status anx_unpickle_push(anx_unpickle_machine *m, anx_pickle_value *value) {
    void *stack = m->stack;
    const bool good = reserve(m, &stack, m->depth + 1, &m->stack_capacity, sizeof *m->stack);
    m->stack = stack;
    if (!good) return anx_unpickle_out_of_memory(m);
    m->stack[m->depth++] = value;
    return ANX_OK;
}

static size_t reachable(const anx_unpickle_machine *m) {
    return m->depth - (m->n_marks > 0 ? m->marks[m->n_marks - 1] : 0);
}

anx_status anx_unpickle_need(anx_unpickle_machine *m, size_t n) {
    if (reachable(m) >= n) return ANX_OK;
    return anx_error_set(m->err, ANX_ERR_FORMAT, "needs %zu values on the stack, there are %zu", n, reachable(m));
}

anx_status anx_unpickle_push_mark(anx_unpickle_machine *m) {
    void *marks = m->marks;
    const bool good = reserve(m, &marks, m->n_marks + 1, &m->marks_capacity, sizeof *m->marks);
    m->marks = marks;
    if (!good) return anx_unpickle_out_of_memory(m);
    m->marks[m->n_marks++] = m->depth;
    return ANX_OK;
}

anx_status anx_unpickle_pop_mark(anx_unpickle_machine *m, anx_pickle_value ***items, size_t *count) {
    if (m->n_marks == 0) return anx_error_set(m->err, ANX_ERR_FORMAT, "needs a MARK on the stack, there is none");
    const size_t mark = m->marks[--m->n_marks];
    *items = m->stack != NULL ? m->stack + mark : NULL; /* a MARK may come before any value */
    *count = m->depth - mark;
    m->depth = mark;
    return ANX_OK;
}

static anx_pickle_value *new_value(anx_unpickle_machine *m, anx_pickle_kind kind) {
    anx_pickle_value *v = anx_arena_alloc(m->arena, 1, sizeof *v);
    if (v != NULL) v->kind = kind;
    return v;
}

anx_status anx_unpickle_push_new(anx_unpickle_machine *m, anx_pickle_kind kind, anx_pickle_value **out) {
    anx_pickle_value *v = new_value(m, kind);
    if (v == NULL) return anx_unpickle_out_of_memory(m);
    anx_status status = anx_unpickle_push(m, v);
    if (status == ANX_OK && out != NULL) *out = v;
    return status;
}

anx_status anx_unpickle_put(anx_unpickle_machine *m, size_t index) {
    anx_status status = anx_unpickle_need(m, 1);
    if (status != ANX_OK) return status;
    if (index >= m->memo_capacity) {
        /* Memo indices count what was put before: one beyond the bytes that were read was made to cost memory and, in a
           file of many pickles, time. A few are let be. */
        if (index >= m->at + 256)
            return anx_error_set(m->err, ANX_ERR_FORMAT, "memo index %zu after %zu bytes", index, m->at);
        void *memo = m->memo;
        const size_t before = m->memo_capacity;
        const bool good = reserve(m, &memo, index + 1, &m->memo_capacity, sizeof *m->memo);
        m->memo = memo;
        if (!good) return anx_unpickle_out_of_memory(m);
        memset(m->memo + before, 0, (m->memo_capacity - before) * sizeof *m->memo);
    }
    m->memo[index] = m->stack[m->depth - 1];
    return ANX_OK;
}

anx_status anx_unpickle_get(anx_unpickle_machine *m, size_t index) {
    if (index >= m->memo_capacity || m->memo[index] == NULL)
        return anx_error_set(m->err, ANX_ERR_FORMAT, "nothing was put at memo index %zu", index);
    return anx_unpickle_push(m, m->memo[index]);
}

/* ---- containers ----------------------------------------------------------------------------------------- */

/* Appends n pointers to an array in the arena, doubling it: what is left behind is at most as much again. */
static anx_status extend(anx_unpickle_machine *m, anx_pickle_value ***items, size_t *count, size_t *capacity,
                         anx_pickle_value *const *added, size_t n) {
    if (n > *capacity - *count) {
        size_t bigger = *capacity < 4 ? 4 : *capacity * 2;
        while (bigger < *count + n) bigger *= 2;
        anx_pickle_value **p = anx_arena_alloc(m->arena, bigger, sizeof *p);
        if (p == NULL) return anx_unpickle_out_of_memory(m);
        if (*count > 0) memcpy(p, *items, *count * sizeof *p);
        *items = p;
        *capacity = bigger;
    }
    if (n > 0) memcpy(*items + *count, added, n * sizeof *added);
    *count += n;
    return ANX_OK;
}

anx_status anx_unpickle_append(anx_unpickle_machine *m, anx_pickle_value *to, anx_pickle_value *const *items,
                               size_t n) {
    if (to->kind != ANX_PICKLE_LIST)
        return anx_error_set(m->err, ANX_ERR_FORMAT, "appends to %s", anx_pickle_kind_phrase(to->kind));
    return extend(m, &to->u.list.items, &to->u.list.count, &to->u.list.capacity, items, n);
}

static bool hashable(const anx_pickle_value *key) {
    switch (key->kind) {
    case ANX_PICKLE_NONE:
    case ANX_PICKLE_BOOL:
    case ANX_PICKLE_INT:
    case ANX_PICKLE_BIG_INT:
    case ANX_PICKLE_FLOAT:
    case ANX_PICKLE_STRING:
    case ANX_PICKLE_BYTES:
    case ANX_PICKLE_TUPLE:
    case ANX_PICKLE_GLOBAL: return true;
    default: return false;
    }
}

anx_status anx_unpickle_set_items(anx_unpickle_machine *m, anx_pickle_value *to, anx_pickle_value *const *items,
                                  size_t n) {
    if (to->kind != ANX_PICKLE_DICT)
        return anx_error_set(m->err, ANX_ERR_FORMAT, "sets items of %s", anx_pickle_kind_phrase(to->kind));
    if (n % 2 != 0) return anx_error_set(m->err, ANX_ERR_FORMAT, "a key without a value");
    for (size_t i = 0; i < n; i += 2)
        if (!hashable(items[i]))
            return anx_error_set(m->err, ANX_ERR_FORMAT, "%s as a key", anx_pickle_kind_phrase(items[i]->kind));
    size_t count = to->u.dict.count * 2;
    anx_status status = extend(m, &to->u.dict.items, &count, &to->u.dict.capacity, items, n);
    to->u.dict.count = count / 2;
    return status;
}

anx_status anx_unpickle_push_tuple(anx_unpickle_machine *m, anx_pickle_value *const *items, size_t n) {
    anx_pickle_value *v = new_value(m, ANX_PICKLE_TUPLE);
    if (v == NULL) return anx_unpickle_out_of_memory(m);
    anx_pickle_value **copy = anx_arena_alloc(m->arena, n, sizeof *copy);
    if (copy == NULL) return anx_unpickle_out_of_memory(m);
    if (n > 0) memcpy(copy, items, n * sizeof *copy);
    v->u.list.items = copy;
    v->u.list.count = v->u.list.capacity = n;
    return anx_unpickle_push(m, v);
}
