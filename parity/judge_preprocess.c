/* Preprocessing against what Pillow and torchvision made of the recorded images, stage by stage. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parity/diagnose.h"
#include "parity/judge_run.h"
#include "parity/points.h"

static const char *const stage_names[ANX_FIXTURE_STAGE_COUNT] = {"image", "resize", "crop", "scaled", "input"};
static const char fast_path[] = "input (fast path)";

/* One stage as it came out, whatever its kind: a tensor of the shape that fixtures use. */
static anx_tensor stage_output(const anx_preprocess_stages *s, anx_fixture_stage_id id) {
    const anx_image *image = NULL;
    switch (id) {
    case ANX_FIXTURE_STAGE_IMAGE: image = &s->image; break;
    case ANX_FIXTURE_STAGE_RESIZE: image = &s->resize; break;
    case ANX_FIXTURE_STAGE_CROP: image = &s->crop; break;
    case ANX_FIXTURE_STAGE_SCALED: return s->scaled;
    case ANX_FIXTURE_STAGE_INPUT:
    case ANX_FIXTURE_STAGE_COUNT: return s->input;
    }
    const int64_t shape[3] = {image->height, image->width, 3};
    return anx_tensor_view(ANX_U8, 3, shape, image->pixels);
}

/* Rows begin .. end-1 of a stage's output: a view. */
static anx_tensor band_of(const anx_tensor *t, int64_t begin, int64_t end) {
    anx_tensor band = *t;
    const int rows = t->dtype == ANX_U8 ? 0 : 1;
    band.owned = NULL;
    band.shape[rows] = end - begin;
    band.data = (char *)t->data + (size_t)(begin * t->stride[rows]) * anx_dtype_bytes(t->dtype);
    return band;
}

static double element(const anx_tensor *t, int64_t i) {
    return t->dtype == ANX_U8 ? ((const uint8_t *)t->data)[i] : (double)((const float *)t->data)[i];
}

/* A comparison of values that must be equal: no unit of rounding has a meaning. */
static anx_comparison blank_comparison(anx_basis basis, anx_bound_kind bound, int64_t elems) {
    return (anx_comparison){.basis = basis,
                            .bound = bound,
                            .limit_rms = NAN,
                            .elems = elems,
                            .worst_r = NAN,
                            .rms = NAN,
                            .part_rms = NAN,
                            .slope = NAN};
}

/* Element by element, where the stage was recorded in full. Both tensors contiguous, of one shape and dtype. */
static void compare_full(const anx_tensor *got, const anx_tensor *expected, anx_comparison *c) {
    if (memcmp(got->data, expected->data, anx_tensor_bytes(expected)) == 0) return;
    for (int64_t i = 0; i < c->elems; i++) {
        const double a = element(got, i), b = element(expected, i);
        if (a == b && signbit(a) == signbit(b)) continue;
        c->worst_abs = fmax(c->worst_abs, fabs(a - b));
        c->nonfinite += isfinite(a) != isfinite(b);
        c->different++;
        if (c->over++ > 0) continue;
        int64_t flat = i;
        c->worst = (anx_element){.known = true, .rank = 3, .got = a, .expected = b};
        for (int d = 2; d >= 0; d--) {
            c->worst.at[d] = flat % expected->shape[d];
            flat /= expected->shape[d];
        }
    }
}

/* Counts bands whose digest differs; *first receives the first such band. */
static anx_status compare_bands(const anx_tensor *got, const anx_fixture_stage *stage, int64_t *differing,
                                int64_t *first, anx_error *err) {
    *differing = 0;
    for (int64_t b = 0; b < stage->n_bands; b++) {
        const int64_t begin = b * stage->band_rows;
        const int64_t end = begin + stage->band_rows < stage->height ? begin + stage->band_rows : stage->height;
        const anx_tensor band = band_of(got, begin, end);
        anx_digest digest;
        const anx_status status = anx_tensor_digest(&band, &digest, err);
        if (status != ANX_OK) return status;
        if (!anx_digest_equal(&digest, &stage->bands[b]) && (*differing)++ == 0) *first = b;
    }
    return ANX_OK;
}

