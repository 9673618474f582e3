/*
 * A sample of the elements worked out anew under one hypothesis after another: a hypothesis fits where it gives what
 * the engine gave, at the wrong elements as well as at the right ones.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parity/diagnose_hypothesis.h"

/* ---- operands rounded to fewer bits ---- */

static float bf16_nearest(float v) {
    return anx_bf16_to_f32(anx_f32_to_bf16(v));
}

static float f16_nearest(float v) {
    return anx_f16_to_f32(anx_f32_to_f16(v));
}

static float keep_bits(float v, int dropped, bool nearest) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    if (nearest) bits += (1U << (dropped - 1)) - 1 + ((bits >> dropped) & 1);
    bits &= ~((1U << dropped) - 1);
    memcpy(&v, &bits, sizeof v);
    return v;
}

static float tf32_nearest(float v) {
    return keep_bits(v, 13, true);
}

static float tf32_truncated(float v) {
    return keep_bits(v, 13, false);
}

static float bf16_truncated(float v) {
    return keep_bits(v, 16, false);
}

/* ---- hypotheses ---- */

static const anx_hypothesis hypotheses[] = {
    {.id = "reduced-precision-tf32",
     .text = "both operands rounded to TF32 (11 bits)",
     .input = tf32_nearest,
     .weight = tf32_nearest},
    {.id = "reduced-precision-tf32",
     .text = "both operands truncated to TF32 (11 bits)",
     .input = tf32_truncated,
     .weight = tf32_truncated},
    {.id = "reduced-precision-fp16",
     .text = "both operands rounded to float16 (11 bits)",
     .input = f16_nearest,
     .weight = f16_nearest},
    {.id = "reduced-precision-bf16",
     .text = "both operands rounded to bfloat16 (8 bits)",
     .input = bf16_nearest,
     .weight = bf16_nearest},
    {.id = "reduced-precision-bf16",
     .text = "both operands truncated to bfloat16 (8 bits)",
     .input = bf16_truncated,
     .weight = bf16_truncated},
    {.id = "reduced-precision-tf32", .text = "inputs rounded to TF32 (11 bits)", .input = tf32_nearest},
    {.id = "reduced-precision-fp16", .text = "inputs rounded to float16 (11 bits)", .input = f16_nearest},
    {.id = "reduced-precision-bf16", .text = "inputs rounded to bfloat16 (8 bits)", .input = bf16_nearest},
    {.id = "reduced-precision-tf32", .text = "weights rounded to TF32 (11 bits)", .weight = tf32_nearest},
    {.id = "reduced-precision-fp16", .text = "weights rounded to float16 (11 bits)", .weight = f16_nearest},
    {.id = "reduced-precision-bf16", .text = "weights rounded to bfloat16 (8 bits)", .weight = bf16_nearest},
    {.id = "reduced-precision-int8",
     .text = "weights in 8 bits, one scale for all (largest / 127)",
     .int8_levels = 127},
    {.id = "reduced-precision-int8",
     .text = "weights in 8 bits, one scale for all (largest / 127.5)",
     .int8_levels = 127.5},
    {.id = "reduced-precision-int8",
     .text = "weights in 8 bits, one scale for all (largest / 128)",
     .int8_levels = 128},
    {.id = "reduced-precision-int8",
     .text = "weights in 8 bits, a scale for each output (largest / 127)",
     .int8_levels = 127,
     .int8_per_output = true},
    {.id = "reduced-precision-int8",
     .text = "weights in 8 bits, a scale for each output (largest / 127.5)",
     .int8_levels = 127.5,
     .int8_per_output = true},
    {.id = "reduced-precision-int8",
     .text = "weights in 8 bits, a scale for each output (largest / 128)",
     .int8_levels = 128,
     .int8_per_output = true},
    {.id = "missing-bias", .text = "no bias added", .bias_change = -1},
    {.id = "bias-twice", .text = "the bias added twice", .bias_change = 1},
    {.id = "shifted-bias", .text = "each output given the next one's bias", .bias_shift = 1},
    {.id = "shifted-bias", .text = "each output given the bias of the one before", .bias_shift = -1},
    {.id = "padding", .text = "the input read one column to the right", .shift_x = 1},
    {.id = "padding", .text = "the input read one column to the left", .shift_x = -1},
    {.id = "padding", .text = "the input read one row further down", .shift_y = 1},
    {.id = "padding", .text = "the input read one row further up", .shift_y = -1},
    {.id = "padding",
     .text = "the input read one row and column further (padding off by one)",
     .shift_y = 1,
     .shift_x = 1},
    {.id = "padding",
     .text = "the input read one row and column before (padding off by one)",
     .shift_y = -1,
     .shift_x = -1},
    {.id = "padding", .text = "the border repeated instead of zeros", .replicate = true},
    {.id = "kernel-flipped",
     .text = "the kernel turned by 180 degrees (convolution for correlation)",
     .kernel = KERNEL_FLIPPED},
    {.id = "kernel-transposed", .text = "the kernel's rows and columns exchanged", .kernel = KERNEL_TRANSPOSED},
    {.id = "channel-order", .text = "the input's channels in reverse order (BGR for RGB)", .channels_reversed = true},
    {.id = "channel-order", .text = "each input channel taken for the one before", .channels_turned = 1},
    {.id = "channel-order", .text = "each input channel taken for the next one", .channels_turned = -1},
    {.id = "groups", .text = "each group reads the next one's channels", .groups = GROUPS_NEXT},
    {.id = "groups", .text = "each group reads the channels of the one before", .groups = GROUPS_BEFORE},
    {.id = "groups", .text = "every group reads the first one's channels", .groups = GROUPS_FIRST},
    {.id = "groups",
     .text = "the groups' input channels taken in turns instead of in blocks",
     .groups = GROUPS_INPUTS_WOVEN},
    {.id = "groups",
     .text = "the outputs dealt out to the groups in turns instead of in blocks",
     .groups = GROUPS_OUTPUTS_WOVEN},
    {.id = "flatten-order", .text = "the input flattened in (H, W, C) order", .channels_last_input = true},
    {.id = "output-order", .text = "each output computed with the next one's weights", .next_weights = true},
    {.id = "weights-transposed", .text = "the weights read as (in, out) rather than (out, in)", .weights_in_out = true},
    {.id = "skipped-relu", .text = "the ReLU left out", .skip_relu = true},
    {.id = "skipped-relu", .text = "a leaky ReLU (slope 0.01)", .leak = 0.01},
    {.id = "stride", .text = "a stride of one more", .stride_change = 1},
    {.id = "stride", .text = "a stride of one less", .stride_change = -1},
    {.id = "dilation", .text = "a dilation of one more", .dilation_change = 1},
    {.id = "dilation", .text = "a dilation of one less", .dilation_change = -1},
    {.id = "window", .text = "a window of one row and column less", .window_change = -1},
    {.id = "window", .text = "a window of one row and column more", .window_change = 1},
    {.id = "adaptive-window",
     .text = "windows that end at floor((i + 1) H / OH), where PyTorch rounds up",
     .windows = WINDOWS_END_EARLY},
    {.id = "adaptive-window",
     .text = "windows of one size and stride, where PyTorch's adapt",
     .windows = WINDOWS_OF_ONE_SIZE},
    {.id = "pooling-kind", .text = "the average of the window instead of its maximum", .average = true},
};

