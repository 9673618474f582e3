#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/text.h"
#include "parity/report_text_inside.h"
#include "src/base/text_stream.h"

enum { label_width = 12, continued = 2, max_images_shown = 3, class_name_width = 30 };

/* ---- writing ---- */

anx_report_style anx_report_verdict_style(anx_verdict verdict) {
    switch (verdict) {
    case ANX_VERDICT_PASS: return ANX_STYLE_GOOD;
    case ANX_VERDICT_SKIP:
    case ANX_VERDICT_WARN: return ANX_STYLE_DOUBTFUL;
    case ANX_VERDICT_FAIL: return ANX_STYLE_BAD;
    case ANX_VERDICT_INFO:
    case ANX_VERDICT_COUNT: break;
    }
    return ANX_STYLE_PLAIN;
}

static const char *style_begin(const anx_text_report *r, anx_report_style style) {
    static const char *const codes[] = {"", "\033[1m", "\033[2m", "\033[32m", "\033[33m", "\033[1;31m"};
    return r->options->color ? codes[style] : "";
}

static const char *style_end(const anx_text_report *r, anx_report_style style) {
    return r->options->color && style != ANX_STYLE_PLAIN ? "\033[0m" : "";
}

void anx_report_put(const anx_text_report *r, anx_report_style style, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs(style_begin(r, style), r->to);
    vfprintf(r->to, format, args);
    fputs(style_end(r, style), r->to);
    va_end(args);
}

/* Characters, counting UTF-8's continuation bytes as nothing. */
static int width_of(const char *text, size_t n_bytes) {
    int width = 0;
    for (size_t i = 0; i < n_bytes; i++) width += ((unsigned char)text[i] & 0xc0) != 0x80;
    return width;
}

static void break_line(const anx_text_report *r, int indent, int *at) {
    fprintf(r->to, "\n%*s", indent, "");
    *at = indent;
}

/* One too long for any line is cut where the lines end. */
static void put_word(const anx_text_report *r, const char *word, int indent, int *at) {
    for (; *word != '\0'; word++) {
        const int width = width_of(word, 1);
        if (width > 0 && *at == ANX_REPORT_COLUMNS) break_line(r, indent, at);
        fputc(*word, r->to);
        *at += width;
    }
}

void anx_report_out_of_memory(const anx_text_report *r) {
    r->stream->failed = true;
}

/* The next word of a text as it may be shown: control characters must not reach a terminal. NULL without memory. */
static char *printable_word(const char *text, size_t n_bytes) {
    const size_t size = 4 * n_bytes + 4; /* every byte may become \xNN */
    char *shown = malloc(size);
    return shown != NULL ? anx_text_printable(text, n_bytes, shown, size) : NULL;
}

void anx_report_put_wrapped(const anx_text_report *r, anx_report_style style, int at, int indent, const char *text) {
    fputs(style_begin(r, style), r->to);
    bool fresh = true; /* nothing of this text on the line yet */
    while (*text != '\0') {
        if (*text == '\n' || *text == ' ') {
            if (*text++ == ' ') continue;
            break_line(r, indent, &at);
            fresh = true;
            continue;
        }
        const size_t n = strcspn(text, " \n");
        char *word = printable_word(text, n);
        if (word == NULL) {
            anx_report_out_of_memory(r);
            break;
        }
        const int width = width_of(word, strlen(word));
        const bool fits = at + !fresh + width <= ANX_REPORT_COLUMNS, fits_alone = indent + width <= ANX_REPORT_COLUMNS;
        if ((!fits && fits_alone && at > indent) || at + !fresh >= ANX_REPORT_COLUMNS) {
            break_line(r, indent, &at);
            fresh = true;
        }
        if (!fresh) at += fprintf(r->to, " ");
        put_word(r, word, indent, &at);
        free(word);
        fresh = false;
        text += n;
    }
    fprintf(r->to, "%s\n", style_end(r, style));
}

void anx_report_put_wrapped_format(const anx_text_report *r, int at, int indent, const char *format, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, format);
    const int n = vasprintf(&text, format, args);
    va_end(args);
    if (n < 0) {
        anx_report_out_of_memory(r);
        return;
    }
    anx_report_put_wrapped(r, ANX_STYLE_PLAIN, at, indent, text);
    free(text);
}

