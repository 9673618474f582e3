/* The recordings that the repository ships: complete, unaltered, small enough, and their inputs made here. */
#include <cjson/cJSON.h>
#include <dirent.h>
#include <string.h>

#include "loaders/file.h"
#include "loaders/image/preprocess.h"
#include "tests/parity/recordings.h"
#include "tests/support/anx_test.h"

enum { max_bytes = 26000000 };

static anx_fixture_set all = ANX_FIXTURE_SET_INIT;

static void open_all(void) {
    anx_error err = ANX_ERROR_INIT;
    if (all.count == 0) ANX_CHECK_OK(anx_fixture_set_add(&all, recordings_path(""), &err), &err);
}

static cJSON *read_manifest(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_file_map map = ANX_FILE_MAP_INIT;
    ANX_CHECK_OK(anx_file_map_init(&map, recordings_path("MANIFEST.json"), &err), &err);
    cJSON *manifest = cJSON_ParseWithLength((const char *)map.bytes, map.n_bytes);
    anx_file_map_fini(&map);
    return cJSON_GetObjectItemCaseSensitive(manifest, "files") != NULL ? manifest : NULL;
}

static void check_manifest_entry(const cJSON *entry, double *total) {
    anx_error err = ANX_ERROR_INIT;
    anx_file_map map = ANX_FILE_MAP_INIT;
    anx_digest digest = {{0}};
    char hex[ANX_SHA256_HEX];
    ANX_CHECK_OK(anx_file_map_init(&map, recordings_path(entry->string), &err), &err);
    ANX_CHECK_OK(anx_sha256_buffer(map.bytes, map.n_bytes, &digest, &err), &err);
    const cJSON *bytes = cJSON_GetObjectItemCaseSensitive(entry, "bytes");
    const cJSON *sha256 = cJSON_GetObjectItemCaseSensitive(entry, "sha256");
    const cJSON *licence = cJSON_GetObjectItemCaseSensitive(entry, "licence");
    CU_ASSERT_TRUE(cJSON_IsNumber(bytes) && bytes->valuedouble == (double)map.n_bytes);
    CU_ASSERT_TRUE(cJSON_IsString(sha256) && strcmp(sha256->valuestring, anx_digest_hex(&digest, hex)) == 0);
    CU_ASSERT_TRUE(cJSON_IsString(licence) && licence->valuestring[0] != '\0');
    *total += (double)map.n_bytes;
    anx_file_map_fini(&map);
}

static void the_manifest_tells_every_file_and_its_sha256(void) {
    cJSON *manifest = read_manifest();
    CU_ASSERT_PTR_NOT_NULL_FATAL(manifest);
    double total = 0;
    const cJSON *entry;
    cJSON_ArrayForEach(entry, cJSON_GetObjectItemCaseSensitive(manifest, "files")) check_manifest_entry(entry, &total);
    CU_ASSERT_TRUE(total > 0 && total <= max_bytes);
    cJSON_Delete(manifest);
}

static void check_listed(const cJSON *files, const char *folder, const char *prefix, const char *suffix) {
    DIR *dir = opendir(recordings_path(folder));
    CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        char name[512];
        const size_t n = strlen(e->d_name), m = strlen(suffix);
        if (e->d_name[0] == '.' || n < m || strcmp(e->d_name + n - m, suffix) != 0) continue;
        snprintf(name, sizeof name, "%s%s", prefix, e->d_name);
        CU_ASSERT_PTR_NOT_NULL(cJSON_GetObjectItemCaseSensitive(files, name));
    }
    closedir(dir);
}

static void no_recording_or_image_is_missing_from_the_manifest(void) {
    cJSON *manifest = read_manifest();
    CU_ASSERT_PTR_NOT_NULL_FATAL(manifest);
    const cJSON *files = cJSON_GetObjectItemCaseSensitive(manifest, "files");
    check_listed(files, "", "", ".safetensors");
    check_listed(files, "images", "images/", "");
    cJSON_Delete(manifest);
}

static const anx_fixture *find(const char *name) {
    open_all();
    for (int i = 0; i < all.count; i++)
        if (strcmp(all.items[i]->name, name) == 0) return all.items[i];
    return NULL;
}

static const anx_fixture_case *find_case(const anx_fixture *f, const char *name) {
    for (int i = 0; i < f->n_cases; i++)
        if (strcmp(f->cases[i].name, name) == 0) return &f->cases[i];
    return NULL;
}

