/*
 * train_tool COMMAND NUMBER...: the parts of training for a script to compare with PyTorch. Numbers are decimal or
 * hexadecimal; arrays come on standard input and go to standard output, raw and little-endian. Commands are the rows
 * of the table at the end. Exits 1 with a message where a function refuses or the input is short.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/train/sgd.h"

/* ---- numbers and arrays --------------------------------------------------------------------------------- */

static void fail(const char *what) {
    fprintf(stderr, "train_tool: %s\n", what);
    exit(1);
}

static void check(anx_status status, const anx_error *err) {
    if (status != ANX_OK) fail(err->message);
}

static char **next_number;

static const char *take_text(void) {
    if (*next_number == NULL) fail("too few numbers");
    return *next_number++;
}

static double take_double(void) {
    return strtod(take_text(), NULL);
}

static int64_t take_int(void) {
    return strtoll(take_text(), NULL, 0);
}

static void *new_array(size_t n, size_t size) {
    void *p = calloc(n + 1, size);
    if (p == NULL) fail("out of memory");
    return p;
}

static void read_array(void *out, size_t n, size_t size) {
    if (fread(out, size, n, stdin) != n) fail("standard input is too short");
}

static void write_array(const void *in, size_t n, size_t size) {
    if (fwrite(in, size, n, stdout) != n) fail("standard output does not take it all");
}

static float *read_floats(size_t n) {
    float *x = new_array(n, sizeof *x);
    read_array(x, n, sizeof *x);
    return x;
}

/* ---- SGD ------------------------------------------------------------------------------------------------ */

static anx_sgd_options *take_sgd_groups(int *n_groups) {
    *n_groups = (int)take_int();
    anx_sgd_options *groups = new_array((size_t)*n_groups, sizeof *groups);
    anx_error err = ANX_ERROR_INIT;
    for (int i = 0; i < *n_groups; i++) {
        groups[i].lr = take_double();
        groups[i].momentum = take_double();
        groups[i].dampening = take_double();
        groups[i].weight_decay = take_double();
        groups[i].nesterov = take_int() != 0;
        groups[i].maximize = take_int() != 0;
        check(anx_sgd_options_check(&groups[i], &err), &err);
    }
    return groups;
}

/*
 * sgd THREADS STEPS GROUPS (LR MOMENTUM DAMPENING DECAY NESTEROV MAXIMIZE)... SLICES (GROUP ELEMS)...
 * In: every parameter; for each step and parameter a byte and, where it is 1, the gradient. Out: after each step, for
 * every parameter, its elements, a byte and, where it is 1, the momentum.
 */
static void run_sgd(void) {
    const int threads = (int)take_int(), steps = (int)take_int();
    int n_groups;
    anx_sgd_options *groups = take_sgd_groups(&n_groups);
    const int n = (int)take_int();
    anx_sgd_slice *slices = new_array((size_t)n, sizeof *slices);
    float **grads = new_array((size_t)n, sizeof *grads);
    for (int i = 0; i < n; i++) {
        slices[i].group = (int)take_int();
        slices[i].elems = (size_t)take_int();
        slices[i].param = read_floats(slices[i].elems);
        slices[i].buffer = new_array(slices[i].elems, sizeof(float));
        grads[i] = new_array(slices[i].elems, sizeof(float));
    }
    const anx_sgd_kernels *kernels;
    anx_error err = ANX_ERROR_INIT;
    check(anx_sgd_kernels_select(&kernels, &err), &err);
    for (int step = 0; step < steps; step++) {
        for (int i = 0; i < n; i++) {
            unsigned char has;
            read_array(&has, 1, 1);
            if (has) read_array(grads[i], slices[i].elems, sizeof(float));
            slices[i].grad = has ? grads[i] : NULL;
        }
        anx_sgd_step(kernels, groups, slices, n, threads);
        for (int i = 0; i < n; i++) {
            const unsigned char has = slices[i].has_buffer;
            write_array(slices[i].param, slices[i].elems, sizeof(float));
            write_array(&has, 1, 1);
            if (has) write_array(slices[i].buffer, slices[i].elems, sizeof(float));
        }
    }
    for (int i = 0; i < n; i++) {
        free(slices[i].param);
        free(slices[i].buffer);
        free(grads[i]);
    }
    free(grads);
    free(slices);
    free(groups);
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Three arrays read, two of them written, with the least of arithmetic. */
static void stream(size_t n, const float *grad, float *param, float *buffer, int threads) {
#pragma omp parallel for simd schedule(static) num_threads(threads)
    for (size_t i = 0; i < n; i++) {
        buffer[i] += grad[i];
        param[i] -= buffer[i];
    }
}

/* sgd_speed THREADS ELEMS: the best of seven steps beside the memory's bandwidth for the same traffic, as text. */
static void run_sgd_speed(void) {
    const int threads = (int)take_int();
    const size_t n = (size_t)take_int();
    const anx_sgd_options group = {.lr = 0.01, .momentum = 0.9, .weight_decay = 1e-4};
    float *grad = new_array(n, sizeof(float));
    anx_sgd_slice slice = {.elems = n, .grad = grad, .param = new_array(n, sizeof(float))};
    slice.buffer = new_array(n, sizeof(float));
    const anx_sgd_kernels *kernels;
    anx_error err = ANX_ERROR_INIT;
    check(anx_sgd_kernels_select(&kernels, &err), &err);
    double best_step = 1e9, best_stream = 1e9;
    for (int i = 0; i < 8; i++) {
        const double t0 = seconds();
        stream(n, grad, slice.param, slice.buffer, threads);
        const double t1 = seconds();
        anx_sgd_step(kernels, &group, &slice, 1, threads);
        const double t2 = seconds();
        if (i == 0) continue;
        best_stream = t1 - t0 < best_stream ? t1 - t0 : best_stream;
        best_step = t2 - t1 < best_step ? t2 - t1 : best_step;
    }
    printf("step %.3g ms, stream %.3g ms, ratio %.2f, %.3g GB/s\n", 1e3 * best_step, 1e3 * best_stream,
           best_step / best_stream, (double)n * 20e-9 / best_step);
    free(slice.param);
    free(slice.buffer);
    free(grad);
}

/* ---- commands ------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*run)(void);
} commands[] = {
    {"sgd", run_sgd},
    {"sgd_speed", run_sgd_speed},
};

int main(int argc, char **argv) {
    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(argv[1], commands[i].name) != 0) continue;
        next_number = argv + 2;
        commands[i].run();
        return fflush(stdout) == 0 ? 0 : 1;
    }
    fail("no such command");
}
