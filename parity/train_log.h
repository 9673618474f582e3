/*
 * The log of a training run: JSON lines, an event each, described by parity/train_log.schema.json. "start" is first,
 * and there is one; then "step", "epoch", "non_finite", "resume" where the run was gone on with, and "end".
 *
 * Epochs are counted from 0, as PyTorch's checkpoints count them. `step` counts the steps that are done of an epoch and
 * `global_step` those of the run: behind the first step both are 1. Accuracies are in per cent.
 *
 * Numbers read back to the same float or double. JSON has neither NaN nor infinity: such a number is null, and a second
 * field, its name with "_text" behind it, says which ("nan", "inf", "-inf"). A null without one is a measure that was
 * not taken; here it is NAN.
 */
#ifndef ANX_PARITY_TRAIN_LOG_H
#define ANX_PARITY_TRAIN_LOG_H

#include "parity/device_facts.h"

typedef enum anx_train_option_kind { ANX_TRAIN_TEXT = 0, ANX_TRAIN_NUMBER, ANX_TRAIN_FLAG } anx_train_option_kind;

/* An option of the run. Integers beyond 2^53 are better given as text. */
typedef struct anx_train_option {
    const char *name;
    anx_train_option_kind kind;
    const char *text; /* NULL: the option has no value */
    double number;    /* finite */
    bool flag;
} anx_train_option;

enum { ANX_TRAIN_LOG_NOTES = 8 };

/* What the device had to note (anx_device_info), as it is read from a log: the first lines of it. */
typedef struct anx_train_notes {
    const char *line[ANX_TRAIN_LOG_NOTES];
    int n;
} anx_train_notes;

typedef struct anx_train_start {
    const char *version; /* of anx */
    const char *device;
    int64_t threads;
    const anx_device_info *engine; /* all that the device tells; NULL: nothing. It is written; read are */
    anx_train_notes notes;         /* ... its notes */
    const char *arch;
    int64_t classes, train_images, val_images;
    const char *weights; /* the file that the run began with; NULL: drawn at random */
    const anx_train_option *options;
    size_t n_options;
    uint64_t seed;
    const char *time; /* anx_train_log_time */
} anx_train_start;

/* What is gone on with: the run after `global_step` steps, `step` of them in `epoch`. */
typedef struct anx_train_resume {
    int64_t epoch, step, global_step;
    const char *version, *device;
    int64_t threads;
    const anx_device_info *engine; /* as of anx_train_start, */
    anx_train_notes notes;         /* ... and these */
    const char *time;
} anx_train_resume;

/* After a step, or after some of them where not each is logged. */
typedef struct anx_train_step {
    int64_t epoch, step, steps, global_step; /* steps: of the whole epoch */
    int64_t images;                          /* in this step's batch */
    float loss;                              /* of this batch */
    double mean_loss;                        /* of the epoch so far, over images */
    double acc1;                             /* of the epoch so far */
    const double *lr;                        /* n_groups, those of the log */
    double images_per_s;
    double data_wait_s; /* that this step waited for images */
} anx_train_step;

typedef struct anx_train_epoch {
    int64_t epoch, global_step;
    double train_loss, train_acc1;
    bool validated; /* false: the val_ fields are NAN */
    double val_loss, val_acc1, val_acc5;
    const double *lr; /* that the epoch was trained with */
    double seconds;
    bool best; /* the best so far */
} anx_train_epoch;

typedef struct anx_train_non_finite {
    int64_t epoch, step, global_step;
    const char *loss;   /* "nan", "inf" or "-inf", or a number where it is a tensor that was not finite */
    const char *tensor; /* NULL: only the loss */
} anx_train_non_finite;

typedef enum anx_train_reason {
    ANX_TRAIN_DONE = 0,
    ANX_TRAIN_INTERRUPTED,
    ANX_TRAIN_MAX_STEPS,
    ANX_TRAIN_NON_FINITE,
    ANX_TRAIN_OTHER /* read from a newer version's log */
} anx_train_reason;

typedef struct anx_train_end {
    anx_train_reason reason;
    int64_t epoch, global_step; /* epoch: the one that was under way, or how many there were */
    double best_acc1;           /* NAN: none was validated */
    double seconds;             /* since the start, or since the run was gone on with */
} anx_train_end;

