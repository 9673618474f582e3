/* cuDNN's sums and copies of tensors. */
#include <stdlib.h>

#include "tests/fakecuda/cudnn.h"

/* y = alpha x + beta y, x spread where it is smaller. */
typedef struct sum {
    dnn_operand x, y;
    float alpha, beta;
} sum;

static void run_add(const void *arguments) {
    const sum *l = arguments;
    const dnn_operand *a = &l->x, *c = &l->y;
    const float *from = fake_bytes(a->p);
    float *to = fake_bytes(c->p);
    for (int n = 0; n < c->n[0]; n++)
#pragma omp parallel for
        for (int k = 0; k < c->n[1]; k++)
            for (int h = 0; h < c->n[2]; h++)
                for (int w = 0; w < c->n[3]; w++) {
                    const float more = l->alpha * from[dnn_at(a, a->n[0] == 1 ? 0 : n, a->n[1] == 1 ? 0 : k,
                                                              a->n[2] == 1 ? 0 : h, a->n[3] == 1 ? 0 : w)];
                    float *at = &to[dnn_at(c, n, k, h, w)];
                    *at = l->beta == 0.0f ? more : more + l->beta * *at;
                }
}

unsigned cudnnAddTensor(struct cudnnContext *h, const void *alpha, struct cudnnTensorStruct *const ad, const void *A,
                        const void *beta, struct cudnnTensorStruct *const cd, void *C) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %s, %s, %s, %s", fake_name(h), fake_name(ad), fake_name(A), fake_name(cd), fake_name(C));
    DNN_HANDLE(h, DNN_EXECUTION_FAILED);
    DNN_TENSOR(a, ad);
    DNN_TENSOR(c, cd);
    DNN_NEED(alpha);
    DNN_NEED(beta);
    DNN_NEED(A);
    DNN_NEED(C);
    DNN_CHECK_FLOATS(a);
    DNN_CHECK_FLOATS(c);
    for (int i = 0; i < 4; i++)
        if (a->n[i] != 1 && a->n[i] != c->n[i]) return DNN_BAD_PARAM;
    const sum l = {.x = dnn_operand_of(a, A),
                   .y = dnn_operand_of(c, C),
                   .alpha = fake_scalar(call.name, alpha),
                   .beta = fake_scalar(call.name, beta)};
    fake_work work;
    dnn_begin(&work, &call, handle);
    dnn_touches(&work, &l.x, FAKE_READ);
    dnn_result(&work, &l.y, l.beta);
    return dnn_launch(&work, run_add, &l, sizeof l);
}

static void run_transform(const void *arguments) {
    const sum *l = arguments;
    float *own;
    const float *x = dnn_packed(&l->x, &own);
    dnn_blend(&l->y, l->alpha, x, l->beta);
    free(own);
}

unsigned cudnnTransformTensor(struct cudnnContext *h, const void *alpha, struct cudnnTensorStruct *const xd,
                              const void *x, const void *beta, struct cudnnTensorStruct *const yd, void *y) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %s, %s, %s, %s", fake_name(h), fake_name(xd), fake_name(x), fake_name(yd), fake_name(y));
    DNN_HANDLE(h, DNN_EXECUTION_FAILED);
    DNN_TENSOR(x_tensor, xd);
    DNN_TENSOR(y_tensor, yd);
    DNN_NEED(alpha);
    DNN_NEED(beta);
    DNN_NEED(x);
    DNN_NEED(y);
    DNN_CHECK_FLOATS(x_tensor);
    DNN_CHECK_FLOATS(y_tensor);
    if (!dnn_same_extents(x_tensor, y_tensor)) return DNN_BAD_PARAM;
    const sum l = {.x = dnn_operand_of(x_tensor, x),
                   .y = dnn_operand_of(y_tensor, y),
                   .alpha = fake_scalar(call.name, alpha),
                   .beta = fake_scalar(call.name, beta)};
    fake_work work;
    dnn_begin(&work, &call, handle);
    dnn_touches(&work, &l.x, FAKE_READ);
    dnn_result(&work, &l.y, l.beta);
    return dnn_launch(&work, run_transform, &l, sizeof l);
}
