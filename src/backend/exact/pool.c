#include <string.h>

#include "src/backend/exact/ops.h"

void anx_exact_adaptive_avg_pool(const anx_exact_layout *in, const anx_exact_layout *out, const float *x, float *y) {
    for (int64_t oh = 0; oh < out->height; oh++) {
        const int64_t h0 = oh * in->height / out->height;
        const int64_t h1 = ((oh + 1) * in->height + out->height - 1) / out->height;
        float *row = y + oh * out->row_elems;
        memset(row, 0, (size_t)out->row_elems * sizeof *row);
        for (int64_t ow = 0; ow < out->width; ow++) {
            const int64_t w0 = ow * in->width / out->width;
            const int64_t w1 = ((ow + 1) * in->width + out->width - 1) / out->width;
            float sum[ANX_EXACT_BLOCK] = {0};
            for (int64_t h = h0; h < h1; h++)
                for (int64_t w = w0; w < w1; w++) {
                    const float *v = x + h * in->row_elems + (in->border + w) * ANX_EXACT_BLOCK;
                    for (int c = 0; c < ANX_EXACT_BLOCK; c++) sum[c] += v[c];
                }
            float *to = row + (out->border + ow) * ANX_EXACT_BLOCK;
            for (int c = 0; c < ANX_EXACT_BLOCK; c++) to[c] = sum[c] / (float)(h1 - h0) / (float)(w1 - w0);
        }
    }
}

void anx_exact_max_pool_back(const anx_exact_layout *out, const anx_exact_layout *dy_layout,
                             const anx_exact_layout *dx_layout, const float *dy, const int32_t *places, float *dx) {
    memset(dx, 0, (size_t)dx_layout->block_elems * sizeof *dx);
    for (int64_t oh = 0; oh < out->height; oh++) {
        const float *from = dy + oh * dy_layout->row_elems + dy_layout->border * ANX_EXACT_BLOCK;
        for (int64_t ow = 0; ow < out->width; ow++, from += ANX_EXACT_BLOCK, places += ANX_EXACT_BLOCK)
            for (int c = 0; c < ANX_EXACT_BLOCK; c++) dx[(int64_t)places[c] * ANX_EXACT_BLOCK + c] += from[c];
    }
}

void anx_exact_adaptive_avg_pool_back(const anx_exact_layout *dy_layout, const anx_exact_layout *dx_layout,
                                      const float *dy, float *dx) {
    const anx_exact_layout *out = dy_layout, *in = dx_layout;
    memset(dx, 0, (size_t)in->block_elems * sizeof *dx);
    for (int64_t oh = 0; oh < out->height; oh++) {
        const int64_t h0 = oh * in->height / out->height;
        const int64_t h1 = ((oh + 1) * in->height + out->height - 1) / out->height;
        for (int64_t ow = 0; ow < out->width; ow++) {
            const int64_t w0 = ow * in->width / out->width;
            const int64_t w1 = ((ow + 1) * in->width + out->width - 1) / out->width;
            const float *from = dy + oh * out->row_elems + (out->border + ow) * ANX_EXACT_BLOCK;
            for (int64_t h = h0; h < h1; h++)
                for (int64_t w = w0; w < w1; w++) {
                    float *to = dx + h * in->row_elems + (in->border + w) * ANX_EXACT_BLOCK;
                    for (int c = 0; c < ANX_EXACT_BLOCK; c++) to[c] += from[c] / (float)(h1 - h0) / (float)(w1 - w0);
                }
        }
    }
}
