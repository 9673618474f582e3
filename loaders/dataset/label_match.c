/* Which file each label is for: one table of all names, read backwards and sorted, answers every question about ends.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/text.h"
#include "loaders/dataset/labels.h"

enum { MAX_NAME_BYTES = 4096 }; /* PATH_MAX: no file has a longer one */

/* A name from its last byte to its first. */
typedef struct backwards {
    const char *bytes;
    size_t n;
    size_t file; /* index in the listing */
} backwards;

typedef struct index_of_ends {
    anx_arena arena;
    backwards *items; /* (n) sorted */
    size_t n;
} index_of_ends;

enum { NOT_THERE = -1, AMBIGUOUS = -2 };

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

static int compare(const char *a, size_t a_bytes, const char *b, size_t b_bytes) {
    const int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);
    if (order != 0) return order;
    return a_bytes < b_bytes ? -1 : a_bytes > b_bytes;
}

static int by_bytes(const void *a, const void *b) {
    const backwards *x = a, *y = b;
    const int order = compare(x->bytes, x->n, y->bytes, y->n);
    if (order != 0) return order;
    return x->file < y->file ? -1 : x->file > y->file;
}

static void reverse(char *to, const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) to[i] = text[n - 1 - i];
}

/* Without extensions, images alone are looked up: "a" may be a.JPEG beside a.xml. */
static anx_status build(index_of_ends *index, const anx_listing *listing, bool without_extension, anx_error *err) {
    index->items = anx_arena_alloc(&index->arena, listing->n_files, sizeof *index->items);
    if (index->items == NULL) return out_of_memory(err);
    for (size_t i = 0; i < listing->n_files; i++) {
        const anx_listed *file = &listing->files[i];
        if (without_extension && !file->is_image) continue;
        const char *name = file->name;
        const size_t n = without_extension ? (size_t)(anx_image_extension(name) - name) : strlen(name);
        char *bytes = anx_arena_alloc(&index->arena, n, 1);
        if (bytes == NULL) return out_of_memory(err);
        reverse(bytes, name, n);
        index->items[index->n++] = (backwards){bytes, n, i};
    }
    if (index->n > 0) qsort(index->items, index->n, sizeof *index->items, by_bytes);
    return ANX_OK;
}

