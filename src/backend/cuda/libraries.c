#include "src/backend/cuda/libraries.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/backend/cuda/search.h"

/* ---- what belongs together ------------------------------------------------------------------------------ */

typedef struct dnn_library {
    int major;
    const char *name;
    const char *parts[5];   /* without which it aborts the process, or answers nothing; in order of opening */
    const char *further[5]; /* loaded later by itself; opened before, so that they come from the same folder */
} dnn_library;

static const dnn_library dnn_9 = {
    9,
    "libcudnn.so.9",
    {"libcudnn_graph.so.9", "libcudnn_ops.so.9", "libcudnn_cnn.so.9"},
    {"libcudnn_engines_runtime_compiled.so.9", "libcudnn_engines_precompiled.so.9", "libcudnn_heuristic.so.9"}};
static const dnn_library dnn_8 = {
    8,
    "libcudnn.so.8",
    {"libcudnn_ops_infer.so.8", "libcudnn_cnn_infer.so.8", "libcudnn_ops_train.so.8", "libcudnn_cnn_train.so.8"},
    {NULL}};

typedef struct generation {
    int major;
    int capability; /* of the oldest GPUs that it has code for: 75 is 7.5 */
    const char *runtime, *cublas_lt, *cublas;
    const dnn_library *dnn[3]; /* the newest first */
} generation;

static const generation generations[] = {
    {13, 75, "libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13", {&dnn_9}},
    {12, 50, "libcudart.so.12", "libcublasLt.so.12", "libcublas.so.12", {&dnn_9, &dnn_8}},
    {11, 35, "libcudart.so.11.0", "libcublasLt.so.11", "libcublas.so.11", {&dnn_9, &dnn_8}},
};

/* How far an attempt came: what is told of several is what is wrong with the one that came farthest. */
typedef enum progress {
    FOUND_NOTHING = 0,
    FOUND_RUNTIME,
    FOUND_DRIVER,
    FOUND_DEVICE,
    FOUND_CUBLAS,
    FOUND_CUDNN
} progress;

typedef struct attempt {
    const anx_cuda_places *places;
    const generation *g;
    anx_cuda_libraries *libraries;
    void *cublas; /* once it is open */
    progress progress;
    anx_error *err;
} attempt;

/* ---- functions ------------------------------------------------------------------------------------------- */

static bool find_function(attempt *a, const anx_cuda_library *from, const char *name, void *out) {
    void *address = dlsym(from->handle, name);
    memcpy(out, &address, sizeof address); /* C has no conversion from void * to a function's address */
    if (address != NULL) return true;
    anx_error_set(a->err, ANX_ERR_DEVICE, "%s has no function %s: it is not the library that its name says", from->path,
                  name);
    return false;
}

