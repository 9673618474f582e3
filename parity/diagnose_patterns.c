/* What the engine's values and the right ones show by themselves. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/diagnose_inside.h"

/* The output seen as planes of rows and columns, flattened ones too; other features are one plane of one row. */
typedef struct layout {
    int64_t batch, planes, h, w;
} layout;

static layout layout_of(const anx_suspect *s) {
    const anx_extent *e = anx_diagnose_flattened_from(s->graph, s->node);
    if (e != NULL) return (layout){s->batch, e->dim[0], e->dim[1], e->dim[2]};
    return (layout){s->batch, 1, 1, anx_graph_extent(s->graph, s->node)->dim[0]};
}

static int64_t index_of(const layout *l, int64_t n, int64_t c, int64_t y, int64_t x) {
    return ((n * l->planes + c) * l->h + y) * l->w + x;
}

static inline int64_t elems_of(const layout *l) {
    return l->batch * l->planes * l->h * l->w;
}

static int64_t count_wrong(const anx_suspect *s, const layout *l) {
    int64_t wrong = 0;
    for (int64_t i = 0; i < elems_of(l); i++) wrong += anx_diagnose_is_wrong(s, i);
    return wrong;
}

typedef anx_status (*pattern)(const anx_suspect *s, const layout *l, int64_t wrong, anx_judged *j, anx_error *err);

/* ---- values alone ---- */

static anx_status not_finite(const anx_suspect *s, const layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    (void)wrong;
    int64_t nan = 0, inf = 0;
    for (int64_t i = 0; i < elems_of(l); i++) {
        if (!isfinite(s->expected[i])) continue;
        nan += isnan(s->got[i]);
        inf += isinf(s->got[i]);
    }
    if (nan + inf == 0) return ANX_OK;
    return anx_judged_add_cause(j, "nan", 0.9, err, "%lld NaN and %lld infinite values where the right ones are finite",
                                (long long)nan, (long long)inf);
}

static anx_status all_zero(const anx_suspect *s, const layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    (void)wrong;
    int64_t zeros = 0, right = 0;
    const int64_t n = elems_of(l);
    for (int64_t i = 0; i < n; i++) {
        zeros += s->got[i] == 0;
        right += s->expected[i] == 0;
    }
    if (zeros < n || right == n) return ANX_OK;
    return anx_judged_add_cause(j, "zeros", 0.95, err, "every value is 0: the output was not written");
}

static anx_status flushed(const anx_suspect *s, const layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    int64_t n = 0;
    for (int64_t i = 0; i < elems_of(l); i++)
        n += anx_diagnose_is_wrong(s, i) && s->got[i] == 0 && fabs(s->expected[i]) < FLT_MIN;
    if (n == 0) return ANX_OK;
    return anx_judged_add_cause(j, "flush-to-zero", (double)n / (double)wrong, err,
                                "%lld subnormal values are 0: the engine flushes them", (long long)n);
}