static bool sums(const char *point) {
    static const char *const names[] = {"features.0",  "features.3",   "features.6",   "features.8",
                                        "features.10", "classifier.1", "classifier.4", "classifier.6"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], point) == 0) return true;
    return false;
}

static void check_model(const char *name, int64_t classes) {
    const anx_fixture *f = find(name);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    CU_ASSERT_EQUAL(f->num_classes, classes);
    CU_ASSERT_EQUAL(f->n_params, 16);
    CU_ASSERT_TRUE(f->recorder_pytorch_bits);
    CU_ASSERT_STRING_EQUAL(anx_fixture_recorder(f, "threads"), "1");
    const anx_fixture_case *photograph = find_case(f, "photograph");
    CU_ASSERT_PTR_NOT_NULL_FATAL(photograph);
    int images = 0, full = 0;
    for (int i = 0; i < f->n_cases; i++) {
        const anx_fixture_case *c = &f->cases[i];
        CU_ASSERT_EQUAL(c->n_points, 23); /* every module, flatten and prob */
        CU_ASSERT_PTR_NOT_NULL(c->top);
        CU_ASSERT_TRUE(c->recorded_at_batch >= 4 || strcmp(c->name, "batch-3") == 0);
        images += c->input_kind == ANX_FIXTURE_INPUT_IMAGES && c->shape[0] == 1;
        for (int k = 0; k < c->n_points; k++) CU_ASSERT_TRUE(c->points[k].has_digest);
    }
    for (int k = 0; k < photograph->n_points; k++) {
        const anx_fixture_point *p = &photograph->points[k];
        full += p->y32.data != NULL && sums(p->name);
        CU_ASSERT_TRUE(p->pytorch_bits);
    }
    CU_ASSERT_EQUAL(images, 30);
    CU_ASSERT_EQUAL(full, 8);
    CU_ASSERT_PTR_NOT_NULL(find_case(f, "batch-5"));
    CU_ASSERT_PTR_NOT_NULL(find_case(f, "batch-3"));
}

static void three_models_are_recorded(void) {
    check_model("alexnet-seed0", 1000);
    check_model("alexnet-hybrid", 1000);
    check_model("alexnet-10-seed1", 10);
}

static void sizes_that_show_pooling_faults_are_sketched(void) {
    static const char *const sizes[] = {"63x63", "67x67", "91x91", "256x256", "288x300"};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const anx_fixture *f = find("alexnet-hybrid");
        CU_ASSERT_PTR_NOT_NULL_FATAL(f);
        const anx_fixture_case *c = find_case(f, sizes[i]);
        CU_ASSERT_PTR_NOT_NULL_FATAL(c);
        int sketches = 0;
        for (int k = 0; k < c->n_points; k++) sketches += c->points[k].sketch != NULL;
        CU_ASSERT_EQUAL(sketches, 12); /* convolutions, pools, linear layers */
    }
}

static void the_inputs_made_here_are_those_that_pytorch_took(void) {
    open_all();
    for (int i = 0; i < all.count; i++) {
        for (int k = 0; k < all.items[i]->n_cases; k++) {
            anx_error err = ANX_ERROR_INIT;
            anx_tensor input = ANX_TENSOR_INIT;
            bool matches = false, used_pixels = true;
            ANX_CHECK_OK(anx_fixture_case_input(&all.items[i]->cases[k], &input, &matches, &used_pixels, &err), &err);
            CU_ASSERT_TRUE(matches);
            CU_ASSERT_FALSE(used_pixels);
            anx_tensor_fini(&input);
        }
    }
}

/* Rows [begin, end) of a stage as a tensor of its own, by strides. */
static anx_tensor rows(const anx_fixture_stage *stage, const void *data, int64_t begin, int64_t end) {
    anx_tensor t = anx_tensor_view(stage->dtype, 3, stage->shape, data);
    const int axis = stage->dtype == ANX_U8 ? 0 : 1;
    t.shape[axis] = end - begin;
    t.data = (char *)t.data + (size_t)(begin * t.stride[axis]) * anx_dtype_bytes(t.dtype);
    return t;
}

