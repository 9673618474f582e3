/*
 * A recording of the narrow network held in memory: weights, one case's input, and at every node what the exact
 * backend gives, in full at convolutions and linear layers and as digests elsewhere, as real recordings are.
 */
#ifndef ANX_TESTS_PARITY_NARROW_RECORDING_H
#define ANX_TESTS_PARITY_NARROW_RECORDING_H

#include "parity/fixture.h"

/* Always the same weights. Release with anx_model_destroy. */
anx_model *narrow_model_make(void);

typedef struct narrow_recording {
    anx_model *model;
    anx_tensor input;
    anx_tensor *y32, *e64; /* per node; e64 empty where nothing is recorded in full */
    anx_fixture_param *params;
    anx_fixture_point *points;
    anx_fixture_case *cases; /* one */
    anx_fixture *fixture;
    anx_fixture **items;
    anx_fixture_set set; /* holds the one fixture */
} narrow_recording;

narrow_recording narrow_recording_make(int64_t batch);
void narrow_recording_free(narrow_recording *r);
/* The point of that name. */
const anx_fixture_point *narrow_recording_point(const narrow_recording *r, const char *name);

#endif
