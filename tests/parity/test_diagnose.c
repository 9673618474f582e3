/*
 * The diagnosis: faults made by means that it does not share (rounded or rearranged parameters and inputs handed to the
 * reference), each of which must be named, and the right values, of which nothing may be said.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/diagnose.h"
#include "src/backend/reference/ops.h"
#include "src/base/mt19937.h"
#include "tests/support/anx_test.h"

enum { BATCH = 2 };

/* One node of the narrow network with an input, random parameters and its right values. */
typedef struct bench {
    anx_graph *graph;
    int node;
    anx_tensor *params; /* owned, of the whole graph */
    anx_tensor x;
    double *right;
    float *gauge, *got;
    size_t elems;
} bench;

static anx_tensor random_tensor(anx_mt19937 *gen, int rank, const int64_t *shape, float low, float high) {
    anx_error err = ANX_ERROR_INIT;
    anx_tensor t = ANX_TENSOR_INIT;
    ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, rank, shape, &t, &err), &err);
    anx_mt19937_uniform_f32(gen, (size_t)anx_tensor_elems(&t), low, high, t.data);
    return t;
}

static const anx_tensor *param(const bench *b, int index) {
    return index == ANX_NO_PARAM ? NULL : &b->params[index];
}

/* The node in double on the given input and parameters. */
static void compute(const bench *b, const anx_tensor *x, const anx_tensor *w, const anx_tensor *bias, double *y) {
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_reference_node(b->graph, b->node, BATCH, x, w, bias, y, 1, &err), &err);
}

static bench make_bench(const char *name) {
    anx_error err = ANX_ERROR_INIT;
    bench b = {.graph = NULL};
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 5);
    ANX_CHECK_OK(anx_graph_create(anx_arch_find("narrow"), 0, 0, 0, &b.graph, &err), &err);
    b.node = anx_graph_find_node(b.graph, name);
    b.params = calloc((size_t)b.graph->n_params, sizeof *b.params);
    for (int i = 0; i < b.graph->n_params; i++) {
        const anx_param *p = &b.graph->params[i];
        b.params[i] = random_tensor(&gen, p->rank, p->shape, -0.5f, 0.5f);
    }
    const anx_node *n = &b.graph->nodes[b.node];
    int64_t shape[4];
    const int rank = anx_graph_node_shape(b.graph, n->inputs[0], BATCH, shape);
    b.x = random_tensor(&gen, rank, shape, -1, 2);
    b.elems = (size_t)(BATCH * anx_graph_node_elems(b.graph, b.node));
    b.right = malloc(b.elems * sizeof *b.right);
    b.got = malloc(b.elems * sizeof *b.got);
    compute(&b, &b.x, param(&b, n->weight), param(&b, n->bias), b.right);
    if (n->weight != ANX_NO_PARAM) {
        b.gauge = malloc(b.elems * sizeof *b.gauge);
        ANX_CHECK_OK(anx_reference_gauge(b.graph, b.node, BATCH, b.x.data, b.params[n->weight].data,
                                         b.params[n->bias].data, b.gauge, 1, &err),
                     &err);
    }
    for (size_t i = 0; i < b.elems; i++) b.got[i] = (float)b.right[i];
    return b;
}

static void free_bench(bench *b) {
    for (int i = 0; i < b->graph->n_params; i++) anx_tensor_fini(&b->params[i]);
    free(b->params);
    anx_tensor_fini(&b->x);
    free(b->right);
    free(b->gauge);
    free(b->got);
    anx_graph_destroy(b->graph);
}

static anx_tensor copy_of(const anx_tensor *t) {
    anx_error err = ANX_ERROR_INIT;
    anx_tensor copy = ANX_TENSOR_INIT;
    ANX_CHECK_OK(anx_tensor_convert(t, ANX_F32, &copy, &err), &err);
    return copy;
}

