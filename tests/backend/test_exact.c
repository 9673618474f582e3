/*
 * The exact backend beyond what conformance asks of every backend: the order of its sums, term by term, and the same
 * bits from every instruction set, thread count, batch size and mode. That the order is PyTorch's, exact_judge.py
 * shows.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/backend/backend.h"
#include "tests/support/anx_test.h"
#include "tests/support/layer_rows.h"

static const char *const isas[] = {"avx512", "avx2", "portable"};
enum { N_ISAS = 3, MAX_PARAMS = 24, MAX_NODES = 24 };

/* ---- networks ------------------------------------------------------------------------------------------- */

/* Each way the kernels go: 3 channels with stride 4, odd channels, one block left over, groups of 16, depthwise, gemm.
 */
static const anx_layer tower_layers[] = {
    CONV("c1", 40, 11, 11, 4, 4, 2, 2, 1, 1, 1),
    RELU("r1"),
    POOL("p1", 3, 3, 2, 2, 0, 0, false),
    CONV("c2", 64, 5, 5, 1, 1, 2, 2, 1, 1, 1),
    RELU("r2"),
    CONV("c3", 96, 3, 3, 1, 1, 1, 1, 1, 1, 2),
    CONV("c4", 22, 3, 3, 1, 1, 2, 2, 2, 2, 1),
    CONV("c5", 22, 3, 3, 2, 2, 1, 1, 1, 1, 22),
    RELU("r5"),
    CONV("c6", 26, 3, 3, 1, 1, 1, 1, 1, 1, 2),
    POOL("p6", 3, 2, 2, 1, 1, 1, true),
    AVERAGE("a", 5, 3),
    FLATTEN,
    DROPOUT("d"),
    LINEAR("l1", 450),
    RELU("r7"),
    LINEAR("l2", 35),
    LINEAR("l3", ANX_NUM_CLASSES),
    SOFTMAX,
};
static const anx_arch tower = {.name = "tower",
                               .in_channels = 3,
                               .default_size = 95,
                               .min_size = 1,
                               .default_classes = 7,
                               .logits = "l3",
                               .layers = tower_layers,
                               .n_layers = sizeof tower_layers / sizeof tower_layers[0],
                               .internal = true};

static uint64_t random_state = 1;

static uint32_t random_u32(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}

/* Uniform in [-1, 1), times 2^-range .. 2^range. */
static float random_float(int range) {
    const float f = (float)(int32_t)random_u32() * 0x1p-31f;
    return range == 0 ? f : ldexpf(f, (int)(random_u32() % (uint32_t)(2 * range + 1)) - range);
}

static float *random_floats(int64_t n, int range) {
    float *p = malloc((size_t)n * sizeof *p);
    if (p == NULL) abort();
    for (int64_t i = 0; i < n; i++) p[i] = random_float(range);
    return p;
}

typedef struct network {
    anx_graph *graph;
    int64_t batch;
    anx_tensor params[MAX_PARAMS];
    anx_tensor input;
} network;

static void network_init(network *net, const anx_arch *arch, int64_t height, int64_t width, int64_t batch, int range) {
    anx_error err = ANX_ERROR_INIT;
    *net = (network){.batch = batch};
    ANX_CHECK_OK(anx_graph_create(arch, 0, height, width, &net->graph, &err), &err);
    CU_ASSERT_TRUE_FATAL(net->graph != NULL && net->graph->n_params <= MAX_PARAMS && net->graph->n_nodes <= MAX_NODES);
    for (int i = 0; i < net->graph->n_params; i++) {
        const anx_param *p = &net->graph->params[i];
        int64_t elems = 0;
        anx_shape_elems(p->rank, p->shape, &elems);
        float *data = random_floats(elems, range);
        for (int64_t j = 0; j < elems; j++) data[j] *= 2.0f / sqrtf((float)p->fan_in);
        net->params[i] = anx_tensor_view(ANX_F32, p->rank, p->shape, data);
        net->params[i].owned = data;
    }
    int64_t shape[4], elems = 0;
    const int rank = anx_graph_node_shape(net->graph, ANX_NODE_INPUT, batch, shape);
    anx_shape_elems(rank, shape, &elems);
    float *data = random_floats(elems, range);
    net->input = anx_tensor_view(ANX_F32, rank, shape, data);
    net->input.owned = data;
}

