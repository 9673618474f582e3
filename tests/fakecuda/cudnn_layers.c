/* cuDNN's other layers: sums, copies, activations, pooling, softmax, dropout. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fakecuda/cudnn.h"
#include "tests/fakecuda/kernels/precision.h"

#define CHECK_FLOATS(tensor)                                                                                           \
    do {                                                                                                               \
        const unsigned status_ = dnn_check_floats(tensor);                                                             \
        if (status_ != 0) return status_;                                                                              \
    } while (0)

#define NEED(pointer)                                                                                                  \
    if ((pointer) == NULL) return DNN_BAD_PARAM

/* What a layer works on: its operands in the order of the call, result last. */
typedef struct layer {
    dnn_operand x, y, dy, dx;
    float alpha, beta;
    unsigned mode, nan;
    fake_pooling pooling;
} layer;

/* A function of one or more packed tensors into another, blended into the result. */
static void finish(const dnn_operand *to, const layer *l, float *r) {
    dnn_blend(to, l->alpha, r, l->beta);
    free(r);
}

/* ---- sums and copies
 * ---------------------------------------------------------------------------------------------------- */

static void run_add(const void *arguments) {
    const layer *l = arguments;
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
    NEED(alpha);
    NEED(beta);
    NEED(A);
    NEED(C);
    CHECK_FLOATS(a);
    CHECK_FLOATS(c);
    for (int i = 0; i < 4; i++)
        if (a->n[i] != 1 && a->n[i] != c->n[i]) return DNN_BAD_PARAM;
    const layer l = {.x = dnn_operand_of(a, A),
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
    const layer *l = arguments;
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
    NEED(alpha);
    NEED(beta);
    NEED(x);
    NEED(y);
    CHECK_FLOATS(x_tensor);
    CHECK_FLOATS(y_tensor);
    if (!dnn_same_extents(x_tensor, y_tensor)) return DNN_BAD_PARAM;
    const layer l = {.x = dnn_operand_of(x_tensor, x),
                     .y = dnn_operand_of(y_tensor, y),
                     .alpha = fake_scalar(call.name, alpha),
                     .beta = fake_scalar(call.name, beta)};
    fake_work work;
    dnn_begin(&work, &call, handle);
    dnn_touches(&work, &l.x, FAKE_READ);
    dnn_result(&work, &l.y, l.beta);
    return dnn_launch(&work, run_transform, &l, sizeof l);
}

/* ---- activations
 * ----------------------------------------------------------------------------------------------------------- */

static unsigned check_activation(const char *function, const fake_activation *a) {
    if (!a->set || a->mode == ANX_CU_IDENTITY) return DNN_BAD_PARAM;
    if (a->mode != ANX_CU_RELU) fake_misuse(function, "the double does not compute activation %u", a->mode);
    return 0;
}

static void run_relu(const void *arguments) {
    const layer *l = arguments;
    float *own;
    const float *x = dnn_packed(&l->x, &own);
    const size_t count = dnn_count(l->x.n);
    const bool propagate = l->nan == ANX_CU_PROPAGATE_NAN;
    float *r = fake_floats(count);
#pragma omp parallel for
    for (size_t i = 0; i < count; i++) r[i] = x[i] != x[i] ? (propagate ? x[i] : 0.0f) : x[i] < 0.0f ? 0.0f : x[i];
    free(own);
    finish(&l->y, l, r);
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
    NEED(alpha);
    NEED(beta);
    NEED(x);
    NEED(y);
    CHECK_FLOATS(x_tensor);
    CHECK_FLOATS(y_tensor);
    if (!dnn_same_extents(x_tensor, y_tensor)) return DNN_BAD_PARAM;
    const unsigned status = check_activation(call.name, activation);
    if (status != 0) return status;
    const layer l = {.x = dnn_operand_of(x_tensor, x),
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
    const layer *l = arguments;
    float *own_y, *own_dy;
    const float *y = dnn_packed(&l->y, &own_y), *dy = dnn_packed(&l->dy, &own_dy);
    const size_t count = dnn_count(l->y.n);
    float *r = fake_floats(count);
#pragma omp parallel for
    for (size_t i = 0; i < count; i++) r[i] = y[i] <= 0.0f ? 0.0f : dy[i];
    free(own_y);
    free(own_dy);
    finish(&l->dx, l, r);
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
    NEED(alpha);
    NEED(beta);
    NEED(x);
    NEED(y);
    NEED(dy);
    NEED(dx);
    CHECK_FLOATS(y_tensor);
    CHECK_FLOATS(dy_tensor);
    CHECK_FLOATS(x_tensor);
    CHECK_FLOATS(dx_tensor);
    if (!dnn_same_extents(y_tensor, dy_tensor) || !dnn_same_extents(y_tensor, x_tensor) ||
        !dnn_same_extents(y_tensor, dx_tensor))
        return DNN_BAD_PARAM;
    const unsigned status = check_activation(call.name, activation);
    if (status != 0) return status;
    const layer l = {.x = dnn_operand_of(x_tensor, x),
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

/* ---- pooling
 * ------------------------------------------------------------------------------------------------------------------ */

/* The part of a window that lies inside the image. */
typedef struct window {
    int top, bottom, left, right; /* [top, bottom), [left, right) */
    int area;                     /* what an average is divided by */
} window;

static window window_at(const layer *l, int i, int k) {
    const fake_pooling *p = &l->pooling;
    const int height = l->x.n[2], width = l->x.n[3];
    const int top = i * p->stride[0] - p->pad[0], left = k * p->stride[1] - p->pad[1];
    window w = {top, top + p->window[0], left, left + p->window[1], p->window[0] * p->window[1]};
    if (w.top < 0) w.top = 0;
    if (w.left < 0) w.left = 0;
    if (w.bottom > height) w.bottom = height;
    if (w.right > width) w.right = width;
    if (w.bottom < w.top) w.bottom = w.top;
    if (w.right < w.left) w.right = w.left;
    if (p->mode == ANX_CU_POOL_AVERAGE_EXCLUDE_PADDING) w.area = (w.bottom - w.top) * (w.right - w.left);
    return w;
}

static bool takes_maximum(const fake_pooling *p) {
    return p->mode == 0 || p->mode == ANX_CU_POOL_MAX_DETERMINISTIC;
}

static float maximum(const float *plane, int width, const window *w, bool propagate_nan) {
    float best = -INFINITY;
    for (int i = w->top; i < w->bottom; i++)
        for (int k = w->left; k < w->right; k++) {
            const float x = plane[(long)i * width + k];
            if (x != x && propagate_nan) return x;
            if (x > best) best = x;
        }
    return best;
}

static float average(const float *plane, int width, const window *w) {
    float sum = 0.0f;
    for (int i = w->top; i < w->bottom; i++)
        for (int k = w->left; k < w->right; k++) sum += plane[(long)i * width + k];
    return sum / (float)w->area;
}

static void run_pooling(const void *arguments) {
    const layer *l = arguments;
    float *own;
    const float *x = dnn_packed(&l->x, &own);
    float *r = fake_floats(dnn_count(l->y.n));
    const int planes = l->x.n[0] * l->x.n[1], width = l->x.n[3];
#pragma omp parallel for
    for (int p = 0; p < planes; p++) {
        const float *plane = x + (long)p * l->x.n[2] * width;
        float *out = r + (long)p * l->y.n[2] * l->y.n[3];
        for (int i = 0; i < l->y.n[2]; i++)
            for (int k = 0; k < l->y.n[3]; k++) {
                const window w = window_at(l, i, k);
                *out++ = takes_maximum(&l->pooling) ? maximum(plane, width, &w, l->pooling.nan == ANX_CU_PROPAGATE_NAN)
                                                    : average(plane, width, &w);
            }
    }
    free(own);
    finish(&l->y, l, r);
}

static unsigned check_pooling(const fake_pooling *p, const fake_tensor *x, const fake_tensor *y) {
    int expected[4];
    const unsigned status = dnn_pooling_output(p, x, expected);
    if (status != 0) return status;
    return y->set && memcmp(expected, y->n, sizeof expected) == 0 ? 0 : DNN_BAD_PARAM;
}

unsigned cudnnPoolingForward(struct cudnnContext *h, struct cudnnPoolingStruct *const d, const void *alpha,
                             struct cudnnTensorStruct *const xd, const void *x, const void *beta,
                             struct cudnnTensorStruct *const yd, void *y) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %s, %s, %s, %s, %s", fake_name(h), fake_name(d), fake_name(xd), fake_name(x), fake_name(yd),
               fake_name(y));
    DNN_HANDLE(h, DNN_EXECUTION_FAILED);
    DNN_DESCRIPTOR(pooling, FAKE_POOLING, pooling, d);
    DNN_TENSOR(x_tensor, xd);
    DNN_TENSOR(y_tensor, yd);
    NEED(alpha);
    NEED(beta);
    NEED(x);
    NEED(y);
    const unsigned status = check_pooling(pooling, x_tensor, y_tensor);
    if (status != 0) return status;
    CHECK_FLOATS(x_tensor);
    CHECK_FLOATS(y_tensor);
    const layer l = {.x = dnn_operand_of(x_tensor, x),
                     .y = dnn_operand_of(y_tensor, y),
                     .alpha = fake_scalar(call.name, alpha),
                     .beta = fake_scalar(call.name, beta),
                     .pooling = *pooling};
    fake_work work;
    dnn_begin(&work, &call, handle);
    dnn_touches(&work, &l.x, FAKE_READ);
    dnn_result(&work, &l.y, l.beta);
    return dnn_launch(&work, run_pooling, &l, sizeof l);
}

/*
 * Where the maximum y came from; -1: from nowhere. Which of several equal elements cuDNN takes is not documented; here
 * it is PyTorch's rule: the first such element, row by row, and of several NaN the last.
 */
static long origin(const float *plane, int width, const window *w, float y) {
    long last_nan = -1;
    for (int i = w->top; i < w->bottom; i++)
        for (int k = w->left; k < w->right; k++) {
            const float x = plane[(long)i * width + k];
            if (x == y) return (long)i * width + k;
            if (x != x && y != y) last_nan = (long)i * width + k;
        }
    return last_nan;
}

/* Adds one plane's gradients; false: y is not what pooling makes of x. */
static bool pool_back(const layer *l, const float *x, const float *y, const float *dy, float *dx) {
    const int width = l->x.n[3];
    bool fits = true;
    for (int i = 0; i < l->y.n[2]; i++)
        for (int k = 0; k < l->y.n[3]; k++, y++, dy++) {
            const window w = window_at(l, i, k);
            if (takes_maximum(&l->pooling)) {
                const long at = origin(x, width, &w, *y);
                fits = fits && (at >= 0 || *y == -INFINITY); /* which an empty window yields, or one of NaNs */
                if (at >= 0) dx[at] += *dy;
                continue;
            }
            for (int r = w.top; r < w.bottom; r++)
                for (int s = w.left; s < w.right; s++) dx[(long)r * width + s] += *dy / (float)w.area;
        }
    return fits;
}

static void run_pooling_backward(const void *arguments) {
    const layer *l = arguments;
    float *own_x, *own_y, *own_dy;
    const float *x = dnn_packed(&l->x, &own_x), *y = dnn_packed(&l->y, &own_y), *dy = dnn_packed(&l->dy, &own_dy);
    const size_t count = dnn_count(l->x.n);
    const long in = (long)l->x.n[2] * l->x.n[3], out = (long)l->y.n[2] * l->y.n[3];
    const int planes = l->x.n[0] * l->x.n[1];
    float *r = fake_floats(count);
    bool fits = true;
    memset(r, 0, count * sizeof *r);
#pragma omp parallel for reduction(&& : fits)
    for (int p = 0; p < planes; p++) {
        const bool plane_fits = pool_back(l, x + p * in, y + p * out, dy + p * out, r + p * in);
        fits = fits && plane_fits;
    }
    if (!fits) fake_misuse("cudnnPoolingBackward", "y is not what pooling makes of x");
    if (l->pooling.mode == 0) fake_add_noise(r, count);
    free(own_x);
    free(own_y);
    free(own_dy);
    finish(&l->dx, l, r);
}

unsigned cudnnPoolingBackward(struct cudnnContext *h, struct cudnnPoolingStruct *const d, const void *alpha,
                              struct cudnnTensorStruct *const yd, const void *y, struct cudnnTensorStruct *const dyd,
                              const void *dy, struct cudnnTensorStruct *const xd, const void *x, const void *beta,
                              struct cudnnTensorStruct *const dxd, void *dx) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %s, %s, %s, %s, %s, %s, %s, %s, %s", fake_name(h), fake_name(d), fake_name(yd), fake_name(y),
               fake_name(dyd), fake_name(dy), fake_name(xd), fake_name(x), fake_name(dxd), fake_name(dx));
    DNN_HANDLE(h, DNN_EXECUTION_FAILED);
    DNN_DESCRIPTOR(pooling, FAKE_POOLING, pooling, d);
    DNN_TENSOR(y_tensor, yd);
    DNN_TENSOR(dy_tensor, dyd);
    DNN_TENSOR(x_tensor, xd);
    DNN_TENSOR(dx_tensor, dxd);
    NEED(alpha);
    NEED(beta);
    NEED(x);
    NEED(y);
    NEED(dy);
    NEED(dx);
    const unsigned status = check_pooling(pooling, x_tensor, y_tensor);
    if (status != 0) return status;
    if (!dy_tensor->set || !dx_tensor->set) return DNN_BAD_PARAM;
    if (!dnn_same_extents(y_tensor, dy_tensor) || !dnn_same_extents(x_tensor, dx_tensor)) return DNN_BAD_PARAM;
    CHECK_FLOATS(x_tensor);
    CHECK_FLOATS(y_tensor);
    CHECK_FLOATS(dy_tensor);
    CHECK_FLOATS(dx_tensor);
    const layer l = {.x = dnn_operand_of(x_tensor, x),
                     .y = dnn_operand_of(y_tensor, y),
                     .dy = dnn_operand_of(dy_tensor, dy),
                     .dx = dnn_operand_of(dx_tensor, dx),
                     .alpha = fake_scalar(call.name, alpha),
                     .beta = fake_scalar(call.name, beta),
                     .pooling = *pooling};
    fake_work work;
    dnn_begin(&work, &call, handle);
    dnn_touches(&work, &l.y, FAKE_READ);
    dnn_touches(&work, &l.dy, FAKE_READ);
    dnn_touches(&work, &l.x, FAKE_READ);
    dnn_result(&work, &l.dx, l.beta);
    return dnn_launch(&work, run_pooling_backward, &l, sizeof l);
}

