#include <string.h>

#include "parity/fixture_reader.h"
#include "parity/training_recording.h"

enum {
    max_training_images = 100000,
    max_scenarios = 1000,
    max_steps = 100000,
    max_training_batch = 1024,
    max_masks = 64,
    max_trained_params = 4096,
    max_runs = 64
};

/* ---- of any scenario ------------------------------------------------------------------------------------- */

int64_t anx_training_epoch_steps(const anx_training_scenario *s) {
    return s->n_images == 0 ? 1 : (s->n_images - 1) / s->batch + 1;
}

int64_t anx_training_step_images(const anx_training_scenario *s, int64_t step) {
    const int64_t first = step % anx_training_epoch_steps(s) * s->batch, left = s->n_images - first;
    return s->n_images == 0 || left > s->batch ? s->batch : left;
}

bool anx_training_is_frozen(const anx_training_scenario *s, const char *param) {
    return s->frozen[0] != '\0' && strncmp(param, s->frozen, strlen(s->frozen)) == 0;
}

/* ---- reading --------------------------------------------------------------------------------------------- */

static anx_status read_digests(anx_fixture_reader *r, const cJSON *object, const char *key, int rank,
                               const int64_t *shape, const anx_digest **out) {
    anx_tensor t = ANX_TENSOR_INIT;
    const anx_status status = anx_fixture_reader_tensor(r, object, key, ANX_U8, rank, shape, &t);
    _Static_assert(sizeof(anx_digest) == ANX_SHA256_BYTES, "digests lie packed in a tensor");
    if (status == ANX_OK) *out = t.data;
    return status;
}

static anx_status check_order(anx_fixture_reader *r, const anx_training_scenario *s, const int64_t *order, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (order[i] < 0 || order[i] >= s->n_images)
            return anx_fixture_reader_fail(r, "order", "%lld is not one of %lld images", (long long)order[i],
                                           (long long)s->n_images);
    return ANX_OK;
}

static anx_status read_columns(anx_fixture_reader *r, const cJSON *object, const anx_training_scenario *s,
                               anx_training_steps *steps) {
    int64_t n = 0;
    for (int64_t i = 0; i < s->steps; i++) n += anx_training_step_images(s, i);
    anx_tensor order = ANX_TENSOR_INIT, lr = ANX_TENSOR_INIT, loss = ANX_TENSOR_INIT, masks = ANX_TENSOR_INIT,
               params = ANX_TENSOR_INIT;
    const int64_t per_step[] = {s->steps, ANX_SHA256_BYTES}, any[] = {s->steps, -1, ANX_SHA256_BYTES};
    anx_status status = anx_fixture_reader_tensor(r, object, "order", ANX_I64, 1, &n, &order);
    if (status == ANX_OK) status = check_order(r, s, order.data, n);
    if (status == ANX_OK) status = anx_fixture_reader_tensor(r, object, "lr", ANX_F64, 1, &s->steps, &lr);
    if (status == ANX_OK) status = anx_fixture_reader_tensor(r, object, "loss", ANX_F32, 1, &s->steps, &loss);
    if (status == ANX_OK) status = anx_fixture_reader_tensor(r, object, "masks", ANX_U8, 3, any, &masks);
    if (status == ANX_OK) status = anx_fixture_reader_tensor(r, object, "params", ANX_U8, 3, any, &params);
    if (status != ANX_OK) return status;
    if (masks.shape[1] > max_masks || params.shape[1] > max_trained_params)
        return anx_fixture_reader_fail(r, "params", "more digests than any network has parameters");
    steps->order = order.data;
    steps->lr = lr.data;
    steps->loss = loss.data;
    steps->masks = masks.data;
    steps->params = params.data;
    steps->n_masks = (int)masks.shape[1];
    steps->n_params = (int)params.shape[1];
    const int64_t per_param[] = {s->steps, params.shape[1], ANX_SHA256_BYTES};
    status = read_digests(r, object, "inputs", 2, per_step, &steps->inputs);
    if (status == ANX_OK) status = read_digests(r, object, "logits", 2, per_step, &steps->logits);
    if (status == ANX_OK) status = read_digests(r, object, "generator", 2, per_step, &steps->generator);
    if (status == ANX_OK) status = read_digests(r, object, "grads", 3, per_param, &steps->grads);
    if (status == ANX_OK) status = read_digests(r, object, "momentum", 3, per_param, &steps->momentum);
    return status;
}

