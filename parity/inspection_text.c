#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/state_dict_json.h"
#include "loaders/checkpoint/text.h"
#include "parity/inspection.h"
#include "parity/report_text_inside.h"
#include "src/base/text_stream.h"

enum {
    max_name_width = 36,
    max_key_width = 16,
    max_number_width = 10,
    max_shared_shown = 3,
    max_pairs_shown = 12,
    /* of the tree */
    max_depth = 8,
    max_items = 16,
    max_rows = 400,
    max_tree_key_width = 28,
    max_value_bytes = 64
};

static const char *plural(uint64_t n) {
    return n == 1 ? "" : "s";
}

static int width_of(const char *text) {
    int width = 0;
    for (; *text != '\0'; text++) width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

/* "244,408,911"; more than an int64 holds saturates. */
static char *grouped(uint64_t value, char buf[32]) {
    if (value > INT64_MAX) {
        snprintf(buf, 32, "more than 2^63");
        return buf;
    }
    return anx_report_grouped((int64_t)value, buf);
}

/* ---- the file ------------------------------------------------------------------------------------------- */

static void put_file(const anx_text_report *r, const anx_inspection *in) {
    const anx_checkpoint *c = in->checkpoint;
    const char *version = in->provenance.format_version;
    char bytes[32], hex[ANX_SHA256_HEX];
    anx_report_put_fact(r, "file", "%s", c->path);
    anx_report_put_fact(r, "format", "%s%s%s%s", c->format, version[0] != '\0' ? ", version " : "", version,
                        in->big_endian ? ", big-endian" : "");
    anx_report_put_fact(r, "size", "%s bytes", grouped(c->file_bytes, bytes));
    anx_report_put_fact(r, "SHA-256", "%s", anx_digest_hex(&in->digest, hex));
    if (in->official != NULL)
        anx_report_put_fact(r, "official", "yes: torchvision's %s%s", in->official->name,
                            strlen(in->official->sha256) < ANX_SHA256_HEX - 1
                                ? ", by its size and the digits of the SHA-256 that its name holds"
                                : "");
    else
        anx_report_put_fact(r, "official", "no: none of torchvision's %zu AlexNet files has this SHA-256",
                            in->n_published);
    anx_report_put_fact(r, "written by", "%s", in->provenance.writer);
    for (int i = 0; i < in->provenance.n_notes; i++) anx_report_put_fact(r, "", "%s", in->provenance.notes[i]);
    if (c->n_bad_crc > 0)
        anx_report_put_fact(r, "damage", "%zu record%s whose CRC-32 does not match, accepted as asked", c->n_bad_crc,
                            plural(c->n_bad_crc));
}

/* ---- what it is for a model ------------------------------------------------------------------------------ */

static void put_near_miss(const anx_text_report *r, const anx_inspection *in) {
    const anx_arch_match *m = &in->match;
    anx_report_put_fact(r, "fits",
                        "no architecture that is known; the nearest is %s (%" PRId64 " class%s), but:", m->arch->name,
                        m->num_classes, m->num_classes == 1 ? "" : "es");
    if (m->n_missing > 0)
        anx_report_put_fact(r, "", "%d of its %d parameters %s missing (%s%s)", m->n_missing, m->n_params,
                            m->n_missing == 1 ? "is" : "are", m->missing, m->n_missing > 1 ? ", ..." : "");
    if (m->n_misshapen > 0)
        anx_report_put_fact(r, "", "%d do%s not fit (%s%s)", m->n_misshapen, m->n_misshapen == 1 ? "es" : "",
                            m->misshapen, m->n_misshapen > 1 ? "; ..." : "");
    if (m->n_unexpected > 0)
        anx_report_put_fact(r, "", "%zu tensor%s %s not its own (%s%s)", m->n_unexpected, plural(m->n_unexpected),
                            m->n_unexpected == 1 ? "is" : "are", m->unexpected, m->n_unexpected > 1 ? ", ..." : "");
    if (in->n_others > 0)
        anx_report_put_fact(r, "", "%zu key%s of the state_dict hold%s no tensor", in->n_others, plural(in->n_others),
                            in->n_others == 1 ? "s" : "");
}

static void put_model(const anx_text_report *r, const anx_inspection *in) {
    const anx_checkpoint *c = in->checkpoint;
    if (in->fits)
        anx_report_put_fact(r, "fits", "%s, %" PRId64 " class%s", in->match.arch->name, in->match.num_classes,
                            in->match.num_classes == 1 ? "" : "es");
    else if (in->match.arch != NULL)
        put_near_miss(r, in);
    else
        anx_report_put_fact(r, "fits", "no architecture that is known: not one tensor has a name of theirs");
    if (c->wrapped_in != NULL || in->has_module_prefix)
        anx_report_put_fact(r, "", "the tensors%s%s%s%s%s", c->wrapped_in != NULL ? " are under '" : "",
                            c->wrapped_in != NULL ? c->wrapped_in : "", c->wrapped_in != NULL ? "'" : "",
                            c->wrapped_in != NULL && in->has_module_prefix ? " and" : "",
                            in->has_module_prefix ? " all have \"module.\" before their names (DataParallel)" : "");
}

/* "all float32", "14 float32, 2 int64" */
static void list_dtypes(const anx_inspection *in, char *buf, size_t size) {
    buf[0] = '\0';
    for (int d = 0; d < ANX_DTYPE_COUNT; d++) {
        const size_t used = strlen(buf);
        if (in->of_dtype[d] == in->n_tensors)
            snprintf(buf, size, "%s%s", in->n_tensors > 1 ? "all " : "", anx_dtype_name((anx_dtype)d));
        else if (in->of_dtype[d] > 0)
            snprintf(buf + used, size - used, "%s%zu %s", used > 0 ? ", " : "", in->of_dtype[d],
                     anx_dtype_name((anx_dtype)d));
    }
}

static void put_totals(const anx_text_report *r, const anx_inspection *in) {
    char elems[32], bytes[32], stored[32], dtypes[300];
    list_dtypes(in, dtypes, sizeof dtypes);
    anx_report_put_fact(r, "tensors", "%zu, %s: %s element%s, %s byte%s", in->n_tensors, dtypes,
                        grouped((uint64_t)in->n_elems, elems), plural((uint64_t)in->n_elems),
                        grouped(in->n_bytes, bytes), plural(in->n_bytes));
    if (in->storage_bytes != in->n_bytes || in->n_storages != in->n_tensors)
        anx_report_put_fact(r, "", "views of %zu storage%s of %s bytes", in->n_storages, plural(in->n_storages),
                            grouped(in->storage_bytes, stored));
}

static void put_metadata(const anx_text_report *r, const anx_inspection *in) {
    const anx_metadata_summary *s = &in->metadata;
    char text[400] = "";
    if (!s->present) return;
    for (int i = 0; i < s->n_versions; i++) {
        const size_t used = strlen(text);
        if (s->versions[i].n_modules == s->n_modules)
            snprintf(text, sizeof text, ", all of version %" PRId64, s->versions[i].version);
        else
            snprintf(text + used, sizeof text - used, "%s%zu of version %" PRId64, used > 0 ? ", " : ": ",
                     s->versions[i].n_modules, s->versions[i].version);
    }
    const size_t used = strlen(text);
    if (s->n_others + s->n_without > 0)
        snprintf(text + used, sizeof text - used, "%s%zu of %s", used > 0 ? ", " : ": ", s->n_others + s->n_without,
                 s->n_others > 0 ? "others" : "none");
    anx_report_put_fact(r, "_metadata", "%zu module%s%s", s->n_modules, plural(s->n_modules), text);
}

/* A safetensors file's text pairs. */
static void put_pairs(const anx_text_report *r, const anx_inspection *in) {
    const anx_safetensors *file = anx_checkpoint_impl_of(in->checkpoint)->safetensors;
    size_t shown = 0, left_out = 0;
    for (size_t i = 0; file != NULL && i < file->n_metadata; i++) {
        char key[100], value[300];
        if (strcmp(file->metadata[i].key, anx_state_dict_pair) == 0) continue; /* shown as what it says */
        if (shown == max_pairs_shown) {
            left_out++;
            continue;
        }
        anx_report_put_fact(
            r, shown++ == 0 ? "metadata" : "", "%s: %s",
            anx_text_printable(file->metadata[i].key, strlen(file->metadata[i].key), key, sizeof key),
            anx_text_printable(file->metadata[i].value, strlen(file->metadata[i].value), value, sizeof value));
    }
    if (left_out > 0) anx_report_put_fact(r, "", "... %zu more", left_out);
}

/* ---- the table of tensors -------------------------------------------------------------------------------- */

enum {
    COLUMN_NAME,
    COLUMN_DTYPE,
    COLUMN_SHAPE,
    COLUMN_KEY,
    COLUMN_OFFSET,
    COLUMN_MIN,
    COLUMN_MAX,
    COLUMN_MEAN,
    N_COLUMNS
};

typedef struct row {
    char text[N_COLUMNS][256];
} row;

typedef struct table {
    const anx_text_report *report;
    const anx_inspection *inspection;
    bool has_column[N_COLUMNS];
    int width[N_COLUMNS];
    int gap; /* between columns */
} table;

static void put_number(double value, char *buf, size_t size) {
    snprintf(buf, size, "%.4g", value);
}

/* Whole where that takes no more room than other numbers do; the JSON has all digits. */
static void put_integer(int64_t value, char *buf, size_t size) {
    const int n = snprintf(buf, size, "%" PRId64, value);
    if (n > max_number_width) put_number((double)value, buf, size);
}

static void fill_values(const anx_inspected_tensor *t, row *out) {
    const anx_tensor_stats *s = &t->stats;
    for (int i = COLUMN_MIN; i <= COLUMN_MEAN; i++) snprintf(out->text[i], sizeof out->text[i], "-");
    if (t->state != ANX_STATS_COMPUTED) return;
    const double mean = anx_tensor_stats_mean(s);
    if (!anx_dtype_is_float(t->tensor->dtype)) {
        put_integer(s->int_min, out->text[COLUMN_MIN], sizeof out->text[0]);
        put_integer(s->int_max, out->text[COLUMN_MAX], sizeof out->text[0]);
    } else if (s->min <= s->max) {
        put_number(s->min, out->text[COLUMN_MIN], sizeof out->text[0]);
        put_number(s->max, out->text[COLUMN_MAX], sizeof out->text[0]);
    }
    if (!isnan(mean)) put_number(mean, out->text[COLUMN_MEAN], sizeof out->text[0]);
}

static void fill_row(const anx_inspected_tensor *t, row *out) {
    const char *key = t->entry->storage->key != NULL ? t->entry->storage->key : "";
    anx_text_printable(t->name, strlen(t->name), out->text[COLUMN_NAME], sizeof out->text[0]);
    snprintf(out->text[COLUMN_DTYPE], sizeof out->text[0], "%s", anx_dtype_name(t->tensor->dtype));
    anx_shape_format(t->tensor->rank, t->tensor->shape, out->text[COLUMN_SHAPE], sizeof out->text[0]);
    anx_text_printable(key, strlen(key), out->text[COLUMN_KEY], max_key_width + 4 /* dots */);
    snprintf(out->text[COLUMN_OFFSET], sizeof out->text[0], "%" PRIu64, t->file_offset);
    fill_values(t, out);
}

static const char *const headings[N_COLUMNS] = {"name", "dtype", "shape", "key", "offset", "min", "max", "mean"};

static int total_width(const table *t) {
    int total = -t->gap;
    for (int i = 0; i < N_COLUMNS; i++)
        if (t->has_column[i]) total += t->width[i] + t->gap;
    return total;
}

static void measure(table *t) {
    for (int i = 0; i < N_COLUMNS; i++) {
        t->width[i] = width_of(headings[i]);
        t->has_column[i] = true;
    }
    const char *first = t->inspection->storages[0].storage->key;
    /* Formats without storages name them after their tensors. */
    t->has_column[COLUMN_KEY] = first != NULL && strcmp(first, t->inspection->tensors[0].name) != 0;
    t->has_column[COLUMN_DTYPE] =
        t->inspection->of_dtype[t->inspection->tensors[0].tensor->dtype] != t->inspection->n_tensors;
    for (size_t i = 0; i < t->inspection->n_tensors; i++) {
        row r;
        fill_row(&t->inspection->tensors[i], &r);
        for (int k = 0; k < N_COLUMNS; k++) {
            const int width = width_of(r.text[k]);
            if (width > t->width[k] && (k != COLUMN_NAME || width <= max_name_width)) t->width[k] = width;
        }
    }
    t->gap = 2;
    if (total_width(t) > ANX_REPORT_COLUMNS) t->gap = 1;
}

static bool is_number(int column) {
    return column >= COLUMN_OFFSET;
}

static void put_cells(const table *t, const char *const cells[N_COLUMNS]) {
    FILE *to = t->report->to;
    int at = 0, due = 0; /* columns printed, and those that should stand before the next cell */
    for (int i = 0; i < N_COLUMNS; i++) {
        if (!t->has_column[i]) continue;
        const int width = width_of(cells[i]), room = is_number(i) && width < t->width[i] ? t->width[i] - width : 0;
        if (at > due) { /* a name longer than its column has the line to itself */
            fputc('\n', to);
            at = 0;
        }
        fprintf(to, "%*s%s", due + room - at, "", cells[i]);
        at = due + room + width;
        due += t->width[i] + t->gap;
        if (i > COLUMN_NAME && at + t->gap > due) due = at + t->gap;
    }
    fputc('\n', to);
}

/* ---- ... and what does not fit into a row ---------------------------------------------------------------- */

static void put_note(const table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put_note(const table *t, const char *format, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, format);
    const int n = vasprintf(&text, format, args);
    va_end(args);
    if (n < 0) {
        anx_report_out_of_memory(t->report);
        return;
    }
    fputs("    ", t->report->to);
    anx_report_put_wrapped(t->report, ANX_STYLE_PLAIN, 4, 6, text);
    free(text);
}

static void put_sharing(const table *t, size_t i) {
    const anx_inspection *in = t->inspection;
    const anx_inspected_storage *s = &in->storages[in->tensors[i].storage];
    char text[700] = "";
    size_t shown = 0;
    for (size_t k = 0; k < s->n_tensors && shown < max_shared_shown; k++) {
        const size_t other = in->by_storage[s->first + k], used = strlen(text);
        char name[200];
        if (other == i) continue;
        anx_text_printable(in->tensors[other].name, strlen(in->tensors[other].name), name, sizeof name);
        snprintf(text + used, sizeof text - used, "%s'%s'", shown++ > 0 ? ", " : "", name);
    }
    if (shown == 0) return;
    if (s->n_tensors - 1 > shown)
        put_note(t, "shares its storage with %s and %zu more", text, s->n_tensors - 1 - shown);
    else
        put_note(t, "shares its storage with %s", text);
}

static void put_notes(const table *t, size_t i) {
    const anx_inspected_tensor *v = &t->inspection->tensors[i];
    const anx_storage *storage = v->entry->storage;
    char text[256];
    if (!v->contiguous)
        put_note(t, "strides %s", anx_shape_format(v->tensor->rank, v->tensor->stride, text, sizeof text));
    if (v->n_elems != storage->n_elems || v->entry->offset != 0)
        put_note(t, "from element %" PRId64 " of its storage's %" PRId64, v->entry->offset, storage->n_elems);
    put_sharing(t, i);
    if (v->entry->is_parameter)
        put_note(t, "a Parameter, requires_grad %s", v->entry->requires_grad ? "True" : "False");
    else if (v->entry->requires_grad)
        put_note(t, "requires_grad True");
    if (v->stats.n_nan > 0 || v->stats.n_inf > 0)
        put_note(t, "%" PRId64 " NaN, %" PRId64 " infinite; the mean is of the others", v->stats.n_nan, v->stats.n_inf);
    if (v->state == ANX_STATS_EXPANDED) put_note(t, "values not looked at: expanded from fewer elements than it has");
    if (v->state == ANX_STATS_TOO_MANY)
        put_note(t, "values not looked at: the tensors before it have several times the file's elements");
}

static void put_tensors(const anx_text_report *r, const anx_inspection *in) {
    table t = {.report = r, .inspection = in};
    if (in->n_tensors == 0) return;
    measure(&t);
    fputc('\n', r->to);
    put_cells(&t, headings);
    for (size_t i = 0; i < in->n_tensors; i++) {
        const char *cells[N_COLUMNS];
        row values;
        fill_row(&in->tensors[i], &values);
        for (int k = 0; k < N_COLUMNS; k++) cells[k] = values.text[k];
        put_cells(&t, cells);
        put_notes(&t, i);
    }
}

/* ---- the tree of what else there is ----------------------------------------------------------------------- */

/* "[0, 1, 2, ... 13 more]": a list or tuple of nothing but scalars, on one line. */
static bool is_on_one_line(const anx_contents *c, const anx_contents_node *n) {
    if (n->value->kind != ANX_PICKLE_LIST && n->value->kind != ANX_PICKLE_TUPLE) return false;
    if (n->n_children == 0 && n->n_items > 0) return false;
    for (size_t i = 0; i < n->n_children; i++)
        if (anx_contents_is_container(c->nodes[n->first_child + i].value)) return false;
    return true;
}

static void put_line(const anx_text_report *r, const anx_contents *c, const anx_contents_node *n) {
    const bool is_tuple = n->value->kind == ANX_PICKLE_TUPLE;
    char text[max_value_bytes];
    int used = 0;
    fputc(is_tuple ? '(' : '[', r->to);
    for (size_t i = 0; i < n->n_items; i++) {
        const bool full = i == n->n_children || used > 40;
        if (full) {
            fprintf(r->to, "%s... %zu more", i > 0 ? ", " : "", n->n_items - i);
            break;
        }
        anx_contents_value(c->nodes[n->first_child + i].value, text, sizeof text);
        used += fprintf(r->to, "%s%s", i > 0 ? ", " : "", text);
    }
    fputs(is_tuple ? (n->n_items == 1 ? ",)" : ")") : "]", r->to);
}

static void put_value(const anx_text_report *r, const anx_contents *c, size_t node) {
    const anx_contents_node *n = &c->nodes[node];
    char text[max_value_bytes], kind[128], path[80];
    if (!anx_contents_is_container(n->value)) {
        fputs(anx_contents_value(n->value, text, sizeof text), r->to);
    } else if (n->is_reference) {
        fprintf(r->to, "the same %s as %s", anx_contents_kind(n->value, kind),
                n->same_as == 0 ? "the whole" : anx_contents_path(c, n->same_as, path, sizeof path));
    } else if (is_on_one_line(c, n)) {
        put_line(r, c, n);
    } else {
        fputs(anx_contents_kind(n->value, kind), r->to);
        if (n->n_tensors > 0) fprintf(r->to, ": the %zu tensor%s above", n->n_tensors, plural(n->n_tensors));
        if (n->n_tensors == 0 || n->n_items > 0)
            fprintf(r->to, "%s%zu%s", n->n_tensors > 0 ? " and " : " of ", n->n_items,
                    n->n_tensors > 0 ? plural(n->n_items)[0] != '\0' ? " others" : " other" : "");
        if (n->n_items > 0 && (n->n_children == 0 || n->depth >= max_depth)) fputs(" (not shown)", r->to);
    }
}

static bool has_rows_below(const anx_contents *c, const anx_contents_node *n) {
    return n->n_children > 0 && n->depth < max_depth && !n->is_reference && !is_on_one_line(c, n);
}

static size_t shown_of(const anx_contents_node *n) {
    return n->n_children < max_items ? n->n_children : max_items;
}

/* Keys of one container are padded to one width. */
static int key_width(const anx_contents *c, size_t parent) {
    int most = 0;
    for (size_t i = 0; i < shown_of(&c->nodes[parent]); i++) {
        char key[ANX_CONTENTS_KEY_BYTES];
        const int width = width_of(anx_contents_key(c, c->nodes[parent].first_child + i, key));
        if (width > most && width <= max_tree_key_width) most = width;
    }
    return most;
}

static void put_tree_row(const anx_text_report *r, const anx_contents *c, size_t node) {
    const anx_contents_node *n = &c->nodes[node];
    char key[ANX_CONTENTS_KEY_BYTES];
    anx_contents_key(c, node, key);
    const int width = width_of(key), padded = key_width(c, n->parent);
    fprintf(r->to, "%*s%s%*s", 2 * n->depth, "", key, (padded > width ? padded - width : 0) + 2, "");
    put_value(r, c, node);
    fputc('\n', r->to);
}

/* The node after `at` in the order of reading, over those that are shown; 0 behind the last. */
static size_t following(const anx_text_report *r, const anx_contents *c, size_t at) {
    if (has_rows_below(c, &c->nodes[at])) return c->nodes[at].first_child;
    while (at != 0) {
        const anx_contents_node *parent = &c->nodes[c->nodes[at].parent];
        const size_t done = at - parent->first_child + 1;
        if (done < shown_of(parent)) return at + 1;
        if (done < parent->n_items)
            fprintf(r->to, "%*s... %zu more\n", 2 * c->nodes[at].depth, "", parent->n_items - done);
        at = c->nodes[at].parent;
    }
    return 0;
}

static void put_contents(const anx_text_report *r, const anx_inspection *in) {
    const anx_checkpoint_impl *impl = anx_checkpoint_impl_of(in->checkpoint);
    const anx_contents *c = &in->contents;
    if (c->count == 0 || (impl->root == impl->state_dict && c->nodes[0].n_items == 0)) return;
    fputs("\ncontents    ", r->to);
    put_value(r, c, 0);
    fputc('\n', r->to);
    int rows = 0;
    for (size_t at = following(r, c, 0); at != 0; at = following(r, c, at)) {
        if (rows++ == max_rows) {
            fprintf(r->to, "  ... the rest is left out after %d lines; --json has more\n", (int)max_rows);
            return;
        }
        put_tree_row(r, c, at);
    }
}

anx_status anx_inspection_text(const anx_inspection *in, char **text, size_t *n_bytes, anx_error *err) {
    const anx_report_options options = {.color = false};
    anx_text_stream s;
    anx_status status = anx_text_stream_open(&s, err);
    if (status != ANX_OK) return status;
    anx_text_report r = {.options = &options, .to = s.to, .stream = &s};
    put_file(&r, in);
    put_model(&r, in);
    put_totals(&r, in);
    put_metadata(&r, in);
    put_pairs(&r, in);
    put_tensors(&r, in);
    put_contents(&r, in);
    return anx_text_stream_close(&s, text, n_bytes, err);
}
