/* cuDNN's activations, of which the double computes ReLU. */
#include <stdlib.h>

#include "tests/fakecuda/cudnn.h"
#include "tests/fakecuda/kernels/precision.h"

typedef struct relu {
    dnn_operand x, y, dy, dx;
    float alpha, beta;
    unsigned nan;
} relu;

static unsigned check_activation(const char *function, const fake_activation *a) {
    if (!a->set || a->mode == ANX_CU_IDENTITY) return DNN_BAD_PARAM;
    if (a->mode != ANX_CU_RELU) fake_misuse(function, "the double does not compute activation %u", a->mode);
    return 0;
}

static void run_relu(const void *arguments) {
    const relu *l = arguments;
    float *own;
    const float *x = dnn_packed(&l->x, &own);
    const size_t count = dnn_count(l->x.n);
    const bool propagate = l->nan == ANX_CU_PROPAGATE_NAN;
    float *r = fake_floats(count);
#pragma omp parallel for
    for (size_t i = 0; i < count; i++) r[i] = x[i] != x[i] ? (propagate ? x[i] : 0.0f) : x[i] < 0.0f ? 0.0f : x[i];
    free(own);
    dnn_blend(&l->y, l->alpha, r, l->beta);
    free(r);
}

unsigned cudnnActivationForward(struct cudnnContext *h, struct cudnnActivationStruct *d, const void *alpha,
                                struct cudnnTensorStruct *const xd, const void *x, const void *beta,
                                struct cudnnTensorStruct *const yd, void *y) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %s, %s, %s, %s, %s", fake_name(h), fake_name(d), fake_name(xd), fake_name(x), fake_name(yd),
               fake_name(y));
    DNN_HANDLE(h, DNN_EXECUTION_FAILED);
    DNN_DESCRIPTOR(activation, FAKE_ACTIVATION, activation, d);
    DNN_TENSOR(x_tensor, xd);
    DNN_TENSOR(y_tensor, yd);
    DNN_NEED(alpha);
    DNN_NEED(beta);
    DNN_NEED(x);
    DNN_NEED(y);
    DNN_CHECK_FLOATS(x_tensor);
    DNN_CHECK_FLOATS(y_tensor);
    if (!dnn_same_extents(x_tensor, y_tensor)) return DNN_BAD_PARAM;
    const unsigned status = check_activation(call.name, activation);
    if (status != 0) return status;
    const relu l = {.x = dnn_operand_of(x_tensor, x),
                    .y = dnn_operand_of(y_tensor, y),
                    .alpha = fake_scalar(call.name, alpha),
                    .beta = fake_scalar(call.name, beta),
                    .nan = activation->nan};
    fake_work work;
    dnn_begin(&work, &call, handle);
    dnn_touches(&work, &l.x, FAKE_READ | FAKE_IN_PLACE);
    dnn_result(&work, &l.y, l.beta);
    return dnn_launch(&work, run_relu, &l, sizeof l);
}

static void run_relu_backward(const void *arguments) {
    const relu *l = arguments;
    float *own_y, *own_dy;
    const float *y = dnn_packed(&l->y, &own_y), *dy = dnn_packed(&l->dy, &own_dy);
    const size_t count = dnn_count(l->y.n);
    float *r = fake_floats(count);
#pragma omp parallel for
    for (size_t i = 0; i < count; i++) r[i] = y[i] <= 0.0f ? 0.0f : dy[i];
    free(own_y);
    free(own_dy);
    dnn_blend(&l->dx, l->alpha, r, l->beta);
    free(r);
}

unsigned cudnnActivationBackward(struct cudnnContext *h, struct cudnnActivationStruct *d, const void *alpha,
                                 struct cudnnTensorStruct *const yd, const void *y, struct cudnnTensorStruct *const dyd,
                                 const void *dy, struct cudnnTensorStruct *const xd, const void *x, const void *beta,
                                 struct cudnnTensorStruct *const dxd, void *dx) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %s, %s, %s, %s, %s, %s, %s, %s, %s", fake_name(h), fake_name(d), fake_name(yd), fake_name(y),
               fake_name(dyd), fake_name(dy), fake_name(xd), fake_name(x), fake_name(dxd), fake_name(dx));
    DNN_HANDLE(h, DNN_EXECUTION_FAILED);
    DNN_DESCRIPTOR(activation, FAKE_ACTIVATION, activation, d);
    DNN_TENSOR(y_tensor, yd);
    DNN_TENSOR(dy_tensor, dyd);
    DNN_TENSOR(x_tensor, xd);
    DNN_TENSOR(dx_tensor, dxd);
    DNN_NEED(alpha);
    DNN_NEED(beta);
    DNN_NEED(x);
    DNN_NEED(y);
    DNN_NEED(dy);
    DNN_NEED(dx);
    DNN_CHECK_FLOATS(y_tensor);
    DNN_CHECK_FLOATS(dy_tensor);
    DNN_CHECK_FLOATS(x_tensor);
    DNN_CHECK_FLOATS(dx_tensor);
    if (!dnn_same_extents(y_tensor, dy_tensor) || !dnn_same_extents(y_tensor, x_tensor) ||
        !dnn_same_extents(y_tensor, dx_tensor))
        return DNN_BAD_PARAM;
    const unsigned status = check_activation(call.name, activation);
    if (status != 0) return status;
    const relu l = {.x = dnn_operand_of(x_tensor, x),
                    .y = dnn_operand_of(y_tensor, y),
                    .dy = dnn_operand_of(dy_tensor, dy),
                    .dx = dnn_operand_of(dx_tensor, dx),
                    .alpha = fake_scalar(call.name, alpha),
                    .beta = fake_scalar(call.name, beta),
                    .nan = activation->nan};
    fake_work work;
    dnn_begin(&work, &call, handle);
    dnn_touches(&work, &l.y, FAKE_READ);
    dnn_touches(&work, &l.dy, FAKE_READ | FAKE_IN_PLACE);
    dnn_touches(&work, &l.x, FAKE_READ);
    dnn_result(&work, &l.dx, l.beta);
    return dnn_launch(&work, run_relu_backward, &l, sizeof l);
}
