#include "loaders/checkpoint/state_dict_json.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/text.h"

enum { max_integer_digits = 24 };

const char anx_state_dict_pair[] = "anx.state_dict";

static const int64_t max_exact = INT64_C(1) << 53; /* cJSON's numbers are doubles */

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

/* ---- to JSON -------------------------------------------------------------------------------------------- */

static bool is_text(const anx_pickle_value *v) {
    return v->kind == ANX_PICKLE_STRING && memchr(v->u.text.bytes, '\0', v->u.text.n_bytes) == NULL;
}

static bool is_number(const anx_pickle_value *v) {
    return v->kind == ANX_PICKLE_INT && v->u.integer >= -max_exact && v->u.integer <= max_exact;
}

/* {"version": 1} and the like. */
static bool is_module_entry(const anx_pickle_value *v) {
    if (v->kind != ANX_PICKLE_DICT || v->u.dict.ordered || v->u.dict.attributes != NULL) return false;
    for (size_t i = 0; i < v->u.dict.count; i++) {
        const anx_pickle_value *value = v->u.dict.items[2 * i + 1];
        if (!is_text(v->u.dict.items[2 * i])) return false;
        if (!is_text(value) && !is_number(value) && value->kind != ANX_PICKLE_BOOL && value->kind != ANX_PICKLE_NONE)
            return false;
    }
    return true;
}

static bool can_hold(const anx_pickle_value *metadata) {
    if (!metadata->u.dict.ordered || metadata->u.dict.attributes != NULL) return false;
    for (size_t i = 0; i < metadata->u.dict.count; i++)
        if (!is_text(metadata->u.dict.items[2 * i]) || !is_module_entry(metadata->u.dict.items[2 * i + 1]))
            return false;
    return true;
}

static char *terminated(const anx_pickle_value *text) {
    return strndup(text->u.text.bytes, text->u.text.n_bytes);
}

static cJSON *value_to_json(const anx_pickle_value *v) {
    switch (v->kind) {
    case ANX_PICKLE_BOOL: return cJSON_CreateBool(v->u.boolean);
    case ANX_PICKLE_INT: {
        char digits[max_integer_digits];
        snprintf(digits, sizeof digits, "%lld", (long long)v->u.integer);
        return cJSON_CreateRaw(digits);
    }
    case ANX_PICKLE_STRING: {
        char *text = terminated(v);
        cJSON *json = text != NULL ? cJSON_CreateString(text) : NULL;
        free(text);
        return json;
    }
    default: return cJSON_CreateNull();
    }
}

/* False when out of memory; json is then deleted. */
static bool add_under(cJSON *object, const anx_pickle_value *key, cJSON *json) {
    char *name = terminated(key);
    const bool added = name != NULL && json != NULL && cJSON_AddItemToObject(object, name, json);
    free(name);
    if (!added) cJSON_Delete(json);
    return added;
}

static bool add_metadata(cJSON *root, const anx_pickle_value *metadata) {
    cJSON *modules = cJSON_AddObjectToObject(root, "_metadata");
    bool good = modules != NULL;
    for (size_t i = 0; good && i < metadata->u.dict.count; i++) {
        const anx_pickle_value *entry = metadata->u.dict.items[2 * i + 1];
        cJSON *fields = cJSON_CreateObject();
        good = fields != NULL;
        for (size_t k = 0; good && k < entry->u.dict.count; k++)
            good = add_under(fields, entry->u.dict.items[2 * k], value_to_json(entry->u.dict.items[2 * k + 1]));
        if (good)
            good = add_under(modules, metadata->u.dict.items[2 * i], fields);
        else
            cJSON_Delete(fields);
    }
    return good;
}

static bool add_keys(cJSON *root, const anx_saving *saving) {
    cJSON *keys = cJSON_AddArrayToObject(root, "keys");
    bool good = keys != NULL;
    for (size_t i = 0; good && i < saving->n_items; i++) {
        cJSON *name = cJSON_CreateString(saving->items[i].name);
        good = name != NULL && cJSON_AddItemToArray(keys, name);
    }
    return good;
}

