/*
 * The judge's flow on the narrow network: recordings that apply, partly or not at all, preprocessing and the probe.
 * Dumps of other engines: test_against.c. What stands for PyTorch's recordings here is what the exact backend gives;
 * whether that is PyTorch's is judged elsewhere, against PyTorch.
 */
#include "parity/judge.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "loaders/checkpoint/pth_writer.h"
#include "loaders/checkpoint/safetensors.h"
#include "loaders/file.h"
#include "parity/metrics.h"
#include "src/backend/reference/ops.h"
#include "tests/parity/judge_support.h"
#include "tests/parity/narrow_recording.h"
#include "tests/support/anx_test.h"

/* ---- recordings ----------------------------------------------------------------------------------------- */

static void test_recording_applies(void) {
    static const char *const devices[] = {"exact", "reference", "cpu"};
    for (size_t d = 0; d < sizeof devices / sizeof *devices; d++) {
        narrow_recording r = narrow_recording_make(2);
        anx_verdicts *v =
            narrow_judge(&(anx_judge_options){.model = r.model, .fixtures = &r.set, .device_name = devices[d]});
        CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_PASS);
        CU_ASSERT_EQUAL(v->counts[ANX_VERDICT_WARN] + v->counts[ANX_VERDICT_SKIP], 0);
        CU_ASSERT_TRUE(v->pytorch_at_hand);
        CU_ASSERT_STRING_EQUAL(v->fixtures[0].applies, "in full");
        CU_ASSERT_STRING_EQUAL(v->device.backend, devices[d]);
        for (int node = 0; node < r.model->graph->n_nodes; node++) {
            const char *name = r.model->graph->nodes[node].layer->name;
            CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_EXACT, name), ANX_VERDICT_PASS);
            CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_OBSERVE, name), ANX_VERDICT_PASS);
            const anx_judged *j = find_judged(v, ANX_PATH_OBSERVE, name);
            CU_ASSERT_EQUAL(j->versus[j->n_versus - 1].basis, ANX_BASIS_PYTORCH_RECORDED);
        }
        const anx_judged *conv = find_judged(v, ANX_PATH_OBSERVE, "features.3");
        CU_ASSERT_EQUAL(conv->n_versus, 2);
        CU_ASSERT_EQUAL(conv->versus[0].basis, ANX_BASIS_TRUTH_RECORDED);
        CU_ASSERT_TRUE(conv->pytorch_r > 0 && conv->pytorch_r < 10);
        CU_ASSERT_EQUAL(find_judged(v, ANX_PATH_EXACT, "features.3")->kind, ANX_JUDGED_MODULE);
        CU_ASSERT_EQUAL(find_judged(v, ANX_PATH_EXACT, "features.4")->kind, ANX_JUDGED_DIGEST);
        CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_INFER, "logits"), ANX_VERDICT_PASS);
        CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_PROBE, "features.3"), ANX_VERDICT_PASS);
        CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_RESULT, "top-5"), ANX_VERDICT_PASS);
        CU_ASSERT_EQUAL(v->n_top5, 2);
        CU_ASSERT_TRUE(v->top5[1].same_order && v->top5[1].image == 1);
        anx_verdicts_destroy(v);
        narrow_recording_free(&r);
    }
}

