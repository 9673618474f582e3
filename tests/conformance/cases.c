#include "tests/conformance/cases.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/layer_rows.h"

#define ROWS(...) ((const anx_layer[]){__VA_ARGS__})
#define CASE(title, channels, h, w, n, last, ...)                                                                      \
    {                                                                                                                  \
        .arch = {.name = title,                                                                                        \
                 .summary = title,                                                                                     \
                 .in_channels = channels,                                                                              \
                 .default_size = h,                                                                                    \
                 .min_size = 1,                                                                                        \
                 .default_classes = 7,                                                                                 \
                 .logits = last,                                                                                       \
                 .layers = ROWS(__VA_ARGS__),                                                                          \
                 .n_layers = sizeof ROWS(__VA_ARGS__) / sizeof(anx_layer),                                             \
                 .internal = true},                                                                                    \
        .height = h, .width = w, .batch = n                                                                            \
    }

static const conformance_case cases[] = {
    /* Convolutions: (out channels, kernel, stride, padding, dilation, groups). */
    CASE("conv 1x1, one channel, one pixel", 1, 1, 1, 1, "c", CONV("c", 1, 1, 1, 1, 1, 0, 0, 1, 1, 1)),
    CASE("conv 1x1, odd channels", 13, 6, 7, 2, "c", CONV("c", 19, 1, 1, 1, 1, 0, 0, 1, 1, 1)),
    CASE("conv 1x1 with stride 2", 16, 9, 8, 1, "c", CONV("c", 16, 1, 1, 2, 2, 0, 0, 1, 1, 1)),
    CASE("conv 3x3, padding 1, 16 channels", 16, 13, 13, 2, "c", CONV("c", 32, 3, 3, 1, 1, 1, 1, 1, 1, 1)),
    CASE("conv 3x3, padding 1, odd channels", 5, 11, 9, 3, "c", CONV("c", 7, 3, 3, 1, 1, 1, 1, 1, 1, 1)),
    CASE("conv 3x3, no padding, 17 to 33 channels", 17, 7, 6, 1, "c", CONV("c", 33, 3, 3, 1, 1, 0, 0, 1, 1, 1)),
    CASE("conv 5x5, padding 2", 6, 10, 14, 4, "c", CONV("c", 20, 5, 5, 1, 1, 2, 2, 1, 1, 1)),
    CASE("conv 11x11, stride 4, padding 2", 3, 63, 71, 1, "c", CONV("c", 64, 11, 11, 4, 4, 2, 2, 1, 1, 1)),
    CASE("conv 11x11, stride 4, padding 2, batch 5", 3, 31, 35, 5, "c", CONV("c", 9, 11, 11, 4, 4, 2, 2, 1, 1, 1)),
    CASE("conv, unequal kernel, stride and padding", 4, 12, 17, 2, "c", CONV("c", 6, 2, 5, 3, 2, 1, 3, 1, 1, 1)),
    CASE("conv, kernel as large as the padded input", 3, 5, 4, 2, "c", CONV("c", 5, 7, 6, 1, 1, 1, 1, 1, 1, 1)),
    CASE("conv, padding wider than the kernel", 2, 3, 3, 1, "c", CONV("c", 3, 2, 2, 1, 1, 4, 3, 1, 1, 1)),
    CASE("conv, stride larger than the kernel", 3, 14, 15, 1, "c", CONV("c", 4, 2, 2, 5, 4, 0, 0, 1, 1, 1)),
    CASE("conv, last rows and columns never read", 3, 12, 12, 1, "c", CONV("c", 8, 3, 3, 4, 4, 0, 0, 1, 1, 1)),
    CASE("conv, dilation 2", 4, 13, 12, 2, "c", CONV("c", 6, 3, 3, 1, 1, 2, 2, 2, 2, 1)),
    CASE("conv, unequal dilation, stride 2", 3, 15, 19, 1, "c", CONV("c", 5, 3, 2, 2, 2, 1, 2, 2, 3, 1)),
    CASE("conv, two groups", 8, 9, 9, 2, "c", CONV("c", 12, 3, 3, 1, 1, 1, 1, 1, 1, 2)),
    CASE("conv, two groups of 16", 32, 8, 7, 1, "c", CONV("c", 32, 5, 5, 1, 1, 2, 2, 1, 1, 2)),
    CASE("conv, three groups, odd channels", 9, 7, 8, 2, "c", CONV("c", 15, 3, 3, 1, 1, 1, 1, 1, 1, 3)),
    CASE("conv, depthwise", 6, 9, 10, 2, "c", CONV("c", 6, 3, 3, 1, 1, 1, 1, 1, 1, 6)),
    CASE("conv, depthwise with two outputs each", 5, 8, 8, 1, "c", CONV("c", 10, 3, 3, 2, 2, 1, 1, 1, 1, 5)),
    CASE("conv, grouped, strided and dilated", 6, 17, 16, 3, "c", CONV("c", 8, 3, 3, 2, 3, 2, 1, 2, 2, 2)),
    CASE("conv, one output row", 7, 3, 20, 2, "c", CONV("c", 9, 3, 3, 1, 1, 0, 1, 1, 1, 1)),
    CASE("conv, tall and narrow", 3, 40, 1, 1, "c", CONV("c", 5, 5, 1, 2, 1, 2, 0, 1, 1, 1)),
    CASE("conv, many taps", 96, 6, 6, 1, "c", CONV("c", 24, 3, 3, 1, 1, 1, 1, 1, 1, 1)),

    /* Max-pooling: (kernel, stride, padding, ceil_mode). */
    CASE("max-pool 3/2", 5, 13, 13, 2, "p", POOL("p", 3, 3, 2, 2, 0, 0, false)),
    CASE("max-pool 3/2, a row and column left over", 16, 12, 14, 1, "p", POOL("p", 3, 3, 2, 2, 0, 0, false)),
    CASE("max-pool 3/2, ceil_mode", 3, 12, 14, 2, "p", POOL("p", 3, 3, 2, 2, 0, 0, true)),
    CASE("max-pool, ceil_mode, window past the end dropped", 3, 6, 7, 1, "p", POOL("p", 2, 2, 3, 3, 1, 1, true)),
    CASE("max-pool with padding", 4, 9, 8, 3, "p", POOL("p", 3, 3, 2, 2, 1, 1, false)),
    CASE("max-pool with padding and ceil_mode", 17, 8, 11, 1, "p", POOL("p", 3, 3, 2, 2, 1, 1, true)),
    CASE("max-pool, unequal window, stride and padding", 3, 11, 13, 2, "p", POOL("p", 2, 5, 3, 2, 1, 2, false)),
    CASE("max-pool, windows apart", 2, 11, 10, 1, "p", POOL("p", 2, 2, 4, 3, 0, 0, false)),
    CASE("max-pool, one window over all", 7, 5, 6, 4, "p", POOL("p", 5, 6, 1, 1, 0, 0, false)),
    CASE("max-pool, a row of eleven", 1, 1, 11, 1, "p", POOL("p", 1, 3, 1, 2, 0, 0, false)),
    CASE("max-pool 1x1", 3, 4, 5, 1, "p", POOL("p", 1, 1, 1, 1, 0, 0, false)),

    /* Adaptive averages: AlexNet's 6x6 from what its inputs leave, and windows that do not divide. */
    CASE("adaptive average 6 to 6", 5, 6, 6, 2, "a", AVERAGE("a", 6, 6)),
    CASE("adaptive average 7 to 6", 3, 7, 7, 2, "a", AVERAGE("a", 6, 6)),
    CASE("adaptive average 8 to 6", 17, 8, 8, 1, "a", AVERAGE("a", 6, 6)),
    CASE("adaptive average 12 to 6", 4, 12, 12, 1, "a", AVERAGE("a", 6, 6)),
    CASE("adaptive average 13 to 6", 3, 13, 13, 1, "a", AVERAGE("a", 6, 6)),
    CASE("adaptive average 5 to 6", 2, 5, 5, 3, "a", AVERAGE("a", 6, 6)),
    CASE("adaptive average 1 to 6", 3, 1, 1, 5, "a", AVERAGE("a", 6, 6)),
    CASE("adaptive average, uneven both ways", 4, 7, 11, 2, "a", AVERAGE("a", 3, 5)),
    CASE("adaptive average to one", 9, 5, 4, 2, "a", AVERAGE("a", 1, 1)),
    CASE("adaptive average, narrower and wider at once", 3, 8, 3, 1, "a", AVERAGE("a", 2, 5)),
    CASE("adaptive average, quarters", 3, 8, 4, 2, "a", AVERAGE("a", 4, 2)),

    /* Linear, softmax. The input's features are C*H*W. */
    CASE("linear 1 to 1", 1, 1, 1, 1, "l", FLATTEN, LINEAR("l", 1)),
    CASE("linear, odd sizes", 13, 1, 1, 1, "l", FLATTEN, LINEAR("l", 7)),
    CASE("linear, odd sizes, batch 3", 7, 5, 3, 3, "l", FLATTEN, LINEAR("l", 31)),
    CASE("linear, batch 2", 4, 8, 8, 2, "l", FLATTEN, LINEAR("l", 64)),
    CASE("linear, batch 4", 3, 7, 7, 4, "l", FLATTEN, LINEAR("l", 50)),
    CASE("linear, batch 5", 17, 3, 3, 5, "l", FLATTEN, LINEAR("l", 129)),
    CASE("linear, 1201 to 67", 1201, 1, 1, 4, "l", FLATTEN, LINEAR("l", 67)),
    CASE("linear to the number of classes", 6, 3, 3, 2, "l", FLATTEN, LINEAR("l", ANX_NUM_CLASSES)),
    CASE("softmax of one", 1, 1, 1, 2, "flatten", FLATTEN, SOFTMAX),
    CASE("softmax, four", 4, 1, 1, 1, "flatten", FLATTEN, SOFTMAX),
    CASE("softmax, odd size", 37, 1, 1, 3, "flatten", FLATTEN, SOFTMAX),
    CASE("softmax of 1000", 1000, 1, 1, 2, "flatten", FLATTEN, SOFTMAX),

    /* Elementwise alone, then what a plan may fuse or reorder. */
    CASE("relu, nine", 1, 3, 3, 1, "r", RELU("r")),
    CASE("relu alone", 5, 3, 7, 2, "r", RELU("r")),
    CASE("flatten alone", 5, 3, 4, 3, "flatten", FLATTEN),
    CASE("dropout alone", 3, 2, 5, 2, "d", DROPOUT("d")),
    CASE("relu after the input, twice", 3, 4, 4, 1, "r2", RELU("r1"), RELU("r2")),
    CASE("conv, relu", 3, 9, 9, 2, "r", CONV("c", 12, 3, 3, 1, 1, 1, 1, 1, 1, 1), RELU("r")),
    CASE("conv, conv without a relu between", 3, 8, 8, 1, "c2", CONV("c1", 9, 3, 3, 1, 1, 1, 1, 1, 1, 1),
         CONV("c2", 17, 3, 3, 1, 1, 0, 0, 1, 1, 1)),
    CASE("conv, pool without a relu between", 4, 11, 11, 2, "p", CONV("c", 10, 3, 3, 1, 1, 1, 1, 1, 1, 1),
         POOL("p", 3, 3, 2, 2, 0, 0, false)),
    CASE("conv, relu, pool, conv, relu, pool", 3, 35, 31, 2, "p2", CONV("c1", 8, 5, 5, 2, 2, 2, 2, 1, 1, 1), RELU("r1"),
         POOL("p1", 3, 3, 2, 2, 0, 0, false), CONV("c2", 18, 3, 3, 1, 1, 1, 1, 1, 1, 2), RELU("r2"),
         POOL("p2", 3, 3, 2, 2, 0, 0, false)),
    CASE("conv, relu, flatten, linear", 3, 6, 5, 3, "l", CONV("c", 11, 3, 3, 1, 1, 1, 1, 1, 1, 1), RELU("r"), FLATTEN,
         LINEAR("l", 23)),
    CASE("conv, average, flatten, linear", 3, 9, 9, 2, "l", CONV("c", 11, 3, 3, 1, 1, 1, 1, 1, 1, 1),
         AVERAGE("a", 6, 6), FLATTEN, LINEAR("l", 5)),
    CASE("conv, relu, pool, average, flatten, linear", 3, 17, 17, 2, "l", CONV("c", 20, 3, 3, 1, 1, 0, 0, 1, 1, 1),
         RELU("r"), POOL("p", 3, 3, 2, 2, 0, 0, false), AVERAGE("a", 6, 6), FLATTEN, LINEAR("l", 9)),
    CASE("linear, relu, dropout, linear, softmax", 5, 4, 4, 5, "l2", FLATTEN, DROPOUT("d1"), LINEAR("l1", 41),
         RELU("r1"), DROPOUT("d2"), LINEAR("l2", 19), SOFTMAX),
    CASE("linear, linear without a relu between", 29, 1, 1, 2, "l2", FLATTEN, LINEAR("l1", 33), LINEAR("l2", 15)),
    CASE("pool, pool", 3, 15, 15, 1, "p2", POOL("p1", 3, 3, 2, 2, 0, 0, false), POOL("p2", 2, 2, 2, 2, 1, 1, true)),
    CASE("logits before the last row", 12, 1, 1, 2, "l", FLATTEN, LINEAR("l", ANX_NUM_CLASSES), SOFTMAX),
};

