#include <math.h>
#include <string.h>

#include "loaders/image/preprocess.h"
#include "parity/fixture_reader.h"

enum { max_batch = 1024, max_side = 16384, max_input_elems = 1 << 28, max_classes = 1 << 24 };
enum { max_cases = 100000, max_points = 4096, max_params = 4096 };

static anx_status read_params(anx_fixture_reader *r, anx_fixture *out) {
    const cJSON *object = NULL;
    anx_fixture_param *params = NULL;
    anx_status status = anx_fixture_reader_member(r, r->json, "params", false, &object);
    if (status != ANX_OK) return status;
    status = anx_fixture_reader_list(r, object, "params", max_params, sizeof *params, &params);
    const size_t mark = anx_fixture_reader_enter(r, "params", -1);
    const cJSON *item;
    int n = 0;
    for (item = object->child; item != NULL && status == ANX_OK; item = item->next) {
        params[n].name = item->string;
        if (!cJSON_IsString(item) || !anx_digest_parse(item->valuestring, &params[n++].digest))
            status = anx_fixture_reader_fail(r, item->string, "expected a SHA-256 as 64 hex digits");
    }
    anx_fixture_reader_leave(r, mark);
    out->params = params;
    out->n_params = n;
    return status;
}

/* y32 and e64: both or none. */
static anx_status read_full(anx_fixture_reader *r, const cJSON *object, anx_fixture_point *point) {
    const bool y32 = anx_fixture_reader_has(object, "y32"), e64 = anx_fixture_reader_has(object, "e64");
    if (!y32 && !e64) return ANX_OK;
    if (!y32 || !e64) return anx_fixture_reader_fail(r, NULL, "y32 and e64 come together");
    const anx_status status =
        anx_fixture_reader_tensor(r, object, "y32", ANX_F32, point->rank, point->shape, &point->y32);
    if (status != ANX_OK) return status;
    return anx_fixture_reader_tensor(r, object, "e64", ANX_F32, point->rank, point->shape, &point->e64);
}

static anx_status read_point(anx_fixture_reader *r, const cJSON *object, int64_t batch, anx_fixture_point *point) {
    if (!cJSON_IsObject(object)) return anx_fixture_reader_fail(r, NULL, "expected an object");
    anx_status status = anx_fixture_reader_string(r, object, "name", &point->name);
    if (status == ANX_OK) status = anx_fixture_reader_shape(r, object, "shape", 2, 4, point->shape, &point->rank);
    if (status != ANX_OK) return status;
    if (point->rank == 3 || point->shape[0] != batch)
        return anx_fixture_reader_fail(r, "shape", "expected (N, C, H, W) or (N, F) with N = %lld", (long long)batch);
    point->has_digest = anx_fixture_reader_has(object, "digest");
    if (point->has_digest) status = anx_fixture_reader_digest(r, object, "digest", &point->digest);
    if (status == ANX_OK) status = anx_fixture_reader_bool(r, object, "bits", &point->pytorch_bits);
    if (status == ANX_OK && point->pytorch_bits && !point->has_digest)
        status = anx_fixture_reader_fail(r, "bits", "true, but there is no digest");
    if (status == ANX_OK) status = read_full(r, object, point);
    if (status != ANX_OK) return status;
    const cJSON *sketch = cJSON_GetObjectItemCaseSensitive(object, "sketch");
    if (sketch != NULL) {
        const size_t mark = anx_fixture_reader_enter(r, "sketch", -1);
        status = anx_fixture_read_sketch(r, sketch, point, &point->sketch);
        anx_fixture_reader_leave(r, mark);
        if (status != ANX_OK) return status;
    }
    if (!point->has_digest && point->y32.data == NULL && point->sketch == NULL)
        return anx_fixture_reader_fail(r, NULL, "it has neither a digest nor y32 and e64 nor a sketch");
    return ANX_OK;
}

static anx_status read_points(anx_fixture_reader *r, const cJSON *object, anx_fixture_case *c) {
    const cJSON *list = NULL;
    anx_fixture_point *points = NULL;
    anx_status status = anx_fixture_reader_member(r, object, "points", true, &list);
    if (status != ANX_OK) return status;
    status = anx_fixture_reader_list(r, list, "points", max_points, sizeof *points, &points);
    c->points = points;
    for (const cJSON *item = list->child; item != NULL && status == ANX_OK; item = item->next) {
        const size_t mark = anx_fixture_reader_enter(r, "points", c->n_points);
        status = read_point(r, item, c->shape[0], &points[c->n_points]);
        for (int i = 0; i < c->n_points && status == ANX_OK; i++)
            if (strcmp(points[i].name, points[c->n_points].name) == 0)
                status = anx_fixture_reader_fail(r, "name", "it occurs twice in this case");
        c->n_points++;
        anx_fixture_reader_leave(r, mark);
    }
    return status;
}