anx_status anx_state_dict_to_json(const anx_saving *saving, bool with_keys, char **out, bool *complete,
                                  anx_error *err) {
    const bool holds = saving->metadata == NULL || can_hold(saving->metadata);
    cJSON *root = cJSON_CreateObject();
    bool good = root != NULL;
    char *text = NULL;
    if (good && with_keys) good = add_keys(root, saving);
    if (good && saving->plain_dict) good = cJSON_AddTrueToObject(root, "plain_dict") != NULL;
    if (good && holds && saving->metadata != NULL) good = add_metadata(root, saving->metadata);
    if (good && root->child != NULL) {
        text = cJSON_PrintUnformatted(root);
        good = text != NULL;
    }
    cJSON_Delete(root);
    if (!good) return out_of_memory(err);
    *complete = holds;
    if (text != NULL && strlen(text) > ANX_STATE_DICT_MAX_TEXT_BYTES) {
        free(text);
        text = NULL;
        *complete = false;
    }
    *out = text;
    return ANX_OK;
}

anx_status anx_state_dict_fits_json(const anx_saving *saving, bool with_keys, bool *fits, anx_error *err) {
    char *text = NULL;
    const anx_status status = anx_state_dict_to_json(saving, with_keys, &text, fits, err);
    free(text);
    return status;
}

/* ---- from JSON ------------------------------------------------------------------------------------------ */

/* Strings that were one object in Python, such as "version", are one value again. */
typedef struct reading {
    anx_arena *arena;
    anx_pickle_value **field_names;
    size_t n_field_names;
    anx_error *err;
} reading;

static anx_status full(const reading *r) {
    return anx_arena_error(r->arena, r->err);
}

static anx_status not_ours(const reading *r, const char *what) {
    return anx_error_set(r->err, ANX_ERR_FORMAT, "the text about the state_dict: %s", what);
}

static anx_pickle_value *new_value(reading *r, anx_pickle_kind kind) {
    anx_pickle_value *v = anx_arena_alloc(r->arena, 1, sizeof *v);
    if (v != NULL) v->kind = kind;
    return v;
}

static anx_pickle_value *new_text(reading *r, const char *text) {
    anx_pickle_value *v = new_value(r, ANX_PICKLE_STRING);
    if (v == NULL) return NULL;
    v->u.text.n_bytes = strlen(text);
    v->u.text.bytes = anx_arena_text(r->arena, text, v->u.text.n_bytes);
    return v->u.text.bytes != NULL ? v : NULL;
}

/* Few names occur ("version"), however many modules there are; of a file with many, not all are made one. */
static anx_pickle_value *field_name(reading *r, const char *text) {
    enum { remembered = 16 };
    for (size_t i = 0; i < r->n_field_names; i++)
        if (anx_pickle_is_string(r->field_names[i], text)) return r->field_names[i];
    anx_pickle_value *v = new_text(r, text);
    if (v == NULL || r->n_field_names == remembered) return v;
    if (r->field_names == NULL) r->field_names = anx_arena_alloc(r->arena, remembered, sizeof *r->field_names);
    if (r->field_names == NULL) return NULL;
    r->field_names[r->n_field_names++] = v;
    return v;
}

static anx_pickle_value *new_dict(reading *r, const cJSON *object, bool ordered) {
    const size_t n = (size_t)cJSON_GetArraySize(object);
    anx_pickle_value *v = new_value(r, ANX_PICKLE_DICT);
    if (v == NULL) return NULL;
    v->u.dict.ordered = ordered;
    v->u.dict.items = anx_arena_alloc(r->arena, n, 2 * sizeof *v->u.dict.items);
    v->u.dict.capacity = 2 * n;
    return v->u.dict.items != NULL ? v : NULL;
}

static anx_status read_field(reading *r, const cJSON *json, anx_pickle_value **out) {
    anx_pickle_value *v = NULL;
    if (cJSON_IsString(json)) {
        v = new_text(r, json->valuestring);
    } else if (cJSON_IsNumber(json)) {
        const double number = json->valuedouble;
        if (!(number >= -(double)max_exact && number <= (double)max_exact) || number != (double)(int64_t)number)
            return not_ours(r, "a number in _metadata that is not whole");
        v = new_value(r, ANX_PICKLE_INT);
        if (v != NULL) v->u.integer = (int64_t)number;
    } else if (cJSON_IsBool(json)) {
        v = new_value(r, ANX_PICKLE_BOOL);
        if (v != NULL) v->u.boolean = cJSON_IsTrue(json);
    } else if (cJSON_IsNull(json)) {
        v = new_value(r, ANX_PICKLE_NONE);
    } else {
        return not_ours(r, "_metadata nested deeper than PyTorch's");
    }
    *out = v;
    return v != NULL ? ANX_OK : full(r);
}

