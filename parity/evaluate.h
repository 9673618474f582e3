/*
 * The evaluation of a classifier: images through preprocessing and the network, in order, each to its prediction.
 */
#ifndef ANX_PARITY_EVALUATE_H
#define ANX_PARITY_EVALUATE_H

#include "loaders/checkpoint/checkpoint.h"
#include "loaders/dataset/image_source.h"
#include "loaders/image/preprocess.h"
#include "parity/predictions.h"
#include "src/backend/backend.h"

/* A file that could not be read or decoded. */
typedef struct anx_bad_file {
    int64_t file; /* index of the sample */
    char *reason; /* owned; names the file */
} anx_bad_file;

/* What an evaluation has come to: the first `done` of the files, in order, each a prediction or a bad file. */
typedef struct anx_evaluation {
    int64_t done;
    anx_prediction *predictions; /* (n_predictions), owned */
    int64_t n_predictions;
    anx_bad_file *bad; /* (n_bad), owned */
    int64_t n_bad;
} anx_evaluation;

#define ANX_EVALUATION_INIT                                                                                            \
    { .done = 0, .predictions = NULL, .bad = NULL }
void anx_evaluation_fini(anx_evaluation *evaluation);
/* Appends; the reason is copied. `done` is left to the caller. Errors: OUT_OF_MEMORY. */
anx_status anx_evaluation_add_prediction(anx_evaluation *evaluation, const anx_prediction *prediction, anx_error *err);
anx_status anx_evaluation_add_bad(anx_evaluation *evaluation, int64_t file, const char *reason, anx_error *err);

typedef struct anx_evaluate_options {
    const anx_model *model;
    anx_device *device;
    const anx_preprocess_profile *profile;
    const anx_image_source *source;
    const int64_t *files; /* (n_files): which of the source's files, in the order to take them */
    int64_t n_files;
    int64_t (*label)(void *context, int64_t file); /* class of a file, -1: none; NULL: none has one */
    void *label_context;
    int64_t batch; /* images that go through the network at once */
    int threads;   /* of preprocessing; <= 0: anx_threads_available() */
    bool skip_bad; /* go on after a file that cannot be read or decoded; else it is an error */
    /* (optional) After each batch. What it returns other than ANX_OK ends the evaluation. */
    anx_status (*progress)(void *context, const anx_evaluation *so_far, anx_error *err);
    void *progress_context;
} anx_evaluate_options;

/*
 * Goes on from evaluation->done to the end. The network takes one batch while the next one is preprocessed, where the
 * device works by itself; on a CPU, which all threads share, they take turns. After an error *evaluation holds what
 * was done until then: whole batches. Errors: of the first bad file unless skip_bad; INTERRUPTED; of the device;
 * OUT_OF_MEMORY; what `progress` returned.
 */
anx_status anx_evaluate(const anx_evaluate_options *options, anx_evaluation *evaluation, anx_error *err);

#endif
