#include <string.h>

#include "parity/fixture_reader.h"

enum { max_samples = 100000 };

static const struct {
    const char *key;
    anx_dtype dtype;
} stages[ANX_FIXTURE_STAGE_COUNT] = {
    {"image", ANX_U8}, {"resize", ANX_U8}, {"crop", ANX_U8}, {"scaled", ANX_F32}, {"input", ANX_F32},
};

static anx_status read_stage(anx_fixture_reader *r, const cJSON *object, anx_dtype dtype, anx_fixture_stage *stage) {
    int rank = 0;
    anx_tensor bands = ANX_TENSOR_INIT;
    stage->dtype = dtype;
    anx_status status = anx_fixture_reader_shape(r, object, "shape", 3, 3, stage->shape, &rank);
    if (status != ANX_OK) return status;
    if (stage->shape[dtype == ANX_U8 ? 2 : 0] != 3)
        return anx_fixture_reader_fail(r, "shape", "expected %s", dtype == ANX_U8 ? "(H, W, 3)" : "(3, H, W)");
    stage->height = stage->shape[dtype == ANX_U8 ? 0 : 1];
    status = anx_fixture_reader_int(r, object, "band_rows", 1, INT32_MAX, &stage->band_rows);
    if (status != ANX_OK) return status;
    stage->n_bands = (stage->height - 1) / stage->band_rows + 1;
    const int64_t shape[2] = {stage->n_bands, ANX_SHA256_BYTES};
    status = anx_fixture_reader_tensor(r, object, "bands", ANX_U8, 2, shape, &bands);
    if (status != ANX_OK) return status;
    _Static_assert(sizeof(anx_digest) == ANX_SHA256_BYTES, "digests lie packed in a tensor");
    stage->bands = bands.data;
    if (!anx_fixture_reader_has(object, "full")) return ANX_OK;
    return anx_fixture_reader_tensor(r, object, "full", dtype, 3, stage->shape, &stage->full);
}

/* What follows from what: the crop is what the two float stages are made of. */
static anx_status check_shapes(anx_fixture_reader *r, const anx_fixture_sample *sample) {
    const int64_t *crop = sample->stages[ANX_FIXTURE_STAGE_CROP].shape;
    for (int i = ANX_FIXTURE_STAGE_SCALED; i <= ANX_FIXTURE_STAGE_INPUT; i++) {
        const int64_t *shape = sample->stages[i].shape;
        if (shape[1] != crop[0] || shape[2] != crop[1])
            return anx_fixture_reader_fail(r, stages[i].key, "its shape does not fit the crop's");
    }
    if (sample->stages[ANX_FIXTURE_STAGE_CROP].full.data == NULL)
        return anx_fixture_reader_fail(r, "crop.full", "the crop has to be recorded in full");
    return ANX_OK;
}

static anx_status read_sample(anx_fixture_reader *r, const cJSON *object, anx_fixture_sample *sample) {
    const cJSON *list = NULL;
    anx_status status = anx_fixture_reader_image(r, object, &sample->image);
    if (status == ANX_OK) status = anx_fixture_reader_string(r, object, "shows", &sample->shows);
    if (status == ANX_OK) status = anx_fixture_reader_member(r, object, "stages", false, &list);
    if (status != ANX_OK) return status;
    sample->name = sample->image.name;
    const size_t mark = anx_fixture_reader_enter(r, "stages", -1);
    for (int i = 0; i < ANX_FIXTURE_STAGE_COUNT && status == ANX_OK; i++) {
        const cJSON *stage = NULL;
        status = anx_fixture_reader_member(r, list, stages[i].key, false, &stage);
        if (status != ANX_OK) break;
        const size_t inner = anx_fixture_reader_enter(r, stages[i].key, -1);
        status = read_stage(r, stage, stages[i].dtype, &sample->stages[i]);
        anx_fixture_reader_leave(r, inner);
    }
    if (status == ANX_OK) status = check_shapes(r, sample);
    anx_fixture_reader_leave(r, mark);
    return status;
}

anx_status anx_fixture_read_preprocess(anx_fixture_reader *r, anx_fixture *out) {
    const cJSON *list = NULL;
    anx_fixture_sample *samples = NULL;
    anx_status status = anx_fixture_reader_string(r, r->json, "profile", &out->profile);
    if (status == ANX_OK) status = anx_fixture_reader_member(r, r->json, "samples", true, &list);
    if (status != ANX_OK) return status;
    status = anx_fixture_reader_list(r, list, "samples", max_samples, sizeof *samples, &samples);
    out->samples = samples;
    for (const cJSON *item = list->child; item != NULL && status == ANX_OK; item = item->next) {
        const size_t mark = anx_fixture_reader_enter(r, "samples", out->n_samples);
        status = read_sample(r, item, &samples[out->n_samples]);
        anx_fixture_reader_leave(r, mark);
        out->n_samples++;
    }
    return status;
}
