#include "parity/metrics.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const double unit_roundoff = 0x1p-24;
static const double rms_fails = 32, rms_warns = 4;
/* Of shortened operands, see operands.h: in units of u G, of s, and of s for the RMS; a sum's own limits against
   float32's. */
static const double proven_units = 32784, most_of_s = 24, most_spread = 1.5, of_cut_sums = 2;
enum { FEATURES_PER_PART = 64 };

/* ---- rules ---- */

static double limit_of(double h) {
    return fmin(h, 4 * sqrt(h));
}

anx_rule anx_rule_for_sum(int64_t terms) {
    const double h = (double)terms + 1;
    return (anx_rule){.kind = ANX_BOUND_SUM,
                      .h = h,
                      .limit_r = limit_of(h),
                      .limit_rms = rms_fails,
                      .warn_rms = rms_warns,
                      .eta = 0x1p-149 * sqrt(h)};
}

anx_rule anx_rule_for_equality(bool zero_signs) {
    return (anx_rule){.kind = ANX_BOUND_BITS, .limit_rms = INFINITY, .warn_rms = INFINITY, .zero_signs = zero_signs};
}

anx_rule anx_rule_for_node(const anx_graph *graph, int node) {
    const anx_node *n = &graph->nodes[node];
    anx_rule rule = anx_rule_for_equality(false);
    switch (n->layer->op) {
    case ANX_OP_CONV2D:
    case ANX_OP_LINEAR: return anx_rule_for_sum(n->terms);
    case ANX_OP_ADAPTIVE_AVG_POOL2D:
        /* terms - 1 additions and two divisions; the average of one element is that element */
        if (n->terms > 1) {
            rule = anx_rule_for_sum(n->terms);
            rule.kind = ANX_BOUND_AVERAGE;
        }
        break;
    case ANX_OP_SOFTMAX:
        rule = (anx_rule){.kind = ANX_BOUND_SOFTMAX,
                          .h = (double)n->terms,
                          .limit_r = limit_of((double)n->terms) + 11,
                          .limit_rms = INFINITY,
                          .warn_rms = INFINITY,
                          .eta = 0x1p-126};
        break;
    case ANX_OP_RELU:
    case ANX_OP_MAX_POOL2D:
    case ANX_OP_DROPOUT:
    case ANX_OP_FLATTEN:
    case ANX_OP_COUNT: break;
    }
    return rule;
}

anx_rule anx_rule_in(anx_rule rule, anx_math_mode math, bool conv) {
    if (rule.kind != ANX_BOUND_SUM || math == ANX_MATH_FLOAT32) return rule;
    const bool tiled = math == ANX_MATH_FAST && conv;
    rule.kind = tiled ? ANX_BOUND_SUM_FAST : ANX_BOUND_SUM_TF32;
    rule.limit_sum = of_cut_sums * rule.limit_r;
    rule.limit_r = tiled ? INFINITY : proven_units + of_cut_sums * rule.h;
    rule.limit_rms *= of_cut_sums;
    rule.warn_rms = INFINITY;
    rule.spread = most_spread;
    return rule;
}

anx_rule anx_rule_for_node_in(const anx_graph *graph, int node, anx_math_mode math) {
    return anx_rule_in(anx_rule_for_node(graph, node), math, graph->nodes[node].layer->op == ANX_OP_CONV2D);
}

void anx_softmax_bound(const float *logits, int64_t batch, int64_t n, float *gauge, float *limit) {
    for (int64_t b = 0; b < batch; b++, logits += n, gauge += n, limit += n) {
        double m = -INFINITY, sum = 0, weighted = 0;
        for (int64_t i = 0; i < n; i++) m = fmax(m, logits[i]);
        for (int64_t i = 0; i < n; i++) {
            const double d = logits[i] - m, e = exp(d);
            sum += e;
            if (e > 0) weighted -= e * d;
        }
        const double common = weighted / sum + limit_of((double)n) + 11;
        for (int64_t i = 0; i < n; i++) {
            const double d = logits[i] - m;
            gauge[i] = (float)(exp(d) / sum);
            limit[i] = (float)(common - d);
        }
    }
}

