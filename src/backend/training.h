/* What a train plan has gradients of, the same for every backend, and what its caller has done so far. */
#ifndef ANX_SRC_BACKEND_TRAINING_H
#define ANX_SRC_BACKEND_TRAINING_H

#include "src/backend/backend.h"

/* ---- for backends --------------------------------------------------------------------------------------- */

/*
 * has_grad[node], of graph->n_nodes: whether the gradient by the node's output is computed, that is, whether it has a
 * trained parameter or something before it has; all of them where trained (as in anx_plan_desc) is NULL.
 */
void anx_train_gradients(const anx_graph *graph, const bool *trained, bool *has_grad);
/*
 * Of several nodes that read the same output the last one overwrites its gradient and the others, which run backward
 * later, add to it: whether this node adds.
 */
bool anx_train_adds(const anx_graph *graph, int node);

/* ---- for backend.c -------------------------------------------------------------------------------------- */

typedef struct anx_training {
    bool *has_grad;       /* n_nodes */
    bool *has_param_grad; /* n_params */
    bool all_trained;     /* nothing was said: the device may have the gradient by the input too */
    bool *ran;            /* groups: ran forward since the plan was made */
    bool *known;          /* n_nodes: the gradient by its output was written or computed */
} anx_training;

/* For a plan of mode TRAIN, once its groups are known. The caller destroys it. Errors: OUT_OF_MEMORY. */
anx_status anx_training_create(const anx_plan *plan, const bool *trained, anx_training **out, anx_error *err);
void anx_training_destroy(anx_training *t);

/* Whether the plan has this valid value. t: NULL for a plan of another mode than TRAIN. */
bool anx_training_has_value(const anx_training *t, anx_value value);
/*
 * Whether this valid value may be written (`host` is what with; shape and dtype fit) or read (host NULL) now. t: NULL
 * for a plan of another mode. Errors: UNSUPPORTED (a value the plan does not have), INVALID_ARGUMENT (winners before
 * forward, a winner outside its plane); the layer is named.
 */
anx_status anx_training_check_value(const anx_training *t, const anx_plan *plan, anx_value value,
                                    const anx_tensor *host, anx_error *err);
/* Whether groups of a valid range may run backward now. Errors: INVALID_ARGUMENT; UNSUPPORTED where t is NULL. */
anx_status anx_training_check_backward(const anx_training *t, const anx_plan *plan, int first, int count,
                                       anx_error *err);
void anx_training_wrote(anx_training *t, anx_value value);
void anx_training_ran(anx_training *t, int first, int count);
void anx_training_ran_backward(anx_training *t, const anx_plan *plan, int first, int count);

#endif
