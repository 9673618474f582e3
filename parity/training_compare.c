/* A step held against its recording, digest by digest. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/judge_training.h"

static const char *const names[ANX_TRAINING_ASPECTS] = {
    "data order", "augmentation", "learning rate", "dropout masks", "generator",
    "logits",     "loss",         "gradients",     "momentum",      "parameters",
};

const char *anx_training_aspect_name(anx_training_aspect aspect) {
    return (unsigned)aspect < ANX_TRAINING_ASPECTS ? names[aspect] : "?";
}

typedef struct comparison {
    const anx_training_play *play;
    const anx_training_steps *recorded;
    int64_t step; /* counted from 0 */
    int threads;
    anx_training_tally *tally;
    anx_error *err;
} comparison;

static void note(const comparison *c, anx_training_aspect aspect, int index, const char *what, const char *name) {
    c->tally->differs = true;
    c->tally->first = aspect;
    c->tally->index = index;
    if (name != NULL)
        snprintf(c->tally->what, sizeof c->tally->what, "%s of '%s'", what, name);
    else
        snprintf(c->tally->what, sizeof c->tally->what, "%s", what);
}

/* ---- what no arithmetic enters --------------------------------------------------------------------------- */

static void compare_order(const comparison *c) {
    const anx_training_play *p = c->play;
    const int64_t *right = c->recorded->order + p->seen;
    for (int64_t i = 0; p->files != NULL && i < p->n && !c->tally->differs; i++) {
        if (p->files[i] == right[i]) continue;
        char text[120];
        snprintf(text, sizeof text, "image %" PRId64 " of the batch: number %" PRId64 " instead of %" PRId64, i,
                 p->files[i], right[i]);
        note(c, ANX_TRAINING_ORDER, -1, text, NULL);
    }
}

static anx_status compare_tensor(const comparison *c, const anx_tensor *t, const anx_digest *right,
                                 anx_training_aspect aspect, const char *what) {
    anx_digest digest;
    const anx_status status = anx_tensor_digest(t, &digest, c->err);
    if (status == ANX_OK && !anx_digest_equal(&digest, right)) note(c, aspect, -1, what, NULL);
    return status;
}

static void compare_lr(const comparison *c) {
    const double right = c->recorded->lr[c->step];
    if (memcmp(&c->play->lr, &right, sizeof right) == 0) return;
    char text[120];
    snprintf(text, sizeof text, "the learning rate is %.17g instead of %.17g", c->play->lr, right);
    note(c, ANX_TRAINING_LR, -1, text, NULL);
}

static anx_status compare_generator(const comparison *c) {
    unsigned char bytes[ANX_MT19937_STATE_BYTES];
    const int64_t n = sizeof bytes;
    anx_mt19937_write_state(&c->play->gen, bytes);
    const anx_tensor t = anx_tensor_view(ANX_U8, 1, &n, bytes);
    return compare_tensor(c, &t, &c->recorded->generator[c->step], ANX_TRAINING_GENERATOR,
                          "the generator's state after the step");
}

/* A value of the plan where it lies, or read into *own, which the caller releases. */
static anx_status look_at(const comparison *c, anx_value value, anx_tensor *own) {
    anx_plan *plan = anx_trainer_plan(c->play->trainer);
    int64_t shape[4];
    const int rank = anx_plan_value_shape(plan, value, shape);
    float *const in_place = anx_plan_host_pointer(plan, value);
    if (in_place != NULL) {
        *own = anx_tensor_view(ANX_F32, rank, shape, in_place);
        return ANX_OK;
    }
    anx_status status = anx_tensor_alloc(ANX_F32, rank, shape, own, c->err);
    if (status == ANX_OK) status = anx_plan_read(plan, value, own, c->err);
    return status == ANX_OK ? anx_device_sync(c->play->options.device, c->err) : status;
}

