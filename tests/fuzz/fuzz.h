/* What the fuzz targets share. A target is one LLVMFuzzerTestOneInput; replay.c runs it without a fuzzer. */
#ifndef ANX_TESTS_FUZZ_FUZZ_H
#define ANX_TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loaders/checkpoint/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

/* A path under which the bytes can be opened as a regular file (in memory); valid until the next call. */
const char *fuzz_file(const uint8_t *data, size_t n_bytes);
/* Reads the first and last element of each tensor, and all of those that are small: for a sanitizer to see. */
void fuzz_touch(const anx_state_dict *tensors);
/* The checkpoint as that of a training: an error that says something, or a sound state whose buffers can be read. */
void fuzz_training(const anx_checkpoint *checkpoint);
/* What anx-convert inspect says of a checkpoint that can be opened (fuzz_inspect.c): harmless text, sound JSON. */
void fuzz_inspect(const char *path);

/* Opens the bytes as a checkpoint: an error that says something, or tensors whose every element can be read. */
void fuzz_open(const uint8_t *data, size_t n_bytes, bool as_stored);

#endif
