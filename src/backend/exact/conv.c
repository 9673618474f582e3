#include <math.h>
#include <string.h>

#include "src/backend/exact/ops.h"

/* The channels in a block of the layout that oneDNN takes for groups: what both sides are multiples of; 0 if none. */
static int64_t group_block(int64_t in, int64_t out) {
    for (int64_t block = ANX_EXACT_BLOCK; block >= 4; block /= 2)
        if (in % block == 0 && out % block == 0) return block;
    return 0;
}

void anx_exact_conv_settle(anx_exact_conv *conv) {
    const int64_t out = conv->out.channels / conv->p.groups;
    conv->order = ANX_EXACT_CONV_BLOCKS;
    conv->block = ANX_EXACT_BLOCK;
    if (conv->p.groups > 1 && conv->channels == 1 && out == 1)
        conv->order = ANX_EXACT_CONV_FROM_BIAS;
    else if (conv->p.groups > 1) {
        conv->block = group_block(conv->channels, out);
        if (conv->block == 0) conv->order = ANX_EXACT_CONV_GEMM;
    }
    conv->dense = conv->p.groups == 1 || (conv->order == ANX_EXACT_CONV_BLOCKS && conv->block == ANX_EXACT_BLOCK);
}

int64_t anx_exact_conv_packed_elems(const anx_exact_conv *conv) {
    return conv->out.blocks * ANX_EXACT_BLOCK * conv->channels * conv->p.kernel_h * conv->p.kernel_w;
}

static bool all_finite(const float *w, int64_t elems) {
    uint32_t bad = 0;
    for (int64_t i = 0; i < elems; i++) {
        uint32_t bits;
        memcpy(&bits, &w[i], sizeof bits);
        bad |= (bits & 0x7F800000u) == 0x7F800000u;
    }
    return bad == 0;
}

/* One block of output channels. */
static void pack_block(const anx_exact_conv *conv, const float *weight, int64_t block, float *packed) {
    const int64_t taps = (int64_t)conv->p.kernel_h * conv->p.kernel_w, ld = conv->channels * taps;
    const int64_t left = conv->out.channels - block * ANX_EXACT_BLOCK;
    const int lanes = left < ANX_EXACT_BLOCK ? (int)left : ANX_EXACT_BLOCK;
    const float *w = weight + block * ANX_EXACT_BLOCK * ld;
    float *to = packed + block * ANX_EXACT_BLOCK * ld;
    for (int64_t first = 0; first < conv->channels; first += ANX_EXACT_BLOCK) {
        const int64_t rest = conv->channels - first, count = rest < ANX_EXACT_BLOCK ? rest : ANX_EXACT_BLOCK;
        for (int64_t tap = 0; tap < taps; tap++)
            for (int64_t c = 0; c < count; c++, to += ANX_EXACT_BLOCK) {
                const float *from = w + (first + c) * taps + tap;
                for (int i = 0; i < ANX_EXACT_BLOCK; i++) to[i] = i < lanes ? from[i * ld] : 0.0f;
            }
    }
}

void anx_exact_conv_pack(anx_exact_conv *conv, const float *weight, const float *bias, float *packed,
                         float *padded_bias, int threads) {
    const int64_t channels = conv->out.channels, blocks = conv->out.blocks;
    const int64_t elems = channels * conv->channels * conv->p.kernel_h * conv->p.kernel_w;
    conv->skip_padding = !all_finite(weight, elems);
    for (int64_t i = 0; i < blocks * ANX_EXACT_BLOCK; i++) {
        padded_bias[i] = i < channels ? bias[i] : 0.0f;
        if (padded_bias[i] == 0.0f && signbit(padded_bias[i])) conv->skip_padding = true;
    }
    conv->weight = weight;
    conv->bias = padded_bias;
    conv->packed = packed;
    if (!conv->dense) return;
#pragma omp parallel for num_threads(threads) schedule(static) if (elems > 1 << 16)
    for (int64_t block = 0; block < blocks; block++) pack_block(conv, weight, block, packed);
}

/* ---- the way back --------------------------------------------------------------------------------------- */

void anx_exact_conv_back_settle(anx_exact_conv_back *back) {
    const anx_exact_conv *conv = back->forward;
    const anx_conv2d_params *p = &conv->p;
    const bool strided = p->stride_h > 1 || p->stride_w > 1, dilated = p->dilation_h > 1 || p->dilation_w > 1;
    const bool gemm = conv->order == ANX_EXACT_CONV_GEMM || (strided && dilated);
    back->dx_order = gemm ? ANX_EXACT_DX_COLUMNS : strided ? ANX_EXACT_DX_CHAIN : ANX_EXACT_DX_BLOCKS;
    back->per_image = gemm || conv->block < 8;
    back->dense_dx = conv->dense && back->dx_order == ANX_EXACT_DX_BLOCKS;
    back->dense_dw = conv->dense && !back->per_image;
}

int64_t anx_exact_conv_back_border(const anx_conv2d_params *p) {
    const int64_t border = (int64_t)(p->kernel_w - 1) * p->dilation_w - p->pad_w;
    return border > 0 ? border : 0;
}

