#include <string.h>

#include "src/backend/dnnl/loops.h"

/* The part of an image's gradient that one block of channels has, all of it by one thread: windows overlap. */
typedef struct plane {
    const anx_dnnl_pooling *pooling;
    const float *dst_grad;  /* of the image */
    const int32_t *winners; /* likewise */
    float *src_grad;        /* of the image's block */
    int64_t first;          /* channel */
    int channels;
} plane;

static int64_t offset_of(const anx_dnnl_layout *layout, int64_t channel) {
    return channel / layout->block * layout->stride_block + channel % layout->block;
}

/* In every layout here a row is W columns long: h*W + w is a number of columns. */
static void scatter(const plane *p, int c) {
    const anx_dnnl_layout *src = &p->pooling->src, *dst = &p->pooling->dst;
    const int64_t at = offset_of(dst, p->first + c);
    for (int64_t i = 0; i < p->pooling->out_h * p->pooling->out_w; i++) {
        const int64_t k = at + i * dst->stride_w;
        p->src_grad[p->winners[k] * src->stride_w + c] += p->dst_grad[k];
    }
}

/* The same for all channels of a block that lie side by side in the output as they do in the input. */
static void scatter_block(const plane *p) {
    const anx_dnnl_layout *src = &p->pooling->src, *dst = &p->pooling->dst;
    const int64_t at = offset_of(dst, p->first);
    for (int64_t i = 0; i < p->pooling->out_h * p->pooling->out_w; i++) {
        const int64_t k = at + i * dst->stride_w;
        for (int c = 0; c < p->channels; c++) p->src_grad[p->winners[k + c] * src->stride_w + c] += p->dst_grad[k + c];
    }
}

static void spread(const plane *p, int c) {
    const anx_dnnl_pooling *pooling = p->pooling;
    const anx_dnnl_layout *src = &pooling->src, *dst = &pooling->dst;
    const float *grad = p->dst_grad + offset_of(dst, p->first + c);
    for (int64_t oh = 0; oh < pooling->out_h; oh++) {
        const int64_t h0 = oh * pooling->in_h / pooling->out_h,
                      h1 = ((oh + 1) * pooling->in_h + pooling->out_h - 1) / pooling->out_h;
        for (int64_t ow = 0; ow < pooling->out_w; ow++) {
            const int64_t w0 = ow * pooling->in_w / pooling->out_w,
                          w1 = ((ow + 1) * pooling->in_w + pooling->out_w - 1) / pooling->out_w;
            const float share = grad[oh * dst->stride_h + ow * dst->stride_w] / (float)(h1 - h0) / (float)(w1 - w0);
            for (int64_t h = h0; h < h1; h++)
                for (int64_t w = w0; w < w1; w++) p->src_grad[h * src->stride_h + w * src->stride_w + c] += share;
        }
    }
}

static void run_plane(const plane *p) {
    const anx_dnnl_layout *src = &p->pooling->src, *dst = &p->pooling->dst;
    const int64_t last = p->first + p->channels - 1;
    memset(p->src_grad, 0, (size_t)(p->pooling->in_h * src->stride_h) * sizeof(float));
    if (!p->pooling->adaptive && offset_of(dst, last) - offset_of(dst, p->first) == p->channels - 1) {
        scatter_block(p);
        return;
    }
    for (int c = 0; c < p->channels; c++) {
        if (p->pooling->adaptive)
            spread(p, c);
        else
            scatter(p, c);
    }
}

void anx_dnnl_pooling_run_backward(const anx_dnnl_pooling *pooling, const float *dst_grad, const int32_t *winners,
                                   float *src_grad) {
    const anx_dnnl_layout *src = &pooling->src, *dst = &pooling->dst;
    const int64_t blocks = src->padded_channels / src->block;
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t n = 0; n < pooling->batch; n++) {
        for (int64_t block = 0; block < blocks; block++) {
            const int64_t first = block * src->block, left = src->channels - first;
            const plane p = {.pooling = pooling,
                             .dst_grad = dst_grad + n * dst->stride_n,
                             .winners = winners != NULL ? winners + n * dst->stride_n : NULL,
                             .src_grad = src_grad + n * src->stride_n + block * src->stride_block,
                             .first = first,
                             .channels = (int)(left < src->block ? left : src->block)};
            run_plane(&p);
        }
    }
}
