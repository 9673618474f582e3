/*
 * Plugins for tests: the reference backend under the name SAMPLE_NAME. $SAMPLE_DEVICES is how many devices it says
 * there are, 1 unless set; $SAMPLE_TRACE a file that gets a line when the plugin is opened.
 *
 * Wrong in one way each: SAMPLE_ABI, another interface version; SAMPLE_HOLLOW, no table; SAMPLE_MUTE, no function that
 * gives one; SAMPLE_UNBOUND, a function that nobody has.
 */
#include <stdio.h>
#include <stdlib.h>

#include "src/backend/backends.h"
#include "src/backend/plugin.h"

#ifndef SAMPLE_ABI
#define SAMPLE_ABI ANX_BACKEND_ABI_VERSION
#endif

static anx_backend table;

static int device_count(anx_error *err) {
    const char *text = getenv("SAMPLE_DEVICES");
    const int count = text != NULL ? atoi(text) : 1;
    if (count == 0) anx_error_set(err, ANX_ERR_DEVICE, "the sample has no device, as was asked for");
    return count;
}

static anx_status device_open(int ordinal, const anx_device_options *options, void **out, anx_error *err) {
    if (ordinal > 0) return anx_error_set(err, ANX_ERR_DEVICE, "device %d of the sample does not open", ordinal);
    return anx_backend_reference.device_open(ordinal, options, out, err);
}

static void device_info(const void *device, anx_device_info *out) {
    anx_backend_reference.device_info(device, out);
    out->backend = out->device = SAMPLE_NAME;
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
    return &table;
}