static anx_status read_envelope(anx_fixture_reader *r, const cJSON *object, const anx_training_scenario *s,
                                const anx_training_envelope **out) {
    const cJSON *list = NULL;
    anx_training_envelope *envelope = NULL;
    const char **runs = NULL;
    anx_tensor loss = ANX_TENSOR_INIT, difference = ANX_TENSOR_INIT, distance = ANX_TENSOR_INIT;
    anx_status status = anx_fixture_reader_array(r, 1, sizeof *envelope, &envelope);
    if (status == ANX_OK) status = anx_fixture_reader_member(r, object, "runs", true, &list);
    if (status == ANX_OK) status = anx_fixture_reader_list(r, list, "runs", max_runs, sizeof *runs, &runs);
    if (status != ANX_OK) return status;
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        if (!cJSON_IsString(item)) return anx_fixture_reader_fail(r, "runs", "expected strings");
        runs[envelope->n_runs++] = item->valuestring;
    }
    if (envelope->n_runs == 0) return anx_fixture_reader_fail(r, "runs", "expected at least one");
    const int64_t shape[] = {envelope->n_runs, s->steps, s->recorded->n_params};
    status = anx_fixture_reader_tensor(r, object, "loss", ANX_F64, 2, shape, &loss);
    if (status == ANX_OK) status = anx_fixture_reader_tensor(r, object, "difference", ANX_F64, 3, shape, &difference);
    if (status == ANX_OK) status = anx_fixture_reader_tensor(r, object, "distance", ANX_F64, 2, shape + 1, &distance);
    envelope->runs = runs;
    envelope->loss = loss.data;
    envelope->difference = difference.data;
    envelope->distance = distance.data;
    *out = envelope;
    return status;
}

static anx_status read_optimizer(anx_fixture_reader *r, const cJSON *object, anx_training_scenario *s) {
    const cJSON *sgd = NULL, *scheduler = NULL;
    anx_error why = ANX_ERROR_INIT;
    anx_status status = anx_fixture_reader_member(r, object, "sgd", false, &sgd);
    if (status == ANX_OK) status = anx_fixture_reader_member(r, object, "scheduler", false, &scheduler);
    if (status == ANX_OK) status = anx_fixture_reader_number(r, sgd, "lr", &s->sgd.lr);
    if (status == ANX_OK) status = anx_fixture_reader_number(r, sgd, "momentum", &s->sgd.momentum);
    if (status == ANX_OK) status = anx_fixture_reader_number(r, sgd, "dampening", &s->sgd.dampening);
    if (status == ANX_OK) status = anx_fixture_reader_number(r, sgd, "weight_decay", &s->sgd.weight_decay);
    if (status == ANX_OK) status = anx_fixture_reader_bool(r, sgd, "nesterov", &s->sgd.nesterov);
    if (status != ANX_OK) return status;
    s->scheduler = anx_scheduler_defaults(ANX_STEP_LR);
    status = anx_fixture_reader_int(r, scheduler, "step_size", 1, INT32_MAX, &s->scheduler.step_size);
    if (status == ANX_OK) status = anx_fixture_reader_number(r, scheduler, "gamma", &s->scheduler.gamma);
    if (status != ANX_OK) return status;
    if (anx_sgd_options_check(&s->sgd, &why) != ANX_OK || anx_scheduler_options_check(&s->scheduler, &why) != ANX_OK)
        return anx_fixture_reader_fail(r, "sgd", "these options cannot be trained with");
    return ANX_OK;
}

static anx_status read_settings(anx_fixture_reader *r, const cJSON *object, int n_images, anx_training_scenario *s) {
    const char *augment = NULL;
    int64_t seed = 0;
    anx_status status = anx_fixture_reader_string(r, object, "name", &s->name);
    if (status == ANX_OK) status = anx_fixture_reader_int(r, object, "seed", 0, UINT32_MAX, &seed);
    if (status == ANX_OK) status = anx_fixture_reader_int(r, object, "images", 1, n_images, &s->n_images);
    if (status == ANX_OK) status = anx_fixture_reader_int(r, object, "batch", 1, max_training_batch, &s->batch);
    if (status == ANX_OK) status = anx_fixture_reader_int(r, object, "steps", 1, max_steps, &s->steps);
    if (status == ANX_OK) status = anx_fixture_reader_number(r, object, "label_smoothing", &s->label_smoothing);
    if (status == ANX_OK) status = anx_fixture_reader_string(r, object, "frozen", &s->frozen);
    if (status == ANX_OK) status = anx_fixture_reader_string(r, object, "augment", &augment);
    s->has_dropout = anx_fixture_reader_has(object, "dropout");
    if (status == ANX_OK && s->has_dropout) status = anx_fixture_reader_number(r, object, "dropout", &s->dropout);
    if (status != ANX_OK) return status;
    s->seed = (uint32_t)seed;
    s->augment = anx_augment_kind_find(augment);
    if (s->augment == NULL) return anx_fixture_reader_fail(r, "augment", "there is no augmentation '%s'", augment);
    if (!(s->label_smoothing >= 0 && s->label_smoothing <= 1) || !(s->dropout >= 0 && s->dropout <= 1))
        return anx_fixture_reader_fail(r, NULL, "label_smoothing and dropout are between 0 and 1");
    return read_optimizer(r, object, s);
}

