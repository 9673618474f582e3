/*
 * SGD, twice. From the gradients of the injected operators and the recorded state (teacher forcing): what the
 * gradients' bound leaves of a bound on momentum and values. And in the trainer's own step: momentum and values are a
 * function of the state before and its own gradients, to the bit where SGD runs on the host (src/train/sgd.h, where the
 * formulas are from; they are written down here once more because a judge does not ask the accused).
 *
 * gamma = n u / (1 - n u) for gradients of n terms, G their gauge (gamma G being the gradient's bound, or what
 * parity/operands.h leaves it), g' = g + wd p, d = the direction p is moved in:
 *   |delta buf| <= gamma G + 2u (|mu buf| + |buf'|)        g' and mu buf are rounded, and their sum
 *   |delta p|   <= lr D + 2u |p'|                          D = |delta buf|; with Nesterov (1 + mu) |delta buf| + 2u |d|
 *
 * A device that takes the step itself may add the terms in any order, with a fused multiply-add or without. The
 * gradient is given then, and no term is rounded more than four times on its way into a sum, nor six on its way into d:
 *   |delta buf| <= 4u S                                    S = |mu buf| + |kept| (|g| + |wd p|)
 *   |delta p|   <= 6u lr T + 4u (|p| + lr T)               T = S; with Nesterov |g| + |wd p| + mu S
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/judge_training.h"

static const double u = 0x1p-24;

/* The options as the elements meet them: rounded to float after the arithmetic in double. */
typedef struct factors {
    float decay, momentum, kept, minus_lr;
    bool nesterov, has_decay, has_momentum;
} factors;

static factors factors_of(const anx_judge_scenario *s, double lr) {
    const anx_sgd_options *o = &s->scenario->sgd;
    return (factors){.decay = (float)o->weight_decay,
                     .momentum = (float)o->momentum,
                     .kept = (float)(1 - o->dampening),
                     .minus_lr = (float)-lr,
                     .nesterov = o->nesterov,
                     .has_decay = o->weight_decay != 0,
                     .has_momentum = o->momentum != 0};
}

/* One element's update in float32; buf: NULL before the first step. */
static void update_f32(const factors *f, float g, float p, const float *buf, float *new_buf, float *new_p) {
    if (f->has_decay) g = fmaf(p, f->decay, g);
    if (f->has_momentum) {
        *new_buf = buf == NULL ? g : fmaf(g, f->kept, *buf * f->momentum);
        g = f->nesterov ? fmaf(*new_buf, f->momentum, g) : *new_buf;
    }
    *new_p = fmaf(g, f->minus_lr, p);
}

/* ---- teacher forcing -------------------------------------------------------------------------------------- */

/* The worst of some elements. */
typedef struct worst {
    double fraction, r;
    int64_t at, over;
    double got, expected;
    bool momentum; /* of momentum; else of values */
} worst;

static void note(worst *w, double got, double expected, double bound, int64_t at, bool momentum) {
    const double error = fabs(got - expected), fraction = error == 0 ? 0 : error / bound;
    w->over += !(fraction <= 1);
    if (fraction <= w->fraction) return;
    *w = (worst){
        .fraction = fraction, .at = at, .over = w->over, .got = got, .expected = expected, .momentum = momentum};
}

static void force_element(const factors *f, double gamma, const anx_training_gradient *g, int64_t i, float p,
                          const float *buf, worst *w) {
    float got_buf = 0, got_p;
    update_f32(f, g->got[i], p, buf, &got_buf, &got_p);
    const double held = buf != NULL ? (double)f->momentum * *buf : 0;
    const double grad = g->truth[i] + (f->has_decay ? (double)p * f->decay : 0);
    const double next = f->has_momentum && buf != NULL ? held + grad * f->kept : grad;
    const double of_gradient = g->bound != NULL ? g->bound[i] : gamma * g->gauge[i];
    const double bound = of_gradient + 2 * u * (fabs(held) + fabs(next)) + 0x1p-148;
    const double direction = f->has_momentum && f->nesterov ? grad + f->momentum * next : next;
    const double spread = f->nesterov ? (1 + f->momentum) * bound + 2 * u * fabs(direction) : bound;
    const double right = p + f->minus_lr * direction;
    if (f->has_momentum) note(w, got_buf, next, bound, i, true);
    note(w, got_p, right, fabs((double)f->minus_lr) * spread + 2 * u * fabs(right) + 0x1p-148, i, false);
}

static void locate(const anx_param *param, int64_t flat, anx_element *e) {
    e->known = true;
    e->rank = param->rank;
    for (int i = param->rank - 1; i >= 0; i--) {
        e->at[i] = flat % param->shape[i];
        flat /= param->shape[i];
    }
}

