#include "src/backend/cuda/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/backend/cuda/status.h"
#include "src/base/threads.h"

#define CHECK(device, call, what, err) anx_cuda_check((device)->api, (device)->api->call, what, err)

int anx_cuda_device_count(anx_error *err) {
    anx_cuda_libraries *libraries = malloc(sizeof *libraries);
    if (libraries == NULL) {
        anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
        return 0;
    }
    const int count = anx_cuda_runtime_open(libraries, err) == ANX_OK ? libraries->device_count : 0;
    free(libraries);
    return count;
}

anx_status anx_cuda_device_enter(const anx_cuda_device *device, anx_error *err) {
    return CHECK(device, cudaSetDevice(device->ordinal), "use the GPU", err);
}

/* ---- description ---------------------------------------------------------------------------------------- */

static void append(char *buf, size_t size, const char *line) {
    const size_t used = strlen(buf);
    snprintf(buf + used, size - used, "%s%s", used > 0 ? "\n" : "", line);
}

/* To go, with its test, once tools/gpu-day has passed on a GPU: every report carries it until then. */
static const char never_verified[] = "anx's cuda device was verified on a double of NVIDIA's libraries, never on a GPU";

/*
 * What can make float32 arithmetic something less. They are named where they are set, whatever their value, except
 * where it forbids TF32: which libraries obey which is theirs to say.
 */
static void note_environment(anx_cuda_device *d) {
    static const char *const names[] = {"NVIDIA_TF32_OVERRIDE", "CUBLAS_EMULATE_SINGLE_PRECISION",
                                        "CUBLAS_EMULATION_STRATEGY"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = getenv(names[i]);
        char line[256];
        if (value == NULL || *value == '\0' || strcmp(value, "0") == 0) continue;
        snprintf(line, sizeof line, "%s is set to '%.64s', which may lower the precision of NVIDIA's libraries",
                 names[i], value);
        append(d->notes, sizeof d->notes, line);
    }
}

static void describe_libraries(anx_cuda_device *d) {
    const anx_cuda_libraries *l = &d->libraries;
    char version[64], line[ANX_CUDA_MAX_PATH + 128];
    anx_cuda_cudnn_version(l->cudnn_version, version, sizeof version);
    const int runtime = l->runtime_version, driver = l->driver_version;
    snprintf(d->library, sizeof d->library, "CUDA %d.%d, cuBLAS %d.%d.%d, cuDNN %s", runtime / 1000,
             runtime % 1000 / 10, l->cublas_version[0], l->cublas_version[1], l->cublas_version[2], version);
    snprintf(line, sizeof line, "driver for CUDA %d.%d", driver / 1000, driver % 1000 / 10);
    append(d->text_of_libraries, sizeof d->text_of_libraries, line);
    snprintf(line, sizeof line, "CUDA %d.%d %s", runtime / 1000, runtime % 1000 / 10, l->runtime_path);
    append(d->text_of_libraries, sizeof d->text_of_libraries, line);
    snprintf(line, sizeof line, "cuBLAS %d.%d.%d %s", l->cublas_version[0], l->cublas_version[1], l->cublas_version[2],
             l->cublas_path);
    append(d->text_of_libraries, sizeof d->text_of_libraries, line);
    snprintf(line, sizeof line, "cuDNN %s %s", version, l->cudnn_path);
    append(d->text_of_libraries, sizeof d->text_of_libraries, line);
}

/*
 * The properties' layout differs between CUDA's versions; the name comes first in all of them, and none is larger than
 * what is handed over here.
 */