/* got becomes what the reference gives on these; NULL: the bench's own. */
static void take(bench *b, const anx_tensor *x, const anx_tensor *w, const anx_tensor *bias) {
    const anx_node *n = &b->graph->nodes[b->node];
    double *y = malloc(b->elems * sizeof *y);
    compute(b, x != NULL ? x : &b->x, w != NULL ? w : param(b, n->weight), bias != NULL ? bias : param(b, n->bias), y);
    for (size_t i = 0; i < b->elems; i++) b->got[i] = (float)y[i];
    free(y);
}

static anx_suspect suspect_of(const bench *b) {
    return (anx_suspect){.graph = b->graph,
                         .first = b->node,
                         .node = b->node,
                         .batch = BATCH,
                         .got = b->got,
                         .expected = b->right,
                         .gauge = b->gauge,
                         .input = b->x.data,
                         .params = b->params};
}

/* Diagnoses the bench; true if `id` is the likeliest cause (or any, where only_first is false). NULL: no cause at all.
 */
static bool diagnosed(const bench *b, const char *id, bool only_first) {
    anx_error err = ANX_ERROR_INIT;
    anx_judged j;
    ANX_CHECK_OK(anx_judged_init(&j, ANX_JUDGED_MODULE, ANX_PATH_OBSERVE, "p", "i", NULL, &err), &err);
    const anx_suspect s = suspect_of(b);
    ANX_CHECK_OK(anx_diagnose(&s, &j, &err), &err);
    bool found = id == NULL && j.n_causes == 0;
    for (int i = 0; id != NULL && i < j.n_causes && (i == 0 || !only_first); i++)
        found = found || strcmp(j.causes[i].id, id) == 0;
    if (!found) {
        printf("\n    wanted %s, got:", id != NULL ? id : "nothing");
        for (int i = 0; i < j.n_causes; i++)
            printf(" %s (%.2f: %s)", j.causes[i].id, j.causes[i].weight, j.causes[i].text);
        printf("\n");
    }
    anx_judged_fini(&j);
    return found;
}

/* Is reduced precision among the causes named? */
static bool names_precision(const bench *b) {
    anx_error err = ANX_ERROR_INIT;
    anx_judged j;
    ANX_CHECK_OK(anx_judged_init(&j, ANX_JUDGED_MODULE, ANX_PATH_OBSERVE, "p", "i", NULL, &err), &err);
    const anx_suspect s = suspect_of(b);
    ANX_CHECK_OK(anx_diagnose(&s, &j, &err), &err);
    bool found = false;
    for (int i = 0; i < j.n_causes; i++) found = found || strncmp(j.causes[i].id, "reduced-precision", 17) == 0;
    anx_judged_fini(&j);
    return found;
}

/* ---- values rounded or changed one by one ---- */

static float to_bf16(float v) {
    return anx_bf16_to_f32(anx_f32_to_bf16(v));
}

static float to_f16(float v) {
    return anx_f16_to_f32(anx_f32_to_f16(v));
}

static float to_tf32(float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    bits = (bits + 0xfff + ((bits >> 13) & 1)) & ~0x1fffU;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static anx_tensor mapped(const anx_tensor *t, float (*f)(float)) {
    anx_tensor m = copy_of(t);
    for (int64_t i = 0; i < anx_tensor_elems(&m); i++) ((float *)m.data)[i] = f(((float *)m.data)[i]);
    return m;
}

static void test_nothing_wrong(void) {
    static const char *const nodes[] = {"features.0", "features.1", "features.2", "features.3", "classifier.1"};
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        bench b = make_bench(nodes[i]);
        CU_ASSERT_TRUE(diagnosed(&b, NULL, true));
        free_bench(&b);
    }
}

