#include "parity/json_builder.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/text.h"

static cJSON *check(anx_json *json, cJSON *item) {
    if (item == NULL) json->failed = true;
    return item;
}

/* An item made before goes into an object or, where key is NULL, an array. */
static cJSON *add(anx_json *json, cJSON *to, const char *key, cJSON *item) {
    if (check(json, item) == NULL) return NULL;
    const bool added =
        to != NULL && (key != NULL ? cJSON_AddItemToObject(to, key, item) : cJSON_AddItemToArray(to, item));
    if (added) return item;
    cJSON_Delete(item);
    json->failed = true;
    return NULL;
}

cJSON *anx_json_add_object(anx_json *json, cJSON *to, const char *key) {
    return add(json, to, key, cJSON_CreateObject());
}

cJSON *anx_json_add_array(anx_json *json, cJSON *to, const char *key) {
    return add(json, to, key, cJSON_CreateArray());
}

void anx_json_add_text(anx_json *json, cJSON *to, const char *key, const char *text) {
    char shown[4096];
    if (text != NULL && !anx_utf8_valid(text, strlen(text)))
        text = anx_text_printable(text, strlen(text), shown, sizeof shown);
    add(json, to, key, text != NULL ? cJSON_CreateString(text) : cJSON_CreateNull());
}

void anx_json_add_bool(anx_json *json, cJSON *to, const char *key, bool value) {
    add(json, to, key, cJSON_CreateBool(value));
}

void anx_json_add_integer(anx_json *json, cJSON *to, const char *key, int64_t value) {
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRId64, value);
    /* cJSON's numbers are doubles, which do not hold every integer. */
    const bool exact = value > -(1LL << 53) && value < 1LL << 53;
    add(json, to, key, exact ? cJSON_CreateNumber((double)value) : cJSON_CreateRaw(digits));
}

/* cJSON takes 15 digits for enough where that is nearly the same number. */
static cJSON *create_number(double value) {
    char digits[32];
    snprintf(digits, sizeof digits, "%.15g", value);
    if (strtod(digits, NULL) == value) return cJSON_CreateNumber(value);
    snprintf(digits, sizeof digits, "%.17g", value);
    return cJSON_CreateRaw(digits);
}

void anx_json_add_value(anx_json *json, cJSON *to, const char *key, double value) {
    if (isfinite(value))
        add(json, to, key, create_number(value));
    else
        anx_json_add_text(json, to, key, isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
}

void anx_json_add_float(anx_json *json, cJSON *to, const char *key, float value) {
    char digits[32];
    if (!isfinite(value)) {
        anx_json_add_value(json, to, key, (double)value);
        return;
    }
    for (int precision = 6; precision <= 9; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, (double)value);
        if (strtof(digits, NULL) == value) break;
    }
    add(json, to, key, cJSON_CreateRaw(digits));
}

void anx_json_add_measure(anx_json *json, cJSON *to, const char *key, double value) {
    if (isnan(value))
        anx_json_add_text(json, to, key, NULL);
    else
        anx_json_add_value(json, to, key, value);
}

void anx_json_add_digest(anx_json *json, cJSON *to, const char *key, const anx_digest *digest) {
    char hex[ANX_SHA256_HEX];
    anx_json_add_text(json, to, key, anx_digest_hex(digest, hex));
}

cJSON *anx_json_root(anx_json *json) {
    return check(json, cJSON_CreateObject());
}

static anx_status print(const anx_json *json, bool lines, cJSON *root, char **text, size_t *n_bytes, anx_error *err) {
    char *printed = json->failed ? NULL : lines ? cJSON_Print(root) : cJSON_PrintUnformatted(root), *out = NULL;
    if (printed != NULL && asprintf(&out, "%s\n", printed) < 0) out = NULL;
    cJSON_free(printed);
    cJSON_Delete(root);
    if (out == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the report");
    if (n_bytes != NULL) *n_bytes = strlen(out);
    *text = out;
    return ANX_OK;
}

anx_status anx_json_print(anx_json *json, cJSON *root, char **text, size_t *n_bytes, anx_error *err) {
    return print(json, true, root, text, n_bytes, err);
}

anx_status anx_json_print_line(anx_json *json, cJSON *root, char **text, size_t *n_bytes, anx_error *err) {
    return print(json, false, root, text, n_bytes, err);
}