static void check_stage(const anx_fixture_stage *stage, const void *data, int64_t height, int64_t width) {
    const int axis = stage->dtype == ANX_U8 ? 0 : 1;
    CU_ASSERT_EQUAL_FATAL(stage->shape[axis], height);
    CU_ASSERT_EQUAL_FATAL(stage->shape[axis + 1], width);
    for (int64_t b = 0; b < stage->n_bands; b++) {
        const int64_t begin = b * stage->band_rows;
        const int64_t end = begin + stage->band_rows < height ? begin + stage->band_rows : height;
        const anx_tensor band = rows(stage, data, begin, end);
        anx_digest digest = {{0}};
        ANX_CHECK_OK(anx_tensor_digest(&band, &digest, NULL), NULL);
        CU_ASSERT_TRUE(anx_digest_equal(&digest, &stage->bands[b]));
    }
    if (stage->full.data != NULL) CU_ASSERT_TRUE(memcmp(stage->full.data, data, anx_tensor_bytes(&stage->full)) == 0);
}

static void every_stage_of_preprocessing_is_pillows(void) {
    const anx_fixture *f = find("preprocess");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    CU_ASSERT_TRUE(f->n_samples >= 40);
    for (int i = 0; i < f->n_samples; i++) {
        const anx_fixture_sample *s = &f->samples[i];
        anx_error err = ANX_ERROR_INIT;
        anx_preprocess_stages got = ANX_PREPROCESS_STAGES_INIT;
        const anx_status status =
            anx_preprocess_staged(&anx_preprocess_torchvision, s->image.bytes, s->image.n_bytes, s->name, &got, &err);
        ANX_CHECK_OK(status, &err);
        if (status != ANX_OK) continue;
        check_stage(&s->stages[ANX_FIXTURE_STAGE_IMAGE], got.image.pixels, got.image.height, got.image.width);
        check_stage(&s->stages[ANX_FIXTURE_STAGE_RESIZE], got.resize.pixels, got.resize.height, got.resize.width);
        check_stage(&s->stages[ANX_FIXTURE_STAGE_CROP], got.crop.pixels, got.crop.height, got.crop.width);
        check_stage(&s->stages[ANX_FIXTURE_STAGE_SCALED], got.scaled.data, got.scaled.shape[1], got.scaled.shape[2]);
        check_stage(&s->stages[ANX_FIXTURE_STAGE_INPUT], got.input.data, got.input.shape[1], got.input.shape[2]);
        anx_preprocess_stages_fini(&got);
    }
}

/* anx_tensor_digest of features.0.bias in torchvision's alexnet-owt-7be5be79.pth */
static const char published_first_bias[] = "2348d661bcc5ec90fdc6bcaf3156c9f25e0602dd3fa5c0ef68529b1cf90bc0ed";

/* The hybrid's convolutions are the published ones, so that its recordings apply to the published file. */
static void the_published_first_bias_is_the_hybrids(void) {
    open_all();
    anx_digest published;
    CU_ASSERT_TRUE(anx_digest_parse(published_first_bias, &published));
    const anx_digest *hybrids = NULL;
    for (int i = 0; i < all.count; i++)
        for (int k = 0; strcmp(all.items[i]->name, "alexnet-hybrid") == 0 && k < all.items[i]->n_params; k++)
            if (strcmp(all.items[i]->params[k].name, "features.0.bias") == 0) hybrids = &all.items[i]->params[k].digest;
    CU_ASSERT_PTR_NOT_NULL_FATAL(hybrids);
    CU_ASSERT_TRUE(anx_digest_equal(hybrids, &published));
}

static const anx_test tests[] = {
    {"the manifest tells every file and its SHA-256", the_manifest_tells_every_file_and_its_sha256},
    {"no recording or image is missing from the manifest", no_recording_or_image_is_missing_from_the_manifest},
    {"three models are recorded", three_models_are_recorded},
    {"sizes that show pooling faults are sketched", sizes_that_show_pooling_faults_are_sketched},
    {"the inputs made here are those that PyTorch took", the_inputs_made_here_are_those_that_pytorch_took},
    {"every stage of preprocessing is Pillow's", every_stage_of_preprocessing_is_pillows},
    {"the published first bias is the hybrid's", the_published_first_bias_is_the_hybrids},
    {NULL, NULL},
};

int main(int argc, char **argv) {
    const int status = anx_test_main("recordings", tests, argc, argv);
    anx_fixture_set_fini(&all);
    return status;
}
