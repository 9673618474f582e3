/*
 * What the cuda device does by itself in training, and no other device does: SGD on its arenas, masks of the library's
 * own, several readers of one value, winners that were written and are forgotten again. On the double.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/backend/backend.h"
#include "tests/support/anx_test.h"
#include "tests/support/layer_rows.h"
#include "tests/support/random.h"

static anx_device *open_device(const char *name) {
    anx_device *device = NULL;
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_device_open(name, NULL, &device, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(device);
    return device;
}

/* ---- a network ------------------------------------------------------------------------------------------ */

typedef struct network {
    anx_graph *graph;
    anx_tensor *params;
    test_random random;
} network;

static anx_tensor draw(network *n, int rank, const int64_t *shape, double scale) {
    anx_tensor t = ANX_TENSOR_INIT;
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, rank, shape, &t, &err), &err);
    for (int64_t i = 0; i < anx_tensor_elems(&t); i++)
        ((float *)t.data)[i] = (float)scale * test_random_normal(&n->random);
    return t;
}

static void network_init(network *n, const anx_arch *arch) {
    anx_error err = ANX_ERROR_INIT;
    *n = (network){.random = {.state = 7}};
    ANX_CHECK_OK(anx_graph_create(arch, 0, 0, 0, &n->graph, &err), &err);
    n->params = calloc((size_t)n->graph->n_params, sizeof *n->params);
    for (int i = 0; i < n->graph->n_params; i++)
        n->params[i] = draw(n, n->graph->params[i].rank, n->graph->params[i].shape, 0.3);
}

static void network_fini(network *n) {
    for (int i = 0; i < n->graph->n_params; i++) anx_tensor_fini(&n->params[i]);
    free(n->params);
    anx_graph_destroy(n->graph);
}

static anx_plan *make_plan(const network *n, anx_device *device, int64_t batch, anx_plan_mode mode) {
    const anx_plan_desc desc = {
        .graph = n->graph, .batch = batch, .mode = mode, .params = n->params, .n_params = n->graph->n_params};
    anx_plan *plan = NULL;
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_plan_create(device, &desc, &plan, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(plan);
    return plan;
}

static anx_tensor read_value(anx_device *device, anx_plan *plan, anx_value value, anx_dtype dtype) {
    anx_tensor t = ANX_TENSOR_INIT;
    anx_error err = ANX_ERROR_INIT;
    int64_t shape[4];
    const int rank = anx_plan_value_shape(plan, value, shape);
    ANX_CHECK_OK(anx_tensor_alloc(dtype, rank, shape, &t, &err), &err);
    ANX_CHECK_OK(anx_plan_read(plan, value, &t, &err), &err);
    ANX_CHECK_OK(anx_device_sync(device, &err), &err);
    return t;
}

static void write_value(anx_device *device, anx_plan *plan, anx_value value, const anx_tensor *t) {
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_plan_write(plan, value, t, &err), &err);
    ANX_CHECK_OK(anx_device_sync(device, &err), &err);
}

static anx_tensor draw_value(network *n, anx_plan *plan, anx_value value) {
    int64_t shape[4];
    const int rank = anx_plan_value_shape(plan, value, shape);
    return draw(n, rank, shape, 1.0);
}

/* Forward and backward through all groups from a drawn input, with drawn gradients by the given nodes. */
static void run_both_ways(network *n, anx_device *device, anx_plan *plan, const int *from, int n_from) {
    anx_error err = ANX_ERROR_INIT;
    anx_tensor x = draw_value(n, plan, anx_value_output(ANX_NODE_INPUT));
    write_value(device, plan, anx_value_output(ANX_NODE_INPUT), &x);
    anx_tensor_fini(&x);
    ANX_CHECK_OK(anx_plan_run(plan, &err), &err);
    for (int i = 0; i < n_from; i++) {
        const anx_value value = {ANX_VALUE_GRAD, from[i]};
        anx_tensor g = draw_value(n, plan, value);
        write_value(device, plan, value, &g);
        anx_tensor_fini(&g);
    }
    const int last = anx_plan_group_of_node(plan, from[n_from - 1]);
    ANX_CHECK_OK(anx_plan_run_groups_backward(plan, 0, last + 1, &err), &err);
}

/* ---- SGD ------------------------------------------------------------------------------------------------ */

/* What a parameter has; host copies. */
typedef struct state {
    anx_tensor value, momentum, grad;
} state;