int anx_report_put_name(const anx_text_report *r, const char *name, int width) {
    char shown[512];
    anx_text_printable(name, strlen(name), shown, sizeof shown);
    const int n = width_of(shown, strlen(shown));
    fprintf(r->to, "%s%*s", shown, n < width ? width - n : 0, "");
    return n < width ? width : n;
}

/* "4.3e7" in place of printf's "4.3e+07". */
static void put_scientific(double value, const char *ending, char buf[16]) {
    const int exponent = (int)floor(log10(fabs(value)));
    snprintf(buf, 16, "%.1fe%d%s", value / pow(10, exponent), exponent, ending);
}

char *anx_report_number(double value, char buf[16]) {
    const double magnitude = fabs(value);
    if (isnan(value))
        snprintf(buf, 16, "-");
    else if (isinf(value))
        snprintf(buf, 16, value > 0 ? "inf" : "-inf");
    else if (magnitude >= 99999.5)
        put_scientific(value, "", buf);
    else if (magnitude >= 100 || value == trunc(value))
        snprintf(buf, 16, "%.0f", value);
    else
        snprintf(buf, 16, magnitude >= 10 ? "%.1f" : "%.2f", value);
    return buf;
}

char *anx_report_share(double fraction, char buf[16]) {
    if (isnan(fraction))
        buf[0] = '\0';
    else if (isinf(fraction))
        snprintf(buf, 16, "inf");
    else if (fraction >= 9999.5)
        put_scientific(fraction, "x", buf);
    else if (fraction >= 10)
        snprintf(buf, 16, "%.0fx", fraction);
    else
        snprintf(buf, 16, fraction < 0.01 ? "%.1f%%" : "%.0f%%", 100 * fraction);
    return buf;
}

void anx_report_put_fact(const anx_text_report *r, const char *label, const char *format, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, format);
    const int n = vasprintf(&text, format, args);
    va_end(args);
    if (n < 0) {
        anx_report_out_of_memory(r);
        return;
    }
    anx_report_put(r, ANX_STYLE_FAINT, "%-*s", label_width, label);
    anx_report_put_wrapped(r, ANX_STYLE_PLAIN, label_width, label_width, text);
    free(text);
}

char *anx_report_grouped(int64_t value, char buf[32]) {
    char digits[24];
    const int n = snprintf(digits, sizeof digits, "%" PRId64, value);
    int used = 0;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0 && digits[i - 1] != '-') buf[used++] = ',';
        buf[used++] = digits[i];
    }
    buf[used] = '\0';
    return buf;
}

/* ---- the head: what was judged where ---- */

static void put_machine(const anx_text_report *r) {
    const anx_verdicts *v = r->verdicts;
    char *text = NULL;
    anx_text_stream s;
    if (anx_text_stream_open(&s, NULL) != ANX_OK) {
        anx_report_out_of_memory(r);
        return;
    }
    for (size_t i = 0; i < v->n_environment; i++) {
        const anx_fact *e = &v->environment[i];
        const bool clear = strcmp(e->key, "cpu") == 0 || strcmp(e->key, "os") == 0 || strcmp(e->key, "compiler") == 0;
        fprintf(s.to, "%s%s%s%s", i > 0 ? ", " : "", clear ? "" : e->key, clear ? "" : " ", e->value);
    }
    if (anx_text_stream_close(&s, &text, NULL, NULL) == ANX_OK)
        anx_report_put_fact(r, "machine", "%s", text);
    else
        anx_report_out_of_memory(r);
    free(text);
}

void anx_report_put_device_lines(const anx_text_report *r, const anx_device_info *info) {
    char line[ANX_DEVICE_WORDS];
    for (int i = 0; anx_device_line(info, i, line); i++) anx_report_put_fact(r, "", "%s", line);
}

static void put_engine(const anx_text_report *r) {
    const anx_device_info d = anx_device_facts_info(&r->verdicts->device);
    char words[ANX_DEVICE_WORDS];
    if (strcmp(d.backend, "dump") == 0) {
        anx_report_put_fact(r, "judged", "the activations in %s", d.device);
        return;
    }
    anx_report_put_fact(r, "judged", "%s: %s%s", d.device, anx_device_format(&d, words),
                        d.pytorch_bits ? "; claims PyTorch's own bits" : "");
    anx_report_put_device_lines(r, &d);
}