static anx_status read_module(reading *r, const cJSON *json, anx_pickle_value **out) {
    if (!cJSON_IsObject(json)) return not_ours(r, "an entry of _metadata that is no object");
    anx_pickle_value *dict = new_dict(r, json, false);
    if (dict == NULL) return full(r);
    const cJSON *field;
    cJSON_ArrayForEach(field, json) {
        anx_pickle_value *key = field_name(r, field->string), *value = NULL;
        if (key == NULL) return full(r);
        anx_status status = read_field(r, field, &value);
        if (status != ANX_OK) return status;
        dict->u.dict.items[2 * dict->u.dict.count] = key;
        dict->u.dict.items[2 * dict->u.dict.count++ + 1] = value;
    }
    *out = dict;
    return ANX_OK;
}

static anx_status read_metadata(reading *r, const cJSON *json, anx_pickle_value **out) {
    if (!cJSON_IsObject(json)) return not_ours(r, "_metadata is no object");
    anx_pickle_value *dict = new_dict(r, json, true);
    if (dict == NULL) return full(r);
    const cJSON *module;
    cJSON_ArrayForEach(module, json) {
        anx_pickle_value *key = new_text(r, module->string), *value = NULL;
        if (key == NULL) return full(r);
        anx_status status = read_module(r, module, &value);
        if (status != ANX_OK) return status;
        dict->u.dict.items[2 * dict->u.dict.count] = key;
        dict->u.dict.items[2 * dict->u.dict.count++ + 1] = value;
    }
    *out = dict;
    return ANX_OK;
}

static anx_status read_keys(reading *r, const cJSON *json, anx_state_dict_text *out) {
    if (!cJSON_IsArray(json)) return not_ours(r, "its keys are no array");
    const size_t n = (size_t)cJSON_GetArraySize(json);
    const char **keys = anx_arena_alloc(r->arena, n + 1, sizeof *keys);
    if (keys == NULL) return full(r);
    const cJSON *key;
    size_t i = 0;
    cJSON_ArrayForEach(key, json) {
        if (!cJSON_IsString(key)) return not_ours(r, "a key that is no text");
        keys[i] = anx_arena_text(r->arena, key->valuestring, strlen(key->valuestring));
        if (keys[i++] == NULL) return full(r);
    }
    out->keys = keys;
    out->n_keys = n;
    return ANX_OK;
}

/* Names that are given twice would mean two things. */
static bool has_once(const cJSON *root, const char *name, const cJSON **out) {
    const cJSON *item;
    size_t n = 0;
    cJSON_ArrayForEach(item, root) {
        if (strcmp(item->string, name) != 0) continue;
        *out = item;
        n++;
    }
    return n <= 1;
}

anx_status anx_state_dict_from_json(const char *text, size_t n_bytes, anx_arena *arena, anx_state_dict_text *out,
                                    anx_error *err) {
    reading r = {.arena = arena, .err = err};
    anx_state_dict_text result = {.keys = NULL};
    const cJSON *keys = NULL, *plain = NULL, *metadata = NULL;
    const char *end = NULL;
    if (n_bytes > ANX_STATE_DICT_MAX_TEXT_BYTES)
        return anx_error_set(err, ANX_ERR_LIMIT, "the text about the state_dict has %zu bytes; at most %d are taken",
                             n_bytes, (int)ANX_STATE_DICT_MAX_TEXT_BYTES);
    if (!anx_utf8_valid(text, n_bytes) || memchr(text, '\0', n_bytes) != NULL) return not_ours(&r, "it is not UTF-8");
    size_t n_values, at;
    anx_status status = anx_json_scan(text, n_bytes, "the text about the state_dict", &n_values, &at, err);
    if (status != ANX_OK) return status;
    errno = 0;
    cJSON *root = cJSON_ParseWithLengthOpts(text, n_bytes, &end, false);
    if (root == NULL && errno == ENOMEM) return out_of_memory(err);
    if (!cJSON_IsObject(root) || anx_json_skip_space(end, text + n_bytes) != text + n_bytes)
        status = not_ours(&r, "it is not one JSON object");
    else if (!has_once(root, "keys", &keys) || !has_once(root, "plain_dict", &plain) ||
             !has_once(root, "_metadata", &metadata))
        status = not_ours(&r, "a field is given twice");
    else if (plain != NULL && !cJSON_IsTrue(plain))
        status = not_ours(&r, "plain_dict is not true");
    if (status == ANX_OK && keys != NULL) status = read_keys(&r, keys, &result);
    if (status == ANX_OK && metadata != NULL) status = read_metadata(&r, metadata, &result.metadata);
    result.plain_dict = plain != NULL;
    cJSON_Delete(root);
    if (status == ANX_OK) *out = result;
    return status;
}