static anx_status read_images(anx_fixture_reader *r, const cJSON *input, anx_fixture_case *c) {
    const int64_t side = anx_preprocess_torchvision.crop;
    const cJSON *list = NULL;
    anx_fixture_image *images = NULL;
    anx_status status = anx_fixture_reader_member(r, input, "images", true, &list);
    if (status != ANX_OK) return status;
    const int n = cJSON_GetArraySize(list);
    if (n != c->shape[0] || c->shape[1] != 3 || c->shape[2] != side || c->shape[3] != side)
        return anx_fixture_reader_fail(r, "images", "%d images do not make an input (%lld, %lld, %lld, %lld)", n,
                                       (long long)c->shape[0], (long long)c->shape[1], (long long)c->shape[2],
                                       (long long)c->shape[3]);
    status = anx_fixture_reader_array(r, (size_t)n, sizeof *images, &images);
    c->images = images;
    int i = 0;
    for (const cJSON *item = list->child; item != NULL && status == ANX_OK; item = item->next, i++) {
        const size_t mark = anx_fixture_reader_enter(r, "images", i);
        status = anx_fixture_reader_image(r, item, &images[i]);
        anx_fixture_reader_leave(r, mark);
    }
    return status;
}

static anx_status read_pixels(anx_fixture_reader *r, const cJSON *input, anx_fixture_case *c) {
    const int64_t shape[4] = {c->shape[0], c->shape[2], c->shape[3], 3};
    if (c->shape[1] != 3) return anx_fixture_reader_fail(r, "pixels", "they make 3 channels, not %d", (int)c->shape[1]);
    return anx_fixture_reader_tensor(r, input, "pixels", ANX_U8, 4, shape, &c->pixels);
}

static anx_status read_uniform(anx_fixture_reader *r, const cJSON *input, anx_fixture_case *c) {
    const cJSON *uniform = NULL;
    int64_t seed = 0;
    double low = 0, high = 0;
    anx_status status = anx_fixture_reader_member(r, input, "uniform", false, &uniform);
    if (status != ANX_OK) return status;
    const size_t mark = anx_fixture_reader_enter(r, "uniform", -1);
    status = anx_fixture_reader_int(r, uniform, "seed", 0, UINT32_MAX, &seed);
    if (status == ANX_OK) status = anx_fixture_reader_number(r, uniform, "low", &low);
    if (status == ANX_OK) status = anx_fixture_reader_number(r, uniform, "high", &high);
    c->seed = (uint32_t)seed;
    c->low = (float)low;
    c->high = (float)high;
    if (status == ANX_OK && ((double)c->low != low || (double)c->high != high || low > high))
        status = anx_fixture_reader_fail(r, NULL, "low and high are not float32 values in order");
    anx_fixture_reader_leave(r, mark);
    return status;
}

/* Exactly one kind of input. */
static anx_status read_input(anx_fixture_reader *r, const cJSON *object, anx_fixture_case *c) {
    const cJSON *input = NULL;
    anx_status status = anx_fixture_reader_member(r, object, "input", false, &input);
    if (status != ANX_OK) return status;
    const bool images = anx_fixture_reader_has(input, "images"), pixels = anx_fixture_reader_has(input, "pixels");
    const bool uniform = anx_fixture_reader_has(input, "uniform"), tensor = anx_fixture_reader_has(input, "tensor");
    const size_t mark = anx_fixture_reader_enter(r, "input", -1);
    if ((images || pixels) + uniform + tensor != 1) {
        status = anx_fixture_reader_fail(r, NULL, "expected one of images, pixels, uniform, tensor");
    } else if (images) {
        c->input_kind = ANX_FIXTURE_INPUT_IMAGES;
        status = read_images(r, input, c);
        if (status == ANX_OK && pixels) status = read_pixels(r, input, c);
    } else if (pixels) {
        c->input_kind = ANX_FIXTURE_INPUT_PIXELS;
        status = read_pixels(r, input, c);
    } else if (uniform) {
        c->input_kind = ANX_FIXTURE_INPUT_UNIFORM;
        status = read_uniform(r, input, c);
    } else {
        c->input_kind = ANX_FIXTURE_INPUT_TENSOR;
        status = anx_fixture_reader_tensor(r, input, "tensor", ANX_F32, 4, c->shape, &c->tensor);
    }
    anx_fixture_reader_leave(r, mark);
    return status;
}

static anx_status read_top_entry(anx_fixture_reader *r, const cJSON *pair, int64_t classes, anx_fixture_top *out) {
    const cJSON *index = cJSON_GetArrayItem(pair, 0), *prob = cJSON_GetArrayItem(pair, 1);
    if (!cJSON_IsArray(pair) || cJSON_GetArraySize(pair) != 2 || !cJSON_IsNumber(index) || !cJSON_IsNumber(prob) ||
        !(index->valuedouble >= 0 && index->valuedouble < (double)classes) || !isfinite(prob->valuedouble))
        return anx_fixture_reader_fail(r, NULL, "expected [class, probability]");
    out->index = (int64_t)index->valuedouble;
    out->prob = (float)prob->valuedouble;
    return ANX_OK;
}

