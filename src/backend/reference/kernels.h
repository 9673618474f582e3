/*
 * Inside the reference backend: one node's work, checked and unpacked, and the functions that do it.
 *
 * Everything is computed in double with separate multiplications and additions in a fixed order, so the results are
 * the same bits on every machine, with every instruction set and number of threads. The product of two float32
 * numbers is exact in double; only the additions round.
 */
#ifndef ANX_SRC_BACKEND_REFERENCE_KERNELS_H
#define ANX_SRC_BACKEND_REFERENCE_KERNELS_H

#include "src/model/graph.h"

/* The instruction sets the multiplying loops are built for; the arithmetic and its order are the same in each. */
typedef enum anx_reference_isa {
    ANX_REFERENCE_PORTABLE = 0,
    ANX_REFERENCE_AVX2,
    ANX_REFERENCE_AVX512
} anx_reference_isa;
/* The best one this CPU has. */
anx_reference_isa anx_reference_best_isa(void);

typedef struct anx_reference_job {
    const anx_node *node;
    int64_t batch;
    const float *x32; /* the input, (N, C, H, W) or (N, F): one of x32 and x64 is set */
    const double *x64;
    const float *weight; /* (OC, IC/groups, KH, KW) or (out, in); NULL where the node has none */
    const float *bias;   /* (OC) or (out), or NULL */
    double *y;           /* the result, or NULL where the gauge is wanted: */
    float *gauge;        /* the same sums over absolute values, rounded to float32 */
    int threads;
    anx_reference_isa isa; /* one this CPU has: anx_reference_best_isa() or a lesser one */
} anx_reference_job;

/* CONV2D: sum over the kernel's taps plus the bias. Errors: OUT_OF_MEMORY. */
anx_status anx_reference_conv2d(const anx_reference_job *job, anx_error *err);
/* LINEAR: x W^T + b. Reads the weights where they lie. Errors: OUT_OF_MEMORY. */
anx_status anx_reference_linear(const anx_reference_job *job, anx_error *err);
/* ADAPTIVE_AVG_POOL2D: the mean of each window. */
void anx_reference_adaptive_avg_pool2d(const anx_reference_job *job);
/* MAX_POOL2D: the first maximum of each window; a NaN wins. Job must want y. */
void anx_reference_max_pool2d(const anx_reference_job *job);

/* Element i of the job's input. */
static inline double anx_reference_input(const anx_reference_job *job, int64_t i) {
    return job->x64 != NULL ? job->x64[i] : (double)job->x32[i];
}

/* Stores element i of the job's output. */
static inline void anx_reference_output(const anx_reference_job *job, int64_t i, double value) {
    if (job->y != NULL)
        job->y[i] = value;
    else
        job->gauge[i] = (float)value;
}

#endif