static bool same_shape(const anx_tensor *t, const anx_fixture_stage *stage) {
    return t->dtype == stage->dtype && t->rank == 3 && memcmp(t->shape, stage->shape, sizeof stage->shape) == 0;
}

static anx_status diagnose_stage(const anx_tensor *got, const anx_tensor *expected, anx_judged *j, anx_error *err) {
    if (expected->dtype == ANX_U8) {
        const anx_image a = {.width = got->shape[1], .height = got->shape[0], .pixels = got->data};
        const anx_image b = {.width = expected->shape[1], .height = expected->shape[0], .pixels = expected->data};
        return anx_diagnose_image(&a, &b, j, err);
    }
    return anx_diagnose_input(got->data, expected->data, expected->shape[1], expected->shape[2],
                              &anx_preprocess_torchvision, j, err);
}

/* Judges one stage's output and fills *j, which the caller adds. */
static anx_status judge_stage(const anx_tensor *got, const anx_fixture_stage *stage, const char *point,
                              const anx_fixture *fixture, const anx_fixture_sample *sample, anx_judged *j,
                              anx_error *err) {
    anx_status status =
        anx_judged_init(j, ANX_JUDGED_STAGE, ANX_PATH_PREPROCESS, point, sample->name, fixture->name, err);
    if (status != ANX_OK) return status;
    char want[64], have[64];
    if (!same_shape(got, stage))
        return anx_judged_conclude(j, ANX_VERDICT_FAIL, err, "%s %s instead of %s %s (%s)", anx_dtype_name(got->dtype),
                                   anx_shape_format(got->rank, got->shape, have, sizeof have),
                                   anx_dtype_name(stage->dtype), anx_shape_format(3, stage->shape, want, sizeof want),
                                   sample->shows);
    j->n_versus = 1;
    anx_comparison *c = &j->versus[0];
    *c = blank_comparison(ANX_BASIS_PILLOW_RECORDED, stage->dtype == ANX_U8 ? ANX_BOUND_PIXELS : ANX_BOUND_BITS,
                          anx_tensor_elems(got));
    if (stage->full.data != NULL) {
        compare_full(got, &stage->full, c);
        if (c->over == 0)
            return anx_judged_conclude(j, ANX_VERDICT_PASS, err, "equal to what Pillow and torchvision gave");
        c->worst_fraction = INFINITY;
        char where[64];
        anx_element_format(&c->worst, where, sizeof where);
        status = anx_judged_conclude(
            j, ANX_VERDICT_FAIL, err,
            "%lld of %lld values differ, by up to %.4g, first at %s: %.9g instead of %.9g (%s)", (long long)c->over,
            (long long)c->elems, c->worst_abs, where, c->worst.got, c->worst.expected, sample->shows);
        return status != ANX_OK ? status : diagnose_stage(got, &stage->full, j, err);
    }
    int64_t differing = 0, first = 0;
    if ((status = compare_bands(got, stage, &differing, &first, err)) != ANX_OK) return status;
    if (differing == 0)
        return anx_judged_conclude(j, ANX_VERDICT_PASS, err, "equal to what Pillow and torchvision gave (SHA-256)");
    c->over = differing;
    c->worst_fraction = INFINITY;
    return anx_judged_conclude(j, ANX_VERDICT_FAIL, err, "%lld of %lld bands of %lld rows differ, first rows %lld (%s)",
                               (long long)differing, (long long)stage->n_bands, (long long)stage->band_rows,
                               (long long)(first * stage->band_rows), sample->shows);
}

/*
 * Fills *j, which the caller adds, for an image that Pillow read and that was refused here with `status` and *err: a
 * failure of what is judged, unless it was for want of memory, which is given back.
 */