static anx_status read_scenario(anx_fixture_reader *r, const cJSON *object, int n_images, anx_training_scenario *s) {
    if (!cJSON_IsObject(object)) return anx_fixture_reader_fail(r, NULL, "expected an object");
    anx_training_steps *steps = NULL;
    const cJSON *envelope = NULL;
    anx_status status = read_settings(r, object, n_images, s);
    if (status == ANX_OK) status = anx_fixture_reader_array(r, 1, sizeof *steps, &steps);
    if (status == ANX_OK) status = read_columns(r, object, s, steps);
    s->recorded = steps;
    if (status != ANX_OK || !anx_fixture_reader_has(object, "envelope")) return status;
    status = anx_fixture_reader_member(r, object, "envelope", false, &envelope);
    const size_t mark = anx_fixture_reader_enter(r, "envelope", -1);
    if (status == ANX_OK) status = read_envelope(r, envelope, s, &s->envelope);
    anx_fixture_reader_leave(r, mark);
    return status;
}

static anx_status read_images(anx_fixture_reader *r, const anx_fixture *fixture, anx_training_recording *recording) {
    const cJSON *list = NULL, *targets = NULL;
    anx_fixture_image *images = NULL;
    int64_t *classes = NULL;
    int n = 0;
    anx_status status = anx_fixture_reader_member(r, r->json, "images", true, &list);
    if (status == ANX_OK)
        status = anx_fixture_reader_list(r, list, "images", max_training_images, sizeof *images, &images);
    if (status == ANX_OK) status = anx_fixture_reader_member(r, r->json, "targets", true, &targets);
    if (status == ANX_OK)
        status = anx_fixture_reader_list(r, targets, "targets", max_training_images, sizeof *classes, &classes);
    if (status != ANX_OK) return status;
    for (const cJSON *item = list->child; item != NULL && status == ANX_OK; item = item->next) {
        const size_t mark = anx_fixture_reader_enter(r, "images", recording->n_images);
        status = anx_fixture_reader_image(r, item, &images[recording->n_images++]);
        anx_fixture_reader_leave(r, mark);
    }
    for (const cJSON *item = targets->child; item != NULL && status == ANX_OK; item = item->next) {
        if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < (double)fixture->num_classes) ||
            item->valuedouble != (double)(int64_t)item->valuedouble)
            return anx_fixture_reader_fail(r, "targets", "expected classes below %lld",
                                           (long long)fixture->num_classes);
        classes[n++] = (int64_t)item->valuedouble;
    }
    if (status == ANX_OK && n != recording->n_images)
        status = anx_fixture_reader_fail(r, "targets", "%d of them for %d images", n, recording->n_images);
    recording->images = images;
    recording->targets = classes;
    return status;
}

anx_status anx_fixture_read_training(anx_fixture_reader *r, anx_fixture *out) {
    const cJSON *list = NULL;
    anx_training_recording *recording = NULL;
    anx_training_scenario *scenarios = NULL;
    anx_status status = anx_fixture_read_weights(r, out);
    if (status == ANX_OK) status = anx_fixture_reader_array(r, 1, sizeof *recording, &recording);
    if (status == ANX_OK) status = read_images(r, out, recording);
    if (status == ANX_OK) status = anx_fixture_reader_member(r, r->json, "scenarios", true, &list);
    if (status == ANX_OK)
        status = anx_fixture_reader_list(r, list, "scenarios", max_scenarios, sizeof *scenarios, &scenarios);
    if (status != ANX_OK) return status;
    recording->scenarios = scenarios;
    out->training = recording;
    for (const cJSON *item = list->child; item != NULL && status == ANX_OK; item = item->next) {
        const size_t mark = anx_fixture_reader_enter(r, "scenarios", recording->n_scenarios);
        status = read_scenario(r, item, recording->n_images, &scenarios[recording->n_scenarios++]);
        anx_fixture_reader_leave(r, mark);
    }
    return status;
}
