/* The weights that anx-eval works with. */
#ifndef ANX_TOOLS_EVAL_WEIGHTS_H
#define ANX_TOOLS_EVAL_WEIGHTS_H

#include "loaders/checkpoint/checkpoint.h"

typedef struct anx_eval_weights {
    anx_checkpoint *checkpoint;
    anx_model *model; /* for images of preprocessing's size; lives as long as the checkpoint */
} anx_eval_weights;

#define ANX_EVAL_WEIGHTS_INIT                                                                                          \
    { .checkpoint = NULL, .model = NULL }

/*
 * Opens the checkpoint at `path`; NULL: torchvision's published AlexNet in torch.hub's cache, and where that is not, a
 * usage error that says where it was looked for. accept_bad_crc: zip records whose CRC-32 does not match are read.
 * Returns ANX_EXIT_OK, or the code to end with, everything said.
 */
int anx_eval_weights_open(const char *path, bool accept_bad_crc, anx_eval_weights *out);
void anx_eval_weights_fini(anx_eval_weights *weights);

#endif
