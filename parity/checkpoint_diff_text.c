#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/text.h"
#include "parity/checkpoint_diff_report.h"
#include "parity/report_text_inside.h"
#include "src/base/text_stream.h"

enum { most_rows = 20, most_twins = 20, continued = 4, name_bytes = 512, shape_bytes = 256 };

typedef struct writer {
    anx_text_report report;
    const anx_checkpoint_diff *diff;
    const anx_checkpoint_twins *twins;
    bool *explained_a, *explained_b; /* of each tensor */
    size_t *twin_of_b;               /* of each tensor, if it is to be renamed: A's; SIZE_MAX: it is not */
} writer;

static const char *plural(int64_t n) {
    return n == 1 ? "" : "s";
}

static char *name_in(const anx_checkpoint *checkpoint, size_t i, char buf[name_bytes]) {
    const char *name = checkpoint->tensors.items[i].name;
    return anx_text_printable(name, strlen(name), buf, name_bytes);
}

static const anx_tensor *tensor_in(const anx_checkpoint *checkpoint, size_t i) {
    return &checkpoint->tensors.items[i].tensor;
}

static char *shape_of(const anx_tensor *t, char buf[shape_bytes]) {
    return anx_shape_format(t->rank, t->shape, buf, shape_bytes);
}

/* ---- the verdict and what was compared ------------------------------------------------------------------ */

/* "different: 12 of 16 tensors are the same; 2 differ in bits, 1 is in B alone" */
static void put_counts(const writer *w) {
    static const struct {
        anx_diff_kind kind;
        const char *one, *several;
    } phrases[] = {
        {ANX_DIFF_BITS, "differs in bits", "differ in bits"},    {ANX_DIFF_DTYPE, "differs in type", "differ in type"},
        {ANX_DIFF_SHAPE, "differs in shape", "differ in shape"}, {ANX_DIFF_ONLY_A, "is in A alone", "are in A alone"},
        {ANX_DIFF_ONLY_B, "is in B alone", "are in B alone"},    {ANX_DIFF_SKIPPED, "was skipped", "were skipped"},
    };
    const size_t *counts = w->diff->counts;
    const size_t names = w->diff->n_same + w->diff->n_rows;
    char text[512];
    size_t used = (size_t)snprintf(text, sizeof text, "%zu of %zu tensor%s %s the same", w->diff->n_same, names,
                                   plural((int64_t)names), w->diff->n_same == 1 ? "is" : "are");
    const char *before = "; ";
    for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++) {
        const size_t n = counts[phrases[i].kind];
        if (n == 0) continue;
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%zu %s", before, n,
                                 n == 1 ? phrases[i].one : phrases[i].several);
        before = ", ";
    }
    anx_report_put_wrapped_format(&w->report, (int)strlen("different: "), continued, "%s", text);
}

static void put_verdict(const writer *w) {
    const anx_checkpoint_diff *d = w->diff;
    switch (d->result) {
    case ANX_DIFF_IDENTICAL:
        anx_report_put(&w->report, ANX_STYLE_GOOD, "identical:");
        fprintf(w->report.to, " %zu tensor%s, %" PRId64 " element%s\n", d->n_same, plural((int64_t)d->n_same),
                d->same_elems, plural(d->same_elems));
        return;
    case ANX_DIFF_DIFFERENT: anx_report_put(&w->report, ANX_STYLE_BAD, "different:"); break;
    case ANX_DIFF_NOT_VERIFIED: anx_report_put(&w->report, ANX_STYLE_DOUBTFUL, "not verified:"); break;
    }
    fputc(' ', w->report.to);
    put_counts(w);
}

static void put_file(const writer *w, const char *label, const anx_checkpoint *c) {
    char bytes[32], wrapped[64] = "", crc[96] = "";
    if (c->wrapped_in != NULL) snprintf(wrapped, sizeof wrapped, ", under '%s'", c->wrapped_in);
    if (c->n_bad_crc > 0)
        snprintf(crc, sizeof crc, ", %zu record%s accepted though the CRC-32 does not match", c->n_bad_crc,
                 plural((int64_t)c->n_bad_crc));
    anx_report_put_fact(&w->report, label, "%s: %s, %s bytes, %zu tensor%s%s%s", c->path, c->format,
                        anx_report_grouped((int64_t)c->file_bytes, bytes), c->tensors.count,
                        plural((int64_t)c->tensors.count), wrapped, crc);
}

