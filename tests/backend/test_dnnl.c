/*
 * What is particular to the CPU device: that its fused plans give the bits of its observe plans, that NaN and infinity
 * come through as in PyTorch, that parameters can be written anew, and that nothing below float32 is ever used. What
 * it computes is compared with the definitions in naive.c here, and with every other backend by the conformance suite.
 */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/backend/backends.h"
#include "tests/conformance/cases.h"
#include "tests/support/anx_test.h"
#include "tests/support/naive.h"
#include "tests/support/random.h"

/*
 * Ordinary convolutions one behind the other, so that what is known of one's output bounds the next one's. The thin
 * values in the middle are ones that oneDNN may take in plain layout.
 */
static const anx_layer chain_rows[] = {
    {.name = "conv1",
     .op = ANX_OP_CONV2D,
     .u.conv =
         {.out_channels = 16, .kernel_h = 3, .kernel_w = 3, .stride_h = 1, .stride_w = 1, .pad_h = 1, .pad_w = 1}},
    {.name = "relu1", .op = ANX_OP_RELU},
    {.name = "pool1", .op = ANX_OP_MAX_POOL2D, .u.pool = {.kernel_h = 3, .kernel_w = 3, .stride_h = 2, .stride_w = 2}},
    {.name = "conv2",
     .op = ANX_OP_CONV2D,
     .u.conv = {.out_channels = 3, .kernel_h = 3, .kernel_w = 3, .stride_h = 1, .stride_w = 1, .pad_h = 1, .pad_w = 1}},
    {.name = "relu2", .op = ANX_OP_RELU},
    {.name = "pool2", .op = ANX_OP_MAX_POOL2D, .u.pool = {.kernel_h = 2, .kernel_w = 2, .stride_h = 1, .stride_w = 1}},
    {.name = "conv3",
     .op = ANX_OP_CONV2D,
     .u.conv =
         {.out_channels = 32, .kernel_h = 3, .kernel_w = 3, .stride_h = 1, .stride_w = 1, .pad_h = 1, .pad_w = 1}},
    {.name = "relu3", .op = ANX_OP_RELU},
    {.name = "flatten", .op = ANX_OP_FLATTEN, .functional = true},
    {.name = "linear", .op = ANX_OP_LINEAR, .u.linear = {.out_features = ANX_NUM_CLASSES}},
};

static const anx_arch chain = {.name = "chain",
                               .summary = "convolutions one behind the other",
                               .in_channels = 3,
                               .default_size = 17,
                               .min_size = 8,
                               .default_classes = 5,
                               .logits = "linear",
                               .layers = chain_rows,
                               .n_layers = sizeof chain_rows / sizeof chain_rows[0],
                               .internal = true};

/* A graph with parameters and an input, and a device. */
typedef struct rig {
    anx_device *device;
    anx_graph *graph;
    int64_t batch;
    anx_tensor *params;
    anx_tensor input;
} rig;

static anx_tensor tensor_of(int rank, const int64_t *shape) {
    anx_tensor t = ANX_TENSOR_INIT;
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, rank, shape, &t, &err), &err);
    memset(t.data, 0xff, anx_tensor_bytes(&t)); /* NaN: what is not written is not mistaken for a result */
    return t;
}

static void fill_normal(anx_tensor *t, test_random *r, float scale) {
    float *x = t->data;
    for (int64_t i = 0; i < anx_tensor_elems(t); i++) x[i] = scale * test_random_normal(r);
}