static anx_status compare_masks(const comparison *c) {
    const anx_graph *graph = c->play->options.graph;
    anx_status status = ANX_OK;
    int m = 0;
    for (int node = 0; node < graph->n_nodes && status == ANX_OK && !c->tally->differs; node++) {
        if (graph->nodes[node].layer->op != ANX_OP_DROPOUT || m == c->recorded->n_masks) continue;
        anx_tensor mask = ANX_TENSOR_INIT;
        anx_digest digest;
        status = look_at(c, (anx_value){ANX_VALUE_MASK, node}, &mask);
        if (status == ANX_OK) status = anx_tensor_digest(&mask, &digest, c->err);
        anx_tensor_fini(&mask);
        if (status == ANX_OK && !anx_digest_equal(&digest, &c->recorded->masks[c->step * c->recorded->n_masks + m++]))
            note(c, ANX_TRAINING_MASKS, node, "the mask", graph->nodes[node].layer->name);
    }
    return status;
}

/* ---- what is computed ------------------------------------------------------------------------------------ */

static void compare_loss(const comparison *c) {
    const float got = c->play->result.loss, right = c->recorded->loss[c->step];
    if (memcmp(&got, &right, sizeof got) == 0) return;
    char text[120];
    snprintf(text, sizeof text, "the loss is %.9g instead of %.9g", (double)got, (double)right);
    note(c, ANX_TRAINING_LOSS, -1, text, NULL);
}

static void note_nonfinite(const comparison *c) {
    const anx_nonfinite *n = &c->play->result.nonfinite;
    char text[120];
    snprintf(text, sizeof text, "the loss is not finite: '%s' holds %g", n->name, (double)n->value);
    note(c, ANX_TRAINING_LOSS, -1, text, NULL);
}

/* One parameter's tensor of that kind where it lies, or read; rank 0 and no data where there is none. */
static anx_status find_tensor(const comparison *c, anx_training_aspect aspect, int param, anx_tensor *out) {
    anx_trainer *trainer = c->play->trainer;
    const anx_tensor *there =
        aspect == ANX_TRAINING_PARAMS ? &anx_trainer_params(trainer)[param] : anx_trainer_momentum(trainer, param);
    *out = (anx_tensor)ANX_TENSOR_INIT;
    if (aspect == ANX_TRAINING_GRADS) {
        if (anx_training_is_frozen(c->play->options.scenario, c->play->options.graph->params[param].name))
            return ANX_OK;
        return look_at(c, (anx_value){ANX_VALUE_PARAM_GRAD, param}, out);
    }
    if (there != NULL) *out = anx_tensor_view(there->dtype, there->rank, there->shape, there->data);
    return ANX_OK;
}

/* wrong[i]: another digest than the recorded one; all zeros where there is no tensor. */
static anx_status check_digests(const comparison *c, const anx_tensor *tensors, int n, const anx_digest *right,
                                bool *wrong) {
    anx_status status = ANX_OK;
#pragma omp parallel for num_threads(c->threads) schedule(dynamic)
    for (int k = 0; k < n; k++) {
        const int i = n - 1 - k; /* the large ones first */
        anx_error mine = ANX_ERROR_INIT;
        anx_digest digest = {{0}};
        const anx_status one = tensors[i].data != NULL ? anx_tensor_digest(&tensors[i], &digest, &mine) : ANX_OK;
        wrong[i] = one == ANX_OK && !anx_digest_equal(&digest, &right[i]);
        if (one == ANX_OK) continue;
#pragma omp critical(anx_training_compare)
        {
            status = one;
            if (c->err != NULL) *c->err = mine;
        }
    }
    return status;
}