static void network_fini(network *net) {
    for (int i = 0; i < net->graph->n_params; i++) free(net->params[i].owned);
    free(net->input.owned);
    anx_graph_destroy(net->graph);
}

/* Overwrites about one in `every` elements with a value that arithmetic treats in its own way. */
static void sprinkle(const anx_tensor *t, uint32_t every) {
    const float special[] = {0.0f, -0.0f, 1e-42f, -1e-42f, 3e38f, -3e38f, INFINITY, -INFINITY, NAN};
    float *data = t->data;
    for (int64_t i = 0; i < anx_tensor_elems(t); i++)
        if (random_u32() % every == 0) data[i] = special[random_u32() % (sizeof special / sizeof special[0])];
}

/* What a run shows: the output of every group. */
typedef struct outcome {
    anx_tensor values[MAX_NODES]; /* data NULL where a value cannot be read */
    int n_values;
} outcome;

static void run(const network *net, const char *isa, int threads, anx_plan_mode mode, outcome *out) {
    anx_error err = ANX_ERROR_INIT;
    anx_device *device = NULL;
    anx_plan *plan = NULL;
    *out = (outcome){.n_values = net->graph->n_nodes};
    setenv("ANX_ISA", isa, 1);
    ANX_CHECK_OK(anx_device_open("exact", &(anx_device_options){.threads = threads}, &device, &err), &err);
    unsetenv("ANX_ISA");
    const anx_plan_desc desc = {.graph = net->graph,
                                .batch = net->batch,
                                .mode = mode,
                                .params = net->params,
                                .n_params = net->graph->n_params};
    ANX_CHECK_OK(anx_plan_create(device, &desc, &plan, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(plan);
    ANX_CHECK_OK(anx_plan_write(plan, anx_value_output(ANX_NODE_INPUT), &net->input, &err), &err);
    for (int g = 0; g < anx_plan_group_count(plan); g++) { /* what infer keeps, it keeps until the next group */
        const anx_group *group = anx_plan_group(plan, g);
        const int node = group->nodes[group->n_nodes - 1];
        int64_t shape[4];
        const int rank = anx_plan_value_shape(plan, anx_value_output(node), shape);
        ANX_CHECK_OK(anx_plan_run_groups(plan, g, 1, &err), &err);
        ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, rank, shape, &out->values[node], &err), &err);
        ANX_CHECK_OK(anx_plan_read(plan, anx_value_output(node), &out->values[node], &err), &err);
    }
    anx_plan_destroy(plan);
    anx_device_close(device);
}

static void outcome_fini(outcome *o) {
    for (int i = 0; i < o->n_values; i++) anx_tensor_fini(&o->values[i]);
}

static uint32_t bits_of(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return isnan(f) ? 0x7FC00000u : bits; /* which NaN an instruction passes on is not promised */
}

/* The first `elems` of both have the same bits; says where they do not. */
static void expect_same(const char *what, const char *layer, const float *a, const float *b, int64_t elems) {
    for (int64_t i = 0; i < elems; i++) {
        if (bits_of(a[i]) == bits_of(b[i])) continue;
        fprintf(stderr, "%s: %s: element %lld is %a and %a\n", what, layer, (long long)i, (double)a[i], (double)b[i]);
        CU_FAIL("bits differ");
        return;
    }
    CU_PASS("bits agree");
}

/* What both can read agrees; of images, those of the smaller batch. */
static void expect_same_outcome(const char *what, const network *net, const outcome *a, const outcome *b) {
    int compared = 0;
    for (int i = 0; i < a->n_values; i++) {
        const anx_tensor *x = &a->values[i], *y = &b->values[i];
        if (x->data == NULL || y->data == NULL) continue;
        const int64_t n = anx_tensor_elems(x) < anx_tensor_elems(y) ? anx_tensor_elems(x) : anx_tensor_elems(y);
        expect_same(what, net->graph->nodes[i].layer->name, x->data, y->data, n);
        compared++;
    }
    CU_ASSERT_TRUE(compared > 3);
}

/* ---- the same bits everywhere --------------------------------------------------------------------------- */