static void put_notes(const writer *w) {
    const anx_checkpoint_diff *d = w->diff;
    char a[name_bytes], b[name_bytes];
    if (d->other_order)
        anx_report_put_fact(&w->report, "order",
                            "another one in B, which is no difference: where A has '%s', B has '%s'",
                            name_in(d->a, d->order_a, a), name_in(d->b, d->order_b, b));
    if (d->beside_a != NULL || d->beside_b != NULL)
        anx_report_put_fact(&w->report, "beside", "not compared: %s%s%s%s%s", d->beside_a != NULL ? d->beside_a : "",
                            d->beside_a != NULL ? " in A" : "", d->beside_a != NULL && d->beside_b != NULL ? "; " : "",
                            d->beside_b != NULL ? d->beside_b : "", d->beside_b != NULL ? " in B" : "");
}

/* ---- what differs --------------------------------------------------------------------------------------- */

/* "[12, 0, 3, 3]" */
static void put_index(FILE *to, const anx_diff_element *e, int rank) {
    fputc('[', to);
    for (int i = 0; i < rank; i++) fprintf(to, "%s%" PRId64, i > 0 ? ", " : "", e->index[i]);
    fputc(']', to);
}

static void put_values(FILE *to, const anx_diff_element *e) {
    char a[ANX_ELEMENT_VALUE_TEXT], b[ANX_ELEMENT_VALUE_TEXT];
    fprintf(to, "%s in A, %s in B", anx_element_value_format(e->a, a), anx_element_value_format(e->b, b));
}

static void put_place(FILE *to, const anx_diff_element *e, int rank, bool values) {
    fputs(" at ", to);
    put_index(to, e, rank);
    if (!values) return;
    fputs(": ", to);
    put_values(to, e);
}

static void put_ulps(FILE *to, const anx_diff_measure *m) {
    fprintf(to, "%" PRIu64 " ULP%s", m->max_ulps, m->max_ulps == 1 ? "" : "s");
    if (m->first.a.dtype != m->first.b.dtype) fprintf(to, " of %s", anx_dtype_name(m->ulps_dtype));
}

static bool shows_ulps(const anx_diff_measure *m) {
    return m->has_ulps && anx_dtype_is_float(m->first.a.dtype);
}

/* One element alone: everything about it in one go. */
static void put_single(FILE *to, const anx_diff_measure *m, int rank) {
    put_place(to, &m->first, rank, true);
    if (m->abs.known) fprintf(to, "; |A - B| %.6g", m->max_abs);
    if (!shows_ulps(m)) return;
    fputs(", ", to);
    put_ulps(to, m);
}

static bool one_place(const anx_diff_element *x, const anx_diff_element *y) {
    return x->known && y->known && memcmp(x->index, y->index, sizeof x->index) == 0;
}

static void put_several(FILE *to, const anx_diff_measure *m, int rank) {
    fputs(", first", to);
    put_place(to, &m->first, rank, true);
    if (m->abs.known) {
        fprintf(to, "; largest |A - B| %.6g", m->max_abs);
        put_place(to, &m->abs, rank, !one_place(&m->abs, &m->first));
    }
    if (!shows_ulps(m)) return;
    fputs("; farthest ", to);
    put_ulps(to, m);
    put_place(to, &m->ulp, rank, !one_place(&m->ulp, &m->abs) && !one_place(&m->ulp, &m->first));
}

static void put_kinds(FILE *to, const anx_diff_measure *m) {
    const struct {
        int64_t n;
        const char *what;
    } kinds[] = {{m->n_nan_a, "NaN in A alone"},
                 {m->n_nan_b, "NaN in B alone"},
                 {m->n_nan_bits, "NaN in both, of other bits"},
                 {m->n_zero_signs, "zeros of another sign"}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i].n > 0) fprintf(to, "; %" PRId64 " %s", kinds[i].n, kinds[i].what);
}

