/*
 * What a user asks of anx-train: a table of settings, each with its name, what it may be and where it is kept. Parsing,
 * the help, the log, and what a checkpoint keeps of a run and a resumed run must agree with, all read that table.
 */
#ifndef ANX_TOOLS_TRAIN_OPTIONS_H
#define ANX_TOOLS_TRAIN_OPTIONS_H

#include <stdio.h>

#include "src/base/arena.h"

typedef enum anx_train_setting_type {
    ANX_SETTING_TEXT = 0, /* const char *, NULL: not set */
    ANX_SETTING_CHOICE,   /* const char *: one of a list's */
    ANX_SETTING_TEXTS,    /* const char *: texts that were given one by one, a line each; NULL: none */
    ANX_SETTING_INTEGER,  /* int64_t */
    ANX_SETTING_REAL,     /* double */
    ANX_SETTING_SEED,     /* uint64_t */
    ANX_SETTING_FLAG      /* bool */
} anx_train_setting_type;

typedef enum anx_train_setting_role {
    ANX_SETTING_DECIDES = 0, /* what comes out depends on it: a resumed run has it from its checkpoint */
    ANX_SETTING_KEPT,        /* a resumed run has it from its checkpoint unless it is given anew */
    ANX_SETTING_ORIGIN,      /* what a run began with: told later on, but no resumed run may be given it */
    ANX_SETTING_PASSING      /* of this call alone */
} anx_train_setting_role;

typedef struct anx_train_setting {
    const char *name; /* without the dashes */
    char letter;      /* 0: none */
    const char *metavar;
    anx_train_setting_type type;
    anx_train_setting_role role;
    size_t offset; /* in anx_train_options */
    double min, max;
    bool above_min; /* min itself is out of range */
    const char *const *choices;
    const char *help; /* lines */
} anx_train_setting;

enum { ANX_TRAIN_SETTINGS = 43 };

typedef struct anx_train_options {
    const char *data, *val_dir;
    const char *weights, *arch, *resume; /* where the run begins */
    const char *output;
    int64_t num_classes; /* 0: as many as the data have */
    /* the recipe */
    int64_t epochs, batch;
    double lr, momentum, weight_decay;
    const char *opt; /* "sgd", "sgd_nesterov" */
    const char *lr_scheduler;
    int64_t lr_step_size;
    double lr_gamma, lr_min;
    const char *lr_milestones; /* "30,60" */
    int64_t lr_patience;
    int64_t lr_warmup_epochs;
    const char *lr_warmup_method;
    double lr_warmup_decay;
    const char *freeze, *lr_group; /* globs, GLOB=LR, a line each */
    const char *augment, *order;
    double dropout;            /* < 0: as the architecture has it */
    const char *dropout_masks; /* "pytorch", "device" */
    double label_smoothing;
    uint64_t seed;
    /* this run */
    int64_t max_steps; /* 0: no limit */
    bool skip_bad, accept_bad_crc;
    const char *device;
    const char *math; /* "float32", "tf32", "fast" */
    int64_t threads;  /* 0: what affinity and cgroup allow */
    /* what it leaves */
    const char *log, *json;
    int64_t print_freq;  /* 0: as many as a log of moderate size has */
    double save_minutes; /* 0: never within an epoch */
    bool with_args, force;

    bool given[ANX_TRAIN_SETTINGS]; /* on the command line */
    anx_arena arena;                /* texts that were put together */
} anx_train_options;

extern const anx_train_options anx_train_defaults;

void anx_train_help(FILE *to);

/* ANX_EXIT_OK with *stop false: go on. Else the code to end with, everything said. Release with anx_train_options_fini
   either way. */
int anx_train_parse(int argc, char **argv, anx_train_options *out, bool *stop);
void anx_train_options_fini(anx_train_options *options);

/* Setting i of the table, NULL past the end. */
const anx_train_setting *anx_train_setting_at(int i);
/* Is it the name of its place? Others, further down in the table, are other names for it. */
bool anx_train_is_main_name(int i);
/* Whether a checkpoint keeps that text: UTF-8 without control characters, but for line breaks where it may have lines.
 */
bool anx_train_can_be_kept(const char *text, bool lines);
/* Whether the setting at that offset was given on the command line. */
bool anx_train_is_given(const anx_train_options *options, size_t offset);
#define ANX_TRAIN_GIVEN(options, field) anx_train_is_given(options, offsetof(anx_train_options, field))
/* Where its value is kept. */
const void *anx_train_setting_value(const anx_train_options *options, int i);
/* Its value as text, as it could be given; "" where it has none, or a number that is left to its default. buf or the
   value's own. */
const char *anx_train_setting_text(const anx_train_options *options, int i, char buf[40]);

/* Options that are each right, but not together: INVALID_ARGUMENT. For a run that begins, and for one that goes on once
   it has its checkpoint's settings. */
anx_status anx_train_check_together(const anx_train_options *options, anx_error *err);

/* The milestones of "30,60", in out, at most n; how many there are, -1: a text that is none. */
int anx_train_milestones(const char *text, int64_t *out, int n);
/* The next of the lines that *rest begins with, an ANX_SETTING_TEXTS at first, and its length; *rest is moved behind
   it. NULL: there is none. */
const char *anx_train_next_text(const char **rest, size_t *length);
/* Cuts "GLOB=LR" of that length: the glob's length and the rate. False: it is none. */
bool anx_train_group_rate(const char *text, size_t length, size_t *glob_length, double *lr);

#endif