static anx_status refused(anx_status status, const char *point, const char *input, const char *shows,
                          const anx_fixture *fixture, anx_judged *j, anx_error *err) {
    if (status == ANX_ERR_OUT_OF_MEMORY) return status;
    char why[2048] = "it was refused here";
    if (err != NULL) anx_error_format(err, why, sizeof why);
    status = anx_judged_init(j, ANX_JUDGED_STAGE, ANX_PATH_PREPROCESS, point, input, fixture->name, err);
    if (status != ANX_OK) return status;
    return anx_judged_conclude(j, ANX_VERDICT_FAIL, err, "Pillow reads it (%s), but: %s", shows, why);
}

enum { ROWS_PER_SAMPLE = ANX_FIXTURE_STAGE_COUNT + 1 };

/* The rows of one sample: every stage, then the fast path's input. A refusal to decode is a failed row. */
static anx_status judge_sample(const anx_judge_run *run, const anx_fixture *fixture, const anx_fixture_sample *sample,
                               anx_judged rows[ROWS_PER_SAMPLE], int *n, anx_error *err) {
    const anx_fixture_image *file = &sample->image;
    const char *globs = run->options->points;
    anx_preprocess_stages stages = ANX_PREPROCESS_STAGES_INIT;
    anx_tensor fast = ANX_TENSOR_INIT;
    anx_status status =
        run->preprocess.staged(&anx_preprocess_torchvision, file->bytes, file->n_bytes, sample->name, &stages, err);
    if (status != ANX_OK) {
        status = refused(status, stage_names[0], sample->name, sample->shows, fixture, &rows[(*n)++], err);
        goto out;
    }
    for (int id = 0; id < ANX_FIXTURE_STAGE_COUNT; id++) {
        if (!anx_points_match(globs, stage_names[id])) continue;
        const anx_tensor got = stage_output(&stages, (anx_fixture_stage_id)id);
        status = judge_stage(&got, &sample->stages[id], stage_names[id], fixture, sample, &rows[(*n)++], err);
        if (status != ANX_OK) goto out;
    }
    if (!anx_points_match(globs, stage_names[ANX_FIXTURE_STAGE_INPUT])) goto out;
    if ((status = anx_tensor_alloc(ANX_F32, 3, stages.input.shape, &fast, err)) != ANX_OK) goto out;
    status =
        run->preprocess.fast(&anx_preprocess_torchvision, file->bytes, file->n_bytes, sample->name, fast.data, err);
    if (status == ANX_OK)
        status = judge_stage(&fast, &sample->stages[ANX_FIXTURE_STAGE_INPUT], fast_path, fixture, sample, &rows[(*n)++],
                             err);
    else
        status = refused(status, fast_path, sample->name, sample->shows, fixture, &rows[(*n)++], err);
out:
    anx_tensor_fini(&fast);
    anx_preprocess_stages_fini(&stages);
    return status;
}

/* All samples of one fixture, several at a time; rows are added in their order. */
static anx_status judge_samples(anx_judge_run *run, const anx_fixture *fixture, anx_error *err) {
    const int n = fixture->n_samples;
    anx_judged(*rows)[ROWS_PER_SAMPLE] = calloc((size_t)n + 1, sizeof *rows);
    int *counts = calloc((size_t)n + 1, sizeof *counts);
    anx_status status = ANX_OK;
    if (rows == NULL || counts == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the verdicts of %d images", n);
        goto out;
    }
#pragma omp parallel for schedule(dynamic) num_threads(run->threads)
    for (int i = 0; i < n; i++) {
        anx_error mine = ANX_ERROR_INIT;
        const anx_status s = judge_sample(run, fixture, &fixture->samples[i], rows[i], &counts[i], &mine);
        if (s != ANX_OK) {
#pragma omp critical(anx_judge_samples)
            if (status == ANX_OK) {
                status = s;
                if (err != NULL) *err = mine;
            }
        }
    }
    for (int i = 0; status == ANX_OK && i < n; i++)
        for (int r = 0; status == ANX_OK && r < counts[i]; r++) status = anx_verdicts_add(run->list, &rows[i][r], err);
out:
    for (int i = 0; rows != NULL && i < n; i++)
        for (int r = 0; r < ROWS_PER_SAMPLE; r++) anx_judged_fini(&rows[i][r]);
    free(rows);
    free(counts);
    return status;
}

