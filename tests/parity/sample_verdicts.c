#include "tests/parity/sample_verdicts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void must(anx_status status) {
    if (status != ANX_OK) abort();
}

static char *copy(const char *text) {
    char *made = strdup(text);
    if (made == NULL) abort();
    return made;
}

static anx_comparison measured(anx_basis basis, double r, double fraction, double rms) {
    return (anx_comparison){.basis = basis,
                            .bound = ANX_BOUND_SUM,
                            .limit_r = 76,
                            .limit_rms = 32,
                            .elems = 193600,
                            .different = 1234,
                            .over = fraction > 1 ? 17 : 0,
                            .worst_r = r,
                            .worst_fraction = fraction,
                            .worst_abs = 1.25e-6,
                            .rms = rms,
                            .part_rms = 1.5 * rms,
                            .part_index = 3,
                            .slope = -0.25,
                            .worst = {.known = true, .rank = 4, .at = {0, 17, 3, 4}, .got = 1.5, .expected = 1.25}};
}

static anx_comparison equality(anx_basis basis, anx_bound_kind bound, int64_t over) {
    return (anx_comparison){.basis = basis,
                            .bound = bound,
                            .limit_r = 0,
                            .limit_rms = NAN,
                            .elems = 46656,
                            .different = over,
                            .over = over,
                            .worst_r = NAN,
                            .worst_fraction = over > 0 ? INFINITY : 0,
                            .rms = NAN,
                            .part_rms = NAN,
                            .slope = NAN};
}

static anx_judged begin(anx_judged_kind kind, anx_judged_path path, const char *point, int node, anx_op op,
                        const char *input, const char *fixture) {
    anx_judged j;
    must(anx_judged_init(&j, kind, path, point, input, fixture, NULL));
    j.node = node;
    j.op = op;
    return j;
}

static void end(anx_verdicts *v, anx_judged *j, anx_verdict verdict, const char *reason) {
    must(anx_judged_conclude(j, verdict, NULL, "%s", reason));
    must(anx_verdicts_add(v, j, NULL));
}

static void add_layer(anx_verdicts *v, anx_judged_path path, anx_judged_kind kind, const char *point, int node,
                      anx_op op, double r, double fraction) {
    anx_judged j = begin(kind, path, point, node, op, "photo-1", "alexnet-seed0");
    j.versus[0] = measured(ANX_BASIS_TRUTH_RECORDED, r, fraction, r / 9);
    j.versus[1] = measured(ANX_BASIS_PYTORCH_RECORDED, 1.25 * r, 1.2 * fraction, r / 8);
    j.n_versus = 2;
    j.pytorch_r = 7.875;
    j.pytorch_rms = 0.5;
    end(v, &j, fraction > 1 ? ANX_VERDICT_FAIL : ANX_VERDICT_PASS,
        fraction > 1 ? "17 of 193600 elements beyond min(h, 4 sqrt h) u G; rests on the recorded truth"
                     : "within the bound; rests on the recorded truth");
}

static void add_equal(anx_verdicts *v, anx_judged_kind kind, anx_judged_path path, const char *point, int node,
                      anx_op op, const char *input, anx_basis basis, anx_bound_kind bound) {
    anx_judged j = begin(kind, path, point, node, op, input, "alexnet-seed0");
    j.versus[0] = equality(basis, bound, 0);
    j.n_versus = 1;
    j.ties = op == ANX_OP_MAX_POOL2D ? 7 : 0;
    end(v, &j, ANX_VERDICT_PASS, "equal");
}

static void add_ranking(anx_verdicts *v, const char *input, bool same) {
    static const int64_t classes[5] = {0, 999, 281, 282, 285};
    anx_top5 t = {.input = copy(input),
                  .k = 5,
                  .other_basis = ANX_BASIS_PYTORCH_RECORDED,
                  .same_top1 = true,
                  .same_set = true,
                  .same_order = same,
                  .margin_1_2 = 0.75,
                  .margin_5_6 = NAN};
    for (int i = 0; i < 5; i++) {
        t.judged[i] = (anx_ranked){.index = classes[i], .logit = 10.5 - i, .prob = 0.5 / (1 << i)};
        t.other[i] = (anx_ranked){.index = classes[same ? i : 4 - i], .logit = 10.5 - i, .prob = 0.5 / (1 << i)};
    }
    must(anx_verdicts_add_top5(v, &t, NULL));
}