static void test_reduced_precision(void) {
    static const struct {
        const char *id;
        float (*f)(float);
    } kinds[] = {
        {"reduced-precision-bf16", to_bf16}, {"reduced-precision-fp16", to_f16}, {"reduced-precision-tf32", to_tf32}};
    static const char *const nodes[] = {"features.0", "features.3", "classifier.1"};
    for (size_t n = 0; n < sizeof nodes / sizeof *nodes; n++)
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            for (int which = 1; which <= 3; which++) {
                bench b = make_bench(nodes[n]);
                anx_tensor x = mapped(&b.x, kinds[k].f);
                anx_tensor w = mapped(param(&b, b.graph->nodes[b.node].weight), kinds[k].f);
                take(&b, which & 1 ? &x : NULL, which & 2 ? &w : NULL, NULL);
                /* float16 and TF32 keep as many bits: within float16's range they are the same */
                CU_ASSERT_TRUE(diagnosed(&b, kinds[k].id, false));
                anx_tensor_fini(&x);
                anx_tensor_fini(&w);
                free_bench(&b);
            }
    bench b = make_bench("features.0");
    for (size_t i = 0; i < b.elems; i++) b.got[i] = to_bf16(b.got[i]);
    CU_ASSERT_TRUE(diagnosed(&b, "rounded-output-bf16", true));
    free_bench(&b);
}

static void test_bias(void) {
    static const char *const nodes[] = {"features.0", "features.3", "classifier.1"};
    for (size_t n = 0; n < sizeof nodes / sizeof *nodes; n++) {
        bench b = make_bench(nodes[n]);
        anx_tensor bias = copy_of(param(&b, b.graph->nodes[b.node].bias));
        float *v = bias.data;
        const int64_t count = bias.shape[0];
        const float first = v[0];
        memmove(v, v + 1, (size_t)(count - 1) * sizeof *v); /* each output gets the next one's */
        v[count - 1] = first;
        take(&b, NULL, NULL, &bias);
        CU_ASSERT_TRUE(diagnosed(&b, "shifted-bias", true));
        memset(v, 0, (size_t)count * sizeof *v);
        take(&b, NULL, NULL, &bias);
        CU_ASSERT_TRUE(diagnosed(&b, "missing-bias", true));
        anx_tensor_fini(&bias);
        free_bench(&b);
    }
}

/* ---- rearranged inputs and weights ---- */

/* t as (outer, c, h, w), each element taken from the place that `from` names in its (c, h, w); outside: 0. */
static anx_tensor rearranged(const anx_tensor *t, bool (*from)(const int64_t e[3], int64_t at[3])) {
    anx_tensor r = copy_of(t);
    const int64_t *e = t->shape + 1;
    float *out = r.data;
    for (int64_t o = 0; o < t->shape[0]; o++)
        for (int64_t c = 0; c < e[0]; c++)
            for (int64_t y = 0; y < e[1]; y++)
                for (int64_t x = 0; x < e[2]; x++) {
                    int64_t at[3] = {c, y, x};
                    const bool inside = from(e, at);
                    *out++ = inside ? ((float *)t->data)[((o * e[0] + at[0]) * e[1] + at[1]) * e[2] + at[2]] : 0;
                }
    return r;
}

static bool from_reversed_channel(const int64_t e[3], int64_t at[3]) {
    at[0] = e[0] - 1 - at[0];
    return true;
}

static bool from_the_right(const int64_t e[3], int64_t at[3]) {
    return ++at[2] < e[2];
}

static bool from_below(const int64_t e[3], int64_t at[3]) {
    return ++at[1] < e[1];
}

static bool flipped(const int64_t e[3], int64_t at[3]) {
    at[1] = e[1] - 1 - at[1];
    at[2] = e[2] - 1 - at[2];
    return true;
}

static bool exchanged(const int64_t e[3], int64_t at[3]) {
    (void)e;
    const int64_t y = at[1];
    at[1] = at[2];
    at[2] = y;
    return true;
}

static void test_rearranged(void) {
    static const struct {
        const char *node, *id;
        bool weights;
        bool (*from)(const int64_t e[3], int64_t at[3]);
    } rows[] = {
        {"features.0", "channel-order", false, from_reversed_channel},
        {"features.0", "padding", false, from_the_right},
        {"features.3", "padding", false, from_below},
        {"features.0", "kernel-flipped", true, flipped},
        {"features.3", "kernel-flipped", true, flipped},
        {"features.0", "kernel-transposed", true, exchanged},
        {"features.5", "kernel-transposed", true, exchanged},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bench b = make_bench(rows[i].node);
        anx_tensor t = rearranged(rows[i].weights ? param(&b, b.graph->nodes[b.node].weight) : &b.x, rows[i].from);
        take(&b, rows[i].weights ? NULL : &t, rows[i].weights ? &t : NULL, NULL);
        CU_ASSERT_TRUE(diagnosed(&b, rows[i].id, true));
        anx_tensor_fini(&t);
        free_bench(&b);
    }
}