/* ---- softmax
 * ---------------------------------------------------------------------------------------------------------------------
 */

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

static void softmax(const float *x, float *y, long n, long step, unsigned algorithm) {
    float largest = algorithm == SOFTMAX_FAST ? 0.0f : -INFINITY;
    for (long i = 0; i < n && algorithm != SOFTMAX_FAST; i++)
        if (x[i * step] > largest || x[i * step] != x[i * step]) largest = x[i * step];
    float sum = 0.0f;
    for (long i = 0; i < n; i++) sum += expf(x[i * step] - largest);
    for (long i = 0; i < n; i++)
        y[i * step] = algorithm == SOFTMAX_LOG ? x[i * step] - largest - logf(sum) : expf(x[i * step] - largest) / sum;
}

static void run_softmax(const void *arguments) {
    const layer *l = arguments;
    float *own;
    const float *x = dnn_packed(&l->x, &own);
    float *r = fake_floats(dnn_count(l->x.n));
    const vectors v = vectors_of(&l->x, l->nan);
    for (long o = 0; o < v.outer; o++)
        for (long i = 0; i < v.inner; i++) {
            const long at = o * v.length * v.inner + i;
            softmax(x + at, r + at, v.length, v.inner, l->mode);
        }
    free(own);
    finish(&l->y, l, r);
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
    NEED(alpha);
    NEED(beta);
    NEED(x);
    NEED(y);
    if (algo > SOFTMAX_LOG || mode > SOFTMAX_CHANNEL) return DNN_BAD_PARAM;
    CHECK_FLOATS(x_tensor);
    CHECK_FLOATS(y_tensor);
    if (!dnn_same_extents(x_tensor, y_tensor)) return DNN_BAD_PARAM;
    const layer l = {.x = dnn_operand_of(x_tensor, x),
                     .y = dnn_operand_of(y_tensor, y),
                     .alpha = fake_scalar(call.name, alpha),
                     .beta = fake_scalar(call.name, beta),
                     .mode = algo,
                     .nan = mode};
    fake_work work;
    dnn_begin(&work, &call, handle);
    dnn_touches(&work, &l.x, FAKE_READ | FAKE_IN_PLACE);
    dnn_result(&work, &l.y, l.beta);
    return dnn_launch(&work, run_softmax, &l, sizeof l);
}