static void put_measure(FILE *to, const anx_diff_measure *m, int rank, const char *differ, const char *differs) {
    fprintf(to, "%" PRId64 " of %" PRId64 " element%s %s", m->n_different, m->n_elems, plural(m->n_elems),
            m->n_different == 1 ? differs : differ);
    if (m->n_different == 1)
        put_single(to, m, rank);
    else
        put_several(to, m, rank);
    put_kinds(to, m);
}

static void put_relation(FILE *to, const anx_diff_measure *m, int rank, const char *a_dtype, const char *b_dtype) {
    switch (m->relation) {
    case ANX_DIFF_EQUAL_VALUES: fputs("equal values", to); break;
    case ANX_DIFF_B_ROUNDED: fprintf(to, "B is A rounded to %s (to nearest even), exactly", b_dtype); break;
    case ANX_DIFF_A_ROUNDED: fprintf(to, "A is B rounded to %s (to nearest even), exactly", a_dtype); break;
    case ANX_DIFF_B_TRUNCATED: fprintf(to, "B is A truncated to %s (toward zero), exactly", b_dtype); break;
    case ANX_DIFF_A_TRUNCATED: fprintf(to, "A is B truncated to %s (toward zero), exactly", a_dtype); break;
    case ANX_DIFF_UNRELATED:
    case ANX_DIFF_RELATION_COUNT: put_measure(to, m, rank, "differ in value", "differs in value"); return;
    }
    if (m->n_different > 0)
        fprintf(to, "; %" PRId64 " of %" PRId64 " values changed, by at most %.6g", m->n_different, m->n_elems,
                m->max_abs);
    if (m->n_overflow > 0) fprintf(to, "; %" PRId64 " became infinite", m->n_overflow);
    if (m->n_underflow > 0) fprintf(to, "; %" PRId64 " became zero", m->n_underflow);
}

static void put_pair(const writer *w, FILE *to, const anx_diff_row *row) {
    const anx_tensor *a = tensor_in(w->diff->a, row->a), *b = tensor_in(w->diff->b, row->b);
    const char *a_dtype = anx_dtype_name(a->dtype), *b_dtype = anx_dtype_name(b->dtype);
    char name[name_bytes], a_shape[shape_bytes], b_shape[shape_bytes];
    name_in(w->diff->a, row->a, name);
    shape_of(a, a_shape);
    shape_of(b, b_shape);
    switch (row->kind) {
    case ANX_DIFF_SHAPE: fprintf(to, "%s: %s %s in A, %s %s in B", name, a_shape, a_dtype, b_shape, b_dtype); break;
    case ANX_DIFF_DTYPE:
        fprintf(to, "%s, %s: %s in A, %s in B: ", name, a_shape, a_dtype, b_dtype);
        put_relation(to, &row->measure, a->rank, a_dtype, b_dtype);
        break;
    case ANX_DIFF_BITS:
        fprintf(to, "%s, %s %s: ", name, a_shape, a_dtype);
        put_measure(to, &row->measure, a->rank, "differ", "differs");
        break;
    default: fprintf(to, "%s, %s: not compared: it names more elements than can be read", name, a_shape); break;
    }
}

static void put_lone(FILE *to, const anx_checkpoint *checkpoint, size_t i, const char *where) {
    char name[name_bytes], shape[shape_bytes];
    const anx_tensor *t = tensor_in(checkpoint, i);
    fprintf(to, "%s: in %s alone, %s %s", name_in(checkpoint, i, name), where, shape_of(t, shape),
            anx_dtype_name(t->dtype));
}

/* A text of its own first, so that it can be wrapped. */
typedef void (*compose)(const writer *w, FILE *to, const void *what);

