/* Reading recorded trainings: those that ship, and a small one with one thing wrong in it. */
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/safetensors.h"
#include "parity/training_recording.h"
#include "tests/parity/recordings.h"
#include "tests/support/anx_test.h"

#define ZERO "0000000000000000000000000000000000000000000000000000000000000000"

/* Three images in batches of two: an epoch is two steps, of two images and of one. */
static const char json[] =
    "{\"schema\":1,\"kind\":\"training\",\"name\":\"small\",\"arch\":\"narrow\",\"num_classes\":11,\"model\":\"made "
    "up\",\"pytorch_bits\":true,\"recorder\":{\"torch\":\"2.15.0\"},\"params\":{\"features.0.weight\":\"" ZERO "\"},"
    "\"images\":[{\"name\":\"a.jpg\",\"bytes\":\"a\"},{\"name\":\"b.jpg\",\"bytes\":\"a\"},{\"name\":\"c.jpg\","
    "\"bytes\":\"a\"}],\"targets\":[0,10,4],\"scenarios\":[{\"name\":\"short\",\"seed\":9,\"images\":3,\"batch\":2,"
    "\"steps\":3,\"augment\":\"hflip\",\"label_smoothing\":0.125,\"dropout\":0.25,\"frozen\":\"features.\","
    "\"sgd\":{\"lr\":0.5,\"momentum\":0.75,\"dampening\":0,\"weight_decay\":0.0625,\"nesterov\":true},"
    "\"scheduler\":{\"step_size\":2,\"gamma\":0.25},\"order\":\"order\",\"lr\":\"f64\",\"loss\":\"f32\","
    "\"inputs\":\"d1\",\"masks\":\"d2\",\"logits\":\"d1\",\"grads\":\"d2\",\"params\":\"d2\",\"momentum\":\"d2\","
    "\"generator\":\"d1\",\"envelope\":{\"runs\":[\"one\",\"two\"],\"loss\":\"runs2\",\"difference\":\"runs3\","
    "\"distance\":\"way\"}}]}";

static void add(anx_state_dict *dict, const char *name, anx_dtype dtype, int rank, const int64_t *shape, void *data) {
    anx_tensor t = anx_tensor_view(dtype, rank, shape, data);
    ANX_CHECK_OK(anx_state_dict_add(dict, name, &t, NULL), NULL);
}

static const char *write_fixture(const char *text, int64_t last_image) {
    static uint8_t bytes[3 * 2 * 32];
    static double numbers[16];
    static float losses[3];
    int64_t order[] = {0, 1, 2, 1, last_image};
    anx_error err = ANX_ERROR_INIT;
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    const char *path = anx_test_path("training.safetensors");
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)i;
    for (int i = 0; i < 16; i++) numbers[i] = i;
    add(&dict, "a", ANX_U8, 1, (int64_t[]){5}, bytes);
    add(&dict, "order", ANX_I64, 1, (int64_t[]){5}, order);
    add(&dict, "f64", ANX_F64, 1, (int64_t[]){3}, numbers);
    add(&dict, "f32", ANX_F32, 1, (int64_t[]){3}, losses);
    add(&dict, "d1", ANX_U8, 2, (int64_t[]){3, 32}, bytes);
    add(&dict, "d2", ANX_U8, 3, (int64_t[]){3, 2, 32}, bytes);
    add(&dict, "runs2", ANX_F64, 2, (int64_t[]){2, 3}, numbers);
    add(&dict, "runs3", ANX_F64, 3, (int64_t[]){2, 3, 2}, numbers);
    add(&dict, "way", ANX_F64, 2, (int64_t[]){3, 2}, numbers);
    const anx_safetensors_meta meta = {"anx", text};
    ANX_CHECK_OK(anx_safetensors_write(path, &dict, &meta, 1, true, &err), &err);
    anx_state_dict_fini(&dict);
    return path;
}

