/*
 * How a value lies in memory: channels in blocks next to each other, so that a vector holds channels of one pixel,
 * and every row with zero columns at both ends, so that a convolution's padding costs no branches.
 *
 *   element (n, c, h, w) at ((n*blocks + c/block)*height + h)*row_elems + (border + w)*block + c%block
 *
 * A flat value (N, F) is one block of F channels of one pixel, which is the plain contiguous layout.
 */
#ifndef ANX_SRC_BACKEND_EXACT_LAYOUT_H
#define ANX_SRC_BACKEND_EXACT_LAYOUT_H

#include "src/base/tensor.h"
#include "src/model/graph.h"

enum { ANX_EXACT_BLOCK = 16 /* channels in a block, and the terms of a convolution's chain that lie in one tap */ };

typedef struct anx_exact_layout {
    int64_t channels, height, width;
    int64_t block, blocks; /* channels in a block; blocks (the last one is filled up with zeros) */
    int64_t border;        /* zero columns on the left and on the right */
    int64_t row_elems;     /* (width + 2*border)*block */
    int64_t block_elems;   /* height*row_elems */
    int64_t image_elems;   /* blocks*block_elems */
} anx_exact_layout;

/*
 * The layout of one image of that extent. Planes are in blocks of ANX_EXACT_BLOCK, or of all channels where those
 * are fewer and `narrow` allows it. False on overflow.
 */
bool anx_exact_layout_init(anx_exact_layout *layout, const anx_extent *extent, int64_t border, bool narrow);

/* Copies a batch from (N, C, H, W) or (N, F), F32 or F64, and fills borders and unused channels with zeros. */
void anx_exact_layout_import(const anx_exact_layout *layout, int64_t batch, const anx_tensor *host, float *data,
                             int threads);
/* The reverse. */
void anx_exact_layout_export(const anx_exact_layout *layout, int64_t batch, const float *data, anx_tensor *host,
                             int threads);

#endif
