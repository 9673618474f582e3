/* cuDNN's softmax and its logarithm. */
#include <math.h>
#include <stdlib.h>

#include "tests/fakecuda/cudnn.h"
#include "tests/fakecuda/kernels/precision.h"

typedef struct softmax {
    dnn_operand x, y, dy, dx;
    float alpha, beta;
    unsigned algorithm, mode;
} softmax;

enum { SOFTMAX_FAST = 0, SOFTMAX_LOG = 2, SOFTMAX_CHANNEL = 1 };

/* So many vectors, each of so many elements that lie so far apart: a packed tensor under one of the two modes. */
typedef struct vectors {
    long outer, inner, length; /* element k of vector (o, i) is at (o * length + k) * inner + i */
} vectors;

static vectors vectors_of(const dnn_operand *x, unsigned mode) {
    const long plane = (long)x->n[2] * x->n[3];
    if (mode == SOFTMAX_CHANNEL) return (vectors){x->n[0], plane, x->n[1]};
    return (vectors){x->n[0], 1, x->n[1] * plane};
}

static void normalize(const float *x, float *y, long n, long step, unsigned algorithm) {
    float largest = algorithm == SOFTMAX_FAST ? 0.0f : -INFINITY;
    for (long i = 0; i < n && algorithm != SOFTMAX_FAST; i++)
        if (x[i * step] > largest || x[i * step] != x[i * step]) largest = x[i * step];
    float sum = 0.0f;
    for (long i = 0; i < n; i++) sum += expf(x[i * step] - largest);
    for (long i = 0; i < n; i++)
        y[i * step] = algorithm == SOFTMAX_LOG ? x[i * step] - largest - logf(sum) : expf(x[i * step] - largest) / sum;
}

static void run_softmax(const void *arguments) {
    const softmax *l = arguments;
    float *own;
    const float *x = dnn_packed(&l->x, &own);
    float *r = fake_floats(dnn_count(l->x.n));
    const vectors v = vectors_of(&l->x, l->mode);
    for (long o = 0; o < v.outer; o++)
        for (long i = 0; i < v.inner; i++) {
            const long at = o * v.length * v.inner + i;
            normalize(x + at, r + at, v.length, v.inner, l->algorithm);
        }
    free(own);
    dnn_blend(&l->y, l->alpha, r, l->beta);
    free(r);
}

unsigned cudnnSoftmaxForward(struct cudnnContext *h, unsigned algo, unsigned mode, const void *alpha,
                             struct cudnnTensorStruct *const xd, const void *x, const void *beta,
                             struct cudnnTensorStruct *const yd, void *y) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %u, %u, %s, %s, %s, %s", fake_name(h), algo, mode, fake_name(xd), fake_name(x), fake_name(yd),
               fake_name(y));
    DNN_HANDLE(h, DNN_EXECUTION_FAILED);
    DNN_TENSOR(x_tensor, xd);
    DNN_TENSOR(y_tensor, yd);
    DNN_NEED(alpha);
    DNN_NEED(beta);
    DNN_NEED(x);
    DNN_NEED(y);
    if (algo > SOFTMAX_LOG || mode > SOFTMAX_CHANNEL) return DNN_BAD_PARAM;
    DNN_CHECK_FLOATS(x_tensor);
    DNN_CHECK_FLOATS(y_tensor);
    if (!dnn_same_extents(x_tensor, y_tensor)) return DNN_BAD_PARAM;
    const softmax l = {.x = dnn_operand_of(x_tensor, x),
                       .y = dnn_operand_of(y_tensor, y),
                       .alpha = fake_scalar(call.name, alpha),
                       .beta = fake_scalar(call.name, beta),
                       .algorithm = algo,
                       .mode = mode};
    fake_work work;
    dnn_begin(&work, &call, handle);
    dnn_touches(&work, &l.x, FAKE_READ | FAKE_IN_PLACE);
    dnn_result(&work, &l.y, l.beta);
    return dnn_launch(&work, run_softmax, &l, sizeof l);
}

static void differentiate(const float *y, const float *dy, float *dx, long n, long step, unsigned algorithm) {
    float sum = 0.0f;
    for (long i = 0; i < n; i++) sum += algorithm == SOFTMAX_LOG ? dy[i * step] : dy[i * step] * y[i * step];
    for (long i = 0; i < n; i++)
        dx[i * step] =
            algorithm == SOFTMAX_LOG ? dy[i * step] - expf(y[i * step]) * sum : y[i * step] * (dy[i * step] - sum);
}

static void run_softmax_backward(const void *arguments) {
    const softmax *l = arguments;
    float *own_y, *own_dy;
    const float *y = dnn_packed(&l->y, &own_y), *dy = dnn_packed(&l->dy, &own_dy);
    float *r = fake_floats(dnn_count(l->y.n));
    const vectors v = vectors_of(&l->y, l->mode);
    for (long o = 0; o < v.outer; o++)
        for (long i = 0; i < v.inner; i++) {
            const long at = o * v.length * v.inner + i;
            differentiate(y + at, dy + at, r + at, v.length, v.inner, l->algorithm);
        }
    free(own_y);
    free(own_dy);
    dnn_blend(&l->dx, l->alpha, r, l->beta);
    free(r);
}

unsigned cudnnSoftmaxBackward(struct cudnnContext *h, unsigned algo, unsigned mode, const void *alpha,
                              struct cudnnTensorStruct *const yd, const void *y, struct cudnnTensorStruct *const dyd,
                              const void *dy, const void *beta, struct cudnnTensorStruct *const dxd, void *dx) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %u, %u, %s, %s, %s, %s, %s, %s", fake_name(h), algo, mode, fake_name(yd), fake_name(y),
               fake_name(dyd), fake_name(dy), fake_name(dxd), fake_name(dx));
    DNN_HANDLE(h, DNN_EXECUTION_FAILED);
    DNN_TENSOR(y_tensor, yd);
    DNN_TENSOR(dy_tensor, dyd);
    DNN_TENSOR(dx_tensor, dxd);
    DNN_NEED(alpha);
    DNN_NEED(beta);
    DNN_NEED(y);
    DNN_NEED(dy);
    DNN_NEED(dx);
    if (algo > SOFTMAX_LOG || mode > SOFTMAX_CHANNEL) return DNN_BAD_PARAM;
    DNN_CHECK_FLOATS(y_tensor);
    DNN_CHECK_FLOATS(dy_tensor);
    DNN_CHECK_FLOATS(dx_tensor);
    if (!dnn_same_extents(y_tensor, dy_tensor) || !dnn_same_extents(y_tensor, dx_tensor)) return DNN_BAD_PARAM;
    const softmax l = {.y = dnn_operand_of(y_tensor, y),
                       .dy = dnn_operand_of(dy_tensor, dy),
                       .dx = dnn_operand_of(dx_tensor, dx),
                       .alpha = fake_scalar(call.name, alpha),
                       .beta = fake_scalar(call.name, beta),
                       .algorithm = algo,
                       .mode = mode};
    fake_work work;
    dnn_begin(&work, &call, handle);
    dnn_touches(&work, &l.y, FAKE_READ);
    dnn_touches(&work, &l.dy, FAKE_READ | FAKE_IN_PLACE);
    dnn_result(&work, &l.dx, l.beta);
    return dnn_launch(&work, run_softmax_backward, &l, sizeof l);
}
