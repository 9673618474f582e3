/* What the tests of the trainer share: a trainer with everything it needs, steps of it, and what two have in common. */
#ifndef ANX_TESTS_TRAIN_TRAINER_BENCH_H
#define ANX_TESTS_TRAIN_TRAINER_BENCH_H

#include "src/train/trainer.h"

enum { BATCH = 6, MOST_PARAMS = 16 };

/* The narrow network as a seed makes it, and a device. */
typedef struct bench {
    anx_graph *graph;
    anx_device *device;
    anx_tensor params[MOST_PARAMS];
    int group_of_param[MOST_PARAMS]; /* all 0 */
    anx_sgd_options groups[2];
    anx_trainer_options options;
} bench;

void bench_open(bench *b, const char *device, int threads);
/* On one thread. */
void bench_open_backend(bench *b, const anx_backend *backend);
void bench_fini(bench *b);

/* By the bench's options. */
anx_trainer *bench_trainer(const bench *b);

/* n images and targets that depend on the seed, and room to spoil one. */
typedef struct batch {
    anx_tensor input;
    int64_t targets[BATCH + 1];
    anx_mt19937 gen; /* that a step draws from */
} batch;

void batch_init(batch *x, const bench *b, int64_t n, uint64_t seed);
anx_trainer_result bench_step_on(anx_trainer *trainer, batch *x);
/* A step on n images drawn from the seed. */
anx_trainer_result bench_step(const bench *b, anx_trainer *trainer, int64_t n, uint64_t seed);

/* Fetched. */
const anx_tensor *param_of(anx_trainer *trainer, int param);
const anx_tensor *momentum_of(anx_trainer *trainer, int param);

bool same_tensors(const anx_tensor *a, const anx_tensor *b);
void expect_same_state(const bench *b, anx_trainer *x, anx_trainer *y);
/* Parameters that are not what they were made with. */
int count_changed(const bench *b, anx_trainer *trainer);
void carry_over(const bench *b, anx_trainer *from, anx_trainer *to);

#endif