static void test_flatten_order(void) {
    bench b = make_bench("classifier.1");
    const anx_extent narrow_average = *anx_graph_extent(b.graph, anx_graph_find_node(b.graph, "avgpool"));
    const anx_extent *e = &narrow_average;
    const int64_t plane = e->dim[1] * e->dim[2];
    anx_tensor x = copy_of(&b.x);
    for (int64_t n = 0; n < BATCH; n++)
        for (int64_t c = 0; c < e->dim[0]; c++)
            for (int64_t i = 0; i < plane; i++)
                ((float *)x.data)[n * e->dim[0] * plane + i * e->dim[0] + c] =
                    ((float *)b.x.data)[n * e->dim[0] * plane + c * plane + i];
    take(&b, &x, NULL, NULL);
    CU_ASSERT_TRUE(diagnosed(&b, "flatten-order", true));
    free_bench(&b);

    b = make_bench("flatten"); /* where the values themselves show it */
    memcpy(b.got, x.data, b.elems * sizeof *b.got);
    for (int64_t n = 0; n < BATCH; n++)
        for (int64_t c = 0; c < e->dim[0]; c++)
            for (int64_t i = 0; i < plane; i++)
                b.right[n * e->dim[0] * plane + c * plane + i] = b.got[n * e->dim[0] * plane + i * e->dim[0] + c];
    CU_ASSERT_TRUE(diagnosed(&b, "layout", true));
    anx_tensor_fini(&x);
    free_bench(&b);
}

/* ---- patterns ---- */

static void test_patterns_of_values(void) {
    bench b = make_bench("features.0");
    const size_t each = b.elems / BATCH;
    b.got[7] = NAN;
    CU_ASSERT_TRUE(diagnosed(&b, "nan", true));
    for (size_t i = 0; i < b.elems; i++) b.got[i] = INFINITY; /* no hypothesis explains infinity by coming near it */
    CU_ASSERT_TRUE(diagnosed(&b, "nan", true));
    CU_ASSERT_FALSE(names_precision(&b));
    memset(b.got, 0, b.elems * sizeof *b.got);
    CU_ASSERT_TRUE(diagnosed(&b, "zeros", true));
    for (size_t i = 0; i < b.elems; i++) b.got[i] = (float)(1.25 * b.right[i]);
    CU_ASSERT_TRUE(diagnosed(&b, "scaled", true));
    for (size_t i = 0; i < b.elems; i++) b.got[i] = (float)-b.right[i];
    CU_ASSERT_TRUE(diagnosed(&b, "sign", true));
    for (size_t i = 0; i < b.elems; i++) b.got[i] = (float)(b.right[i] < 0 ? 0 : b.right[i]);
    CU_ASSERT_TRUE(diagnosed(&b, "relu-in-place", true));
    for (size_t i = 0; i < b.elems; i++) b.got[i] = (float)fmin(b.right[i], 1);
    CU_ASSERT_TRUE(diagnosed(&b, "clipped", true));
    for (size_t i = 0; i < b.elems; i++) b.got[i] = (float)b.right[i % each];
    CU_ASSERT_TRUE(diagnosed(&b, "stale-image", true));
    free_bench(&b);

    b = make_bench("features.1");
    memcpy(b.got, b.x.data, b.elems * sizeof *b.got);
    CU_ASSERT_TRUE(diagnosed(&b, "skipped-relu", true));
    free_bench(&b);

    b = make_bench("classifier.0");
    for (size_t i = 0; i < b.elems; i++) b.got[i] = i % 3 == 0 ? 0 : (float)(2 * b.right[i]);
    CU_ASSERT_TRUE(diagnosed(&b, "dropout-active", true));
    free_bench(&b);
}