/* Every parameter's; the first wrong one as a step goes: gradients from the last layer on. */
static anx_status compare_params(const comparison *c, anx_training_aspect aspect, const anx_digest *recorded,
                                 const char *what) {
    const anx_graph *graph = c->play->options.graph;
    const int n = graph->n_params;
    anx_tensor *tensors = calloc((size_t)n, sizeof *tensors);
    bool *wrong = calloc((size_t)n, sizeof *wrong);
    anx_status status = ANX_OK;
    if (tensors == NULL || wrong == NULL) status = anx_error_set(c->err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    for (int i = 0; i < n && status == ANX_OK; i++) status = find_tensor(c, aspect, i, &tensors[i]);
    if (status == ANX_OK) status = check_digests(c, tensors, n, recorded + c->step * c->recorded->n_params, wrong);
    for (int i = 0; i < n && status == ANX_OK && !c->tally->differs; i++) {
        const int param = aspect == ANX_TRAINING_GRADS ? n - 1 - i : i;
        if (wrong[param]) note(c, aspect, param, what, graph->params[param].name);
    }
    for (int i = 0; i < n && tensors != NULL; i++) anx_tensor_fini(&tensors[i]);
    free(tensors);
    free(wrong);
    return status;
}

anx_status anx_training_compare(const anx_training_play *play, bool all, int threads, anx_training_tally *tally,
                                anx_error *err) {
    const anx_training_steps *recorded = play->options.scenario->recorded;
    const comparison c = {play, recorded, play->step - 1, threads, tally, err};
    anx_status status = ANX_OK;
    if (tally->differs) return ANX_OK;
    compare_order(&c);
    if (!tally->differs)
        status = compare_tensor(&c, &play->batch, &recorded->inputs[c.step], ANX_TRAINING_INPUT,
                                "the batch of augmented images");
    if (status == ANX_OK && !tally->differs) compare_lr(&c);
    if (status == ANX_OK && !tally->differs) status = compare_masks(&c);
    if (status == ANX_OK && !tally->differs) status = compare_generator(&c);
    if (status == ANX_OK && !tally->differs && play->stopped) note_nonfinite(&c);
    if (status == ANX_OK && !tally->differs && all)
        status = compare_tensor(&c, anx_trainer_logits(play->trainer), &recorded->logits[c.step], ANX_TRAINING_LOGITS,
                                "the logits");
    if (status == ANX_OK && !tally->differs && all) compare_loss(&c);
    if (status == ANX_OK && !tally->differs && all)
        status = compare_params(&c, ANX_TRAINING_GRADS, recorded->grads, "the gradient");
    if (status == ANX_OK && !tally->differs && all) status = anx_trainer_fetch(play->trainer, err);
    if (status == ANX_OK && !tally->differs && all)
        status = compare_params(&c, ANX_TRAINING_MOMENTUM, recorded->momentum, "the update: the momentum");
    if (status == ANX_OK && !tally->differs && all)
        status = compare_params(&c, ANX_TRAINING_PARAMS, recorded->params, "the update: the values");
    tally->steps += status == ANX_OK && !tally->differs;
    return status;
}

/* ---- states ---------------------------------------------------------------------------------------------- */

anx_status anx_trained_values_copy(anx_trainer *trainer, const anx_graph *graph, anx_trained_values *out,
                                   anx_error *err) {
    anx_trained_values s = {.params = calloc((size_t)graph->n_params, sizeof *s.params),
                            .momentum = calloc((size_t)graph->n_params, sizeof *s.momentum),
                            .n_params = graph->n_params};
    anx_status status = ANX_OK;
    if (s.params == NULL || s.momentum == NULL) status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    if (status == ANX_OK) status = anx_trainer_fetch(trainer, err);
    for (int i = 0; i < graph->n_params && status == ANX_OK; i++) {
        const anx_tensor *momentum = anx_trainer_momentum(trainer, i);
        status = anx_tensor_convert(&anx_trainer_params(trainer)[i], ANX_F32, &s.params[i], err);
        if (status == ANX_OK && momentum != NULL) status = anx_tensor_convert(momentum, ANX_F32, &s.momentum[i], err);
    }
    if (status == ANX_OK)
        *out = s;
    else
        anx_trained_values_fini(&s);
    return status;
}

void anx_trained_values_fini(anx_trained_values *s) {
    for (int i = 0; i < s->n_params; i++) {
        if (s->params != NULL) anx_tensor_fini(&s->params[i]);
        if (s->momentum != NULL) anx_tensor_fini(&s->momentum[i]);
    }
    free(s->params);
    free(s->momentum);
    *s = (anx_trained_values){NULL, NULL, 0};
}
