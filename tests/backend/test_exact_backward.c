/*
 * The exact backend's way back: the order of its sums, term by term, as PyTorch 2.15 has it on one thread of an
 * AVX-512 machine, and the same bits from every instruction set and thread count. That the order is PyTorch's,
 * exact_backward_judge.py shows.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/backend/backend.h"
#include "tests/support/anx_test.h"
#include "tests/support/layer_rows.h"

enum { MAX_PARAMS = 24, MAX_NODES = 24 };

/* ---- networks ------------------------------------------------------------------------------------------- */

/* The ways the kernels go: few channels, blocks left over, strides, dilation, groups of 16 and 8, depthwise, gemm. */
static const anx_layer tower_layers[] = {
    CONV("c1", 40, 7, 7, 2, 2, 2, 2, 1, 1, 1),
    RELU("r1"),
    POOL("p1", 3, 3, 2, 2, 0, 0, false),
    CONV("c2", 64, 5, 5, 1, 1, 2, 2, 1, 1, 1),
    RELU("r2"),
    CONV("c3", 96, 3, 3, 1, 1, 1, 1, 1, 1, 2),
    CONV("c4", 48, 3, 3, 1, 1, 2, 2, 2, 2, 1),
    CONV("c5", 48, 3, 3, 2, 2, 1, 1, 1, 1, 48),
    RELU("r5"),
    CONV("c6", 48, 3, 3, 1, 1, 1, 1, 1, 1, 6),
    CONV("c7", 26, 3, 3, 1, 1, 1, 1, 1, 1, 2),
    POOL("p7", 3, 2, 2, 1, 1, 1, true),
    AVERAGE("a", 5, 3),
    FLATTEN,
    DROPOUT("d"),
    LINEAR("l1", 450),
    RELU("r8"),
    LINEAR("l2", 35),
    LINEAR("l3", ANX_NUM_CLASSES),
};
static const anx_arch tower = {.name = "tower",
                               .in_channels = 3,
                               .default_size = 61,
                               .min_size = 1,
                               .default_classes = 7,
                               .logits = "l3",
                               .layers = tower_layers,
                               .n_layers = sizeof tower_layers / sizeof tower_layers[0],
                               .internal = true};

static uint64_t random_state = 1;

/* Uniform in [-1, 1), times 2^-range .. 2^range. */
static float random_float(int range) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    const float f = (float)(int32_t)(uint32_t)(random_state >> 32) * 0x1p-31f;
    const uint32_t scale = (uint32_t)(random_state >> 16) & 0xFFFFu;
    return range == 0 ? f : ldexpf(f, (int)(scale % (uint32_t)(2 * range + 1)) - range);
}

static void fill(anx_tensor *t, int range) {
    float *data = t->data;
    for (int64_t i = 0; i < anx_tensor_elems(t); i++) data[i] = random_float(range);
}

/* Overwrites about one in `every` elements with a value that arithmetic treats in its own way. */
static void sprinkle(anx_tensor *t, uint32_t every) {
    const float special[] = {0.0f, -0.0f, 1e-42f, -1e-42f, 3e38f, -3e38f, INFINITY, -INFINITY, NAN};
    float *data = t->data;
    for (int64_t i = 0; i < anx_tensor_elems(t); i++) {
        const uint32_t r = (uint32_t)(fabsf(random_float(0)) * 0x1p24f);
        if (r % every == 0) data[i] = special[r / every % (sizeof special / sizeof special[0])];
    }
}

/* A trained network, and what is put into it. */
typedef struct network {
    anx_graph *graph;
    int64_t batch;
    anx_tensor params[MAX_PARAMS];
    anx_tensor input, gradient;
    const bool *trained;
    anx_device *device;
    anx_plan *plan;
} network;

static anx_tensor value_like(const anx_plan *plan, anx_value value, anx_dtype dtype) {
    anx_error err = ANX_ERROR_INIT;
    int64_t shape[4];
    anx_tensor t = ANX_TENSOR_INIT;
    const int rank = anx_plan_value_shape(plan, value, shape);
    ANX_CHECK_OK(anx_tensor_alloc(dtype, rank, shape, &t, &err), &err);
    return t;
}

static void network_init(network *net, const anx_arch *arch, int64_t size, int64_t batch, int range) {
    anx_error err = ANX_ERROR_INIT;
    int64_t shape[4];
    *net = (network){.batch = batch};
    ANX_CHECK_OK(anx_graph_create(arch, 0, size, size, &net->graph, &err), &err);
    CU_ASSERT_TRUE_FATAL(net->graph != NULL && net->graph->n_params <= MAX_PARAMS && net->graph->n_nodes <= MAX_NODES);
    for (int i = 0; i < net->graph->n_params; i++) {
        const anx_param *p = &net->graph->params[i];
        ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, p->rank, p->shape, &net->params[i], &err), &err);
        fill(&net->params[i], range);
        float *w = net->params[i].data;
        for (int64_t j = 0; j < anx_tensor_elems(&net->params[i]); j++) w[j] *= 2.0f / sqrtf((float)p->fan_in);
    }
    int rank = anx_graph_node_shape(net->graph, ANX_NODE_INPUT, batch, shape);
    ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, rank, shape, &net->input, &err), &err);
    rank = anx_graph_node_shape(net->graph, net->graph->logits, batch, shape);
    ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, rank, shape, &net->gradient, &err), &err);
    fill(&net->input, range);
    fill(&net->gradient, range);
}