static void test_softmax(void) {
    bench b = make_bench("prob");
    memcpy(b.got, b.x.data, b.elems * sizeof *b.got);
    CU_ASSERT_TRUE(diagnosed(&b, "softmax-missing", true));
    for (size_t i = 0; i < b.elems; i++) b.got[i] = (float)log(b.right[i]);
    CU_ASSERT_TRUE(diagnosed(&b, "log-softmax", true));
    const size_t each = b.elems / BATCH;
    const float *x = b.x.data;
    for (size_t i = 0; i < b.elems; i++) {
        double sum = 0;
        for (size_t n = 0; n < BATCH; n++) sum += exp(x[n * each + i % each]);
        b.got[i] = (float)(exp(x[i]) / sum);
    }
    CU_ASSERT_TRUE(diagnosed(&b, "softmax-dimension", true));
    free_bench(&b);
}

/* Outputs of a linear layer have no rows and columns to be recognised by. */
static void test_linear_orders(void) {
    bench b = make_bench("classifier.1");
    const size_t each = b.elems / BATCH;
    for (size_t i = 0; i < b.elems; i++) b.got[i] = (float)b.right[i % each < 2 ? i ^ 1 : i]; /* 0 and 1 exchanged */
    CU_ASSERT_TRUE(each % 2 == 0);
    CU_ASSERT_TRUE(diagnosed(&b, "channel-order", true));

    anx_tensor w = copy_of(param(&b, b.graph->nodes[b.node].weight));
    const float *from = param(&b, b.graph->nodes[b.node].weight)->data;
    const int64_t outs = w.shape[0], ins = w.shape[1];
    for (int64_t o = 0; o < outs; o++)
        for (int64_t i = 0; i < ins; i++) ((float *)w.data)[o * ins + i] = from[i * outs + o];
    take(&b, NULL, &w, NULL);
    CU_ASSERT_TRUE(diagnosed(&b, "weights-transposed", true));
    anx_tensor_fini(&w);
    free_bench(&b);
}

static void test_patterns_of_place(void) {
    bench b = make_bench("features.0");
    const anx_extent *e = anx_graph_extent(b.graph, b.node);
    const size_t plane = (size_t)(e->dim[1] * e->dim[2]), w = (size_t)e->dim[2], h = (size_t)e->dim[1];
    const size_t each = b.elems / BATCH;

    for (size_t i = 0; i < each; i++) /* channels of image 0 in another order: 0 and 1 exchanged, 2 and 3 */
        b.got[i] = (float)b.right[i / plane < 4 ? (i / plane ^ 1) * plane + i % plane : i];
    CU_ASSERT_TRUE(diagnosed(&b, "channel-order", true));

    for (size_t i = 0; i < b.elems; i++) b.got[i] = (float)b.right[i];
    for (size_t i = 3 * plane; i < 4 * plane; i++) b.got[i] += 0.125f;
    CU_ASSERT_TRUE(diagnosed(&b, "one-channel", false));
    CU_ASSERT_TRUE(diagnosed(&b, "bias", true));

    for (size_t i = 0; i < b.elems; i++) {
        const size_t x = i % w, y = i / w % h;
        b.got[i] = (float)(b.right[i] + (x + 1 == w || y + 1 == h ? 0.5 + (double)(i % 5) : 0));
    }
    CU_ASSERT_TRUE(diagnosed(&b, "far-edge", true));

    for (size_t i = 0; i < b.elems; i++) {
        const size_t x = i % w, y = i / w % h;
        b.got[i] = (float)(b.right[i] + (x == 0 || y == 0 || x + 1 == w || y + 1 == h ? 0.5 + (double)(i % 5) : 0));
    }
    CU_ASSERT_TRUE(diagnosed(&b, "border", true));

    for (size_t i = 0; i < b.elems; i++) b.got[i] = (float)(i % w > 0 ? b.right[i - 1] : 0);
    CU_ASSERT_TRUE(diagnosed(&b, "shift", true));
    free_bench(&b);

    b = make_bench("classifier.1");
    for (size_t i = b.elems - 6; i < b.elems; i++) b.got[i] += (float)(i % 3) + 1;
    CU_ASSERT_TRUE(diagnosed(&b, "tail", true));
    free_bench(&b);

    b = make_bench("features.2");
    for (size_t i = 0; i < b.elems; i++) b.got[i] = (float)b.right[i];
    CU_ASSERT_TRUE(diagnosed(&b, NULL, true));
    free_bench(&b);
}

