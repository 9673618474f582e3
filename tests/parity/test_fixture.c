/* Reading fixtures: a small one made here, then the same with one thing wrong in it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "loaders/checkpoint/safetensors.h"
#include "parity/fixture.h"
#include "src/base/mt19937.h"
#include "tests/support/anx_test.h"

#define ZERO "0000000000000000000000000000000000000000000000000000000000000000"
#define ONES "1111111111111111111111111111111111111111111111111111111111111111"

/* One conv-like point with everything and one linear-like point with a digest alone. */
static const char forward_json[] =
    "{\"schema\":1,\"kind\":\"forward\",\"name\":\"small\",\"arch\":\"narrow\",\"num_classes\":11,"
    "\"model\":\"made up\",\"pytorch_bits\":true,\"recorder\":{\"torch\":\"2.15.0\",\"threads\":\"1\"},"
    "\"params\":{\"features.0.weight\":\"" ZERO "\",\"features.0.bias\":\"" ONES "\"},"
    "\"cases\":[{\"name\":\"noise\",\"quick\":true,\"shape\":[2,3,4,5],"
    "\"input\":{\"uniform\":{\"seed\":5,\"low\":-2.0,\"high\":2.5}},"
    "\"input_digest\":\"" ZERO "\",\"recorded_at_batch\":4,"
    "\"points\":[{\"name\":\"features.0\",\"shape\":[2,2,3,3],\"digest\":\"" ONES "\",\"bits\":true,"
    "\"y32\":\"f/y32\",\"e64\":\"f/e64\",\"sketch\":{\"positions\":\"s/at\",\"y32\":\"s/y32\",\"e64\":\"s/e64\","
    "\"sign_seed\":1,\"p32\":\"s/p32\",\"pe64\":\"s/pe64\",\"gauge_norm\":\"s/norm\","
    "\"moments\":{\"sum\":1.5,\"sum_squares\":2.5,\"min\":-36,\"max\":36},"
    "\"sees\":{\"sample\":0.25,\"element\":0.5,\"rms\":64}}},"
    "{\"name\":\"classifier.1\",\"shape\":[2,70],\"digest\":\"" ZERO "\"}],"
    "\"top5\":[[[3,0.5],[1,0.25]],[[0,0.75]]]}]}";

static const char preprocess_json[] =
    "{\"schema\":1,\"kind\":\"preprocess\",\"name\":\"images\",\"profile\":\"torchvision-alexnet\",\"recorder\":{},"
    "\"samples\":[{\"name\":\"a.jpg\",\"shows\":\"nothing\",\"bytes\":\"a\",\"stages\":{"
    "\"image\":{\"shape\":[33,7,3],\"band_rows\":16,\"bands\":\"b3\"},"
    "\"resize\":{\"shape\":[33,7,3],\"band_rows\":16,\"bands\":\"b3\"},"
    "\"crop\":{\"shape\":[4,5,3],\"band_rows\":16,\"bands\":\"b1\",\"full\":\"crop\"},"
    "\"scaled\":{\"shape\":[3,4,5],\"band_rows\":16,\"bands\":\"b1\"},"
    "\"input\":{\"shape\":[3,4,5],\"band_rows\":16,\"bands\":\"b1\"}}}]}";

enum { batch = 2, channels = 2, plane = 9, elems = channels * plane, samples = 3, projections = 2 };

/* y = 1, -2, 3, ... over the whole batch; truth is an eighth more everywhere. */
static float y32[batch * elems];
static float e64[batch * elems];
static const int64_t right_positions[samples] = {0, 17, 35};
static int64_t positions[samples] = {0, 17, 35};
static float sample_y32[samples];
static float sample_e64[samples] = {0.125f, 0.125f, 0.125f};
static double p32[batch * projections * channels];
static float pe64[batch * projections * channels];
static float norm[batch * channels];
static uint8_t image[5] = {1, 2, 3, 4, 5};
static uint8_t crop[4 * 5 * 3];
static uint8_t bands[3 * 32];

/* Signs as FORMAT.md words them, one by one. */
static double sign(uint32_t seed, int element) {
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, seed);
    uint32_t draw = anx_mt19937_u32(&gen);
    for (int i = 0; i < element / 32; i++) draw = anx_mt19937_u32(&gen);
    return (draw & (1u << (element % 32))) != 0 ? -1.0 : 1.0;
}

