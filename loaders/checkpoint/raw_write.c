#include "loaders/checkpoint/raw_write.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/text.h"

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

/* ---- the values ----------------------------------------------------------------------------------------- */

static anx_status check(const anx_saving *saving, uint64_t *total_bytes, anx_error *err) {
    uint64_t total = 0;
    for (size_t i = 0; i < saving->n_items; i++) {
        const anx_saving_item *item = &saving->items[i];
        char text[200];
        if (item->dtype != ANX_F32)
            return anx_error_set(
                err, ANX_ERR_INVALID_ARGUMENT, "raw holds float32 alone, and %s is %s: %s",
                anx_text_printable(item->name, strlen(item->name), text, sizeof text), anx_dtype_name(item->dtype),
                anx_dtype_is_float(item->dtype) ? "--dtype f32 converts it" : "choose others with --only");
        if (__builtin_add_overflow(total, anx_saving_item_bytes(item), &total))
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the tensors' sizes overflow");
    }
    *total_bytes = total;
    return ANX_OK;
}

static anx_status append(void *user, const void *bytes, size_t n_bytes, anx_error *err) {
    return anx_file_writer_write(user, bytes, n_bytes, err);
}

anx_status anx_raw_save(const anx_saving *saving, const char *path, anx_file_writer *file, anx_rounding *rounding,
                        anx_error *err) {
    (void)path;
    uint64_t total = 0;
    anx_status status = check(saving, &total, err);
    if (status == ANX_OK) status = anx_file_writer_expect(file, total, err);
    for (size_t i = 0; i < saving->n_items && status == ANX_OK; i++)
        status = anx_saving_item_read(&saving->items[i], rounding, append, file, err);
    return status;
}

enum { max_listed = 20000 }; /* names are compared with one another */

/* ---- the header ----------------------------------------------------------------------------------------- */

/* The letters of a C macro's name: what is neither letter nor digit becomes '_', and a digit does not come first. */
static void put_identifier(FILE *to, const char *name, bool first) {
    if (first && !isalpha((unsigned char)name[0])) fputc('_', to);
    for (; *name != '\0'; name++) fputc(isalnum((unsigned char)*name) ? toupper((unsigned char)*name) : '_', to);
}

/* In quotes: without trigraphs, and without a '*' '/' that would end a comment. */
static void put_string(FILE *to, const char *s) {
    fputc('"', to);
    for (; *s != '\0'; s++) {
        const unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\' || c == '?' || c == '*' || c < 0x20 || c >= 0x7f)
            fprintf(to, "\\%03o", c);
        else
            fputc(c, to);
    }
    fputc('"', to);
}

/* "alexnet" of "dir/alexnet.raw", malloc'd. */
static char *stem(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path, *dot = strrchr(name, '.');
    return dot != NULL && dot != name ? strndup(name, (size_t)(dot - name)) : strdup(name);
}

/* Two names may give one identifier ("a.b" and "a_b"): the later ones are numbered. */
static int count_twins(const anx_saving *saving, size_t item) {
    int n = 0;
    for (size_t i = 0; i < item; i++) {
        const char *a = saving->items[i].name, *b = saving->items[item].name;
        while (*a != '\0' && *b != '\0' &&
               (isalnum((unsigned char)*a) ? toupper((unsigned char)*a) : '_') ==
                   (isalnum((unsigned char)*b) ? toupper((unsigned char)*b) : '_'))
            a++, b++;
        n += *a == '\0' && *b == '\0';
    }
    return n;
}

static void put_macro(FILE *to, const char *prefix, const anx_saving *saving, size_t item, const char *what,
                      int64_t value) {
    const int twins = count_twins(saving, item);
    fputs("#define ", to);
    put_identifier(to, prefix, true);
    fputc('_', to);
    put_identifier(to, saving->items[item].name, false);
    if (twins > 0) fprintf(to, "_%d", twins + 1);
    fprintf(to, "_%s %" PRId64 "\n", what, value);
}

static void put_table(FILE *to, const char *prefix, const anx_saving *saving) {
    fputs("\n/* The same as a table, for programs that go through all of them. */\n#define ", to);
    put_identifier(to, prefix, true);
    fputs("_TABLE \\\n", to);
    int64_t at = 0;
    for (size_t i = 0; i < saving->n_items; i++) {
        const anx_tensor *t = &saving->items[i].elements.tensor;
        fputs("    {", to);
        put_string(to, saving->items[i].name);
        fprintf(to, ", %" PRId64 ", %" PRId64 ", %d, {", at, anx_tensor_elems(t), t->rank);
        for (int k = 0; k < t->rank; k++) fprintf(to, "%s%" PRId64, k > 0 ? ", " : "", t->shape[k]);
        fprintf(to, "%s}}, \\\n", t->rank == 0 ? "0" : "");
        at += anx_tensor_elems(t);
    }
    fputs("    /* end: name, offset, count (both in floats), dimensions, shape */\n", to);
}

static void put_header(FILE *to, const char *prefix, const anx_saving *saving, uint64_t total_bytes) {
    fprintf(to,
            "/*\n * Where the tensors are in a file of float32 values, little-endian, one after the other in row-major "
            "order.\n * Offsets and counts are in floats.\n */\n#ifndef ");
    put_identifier(to, prefix, true);
    fputs("_WEIGHTS_H\n#define ", to);
    put_identifier(to, prefix, true);
    fputs("_WEIGHTS_H\n\n#define ", to);
    put_identifier(to, prefix, true);
    fprintf(to, "_TENSORS %zu\n#define ", saving->n_items);
    put_identifier(to, prefix, true);
    fprintf(to, "_FLOATS %" PRIu64 "\n", total_bytes / sizeof(float));
    int64_t at = 0;
    for (size_t i = 0; i < saving->n_items; i++) {
        const anx_tensor *t = &saving->items[i].elements.tensor;
        char shape[200];
        fputs("\n/* ", to);
        put_string(to, saving->items[i].name);
        fprintf(to, " %s */\n", anx_shape_format(t->rank, t->shape, shape, sizeof shape));
        put_macro(to, prefix, saving, i, "OFFSET", at);
        put_macro(to, prefix, saving, i, "COUNT", anx_tensor_elems(t));
        at += anx_tensor_elems(t);
    }
    put_table(to, prefix, saving);
    fputs("\n#endif\n", to);
}

anx_status anx_raw_header_write(const anx_saving *saving, const char *raw_path, anx_file_writer *file, anx_error *err) {
    uint64_t total = 0;
    anx_status status = check(saving, &total, err);
    if (status != ANX_OK) return status;
    if (saving->n_items > max_listed)
        return anx_error_set(err, ANX_ERR_LIMIT, "a header that lists %zu tensors; at most %d are listed",
                             saving->n_items, (int)max_listed);
    char *prefix = stem(raw_path), *bytes = NULL;
    size_t n_bytes = 0;
    FILE *stream = prefix != NULL ? open_memstream(&bytes, &n_bytes) : NULL;
    /* A stream that could not grow, and fclose without room for the last byte, say nothing in glibc: errno does. */
    errno = 0;
    if (stream != NULL) put_header(stream, prefix, saving, total);
    const bool good = stream != NULL && ferror(stream) == 0;
    if (stream == NULL || fclose(stream) != 0 || !good || errno == ENOMEM || bytes == NULL)
        status = out_of_memory(err);
    else
        status = anx_file_writer_write(file, bytes, n_bytes, err);
    free(bytes);
    free(prefix);
    return status;
}