/* "2026-11-26T21:09:49Z" into buf, which is returned; seconds since 1970. */
char *anx_train_log_time(int64_t seconds, char buf[32]);

/* ---- writing ---- */

/*
 * Each line goes to the file in one piece as it is written, so that a process which is killed leaves whole lines and at
 * most a torn last one; it is not forced onto the disk. The file is locked meanwhile (flock) against a second writer.
 */
typedef struct anx_train_log_writer anx_train_log_writer;

/*
 * A new log, which begins with `start`; n_groups: of parameters, 1 to 64, each with a learning rate. The caller
 * destroys *out. Errors: EXISTS where the file is there and `force` is false, INVALID_ARGUMENT (groups, an option that
 * is not finite, a folder), NOT_FOUND (the folder to write into), IO, OUT_OF_MEMORY.
 */
anx_status anx_train_log_create(const char *path, bool force, const anx_train_start *start, int n_groups,
                                anx_train_log_writer **out, anx_error *err);
/*
 * Goes on with a log. What it tells of a time behind resume->global_step is cut off, and so is a torn last line: these
 * steps are done again and logged again, so that the curve never goes back. An epoch's own line stays where the epoch
 * comes before resume->epoch. A file that is not a log whose every line is good is left as it was. The caller destroys
 * *out. Errors: those of anx_train_log_read and of anx_train_log_create; MISMATCH: the log has another number of
 * groups.
 */
anx_status anx_train_log_resume(const char *path, const anx_train_resume *resume, int n_groups,
                                anx_train_log_writer **out, anx_error *err);
/*
 * One line each. Errors: IO (errno in err, e.g. ENOSPC), OUT_OF_MEMORY. No part of that line is left in a regular file,
 * and the writer may be written to again.
 */
anx_status anx_train_log_step(anx_train_log_writer *writer, const anx_train_step *step, anx_error *err);
anx_status anx_train_log_epoch(anx_train_log_writer *writer, const anx_train_epoch *epoch, anx_error *err);
anx_status anx_train_log_non_finite(anx_train_log_writer *writer, const anx_train_non_finite *event, anx_error *err);
anx_status anx_train_log_end(anx_train_log_writer *writer, const anx_train_end *end, anx_error *err);
void anx_train_log_destroy_writer(anx_train_log_writer *writer);

/* ---- reading ---- */

struct cJSON;

typedef struct anx_train_log {
    char *path;
    anx_train_start start;
    int n_groups; /* 0: no learning rate was logged */
    anx_train_resume *resumes;
    size_t n_resumes;
    anx_train_step *steps; /* global_step rises */
    size_t n_steps;
    anx_train_epoch *epochs; /* epoch rises */
    size_t n_epochs;
    anx_train_non_finite *non_finite;
    size_t n_non_finite;
    bool ended; /* the run: nothing but its end came last */
    anx_train_end end;
    bool torn;      /* there was something behind the last complete line */
    size_t unknown; /* events that only a newer version knows */
    /* what holds the texts and the learning rates */
    struct cJSON **trees;
    size_t n_trees;
    double *step_lr, *epoch_lr;
} anx_train_log;

/*
 * A line is one with its newline: what stands behind the last newline is torn and not read. Keys and events that are
 * not known are passed over. Where a "resume" goes back behind steps that were logged, the later steps are those that
 * count. *out is destroyed by the caller.
 * Errors, naming the line: FORMAT, UNSUPPORTED (another schema), LIMIT (a line of more than 1 MiB, more than 10,000,000
 * events, a file of more than 1 GiB); NOT_FOUND, IO, INVALID_ARGUMENT (no regular file), OUT_OF_MEMORY.
 */
anx_status anx_train_log_read(const char *path, anx_train_log **out, anx_error *err);
/* The same of bytes in memory; `path` is what the log is called. */
anx_status anx_train_log_parse(const char *path, const void *bytes, size_t n_bytes, anx_train_log **out,
                               anx_error *err);
void anx_train_log_destroy(anx_train_log *log);

/* "done", "interrupted", "max_steps", "non_finite"; "other". */
const char *anx_train_reason_name(anx_train_reason reason);

#endif