static anx_status negative(const anx_suspect *s, const layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    (void)wrong;
    const anx_op op = s->graph->nodes[s->node].layer->op;
    if (op != ANX_OP_RELU && op != ANX_OP_MAX_POOL2D) return ANX_OK;
    int64_t n = 0, below = 0;
    for (int64_t i = 0; i < elems_of(l); i++) {
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
static anx_status other_softmax(const anx_suspect *s, const layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
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

/* Probabilities whose logarithms grow by another factor than 1 with the logits. */
static anx_status softmax_slope(const anx_suspect *s, const layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    (void)wrong;
    if (s->graph->nodes[s->node].layer->op != ANX_OP_SOFTMAX || s->input == NULL || s->first != s->node) return ANX_OK;
    const int64_t n = anx_diagnose_elems(s), features = n / l->batch;
    double slope = 0, spread = 0;
    for (int64_t k = 0; k < l->batch; k++) { /* between the largest and the smallest logit of an image */
        int64_t top = k * features, low = top;
        for (int64_t i = k * features; i < (k + 1) * features; i++) {
            if (s->input[i] > s->input[top]) top = i;
            if (s->input[i] < s->input[low]) low = i;
        }
        const double apart = (double)s->input[top] - (double)s->input[low];
        if (apart <= spread || !(s->got[low] > 0)) continue;
        spread = apart;
        slope = log((double)s->got[top] / (double)s->got[low]) / apart;
    }
    if (spread == 0 || fabs(slope - 1) < 1e-3) return ANX_OK;
    for (int64_t i = 0; i < n; i++) {
        const int64_t first = i / features * features;
        const double expected = log((double)s->got[first]) + slope * ((double)s->input[i] - (double)s->input[first]);
        if (!nearly(log((double)s->got[i]), expected)) return ANX_OK;
    }
    if (fabs(slope - log(2)) < 1e-4)
        return anx_judged_add_cause(j, "softmax-base", 0.97, err, "powers of 2 were taken instead of powers of e");
    return anx_judged_add_cause(j, "softmax-temperature", 0.97, err,
                                "the logits were multiplied by %.6g first: a temperature of %.6g", slope, 1 / slope);
}

/* A sum recorded after the ReLU that PyTorch runs in place had overwritten it. */
static anx_status overwritten(const anx_suspect *s, const layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    const anx_op op = s->graph->nodes[s->node].layer->op;
    if (op != ANX_OP_CONV2D && op != ANX_OP_LINEAR) return ANX_OK;
    int64_t n = 0;
    for (int64_t i = 0; i < elems_of(l); i++) n += anx_diagnose_is_wrong(s, i) && s->got[i] == 0 && s->expected[i] < 0;
    if (n < wrong || n < 2) return ANX_OK;
    return anx_judged_add_cause(
        j, "relu-in-place", 0.98, err,
        "all %lld wrong values are 0 where negative ones are right: recorded after ReLU(inplace) "
        "had overwritten them (clone in the hook)",
        (long long)n);
}

/* Values dropped, the others scaled up: dropout as in training. */
static anx_status dropout_active(const anx_suspect *s, const layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    double p = 0; /* of the dropout in the group, if there is one */
    for (int node = s->first; node <= s->node; node++)
        if (s->graph->nodes[node].layer->op == ANX_OP_DROPOUT) p = s->graph->nodes[node].layer->u.dropout.p;
    if (!(p > 0 && p < 1)) return ANX_OK;
    int64_t dropped = 0, scaled_up = 0;
    for (int64_t i = 0; i < elems_of(l); i++) {
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

static anx_status clipped(const anx_suspect *s, const layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    float top = -FLT_MAX;
    for (int64_t i = 0; i < elems_of(l); i++)
        if (s->got[i] > top) top = s->got[i];
    int64_t n = 0;
    for (int64_t i = 0; i < elems_of(l); i++)
        n += anx_diagnose_is_wrong(s, i) && s->got[i] == top && s->expected[i] > top;
    if (n < 3 || n < wrong) return ANX_OK;
    return anx_judged_add_cause(j, "clipped", 0.9, err,
                                "all %lld wrong values are %.6g where larger ones are right: clipped", (long long)n,
                                (double)top);
}

/* got = a * expected, by least squares. */
static anx_status scaled(const anx_suspect *s, const layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    (void)wrong;
    double ge = 0, ee = 0;
    const int64_t n = elems_of(l);
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
static anx_status rounded_output(const anx_suspect *s, const layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    (void)wrong;
    static const char *const ids[3] = {"rounded-output-bf16", "rounded-output-fp16", "rounded-output-tf32"};
    static const char *const names[3] = {"bfloat16", "float16", "TF32"};
    int64_t short_form[3] = {0}, right_short[3] = {0}, counted = 0;
    for (int64_t i = 0; i < elems_of(l); i++) {
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
    for (int k = 0; k < 3; k++)
        if (counted > 4 && short_form[k] == counted && right_short[k] * 2 < counted)
            return anx_judged_add_cause(j, ids[k], 0.96, err, "every value fits %s: the output is rounded to it",
                                        names[k]);
    return ANX_OK;
}

/* Values that are whole multiples of one step, 127 of which reach the largest. */
static anx_status quantised_output(const anx_suspect *s, const layout *l, int64_t wrong, anx_judged *j,
                                   anx_error *err) {
    (void)wrong;
    double largest = 0;
    int64_t other = 0, right_too = 0;
    for (int64_t i = 0; i < elems_of(l); i++) largest = fmax(largest, fabs((double)s->got[i]));
    if (!(largest > 0) || !isfinite(largest)) return ANX_OK;
    const double step = largest / 127;
    for (int64_t i = 0; i < elems_of(l); i++) {
        const double steps = s->got[i] / step, right = s->expected[i] / step;
        other += fabs(steps - rint(steps)) > 1e-3;
        right_too += fabs(right - rint(right)) <= 1e-3;
    }
    if (other > 0 || right_too * 2 > elems_of(l)) return ANX_OK;
    return anx_judged_add_cause(j, "rounded-output-int8", 0.96, err,
                                "every value is a multiple of %.6g, the largest magnitude over 127: the output is "
                                "quantised to 8-bit integers",
                                step);
}

/* ---- where they are wrong ---- */

/* All channels from one on are zero in every image, and nothing else is wrong. */
static anx_status channels_lost(const anx_suspect *s, const layout *planes, int64_t wrong, anx_judged *j,
                                anx_error *err) {
    (void)wrong;
    layout l = *planes;
    if (l.planes == 1 && l.h == 1) l = (layout){l.batch, l.w, 1, 1};
    const int64_t each = l.h * l.w;
    int64_t first = l.planes, zeros_from = 0; /* channels from zeros_from on are all zero */
    for (int64_t i = 0; i < elems_of(&l); i++) {
        const int64_t c = i / each % l.planes;
        if (anx_diagnose_is_wrong(s, i) && c < first) first = c;
        if (s->got[i] != 0 && c + 1 > zeros_from) zeros_from = c + 1;
    }
    if (zeros_from > first || first == 0 || first + 1 >= l.planes) return ANX_OK;
    return anx_judged_add_cause(j, "channels-lost", 0.95, err,
                                "every value of the channels from %lld on is 0: they were not computed",
                                (long long)first);
}

static anx_status other_image(const anx_suspect *s, const layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    (void)wrong;
    const int64_t each = l->planes * l->h * l->w;
    for (int64_t n = 0; n < l->batch; n++) {
        int64_t wrong_here = 0;
        for (int64_t i = 0; i < each; i++) wrong_here += anx_diagnose_is_wrong(s, n * each + i);
        for (int64_t m = 0; m < l->batch && wrong_here * 2 > each; m++) {
            if (m == n) continue;
            int64_t same = 0;
            for (int64_t i = 0; i < each; i++) same += anx_diagnose_is_got(s, n * each + i, s->expected[m * each + i]);
            if (same == each)
                return anx_judged_add_cause(j, "stale-image", 0.98, err,
                                            "image %lld of the batch holds the values of image %lld", (long long)n,
                                            (long long)m);
        }
    }
    return ANX_OK;
}

/* Wrong values that all belong to one channel (of features: one of them), the same in each image. */
static anx_status one_channel(const anx_suspect *s, const layout *planes, int64_t wrong, anx_judged *j,
                              anx_error *err) {
    layout l = *planes;
    if (l.planes == 1 && l.h == 1) l = (layout){l.batch, l.w, 1, 1};
    const int64_t each = l.h * l.w;
    int64_t channel = -1;
    if (l.planes < 2) return ANX_OK;
    for (int64_t i = 0; i < elems_of(&l); i++) {
        if (!anx_diagnose_is_wrong(s, i)) continue;
        if (channel >= 0 && i / each % l.planes != channel) return ANX_OK;
        channel = i / each % l.planes;
    }
    return anx_judged_add_cause(j, "one-channel", 0.8, err, "all %lld wrong values lie in channel %lld",
                                (long long)wrong, (long long)channel);
}

/* Wrong values confined to the border, or to the end of the memory. */
static anx_status confined(const anx_suspect *s, const layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    const int64_t n = elems_of(l);
    int64_t first = -1, planes = 0, plane = -1, border = 0, far_edge = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!anx_diagnose_is_wrong(s, i)) continue;
        if (first < 0) first = i;
        const int64_t x = i % l->w, y = i / l->w % l->h, p = i / (l->w * l->h);
        planes += p != plane;
        plane = p;
        far_edge += x + 1 == l->w || y + 1 == l->h;
        border += x == 0 || y == 0 || x + 1 == l->w || y + 1 == l->h;
    }
    anx_status status = ANX_OK;
    const bool has_inside = l->h > 2 && l->w > 2;
    if (status == ANX_OK && has_inside && far_edge == wrong && planes > 1)
        status = anx_judged_add_cause(j, "far-edge", 0.85, err,
                                      "all %lld wrong values lie in the last row or column: a window's end, or "
                                      "ceil_mode, is not PyTorch's",
                                      (long long)wrong);
    else if (status == ANX_OK && has_inside && border == wrong && planes > 1)
        status = anx_judged_add_cause(
            j, "border", 0.85, err, "all %lld wrong values lie at the border of their planes: padding is not PyTorch's",
            (long long)wrong);
    if (status == ANX_OK && l->planes == 1 && wrong < n && n - first <= 64 && wrong > 1)
        status = anx_judged_add_cause(j, "tail", 0.7, err,
                                      "all wrong values lie among the last %lld: a remainder of a vectorised loop",
                                      (long long)(n - first));
    return status;
}

/* ---- values of another place ---- */

/* The share of wrong elements that hold the right value of the place (plane c, row y, column x) maps to. */
typedef bool (*place)(const layout *l, int64_t *c, int64_t *y, int64_t *x);

static bool right_by_one(const layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)l, (void)c, (void)y;
    return --*x >= 0;
}

static bool left_by_one(const layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)c, (void)y;
    return ++*x < l->w;
}

static bool down_by_one(const layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)l, (void)c, (void)x;
    return --*y >= 0;
}

static bool up_by_one(const layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)c, (void)x;
    return ++*y < l->h;
}

static bool diagonal(const layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)c;
    return ++*y < l->h && ++*x < l->w;
}