static void test_pooling(void) {
    bench b = make_bench("features.2");
    const anx_node *n = &b.graph->nodes[b.node];
    const int64_t iw = n->in.dim[2], ih = n->in.dim[1], ow = n->out.dim[2], oh = n->out.dim[1];
    for (int kind = 0; kind < 2; kind++) { /* a window of 2 x 2, and the average of 3 x 3 */
        size_t at = 0;
        for (int64_t p = 0; p < BATCH * n->in.dim[0]; p++)
            for (int64_t y = 0; y < oh; y++)
                for (int64_t x = 0; x < ow; x++, at++) {
                    double top = -INFINITY, sum = 0;
                    for (int64_t i = 0; i < (kind == 0 ? 2 : 3); i++)
                        for (int64_t k = 0; k < (kind == 0 ? 2 : 3); k++) {
                            const double v = ((float *)b.x.data)[(p * ih + 2 * y + i) * iw + 2 * x + k];
                            top = fmax(top, v);
                            sum += v;
                        }
                    b.got[at] = (float)(kind == 0 ? top : sum / 9);
                }
        CU_ASSERT_EQUAL(at, b.elems);
        CU_ASSERT_TRUE(diagnosed(&b, kind == 0 ? "window" : "pooling-kind", true));
    }
    free_bench(&b);
}

/* ---- images ---- */

enum { IW = 48, IH = 40 };

static anx_image make_image(int64_t width, int64_t height) {
    anx_image m = {.width = width, .height = height, .pixels = malloc((size_t)(width * height * 3))};
    for (int64_t i = 0; i < width * height * 3; i++) {
        const int64_t c = i % 3, x = i / 3 % width, y = i / 3 / width;
        m.pixels[i] =
            (uint8_t)(128 + 60 * sin(0.4 * (double)x + (double)c) + 50 * cos(0.3 * (double)y * (double)(c + 1)));
    }
    return m;
}

static bool image_diagnosed(const anx_image *got, const anx_image *expected, const char *id) {
    anx_error err = ANX_ERROR_INIT;
    anx_judged j;
    ANX_CHECK_OK(anx_judged_init(&j, ANX_JUDGED_STAGE, ANX_PATH_PREPROCESS, "crop", "i", NULL, &err), &err);
    ANX_CHECK_OK(anx_diagnose_image(got, expected, &j, &err), &err);
    const bool found = j.n_causes > 0 && strcmp(j.causes[0].id, id) == 0;
    anx_judged_fini(&j);
    return found;
}

static uint8_t *at(const anx_image *m, int64_t y, int64_t x, int64_t c) {
    return m->pixels + (y * m->width + x) * 3 + c;
}

static void test_images(void) {
    anx_image right = make_image(IW, IH), got = make_image(IW, IH);
    for (int64_t i = 0; i < IW * IH; i++)
        for (int64_t c = 0; c < 3; c++) got.pixels[i * 3 + c] = right.pixels[i * 3 + 2 - c];
    CU_ASSERT_TRUE(image_diagnosed(&got, &right, "channel-order"));
    for (int64_t y = 0; y < IH; y++)
        for (int64_t x = 0; x < IW; x++)
            for (int64_t c = 0; c < 3; c++) *at(&got, y, x, c) = *at(&right, y, x > 0 ? x - 1 : 0, c);
    CU_ASSERT_TRUE(image_diagnosed(&got, &right, "shift"));
    for (int64_t i = 0; i < IW * IH * 3; i++) got.pixels[i] = (uint8_t)(255 - right.pixels[i]);
    CU_ASSERT_TRUE(image_diagnosed(&got, &right, "inverted"));
    for (int64_t i = 0; i < IW * IH * 3; i++) got.pixels[i] = (uint8_t)(right.pixels[i] + (i % 7 == 0));
    CU_ASSERT_TRUE(image_diagnosed(&got, &right, "pixel-rounding"));
    anx_image turned = make_image(IH, IW), smaller = make_image(IW - 1, IH);
    for (int64_t y = 0; y < IW; y++)
        for (int64_t x = 0; x < IH; x++)
            for (int64_t c = 0; c < 3; c++) *at(&turned, y, x, c) = *at(&right, x, IW - 1 - y, c);
    CU_ASSERT_TRUE(image_diagnosed(&turned, &right, "orientation"));
    CU_ASSERT_TRUE(image_diagnosed(&smaller, &right, "size"));
    anx_image_fini(&right);
    anx_image_fini(&got);
    anx_image_fini(&turned);
    anx_image_fini(&smaller);
}

