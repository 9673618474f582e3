/*
 * Single input channels of a convolution: one left out, or two exchanged. What channel a's weights make of channel b's
 * values, M[a][b], is worked out for a few wrong elements; the error that each such mistake would cause follows.
 */
#include <math.h>
#include <stdlib.h>

#include "parity/diagnose_inside.h"

enum { MAX_CHANNELS = 512, MOST_SAMPLES = 6, FEWEST_SAMPLES = 3 };

/* Wrong elements that show the sum itself: of group 0 of the first of them, and not cut off by a ReLU. */
typedef struct samples {
    int count;
    int64_t at[MOST_SAMPLES];
    double *made; /* (count, channels, channels): M */
    double error[MOST_SAMPLES], tolerance[MOST_SAMPLES];
} samples;

static int64_t group_of(const anx_node *g, int64_t element) {
    const int64_t plane = g->out.dim[1] * g->out.dim[2], oc = element / plane % g->out.dim[0];
    return oc / (g->out.dim[0] / g->conv.groups);
}

static bool shows_the_sum(const anx_suspect *s, int64_t i) {
    return s->node == s->first || (s->got[i] > 0 && s->expected[i] > 0);
}

/* Spread over all wrong elements, so that they differ in place and output channel. */
static void choose(const anx_suspect *s, const anx_node *g, samples *out) {
    const int64_t n = anx_diagnose_elems(s);
    int64_t wrong = 0, group = -1, seen = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!anx_diagnose_is_wrong(s, i) || !shows_the_sum(s, i)) continue;
        if (group < 0) group = group_of(g, i);
        wrong += group_of(g, i) == group;
    }
    for (int64_t i = 0; i < n && out->count < MOST_SAMPLES; i++) {
        if (!anx_diagnose_is_wrong(s, i) || !shows_the_sum(s, i) || group_of(g, i) != group) continue;
        if (seen++ * MOST_SAMPLES < (int64_t)out->count * wrong) continue;
        out->error[out->count] = (double)s->got[i] - s->expected[i];
        out->tolerance[out->count] = 2 * anx_diagnose_tolerance(s, i);
        out->at[out->count++] = i;
    }
}

/* M of one element. */
static void work_out(const anx_suspect *s, const anx_node *g, int64_t element, double *made) {
    const anx_conv2d_params *p = &g->conv;
    const int64_t channels = g->in.dim[0] / p->groups, height = g->in.dim[1], width = g->in.dim[2];
    const int64_t ox = element % g->out.dim[2], oy = element / g->out.dim[2] % g->out.dim[1];
    const int64_t oc = element / (g->out.dim[1] * g->out.dim[2]) % g->out.dim[0];
    const int64_t n = element / (g->out.dim[0] * g->out.dim[1] * g->out.dim[2]);
    const int64_t taps = (int64_t)p->kernel_h * p->kernel_w, first = group_of(g, element) * channels;
    const float *weight = (const float *)s->params[g->weight].data + oc * channels * taps;
    const float *input = s->input + (n * g->in.dim[0] + first) * height * width;
    for (int64_t k = 0; k < channels * channels; k++) made[k] = 0;
    for (int kh = 0; kh < p->kernel_h; kh++)
        for (int kw = 0; kw < p->kernel_w; kw++) {
            const int64_t y = oy * p->stride_h - p->pad_h + kh * p->dilation_h;
            const int64_t x = ox * p->stride_w - p->pad_w + kw * p->dilation_w;
            if (y < 0 || x < 0 || y >= height || x >= width) continue;
            for (int64_t a = 0; a < channels; a++) {
                const double w = weight[a * taps + kh * p->kernel_w + kw];
                for (int64_t b = 0; b < channels; b++)
                    made[a * channels + b] += w * (double)input[(b * height + y) * width + x];
            }
        }
}

/* Does a mistake that changes element k by change(k) explain the errors? */
typedef double change(const double *made, int64_t channels, int64_t a, int64_t b);

static double left_out(const double *made, int64_t channels, int64_t a, int64_t b) {
    (void)b;
    return -made[a * channels + a];
}

static double exchanged(const double *made, int64_t channels, int64_t a, int64_t b) {
    return made[a * channels + b] + made[b * channels + a] - made[a * channels + a] - made[b * channels + b];
}

static bool explains(const samples *t, int64_t channels, change *of, int64_t a, int64_t b) {
    for (int k = 0; k < t->count; k++)
        if (fabs(of(t->made + k * channels * channels, channels, a, b) - t->error[k]) > t->tolerance[k]) return false;
    return true;
}

static anx_status name_mistake(const samples *t, int64_t channels, anx_judged *j, anx_error *err) {
    for (int64_t a = 0; a < channels; a++)
        if (explains(t, channels, left_out, a, a))
            return anx_judged_add_cause(j, "missing-input-channel", 0.95, err,
                                        "input channel %lld left out: explains %d of %d wrong values looked at",
                                        (long long)a, t->count, t->count);
    for (int64_t a = 0; a < channels; a++)
        for (int64_t b = a + 1; b < channels; b++)
            if (explains(t, channels, exchanged, a, b))
                return anx_judged_add_cause(j, "channel-order", 0.95, err,
                                            "input channels %lld and %lld exchanged: explains %d of %d wrong values "
                                            "looked at",
                                            (long long)a, (long long)b, t->count, t->count);
    return ANX_OK;
}

anx_status anx_diagnose_channels(const anx_suspect *s, anx_judged *judged, anx_error *err) {
    const anx_node *g = &s->graph->nodes[s->first];
    if (g->layer->op != ANX_OP_CONV2D || s->input == NULL || s->params == NULL) return ANX_OK;
    const anx_op last = s->graph->nodes[s->node].layer->op;
    if (s->node != s->first && last != ANX_OP_RELU) return ANX_OK;
    const int64_t channels = g->in.dim[0] / g->conv.groups;
    if (channels < 2 || channels > MAX_CHANNELS) return ANX_OK;
    samples t = {.count = 0};
    choose(s, g, &t);
    if (t.count < FEWEST_SAMPLES) return ANX_OK;
    t.made = malloc((size_t)(t.count * channels * channels) * sizeof *t.made);
    if (t.made == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory to look into input channels");
    for (int k = 0; k < t.count; k++) work_out(s, g, t.at[k], t.made + k * channels * channels);
    const anx_status status = name_mistake(&t, channels, judged, err);
    free(t.made);
    return status;
}
