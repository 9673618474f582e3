#include "src/train/loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mt19937.h"
#include "src/base/sha256.h"
#include "tests/support/anx_test.h"
#include "tests/train/tables/losses.h"

enum { N_LOSSES = sizeof losses / sizeof losses[0], MOST = 80011 };

static const anx_train_kernels *select_kernels(const char *isa) {
    const anx_train_kernels *kernels = NULL;
    anx_error err = ANX_ERROR_INIT;
    setenv("ANX_ISA", isa, 1);
    ANX_CHECK_OK(anx_train_kernels_select(&kernels, &err), &err);
    unsetenv("ANX_ISA");
    return kernels;
}

typedef struct loss_case {
    anx_cross_entropy ce;
    float logits[MOST], log_probs[MOST], grad[MOST], scratch[18];
    int64_t targets[18];
    float loss;
} loss_case;

static void prepare(size_t i, loss_case *c) {
    c->ce = (anx_cross_entropy){.rows = losses[i].rows,
                                .classes = losses[i].classes,
                                .label_smoothing = losses[i].label_smoothing,
                                .targets = c->targets,
                                .scratch = c->scratch};
    for (int64_t b = 0; b < c->ce.rows; b++) c->targets[b] = 7 * b % c->ce.classes;
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, i);
    anx_mt19937_uniform_f32(&gen, (size_t)(c->ce.rows * c->ce.classes), -losses[i].scale, losses[i].scale, c->logits);
}

static void run(loss_case *c, const char *isa, int threads) {
    const anx_train_kernels *kernels = select_kernels(isa);
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_cross_entropy_check(&c->ce, &err), &err);
    c->loss = anx_cross_entropy_forward(kernels, &c->ce, c->logits, c->log_probs, threads);
    anx_cross_entropy_backward(kernels, &c->ce, c->log_probs, c->grad, threads);
}

static void check_bits(float got, uint32_t expected) {
    CU_ASSERT_EQUAL(memcmp(&got, &expected, sizeof got), 0);
}

static void check_digest(const float *values, size_t n, const char *expected) {
    anx_error err = ANX_ERROR_INIT;
    anx_digest digest;
    char hex[ANX_SHA256_HEX] = "";
    ANX_CHECK_OK(anx_sha256_buffer(values, n * sizeof *values, &digest, &err), &err);
    CU_ASSERT_STRING_EQUAL(anx_digest_hex(&digest, hex), expected);
}

static void losses_are_pytorchs(void) {
    static const char *const isas[] = {"avx512", "avx2", "portable"};
    for (size_t k = 0; k < N_LOSSES * 3; k++) {
        const size_t i = k / 3;
        static loss_case c;
        prepare(i, &c);
        run(&c, isas[k % 3], k % 2 == 0 ? 1 : 3);
        const size_t n = (size_t)(c.ce.rows * c.ce.classes), row = n - (size_t)c.ce.classes;
        check_bits(c.loss, losses[i].loss);
        check_bits(c.log_probs[row], losses[i].first_log_prob);
        check_bits(c.log_probs[n - 1], losses[i].last_log_prob);
        check_bits(c.grad[row], losses[i].first_grad);
        check_bits(c.grad[n - 1], losses[i].last_grad);
        check_digest(c.log_probs, n, losses[i].log_probs);
        check_digest(c.grad, n, losses[i].grad);
    }
}

/* The gradient in double is the slope of the loss in double, and the float one is near it. */
static void gradients_are_slopes(void) {
    for (size_t i = 0; i < 6; i++) {
        static loss_case c;
        static double x[MOST], log_probs[MOST], grad[MOST];
        prepare(i, &c);
        run(&c, "", 1);
        const size_t n = (size_t)(c.ce.rows * c.ce.classes);
        for (size_t k = 0; k < n; k++) x[k] = (double)c.logits[k];
        const double loss = anx_cross_entropy_f64(&c.ce, x, log_probs, grad);
        CU_ASSERT_DOUBLE_EQUAL((double)c.loss, loss, 4e-7 * fabs(loss));
        for (size_t k = 0; k < n; k += 3) {
            const double at = x[k], h = 1e-5;
            x[k] = at + h;
            const double above = anx_cross_entropy_f64(&c.ce, x, NULL, NULL);
            x[k] = at - h;
            const double below = anx_cross_entropy_f64(&c.ce, x, NULL, NULL);
            x[k] = at;
            CU_ASSERT_DOUBLE_EQUAL(grad[k], (above - below) / (2 * h), 1e-8);
            CU_ASSERT_DOUBLE_EQUAL((double)c.grad[k], grad[k], 1e-6 / (double)c.ce.rows);
            CU_ASSERT_DOUBLE_EQUAL((double)c.log_probs[k], log_probs[k], 1e-5);
        }
    }
}

