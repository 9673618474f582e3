/*
 * The winners of max-pool windows. cuDNN keeps none: its way back finds them again in input and output, and which of
 * several equal elements it takes is its own affair. What it takes is found out by asking for the gradients of windows
 * that do not meet; what the caller prescribes goes back on the host.
 */
#include <stdlib.h>
#include <string.h>

#include "src/backend/cuda/plan.h"
#include "src/backend/cuda/status.h"

/* A max-pool's planes: (N * C) of them. */
typedef struct planes {
    int64_t n, in_h, in_w, out_h, out_w;
    const anx_pool2d_params *pool;
} planes;

static planes planes_of(const anx_cuda_plan *plan, int node) {
    const anx_node *nd = &plan->graph->nodes[node];
    return (planes){plan->batch * nd->in.dim[0], nd->in.dim[1], nd->in.dim[2], nd->out.dim[1], nd->out.dim[2],
                    &nd->layer->u.pool};
}

static anx_status download(const anx_cuda_plan *plan, float *to, const float *from, int64_t elems, anx_error *err) {
    const anx_status status = anx_cuda_download(plan->device, to, from, (size_t)elems * sizeof *to, err);
    return status != ANX_OK ? status : anx_cuda_device_sync(plan->device, err);
}

static anx_status upload(const anx_cuda_plan *plan, float *to, const float *from, int64_t elems, anx_error *err) {
    const anx_status status = anx_cuda_upload(plan->device, to, from, (size_t)elems * sizeof *to, err);
    return status != ANX_OK ? status : anx_cuda_device_sync(plan->device, err);
}

/* ---- reading -------------------------------------------------------------------------------------------- */

typedef struct question {
    float *dy, *dx; /* host: (N, C, OH, OW), (N, C, H, W) */
    float *device_dy, *device_dx;
    int period_h, period_w; /* windows so far apart share no element */
} question;

/* 1 for the windows of one class, 0 for all others. */
static void ask(const planes *p, const question *q, int row, int column) {
    for (int64_t plane = 0; plane < p->n; plane++)
        for (int64_t i = 0; i < p->out_h; i++)
            for (int64_t k = 0; k < p->out_w; k++)
                q->dy[(plane * p->out_h + i) * p->out_w + k] =
                    i % q->period_h == row && k % q->period_w == column ? 1.0f : 0.0f;
}

/* Where in the window the gradient went: its index in the plane; -1 if nowhere. */
static int64_t winner_of(const planes *p, const float *dx, int64_t i, int64_t k) {
    const anx_pool2d_params *o = p->pool;
    for (int64_t y = i * o->stride_h - o->pad_h; y < i * o->stride_h - o->pad_h + o->kernel_h; y++)
        for (int64_t x = k * o->stride_w - o->pad_w; x < k * o->stride_w - o->pad_w + o->kernel_w; x++)
            if (y >= 0 && x >= 0 && y < p->in_h && x < p->in_w && dx[y * p->in_w + x] != 0.0f) return y * p->in_w + x;
    return -1;
}

static bool take_answer(const planes *p, const question *q, int row, int column, int64_t *out) {
    bool all = true;
    for (int64_t plane = 0; plane < p->n; plane++)
        for (int64_t i = row; i < p->out_h; i += q->period_h)
            for (int64_t k = column; k < p->out_w; k += q->period_w) {
                const int64_t winner = winner_of(p, q->dx + plane * p->in_h * p->in_w, i, k);
                out[(plane * p->out_h + i) * p->out_w + k] = winner;
                all = all && winner >= 0;
            }
    return all;
}