static void network_fini(network *net) {
    for (int i = 0; i < net->graph->n_params; i++) anx_tensor_fini(&net->params[i]);
    anx_tensor_fini(&net->input);
    anx_tensor_fini(&net->gradient);
    anx_graph_destroy(net->graph);
}

static void network_open(network *net, const char *isa, int threads) {
    anx_error err = ANX_ERROR_INIT;
    net->device = NULL;
    net->plan = NULL;
    setenv("ANX_ISA", isa, 1);
    ANX_CHECK_OK(anx_device_open("exact", &(anx_device_options){.threads = threads}, &net->device, &err), &err);
    unsetenv("ANX_ISA");
    const anx_plan_desc desc = {.graph = net->graph,
                                .batch = net->batch,
                                .mode = ANX_PLAN_TRAIN,
                                .params = net->params,
                                .n_params = net->graph->n_params,
                                .trained = net->trained};
    ANX_CHECK_OK(anx_plan_create(net->device, &desc, &net->plan, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(net->plan);
    ANX_CHECK_OK(anx_plan_write(net->plan, anx_value_output(ANX_NODE_INPUT), &net->input, &err), &err);
}

static void network_close(network *net) {
    anx_plan_destroy(net->plan);
    anx_device_close(net->device);
}

static void write_gradient(network *net) {
    anx_error err = ANX_ERROR_INIT;
    const anx_value logits = {ANX_VALUE_GRAD, net->graph->logits};
    ANX_CHECK_OK(anx_plan_write(net->plan, logits, &net->gradient, &err), &err);
}

/* Factors 0 and 2 for every dropout row. */
static void write_masks(network *net) {
    anx_error err = ANX_ERROR_INIT;
    for (int i = 0; i < net->graph->n_nodes; i++) {
        if (net->graph->nodes[i].layer->op != ANX_OP_DROPOUT) continue;
        const anx_value mask = {ANX_VALUE_MASK, i};
        anx_tensor t = value_like(net->plan, mask, ANX_F32);
        for (int64_t j = 0; j < anx_tensor_elems(&t); j++) ((float *)t.data)[j] = j % 3 == 0 ? 0.0f : 2.0f;
        ANX_CHECK_OK(anx_plan_write(net->plan, mask, &t, &err), &err);
        anx_tensor_fini(&t);
    }
}

/* What a run backward shows: gradients by outputs, then by parameters. */
typedef struct outcome {
    anx_tensor values[MAX_NODES + MAX_PARAMS]; /* data NULL where there is none */
    int n_values;
} outcome;

static void read_gradients(const network *net, outcome *out) {
    const int n_nodes = net->graph->n_nodes, n = n_nodes + net->graph->n_params;
    *out = (outcome){.n_values = n};
    for (int i = 0; i < n; i++) {
        anx_error err = ANX_ERROR_INIT;
        const anx_value value =
            i < n_nodes ? (anx_value){ANX_VALUE_GRAD, i} : (anx_value){ANX_VALUE_PARAM_GRAD, i - n_nodes};
        out->values[i] = value_like(net->plan, value, ANX_F32);
        if (anx_plan_read(net->plan, value, &out->values[i], &err) != ANX_OK) anx_tensor_fini(&out->values[i]);
    }
}

static void outcome_fini(outcome *o) {
    for (int i = 0; i < o->n_values; i++) anx_tensor_fini(&o->values[i]);
}

static void step(network *net, outcome *out) {
    anx_error err = ANX_ERROR_INIT;
    write_masks(net);
    ANX_CHECK_OK(anx_plan_run(net->plan, &err), &err);
    write_gradient(net);
    const int n = anx_plan_group_of_node(net->plan, net->graph->logits) + 1;
    ANX_CHECK_OK(anx_plan_run_groups_backward(net->plan, 0, n, &err), &err);
    read_gradients(net, out);
}

static void run(network *net, const char *isa, int threads, outcome *out) {
    network_open(net, isa, threads);
    step(net, out);
    network_close(net);
}

static uint32_t bits_of(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return isnan(f) ? 0x7FC00000u : bits; /* which NaN an instruction passes on is not promised */
}

static void expect_same(const char *what, const float *a, const float *b, int64_t elems) {
    for (int64_t i = 0; i < elems; i++) {
        if (bits_of(a[i]) == bits_of(b[i])) continue;
        fprintf(stderr, "%s: element %lld is %a and %a\n", what, (long long)i, (double)a[i], (double)b[i]);
        CU_FAIL("bits differ");
        return;
    }
    CU_PASS("bits agree");
}

static void expect_same_outcome(const char *what, const network *net, const outcome *a, const outcome *b) {
    const int n_nodes = net->graph->n_nodes;
    for (int i = 0; i < a->n_values; i++) {
        char text[160];
        snprintf(text, sizeof text, "%s: %s", what,
                 i < n_nodes ? net->graph->nodes[i].layer->name : net->graph->params[i - n_nodes].name);
        CU_ASSERT_EQUAL(a->values[i].data == NULL, b->values[i].data == NULL);
        if (a->values[i].data != NULL && b->values[i].data != NULL)
            expect_same(text, a->values[i].data, b->values[i].data, anx_tensor_elems(&a->values[i]));
    }
}

/* ---- the same bits everywhere --------------------------------------------------------------------------- */

static void compare_everything(network *net) {
    static const struct {
        const char *isa;
        int threads;
    } others[] = {{"portable", 3}, {"avx2", 1}, {"avx2", 4}, {"avx512", 1}, {"avx512", 2}, {"avx512", 5}};
    outcome first, other;
    run(net, "portable", 1, &first);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        char what[64];
        snprintf(what, sizeof what, "%s, %d threads", others[i].isa, others[i].threads);
        run(net, others[i].isa, others[i].threads, &other); /* a set that this machine lacks: the next one */
        expect_same_outcome(what, net, &first, &other);
        outcome_fini(&other);
    }
    outcome_fini(&first);
}

static void test_instruction_sets_and_threads_agree(void) {
    for (int range = 0; range <= 40; range += 20) { /* 40: sums overflow and underflow on their way */
        network net;
        network_init(&net, &tower, 0, 5, range);
        compare_everything(&net);
        network_fini(&net);
    }
    network narrow;
    network_init(&narrow, anx_arch_find("narrow"), 37, 4, 0);
    compare_everything(&narrow);
    network_fini(&narrow);
}

static void test_they_agree_on_special_values(void) {
    network net;
    network_init(&net, &tower, 0, 4, 0);
    sprinkle(&net.input, 3000);
    sprinkle(&net.gradient, 5);
    compare_everything(&net);
    for (int64_t i = 0; i < anx_tensor_elems(&net.gradient); i++) ((float *)net.gradient.data)[i] *= 1e-42f;
    compare_everything(&net);
    network_fini(&net);
}

static void test_a_second_pass_overwrites_the_first(void) {
    anx_error err = ANX_ERROR_INIT;
    network net;
    outcome first, second, by_group;
    network_init(&net, &tower, 0, 4, 0);
    network_open(&net, "", 2);
    step(&net, &first);
    step(&net, &second);
    expect_same_outcome("second pass", &net, &first, &second);
    for (int g = anx_plan_group_count(net.plan) - 1; g >= 0; g--)
        ANX_CHECK_OK(anx_plan_run_groups_backward(net.plan, g, 1, &err), &err);
    read_gradients(&net, &by_group);
    expect_same_outcome("group by group", &net, &first, &by_group);
    network_close(&net);
    outcome_fini(&first);
    outcome_fini(&second);
    outcome_fini(&by_group);
    network_fini(&net);
}

/* ---- the order, written out ----------------------------------------------------------------------------- */

/* One layer behind another, so that the gradient by its input is computed. */
static void open_pair(network *net, const anx_layer *second, int64_t batch, int64_t size, anx_arch *arch,
                      anx_layer layers[2]) {
    layers[0] = (anx_layer)CONV("c1", 20, 3, 3, 1, 1, 1, 1, 1, 1, 1);
    layers[1] = *second;
    *arch = tower;
    arch->layers = layers;
    arch->n_layers = 2;
    arch->logits = second->name;
    network_init(net, arch, size, batch, 4);
    network_open(net, "", 2);
}

/* What a convolution's gradients are made of. */
typedef struct conv_case {
    const anx_node *node;
    int64_t batch;
    const float *x, *w, *dy;
} conv_case;

static float at(const float *data, const anx_extent *e, int64_t n, int64_t c, int64_t h, int64_t w) {
    return data[((n * e->dim[0] + c) * e->dim[1] + h) * e->dim[2] + w];
}

/* Blocks of `block` output channels: chains over kh, kw, oc that are added up. */
static float naive_conv_dx(const conv_case *c, int64_t block, int64_t n, int64_t ic, int64_t h, int64_t w) {
    const anx_conv2d_params *p = &c->node->conv;
    float sum = 0.0f;
    for (int64_t first = 0; first < c->node->out.dim[0]; first += block) {
        float chain = 0.0f;
        for (int kh = 0; kh < p->kernel_h; kh++)
            for (int kw = 0; kw < p->kernel_w; kw++)
                for (int64_t oc = first; oc < first + block && oc < c->node->out.dim[0]; oc++) {
                    const int64_t oh = h + p->pad_h - kh, ow = w + p->pad_w - kw;
                    if (oh < 0 || ow < 0 || oh % p->stride_h != 0 || ow % p->stride_w != 0) continue;
                    if (oh / p->stride_h >= c->node->out.dim[1] || ow / p->stride_w >= c->node->out.dim[2]) continue;
                    chain = fmaf(at(c->dy, &c->node->out, n, oc, oh / p->stride_h, ow / p->stride_w),
                                 c->w[((oc * c->node->in.dim[0] + ic) * p->kernel_h + kh) * p->kernel_w + kw], chain);
                }
        sum = first == 0 ? chain : sum + chain;
    }
    return sum;
}

/* One chain over n, oh, ow. */
static float naive_conv_dw(const conv_case *c, int64_t oc, int64_t ic, int64_t kh, int64_t kw) {
    const anx_conv2d_params *p = &c->node->conv;
    float chain = 0.0f;
    for (int64_t n = 0; n < c->batch; n++)
        for (int64_t oh = 0; oh < c->node->out.dim[1]; oh++)
            for (int64_t ow = 0; ow < c->node->out.dim[2]; ow++) {
                const int64_t h = oh * p->stride_h - p->pad_h + kh, w = ow * p->stride_w - p->pad_w + kw;
                if (h < 0 || w < 0 || h >= c->node->in.dim[1] || w >= c->node->in.dim[2]) continue;
                chain = fmaf(at(c->x, &c->node->in, n, ic, h, w), at(c->dy, &c->node->out, n, oc, oh, ow), chain);
            }
    return chain;
}

static void check_conv(const anx_layer *layer, int64_t block, bool special) {
    anx_error err = ANX_ERROR_INIT;
    network net;
    anx_arch arch;
    anx_layer layers[2];
    outcome out;
    open_pair(&net, layer, 4, 13, &arch, layers);
    if (special) {
        sprinkle(&net.gradient, 300);
        sprinkle(&net.params[2], 300);
        ANX_CHECK_OK(anx_plan_write(net.plan, (anx_value){ANX_VALUE_PARAM, 2}, &net.params[2], &err), &err);
    }
    step(&net, &out);
    anx_tensor x = value_like(net.plan, anx_value_output(0), ANX_F32);
    ANX_CHECK_OK(anx_plan_read(net.plan, anx_value_output(0), &x, &err), &err);
    const conv_case c = {&net.graph->nodes[1], net.batch, x.data, net.params[2].data, net.gradient.data};
    const anx_extent *in = &c.node->in, *o = &c.node->out;
    const float *dx = out.values[0].data, *dw = out.values[4].data, *db = out.values[5].data;
    for (int64_t i = 0; i < anx_tensor_elems(&x); i++) {
        const int64_t w = i % in->dim[2], h = i / in->dim[2] % in->dim[1];
        const int64_t ic = i / in->dim[2] / in->dim[1] % in->dim[0], n = i / in->dim[2] / in->dim[1] / in->dim[0];
        const float want = naive_conv_dx(&c, block, n, ic, h, w);
        CU_ASSERT_EQUAL(bits_of(dx[i]), bits_of(want));
    }
    const int64_t kernel_w = c.node->conv.kernel_w, kernel_h = c.node->conv.kernel_h;
    for (int64_t i = 0; i < anx_tensor_elems(&net.params[2]); i++) {
        const float want = naive_conv_dw(&c, i / kernel_w / kernel_h / in->dim[0], i / kernel_w / kernel_h % in->dim[0],
                                         i / kernel_w % kernel_h, i % kernel_w);
        CU_ASSERT_EQUAL(bits_of(dw[i]), bits_of(want));
    }
    for (int64_t oc = 0; oc < o->dim[0]; oc++) {
        float want = 0.0f;
        for (int64_t n = 0; n < net.batch; n++)
            for (int64_t i = 0; i < o->dim[1] * o->dim[2]; i++) want += at(c.dy, o, n, oc, 0, i);
        CU_ASSERT_EQUAL(bits_of(db[oc]), bits_of(want));
    }
    anx_tensor_fini(&x);
    outcome_fini(&out);
    network_close(&net);
    network_fini(&net);
}

static void test_convolutions_sum_in_blocks_of_sixteen_outputs(void) {
    check_conv(&(anx_layer)CONV("c2", 40, 3, 3, 1, 1, 1, 1, 1, 1, 1), 16, false);
    check_conv(&(anx_layer)CONV("c2", 70, 5, 3, 1, 1, 2, 0, 1, 1, 1), 16, false);
    check_conv(&(anx_layer)CONV("c2", 40, 3, 3, 2, 2, 1, 1, 1, 1, 1), 40, false); /* strided: a single chain */
}

static void test_padding_is_skipped(void) {
    check_conv(&(anx_layer)CONV("c2", 40, 3, 3, 1, 1, 1, 1, 1, 1, 1), 16, true);
    check_conv(&(anx_layer)CONV("c2", 17, 5, 5, 1, 1, 2, 2, 1, 1, 1), 16, true);
}

/* Chains of `block` terms, added up from 0; terms `a` and `b` lie ld apart. */
static float naive_sum(const float *a, int64_t lda, const float *b, int64_t ldb, int64_t terms, int64_t block) {
    float sum = 0.0f;
    for (int64_t k = 0; k < terms;) {
        const int64_t end = k + block < terms ? k + block : terms;
        float chain = 0.0f;
        for (; k < end; k++) chain = fmaf(a[k * lda], b[k * ldb], chain);
        sum += chain;
    }
    return sum;
}

/* The cascade over rows, ld apart: a partial sum moves up a level after 16, 256 and 4096 rows. */
static float naive_cascade(const float *x, int64_t ld, int64_t rows) {
    float level[4] = {0};
    for (int64_t n = 1; n <= rows; n++) {
        level[0] += x[(n - 1) * ld];
        for (int l = 0, every = 16; l < 3 && n % every == 0; l++, every *= 16) {
            level[l + 1] += level[l];
            level[l] = 0.0f;
        }
    }
    return level[0] + level[1] + level[2] + level[3];
}

static float naive_four_ways(const float *x, int64_t ld, int64_t rows) {
    float part[4];
    for (int64_t k = 0; k < 4; k++) part[k] = naive_cascade(x + k * ld, 4 * ld, rows / 4);
    for (int64_t n = rows / 4 * 4; n < rows; n++) part[0] += x[n * ld];
    return ((part[0] + part[1]) + part[2]) + part[3];
}

/* A linear layer behind a 20-channel convolution of size 2x2: 80 inputs. */
static void check_linear(int64_t batch, int outputs, int64_t dx_block, int64_t dw_block) {
    anx_error err = ANX_ERROR_INIT;
    network net;
    anx_arch arch = tower;
    const anx_layer layers[] = {CONV("c1", 20, 3, 3, 1, 1, 1, 1, 1, 1, 1), FLATTEN, LINEAR("l", outputs)};
    outcome out;
    arch.layers = layers;
    arch.n_layers = 3;
    arch.logits = "l";
    network_init(&net, &arch, 2, batch, 4);
    network_open(&net, "", 2);
    step(&net, &out);
    anx_tensor x = value_like(net.plan, anx_value_output(1), ANX_F32);
    ANX_CHECK_OK(anx_plan_read(net.plan, anx_value_output(1), &x, &err), &err);
    const float *xs = x.data, *w = net.params[2].data, *dy = net.gradient.data;
    const float *dx = out.values[1].data, *dw = out.values[3 + 2].data, *db = out.values[3 + 3].data;
    const int64_t in = 80, whole = outputs / 32 * 32;
    for (int64_t n = 0; n < batch; n++)
        for (int64_t i = 0; i < in; i++) {
            const float want = naive_sum(dy + n * outputs, 1, w + i, in, outputs, dx_block);
            CU_ASSERT_EQUAL(bits_of(dx[n * in + i]), bits_of(want));
        }
    for (int64_t o = 0; o < outputs; o++)
        for (int64_t i = 0; i < in; i++) {
            float want = naive_sum(dy + o, outputs, xs + i, in, batch, dw_block);
            if (outputs < 4) { /* products are rounded, and added one by one */
                want = 0.0f;
                for (int64_t n = 0; n < batch; n++) want += dy[n * outputs + o] * xs[n * in + i];
            }
            CU_ASSERT_EQUAL(bits_of(dw[o * in + i]), bits_of(want));
        }
    for (int64_t o = 0; o < outputs; o++) {
        const bool together = outputs < 8 ? o < outputs / 4 * 4 : o < whole;
        const float want = together ? naive_cascade(dy + o, outputs, batch) : naive_four_ways(dy + o, outputs, batch);
        CU_ASSERT_EQUAL(bits_of(db[o]), bits_of(want));
    }
    anx_tensor_fini(&x);
    outcome_fini(&out);
    network_close(&net);
    network_fini(&net);
}

static void test_linear_layers_sum_in_blocks_of_192(void) {
    check_linear(5, 100, 192, 192);
    check_linear(6, 201, 100, 192); /* halves, and one left over */
    check_linear(4, 600, 192, 192);
    check_linear(201, 40, 192, 100);
    check_linear(300, 12, 192, 150);
    check_linear(400, 33, 192, 192);
    check_linear(9, 3, 192, 192);
    check_linear(8, 6, 192, 192);
}

static void test_a_single_output_is_summed_like_a_row(void) {
    network net;
    anx_arch arch = tower;
    const anx_layer layers[] = {CONV("c1", 20, 3, 3, 1, 1, 1, 1, 1, 1, 1), FLATTEN, LINEAR("l", 1)};
    outcome out;
    arch.layers = layers;
    arch.n_layers = 3;
    arch.logits = "l";
    network_init(&net, &arch, 2, 77, 4);
    network_open(&net, "", 1);
    step(&net, &out);
    const float *dy = net.gradient.data;
    float want = 0.0f;
    for (int64_t n = 72; n < 77; n++) want += dy[n];
    for (int lane = 0; lane < 8; lane++) want += naive_four_ways(dy + lane, 8, 9);
    CU_ASSERT_EQUAL(bits_of(*(float *)out.values[3 + 3].data), bits_of(want));
    outcome_fini(&out);
    network_close(&net);
    network_fini(&net);
}

/* Rounded products: the first `alone` onto lane 0, then by lanes up to `end`, then onto the sum of the lanes. */
static float naive_lanes(const float *x, const float *w, int64_t in, int lanes, int64_t alone, int64_t end) {
    float lane[8] = {0};
    int64_t k = 0;
    for (; k < alone; k++) lane[0] += x[k] * w[k];
    for (const int64_t last = alone + (end - alone) / lanes * lanes; k < last; k++)
        lane[(k - alone) % lanes] += x[k] * w[k];
    for (int half = lanes / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    for (; k < in; k++) lane[0] += x[k] * w[k];
    return lane[0];
}

/* A batch below 4: 88 inputs behind a convolution of 22 channels, 15 outputs. */
static void check_small_batch(int64_t batch) {
    enum { IN = 88, OUT = 15, FOURS = 12 };
    anx_error err = ANX_ERROR_INIT;
    network net;
    anx_arch arch = tower;
    const anx_layer layers[] = {CONV("c1", 22, 3, 3, 1, 1, 1, 1, 1, 1, 1), FLATTEN, LINEAR("l", OUT)};
    outcome out;
    arch.layers = layers;
    arch.n_layers = 3;
    arch.logits = "l";
    network_init(&net, &arch, 2, batch, 4);
    network_open(&net, "", 2);
    step(&net, &out);
    anx_tensor x = value_like(net.plan, anx_value_output(1), ANX_F32);
    anx_tensor y = value_like(net.plan, anx_value_output(2), ANX_F32);
    ANX_CHECK_OK(anx_plan_read(net.plan, anx_value_output(1), &x, &err), &err);
    ANX_CHECK_OK(anx_plan_read(net.plan, anx_value_output(2), &y, &err), &err);
    const float *w = net.params[2].data, *bias = net.params[3].data, *dy = net.gradient.data;
    const int64_t alone = batch == 1 ? 4 : 0, whole = batch == 1 ? 84 : IN; /* 4 + 10 times 8 */
    for (int64_t n = 0; n < batch; n++)
        for (int64_t o = 0; o < OUT; o++) {
            const float *xs = (const float *)x.data + n * IN;
            const int lanes = o < FOURS || (batch == 1 && o == FOURS + 1) ? 4 : 8;
            const float want = bias[o] + naive_lanes(xs, w + o * IN, IN, lanes, alone, o < FOURS ? IN : whole);
            CU_ASSERT_EQUAL(bits_of(((float *)y.data)[n * OUT + o]), bits_of(want));
        }
    for (int64_t n = 0; n < batch; n++)
        for (int64_t i = 0; i < IN; i++) {
            float want = 0.0f;
            for (int64_t o = 0; o < OUT; o++) want += dy[n * OUT + o] * w[o * IN + i];
            CU_ASSERT_EQUAL(bits_of(((float *)out.values[1].data)[n * IN + i]), bits_of(want));
        }
    anx_tensor_fini(&x);
    anx_tensor_fini(&y);
    outcome_fini(&out);
    network_close(&net);
    network_fini(&net);
}

static void test_small_batches_do_not_fuse(void) {
    for (int64_t batch = 1; batch <= 3; batch++) check_small_batch(batch);
}

/* ---- what is trained, masks and winners ----------------------------------------------------------------- */

static void test_nothing_is_computed_below_the_lowest_trained_layer(void) {
    anx_error err = ANX_ERROR_INIT;
    network net;
    outcome all, some;
    bool trained[MAX_PARAMS] = {false};
    network_init(&net, &tower, 0, 4, 0);
    run(&net, "", 2, &all);
    const int weight = anx_graph_find_param(net.graph, "c4.weight"), bias = anx_graph_find_param(net.graph, "l1.bias");
    trained[weight] = trained[bias] = true;
    net.trained = trained;
    network_open(&net, "", 2);
    step(&net, &some);
    const int lowest = net.graph->params[weight].node, n_nodes = net.graph->n_nodes;
    for (int i = 0; i < some.n_values; i++) {
        const bool kept = i < n_nodes ? i >= lowest : trained[i - n_nodes];
        CU_ASSERT_EQUAL(some.values[i].data != NULL, kept);
        if (kept) expect_same("kept", all.values[i].data, some.values[i].data, anx_tensor_elems(&all.values[i]));
    }
    const anx_value below = {ANX_VALUE_GRAD, lowest - 1}, frozen = {ANX_VALUE_PARAM_GRAD, bias - 1};
    const anx_value input = {ANX_VALUE_GRAD, ANX_NODE_INPUT};
    anx_tensor t = value_like(net.plan, below, ANX_F32), u = value_like(net.plan, frozen, ANX_F32);
    anx_tensor v = value_like(net.plan, input, ANX_F32);
    ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_plan_read(net.plan, below, &t, &err), &err);
    ANX_CHECK_MESSAGE("the gradient by c3 is not computed: it lies below the lowest trained layer", &err);
    ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_plan_read(net.plan, frozen, &u, &err), &err);
    ANX_CHECK_MESSAGE("'l1.weight' is not trained", &err);
    ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_plan_read(net.plan, input, &v, &err), &err);
    CU_ASSERT_PTR_NULL(anx_plan_host_pointer(net.plan, frozen));
    CU_ASSERT_PTR_NOT_NULL(anx_plan_host_pointer(net.plan, (anx_value){ANX_VALUE_PARAM_GRAD, weight}));
    anx_tensor_fini(&t);
    anx_tensor_fini(&u);
    anx_tensor_fini(&v);
    network_close(&net);
    outcome_fini(&all);
    outcome_fini(&some);
    network_fini(&net);
}