static void describe(anx_verdicts *v) {
    v->version = copy("0.1.0");
    must(anx_verdicts_add_environment(v, "cpu", "AMD EPYC 9R14", NULL));
    must(anx_verdicts_add_environment(v, "os", "Linux 6.1.0 x86_64", NULL));
    must(anx_verdicts_add_environment(v, "threads", "2", NULL));
    must(anx_verdicts_add_environment(v, "compiler", "gcc 12.2.0", NULL));
    v->checkpoint.path = copy("alexnet-seed0.pth");
    v->checkpoint.format = copy("PyTorch zip");
    v->checkpoint.arch = copy("alexnet");
    v->checkpoint.file_bytes = 244409783;
    v->checkpoint.num_classes = 1000;
    v->checkpoint.n_params = 61100840;
    memset(v->checkpoint.params_digest.bytes, 0xa5, sizeof v->checkpoint.params_digest.bytes);
    v->device = (anx_device_facts){.backend = copy("cpu"),
                                   .device = copy("cpu"),
                                   .library = copy("oneDNN 2.6.3 (OpenMP)"),
                                   .isa = copy("AVX-512"),
                                   .arithmetic = copy("float32"),
                                   .threads = 2,
                                   .deterministic = true};
    v->exact = (anx_device_facts){.backend = copy("exact"),
                                  .device = copy("exact"),
                                  .library = copy(""),
                                  .isa = copy("AVX-512"),
                                  .arithmetic = copy("float32"),
                                  .threads = 2,
                                  .deterministic = true,
                                  .pytorch_bits = true};
    v->pytorch_at_hand = true;
    must(anx_verdicts_add_duration(v, "exact", 0.25, NULL));
    v->total_seconds = 0.9375;
}

static void add_fixture(anx_verdicts *v, bool asked, const char *applies, const char *differing) {
    anx_fixture_facts f = {.name = copy("alexnet-seed0"),
                           .path = copy("fixtures/alexnet-seed0.safetensors"),
                           .recorded_by = copy("torch 2.15.0, torchvision 0.29.2, pillow 13.0.0, isa AVX512, cpu AMD "
                                               "EPYC"),
                           .asked_for = asked,
                           .params_matched = differing != NULL ? 14 : 16,
                           .params_total = 16,
                           .applies = copy(applies),
                           .differing = differing != NULL ? copy(differing) : NULL,
                           .cases_run = 4,
                           .cases_total = 40};
    must(anx_verdicts_add_fixture(v, &f, NULL));
}

static void add_common(anx_verdicts *v) {
    add_equal(v, ANX_JUDGED_DIGEST, ANX_PATH_EXACT, "features.0", 0, ANX_OP_CONV2D, "photo-1",
              ANX_BASIS_PYTORCH_RECORDED, ANX_BOUND_BITS);
    static const char *const stages[] = {"image", "resize", "crop", "scaled", "input", "input (fast path)"};
    for (int i = 0; i < 6; i++)
        for (int k = 0; k < 2; k++)
            add_equal(v, ANX_JUDGED_STAGE, ANX_PATH_PREPROCESS, stages[i], ANX_JUDGED_NO_NODE, ANX_OP_CONV2D,
                      k == 0 ? "gray.jpg" : "wide.png", ANX_BASIS_PILLOW_RECORDED,
                      i < 3 ? ANX_BOUND_PIXELS : ANX_BOUND_BITS);
    add_layer(v, ANX_PATH_OBSERVE, ANX_JUDGED_MODULE, "features.0", 0, ANX_OP_CONV2D, 8.3203125, 0.11);
    add_equal(v, ANX_JUDGED_MODULE, ANX_PATH_OBSERVE, "features.2", 2, ANX_OP_MAX_POOL2D, "photo-1",
              ANX_BASIS_PYTORCH_RECORDED, ANX_BOUND_BITS);
}