static void fill(void) {
    for (int i = 0; i < batch * elems; i++) {
        y32[i] = (float)((i % 2 == 0 ? 1 : -1) * (i + 1));
        e64[i] = 0.125f;
    }
    for (int i = 0; i < samples; i++) sample_y32[i] = y32[right_positions[i]];
    memset(p32, 0, sizeof p32);
    memset(pe64, 0, sizeof pe64);
    for (int n = 0; n < batch; n++) {
        for (int i = 0; i < elems; i++) {
            norm[n * channels + i / plane] = 1024.0f;
            for (int k = 0; k < projections; k++) {
                const int at = (n * projections + k) * channels + i / plane;
                p32[at] += sign(1 + (uint32_t)k, i) * (double)y32[n * elems + i];
                pe64[at] += (float)sign(1 + (uint32_t)k, i) * 0.125f;
            }
        }
    }
}

static void add(anx_state_dict *dict, const char *name, anx_dtype dtype, int rank, const int64_t *shape, void *data) {
    anx_tensor t = anx_tensor_view(dtype, rank, shape, data);
    ANX_CHECK_OK(anx_state_dict_add(dict, name, &t, NULL), NULL);
}

/* Writes the tensors with this description; the path lives as long as the process. */
static const char *write_fixture(const char *name, const char *json) {
    anx_error err = ANX_ERROR_INIT;
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    const char *path = anx_test_path(name);
    fill();
    add(&dict, "f/y32", ANX_F32, 4, (int64_t[]){batch, channels, 3, 3}, y32);
    add(&dict, "f/e64", ANX_F32, 4, (int64_t[]){batch, channels, 3, 3}, e64);
    add(&dict, "s/at", ANX_I64, 1, (int64_t[]){samples}, positions);
    add(&dict, "s/y32", ANX_F32, 1, (int64_t[]){samples}, sample_y32);
    add(&dict, "s/e64", ANX_F32, 1, (int64_t[]){samples}, sample_e64);
    add(&dict, "s/p32", ANX_F64, 3, (int64_t[]){batch, projections, channels}, p32);
    add(&dict, "s/pe64", ANX_F32, 3, (int64_t[]){batch, projections, channels}, pe64);
    add(&dict, "s/norm", ANX_F32, 2, (int64_t[]){batch, channels}, norm);
    add(&dict, "a", ANX_U8, 1, (int64_t[]){5}, image);
    add(&dict, "b3", ANX_U8, 2, (int64_t[]){3, 32}, bands);
    add(&dict, "b1", ANX_U8, 2, (int64_t[]){1, 32}, bands);
    add(&dict, "crop", ANX_U8, 3, (int64_t[]){4, 5, 3}, crop);
    const anx_safetensors_meta meta = {"anx", json};
    ANX_CHECK_OK(anx_safetensors_write(path, &dict, &meta, json != NULL ? 1 : 0, true, &err), &err);
    anx_state_dict_fini(&dict);
    return path;
}

static anx_fixture *open_fixture(const char *name, const char *json) {
    anx_error err = ANX_ERROR_INIT;
    anx_fixture *fixture = NULL;
    ANX_CHECK_OK(anx_fixture_open(write_fixture(name, json), &fixture, &err), &err);
    return fixture;
}