static bool runs_here(const char *isa) {
    anx_device *device = NULL;
    anx_device_info info = {0};
    setenv("ANX_ISA", isa, 1);
    const bool opened = anx_device_open("exact", NULL, &device, NULL) == ANX_OK;
    unsetenv("ANX_ISA");
    if (!opened) return false;
    anx_device_describe(device, &info);
    const char *name = strcmp(isa, "avx512") == 0 ? "AVX-512" : strcmp(isa, "avx2") == 0 ? "AVX2, FMA" : "portable";
    const bool same = strcmp(info.isa, name) == 0;
    CU_ASSERT_TRUE(info.pytorch_bits);
    anx_device_close(device);
    return same;
}

static void compare_isas(const network *net, anx_plan_mode mode) {
    outcome portable, other;
    run(net, "portable", 2, mode, &portable);
    for (int i = 0; i < N_ISAS - 1; i++) {
        if (!runs_here(isas[i])) {
            fprintf(stderr, "not compared: this machine has no %s\n", isas[i]);
            continue;
        }
        run(net, isas[i], 2, mode, &other);
        expect_same_outcome(isas[i], net, &portable, &other);
        outcome_fini(&other);
    }
    outcome_fini(&portable);
}

static void test_instruction_sets_agree(void) {
    CU_ASSERT_TRUE(runs_here("portable"));
    for (int range = 0; range <= 40; range += 20) { /* 40: sums overflow and underflow on their way */
        network net;
        network_init(&net, &tower, 95, 87, 3, range);
        compare_isas(&net, ANX_PLAN_OBSERVE);
        compare_isas(&net, ANX_PLAN_INFER);
        network_fini(&net);
        network_init(&net, anx_arch_find("narrow"), 33, 41, 2, range);
        compare_isas(&net, ANX_PLAN_OBSERVE);
        network_fini(&net);
    }
}

static void test_instruction_sets_agree_on_special_values(void) {
    for (int i = 0; i < 4; i++) {
        network net;
        network_init(&net, &tower, 95, 95, 2, 0);
        /* In the input; in a layer's weights (at its edges too); in biases, -0 among them. */
        if (i == 0) sprinkle(&net.input, 5000);
        for (int p = 0; i > 0 && p < net.graph->n_params; p++)
            if (net.graph->params[p].is_bias == (i > 1)) sprinkle(&net.params[p], i == 1 ? 10000 : 3);
        if (i == 3)
            for (int64_t j = 0; j < anx_tensor_elems(&net.input); j++) ((float *)net.input.data)[j] *= 1e-36f;
        compare_isas(&net, ANX_PLAN_OBSERVE);
        network_fini(&net);
    }
}

static void test_threads_batch_and_mode_change_nothing(void) {
    network net;
    network_init(&net, &tower, 95, 87, 5, 4);
    outcome whole, other;
    run(&net, "", 1, ANX_PLAN_OBSERVE, &whole);
    for (int threads = 2; threads <= 3; threads++) {
        run(&net, "", threads, ANX_PLAN_OBSERVE, &other);
        expect_same_outcome("threads", &net, &whole, &other);
        outcome_fini(&other);
    }
    run(&net, "", 2, ANX_PLAN_INFER, &other);
    expect_same_outcome("infer", &net, &whole, &other);
    outcome_fini(&other);
    const int64_t all = net.batch;
    for (int64_t batch = 1; batch < all; batch++) { /* the first images alone */
        net.batch = net.input.shape[0] = batch;
        run(&net, "", 2, batch % 2 == 1 ? ANX_PLAN_INFER : ANX_PLAN_OBSERVE, &other);
        expect_same_outcome("batch", &net, &whole, &other);
        outcome_fini(&other);
    }
    outcome_fini(&whole);
    network_fini(&net);
}

/* ---- the order ------------------------------------------------------------------------------------------ */

/* t = bias; for each block of 16 channels: a chain over kh, kw, c; t += chain. Written down once more, plainly. */
static float conv_in_order(const network *net, const float *x, int64_t oc, int64_t oh, int64_t ow) {
    const anx_node *node = &net->graph->nodes[0];
    const anx_conv2d_params *p = &node->conv;
    const int64_t channels = node->in.dim[0], height = node->in.dim[1], width = node->in.dim[2];
    const float *w = net->params[0].data, *b = net->params[1].data;
    float t = b[oc];
    for (int64_t first = 0; first < channels; first += 16) {
        float chain = 0.0f;
        for (int64_t kh = 0; kh < p->kernel_h; kh++)
            for (int64_t kw = 0; kw < p->kernel_w; kw++)
                for (int64_t c = first; c < first + 16 && c < channels; c++) {
                    const int64_t ih = oh * p->stride_h - p->pad_h + kh, iw = ow * p->stride_w - p->pad_w + kw;
                    if (ih < 0 || ih >= height || iw < 0 || iw >= width) continue;
                    chain = fmaf(x[(c * height + ih) * width + iw],
                                 w[((oc * channels + c) * p->kernel_h + kh) * p->kernel_w + kw], chain);
                }
        t += chain;
    }
    return t;
}

