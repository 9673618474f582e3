/* Simple values, lists of numbers, milestones, and dicts whose keys training_fields.h knows. */
#include <stdio.h>
#include <string.h>

#include "loaders/checkpoint/pickle_globals.h"
#include "loaders/checkpoint/text.h"
#include "loaders/checkpoint/training_read_inside.h"

static const int64_t largest_int = (int64_t)1 << 53; /* up to there a double holds every int */

/* Why the state's arena gave nothing. */
anx_status anx_training_arena_error(const anx_training_reading *r) {
    return anx_arena_error(&r->state->arena, r->err);
}

void *anx_training_allocate(const anx_training_reading *r, size_t n, size_t size) {
    return anx_arena_alloc(&r->state->arena, n, size);
}

/* ---- messages ------------------------------------------------------------------------------------------- */

anx_training_shown anx_training_show(const anx_pickle_value *key) {
    anx_training_shown s;
    char text[90];
    if (key->kind == ANX_PICKLE_STRING)
        snprintf(s.text, sizeof s.text, "'%s'",
                 anx_text_printable(key->u.text.bytes, key->u.text.n_bytes, text, sizeof text));
    else if (key->kind == ANX_PICKLE_INT)
        snprintf(s.text, sizeof s.text, "%lld", (long long)key->u.integer);
    else
        snprintf(s.text, sizeof s.text, "%s", anx_pickle_kind_phrase(key->kind));
    return s;
}

anx_status anx_training_wrong_kind(anx_error *err, const char *key, const anx_pickle_value *got, const char *expected) {
    return anx_error_set(err, ANX_ERR_FORMAT, "'%s' is %s; %s was expected", key, anx_pickle_kind_phrase(got->kind),
                         expected);
}

anx_status anx_training_too_many(anx_error *err, const char *key, size_t n, size_t limit, const char *what) {
    return anx_error_set(err, ANX_ERR_LIMIT, "'%s' has %zu %s; at most %zu are taken", key, n, what, limit);
}

/* ---- simple values -------------------------------------------------------------------------------------- */

static anx_status read_number(const anx_pickle_value *v, const char *key, bool maybe, anx_saved_number *out,
                              anx_error *err) {
    *out = (anx_saved_number){.value = 0};
    if (v->kind == ANX_PICKLE_FLOAT) {
        out->value = v->u.real;
    } else if (v->kind == ANX_PICKLE_INT && v->u.integer >= -largest_int && v->u.integer <= largest_int) {
        out->value = (double)v->u.integer;
        out->kind = ANX_SAVED_INT;
    } else if (v->kind == ANX_PICKLE_INT || v->kind == ANX_PICKLE_BIG_INT) {
        return anx_error_set(err, ANX_ERR_FORMAT, "'%s' is an int beyond 2^53", key);
    } else if (v->kind == ANX_PICKLE_NONE && maybe) {
        out->kind = ANX_SAVED_NONE;
    } else {
        return anx_training_wrong_kind(err, key, v, maybe ? "a number or None" : "a number");
    }
    return ANX_OK;
}

anx_status anx_training_read_integer(const anx_pickle_value *v, const char *key, int64_t *out, anx_error *err) {
    if (v->kind == ANX_PICKLE_BIG_INT) return anx_error_set(err, ANX_ERR_FORMAT, "'%s' is an int beyond 64 bits", key);
    if (v->kind != ANX_PICKLE_INT) return anx_training_wrong_kind(err, key, v, "an int");
    *out = v->u.integer;
    return ANX_OK;
}

static anx_status read_flag(const anx_pickle_value *v, const char *key, anx_saved_flag *out, anx_error *err) {
    if (v->kind != ANX_PICKLE_BOOL && v->kind != ANX_PICKLE_NONE)
        return anx_training_wrong_kind(err, key, v, "a bool or None");
    *out = v->kind == ANX_PICKLE_NONE ? ANX_SAVED_FLAG_NONE : v->u.boolean ? ANX_SAVED_FLAG_TRUE : ANX_SAVED_FLAG_FALSE;
    return ANX_OK;
}

static anx_status read_choice(const anx_pickle_value *v, const anx_training_field *f, bool *out, anx_error *err) {
    const bool second = anx_pickle_is_string(v, f->choices[1]);
    if (!second && !anx_pickle_is_string(v, f->choices[0]))
        return anx_error_set(err, ANX_ERR_FORMAT, "'%s' is %s; '%s' or '%s' was expected", f->key,
                             anx_training_show(v).text, f->choices[0], f->choices[1]);
    *out = second;
    return ANX_OK;
}

/* A list with a number for each of the optimizer's groups. */
static anx_status read_per_group(const anx_training_reading *r, const anx_pickle_value *v, const char *key,
                                 anx_saved_numbers *out) {
    const size_t n = r->state->optimizer.n_groups;
    if (v->kind != ANX_PICKLE_LIST) return anx_training_wrong_kind(r->err, key, v, "a list");
    if (v->u.list.count != n)
        return anx_error_set(r->err, ANX_ERR_FORMAT, "'%s' has %zu entries; the optimizer has %zu parameter groups",
                             key, v->u.list.count, n);
    out->items = anx_training_allocate(r, n, sizeof *out->items);
    if (out->items == NULL) return anx_training_arena_error(r);
    out->count = n;
    anx_status status = ANX_OK;
    for (size_t i = 0; i < n && status == ANX_OK; i++)
        status = read_number(v->u.list.items[i], key, false, &out->items[i], r->err);
    return status;
}