static void test_dropout_multiplies_by_its_mask(void) {
    anx_error err = ANX_ERROR_INIT;
    network net;
    outcome out;
    network_init(&net, &tower, 0, 4, 0);
    network_open(&net, "", 2);
    const int node = anx_graph_find_node(net.graph, "d");
    anx_tensor x = value_like(net.plan, anx_value_output(node), ANX_F32);
    anx_tensor y = value_like(net.plan, anx_value_output(node), ANX_F32);
    ANX_CHECK_OK(anx_plan_run(net.plan, &err), &err); /* all ones */
    ANX_CHECK_OK(anx_plan_read(net.plan, anx_value_output(node - 1), &x, &err), &err);
    ANX_CHECK_OK(anx_plan_read(net.plan, anx_value_output(node), &y, &err), &err);
    expect_same("unwritten mask", x.data, y.data, anx_tensor_elems(&x));
    step(&net, &out);
    ANX_CHECK_OK(anx_plan_read(net.plan, anx_value_output(node), &y, &err), &err);
    const float *from = x.data, *to = y.data, *dy = out.values[node].data, *dx = out.values[node - 1].data;
    for (int64_t i = 0; i < anx_tensor_elems(&x); i++) {
        const float factor = i % 3 == 0 ? 0.0f : 2.0f;
        CU_ASSERT_EQUAL(bits_of(to[i]), bits_of(from[i] * factor));
        CU_ASSERT_EQUAL(bits_of(dx[i]), bits_of(dy[i] * factor));
    }
    anx_tensor_fini(&x);
    anx_tensor_fini(&y);
    outcome_fini(&out);
    network_close(&net);
    network_fini(&net);
}

