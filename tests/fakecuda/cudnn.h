/* What the parts of the double's cuDNN share. */
#ifndef ANX_TESTS_FAKECUDA_CUDNN_H
#define ANX_TESTS_FAKECUDA_CUDNN_H

#include "tests/fakecuda/core/call.h"
#include "tests/fakecuda/core/memory.h"
#include "tests/fakecuda/core/report.h"
#include "tests/fakecuda/core/work.h"
#include "tests/fakecuda/exports.h"
#include "tests/fakecuda/generation.h"

/* ---- at the beginning of a call ------------------------------------------------------------------------------------
 */

/* Fails on request. */
#define DNN_INJECT(typical)                                                                                            \
    do {                                                                                                               \
        const unsigned injected_ = fake_injected(call.name, (typical));                                                \
        if (injected_ != 0) return injected_;                                                                          \
    } while (0)

/* After it `handle` is the handle; the device works. */
#define DNN_HANDLE(h, typical)                                                                                         \
    if ((h) == NULL) return DNN_BAD_PARAM;                                                                             \
    fake_object *handle = fake_object_here(call.name, (h), FAKE_DNN);                                                  \
    DNN_INJECT(typical);                                                                                               \
    if (fake_device_error() != 0) return DNN_EXECUTION_FAILED

/* After it `variable` is the descriptor's content. */
#define DNN_DESCRIPTOR(member, KIND, variable, pointer)                                                                \
    if ((pointer) == NULL) return DNN_BAD_PARAM;                                                                       \
    fake_##member *variable = &fake_object_get(call.name, (pointer), KIND)->member

#define DNN_TENSOR(variable, pointer) DNN_DESCRIPTOR(tensor, FAKE_TENSOR, variable, pointer)

/* ---- tensors of floats ---------------------------------------------------------------------------------------------
 */

/* A tensor as a piece of work needs it: its place and its layout, in elements. */
typedef struct dnn_operand {
    const float *p;
    int n[4], stride[4];
    bool packed;
} dnn_operand;

dnn_operand dnn_operand_of(const fake_tensor *t, const void *p);
size_t dnn_count(const int *n);
bool dnn_same_extents(const fake_tensor *a, const fake_tensor *b);
/* Set, of floats and without negative strides; DNN_BAD_PARAM or DNN_NOT_SUPPORTED where that is not so. */
unsigned dnn_check_floats(const fake_tensor *t);

static inline long dnn_at(const dnn_operand *o, int n, int c, int h, int w) {
    return (long)n * o->stride[0] + (long)c * o->stride[1] + (long)h * o->stride[2] + (long)w * o->stride[3];
}

/* Its elements without gaps; *own: what to free, or NULL. */
const float *dnn_packed(const dnn_operand *o, float **own);
/* y = alpha r + beta y, r without gaps. beta = 0: y is not read. */
void dnn_blend(const dnn_operand *y, float alpha, const float *r, float beta);

void dnn_begin(fake_work *work, const fake_call *call, const fake_object *handle);
void dnn_touches(fake_work *work, const dnn_operand *o, unsigned access);
/* What is written, and read first unless beta is 0. */
void dnn_result(fake_work *work, const dnn_operand *o, float beta);
unsigned dnn_launch(fake_work *work, fake_run *run, const void *arguments, size_t bytes);

/* ---- convolutions
 * ---------------------------------------------------------------------------------------------------- */

/* The extents of what a convolution makes; DNN_BAD_PARAM where nothing is left. */
unsigned dnn_convolution_output(const fake_convolution *c, const fake_tensor *x, const fake_filter *w, int *y);
unsigned dnn_pooling_output(const fake_pooling *p, const fake_tensor *x, int *y);

#endif
