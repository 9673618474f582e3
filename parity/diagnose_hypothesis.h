/* Hypotheses about what an engine computed instead, and one element worked out under one. For parity/diagnose*.c. */
#ifndef ANX_PARITY_DIAGNOSE_HYPOTHESIS_H
#define ANX_PARITY_DIAGNOSE_HYPOTHESIS_H

#include "parity/diagnose_inside.h"

typedef float (*anx_rounding)(float);

typedef enum anx_kernel_change { KERNEL_AS_IS = 0, KERNEL_FLIPPED, KERNEL_TRANSPOSED } anx_kernel_change;

/* Which input channels the outputs of a group read. */
typedef enum anx_group_rule {
    GROUPS_RIGHT = 0,
    GROUPS_NEXT,          /* those of the next group */
    GROUPS_BEFORE,        /* those of the group before */
    GROUPS_FIRST,         /* the first group's, whichever it is */
    GROUPS_INPUTS_WOVEN,  /* every groups-th channel */
    GROUPS_OUTPUTS_WOVEN, /* output c belongs to group c mod groups */
} anx_group_rule;

/* Where the windows of an adaptive average lie. */
typedef enum anx_window_rule {
    WINDOWS_RIGHT = 0,
    WINDOWS_END_EARLY, /* each ends at floor((i+1) H / OH) */
    WINDOWS_OF_ONE_SIZE,
} anx_window_rule;

/* What is done otherwise than PyTorch does it. All zero: nothing. */
typedef struct anx_hypothesis {
    const char *id, *text;
    anx_rounding input, weight; /* NULL: as they are */
    double int8_levels;         /* weights in steps of so many to the largest; 0: as they are */
    bool int8_per_output;       /* ... the largest of each output's, not of all */
    double int8_step;           /* of the whole tensor, where not per output */
    int bias_change;            /* so many times the bias more: -1 none is added */
    int bias_shift;             /* the bias of the output so many further on */
    int shift_y, shift_x;       /* the input is read so far off */
    bool replicate;             /* padding repeats the border instead of zeros */
    anx_kernel_change kernel;
    anx_group_rule groups;
    anx_window_rule windows;
    bool channels_reversed;   /* input channels last to first (RGB as BGR) */
    int channels_turned;      /* the weights of each input channel on the one so many further on */
    int64_t swapped[2];       /* input channels (planes, where they were flattened) in each other's place */
    int64_t missing_end;      /* 1 + the input channel that is left out; 0: none */
    bool channels_last_input; /* a flattened input in (H, W, C) order */
    bool next_weights;        /* the weights of the next output */
    bool weights_in_out;      /* a linear layer's weights in memory read as (in, out) */
    bool skip_relu;
    int stride_change, dilation_change;
    int window_change; /* max-pool: so many rows and columns more */
    bool average;      /* max-pool: the mean instead */
    double leak;       /* ReLU: slope below 0 */
} anx_hypothesis;

/* Can every node of the suspect's group be worked out? */
bool anx_diagnose_can_evaluate(const anx_suspect *s);
/* Element `flat` of the suspect's output under the hypothesis. */
double anx_diagnose_evaluate(const anx_suspect *s, const anx_hypothesis *h, int64_t flat);

/* A channel of a node's input: a plane, also where planes were flattened, otherwise a feature. */
typedef struct anx_channels {
    int64_t n, each; /* channels of one group, elements of each */
} anx_channels;

anx_channels anx_diagnose_channels(const anx_graph *graph, int node);

/* Up to ANX_SAMPLE elements of the output, wrong and right ones. */
enum { ANX_SAMPLE = 96 };

typedef struct anx_sample {
    int64_t at[ANX_SAMPLE];
    int n;
} anx_sample;

/* The share of the sample that the hypothesis explains. */
double anx_diagnose_explains(const anx_suspect *s, const anx_hypothesis *h, const anx_sample *sample);
/* Adds the hypothesis to the causes where it explains enough. Errors: OUT_OF_MEMORY. */
anx_status anx_diagnose_try(const anx_suspect *s, const anx_hypothesis *h, const anx_sample *sample, anx_judged *judged,
                            anx_error *err);

/* Input channels exchanged or left out, found by what each contributes to the sampled sums. Errors: OUT_OF_MEMORY. */
anx_status anx_diagnose_search_channels(const anx_suspect *s, const anx_sample *sample, anx_judged *judged,
                                        anx_error *err);

#endif