static anx_comparison comparison_of(anx_bound_kind bound, anx_basis basis, int64_t elems) {
    return (anx_comparison){.basis = basis,
                            .bound = bound,
                            .limit_r = NAN,
                            .limit_rms = NAN,
                            .elems = elems,
                            .worst_r = NAN,
                            .rms = NAN,
                            .part_rms = NAN,
                            .slope = NAN};
}

static anx_status begin_row(const anx_judge_scenario *s, const char *point, anx_judged *j, anx_error *err) {
    char input[128];
    snprintf(input, sizeof input, "%s, step %lld", s->scenario->name, (long long)s->standard->step);
    return anx_judged_init(j, ANX_JUDGED_UPDATE, ANX_PATH_TRAIN_UPDATE, point, input, s->fixture, err);
}

anx_status anx_judge_training_forced(anx_judge_scenario *s, const anx_trained_values *before,
                                     const anx_training_gradient *g, anx_error *err) {
    const anx_param *param = &s->options.graph->params[g->param];
    const int64_t n = anx_param_elems(param);
    const factors f = factors_of(s, s->standard->lr);
    const double nu = (double)g->terms * u, gamma = nu / (1 - nu);
    const float *p = before->params[g->param].data, *buf = before->momentum[g->param].data;
    worst all = {.fraction = -1};
#pragma omp parallel num_threads(s->run->threads)
    {
        worst mine = {.fraction = -1};
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i++) force_element(&f, gamma, g, i, p[i], buf != NULL ? buf + i : NULL, &mine);
#pragma omp critical(anx_training_forced)
        {
            const int64_t over = all.over + mine.over;
            if (mine.fraction > all.fraction || (mine.fraction == all.fraction && mine.at < all.at)) all = mine;
            all.over = over;
        }
    }
    anx_judged j = {0};
    anx_status status = begin_row(s, param->name, &j, err);
    if (status != ANX_OK) return status;
    j.n_versus = 1;
    j.versus[0] = comparison_of(ANX_BOUND_UPDATE, ANX_BASIS_TRUTH_COMPUTED, n);
    j.versus[0].over = all.over;
    j.versus[0].worst_fraction = all.fraction;
    j.versus[0].worst_abs = fabs(all.got - all.expected);
    locate(param, all.at, &j.versus[0].worst);
    j.versus[0].worst.got = all.got;
    j.versus[0].worst.expected = all.expected;
    if (all.over > 0)
        status = anx_judged_conclude(&j, ANX_VERDICT_FAIL, err,
                                     "%" PRId64 " of %" PRId64 " elements' %s beyond the bound that their gradients' "
                                     "leaves, worst %.9g instead of %.9g",
                                     all.over, n, all.momentum ? "momentum lies" : "values lie", all.got, all.expected);
    else
        status = anx_judged_conclude(&j, ANX_VERDICT_PASS, err,
                                     "momentum and values within %.2g of the bound that the gradient's leaves",
                                     all.fraction);
    if (status == ANX_OK) status = anx_verdicts_add(s->run->list, &j, err);
    anx_judged_fini(&j);
    return status;
}

/* ---- the trainer's own step ------------------------------------------------------------------------------- */

/* How momentum and values of a step lie beside what SGD makes of its gradient. */
typedef struct own_update {
    int64_t momentum, values; /* elements that are wrong */
    double worst;             /* of the bound, the largest share; 0 or infinite where bits are demanded */
} own_update;

static bool same(float a, float b) {
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

/* The state before, its gradient and what came of them; buf and got_buf: NULL where there is no momentum. */
typedef struct step_values {
    const float *grad, *p, *buf, *got_buf, *got_p; /* (n) each */
    int64_t n;
} step_values;

static own_update compare_bits(const factors *f, const step_values *v, int threads) {
    int64_t momentum = 0, values = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : momentum, values)
    for (int64_t i = 0; i < v->n; i++) {
        float new_buf = 0, new_p;
        update_f32(f, v->grad[i], v->p[i], v->buf != NULL ? v->buf + i : NULL, &new_buf, &new_p);
        momentum += f->has_momentum && (v->got_buf == NULL || !same(v->got_buf[i], new_buf));
        values += !same(v->got_p[i], new_p);
    }
    return (own_update){momentum, values, momentum > 0 || values > 0 ? INFINITY : 0};
}

/* As a share of the bound; more than 1 or infinite: beyond it. Where the right value is not finite, nothing is asked.
 */