static state *read_states(const network *n, anx_device *device, anx_plan *plan) {
    state *s = calloc((size_t)n->graph->n_params, sizeof *s);
    for (int i = 0; i < n->graph->n_params; i++)
        s[i] = (state){read_value(device, plan, (anx_value){ANX_VALUE_PARAM, i}, ANX_F32),
                       read_value(device, plan, (anx_value){ANX_VALUE_MOMENTUM, i}, ANX_F32),
                       read_value(device, plan, (anx_value){ANX_VALUE_PARAM_GRAD, i}, ANX_F32)};
    return s;
}

static void free_states(const network *n, state *s) {
    for (int i = 0; i < n->graph->n_params; i++) {
        anx_tensor_fini(&s[i].value);
        anx_tensor_fini(&s[i].momentum);
        anx_tensor_fini(&s[i].grad);
    }
    free(s);
}

static float at(const anx_tensor *t, int64_t i) {
    return ((const float *)t->data)[i];
}

static bool is_near(float got, double expected, double size) {
    return fabs((double)got - expected) <= 6.0 * 0x1p-24 * size;
}

/* torch.optim.SGD in double on float32 factors; every sum may be rounded as often as it has terms. */
static bool follows_sgd(const anx_sgd_options *o, bool has_momentum, const state *before, const state *after) {
    const double lr = (double)(float)o->lr, mu = (double)(float)o->momentum, wd = (double)(float)o->weight_decay;
    const double keep = (double)(float)(1.0 - o->dampening);
    for (int64_t i = 0; i < anx_tensor_elems(&before->value); i++) {
        const double p = (double)at(&before->value, i), grad = (double)at(&before->grad, i);
        const double buffer = (double)at(&before->momentum, i);
        const double g = (o->maximize ? -grad : grad) + wd * p, size = fabs(grad) + fabs(wd * p);
        double along = g, moved = size, kept = buffer, kept_size = 0.0;
        if (mu != 0.0) {
            kept = has_momentum ? keep * g + mu * buffer : g;
            kept_size = has_momentum ? fabs(keep) * size + fabs(mu * buffer) : size;
            along = o->nesterov ? g + mu * kept : kept;
            moved = o->nesterov ? size + mu * kept_size : kept_size;
        }
        if (!is_near(at(&after->momentum, i), kept, kept_size)) return false;
        if (!is_near(at(&after->value, i), p - lr * along, fabs(p) + lr * moved)) return false;
        if (memcmp(&((float *)after->grad.data)[i], &((float *)before->grad.data)[i], sizeof(float)) != 0) return false;
    }
    return true;
}

static bool is_same(const anx_tensor *a, const anx_tensor *b) {
    return memcmp(a->data, b->data, anx_tensor_bytes(a)) == 0;
}

static void check_step(const network *n, anx_device *device, anx_plan *plan, const anx_sgd_options *const *options,
                       bool *has_momentum) {
    anx_error err = ANX_ERROR_INIT;
    bool had[64];
    state *before = read_states(n, device, plan);
    memcpy(had, has_momentum, sizeof had);
    ANX_CHECK_OK(anx_plan_sgd_step(plan, options, has_momentum, &err), &err);
    state *after = read_states(n, device, plan);
    for (int i = 0; i < n->graph->n_params; i++) {
        if (options[i] == NULL) {
            CU_ASSERT_TRUE(is_same(&before[i].value, &after[i].value) &&
                           is_same(&before[i].momentum, &after[i].momentum));
            CU_ASSERT_EQUAL(has_momentum[i], had[i]);
            continue;
        }
        if (!follows_sgd(options[i], had[i], &before[i], &after[i])) CU_FAIL(n->graph->params[i].name);
        CU_ASSERT_EQUAL(has_momentum[i], had[i] || options[i]->momentum != 0.0);
    }
    free_states(n, before);
    free_states(n, after);
}