static void test_winners_can_be_read_and_written(void) {
    anx_error err = ANX_ERROR_INIT;
    network net;
    outcome out;
    network_init(&net, &tower, 0, 4, 0);
    network_open(&net, "", 2);
    step(&net, &out);
    outcome_fini(&out);
    const int node = anx_graph_find_node(net.graph, "p1");
    const anx_value winners = {ANX_VALUE_ARGMAX, node}, below = {ANX_VALUE_GRAD, node - 1};
    const anx_extent *in = &net.graph->nodes[node].in, *o = &net.graph->nodes[node].out;
    anx_tensor index = value_like(net.plan, winners, ANX_I64);
    anx_tensor x = value_like(net.plan, anx_value_output(node - 1), ANX_F32);
    anx_tensor y = value_like(net.plan, anx_value_output(node), ANX_F32);
    anx_tensor dx = value_like(net.plan, below, ANX_F32);
    ANX_CHECK_OK(anx_plan_read(net.plan, winners, &index, &err), &err);
    ANX_CHECK_OK(anx_plan_read(net.plan, anx_value_output(node - 1), &x, &err), &err);
    ANX_CHECK_OK(anx_plan_read(net.plan, anx_value_output(node), &y, &err), &err);
    const int64_t plane = in->dim[1] * in->dim[2], out_plane = o->dim[1] * o->dim[2];
    int64_t *winner = index.data;
    for (int64_t i = 0; i < anx_tensor_elems(&index); i++) {
        CU_ASSERT_EQUAL(((float *)y.data)[i], ((float *)x.data)[i / out_plane * plane + winner[i]]);
        winner[i] = plane - 1;
    }
    ANX_CHECK_OK(anx_plan_write(net.plan, winners, &index, &err), &err);
    ANX_CHECK_OK(anx_plan_run_groups_backward(net.plan, node, 1, &err), &err);
    ANX_CHECK_OK(anx_plan_read(net.plan, below, &dx, &err), &err);
    ANX_CHECK_OK(anx_plan_read(net.plan, (anx_value){ANX_VALUE_GRAD, node}, &y, &err), &err);
    for (int64_t c = 0; c < net.batch * in->dim[0]; c++) {
        float sum = 0.0f;
        for (int64_t i = 0; i < out_plane; i++) sum += ((float *)y.data)[c * out_plane + i];
        for (int64_t i = 0; i < plane; i++)
            CU_ASSERT_EQUAL(((float *)dx.data)[c * plane + i], i + 1 < plane ? 0.0f : sum);
    }
    winner[7] = plane;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_plan_write(net.plan, winners, &index, &err), &err);
    ANX_CHECK_MESSAGE("element 7 of the winners of 'p1'", &err);
    anx_tensor_fini(&index);
    anx_tensor_fini(&x);
    anx_tensor_fini(&y);
    anx_tensor_fini(&dx);
    network_close(&net);
    network_fini(&net);
}

