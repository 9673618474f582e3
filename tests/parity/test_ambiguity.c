/*
 * Rounding-ambiguous decisions on torchvision's AlexNet at full size, with the weights of torch.manual_seed(0) and the
 * photographs that ship: whatever the labels were, two right float32 engines never decide otherwise than double where
 * an image is not marked; few are; and an engine of fewer bits is beyond what the mark allows for.
 */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/file.h"
#include "loaders/image/preprocess.h"
#include "parity/predictions.h"
#include "src/backend/backend.h"
#include "src/base/version.h"
#include "tests/support/anx_test.h"
#include "tests/support/seeded_model.h"

/* u */
#define ROUNDING_UNIT 0x1p-24

enum { max_images = 64, input_elems = 3 * 224 * 224, classes = 1000 };

static float *inputs;
static int64_t n_images;
static anx_model *model;

/* (n_images, classes), by "reference", "cpu" and "exact", each computed once */
enum { n_devices = 3 };
static const char *const devices[n_devices] = {"reference", "cpu", "exact"};
static float *logits_by[n_devices];

static float *logits_of(const char *device_name, const float *input);

/* Model, photographs and logits, at first use; made-up JPEGs (jpeg-*) are patterns and left out. */
static void prepare(void) {
    if (model != NULL) return;
    anx_error err = ANX_ERROR_INIT;
    model = seeded_model(0, 0);
    DIR *folder = opendir(ANX_SOURCE_DATADIR "/fixtures/images");
    inputs = calloc((size_t)max_images * input_elems, sizeof *inputs);
    if (folder == NULL || inputs == NULL) abort();
    for (struct dirent *e = readdir(folder); e != NULL && n_images < max_images; e = readdir(folder)) {
        const char *ending = strrchr(e->d_name, '.');
        if (ending == NULL || strcmp(ending, ".jpg") != 0 || strncmp(e->d_name, "jpeg-", 5) == 0) continue;
        char path[1024];
        uint8_t *bytes = NULL;
        size_t n_bytes = 0;
        snprintf(path, sizeof path, "%s/fixtures/images/%s", ANX_SOURCE_DATADIR, e->d_name);
        ANX_CHECK_OK(anx_read_file(path, &bytes, &n_bytes, &err), &err);
        ANX_CHECK_OK(anx_preprocess_fast(&anx_preprocess_torchvision, bytes, n_bytes, e->d_name,
                                         inputs + n_images++ * input_elems, &err),
                     &err);
        free(bytes);
    }
    closedir(folder);
    for (int d = 0; d < n_devices; d++) logits_by[d] = logits_of(devices[d], inputs);
}

/* (n_images, classes) */
static float *logits_of(const char *device_name, const float *input) {
    anx_error err = ANX_ERROR_INIT;
    anx_device *device = NULL;
    anx_plan *plan = NULL;
    ANX_CHECK_OK(anx_device_open(device_name, NULL, &device, &err), &err);
    const anx_plan_desc desc = {.graph = model->graph,
                                .batch = n_images,
                                .mode = ANX_PLAN_INFER,
                                .params = model->params,
                                .n_params = model->graph->n_params};
    ANX_CHECK_OK(anx_plan_create(device, &desc, &plan, &err), &err);
    const int64_t in_shape[] = {n_images, 3, 224, 224}, out_shape[] = {n_images, classes};
    const anx_tensor in = anx_tensor_view(ANX_F32, 4, in_shape, input);
    anx_tensor out = ANX_TENSOR_INIT;
    ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, 2, out_shape, &out, &err), &err);
    ANX_CHECK_OK(anx_plan_forward(plan, &in, &out, &err), &err);
    float *logits = malloc(anx_tensor_bytes(&out));
    if (logits == NULL) abort();
    memcpy(logits, out.data, anx_tensor_bytes(&out));
    anx_tensor_fini(&out);
    anx_plan_destroy(plan);
    anx_device_close(device);
    return logits;
}

typedef struct outcome {
    int64_t decisions, marked, flipped, flipped_unmarked;
    double deviation; /* largest difference of a margin, in units of u s */
} outcome;

static void compare_decision(bool right, bool truly_right, double margin, double true_margin, bool ambiguous,
                             double unit, outcome *o) {
    /* a label far from the top has a margin to the largest as well: it deviates as any other */
    const double off = right == truly_right ? fabs(margin - true_margin) : margin + true_margin;
    o->decisions++;
    o->marked += ambiguous;
    o->flipped += right != truly_right;
    o->flipped_unmarked += right != truly_right && !ambiguous;
    if (off / unit > o->deviation) o->deviation = off / unit;
}

/* Every class as the label of every image. */
static outcome compare(const float *logits, const float *truth) {
    outcome o = {.decisions = 0};
    for (int64_t i = 0; i < n_images; i++)
        for (int64_t label = 0; label < classes; label++) {
            anx_prediction p = {.file = i}, t = {.file = i};
            anx_predict(logits + i * classes, classes, label, ANX_MATH_FLOAT32, &p);
            anx_predict(truth + i * classes, classes, label, ANX_MATH_FLOAT32, &t);
            const double unit = ROUNDING_UNIT * t.spread;
            compare_decision(p.right1, t.right1, p.margin1, t.margin1, p.ambiguous1, unit, &o);
            compare_decision(p.right5, t.right5, p.margin5, t.margin5, p.ambiguous5, unit, &o);
        }
    return o;
}