/* Options side by side, one parameter frozen, and momentum that some have already and their neighbours do not. */
static void sgd_is_torch_s(void) {
    static const anx_sgd_options kinds[] = {
        {.lr = 0.1},
        {.lr = 0.1, .weight_decay = 0.05},
        {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.05},
        {.lr = 0.2, .momentum = 0.9, .dampening = 0.3},
        {.lr = 0.1, .momentum = 0.8, .weight_decay = 0.02, .nesterov = true},
        {.lr = 0.1, .momentum = 0.8, .nesterov = true},
        {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.05, .maximize = true},
        {.lr = 0.1, .maximize = true},
    };
    const int n_kinds = sizeof kinds / sizeof kinds[0];
    network n;
    network_init(&n, anx_arch_find("narrow"));
    anx_device *device = open_device("cuda");
    for (int first = 0; first < n_kinds; first++) {
        anx_plan *plan = make_plan(&n, device, 2, ANX_PLAN_TRAIN);
        bool has_momentum[64] = {false};
        for (int step = 0; step < 3; step++) {
            const anx_sgd_options *options[64] = {NULL};
            /* Step 1 leaves half of them out, so that in step 2 neighbours differ in whether they have momentum. */
            for (int i = 0; i < n.graph->n_params; i++)
                options[i] = i == 4 || (step == 0 && i % 2 == 1) ? NULL : &kinds[(first + i / 5) % n_kinds];
            run_both_ways(&n, device, plan, &n.graph->logits, 1);
            check_step(&n, device, plan, options, has_momentum);
        }
        anx_plan_destroy(plan);
    }
    anx_device_close(device);
    network_fini(&n);
}

/* A linear layer of 36 million weights does not go through SGD's scratch at once. */
static void sgd_goes_on_behind_its_scratch(void) {
    static const anx_layer rows[] = {FLATTEN, LINEAR("l", 6000)};
    static const anx_arch wide = {.name = "wide",
                                  .summary = "",
                                  .in_channels = 6000,
                                  .default_size = 1,
                                  .min_size = 1,
                                  .default_classes = 6000,
                                  .logits = "l",
                                  .layers = rows,
                                  .n_layers = 2,
                                  .internal = true};
    static const anx_sgd_options sgd = {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.05, .nesterov = true};
    const anx_sgd_options *options[64] = {&sgd, &sgd};
    bool has_momentum[64] = {false};
    network n;
    network_init(&n, &wide);
    anx_device *device = open_device("cuda");
    anx_plan *plan = make_plan(&n, device, 1, ANX_PLAN_TRAIN);
    run_both_ways(&n, device, plan, &n.graph->logits, 1);
    for (int step = 0; step < 2; step++) check_step(&n, device, plan, options, has_momentum);
    anx_plan_destroy(plan);
    anx_device_close(device);
    network_fini(&n);
}

/* ---- masks ---------------------------------------------------------------------------------------------- */

static double mean_of(const anx_tensor *t, float kept, int64_t *others) {
    int64_t n = 0;
    *others = 0;
    for (int64_t i = 0; i < anx_tensor_elems(t); i++) {
        n += at(t, i) == kept;
        *others += at(t, i) != kept && at(t, i) != 0.0f;
    }
    return (double)n / (double)anx_tensor_elems(t);
}

static void masks_are_the_seed_s(void) {
    static const anx_layer rows[] = {FLATTEN, DROPOUT("d1"), DROPOUT("d2"), LINEAR("l", 3)};
    static const anx_arch arch = {.name = "masks",
                                  .summary = "",
                                  .in_channels = 4000,
                                  .default_size = 1,
                                  .min_size = 1,
                                  .default_classes = 3,
                                  .logits = "l",
                                  .layers = rows,
                                  .n_layers = 4,
                                  .internal = true};
    static const double half[4] = {0.0, 0.5, 0.5, 0.0}, other[4] = {0.0, 0.2, 1.0, 0.0}, none[4] = {0.0};
    const anx_value first = {ANX_VALUE_MASK, 1}, second = {ANX_VALUE_MASK, 2};
    anx_error err = ANX_ERROR_INIT;
    int64_t others;
    network n;
    network_init(&n, &arch);
    anx_device *device = open_device("cuda");
    anx_plan *plan = make_plan(&n, device, 2, ANX_PLAN_TRAIN);
    anx_tensor masks[4];
    for (int i = 0; i < 2; i++) { /* seed 5 twice */
        ANX_CHECK_OK(anx_plan_draw_masks(plan, half, 5, &err), &err);
        masks[2 * i] = read_value(device, plan, first, ANX_F32);
        masks[2 * i + 1] = read_value(device, plan, second, ANX_F32);
    }
    CU_ASSERT_TRUE(is_same(&masks[0], &masks[2]) && is_same(&masks[1], &masks[3]));
    CU_ASSERT_FALSE(is_same(&masks[0], &masks[1])); /* two layers of one size */
    CU_ASSERT_DOUBLE_EQUAL(mean_of(&masks[0], 2.0f, &others), 0.5, 0.03);
    CU_ASSERT_EQUAL(others, 0);
    ANX_CHECK_OK(anx_plan_draw_masks(plan, half, 6, &err), &err);
    anx_tensor next = read_value(device, plan, first, ANX_F32);
    CU_ASSERT_FALSE(is_same(&masks[0], &next));
    anx_tensor_fini(&next);
    for (int i = 0; i < 4; i++) anx_tensor_fini(&masks[i]);

    ANX_CHECK_OK(anx_plan_draw_masks(plan, other, 7, &err), &err);
    masks[0] = read_value(device, plan, first, ANX_F32);
    masks[1] = read_value(device, plan, second, ANX_F32);
    CU_ASSERT_DOUBLE_EQUAL(mean_of(&masks[0], 1.25f, &others), 0.8, 0.03);
    CU_ASSERT_EQUAL(others, 0);
    CU_ASSERT_DOUBLE_EQUAL(mean_of(&masks[1], 0.0f, &others), 1.0, 0.0); /* p = 1 drops all, and is no 0 * infinity */
    anx_tensor_fini(&masks[0]);
    anx_tensor_fini(&masks[1]);
    ANX_CHECK_OK(anx_plan_draw_masks(plan, none, 7, &err), &err);
    masks[0] = read_value(device, plan, first, ANX_F32);
    CU_ASSERT_DOUBLE_EQUAL(mean_of(&masks[0], 1.0f, &others), 1.0, 0.0);
    anx_tensor_fini(&masks[0]);
    anx_plan_destroy(plan);
    anx_device_close(device);
    network_fini(&n);
}