static void a_forward_fixture_is_read_whole(void) {
    anx_fixture *f = open_fixture("forward.safetensors", forward_json);
    if (f == NULL) return;
    CU_ASSERT_EQUAL(f->kind, ANX_FIXTURE_FORWARD);
    CU_ASSERT_STRING_EQUAL(f->name, "small");
    CU_ASSERT_STRING_EQUAL(f->arch, "narrow");
    CU_ASSERT_STRING_EQUAL(anx_fixture_recorder(f, "torch"), "2.15.0");
    CU_ASSERT_PTR_NULL(anx_fixture_recorder(f, "Torch"));
    CU_ASSERT_TRUE(f->recorder_pytorch_bits);
    CU_ASSERT_EQUAL(f->num_classes, 11);
    CU_ASSERT_EQUAL(f->n_params, 2);
    CU_ASSERT_STRING_EQUAL(f->params[1].name, "features.0.bias");
    CU_ASSERT_EQUAL(f->params[1].digest.bytes[31], 0x11);
    CU_ASSERT_EQUAL_FATAL(f->n_cases, 1);
    const anx_fixture_case *c = &f->cases[0];
    CU_ASSERT_TRUE(c->quick);
    CU_ASSERT_EQUAL(c->recorded_at_batch, 4);
    CU_ASSERT_EQUAL_FATAL(c->n_points, 2);
    const anx_fixture_point *p = anx_fixture_case_point(c, "features.0");
    CU_ASSERT_PTR_EQUAL_FATAL(p, &c->points[0]);
    CU_ASSERT_TRUE(p->pytorch_bits);
    CU_ASSERT_EQUAL(((const float *)p->y32.data)[35], -36.0f);
    CU_ASSERT_EQUAL(((const float *)p->e64.data)[35], 0.125f);
    CU_ASSERT_EQUAL(p->sketch->n_blocks, channels);
    CU_ASSERT_EQUAL(p->sketch->block_elems, plane);
    CU_ASSERT_EQUAL(p->sketch->positions[2], 35);
    CU_ASSERT_EQUAL(p->sketch->sees_rms, 64.0);
    CU_ASSERT_PTR_NULL(c->points[1].sketch);
    CU_ASSERT_PTR_NULL(c->points[1].y32.data);
    CU_ASSERT_FALSE(c->points[1].pytorch_bits);
    CU_ASSERT_PTR_NULL(anx_fixture_case_point(c, "features.1"));
    CU_ASSERT_EQUAL(c->top[0].index, 3);
    CU_ASSERT_EQUAL(c->top[1].prob, 0.25f);
    CU_ASSERT_EQUAL(c->top[2].index, -1);
    CU_ASSERT_EQUAL(c->top[ANX_FIXTURE_TOP].prob, 0.75f);
    anx_fixture_close(f);
}

static void a_preprocess_fixture_is_read_whole(void) {
    bands[32] = 0xab;
    anx_fixture *f = open_fixture("preprocess.safetensors", preprocess_json);
    if (f == NULL) return;
    CU_ASSERT_EQUAL(f->kind, ANX_FIXTURE_PREPROCESS);
    CU_ASSERT_EQUAL_FATAL(f->n_samples, 1);
    const anx_fixture_sample *s = &f->samples[0];
    CU_ASSERT_STRING_EQUAL(s->name, "a.jpg");
    CU_ASSERT_EQUAL(s->image.n_bytes, 5);
    CU_ASSERT_EQUAL(s->stages[ANX_FIXTURE_STAGE_IMAGE].n_bands, 3);
    CU_ASSERT_EQUAL(s->stages[ANX_FIXTURE_STAGE_IMAGE].height, 33);
    CU_ASSERT_EQUAL(s->stages[ANX_FIXTURE_STAGE_IMAGE].bands[1].bytes[0], 0xab);
    CU_ASSERT_EQUAL(s->stages[ANX_FIXTURE_STAGE_INPUT].height, 4);
    CU_ASSERT_PTR_NOT_NULL(s->stages[ANX_FIXTURE_STAGE_CROP].full.data);
    anx_fixture_close(f);
}

/* torch.manual_seed(5); torch.empty(2, 3, 4, 5).uniform_(-2, 2.5): first and last value, PyTorch 2.15. */
static void a_uniform_input_is_pytorchs(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_tensor input = ANX_TENSOR_INIT;
    bool matches = true, pixels = true;
    anx_fixture *f = open_fixture("uniform.safetensors", forward_json);
    if (f == NULL) return;
    ANX_CHECK_OK(anx_fixture_case_input(&f->cases[0], &input, &matches, &pixels, &err), &err);
    CU_ASSERT_EQUAL(anx_tensor_elems(&input), 120);
    CU_ASSERT_EQUAL(((const float *)input.data)[0], 0x1.bc733ep+0f);
    CU_ASSERT_EQUAL(((const float *)input.data)[119], 0x1.3da29p-1f);
    CU_ASSERT_FALSE(matches); /* the digest in the description is made up */
    CU_ASSERT_FALSE(pixels);
    anx_tensor_fini(&input);
    anx_fixture_close(f);
}

