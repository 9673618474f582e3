/*
 * Writes training logs for train_report.py: train_log_tool KIND FILE. What is in them follows from the step alone, so
 * that the script knows it too.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "parity/train_log.h"

enum { steps_per_epoch = 50 };

static anx_error err;

static anx_train_start start_of(const anx_train_option *options, size_t n_options) {
    return (anx_train_start){.version = "0.1.0",
                             .device = "cpu: oneDNN <2.6> & \"more\"",
                             .threads = 2,
                             .arch = "alexnet",
                             .classes = 10,
                             .train_images = 3200,
                             .val_images = 500,
                             .weights = "a/<script>alert(1)</script>.pth",
                             .options = options,
                             .n_options = n_options,
                             .seed = UINT64_MAX,
                             .time = "2026-11-26T21:09:49Z"};
}

/* Epochs first to last - 1, of two groups whose rates differ where `groups`. */
static anx_status write_epochs(anx_train_log_writer *w, int first, int last, double scale) {
    anx_status status = ANX_OK;
    double best = first > 0 ? 20 + 6.0 * first : 0;
    for (int e = first; e < last && status == ANX_OK; e++) {
        const double rate = 0.01 * pow(0.1, e / 4);
        const double lr[] = {rate, rate / 2};
        for (int s = 1; s <= steps_per_epoch && status == ANX_OK; s++) {
            const int64_t g = (int64_t)e * steps_per_epoch + s;
            const double loss = scale * (0.4 + 2.2 * exp(-(double)g / 150) + 0.15 * sin((double)g * 1.7));
            const anx_train_step step = {.epoch = e,
                                         .step = s,
                                         .steps = steps_per_epoch,
                                         .global_step = g,
                                         .images = 64,
                                         .loss = (float)loss,
                                         .mean_loss = loss,
                                         .acc1 = (double)s,
                                         .lr = lr,
                                         .images_per_s = 123.4,
                                         .data_wait_s = 0.001};
            status = anx_train_log_step(w, &step, &err);
        }
        const double acc1 = 20 + 60 * (1 - exp(-(e + 1) / 3.0)) - (e > 8 ? 2.0 * (e - 8) : 0);
        const int64_t g = (int64_t)(e + 1) * steps_per_epoch;
        const anx_train_epoch epoch = {.epoch = e,
                                       .global_step = g,
                                       .train_loss = scale * (0.4 + 2.2 * exp(-(double)g / 150)),
                                       .train_acc1 = acc1 - 3,
                                       .validated = true,
                                       .val_loss = scale * (0.5 + 2.1 * exp(-(double)g / 150)),
                                       .val_acc1 = acc1,
                                       .val_acc5 = 100 - (100 - acc1) / 3,
                                       .lr = lr,
                                       .seconds = 12.5 + e,
                                       .best = acc1 > best};
        if (acc1 > best) best = acc1;
        if (status == ANX_OK) status = anx_train_log_epoch(w, &epoch, &err);
    }
    return status;
}

static anx_status write_log(const char *kind, const char *path) {
    static const anx_train_option options[] = {
        {.name = "lr", .kind = ANX_TRAIN_NUMBER, .number = 0.01},
        {.name = "batch_size", .kind = ANX_TRAIN_NUMBER, .number = 64},
        {.name = "train_dir", .kind = ANX_TRAIN_TEXT, .text = "<img src=x onerror=alert(1)>&amp;"},
        {.name = "<b>\"name'", .kind = ANX_TRAIN_TEXT, .text = "\x1b[31mred\xff"},
        {.name = "nesterov", .kind = ANX_TRAIN_FLAG, .flag = true},
        {.name = "warmup", .kind = ANX_TRAIN_TEXT, .text = NULL},
    };
    const anx_train_start start = start_of(options, sizeof options / sizeof options[0]);
    anx_train_log_writer *w = NULL;
    const bool lost = strcmp(kind, "lost") == 0, slow = strcmp(kind, "slow") == 0;
    anx_status status = anx_train_log_create(path, true, &start, 2, &w, &err);
    if (status == ANX_OK) status = write_epochs(w, 0, lost ? 3 : 5, slow ? 1.4 : 1);
    if (status == ANX_OK && lost) {
        const double lr[] = {0.01, 0.005};
        const anx_train_step step = {.epoch = 3,
                                     .step = 1,
                                     .steps = steps_per_epoch,
                                     .global_step = 3 * steps_per_epoch + 1,
                                     .images = 64,
                                     .loss = (float)NAN,
                                     .mean_loss = -(double)INFINITY,
                                     .acc1 = (double)NAN,
                                     .lr = lr,
                                     .images_per_s = (double)NAN,
                                     .data_wait_s = (double)NAN};
        const anx_train_non_finite event = {.epoch = 3,
                                            .step = 1,
                                            .global_step = 3 * steps_per_epoch + 1,
                                            .loss = "nan",
                                            .tensor = "features.0.<weight>"};
        const anx_train_end end = {.reason = ANX_TRAIN_NON_FINITE,
                                   .epoch = 3,
                                   .global_step = 3 * steps_per_epoch + 1,
                                   .best_acc1 = (double)NAN,
                                   .seconds = 3.25};
        status = anx_train_log_step(w, &step, &err);
        if (status == ANX_OK) status = anx_train_log_non_finite(w, &event, &err);
        if (status == ANX_OK) status = anx_train_log_end(w, &end, &err);
    } else if (status == ANX_OK) {
        /* Gone on with from the end of epoch 3: epoch 4 is logged again. */
        anx_train_log_destroy_writer(w);
        w = NULL;
        const anx_train_resume resume = {.epoch = 4,
                                         .step = 0,
                                         .global_step = 4 * steps_per_epoch,
                                         .version = "0.1.0",
                                         .device = "cpu",
                                         .threads = 2,
                                         .time = "2026-11-26T22:00:00Z"};
        const int epochs = slow ? 9 : 12;
        const anx_train_end end = {.reason = ANX_TRAIN_DONE,
                                   .epoch = epochs,
                                   .global_step = (int64_t)epochs * steps_per_epoch,
                                   .best_acc1 = 77.5,
                                   .seconds = 4000};
        status = anx_train_log_resume(path, &resume, 2, &w, &err);
        if (status == ANX_OK) status = write_epochs(w, 4, epochs, slow ? 1.4 : 1);
        if (status == ANX_OK) status = anx_train_log_end(w, &end, &err);
    }
    anx_train_log_destroy_writer(w);
    return status;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fputs("usage: train_log_tool done|slow|lost FILE\n", stderr);
        return 64;
    }
    if (write_log(argv[1], argv[2]) == ANX_OK) return 0;
    char text[sizeof err + 256];
    fprintf(stderr, "%s\n", anx_error_format(&err, text, sizeof text));
    return 2;
}