/* A linear layer's parameters can be changed where they are, once the caller's memory was left. */
static void test_parameters_can_be_changed_in_place(void) {
    anx_error err = ANX_ERROR_INIT;
    network net;
    outcome first, written, in_place;
    network_init(&net, &tower, 0, 4, 0);
    const int weight = anx_graph_find_param(net.graph, "l2.weight");
    const anx_value value = {ANX_VALUE_PARAM, weight};
    network_open(&net, "", 2);
    step(&net, &first);
    CU_ASSERT_PTR_NULL(anx_plan_host_pointer(net.plan, value));
    fill(&net.params[weight], 0);
    ANX_CHECK_OK(anx_plan_write(net.plan, value, &net.params[weight], &err), &err);
    step(&net, &written);
    float *own = anx_plan_host_pointer(net.plan, value);
    CU_ASSERT_TRUE_FATAL(own != NULL && own != (float *)net.params[weight].data);
    network_close(&net);
    network_open(&net, "", 2); /* now with the new weights from the start */
    step(&net, &in_place);
    expect_same_outcome("written", &net, &in_place, &written);
    ANX_CHECK_OK(anx_plan_write(net.plan, value, &net.params[weight], &err), &err);
    own = anx_plan_host_pointer(net.plan, value);
    CU_ASSERT_PTR_NOT_NULL_FATAL(own);
    for (int64_t i = 0; i < anx_tensor_elems(&net.params[weight]); i++) own[i] *= 2.0f;
    outcome_fini(&written);
    step(&net, &written);
    const int l1 = anx_graph_find_node(net.graph, "r8");
    const float *a = in_place.values[l1].data, *b = written.values[l1].data;
    for (int64_t i = 0; i < anx_tensor_elems(&in_place.values[l1]); i++) CU_ASSERT_EQUAL(a[i] * 2.0f, b[i]);
    network_close(&net);
    outcome_fini(&first);
    outcome_fini(&written);
    outcome_fini(&in_place);
    network_fini(&net);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"instruction sets and threads agree to the bit", test_instruction_sets_and_threads_agree},
        {"they agree on special values", test_they_agree_on_special_values},
        {"a second pass overwrites the first", test_a_second_pass_overwrites_the_first},
        {"convolutions sum in blocks of sixteen outputs", test_convolutions_sum_in_blocks_of_sixteen_outputs},
        {"padding is skipped, not multiplied", test_padding_is_skipped},
        {"linear layers sum in blocks of 192", test_linear_layers_sum_in_blocks_of_192},
        {"a single output is summed like a row", test_a_single_output_is_summed_like_a_row},
        {"small batches do not fuse", test_small_batches_do_not_fuse},
        {"nothing is computed below the lowest trained layer", test_nothing_is_computed_below_the_lowest_trained_layer},
        {"dropout multiplies by its mask", test_dropout_multiplies_by_its_mask},
        {"winners can be read and written", test_winners_can_be_read_and_written},
        {"parameters can be changed in place", test_parameters_can_be_changed_in_place},
        {NULL, NULL},
    };
    return anx_test_main("exact_backward", tests, argc, argv);
}