static void softmax_back(const float *y, const float *dy, float *dx, long n, long step, unsigned algorithm) {
    float sum = 0.0f;
    for (long i = 0; i < n; i++) sum += algorithm == SOFTMAX_LOG ? dy[i * step] : dy[i * step] * y[i * step];
    for (long i = 0; i < n; i++)
        dx[i * step] =
            algorithm == SOFTMAX_LOG ? dy[i * step] - expf(y[i * step]) * sum : y[i * step] * (dy[i * step] - sum);
}

static void run_softmax_backward(const void *arguments) {
    const layer *l = arguments;
    float *own_y, *own_dy;
    const float *y = dnn_packed(&l->y, &own_y), *dy = dnn_packed(&l->dy, &own_dy);
    float *r = fake_floats(dnn_count(l->y.n));
    const vectors v = vectors_of(&l->y, l->nan);
    for (long o = 0; o < v.outer; o++)
        for (long i = 0; i < v.inner; i++) {
            const long at = o * v.length * v.inner + i;
            softmax_back(y + at, dy + at, r + at, v.length, v.inner, l->mode);
        }
    free(own_y);
    free(own_dy);
    finish(&l->dx, l, r);
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
    NEED(alpha);
    NEED(beta);
    NEED(y);
    NEED(dy);
    NEED(dx);
    if (algo > SOFTMAX_LOG || mode > SOFTMAX_CHANNEL) return DNN_BAD_PARAM;
    CHECK_FLOATS(y_tensor);
    CHECK_FLOATS(dy_tensor);
    CHECK_FLOATS(dx_tensor);
    if (!dnn_same_extents(y_tensor, dy_tensor) || !dnn_same_extents(y_tensor, dx_tensor)) return DNN_BAD_PARAM;
    const layer l = {.y = dnn_operand_of(y_tensor, y),
                     .dy = dnn_operand_of(dy_tensor, dy),
                     .dx = dnn_operand_of(dx_tensor, dx),
                     .alpha = fake_scalar(call.name, alpha),
                     .beta = fake_scalar(call.name, beta),
                     .mode = algo,
                     .nan = mode};
    fake_work work;
    dnn_begin(&work, &call, handle);
    dnn_touches(&work, &l.y, FAKE_READ);
    dnn_touches(&work, &l.dy, FAKE_READ | FAKE_IN_PLACE);
    dnn_result(&work, &l.dx, l.beta);
    return dnn_launch(&work, run_softmax_backward, &l, sizeof l);
}