/* One bit of one recorded value: exact no longer gives PyTorch's bits; the judged engine is still right. */
static void test_recording_is_missed_by_a_bit(void) {
    narrow_recording r = narrow_recording_make(1);
    float *y = (float *)narrow_recording_point(&r, "features.3")->y32.data;
    y[40] = nextafterf(y[40], 9);
    anx_verdicts *v = narrow_judge(&(anx_judge_options){.model = r.model, .fixtures = &r.set, .device_name = "cpu"});
    CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_FAIL);
    CU_ASSERT_FALSE(v->pytorch_at_hand);
    CU_ASSERT_STRING_EQUAL(first_bad(v), "features.3");
    CU_ASSERT_EQUAL(v->judged[v->first_bad].path, ANX_PATH_EXACT);
    CU_ASSERT_EQUAL(v->judged[v->first_bad].versus[0].over, 1);
    CU_ASSERT_EQUAL(v->judged[v->first_bad].versus[0].worst.at[0], 0);
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_EXACT, "features.0"), ANX_VERDICT_PASS);
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_OBSERVE, "features.3"), ANX_VERDICT_PASS);
    anx_verdicts_destroy(v);

    /* an engine that claims PyTorch's bits is held to them, by the recording */
    v = narrow_judge(&(anx_judge_options){.model = r.model, .fixtures = &r.set, .device_name = "exact"});
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_OBSERVE, "features.3"), ANX_VERDICT_FAIL);
    CU_ASSERT_PTR_NOT_NULL(strstr(find_judged(v, ANX_PATH_OBSERVE, "features.3")->reason, "'exact' claims to give"));
    anx_verdicts_destroy(v);
    narrow_recording_free(&r);

    r = narrow_recording_make(1);
    ((anx_fixture_point *)narrow_recording_point(&r, "features.4"))->digest.bytes[3] ^= 1;
    v = narrow_judge(&(anx_judge_options){.model = r.model, .fixtures = &r.set, .device_name = "cpu"});
    CU_ASSERT_STRING_EQUAL(first_bad(v), "features.4");
    CU_ASSERT_EQUAL(v->counts[ANX_VERDICT_FAIL], 1);
    anx_verdicts_destroy(v);
    narrow_recording_free(&r);
}

/* A wrong truth or a wrong y32 of the recording shows at the judged engine. */
static void test_engine_is_held_to_the_recorded_truth(void) {
    narrow_recording r = narrow_recording_make(1);
    const anx_fixture_point *p = narrow_recording_point(&r, "features.5");
    ((float *)p->e64.data)[17] += 0.01f;
    anx_verdicts *v = narrow_judge(&(anx_judge_options){.model = r.model, .fixtures = &r.set, .device_name = "cpu"});
    const anx_judged *j = find_judged(v, ANX_PATH_OBSERVE, "features.5");
    CU_ASSERT_EQUAL(j->verdict, ANX_VERDICT_FAIL);
    CU_ASSERT_EQUAL(j->versus[0].over, 1);
    CU_ASSERT_EQUAL(v->counts[ANX_VERDICT_FAIL], 2); /* the module, and the fused group with it inside */
    CU_ASSERT_STRING_EQUAL(first_bad(v), "features.5");
    anx_verdicts_destroy(v);
    narrow_recording_free(&r);
}