static anx_status read_top(anx_fixture_reader *r, const cJSON *object, int64_t classes, anx_fixture_case *c) {
    if (!anx_fixture_reader_has(object, "top5")) return ANX_OK;
    const cJSON *list = NULL;
    anx_fixture_top *top = NULL;
    anx_status status = anx_fixture_reader_member(r, object, "top5", true, &list);
    if (status == ANX_OK && cJSON_GetArraySize(list) != c->shape[0])
        status = anx_fixture_reader_fail(r, "top5", "expected one entry per image");
    if (status != ANX_OK) return status;
    status = anx_fixture_reader_array(r, (size_t)c->shape[0] * ANX_FIXTURE_TOP, sizeof *top, &top);
    c->top = top;
    int image = 0;
    for (const cJSON *row = list->child; row != NULL && status == ANX_OK; row = row->next, image++) {
        const size_t mark = anx_fixture_reader_enter(r, "top5", image);
        if (!cJSON_IsArray(row) || cJSON_GetArraySize(row) > ANX_FIXTURE_TOP)
            status = anx_fixture_reader_fail(r, NULL, "expected at most %d pairs", (int)ANX_FIXTURE_TOP);
        const cJSON *pair = row->child;
        for (int i = 0; i < ANX_FIXTURE_TOP && status == ANX_OK; i++) {
            anx_fixture_top *entry = &top[image * ANX_FIXTURE_TOP + i];
            entry->index = -1;
            if (pair == NULL) continue;
            status = read_top_entry(r, pair, classes, entry);
            pair = pair->next;
        }
        anx_fixture_reader_leave(r, mark);
    }
    return status;
}

static anx_status read_case(anx_fixture_reader *r, const cJSON *object, int64_t classes, anx_fixture_case *c) {
    if (!cJSON_IsObject(object)) return anx_fixture_reader_fail(r, NULL, "expected an object");
    int rank = 0;
    anx_status status = anx_fixture_reader_string(r, object, "name", &c->name);
    if (status == ANX_OK) status = anx_fixture_reader_bool(r, object, "quick", &c->quick);
    if (status == ANX_OK) status = anx_fixture_reader_shape(r, object, "shape", 4, 4, c->shape, &rank);
    if (status != ANX_OK) return status;
    /* An input is made anew from a few numbers: what it takes must not be the file's word alone. */
    const int64_t elems =
        c->shape[0] > max_batch || c->shape[1] > max_side || c->shape[2] > max_side || c->shape[3] > max_side
            ? INT64_MAX
            : c->shape[0] * c->shape[1] * c->shape[2] * c->shape[3];
    if (elems > max_input_elems)
        return anx_fixture_reader_fail(r, "shape", "at most %d images, sides of %d and %d elements are taken",
                                       (int)max_batch, (int)max_side, (int)max_input_elems);
    status = read_input(r, object, c);
    if (status == ANX_OK) status = anx_fixture_reader_digest(r, object, "input_digest", &c->input_digest);
    if (status == ANX_OK)
        status = anx_fixture_reader_int(r, object, "recorded_at_batch", c->shape[0], INT32_MAX, &c->recorded_at_batch);
    if (status == ANX_OK) status = read_points(r, object, c);
    if (status == ANX_OK) status = read_top(r, object, classes, c);
    return status;
}

anx_status anx_fixture_read_weights(anx_fixture_reader *r, anx_fixture *out) {
    anx_status status = anx_fixture_reader_string(r, r->json, "arch", &out->arch);
    if (status == ANX_OK) status = anx_fixture_reader_int(r, r->json, "num_classes", 1, max_classes, &out->num_classes);
    if (status == ANX_OK) status = anx_fixture_reader_string(r, r->json, "model", &out->model);
    if (status == ANX_OK) status = anx_fixture_reader_bool(r, r->json, "pytorch_bits", &out->recorder_pytorch_bits);
    return status == ANX_OK ? read_params(r, out) : status;
}

anx_status anx_fixture_read_forward(anx_fixture_reader *r, anx_fixture *out) {
    const cJSON *list = NULL;
    anx_fixture_case *cases = NULL;
    anx_status status = anx_fixture_read_weights(r, out);
    if (status == ANX_OK) status = anx_fixture_reader_member(r, r->json, "cases", true, &list);
    if (status != ANX_OK) return status;
    status = anx_fixture_reader_list(r, list, "cases", max_cases, sizeof *cases, &cases);
    out->cases = cases;
    for (const cJSON *item = list->child; item != NULL && status == ANX_OK; item = item->next) {
        const size_t mark = anx_fixture_reader_enter(r, "cases", out->n_cases);
        status = read_case(r, item, out->num_classes, &cases[out->n_cases]);
        anx_fixture_reader_leave(r, mark);
        out->n_cases++;
    }
    return status;
}