/* ---- the sample ---- */

enum { EARLY = 16 };

/* Half of it wrong elements, spread evenly over all wrong ones; the rest spread over all. */
static anx_sample choose_sample(const anx_suspect *s) {
    const int64_t n = anx_diagnose_elems(s);
    int64_t wrong = 0, seen = 0;
    anx_sample sample = {.n = 0};
    for (int64_t i = 0; i < n; i++) wrong += anx_diagnose_is_wrong(s, i);
    for (int64_t i = 0; i < n && sample.n < ANX_SAMPLE / 2; i++) {
        if (!anx_diagnose_is_wrong(s, i)) continue;
        if (seen * (ANX_SAMPLE / 2) >= (int64_t)sample.n * wrong) sample.at[sample.n++] = i;
        seen++;
    }
    for (int k = 0; k < ANX_SAMPLE / 2 && n >= ANX_SAMPLE; k++) sample.at[sample.n++] = (2 * k + 1) * n / ANX_SAMPLE;
    return sample;
}

/*
 * The hypothesis must come much nearer to what the engine gave than the right value does (or, at right elements, must
 * not contradict).
 */
double anx_diagnose_explains(const anx_suspect *s, const anx_hypothesis *h, const anx_sample *sample) {
    int hits = 0, wrong = 0, wrong_hits = 0;
    for (int k = 0; k < sample->n; k++) {
        const int64_t i = sample->at[k];
        const double value = anx_diagnose_evaluate(s, h, i);
        const double off = fabs(s->got[i] - s->expected[i]), left = fabs(s->got[i] - value);
        const bool is_wrong = anx_diagnose_is_wrong(s, i);
        const bool nearer = isfinite(off) && left <= 0.1 * off;
        const bool hit = anx_diagnose_is_got(s, i, value) || (is_wrong && nearer);
        wrong += is_wrong;
        wrong_hits += is_wrong && hit;
        hits += hit;
        if (k + 1 == EARLY && wrong_hits * 2 < wrong) return 0;
    }
    return wrong == 0 ? 0 : fmin((double)hits / sample->n, (double)wrong_hits / wrong);
}