static void a_sketch_sees_what_it_says_it_sees(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_fixture_sketch_result result;
    double got[batch * projections * channels];
    float truth[batch * elems];
    anx_fixture *f = open_fixture("sketch.safetensors", forward_json);
    if (f == NULL) return;
    const anx_fixture_point *p = &f->cases[0].points[0];
    ANX_CHECK_OK(anx_fixture_sketch_project(p, y32, got, &err), &err);
    for (int i = 0; i < batch * projections * channels; i++) CU_ASSERT_EQUAL(got[i], p32[i]);

    for (int i = 0; i < batch * elems; i++) truth[i] = y32[i] + e64[i];
    ANX_CHECK_OK(anx_fixture_sketch_compare(p, truth, &result, &err), &err);
    CU_ASSERT_EQUAL(result.rms, 0.0);
    CU_ASSERT_EQUAL(result.n_nonfinite + result.n_inexact, 0);
    CU_ASSERT_TRUE(result.pytorch_rms > 0);

    /* one element off by 300 u |G|: in both projections of its block, 300 units */
    const float step = 300.0f * 0x1p-24f * 1024.0f;
    truth[elems + plane + 4] = 0.0f;
    const float exact = y32[elems + plane + 4] + e64[elems + plane + 4];
    truth[elems + plane + 4] = exact + step;
    const double moved = (double)(truth[elems + plane + 4] - exact) / (0x1p-24 * 1024);
    ANX_CHECK_OK(anx_fixture_sketch_compare(p, truth, &result, &err), &err);
    CU_ASSERT_DOUBLE_EQUAL(result.worst_block, moved, 1e-6);
    CU_ASSERT_TRUE(result.worst_block > 2 * ANX_FIXTURE_SKETCH_MAX_BLOCK);
    CU_ASSERT_EQUAL(result.worst_image, 1);
    CU_ASSERT_EQUAL(result.worst_block_index, 1);
    CU_ASSERT_DOUBLE_EQUAL(result.rms, moved / sqrt(2.0), 1e-6);

    truth[35] = NAN;
    ANX_CHECK_OK(anx_fixture_sketch_compare(p, truth, &result, &err), &err);
    CU_ASSERT_EQUAL(result.n_nonfinite, 1 + projections);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_fixture_sketch_compare(&f->cases[0].points[1], y32, &result, &err),
                     &err);
    anx_fixture_close(f);
}

/* A model of the narrow architecture whose digests are these. */
static void match(const char *json, uint8_t weight, uint8_t bias, anx_fixture_match *out) {
    anx_error err = ANX_ERROR_INIT;
    anx_model model = {.graph = NULL};
    anx_fixture *f = open_fixture("match.safetensors", json);
    ANX_CHECK_OK(anx_graph_create(anx_arch_find("narrow"), 0, 0, 0, &model.graph, &err), &err);
    if (f == NULL || model.graph == NULL) return;
    model.digests = calloc((size_t)model.graph->n_params, sizeof *model.digests);
    memset(&model.digests[0], weight, sizeof *model.digests);
    memset(&model.digests[1], bias, sizeof *model.digests);
    ANX_CHECK_OK(anx_fixture_match_model(f, &model, out, &err), &err);
    free(model.digests);
    anx_graph_destroy(model.graph);
    anx_fixture_close(f);
}

static void recordings_apply_down_to_the_first_other_parameter(void) {
    anx_fixture_match m = ANX_FIXTURE_MATCH_INIT;
    match(forward_json, 0x00, 0x11, &m);
    CU_ASSERT_EQUAL(m.n_same, 2);
    CU_ASSERT_EQUAL(m.params[0], ANX_FIXTURE_PARAM_SAME);
    CU_ASSERT_EQUAL(m.params[2], ANX_FIXTURE_PARAM_MISSING);
    CU_ASSERT_TRUE(m.applicable[0]);  /* features.0 */
    CU_ASSERT_TRUE(m.applicable[2]);  /* features.2, the pool behind it */
    CU_ASSERT_FALSE(m.applicable[3]); /* features.3, whose weights are not known */
    CU_ASSERT_FALSE(m.injectable[3]);
    CU_ASSERT_FALSE(m.applicable[4]); /* behind it: not reachable, */
    CU_ASSERT_TRUE(m.injectable[4]);  /* ... but it has no parameters of its own */
    CU_ASSERT_EQUAL(m.n_applicable, 3);
    anx_fixture_match_fini(&m);
}

static void one_other_bias_leaves_nothing_applicable(void) {
    anx_fixture_match m = ANX_FIXTURE_MATCH_INIT;
    match(forward_json, 0x00, 0x22, &m);
    CU_ASSERT_EQUAL(m.params[1], ANX_FIXTURE_PARAM_DIFFERS);
    CU_ASSERT_EQUAL(m.n_applicable, 0);
    CU_ASSERT_FALSE(m.injectable[0]);
    anx_fixture_match_fini(&m);
}