static bool diagonal_back(const layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)l, (void)c;
    return --*y >= 0 && --*x >= 0;
}

static bool mirrored(const layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)c, (void)y;
    *x = l->w - 1 - *x;
    return true;
}

static bool upside_down(const layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)c, (void)x;
    *y = l->h - 1 - *y;
    return true;
}

static bool transposed(const layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)c;
    const int64_t t = *y;
    *y = *x;
    *x = t;
    return *y < l->h && *x < l->w;
}

static bool next_channel(const layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)y, (void)x;
    return ++*c < l->planes;
}

static bool previous_channel(const layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)l, (void)y, (void)x;
    return --*c >= 0;
}

static bool reversed_channels(const layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)y, (void)x;
    *c = l->planes - 1 - *c;
    return true;
}

static bool channels_last(const layout *l, int64_t *c, int64_t *y, int64_t *x) {
    const int64_t flat = (*c * l->h + *y) * l->w + *x; /* read as (h, w, c) */
    *c = flat % l->planes;
    *x = flat / l->planes % l->w;
    *y = flat / l->planes / l->w;
    return true;
}

static const struct {
    const char *id, *text;
    place from;
} places[] = {
    {"shift", "moved right by one column", right_by_one},
    {"shift", "moved left by one column", left_by_one},
    {"shift", "moved down by one row", down_by_one},
    {"shift", "moved up by one row", up_by_one},
    {"shift", "moved up and left by one", diagonal},
    {"shift", "moved down and right by one", diagonal_back},
    {"flip", "mirrored left to right", mirrored},
    {"flip", "upside down", upside_down},
    {"transpose", "with rows and columns exchanged", transposed},
    {"channel-order", "of the next channel", next_channel},
    {"channel-order", "of the channel before", previous_channel},
    {"channel-order", "of the channels in reverse order", reversed_channels},
    {"layout", "in (H, W, C) order", channels_last},
};