static anx_status ask_for_all(anx_cuda_plan *plan, int node, const question *q, int64_t *out, anx_error *err) {
    const planes p = planes_of(plan, node);
    const int64_t in = p.n * p.in_h * p.in_w, to = p.n * p.out_h * p.out_w;
    const float *x = anx_cuda_output(plan, plan->graph->nodes[node].inputs[0]), *y = anx_cuda_output(plan, node);
    anx_status status = ANX_OK;
    for (int row = 0; row < q->period_h && status == ANX_OK; row++)
        for (int column = 0; column < q->period_w && status == ANX_OK; column++) {
            ask(&p, q, row, column);
            status = upload(plan, q->device_dy, q->dy, to, err);
            if (status == ANX_OK)
                status = anx_cudnn_pool_backward(plan->nodes[node].pool, x, y, q->device_dy, q->device_dx, err);
            if (status == ANX_OK) status = download(plan, q->dx, q->device_dx, in, err);
            if (status == ANX_OK && !take_answer(&p, q, row, column, out))
                status = anx_error_set(err, ANX_ERR_DEVICE, "cuDNN's max-pool gives a window's gradient to nobody");
        }
    return status;
}

static anx_status find_winners(anx_cuda_plan *plan, int node, int64_t *out, anx_error *err) {
    const planes p = planes_of(plan, node);
    const int64_t in = p.n * p.in_h * p.in_w, to = p.n * p.out_h * p.out_w;
    question q = {.dy = calloc((size_t)to, sizeof *q.dy),
                  .dx = calloc((size_t)in, sizeof *q.dx),
                  .period_h = (p.pool->kernel_h + p.pool->stride_h - 1) / p.pool->stride_h,
                  .period_w = (p.pool->kernel_w + p.pool->stride_w - 1) / p.pool->stride_w};
    anx_cuda_memory *memory = &plan->memory;
    const int before = memory->n;
    anx_status status =
        q.dy == NULL || q.dx == NULL ? anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory") : ANX_OK;
    if (status == ANX_OK) status = anx_cuda_memory_want(memory, (size_t)to * sizeof(float), true, &q.device_dy, err);
    if (status == ANX_OK) status = anx_cuda_memory_want(memory, (size_t)in * sizeof(float), true, &q.device_dx, err);
    if (status == ANX_OK) status = anx_cuda_memory_allocate(memory, plan->device, plan->batch, err);
    if (status == ANX_OK) status = ask_for_all(plan, node, &q, out, err);
    anx_cuda_memory_keep(memory, plan->device, before);
    free(q.dy);
    free(q.dx);
    return status;
}

anx_status anx_cuda_winners_read(anx_cuda_plan *plan, int node, int64_t *out, anx_error *err) {
    const planes p = planes_of(plan, node);
    if (plan->nodes[node].winners == NULL) return find_winners(plan, node, out, err);
    memcpy(out, plan->nodes[node].winners, (size_t)(p.n * p.out_h * p.out_w) * sizeof *out);
    return ANX_OK;
}

/* ---- writing -------------------------------------------------------------------------------------------- */

anx_status anx_cuda_winners_write(anx_cuda_plan *plan, int node, const int64_t *winners, anx_error *err) {
    const planes p = planes_of(plan, node);
    const size_t bytes = (size_t)(p.n * p.out_h * p.out_w) * sizeof *winners;
    int64_t *copy = malloc(bytes);
    if (copy == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    memcpy(copy, winners, bytes);
    free(plan->nodes[node].winners);
    plan->nodes[node].winners = copy;
    return ANX_OK;
}

anx_status anx_cuda_winners_backward(const anx_cuda_plan *plan, int node, const float *dy, float *dx, anx_error *err) {
    const planes p = planes_of(plan, node);
    const int64_t in = p.in_h * p.in_w, to = p.out_h * p.out_w;
    float *host_dy = calloc((size_t)(p.n * to), sizeof *host_dy),
          *host_dx = calloc((size_t)(p.n * in), sizeof *host_dx);
    anx_status status = host_dy == NULL || host_dx == NULL ? anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory")
                                                           : download(plan, host_dy, dy, p.n * to, err);
    if (status == ANX_OK) {
        for (int64_t i = 0; i < p.n * to; i++) host_dx[i / to * in + plan->nodes[node].winners[i]] += host_dy[i];
        status = upload(plan, dx, host_dx, p.n * in, err);
    }
    free(host_dy);
    free(host_dx);
    return status;
}
