/*
 * Linked into anx-train with --wrap=anx_backend_at: 'exact' is the deferred device then. In the environment,
 * ANX_DEFERRED_FAIL: "CALL NTH", the device is lost at the NTH call of that kind (deferred_call's number).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/deferred_device.h"

const anx_backend *__real_anx_backend_at(int i);
const anx_backend *__wrap_anx_backend_at(int i);

const anx_backend *__wrap_anx_backend_at(int i) {
    static bool begun;
    const anx_backend *backend = __real_anx_backend_at(i);
    const char *fault = getenv("ANX_DEFERRED_FAIL");
    int call, nth;
    if (!begun && fault != NULL && sscanf(fault, "%d %d", &call, &nth) == 2)
        deferred_fail((deferred_call)call, nth, DEFERRED_LOST);
    begun = true;
    return backend != NULL && strcmp(backend->name, deferred_backend.name) == 0 ? &deferred_backend : backend;
}