static double share_of(double got, double right, double bound) {
    if (!isfinite(right)) return 0;
    const double error = fabs(got - right);
    return error == 0 ? 0 : isfinite(error) ? error / bound : INFINITY;
}

static void bound_element(const factors *f, const step_values *v, int64_t i, double *momentum, double *value) {
    const double g = v->grad[i], p = v->p[i], decay = f->has_decay ? p * f->decay : 0, minus_lr = f->minus_lr;
    const double mu = f->momentum, lr = fabs(minus_lr), least = 0x1p-148;
    const bool goes_on = f->has_momentum && v->buf != NULL;
    const double held = goes_on ? mu * v->buf[i] : 0, kept = goes_on ? f->kept : 1;
    const double buf = held + kept * (g + decay), size = fabs(held) + fabs(kept) * (fabs(g) + fabs(decay));
    const bool nesterov = f->has_momentum && f->nesterov;
    const double d = nesterov ? g + decay + mu * buf : buf;
    const double d_size = nesterov ? fabs(g) + fabs(decay) + mu * size : size;
    *momentum = !f->has_momentum     ? 0
                : v->got_buf == NULL ? INFINITY
                                     : share_of(v->got_buf[i], buf, 4 * u * size + least);
    *value = share_of(v->got_p[i], p + minus_lr * d,
                      lr * (6 * u * d_size + least) + 4 * u * (fabs(p) + lr * d_size) + least);
}

static own_update compare_within(const factors *f, const step_values *v, int threads) {
    int64_t momentum = 0, values = 0;
    double most = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : momentum, values) reduction(max : most)
    for (int64_t i = 0; i < v->n; i++) {
        double of_momentum, of_value;
        bound_element(f, v, i, &of_momentum, &of_value);
        momentum += of_momentum > 1;
        values += of_value > 1;
        most = fmax(most, fmax(of_momentum, of_value));
    }
    return (own_update){momentum, values, most};
}

static anx_status add_own_row(anx_judge_scenario *s, int param, const own_update *m, bool bits, anx_error *err) {
    const anx_param *p = &s->options.graph->params[param];
    anx_judged j = {0};
    char point[160];
    snprintf(point, sizeof point, "%s (SGD)", p->name);
    anx_status status = begin_row(s, point, &j, err);
    if (status != ANX_OK) return status;
    j.n_versus = 1;
    j.versus[0] = comparison_of(bits ? ANX_BOUND_BITS : ANX_BOUND_UPDATE, ANX_BASIS_ARITHMETIC, anx_param_elems(p));
    j.versus[0].over = m->momentum > 0 ? m->momentum : m->values;
    if (bits) j.versus[0].different = j.versus[0].over;
    j.versus[0].worst_fraction = m->worst;
    if (j.versus[0].over > 0)
        status = anx_judged_conclude(&j, ANX_VERDICT_FAIL, err,
                                     "the update: %" PRId64 " of %" PRId64 " elements of the %s are not what SGD makes "
                                     "of the step's own gradients%s",
                                     j.versus[0].over, j.versus[0].elems, m->momentum > 0 ? "momentum" : "values",
                                     bits ? "" : ", in whatever order it rounds");
    else if (bits)
        status = anx_judged_conclude(&j, ANX_VERDICT_PASS, err,
                                     "momentum and values are to the bit what SGD makes of the step's own gradients");
    else
        status = anx_judged_conclude(&j, ANX_VERDICT_PASS, err,
                                     "momentum and values, made by the device itself, are what SGD makes of the step's "
                                     "own gradients, within %.2g of what rounding leaves",
                                     m->worst);
    if (status == ANX_OK) status = anx_verdicts_add(s->run->list, &j, err);
    anx_judged_fini(&j);
    return status;
}

/* Relative norm of the difference of two gradients. */
static double distance(const float *a, const float *b, int64_t n, int threads) {
    double difference = 0, norm = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : difference, norm)
    for (int64_t i = 0; i < n; i++) {
        const double d = (double)a[i] - (double)b[i];
        difference += d * d;
        norm += (double)b[i] * (double)b[i];
    }
    return difference == 0 ? 0 : sqrt(difference / norm);
}

static anx_status read_grad(anx_trainer *trainer, const anx_param *param, int index, anx_tensor *out, anx_error *err) {
    anx_status status = anx_tensor_alloc(ANX_F32, param->rank, param->shape, out, err);
    return status == ANX_OK ? anx_trainer_grad(trainer, index, out, err) : status;
}

