/*
 * Inside the judge: one run's state, and the steps that judge.c strings together. Not for other folders.
 */
#ifndef ANX_PARITY_JUDGE_RUN_H
#define ANX_PARITY_JUDGE_RUN_H

#include "parity/judge.h"
#include "parity/metrics.h"

/* What is known of one node's output for one case. Arrays are (batch, out). */
typedef struct anx_judge_node {
    float *y32;       /* PyTorch's values */
    bool recorded;    /* ... recorded by PyTorch: in full, by a digest that was met, or following exactly from these */
    bool judged_bits; /* PyTorch's own bits may be demanded of a device that claims them */
    const float *e64; /* truth less y32, as recorded; NULL: y64 is computed when asked for */
    double *y64;      /* truth, once anx_judge_case_truth has run */
    float *gauge;     /* G, once anx_judge_case_gauge has run */
    float *limit;     /* softmax's bound per element, with gauge */
    float *operands;  /* s of shortened operands (operands.h), with gauge, where the judged device has such; NULL */
    double *skipped;  /* truth and gauge without the padding, once anx_judge_case_padding has run; NULL: the same */
    float *skipped_gauge;
    const anx_fixture_point *point; /* what the fixture holds of it, where it applies; NULL */
} anx_judge_node;

/* One input with all that is known about what PyTorch makes of it. */
typedef struct anx_judge_case {
    const char *name;                 /* for reports */
    const anx_fixture *fixture;       /* NULL: an image of the user's, or an input of our own */
    const anx_fixture_case *recorded; /* NULL where nothing recorded applies */
    const anx_fixture_match *match;   /* NULL likewise */
    bool forced;                      /* the fixture was asked for: compare even where the weights differ */
    anx_tensor input;                 /* float32 (N, C, H, W), owned */
    bool input_recorded;              /* ... PyTorch's, bit for bit */
    const anx_graph *graph;           /* of this input size */
    int64_t batch;
    anx_judge_node *nodes; /* graph->n_nodes */
} anx_judge_case;

/* Plans of one device for one input size and batch, made when first asked for. */
typedef struct anx_judge_plans {
    anx_plan *exact, *observe, *infer;
} anx_judge_plans;

typedef struct anx_judge_run {
    const anx_judge_options *options;
    anx_judge_preprocess preprocess;
    int threads;
    anx_verdicts *list;
    anx_checkpoint *checkpoint; /* owned; NULL where the caller gave a model */
    anx_model *model;           /* owned if checkpoint is */
    anx_device *judged;         /* NULL for a dump */
    bool owns_judged;
    anx_device_info info; /* the judged device's */
    anx_device *exact;
    anx_model *sized; /* the model at the current input size: `model`, or owned and another */
    int64_t batch;    /* current */
    anx_judge_plans plans;
    int64_t exact_checked, exact_differed; /* comparisons of exact with recordings */
} anx_judge_run;

/* Seconds of a clock that only goes forward. */
/* Is the point wanted? The logits' node is known by "logits" too. */
bool anx_judge_wants(const anx_judge_run *run, const anx_graph *graph, int node);
/* (float *) room for one batch of a node's output; OUT_OF_MEMORY. */
anx_status anx_judge_alloc(const anx_graph *graph, int node, int64_t batch, size_t elem_bytes, void *out,
                           anx_error *err);
/* A float32 view of one batch of a node's output. */
anx_tensor anx_judge_view(const anx_graph *graph, int node, int64_t batch, const float *data);

/* Makes (height, width, batch) current; plans of another are destroyed. */
anx_status anx_judge_resize(anx_judge_run *run, int64_t height, int64_t width, int64_t batch, anx_error *err);
/* The plan, made if need be, of the exact or the judged device at the current size. */
anx_status anx_judge_plan(anx_judge_run *run, anx_device *device, anx_plan_mode mode, anx_plan **slot, anx_error *err);
void anx_judge_drop_plans(anx_judge_run *run);

/*
 * Runs exact over the case node by node, holds it against what is recorded (adds the rows of ANX_PATH_EXACT) and
 * settles y32 of every node. The case's name, fixture, recorded, match, forced, input and input_recorded are set by
 * the caller; anx_judge_case_fini releases the rest and the input.
 */
anx_status anx_judge_case_prepare(anx_judge_run *run, anx_judge_case *c, anx_error *err);
void anx_judge_case_fini(anx_judge_case *c);
/* The rule that the judged device's arithmetic sets for a node. */
anx_rule anx_judge_rule(const anx_judge_run *run, const anx_graph *graph, int node);
/* The node's truth (recorded or computed from y32 of its input), and its gauge, limit and s; kept with the case. */
anx_status anx_judge_case_truth(anx_judge_run *run, anx_judge_case *c, int node, anx_error *err);
anx_status anx_judge_case_gauge(anx_judge_run *run, anx_judge_case *c, int node, anx_error *err);
/* The same with the padding left out where NaN or infinite weights meet it; asks for truth and gauge itself. */
anx_status anx_judge_case_padding(anx_judge_run *run, anx_judge_case *c, int node, anx_error *err);
/* y32 of a node, or the input's values for ANX_NODE_INPUT. */
const float *anx_judge_case_y32(const anx_judge_case *c, int node);
anx_basis anx_judge_case_basis(const anx_judge_case *c, int node);

/* Facts for the head of the report. */
anx_status anx_judge_describe_environment(anx_judge_run *run, anx_error *err);
anx_status anx_judge_describe_checkpoint(anx_judge_run *run, anx_error *err);
/* Also the row for a fixture that was asked for. cases_run of the added fact is raised by the caller. */
anx_status anx_judge_describe_fixture(anx_judge_run *run, const anx_fixture *fixture, const anx_fixture_match *match,
                                      bool asked, anx_error *err);

/* The paths. */
anx_status anx_judge_preprocessing(anx_judge_run *run, anx_error *err);
/* The input of an image file of the user's by the fast path, held against the stages: (3, crop, crop) floats. */
anx_status anx_judge_image_file(anx_judge_run *run, const char *path, const uint8_t *bytes, size_t n_bytes,
                                float *input, anx_error *err);
anx_status anx_judge_observe(anx_judge_run *run, anx_judge_case *c, anx_error *err);
anx_status anx_judge_infer(anx_judge_run *run, anx_judge_case *c, anx_error *err);
anx_status anx_judge_accumulated(anx_judge_run *run, anx_judge_case *c, anx_error *err);
anx_status anx_judge_probe(anx_judge_run *run, anx_error *err);
anx_status anx_judge_against(anx_judge_run *run, anx_error *err);
/* logits (batch, classes): the judged engine's, held beside y32 of the case's logits. */
anx_status anx_judge_result(anx_judge_run *run, anx_judge_case *c, const float *logits, anx_error *err);

#endif
