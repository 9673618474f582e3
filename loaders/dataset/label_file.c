#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loaders/checkpoint/text.h"
#include "loaders/dataset/labels.h"
#include "loaders/file.h"

/* In the order in which they are tried and looked for. */
static const anx_label_format *const formats[] = {&anx_label_kaggle, &anx_label_devkit, &anx_label_caffe};
enum { N_FORMATS = sizeof formats / sizeof formats[0] };

/* ---- text ----------------------------------------------------------------------------------------------- */

anx_status anx_lines_open(const char *path, char **text, anx_lines *lines, anx_error *err) {
    uint8_t *bytes = NULL;
    size_t n = 0;
    anx_status status = anx_read_file(path, &bytes, &n, err);
    if (status != ANX_OK) return status;
    char *copy = NULL;
    if (n >= 2 && (memcmp(bytes, "\xff\xfe", 2) == 0 || memcmp(bytes, "\xfe\xff", 2) == 0)) {
        status = anx_error_set(err, ANX_ERR_FORMAT, "text in UTF-16; save it as UTF-8");
    } else if (memchr(bytes, 0, n) != NULL) {
        status = anx_error_set(err, ANX_ERR_FORMAT, "not a text file: it holds zero bytes");
    } else {
        copy = realloc(bytes, n + 1);
        if (copy == NULL)
            status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
        else
            bytes = NULL;
    }
    if (status == ANX_OK) {
        copy[n] = '\0';
        *text = copy;
        *lines = (anx_lines){.at = copy + (strncmp(copy, "\xef\xbb\xbf", 3) == 0 ? 3 : 0)};
    } else {
        anx_error_in_file(err, path);
    }
    free(bytes);
    return status;
}

/* Takes spaces off both ends; '\r' is one. */
static char *trimmed(char *line) {
    static const char space[] = " \t\r\f\v";
    line += strspn(line, space);
    size_t n = strlen(line);
    while (n > 0 && strchr(space, line[n - 1]) != NULL) n--;
    line[n] = '\0';
    return line;
}

char *anx_lines_next(anx_lines *lines) {
    while (lines->at != NULL && *lines->at != '\0') {
        char *line = lines->at, *end = strchr(line, '\n');
        lines->at = end != NULL ? end + 1 : NULL;
        if (end != NULL) *end = '\0';
        lines->number++;
        line = trimmed(line);
        if (*line != '\0') return line;
    }
    return NULL;
}

bool anx_parse_index(const char *text, int64_t *out) {
    const size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 18 || text[n] != '\0') return false;
    *out = strtoll(text, NULL, 10);
    return true;
}

/* ---- wnids in labels ------------------------------------------------------------------------------------ */

int64_t anx_label_of_wnid(anx_label_context *c, const char *wnid, int64_t line) {
    char shown[200];
    const int64_t index = anx_wnids_find(c->wnids, wnid);
    anx_text_printable(wnid, strlen(wnid), shown, sizeof shown);
    if (index < 0 && anx_looks_like_wnid(wnid))
        anx_defects_add_line(c->defects, false, line, "'%s' is the wnid of no class", shown);
    else if (index < 0)
        anx_defects_add_line(c->defects, true, line, "'%s' is no wnid", shown);
    return index;
}

/* Wnids must say something about the model's classes. */
static anx_status needs_wnids(const anx_label_context *c, anx_error *err) {
    if (c->wnids->count > 0) return ANX_OK;
    return anx_error_set(err, ANX_ERR_UNSUPPORTED,
                         "these labels stand for wnids, and which class of the model each wnid is, is known for "
                         "ImageNet's 1,000 classes alone; the model has %lld. Use a list of lines 'NAME INDEX'",
                         (long long)c->options->n_classes);
}

/* ---- finding and reading -------------------------------------------------------------------------------- */

/* FOLDER/NAME where that file is there; malloc'd. */
static char *existing(const char *folder, const char *name) {
    const size_t size = strlen(folder) + strlen(name) + 2;
    char *path = malloc(size);
    if (path == NULL) return NULL;
    snprintf(path, size, "%s/%s", folder, name);
    if (access(path, F_OK) == 0) return path;
    free(path);
    return NULL;
}