static void test_read_whole(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_fixture *f = NULL;
    ANX_CHECK_OK(anx_fixture_open(write_fixture(json, 2), &f, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    CU_ASSERT_EQUAL(f->kind, ANX_FIXTURE_TRAINING);
    CU_ASSERT_TRUE(f->recorder_pytorch_bits && f->n_params == 1);
    const anx_training_recording *r = f->training;
    CU_ASSERT_TRUE(r->n_images == 3 && r->n_scenarios == 1 && r->targets[1] == 10 && r->images[2].n_bytes == 5);
    const anx_training_scenario *s = &r->scenarios[0];
    CU_ASSERT_STRING_EQUAL(s->name, "short");
    CU_ASSERT_TRUE(s->seed == 9 && s->n_images == 3 && s->batch == 2 && s->steps == 3);
    CU_ASSERT_STRING_EQUAL(s->augment->name, "hflip");
    CU_ASSERT_TRUE(s->has_dropout && s->dropout == 0.25 && s->label_smoothing == 0.125);
    CU_ASSERT_TRUE(s->sgd.lr == 0.5 && s->sgd.momentum == 0.75 && s->sgd.weight_decay == 0.0625 && s->sgd.nesterov);
    CU_ASSERT_TRUE(s->scheduler.kind == ANX_STEP_LR && s->scheduler.step_size == 2 && s->scheduler.gamma == 0.25);
    CU_ASSERT_TRUE(anx_training_is_frozen(s, "features.0.bias") && !anx_training_is_frozen(s, "classifier.0.bias"));
    CU_ASSERT_EQUAL(anx_training_epoch_steps(s), 2);
    CU_ASSERT_TRUE(anx_training_step_images(s, 0) == 2 && anx_training_step_images(s, 1) == 1 &&
                   anx_training_step_images(s, 2) == 2);
    CU_ASSERT_TRUE(s->recorded->order[4] == 2 && s->recorded->lr[2] == 2 && s->recorded->n_params == 2);
    CU_ASSERT_EQUAL(s->recorded->grads[2 * 2 + 1].bytes[0], 5 * 32);
    CU_ASSERT_TRUE(s->envelope->n_runs == 2 && s->envelope->difference[11] == 11 && s->envelope->distance[5] == 5);
    CU_ASSERT_STRING_EQUAL(s->envelope->runs[1], "two");
    anx_fixture_close(f);
}

static const struct {
    const char *from, *to, *says;
} defects[] = {
    {"\"targets\":[0,10,4]", "\"targets\":[0,11,4]", "'targets': expected classes below 11"},
    {"\"targets\":[0,10,4]", "\"targets\":[0,1.5,4]", "'targets': expected classes below 11"},
    {"\"targets\":[0,10,4]", "\"targets\":[0,10]", "'targets': 2 of them for 3 images"},
    {"\"images\":3", "\"images\":4", "'scenarios[0].images': expected a whole number from 1 to 3"},
    {"\"steps\":3", "\"steps\":2", "'scenarios[0].order': expected a tensor"},
    {"\"steps\":3", "\"steps\":0", "'scenarios[0].steps': expected a whole number"},
    {"\"hflip\"", "\"cutmix\"", "there is no augmentation 'cutmix'"},
    {"\"label_smoothing\":0.125", "\"label_smoothing\":1.5", "are between 0 and 1"},
    {"\"dropout\":0.25", "\"dropout\":-1", "are between 0 and 1"},
    {"\"momentum\":0.75", "\"momentum\":-1", "these options cannot be trained with"},
    {"\"momentum\":0.75", "\"momentum\":0", "these options cannot be trained with"},
    {"\"step_size\":2", "\"step_size\":0", "'scenarios[0].step_size': expected a whole number"},
    {"\"grads\":\"d2\"", "\"grads\":\"d1\"", "'scenarios[0].grads': expected a tensor"},
    {"\"generator\":\"d1\"", "\"generator\":\"d2\"", "'scenarios[0].generator': expected a tensor"},
    {"\"momentum\":\"d2\"", "\"momentum\":\"none\"", "'scenarios[0].momentum': the file holds no tensor"},
    {"[\"one\",\"two\"]", "[]", "'scenarios[0].envelope.runs': expected at least one"},
    {"[\"one\",\"two\"]", "[\"one\"]", "'scenarios[0].envelope.loss': expected a tensor"},
    {"[\"one\",\"two\"]", "[1,2]", "'scenarios[0].envelope.runs': expected strings"},
    {"\"scheduler\":{", "\"schedule\":{", "'scenarios[0].scheduler': expected an object"},
    {"\"sgd\":{", "\"sgd\":[],\"x\":{", "'scenarios[0].sgd': expected an object"},
};

static char *replaced(const char *from, const char *to) {
    const char *at = strstr(json, from);
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    char *out = calloc(1, sizeof json + strlen(to));
    if (out == NULL) abort();
    memcpy(out, json, (size_t)(at - json));
    strcat(out, to);
    strcat(out, at + strlen(from));
    return out;
}

static void test_defects(void) {
    for (size_t i = 0; i < sizeof defects / sizeof *defects; i++) {
        char *text = replaced(defects[i].from, defects[i].to);
        anx_error err = ANX_ERROR_INIT;
        anx_fixture *f = NULL;
        ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_fixture_open(write_fixture(text, 2), &f, &err), &err);
        ANX_CHECK_MESSAGE(defects[i].says, &err);
        CU_ASSERT_PTR_NULL(f);
        free(text);
    }
    anx_error err = ANX_ERROR_INIT;
    anx_fixture *f = NULL;
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_fixture_open(write_fixture(json, 3), &f, &err), &err);
    ANX_CHECK_MESSAGE("'scenarios[0].order': 3 is not one of 3 images", &err);
}

/* What ships: at least twenty steps of each model, the kinds of training that anx has among them. */
static void test_what_ships(void) {
    static const char *const names[] = {"training-seed0.safetensors", "training-hybrid.safetensors",
                                        "training-10-seed1.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        anx_error err = ANX_ERROR_INIT;
        anx_fixture *f = NULL;
        ANX_CHECK_OK(anx_fixture_open(recordings_path(names[i]), &f, &err), &err);
        CU_ASSERT_PTR_NOT_NULL_FATAL(f);
        int64_t steps = 0;
        bool crops = false, smooths = false, freezes = false, drops = false, falls = false, drifts = false;
        for (int k = 0; k < f->training->n_scenarios; k++) {
            const anx_training_scenario *s = &f->training->scenarios[k];
            steps += s->steps;
            crops = crops || s->augment->crop;
            smooths = smooths || s->label_smoothing > 0;
            freezes = freezes || s->frozen[0] != '\0';
            drops = drops || !s->has_dropout;
            falls = falls || s->recorded->lr[s->steps - 1] < s->sgd.lr;
            drifts = drifts || (s->envelope != NULL && s->envelope->n_runs >= 4 && s->steps >= 20);
            CU_ASSERT_TRUE(s->recorded->n_params == 16 && s->recorded->n_masks == 2);
        }
        CU_ASSERT_TRUE(f->recorder_pytorch_bits && steps >= 20);
        CU_ASSERT_TRUE(crops && smooths && freezes && drops && falls && drifts);
        anx_fixture_close(f);
    }
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"a training is read whole", test_read_whole},
        {"what is wrong in a training's recording is named", test_defects},
        {"what ships covers what anx trains with", test_what_ships},
        {NULL, NULL},
    };
    return anx_test_main("training fixtures", tests, argc, argv);
}