typedef enum conv_data { ORDINARY, SPECIAL_WEIGHTS, UNDERFLOW } conv_data;

/* Where a tap in the padding that is multiplied by zero, not skipped, would show: 0 * Inf, and -0 + 0. */
static void make_padding_show(network *net, conv_data data) {
    if (data == SPECIAL_WEIGHTS) sprinkle(&net->params[0], 300);
    if (data != UNDERFLOW) return;
    for (int64_t i = 0; i < anx_tensor_elems(&net->params[0]); i++) ((float *)net->params[0].data)[i] *= 0x1p-100f;
    for (int64_t i = 0; i < anx_tensor_elems(&net->input); i++) ((float *)net->input.data)[i] *= 0x1p-60f;
    for (int64_t i = 0; i < anx_tensor_elems(&net->params[1]); i++) ((float *)net->params[1].data)[i] = -0.0f;
}

static void check_conv_order(int channels, const anx_layer *layer, int64_t size, conv_data data) {
    const anx_arch arch = {.name = "conv",
                           .in_channels = channels,
                           .default_size = 8,
                           .min_size = 1,
                           .default_classes = 1,
                           .logits = layer->name,
                           .layers = layer,
                           .n_layers = 1,
                           .internal = true};
    network net;
    network_init(&net, &arch, size, size + 3, 2, 3);
    make_padding_show(&net, data);
    outcome got;
    run(&net, "", 2, ANX_PLAN_OBSERVE, &got);
    const anx_extent *out = &net.graph->nodes[0].out;
    float *expected = malloc(anx_tensor_bytes(&got.values[0]));
    if (expected == NULL) abort();
    int64_t i = 0;
    for (int64_t n = 0; n < net.batch; n++)
        for (int64_t oc = 0; oc < out->dim[0]; oc++)
            for (int64_t oh = 0; oh < out->dim[1]; oh++)
                for (int64_t ow = 0; ow < out->dim[2]; ow++)
                    expected[i++] = conv_in_order(
                        &net, (const float *)net.input.data + n * anx_graph_node_elems(net.graph, ANX_NODE_INPUT), oc,
                        oh, ow);
    expect_same("conv", layer->name, expected, got.values[0].data, i);
    free(expected);
    outcome_fini(&got);
    network_fini(&net);
}

static void test_convolutions_sum_in_blocks_of_sixteen_channels(void) {
    const anx_layer layers[] = {
        CONV("three channels, stride 4", 64, 11, 11, 4, 4, 2, 2, 1, 1, 1),
        CONV("5x5, padding 2", 48, 5, 5, 1, 1, 2, 2, 1, 1, 1),
        CONV("3x3, odd outputs", 21, 3, 3, 1, 1, 1, 1, 1, 1, 1),
        CONV("stride 2 and 3", 32, 3, 5, 2, 3, 1, 2, 1, 1, 1),
    };
    const int channels[] = {3, 1, 16, 24, 40};
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++)
        for (size_t c = 0; c < sizeof channels / sizeof channels[0]; c++)
            check_conv_order(channels[c], &layers[i], 29, ORDINARY);
}

static void test_padding_is_skipped(void) {
    const anx_layer layers[] = {CONV("11x11, stride 4", 32, 11, 11, 4, 4, 2, 2, 1, 1, 1),
                                CONV("5x5", 48, 5, 5, 1, 1, 2, 2, 1, 1, 1),
                                CONV("3x3, padding 2", 16, 3, 3, 1, 1, 2, 2, 1, 1, 1)};
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++)
        for (conv_data data = SPECIAL_WEIGHTS; data <= UNDERFLOW; data++)
            for (int channels = 3; channels < 20; channels += 13) check_conv_order(channels, &layers[i], 13, data);
}

static float linear_in_order(const float *x, const float *w, float bias, int64_t in) {
    const int64_t block = in > 192 && in < 384 ? in / 2 : 192;
    float t = bias;
    for (int64_t first = 0; first < in; first += block) {
        float chain = 0.0f;
        for (int64_t k = first; k < first + block && k < in; k++) chain = fmaf(x[k], w[k], chain);
        t += chain;
    }
    return t;
}

