#include <math.h>
#include <stdlib.h>

#include "parity/fixture_reader.h"
#include "src/base/mt19937.h"

enum { rank2_block = 64, max_projections = 64 };

void anx_fixture_sketch_blocks(const anx_fixture_point *point, int64_t *n_blocks, int64_t *block_elems) {
    if (point->rank == 4) {
        *n_blocks = point->shape[1];
        *block_elems = point->shape[2] * point->shape[3];
    } else {
        *n_blocks = (point->shape[1] - 1) / rank2_block + 1;
        *block_elems = rank2_block;
    }
}

static int64_t image_elems(const anx_fixture_point *point) {
    return point->rank == 4 ? point->shape[1] * point->shape[2] * point->shape[3] : point->shape[1];
}

/* ---- reading --------------------------------------------------------------------------------------------- */

static anx_status check_finite(anx_fixture_reader *r, const char *key, const anx_tensor *t) {
    const int64_t n = anx_tensor_elems(t);
    for (int64_t i = 0; i < n; i++) {
        const double value = t->dtype == ANX_F64 ? ((const double *)t->data)[i] : (double)((const float *)t->data)[i];
        if (!isfinite(value)) return anx_fixture_reader_fail(r, key, "it holds values that are not finite");
    }
    return ANX_OK;
}

static anx_status read_samples(anx_fixture_reader *r, const cJSON *object, const anx_fixture_point *point,
                               anx_fixture_sketch *out) {
    anx_tensor positions = ANX_TENSOR_INIT, y32 = ANX_TENSOR_INIT, e64 = ANX_TENSOR_INIT;
    int64_t n = -1;
    anx_status status = anx_fixture_reader_tensor(r, object, "positions", ANX_I64, 1, &n, &positions);
    if (status != ANX_OK) return status;
    n = positions.shape[0];
    status = anx_fixture_reader_tensor(r, object, "y32", ANX_F32, 1, &n, &y32);
    if (status == ANX_OK) status = anx_fixture_reader_tensor(r, object, "e64", ANX_F32, 1, &n, &e64);
    if (status != ANX_OK) return status;
    out->n_samples = n;
    out->positions = positions.data;
    out->y32 = y32.data;
    out->e64 = e64.data;
    const int64_t elems = point->shape[0] * image_elems(point);
    for (int64_t i = 0; i < n; i++)
        if (out->positions[i] < 0 || out->positions[i] >= elems ||
            (i > 0 && out->positions[i] <= out->positions[i - 1]))
            return anx_fixture_reader_fail(r, "positions", "expected ascending indices below %lld, [%lld] is %lld",
                                           (long long)elems, (long long)i, (long long)out->positions[i]);
    return ANX_OK;
}

static anx_status read_projections(anx_fixture_reader *r, const cJSON *object, const anx_fixture_point *point,
                                   anx_fixture_sketch *out) {
    anx_tensor p32 = ANX_TENSOR_INIT, pe64 = ANX_TENSOR_INIT, norm = ANX_TENSOR_INIT;
    int64_t seed = 0;
    anx_fixture_sketch_blocks(point, &out->n_blocks, &out->block_elems);
    int64_t shape[3] = {point->shape[0], -1, out->n_blocks};
    anx_status status = anx_fixture_reader_int(r, object, "sign_seed", 0, UINT32_MAX, &seed);
    if (status == ANX_OK) status = anx_fixture_reader_tensor(r, object, "p32", ANX_F64, 3, shape, &p32);
    if (status != ANX_OK) return status;
    if (p32.shape[1] < 1 || p32.shape[1] > max_projections)
        return anx_fixture_reader_fail(r, "p32", "expected 1 to %d projections", (int)max_projections);
    shape[1] = p32.shape[1];
    status = anx_fixture_reader_tensor(r, object, "pe64", ANX_F32, 3, shape, &pe64);
    const int64_t norm_shape[2] = {point->shape[0], out->n_blocks};
    if (status == ANX_OK) status = anx_fixture_reader_tensor(r, object, "gauge_norm", ANX_F32, 2, norm_shape, &norm);
    if (status != ANX_OK) return status;
    out->sign_seed = (uint32_t)seed;
    out->n_projections = (int)p32.shape[1];
    out->p32 = p32.data;
    out->pe64 = pe64.data;
    out->gauge_norm = norm.data;
    status = check_finite(r, "p32", &p32);
    if (status == ANX_OK) status = check_finite(r, "pe64", &pe64);
    if (status == ANX_OK) status = check_finite(r, "gauge_norm", &norm);
    return status;
}

static anx_status read_numbers(anx_fixture_reader *r, const cJSON *object, anx_fixture_sketch *out) {
    const cJSON *moments = NULL, *sees = NULL;
    double min = 0, max = 0;
    anx_status status = anx_fixture_reader_member(r, object, "moments", false, &moments);
    if (status == ANX_OK) status = anx_fixture_reader_member(r, object, "sees", false, &sees);
    if (status == ANX_OK) status = anx_fixture_reader_number(r, moments, "sum", &out->sum);
    if (status == ANX_OK) status = anx_fixture_reader_number(r, moments, "sum_squares", &out->sum_squares);
    if (status == ANX_OK) status = anx_fixture_reader_number(r, moments, "min", &min);
    if (status == ANX_OK) status = anx_fixture_reader_number(r, moments, "max", &max);
    if (status == ANX_OK) status = anx_fixture_reader_number(r, sees, "sample", &out->sees_sample);
    if (status == ANX_OK) status = anx_fixture_reader_number(r, sees, "element", &out->sees_element);
    if (status == ANX_OK) status = anx_fixture_reader_number(r, sees, "rms", &out->sees_rms);
    out->min = (float)min;
    out->max = (float)max;
    return status;
}

