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
