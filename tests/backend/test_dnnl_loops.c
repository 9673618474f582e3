/*
 * The CPU device's own loops, on every layout and with every instruction set this processor has, against PyTorch's
 * definitions written down plainly: to the bit, with NaN, infinities, zeros of both signs and ties in the data.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/backend/dnnl/loops.h"
#include "src/backend/dnnl/products.h"
#include "tests/support/anx_test.h"
#include "tests/support/random.h"

static anx_dnnl_layout layout(int64_t c, int64_t h, int64_t w, int64_t block) {
    if (block == 0) block = c;
    const int64_t blocks = (c + block - 1) / block;
    return (anx_dnnl_layout){.channels = c,
                             .padded_channels = blocks * block,
                             .block = block,
                             .stride_n = blocks * block * h * w,
                             .stride_block = block * h * w,
                             .stride_h = block * w,
                             .stride_w = block};
}

static int64_t offset(const anx_dnnl_layout *l, int64_t n, int64_t c, int64_t h, int64_t w) {
    return n * l->stride_n + c / l->block * l->stride_block + h * l->stride_h + w * l->stride_w + c % l->block;
}

static float special(test_random *r) {
    static const float values[] = {NAN, INFINITY, -INFINITY, 0.0f, -0.0f, 1.0f, 1.0f, -1.0f, 0x1p-149f, -0x1p-149f};
    const int64_t which = test_random_int(r, 0, 39);
    return which < 10 ? values[which] : test_random_normal(r);
}

/* Maximum: replaced where v > m or v is NaN. Average: summed in row order, divided by height, then width. */
static float expected_at(const anx_dnnl_pooling *p, const float *src, int64_t n, int64_t c, int64_t oh, int64_t ow) {
    float m = p->adaptive ? 0.0f : -INFINITY;
    int64_t h0 = oh * p->stride_h - p->pad_h, h1 = h0 + p->kernel_h, w0 = ow * p->stride_w - p->pad_w,
            w1 = w0 + p->kernel_w;
    if (p->adaptive) {
        h0 = (int64_t)floor((double)(oh * p->in_h) / (double)p->out_h);
        h1 = (int64_t)ceil((double)((oh + 1) * p->in_h) / (double)p->out_h);
        w0 = (int64_t)floor((double)(ow * p->in_w) / (double)p->out_w);
        w1 = (int64_t)ceil((double)((ow + 1) * p->in_w) / (double)p->out_w);
    }
    for (int64_t h = h0; h < h1; h++)
        for (int64_t w = w0; w < w1; w++) {
            if (h < 0 || h >= p->in_h || w < 0 || w >= p->in_w) continue;
            const float v = src[offset(&p->src, n, c, h, w)];
            if (p->adaptive)
                m += v;
            else if (v > m || isnan(v))
                m = v;
        }
    return p->adaptive ? m / (float)(h1 - h0) / (float)(w1 - w0) : m;
}

static void check(anx_dnnl_pooling p, int64_t c, int64_t src_block, int64_t dst_block, test_random *r) {
    p.src = layout(c, p.in_h, p.in_w, src_block);
    p.dst = layout(c, p.out_h, p.out_w, dst_block);
    const size_t in = (size_t)(p.batch * p.src.stride_n), out = (size_t)(p.batch * p.dst.stride_n);
    float *src = malloc(in * sizeof *src), *dst = malloc(out * sizeof *dst);
    CU_ASSERT_TRUE_FATAL(src != NULL && dst != NULL);
    for (size_t i = 0; i < in; i++) src[i] = special(r);
    for (int isa = ANX_ISA_PORTABLE; isa <= (int)anx_isa_best(); isa++) {
        p.isa = (anx_isa)isa;
        memset(dst, 0x7f, out * sizeof *dst); /* neither zero nor NaN */
        anx_dnnl_pooling_run(&p, src, dst);
        int64_t wrong = 0;
        for (int64_t n = 0; n < p.batch; n++)
            for (int64_t k = 0; k < p.dst.padded_channels; k++)
                for (int64_t h = 0; h < p.out_h; h++)
                    for (int64_t w = 0; w < p.out_w; w++) {
                        const float want = k < c ? expected_at(&p, src, n, k, h, w) : 0.0f;
                        const float got = dst[offset(&p.dst, n, k, h, w)];
                        wrong += memcmp(&want, &got, sizeof want) != 0 && !(isnan(want) && isnan(got));
                    }
        if (wrong == 0) continue;
        char text[256];
        snprintf(text, sizeof text, "%lld channels, blocks of %lld to %lld, instruction set %d: %lld wrong",
                 (long long)c, (long long)src_block, (long long)dst_block, isa, (long long)wrong);
        CU_assertImplementation(CU_FALSE, __LINE__, text, __FILE__, "", CU_FALSE);
    }
    CU_PASS("checked");
    free(dst);
    free(src);
}