static void put_composed(const writer *w, compose write, const void *what) {
    char *text = NULL;
    anx_text_stream s;
    if (anx_text_stream_open(&s, NULL) != ANX_OK) {
        anx_report_out_of_memory(&w->report);
        return;
    }
    write(w, s.to, what);
    if (anx_text_stream_close(&s, &text, NULL, NULL) == ANX_OK)
        anx_report_put_wrapped(&w->report, ANX_STYLE_PLAIN, 0, continued, text);
    else
        anx_report_out_of_memory(&w->report);
    free(text);
}

static void compose_row(const writer *w, FILE *to, const void *what) {
    const anx_diff_row *row = what;
    if (row->kind == ANX_DIFF_ONLY_A)
        put_lone(to, w->diff->a, row->a, "A");
    else if (row->kind == ANX_DIFF_ONLY_B)
        put_lone(to, w->diff->b, row->b, "B");
    else
        put_pair(w, to, row);
}

/* Names in one alone are not listed twice: where a twin says what the other calls them, that is enough. */
static void mark_explained(writer *w) {
    for (size_t i = 0; i < w->twins->n_items; i++) {
        const anx_twin *twin = &w->twins->items[i];
        if (twin->order.kind != ANX_TWIN_SAME || twin->basis == ANX_TWIN_AMBIGUOUS) continue;
        w->explained_a[twin->a] = true;
        w->explained_b[twin->b] = true;
    }
}

static void mark_renamed(writer *w) {
    for (size_t i = 0; i < w->diff->b->tensors.count; i++) w->twin_of_b[i] = SIZE_MAX;
    for (size_t i = 0; i < w->twins->n_items; i++) {
        const anx_twin *twin = &w->twins->items[i];
        char *rename = NULL;
        if (anx_twin_rename(w->diff, w->twins, twin, &rename, NULL) != ANX_OK) anx_report_out_of_memory(&w->report);
        if (rename != NULL) w->twin_of_b[twin->b] = twin->a;
        free(rename);
    }
}

static bool is_explained(const writer *w, const anx_diff_row *row) {
    return (row->kind == ANX_DIFF_ONLY_A && w->explained_a[row->a]) ||
           (row->kind == ANX_DIFF_ONLY_B && w->explained_b[row->b]);
}

static void put_rows(const writer *w) {
    const anx_checkpoint_diff *d = w->diff;
    size_t listed = 0;
    for (size_t i = 0; i < d->n_rows; i++) {
        if (is_explained(w, &d->rows[i])) continue;
        if (listed++ == 0) fputc('\n', w->report.to);
        if (listed <= most_rows) put_composed(w, compose_row, &d->rows[i]);
    }
    if (listed > most_rows) fprintf(w->report.to, "and %zu more (--json lists them)\n", listed - most_rows);
}

/* ---- what fits ------------------------------------------------------------------------------------------ */

static const char *layout_name(const int *axes) {
    static const struct {
        int axes[4];
        const char *name;
    } layouts[] = {{{2, 3, 1, 0}, "OIHW in A, HWIO in B"},
                   {{3, 2, 0, 1}, "HWIO in A, OIHW in B"},
                   {{0, 2, 3, 1}, "OIHW in A, OHWI in B"},
                   {{0, 3, 1, 2}, "OHWI in A, OIHW in B"}};
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++)
        if (memcmp(axes, layouts[i].axes, sizeof layouts[i].axes) == 0) return layouts[i].name;
    return NULL;
}

static void put_permuted(FILE *to, const anx_twin *twin, int rank) {
    const char *layout = rank == 4 ? layout_name(twin->order.axes) : NULL;
    if (layout != NULL)
        fputs(layout, to);
    else
        fputs(rank == 2 ? "transposed in B" : "its axes are in another order in B", to);
}

static void put_reversed(FILE *to, const anx_twin *twin, const anx_tensor *a) {
    const int axis = twin->order.axis;
    const char *layout = a->rank == 4 ? layout_name(twin->order.axes) : NULL;
    fprintf(to, "axis %d of A (%" PRId64 " long) is backward in B%s", axis, a->shape[axis],
            a->rank == 4 && a->shape[axis] == 3 ? ", as RGB against BGR" : "");
    if (layout != NULL) fprintf(to, ", and it is %s", layout);
}