/* All images of a forward case through the judged preprocessing; *got is the caller's. */
static anx_status preprocess_case(const anx_judge_run *run, const anx_fixture_case *recorded, anx_tensor *got,
                                  anx_error *err) {
    const int64_t each = recorded->shape[1] * recorded->shape[2] * recorded->shape[3];
    anx_status status = anx_tensor_alloc(ANX_F32, 4, recorded->shape, got, err);
    for (int64_t i = 0; status == ANX_OK && i < recorded->shape[0]; i++)
        status =
            run->preprocess.fast(&anx_preprocess_torchvision, recorded->images[i].bytes, recorded->images[i].n_bytes,
                                 recorded->images[i].name, (float *)got->data + i * each, err);
    return status;
}

/* What is wrong with an input that is not PyTorch's. */
static anx_status explain_case(const anx_tensor *got, const anx_fixture_case *recorded, anx_judged *j, anx_error *err) {
    anx_tensor right = ANX_TENSOR_INIT;
    bool matches = false;
    j->versus[0].worst_fraction = INFINITY;
    anx_status status = anx_fixture_case_input(recorded, &right, &matches, NULL, err);
    if (status == ANX_OK && matches) {
        compare_full(got, &right, &j->versus[0]);
        status = anx_judged_conclude(j, ANX_VERDICT_FAIL, err, "%lld of %lld values differ from PyTorch's input",
                                     (long long)j->versus[0].over, (long long)j->versus[0].elems);
        if (status == ANX_OK)
            status = anx_diagnose_input(got->data, right.data, recorded->shape[2], recorded->shape[3],
                                        &anx_preprocess_torchvision, j, err);
    } else if (status == ANX_OK)
        status =
            anx_judged_conclude(j, ANX_VERDICT_FAIL, err, "the SHA-256 is not the one of the input that PyTorch took");
    anx_tensor_fini(&right);
    return status;
}

static anx_status compare_case(const anx_tensor *got, const anx_fixture *fixture, const anx_fixture_case *recorded,
                               anx_judged *j, anx_error *err) {
    anx_digest digest;
    anx_status status = anx_tensor_digest(got, &digest, err);
    if (status == ANX_OK)
        status =
            anx_judged_init(j, ANX_JUDGED_STAGE, ANX_PATH_PREPROCESS, fast_path, recorded->name, fixture->name, err);
    if (status != ANX_OK) return status;
    j->n_versus = 1;
    j->versus[0] = blank_comparison(ANX_BASIS_PILLOW_RECORDED, ANX_BOUND_BITS, anx_tensor_elems(got));
    if (!anx_digest_equal(&digest, &recorded->input_digest)) return explain_case(got, recorded, j, err);
    return anx_judged_conclude(j, ANX_VERDICT_PASS, err, "equal to the input that PyTorch took (SHA-256)");
}

/* The images of a forward case: the judged preprocessing must give the input that PyTorch took. */
static anx_status judge_case_images(anx_judge_run *run, const anx_fixture *fixture, const anx_fixture_case *recorded,
                                    anx_error *err) {
    if (!anx_points_match(run->options->points, stage_names[ANX_FIXTURE_STAGE_INPUT])) return ANX_OK;
    anx_tensor got = ANX_TENSOR_INIT;
    anx_judged j = {0};
    anx_status status = preprocess_case(run, recorded, &got, err);
    status = status == ANX_OK ? compare_case(&got, fixture, recorded, &j, err)
                              : refused(status, fast_path, recorded->name, "recorded", fixture, &j, err);
    if (status == ANX_OK) status = anx_verdicts_add(run->list, &j, err);
    anx_judged_fini(&j);
    anx_tensor_fini(&got);
    return status;
}