static void test_asked_for_with_other_weights(void) {
    narrow_recording r = narrow_recording_make(1);
    anx_model *other = narrow_model_make();
    float *w = other->params[anx_graph_find_param(other->graph, "features.3.weight")].data;
    w[5] += 0.25f;
    anx_verdicts *v = narrow_judge(&(anx_judge_options){.model = other, .asked = &r.set, .device_name = "cpu"});
    CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_FAIL);
    const anx_judged *row = find_judged(v, ANX_PATH_RECORDINGS, "narrow recording");
    CU_ASSERT_PTR_NOT_NULL_FATAL(row);
    CU_ASSERT_EQUAL(row->verdict, ANX_VERDICT_WARN);
    CU_ASSERT_PTR_NOT_NULL(strstr(row->reason, "1 of 10 tensors differ: features.3.weight"));
    CU_ASSERT_STRING_EQUAL(v->fixtures[0].differing, "features.3.weight");
    CU_ASSERT_TRUE(v->fixtures[0].asked_for);
    /* judged all the same: the layer with the other weights fails, those after it are fed the recording and pass */
    CU_ASSERT_STRING_EQUAL(first_bad(v), "features.3");
    CU_ASSERT_EQUAL(v->judged[v->first_bad].path, ANX_PATH_OBSERVE);
    CU_ASSERT_TRUE(names_cause(&v->judged[v->first_bad], "weights"));
    CU_ASSERT_EQUAL(v->judged[v->first_bad].n_causes, 1); /* other weights explain it all */
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_EXACT, "features.3"), ANX_VERDICT_SKIP);
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_OBSERVE, "features.0"), ANX_VERDICT_PASS);
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_OBSERVE, "features.5"), ANX_VERDICT_PASS);
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_OBSERVE, "classifier.3"), ANX_VERDICT_PASS);
    anx_verdicts_destroy(v);

    /* where the other layer's output was not recorded in full, what follows from it is not held against the recording
     */
    anx_fixture_point *p = (anx_fixture_point *)narrow_recording_point(&r, "features.3");
    const anx_fixture_point full = *p;
    p->y32 = p->e64 = (anx_tensor)ANX_TENSOR_INIT;
    v = narrow_judge(&(anx_judge_options){.model = other, .asked = &r.set, .device_name = "cpu"});
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_EXACT, "features.1"), ANX_VERDICT_PASS);
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_EXACT, "features.3"), ANX_VERDICT_SKIP);
    CU_ASSERT_PTR_NULL(find_judged(v, ANX_PATH_EXACT, "features.4"));
    CU_ASSERT_PTR_NULL(find_judged(v, ANX_PATH_EXACT, "features.5"));
    CU_ASSERT_EQUAL(find_judged(v, ANX_PATH_OBSERVE, "features.5")->versus[1].basis, ANX_BASIS_PYTORCH_REGENERATED);
    CU_ASSERT_EQUAL(v->counts[ANX_VERDICT_FAIL], 0);
    anx_verdicts_destroy(v);
    *p = full;

    /* not asked for: it covers the layers before, and the rest is judged against truth and order */
    v = narrow_judge(&(anx_judge_options){.model = other, .fixtures = &r.set, .device_name = "cpu"});
    CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_PASS);
    CU_ASSERT_STRING_EQUAL(v->fixtures[0].applies, "up to features.2");
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_RECORDINGS, "recordings"), ANX_VERDICT_INFO);
    CU_ASSERT_EQUAL(find_judged(v, ANX_PATH_OBSERVE, "features.0")->versus[0].basis, ANX_BASIS_TRUTH_RECORDED);
    CU_ASSERT_EQUAL(find_judged(v, ANX_PATH_OBSERVE, "features.2")->versus[0].basis, ANX_BASIS_PYTORCH_RECORDED);
    CU_ASSERT_EQUAL(find_judged(v, ANX_PATH_OBSERVE, "features.3")->versus[0].basis, ANX_BASIS_TRUTH_COMPUTED);
    CU_ASSERT_EQUAL(find_judged(v, ANX_PATH_OBSERVE, "features.3")->versus[1].basis, ANX_BASIS_PYTORCH_REGENERATED);
    CU_ASSERT_PTR_NULL(find_judged(v, ANX_PATH_EXACT, "features.3"));
    anx_verdicts_destroy(v);
    v = narrow_judge(&(anx_judge_options){.model = other, .fixtures = &r.set, .device_name = "cpu", .strict = true});
    CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_FAIL);
    CU_ASSERT_EQUAL(v->counts[ANX_VERDICT_FAIL], 0);
    anx_verdicts_destroy(v);
    anx_model_destroy(other);
    narrow_recording_free(&r);
}

static void test_no_recording(void) {
    anx_model *model = narrow_model_make();
    anx_verdicts *v = narrow_judge(&(anx_judge_options){.model = model, .device_name = "cpu"});
    CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_PASS);
    CU_ASSERT_EQUAL(v->counts[ANX_VERDICT_SKIP], 1);
    CU_ASSERT_FALSE(v->pytorch_at_hand);
    CU_ASSERT_PTR_NOT_NULL(strstr(find_judged(v, ANX_PATH_RECORDINGS, "recordings")->reason, "no recording applies"));
    CU_ASSERT_EQUAL(find_judged(v, ANX_PATH_OBSERVE, "features.3")->versus[0].basis, ANX_BASIS_TRUTH_COMPUTED);
    anx_verdicts_destroy(v);
    v = narrow_judge(&(anx_judge_options){.model = model, .device_name = "cpu", .strict = true});
    CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_FAIL);
    anx_verdicts_destroy(v);
    anx_model_destroy(model);
}