anx_status anx_diagnose_try(const anx_suspect *s, const anx_hypothesis *h, const anx_sample *sample, anx_judged *judged,
                            anx_error *err) {
    const double share = anx_diagnose_explains(s, h, sample);
    if (share < 0.85) return ANX_OK;
    return anx_judged_add_cause(judged, h->id, share, err, "%s: gives %.3g %% of %d sampled values as the engine did",
                                h->text, 100 * share, sample->n);
}

/* The largest of the suspect's weights; 0 where it has none. */
static double largest_weight(const anx_suspect *s) {
    const int weight = s->graph->nodes[s->first].weight;
    double largest = 0;
    if (weight == ANX_NO_PARAM) return 0;
    const float *w = s->params[weight].data;
    const int64_t n = anx_tensor_elems(&s->params[weight]);
    for (int64_t i = 0; i < n; i++) {
        const double magnitude = fabs((double)w[i]);
        if (magnitude > largest) largest = magnitude;
    }
    return largest;
}

static bool rounds_operands(const anx_hypothesis *h) {
    return h->input != NULL || h->weight != NULL || h->int8_levels > 0;
}

/* Operands of 11 bits, where the engine may have such (float16's, within its range, are the same numbers). */
static bool is_allowed(const anx_suspect *s, const anx_hypothesis *h) {
    return s->math != ANX_MATH_FLOAT32 &&
           (strcmp(h->id, "reduced-precision-tf32") == 0 || strcmp(h->id, "reduced-precision-fp16") == 0);
}

/* Does the hypothesis say anything of this node? */
static bool applies(const anx_suspect *s, const anx_hypothesis *h) {
    const anx_node *n = &s->graph->nodes[s->first];
    if (is_allowed(s, h)) return false;
    const bool is_conv = n->layer->op == ANX_OP_CONV2D;
    if (h->groups != GROUPS_RIGHT && (!is_conv || n->conv.groups < 2)) return false;
    if (h->groups == GROUPS_BEFORE && n->conv.groups == 2) return false; /* the next one is the one before */
    if (h->dilation_change != 0 && !is_conv) return false;
    return h->int8_levels <= 0 || n->weight != ANX_NO_PARAM;
}

anx_status anx_diagnose_recompute(const anx_suspect *s, bool rounded, anx_judged *judged, anx_error *err) {
    if (!anx_diagnose_can_evaluate(s)) return ANX_OK;
    const anx_sample sample = choose_sample(s);
    const double largest = largest_weight(s);
    anx_status status = ANX_OK;
    for (size_t k = 0; status == ANX_OK && k < sizeof hypotheses / sizeof *hypotheses; k++) {
        anx_hypothesis h = hypotheses[k];
        if (h.int8_levels > 0 && !h.int8_per_output) h.int8_step = largest / h.int8_levels;
        if (applies(s, &h) && (!rounded || rounds_operands(&h))) status = anx_diagnose_try(s, &h, &sample, judged, err);
    }
    if (status != ANX_OK || rounded || (judged->n_causes > 0 && judged->causes[0].weight >= 0.99)) return status;
    return anx_diagnose_search_channels(s, &sample, judged, err); /* only where nothing simpler explains it all */
}
