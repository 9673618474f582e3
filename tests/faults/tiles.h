/* A 3x3 convolution of stride 1 by Winograd's tiles, in float32, the multiplied operands in any format. */
#ifndef ANX_TESTS_FAULTS_TILES_H
#define ANX_TESTS_FAULTS_TILES_H

#include "tests/faults/plain.h"

typedef struct tiles_task {
    const anx_node *node;
    int64_t batch;
    int width; /* of a tile of outputs: 2, 4 or 6 */
    int64_t pad_h, pad_w;
    plain_format x_format, w_format; /* of the transformed input and weights */
    const float *x, *weight, *bias;
    float *y;
} tiles_task;

/* Points 0, +-1, (+-2, (+-1/2)) and infinity: A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks.
 */
void tiles_convolve(const tiles_task *task);

#endif
