/* What a train plan of the reference keeps beside the outputs: gradients, masks, winners. All in double. */
#ifndef ANX_SRC_BACKEND_REFERENCE_TRAINING_H
#define ANX_SRC_BACKEND_REFERENCE_TRAINING_H

#include "src/backend/backend.h"
#include "src/backend/reference/kernels.h"

typedef struct anx_reference_training {
    const anx_graph *graph;
    int64_t batch;
    double **grad;       /* n_nodes: gradient by the output; NULL where none is computed */
    double **mask;       /* n_nodes: DROPOUT's factors, ones at first; NULL elsewhere */
    int64_t **argmax;    /* n_nodes: MAX_POOL2D's winners; NULL elsewhere */
    double **param_grad; /* n_params: NULL where none is computed */
    double *added;       /* as large as the largest output that several nodes read; NULL where there is none */
} anx_reference_training;

/* trained: as in anx_plan_desc. The caller destroys it. Errors: OUT_OF_MEMORY. */
anx_status anx_reference_training_create(const anx_graph *graph, int64_t batch, const bool *trained,
                                         anx_reference_training **out, anx_error *err);
void anx_reference_training_destroy(anx_reference_training *t);

/* The elements of a GRAD, PARAM_GRAD or MASK; NULL where the plan has no such value. */
double *anx_reference_training_value(const anx_reference_training *t, anx_value value);

/*
 * Runs node `node` backward if the gradient by its output is computed. x, y: its input and output; weight: NULL where
 * it has none. Errors: as anx_reference_run_back.
 */
anx_status anx_reference_training_run_back(const anx_reference_training *t, int node, const double *x, const double *y,
                                           const float *weight, int threads, anx_error *err);

#endif