static void right_engines_decide_alike_where_nothing_is_marked(void) {
    prepare();
    CU_ASSERT_TRUE(n_images >= 20);
    const float *truth = logits_by[0];
    for (int d = 1; d < n_devices; d++) {
        const float *logits = logits_by[d];
        CU_ASSERT_NOT_EQUAL(memcmp(logits, truth, (size_t)(n_images * classes) * sizeof *logits), 0);
        const outcome o = compare(logits, truth);
        printf("\n    %s: %lld images, margins off by at most %.1f u s, %lld of %lld decisions marked, %lld turned\n",
               devices[d], (long long)n_images, o.deviation, (long long)o.marked, (long long)o.decisions,
               (long long)o.flipped);
        CU_ASSERT_EQUAL(o.flipped_unmarked, 0);
        CU_ASSERT_TRUE(o.deviation < 512);
        /* Over all its labels an image has two close decisions of each kind at most (first and second, fifth and
           sixth): a quarter of the images' at most, where a user's labels meet one in 1,000 of these. */
        CU_ASSERT_TRUE(o.marked <= n_images / 4);
    }
}

/*
 * Photographs rarely come close to a decision, so some are brought there: the label's logit is shifted, in both alike
 * as another bias would, until its margin in double is a few units.
 */
static outcome compare_nearby(const float *logits, const float *truth, int k) {
    static const double units[] = {0, 3, 10, 30, 100, 1000};
    outcome o = {.decisions = 0};
    for (int64_t i = 0; i < n_images; i++)
        for (int64_t label = 0; label < classes; label += 40)
            for (size_t u = 0; u < 2 * sizeof units / sizeof *units; u++) {
                float shifted[2][classes];
                anx_prediction p[2] = {{.file = i}, {.file = i}};
                const float *both[2] = {logits + i * classes, truth + i * classes};
                anx_predict(both[1], classes, label, ANX_MATH_FLOAT32, &p[1]);
                const bool right = k == 1 ? p[1].right1 : p[1].right5;
                const double margin = k == 1 ? p[1].margin1 : p[1].margin5;
                const double wanted = (u % 2 == 0 ? 1 : -1) * units[u / 2] * ROUNDING_UNIT * p[1].spread;
                for (int e = 0; e < 2; e++) {
                    memcpy(shifted[e], both[e], sizeof shifted[e]);
                    shifted[e][label] = (float)(both[e][label] - (right ? margin : -margin) + wanted);
                    anx_predict(shifted[e], classes, label, ANX_MATH_FLOAT32, &p[e]);
                }
                const double unit = ROUNDING_UNIT * p[1].spread;
                if (k == 1)
                    compare_decision(p[0].right1, p[1].right1, p[0].margin1, p[1].margin1, p[0].ambiguous1, unit, &o);
                else
                    compare_decision(p[0].right5, p[1].right5, p[0].margin5, p[1].margin5, p[0].ambiguous5, unit, &o);
            }
    return o;
}

static void decisions_that_rounding_turns_are_marked(void) {
    prepare();
    const float *truth = logits_by[0];
    for (int d = 1; d < n_devices; d++) {
        const float *logits = logits_by[d];
        for (int k = 1; k <= ANX_TOP; k += ANX_TOP - 1) {
            const outcome o = compare_nearby(logits, truth, k);
            CU_ASSERT_TRUE(o.flipped > o.decisions / 50); /* they do turn */
            CU_ASSERT_EQUAL(o.flipped_unmarked, 0);
            CU_ASSERT_EQUAL(o.marked, o.decisions / 6 * 5); /* all but those 1,000 units away */
        }
    }
}

static void fewer_bits_are_beyond_what_is_allowed_for(void) {
    prepare();
    const float *truth = logits_by[0];
    float *rounded = malloc((size_t)(n_images * input_elems) * sizeof *rounded);
    if (rounded == NULL) abort();
    for (int64_t i = 0; i < n_images * input_elems; i++) /* the network's input alone */
        rounded[i] = anx_bf16_to_f32(anx_f32_to_bf16(inputs[i]));
    float *logits = logits_of("cpu", rounded);
    const outcome o = compare(logits, truth);
    printf("\n    input as bfloat16: margins off by at most %.0f u s\n", o.deviation);
    CU_ASSERT_TRUE(o.deviation > 2 * 512);
    free(logits);
    free(rounded);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"right engines decide alike where nothing is marked", right_engines_decide_alike_where_nothing_is_marked},
        {"decisions that rounding turns are marked", decisions_that_rounding_turns_are_marked},
        {"fewer bits are beyond what is allowed for", fewer_bits_are_beyond_what_is_allowed_for},
        {NULL, NULL},
    };
    const int status = anx_test_main("ambiguity", tests, argc, argv);
    anx_model_destroy(model);
    free(inputs);
    for (int d = 0; d < n_devices; d++) free(logits_by[d]);
    return status;
}