/* The probe's shapes are the model's own, whatever size the last input had. */
static void test_probe_is_at_the_models_own_size(void) {
    narrow_recording r = narrow_recording_make(1);
    const anx_extent *own = &r.model->graph->input;
    const int64_t shape[4] = {2, own->dim[0], own->dim[1] + 9, own->dim[2] + 4};
    anx_error err = ANX_ERROR_INIT;
    anx_tensor large = ANX_TENSOR_INIT;
    ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, 4, shape, &large, &err), &err);
    memset(large.data, 0, anx_tensor_bytes(&large));
    r.cases[0].tensor = large;
    memcpy(r.cases[0].shape, shape, sizeof shape);
    r.cases[0].n_points = 0;
    ANX_CHECK_OK(anx_tensor_digest(&large, &r.cases[0].input_digest, &err), &err);
    anx_verdicts *v =
        narrow_judge(&(anx_judge_options){.model = r.model, .fixtures = &r.set, .device_name = "cpu", .full = true});
    const anx_judged *j = find_judged(v, ANX_PATH_PROBE, "features.0");
    const int last = anx_graph_find_node(r.model->graph, "features.1");
    CU_ASSERT_EQUAL(j->versus[0].elems, 2 * anx_graph_node_elems(r.model->graph, last));
    anx_verdicts_destroy(v);
    anx_tensor_fini(&large);
    narrow_recording_free(&r);
}

/* An input that is not PyTorch's: its recorded values are left alone, and the report says so. */
static void test_input_differs(void) {
    narrow_recording r = narrow_recording_make(1);
    r.cases[0].input_digest.bytes[0] ^= 1;
    anx_verdicts *v = narrow_judge(&(anx_judge_options){.model = r.model, .fixtures = &r.set, .device_name = "cpu"});
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_RECORDINGS, "input"), ANX_VERDICT_SKIP);
    CU_ASSERT_PTR_NULL(find_judged(v, ANX_PATH_EXACT, "features.0"));
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_OBSERVE, "features.0"), ANX_VERDICT_PASS);
    anx_verdicts_destroy(v);
    narrow_recording_free(&r);
}

static void test_points(void) {
    narrow_recording r = narrow_recording_make(1);
    anx_verdicts *v = narrow_judge(&(anx_judge_options){
        .model = r.model, .fixtures = &r.set, .device_name = "cpu", .points = "features.3, logits"});
    CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_PASS);
    for (size_t i = 0; i < v->n_judged; i++) {
        const char *p = v->judged[i].point;
        CU_ASSERT_TRUE(strncmp(p, "features.3", 10) == 0 || strncmp(p, "classifier.3", 12) == 0 ||
                       strcmp(p, "logits") == 0 || strcmp(p, "top-5") == 0);
    }
    CU_ASSERT_STRING_EQUAL(v->points_glob, "features.3, logits");
    anx_verdicts_destroy(v);
    v = narrow_judge(
        &(anx_judge_options){.model = r.model, .fixtures = &r.set, .device_name = "cpu", .points = "nothing"});
    CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_FAIL); /* nothing judged is not a pass */
    anx_verdicts_destroy(v);
    narrow_recording_free(&r);
}

/* Weights that are not ordinary numbers: every engine treats them as PyTorch does, and none is blamed for them. */
static void test_unusual_weights(void) {
    static const char *const devices[] = {"exact", "reference", "cpu"};
    static const struct {
        const char *param;
        float value;
    } rows[] = {{"features.3.weight", NAN},      {"features.3.weight", INFINITY}, {"features.0.bias", -INFINITY},
                {"classifier.1.weight", 1e-42f}, {"features.5.bias", 3e38f},      {"features.0.weight", -0.0f}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t d = 0; d < sizeof devices / sizeof *devices; d++) {
            anx_model *model = narrow_model_make();
            ((float *)model->params[anx_graph_find_param(model->graph, rows[i].param)].data)[1] = rows[i].value;
            anx_verdicts *v = narrow_judge(&(anx_judge_options){
                .model = model, .device_name = devices[d], .points = "features.*,avgpool", .no_probe = true});
            CU_ASSERT_EQUAL(v->counts[ANX_VERDICT_FAIL], 0);
            if (v->first_bad >= 0)
                printf("\n    %s with %s = %g: %s: %s\n", devices[d], rows[i].param, (double)rows[i].value,
                       first_bad(v), v->judged[v->first_bad].reason);
            anx_verdicts_destroy(v);
            anx_model_destroy(model);
        }
}