#define FIND(library, result, name, arguments)                                                                         \
    if (!find_function(a, from, #name, &a->libraries->api.name)) return false;

static bool find_runtime_functions(attempt *a, const anx_cuda_library *from) {
    ANX_CUDA_TABLE_CUDART(FIND)
    return true;
}

static bool find_cublas_functions(attempt *a, const anx_cuda_library *from) {
    ANX_CUDA_TABLE_CUBLAS(FIND)
    return true;
}

static bool find_cublas_lt_functions(attempt *a, const anx_cuda_library *from) {
    ANX_CUDA_TABLE_CUBLASLT(FIND)
    return true;
}

#define FIND_OPTIONAL(library, result, name, arguments, first, last)                                                   \
    if (major >= first && major <= last) {                                                                             \
        void *address = dlsym(library, #name);                                                                         \
        memcpy(&a->libraries->api.name, &address, sizeof address);                                                     \
    }

static bool find_cudnn_functions(attempt *a, const anx_cuda_library *from, int major) {
    void *const cublas = a->cublas, *const cudnn = from->handle;
    ANX_CUDA_TABLE_CUDNN(FIND)
    ANX_CUDA_TABLE_OPTIONAL(FIND_OPTIONAL)
    return true;
}

/* ---- runtime and driver ---------------------------------------------------------------------------------- */

static bool refuse_library(attempt *a, const anx_cuda_library *l, const char *name) {
    if (l->path[0] != '\0') {
        anx_error_set(a->err, ANX_ERR_DEVICE, "%s cannot be opened: %s", l->path, l->why);
        return false;
    }
    char looked[4096];
    anx_error_set(a->err, ANX_ERR_DEVICE, "%s was not found; looked for it in: %s", name,
                  anx_cuda_places_format(a->places, looked, sizeof looked));
    return false;
}

static bool open_runtime(attempt *a) {
    anx_cuda_library runtime;
    anx_cuda_find(a->places, a->g->runtime, &runtime);
    if (runtime.handle == NULL) {
        a->progress = runtime.path[0] != '\0' ? FOUND_RUNTIME : FOUND_NOTHING;
        return refuse_library(a, &runtime, a->g->runtime);
    }
    a->progress = FOUND_RUNTIME;
    snprintf(a->libraries->runtime_path, sizeof a->libraries->runtime_path, "%s", runtime.path);
    return find_runtime_functions(a, &runtime);
}

static bool refuse_driver(attempt *a, unsigned code) {
    const anx_cuda_libraries *l = a->libraries;
    const int driver = l->driver_version, runtime = l->runtime_version;
    if (driver == 0) {
        anx_error_set(a->err, ANX_ERR_DEVICE,
                      "no NVIDIA driver is installed: %s (CUDA %d.%d) finds no libcuda.so.1 that works",
                      l->runtime_path, runtime / 1000, runtime % 1000 / 10);
    } else {
        a->progress = FOUND_DRIVER;
        anx_error_set(
            a->err, ANX_ERR_DEVICE,
            "the NVIDIA driver is too old: it is made for CUDA %d.%d, and %s is CUDA %d.%d; update the driver "
            "or use CUDA %d's libraries",
            driver / 1000, driver % 1000 / 10, l->runtime_path, runtime / 1000, runtime % 1000 / 10, driver / 1000);
    }
    if (a->err != NULL) a->err->native_code = (long long)code;
    return false;
}

static bool refuse_devices(attempt *a, unsigned code) {
    const anx_cuda_libraries *l = a->libraries;
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    if (code == ANX_CU_NO_DRIVER) return refuse_driver(a, code);
    a->progress = FOUND_DRIVER;
    if (code == ANX_CU_NO_DEVICE)
        anx_error_set(a->err, ANX_ERR_DEVICE, "the NVIDIA driver (CUDA %d.%d) sees no GPU%s%s%s",
                      l->driver_version / 1000, l->driver_version % 1000 / 10,
                      visible != NULL ? "; CUDA_VISIBLE_DEVICES is '" : "", visible != NULL ? visible : "",
                      visible != NULL ? "'" : "");
    else if (code == ANX_CU_STUB_LIBRARY)
        anx_error_set(
            a->err, ANX_ERR_DEVICE,
            "the libcuda.so.1 that %s finds is the stub which programs are linked with, not a driver; take its "
            "folder out of LD_LIBRARY_PATH",
            l->runtime_path);
    else if (code == ANX_CU_DRIVER_MISMATCH)
        anx_error_set(
            a->err, ANX_ERR_DEVICE,
            "the NVIDIA driver's kernel module and its library (CUDA %d.%d) are of different versions: load the "
            "module anew, or start the machine again",
            l->driver_version / 1000, l->driver_version % 1000 / 10);
    else
        anx_error_set(a->err, ANX_ERR_DEVICE, "the NVIDIA driver (CUDA %d.%d) fails to count the GPUs: %s (%s, %u)",
                      l->driver_version / 1000, l->driver_version % 1000 / 10, l->api.cudaGetErrorString(code),
                      l->api.cudaGetErrorName(code), code);
    if (a->err != NULL) a->err->native_code = (long long)code;
    return false;
}

/* Refuses where the newest of the GPUs is too old; anx_cuda_device_open looks at the one it opens. */
static bool check_capability(attempt *a) {
    anx_cuda_libraries *l = a->libraries;
    int newest = 0;
    l->oldest_capability = a->g->capability;
    for (int i = 0; i < l->device_count; i++) {
        int major = 0, minor = 0;
        if (l->api.cudaDeviceGetAttribute(&major, ANX_CU_CAPABILITY_MAJOR, i) != ANX_CU_SUCCESS ||
            l->api.cudaDeviceGetAttribute(&minor, ANX_CU_CAPABILITY_MINOR, i) != ANX_CU_SUCCESS)
            return true; /* opening it will say why */
        if (10 * major + minor > newest) newest = 10 * major + minor;
    }
    if (newest >= a->g->capability) return true;
    char advice[64] = "";
    if (a->g->major > 11) snprintf(advice, sizeof advice, ": install those of CUDA %d too", a->g->major - 1);
    anx_error_set(a->err, ANX_ERR_DEVICE,
                  "the GPU has compute capability %d.%d, and CUDA %d's libraries (%s) have code for %d.%d and newer%s",
                  newest / 10, newest % 10, a->g->major, l->runtime_path, a->g->capability / 10, a->g->capability % 10,
                  advice);
    return false;
}

static bool count_devices(attempt *a) {
    anx_cuda_libraries *l = a->libraries;
    l->runtime_version = l->driver_version = l->device_count = 0;
    /* Without a driver CUDA 11's runtime does not say its version. */
    if (l->api.cudaRuntimeGetVersion(&l->runtime_version) != 0) l->runtime_version = a->g->major * 1000;
    if (l->api.cudaDriverGetVersion(&l->driver_version) != 0) l->driver_version = 0;
    if (l->runtime_version / 1000 != a->g->major) {
        anx_error_set(a->err, ANX_ERR_DEVICE, "%s says that it is CUDA %d.%d", l->runtime_path,
                      l->runtime_version / 1000, l->runtime_version % 1000 / 10);
        return false;
    }
    const unsigned code = l->api.cudaGetDeviceCount(&l->device_count);
    if (code != ANX_CU_SUCCESS) return refuse_devices(a, code);
    if (l->driver_version / 1000 < a->g->major) return refuse_driver(a, 0);
    if (l->device_count < 1) return refuse_devices(a, ANX_CU_NO_DEVICE);
    a->progress = FOUND_DEVICE;
    return check_capability(a);
}

/* ---- the runtime's family --------------------------------------------------------------------------------- */

static bool has_file(const char *folder, const char *name) {
    char path[ANX_CUDA_MAX_PATH];
    return snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path && access(path, F_OK) == 0;
}

/*
 * Where a library lies that came with the runtime: in its own folder, or, as in Python's packages before CUDA 13, in
 * that of `package` beside it (which is not looked in where ANX_CUDA_PATH names other folders). Libraries of several
 * generations have one name, so these come before any other.
 */
static bool find_in_family(const attempt *a, const char *package, const char *name, char *folder, size_t size) {
    char own[ANX_CUDA_MAX_PATH];
    anx_cuda_folder_of(a->libraries->runtime_path, own, sizeof own);
    snprintf(folder, size, "%s", own);
    if (has_file(folder, name)) return true;
    if (a->places->named) return false;
    return snprintf(folder, size, "%s/../../%s/lib", own, package) < (int)size && has_file(folder, name);
}

/* ---- cuBLAS ----------------------------------------------------------------------------------------------- */

static void ask_version(unsigned (*get_property)(unsigned, int *), int version[3]) {
    static const unsigned properties[] = {ANX_CU_PROPERTY_MAJOR, ANX_CU_PROPERTY_MINOR, ANX_CU_PROPERTY_PATCH};
    for (int i = 0; i < 3; i++)
        if (get_property(properties[i], &version[i]) != 0) version[i] = -1;
}

/*
 * cuBLAS does not open without its cuBLASLt, and has brought one along: asked by its bare name, the loader gives that
 * one. The two come out together.
 */
static bool open_cublas_lt(attempt *a) {
    const anx_cuda_libraries *l = a->libraries;
    const anx_cuda_places loader = {.folder = {(char *)""}, .n = 1};
    anx_cuda_library lt;
    int version[3];
    anx_cuda_find(&loader, a->g->cublas_lt, &lt);
    if (lt.handle == NULL) return refuse_library(a, &lt, a->g->cublas_lt);
    if (!find_cublas_lt_functions(a, &lt)) return false;
    ask_version(l->api.cublasLtGetProperty, version);
    if (memcmp(version, l->cublas_version, sizeof version) == 0) return true;
    anx_error_set(a->err, ANX_ERR_DEVICE, "cuBLASLt does not fit cuBLAS: %s is version %d.%d.%d, %s is %d.%d.%d",
                  lt.path, version[0], version[1], version[2], l->cublas_path, l->cublas_version[0],
                  l->cublas_version[1], l->cublas_version[2]);
    return false;
}

/* The folder of cuBLAS: the runtime's family first. False: where the loader looks, or nowhere. */
static bool find_cublas_folder(const attempt *a, char *folder, size_t size) {
    if (find_in_family(a, "cublas", a->g->cublas, folder, size)) return true;
    for (int i = 0; i < a->places->n && a->places->folder[i][0] != '\0'; i++) {
        snprintf(folder, size, "%s", a->places->folder[i]);
        if (has_file(folder, a->g->cublas)) return true;
    }
    return false;
}

static bool open_cublas(attempt *a) {
    anx_cuda_libraries *l = a->libraries;
    anx_cuda_library beside, cublas = {.handle = NULL};
    char folder[ANX_CUDA_MAX_PATH];
    if (find_cublas_folder(a, folder, sizeof folder)) {
        anx_cuda_open_in(folder, a->g->cublas_lt, &beside); /* where it is there, cuBLAS takes this one and no other */
        anx_cuda_open_in(folder, a->g->cublas, &cublas);
    } else {
        anx_cuda_find(a->places, a->g->cublas, &cublas);
    }
    if (cublas.handle == NULL) return refuse_library(a, &cublas, a->g->cublas);
    a->progress = FOUND_CUBLAS;
    a->cublas = cublas.handle;
    snprintf(l->cublas_path, sizeof l->cublas_path, "%s", cublas.path);
    if (!find_cublas_functions(a, &cublas)) return false;
    ask_version(l->api.cublasGetProperty, l->cublas_version);
    if (l->cublas_version[0] == a->g->major) return open_cublas_lt(a);
    anx_error_set(a->err, ANX_ERR_DEVICE,
                  "cuBLAS does not fit CUDA's runtime: %s is version %d.%d.%d, %s is CUDA %d.%d", l->cublas_path,
                  l->cublas_version[0], l->cublas_version[1], l->cublas_version[2], l->runtime_path,
                  l->runtime_version / 1000, l->runtime_version % 1000 / 10);
    return false;
}

/* ---- cuDNN ------------------------------------------------------------------------------------------------ */

/*
 * The folder of a cuDNN that did not come with the runtime. Found without opening the library itself: it aborts the
 * process where a part of it is missing, so the first part is what is looked for where the loader looks.
 */
static bool find_cudnn_elsewhere(const attempt *a, const dnn_library *dnn, char *folder, size_t size) {
    for (int i = 0; i < a->places->n; i++) {
        const char *place = a->places->folder[i];
        if (place[0] != '\0') {
            snprintf(folder, size, "%s", place);
            if (has_file(folder, dnn->name)) return true;
            continue;
        }
        const anx_cuda_places loader = {.folder = {(char *)""}, .n = 1};
        anx_cuda_library part = {.handle = NULL};
        anx_cuda_find(&loader, dnn->parts[0], &part);
        anx_cuda_folder_of(part.path, folder, size);
        if (part.handle != NULL) return true;
    }
    return false;
}

static bool open_cudnn_parts(attempt *a, const dnn_library *dnn, const char *folder) {
    anx_cuda_library part;
    for (int i = 0; dnn->parts[i] != NULL; i++) {
        anx_cuda_open_in(folder, dnn->parts[i], &part);
        if (part.handle != NULL) continue;
        anx_error_set(a->err, ANX_ERR_DEVICE, "a part of cuDNN %s: %s/%s%s%s",
                      part.path[0] == '\0' ? "is missing" : "cannot be opened", folder, dnn->parts[i],
                      part.why[0] != '\0' ? ": " : "", part.why);
        return false;
    }
    for (int i = 0; dnn->further[i] != NULL; i++) anx_cuda_open_in(folder, dnn->further[i], &part);
    return true;
}

char *anx_cuda_cudnn_version(size_t v, char *buf, size_t size) {
    if (v >= 90000)
        snprintf(buf, size, "%zu.%zu.%zu", v / 10000, v / 100 % 100, v % 100);
    else
        snprintf(buf, size, "%zu.%zu.%zu", v / 1000, v / 100 % 10, v % 100);
    return buf;
}

static bool check_cudnn_versions(attempt *a, const dnn_library *dnn) {
    anx_cuda_libraries *l = a->libraries;
    const anx_cuda_api *api = &l->api;
    char version[64];
    l->cudnn_version = api->cudnnGetVersion();
    anx_cuda_cudnn_version(l->cudnn_version, version, sizeof version);
    const size_t major = l->cudnn_version >= 90000 ? l->cudnn_version / 10000 : l->cudnn_version / 1000;
    const size_t cuda = api->cudnnGetCudartVersion();
    if (major != (size_t)dnn->major) {
        anx_error_set(a->err, ANX_ERR_DEVICE, "%s says that it is cuDNN %s", l->cudnn_path, version);
        return false;
    }
    if (cuda / 1000 != (size_t)a->g->major) {
        anx_error_set(a->err, ANX_ERR_DEVICE,
                      "cuDNN does not fit CUDA's runtime: %s is cuDNN %s for CUDA %zu, %s is CUDA %d.%d", l->cudnn_path,
                      version, cuda / 1000, l->runtime_path, l->runtime_version / 1000, l->runtime_version % 1000 / 10);
        return false;
    }
    unsigned (*const checks[])(void) = {api->cudnnOpsVersionCheck,      api->cudnnCnnVersionCheck,
                                        api->cudnnOpsInferVersionCheck, api->cudnnOpsTrainVersionCheck,
                                        api->cudnnCnnInferVersionCheck, api->cudnnCnnTrainVersionCheck};
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        const unsigned code = checks[i] != NULL ? checks[i]() : 0;
        if (code == 0) continue;
        anx_error_set(a->err, ANX_ERR_DEVICE, "the parts of cuDNN %s beside %s are of different versions: %s (%u)",
                      version, l->cudnn_path, api->cudnnGetErrorString(code), code);
        return false;
    }
    return true;
}

static bool open_cudnn(attempt *a) {
    char folder[ANX_CUDA_MAX_PATH];
    const dnn_library *dnn = NULL;
    for (int i = 0; a->g->dnn[i] != NULL && dnn == NULL; i++)
        if (find_in_family(a, "cudnn", a->g->dnn[i]->name, folder, sizeof folder)) dnn = a->g->dnn[i];
    for (int i = 0; a->g->dnn[i] != NULL && dnn == NULL; i++)
        if (find_cudnn_elsewhere(a, a->g->dnn[i], folder, sizeof folder)) dnn = a->g->dnn[i];
    anx_cuda_library cudnn = {.handle = NULL};
    if (dnn == NULL) return refuse_library(a, &cudnn, a->g->dnn[0]->name);
    a->progress = FOUND_CUDNN;
    if (!open_cudnn_parts(a, dnn, folder)) return false;
    anx_cuda_open_in(folder, dnn->name, &cudnn);
    if (cudnn.handle == NULL) return refuse_library(a, &cudnn, dnn->name);
    snprintf(a->libraries->cudnn_path, sizeof a->libraries->cudnn_path, "%s", cudnn.path);
    return find_cudnn_functions(a, &cudnn, dnn->major) && check_cudnn_versions(a, dnn);
}

/* ---- all of them ------------------------------------------------------------------------------------------ */

static bool try_generation(attempt *a, bool whole) {
    if (!open_runtime(a) || !count_devices(a)) return false;
    return !whole || (open_cublas(a) && open_cudnn(a));
}

static anx_status nothing_found(const anx_cuda_places *places, anx_error *err) {
    char looked[4096];
    return anx_error_set(err, ANX_ERR_DEVICE,
                         "NVIDIA's CUDA runtime was not found (libcudart.so.13, .12 or .11.0); looked for it in: %s. "
                         "ANX_CUDA_PATH may name the folders of CUDA's libraries, separated by colons",
                         anx_cuda_places_format(places, looked, sizeof looked));
}

static anx_status open_newest(anx_cuda_libraries *out, bool whole, anx_error *err) {
    anx_cuda_places places = {.n = 0};
    anx_error *best = calloc(2, sizeof *best), *now = best + 1;
    if (best == NULL || !anx_cuda_places_init(&places)) {
        anx_cuda_places_fini(&places);
        free(best);
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    }
    progress farthest = FOUND_NOTHING;
    anx_status status = ANX_ERR_DEVICE;
    for (size_t i = 0; i < sizeof generations / sizeof generations[0] && status != ANX_OK; i++) {
        memset(out, 0, sizeof *out);
        attempt a = {.places = &places, .g = &generations[i], .libraries = out, .err = now};
        if (try_generation(&a, whole)) status = ANX_OK;
        if (a.progress <= farthest) continue;
        farthest = a.progress;
        *best = *now;
    }
    if (status != ANX_OK && farthest == FOUND_NOTHING)
        status = nothing_found(&places, err);
    else if (status != ANX_OK && err != NULL)
        *err = *best;
    anx_cuda_places_fini(&places);
    free(best);
    return status;
}

anx_status anx_cuda_runtime_open(anx_cuda_libraries *out, anx_error *err) {
    return open_newest(out, false, err);
}

anx_status anx_cuda_libraries_open(anx_cuda_libraries *out, anx_error *err) {
    return open_newest(out, true, err);
}
