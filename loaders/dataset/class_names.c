#include "loaders/dataset/class_names.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/text.h"
#include "loaders/file.h"
#include "src/base/text_stream.h"

/* Cuts the line at its tabs; false unless it is INDEX<tab>WNID<tab>NAME with that index. */
static bool parse_line(char *line, int64_t index, const char **wnid, const char **name) {
    char *first = strchr(line, '\t'), *second = first != NULL ? strchr(first + 1, '\t') : NULL;
    if (second == NULL || strchr(second + 1, '\t') != NULL || second[1] == '\0') return false;
    *first = *second = '\0';
    char *end;
    const long long number = strtoll(line, &end, 10);
    if (end == line || *end != '\0' || number != index) return false;
    *wnid = first + 1;
    *name = second + 1;
    return true;
}

static anx_status parse(anx_class_names *c, anx_error *err) {
    char *line = c->text;
    for (int64_t capacity = 0; line != NULL && *line != '\0'; c->count++) {
        if (c->count == capacity) {
            capacity = capacity == 0 ? 1024 : 2 * capacity;
            const char **wnids = reallocarray(c->wnids, (size_t)capacity, sizeof *wnids);
            if (wnids != NULL) c->wnids = wnids;
            const char **names = reallocarray(c->names, (size_t)capacity, sizeof *names);
            if (names != NULL) c->names = names;
            if (wnids == NULL || names == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
        }
        char *end = strchr(line, '\n');
        if (end != NULL) *end++ = '\0';
        if (!parse_line(line, c->count, &c->wnids[c->count], &c->names[c->count]))
            return anx_error_set(err, ANX_ERR_FORMAT, "line %" PRId64 ": expected '%" PRId64 "<tab>WNID<tab>NAME'",
                                 c->count + 1, c->count);
        line = end;
    }
    return c->count > 0 ? ANX_OK : anx_error_set(err, ANX_ERR_FORMAT, "no line in it");
}

anx_status anx_class_names_open(const char *path, anx_class_names **out, anx_error *err) {
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    anx_class_names *c = calloc(1, sizeof *c);
    if (c == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    anx_status status = anx_read_file(path, &bytes, &n_bytes, err);
    if (status != ANX_OK) goto out;
    if (memchr(bytes, 0, n_bytes) != NULL || !anx_utf8_valid(bytes, n_bytes)) {
        status = anx_error_set(err, ANX_ERR_FORMAT, "not text in UTF-8");
        goto out;
    }
    c->text = malloc(n_bytes + 1);
    if (c->text == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
        goto out;
    }
    memcpy(c->text, bytes, n_bytes);
    c->text[n_bytes] = '\0';
    status = parse(c, err);
out:
    free(bytes);
    if (status == ANX_OK) {
        *out = c;
    } else {
        anx_error_in_file(err, path);
        anx_class_names_close(c);
    }
    return status;
}

anx_status anx_class_names_make(const char *const *names, int64_t count, anx_class_names **out, anx_error *err) {
    size_t n_bytes = 1;
    anx_class_names *c = calloc(1, sizeof *c);
    for (int64_t i = 0; i < count; i++) n_bytes += strlen(names[i]) + 1;
    if (c != NULL) {
        c->wnids = reallocarray(NULL, (size_t)count, sizeof *c->wnids);
        c->names = reallocarray(NULL, (size_t)count, sizeof *c->names);
        c->text = malloc(n_bytes);
    }
    if (c == NULL || c->wnids == NULL || c->names == NULL || c->text == NULL) {
        anx_class_names_close(c);
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for the names of classes");
    }
    char *at = c->text;
    for (; c->count < count; c->count++) {
        c->wnids[c->count] = c->names[c->count] = at;
        at = stpcpy(at, names[c->count]) + 1;
    }
    *out = c;
    return ANX_OK;
}

anx_status anx_class_names_text(const anx_class_names *names, char **text, size_t *n_bytes, anx_error *err) {
    anx_text_stream s;
    anx_status status = anx_text_stream_open(&s, err);
    if (status != ANX_OK) return status;
    for (int64_t i = 0; i < names->count; i++) {
        const char *pair[] = {names->wnids[i], names->names[i]};
        for (int k = 0; k < 2; k++)
            if (pair[k][0] == '\0' || strpbrk(pair[k], "\t\n") != NULL)
                status = anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                                       "the name of class %" PRId64 " is empty, or has a tab or line break", i);
        fprintf(s.to, "%" PRId64 "\t%s\t%s\n", i, pair[0], pair[1]);
    }
    if (status == ANX_OK) return anx_text_stream_close(&s, text, n_bytes, err);
    char *unused = NULL;
    if (anx_text_stream_close(&s, &unused, NULL, NULL) == ANX_OK) free(unused);
    return status;
}

void anx_class_names_close(anx_class_names *names) {
    if (names == NULL) return;
    free(names->wnids);
    free(names->names);
    free(names->text);
    free(names);
}

const char *anx_class_name(const anx_class_names *names, int64_t num_classes, int64_t index) {
    if (names == NULL || names->count != num_classes || index < 0 || index >= names->count) return "";
    return names->names[index];
}
