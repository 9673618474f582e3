/* Something to train: a trainer with a batch that is always the same. */
#ifndef ANX_TOOLS_BENCHMARK_LEARNER_H
#define ANX_TOOLS_BENCHMARK_LEARNER_H

#include "src/train/trainer.h"

typedef enum bench_trained {
    BENCH_TRAIN_ALL,
    BENCH_TRAIN_HEAD /* the linear layers alone */
} bench_trained;

typedef struct bench_learner {
    anx_trainer *trainer;
    anx_device *device; /* the trainer's */
    anx_mt19937 gen;
    anx_tensor input;
    int64_t *targets;
} bench_learner;

/* momentum 0.9 and weight decay 1e-4, as torchvision trains AlexNet, with small steps: nothing may overflow. */
extern const anx_sgd_options bench_sgd_options;

/*
 * params: the graph's, copied. graph and device must outlive the learner. Errors: of anx_trainer_create, and
 * OUT_OF_MEMORY. The caller calls fini, after a failure too.
 */
anx_status bench_learner_init(bench_learner *out, const anx_graph *graph, const anx_tensor *params, anx_device *device,
                              int64_t batch, bench_trained trained, anx_error *err);
void bench_learner_fini(bench_learner *learner);
/*
 * One step, to the end of its update: a trainer leaves a device at the way back and SGD, and waits at the next step
 * alone. Errors: of anx_trainer_step and anx_device_sync; INVALID_ARGUMENT where NaN or infinity came out: nothing was
 * updated then.
 */
anx_status bench_learner_step(bench_learner *learner, anx_error *err);

#endif
