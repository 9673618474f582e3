/* A dump's preprocessing stages. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/file.h"
#include "parity/against.h"
#include "parity/diagnose.h"
#include "parity/points.h"

static const anx_preprocess_profile *const profile = &anx_preprocess_torchvision;

/* A stage that the dump may hold. */
static bool get_image(const anx_safetensors *file, const char *name, anx_image *out) {
    const anx_tensor *t = anx_state_dict_find(&file->tensors, name);
    if (t == NULL || t->dtype != ANX_U8 || t->rank != 3 || t->shape[2] != 3 || !anx_tensor_is_contiguous(t))
        return false;
    *out = (anx_image){.width = t->shape[1], .height = t->shape[0], .pixels = t->data};
    return out->width > 0 && out->height > 0;
}

/* torchvision's center_crop: where the crop begins along one axis; halves of a pixel round to even. */
static int64_t crop_begin(int64_t size, int64_t crop) {
    if (crop > size) return -((crop - size) / 2);
    const int64_t margin = size - crop, half = margin / 2;
    return margin % 2 == 0 ? half : half + half % 2;
}

/* CenterCrop of an image; what sticks out is black. The caller frees pixels. */
static anx_status center_crop(const anx_image *from, anx_image *out, anx_error *err) {
    const int64_t side = profile->crop;
    uint8_t *pixels = calloc((size_t)(side * side), 3);
    if (pixels == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for a crop");
    const int64_t top = crop_begin(from->height, side), left = crop_begin(from->width, side);
    for (int64_t y = 0; y < side; y++)
        for (int64_t x = 0; x < side; x++) {
            const int64_t fy = y + top, fx = x + left;
            if (fy >= 0 && fx >= 0 && fy < from->height && fx < from->width)
                memcpy(pixels + (y * side + x) * 3, from->pixels + (fy * from->width + fx) * 3, 3);
        }
    *out = (anx_image){.width = side, .height = side, .pixels = pixels};
    return ANX_OK;
}

/* To float by /255 and normalised, in float32 and in PyTorch's order of operations. */
static anx_status to_input(const anx_image *crop, anx_tensor *out, anx_error *err) {
    const int64_t shape[3] = {3, crop->height, crop->width}, plane = crop->height * crop->width;
    const anx_status status = anx_tensor_alloc(ANX_F32, 3, shape, out, err);
    if (status != ANX_OK) return status;
    for (int c = 0; c < 3; c++)
        for (int64_t i = 0; i < plane; i++)
            ((float *)out->data)[c * plane + i] =
                ((float)crop->pixels[i * 3 + c] / 255.0f - profile->mean[c]) / profile->std[c];
    return ANX_OK;
}

static anx_status start_row(const char *point, const char *name, anx_bound_kind bound, anx_basis basis, int64_t elems,
                            anx_judged *j, anx_error *err) {
    const anx_status status = anx_judged_init(j, ANX_JUDGED_STAGE, ANX_PATH_AGAINST, point, name, NULL, err);
    if (status != ANX_OK) return status;
    j->node = ANX_NODE_INPUT;
    j->n_versus = 1;
    j->versus[0] = (anx_comparison){.basis = basis,
                                    .bound = bound,
                                    .limit_rms = NAN,
                                    .worst_r = NAN,
                                    .rms = NAN,
                                    .part_rms = NAN,
                                    .slope = NAN,
                                    .elems = elems};
    return ANX_OK;
}

static anx_status finish_row(anx_judge_run *run, anx_status status, anx_judged *j, anx_error *err) {
    if (status == ANX_OK) status = anx_verdicts_add(run->list, j, err);
    anx_judged_fini(j);
    return status;
}

/* got from the dump beside expected, which comes from `source`. */
static anx_status judge_pixels(anx_judge_run *run, const char *point, const char *name, const anx_image *got,
                               const anx_image *expected, const char *source, anx_error *err) {
    if (!anx_points_match(run->options->points, point)) return ANX_OK;
    anx_judged j;
    const bool same_size = got->width == expected->width && got->height == expected->height;
    anx_status status =
        start_row(point, name, ANX_BOUND_PIXELS, ANX_BASIS_ANX_PREPROCESS, got->width * got->height * 3, &j, err);
    if (status != ANX_OK) return status;
    anx_comparison *c = &j.versus[0];
    for (int64_t i = 0; same_size && i < c->elems; i++) {
        if (got->pixels[i] == expected->pixels[i]) continue;
        c->worst_abs = fmax(c->worst_abs, abs(got->pixels[i] - expected->pixels[i]));
        c->different++;
        if (c->over++ > 0) continue;
        c->worst = (anx_element){.known = true,
                                 .rank = 3,
                                 .at = {i / 3 / got->width, i / 3 % got->width, i % 3},
                                 .got = got->pixels[i],
                                 .expected = expected->pixels[i]};
    }
    if (same_size && c->over == 0)
        status = anx_judged_conclude(&j, ANX_VERDICT_PASS, err, "the pixels that %s gives", source);
    else {
        c->worst_fraction = INFINITY;
        if (same_size)
            status = anx_judged_conclude(&j, ANX_VERDICT_FAIL, err,
                                         "%lld of %lld values differ, by up to %.0f, from what "
                                         "%s gives",
                                         (long long)c->over, (long long)c->elems, c->worst_abs, source);
        else
            status = anx_judged_conclude(&j, ANX_VERDICT_FAIL, err, "%lld x %lld pixels where %s gives %lld x %lld",
                                         (long long)got->width, (long long)got->height, source,
                                         (long long)expected->width, (long long)expected->height);
        if (status == ANX_OK) status = anx_diagnose_image(got, expected, &j, err);
    }
    return finish_row(run, status, &j, err);
}

/*
 * The input, (3, H, W). Its three float32 operations, done in another order or fused, err by at most 4 u (|x/255| +
 * |mean|)/std: within that the values count as right, and the row says that the bits differ.
 */
static anx_status judge_input(anx_judge_run *run, const char *name, const float *got, const anx_tensor *expected,
                              const char *source, anx_error *err) {
    if (!anx_points_match(run->options->points, "input")) return ANX_OK;
    anx_judged j;
    const int64_t elems = anx_tensor_elems(expected), plane = elems / 3;
    anx_status status = start_row("input", name, ANX_BOUND_SUM, ANX_BASIS_ANX_PREPROCESS, elems, &j, err);
    if (status != ANX_OK) return status;
    anx_comparison *c = &j.versus[0];
    const float *right = expected->data;
    c->limit_r = 4;
    c->worst_r = 0;
    for (int64_t i = 0; i < elems; i++) {
        const int ch = (int)(i / plane);
        const double g = fabs(right[i]) + 2 * (double)profile->mean[ch] / (double)profile->std[ch];
        const double d = fabs((double)got[i] - (double)right[i]), r = isfinite(d) ? d / (0x1p-24 * g) : INFINITY;
        c->different += memcmp(&got[i], &right[i], sizeof *got) != 0;
        c->nonfinite += !isfinite(got[i]);
        c->over += r > c->limit_r;
        c->worst_abs = fmax(c->worst_abs, d);
        if (r <= c->worst_r) continue;
        c->worst_r = r;
        c->worst = (anx_element){.known = true,
                                 .rank = 3,
                                 .at = {ch, i % plane / expected->shape[2], i % expected->shape[2]},
                                 .got = got[i],
                                 .expected = right[i]};
    }
    c->worst_fraction = c->worst_r / c->limit_r;
    if (c->over > 0) {
        status = anx_judged_conclude(&j, ANX_VERDICT_FAIL, err,
                                     "%lld of %lld values differ, by up to %.4g, from what %s "
                                     "gives",
                                     (long long)c->over, (long long)elems, c->worst_abs, source);
        if (status == ANX_OK)
            status = anx_diagnose_input(got, right, expected->shape[1], expected->shape[2], profile, &j, err);
    } else if (c->different > 0)
        status = anx_judged_conclude(&j, ANX_VERDICT_PASS, err,
                                     "%lld of %lld values have other bits than %s gives, within the rounding of three "
                                     "operations",
                                     (long long)c->different, (long long)elems, source);
    else
        status = anx_judged_conclude(&j, ANX_VERDICT_PASS, err, "bit-equal to what %s gives", source);
    return finish_row(run, status, &j, err);
}

/* The dump's input as one (3, H, W) image; false where it has none such. */
static anx_status get_input(const anx_safetensors *file, anx_tensor *out, bool *found, anx_error *err) {
    const anx_tensor *t = anx_state_dict_find(&file->tensors, "input");
    *found = t != NULL && anx_dtype_is_float(t->dtype) &&
             ((t->rank == 3 && t->shape[0] == 3) || (t->rank == 4 && t->shape[0] == 1 && t->shape[1] == 3));
    if (!*found) return ANX_OK;
    const anx_status status = anx_tensor_convert(t, ANX_F32, out, err);
    if (status != ANX_OK || out->rank == 3) return status;
    out->rank = 3;
    memmove(out->shape, out->shape + 1, 3 * sizeof *out->shape);
    memmove(out->stride, out->stride + 1, 3 * sizeof *out->stride);
    return ANX_OK;
}

static anx_status read_stages(anx_judge_run *run, anx_preprocess_stages *stages, anx_error *err) {
    const char *path = run->options->images[0];
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    anx_status status = anx_read_file(path, &bytes, &n_bytes, err);
    if (status == ANX_OK) status = run->preprocess.staged(profile, bytes, n_bytes, path, stages, err);
    free(bytes);
    return status;
}

anx_status anx_against_stages(anx_judge_run *run, const anx_safetensors *file, const char *name, anx_tensor *input,
                              anx_error *err) {
    static const char of_file[] = "anx's preprocessing of the image";
    const bool has_file = run->options->n_images > 0;
    anx_preprocess_stages stages = ANX_PREPROCESS_STAGES_INIT;
    anx_image image, resize, crop, own_crop = ANX_IMAGE_INIT;
    anx_tensor got = ANX_TENSOR_INIT, own_input = ANX_TENSOR_INIT;
    bool has_input = false;
    anx_status status = has_file ? read_stages(run, &stages, err) : ANX_OK;
    if (status != ANX_OK) goto out;
    const bool has_image = get_image(file, "image", &image), has_resize = get_image(file, "resize", &resize);
    const bool has_crop = get_image(file, "crop", &crop);
    if (has_file && has_image) status = judge_pixels(run, "image", name, &image, &stages.image, of_file, err);
    if (status == ANX_OK && has_file && has_resize)
        status = judge_pixels(run, "resize", name, &resize, &stages.resize, of_file, err);
    if (status == ANX_OK && has_crop && has_resize) {
        if ((status = center_crop(&resize, &own_crop, err)) == ANX_OK)
            status = judge_pixels(run, "crop", name, &crop, &own_crop, "CenterCrop of the dump's 'resize'", err);
    } else if (status == ANX_OK && has_crop && has_file)
        status = judge_pixels(run, "crop", name, &crop, &stages.crop, of_file, err);

    if (status == ANX_OK) status = get_input(file, &got, &has_input, err);
    const bool from_crop = has_crop && has_input && got.shape[1] == crop.height && got.shape[2] == crop.width;
    const bool from_file = has_file && has_input && got.shape[1] == profile->crop && got.shape[2] == profile->crop;
    if (status == ANX_OK && from_crop) {
        if ((status = to_input(&crop, &own_input, err)) == ANX_OK)
            status = judge_input(run, name, got.data, &own_input, "normalising the dump's 'crop'", err);
    } else if (status == ANX_OK && from_file)
        status = judge_input(run, name, got.data, &stages.input, of_file, err);
    if (status == ANX_OK && has_file) {
        *input = stages.input;
        stages.input = (anx_tensor)ANX_TENSOR_INIT;
    }
out:
    anx_image_fini(&own_crop);
    anx_tensor_fini(&own_input);
    anx_tensor_fini(&got);
    anx_preprocess_stages_fini(&stages);
    return status;
}