static anx_status moved(const anx_suspect *s, const layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    if (wrong < 4) return ANX_OK;
    anx_status status = ANX_OK;
    for (size_t k = 0; status == ANX_OK && k < sizeof places / sizeof *places; k++) {
        int64_t hits = 0, counted = 0, i = 0;
        for (int64_t n = 0; n < l->batch; n++)
            for (int64_t c = 0; c < l->planes; c++)
                for (int64_t y = 0; y < l->h; y++)
                    for (int64_t x = 0; x < l->w; x++, i++) {
                        if (!anx_diagnose_is_wrong(s, i)) continue;
                        int64_t c2 = c, y2 = y, x2 = x;
                        if (!places[k].from(l, &c2, &y2, &x2)) continue;
                        counted++;
                        hits += anx_diagnose_is_got(s, i, s->expected[index_of(l, n, c2, y2, x2)]);
                    }
        if (counted * 2 > wrong && (double)hits > 0.9 * (double)counted)
            status =
                anx_judged_add_cause(j, places[k].id, 0.95, err, "%.3g %% of the wrong values are the right ones %s",
                                     100 * (double)hits / (double)counted, places[k].text);
    }
    return status;
}

/* Does wrong channel c hold, in each of the first `batch` images, the right values of channel `other`? */
static bool holds_channel(const anx_suspect *s, const layout *l, int64_t batch, int64_t c, int64_t other) {
    const int64_t each = l->h * l->w;
    for (int64_t n = 0; n < batch; n++) {
        const int64_t at = (n * l->planes + c) * each, from = (n * l->planes + other) * each;
        for (int64_t i = 0; i < each; i++)
            if (!anx_diagnose_is_got(s, at + i, s->expected[from + i])) return false;
    }
    return true;
}