static void top1_takes_the_first_of_the_largest(void) {
    const float logits[6][3] = {{1, 2, 2},    {2, 1, 2}, {NAN, 3, 4}, {0, 5, NAN}, {-INFINITY, -INFINITY, -INFINITY},
                                {7, NAN, NAN}};
    anx_cross_entropy ce = {.rows = 6, .classes = 3, .targets = (const int64_t[]){1, 0, 0, 2, 0, 1}};
    CU_ASSERT_EQUAL(anx_top1_count(&ce, logits[0]), 6);
    ce.targets = (const int64_t[]){2, 2, 2, 1, 1, 2};
    CU_ASSERT_EQUAL(anx_top1_count(&ce, logits[0]), 0);
}

static void a_nan_reaches_the_loss(void) {
    static loss_case c;
    prepare(4, &c);
    c.logits[23] = INFINITY;
    run(&c, "", 1);
    CU_ASSERT_TRUE(isnan(c.loss));
    CU_ASSERT_TRUE(isnan(c.grad[19]) && !isnan(c.grad[18]));
}

/* exp(-inf) is 0: a class that cannot be adds nothing where it is not asked for, and everything where it is. */
static void a_class_that_cannot_be(void) {
    const double logits[3] = {0.0, 0.0, -INFINITY};
    anx_cross_entropy ce = {.rows = 1, .classes = 3, .targets = (const int64_t[]){0}};
    double log_probs[3], grad[3];
    CU_ASSERT_DOUBLE_EQUAL(anx_cross_entropy_f64(&ce, logits, log_probs, grad), log(2.0), 1e-15);
    CU_ASSERT(log_probs[2] == -INFINITY && grad[2] == 0.0 && grad[0] == -0.5 && grad[1] == 0.5);
    ce.targets = (const int64_t[]){2};
    CU_ASSERT(isinf(anx_cross_entropy_f64(&ce, logits, NULL, NULL)));
}

static void what_is_out_of_range_is_refused(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_cross_entropy ce = {.rows = 2, .classes = 3, .targets = (const int64_t[]){2, 3}};
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_cross_entropy_check(&ce, &err), &err);
    ANX_CHECK_MESSAGE("the target of image 1 is 3 of 3 classes", &err);
    ce.targets = (const int64_t[]){-100, 0};
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_cross_entropy_check(&ce, &err), &err);
    ANX_CHECK_MESSAGE("image 0 is -100", &err);
    ce.targets = (const int64_t[]){0, 0};
    ce.label_smoothing = 0.1;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_cross_entropy_check(&ce, &err), &err);
    ANX_CHECK_MESSAGE("scratch", &err);
    ce.label_smoothing = NAN;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_cross_entropy_check(&ce, &err), &err);
    ANX_CHECK_MESSAGE("label smoothing is nan", &err);
    ce.rows = 0;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_cross_entropy_check(&ce, &err), &err);
    ANX_CHECK_MESSAGE("0 images", &err);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"losses and gradients are PyTorch's, bit for bit", losses_are_pytorchs},
        {"gradients are slopes", gradients_are_slopes},
        {"top-1 takes the first of the largest", top1_takes_the_first_of_the_largest},
        {"a NaN reaches the loss", a_nan_reaches_the_loss},
        {"a class that cannot be", a_class_that_cannot_be},
        {"what is out of range is refused", what_is_out_of_range_is_refused},
        {NULL, NULL},
    };
    return anx_test_main("loss", tests, argc, argv);
}
