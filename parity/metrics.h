/*
 * What is measured between an engine's float32 values and the right ones, and the rules that judge it.
 *
 * u = 2^-24. A sum of `terms` products and a bias suffers h = terms + 1 roundings; whatever the order of summation its
 * error is at most h u G (to first order), G = sum |w||x| + |b| (Higham, "Accuracy and Stability of Numerical
 * Algorithms", section 3.1). Errors are measured as r = |y - y64| / (u G), y64 the same operation in double:
 *   1. fail where r > min(h, 4 sqrt h) for any element. Independent roundings err by at most 0.42 sqrt(h) u G RMS in
 * any order, so 4 sqrt h is over nine standard deviations. The worst of 40 correct float32 engines over 4.6e8 elements
 *      of AlexNet reached 0.31 of it.
 *   2. fail where the RMS of r over one image exceeds 32. float32 with all terms of one sign in one chain reaches 19.5;
 *      operands rounded to 11 bits (TF32, fp16) cost at least 64, bf16 more than 700.
 *   3. warn where the RMS over one image exceeds 4 (no float32 engine does: split emulations, truncating accumulators,
 *      F(4x4) Winograd do), or where one plane, or 64 neighbouring features, exceed 32.
 *   4. ReLU, max-pooling, flatten, dropout (outside training) and averages over one element round nothing: the values
 *      must be equal. An element with G = 0 must be 0.
 *   5. the slope sum d y/G^2 / sum (y/G)^2, d = (y - y64)/u, shows truncation: nearest rounding stays within +-2.
 *
 * What is not an ordinary number is compared deliberately:
 *   NaN, infinity: where the right value (as float32) is one of them, the same class (and sign of infinity) is demanded
 *     and the element takes no part in r; where it is finite, NaN or infinity fails.
 *   overflow: where G exceeds half of float32's largest number, an order of summation may overflow which another does
 *     not. Such elements are counted as `undecided`, not judged, and warn.
 *   NaN or infinite weights over the padding (parity/padding.h): NaN is right, and so is the sum without the padding,
 *     within its own bound. An element that is either counts as `undecided`; any other fails.
 *   signed zeros: +0 and -0 are equal for a judged engine (no later layer tells them apart) and are counted; they are
 *     different where PyTorch's own bits are demanded.
 *   subnormals: the unit is u G + sqrt(h) 2^-149. Down there every operation errs by up to 2^-150 whatever the size of
 *     its result, so a sum by 0.29 sqrt(h) 2^-149 RMS; where G > 1e-28 this changes r by less than 1e-6 of itself. An
 *     engine that flushes subnormals to zero exceeds it where whole sums are that small; expected values that are
 *     subnormal are counted.
 */
#ifndef ANX_PARITY_METRICS_H
#define ANX_PARITY_METRICS_H

#include "parity/verdict.h"
#include "src/backend/backend.h"

typedef struct anx_rule {
    anx_bound_kind kind;
    double h;                   /* roundings of one output; 0 where nothing is rounded */
    double limit_r;             /* rule 1; with shortened operands what is proven */
    double limit_rms, warn_rms; /* rules 2 and 3; infinite where there is none */
    double eta;                 /* absolute part of the unit: u G + eta */
    double limit_sum;           /* with shortened operands: the sum's own part of the bound on r */
    double spread;              /* ... and how many times s the RMS over many elements may be; 0: none is shortened */
    bool zero_signs;            /* +0 and -0 differ */
} anx_rule;

/* The rule for sums of `terms` products and a bias. */
anx_rule anx_rule_for_sum(int64_t terms);
/* Equality: of bits where zero_signs is set, otherwise of values. */
anx_rule anx_rule_for_equality(bool zero_signs);
/* What the node's kind demands of a judged engine. */
anx_rule anx_rule_for_node(const anx_graph *graph, int node);

/*
 * The rule for sums, in an arithmetic that shortens their operands (parity/operands.h); any other rule, and float32's,
 * stay as they are. conv: of a convolution, which `fast` may compute by tiles or transforms.
 */
