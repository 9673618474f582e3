#include "parity/evaluate.h"

#include <stdlib.h>
#include <string.h>

#include "loaders/dataset/pipeline.h"

void anx_evaluation_fini(anx_evaluation *evaluation) {
    if (evaluation == NULL) return;
    for (int64_t i = 0; i < evaluation->n_bad; i++) free(evaluation->bad[i].reason);
    free(evaluation->bad);
    free(evaluation->predictions);
    *evaluation = (anx_evaluation)ANX_EVALUATION_INIT;
}

/* Room for one more in an array of `count`, which grows at the powers of two. */
static void *room_for_one(void *array, int64_t count, size_t item_bytes) {
    if ((count & (count - 1)) != 0) return array;
    return reallocarray(array, count == 0 ? 1 : 2 * (size_t)count, item_bytes);
}

anx_status anx_evaluation_add_prediction(anx_evaluation *e, const anx_prediction *prediction, anx_error *err) {
    anx_prediction *grown = room_for_one(e->predictions, e->n_predictions, sizeof *grown);
    if (grown == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for predictions");
    e->predictions = grown;
    e->predictions[e->n_predictions++] = *prediction;
    return ANX_OK;
}

anx_status anx_evaluation_add_bad(anx_evaluation *e, int64_t file, const char *reason, anx_error *err) {
    anx_bad_file *grown = room_for_one(e->bad, e->n_bad, sizeof *grown);
    if (grown != NULL) e->bad = grown;
    char *copy = strdup(reason);
    if (grown == NULL || copy == NULL) {
        free(copy);
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for the list of bad files");
    }
    e->bad[e->n_bad++] = (anx_bad_file){file, copy};
    return ANX_OK;
}

typedef struct evaluating {
    const anx_evaluate_options *options;
    const int64_t *files; /* those that are left */
    anx_plan *plan;
    int last_group; /* the one that makes the logits */
    int64_t batch, classes;
    float *logits;      /* (batch, classes) */
    anx_math_mode math; /* the device's */
    anx_evaluation *result;
} evaluating;

/* Hands a batch to the device, which may still be at it when this returns. */
static anx_status write_batch(const evaluating *e, const anx_pipeline_batch *b, anx_error *err) {
    const int64_t crop = e->options->profile->crop, shape[] = {e->batch, 3, crop, crop};
    const anx_tensor input = anx_tensor_view(ANX_F32, 4, shape, b->input);
    return anx_plan_write(e->plan, anx_value_output(ANX_NODE_INPUT), &input, err);
}

static anx_status run_batch(const evaluating *e, anx_error *err) {
    return anx_plan_run_groups(e->plan, 0, e->last_group + 1, err);
}

/* Asks for the logits of what runs; they are there after a synchronisation. */
static anx_status read_logits(const evaluating *e, anx_error *err) {
    const int64_t shape[] = {e->batch, e->classes};
    anx_tensor logits = anx_tensor_view(ANX_F32, 2, shape, e->logits);
    return anx_plan_read(e->plan, anx_value_output(e->options->model->graph->logits), &logits, err);
}

static anx_status take_image(const evaluating *e, int64_t file, const anx_error *bad, const float *logits,
                             anx_error *err) {
    const anx_evaluate_options *o = e->options;
    char text[2048];
    if (bad != NULL && o->skip_bad)
        return anx_evaluation_add_bad(e->result, file, anx_error_format(bad, text, sizeof text), err);
    if (bad != NULL) {
        if (err != NULL) *err = *bad;
        return bad->status;
    }
    anx_prediction p;
    anx_predict(logits, e->classes, o->label != NULL ? o->label(o->label_context, file) : -1, e->math, &p);
    p.file = file;
    return anx_evaluation_add_prediction(e->result, &p, err);
}

/* Makes the batch's predictions from its logits: all of them, or none. */
static anx_status take_batch(const evaluating *e, const anx_pipeline_batch *b, anx_error *err) {
    anx_status status = ANX_OK;
    const int64_t predictions = e->result->n_predictions, bad = e->result->n_bad;
    for (int64_t i = 0; status == ANX_OK && i < b->n; i++)
        status = take_image(e, e->files[b->first + i], b->bad[i], e->logits + i * e->classes, err);
    if (status == ANX_OK) {
        e->result->done += b->n;
        return ANX_OK;
    }
    e->result->n_predictions = predictions;
    while (e->result->n_bad > bad) free(e->result->bad[--e->result->n_bad].reason);
    return status;
}

static anx_status start_batch(const evaluating *e, const anx_pipeline_batch *b, anx_error *err) {
    const anx_status status = write_batch(e, b, err);
    return status != ANX_OK ? status : run_batch(e, err);
}

/*
 * A device that computes by itself uploads a batch and works on it while the next one is preprocessed, which takes
 * longest by far: when that one is complete the device has been waiting for it, and so nobody waits for the device. An
 * interruption ends with the batch that is under way.
 */
static anx_status run_batches(const evaluating *e, anx_pipeline *pipeline, anx_error *err) {
    const anx_evaluate_options *o = e->options;
    anx_pipeline_batch now, next;
    anx_status status = anx_pipeline_next(pipeline, &now, err);
    if (status == ANX_OK && now.n > 0) status = start_batch(e, &now, err);
    while (status == ANX_OK && now.n > 0) {
        status = read_logits(e, err);
        if (status != ANX_OK) return status;
        anx_error later = ANX_ERROR_INIT;
        anx_status status_of_next = anx_pipeline_next(pipeline, &next, &later);
        status = anx_device_sync(o->device, err);
        if (status != ANX_OK) return status;
        /* What is wrong with the next one says nothing about this one. */
        if (status_of_next == ANX_OK && next.n > 0) status_of_next = start_batch(e, &next, &later);
        status = take_batch(e, &now, err);
        if (status == ANX_OK && o->progress != NULL) status = o->progress(o->progress_context, e->result, err);
        if (status == ANX_OK && status_of_next != ANX_OK) {
            if (err != NULL) *err = later;
            status = status_of_next;
        }
        now = next;
    }
    return status;
}

static anx_status create_plan(evaluating *e, anx_error *err) {
    const anx_model *model = e->options->model;
    const anx_plan_desc desc = {.graph = model->graph,
                                .batch = e->batch,
                                .mode = ANX_PLAN_INFER,
                                .params = model->params,
                                .n_params = model->graph->n_params};
    anx_status status = anx_plan_create(e->options->device, &desc, &e->plan, err);
    if (status != ANX_OK) return status;
    e->last_group = anx_plan_group_of_node(e->plan, model->graph->logits);
    e->classes = anx_graph_node_elems(model->graph, model->graph->logits);
    void *logits = NULL;
    status = anx_device_host_alloc(e->options->device, (size_t)e->batch * (size_t)e->classes * sizeof *e->logits,
                                   &logits, err);
    e->logits = logits;
    return status;
}

anx_status anx_evaluate(const anx_evaluate_options *o, anx_evaluation *evaluation, anx_error *err) {
    const int64_t left = o->n_files - evaluation->done;
    const anx_extent *in = &o->model->graph->input;
    if (in->rank != 3 || in->dim[0] != 3 || in->dim[1] != o->profile->crop || in->dim[2] != o->profile->crop)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                             "preprocessing '%s' makes images of %d x %d pixels, which the network was not set up for",
                             o->profile->name, o->profile->crop, o->profile->crop);
    if (o->batch < 1)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the batch size is %lld; it must be at least 1",
                             (long long)o->batch);
    if (left <= 0) return ANX_OK;
    anx_device_info info;
    anx_device_describe(o->device, &info);
    evaluating e = {.options = o,
                    .math = info.math,
                    .files = o->files + evaluation->done,
                    /* of all files, not of those left: how large it is shows in the logits' last bits */
                    .batch = o->n_files < o->batch ? o->n_files : o->batch,
                    .result = evaluation};
    const anx_pipeline_options pipeline_options = {.profile = o->profile,
                                                   .files = e.files,
                                                   .n_files = left,
                                                   .batch = e.batch,
                                                   .threads = o->threads,
                                                   .kept = 1, /* the one that the device has */
                                                   .device = o->device};
    anx_pipeline *pipeline = NULL;
    anx_status status = create_plan(&e, err);
    if (status == ANX_OK) status = anx_pipeline_create(o->source, &pipeline_options, &pipeline, err);
    if (status == ANX_OK) status = run_batches(&e, pipeline, err);
    anx_plan_destroy(e.plan); /* it may still read from the rest, after an error */
    anx_pipeline_destroy(pipeline);
    anx_device_host_free(o->device, e.logits);
    return status;
}
