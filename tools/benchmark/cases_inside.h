/* What the kinds of cases share. */
#ifndef ANX_TOOLS_BENCHMARK_CASES_INSIDE_H
#define ANX_TOOLS_BENCHMARK_CASES_INSIDE_H

#include "loaders/dataset/image_source.h"
#include "loaders/image/preprocess.h"
#include "tools/benchmark/cases.h"

/* After a turn, until the threads of whoever had it have stopped waiting for more work. */
void bench_settle(void);
/* How often to run what takes a second or more: fewer runs say as much. */
int bench_few_runs(const bench_context *context);
/*
 * PyTorch's turn, where it is there; into the series if `count`. What it fails at is its own trouble, which costs it
 * the series, and is said in the report; a process that ends is not asked again.
 */
void bench_ask_torch(bench_context *context, const char *request, bench_series *series, bool count);
/* "NAME" and the images' names, as the peer wants them; malloc'd, NULL without memory. */
char *bench_images_request(const bench_context *context, const char *name);

/* So many numbers between -2.1 and 2.1 in no order; none is 0 or subnormal. */
void bench_fill(float *x, int64_t elems);
/* The same for the plan's input. */
anx_status bench_fill_input(anx_plan *plan, anx_device *device, anx_error *err);

/* What a machine's limits let work cost at least, in seconds: by what bounds each part of it. */
typedef struct bench_cost {
    double compute, memory;
} bench_cost;

/*
 * Adds a product of the layer's weights with a batch: its multiply-adds (each counted as two operations), or reading
 * the weights once, whichever takes longer.
 */
void bench_cost_add_product(const bench_context *context, int node, int64_t batch, bench_cost *cost);
/* Layers come one after another. Named after the limit that most of the time goes to. Nothing where the engine is not
   the processor, whose limits these are. */
void bench_cost_to_row(const bench_context *context, const bench_cost *cost, bench_row *row);

/* What an SGD step with momentum moves for so many parameters, and how fast this memory moves anything at best. */
double bench_sgd_bytes(int64_t elems);
double bench_memory_speed(const bench_context *context);

/* As torchvision has it for 224 pixels; a network of another size gets as much of each image. */
anx_preprocess_profile bench_profile_for(const anx_graph *graph);
/* The images' files; number i is the first again after the last. The context must outlive it. */
anx_image_source bench_image_source(bench_context *context);

/* What is done with a file of the images. */
typedef anx_status bench_image_work(const uint8_t *bytes, size_t n_bytes, int image, void *user, anx_error *err);
/* Reads so many of the images, one by one, and from the first again after the last; *seconds is what all took. */
anx_status bench_time_images(const bench_context *context, int count, bench_image_work *work, void *user,
                             double *seconds, anx_error *err);
/* Where the network's input of one image is made, and how. */
typedef struct bench_input {
    const anx_preprocess_profile *profile;
    float *values; /* (3, crop, crop), malloc'd; the caller frees it */
} bench_input;

/* Errors: OUT_OF_MEMORY. */
anx_status bench_input_init(bench_input *out, const anx_preprocess_profile *profile, anx_error *err);
/* A bench_image_work: preprocessing; user: a bench_input. */
anx_status bench_preprocess_one(const uint8_t *bytes, size_t n_bytes, int image, void *user, anx_error *err);

#endif
