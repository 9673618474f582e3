/* What the engine's values and the right ones show by themselves. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/diagnose_inside.h"

static int64_t count_wrong(const anx_suspect *s) {
    int64_t wrong = 0;
    for (int64_t i = 0; i < anx_diagnose_elems(s); i++) wrong += anx_diagnose_is_wrong(s, i);
    return wrong;
}

/* ---- values alone ---- */

static anx_status not_finite(const anx_suspect *s, const anx_layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    (void)l, (void)wrong;
    int64_t nan = 0, inf = 0;
    for (int64_t i = 0; i < anx_diagnose_elems(s); i++) {
        if (!isfinite(s->expected[i])) continue;
        nan += isnan(s->got[i]);
        inf += isinf(s->got[i]);
    }
    if (nan + inf == 0) return ANX_OK;
    return anx_judged_add_cause(j, "nan", 0.9, err, "%lld NaN and %lld infinite values where the right ones are finite",
                                (long long)nan, (long long)inf);
}

static anx_status all_zero(const anx_suspect *s, const anx_layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    (void)l, (void)wrong;
    int64_t zeros = 0, right = 0;
    const int64_t n = anx_diagnose_elems(s);
    for (int64_t i = 0; i < n; i++) {
        zeros += s->got[i] == 0;
        right += s->expected[i] == 0;
    }
    if (zeros < n || right == n) return ANX_OK;
    return anx_judged_add_cause(j, "zeros", 0.95, err, "every value is 0: the output was not written");
}

static anx_status flushed(const anx_suspect *s, const anx_layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    (void)l;
    int64_t n = 0;
    for (int64_t i = 0; i < anx_diagnose_elems(s); i++)
        n += anx_diagnose_is_wrong(s, i) && s->got[i] == 0 && fabs(s->expected[i]) < FLT_MIN;
    if (n == 0) return ANX_OK;
    return anx_judged_add_cause(j, "flush-to-zero", (double)n / (double)wrong, err,
                                "%lld subnormal values are 0: the engine flushes them", (long long)n);
}

static anx_status negative(const anx_suspect *s, const anx_layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    (void)l, (void)wrong;
    const anx_op op = s->graph->nodes[s->node].layer->op;
    if (op != ANX_OP_RELU && op != ANX_OP_MAX_POOL2D) return ANX_OK;
    int64_t n = 0, below = 0;
    for (int64_t i = 0; i < anx_diagnose_elems(s); i++) {
        below += s->expected[i] < 0;
        n += s->got[i] < 0 && s->expected[i] >= 0;
    }
    if (n == 0 || below > 0) return ANX_OK;
    return anx_judged_add_cause(j, "skipped-relu", 0.9, err,
                                "%lld negative values where none can be: the ReLU was skipped or is leaky",
                                (long long)n);
}

static bool nearly(double got, double value) {
    return fabs(got - value) <= 1e-5 * (1 + fabs(value));
}

/* Logits handed on as probabilities, their logarithms, or a softmax over the wrong dimension. */
static anx_status other_softmax(const anx_suspect *s, const anx_layout *l, int64_t wrong, anx_judged *j,
                                anx_error *err) {
    (void)wrong;
    if (s->graph->nodes[s->node].layer->op != ANX_OP_SOFTMAX) return ANX_OK;
    const int64_t n = anx_diagnose_elems(s), features = n / l->batch;
    const bool has_input = s->input != NULL && s->first == s->node;
    int64_t as_input = 0, as_log = 0, over_batch = 0;
    for (int64_t i = 0; i < n; i++) {
        as_input += has_input && s->got[i] == s->input[i];
        as_log += nearly(s->got[i], log(s->expected[i]));
    }
    for (int64_t c = 0; c < features; c++) {
        double sum = 0;
        for (int64_t k = 0; k < l->batch; k++) sum += s->got[k * features + c];
        over_batch += nearly(sum, 1);
    }
    if (as_input == n)
        return anx_judged_add_cause(j, "softmax-missing", 0.98, err, "the logits themselves: no softmax was taken");
    if (as_log == n)
        return anx_judged_add_cause(j, "log-softmax", 0.98, err, "every value is the right one's logarithm");
    if (over_batch == features && l->batch > 1)
        return anx_judged_add_cause(j, "softmax-dimension", 0.98, err,
                                    "each class sums to 1 over the images: the softmax was taken over the batch");
    return ANX_OK;
}

