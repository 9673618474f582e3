/* cuDNN's pooling. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fakecuda/cudnn.h"
#include "tests/fakecuda/kernels/precision.h"

typedef struct pooling {
    dnn_operand x, y, dy, dx;
    float alpha, beta;
    fake_pooling by;
} pooling;

/* The part of a window that lies inside the image. */
typedef struct window {
    int top, bottom, left, right; /* [top, bottom), [left, right) */
    int area;                     /* what an average is divided by */
} window;

static window window_at(const pooling *l, int i, int k) {
    const fake_pooling *p = &l->by;
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
    const pooling *l = arguments;
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
                *out++ = takes_maximum(&l->by) ? maximum(plane, width, &w, l->by.nan == ANX_CU_PROPAGATE_NAN)
                                               : average(plane, width, &w);
            }
    }
    free(own);
    dnn_blend(&l->y, l->alpha, r, l->beta);
    free(r);
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
    DNN_DESCRIPTOR(pooling, FAKE_POOLING, settings, d);
    DNN_TENSOR(x_tensor, xd);
    DNN_TENSOR(y_tensor, yd);
    DNN_NEED(alpha);
    DNN_NEED(beta);
    DNN_NEED(x);
    DNN_NEED(y);
    const unsigned status = check_pooling(settings, x_tensor, y_tensor);
    if (status != 0) return status;
    DNN_CHECK_FLOATS(x_tensor);
    DNN_CHECK_FLOATS(y_tensor);
    const pooling l = {.x = dnn_operand_of(x_tensor, x),
                       .y = dnn_operand_of(y_tensor, y),
                       .alpha = fake_scalar(call.name, alpha),
                       .beta = fake_scalar(call.name, beta),
                       .by = *settings};
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
static bool pool_back(const pooling *l, const float *x, const float *y, const float *dy, float *dx) {
    const int width = l->x.n[3];
    bool fits = true;
    for (int i = 0; i < l->y.n[2]; i++)
        for (int k = 0; k < l->y.n[3]; k++, y++, dy++) {
            const window w = window_at(l, i, k);
            if (takes_maximum(&l->by)) {
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
    const pooling *l = arguments;
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
    if (l->by.mode == 0) fake_add_noise(r, count);
    free(own_x);
    free(own_y);
    free(own_dy);
    dnn_blend(&l->dx, l->alpha, r, l->beta);
    free(r);
}

unsigned cudnnPoolingBackward(struct cudnnContext *h, struct cudnnPoolingStruct *const d, const void *alpha,
                              struct cudnnTensorStruct *const yd, const void *y, struct cudnnTensorStruct *const dyd,
                              const void *dy, struct cudnnTensorStruct *const xd, const void *x, const void *beta,
                              struct cudnnTensorStruct *const dxd, void *dx) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %s, %s, %s, %s, %s, %s, %s, %s, %s", fake_name(h), fake_name(d), fake_name(yd), fake_name(y),
               fake_name(dyd), fake_name(dy), fake_name(xd), fake_name(x), fake_name(dxd), fake_name(dx));
    DNN_HANDLE(h, DNN_EXECUTION_FAILED);
    DNN_DESCRIPTOR(pooling, FAKE_POOLING, settings, d);
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
    const unsigned status = check_pooling(settings, x_tensor, y_tensor);
    if (status != 0) return status;
    if (!dy_tensor->set || !dx_tensor->set) return DNN_BAD_PARAM;
    if (!dnn_same_extents(y_tensor, dy_tensor) || !dnn_same_extents(x_tensor, dx_tensor)) return DNN_BAD_PARAM;
    DNN_CHECK_FLOATS(x_tensor);
    DNN_CHECK_FLOATS(y_tensor);
    DNN_CHECK_FLOATS(dy_tensor);
    DNN_CHECK_FLOATS(dx_tensor);
    const pooling l = {.x = dnn_operand_of(x_tensor, x),
                       .y = dnn_operand_of(y_tensor, y),
                       .dy = dnn_operand_of(dy_tensor, dy),
                       .dx = dnn_operand_of(dx_tensor, dx),
                       .alpha = fake_scalar(call.name, alpha),
                       .beta = fake_scalar(call.name, beta),
                       .by = *settings};
    fake_work work;
    dnn_begin(&work, &call, handle);
    dnn_touches(&work, &l.y, FAKE_READ);
    dnn_touches(&work, &l.dy, FAKE_READ);
    dnn_touches(&work, &l.x, FAKE_READ);
    dnn_result(&work, &l.dx, l.beta);
    return dnn_launch(&work, run_pooling_backward, &l, sizeof l);
}