anx_status anx_judge_image_file(anx_judge_run *run, const char *path, const uint8_t *bytes, size_t n_bytes,
                                float *input, anx_error *err) {
    anx_preprocess_stages stages = ANX_PREPROCESS_STAGES_INIT;
    anx_judged j = {0};
    anx_status status = run->preprocess.fast(&anx_preprocess_torchvision, bytes, n_bytes, path, input, err);
    if (status != ANX_OK || !anx_points_match(run->options->points, stage_names[ANX_FIXTURE_STAGE_INPUT]))
        return status;
    status = run->preprocess.staged(&anx_preprocess_torchvision, bytes, n_bytes, path, &stages, err);
    if (status == ANX_OK)
        status = anx_judged_init(&j, ANX_JUDGED_STAGE, ANX_PATH_PREPROCESS, fast_path, path, NULL, err);
    if (status != ANX_OK) goto out;
    const anx_tensor got = anx_tensor_view(ANX_F32, 3, stages.input.shape, input);
    j.n_versus = 1;
    j.versus[0] = blank_comparison(ANX_BASIS_ITSELF, ANX_BOUND_BITS, anx_tensor_elems(&got));
    compare_full(&got, &stages.input, &j.versus[0]);
    if (j.versus[0].over == 0)
        status = anx_judged_conclude(&j, ANX_VERDICT_PASS, err,
                                     "equal to what the stages give; what Pillow gives for this file is not recorded");
    else
        status = anx_judged_conclude(&j, ANX_VERDICT_FAIL, err, "%lld of %lld values differ from what the stages give",
                                     (long long)j.versus[0].over, (long long)j.versus[0].elems);
    if (status == ANX_OK && j.versus[0].over > 0) status = diagnose_stage(&got, &stages.input, &j, err);
    if (status == ANX_OK) status = anx_verdicts_add(run->list, &j, err);
out:
    anx_judged_fini(&j);
    anx_preprocess_stages_fini(&stages);
    return status;
}

/* Was the same input judged already, with an earlier fixture? */
static bool seen_before(const anx_fixture_set *sets[2], int set, int item, int index) {
    const anx_fixture_case *c = &sets[set]->items[item]->cases[index];
    for (int s = 0; s <= set; s++)
        for (int i = 0; sets[s] != NULL && i < (s < set ? sets[s]->count : item); i++)
            for (int k = 0; k < sets[s]->items[i]->n_cases; k++) {
                const anx_fixture_case *other = &sets[s]->items[i]->cases[k];
                if (other->input_kind == ANX_FIXTURE_INPUT_IMAGES && other->quick == c->quick &&
                    anx_digest_equal(&other->input_digest, &c->input_digest))
                    return true;
            }
    return false;
}

static anx_status judge_fixture(anx_judge_run *run, const anx_fixture_set *sets[2], int set, int item, anx_error *err) {
    const anx_fixture *fixture = sets[set]->items[item];
    if (fixture->kind == ANX_FIXTURE_PREPROCESS) return judge_samples(run, fixture, err);
    anx_status status = ANX_OK;
    const int side = anx_preprocess_torchvision.crop;
    for (int i = 0; status == ANX_OK && i < fixture->n_cases; i++) {
        const anx_fixture_case *c = &fixture->cases[i];
        if (c->input_kind == ANX_FIXTURE_INPUT_IMAGES && (c->quick || run->options->full) && c->shape[1] == 3 &&
            c->shape[2] == side && c->shape[3] == side && !seen_before(sets, set, item, i))
            status = judge_case_images(run, fixture, c, err);
    }
    return status;
}

anx_status anx_judge_preprocessing(anx_judge_run *run, anx_error *err) {
    const anx_fixture_set *sets[2] = {run->options->asked, run->options->fixtures};
    anx_status status = ANX_OK;
    for (int s = 0; s < 2; s++)
        for (int i = 0; status == ANX_OK && sets[s] != NULL && i < sets[s]->count; i++)
            status = judge_fixture(run, sets, s, i, err);
    return status;
}
