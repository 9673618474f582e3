/*
 * train_tool COMMAND NUMBER...: the parts of training for a script to compare with PyTorch. Numbers are decimal or
 * hexadecimal; arrays come on standard input and go to standard output, raw and little-endian. Commands are the rows
 * of the table at the end. Exits 1 with a message where a function refuses or the input is short.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/train/dropout_mask.h"
#include "src/train/loss.h"
#include "src/train/normal.h"
#include "src/train/sampling.h"
#include "src/train/schedule.h"
#include "tests/train/tool_io.h"

static float *read_floats(size_t n) {
    float *x = new_array(n, sizeof *x);
    read_array(x, n, sizeof *x);
    return x;
}

/* ---- SGD ------------------------------------------------------------------------------------------------ */

/*
 * sgd THREADS STEPS GROUPS (LR MOMENTUM DAMPENING DECAY NESTEROV MAXIMIZE)... SLICES (GROUP ELEMS)...
 * In: every parameter; for each step and parameter a byte and, where it is 1, the gradient. Out: after each step, for
 * every parameter, its elements, a byte and, where it is 1, the momentum.
 */
static void run_sgd(void) {
    const int threads = (int)take_int(), steps = (int)take_int();
    anx_sgd_options *groups = take_sgd_groups((int)take_int());
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
    const anx_train_kernels *kernels;
    anx_error err = ANX_ERROR_INIT;
    check(anx_train_kernels_select(&kernels, &err), &err);
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

/* Three arrays read, two of them written, with the least of arithmetic. */
static void stream(size_t n, const float *grad, float *param, float *buffer, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
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
    const anx_train_kernels *kernels;
    anx_error err = ANX_ERROR_INIT;
    check(anx_train_kernels_select(&kernels, &err), &err);
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

/* ---- cross-entropy -------------------------------------------------------------------------------------- */

static void write_f64_loss(const anx_cross_entropy *ce, const float *logits, size_t n) {
    double *x = new_array(n, sizeof *x), *log_probs = new_array(n, sizeof *x), *grad = new_array(n, sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (double)logits[i];
    const double loss = anx_cross_entropy_f64(ce, x, log_probs, grad);
    write_array(&loss, 1, sizeof loss);
    write_array(log_probs, n, sizeof *log_probs);
    write_array(grad, n, sizeof *grad);
    free(x);
    free(log_probs);
    free(grad);
}

/*
 * loss THREADS ROWS CLASSES SMOOTHING. In: logits, int64 targets. Out: the loss, log-probabilities, gradient; the same
 * in double; the number of rows whose largest logit is the target's, int64.
 */
static void run_loss(void) {
    const int threads = (int)take_int();
    anx_cross_entropy ce = {.rows = take_int(), .classes = take_int()};
    ce.label_smoothing = take_double();
    const size_t n = (size_t)(ce.rows * ce.classes);
    float *logits = read_floats(n), *log_probs = new_array(n, sizeof(float)), *grad = new_array(n, sizeof(float));
    int64_t *targets = new_array((size_t)ce.rows, sizeof *targets);
    read_array(targets, (size_t)ce.rows, sizeof *targets);
    ce.targets = targets;
    ce.scratch = new_array((size_t)ce.rows, sizeof *ce.scratch);
    const anx_train_kernels *kernels;
    anx_error err = ANX_ERROR_INIT;
    check(anx_train_kernels_select(&kernels, &err), &err);
    check(anx_cross_entropy_check(&ce, &err), &err);
    const float loss = anx_cross_entropy_forward(kernels, &ce, logits, log_probs, threads);
    anx_cross_entropy_backward(kernels, &ce, log_probs, grad, threads);
    write_array(&loss, 1, sizeof loss);
    write_array(log_probs, n, sizeof *log_probs);
    write_array(grad, n, sizeof *grad);
    write_f64_loss(&ce, logits, n);
    const int64_t top1 = anx_top1_count(&ce, logits);
    write_array(&top1, 1, sizeof top1);
    free(logits);
    free(log_probs);
    free(grad);
    free(targets);
    free(ce.scratch);
}

/* loss_speed THREADS ROWS CLASSES: the best of nine forwards and backwards, as text. */
static void run_loss_speed(void) {
    const int threads = (int)take_int();
    anx_cross_entropy ce = {.rows = take_int(), .classes = take_int()};
    const size_t n = (size_t)(ce.rows * ce.classes);
    float *logits = new_array(n, sizeof(float)), *log_probs = new_array(n, sizeof(float));
    int64_t *targets = new_array((size_t)ce.rows, sizeof *targets);
    for (size_t i = 0; i < n; i++) logits[i] = (float)(i % 97) * 0.1f;
    ce.targets = targets;
    const anx_train_kernels *kernels;
    anx_error err = ANX_ERROR_INIT;
    check(anx_train_kernels_select(&kernels, &err), &err);
    double best = 1e9;
    for (int i = 0; i < 9; i++) {
        const double start = seconds();
        anx_cross_entropy_forward(kernels, &ce, logits, log_probs, threads);
        anx_cross_entropy_backward(kernels, &ce, log_probs, logits, threads);
        const double now = seconds() - start;
        best = now < best ? now : best;
    }
    printf("%.3g ms\n", 1e3 * best);
    free(logits);
    free(log_probs);
    free(targets);
}

/* ---- the generator's stream ----------------------------------------------------------------------------- */

/* draw SEED: what one draws is a script of names and numbers, up to the last argument:
   skip N                  N draws of 32 bits
   dropout P N             N factors, float32
   loader SHUFFLE N        N int64, the order
   randperm N              N int64
   crop H W S0 S1 R0 R1    4 int64: top, left, height, width
   flip P                  1 int64
   normal N MEAN STD       N float32
   state                   5056 bytes
   reread                  nothing: the generator is written and read
   set                     nothing: the generator is read from 5056 bytes of standard input
*/
static anx_mt19937 generator;

static void draw_skip(void) {
    for (int64_t n = take_int(); n > 0; n--) anx_mt19937_u32(&generator);
}

static void draw_dropout(void) {
    const double p = take_double();
    const size_t n = (size_t)take_int();
    float *factors = new_array(n, sizeof *factors);
    anx_dropout_factors(&generator, p, n, factors);
    write_array(factors, n, sizeof *factors);
    free(factors);
}

static void draw_order(bool loader) {
    const bool shuffle = loader && take_int() != 0;
    const int64_t n = take_int();
    int64_t *order = new_array((size_t)n, sizeof *order);
    if (loader)
        anx_loader_begin(&generator, shuffle, n, order);
    else
        anx_randperm(&generator, n, order);
    write_array(order, (size_t)n, sizeof *order);
    free(order);
}

static void draw_loader(void) {
    draw_order(true);
}

static void draw_randperm(void) {
    draw_order(false);
}

static void draw_crop(void) {
    const int64_t height = take_int(), width = take_int();
    anx_crop_ranges ranges;
    ranges.scale[0] = take_double();
    ranges.scale[1] = take_double();
    ranges.ratio[0] = take_double();
    ranges.ratio[1] = take_double();
    const anx_crop crop = anx_crop_draw(&generator, height, width, &ranges);
    write_array((const int64_t[]){crop.top, crop.left, crop.height, crop.width}, 4, sizeof(int64_t));
}

static void draw_flip(void) {
    const int64_t flip = anx_flip_draw(&generator, take_double());
    write_array(&flip, 1, sizeof flip);
}

static void draw_normal(void) {
    const size_t n = (size_t)take_int();
    const double mean = take_double(), std = take_double();
    float *values = new_array(n, sizeof *values);
    const anx_train_kernels *kernels;
    anx_error err = ANX_ERROR_INIT;
    check(anx_train_kernels_select(&kernels, &err), &err);
    anx_normal_f32(kernels, &generator, n, mean, std, values);
    write_array(values, n, sizeof *values);
    free(values);
}

static void draw_state(void) {
    unsigned char bytes[ANX_MT19937_STATE_BYTES];
    anx_mt19937_write_state(&generator, bytes);
    write_array(bytes, sizeof bytes, 1);
}

static void draw_set(void) {
    unsigned char bytes[ANX_MT19937_STATE_BYTES];
    anx_error err = ANX_ERROR_INIT;
    read_array(bytes, sizeof bytes, 1);
    check(anx_mt19937_read_state(bytes, sizeof bytes, &generator, &err), &err);
}

static void draw_reread(void) {
    unsigned char bytes[ANX_MT19937_STATE_BYTES];
    anx_error err = ANX_ERROR_INIT;
    anx_mt19937_write_state(&generator, bytes);
    anx_mt19937_seed(&generator, 77);
    check(anx_mt19937_read_state(bytes, sizeof bytes, &generator, &err), &err);
}

static const struct {
    const char *name;
    void (*draw)(void);
} draws[] = {
    {"skip", draw_skip}, {"dropout", draw_dropout}, {"loader", draw_loader}, {"randperm", draw_randperm},
    {"crop", draw_crop}, {"flip", draw_flip},       {"normal", draw_normal}, {"state", draw_state},
    {"set", draw_set},   {"reread", draw_reread},
};

static void run_draw(void) {
    anx_mt19937_seed(&generator, strtoull(take_text(), NULL, 0));
    while (has_more()) {
        const char *name = take_text();
        size_t i = 0;
        while (i < sizeof draws / sizeof draws[0] && strcmp(draws[i].name, name) != 0) i++;
        if (i == sizeof draws / sizeof draws[0]) fail("no such draw");
        draws[i].draw();
    }
}

/* ---- schedules ------------------------------------------------------------------------------------------ */

/* FACTOR END_FACTOR TOTAL_ITERS GAMMA STEP_SIZE T_MAX ETA_MIN MAXIMIZE ABSOLUTE THRESHOLD EPS MIN_LR PATIENCE COOLDOWN
   N_MILESTONES MILESTONE... */
static anx_scheduler_options take_scheduler(const char *name) {
    anx_scheduler_options o = {.factor = take_double(), .end_factor = take_double()};
    o.total_iters = take_int();
    o.gamma = take_double();
    o.step_size = take_int();
    o.t_max = take_int();
    o.eta_min = take_double();
    o.maximize = take_int() != 0;
    o.absolute_threshold = take_int() != 0;
    o.threshold = take_double();
    o.eps = take_double();
    o.min_lr = take_double();
    o.patience = take_int();
    o.cooldown = take_int();
    o.n_milestones = (int)take_int();
    o.milestones = new_array((size_t)o.n_milestones, sizeof *o.milestones);
    for (int i = 0; i < o.n_milestones; i++) o.milestones[i] = take_int();
    if (!anx_scheduler_find(name, &o.kind)) fail("no such scheduler");
    return o;
}

static void write_numbers(const int64_t *numbers, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const double value = (double)numbers[i];
        write_array(&value, 1, sizeof value);
    }
}

static void write_scheduler(const anx_scheduler *s) {
    const size_t n = (size_t)s->n_groups;
    write_numbers(&s->last_epoch, 1);
    write_array(s->last_lr, n, sizeof(double));
    if (s->schedulers != NULL) {
        write_scheduler(&s->schedulers[0]);
        write_scheduler(&s->schedulers[1]);
    } else if (s->min_lrs != NULL) {
        write_numbers((const int64_t[]){s->cooldown_counter, s->num_bad_epochs}, 2);
        write_array(&s->best, 1, sizeof s->best);
        write_array(s->min_lrs, n, sizeof(double));
    } else {
        write_numbers(&s->step_count, 1);
        write_array(s->base_lrs, n, sizeof(double));
    }
}

/* The scheduler that goes on from the state of s, made with other options and rates. */
static anx_scheduler *resume(anx_scheduler *s, int n_groups, const anx_scheduler_options *main,
                             const anx_scheduler_options *warmup) {
    anx_scheduler_options other = *main, other_warmup = warmup != NULL ? *warmup : *main;
    double *lr = new_array((size_t)n_groups, sizeof *lr);
    anx_scheduler *fresh;
    anx_error err = ANX_ERROR_INIT;
    other.gamma = other.factor = other_warmup.factor = 0.25;
    other.t_max = other.step_size = other_warmup.total_iters = 7;
    other.n_milestones = 0;
    check(anx_scheduler_create(&other, warmup != NULL ? &other_warmup : NULL, n_groups, lr, &fresh, &err), &err);
    check(anx_scheduler_load(fresh, s, &err), &err);
    anx_scheduler_destroy(s);
    free(lr);
    return fresh;
}

/*
 * schedule NAME OPTIONS WARMUP|none [OPTIONS] STEPS RESUME_AT GROUPS LR...
 * In: a double for each step, the metric. Out, all as doubles: the groups' rates and the state at the start and after
 * each step. After RESUME_AT steps, a scheduler made anew goes on from the state.
 */
static void run_schedule(void) {
    const char *name = take_text();
    anx_scheduler_options main = take_scheduler(name), warmup = {.milestones = NULL};
    const char *warmup_name = take_text();
    const bool warm = strcmp(warmup_name, "none") != 0;
    if (warm) warmup = take_scheduler(warmup_name);
    const int steps = (int)take_int(), resume_at = (int)take_int(), n_groups = (int)take_int();
    double *lr = new_array((size_t)n_groups, sizeof *lr);
    for (int i = 0; i < n_groups; i++) lr[i] = take_double();
    anx_scheduler *s;
    anx_error err = ANX_ERROR_INIT;
    check(anx_scheduler_create(&main, warm ? &warmup : NULL, n_groups, lr, &s, &err), &err);
    for (int step = 0;; step++) {
        write_array(lr, (size_t)n_groups, sizeof *lr);
        write_scheduler(s);
        if (step == steps) break;
        if (step == resume_at) s = resume(s, n_groups, &main, warm ? &warmup : NULL);
        double metric;
        read_array(&metric, 1, sizeof metric);
        anx_scheduler_step(s, metric, lr);
    }
    anx_scheduler_destroy(s);
    free(main.milestones);
    free(warmup.milestones);
    free(lr);
}

/* ---- commands ------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*run)(void);
} commands[] = {
    {"draw", run_draw},         {"loss", run_loss}, {"loss_speed", run_loss_speed},
    {"schedule", run_schedule}, {"sgd", run_sgd},   {"sgd_speed", run_sgd_speed},
};

int main(int argc, char **argv) {
    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(argv[1], commands[i].name) != 0) continue;
        take_from(argv + 2);
        commands[i].run();
        return fflush(stdout) == 0 ? 0 : 1;
    }
    fail("no such command");
}