/* Products rounded, then added: fours of outputs in 4 lanes, the rest in 8. */
static float linear_in_lanes(const float *x, const float *w, float bias, int64_t in, int64_t lanes) {
    float sum[8] = {0};
    int64_t k = 0;
    for (; k < in / lanes * lanes; k++) sum[k % lanes] = sum[k % lanes] + x[k] * w[k];
    float t = lanes == 8 ? ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]))
                         : (sum[0] + sum[2]) + (sum[1] + sum[3]);
    for (; k < in; k++) t = t + x[k] * w[k];
    return bias + t;
}

static void check_linear_order(int64_t in, int64_t out, int64_t batch) {
    const anx_layer layers[] = {FLATTEN, LINEAR("linear", ANX_NUM_CLASSES)};
    const anx_arch arch = {.name = "linear",
                           .in_channels = (int)in,
                           .default_size = 1,
                           .min_size = 1,
                           .default_classes = (int)out,
                           .logits = "linear",
                           .layers = layers,
                           .n_layers = 2,
                           .internal = true};
    network net;
    network_init(&net, &arch, 1, 1, batch, 3);
    outcome got;
    run(&net, "", 2, ANX_PLAN_OBSERVE, &got);
    float *expected = malloc(anx_tensor_bytes(&got.values[1]));
    if (expected == NULL) abort();
    for (int64_t n = 0; n < batch; n++)
        for (int64_t o = 0; o < out; o++) {
            const float *x = (const float *)net.input.data + n * in, *w = (const float *)net.params[0].data + o * in;
            const float bias = ((const float *)net.params[1].data)[o];
            expected[n * out + o] =
                out >= 12 ? linear_in_order(x, w, bias, in) : linear_in_lanes(x, w, bias, in, o < out / 4 * 4 ? 4 : 8);
        }
    char what[64];
    snprintf(what, sizeof what, "linear, %d to %d, batch %d", (int)in, (int)out, (int)batch);
    expect_same(what, "linear", expected, got.values[1].data, batch * out);
    free(expected);
    outcome_fini(&got);
    network_fini(&net);
}

static void test_linear_layers_sum_in_blocks_of_192_inputs(void) {
    const int64_t inputs[] = {1, 5, 191, 192, 193, 200, 383, 384, 385, 1000};
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++)
        for (int64_t out = 12; out < 80; out += 13) check_linear_order(inputs[i], out, 1 + out % 17);
}

static void test_small_heads_sum_in_lanes(void) {
    for (int64_t in = 60; in < 70; in++)
        for (int64_t out = 2; out < 12; out++) check_linear_order(in, out, 3);
}

/* ---- fused multiply-add --------------------------------------------------------------------------------- */

