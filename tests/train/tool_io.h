/*
 * What the tools that scripts compare with PyTorch share: numbers from the command line, decimal or hexadecimal; arrays
 * on standard input and output, raw and little-endian. Where something is missing or refused the tool says so and exits
 * with 1.
 */
#ifndef ANX_TESTS_TRAIN_TOOL_IO_H
#define ANX_TESTS_TRAIN_TOOL_IO_H

#include "src/train/sgd.h"

/* Numbers are taken from here on; the last one is followed by NULL. */
void take_from(char **numbers);
bool has_more(void);
const char *take_text(void);
double take_double(void);
int64_t take_int(void);
/* LR MOMENTUM DAMPENING DECAY NESTEROV MAXIMIZE, for each of n_groups; the caller frees them. */
anx_sgd_options *take_sgd_groups(int n_groups);

_Noreturn void fail(const char *what);
void check(anx_status status, const anx_error *err);

/* n elements of zeros, of which there may be none; the caller frees them. */
void *new_array(size_t n, size_t size);
void read_array(void *out, size_t n, size_t size);
void write_array(const void *in, size_t n, size_t size);

/* A clock that goes on. */
double seconds(void);

#endif
