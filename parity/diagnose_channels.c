/*
 * Two input channels in each other's place, or one left out. There are too many pairs to work out every sum anew under
 * each: what channel d's values contribute by channel c's weights is worked out once for each sampled sum, and the pair
 * that explains most of the errors is tried as a hypothesis like any other.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "parity/diagnose_hypothesis.h"

enum { FEWEST_WRONG = 6 };                    /* fewer errors prove no pair out of thousands */
static const int64_t most_products = 1 << 22; /* of one sum: channels squared times the elements of each */

/* One sum's contributions: by_weights[c * n + d] of channel c's weights on channel d's values. */
typedef struct contributions {
    int64_t n;
    double *by_weights;
} contributions;

/* A sampled element whose sum is known: behind a ReLU only what is positive tells it. */
static bool tells_sum(const anx_suspect *s, int64_t i) {
    return anx_diagnose_is_wrong(s, i) && isfinite(s->got[i]) && (s->first == s->node || s->got[i] > 0);
}

/* Is the output what the first node sums, a ReLU or dropout apart? */
static bool shows_sums(const anx_suspect *s) {
    for (int node = s->first + 1; node <= s->node; node++) {
        const anx_op op = s->graph->nodes[node].layer->op;
        if (op != ANX_OP_RELU && op != ANX_OP_DROPOUT) return false;
    }
    const anx_op op = s->graph->nodes[s->first].layer->op;
    return op == ANX_OP_CONV2D || op == ANX_OP_LINEAR;
}

static void contribute_conv(const anx_suspect *s, int64_t flat, int64_t group, contributions *to) {
    const anx_node *g = &s->graph->nodes[s->first];
    const anx_conv2d_params *p = &g->conv;
    const int64_t h = g->in.dim[1], w = g->in.dim[2], ow = g->out.dim[2], plane = g->out.dim[1] * ow;
    const int64_t oc = flat / plane % g->out.dim[0], image = flat / plane / g->out.dim[0];
    const int64_t top = flat / ow % g->out.dim[1] * p->stride_h - p->pad_h, left = flat % ow * p->stride_w - p->pad_w;
    const float *weight = (const float *)s->params[g->weight].data + oc * g->terms;
    const float *input = s->input + (image * g->in.dim[0] + group * to->n) * h * w;
    const int64_t taps = (int64_t)p->kernel_h * p->kernel_w;
    for (int64_t c = 0; c < to->n; c++)
        for (int64_t d = 0; d < to->n; d++) {
            double sum = 0;
            for (int kh = 0; kh < p->kernel_h; kh++)
                for (int kw = 0; kw < p->kernel_w; kw++) {
                    const int64_t y = top + kh * p->dilation_h, x = left + kw * p->dilation_w;
                    if (y < 0 || x < 0 || y >= h || x >= w) continue;
                    sum += (double)weight[c * taps + kh * p->kernel_w + kw] * (double)input[(d * h + y) * w + x];
                }
            to->by_weights[c * to->n + d] = sum;
        }
}

static void contribute_linear(const anx_suspect *s, int64_t flat, int64_t each, contributions *to) {
    const anx_node *g = &s->graph->nodes[s->first];
    const float *weight = (const float *)s->params[g->weight].data + flat % g->out.dim[0] * g->terms;
    const float *input = s->input + flat / g->out.dim[0] * g->terms;
    for (int64_t c = 0; c < to->n; c++)
        for (int64_t d = 0; d < to->n; d++) {
            double sum = 0;
            for (int64_t i = 0; i < each; i++) sum += (double)weight[c * each + i] * (double)input[d * each + i];
            to->by_weights[c * to->n + d] = sum;
        }
}

/* Counts, for each pair c < d exchanged and (on the diagonal) each channel left out, whether that explains the error.
 */