static void rig_init(rig *g, const anx_arch *arch, int height, int width, int64_t batch, int threads, uint64_t seed) {
    anx_error err = ANX_ERROR_INIT;
    test_random r = {.state = seed};
    const anx_device_options options = {.threads = threads};
    *g = (rig){.batch = batch};
    ANX_CHECK_OK(anx_device_open("cpu", &options, &g->device, &err), &err);
    ANX_CHECK_OK(anx_graph_create(arch, 0, height, width, &g->graph, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(g->device);
    CU_ASSERT_PTR_NOT_NULL_FATAL(g->graph);
    g->params = calloc((size_t)g->graph->n_params + 1, sizeof *g->params);
    CU_ASSERT_PTR_NOT_NULL_FATAL(g->params);
    for (int i = 0; i < g->graph->n_params; i++) {
        const anx_param *p = &g->graph->params[i];
        g->params[i] = tensor_of(p->rank, p->shape);
        fill_normal(&g->params[i], &r, 1.5f / sqrtf((float)p->fan_in));
    }
    int64_t shape[4];
    const int rank = anx_graph_node_shape(g->graph, ANX_NODE_INPUT, batch, shape);
    g->input = tensor_of(rank, shape);
    fill_normal(&g->input, &r, 1.0f);
}

static void rig_fini(rig *g) {
    for (int i = 0; g->graph != NULL && i < g->graph->n_params; i++) anx_tensor_fini(&g->params[i]);
    free(g->params);
    anx_tensor_fini(&g->input);
    anx_graph_destroy(g->graph);
    anx_device_close(g->device);
}

static anx_plan *plan_of(const rig *g, anx_plan_mode mode) {
    anx_error err = ANX_ERROR_INIT;
    anx_plan *plan = NULL;
    const anx_plan_desc desc = {
        .graph = g->graph, .batch = g->batch, .mode = mode, .params = g->params, .n_params = g->graph->n_params};
    ANX_CHECK_OK(anx_plan_create(g->device, &desc, &plan, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(plan);
    return plan;
}

static anx_tensor read_node(anx_plan *plan, int node) {
    anx_error err = ANX_ERROR_INIT;
    int64_t shape[4];
    const int rank = anx_plan_value_shape(plan, anx_value_output(node), shape);
    anx_tensor t = tensor_of(rank, shape);
    ANX_CHECK_OK(anx_plan_read(plan, anx_value_output(node), &t, &err), &err);
    return t;
}

static void write_node(anx_plan *plan, int node, const anx_tensor *t) {
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_plan_write(plan, anx_value_output(node), t, &err), &err);
}

static void run_groups(anx_plan *plan, int first, int count) {
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_plan_run_groups(plan, first, count, &err), &err);
}

static void run_on(anx_plan *plan, const anx_tensor *input) {
    write_node(plan, ANX_NODE_INPUT, input);
    run_groups(plan, 0, anx_plan_group_count(plan));
}

static int last_node(const anx_plan *plan, int group) {
    const anx_group *g = anx_plan_group(plan, group);
    return g->nodes[g->n_nodes - 1];
}

static void fail_at(const rig *g, int node, int64_t i, double expected, double got, const char *what) {
    char text[512];
    snprintf(text, sizeof text, "%s, batch %lld: '%s', element %lld: %s: expected %.9g, got %.9g", g->graph->arch->name,
             (long long)g->batch, node < 0 ? "input" : g->graph->nodes[node].layer->name, (long long)i, what, expected,
             got);
    CU_assertImplementation(CU_FALSE, __LINE__, text, __FILE__, "", CU_FALSE);
}

/* The first element whose bits differ fails the test. NaN may have any payload. */
static void check_same_bits(const rig *g, int node, const anx_tensor *expected, const anx_tensor *got,
                            const char *what) {
    const float *a = expected->data, *b = got->data;
    for (int64_t i = 0; i < anx_tensor_elems(expected); i++) {
        if (memcmp(&a[i], &b[i], sizeof *a) == 0 || (isnan(a[i]) && isnan(b[i]))) continue;
        fail_at(g, node, i, (double)a[i], (double)b[i], what);
        return;
    }
    CU_PASS("bits agree");
}

/* Every output that the fused plan keeps is what the observe plan shows. */
static void check_fused_like_observed(const rig *g, const anx_tensor *input) {
    anx_plan *infer = plan_of(g, ANX_PLAN_INFER), *observe = plan_of(g, ANX_PLAN_OBSERVE);
    CU_ASSERT_EQUAL(anx_plan_group_count(observe), g->graph->n_nodes);
    run_on(observe, input);
    write_node(infer, ANX_NODE_INPUT, input);
    for (int i = 0; i < anx_plan_group_count(infer); i++) {
        run_groups(infer, i, 1);
        const int node = last_node(infer, i);
        anx_tensor fused = read_node(infer, node), observed = read_node(observe, node);
        check_same_bits(g, node, &observed, &fused, "fused against observed");
        anx_tensor_fini(&observed);
        anx_tensor_fini(&fused);
    }
    anx_plan_destroy(observe);
    anx_plan_destroy(infer);
}

static void check_case(const anx_arch *arch, int height, int width, int64_t batch, int threads) {
    rig g;
    rig_init(&g, arch, height, width, batch, threads, 77 + (uint64_t)batch);
    check_fused_like_observed(&g, &g.input);
    rig_fini(&g);
}

static void fused_plans_give_the_bits_of_observe_plans(void) {
    for (int i = 0; conformance_case_at(i) != NULL; i++) {
        const conformance_case *c = conformance_case_at(i);
        check_case(&c->arch, c->height, c->width, c->batch, 2);
    }
    for (int64_t batch = 1; batch <= 5; batch++)
        for (int threads = 1; threads <= (batch == 5 ? 3 : 2); threads++)
            check_case(anx_arch_find("narrow"), 0, 0, batch, threads);
    check_case(&chain, 0, 0, 3, 2);
    check_case(anx_arch_find("narrow"), 47, 33, 9, 2); /* packed weights in the linear layers */
}

static void group_by_group_with_what_was_read_gives_the_bits_of_the_whole(void) {
    for (int64_t batch = 1; batch <= 5; batch++) {
        rig g;
        rig_init(&g, anx_arch_find("narrow"), 41, 37, batch, 2, 5);
        anx_plan *whole = plan_of(&g, ANX_PLAN_INFER), *pieces = plan_of(&g, ANX_PLAN_INFER);
        run_on(whole, &g.input);
        anx_tensor value = g.input;
        for (int i = 0; i < anx_plan_group_count(pieces); i++) {
            /* Another plan's garbage in between: nothing but what is written may matter. */
            write_node(pieces, anx_plan_group(pieces, i)->inputs[0], &value);
            run_groups(pieces, i, 1);
            if (i > 0) anx_tensor_fini(&value);
            value = read_node(pieces, last_node(pieces, i));
        }
        const int last = last_node(whole, anx_plan_group_count(whole) - 1);
        anx_tensor expected = read_node(whole, last);
        check_same_bits(&g, last, &expected, &value, "group by group against the whole");
        anx_tensor_fini(&expected);
        anx_tensor_fini(&value);
        anx_plan_destroy(pieces);
        anx_plan_destroy(whole);
        rig_fini(&g);
    }
}

static void a_plan_can_be_run_again_and_on_other_input(void) {
    rig g;
    rig_init(&g, anx_arch_find("narrow"), 0, 0, 3, 2, 8);
    anx_plan *plan = plan_of(&g, ANX_PLAN_INFER);
    const int logits = g.graph->logits;
    run_on(plan, &g.input);
    anx_tensor first = read_node(plan, logits), other = tensor_of(g.input.rank, g.input.shape);
    test_random r = {.state = 99};
    fill_normal(&other, &r, 3.0f);
    run_groups(plan, 0, anx_plan_group_count(plan)); /* the input stays */
    anx_tensor again = read_node(plan, logits);
    check_same_bits(&g, logits, &first, &again, "a second run");
    run_on(plan, &other);
    anx_tensor different = read_node(plan, logits);
    CU_ASSERT_NOT_EQUAL(memcmp(different.data, first.data, anx_tensor_bytes(&first)), 0);
    run_on(plan, &g.input);
    anx_tensor back = read_node(plan, logits);
    check_same_bits(&g, logits, &first, &back, "after another input");
    anx_tensor_fini(&back);
    anx_tensor_fini(&different);
    anx_tensor_fini(&again);
    anx_tensor_fini(&other);
    anx_tensor_fini(&first);
    anx_plan_destroy(plan);
    rig_fini(&g);
}

/* Scratchpads and reordered copies of one group may not lie where another group's value is still to be read. */
static void observed_values_outlive_every_other_group(void) {
    for (int64_t batch = 1; batch <= 9; batch += 4) {
        rig g;
        rig_init(&g, anx_arch_find("narrow"), 0, 0, batch, 2, 21);
        anx_plan *plan = plan_of(&g, ANX_PLAN_OBSERVE);
        run_on(plan, &g.input);
        for (int node = 0; node < g.graph->n_nodes; node++) {
            anx_tensor before = read_node(plan, node);
            for (int group = 0; group < anx_plan_group_count(plan); group++)
                if (last_node(plan, group) != node) run_groups(plan, group, 1);
            anx_tensor after = read_node(plan, node);
            check_same_bits(&g, node, &before, &after, "after the other groups ran again");
            anx_tensor_fini(&after);
            anx_tensor_fini(&before);
        }
        anx_plan_destroy(plan);
        rig_fini(&g);
    }
}

static void parameters_written_anew_are_used_and_the_callers_stay_as_they_are(void) {
    for (int64_t batch = 1; batch <= 9; batch += 4) { /* in place in a loop; in place in oneDNN; packed */
        rig g;
        rig_init(&g, anx_arch_find("narrow"), 0, 0, batch, 2, 21);
        test_random r = {.state = 4};
        anx_plan *plan = plan_of(&g, ANX_PLAN_INFER);
        for (int i = 0; i < g.graph->n_params; i++) {
            anx_error err = ANX_ERROR_INIT;
            const anx_value value = {ANX_VALUE_PARAM, i};
            anx_tensor before = tensor_of(g.params[i].rank, g.params[i].shape),
                       fresh = tensor_of(before.rank, before.shape);
            anx_tensor kept = tensor_of(before.rank, before.shape);
            ANX_CHECK_OK(anx_plan_read(plan, value, &before, &err), &err);
            check_same_bits(&g, g.graph->params[i].node, &g.params[i], &before, "a parameter read back");
            memcpy(kept.data, g.params[i].data, anx_tensor_bytes(&kept));
            fill_normal(&fresh, &r, 0.1f);
            ANX_CHECK_OK(anx_plan_write(plan, value, &fresh, &err), &err);
            ANX_CHECK_OK(anx_plan_read(plan, value, &before, &err), &err);
            check_same_bits(&g, g.graph->params[i].node, &fresh, &before, "a parameter written and read back");
            check_same_bits(&g, g.graph->params[i].node, &kept, &g.params[i], "the caller's memory");
            anx_tensor_fini(&kept);
            anx_tensor_fini(&before);
            anx_tensor_fini(&g.params[i]); /* from here on the plan may not look at it */
            g.params[i] = fresh;
        }
        anx_plan *expected_plan = plan_of(&g, ANX_PLAN_INFER);
        run_on(plan, &g.input);
        run_on(expected_plan, &g.input);
        anx_tensor expected = read_node(expected_plan, g.graph->logits), got = read_node(plan, g.graph->logits);
        check_same_bits(&g, g.graph->logits, &expected, &got, "a plan made with them");
        anx_tensor_fini(&got);
        anx_tensor_fini(&expected);
        anx_plan_destroy(expected_plan);
        anx_plan_destroy(plan);
        rig_fini(&g);
    }
}

/* ---- not numbers, and infinity -------------------------------------------------------------------------- */

static bool same_kind(long double expected, float got) {
    if (isnan(expected)) return isnan(got);
    if (isinf(expected)) return isinf(got) && (expected > 0) == (got > 0);
    return isfinite(got);
}

/* Each node of an observe plan, fed what the definition gives for the one before. */
static void check_kinds(const rig *g, const anx_tensor *input) {
    anx_plan *plan = plan_of(g, ANX_PLAN_OBSERVE);
    for (int node = 0; node < g->graph->n_nodes; node++) {
        const anx_node *nd = &g->graph->nodes[node];
        if (node == 0) write_node(plan, ANX_NODE_INPUT, input);
        anx_tensor x = read_node(plan, nd->inputs[0]);
        const int64_t in = anx_tensor_elems(&x), out = g->batch * anx_graph_node_elems(g->graph, node);
        long double *wide = calloc((size_t)in, sizeof *wide), *y = calloc((size_t)out, sizeof *y);
        CU_ASSERT_TRUE_FATAL(wide != NULL && y != NULL);
        for (int64_t i = 0; i < in; i++) wide[i] = (long double)((const float *)x.data)[i];
        naive_node(g->graph, node, g->batch, wide, nd->weight < 0 ? NULL : g->params[nd->weight].data,
                   nd->bias < 0 ? NULL : g->params[nd->bias].data, false, y);
        run_groups(plan, node, 1);
        anx_tensor got = read_node(plan, node);
        const float *z = got.data;
        for (int64_t i = 0; i < out; i++) {
            if (same_kind(y[i], z[i])) continue;
            fail_at(g, node, i, (double)y[i], (double)z[i], "not a number, or infinity");
            break;
        }
        anx_tensor_fini(&got);
        free(y);
        free(wide);
        anx_tensor_fini(&x);
    }
    anx_plan_destroy(plan);
}

static void nan_and_infinity_come_through_every_layer(void) {
    static const float specials[] = {NAN, INFINITY, -INFINITY};
    for (int s = 0; s < 3; s++) {
        for (int64_t batch = 1; batch <= 5; batch += 2) {
            rig g;
            rig_init(&g, batch == 3 ? &chain : anx_arch_find("narrow"), 33, 33, batch, 2, 3);
            float *x = g.input.data;
            x[anx_tensor_elems(&g.input) / batch - 500] = specials[s];
            check_fused_like_observed(&g, &g.input);
            check_kinds(&g, &g.input);
            x[7] = 1e38f; /* finite, but sums overflow */
            x[8] = 3e38f;
            check_fused_like_observed(&g, &g.input);
            check_kinds(&g, &g.input);
            rig_fini(&g);
        }
    }
}

static bool any_nan(const anx_tensor *t) {
    for (int64_t i = 0; i < anx_tensor_elems(t); i++)
        if (isnan(((const float *)t->data)[i])) return true;
    return false;
}

static bool output_has_nan(anx_plan *plan, int node) {
    anx_tensor value = read_node(plan, node);
    const bool seen = any_nan(&value);
    anx_tensor_fini(&value);
    return seen;
}

/* From the start, and written into a plan that was made, and run, without. */
static void nan_in_a_weight_or_bias_is_not_lost_in_a_fused_relu(void) {
    for (int param = 0; param < 6; param++) {
        rig g;
        rig_init(&g, &chain, 0, 0, 2, 2, 3);
        anx_error err = ANX_ERROR_INIT;
        anx_plan *before = plan_of(&g, ANX_PLAN_INFER);
        run_on(before, &g.input);
        CU_ASSERT_FALSE(output_has_nan(before, g.graph->logits));
        ((float *)g.params[param].data)[1] = NAN;
        ANX_CHECK_OK(anx_plan_write(before, (anx_value){ANX_VALUE_PARAM, param}, &g.params[param], &err), &err);
        run_on(before, &g.input);
        CU_ASSERT_TRUE(output_has_nan(before, g.graph->logits));
        anx_plan *after = plan_of(&g, ANX_PLAN_INFER);
        run_on(after, &g.input);
        CU_ASSERT_TRUE(output_has_nan(after, g.graph->logits));
        anx_plan_destroy(after);
        anx_plan_destroy(before);
        check_fused_like_observed(&g, &g.input);
        rig_fini(&g);
    }
}

/* Probabilities of a row with NaN or +infinity are all NaN; -infinity has none (torch.softmax). */
static void softmax_of_nan_and_infinity_is_pytorchs(void) {
    static const float specials[] = {NAN, INFINITY, -INFINITY};
    for (int s = 0; s < 3; s++) {
        rig g;
        rig_init(&g, anx_arch_find("narrow"), 0, 0, 3, 2, 3);
        anx_plan *plan = plan_of(&g, ANX_PLAN_INFER);
        const int group = anx_plan_group_count(plan) - 1, node = anx_plan_group(plan, group)->inputs[0];
        run_on(plan, &g.input);
        anx_tensor whole = read_node(plan, last_node(plan, group)), logits = read_node(plan, node);
        const int64_t classes = logits.shape[1];
        ((float *)logits.data)[classes + 4] = specials[s];
        write_node(plan, node, &logits);
        run_groups(plan, group, 1);
        anx_tensor prob = read_node(plan, last_node(plan, group));
        const float *p = prob.data, *before = whole.data;
        for (int64_t i = 0; i < 3 * classes; i++) {
            const bool other_row = i / classes != 1, the_one = i % classes == 4;
            const bool is_nan = isnan(p[i]), is_zero = p[i] == 0.0f;
            CU_ASSERT_TRUE(other_row ? p[i] == before[i] : specials[s] < 0.0f ? !is_nan && is_zero == the_one : is_nan);
        }
        anx_tensor_fini(&prob);
        anx_tensor_fini(&logits);
        anx_tensor_fini(&whole);
        anx_plan_destroy(plan);
        rig_fini(&g);
    }
}

/* A guard that trusted what was known of an input would let the fused path run on the NaN put there afterwards. */
static void check_nan_between(const rig *g, bool in_place) {
    anx_plan *plan = plan_of(g, ANX_PLAN_INFER);
    for (int i = 0; i < anx_plan_group_count(plan); i++) {
        const int node = anx_plan_group(plan, i)->inputs[0];
        float *data = in_place ? anx_plan_host_pointer(plan, anx_value_output(node)) : NULL;
        if (in_place && data == NULL) continue;
        run_on(plan, &g->input);
        run_groups(plan, 0, i);
        anx_tensor value = read_node(plan, node);
        ((float *)value.data)[0] = NAN;
        if (in_place)
            data[0] = NAN;
        else
            write_node(plan, node, &value);
        anx_tensor_fini(&value);
        run_groups(plan, i, 1);
        if (!output_has_nan(plan, last_node(plan, i)))
            fail_at(g, last_node(plan, i), 0, NAN, 0.0, "NaN written before");
        else
            CU_PASS("NaN came through");
    }
    anx_plan_destroy(plan);
}

static void the_guard_looks_at_what_is_written_in_between(void) {
    rig g;
    rig_init(&g, &chain, 0, 0, 1, 2, 3);
    check_nan_between(&g, false);
    check_nan_between(&g, true);
    rig_fini(&g);
    rig_init(&g, anx_arch_find("narrow"), 33, 33, 1, 2, 3);
    check_nan_between(&g, false);
    check_nan_between(&g, true);
    rig_fini(&g);
}

/* ---- precision ------------------------------------------------------------------------------------------ */

static void odd_integers(anx_tensor *t, test_random *r, int64_t lo, int64_t hi) {
    float *x = t->data;
    for (int64_t i = 0; i < anx_tensor_elems(t); i++) {
        const int64_t v = 2 * test_random_int(r, lo / 2, hi / 2 - 1) + 1;
        x[i] = (float)(test_random_bits(r) & 1u ? v : -v);
    }
}

/*
 * Twelve-bit odd integers in one operand and -1, 0, 1 in the other: every sum is exact in float32, and none is in
 * TF32, half precision, FFT or large Winograd tiles. main() asks oneDNN for the least precision it has.
 */
static void nothing_less_than_float32_is_computed_with(void) {
    for (int wide_weights = 0; wide_weights < 2; wide_weights++) {
        for (int64_t batch = 1; batch <= 9; batch += 4) {
            rig g;
            rig_init(&g, anx_arch_find("narrow"), 33, 33, batch, 2, 6);
            test_random r = {.state = 31};
            anx_plan *plan = NULL;
            for (int i = 0; i < g.graph->n_params; i++) {
                if (wide_weights)
                    odd_integers(&g.params[i], &r, 2048, 4096);
                else
                    for (int64_t k = 0; k < anx_tensor_elems(&g.params[i]); k++)
                        ((float *)g.params[i].data)[k] = (float)test_random_int(&r, -1, 1);
            }
            plan = plan_of(&g, ANX_PLAN_OBSERVE);
            for (int node = 0; node < g.graph->n_nodes; node++) {
                const anx_node *nd = &g.graph->nodes[node];
                if (nd->weight == ANX_NO_PARAM) continue;
                int64_t shape[4];
                const int rank = anx_graph_node_shape(g.graph, nd->inputs[0], batch, shape);
                anx_tensor x = tensor_of(rank, shape);
                for (int64_t k = 0; k < anx_tensor_elems(&x); k++)
                    ((float *)x.data)[k] = (float)test_random_int(&r, -1, 1);
                if (!wide_weights) odd_integers(&x, &r, 2048, 4096);
                write_node(plan, nd->inputs[0], &x);
                run_groups(plan, node, 1);
                anx_tensor y = read_node(plan, node), exact = tensor_of(y.rank, y.shape);
                long double *wide = calloc((size_t)anx_tensor_elems(&x), sizeof *wide);
                long double *sums = calloc((size_t)anx_tensor_elems(&y), sizeof *sums);
                CU_ASSERT_TRUE_FATAL(wide != NULL && sums != NULL);
                for (int64_t k = 0; k < anx_tensor_elems(&x); k++) wide[k] = (long double)((float *)x.data)[k];
                naive_node(g.graph, node, batch, wide, g.params[nd->weight].data, g.params[nd->bias].data, false, sums);
                for (int64_t k = 0; k < anx_tensor_elems(&y); k++) ((float *)exact.data)[k] = (float)sums[k];
                check_same_bits(&g, node, &exact, &y, "exact integers");
                free(sums);
                free(wide);
                anx_tensor_fini(&exact);
                anx_tensor_fini(&y);
                anx_tensor_fini(&x);
            }
            anx_plan_destroy(plan);
            rig_fini(&g);
        }
    }
}

/* ---- the rest of the contract --------------------------------------------------------------------------- */

static void the_inside_of_a_fused_group_is_refused_by_name(void) {
    rig g;
    rig_init(&g, anx_arch_find("narrow"), 0, 0, 1, 1, 1);
    anx_plan *plan = plan_of(&g, ANX_PLAN_INFER);
    anx_error err = ANX_ERROR_INIT;
    int64_t shape[4];
    const int conv = anx_graph_find_node(g.graph, "features.0");
    const int rank = anx_plan_value_shape(plan, anx_value_output(conv), shape);
    anx_tensor t = tensor_of(rank, shape);
    ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_plan_read(plan, anx_value_output(conv), &t, &err), &err);
    ANX_CHECK_MESSAGE("layer 'features.0': its output lies inside a fused group of this plan", &err);
    ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_plan_write(plan, anx_value_output(conv), &t, &err), &err);
    CU_ASSERT_PTR_NULL(anx_plan_host_pointer(plan, anx_value_output(conv)));
    CU_ASSERT_EQUAL(anx_plan_group_of_node(plan, conv), -1);
    CU_ASSERT_TRUE(anx_plan_group_of_node(plan, g.graph->logits) >= 0);
    anx_tensor_fini(&t);
    anx_plan_destroy(plan);
    rig_fini(&g);
}