anx_rule anx_rule_in(anx_rule rule, anx_math_mode math, bool conv);
/* The node's, in that arithmetic. */
anx_rule anx_rule_for_node_in(const anx_graph *graph, int node, anx_math_mode math);

/* One batch of one point's values. Arrays are contiguous, (batch, extent), not owned. */
typedef struct anx_values {
    const anx_extent *extent;
    int64_t batch;
    const float *got;
    const float *y32;           /* PyTorch's; NULL: not known */
    const float *e64;           /* truth less y32; NULL where y64 is given, or no truth */
    const double *y64;          /* the truth; NULL where e64 is given, or no truth */
    const float *gauge;         /* G; for rounding rules */
    const float *limit;         /* bound on r per element; NULL: the rule's everywhere */
    const float *operands;      /* s (operands.h); for rules with shortened operands */
    const double *skipped;      /* the truth with the padding left out of the sums, and its gauge; */
    const float *skipped_gauge; /* NULL where that changes nothing (anx_padding_skip) */
} anx_values;

/*
 * Measures got against the truth (first comparison) and against PyTorch's values (second, or first where no truth is
 * given): |got - y32| <= limit u G + |y32 - y64|, RMS(got - y32) <= 32 + RMS(y32 - y64). Fills versus[], n_versus,
 * pytorch_r and pytorch_rms of *judged. For rules of equality the expected values are y32, or y64 where there is none.
 * With no truth the second comparison has no |y32 - y64| to add and judged engines are held to twice the limit.
 */
void anx_measure(const anx_rule *rule, const anx_values *values, anx_basis truth, anx_basis pytorch,
                 anx_judged *judged);

/* What the rule leaves each element by itself, |got - y64| <= bound; gauge, operands, bound (batch, extent). */
void anx_rule_bounds(const anx_rule *rule, const anx_extent *extent, int64_t batch, const float *gauge,
                     const float *operands, float *bound);

/*
 * Rules 1 to 4 on what was measured: sets verdict and reason, which ends in what the verdict rests on. Keeps a verdict
 * that is worse already. Errors: OUT_OF_MEMORY.
 */
anx_status anx_rule_conclude(const anx_rule *rule, anx_judged *judged, anx_error *err);

/*
 * Softmax over the features, p_i = exp(x_i - m) / sum exp(x_j - m), in float32:
 *   x_i - m      one rounding, which the exponential turns into a relative error of |x_i - m| u
 *   exp          good to 2 ulp, at most 4 u
 *   sum          the terms' own errors weighted by p, plus min(n, 4 sqrt n) u for the additions (terms of one sign, so
 *                the relative error of a chain of n - 1 additions is bounded as in rule 1)
 *   division     u, or 3 u by way of a reciprocal
 * so r = |p - p64| / (u p64) <= |x_i - m| + sum_j p_j |x_j - m| + min(n, 4 sqrt n) + 4 + 4 + 3. Float32 exponentials
 * commonly flush results below 2^-126 to 0, hence eta = 2^-126.
 * logits (batch, n); gauge and limit receive batch*n floats: p64, and the bound on r.
 */
void anx_softmax_bound(const float *logits, int64_t batch, int64_t n, float *gauge, float *limit);

/*
 * Carries truth and gauge through one more node whose operation rounds nothing and is 1-Lipschitz, to judge a fused
 * group by its sum's own bound: ReLU max(y, 0) with G as it is (0 where y is -infinity); max-pool takes the windows'
 * maxima of both; flatten, dropout and averages over one element copy. y64, gauge (batch, in) to y64_out, gauge_out
 * (batch, out), which must not overlap. False, with nothing written, where the node rounds (averages, softmax, sums).
 */
bool anx_carry_through(const anx_graph *graph, int node, int64_t batch, const double *y64, const float *gauge,
                       double *y64_out, float *gauge_out);

/* Windows of max-pool `node` whose maximum is positive and taken by more than one element. x (batch, C, H, W). */
int64_t anx_count_pool_ties(const anx_graph *graph, int node, int64_t batch, const float *x);

#endif
