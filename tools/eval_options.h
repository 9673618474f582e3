/* What a user asks of anx-eval. */
#ifndef ANX_TOOLS_EVAL_OPTIONS_H
#define ANX_TOOLS_EVAL_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "src/backend/backend.h"

typedef struct anx_eval_options {
    const char *val_dir, *labels, *synsets;
    const char *weights; /* NULL: torchvision's published file in torch.hub's cache */
    const char *device;
    const char *data_dir;
    const char *predictions, *json, *resume;
    int64_t batch;
    anx_math_mode math;
    int threads;           /* 0: what affinity and cgroup allow */
    int64_t limit, sample; /* 0: all */
    uint64_t seed;
    bool expects, expects_official;
    double expect1, expect5; /* per cent */
    bool skip_bad, accept_bad_crc;
} anx_eval_options;

void anx_eval_help(FILE *to);

/* ANX_EXIT_OK with *stop false: go on. Else the code to end with, everything said. */
int anx_eval_parse(int argc, char **argv, anx_eval_options *out, bool *stop);

#endif
