#include "src/train/sgd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mt19937.h"
#include "tests/support/anx_test.h"
#include "tests/train/tables/sgd.h"

static const anx_train_kernels *select_kernels(const char *isa) {
    const anx_train_kernels *kernels = NULL;
    anx_error err = ANX_ERROR_INIT;
    setenv("ANX_ISA", isa, 1);
    ANX_CHECK_OK(anx_train_kernels_select(&kernels, &err), &err);
    unsetenv("ANX_ISA");
    return kernels;
}

static const char *const isas[] = {"avx512", "avx2", "portable"};
enum { N_ISAS = sizeof isas / sizeof isas[0], N_CASES = sizeof sgd_cases / sizeof sgd_cases[0] };

static anx_sgd_options options_of(size_t i) {
    return (anx_sgd_options){.lr = sgd_cases[i].lr,
                             .momentum = sgd_cases[i].momentum,
                             .dampening = sgd_cases[i].dampening,
                             .weight_decay = sgd_cases[i].weight_decay,
                             .nesterov = sgd_cases[i].nesterov,
                             .maximize = sgd_cases[i].maximize};
}

static void steps_are_pytorchs(void) {
    for (size_t c = 0; c < N_CASES * N_ISAS; c++) {
        const size_t i = c / N_ISAS;
        const anx_sgd_options options = options_of(i);
        float param[SGD_ELEMS], grad[SGD_ELEMS], buffer[SGD_ELEMS];
        anx_sgd_slice slice = {.elems = SGD_ELEMS, .param = param, .grad = grad, .buffer = buffer};
        anx_mt19937 gen;
        anx_mt19937_seed(&gen, i);
        anx_mt19937_uniform_f32(&gen, SGD_ELEMS, -1.0f, 1.0f, param);
        for (int step = 0; step < SGD_STEPS; step++) {
            anx_mt19937_uniform_f32(&gen, SGD_ELEMS, -1.0f, 1.0f, grad);
            anx_sgd_step(select_kernels(isas[c % N_ISAS]), &options, &slice, 1, 1);
        }
        CU_ASSERT_EQUAL(memcmp(param, sgd_cases[i].param, sizeof param), 0);
        CU_ASSERT_EQUAL(slice.has_buffer, options.momentum != 0.0);
        if (slice.has_buffer) CU_ASSERT_EQUAL(memcmp(buffer, sgd_cases[i].buffer, sizeof buffer), 0);
    }
}

/* Every case a group, with slices of uneven sizes in one arena, one of them empty. Three steps; param then buffer. */
static float *train_arena(const anx_train_kernels *kernels, size_t piece, int threads) {
    enum { MOST = 4000, ELEMS = 30011 };
    const anx_sgd_options groups[2] = {options_of(2), options_of(3)};
    float *arena = malloc(3 * ELEMS * sizeof *arena);
    anx_sgd_slice *slices = calloc(MOST, sizeof *slices);
    CU_ASSERT_FATAL(arena != NULL && slices != NULL);
    int n = 0;
    for (size_t at = 0; at < ELEMS; n++) {
        size_t now = n == 2 ? 0 : piece < ELEMS - at ? piece : ELEMS - at;
        if (at < ELEMS / 2 && at + now > ELEMS / 2) now = ELEMS / 2 - at; /* where the second group begins */
        CU_ASSERT_FATAL(n < MOST);
        slices[n] = (anx_sgd_slice){.group = at >= ELEMS / 2,
                                    .elems = now,
                                    .param = arena + at,
                                    .buffer = arena + ELEMS + at,
                                    .grad = arena + 2 * ELEMS + at};
        at += now;
    }
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 1);
    anx_mt19937_uniform_f32(&gen, ELEMS, -1.0f, 1.0f, arena);
    for (int step = 0; step < 3; step++) {
        anx_mt19937_uniform_f32(&gen, ELEMS, -1.0f, 1.0f, arena + 2 * ELEMS);
        anx_sgd_step(kernels, groups, slices, n, threads);
    }
    free(slices);
    return arena;
}