static void add_accumulated(anx_verdicts *v) {
    anx_judged j = begin(ANX_JUDGED_MODULE, ANX_PATH_ACCUMULATED, "features.0", 0, ANX_OP_CONV2D, "photo-1", NULL);
    j.versus[0] = measured(ANX_BASIS_PYTORCH_RECORDED, 123.4, 1.5, 20);
    j.n_versus = 1;
    end(v, &j, ANX_VERDICT_INFO, "accumulated over 1 layer");
}

/* One row of each path of training. */
static void add_training(anx_verdicts *v) {
    anx_judged j = begin(ANX_JUDGED_STEPS, ANX_PATH_TRAIN_REPLAY, "data order", ANX_JUDGED_NO_NODE, ANX_OP_CONV2D,
                         "augmented", "training-seed0");
    end(v, &j, ANX_VERDICT_PASS, "20 steps bit-equal to what PyTorch 2.15.0 recorded");
    j = begin(ANX_JUDGED_GRADIENT, ANX_PATH_TRAIN_OPERATORS, "features.0.weight", 0, ANX_OP_CONV2D, "smoothed, step 2",
              "training-seed0");
    j.versus[0] = measured(ANX_BASIS_TRUTH_COMPUTED, 4.75, 0.01, 1);
    j.n_versus = 1;
    end(v, &j, ANX_VERDICT_PASS, "within the bound");
    j = begin(ANX_JUDGED_UPDATE, ANX_PATH_TRAIN_UPDATE, "features.0.weight", ANX_JUDGED_NO_NODE, ANX_OP_CONV2D,
              "smoothed, step 2", "training-seed0");
    j.versus[0] = equality(ANX_BASIS_TRUTH_COMPUTED, ANX_BOUND_UPDATE, 0);
    j.n_versus = 1;
    end(v, &j, ANX_VERDICT_PASS, "momentum and values within 0.5 of the bound that the gradient's leaves");
    j = begin(ANX_JUDGED_ENVELOPE, ANX_PATH_TRAIN_FREE, "features", ANX_JUDGED_NO_NODE, ANX_OP_CONV2D, "augmented",
              "training-seed0");
    j.versus[0] = equality(ANX_BASIS_PYTORCH_RECORDED, ANX_BOUND_ENVELOPE, 0);
    j.n_versus = 1;
    end(v, &j, ANX_VERDICT_PASS,
        "20 steps of its own: drifts from PyTorch's run by 0.0059 of the way at step 20, within the spread of 5 right "
        "runs of PyTorch's (8 times their largest drift: 0.11)");
    j = begin(ANX_JUDGED_ENVELOPE, ANX_PATH_TRAIN_FREE, "max-pool winners", ANX_JUDGED_NO_NODE, ANX_OP_CONV2D,
              "augmented", "training-seed0");
    end(v, &j, ANX_VERDICT_INFO, "none of 311729 differs from PyTorch's run in 20 steps");
}

static void add_pass(anx_verdicts *v) {
    add_fixture(v, false, "in full", NULL);
    add_common(v);
    add_layer(v, ANX_PATH_INFER, ANX_JUDGED_GROUP, "features.10..features.12", 12, ANX_OP_MAX_POOL2D, 0.0625, 0.0009);
    add_equal(v, ANX_JUDGED_WHOLE, ANX_PATH_INFER, "logits", 21, ANX_OP_LINEAR, "photo-1", ANX_BASIS_ITSELF,
              ANX_BOUND_BITS);
    add_accumulated(v);
    add_equal(v, ANX_JUDGED_PROBE, ANX_PATH_PROBE, "features.0", 0, ANX_OP_CONV2D, "", ANX_BASIS_ARITHMETIC,
              ANX_BOUND_INTEGER);
    add_equal(v, ANX_JUDGED_TOPK, ANX_PATH_RESULT, "top-5", 21, ANX_OP_LINEAR, "photo-1", ANX_BASIS_PYTORCH_RECORDED,
              ANX_BOUND_RANK);
    add_training(v);
    add_ranking(v, "photo-1", true);
}