/* "256 x 6 x 6", or "6 x 6 x 256" where the channels come last. */
static void put_factors(FILE *to, const anx_twin *twin, bool in_b) {
    const anx_twin_order *o = &twin->order;
    const int64_t channels = twin->channels, positions = channels == o->outer ? o->inner : o->outer;
    const int64_t side = (int64_t)llround(sqrt((double)positions));
    const bool channels_first = (channels == o->outer) != in_b;
    char map[48];
    if (side * side == positions)
        snprintf(map, sizeof map, "%" PRId64 " x %" PRId64, side, side);
    else
        snprintf(map, sizeof map, "%" PRId64, positions);
    if (channels_first)
        fprintf(to, "%" PRId64 " x %s (CHW)", channels, map);
    else
        fprintf(to, "%s x %" PRId64 " (HWC)", map, channels);
}

static void put_flattened(FILE *to, const anx_twin *twin, const anx_tensor *a) {
    const anx_twin_order *o = &twin->order;
    fprintf(to, "the %" PRId64 " %s of A are flattened from ", a->shape[o->axis], o->axis == 1 ? "columns" : "rows");
    if (twin->channels > 0) {
        put_factors(to, twin, false);
        fputs(", in B from ", to);
        put_factors(to, twin, true);
    } else {
        fprintf(to, "%" PRId64 " x %" PRId64 ", in B from %" PRId64 " x %" PRId64, o->outer, o->inner, o->inner,
                o->outer);
    }
    if (o->axes[0] == 1) fputs(", where it is transposed too", to);
}

static void put_order(const writer *w, FILE *to, const anx_twin *twin) {
    const anx_tensor *a = tensor_in(w->diff->a, twin->a);
    char expression[ANX_TWIN_TEXT];
    switch (twin->order.kind) {
    case ANX_TWIN_SAME:
    case ANX_TWIN_KIND_COUNT: return;
    case ANX_TWIN_RESHAPED: fputs("the same elements in the same order", to); break;
    case ANX_TWIN_PERMUTED: put_permuted(to, twin, a->rank); break;
    case ANX_TWIN_REVERSED: put_reversed(to, twin, a); break;
    case ANX_TWIN_FLATTENED: put_flattened(to, twin, a); break;
    }
    fprintf(to, ": B is %s", anx_twin_expression(w->diff, twin, expression));
}

static void put_doubts(FILE *to, const anx_twin *twin) {
    if (twin->constant && twin->order.kind != ANX_TWIN_SAME)
        fputs("; all its elements are one value, which fits any order", to);
    if (twin->other_orders) fputs("; another order fits as well", to);
    if (twin->basis == ANX_TWIN_BY_MODULE)
        fputs("; others fit as well, but this is where its module's other parameters are", to);
    if (twin->basis != ANX_TWIN_AMBIGUOUS) return;
    fputs("; ambiguous:", to);
    if (twin->others_a > 0) fprintf(to, " %zu other%s of A", twin->others_a, plural((int64_t)twin->others_a));
    if (twin->others_a > 0 && twin->others_b > 0) fputs(" and", to);
    if (twin->others_b > 0) fprintf(to, " %zu other%s of B", twin->others_b, plural((int64_t)twin->others_b));
    fprintf(to, " would fit as well");
}

static void compose_twin(const writer *w, FILE *to, const void *what) {
    const anx_twin *twin = what;
    char a[name_bytes], b[name_bytes];
    name_in(w->diff->a, twin->a, a);
    name_in(w->diff->b, twin->b, b);
    const bool called = twin->basis != ANX_TWIN_BY_NAME, ordered = twin->order.kind != ANX_TWIN_SAME;
    fputs(a, to);
    if (called) fprintf(to, " %s called %s in B", twin->basis == ANX_TWIN_AMBIGUOUS ? "may be" : "is", b);
    if (ordered) fputs(called ? ", " : ": ", to);
    put_order(w, to, twin);
    put_doubts(to, twin);
}