/* A photograph's kind of detail, halved: by the mean of each 2 x 2 pixels, or by one of them. */
static void test_resizing(void) {
    anx_image large = make_image(2 * IW, 2 * IH), right = make_image(IW, IH), got = make_image(IW, IH);
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 3);
    static float noise[2 * IW * 2 * IH * 3];
    anx_mt19937_uniform_f32(&gen, sizeof noise / sizeof *noise, -12, 12, noise);
    for (size_t i = 0; i < sizeof noise / sizeof *noise; i++)
        large.pixels[i] = (uint8_t)fmin(fmax(large.pixels[i] + noise[i], 0), 255);
    for (int64_t y = 0; y < IH; y++)
        for (int64_t x = 0; x < IW; x++)
            for (int64_t c = 0; c < 3; c++) {
                const int sum = *at(&large, 2 * y, 2 * x, c) + *at(&large, 2 * y, 2 * x + 1, c) +
                                *at(&large, 2 * y + 1, 2 * x, c) + *at(&large, 2 * y + 1, 2 * x + 1, c);
                *at(&right, y, x, c) = (uint8_t)((sum + 2) / 4);
                *at(&got, y, x, c) = *at(&large, 2 * y + (x & 1), 2 * x + (y & 1), c);
            }
    CU_ASSERT_TRUE(image_diagnosed(&got, &right, "no-antialias"));
    CU_ASSERT_TRUE(image_diagnosed(&right, &got, "smoother"));
    for (int64_t y = 0; y < IH; y++) /* sharper, but another part of the picture: nothing that is known */
        for (int64_t x = 0; x < IW; x++)
            for (int64_t c = 0; c < 3; c++) *at(&got, y, x, c) = *at(&large, y + 7, x + 5, c);
    CU_ASSERT_FALSE(image_diagnosed(&got, &right, "no-antialias"));
    anx_image_fini(&large);
    anx_image_fini(&right);
    anx_image_fini(&got);
}

static bool input_diagnosed(const float *got, const float *expected, const char *id, const char *text) {
    anx_error err = ANX_ERROR_INIT;
    anx_judged j;
    ANX_CHECK_OK(anx_judged_init(&j, ANX_JUDGED_STAGE, ANX_PATH_PREPROCESS, "input", "i", NULL, &err), &err);
    ANX_CHECK_OK(anx_diagnose_input(got, expected, IH, IW, &anx_preprocess_torchvision, &j, &err), &err);
    const bool found = j.n_causes > 0 && strcmp(j.causes[0].id, id) == 0 && strstr(j.causes[0].text, text) != NULL;
    if (!found) printf("\n    wanted %s, got %s\n", id, j.n_causes > 0 ? j.causes[0].text : "nothing");
    anx_judged_fini(&j);
    return found;
}

/* (x/255 - mean)/std of an image, channel c normalised by the constants given. */
static void normalise(const anx_image *m, const double mean[3], const double std[3], float *out) {
    for (int c = 0; c < 3; c++)
        for (int64_t i = 0; i < IW * IH; i++)
            out[c * IW * IH + i] = (float)(((double)m->pixels[i * 3 + c] / 255 - mean[c]) / std[c]);
}