static void add_fail(anx_verdicts *v) {
    v->strict = v->full = true;
    v->points_glob = copy("features.*,input");
    v->pytorch_at_hand = false;
    v->checkpoint.official = true;
    v->checkpoint.official_name = copy("alexnet-owt-7be5be79.pth");
    v->checkpoint.has_file_digest = true;
    v->checkpoint.n_converted = 1;
    v->checkpoint.converted_from = copy("float16");
    v->checkpoint.wrapped_in = copy("state_dict");
    v->checkpoint.module_prefix_removed = true;
    add_fixture(v, true, "up to features.12", "classifier.1.weight, classifier.1.bias");
    anx_judged j = begin(ANX_JUDGED_FIXTURE, ANX_PATH_RECORDINGS, "alexnet-seed0", ANX_JUDGED_NO_NODE, ANX_OP_CONV2D,
                         "", "alexnet-seed0");
    end(v, &j, ANX_VERDICT_WARN,
        "was recorded with other weights and is judged against all the same; 2 of 16 tensors differ: "
        "classifier.1.weight, classifier.1.bias");
    add_common(v);
    add_layer(v, ANX_PATH_OBSERVE, ANX_JUDGED_MODULE, "features.3", 3, ANX_OP_CONV2D, 4321, 27);
    must(anx_judged_add_cause(&v->judged[v->n_judged - 1], "reduced-precision-tf32", 0.9, NULL,
                              "the operands were rounded to TF32: with them rounded so, %d of 64 sampled outputs come "
                              "out within the bound",
                              63));
    must(anx_judged_add_cause(&v->judged[v->n_judged - 1], "shift", 0.25, NULL,
                              "values of another place: <one> row & \"one\" column further"));
    j = begin(ANX_JUDGED_MODULE, ANX_PATH_OBSERVE, "features.6", 6, ANX_OP_CONV2D, "caf\xc3\xa9 \x1b[31m.jpg", NULL);
    j.versus[0] = measured(ANX_BASIS_TRUTH_COMPUTED, INFINITY, INFINITY, INFINITY);
    j.versus[0].worst.got = NAN;
    j.versus[0].nonfinite = 1;
    j.versus[1] = measured(ANX_BASIS_PYTORCH_REGENERATED, INFINITY, INFINITY, INFINITY);
    j.n_versus = 2;
    end(v, &j, ANX_VERDICT_FAIL, "1 value is NaN or infinite where the right one is not");
    add_layer(v, ANX_PATH_OBSERVE, ANX_JUDGED_MODULE, "features.8", 8, ANX_OP_CONV2D, 43210987, 561633);
    j = begin(ANX_JUDGED_GROUP, ANX_PATH_INFER, "features.6..features.7", 7, ANX_OP_RELU, "photo-1", NULL);
    end(v, &j, ANX_VERDICT_SKIP, "more than one layer of this group rounds: only the whole can be judged");
    j = begin(ANX_JUDGED_PROBE, ANX_PATH_PROBE, "features.0", 0, ANX_OP_CONV2D, "", NULL);
    j.versus[0] = equality(ANX_BASIS_ARITHMETIC, ANX_BOUND_INTEGER, 1000);
    j.versus[0].worst = (anx_element){.known = true, .rank = 2, .at = {0, 5}, .got = 4095, .expected = 4096};
    j.n_versus = 1;
    end(v, &j, ANX_VERDICT_FAIL, "1000 of 46656 integers wrong, first at [0, 5]: 4095 instead of 4096");
    add_accumulated(v);
    add_ranking(v, "photo-1", false);
}

static void add_dump(anx_verdicts *v) {
    free(v->device.backend);
    free(v->device.device);
    v->device.backend = copy("dump");
    v->device.device = copy("onnxruntime.safetensors");
    add_layer(v, ANX_PATH_AGAINST, ANX_JUDGED_MODULE, "features.0", 0, ANX_OP_CONV2D, 8.3203125, 0.11);
}

anx_verdicts *sample_verdicts(sample_kind kind) {
    anx_verdicts *v = NULL;
    must(anx_verdicts_create(&v, NULL));
    describe(v);
    switch (kind) {
    case SAMPLE_PASS: add_pass(v); break;
    case SAMPLE_FAIL: add_fail(v); break;
    case SAMPLE_DUMP: add_dump(v); break;
    case SAMPLE_COUNT: abort();
    }
    anx_verdicts_conclude(v);
    return v;
}