static float random_bits(void) {
    const uint32_t bits = random_u32();
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/*
 * Pairs (x, c) against weights w such that x*w + c falls on or near the middle between two floats, cancels, or is
 * subnormal: where rounding twice would show.
 */
static void pick_terms(int kind, float w, float *x, float *c) {
    *x = random_bits();
    *c = random_bits();
    if (kind == 1) { /* far apart: c decides by its sign alone */
        *x = ldexpf(1.0f + (float)(random_u32() % 4096) * 0x1p-12f, 0);
        *c = ldexpf(random_float(0), -60 + (int)(random_u32() % 70));
    } else if (kind == 2) { /* the product cancels c but for its low half */
        *x = random_float(4);
        *c = -(*x * w);
    } else if (kind == 3) { /* subnormal results */
        *x = ldexpf(random_float(0), -100);
        *c = ldexpf(random_float(0), -140 + (int)(random_u32() % 16));
    }
}

static void test_every_fma_rounds_once(void) {
    enum { OUT = 48, BATCH = 4096 };
    const anx_layer layers[] = {FLATTEN, LINEAR("linear", OUT)};
    const anx_arch arch = {.name = "fma",
                           .in_channels = 2,
                           .default_size = 1,
                           .min_size = 1,
                           .default_classes = OUT,
                           .logits = "linear",
                           .layers = layers,
                           .n_layers = 2,
                           .internal = true};
    for (int kind = 0; kind < 4; kind++) {
        network net;
        network_init(&net, &arch, 1, 1, BATCH, 0);
        float *x = net.input.data, *w = net.params[0].data, *b = net.params[1].data;
        for (int64_t o = 0; o < OUT; o++) { /* y = fma(x1, w1, fma(x0, 1, 0)) + -0 */
            b[o] = -0.0f;
            w[2 * o] = 1.0f;
            w[2 * o + 1] = kind == 0   ? random_bits()
                           : kind == 1 ? 1.0f + (float)(random_u32() % 4096) * 0x1p-12f
                           : kind == 3 ? ldexpf(random_float(0), -30)
                                       : random_float(2);
        }
        for (int64_t n = 0; n < BATCH; n++) pick_terms(kind, w[2 * (n % OUT) + 1], &x[2 * n + 1], &x[2 * n]);
        float *expected = malloc((size_t)BATCH * OUT * sizeof *expected);
        if (expected == NULL) abort();
        for (int64_t n = 0; n < BATCH; n++)
            for (int64_t o = 0; o < OUT; o++)
                expected[n * OUT + o] = fmaf(x[2 * n + 1], w[2 * o + 1], fmaf(x[2 * n], 1.0f, 0.0f));
        for (int i = 0; i < N_ISAS; i++) {
            if (!runs_here(isas[i])) continue;
            outcome got;
            run(&net, isas[i], 1, ANX_PLAN_OBSERVE, &got);
            expect_same(isas[i], "linear", expected, got.values[1].data, (int64_t)BATCH * OUT);
            outcome_fini(&got);
        }
        free(expected);
        network_fini(&net);
    }
}

/* ---- refusals ------------------------------------------------------------------------------------------- */

static void test_an_unknown_instruction_set_is_refused(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_device *device = NULL;
    setenv("ANX_ISA", "sse9", 1);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_device_open("exact", NULL, &device, &err), &err);
    unsetenv("ANX_ISA");
    ANX_CHECK_MESSAGE("ANX_ISA is 'sse9'; it may be avx512, avx2 or portable, or not set", &err);
    CU_ASSERT_PTR_NULL(device);
}

static void test_the_inside_of_a_fused_group_is_refused(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_device *device = NULL;
    anx_plan *plan = NULL;
    network net;
    network_init(&net, anx_arch_find("narrow"), 0, 0, 1, 0);
    ANX_CHECK_OK(anx_device_open("exact", NULL, &device, &err), &err);
    const anx_plan_desc desc = {
        .graph = net.graph, .batch = 1, .mode = ANX_PLAN_INFER, .params = net.params, .n_params = net.graph->n_params};
    ANX_CHECK_OK(anx_plan_create(device, &desc, &plan, &err), &err);
    CU_ASSERT_EQUAL(anx_plan_group_of_node(plan, 0), -1); /* features.0, fused with its ReLU */
    int64_t shape[4];
    const int rank = anx_plan_value_shape(plan, anx_value_output(0), shape);
    anx_tensor host = ANX_TENSOR_INIT;
    ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, rank, shape, &host, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_plan_read(plan, anx_value_output(0), &host, &err), &err);
    ANX_CHECK_MESSAGE("the output of 'features.0' is inside a fused group; a plan that observes keeps it", &err);
    ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_plan_write(plan, anx_value_output(0), &host, &err), &err);
    anx_plan_destroy(plan);
    anx_tensor_fini(&host);
    anx_device_close(device);
    network_fini(&net);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"instruction sets agree to the bit", test_instruction_sets_agree},
        {"instruction sets agree on special values", test_instruction_sets_agree_on_special_values},
        {"threads, batch and mode change nothing", test_threads_batch_and_mode_change_nothing},
        {"convolutions sum in blocks of sixteen channels", test_convolutions_sum_in_blocks_of_sixteen_channels},
        {"padding is skipped, not multiplied", test_padding_is_skipped},
        {"linear layers sum in blocks of 192 inputs", test_linear_layers_sum_in_blocks_of_192_inputs},
        {"small heads sum in lanes", test_small_heads_sum_in_lanes},
        {"every fma rounds once", test_every_fma_rounds_once},
        {"an unknown instruction set is refused", test_an_unknown_instruction_set_is_refused},
        {"the inside of a fused group is refused", test_the_inside_of_a_fused_group_is_refused},
        {NULL, NULL},
    };
    return anx_test_main("exact", tests, argc, argv);
}