static void threads_pieces_and_loops_change_no_bit(void) {
    float *expected = train_arena(select_kernels("portable"), 30011, 1);
    static const struct {
        size_t piece;
        int threads;
    } ways[] = {{30011, 1}, {30011, 7}, {1000, 2}, {61, 3}, {9, 2}};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        float *got = train_arena(select_kernels(isas[i % N_ISAS]), ways[i].piece, ways[i].threads);
        CU_ASSERT_EQUAL(memcmp(got, expected, 2 * 30011 * sizeof *got), 0);
        free(got);
    }
    free(expected);
}

static void parameters_without_a_gradient_stay(void) {
    const anx_sgd_options options = {.lr = 1.0, .momentum = 0.5, .weight_decay = 1.0};
    float params[2] = {1.0f, 2.0f}, buffers[2] = {NAN, 4.0f}, grad = 0.25f;
    anx_sgd_slice slices[2] = {
        {.elems = 1, .param = &params[0], .buffer = &buffers[0]},
        {.elems = 1, .param = &params[1], .buffer = &buffers[1], .has_buffer = true},
    };
    const anx_train_kernels *kernels = select_kernels("");
    anx_sgd_step(kernels, &options, slices, 2, 1);
    CU_ASSERT_TRUE(params[0] == 1.0f && params[1] == 2.0f && buffers[1] == 4.0f && !slices[0].has_buffer);
    slices[0].grad = slices[1].grad = &grad;
    anx_sgd_step(kernels, &options, slices, 2, 1);
    CU_ASSERT_TRUE(slices[0].has_buffer);
    CU_ASSERT_EQUAL(buffers[0], 1.25f); /* the first step's gradient, whatever the buffer held */
    CU_ASSERT_EQUAL(params[0], -0.25f);
    CU_ASSERT_EQUAL(buffers[1], 2.0f + 2.25f);
    CU_ASSERT_EQUAL(params[1], 2.0f - 4.25f);
}

static void options_are_checked(void) {
    static const struct {
        anx_sgd_options options;
        const char *message;
    } bad[] = {
        {{.lr = -0.1}, "learning rate is -0.1"},
        {{.lr = NAN}, "learning rate is nan"},
        {{.lr = 1e39}, "learning rate is 1e+39"},
        {{.momentum = -1.0}, "momentum is -1"},
        {{.weight_decay = -1e-4}, "weight decay is -0.0001"},
        {{.dampening = INFINITY}, "dampening is inf"},
        {{.nesterov = true}, "these are 0 and 0"},
        {{.momentum = 0.9, .dampening = 0.5, .nesterov = true}, "these are 0.9 and 0.5"},
    };
    anx_error err = ANX_ERROR_INIT;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_sgd_options_check(&bad[i].options, &err), &err);
        ANX_CHECK_MESSAGE(bad[i].message, &err);
    }
    const anx_sgd_options good = {.lr = 0.0, .momentum = 0.9, .dampening = -1.0};
    ANX_CHECK_OK(anx_sgd_options_check(&good, &err), &err);
}

static void unknown_loops_are_refused(void) {
    const anx_train_kernels *kernels = NULL;
    anx_error err = ANX_ERROR_INIT;
    setenv("ANX_ISA", "mmx", 1);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_train_kernels_select(&kernels, &err), &err);
    ANX_CHECK_MESSAGE("ANX_ISA is 'mmx'", &err);
    unsetenv("ANX_ISA");
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"steps are PyTorch's, bit for bit", steps_are_pytorchs},
        {"threads, pieces and loops change no bit", threads_pieces_and_loops_change_no_bit},
        {"parameters without a gradient stay as they are", parameters_without_a_gradient_stay},
        {"options are checked", options_are_checked},
        {"unknown loops are refused", unknown_loops_are_refused},
        {NULL, NULL},
    };
    return anx_test_main("sgd", tests, argc, argv);
}