/* Replaces the first occurrence of `from`; the buffer is static. */
static const char *replaced(const char *json, const char *from, const char *to) {
    static char out[8192];
    const char *at = strstr(json, from);
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    snprintf(out, sizeof out, "%.*s%s%s", (int)(at - json), json, to, at + strlen(from));
    return out;
}

static void another_architecture_matches_nothing(void) {
    anx_fixture_match m = ANX_FIXTURE_MATCH_INIT;
    match(replaced(forward_json, "\"narrow\"", "\"alexnet\""), 0x00, 0x11, &m);
    CU_ASSERT_EQUAL(m.n_same, 0);
    CU_ASSERT_EQUAL(m.n_applicable, 0);
    CU_ASSERT_FALSE(m.injectable[4]);
    anx_fixture_match_fini(&m);
}

static const struct {
    const char *json, *from, *to;
    anx_status status;
    const char *message;
} bad[] = {
    {forward_json, "\"schema\":1", "\"schema\":2", ANX_ERR_UNSUPPORTED, "schema 2; this version reads up to 1"},
    {forward_json, "\"schema\":1", "\"schema\":1.5", ANX_ERR_FORMAT, "entry 'schema': expected a whole number"},
    {forward_json, "\"schema\":1,", "", ANX_ERR_FORMAT, "entry 'schema': expected a whole number"},
    {forward_json, "{\"schema\"", "[{\"schema\"", ANX_ERR_FORMAT, "not a JSON object"},
    {forward_json, "\"kind\":\"forward\"", "\"kind\":\"backward\"", ANX_ERR_FORMAT,
     "entry 'kind': expected \"forward\""},
    {forward_json, "\"name\":\"small\"", "\"name\":7", ANX_ERR_FORMAT, "entry 'name': expected a string"},
    {forward_json, "\"recorder\":{\"torch\":\"2.15.0\"", "\"recorder\":{\"torch\":2", ANX_ERR_FORMAT,
     "entry 'recorder.torch': expected a string"},
    {forward_json, "\"num_classes\":11", "\"num_classes\":0", ANX_ERR_FORMAT, "entry 'num_classes': expected a whole"},
    {forward_json, "weight\":\"0", "weight\":\"", ANX_ERR_FORMAT,
     "entry 'params.features.0.weight': expected a SHA-256"},
    {forward_json, "[2,3,4,5]", "[2,3,4]", ANX_ERR_FORMAT, "entry 'cases[0].shape': expected an array of 4 to 4"},
    {forward_json, "[2,3,4,5]", "[2,3,-4,5]", ANX_ERR_FORMAT, "entry 'cases[0].shape': expected extents from 1"},
    {forward_json, "[2,3,4,5]", "[2000,3,4,5]", ANX_ERR_FORMAT, "entry 'cases[0].shape': at most 1024 images"},
    {forward_json, "[2,3,4,5]", "[1024,3,16384,16384]", ANX_ERR_FORMAT, "entry 'cases[0].shape': at most 1024 images"},
    {forward_json, "[2,3,4,5]", "[2147483647,2147483647,2147483647,2147483647]", ANX_ERR_FORMAT,
     "entry 'cases[0].shape': the shape overflows"},
    {forward_json, "\"uniform\"", "\"uniformly\"", ANX_ERR_FORMAT, "entry 'cases[0].input': expected one of images"},
    {forward_json, "\"uniform\":", "\"tensor\":\"f/y32\",\"uniform\":", ANX_ERR_FORMAT,
     "entry 'cases[0].input': expected one of images"},
    {forward_json, "\"seed\":5", "\"seed\":4294967296", ANX_ERR_FORMAT, "entry 'cases[0].input.uniform.seed'"},
    {forward_json, "\"low\":-2.0", "\"low\":0.1", ANX_ERR_FORMAT, "low and high are not float32 values in order"},
    {forward_json, "\"low\":-2.0", "\"low\":3", ANX_ERR_FORMAT, "low and high are not float32 values in order"},
    {forward_json, "{\"uniform\":{\"seed\":5,\"low\":-2.0,\"high\":2.5}}", "{\"tensor\":\"f/y32\"}", ANX_ERR_FORMAT,
     "expected a tensor float32 (2, 3, 4, 5), got float32 (2, 2, 3, 3)"},
    {forward_json, "{\"uniform\":{\"seed\":5,\"low\":-2.0,\"high\":2.5}}", "{\"pixels\":\"nowhere\"}", ANX_ERR_FORMAT,
     "entry 'cases[0].input.pixels': the file holds no tensor of this name"},
    {forward_json, "{\"uniform\":{\"seed\":5,\"low\":-2.0,\"high\":2.5}}", "{\"images\":[{}]}", ANX_ERR_FORMAT,
     "entry 'cases[0].input.images': 1 images do not make an input (2, 3, 4, 5)"},
    {forward_json, "\"recorded_at_batch\":4", "\"recorded_at_batch\":1", ANX_ERR_FORMAT,
     "entry 'cases[0].recorded_at_batch': expected a whole number from 2"},
    {forward_json, "[2,70]", "[3,70]", ANX_ERR_FORMAT, "entry 'cases[0].points[1].shape': expected (N, C, H, W)"},
    {forward_json, "[2,70]", "[2,7,10]", ANX_ERR_FORMAT, "entry 'cases[0].points[1].shape': expected (N, C, H, W)"},
    {forward_json, "\"name\":\"classifier.1\"", "\"name\":\"features.0\"", ANX_ERR_FORMAT, "it occurs twice"},
    {forward_json, "[2,70],\"digest\":\"" ZERO "\"", "[2,70]", ANX_ERR_FORMAT, "it has neither a digest nor"},
    {forward_json, "[2,70],\"digest\":\"" ZERO "\"", "[2,70],\"bits\":true", ANX_ERR_FORMAT,
     "entry 'cases[0].points[1].bits': true, but there is no digest"},
    {forward_json, "\"bits\":true", "\"bits\":1", ANX_ERR_FORMAT, "entry 'cases[0].points[0].bits': expected true"},
    {forward_json, "\"e64\":\"f/e64\",", "", ANX_ERR_FORMAT, "y32 and e64 come together"},
    {forward_json, "\"y32\":\"f/y32\"", "\"y32\":\"s/y32\"", ANX_ERR_FORMAT,
     "entry 'cases[0].points[0].y32': expected a tensor float32 (2, 2, 3, 3), got float32 (3,)"},
    {forward_json, "\"s/at\"", "\"s/y32\"", ANX_ERR_FORMAT,
     "entry 'cases[0].points[0].sketch.positions': expected a tensor int64 (-1,), got float32 (3,)"},
    {forward_json, "\"p32\":\"s/p32\"", "\"p32\":\"s/pe64\"", ANX_ERR_FORMAT, "sketch.p32': expected a tensor float64"},
    {forward_json, "\"sign_seed\":1", "\"sign_seed\":-1", ANX_ERR_FORMAT, "sketch.sign_seed': expected a whole"},
    {forward_json, "\"sum\":1.5", "\"sum\":1e999", ANX_ERR_FORMAT, "sketch.sum': expected a finite number"},
    {forward_json, "\"rms\":64", "\"rms\":\"64\"", ANX_ERR_FORMAT, "sketch.rms': expected a finite number"},
    {forward_json, "[[0,0.75]]]", "[[0,0.75]],[]]", ANX_ERR_FORMAT, "entry 'cases[0].top5': expected one entry per"},
    {forward_json, "[3,0.5]", "[11,0.5]", ANX_ERR_FORMAT, "entry 'cases[0].top5[0]': expected [class, probability]"},
    {forward_json, "[3,0.5]", "[3]", ANX_ERR_FORMAT, "entry 'cases[0].top5[0]': expected [class, probability]"},
    {preprocess_json, "[33,7,3]", "[33,7,4]", ANX_ERR_FORMAT, "stages.image.shape': expected (H, W, 3)"},
    {preprocess_json, "\"band_rows\":16", "\"band_rows\":0", ANX_ERR_FORMAT, "stages.image.band_rows': expected a"},
    {preprocess_json, "\"band_rows\":16", "\"band_rows\":8", ANX_ERR_FORMAT,
     "stages.image.bands': expected a tensor uint8 (5, 32), got uint8 (3, 32)"},
    {preprocess_json, ",\"full\":\"crop\"", "", ANX_ERR_FORMAT, "the crop has to be recorded in full"},
    {preprocess_json, "[3,4,5]", "[3,5,4]", ANX_ERR_FORMAT, "stages.scaled': its shape does not fit the crop's"},
    {preprocess_json, "\"resize\"", "\"rescale\"", ANX_ERR_FORMAT, "stages.resize': expected an object"},
    {preprocess_json, "\"bytes\":\"a\"", "\"bytes\":\"crop\"", ANX_ERR_FORMAT, "samples[0].bytes': expected a tensor"},
};