/* ---- several readers, winners, the input ----------------------------------------------------------------- */

/* A ReLU's output read by a convolution, a pooling and a linear layer: its gradient is the sum of theirs. */
static void gradients_of_several_readers_are_added(void) {
    static const anx_layer rows[] = {
        CONV("c", 6, 3, 3, 1, 1, 1, 1, 1, 1, 1),
        RELU("r"),
        POOL("p", 2, 2, 2, 2, 0, 0, false),
        {.name = "d",
         .op = ANX_OP_CONV2D,
         .from = {"r"},
         .u.conv = {.out_channels = 4, .kernel_h = 3, .kernel_w = 3, .stride_h = 1, .stride_w = 1}},
        {.name = "flatten", .op = ANX_OP_FLATTEN, .from = {"r"}, .functional = true},
        LINEAR("l", 5)};
    static const anx_arch arch = {.name = "readers",
                                  .summary = "",
                                  .in_channels = 3,
                                  .default_size = 8,
                                  .min_size = 8,
                                  .default_classes = 5,
                                  .logits = "l",
                                  .layers = rows,
                                  .n_layers = 6,
                                  .internal = true};
    const int from[] = {2, 3, 5};
    anx_tensor gradients[2][3];
    static const char *const names[2] = {"cuda", "reference"};
    for (int d = 0; d < 2; d++) {
        network n;
        network_init(&n, &arch);
        anx_device *device = open_device(names[d]);
        anx_plan *plan = make_plan(&n, device, 3, ANX_PLAN_TRAIN);
        for (int pass = 0; pass < 2; pass++) run_both_ways(&n, device, plan, from, 3); /* nothing of the first stays */
        gradients[d][0] = read_value(device, plan, (anx_value){ANX_VALUE_GRAD, 1}, ANX_F32);
        gradients[d][1] = read_value(device, plan, (anx_value){ANX_VALUE_PARAM_GRAD, 0}, ANX_F32);
        gradients[d][2] = read_value(device, plan, (anx_value){ANX_VALUE_PARAM_GRAD, 1}, ANX_F32);
        anx_plan_destroy(plan);
        anx_device_close(device);
        network_fini(&n);
    }
    for (int k = 0; k < 3; k++) {
        int64_t wrong = 0;
        for (int64_t i = 0; i < anx_tensor_elems(&gradients[0][k]); i++) {
            const double expected = (double)at(&gradients[1][k], i);
            wrong += !(fabs((double)at(&gradients[0][k], i) - expected) <= 2e-5 * (1.0 + fabs(expected)));
        }
        CU_ASSERT_EQUAL(wrong, 0);
        anx_tensor_fini(&gradients[0][k]);
        anx_tensor_fini(&gradients[1][k]);
    }
}