/* ---- dropout
 * ------------------------------------------------------------------------------------------------------------------------
 */

enum { STATE_BYTES = 1 << 20 };

/* What the states hold, at their start: how the next mask is drawn. */
typedef struct dropout_state {
    unsigned long long seed, drawn;
} dropout_state;

static size_t reserve_bytes_for(const fake_tensor *x) {
    return x->set ? (dnn_count(x->n) + 31) / 32 * 4 : 0;
}

unsigned cudnnDropoutGetStatesSize(struct cudnnContext *h, size_t *bytes) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s", fake_name(h));
    DNN_HANDLE(h, DNN_BAD_PARAM);
    (void)handle;
    NEED(bytes);
    *bytes = STATE_BYTES;
    return 0;
}

unsigned cudnnDropoutGetReserveSpaceSize(struct cudnnTensorStruct *xd, size_t *bytes) {
    FAKE_ENTER(NULL);
    FAKE_TRACE_DESCRIPTOR("%s", fake_name(xd));
    DNN_TENSOR(x, xd);
    DNN_INJECT(DNN_BAD_PARAM);
    if (bytes == NULL) fake_misuse(call.name, "NULL where a size is to be written");
    *bytes = reserve_bytes_for(x);
    return 0;
}

typedef struct seeding {
    void *states;
    unsigned long long seed;
} seeding;

