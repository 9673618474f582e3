/* The narrow network with weights, as the fault suites judge it. */
#ifndef ANX_TESTS_FAULTS_NARROW_H
#define ANX_TESTS_FAULTS_NARROW_H

#include "parity/judge.h"

/* 41x41 leaves the average 5x5, so that every kind of wrong window shows; the ceil-mode pool does not divide. */
enum { NARROW_SIZE = 41 };

/* Reproducible weights of the usual size. The caller destroys it with anx_model_destroy. */
anx_model *narrow_model(void);
/* Slow waves with some noise, each image another: what a photograph is like after normalisation. (batch, 3, 41, 41) */
anx_tensor narrow_input(int64_t batch);
/* Judges a device on a batch of that. The input is lent by a recording made with other weights, which fits nothing
   else. The caller destroys the list. */
anx_verdicts *narrow_judge(anx_model *model, anx_device *device, int64_t batch);

#endif