static void doubles_are_rounded_on_the_way_in_and_widened_on_the_way_out(void) {
    rig g;
    rig_init(&g, anx_arch_find("narrow"), 0, 0, 2, 1, 1);
    anx_plan *plan = plan_of(&g, ANX_PLAN_INFER);
    anx_error err = ANX_ERROR_INIT;
    run_on(plan, &g.input);
    anx_tensor expected = read_node(plan, g.graph->logits), wide = ANX_TENSOR_INIT, logits = ANX_TENSOR_INIT;
    ANX_CHECK_OK(anx_tensor_convert(&g.input, ANX_F64, &wide, &err), &err);
    for (int64_t i = 0; i < anx_tensor_elems(&wide); i++) ((double *)wide.data)[i] *= 1.0 + 0x1p-30; /* rounds back */
    ANX_CHECK_OK(anx_tensor_alloc(ANX_F64, expected.rank, expected.shape, &logits, &err), &err);
    ANX_CHECK_OK(anx_plan_forward(plan, &wide, &logits, &err), &err);
    int wrong = 0;
    for (int64_t i = 0; i < anx_tensor_elems(&expected); i++)
        wrong += ((double *)logits.data)[i] != (double)((float *)expected.data)[i];
    CU_ASSERT_EQUAL(wrong, 0);
    anx_tensor_fini(&logits);
    anx_tensor_fini(&wide);
    anx_tensor_fini(&expected);
    anx_plan_destroy(plan);
    rig_fini(&g);
}

