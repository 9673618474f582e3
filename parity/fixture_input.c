#include <stdlib.h>
#include <string.h>

#include "loaders/image/preprocess.h"
#include "parity/fixture.h"
#include "src/base/mt19937.h"

/* ToTensor and Normalize of one image's pixels: float32(v / 255), then (x - mean) / std, each operation rounded. */
static void normalise(const anx_preprocess_profile *profile, const uint8_t *pixels, int64_t plane, float *out) {
    for (int c = 0; c < 3; c++)
        for (int64_t i = 0; i < plane; i++)
            out[c * plane + i] = ((float)pixels[3 * i + c] / 255.0f - profile->mean[c]) / profile->std[c];
}

static void from_pixels(const anx_fixture_case *c, float *out) {
    const int64_t plane = c->shape[2] * c->shape[3];
    const uint8_t *pixels = c->pixels.data;
    for (int64_t n = 0; n < c->shape[0]; n++)
        normalise(&anx_preprocess_torchvision, pixels + n * plane * 3, plane, out + n * plane * 3);
}

static anx_status from_images(const anx_fixture_case *c, float *out, anx_error *err) {
    const int64_t elems = c->shape[1] * c->shape[2] * c->shape[3];
    for (int64_t n = 0; n < c->shape[0]; n++) {
        const anx_fixture_image *image = &c->images[n];
        const anx_status status = anx_preprocess_fast(&anx_preprocess_torchvision, image->bytes, image->n_bytes,
                                                      image->name, out + n * elems, err);
        if (status != ANX_OK) return status;
    }
    return ANX_OK;
}

static anx_status make(const anx_fixture_case *c, anx_tensor *t, anx_error *err) {
    anx_mt19937 gen;
    switch (c->input_kind) {
    case ANX_FIXTURE_INPUT_IMAGES: return from_images(c, t->data, err);
    case ANX_FIXTURE_INPUT_PIXELS: from_pixels(c, t->data); return ANX_OK;
    case ANX_FIXTURE_INPUT_TENSOR: memcpy(t->data, c->tensor.data, anx_tensor_bytes(t)); return ANX_OK;
    case ANX_FIXTURE_INPUT_UNIFORM:
        anx_mt19937_seed(&gen, c->seed);
        anx_mt19937_uniform_f32(&gen, (size_t)anx_tensor_elems(t), c->low, c->high, t->data);
        return ANX_OK;
    }
    return anx_error_set(err, ANX_ERR_INTERNAL, "an input of an unknown kind");
}

static anx_status compare_digest(const anx_tensor *t, const anx_digest *expected, bool *equal, anx_error *err) {
    anx_digest digest;
    const anx_status status = anx_tensor_digest(t, &digest, err);
    if (status == ANX_OK) *equal = anx_digest_equal(&digest, expected);
    return status;
}

anx_status anx_fixture_case_input(const anx_fixture_case *c, anx_tensor *out, bool *digest_matches, bool *used_pixels,
                                  anx_error *err) {
    anx_tensor t = ANX_TENSOR_INIT;
    bool matches = false, pixels = false;
    anx_status status = anx_tensor_alloc(ANX_F32, 4, c->shape, &t, err);
    if (status != ANX_OK) return status;
    const bool has_pixels = c->input_kind == ANX_FIXTURE_INPUT_IMAGES && c->pixels.data != NULL;
    status = make(c, &t, err);
    if (status == ANX_OK)
        status = compare_digest(&t, &c->input_digest, &matches, err);
    else if (has_pixels && status != ANX_ERR_OUT_OF_MEMORY)
        status = ANX_OK; /* an image that this machine's decoder refuses */
    if (status == ANX_OK && !matches && has_pixels) {
        pixels = true;
        from_pixels(c, t.data);
        status = compare_digest(&t, &c->input_digest, &matches, err);
    }
    if (status != ANX_OK) {
        anx_tensor_fini(&t);
        return status;
    }
    if (digest_matches != NULL) *digest_matches = matches;
    if (used_pixels != NULL) *used_pixels = pixels;
    *out = t;
    return ANX_OK;
}
