/*
 * Plugins for tests: the reference backend under the name SAMPLE_NAME, telling what a GPU tells. $SAMPLE_DEVICES is how
 * many devices it says there are, 1 unless set, of which the first opens; $SAMPLE_TRACE a file that gets a line when
 * the plugin is opened; $SAMPLE_FAULT what fails: "open" opening a device, "memory" making a plan, "lost" running it.
 *
 * Wrong in one way each: SAMPLE_ABI, another interface version; SAMPLE_HOLLOW, no table; SAMPLE_MUTE, no function that
 * gives one; SAMPLE_UNBOUND, a function that nobody has.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/backend/backends.h"
#include "src/backend/plugin.h"

#ifndef SAMPLE_ABI
#define SAMPLE_ABI ANX_BACKEND_ABI_VERSION
#endif

static anx_backend table;
static anx_math_mode math; /* that was allowed when a device was opened last */

static bool has_fault(const char *name) {
    const char *fault = getenv("SAMPLE_FAULT");
    return fault != NULL && strcmp(fault, name) == 0;
}

static int device_count(anx_error *err) {
    const char *text = getenv("SAMPLE_DEVICES");
    const int count = text != NULL ? atoi(text) : 1;
    if (count == 0) anx_error_set(err, ANX_ERR_DEVICE, "the sample has no device, as was asked for");
    return count;
}

static anx_status device_open(int ordinal, const anx_device_options *options, void **out, anx_error *err) {
    if (has_fault("open")) return anx_error_set(err, ANX_ERR_DEVICE, "libcudnn.so.9 was not found.\nLooked for it");
    if (ordinal > 0) return anx_error_set(err, ANX_ERR_DEVICE, "device %d of the sample does not open", ordinal);
    math = options->math;
    return anx_backend_reference.device_open(ordinal, options, out, err);
}

static void device_info(const void *device, anx_device_info *out) {
    anx_backend_reference.device_info(device, out);
    out->backend = SAMPLE_NAME;
    out->device = SAMPLE_NAME ":0";
    out->library = "cuDNN 9.19.0, cuBLAS 13.0.2";
    out->capability = "9.0";
    out->memory_bytes = UINT64_C(80) << 30;
    out->free_bytes = UINT64_C(157) << 29;
    out->libraries = "cudart 13.0 /opt/cuda/libcudart.so.13\ncuDNN 9.19.0 /opt/cuda/libcudnn.so.9";
    out->notes = "NVIDIA_TF32_OVERRIDE=0";
    out->math = math;
    out->deterministic = math != ANX_MATH_FAST;
}

static anx_status plan_create(void *device, const anx_plan_desc *desc, void **out, anx_error *err) {
    if (has_fault("memory"))
        return anx_error_set(
            err, ANX_ERR_OUT_OF_MEMORY,
            "the device has no room for 1.5 GiB: 0.2 of 79.2 GiB are free.\nA smaller batch needs less; "
            "nvidia-smi shows who has the rest");
    return anx_backend_reference.plan_create(device, desc, out, err);
}

static anx_status plan_run(void *plan, int first, int count, anx_error *err) {
    if (has_fault("lost"))
        return anx_error_set(err, ANX_ERR_DEVICE,
                             "the device is lost: cudaStreamSynchronize says 719, unspecified launch failure.\nNothing "
                             "can be read from it any more");
    return anx_backend_reference.plan_run(plan, first, count, err);
}

__attribute__((constructor)) static void opened(void) {
    const char *path = getenv("SAMPLE_TRACE");
    FILE *f = path != NULL ? fopen(path, "ae") : NULL;
    if (f == NULL) return;
    fputs(SAMPLE_NAME "\n", f);
    fclose(f);
}

#ifdef SAMPLE_UNBOUND
void nobody_has_this_function(void);
__attribute__((visibility("default"))) void sample_unbound(void);
void sample_unbound(void) {
    nobody_has_this_function();
}
#endif

#ifdef SAMPLE_MUTE
__attribute__((visibility("default"))) const anx_backend *sample_mute(void);
const anx_backend *sample_mute(void) {
#else
const anx_backend *anx_backend_plugin(void) {
#endif
#ifdef SAMPLE_HOLLOW
    return NULL;
#endif
    table = anx_backend_reference;
    table.abi_version = SAMPLE_ABI;
    table.name = SAMPLE_NAME;
    table.device_count = device_count;
    table.device_open = device_open;
    table.device_info = device_info;
    table.plan_create = plan_create;
    table.plan_run = plan_run;
    return &table;
}