static void check_layouts(const anx_dnnl_pooling *p) {
    static const int64_t channels[] = {1, 5, 16, 17, 40}, blocks[] = {1, 0, 16, 8, 4};
    test_random r = {.state = 12};
    for (int c = 0; c < 5; c++)
        for (int s = 0; s < 5; s++)
            for (int d = 0; d < 5; d++) check(*p, channels[c], blocks[s], blocks[d], &r);
}

static void max_pooling_is_pytorchs_on_every_layout(void) {
    const anx_dnnl_pooling plain = {.batch = 2,
                                    .in_h = 7,
                                    .in_w = 9,
                                    .out_h = 3,
                                    .out_w = 4,
                                    .kernel_h = 3,
                                    .kernel_w = 3,
                                    .stride_h = 2,
                                    .stride_w = 2};
    anx_dnnl_pooling padded = plain; /* with windows that reach over both ends */
    padded.out_h = 5;
    padded.pad_h = padded.pad_w = 1;
    padded.out_w = 5;
    check_layouts(&plain);
    check_layouts(&padded);
}

static void averages_are_pytorchs_on_every_layout(void) {
    const anx_dnnl_pooling uneven = {.batch = 2, .in_h = 7, .in_w = 5, .out_h = 6, .out_w = 3, .adaptive = true};
    const anx_dnnl_pooling wider = {.batch = 1, .in_h = 3, .in_w = 8, .out_h = 6, .out_w = 6, .adaptive = true};
    check_layouts(&uneven);
    check_layouts(&wider);
}

static void relu_keeps_nan_and_the_sign_of_zero(void) {
    const float x[] = {-1.0f, -0.0f, 0.0f, 2.5f, INFINITY, -INFINITY, 0x1p-149f, -0x1p-149f, NAN};
    const float want[] = {0.0f, -0.0f, 0.0f, 2.5f, INFINITY, 0.0f, 0x1p-149f, 0.0f};
    float y[9];
    anx_dnnl_relu_run(x, y, 9);
    CU_ASSERT_EQUAL(memcmp(y, want, sizeof want), 0);
    CU_ASSERT_TRUE(isnan(y[8]));
}

static void the_largest_magnitude_knows_nan_and_infinity(void) {
    enum { N = 100000 };
    float *x = calloc(N, sizeof *x);
    CU_ASSERT_PTR_NOT_NULL_FATAL(x);
    for (int isa = ANX_ISA_PORTABLE; isa <= (int)anx_isa_best(); isa++) {
        memset(x, 0, N * sizeof *x);
        CU_ASSERT_EQUAL(anx_dnnl_max_magnitude(x, N, (anx_isa)isa), 0.0f);
        x[N - 1] = -3.5f;
        x[7] = 3.0f;
        CU_ASSERT_EQUAL(anx_dnnl_max_magnitude(x, N, (anx_isa)isa), 3.5f);
        x[N / 2] = -INFINITY;
        CU_ASSERT_TRUE(isinf(anx_dnnl_max_magnitude(x, N, (anx_isa)isa)));
        x[3] = -NAN;
        CU_ASSERT_TRUE(isnan(anx_dnnl_max_magnitude(x, N, (anx_isa)isa)));
    }
    free(x);
}

