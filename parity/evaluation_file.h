/*
 * How far an evaluation has come, on disk: to go on from there after an interruption, to exactly the same result.
 *
 * A safetensors file. Tensors, a row for each image evaluated, in order: file, label (int64), top (n, 5) int32,
 * probability (n, 5) float32, loss, margin1, margin5, spread (float64), flags (uint8: the booleans of anx_prediction in
 * the order of its declaration, from the lowest bit); for the files that could not be evaluated: bad_file (int64) and
 * bad_reason (uint8, texts ended by a zero). Metadata: "anx_evaluation": the format's version, and what the evaluation
 * is one of, key by key.
 */
#ifndef ANX_PARITY_EVALUATION_FILE_H
#define ANX_PARITY_EVALUATION_FILE_H

#include "parity/evaluate.h"

/* Something that decides the result; two runs can be joined only where it is the same. */
typedef struct anx_evaluation_fact {
    const char *key;  /* in the metadata: "weights" */
    const char *what; /* in messages: "weights (SHA-256)" */
    const char *value;
} anx_evaluation_fact;

/* Replaces the file, atomically. Errors: those of anx_safetensors_write. */
anx_status anx_evaluation_save(const char *path, const anx_evaluation *evaluation, const anx_evaluation_fact *facts,
                               size_t n_facts, anx_error *err);

/*
 * Reads what anx_evaluation_save wrote into *out (..._INIT), which must be the beginning of an evaluation of `options`
 * (files, labels, the model's classes). Errors: NOT_FOUND (there is no such file), MISMATCH (facts that differ, all of
 * them, with both values), FORMAT, IO, OUT_OF_MEMORY.
 */
anx_status anx_evaluation_load(const char *path, const anx_evaluate_options *options, const anx_evaluation_fact *facts,
                               size_t n_facts, anx_evaluation *out, anx_error *err);

#endif