/* What was written stands until the layer runs again, which finds its own; and can be written again. */
static void written_winners_end_with_the_next_pass(void) {
    anx_error err = ANX_ERROR_INIT;
    network n;
    network_init(&n, anx_arch_find("narrow"));
    anx_device *device = open_device("cuda");
    anx_plan *plan = make_plan(&n, device, 2, ANX_PLAN_TRAIN);
    const anx_value value = {ANX_VALUE_ARGMAX, 2};
    run_both_ways(&n, device, plan, &n.graph->logits, 1);
    for (int i = 0; i < 3; i++) {
        anx_tensor own = read_value(device, plan, value, ANX_I64);
        anx_tensor other = ANX_TENSOR_INIT;
        ANX_CHECK_OK(anx_tensor_convert(&own, ANX_I64, &other, &err), &err);
        for (int64_t k = 0; k < anx_tensor_elems(&other); k++) ((int64_t *)other.data)[k] = 0;
        write_value(device, plan, value, &other);
        anx_tensor back = read_value(device, plan, value, ANX_I64);
        CU_ASSERT_TRUE(is_same(&back, &other));
        ANX_CHECK_OK(anx_plan_run_groups_backward(plan, 0, anx_plan_group_of_node(plan, n.graph->logits) + 1, &err),
                     &err);
        ANX_CHECK_OK(anx_plan_run(plan, &err), &err);
        anx_tensor found = read_value(device, plan, value, ANX_I64);
        CU_ASSERT_TRUE(is_same(&found, &own));
        ANX_CHECK_OK(anx_plan_run_groups_backward(plan, 0, anx_plan_group_of_node(plan, n.graph->logits) + 1, &err),
                     &err);
        ANX_CHECK_OK(anx_device_sync(device, &err), &err);
        anx_tensor_fini(&own);
        anx_tensor_fini(&other);
        anx_tensor_fini(&back);
        anx_tensor_fini(&found);
    }
    anx_plan_destroy(plan);
    anx_device_close(device);
    network_fini(&n);
}

/* The input goes up by a stream of its own, into one of two buffers: what was asked for before is read before. */
static void an_input_is_read_before_it_is_written_over(void) {
    anx_error err = ANX_ERROR_INIT;
    network n;
    network_init(&n, anx_arch_find("narrow"));
    anx_device *device = open_device("cuda");
    anx_plan *plan = make_plan(&n, device, 2, ANX_PLAN_INFER);
    const anx_value input = anx_value_output(ANX_NODE_INPUT);
    anx_tensor written[3], read[3];
    for (int i = 0; i < 3; i++) {
        written[i] = draw_value(&n, plan, input);
        read[i] = draw_value(&n, plan, input);
    }
    for (int i = 0; i < 3; i++) {
        ANX_CHECK_OK(anx_plan_write(plan, input, &written[i], &err), &err);
        ANX_CHECK_OK(anx_plan_read(plan, input, &read[i], &err), &err);
    }
    ANX_CHECK_OK(anx_device_sync(device, &err), &err);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_TRUE(is_same(&written[i], &read[i]));
        anx_tensor_fini(&written[i]);
        anx_tensor_fini(&read[i]);
    }
    anx_plan_destroy(plan);
    anx_device_close(device);
    network_fini(&n);
}

static void a_batch_beyond_what_the_libraries_count_is_refused(void) {
    network n;
    network_init(&n, anx_arch_find("narrow"));
    anx_device *device = open_device("cuda");
    const anx_plan_desc desc = {.graph = n.graph,
                                .batch = (int64_t)1 << 24,
                                .mode = ANX_PLAN_INFER,
                                .params = n.params,
                                .n_params = n.graph->n_params};
    anx_plan *plan = NULL;
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_plan_create(device, &desc, &plan, &err), &err);
    ANX_CHECK_MESSAGE("a batch of 16777216 is too large for cuDNN; it takes up to", &err);
    anx_device_close(device);
    network_fini(&n);
}

static const anx_test tests[] = {
    {"sgd is torch's", sgd_is_torch_s},
    {"sgd goes on behind its scratch", sgd_goes_on_behind_its_scratch},
    {"masks are the seed's", masks_are_the_seed_s},
    {"gradients of several readers are added", gradients_of_several_readers_are_added},
    {"written winners end with the next pass", written_winners_end_with_the_next_pass},
    {"an input is read before it is written over", an_input_is_read_before_it_is_written_over},
    {"a batch beyond what the libraries count is refused", a_batch_beyond_what_the_libraries_count_is_refused},
    {NULL, NULL},
};

int main(int argc, char **argv) {
    return anx_test_main("cuda_training", tests, argc, argv);
}
