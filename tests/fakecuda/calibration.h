/*
 * Calls that need no device, one after another, and what they answer: what the real libraries say to them the double
 * must say too.
 */
#ifndef ANX_TESTS_FAKECUDA_CALIBRATION_H
#define ANX_TESTS_FAKECUDA_CALIBRATION_H

#include <stdio.h>

#include "src/backend/cuda/api_table.h"

/* A line for each call. */
void calibration_run(const anx_cuda_api *api, FILE *out);

#endif
