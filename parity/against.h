/* Inside the judge of dumps: their preprocessing stages. */
#ifndef ANX_PARITY_AGAINST_H
#define ANX_PARITY_AGAINST_H

#include "loaders/checkpoint/safetensors.h"
#include "parity/judge_run.h"

/*
 * Judges the dump's `image`, `resize`, `crop` (uint8, H x W x 3) and `input` (float32, 3 x H x W), those present: crop
 * and input from the dump's own stage before where it is there, otherwise from this project's preprocessing of the
 * image file given (options->images[0]). *input receives that preprocessing's input, (3, H, W); untouched without an
 * image file.
 */
anx_status anx_against_stages(anx_judge_run *run, const anx_safetensors *file, const char *name, anx_tensor *input,
                              anx_error *err);

#endif