/* Wrong planes (features: values) that are, value for value, the right ones of other channels. */
static anx_status permuted(const anx_suspect *s, const layout *planes, int64_t wrong, anx_judged *j, anx_error *err) {
    (void)wrong;
    layout l = *planes;
    if (l.planes == 1 && l.h == 1) l = (layout){l.batch, l.w, 1, 1};
    const int64_t each = l.h * l.w, batch = each < 4 ? l.batch : 1; /* few values: all images, to be sure */
    if (l.planes < 2) return ANX_OK;
    int64_t bad = 0, matched = 0, from = -1, to = -1;
    for (int64_t c = 0; c < l.planes; c++) {
        if (holds_channel(s, &l, batch, c, c)) continue;
        bad++;
        int64_t other = 0;
        while (other < l.planes && (other == c || !holds_channel(s, &l, batch, c, other))) other++;
        if (other == l.planes) continue;
        matched++;
        to = c;
        from = other;
    }
    if (matched < 2 || (double)matched < 0.9 * (double)bad) return ANX_OK;
    return anx_judged_add_cause(
        j, "channel-order", 0.96, err,
        "%lld of %lld wrong channels hold the right values of another channel (channel %lld those "
        "of %lld)",
        (long long)matched, (long long)bad, (long long)to, (long long)from);
}

/* One constant is added in each plane, another one in each. */
static anx_status constant_per_channel(const anx_suspect *s, const layout *l, int64_t wrong, anx_judged *j,
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
static anx_status truncation(const anx_suspect *s, const layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    (void)s, (void)l, (void)wrong;
    const anx_comparison *c = &j->versus[0];
    if (j->n_versus == 0 || !(c->slope < -4) || !(c->rms < 100)) return ANX_OK;
    return anx_judged_add_cause(j, "truncation", 0.6, err,
                                "values are pulled towards 0 (slope %.3g, rounding to nearest stays within 2): sums or "
                                "operands are truncated",
                                c->slope);
}

anx_status anx_diagnose_patterns(const anx_suspect *s, anx_judged *judged, anx_error *err) {
    static const pattern patterns[] = {overwritten, dropout_active,       all_zero,         flushed,
                                       negative,    other_softmax,        softmax_slope,    clipped,
                                       scaled,      rounded_output,       quantised_output, channels_lost,
                                       other_image, one_channel,          confined,         moved,
                                       permuted,    constant_per_channel, truncation};
    const layout l = layout_of(s);
    const int64_t wrong = count_wrong(s, &l);
    const int before = judged->n_causes;
    anx_status status = wrong > 0 ? not_finite(s, &l, wrong, judged, err) : ANX_OK;
    if (judged->n_causes > before) return status; /* NaN and infinity spoil what the others measure */
    for (size_t i = 0; status == ANX_OK && wrong > 0 && i < sizeof patterns / sizeof *patterns; i++)
        status = patterns[i](s, &l, wrong, judged, err);
    return status;
}