/* ---- where an element sits ---- */

/* NaN has a sign, which means nothing: it is not shown. */
static double without_nan_sign(double v) {
    return isnan(v) ? (double)NAN : v;
}

static void locate(const anx_extent *extent, int64_t flat, anx_element *e) {
    e->known = true;
    e->rank = extent->rank + 1;
    for (int i = extent->rank - 1; i >= 0; i--) {
        e->at[i + 1] = flat % extent->dim[i];
        flat /= extent->dim[i];
    }
    e->at[0] = flat;
}

static int64_t extent_elems(const anx_extent *extent) {
    int64_t n = 1;
    for (int i = 0; i < extent->rank; i++) n *= extent->dim[i];
    return n;
}

/* A part is one plane, or 64 neighbouring features. */
static int64_t part_elems(const anx_extent *extent) {
    return extent->rank == 3 ? extent->dim[1] * extent->dim[2] : FEATURES_PER_PART;
}

static bool is_subnormal(float v) {
    return v != 0 && fabsf(v) < FLT_MIN;
}

static bool same_bits(float a, float b) {
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

/* Do two values agree whose difference is not a finite number? Equal infinities and NaN with NaN do. */
static bool same_class(float got, float expected) {
    return isnan(expected) ? isnan(got) : got == expected;
}

/* ---- equality ---- */

static void compare_equal(const anx_rule *rule, const anx_values *v, anx_comparison *c) {
    const int64_t per_image = extent_elems(v->extent);
    c->elems = per_image * v->batch;
    if (v->y32 != NULL && memcmp(v->got, v->y32, (size_t)c->elems * sizeof(float)) == 0) {
        for (int64_t i = 0; i < c->elems; i++) c->subnormals += is_subnormal(v->y32[i]);
        return;
    }
    for (int64_t i = 0; i < c->elems; i++) {
        const float got = v->got[i], expected = v->y32 != NULL ? v->y32[i] : (float)v->y64[i];
        c->subnormals += is_subnormal(expected);
        if (same_bits(got, expected)) continue;
        c->different++;
        if (got == expected) { /* zeros of two signs */
            c->zero_signs++;
            if (!rule->zero_signs) continue;
        }
        if (isfinite(got) != isfinite(expected)) c->nonfinite++;
        const double d = fabs((double)got - (double)expected);
        if (d > c->worst_abs) c->worst_abs = d;
        if (c->over++ == 0) {
            locate(v->extent, i, &c->worst);
            c->worst.got = without_nan_sign(got);
            c->worst.expected = without_nan_sign(expected);
        }
    }
}

/* ---- rounding ---- */

/* The largest gauge and s of a part, where errors are judged in the norm over it. */
typedef struct part_tops {
    double gauge, operands;
} part_tops;

static part_tops tops_of(const anx_rule *rule, const float *gauge, const float *operands, int64_t begin, int64_t end) {
    part_tops t = {0, 0};
    if (rule->kind != ANX_BOUND_SUM_FAST) return t;
    for (int64_t i = begin; i < end; i++) {
        t.gauge = fmax(t.gauge, gauge[i]);
        t.operands = fmax(t.operands, operands[i]);
    }
    return t;
}

/* What the rule leaves one element, in units of u G; tops: where it counts in their stead, the part's largest. */
static double limit_with_operands(const anx_rule *rule, const part_tops *tops, double gauge, double operands) {
    if (rule->kind == ANX_BOUND_SUM_FAST)
        return tops->gauge > 0 ? most_of_s * tops->operands / tops->gauge + rule->limit_sum : 0;
    return gauge > 0 ? fmin(rule->limit_r, most_of_s * operands / gauge + rule->limit_sum) : rule->limit_sum;
}

void anx_rule_bounds(const anx_rule *rule, const anx_extent *extent, int64_t batch, const float *gauge,
                     const float *operands, float *bound) {
    const int64_t per_image = extent_elems(extent), per_part = part_elems(extent);
    for (int64_t image = 0; image < batch * per_image; image += per_image)
        for (int64_t at = 0; at < per_image; at += per_part) {
            const int64_t begin = image + at, end = image + (at + per_part < per_image ? at + per_part : per_image);
            const part_tops tops = tops_of(rule, gauge, operands, begin, end);
            for (int64_t i = begin; i < end; i++) {
                const double g = rule->kind == ANX_BOUND_SUM_FAST ? tops.gauge : gauge[i];
                const double limit =
                    rule->spread > 0 ? limit_with_operands(rule, &tops, g, operands[i]) : rule->limit_r;
                bound[i] = (float)(limit * (unit_roundoff * g + rule->eta));
            }
        }
}

/* How large the RMS over n elements may be of which `allowed` is the sum of (s / G)^2. */
static double rms_limit(const anx_rule *rule, double allowed, int64_t n) {
    if (!(rule->spread > 0) || n == 0) return rule->limit_rms;
    return rule->limit_rms + rule->spread * (1 + 2 / sqrt((double)n)) * sqrt(allowed / (double)n);
}

/* Running sums over one image or one part of it. */
typedef struct sums {
    double truth, pytorch, own; /* of r^2: got - y64, got - y32, y32 - y64 */
    double dy, yy;              /* of the slope */
    double allowed;             /* of (s / G)^2 */
    int64_t n;
} sums;

static void sums_add(sums *into, const sums *part) {
    into->truth += part->truth;
    into->pytorch += part->pytorch;
    into->own += part->own;
    into->dy += part->dy;
    into->yy += part->yy;
    into->allowed += part->allowed;
    into->n += part->n;
}

typedef struct rounding_measure {
    const anx_rule *rule;
    const anx_values *v;
    anx_comparison *truth, *pytorch; /* NULL where there is none */
    double own_r, own_rms;
} rounding_measure;

static void note_worst(anx_comparison *c, const anx_values *v, int64_t i, double limit, double fraction,
                       double expected) {
    c->worst_fraction = fraction;
    c->limit_r = limit;
    locate(v->extent, i, &c->worst);
    c->worst.got = without_nan_sign(v->got[i]);
    c->worst.expected = without_nan_sign(expected);
}

/* One element that is not an ordinary finite number on both sides, or has no gauge to speak of. */
static void compare_unusual(anx_comparison *c, const anx_values *v, int64_t i, double expected, bool undecided) {
    const float as_float = (float)expected, got = v->got[i];
    c->different += !same_bits(got, as_float);
    if (!isfinite(as_float) && same_class(got, as_float)) return;
    if (undecided) {
        c->undecided++;
        return;
    }
    c->over++;
    if (!isfinite(got) || !isfinite(as_float)) c->nonfinite++;
    if (!isinf(c->worst_fraction)) note_worst(c, v, i, c->limit_r, INFINITY, expected);
    c->worst_r = INFINITY;
}

/* Is what the engine gave here the sum with the padding left out, NaN or infinite weights lying over it? */
static bool is_skipped(const rounding_measure *m, int64_t i) {
    const double got = m->v->got[i], right = m->v->skipped[i];
    if (!isfinite((float)right)) return same_class(m->v->got[i], (float)right);
    return fabs(got - right) <= m->rule->limit_r * (unit_roundoff * m->v->skipped_gauge[i] + m->rule->eta);
}

/*
 * Can two right engines give different classes of numbers here? Where the gauge nears float32's largest number, an
 * order of summation may overflow which another does not. And where NaN or infinite weights meet the padding, an engine
 * may multiply it or skip it.
 */
static bool is_undecided(const rounding_measure *m, int64_t i, double y64, double g) {
    if (g > FLT_MAX / 2 && (m->truth == NULL || isfinite(y64))) return true;
    if (m->v->skipped == NULL || same_class((float)m->v->skipped[i], (float)y64)) return false;
    return same_class(m->v->got[i], (float)y64) || is_skipped(m, i);
}

static double truth_at(const anx_values *v, int64_t i) {
    return v->y64 != NULL ? v->y64[i] : (double)v->y32[i] + (double)v->e64[i];
}

static void note_error(anx_comparison *c, const rounding_measure *m, int64_t i, double d, double unit, double bound,
                       double expected) {
    const double abs = fabs(d), r = abs / unit, fraction = abs / bound;
    if (abs > c->worst_abs) c->worst_abs = abs;
    if (r > c->worst_r) c->worst_r = r;
    if (fraction > 1) c->over++;
    if (fraction > c->worst_fraction) note_worst(c, m->v, i, bound / unit, fraction, expected);
}

/* Elements begin .. end-1, all of one part of one image. */
static sums measure_part(rounding_measure *m, int64_t begin, int64_t end) {
    const anx_values *v = m->v;
    const bool has_truth = m->truth != NULL, has_pytorch = m->pytorch != NULL;
    const bool shortened = m->rule->spread > 0, in_norm = m->rule->kind == ANX_BOUND_SUM_FAST;
    const part_tops tops = tops_of(m->rule, v->gauge, v->operands, begin, end);
    sums s = {0};
    for (int64_t i = begin; i < end; i++) {
        const double y32 = has_pytorch ? v->y32[i] : 0;
        const double y64 = has_truth ? truth_at(v, i) : y32;
        const double g = in_norm ? tops.gauge : v->gauge[i], got = v->got[i];
        const double limit = shortened          ? limit_with_operands(m->rule, &tops, g, v->operands[i])
                             : v->limit != NULL ? v->limit[i]
                                                : m->rule->limit_r;
        const double unit = unit_roundoff * g + m->rule->eta;
        /* An element of gauge 0 sums zeros: only 0 is right. (A gauge that underflowed has a truth other than 0.) */
        if (!isfinite((float)y64) || !isfinite(y32) || !isfinite(got) || g > FLT_MAX / 2 || !(g >= 0) ||
            (g == 0 && y64 == 0 && got != 0)) {
            const bool undecided = is_undecided(m, i, y64, g);
            if (has_truth) compare_unusual(m->truth, v, i, y64, undecided);
            if (has_pytorch) compare_unusual(m->pytorch, v, i, y32, undecided);
            continue;
        }
        s.n++;
        if (shortened) s.allowed += g > 0 ? v->operands[i] / g * (v->operands[i] / g) : 0;
        double own = 0;
        if (has_truth) {
            const double d = got - y64, r = d / unit, t = y64 / (g + m->rule->eta);
            s.truth += r * r;
            s.dy += r * t;
            s.yy += t * t;
            m->truth->subnormals += is_subnormal((float)y64);
            m->truth->different += !same_bits((float)got, (float)y64);
            note_error(m->truth, m, i, d, unit, limit * unit, y64);
        }
        if (has_pytorch) {
            if (has_truth) {
                own = fabs(y32 - y64);
                const double r = own / unit;
                s.own += r * r;
                if (r > m->own_r) m->own_r = r;
            }
            const double d = got - y32, r = d / unit;
            s.pytorch += r * r;
            m->pytorch->subnormals += is_subnormal((float)y32);
            m->pytorch->different += !same_bits((float)got, (float)y32);
            m->pytorch->zero_signs += got == 0 && y32 == 0 && signbit(got) != signbit(y32);
            /* with no truth PyTorch's own error is unknown, but bounded as ours is */
            note_error(m->pytorch, m, i, d, unit, has_truth ? limit * unit + own : 2 * limit * unit, y32);
        }
    }
    return s;
}

static double root_mean(double sum, int64_t n) {
    return n == 0 ? 0 : sqrt(sum / (double)n);
}

static void note_part(anx_comparison *c, double rms, int64_t image, int64_t index) {
    if (c == NULL || rms <= c->part_rms) return;
    c->part_rms = rms;
    c->part_image = image;
    c->part_index = index;
}

/* Where operands are shortened each image has a limit of its own: the worst is the nearest to it. */
static void note_image(const anx_rule *rule, anx_comparison *c, double rms, double limit, int64_t image) {
    if (c == NULL) return;
    if (rule->spread > 0 ? image > 0 && rms / limit <= c->rms / c->limit_rms : rms <= c->rms) return;
    c->rms = rms;
    c->rms_image = image;
    if (rule->spread > 0) c->limit_rms = limit;
}

static void compare_rounded(rounding_measure *m) {
    const anx_values *v = m->v;
    const int64_t per_image = extent_elems(v->extent), per_part = part_elems(v->extent);
    for (int64_t image = 0; image < v->batch; image++) {
        sums whole = {0};
        for (int64_t begin = 0; begin < per_image; begin += per_part) {
            const int64_t end = begin + per_part < per_image ? begin + per_part : per_image;
            const sums part = measure_part(m, image * per_image + begin, image * per_image + end);
            const int64_t index = v->extent->rank == 3 ? begin / per_part : begin;
            note_part(m->truth, root_mean(part.truth, part.n), image, index);
            note_part(m->pytorch, root_mean(part.pytorch, part.n), image, index);
            sums_add(&whole, &part);
        }
        const double limit = rms_limit(m->rule, whole.allowed, whole.n);
        note_image(m->rule, m->truth, root_mean(whole.truth, whole.n), limit, image);
        note_image(m->rule, m->pytorch, root_mean(whole.pytorch, whole.n), limit, image);
        m->own_rms = fmax(m->own_rms, root_mean(whole.own, whole.n));
        const double slope = whole.yy > 0 ? whole.dy / whole.yy : 0;
        if (m->truth != NULL && fabs(slope) > fabs(m->truth->slope)) m->truth->slope = slope;
    }
}

void anx_measure(const anx_rule *rule, const anx_values *values, anx_basis truth, anx_basis pytorch,
                 anx_judged *judged) {
    const bool has_truth = values->y64 != NULL || (values->e64 != NULL && values->y32 != NULL);
    const anx_comparison blank = {.bound = rule->kind,
                                  .limit_r = rule->limit_r,
                                  .limit_rms = isinf(rule->limit_rms) ? NAN : rule->limit_rms,
                                  .elems = values->batch * extent_elems(values->extent)};
    judged->n_versus = 0;
    if (rule->kind == ANX_BOUND_BITS) {
        anx_comparison *c = &judged->versus[judged->n_versus++];
        *c = blank;
        c->basis = values->y32 != NULL ? pytorch : truth;
        c->limit_rms = c->worst_r = c->rms = c->part_rms = c->slope = NAN;
        compare_equal(rule, values, c);
        c->worst_fraction = c->over > 0 ? INFINITY : 0;
        return;
    }
    rounding_measure m = {.rule = rule, .v = values};
    if (has_truth) {
        m.truth = &judged->versus[judged->n_versus++];
        *m.truth = blank;
        m.truth->basis = truth;
    }
    if (values->y32 != NULL) {
        m.pytorch = &judged->versus[judged->n_versus++];
        *m.pytorch = blank;
        m.pytorch->basis = pytorch;
    }
    compare_rounded(&m);
    if (m.pytorch != NULL)
        m.pytorch->limit_rms = has_truth ? m.pytorch->limit_rms + m.own_rms : 2 * m.pytorch->limit_rms;
    if (m.pytorch != NULL && has_truth) {
        judged->pytorch_r = m.own_r;
        judged->pytorch_rms = m.own_rms;
    }
}

/* ---- verdicts ---- */

/* One comparison by rules 1 to 4; writes what was found into text. */
static anx_verdict conclude_one(const anx_rule *rule, const anx_comparison *c, char *text, size_t size) {
    char where[96];
    anx_element_format(&c->worst, where, sizeof where);
    if (rule->kind == ANX_BOUND_BITS) {
        if (c->over > 0) {
            snprintf(text, size, "%lld of %lld values differ, first at %s: %.9g instead of %.9g", (long long)c->over,
                     (long long)c->elems, where, c->worst.got, c->worst.expected);
            return ANX_VERDICT_FAIL;
        }
        if (c->zero_signs > 0)
            snprintf(text, size, "equal values; %lld zeros of the other sign", (long long)c->zero_signs);
        else
            snprintf(text, size, "bit-equal");
        return ANX_VERDICT_PASS;
    }
    if (c->nonfinite > 0) {
        snprintf(text, size, "NaN or infinity in %lld values, first at %s: %.9g instead of %.9g",
                 (long long)c->nonfinite, where, c->worst.got, c->worst.expected);
        return ANX_VERDICT_FAIL;
    }
    if (c->over > 0) {
        snprintf(text, size, "%lld of %lld values are beyond their bound, worst at %s: r = %.4g, bound %.4g",
                 (long long)c->over, (long long)c->elems, where, c->worst_r, c->limit_r);
        return ANX_VERDICT_FAIL;
    }
    if (c->rms > c->limit_rms) { /* false where there is no limit (NaN) */
        snprintf(text, size, "RMS error %.4g over image %lld, limit %.4g%s", c->rms, (long long)c->rms_image,
                 c->limit_rms, rule->spread > 0 ? ": more than operands of 11 bits explain" : "");
        return ANX_VERDICT_FAIL;
    }
    const double slack = isnan(c->limit_rms) ? 0 : c->limit_rms - rule->limit_rms; /* PyTorch's own RMS */
    if (rule->spread == 0 && c->part_rms > rule->limit_rms + slack) {
        snprintf(text, size, "RMS error %.4g in one part (image %lld, part %lld): more than rounding there",
                 c->part_rms, (long long)c->part_image, (long long)c->part_index);
        return ANX_VERDICT_WARN;
    }
    if (c->rms > rule->warn_rms + slack) {
        snprintf(text, size, "RMS error %.4g over image %lld: more than any float32 engine measured (limit %.4g)",
                 c->rms, (long long)c->rms_image, rule->warn_rms);
        return ANX_VERDICT_WARN;
    }
    if (c->undecided > 0) {
        snprintf(
            text, size,
            "%lld values are not judged: their sums come near float32's largest number, or NaN or infinite weights "
            "meet the padding",
            (long long)c->undecided);
        return ANX_VERDICT_WARN;
    }
    snprintf(text, size, "r <= %.3g, %.3g of the bound, RMS %.3g", c->worst_r, c->worst_fraction, c->rms);
    return ANX_VERDICT_PASS;
}

anx_status anx_rule_conclude(const anx_rule *rule, anx_judged *judged, anx_error *err) {
    anx_verdict worst = ANX_VERDICT_INFO;
    char text[512] = "nothing to compare with";
    int decided_by = 0;
    for (int i = 0; i < judged->n_versus; i++) {
        char one[512];
        const anx_verdict v = conclude_one(rule, &judged->versus[i], one, sizeof one);
        if (v > worst) {
            worst = v;
            decided_by = i;
            memcpy(text, one, sizeof text);
        }
    }
    if (judged->n_versus == 0) return anx_judged_conclude(judged, ANX_VERDICT_SKIP, err, "%s", text);
    if (worst <= judged->verdict) return ANX_OK;
    const char *first = anx_basis_name(judged->versus[decided_by].basis);
    const bool both = judged->n_versus == 2 && worst == ANX_VERDICT_PASS;
    return anx_judged_conclude(judged, worst, err, "%s; against %s%s%s", text, first, both ? " and " : "",
                               both ? anx_basis_name(judged->versus[1].basis) : "");
}