static void test_inputs(void) {
    static const double mean[3] = {0.485, 0.456, 0.406}, std[3] = {0.229, 0.224, 0.225};
    static const double rmean[3] = {0.406, 0.456, 0.485}, rstd[3] = {0.225, 0.224, 0.229};
    static const double zero[3] = {0, 0, 0}, one[3] = {1, 1, 1}, half[3] = {0.5, 0.5, 0.5};
    static const double levels[3] = {1 / 255.0, 1 / 255.0, 1 / 255.0};
    static float right[3 * IW * IH], got[3 * IW * IH];
    anx_image m = make_image(IW, IH);
    normalise(&m, mean, std, right);
    normalise(&m, rmean, rstd, got);
    CU_ASSERT_TRUE(input_diagnosed(got, right, "normalisation", "reverse order"));
    normalise(&m, zero, one, got);
    CU_ASSERT_TRUE(input_diagnosed(got, right, "normalisation", "not normalised"));
    normalise(&m, half, half, got);
    CU_ASSERT_TRUE(input_diagnosed(got, right, "normalisation", "-1 .. 1"));
    normalise(&m, zero, levels, got);
    CU_ASSERT_TRUE(input_diagnosed(got, right, "normalisation", "0 to 255"));
    static const double std_255[3] = {0.229 / 255, 0.224 / 255, 0.225 / 255};
    static const double mean_255[3] = {0.485 / 255, 0.456 / 255, 0.406 / 255};
    normalise(&m, mean_255, std_255, got); /* (v - mean)/std of v in 0 .. 255 */
    CU_ASSERT_TRUE(input_diagnosed(got, right, "normalisation", "as if it were 0 to 1"));
    normalise(&m, mean, levels, got);
    CU_ASSERT_TRUE(input_diagnosed(got, right, "normalisation", "0 to 255 less a mean"));
    normalise(&m, mean, one, got);
    CU_ASSERT_TRUE(input_diagnosed(got, right, "normalisation", "not divided by std"));
    for (int64_t i = 0; i < 3 * IW * IH; i++) got[i] = (float)(200 + i * 7 % 50); /* nothing to do with the image */
    CU_ASSERT_TRUE(input_diagnosed(got, right, "normalisation", "values from 200 to 249"));
    normalise(&m, zero, std, got);
    CU_ASSERT_TRUE(input_diagnosed(got, right, "normalisation", "mean is not subtracted"));
    for (int c = 0; c < 3; c++) memcpy(got + c * IW * IH, right + (2 - c) * IW * IH, IW * IH * sizeof *got);
    CU_ASSERT_TRUE(input_diagnosed(got, right, "channel-order", "after normalising"));
    for (int64_t i = 0; i < 3 * IW * IH; i++) got[i] = nextafterf(right[i], 9);
    CU_ASSERT_TRUE(input_diagnosed(got, right, "float-rounding", ""));
    for (int64_t i = 0; i < IW * IH; i++) { /* BGR before normalising: no straight line of the right values */
        const uint8_t r = m.pixels[i * 3];
        m.pixels[i * 3] = m.pixels[i * 3 + 2];
        m.pixels[i * 3 + 2] = r;
    }
    normalise(&m, mean, std, got);
    CU_ASSERT_TRUE(input_diagnosed(got, right, "channel-order", "BGR"));
    normalise(&m, mean, levels, got); /* as Caffe's networks want it: two causes, neither a loss of colour */
    CU_ASSERT_TRUE(input_diagnosed(got, right, "channel-order", "BGR"));
    anx_image_fini(&m);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"nothing is said of right values", test_nothing_wrong},
        {"operands and outputs of fewer bits are named", test_reduced_precision},
        {"a missing or shifted bias is named", test_bias},
        {"rearranged inputs and kernels are named", test_rearranged},
        {"a flatten in the wrong order is named", test_flatten_order},
        {"patterns of values are named", test_patterns_of_values},
        {"what stands in a softmax's place is named", test_softmax},
        {"exchanged outputs and transposed weights of linear layers are named", test_linear_orders},
        {"patterns of place are named", test_patterns_of_place},
        {"wrong pooling is named", test_pooling},
        {"faults of images are named", test_images},
        {"resizing otherwise is named", test_resizing},
        {"faults of normalisation are named", test_inputs},
        {NULL, NULL},
    };
    return anx_test_main("diagnose", tests, argc, argv);
}