/* ---- the probe ------------------------------------------------------------------------------------------ */

static const anx_backend *inner;
static bool round_params, round_values;

static float to_11_bits(float v) { /* nearest even, as TF32 and half precision keep */
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    bits = (bits + 0xfff + ((bits >> 13) & 1)) & ~0x1fffU;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* The wrapped backend's write, what is written rounded to 11 bits. */
static anx_status write_rounded(void *plan, anx_value value, const anx_tensor *host, anx_error *err) {
    const bool is_bias = value.kind == ANX_VALUE_PARAM && host->rank == 1; /* added in full precision */
    const bool rounds = value.kind == ANX_VALUE_PARAM ? round_params && !is_bias : round_values;
    if (!rounds || host->dtype != ANX_F32) return inner->plan_write(plan, value, host, err);
    anx_tensor t = ANX_TENSOR_INIT;
    anx_status status = anx_tensor_convert(host, ANX_F32, &t, err);
    for (int64_t i = 0; status == ANX_OK && i < anx_tensor_elems(&t); i++)
        ((float *)t.data)[i] = to_11_bits(((float *)t.data)[i]);
    if (status == ANX_OK) status = inner->plan_write(plan, value, &t, err);
    anx_tensor_fini(&t);
    return status;
}

static void test_probe(void) {
    inner = anx_backend_find("reference");
    CU_ASSERT_PTR_NOT_NULL_FATAL(inner);
    anx_backend rounding = *inner;
    rounding.plan_write = write_rounded;
    anx_model *model = narrow_model_make();
    for (int which = 0; which < 4; which++) {
        anx_error err = ANX_ERROR_INIT;
        anx_device *device = NULL;
        round_params = which & 1;
        round_values = which & 2;
        ANX_CHECK_OK(anx_device_open_backend(&rounding, 0, NULL, &device, &err), &err);
        anx_verdicts *v = narrow_judge(&(anx_judge_options){.model = model, .device = device});
        int probed = 0;
        for (size_t i = 0; i < v->n_judged; i++) {
            const anx_judged *j = &v->judged[i];
            if (j->path != ANX_PATH_PROBE) continue;
            probed++;
            CU_ASSERT_EQUAL(j->verdict, which == 0 ? ANX_VERDICT_PASS : ANX_VERDICT_FAIL);
            if (which > 0) { /* most outputs are wrong, whichever operand is rounded; sums this short may cancel */
                CU_ASSERT_TRUE(j->versus[0].over * 2 > j->versus[0].elems);
                CU_ASSERT_TRUE(names_cause(j, "reduced-precision"));
            }
        }
        CU_ASSERT_EQUAL(probed, 5);
        anx_verdicts_destroy(v);
        anx_device_close(device);
    }
    anx_model_destroy(model);
}

/* ---- options -------------------------------------------------------------------------------------------- */

static void test_options(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_verdicts *v = NULL;
    anx_model *model = narrow_model_make();
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_judge(&(anx_judge_options){.threads = 1}, &v, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT,
                     anx_judge(&(anx_judge_options){.model = model, .checkpoint = "x"}, &v, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT,
                     anx_judge(&(anx_judge_options){.model = model, .against = "x", .device_name = "cpu"}, &v, &err),
                     &err);
    const char *const images[] = {"a.png", "b.png"};
    ANX_CHECK_STATUS(
        ANX_ERR_INVALID_ARGUMENT,
        anx_judge(&(anx_judge_options){.model = model, .against = "x", .images = images, .n_images = 2}, &v, &err),
        &err);
    ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND,
                     anx_judge(&(anx_judge_options){.model = model, .device_name = "abacus"}, &v, &err), &err);
    ANX_CHECK_MESSAGE("unknown device 'abacus'", &err);
    ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND, anx_judge(&(anx_judge_options){.checkpoint = "/no/such.pth"}, &v, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND,
                     anx_judge(&(anx_judge_options){.model = model, .against = "/no/such.safetensors"}, &v, &err),
                     &err);
    CU_ASSERT_PTR_NULL(v);
    anx_model_destroy(model);
}

/* The case's image is one that this machine's decoder refuses. */
static void refuse_the_image(narrow_recording *r, anx_fixture_image *image) {
    static const uint8_t damaged[] = {0xff, 0xd8, 0xff, 0xe0, 0x00};
    *image = (anx_fixture_image){.name = "damaged.jpg", .bytes = damaged, .n_bytes = sizeof damaged};
    r->cases[0].input_kind = ANX_FIXTURE_INPUT_IMAGES;
    r->cases[0].images = image;
}

static void test_image_refused(void) {
    narrow_recording r = narrow_recording_make(1);
    anx_fixture_image image;
    refuse_the_image(&r, &image);
    /* Preprocessing is judged where the crop is the network's input: not so in the narrow one, whose input is lost. */
    anx_verdicts *v = narrow_judge(&(anx_judge_options){.model = r.model, .fixtures = &r.set, .device_name = "exact"});
    const anx_judged *lost = find_judged(v, ANX_PATH_RECORDINGS, "input");
    CU_ASSERT_PTR_NOT_NULL(lost);
    if (lost != NULL) CU_ASSERT_EQUAL(lost->verdict, ANX_VERDICT_SKIP);
    CU_ASSERT_EQUAL(v->fixtures[0].cases_run, 0);
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_OBSERVE, "features.3"), ANX_VERDICT_PASS); /* with another input */
    anx_verdicts_destroy(v);

    r.cases[0].shape[2] = r.cases[0].shape[3] = 224;
    v = narrow_judge(&(anx_judge_options){.model = r.model, .fixtures = &r.set, .device_name = "exact"});
    const anx_judged *refused = find_judged(v, ANX_PATH_PREPROCESS, "input (fast path)");
    CU_ASSERT_PTR_NOT_NULL_FATAL(refused);
    CU_ASSERT_EQUAL(refused->verdict, ANX_VERDICT_FAIL);
    CU_ASSERT_STRING_EQUAL(refused->reason,
                           "Pillow reads it (recorded), but: damaged.jpg: offset 4: the JPEG ends inside its header");
    CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_FAIL);
    anx_verdicts_destroy(v);
    narrow_recording_free(&r);
}