anx_status anx_fixture_read_sketch(anx_fixture_reader *r, const cJSON *object, const anx_fixture_point *point,
                                   const anx_fixture_sketch **out) {
    anx_fixture_sketch *sketch = NULL;
    if (!cJSON_IsObject(object)) return anx_fixture_reader_fail(r, NULL, "expected an object");
    anx_status status = anx_fixture_reader_array(r, 1, sizeof *sketch, &sketch);
    if (status == ANX_OK) status = read_samples(r, object, point, sketch);
    if (status == ANX_OK) status = read_projections(r, object, point, sketch);
    if (status == ANX_OK) status = read_numbers(r, object, sketch);
    if (status == ANX_OK) *out = sketch;
    return status;
}

/* ---- projecting and comparing ---------------------------------------------------------------------------- */

/* One word of signs per 32 elements of an image: bit i mod 32 of word i / 32 set means -1. */
static void draw_signs(uint32_t seed, int64_t elems, uint32_t *words) {
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, seed);
    for (int64_t i = 0; i < (elems + 31) / 32; i++) words[i] = anx_mt19937_u32(&gen);
}

static double signed_sum(const float *y, int64_t begin, int64_t end, const uint32_t *words) {
    double sum = 0;
    for (int64_t i = begin; i < end; i++) sum += (words[i / 32] >> (i % 32) & 1u) != 0 ? -(double)y[i] : (double)y[i];
    return sum;
}

anx_status anx_fixture_sketch_project(const anx_fixture_point *point, const float *y, double *out, anx_error *err) {
    const anx_fixture_sketch *s = point->sketch;
    if (s == NULL) return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "'%s' has no sketch", point->name);
    const int64_t elems = image_elems(point);
    uint32_t *words = malloc((size_t)(elems + 31) / 32 * sizeof *words);
    if (words == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    for (int k = 0; k < s->n_projections; k++) {
        draw_signs(s->sign_seed + (uint32_t)k, elems, words);
        for (int64_t n = 0; n < point->shape[0]; n++) {
            for (int64_t b = 0; b < s->n_blocks; b++) {
                const int64_t begin = b * s->block_elems;
                const int64_t end = begin + s->block_elems < elems ? begin + s->block_elems : elems;
                out[(n * s->n_projections + k) * s->n_blocks + b] = signed_sum(y + n * elems, begin, end, words);
            }
        }
    }
    free(words);
    return ANX_OK;
}

/* Sums of signs are exact in double only up to its rounding: what two ways of adding may differ by. */
static double summing_noise(double scale, int64_t n) {
    return scale * (double)n * 0x1p-52;
}

/* Holds one image's projections against the truth; adds to the result. */
static void compare_image(const anx_fixture_point *point, int64_t image, const double *got,
                          anx_fixture_sketch_result *out) {
    const anx_fixture_sketch *s = point->sketch;
    const double u = 0x1p-24;
    double squares = 0, pytorch_squares = 0;
    int64_t n = 0;
    for (int k = 0; k < s->n_projections; k++) {
        for (int64_t b = 0; b < s->n_blocks; b++) {
            const int64_t i = (image * s->n_projections + k) * s->n_blocks + b;
            const double norm = (double)s->gauge_norm[image * s->n_blocks + b];
            if (!isfinite(got[i])) {
                out->n_nonfinite++;
                continue;
            }
            const double d = got[i] - (s->p32[i] + (double)s->pe64[i]);
            const double noise = summing_noise(fmax(fabs((double)s->min), fabs((double)s->max)), s->block_elems);
            if (!(norm > 0)) {
                if (!(fabs(d) <= noise)) out->n_inexact++;
                continue;
            }
            const double unit = fabs(d) / (u * norm), pytorch = fabs((double)s->pe64[i]) / (u * norm);
            if (!(unit <= out->worst_block)) {
                out->worst_block = unit;
                out->worst_image = image;
                out->worst_block_index = b;
            }
            if (pytorch > out->pytorch_worst_block) out->pytorch_worst_block = pytorch;
            squares += unit * unit;
            pytorch_squares += pytorch * pytorch;
            n++;
        }
    }
    if (n == 0) return;
    out->rms = fmax(out->rms, sqrt(squares / (double)n));
    out->pytorch_rms = fmax(out->pytorch_rms, sqrt(pytorch_squares / (double)n));
}

anx_status anx_fixture_sketch_compare(const anx_fixture_point *point, const float *y, anx_fixture_sketch_result *out,
                                      anx_error *err) {
    const anx_fixture_sketch *s = point->sketch;
    if (s == NULL) return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "'%s' has no sketch", point->name);
    double *got = malloc((size_t)(point->shape[0] * s->n_projections * s->n_blocks) * sizeof *got);
    if (got == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    const anx_status status = anx_fixture_sketch_project(point, y, got, err);
    if (status == ANX_OK) {
        anx_fixture_sketch_result result = {.worst_image = -1, .worst_block_index = -1};
        const int64_t elems = image_elems(point);
        for (int64_t i = 0; i < s->n_samples; i++) {
            const int64_t at = s->positions[i], image = at / elems;
            const bool exact = !(s->gauge_norm[image * s->n_blocks + at % elems / s->block_elems] > 0);
            if (!isfinite(y[at]))
                result.n_nonfinite++;
            else if (exact && y[at] != s->y32[i])
                result.n_inexact++;
        }
        for (int64_t n = 0; n < point->shape[0]; n++) compare_image(point, n, got, &result);
        *out = result;
    }
    free(got);
    return status;
}