static void malformed_descriptions_are_refused_by_name(void) {
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        anx_error err = ANX_ERROR_INIT;
        anx_fixture *fixture = NULL;
        const char *path = write_fixture("bad.safetensors", replaced(bad[i].json, bad[i].from, bad[i].to));
        ANX_CHECK_STATUS(bad[i].status, anx_fixture_open(path, &fixture, &err), &err);
        ANX_CHECK_MESSAGE(bad[i].message, &err);
        CU_ASSERT_STRING_EQUAL(err.file, path);
        CU_ASSERT_PTR_NULL(fixture);
    }
}

static void positions_outside_or_out_of_order_are_refused(void) {
    static const struct {
        int64_t positions[samples];
        const char *message;
    } wrong[] = {
        {{0, 17, 36}, "expected ascending indices below 36, [2] is 36"},
        {{0, 17, 17}, "expected ascending indices below 36, [2] is 17"},
        {{-1, 17, 35}, "expected ascending indices below 36, [0] is -1"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        anx_error err = ANX_ERROR_INIT;
        anx_fixture *fixture = NULL;
        memcpy(positions, wrong[i].positions, sizeof positions);
        const char *path = write_fixture("bad.safetensors", forward_json);
        ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_fixture_open(path, &fixture, &err), &err);
        ANX_CHECK_MESSAGE(wrong[i].message, &err);
    }
    memcpy(positions, right_positions, sizeof positions);
}