static void put_checkpoint(const anx_text_report *r) {
    const anx_checkpoint_facts *c = &r->verdicts->checkpoint;
    char bytes[32], params[32], hex[ANX_SHA256_HEX];
    anx_report_put_fact(r, "checkpoint", "%s: %s, %s bytes", c->path, c->format,
                        anx_report_grouped((int64_t)c->file_bytes, bytes));
    anx_report_put_fact(r, "", "%s, %" PRId64 " class%s, %s parameters, their SHA-256 %.16s...", c->arch,
                        c->num_classes, c->num_classes == 1 ? "" : "es", anx_report_grouped(c->n_params, params),
                        anx_digest_hex(&c->params_digest, hex));
    if (c->has_file_digest) anx_report_put_fact(r, "", "file's SHA-256 %s", anx_digest_hex(&c->file_digest, hex));
    if (c->official) anx_report_put_fact(r, "", "torchvision's published %s", c->official_name);
    if (c->n_converted > 0)
        anx_report_put_fact(r, "", "%d tensor%s converted from %s to float32", c->n_converted,
                            c->n_converted == 1 ? "" : "s", c->converted_from);
    if (c->wrapped_in != NULL) anx_report_put_fact(r, "", "tensors taken from under '%s'", c->wrapped_in);
    if (c->n_bad_crc > 0)
        anx_report_put_fact(r, "", "%" PRId64 " record%s accepted though the CRC-32 does not match", c->n_bad_crc,
                            c->n_bad_crc == 1 ? "" : "s");
    if (c->module_prefix_removed) anx_report_put_fact(r, "", "prefix 'module.' removed from the names");
}

/* A recording that applies nowhere and was not asked for is left out unless asked for more. */
static void put_fixtures(const anx_text_report *r) {
    const anx_verdicts *v = r->verdicts;
    const anx_fixture_facts *before = NULL;
    for (size_t i = 0; i < v->n_fixtures; i++) {
        const anx_fixture_facts *f = &v->fixtures[i];
        if (f->cases_run == 0 && !f->asked_for && !r->options->verbose) continue;
        const bool alike = before != NULL && strcmp(before->recorded_by, f->recorded_by) == 0;
        anx_report_put_fact(r, before == NULL ? "recordings" : "", "%s: %s; %d of %d cases run; %s", f->name,
                            f->applies, f->cases_run, f->cases_total, alike ? "recorded by the same" : f->recorded_by);
        before = f;
    }
    if (before == NULL) anx_report_put_fact(r, "recordings", "none that applies");
}

static void put_head(const anx_text_report *r) {
    const anx_verdicts *v = r->verdicts;
    anx_report_put_fact(r, "anx-parity", "%s%s%s%s%s", v->version, v->full ? ", every recording" : "",
                        v->strict ? ", strict" : "", v->points_glob != NULL ? ", points " : "",
                        v->points_glob != NULL ? v->points_glob : "");
    put_machine(r);
    put_engine(r);
    put_checkpoint(r);
    put_fixtures(r);
}

/* ---- failures ---- */

static void put_comparison(const anx_text_report *r, const anx_comparison *c) {
    char at[96], worst[16], share[16], rms[16];
    if (c->over > 0) {
        char over[32], elems[32];
        anx_report_put_fact(r, "", "against %s: %s of %s elements beyond the bound", anx_basis_name(c->basis),
                            anx_report_grouped(c->over, over), anx_report_grouped(c->elems, elems));
    }
    if (c->worst.known && isnan(c->worst_r))
        anx_report_put_fact(r, "", "first at %s: %.9g instead of %.9g", anx_element_format(&c->worst, at, sizeof at),
                            c->worst.got, c->worst.expected);
    else if (c->worst.known)
        anx_report_put_fact(r, "", "worst element %s: %.9g instead of %.9g, %s u*G off, %s of its bound; RMS %s",
                            anx_element_format(&c->worst, at, sizeof at), c->worst.got, c->worst.expected,
                            anx_report_number(c->worst_r, worst), anx_report_share(c->worst_fraction, share),
                            anx_report_number(c->rms, rms));
}

