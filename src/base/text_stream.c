#include "src/base/text_stream.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for a text");
}

/* Room for n more bytes and the terminator. */
static bool reserve(anx_text_stream *s, size_t n) {
    size_t wanted;
    if (!anx_checked_add_size(s->n_bytes, n, &wanted) || !anx_checked_add_size(wanted, 1, &wanted)) return false;
    if (wanted <= s->capacity) return true;
    size_t capacity = s->capacity < 1024 ? 1024 : s->capacity;
    while (capacity < wanted)
        if (!anx_checked_mul_size(capacity, 2, &capacity)) return false;
    char *bytes = realloc(s->bytes, capacity);
    if (bytes == NULL) return false;
    s->bytes = bytes;
    s->capacity = capacity;
    return true;
}

static ssize_t take(void *cookie, const char *data, size_t n) {
    anx_text_stream *s = cookie;
    if (s->failed || !reserve(s, n)) {
        s->failed = true; /* for good: a text with a hole in it is none */
        return 0;
    }
    memcpy(s->bytes + s->n_bytes, data, n);
    s->n_bytes += n;
    s->bytes[s->n_bytes] = '\0';
    return (ssize_t)n;
}

anx_status anx_text_stream_open(anx_text_stream *s, anx_error *err) {
    *s = (anx_text_stream){.to = NULL};
    if (reserve(s, 0)) {
        s->bytes[0] = '\0';
        s->to = fopencookie(s, "w", (cookie_io_functions_t){.write = take});
    }
    if (s->to != NULL) return ANX_OK;
    free(s->bytes);
    s->bytes = NULL;
    return out_of_memory(err);
}

anx_status anx_text_stream_flush(anx_text_stream *s, anx_error *err) {
    if (fflush(s->to) != 0 || ferror(s->to) != 0) s->failed = true;
    return s->failed ? out_of_memory(err) : ANX_OK;
}

void anx_text_stream_rewind(anx_text_stream *s) {
    s->n_bytes = 0;
    s->bytes[0] = '\0';
}

anx_status anx_text_stream_close(anx_text_stream *s, char **text, size_t *n_bytes, anx_error *err) {
    if (ferror(s->to) != 0) s->failed = true;
    if (fclose(s->to) != 0) s->failed = true;
    s->to = NULL;
    if (s->failed) {
        free(s->bytes);
        s->bytes = NULL;
        return out_of_memory(err);
    }
    *text = s->bytes;
    if (n_bytes != NULL) *n_bytes = s->n_bytes;
    s->bytes = NULL;
    return ANX_OK;
}