int64_t anx_exact_conv_back_packed_elems(const anx_exact_conv_back *back) {
    return back->dx.blocks * ANX_EXACT_BLOCK * (back->dy.channels / back->forward->p.groups) *
           back->forward->p.kernel_h * back->forward->p.kernel_w;
}

/* One block of input channels: for each block of the group's output channels, for each tap, [oc][16]. */
static void pack_back_block(const anx_exact_conv_back *back, const float *weight, int64_t block, float *packed) {
    const anx_exact_conv *conv = back->forward;
    const int64_t taps = (int64_t)conv->p.kernel_h * conv->p.kernel_w, filter = conv->channels * taps;
    const int64_t outputs = back->dy.channels / conv->p.groups, c0 = block * ANX_EXACT_BLOCK;
    const int64_t group = c0 / conv->channels, left = back->dx.channels - c0;
    const int lanes = left < ANX_EXACT_BLOCK ? (int)left : ANX_EXACT_BLOCK;
    const float *w = weight + group * outputs * filter + c0 % conv->channels * taps;
    float *to = packed + block * ANX_EXACT_BLOCK * outputs * taps;
    for (int64_t first = 0; first < outputs; first += ANX_EXACT_BLOCK) {
        const int64_t last = first + ANX_EXACT_BLOCK < outputs ? first + ANX_EXACT_BLOCK : outputs;
        for (int64_t tap = 0; tap < taps; tap++)
            for (int64_t oc = first; oc < last; oc++, to += ANX_EXACT_BLOCK)
                for (int i = 0; i < ANX_EXACT_BLOCK; i++) to[i] = i < lanes ? w[oc * filter + i * taps + tap] : 0.0f;
    }
}

void anx_exact_conv_back_pack(const anx_exact_conv_back *back, const float *weight, float *packed, int threads) {
    const int64_t blocks = back->dx.blocks;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t block = 0; block < blocks; block++) pack_back_block(back, weight, block, packed);
}

void anx_exact_conv_unpack(const anx_exact_conv *conv, int64_t block, const float *packed, float *weight) {
    const int64_t taps = (int64_t)conv->p.kernel_h * conv->p.kernel_w, ld = conv->channels * taps;
    const int64_t left = conv->out.channels - block * ANX_EXACT_BLOCK;
    const int lanes = left < ANX_EXACT_BLOCK ? (int)left : ANX_EXACT_BLOCK;
    float *w = weight + block * ANX_EXACT_BLOCK * ld;
    const float *from = packed + block * ANX_EXACT_BLOCK * ld;
    for (int64_t first = 0; first < conv->channels; first += ANX_EXACT_BLOCK) {
        const int64_t rest = conv->channels - first, count = rest < ANX_EXACT_BLOCK ? rest : ANX_EXACT_BLOCK;
        for (int64_t tap = 0; tap < taps; tap++)
            for (int64_t c = 0; c < count; c++, from += ANX_EXACT_BLOCK)
                for (int i = 0; i < lanes; i++) w[i * ld + (first + c) * taps + tap] = from[i];
    }
}

void anx_exact_conv_bias_back(const anx_exact_conv_back *back, int64_t batch, int64_t block, const float *dy,
                              float *db) {
    const anx_exact_layout *l = &back->dy;
    float sum[ANX_EXACT_BLOCK] = {0};
    const int64_t left = l->channels - block * l->block;
    for (int64_t n = 0; n < batch; n++)
        for (int64_t h = 0; h < l->height; h++) {
            const float *v = dy + n * l->image_elems + block * l->block_elems + h * l->row_elems + l->border * l->block;
            float row[ANX_EXACT_BLOCK] = {0};
            float *to = back->per_image ? row : sum;
            for (int64_t w = 0; w < l->width; w++, v += ANX_EXACT_BLOCK)
                for (int c = 0; c < ANX_EXACT_BLOCK; c++) to[c] += v[c];
            if (back->per_image)
                for (int c = 0; c < ANX_EXACT_BLOCK; c++) sum[c] += row[c];
        }
    for (int64_t c = 0; c < ANX_EXACT_BLOCK && c < left; c++) db[block * ANX_EXACT_BLOCK + c] = sum[c];
}

anx_exact_range anx_exact_range_of(const float *x, int64_t elems) {
    uint32_t least = UINT32_MAX, most = 0;
    for (int64_t i = 0; i < elems; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= 0x7FFFFFFFu;
        least = bits - 1 < least ? bits - 1 : least; /* zeros become the greatest number */
        most = bits > most ? bits : most;
    }
    anx_exact_range range = {.least = INFINITY, .finite = most < 0x7F800000u};
    if (least < 0x7F800000u) {
        least++;
        memcpy(&range.least, &least, sizeof least);
    }
    return range;
}

bool anx_exact_zeros_are_safe(anx_exact_range a, anx_exact_range b) {
    return a.finite && b.finite && (double)a.least * (double)b.least >= 0x1p-100;
}
