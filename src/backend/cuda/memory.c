#include "src/backend/cuda/memory.h"

#include <stdlib.h>

#include "src/backend/cuda/status.h"
#include "src/base/checked.h"

anx_status anx_cuda_memory_want(anx_cuda_memory *memory, size_t bytes, bool per_image, float **out, anx_error *err) {
    *out = NULL;
    if (bytes == 0) return ANX_OK;
    if (memory->n == memory->capacity) {
        const int capacity = memory->capacity == 0 ? 32 : 2 * memory->capacity;
        anx_cuda_piece *grown = reallocarray(memory->pieces, (size_t)capacity, sizeof *grown);
        if (grown == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
        memory->pieces = grown;
        memory->capacity = capacity;
    }
    memory->pieces[memory->n++] = (anx_cuda_piece){.bytes = bytes, .per_image = per_image, .out = out};
    return ANX_OK;
}

/* cudaMalloc gives whole granules of memory; small pieces share one. */
static size_t in_granules(size_t bytes) {
    const size_t granule = bytes < 2 << 20 ? 512 : 2 << 20;
    return (bytes + granule - 1) / granule * granule;
}

static double mib(double bytes) {
    return bytes / (1024.0 * 1024.0);
}

/* What is allocated already counts as free: it goes back with the plan. */
static anx_status too_large(const anx_cuda_memory *memory, const anx_cuda_device *device, int64_t batch,
                            anx_error *err) {
    double fixed = 0.0, per_batch = 0.0, mine = 0.0;
    for (int i = 0; i < memory->n; i++) {
        const double bytes = (double)in_granules(memory->pieces[i].bytes);
        *(memory->pieces[i].per_image ? &per_batch : &fixed) += bytes;
        if (memory->pieces[i].memory != NULL) mine += bytes;
    }
    size_t free_bytes = 0, total = 0;
    if (device->api->cudaMemGetInfo(&free_bytes, &total) != ANX_CU_SUCCESS) free_bytes = 0;
    const double have = (double)free_bytes + mine;
    /* A fiftieth is left for what is lost between the pieces. */
    const double room = have * 0.98 - fixed;
    long long fits = room > 0.0 ? (long long)(room * (double)batch / per_batch) : 0;
    if (fits >= batch) fits = batch - 1; /* it would, were the free memory in one piece */
    if (fits >= 1)
        anx_error_set(
            err, ANX_ERR_OUT_OF_MEMORY,
            "a batch of %lld asks for %.1f MiB of memory on %s, where %.1f MiB are free; a batch of %lld would "
            "fit",
            (long long)batch, mib(fixed + per_batch), device->name, mib(have), fits);
    else
        anx_error_set(err, ANX_ERR_OUT_OF_MEMORY,
                      "a batch of %lld asks for %.1f MiB of memory on %s, where %.1f MiB are free: too little for one "
                      "image, with %.1f MiB for what every batch needs",
                      (long long)batch, mib(fixed + per_batch), device->name, mib(have), mib(fixed));
    if (err != NULL) err->native_code = ANX_CU_OUT_OF_MEMORY;
    return ANX_ERR_OUT_OF_MEMORY;
}

anx_status anx_cuda_memory_allocate(anx_cuda_memory *memory, const anx_cuda_device *device, int64_t batch,
                                    anx_error *err) {
    for (int i = 0; i < memory->n; i++) {
        anx_cuda_piece *piece = &memory->pieces[i];
        if (piece->memory != NULL) continue;
        const unsigned code = device->api->cudaMalloc(&piece->memory, piece->bytes);
        if (code == ANX_CU_OUT_OF_MEMORY) {
            piece->memory = NULL;
            device->api->cudaGetLastError(); /* or the next call would be blamed for it */
            return too_large(memory, device, batch, err);
        }
        const anx_status status = anx_cuda_check(device->api, code, "allocate memory", err);
        if (status != ANX_OK) {
            piece->memory = NULL;
            return status;
        }
        *piece->out = piece->memory;
    }
    return ANX_OK;
}

void anx_cuda_memory_keep(anx_cuda_memory *memory, const anx_cuda_device *device, int n) {
    while (memory->n > n) {
        const anx_cuda_piece *piece = &memory->pieces[--memory->n];
        if (piece->memory != NULL) device->api->cudaFree(piece->memory);
        *piece->out = NULL;
    }
}

void anx_cuda_memory_free(anx_cuda_memory *memory, const anx_cuda_device *device) {
    for (int i = 0; i < memory->n; i++)
        if (memory->pieces[i].memory != NULL) device->api->cudaFree(memory->pieces[i].memory);
    free(memory->pieces);
    *memory = (anx_cuda_memory){.pieces = NULL};
}
