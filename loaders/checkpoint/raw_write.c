#include "loaders/checkpoint/raw_write.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/text.h"
#include "src/base/text_stream.h"

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

/* ---- the header ----------------------------------------------------------------------------------------- */

enum { max_listed = 20000 }; /* the header is put together in memory */

static char identifier_letter(char c) {
    return (char)(isalnum((unsigned char)c) ? toupper((unsigned char)c) : '_');
}

/* The letters of a C macro's name: what is neither letter nor digit becomes '_', and a digit does not come first. */
static void put_identifier(FILE *to, const char *name) {
    if (!isalpha((unsigned char)name[0])) fputc('_', to);
    for (; *name != '\0'; name++) fputc(identifier_letter(*name), to);
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

/* What the macros of a name are called, malloc'd; NULL when out of memory. n > 1: the n-th to be called so. */
static char *identifier(const char *name, uint32_t n) {
    enum { number_bytes = 12 };
    const size_t length = strlen(name);
    char *text = malloc(length + number_bytes);
    if (text == NULL) return NULL;
    for (size_t i = 0; i < length; i++) text[i] = identifier_letter(name[i]);
    text[length] = '\0';
    if (n > 1) snprintf(text + length, number_bytes, "_%" PRIu32, n);
    return text;
}

/* Adds that identifier; EXISTS where it is another's, OUT_OF_MEMORY. */
static anx_status take_identifier(anx_state_dict *taken, const char *name, uint32_t n) {
    const anx_tensor none = ANX_TENSOR_INIT;
    char *text = identifier(name, n);
    const anx_status status = text != NULL ? anx_state_dict_add(taken, text, &none, NULL) : ANX_ERR_OUT_OF_MEMORY;
    free(text);
    return status;
}

/*
 * An identifier for each item, as the names of *out. Two names may give one ("a.b" and "a_b"): the later ones are
 * numbered, with a number that gives no other's ("a.b.2").
 */
static anx_status name_identifiers(const anx_saving *saving, anx_state_dict *out, anx_error *err) {
    uint32_t *numbered = calloc(saving->n_items + 1, sizeof *numbered); /* how many after the identifier of i */
    anx_status status = numbered != NULL ? ANX_OK : ANX_ERR_OUT_OF_MEMORY;
    for (size_t i = 0; i < saving->n_items && status == ANX_OK; i++) {
        const char *name = saving->items[i].name;
        status = take_identifier(out, name, 1);
        if (status != ANX_ERR_EXISTS) continue;
        size_t first;
        char *plain = identifier(name, 1);
        const bool found = plain != NULL && anx_state_dict_index(out, plain, &first);
        free(plain);
        if (!found) status = ANX_ERR_OUT_OF_MEMORY;
        while (status == ANX_ERR_EXISTS) status = take_identifier(out, name, 2 + numbered[first]++);
    }
    free(numbered);
    return status == ANX_OK ? ANX_OK : out_of_memory(err);
}

static void put_macro(FILE *to, const char *prefix, const char *identifier, const char *what, int64_t value) {
    fputs("#define ", to);
    put_identifier(to, prefix);
    fprintf(to, "_%s_%s %" PRId64 "\n", identifier, what, value);
}

static void put_table(FILE *to, const char *prefix, const anx_saving *saving) {
    fputs("\n/* The same as a table, for programs that go through all of them. */\n#define ", to);
    put_identifier(to, prefix);
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

/* identifiers: one for each item. */
static void put_header(FILE *to, const char *prefix, const anx_saving *saving, const anx_state_dict *identifiers,
                       uint64_t total_bytes) {
    fprintf(to,
            "/*\n * Where the tensors are in a file of float32 values, little-endian, one after the other in row-major "
            "order.\n * Offsets and counts are in floats.\n */\n#ifndef ");
    put_identifier(to, prefix);
    fputs("_WEIGHTS_H\n#define ", to);
    put_identifier(to, prefix);
    fputs("_WEIGHTS_H\n\n#define ", to);
    put_identifier(to, prefix);
    fprintf(to, "_TENSORS %zu\n#define ", saving->n_items);
    put_identifier(to, prefix);
    fprintf(to, "_FLOATS %" PRIu64 "\n", total_bytes / sizeof(float));
    int64_t at = 0;
    for (size_t i = 0; i < saving->n_items; i++) {
        const anx_tensor *t = &saving->items[i].elements.tensor;
        char shape[200];
        fputs("\n/* ", to);
        put_string(to, saving->items[i].name);
        fprintf(to, " %s */\n", anx_shape_format(t->rank, t->shape, shape, sizeof shape));
        put_macro(to, prefix, identifiers->items[i].name, "OFFSET", at);
        put_macro(to, prefix, identifiers->items[i].name, "COUNT", anx_tensor_elems(t));
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
    anx_state_dict identifiers = ANX_STATE_DICT_INIT;
    char *prefix = stem(raw_path), *bytes = NULL;
    size_t n_bytes = 0;
    anx_text_stream s;
    status = prefix != NULL ? name_identifiers(saving, &identifiers, err) : out_of_memory(err);
    if (status == ANX_OK) status = anx_text_stream_open(&s, err);
    if (status == ANX_OK) {
        put_header(s.to, prefix, saving, &identifiers, total);
        status = anx_text_stream_close(&s, &bytes, &n_bytes, err);
    }
    if (status == ANX_OK) status = anx_file_writer_write(file, bytes, n_bytes, err);
    anx_state_dict_fini(&identifiers);
    free(bytes);
    free(prefix);
    return status;
}
