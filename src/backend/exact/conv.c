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