static const conformance_case refused[] = {
    CASE("conv, kernel larger than the padded input", 3, 4, 9, 1, "c", CONV("c", 5, 7, 3, 1, 1, 1, 1, 1, 1, 1)),
    CASE("conv, dilated kernel larger than the padded input", 3, 6, 6, 1, "c", CONV("c", 5, 3, 3, 1, 1, 0, 0, 3, 3, 1)),
    CASE("conv, channels that groups do not divide", 4, 6, 6, 1, "c", CONV("c", 6, 3, 3, 1, 1, 0, 0, 1, 1, 3)),
    CASE("max-pool, window larger than the input", 3, 2, 9, 1, "p", POOL("p", 3, 3, 2, 2, 0, 0, false)),
    CASE("max-pool, padding more than half the window", 3, 9, 9, 1, "p", POOL("p", 3, 3, 2, 2, 2, 1, false)),
    CASE("linear on planes", 3, 4, 4, 1, "l", LINEAR("l", 5)),
};

/* The narrow network as a whole, the last case: every kind of layer, one behind the other. */
static const conformance_case *narrow(void) {
    static conformance_case c;
    c = (conformance_case){.arch = *anx_arch_find("narrow"), .height = 33, .width = 33, .batch = 3};
    return &c;
}

const conformance_case *conformance_case_at(int i) {
    const int count = (int)(sizeof cases / sizeof cases[0]);
    return i == count ? narrow() : i >= 0 && i < count ? &cases[i] : NULL;
}

const conformance_case *conformance_refused_at(int i) {
    return i >= 0 && i < (int)(sizeof refused / sizeof refused[0]) ? &refused[i] : NULL;
}

void conformance_lift(const conformance_case *c, conformance_lifted *out) {
    *out = (conformance_lifted){.c = *c};
    if (c->arch.n_layers >= CONFORMANCE_MAX_ROWS) abort();
    out->rows[0] = (anx_layer)CONV("lift", c->arch.in_channels, 1, 1, 1, 1, 0, 0, 1, 1, 1);
    memcpy(out->rows + 1, c->arch.layers, (size_t)c->arch.n_layers * sizeof *out->rows);
    out->c.arch.layers = out->rows;
    out->c.arch.n_layers++;
}