static void run_seeding(const void *arguments) {
    const seeding *s = arguments;
    const dropout_state state = {s->seed, 0};
    memcpy(fake_bytes(s->states), &state, sizeof state);
}

unsigned cudnnSetDropoutDescriptor(struct cudnnDropoutStruct *d, struct cudnnContext *h, float p, void *states,
                                   size_t state_bytes, unsigned long long seed) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %s, %g, %s, %zu, %llu", fake_name(d), fake_name(h), (double)p, fake_name(states), state_bytes,
               seed);
    DNN_HANDLE(h, DNN_EXECUTION_FAILED);
    DNN_DESCRIPTOR(dropout, FAKE_DROPOUT, dropout, d);
    if (!(p >= 0.0f && p <= 1.0f)) return DNN_BAD_PARAM;
    if (states == NULL) { /* a probability alone */
        dropout->p = p;
        dropout->set = true;
        return 0;
    }
    if (state_bytes < STATE_BYTES) return DNN_BAD_PARAM;
    *dropout = (fake_dropout){true, p, states};
    const seeding s = {states, seed};
    fake_work work;
    dnn_begin(&work, &call, handle);
    fake_work_add(&work, fake_region_flat(states, STATE_BYTES, FAKE_WRITE));
    return dnn_launch(&work, run_seeding, &s, sizeof s);
}