/* One parameter of the step: its SGD, and how far its gradient is from the standard's, end to end. */
static anx_status judge_own_param(anx_judge_scenario *s, const anx_trained_values *before, anx_trainer *trainer,
                                  int param, double *apart, anx_error *err) {
    const anx_param *p = &s->options.graph->params[param];
    const int64_t n = anx_param_elems(p);
    const factors f = factors_of(s, s->standard->lr);
    const bool bits = !anx_plan_has_sgd(anx_trainer_plan(trainer));
    anx_tensor grad = ANX_TENSOR_INIT, right = ANX_TENSOR_INIT;
    anx_status status = read_grad(trainer, p, param, &grad, err);
    if (status == ANX_OK) status = read_grad(s->standard->trainer, p, param, &right, err);
    if (status == ANX_OK) status = anx_trainer_fetch(trainer, err);
    if (status == ANX_OK) {
        const anx_tensor *momentum = anx_trainer_momentum(trainer, param);
        const step_values v = {.grad = grad.data,
                               .p = before->params[param].data,
                               .buf = before->momentum[param].data,
                               .got_buf = momentum != NULL ? momentum->data : NULL,
                               .got_p = anx_trainer_params(trainer)[param].data,
                               .n = n};
        const own_update m = bits ? compare_bits(&f, &v, s->run->threads) : compare_within(&f, &v, s->run->threads);
        *apart = distance(grad.data, right.data, n, s->run->threads);
        status = add_own_row(s, param, &m, bits, err);
    }
    anx_tensor_fini(&grad);
    anx_tensor_fini(&right);
    return status;
}

/* End to end nothing is demanded: one winner that rounding turns moves a convolution's gradients by up to a hundredth.
 */
static anx_status add_chain_row(anx_judge_scenario *s, anx_trainer *trainer, double apart, int param, anx_error *err) {
    int64_t flips = 0, windows = 0;
    anx_judged j = {0};
    char input[128];
    snprintf(input, sizeof input, "%s, step %lld", s->scenario->name, (long long)s->standard->step);
    anx_status status = anx_training_count_flips(s, trainer, &flips, &windows, err);
    if (status == ANX_OK)
        status = anx_judged_init(&j, ANX_JUDGED_GRADIENT, ANX_PATH_TRAIN_FREE, "gradients end to end", input,
                                 s->fixture, err);
    if (status != ANX_OK) return status;
    status = anx_judged_conclude(&j, ANX_VERDICT_INFO, err,
                                 "from the same parameters they are at most %.2g apart from PyTorch's (relative norm, "
                                 "'%s'); %" PRId64 " of %" PRId64 " max-pool winners differ, which %s",
                                 apart, s->options.graph->params[param].name, flips, windows,
                                 flips > 0 ? "explains it" : "leaves rounding");
    if (status == ANX_OK) status = anx_verdicts_add(s->run->list, &j, err);
    anx_judged_fini(&j);
    return status;
}

static anx_status add_nonfinite_row(anx_judge_scenario *s, const anx_trainer_result *result, anx_error *err) {
    anx_judged j = {0};
    anx_status status = begin_row(s, "loss", &j, err);
    if (status != ANX_OK) return status;
    status = anx_judged_conclude(&j, ANX_VERDICT_FAIL, err, "the loss is not finite where PyTorch's is: '%s' holds %g",
                                 result->nonfinite.name, (double)result->nonfinite.value);
    if (status == ANX_OK) status = anx_verdicts_add(s->run->list, &j, err);
    anx_judged_fini(&j);
    return status;
}

anx_status anx_judge_training_own_step(anx_judge_scenario *s, const anx_trained_values *before, anx_trainer *trainer,
                                       anx_error *err) {
    const anx_graph *graph = s->options.graph;
    const anx_training_play *standard = s->standard;
    anx_mt19937 gen = standard->before;
    anx_trainer_result result;
    double worst_apart = -1;
    int worst_param = 0;
    anx_trainer_groups(trainer)[0].lr = standard->lr;
    anx_status status = s->options.hooks.step(trainer, &gen, &standard->batch, standard->targets, &result, err);
    if (status == ANX_OK && result.nonfinite.kind != ANX_NONFINITE_NONE) return add_nonfinite_row(s, &result, err);
    for (int i = 0; i < graph->n_params && status == ANX_OK; i++) {
        double apart = 0;
        if (anx_training_is_frozen(s->scenario, graph->params[i].name)) continue;
        status = judge_own_param(s, before, trainer, i, &apart, err);
        if (apart > worst_apart) {
            worst_apart = apart;
            worst_param = i;
        }
    }
    return status == ANX_OK ? add_chain_row(s, trainer, worst_apart, worst_param, err) : status;
}
