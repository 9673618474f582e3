/* Where shared libraries may lie, and opening them from there. */
#ifndef ANX_SRC_BACKEND_CUDA_SEARCH_H
#define ANX_SRC_BACKEND_CUDA_SEARCH_H

#include <stdbool.h>
#include <stddef.h>

enum { ANX_CUDA_MAX_PLACES = 64 };

/* Folders in the order of looking; an empty one stands for wherever the loader looks by itself. */
typedef struct anx_cuda_places {
    char *folder[ANX_CUDA_MAX_PLACES]; /* owned */
    int n;
    bool named; /* by ANX_CUDA_PATH: no other will do */
} anx_cuda_places;

/* The places that anx_cuda_runtime_open's comment lists. False without memory. The caller frees them either way. */
bool anx_cuda_places_init(anx_cuda_places *places);
void anx_cuda_places_fini(anx_cuda_places *places);
/* "where the loader looks, /a, /b" into buf; truncates. Returns buf. */
char *anx_cuda_places_format(const anx_cuda_places *places, char *buf, size_t size);

/* A library: open, not there (handle NULL, path ""), or there and not to be opened (handle NULL, why says why). */
typedef struct anx_cuda_library {
    void *handle;
    char path[1024];
    char why[512];
} anx_cuda_library;

/* Opens `name` from the first place that has it. */
void anx_cuda_find(const anx_cuda_places *places, const char *name, anx_cuda_library *out);
/* Opens FOLDER/name. */
void anx_cuda_open_in(const char *folder, const char *name, anx_cuda_library *out);
/* The folder of a path. */
void anx_cuda_folder_of(const char *path, char *folder, size_t size);

#endif