static void put_failure(const anx_text_report *r, const char *title, const anx_judged *j) {
    fputc('\n', r->to);
    anx_report_put(r, ANX_STYLE_BAD, "%s", title);
    fputc(' ', r->to);
    const bool known = j->node >= 0;
    anx_report_put_wrapped_format(r, (int)strlen(title) + 1, continued, "%s%s%s%s, on the path '%s'%s%s", j->point,
                                  known ? " (" : "", known ? anx_op_name(j->op) : "", known ? ")" : "",
                                  anx_judged_path_name(j->path), j->input[0] != '\0' ? ", input " : "", j->input);
    anx_report_put_fact(r, "found", "%s", j->reason);
    for (int i = 0; i < j->n_versus; i++) put_comparison(r, &j->versus[i]);
    for (int i = 0; i < j->n_causes; i++) anx_report_put_fact(r, i == 0 ? "fits" : "", "%s", j->causes[i].text);
    if (j->n_causes == 0) anx_report_put_fact(r, "fits", "no kind of mistake that is known here");
}

static void put_failures(const anx_text_report *r) {
    const anx_verdicts *v = r->verdicts;
    if (v->first_bad < 0) return;
    put_failure(r, "First bad point:", &v->judged[v->first_bad]);
    if (!r->options->verbose) return;
    for (size_t i = (size_t)v->first_bad + 1; i < v->n_judged; i++)
        if (v->judged[i].verdict == ANX_VERDICT_FAIL) put_failure(r, "Also bad:", &v->judged[i]);
}

/* ---- top-5 ---- */

static void put_ranked(const anx_text_report *r, const anx_ranked *ranked, int width) {
    char label[96];
    const char *name = anx_class_name(r->options->classes, r->verdicts->checkpoint.num_classes, ranked->index);
    if (name[0] != '\0')
        snprintf(label, sizeof label, "%.*s (%" PRId64 ")", class_name_width, name, ranked->index);
    else
        snprintf(label, sizeof label, "class %" PRId64, ranked->index);
    /* NaN's sign, which means nothing, is not shown */
    fprintf(r->to, "%9.4f %%  %-*s", isnan(ranked->prob) ? (double)NAN : 100 * ranked->prob, width, label);
}

static void put_top5(const anx_text_report *r, const anx_top5 *t) {
    const bool beside = t->other_basis != ANX_BASIS_NONE;
    fputc('\n', r->to);
    char image[32] = "", title[32];
    if (t->image > 0) snprintf(image, sizeof image, ", image %" PRId64, t->image);
    snprintf(title, sizeof title, "Top-%d of ", t->k);
    anx_report_put(r, ANX_STYLE_TITLE, "%s", title);
    anx_report_put_wrapped_format(r, (int)strlen(title), continued, "%s%s%s%s%s", t->input, image,
                                  beside ? ", beside " : "", beside ? anx_basis_name(t->other_basis) : "",
                                  !beside                                 ? ""
                                  : t->same_order                         ? ": the same"
                                  : t->ambiguous_top1 || t->ambiguous_set ? ": ordered otherwise where rounding decides"
                                                                          : ": not the same");
    for (int i = 0; i < t->k; i++) {
        fprintf(r->to, "  %d", i + 1);
        put_ranked(r, &t->judged[i], beside ? 37 : 0);
        if (beside) put_ranked(r, &t->other[i], 0);
        fputc('\n', r->to);
    }
}

/* An image that the user named: its ranking rests on no recording. */
static bool is_users(const anx_text_report *r, const anx_top5 *t) {
    const anx_verdicts *v = r->verdicts;
    for (size_t i = 0; i < v->n_judged; i++) {
        const anx_judged *j = &v->judged[i];
        if (j->kind == ANX_JUDGED_TOPK && j->fixture == NULL && strcmp(j->input, t->input) == 0) return true;
    }
    return false;
}