/* A sum recorded after the ReLU that PyTorch runs in place had overwritten it. */
static anx_status overwritten(const anx_suspect *s, const anx_layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    (void)l;
    const anx_op op = s->graph->nodes[s->node].layer->op;
    if (op != ANX_OP_CONV2D && op != ANX_OP_LINEAR) return ANX_OK;
    int64_t n = 0;
    for (int64_t i = 0; i < anx_diagnose_elems(s); i++)
        n += anx_diagnose_is_wrong(s, i) && s->got[i] == 0 && s->expected[i] < 0;
    if (n < wrong || n < 2) return ANX_OK;
    return anx_judged_add_cause(
        j, "relu-in-place", 0.98, err,
        "all %lld wrong values are 0 where negative ones are right: recorded after ReLU(inplace) "
        "had overwritten them (clone in the hook)",
        (long long)n);
}

/* Values dropped, the others scaled up: dropout as in training. */
static anx_status dropout_active(const anx_suspect *s, const anx_layout *l, int64_t wrong, anx_judged *j,
                                 anx_error *err) {
    (void)l;
    double p = 0; /* of the dropout in the group, if there is one */
    for (int node = s->first; node <= s->node; node++)
        if (s->graph->nodes[node].layer->op == ANX_OP_DROPOUT) p = s->graph->nodes[node].layer->u.dropout.p;
    if (!(p > 0 && p < 1)) return ANX_OK;
    int64_t dropped = 0, scaled_up = 0;
    for (int64_t i = 0; i < anx_diagnose_elems(s); i++) {
        if (!anx_diagnose_is_wrong(s, i)) continue;
        dropped += s->got[i] == 0;
        scaled_up += s->got[i] != 0 && anx_diagnose_is_got(s, i, s->expected[i] / (1 - p));
    }
    if (dropped == 0 || dropped + scaled_up < wrong) return ANX_OK;
    return anx_judged_add_cause(j, "dropout-active", 0.98, err,
                                "%lld values are dropped and %lld scaled by 1/(1 - p): dropout runs as in training "
                                "(model.eval() was not called)",
                                (long long)dropped, (long long)scaled_up);
}

static anx_status clipped(const anx_suspect *s, const anx_layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    (void)l;
    float top = -FLT_MAX;
    for (int64_t i = 0; i < anx_diagnose_elems(s); i++)
        if (s->got[i] > top) top = s->got[i];
    int64_t n = 0;
    for (int64_t i = 0; i < anx_diagnose_elems(s); i++)
        n += anx_diagnose_is_wrong(s, i) && s->got[i] == top && s->expected[i] > top;
    if (n < 3 || n < wrong) return ANX_OK;
    return anx_judged_add_cause(j, "clipped", 0.9, err,
                                "all %lld wrong values are %.6g where larger ones are right: clipped", (long long)n,
                                (double)top);
}

/* got = a * expected, by least squares. */
static anx_status scaled(const anx_suspect *s, const anx_layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    (void)l, (void)wrong;
    double ge = 0, ee = 0;
    const int64_t n = anx_diagnose_elems(s);
    for (int64_t i = 0; i < n; i++) {
        ge += (double)s->got[i] * s->expected[i];
        ee += s->expected[i] * s->expected[i];
    }
    const double a = ee > 0 ? ge / ee : 1;
    if (!isfinite(a) || a == 0 || fabs(a - 1) < 1e-4) return ANX_OK;
    int64_t fits = 0, counted = 0;
    for (int64_t i = 0; i < n; i++) {
        if (s->expected[i] == 0) continue;
        counted++;
        fits += fabs((double)s->got[i] - a * s->expected[i]) <=
                fabs(a) * anx_diagnose_tolerance(s, i) + 1e-5 * fabs(a * s->expected[i]);
    }
    if (counted == 0 || (double)fits < 0.98 * (double)counted) return ANX_OK;
    return anx_judged_add_cause(j, fabs(a + 1) < 1e-4 ? "sign" : "scaled", 0.97, err,
                                "every value is %.6g times the right one", a);
}