static void test_sample_refused(void) {
    static const uint8_t damaged[] = {0xff, 0xd8, 0xff, 0xe0, 0x00};
    const anx_fixture_sample sample = {
        .name = "damaged.jpg", .shows = "nothing", .image = {"damaged.jpg", damaged, sizeof damaged}};
    anx_fixture fixture = {.path = "in memory",
                           .name = "preprocess",
                           .kind = ANX_FIXTURE_PREPROCESS,
                           .profile = "torchvision-alexnet",
                           .samples = &sample,
                           .n_samples = 1};
    anx_fixture *items[] = {&fixture};
    const anx_fixture_set set = {.items = items, .count = 1};
    anx_model *model = narrow_model_make();
    anx_verdicts *v = narrow_judge(&(anx_judge_options){.model = model, .fixtures = &set, .device_name = "exact"});
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_PREPROCESS, "image"), ANX_VERDICT_FAIL);
    CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_FAIL);
    anx_verdicts_destroy(v);
    anx_model_destroy(model);
}

/* ---- published weights -------------------------------------------------------------------------------------- */

static void save_narrow(const anx_model *model, const char *path) {
    anx_error err = ANX_ERROR_INIT;
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    for (int i = 0; i < model->graph->n_params; i++) {
        anx_tensor view = model->params[i];
        view.owned = NULL;
        ANX_CHECK_OK(anx_state_dict_add(&dict, model->graph->params[i].name, &view, &err), &err);
    }
    ANX_CHECK_OK(anx_pth_write(path, &dict, NULL, &err), &err);
    anx_state_dict_fini(&dict);
}

static void file_sha256(const char *path, char hex[ANX_SHA256_HEX]) {
    anx_error err = ANX_ERROR_INIT;
    anx_file_map map = ANX_FILE_MAP_INIT;
    anx_digest digest;
    ANX_CHECK_OK(anx_file_map_init(&map, path, &err), &err);
    ANX_CHECK_OK(anx_sha256_buffer(map.bytes, map.n_bytes, &digest, &err), &err);
    anx_digest_hex(&digest, hex);
    anx_file_map_fini(&map);
}

