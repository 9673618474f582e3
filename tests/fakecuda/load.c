#include "tests/fakecuda/load.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

typedef enum library { cudart, cublas, cublasLt, cudnn, N_LIBRARIES } library;

static void *open_in(const char *folder, const char *name, int version, const char *suffix) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.so.%d%s", folder, name, version, suffix);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) fprintf(stderr, "%s\n", dlerror());
    return handle;
}

static bool find(void *handle, const char *name, bool optional, void *out) {
    void *address = dlsym(handle, name);
    memcpy(out, &address, sizeof address);
    if (address == NULL && !optional) fprintf(stderr, "no function %s\n", name);
    return address != NULL || optional;
}

bool fake_load(anx_cuda_api *api, const char *folder, int cuda, int cudnn_major) {
    void *handles[N_LIBRARIES];
    handles[cudart] = open_in(folder, "libcudart", cuda, cuda == 11 ? ".0" : "");
    handles[cublas] = open_in(folder, "libcublas", cuda, "");
    handles[cublasLt] = handles[cublas]; /* which brings it along: its functions are found there too */
    if (cudnn_major == 9) open_in(folder, "libcudnn_graph", 9, "");
    handles[cudnn] = open_in(folder, "libcudnn", cudnn_major, "");
    for (int i = 0; i < N_LIBRARIES; i++)
        if (handles[i] == NULL) return false;
    bool all = true;
#define FIND(library, result, name, arguments) all = find(handles[library], #name, false, &api->name) && all;
#define FIND_OPTIONAL(library, result, name, arguments, first, last)                                                   \
    if (cudnn_major >= first && cudnn_major <= last)                                                                   \
        all = find(handles[library], #name, false, &api->name) && all;                                                 \
    else                                                                                                               \
        api->name = NULL;
    ANX_CUDA_TABLE(FIND)
    ANX_CUDA_TABLE_OPTIONAL(FIND_OPTIONAL)
    return all;
}