/* Integers whose sums are exact: every order of summation gives the one right answer, any missed product another. */
static void linear_layers_miss_no_product(void) {
    static const int64_t widths[] = {1, 15, 63, 64, 65, 127, 1000};
    test_random r = {.state = 3};
    for (int k = 0; k < 7; k++) {
        const int64_t in = widths[k], out = 5, batch = 3;
        float *x = malloc((size_t)(batch * in) * sizeof *x), *w = malloc((size_t)(out * in) * sizeof *w);
        float bias[5], y[15];
        CU_ASSERT_TRUE_FATAL(x != NULL && w != NULL);
        for (int64_t i = 0; i < batch * in; i++) x[i] = (float)test_random_int(&r, -50, 50);
        for (int64_t i = 0; i < out * in; i++) w[i] = (float)test_random_int(&r, -50, 50);
        for (int64_t i = 0; i < out; i++) bias[i] = (float)test_random_int(&r, -50, 50);
        for (int isa = ANX_ISA_PORTABLE; isa <= (int)anx_isa_best(); isa++) {
            const anx_dnnl_linear linear = {.batch = batch, .in = in, .out = out, .isa = (anx_isa)isa};
            for (int with_bias = 0; with_bias < 2; with_bias++) {
                anx_dnnl_linear_run(&linear, w, with_bias ? bias : NULL, x, y);
                for (int64_t n = 0; n < batch; n++)
                    for (int64_t o = 0; o < out; o++) {
                        float expected = with_bias ? bias[o] : 0.0f;
                        for (int64_t i = 0; i < in; i++) expected += w[o * in + i] * x[n * in + i];
                        CU_ASSERT_EQUAL(y[n * out + o], expected);
                    }
            }
        }
        free(w);
        free(x);
    }
}

/*
 * One case of the next: integers again, dw at an aligned address or one float behind it, with a guard behind dw; and
 * the same without db.
 */
