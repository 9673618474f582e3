/*
 * A text that is printed into memory. As open_memstream, but one that tells when memory ran out: glibc's drops what
 * does not fit and reports nothing.
 */
#ifndef ANX_SRC_BASE_TEXT_STREAM_H
#define ANX_SRC_BASE_TEXT_STREAM_H

#include <stdio.h>

#include "src/base/status.h"

typedef struct anx_text_stream {
    FILE *to; /* print there */
    /* the stream's own */
    char *bytes;
    size_t n_bytes, capacity;
    bool failed;
} anx_text_stream;

/* *s must stay where it is until it is closed. Errors: OUT_OF_MEMORY; there is then nothing to close. */
anx_status anx_text_stream_open(anx_text_stream *s, anx_error *err);
/*
 * Ends the stream in any case. *text is malloc'd, with a NUL behind its n_bytes (which may be NULL); both are set on
 * success alone. Errors: OUT_OF_MEMORY, where any of it did not fit.
 */
anx_status anx_text_stream_close(anx_text_stream *s, char **text, size_t *n_bytes, anx_error *err);
/* What was printed so far, without ending: bytes and n_bytes are it until more is printed; and begins anew. */
anx_status anx_text_stream_flush(anx_text_stream *s, anx_error *err);
void anx_text_stream_rewind(anx_text_stream *s);

#endif
