/*
 * A float32 engine of plain loops, with two things to turn: the order in which a sum's terms are added and the
 * precision they are held in, and one fault. Correct engines add in very different orders; the judge must accept each.
 * Wrong ones have one fault; the judge must find it.
 */
#ifndef ANX_TESTS_FAULTS_PLAIN_H
#define ANX_TESTS_FAULTS_PLAIN_H

#include "src/model/graph.h"

/* ---- sums ----------------------------------------------------------------------------------------------- */

typedef enum plain_order {
    ORDER_SEQUENTIAL = 0,
    ORDER_FMA,        /* sequential, each step one fused multiply-add */
    ORDER_BIAS_FIRST, /* sequential from the bias */
    ORDER_REVERSED,
    ORDER_PERMUTED,      /* the same random permutation for every sum of a length */
    ORDER_CHANNELS_LAST, /* (kh, kw, c) */
    ORDER_PAIRWISE,
    ORDER_LANES,  /* `width` partial sums, term k into k mod width, combined by halving */
    ORDER_BLOCKS, /* partial sums of `width` neighbouring terms, added in order */
    ORDER_DOUBLE, /* sequential in double, rounded once */
    ORDER_TILES   /* Winograd's F(width x width, 3x3), width 2, 4 or 6, where it applies: 3x3, stride 1, one group */
} plain_order;

typedef enum plain_format { FORMAT_F32 = 0, FORMAT_TF32, FORMAT_F16, FORMAT_BF16, FORMAT_TF32_CUT } plain_format;

typedef struct plain_sum {
    plain_order order;
    int width;         /* of ORDER_LANES (a power of two), ORDER_BLOCKS, ORDER_TILES */
    plain_format x, w; /* operands are rounded to it first, to nearest even (ORDER_TILES: the transformed ones) */
    plain_format accumulator; /* each partial sum is rounded to it */
    bool truncate;            /* partial sums are cut off (towards zero), not rounded, at 24 bits */
    bool skips_padding;       /* weights over the padding are left out, not multiplied with its zeros */
} plain_sum;

/* v rounded to the format, to nearest even or (.._CUT) towards zero. */
float plain_round(float v, plain_format format);

/* ---- faults --------------------------------------------------------------------------------------------- */

typedef enum fault_kind {
    FAULT_NONE = 0,
    FAULT_SUM, /* the fault's plain_sum is all that is wrong */

    /* where a window lies, and what it covers */
    FAULT_PADDING,           /* one less than asked for: every window one row and column further down and right */
    FAULT_PADDING_EDGE,      /* the border's values instead of zeros */
    FAULT_STRIDE,            /* one less */
    FAULT_DILATION,          /* one more */
    FAULT_KERNEL_FLIPPED,    /* convolution in the mathematicians' sense */
    FAULT_KERNEL_TRANSPOSED, /* (kw, kh) */
    FAULT_GROUP_OTHER,       /* each group reads the next one's channels */
    FAULT_GROUP_FIRST,       /* each group reads the first one's channels */
    FAULT_GROUP_WOVEN,       /* each group reads every groups-th channel */
    FAULT_POOL_SMALL,        /* window one smaller */
    FAULT_POOL_FLOOR,        /* ceil_mode ignored: the last row and column are never computed */
    FAULT_POOL_AVERAGE,      /* mean for maximum */
    FAULT_WINDOW_END,        /* adaptive windows end at floor((i+1) H / OH) */
    FAULT_WINDOW_FIXED,      /* adaptive windows of one size, H - (OH-1) stride, stride = floor(H / OH) */

    /* what is multiplied */
    FAULT_BIAS_DROPPED,
    FAULT_BIAS_DROPPED_ONE, /* of channel a */
    FAULT_BIAS_TWICE,
    FAULT_WEIGHT_ZEROED, /* weight a */
    FAULT_WEIGHTS_INT8,  /* 255 steps over the whole tensor, or (a != 0) over each output's weights */
    FAULT_WEIGHT_LAYOUT, /* W (out, in) read as (in, out) */
    FAULT_ROWS_SWAPPED,  /* rows (output channels) a and b of the weights, the biases too */
    FAULT_INPUT_SWAPPED, /* input channels a and b */
    FAULT_INPUT_MISSING, /* input channel a */

    /* elementwise */
    FAULT_RELU_SKIPPED,
    FAULT_RELU_LEAKY, /* 0.01 x below zero */
    FAULT_DROPOUT_ACTIVE,
    FAULT_FLATTEN_HWC,
    FAULT_SOFTMAX_BASE_2,
    FAULT_SOFTMAX_TEMPERATURE, /* of 1.1 */

    /* what is stored */
    FAULT_OUTPUT_INT8, /* 255 steps over the largest magnitude of the batch */
    FAULT_OUTPUT_BF16,
    FAULT_ROW_STALE,       /* the last row of each plane is the one before it */
    FAULT_IMAGE_STALE,     /* the last image of the batch is the first one */
    FAULT_CHANNELS_LOST,   /* those from 16 on are zero */
    FAULT_CHANNEL_SHIFTED, /* every plane one column to the right */
} fault_kind;

typedef struct plain_fault {
    fault_kind kind;
    int a, b;
    plain_sum sum;
} plain_fault;

/*
 * Node `node` for a batch: x (N, ...), weight and bias (NULL where it has none), y (N, ...), all float32. fault may be
 * NULL; sum is used unless the fault brings its own (FAULT_SUM).
 */
void plain_node(const anx_graph *graph, int node, int64_t batch, const plain_sum *sum, const plain_fault *fault,
                const float *x, const float *weight, const float *bias, float *y);

#endif
