/*
 * Inside the reference backend: one node's work, checked and unpacked, and the functions that do it.
 *
 * Everything is computed in double with separate multiplications and additions in a fixed order, so the results are
 * the same bits on every machine, with every instruction set and number of threads. The product of two float32
 * numbers is exact in double; only the additions round.
 */
#ifndef ANX_SRC_BACKEND_REFERENCE_KERNELS_H
#define ANX_SRC_BACKEND_REFERENCE_KERNELS_H

#include "src/base/isa.h"
#include "src/model/graph.h"

typedef struct anx_reference_job {
    const anx_node *node;
    int64_t batch;
    const float *x32; /* the input, (N, C, H, W) or (N, F): one of x32 and x64 is set */
    const double *x64;
    const float *weight; /* (OC, IC/groups, KH, KW) or (out, in); NULL where the node has none */
    const float *bias;   /* (OC) or (out), or NULL */
    const double *mask;  /* DROPOUT: what each element is multiplied by; NULL: nothing */
    int64_t *argmax;     /* MAX_POOL2D: gets the winners' indices into the H*W input plane; NULL: not wanted */
    double *y;           /* the result, or NULL where the gauge is wanted: */
    float *gauge;        /* the same sums over absolute values, rounded to float32 */
    int threads;
    anx_isa isa; /* anx_isa_best() or a lesser one: the arithmetic and its order are the same */
} anx_reference_job;

/* One node of any kind. Errors: OUT_OF_MEMORY, UNSUPPORTED (an operation without a kernel). */
anx_status anx_reference_run(const anx_reference_job *job, anx_error *err);

/* CONV2D: sum over the kernel's taps plus the bias. Errors: OUT_OF_MEMORY. */
anx_status anx_reference_conv2d(const anx_reference_job *job, anx_error *err);
/* LINEAR: x W^T + b. Reads the weights where they lie. Errors: OUT_OF_MEMORY. */
anx_status anx_reference_linear(const anx_reference_job *job, anx_error *err);
/* ADAPTIVE_AVG_POOL2D: the mean of each window. */
void anx_reference_adaptive_avg_pool2d(const anx_reference_job *job);
/* MAX_POOL2D: the first maximum of each window; a NaN wins. Job must want y. */
void anx_reference_max_pool2d(const anx_reference_job *job);

/*
 * The way back through one node: from dy, the gradient of the loss by its output, to those by its input and
 * parameters. All in double; each result is overwritten, or NULL where it is not wanted. With the absolute values of
 * x, dy and the weights it computes the gauges of the results (softmax, which subtracts, excepted).
 */
typedef struct anx_reference_back_job {
    const anx_node *node;
    int64_t batch;
    const double *x, *y; /* the node's input and output */
    const double *dy;
    const double *mask;    /* DROPOUT */
    const int64_t *argmax; /* MAX_POOL2D */
    const float *weight;   /* CONV2D, LINEAR */
    double *dx, *dweight, *dbias;
    int threads;
    anx_isa isa;
} anx_reference_back_job;

/* One node of any kind. Errors: OUT_OF_MEMORY, UNSUPPORTED (an operation without a kernel). */
anx_status anx_reference_run_back(const anx_reference_back_job *job, anx_error *err);

/* CONV2D. Zeros stand for the padding and are multiplied like any number. Errors: OUT_OF_MEMORY. */
anx_status anx_reference_conv2d_back(const anx_reference_back_job *job, anx_error *err);
void anx_reference_linear_back(const anx_reference_back_job *job);
/* MAX_POOL2D: each dy is added to its window's winner, in the order of the output. */
void anx_reference_max_pool2d_back(const anx_reference_back_job *job);
/* ADAPTIVE_AVG_POOL2D: each dy divided by its window's height, then its width, is added to the window's elements. */
void anx_reference_adaptive_avg_pool2d_back(const anx_reference_back_job *job);

/*
 * C = A B or C += A B, C of rows x columns: each element one chain of separate products and additions over k
 * ascending, that starts at 0 or, with add, at the element's value.
 */
typedef struct anx_reference_product {
    int64_t rows, columns, depth;
    const double *a; /* A(i, k) = a[i * a_row + k * a_step] */
    int64_t a_row, a_step;
    const double *b64; /* B(k, j) = b[k * b_step + j]: one of b64 and b32 is set */
    const float *b32;
    int64_t b_step;
    double *c; /* C(i, j) = c[i * c_row + j]; overlaps neither A nor B */
    int64_t c_row;
    bool add;
    int threads;
    anx_isa isa;
} anx_reference_product;
void anx_reference_multiply(const anx_reference_product *product);

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
