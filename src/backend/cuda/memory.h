/* Device memory for a plan: asked for piece by piece, allocated together, so that what does not fit can be told. */
#ifndef ANX_SRC_BACKEND_CUDA_MEMORY_H
#define ANX_SRC_BACKEND_CUDA_MEMORY_H

#include "src/backend/cuda/device.h"

typedef struct anx_cuda_piece {
    size_t bytes;
    bool per_image; /* grows with the batch */
    float **out;    /* set when allocated */
    void *memory;
} anx_cuda_piece;

typedef struct anx_cuda_memory {
    anx_cuda_piece *pieces;
    int n, capacity;
} anx_cuda_memory;

/* Asks for bytes, 0 for none; *out, which must live until anx_cuda_memory_allocate, is where they lie then. */
anx_status anx_cuda_memory_want(anx_cuda_memory *memory, size_t bytes, bool per_image, float **out, anx_error *err);
/*
 * Allocates what was asked for since the last call. Errors: OUT_OF_MEMORY, with how much a plan for `batch` images asks
 * for, how much is free, and a batch that would fit; DEVICE.
 */
anx_status anx_cuda_memory_allocate(anx_cuda_memory *memory, const anx_cuda_device *device, int64_t batch,
                                    anx_error *err);
/* Frees all but the first n pieces that were asked for. */
void anx_cuda_memory_keep(anx_cuda_memory *memory, const anx_cuda_device *device, int n);
void anx_cuda_memory_free(anx_cuda_memory *memory, const anx_cuda_device *device);

#endif