static float to_tf32(float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    bits = (bits + 0xfff + ((bits >> 13) & 1)) & ~0x1fffU;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* Values that have no more bits than a shorter format holds, where the right ones do. */
static anx_status rounded_output(const anx_suspect *s, const anx_layout *l, int64_t wrong, anx_judged *j,
                                 anx_error *err) {
    (void)l, (void)wrong;
    static const char *const ids[3] = {"rounded-output-bf16", "rounded-output-fp16", "rounded-output-tf32"};
    static const char *const names[3] = {"bfloat16", "float16", "TF32"};
    int64_t short_form[3] = {0}, right_short[3] = {0}, counted = 0;
    for (int64_t i = 0; i < anx_diagnose_elems(s); i++) {
        const float g = s->got[i], e = (float)s->expected[i];
        if (g == 0 || e == 0) continue;
        counted++;
        short_form[0] += g == anx_bf16_to_f32(anx_f32_to_bf16(g));
        short_form[1] += g == anx_f16_to_f32(anx_f32_to_f16(g));
        short_form[2] += g == to_tf32(g);
        right_short[0] += e == anx_bf16_to_f32(anx_f32_to_bf16(e));
        right_short[1] += e == anx_f16_to_f32(anx_f32_to_f16(e));
        right_short[2] += e == to_tf32(e);
    }
    anx_status status = ANX_OK;
    for (int k = 0; status == ANX_OK && k < 3; k++) {
        if (counted <= 4 || short_form[k] < counted || right_short[k] * 2 >= counted) continue;
        status =
            anx_judged_add_cause(j, ids[k], 0.96, err, "every value fits %s: the output is rounded to it", names[k]);
        if (k == 0) break; /* all that fits bfloat16 fits TF32; of the other two either may be it */
    }
    return status;
}

/* The softmax of the logits times some factor: a temperature, or powers of another number than e. */
static anx_status other_exponent(const anx_suspect *s, const anx_layout *l, int64_t wrong, anx_judged *j,
                                 anx_error *err) {
    (void)wrong;
    if (s->graph->nodes[s->node].layer->op != ANX_OP_SOFTMAX) return ANX_OK;
    const int64_t n = anx_diagnose_elems(s) / l->batch;
    double factor = 0, off = 0;
    for (int pass = 0; pass < 2; pass++) { /* the factor by least squares, then how far the values are from it */
        double gg = 0, ge = 0;
        for (int64_t b = 0; b < l->batch; b++) {
            const float *got = s->got + b * n;
            const double *right = s->expected + b * n;
            double mean_got = 0, mean_right = 0;
            for (int64_t i = 0; i < n; i++) {
                if (!(got[i] > 0) || !(right[i] > 0)) return ANX_OK;
                mean_got += log(got[i]) / (double)n;
                mean_right += log(right[i]) / (double)n;
            }
            for (int64_t i = 0; i < n; i++) {
                const double g = log(got[i]) - mean_got, e = log(right[i]) - mean_right;
                gg += e * e;
                ge += g * e;
                off = fmax(off, pass == 1 ? fabs(g - factor * e) : 0);
            }
        }
        factor = gg > 0 ? ge / gg : 1;
    }
    if (n < 4 || off > 1e-4 || fabs(factor - 1) < 1e-4 || fabs(factor) < 1e-3) return ANX_OK;
    return anx_judged_add_cause(j, "softmax-temperature", 0.97, err, "the softmax of the logits times %.6g%s", factor,
                                fabs(factor - log(2)) < 1e-4 ? ": powers of 2, not of e" : ": a temperature");
}

static int ascending(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* How many different values there are, and the smallest distance between two of them. */
static int64_t count_different(float *sorted, int64_t n, double *smallest) {
    int64_t different = n > 0;
    *smallest = INFINITY;
    qsort(sorted, (size_t)n, sizeof *sorted, ascending);
    for (int64_t i = 1; i < n; i++) {
        if (sorted[i] == sorted[i - 1]) continue;
        different++;
        *smallest = fmin(*smallest, (double)sorted[i] - (double)sorted[i - 1]);
    }
    return different;
}

/* At most 256 values, evenly spaced, where the right ones are many more: 8 bits. */
static anx_status counted_output(const anx_suspect *s, const anx_layout *l, int64_t wrong, anx_judged *j,
                                 anx_error *err) {
    (void)l, (void)wrong;
    enum { CODES = 256, FEWEST = 4 * CODES };
    const int64_t n = anx_diagnose_elems(s);
    if (n < FEWEST) return ANX_OK;
    float *sorted = malloc((size_t)n * sizeof *sorted);
    if (sorted == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the diagnosis");
    double step = 0, unused;
    for (int64_t i = 0; i < n; i++) sorted[i] = (float)s->expected[i];
    bool fits = count_different(sorted, n, &unused) >= 2 * CODES;
    memcpy(sorted, s->got, (size_t)n * sizeof *sorted);
    if (fits) {
        const int64_t different = count_different(sorted, n, &step);
        const double span = (double)sorted[n - 1] - (double)sorted[0], steps = rint(span / step);
        fits = different >= 4 && steps < CODES;
        step = span / steps;
    }
    for (int64_t i = 0; fits && i < n; i++) {
        const double at = ((double)sorted[i] - (double)sorted[0]) / step;
        fits = fabs(at - rint(at)) <= 1e-3;
    }
    free(sorted);
    if (!fits) return ANX_OK;
    return anx_judged_add_cause(j, "rounded-output-int8", 0.97, err,
                                "the values lie in at most 256 steps of %.6g: the output is in 8 bits", step);
}

/* Whole planes (features) of zeros: a block of channels that was not written. */
static anx_status lost_planes(const anx_suspect *s, const anx_layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    const int64_t each = l->h * l->w;
    int64_t first = -1, last = -1, explained = 0;
    if (l->planes < 2) return ANX_OK;
    for (int64_t c = 0; c < l->planes; c++) {
        int64_t zeros = 0, bad = 0;
        for (int64_t n = 0; n < l->batch; n++)
            for (int64_t i = (n * l->planes + c) * each; i < (n * l->planes + c + 1) * each; i++) {
                zeros += s->got[i] == 0;
                bad += anx_diagnose_is_wrong(s, i);
            }
        if (bad == 0) continue;
        if (zeros < l->batch * each) return ANX_OK;
        explained += bad;
        if (first < 0) first = c;
        last = c;
    }
    if (explained < wrong || last - first + 1 == l->planes) return ANX_OK;
    return anx_judged_add_cause(j, "lost-channels", 0.95, err,
                                "every value of the wrong channels, %lld to %lld, is 0: they were not computed",
                                (long long)first, (long long)last);
}

/* One constant is added in each plane, another one in each. */
static anx_status constant_per_channel(const anx_suspect *s, const anx_layout *l, int64_t wrong, anx_judged *j,
                                       anx_error *err) {
    (void)wrong;
    const int64_t each = l->h * l->w;
    if (each < 4) return ANX_OK;
    int64_t bad = 0, constant = 0;
    double largest = 0;
    for (int64_t p = 0; p < l->batch * l->planes; p++) {
        double sum = 0, most = -INFINITY, least = INFINITY, tolerance = 0;
        bool wrong_here = false;
        for (int64_t i = p * each; i < (p + 1) * each; i++) {
            const double d = s->got[i] - s->expected[i];
            sum += d;
            most = fmax(most, d);
            least = fmin(least, d);
            tolerance = fmax(tolerance, anx_diagnose_tolerance(s, i));
            wrong_here = wrong_here || anx_diagnose_is_wrong(s, i);
        }
        if (!wrong_here) continue;
        bad++;
        constant += most - least <= 2 * tolerance;
        if (fabs(sum / (double)each) > fabs(largest)) largest = sum / (double)each;
    }
    if (bad == 0 || (double)constant < 0.9 * (double)bad) return ANX_OK;
    return anx_judged_add_cause(
        j, "bias", 0.85, err,
        "a constant is added in each of %lld wrong channels (up to %.6g): the bias is missing or "
        "another's",
        (long long)bad, largest);
}

/* Errors everywhere, a little above rounding, that pull towards zero. */
static anx_status truncation(const anx_suspect *s, const anx_layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    (void)s, (void)l, (void)wrong;
    const anx_comparison *c = &j->versus[0];
    if (j->n_versus == 0 || !(c->slope < -4) || !(c->rms < 100)) return ANX_OK;
    return anx_judged_add_cause(j, "truncation", 0.6, err,
                                "values are pulled towards 0 (slope %.3g, rounding to nearest stays within 2): sums or "
                                "operands are truncated",
                                c->slope);
}

anx_status anx_diagnose_patterns(const anx_suspect *s, anx_judged *judged, anx_error *err) {
    static const anx_pattern patterns[] = {
        overwritten, dropout_active, all_zero,       flushed,        negative,    other_softmax,        other_exponent,
        clipped,     scaled,         rounded_output, counted_output, lost_planes, constant_per_channel, truncation};
    const anx_layout l = anx_diagnose_layout(s);
    const int64_t wrong = count_wrong(s);
    const int before = judged->n_causes;
    anx_status status = wrong > 0 ? not_finite(s, &l, wrong, judged, err) : ANX_OK;
    if (judged->n_causes > before) return status; /* NaN and infinity spoil what the others measure */
    for (size_t i = 0; status == ANX_OK && wrong > 0 && i < sizeof patterns / sizeof *patterns; i++)
        status = patterns[i](s, &l, wrong, judged, err);
    return status == ANX_OK && wrong > 0 ? anx_diagnose_places(s, &l, wrong, judged, err) : status;
}