/* The first item that is not before the text. */
static size_t lower_bound(const index_of_ends *index, const char *text, size_t n) {
    size_t low = 0, high = index->n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (compare(index->items[middle].bytes, index->items[middle].n, text, n) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool begins(const index_of_ends *index, size_t i, const char *text, size_t n) {
    return i < index->n && index->items[i].n >= n && memcmp(index->items[i].bytes, text, n) == 0;
}

/* The file named by n bytes read backwards, exactly or below any folder; text[n] is '/'. */
static int64_t find_end(const index_of_ends *index, const char *text, size_t n) {
    size_t i = lower_bound(index, text, n);
    if (begins(index, i, text, n) && index->items[i].n == n) {
        const bool twice = begins(index, i + 1, text, n) && index->items[i + 1].n == n;
        return twice ? AMBIGUOUS : (int64_t)index->items[i].file;
    }
    i = lower_bound(index, text, n + 1);
    if (!begins(index, i, text, n + 1)) return NOT_THERE;
    return begins(index, i + 1, text, n + 1) ? AMBIGUOUS : (int64_t)index->items[i].file;
}

/* The file that a label's name means: as much of its end as any file has. */
static int64_t find(const index_of_ends *index, const char *name, size_t n) {
    char text[MAX_NAME_BYTES + 1];
    if (n == 0 || n > MAX_NAME_BYTES) return NOT_THERE;
    reverse(text, name, n);
    text[n] = '/';
    for (size_t end = n; end > 0;) {
        const int64_t found = text[end - 1] != '/' ? find_end(index, text, end) : NOT_THERE;
        if (found != NOT_THERE) return found;
        do end--;
        while (end > 0 && text[end] != '/');
    }
    return NOT_THERE;
}

static int64_t find_label(const index_of_ends *index, const anx_label_format *format, const char *name) {
    const char *extension = format->without_extension ? anx_image_extension(name) : NULL;
    const size_t n = extension != NULL ? (size_t)(extension - name) : strlen(name);
    int64_t found = find(index, name, n);
    if (found != NOT_THERE || memchr(name, '\\', n) == NULL || n > MAX_NAME_BYTES) return found;
    char slashes[MAX_NAME_BYTES];
    for (size_t i = 0; i < n; i++) slashes[i] = name[i] == '\\' ? '/' : name[i]; /* a list made on Windows */
    return find(index, slashes, n);
}

/* ---- giving labels -------------------------------------------------------------------------------------- */

static bool is_hidden(const anx_listed *file) {
    return anx_base_name(file->name)[0] == '.';
}

static void give(anx_listed *file, const anx_label *label, anx_defects *defects) {
    char shown[400];
    if (file->line != 0) {
        anx_defects_add_line(defects, false, label->line, "a second label for '%s'; line %" PRId64 " has the first",
                             anx_text_printable(file->name, strlen(file->name), shown, sizeof shown), file->line);
        return;
    }
    file->label = label->label;
    file->line = label->line;
}

static void give_named(anx_listing *listing, const index_of_ends *index, const anx_label_format *format,
                       const anx_label *label, const char *name, anx_defects *defects) {
    char shown[400];
    const int64_t found = find_label(index, format, name);
    if (found >= 0) {
        give(&listing->files[found], label, defects);
        return;
    }
    anx_text_printable(name, strlen(name), shown, sizeof shown);
    anx_defects_add_line(defects, false, label->line,
                         found == AMBIGUOUS ? "several files are called '%s'" : "'%s' is not there", shown);
}

/* "ILSVRC2012_val_00000001" for image 1. */
static const char *numbered_name(size_t number, char buf[64]) {
    snprintf(buf, 64, "ILSVRC2012_val_%08zu", number);
    return buf;
}

static anx_status match_names(const anx_labels *labels, anx_listing *listing, anx_defects *defects, anx_error *err) {
    index_of_ends index = {.n = 0};
    anx_status status = build(&index, listing, labels->format->without_extension, err);
    for (size_t i = 0; status == ANX_OK && i < labels->n; i++) {
        char buf[64];
        const char *name = labels->items[i].name != NULL ? labels->items[i].name : numbered_name(i + 1, buf);
        give_named(listing, &index, labels->format, &labels->items[i], name, defects);
    }
    anx_arena_fini(&index.arena);
    return status;
}

static bool has_other_number(const anx_listed *file, size_t number) {
    char expected[64];
    const char *base = anx_base_name(file->name);
    if (strncmp(base, "ILSVRC2012_val_", strlen("ILSVRC2012_val_")) != 0) return false;
    return strncmp(base, numbered_name(number, expected), (size_t)(anx_image_extension(base) - base)) != 0;
}

/* As many labels as images: the i-th label is for the i-th image, as the devkit's readme says. */
static bool match_in_order(anx_labels *labels, anx_listing *listing) {
    size_t n = 0;
    for (size_t i = 0; i < listing->n_files; i++) n += listing->files[i].is_image && !is_hidden(&listing->files[i]);
    if (n != labels->n) return false;
    n = 0;
    for (size_t i = 0; i < listing->n_files; i++) {
        anx_listed *file = &listing->files[i];
        if (!file->is_image || is_hidden(file)) continue;
        file->label = labels->items[n].label;
        file->line = labels->items[n++].line;
        labels->in_order = labels->in_order || has_other_number(file, n);
    }
    return true;
}

anx_status anx_labels_match(anx_labels *labels, anx_listing *listing, anx_defects *defects, int64_t *n_hidden,
                            anx_error *err) {
    *n_hidden = 0;
    const bool by_order = labels->n > 0 && labels->items[0].name == NULL;
    if (!by_order || !match_in_order(labels, listing)) {
        if (by_order)
            anx_defects_hint(defects,
                             "%zu labels, which belong to images numbered from 1 in their names, or to exactly "
                             "as many images in the order of their names.",
                             labels->n);
        const anx_status status = match_names(labels, listing, defects, err);
        if (status != ANX_OK) return status;
    }
    for (size_t i = 0; i < listing->n_files; i++) {
        const anx_listed *file = &listing->files[i];
        char shown[400];
        if (file->line != 0 || !file->is_image) continue;
        if (is_hidden(file))
            (*n_hidden)++;
        else
            anx_defects_add(defects, "'%s' has no label",
                            anx_text_printable(file->name, strlen(file->name), shown, sizeof shown));
    }
    return ANX_OK;
}