static void check_weights_gradient(const anx_dnnl_linear *l, bool aligned, test_random *r) {
    enum { ALIGN = 64 };
    static const float guard = 12345.0f;
    const int64_t batch = l->batch, in = l->in, out = l->out;
    const size_t dw_bytes = (size_t)(out * in + 2) * sizeof(float) + ALIGN;
    float *x = malloc((size_t)(batch * in) * sizeof *x), *dy = malloc((size_t)(batch * out) * sizeof *dy);
    float *scratch = malloc((size_t)anx_dnnl_linear_weights_scratch_elems(l) * sizeof *scratch);
    float *db = malloc((size_t)out * sizeof *db), *block = aligned_alloc(ALIGN, (dw_bytes / ALIGN + 1) * ALIGN);
    CU_ASSERT_TRUE_FATAL(x != NULL && dy != NULL && scratch != NULL && db != NULL && block != NULL);
    float *dw = block + (aligned ? 0 : 1);
    for (int64_t i = 0; i < batch * in; i++) x[i] = (float)test_random_int(r, -50, 50);
    for (int64_t i = 0; i < batch * out; i++) dy[i] = (float)test_random_int(r, -50, 50);
    dw[out * in] = guard;
    anx_dnnl_linear_backward_weights(l, x, dy, dw, db, scratch);
    int64_t wrong = 0;
    for (int64_t o = 0; o < out; o++) {
        float sum = 0.0f;
        for (int64_t n = 0; n < batch; n++) sum += dy[n * out + o];
        wrong += db[o] != sum;
        for (int64_t i = 0; i < in; i++) {
            float expected = 0.0f;
            for (int64_t n = 0; n < batch; n++) expected += dy[n * out + o] * x[n * in + i];
            wrong += dw[o * in + i] != expected;
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(dw[out * in], guard);
    float *again = malloc((size_t)(out * in) * sizeof *again);
    CU_ASSERT_PTR_NOT_NULL_FATAL(again);
    anx_dnnl_linear_backward_weights(l, x, dy, again, NULL, scratch);
    CU_ASSERT_EQUAL(memcmp(again, dw, (size_t)(out * in) * sizeof *again), 0);
    free(again);
    free(block);
    free(db);
    free(scratch);
    free(dy);
    free(x);
}

static void weights_gradients_miss_no_product(void) {
    static const int64_t widths[] = {1, 15, 64, 65, 192, 1000}, heights[] = {1, 6, 23, 24, 50}, batches[] = {1, 3, 17};
    test_random r = {.state = 4};
    for (int isa = ANX_ISA_PORTABLE; isa <= (int)anx_isa_best(); isa++)
        for (int w = 0; w < 6; w++)
            for (int h = 0; h < 5; h++)
                for (int b = 0; b < 3; b++) {
                    const anx_dnnl_linear linear = {
                        .batch = batches[b], .in = widths[w], .out = heights[h], .isa = (anx_isa)isa};
                    check_weights_gradient(&linear, true, &r);
                    check_weights_gradient(&linear, false, &r);
                }
}

/* Of so many elements, with a guard behind them. */
static void check_relu_backward(size_t elems, anx_isa isa) {
    static const float outputs[] = {0.0f, -0.0f, 1.0f, -1.0f, 0x1p-149f, -0x1p-149f, INFINITY, -INFINITY, NAN};
    static const float grads[] = {1.0f, -0.0f, NAN, -INFINITY}, guard = 12345.0f;
    float *y = malloc((elems + 1) * sizeof *y), *dy = malloc((elems + 1) * sizeof *dy);
    float *dx = malloc((elems + 1) * sizeof *dx);
    CU_ASSERT_TRUE_FATAL(y != NULL && dy != NULL && dx != NULL);
    for (size_t i = 0; i < elems; i++) {
        y[i] = outputs[(elems - i) % 9];
        dy[i] = i % 5 == 4 ? (float)i : grads[i % 5];
    }
    dx[elems] = guard;
    anx_dnnl_relu_run_backward(dy, y, dx, elems, isa);
    int wrong = 0;
    for (size_t i = 0; i < elems; i++) {
        const float expected = y[i] <= 0.0f ? 0.0f : dy[i];
        wrong += memcmp(&dx[i], &expected, sizeof expected) != 0;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(dx[elems], guard);
    free(y);
    free(dy);
    free(dx);
}

/* Every number of elements that a vector leaves, and what several threads share. */
static void relu_passes_gradients_back_where_the_output_is_not_0_or_less(void) {
    for (int isa = ANX_ISA_PORTABLE; isa <= (int)anx_isa_best(); isa++) {
        for (size_t elems = 0; elems < 40; elems++) check_relu_backward(elems, (anx_isa)isa);
        check_relu_backward(100007, (anx_isa)isa);
    }
}

static const anx_test tests[] = {
    {"max-pooling is PyTorch's on every layout", max_pooling_is_pytorchs_on_every_layout},
    {"averages are PyTorch's on every layout", averages_are_pytorchs_on_every_layout},
    {"ReLU keeps NaN and the sign of zero", relu_keeps_nan_and_the_sign_of_zero},
    {"ReLU passes gradients back where the output is not 0 or less",
     relu_passes_gradients_back_where_the_output_is_not_0_or_less},
    {"linear layers miss no product", linear_layers_miss_no_product},
    {"weights' gradients miss no product", weights_gradients_miss_no_product},
    {"the largest magnitude knows NaN and infinity", the_largest_magnitude_knows_nan_and_infinity},
    {NULL, NULL},
};

int main(int argc, char **argv) {
    return anx_test_main("dnnl_loops", tests, argc, argv);
}
