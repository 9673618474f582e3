/* Text that comes from a file: checked before it is taken, and made harmless before it is shown. */
#ifndef ANX_LOADERS_CHECKPOINT_TEXT_H
#define ANX_LOADERS_CHECKPOINT_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/status.h"

/* True for well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF). */
bool anx_utf8_valid(const void *bytes, size_t n_bytes);

/* Bytes of the well-formed sequence that begins at `at`, which lies before `end`; 0: there is none. */
int anx_utf8_sequence(const void *at, const void *end);

/*
 * Refuses what a parser of JSON into C strings would take: control characters in strings, and NULs, also as \u0000,
 * which would cut a string short. *n_values counts what a parser allocates for. On an error *at is where it stands in
 * the text, and the message begins with `whole`. Errors: FORMAT.
 */
anx_status anx_json_scan(const char *json, size_t n, const char *whole, size_t *n_values, size_t *at, anx_error *err);

/* The first byte that is no white space of JSON's, or end. */
const char *anx_json_skip_space(const char *at, const char *end);

/*
 * Copies text into buf for a message: control characters, those that reverse what follows among them, and bytes that
 * are not UTF-8 become \xNN (a name must not reach the terminal as an escape sequence), what does not fit ends in
 * "...". Always terminates. Returns buf.
 */
char *anx_text_printable(const void *bytes, size_t n_bytes, char *buf, size_t size);

#endif