static void a_device_tells_what_it_is_and_leaves_the_callers_threads_alone(void) {
    omp_set_num_threads(5);
    rig g;
    rig_init(&g, anx_arch_find("narrow"), 0, 0, 2, 3, 1);
    anx_plan *plan = plan_of(&g, ANX_PLAN_INFER);
    run_on(plan, &g.input);
    anx_tensor logits = read_node(plan, g.graph->logits);
    anx_tensor_fini(&logits);
    anx_device_info info;
    anx_device_describe(g.device, &info);
    CU_ASSERT_STRING_EQUAL(info.backend, "cpu");
    CU_ASSERT_STRING_EQUAL(info.arithmetic, "float32");
    CU_ASSERT_EQUAL(strncmp(info.library, "oneDNN ", 7), 0);
    CU_ASSERT_TRUE(strlen(info.isa) > 0);
    CU_ASSERT_EQUAL(info.threads, 3);
    CU_ASSERT_FALSE(info.pytorch_bits);
    anx_plan_destroy(plan);
    rig_fini(&g);
    CU_ASSERT_EQUAL(omp_get_max_threads(), 5);
}

static const anx_test tests[] = {
    {"fused plans give the bits of observe plans", fused_plans_give_the_bits_of_observe_plans},
    {"group by group, with what was read, gives the bits of the whole",
     group_by_group_with_what_was_read_gives_the_bits_of_the_whole},
    {"a plan can be run again, and on other input", a_plan_can_be_run_again_and_on_other_input},
    {"observed values outlive every other group", observed_values_outlive_every_other_group},
    {"parameters written anew are used, and the caller's stay as they are",
     parameters_written_anew_are_used_and_the_callers_stay_as_they_are},
    {"NaN and infinity come through every layer", nan_and_infinity_come_through_every_layer},
    {"NaN in a weight or bias is not lost in a fused ReLU", nan_in_a_weight_or_bias_is_not_lost_in_a_fused_relu},
    {"softmax of NaN and infinity is PyTorch's", softmax_of_nan_and_infinity_is_pytorchs},
    {"the guard looks at what is written in between", the_guard_looks_at_what_is_written_in_between},
    {"nothing less than float32 is computed with", nothing_less_than_float32_is_computed_with},
    {"the inside of a fused group is refused by name", the_inside_of_a_fused_group_is_refused_by_name},
    {"doubles are rounded on the way in and widened on the way out",
     doubles_are_rounded_on_the_way_in_and_widened_on_the_way_out},
    {"a device tells what it is, and leaves the caller's threads alone",
     a_device_tells_what_it_is_and_leaves_the_callers_threads_alone},
    {NULL, NULL},
};

int main(int argc, char **argv) {
    /* Before oneDNN reads it: what is not asked for explicitly would be computed in bfloat16. */
    setenv("ONEDNN_DEFAULT_FPMATH_MODE", "ANY", 1);
    return anx_test_main("dnnl", tests, argc, argv);
}
