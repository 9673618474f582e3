/* Text that comes from a file: checked before it is taken, and made harmless before it is shown. */
#ifndef ANX_LOADERS_CHECKPOINT_TEXT_H
#define ANX_LOADERS_CHECKPOINT_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* True for well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF). */
bool anx_utf8_valid(const void *bytes, size_t n_bytes);

/* Bytes of the well-formed sequence that begins at `at`, which lies before `end`; 0: there is none. */
int anx_utf8_sequence(const void *at, const void *end);

/*
 * Copies text into buf for a message: control characters, those that reverse what follows among them, and bytes that
 * are not UTF-8 become \xNN (a name must not reach the terminal as an escape sequence), what does not fit ends in
 * "...". Always terminates. Returns buf.
 */
char *anx_text_printable(const void *bytes, size_t n_bytes, char *buf, size_t size);

#endif