/* The published file is not to be had: a narrow one takes its place. */
static void test_published_weights(void) {
    narrow_recording r = narrow_recording_make(1);
    char file[ANX_SHA256_HEX], shown[ANX_SHA256_HEX], path[600];
    struct stat st;
    snprintf(path, sizeof path, "%s", anx_test_path("renamed-by-its-owner.pth"));
    save_narrow(r.model, path);
    file_sha256(path, file);
    CU_ASSERT_EQUAL_FATAL(stat(path, &st), 0);
    const anx_official_file published = {.name = "published.pth", .file_bytes = (uint64_t)st.st_size, .sha256 = file};
    const anx_official_file *const files[] = {&anx_official_alexnet, &published};
    const anx_official_table table = {.files = files, .n_files = 2};
    anx_judge_options o = {
        .checkpoint = path, .fixtures = &r.set, .device_name = "exact", .no_probe = true, .official = &table};
    anx_verdicts *v = narrow_judge(&o);
    CU_ASSERT_TRUE(v->checkpoint.official);
    CU_ASSERT_TRUE(v->checkpoint.has_file_digest);
    CU_ASSERT_STRING_EQUAL(anx_digest_hex(&v->checkpoint.file_digest, shown), file);
    CU_ASSERT_STRING_EQUAL_FATAL(v->checkpoint.official_name, "published.pth");
    CU_ASSERT_STRING_EQUAL(v->fixtures[0].applies, "in full");
    anx_verdicts_destroy(v);

    /* Other weights in a file of the same size: another file. */
    snprintf(path, sizeof path, "%s", anx_test_path("published-by-someone.pth"));
    const int last = anx_graph_find_param(r.model->graph, "classifier.3.bias");
    ((float *)r.model->params[last].data)[0] += 1.0f;
    save_narrow(r.model, path);
    v = narrow_judge(&o);
    CU_ASSERT_FALSE(v->checkpoint.official);
    CU_ASSERT_PTR_NULL(v->checkpoint.official_name);
    CU_ASSERT_TRUE(v->checkpoint.has_file_digest);
    CU_ASSERT_STRING_NOT_EQUAL(anx_digest_hex(&v->checkpoint.file_digest, shown), file);
    /* What the published file's recordings say of it reaches as far as the weights are the same. */
    CU_ASSERT_STRING_EQUAL(v->fixtures[0].applies, "up to classifier.2");
    const anx_judged *recorded = find_judged(v, ANX_PATH_OBSERVE, "classifier.1"),
                     *other = find_judged(v, ANX_PATH_OBSERVE, "classifier.3");
    CU_ASSERT_EQUAL(recorded->versus[1].basis, ANX_BASIS_PYTORCH_RECORDED);
    CU_ASSERT_EQUAL(other->versus[0].basis, ANX_BASIS_TRUTH_COMPUTED);
    CU_ASSERT_EQUAL(other->versus[1].basis, ANX_BASIS_PYTORCH_REGENERATED);
    anx_verdicts_destroy(v);
    narrow_recording_free(&r);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"every path passes on a recording that applies", test_recording_applies},
        {"one wrong bit of a recording is seen", test_recording_is_missed_by_a_bit},
        {"the judged engine is held to the recorded truth", test_engine_is_held_to_the_recorded_truth},
        {"a recording asked for is judged against though weights differ", test_asked_for_with_other_weights},
        {"unknown weights are judged without recordings", test_no_recording},
        {"an input that is not PyTorch's is said", test_input_differs},
        {"only the points wanted are judged", test_points},
        {"the probe is at the model's own size", test_probe_is_at_the_models_own_size},
        {"weights that are not ordinary numbers blame nobody", test_unusual_weights},
        {"the probe sees operands of 11 bits in both roles", test_probe},
        {"contradictory options are refused", test_options},
        {"an image that is refused here costs its recording and is a failure", test_image_refused},
        {"a recorded image that is refused here is a failure", test_sample_refused},
        {"published weights are told by their bytes, not by their name", test_published_weights},
        {NULL, NULL},
    };
    return anx_test_main("judge", tests, argc, argv);
}