static char *find_format(const char *folder, const anx_label_format *format) {
    char *found = NULL;
    for (const char *const *name = format->usual_names; found == NULL && *name != NULL; name++)
        found = existing(folder, *name);
    return found;
}

/* The devkit's comes last, as it needs more to be of use; first where that was given. */
static char *find_in(const char *folder, bool devkit_first) {
    char *found = devkit_first ? find_format(folder, &anx_label_devkit) : NULL;
    for (int i = 0; found == NULL && i < N_FORMATS; i++)
        if (formats[i] != &anx_label_devkit) found = find_format(folder, formats[i]);
    return found != NULL ? found : find_format(folder, &anx_label_devkit);
}

char *anx_labels_find(const char *inside, const char *beside, bool devkit_first) {
    char *found = inside != NULL ? find_in(inside, devkit_first) : NULL;
    return found != NULL ? found : find_in(beside, devkit_first);
}

char *anx_labels_usual_names(char *buf, size_t size) {
    size_t used = 0;
    buf[0] = '\0';
    for (int i = 0; i < N_FORMATS && used < size; i++)
        used += (size_t)snprintf(buf + used, size - used, "%s%s", i > 0 ? ", " : "", formats[i]->usual_names[0]);
    return buf;
}

/* By the first line, of which each format gets a copy to cut. */
static anx_status recognise(const char *line, const anx_label_format **out, anx_error *err) {
    for (int i = 0; i < N_FORMATS; i++) {
        char *copy = strdup(line);
        if (copy == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
        const bool recognised = formats[i]->recognises(copy);
        free(copy);
        if (!recognised) continue;
        *out = formats[i];
        return ANX_OK;
    }
    char shown[200];
    return anx_error_set(err, ANX_ERR_FORMAT,
                         "no label file of a known kind: it begins with '%s', not with 'NAME INDEX' (Caffe's val.txt), "
                         "'ImageId,PredictionString' (Kaggle's LOC_val_solution.csv) or a number alone (the devkit's "
                         "ILSVRC2012_validation_ground_truth.txt)",
                         anx_text_printable(line, strlen(line), shown, sizeof shown));
}

static anx_status add(anx_labels *labels, size_t *capacity, const anx_label *label, anx_error *err) {
    if (labels->n == *capacity) {
        if (labels->n >= ANX_MAX_LISTED)
            return anx_error_set(err, ANX_ERR_LIMIT, "more than %d labels", (int)ANX_MAX_LISTED);
        const size_t more = *capacity == 0 ? 1024 : 2 * *capacity;
        anx_label *items = reallocarray(labels->items, more, sizeof *items);
        if (items == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
        labels->items = items;
        *capacity = more;
    }
    labels->items[labels->n++] = *label;
    return ANX_OK;
}

static anx_status read_lines(anx_labels *labels, anx_label_context *c, anx_lines *lines, anx_error *err) {
    size_t capacity = 0;
    char *line = anx_lines_next(lines);
    if (line == NULL) return anx_error_set(err, ANX_ERR_FORMAT, "no line in it");
    anx_status status = recognise(line, &labels->format, err);
    if (status == ANX_OK && labels->format->by_wnid) status = needs_wnids(c, err);
    if (status == ANX_OK && labels->format->prepare != NULL) status = labels->format->prepare(c, err);
    for (; status == ANX_OK && line != NULL; line = anx_lines_next(lines)) {
        anx_label label;
        if (labels->format->read_line(c, line, lines->number, &label)) status = add(labels, &capacity, &label, err);
    }
    labels->note = c->note;
    return status;
}

anx_status anx_labels_read(const char *path, const anx_dataset_options *options, const anx_wnids *wnids,
                           anx_defects *defects, anx_labels *out, anx_error *err) {
    anx_label_context c = {.options = options, .wnids = wnids, .defects = defects};
    anx_lines lines;
    anx_status status = anx_lines_open(path, &out->text, &lines, err);
    if (status != ANX_OK) return status;
    status = read_lines(out, &c, &lines, err);
    if (status != ANX_OK) anx_error_in_file(err, path);
    free(c.ids);
    return status;
}

void anx_labels_fini(anx_labels *labels) {
    free(labels->items);
    free(labels->text);
    *labels = (anx_labels){0};
}