static void put_rankings(const anx_text_report *r) {
    const anx_verdicts *v = r->verdicts;
    size_t shown = 0;
    for (size_t i = 0; i < v->n_top5; i++) {
        const anx_top5 *t = &v->top5[i];
        const bool matters = is_users(r, t) || (t->other_basis != ANX_BASIS_NONE && !t->same_order);
        if (shown >= max_images_shown && !matters && !r->options->verbose) continue;
        put_top5(r, t);
        shown++;
    }
    if (shown < v->n_top5)
        fprintf(r->to, "  and %zu more images, the same classes in the same order (-v shows them)\n",
                v->n_top5 - shown);
}

/* ---- the foot ---- */

/* By which arithmetic's limits, where they are not float32's. */
static void put_arithmetic(const anx_text_report *r) {
    const anx_math_mode math = r->verdicts->device.math;
    char text[2048];
    if (math == ANX_MATH_FLOAT32) return;
    snprintf(text, sizeof text, "Judged by what math %s may do. Sums of products: %s.%s%s%s", anx_math_mode_name(math),
             anx_bound_kind_text(ANX_BOUND_SUM_TF32), math == ANX_MATH_FAST ? " Convolutions: " : "",
             math == ANX_MATH_FAST ? anx_bound_kind_text(ANX_BOUND_SUM_FAST) : "", math == ANX_MATH_FAST ? "." : "");
    anx_report_put_wrapped(r, ANX_STYLE_FAINT, 0, 0, text);
}

static void put_legend(const anx_text_report *r) {
    bool measured = false;
    for (size_t i = 0; i < r->n_rows; i++) {
        const anx_judged_path path = r->rows[i].worst->path;
        measured = measured || path == ANX_PATH_OBSERVE || path == ANX_PATH_INFER || path == ANX_PATH_AGAINST ||
                   path == ANX_PATH_TRAIN_OPERATORS;
    }
    if (!measured) return;
    fputc('\n', r->to);
    const bool float32 = r->verdicts->device.math == ANX_MATH_FLOAT32;
    char text[1024];
    snprintf(text, sizeof text,
             "u = 2^-24, G = sum |w||x| + |b|: the unit of one rounding error. worst: largest |y - truth|; bound: its "
             "share of %s; RMS: over the worst image%s; PyTorch: its own worst; vs PyTorch: |y - PyTorch's y| as a "
             "share of the bound; chained: |y - PyTorch's y| when run from the input, for information. rests on: "
             "'recording' what PyTorch computed elsewhere, 'exact' PyTorch's order of summation carried out here, "
             "'fp64' the same layer in double.",
             float32 ? "min(h, 4 sqrt h), h roundings in one sum" : "what is said below",
             float32 ? ", at most 32" : "");
    anx_report_put_wrapped(r, ANX_STYLE_FAINT, 0, 0, text);
    put_arithmetic(r);
}

static void put_last_line(const anx_text_report *r) {
    const anx_verdicts *v = r->verdicts;
    const bool pass = v->overall == ANX_VERDICT_PASS;
    fputc('\n', r->to);
    anx_report_put(r, pass ? ANX_STYLE_GOOD : ANX_STYLE_BAD, "%s", pass ? "PASS" : "FAIL");
    fprintf(r->to, "  %" PRId64 " passed, %" PRId64 " failed, %" PRId64 " warnings, %" PRId64 " skipped in %.2f s\n",
            v->counts[ANX_VERDICT_PASS], v->counts[ANX_VERDICT_FAIL], v->counts[ANX_VERDICT_WARN],
            v->counts[ANX_VERDICT_SKIP], v->total_seconds);
}

anx_status anx_report_text(const anx_verdicts *verdicts, const anx_report_options *options, char **text,
                           size_t *n_bytes, anx_error *err) {
    anx_text_report r = {.verdicts = verdicts, .options = options};
    anx_verdict_row *rows = NULL;
    anx_text_stream s;
    anx_status status = anx_verdicts_rows(verdicts, &rows, &r.n_rows, err);
    if (status != ANX_OK) return status;
    r.rows = rows;
    status = anx_text_stream_open(&s, err);
    if (status == ANX_OK) {
        r.to = s.to;
        r.stream = &s;
        put_head(&r);
        anx_report_put_tables(&r);
        put_failures(&r);
        put_rankings(&r);
        put_legend(&r);
        put_last_line(&r);
        status = anx_text_stream_close(&s, text, n_bytes, err);
    }
    free(rows);
    return status;
}