typedef struct dropping {
    dnn_operand x, y;
    float p;
    void *states;
    unsigned char *reserve;
    size_t reserve_bytes;
} dropping;

static unsigned long long mix(unsigned long long x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static void run_dropout(const void *arguments) {
    const dropping *d = arguments;
    const size_t count = dnn_count(d->x.n);
    dropout_state *state = fake_bytes(d->states);
    unsigned char *kept = fake_bytes(d->reserve);
    float *own;
    const float *x = dnn_packed(&d->x, &own);
    float *r = fake_floats(count);
    const unsigned long long stream = mix(state->seed ^ mix(state->drawn++));
    memset(kept, 0, d->reserve_bytes);
    for (size_t i = 0; i < count; i++) {
        const bool keep = (double)(mix(stream + i) >> 11) * 0x1p-53 >= (double)d->p;
        if (keep) kept[i / 8] = (unsigned char)(kept[i / 8] | 1u << i % 8);
        r[i] = keep ? x[i] / (1.0f - d->p) : 0.0f;
    }
    dnn_blend(&d->y, 1.0f, r, 0.0f);
    free(r);
    free(own);
}

unsigned cudnnDropoutForward(struct cudnnContext *h, struct cudnnDropoutStruct *const dd,
                             struct cudnnTensorStruct *const xd, const void *x, struct cudnnTensorStruct *const yd,
                             void *y, void *reserve, size_t reserve_bytes) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %s, %s, %s, %s, %s, %s, %zu", fake_name(h), fake_name(dd), fake_name(xd), fake_name(x),
               fake_name(yd), fake_name(y), fake_name(reserve), reserve_bytes);
    DNN_HANDLE(h, DNN_EXECUTION_FAILED);
    DNN_DESCRIPTOR(dropout, FAKE_DROPOUT, dropout, dd);
    DNN_TENSOR(x_tensor, xd);
    DNN_TENSOR(y_tensor, yd);
    NEED(x);
    NEED(y);
    NEED(reserve);
    if (!dropout->set || dropout->states == NULL) return DNN_BAD_PARAM;
    CHECK_FLOATS(x_tensor);
    CHECK_FLOATS(y_tensor);
    if (!dnn_same_extents(x_tensor, y_tensor)) return DNN_BAD_PARAM;
    if (reserve_bytes < reserve_bytes_for(x_tensor)) return DNN_BAD_PARAM;
    const dropping d = {.x = dnn_operand_of(x_tensor, x),
                        .y = dnn_operand_of(y_tensor, y),
                        .p = dropout->p,
                        .states = dropout->states,
                        .reserve = reserve,
                        .reserve_bytes = reserve_bytes};
    fake_work work;
    dnn_begin(&work, &call, handle);
    dnn_touches(&work, &d.x, FAKE_READ | FAKE_IN_PLACE);
    dnn_result(&work, &d.y, 0.0f);
    fake_work_add(&work, fake_region_flat(d.states, STATE_BYTES, FAKE_READ | FAKE_WRITE));
    fake_work_add(&work, fake_region_flat(reserve, reserve_bytes, FAKE_WRITE));
    return dnn_launch(&work, run_dropout, &d, sizeof d);
}