static void count_hits(const anx_suspect *s, int64_t flat, const contributions *k, int *hits) {
    const double off = (double)s->got[flat] - s->expected[flat];
    const double tolerance = fmax(anx_diagnose_tolerance(s, flat), 0.02 * fabs(off));
    const int64_t n = k->n;
    for (int64_t c = 0; c < n; c++) {
        hits[c * n + c] += fabs(-k->by_weights[c * n + c] - off) <= tolerance;
        for (int64_t d = c + 1; d < n; d++) {
            const double change = k->by_weights[c * n + d] + k->by_weights[d * n + c] - k->by_weights[c * n + c] -
                                  k->by_weights[d * n + d];
            hits[c * n + d] += fabs(change - off) <= tolerance;
        }
    }
}

/* The pair (c, d), c = d for one left out, that explains most of the sums. */
static void find_best(const int *hits, int64_t n, int64_t *c, int64_t *d, int *best) {
    *best = 0;
    for (int64_t i = 0; i < n * n; i++)
        if (hits[i] > *best) {
            *best = hits[i];
            *c = i / n;
            *d = i % n;
        }
}

/* The group that the wrong elements lie in; -1 if in more than one. */
static int64_t wrong_group(const anx_suspect *s, const anx_sample *sample) {
    const anx_node *g = &s->graph->nodes[s->first];
    if (g->layer->op != ANX_OP_CONV2D) return 0;
    const int64_t plane = g->out.dim[1] * g->out.dim[2], outs = g->out.dim[0] / g->conv.groups;
    int64_t group = -1;
    for (int k = 0; k < sample->n; k++) {
        if (!anx_diagnose_is_wrong(s, sample->at[k])) continue;
        const int64_t this_one = sample->at[k] / plane % g->out.dim[0] / outs;
        if (group >= 0 && this_one != group) return -1;
        group = this_one;
    }
    return group;
}

anx_status anx_diagnose_search_channels(const anx_suspect *s, const anx_sample *sample, anx_judged *judged,
                                        anx_error *err) {
    if (!shows_sums(s)) return ANX_OK;
    const anx_node *g = &s->graph->nodes[s->first];
    const bool is_conv = g->layer->op == ANX_OP_CONV2D;
    const anx_channels channels = anx_diagnose_channels(s->graph, s->first);
    const int64_t products = is_conv ? (int64_t)g->conv.kernel_h * g->conv.kernel_w : channels.each;
    const int64_t group = wrong_group(s, sample), n = channels.n;
    if (group < 0 || n > 1024 || n * n * products > most_products) return ANX_OK;
    contributions k = {.n = n, .by_weights = malloc((size_t)(n * n) * sizeof *k.by_weights)};
    int *hits = calloc((size_t)(n * n), sizeof *hits);
    anx_status status = ANX_OK;
    if (k.by_weights == NULL || hits == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the diagnosis");
        goto out;
    }
    int told = 0, best = 0;
    for (int i = 0; i < sample->n; i++) {
        if (!tells_sum(s, sample->at[i])) continue;
        told++;
        if (is_conv)
            contribute_conv(s, sample->at[i], group, &k);
        else
            contribute_linear(s, sample->at[i], channels.each, &k);
        count_hits(s, sample->at[i], &k, hits);
    }
    int64_t c = 0, d = 0;
    find_best(hits, n, &c, &d, &best);
    if (told < FEWEST_WRONG || best * 10 < told * 9) goto out;
    c += group * n;
    d += group * n;
    char text[128];
    anx_hypothesis h = {.text = text};
    if (c == d) {
        h.id = "missing-channel";
        h.missing_end = c + 1;
        snprintf(text, sizeof text, "input channel %lld left out", (long long)c);
    } else {
        h.id = "channel-order";
        h.swapped[0] = c;
        h.swapped[1] = d;
        snprintf(text, sizeof text, "input channels %lld and %lld exchanged", (long long)c, (long long)d);
    }
    status = anx_diagnose_try(s, &h, sample, judged, err);
out:
    free(k.by_weights);
    free(hits);
    return status;
}