static anx_status describe_gpu(anx_cuda_device *d, anx_error *err) {
    enum { PROPERTIES_BYTES = 8192, NAME_BYTES = 256 };
    char *properties = calloc(1, PROPERTIES_BYTES);
    if (properties == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    anx_status status = CHECK(d, cudaGetDeviceProperties((struct cudaDeviceProp *)(void *)properties, d->ordinal),
                              "describe the GPU", err);
    if (status == ANX_OK) snprintf(d->isa, sizeof d->isa, "%.*s", NAME_BYTES, properties);
    free(properties);
    int major = 0, minor = 0;
    size_t free_bytes = 0;
    if (status == ANX_OK)
        status = CHECK(d, cudaDeviceGetAttribute(&major, ANX_CU_CAPABILITY_MAJOR, d->ordinal), "describe the GPU", err);
    if (status == ANX_OK)
        status = CHECK(d, cudaDeviceGetAttribute(&minor, ANX_CU_CAPABILITY_MINOR, d->ordinal), "describe the GPU", err);
    if (status == ANX_OK) status = CHECK(d, cudaMemGetInfo(&free_bytes, &d->memory_bytes), "ask for its memory", err);
    snprintf(d->capability, sizeof d->capability, "%d.%d", major, minor);
    snprintf(d->name, sizeof d->name, "cuda:%d", d->ordinal);
    return status;
}

void anx_cuda_device_info(const void *impl, anx_device_info *out) {
    const anx_cuda_device *d = impl;
    size_t free_bytes = 0, total = 0;
    if (anx_cuda_device_enter(d, NULL) != ANX_OK || d->api->cudaMemGetInfo(&free_bytes, &total) != ANX_CU_SUCCESS)
        free_bytes = 0;
    *out = (anx_device_info){.backend = "cuda",
                             .device = d->name,
                             .library = d->library,
                             .isa = d->isa,
                             .arithmetic = "float32",
                             .threads = d->threads,
                             .math = d->math,
                             .deterministic = !d->nondeterministic,
                             .pytorch_bits = false,
                             .memory_bytes = d->memory_bytes,
                             .free_bytes = free_bytes,
                             .capability = d->capability,
                             .libraries = d->text_of_libraries,
                             .notes = d->notes};
}

/* ---- opening and closing -------------------------------------------------------------------------------- */

anx_status anx_cuda_device_open(int ordinal, const anx_device_options *options, void **out, anx_error *err) {
    anx_cuda_device *d = calloc(1, sizeof *d);
    if (d == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    anx_status status = anx_cuda_libraries_open(&d->libraries, err);
    if (status != ANX_OK) {
        free(d);
        return status;
    }
    d->api = &d->libraries.api;
    d->ordinal = ordinal;
    d->threads = options->threads > 0 ? options->threads : anx_threads_available();
    d->math = options->math;
    d->nondeterministic = options->nondeterministic;
    if (ordinal >= d->libraries.device_count)
        status = anx_error_set(err, ANX_ERR_NOT_FOUND, "there is no device cuda:%d; the last one is cuda:%d", ordinal,
                               d->libraries.device_count - 1);
    if (status == ANX_OK) status = anx_cuda_device_enter(d, err);
    if (status == ANX_OK) status = describe_gpu(d, err);
    if (status == ANX_OK)
        status = CHECK(d, cudaStreamCreateWithFlags(&d->stream, ANX_CU_STREAM_NON_BLOCKING), "make a stream", err);
    if (status == ANX_OK)
        status = CHECK(d, cudaStreamCreateWithFlags(&d->uploads, ANX_CU_STREAM_NON_BLOCKING), "make a stream", err);
    if (status == ANX_OK) status = anx_cublas_init(&d->blas, d->api, d->stream, d->math, d->nondeterministic, err);
    if (status == ANX_OK) status = anx_cublaslt_init(&d->lt, &d->blas, d->stream, d->math, d->nondeterministic, err);
    if (status == ANX_OK) status = anx_cudnn_init(&d->dnn, d->api, d->stream, d->math, d->nondeterministic, err);
    if (status != ANX_OK) {
        anx_cuda_device_close(d);
        return status;
    }
    describe_libraries(d);
    append(d->notes, sizeof d->notes, never_verified);
    note_environment(d);
    *out = d;
    return ANX_OK;
}

/* What a device that is lost answers to these is of no interest any more. */
void anx_cuda_device_close(void *impl) {
    anx_cuda_device *d = impl;
    (void)anx_cuda_device_enter(d, NULL);
    if (d->stream != NULL) d->api->cudaStreamSynchronize(d->stream);
    if (d->uploads != NULL) d->api->cudaStreamSynchronize(d->uploads);
    anx_cudnn_fini(&d->dnn);
    anx_cublaslt_fini(&d->lt);
    anx_cublas_fini(&d->blas);
    if (d->uploads != NULL) d->api->cudaStreamDestroy(d->uploads);
    if (d->stream != NULL) d->api->cudaStreamDestroy(d->stream);
    free(d);
}

anx_status anx_cuda_device_sync(void *impl, anx_error *err) {
    const anx_cuda_device *d = impl;
    anx_status status = anx_cuda_device_enter(d, err);
    if (status == ANX_OK) status = CHECK(d, cudaStreamSynchronize(d->uploads), "finish what it was given", err);
    return status != ANX_OK ? status : CHECK(d, cudaStreamSynchronize(d->stream), "finish what it was given", err);
}

/* ---- host memory ---------------------------------------------------------------------------------------- */

anx_status anx_cuda_host_alloc(void *impl, size_t bytes, void **out, anx_error *err) {
    const anx_cuda_device *d = impl;
    char what[96];
    snprintf(what, sizeof what, "allocate %zu bytes of pinned host memory", bytes);
    const anx_status status = anx_cuda_device_enter(d, err);
    return status != ANX_OK ? status : CHECK(d, cudaHostAlloc(out, bytes, ANX_CU_HOST_ALLOC_DEFAULT), what, err);
}

void anx_cuda_host_free(void *impl, void *memory) {
    const anx_cuda_device *d = impl;
    (void)anx_cuda_device_enter(d, NULL);
    d->api->cudaFreeHost(memory);
}
