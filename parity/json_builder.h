/*
 * JSON texts, built with cJSON: memory runs out at most once; every call after that is without effect, and
 * anx_json_print tells.
 */
#ifndef ANX_PARITY_JSON_BUILDER_H
#define ANX_PARITY_JSON_BUILDER_H

#include <cJSON.h>

#include "src/base/sha256.h"

typedef struct anx_json {
    bool failed; /* out of memory; begin with false */
} anx_json;

cJSON *anx_json_root(anx_json *json);
/* Each adds to an object under `key` or, where that is NULL, to an array. `to` may be NULL after a failure. */
cJSON *anx_json_add_object(anx_json *json, cJSON *to, const char *key);
cJSON *anx_json_add_array(anx_json *json, cJSON *to, const char *key);
/* NULL becomes null. JSON is UTF-8: of a path that is not, the bytes that are not are shown as \xNN. */
void anx_json_add_text(anx_json *json, cJSON *to, const char *key, const char *text);
void anx_json_add_bool(anx_json *json, cJSON *to, const char *key, bool value);
void anx_json_add_integer(anx_json *json, cJSON *to, const char *key, int64_t value);
/* A value as it is: JSON has no NaN and no infinity, so that these become text ("nan", "inf", "-inf"). */
void anx_json_add_value(anx_json *json, cJSON *to, const char *key, double value);
/* A float, with as many digits as it takes to read the same float back; else as anx_json_add_value. */
void anx_json_add_float(anx_json *json, cJSON *to, const char *key, float value);
/* A measure: NaN means that it has no meaning here, and becomes null. */
void anx_json_add_measure(anx_json *json, cJSON *to, const char *key, double value);
void anx_json_add_digest(anx_json *json, cJSON *to, const char *key, const anx_digest *digest);

/*
 * The text of root (which is deleted), with a newline at its end, malloc'd; n_bytes may be NULL.
 * Errors: OUT_OF_MEMORY.
 */
anx_status anx_json_print(anx_json *json, cJSON *root, char **text, size_t *n_bytes, anx_error *err);
/* The same on one line. */
anx_status anx_json_print_line(anx_json *json, cJSON *root, char **text, size_t *n_bytes, anx_error *err);

#endif
