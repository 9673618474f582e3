/* The things that are measured, each as a row of the report: by anx, by PyTorch where it is there, in turns. */
#ifndef ANX_TOOLS_BENCHMARK_CASES_H
#define ANX_TOOLS_BENCHMARK_CASES_H

#include "loaders/checkpoint/checkpoint.h"
#include "src/backend/backend.h"
#include "tools/benchmark/peer.h"
#include "tools/benchmark/report.h"

/* What computes. */
typedef struct bench_engine {
    const char *device; /* a name, not "auto" */
    anx_math_mode math;
    int threads;
} bench_engine;

anx_status bench_engine_open(const bench_engine *engine, anx_device **out, anx_error *err);
/* What PyTorch calls it: "cuda:1", "cpu" for all that computes on the processor. */
const char *bench_torch_device(const bench_engine *engine);
/* Is it the processor that computes? Its limits, and oneDNN alone, are measured for that. */
bool bench_engine_is_processor(const bench_engine *engine);

typedef struct bench_context {
    const char *weights;              /* a checkpoint of AlexNet */
    const char *python, *peer_script; /* python NULL: PyTorch is not asked */
    const char *const *images;        /* files to preprocess */
    int n_images;
    const char *self, *anx_parity, *anx_convert; /* paths of programs */
    bench_engine engine;
    int threads, repeats;
    bench_peer *peer;        /* NULL: no PyTorch, or none any more */
    char torch_trouble[256]; /* what PyTorch's process could not be started or ended by; "" if nothing */
    anx_model *model;
    anx_device *device;
    bench_limits limits;
} bench_context;

/* From the input's memory to the logits'. */
anx_status bench_forward(bench_context *context, int64_t batch, bench_row *row, anx_error *err);
/* Opening the checkpoint and binding it to the network; PyTorch: torch.load and load_state_dict. */
anx_status bench_load(bench_context *context, bench_row *row, anx_error *err);
/* A whole process for one image: start, open, plan, run. Needs neither model nor device nor peer; nor does check. */
anx_status bench_start(bench_context *context, bench_row *row, anx_error *err);
/* From a file in memory's cache to the network's input, on one thread. */
anx_status bench_preprocess(bench_context *context, bench_row *row, anx_error *err);
/*
 * From files to logits: the pipeline and the network, taking turns on all threads; PyTorch: the best of a few
 * DataLoader set-ups and the model. bare: forward alone and preprocessing alone, shared out over the threads, added up.
 */
anx_status bench_evaluate(bench_context *context, bench_row *row, anx_error *err);
/* The pipeline with so many threads and nothing behind it; bare: preprocessing on one core, shared out over them. */
anx_status bench_pipeline(bench_context *context, int threads, bench_row *row, anx_error *err);
/* `anx-parity check` of the checkpoint, as a process. */
anx_status bench_check(bench_context *context, bench_row *row, anx_error *err);

/* `anx-convert` of the checkpoint to `format`, as a process; bare: cp of it, and sync of the copy. In a folder of its
   own in TMPDIR. */
anx_status bench_convert(bench_context *context, const char *format, bench_row *row, anx_error *err);

/*
 * A training step (train.py's: forward, loss, backward, SGD with momentum) of a batch on that engine.
 */
anx_status bench_train(bench_context *context, const bench_engine *engine, int64_t batch, bench_row *row,
                       anx_error *err);
/*
 * The same on the context's engine, of the linear layers alone; bare: the layers below them as inference runs them,
 * and steps of the head as a network of its own.
 */
anx_status bench_train_head(bench_context *context, int64_t batch, bench_row *row, anx_error *err);
/* A whole process that takes a few steps: for its memory. Needs neither model nor device nor peer. */
anx_status bench_train_process(bench_context *context, int64_t batch, bench_row *row, anx_error *err);
/* SGD with momentum and weight decay on as many parameters as the network has. */
anx_status bench_optimizer(bench_context *context, bench_row *row, anx_error *err);
/*
 * The input of training, with torchvision-basic's augmentation, in PyTorch's order or drawn independently, and nothing
 * behind it; PyTorch: DataLoader with as many workers as threads, none for one.
 */
anx_status bench_training_input(bench_context *context, int threads, bool independent, bench_row *row, anx_error *err);

/* What bench_train_process measures, to be run in a process of its own. */
anx_status bench_train_steps(const char *weights, const bench_engine *engine, int64_t batch, int64_t steps,
                             anx_error *err);

/* What bench_start measures, to be run in a process of its own: a forward pass of a grey image. */
anx_status bench_first_output(const char *weights, const bench_engine *engine, anx_error *err);

#endif