/* Those that the prefix explains are not listed one by one. */
static bool is_listed(const anx_twin *twin) {
    return twin->basis != ANX_TWIN_BY_NAME || twin->order.kind != ANX_TWIN_SAME;
}

/* As a shell takes it; there is no ' in it. */
static void put_word(FILE *to, const char *text) {
    static const char harmless[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/:=+,@%";
    const char *quote = text[strspn(text, harmless)] == '\0' ? "" : "'";
    fprintf(to, "%s%s%s", quote, text, quote);
}

static void compose_prefix(const writer *w, FILE *to, const void *what) {
    const anx_checkpoint_twins *t = w->twins;
    (void)what;
    char prefix[name_bytes];
    anx_text_printable(t->prefix, strlen(t->prefix), prefix, sizeof prefix);
    fprintf(to, "%s's names begin with '%s': without it %zu of them %s in %s, %zu with the same bits",
            t->prefix_in_b ? "B" : "A", prefix, t->n_prefixed, t->n_prefixed == 1 ? "is" : "are",
            t->prefix_in_b ? "A" : "B", t->n_prefix_same);
    if (strcmp(prefix, t->prefix) != 0 || strchr(prefix, '\'') != NULL) return;
    fputs(" (anx-convert --prefix-strip ", to);
    put_word(to, prefix);
    fputs(" takes it away)", to);
}

/* "features.0" of "features.0.weight", its length; 0: it is in no module. */
static size_t module_bytes(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot != NULL ? (size_t)(dot - name) : 0;
}

/* Both begin with n bytes that end a module's name, and are in it. */
static bool in_module(const char *name, const char *module, size_t n) {
    return strncmp(name, module, n) == 0 && name[n] == '.';
}

/* As --rename meets them: behind the prefix. */
static const char *bare_a(const writer *w, size_t i) {
    return anx_twins_bare_name(w->diff, w->twins, false, i);
}

static const char *bare_b(const writer *w, size_t i) {
    return anx_twins_bare_name(w->diff, w->twins, true, i);
}

/* A's name of the tensor is that of `twin`'s module, and behind it what B's has behind its. */
static bool moves_along(const writer *w, const anx_twin *twin, size_t b, size_t a_module, size_t b_module) {
    if (w->twin_of_b[b] == SIZE_MAX) return false;
    const char *other = bare_a(w, w->twin_of_b[b]);
    return in_module(other, bare_a(w, twin->a), a_module) && strcmp(other + a_module, bare_b(w, b) + b_module) == 0;
}

/* All that B has in the twin's module is in the one module of A, under the same names. */
static bool is_whole_module(const writer *w, const anx_twin *twin) {
    const char *name = bare_b(w, twin->b);
    const size_t a_module = module_bytes(bare_a(w, twin->a)), b_module = module_bytes(name);
    if (a_module == 0 || b_module == 0) return false;
    for (size_t i = 0; i < w->diff->b->tensors.count; i++)
        if (in_module(bare_b(w, i), name, b_module) && !moves_along(w, twin, i, a_module, b_module)) return false;
    return true;
}

/* The same module was renamed for a twin before. */
static bool is_said(const writer *w, size_t twin) {
    const anx_twin *twins = w->twins->items;
    const char *name = bare_b(w, twins[twin].b);
    for (size_t i = 0; i < twin; i++)
        if (w->twin_of_b[twins[i].b] != SIZE_MAX && in_module(bare_b(w, twins[i].b), name, module_bytes(name)))
            return true;
    return false;
}

static void put_rename(const writer *w, FILE *to, size_t i) {
    const anx_twin *twin = &w->twins->items[i];
    char *rename = NULL, *module = NULL;
    if (anx_twin_rename(w->diff, w->twins, twin, &rename, NULL) != ANX_OK) anx_report_out_of_memory(&w->report);
    if (rename == NULL) return; /* it has the name, or no one can say which it is */
    if (is_whole_module(w, twin)) {
        const char *a = bare_a(w, twin->a), *b = bare_b(w, twin->b);
        const int b_module = (int)module_bytes(b), a_module = (int)module_bytes(a);
        if (is_said(w, i)) goto out;
        if (asprintf(&module, "%.*s=%.*s", b_module, b, a_module, a) < 0) {
            module = NULL;
            anx_report_out_of_memory(&w->report);
        }
    }
    fputs(" --rename ", to);
    put_word(to, module != NULL ? module : rename);
out:
    free(module);
    free(rename);
}

static void compose_renames(const writer *w, FILE *to, const void *what) {
    const anx_checkpoint_twins *t = w->twins;
    (void)what;
    fprintf(to, "to give B the names of A%s: anx-convert",
            t->prefix != NULL && !t->prefix_in_b ? " behind its prefix" : "");
    if (t->prefix != NULL && t->prefix_in_b) {
        fputs(" --prefix-strip ", to);
        put_word(to, t->prefix);
    }
    size_t i = 0;
    for (size_t shown = 0; i < t->n_items && shown < most_twins; i++) {
        if (!is_listed(&t->items[i])) continue;
        put_rename(w, to, i);
        shown++;
    }
    while (i < t->n_items && w->twin_of_b[t->items[i].b] == SIZE_MAX) i++;
    if (i < t->n_items) fputs(" ... (--json has them all)", to);
}

static bool has_renames(const writer *w) {
    for (size_t i = 0; i < w->diff->b->tensors.count; i++)
        if (w->twin_of_b[i] != SIZE_MAX) return true;
    return false;
}

static void put_twins(const writer *w) {
    const anx_checkpoint_twins *t = w->twins;
    size_t listed = 0;
    for (size_t i = 0; i < t->n_items; i++) listed += is_listed(&t->items[i]);
    if (listed > 0 || t->prefix != NULL || t->cut_short)
        anx_report_put(&w->report, ANX_STYLE_TITLE, "\nWhat fits, bit for bit:\n");
    if (t->prefix != NULL) put_composed(w, compose_prefix, NULL);
    for (size_t i = 0, shown = 0; i < t->n_items && shown < most_twins; i++) {
        if (!is_listed(&t->items[i])) continue;
        put_composed(w, compose_twin, &t->items[i]);
        shown++;
    }
    if (listed > most_twins) fprintf(w->report.to, "and %zu more (--json lists them)\n", listed - most_twins);
    if (has_renames(w)) put_composed(w, compose_renames, NULL);
    if (t->cut_short)
        fputs("The search was cut short: there is more to compare than these files may ask for.\n", w->report.to);
}

static void write_all(writer *w) {
    mark_explained(w);
    mark_renamed(w);
    put_verdict(w);
    put_file(w, "A", w->diff->a);
    put_file(w, "B", w->diff->b);
    put_notes(w);
    put_rows(w);
    put_twins(w);
}

anx_status anx_checkpoint_diff_text(const anx_checkpoint_diff *diff, const anx_checkpoint_twins *twins, bool color,
                                    char **text, size_t *n_bytes, anx_error *err) {
    const anx_report_options options = {.color = color};
    anx_text_stream s;
    writer w = {.report = {.options = &options},
                .diff = diff,
                .twins = twins,
                .explained_a = calloc(diff->a->tensors.count + 1, sizeof(bool)),
                .explained_b = calloc(diff->b->tensors.count + 1, sizeof(bool)),
                .twin_of_b = calloc(diff->b->tensors.count + 1, sizeof(size_t))};
    const bool failed = w.explained_a == NULL || w.explained_b == NULL || w.twin_of_b == NULL;
    anx_status status =
        failed ? anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the report") : anx_text_stream_open(&s, err);
    if (status == ANX_OK) {
        w.report.to = s.to;
        w.report.stream = &s;
        write_all(&w);
        status = anx_text_stream_close(&s, text, n_bytes, err);
    }
    free(w.explained_a);
    free(w.explained_b);
    free(w.twin_of_b);
    return status;
}