static void other_safetensors_are_not_fixtures(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_fixture *fixture = NULL;
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_fixture_open(write_fixture("plain.safetensors", NULL), &fixture, &err), &err);
    ANX_CHECK_MESSAGE("not a fixture: its __metadata__ has no 'anx'", &err);
    ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND, anx_fixture_open(anx_test_path("none"), &fixture, &err), &err);
}

static void a_folder_is_read_in_the_order_of_names(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_fixture_set set = ANX_FIXTURE_SET_INIT;
    const char *folder = anx_test_path("folder");
    mkdir(folder, 0700);
    ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND, anx_fixture_set_add(&set, folder, &err), &err);
    ANX_CHECK_MESSAGE("holds no *.safetensors", &err);
    write_fixture("folder/b.safetensors", forward_json);
    write_fixture("folder/a.safetensors", preprocess_json);
    write_fixture("folder/notes.txt", NULL);
    ANX_CHECK_OK(anx_fixture_set_add(&set, folder, &err), &err);
    CU_ASSERT_EQUAL_FATAL(set.count, 2);
    CU_ASSERT_EQUAL(set.items[0]->kind, ANX_FIXTURE_PREPROCESS);
    CU_ASSERT_EQUAL(set.items[1]->kind, ANX_FIXTURE_FORWARD);
    write_fixture("folder/c.safetensors", "{}");
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_fixture_set_add(&set, folder, &err), &err);
    CU_ASSERT_EQUAL(set.count, 2); /* as before */
    ANX_CHECK_OK(anx_fixture_set_add(&set, write_fixture("one.safetensors", forward_json), &err), &err);
    CU_ASSERT_EQUAL(set.count, 3);
    anx_fixture_set_fini(&set);
}

static const anx_test tests[] = {
    {"a forward fixture is read whole", a_forward_fixture_is_read_whole},
    {"a preprocess fixture is read whole", a_preprocess_fixture_is_read_whole},
    {"a uniform input is PyTorch's", a_uniform_input_is_pytorchs},
    {"a sketch sees what it says it sees", a_sketch_sees_what_it_says_it_sees},
    {"recordings apply down to the first other parameter", recordings_apply_down_to_the_first_other_parameter},
    {"one other bias leaves nothing applicable", one_other_bias_leaves_nothing_applicable},
    {"another architecture matches nothing", another_architecture_matches_nothing},
    {"malformed descriptions are refused by name", malformed_descriptions_are_refused_by_name},
    {"positions outside or out of order are refused", positions_outside_or_out_of_order_are_refused},
    {"other safetensors are not fixtures", other_safetensors_are_not_fixtures},
    {"a folder is read in the order of names", a_folder_is_read_in_the_order_of_names},
    {NULL, NULL},
};

int main(int argc, char **argv) {
    return anx_test_main("fixture", tests, argc, argv);
}