/* ---- milestones ----------------------------------------------------------------------------------------- */

static anx_status make_milestones(const anx_training_reading *r, const char *key, size_t n, anx_saved_scheduler *s) {
    if (n > ANX_TRAINING_MAX_MILESTONES)
        return anx_training_too_many(r->err, key, n, ANX_TRAINING_MAX_MILESTONES, "entries");
    s->milestones = anx_training_allocate(r, n, sizeof *s->milestones);
    s->n_milestones = n;
    return s->milestones != NULL ? ANX_OK : anx_training_arena_error(r);
}

/* The dict that a collections.Counter was made of; NULL: it is none. */
static const anx_pickle_value *counted(const anx_pickle_value *v) {
    if (v->kind != ANX_PICKLE_OBJECT || strcmp(v->u.object.class->name, "Counter") != 0) return NULL;
    const anx_pickle_value *args = v->u.object.args;
    return args->u.list.count == 1 && args->u.list.items[0]->kind == ANX_PICKLE_DICT ? args->u.list.items[0] : NULL;
}

static anx_status read_counter(const anx_training_reading *r, const anx_pickle_value *v, const char *key,
                               anx_saved_scheduler *s) {
    const anx_pickle_value *dict = counted(v);
    if (dict == NULL) return anx_training_wrong_kind(r->err, key, v, "a collections.Counter");
    anx_status status = make_milestones(r, key, dict->u.dict.count, s);
    for (size_t i = 0; i < s->n_milestones && status == ANX_OK; i++) {
        status = anx_training_read_integer(dict->u.dict.items[2 * i], key, &s->milestones[i].epoch, r->err);
        if (status == ANX_OK)
            status = anx_training_read_integer(dict->u.dict.items[2 * i + 1], key, &s->milestones[i].count, r->err);
    }
    return status;
}

static anx_status read_milestones(const anx_training_reading *r, const anx_pickle_value *v, const char *key,
                                  anx_saved_scheduler *s) {
    if (v->kind != ANX_PICKLE_LIST) return anx_training_wrong_kind(r->err, key, v, "a list");
    anx_status status = make_milestones(r, key, v->u.list.count, s);
    for (size_t i = 0; i < s->n_milestones && status == ANX_OK; i++) {
        s->milestones[i].count = 1;
        status = anx_training_read_integer(v->u.list.items[i], key, &s->milestones[i].epoch, r->err);
    }
    return status;
}

/* ---- dicts of known keys -------------------------------------------------------------------------------- */

static anx_status read_field(const anx_training_reading *r, const anx_pickle_value *v, const anx_training_field *f,
                             void *object) {
    void *at = (char *)object + f->offset;
    switch (f->type) {
    case ANX_FIELD_NUMBER:
    case ANX_FIELD_MAYBE_NUMBER: return read_number(v, f->key, f->type == ANX_FIELD_MAYBE_NUMBER, at, r->err);
    case ANX_FIELD_INTEGER: return anx_training_read_integer(v, f->key, at, r->err);
    case ANX_FIELD_BOOLEAN:
        if (v->kind != ANX_PICKLE_BOOL) return anx_training_wrong_kind(r->err, f->key, v, "a bool");
        *(bool *)at = v->u.boolean;
        return ANX_OK;
    case ANX_FIELD_FLAG: return read_flag(v, f->key, at, r->err);
    case ANX_FIELD_PER_GROUP: return read_per_group(r, v, f->key, at);
    case ANX_FIELD_COUNTER: return read_counter(r, v, f->key, object);
    case ANX_FIELD_MILESTONES: return read_milestones(r, v, f->key, object);
    case ANX_FIELD_CHOICE: return read_choice(v, f, at, r->err);
    default: return ANX_OK; /* read elsewhere, or not at all */
    }
}

const anx_training_field *anx_training_find_field(const anx_training_fields *fields, const anx_pickle_value *key) {
    for (size_t i = 0; i < fields->count; i++)
        if (anx_pickle_is_string(key, fields->fields[i].key)) return &fields->fields[i];
    return NULL;
}

anx_status anx_training_read_fields(const anx_training_reading *r, const anx_pickle_value *dict,
                                    const anx_training_fields *fields, void *object) {
    anx_status status = ANX_OK;
    for (size_t i = 0; i < fields->count && status == ANX_OK; i++) {
        const anx_training_field *f = &fields->fields[i];
        const anx_pickle_value *v = anx_pickle_dict_find(dict, f->key);
        if (v != NULL)
            status = read_field(r, v, f, object);
        else if (!f->optional)
            status = anx_error_set(r->err, ANX_ERR_FORMAT, "'%s' is missing", f->key);
    }
    return status;
}
