/*
 * A libcuda.so.1 that answers one thing: what FAKE_DRIVER_ERROR says (100: no device). NVIDIA's real runtime, given
 * this driver of FAKE_DRIVER_VERSION, shows what it makes of machines whose driver is there and whose GPU is not
 * usable.
 */
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

static int number(const char *name, int otherwise) {
    const char *value = getenv(name);
    return value != NULL ? atoi(value) : otherwise;
}

EXPORT int cuInit(unsigned flags);
EXPORT int cuDriverGetVersion(int *version);
EXPORT int cuGetProcAddress(const char *name, void **out, int version, unsigned long long flags);
EXPORT int cuGetProcAddress_v2(const char *name, void **out, int version, unsigned long long flags, int *status);
EXPORT int cuGetExportTable(const void **table, const void *id);

static int refuse(void) {
    return number("FAKE_DRIVER_ERROR", 100);
}

int cuInit(unsigned flags) {
    (void)flags;
    return refuse();
}

int cuDriverGetVersion(int *version) {
    *version = number("FAKE_DRIVER_VERSION", 13000);
    return 0;
}

/* Every other function is answered by cuInit, which says no whatever it is asked. */
int cuGetProcAddress_v2(const char *name, void **out, int version, unsigned long long flags, int *status) {
    union {
        int (*refuse)(unsigned);
        int (*get_version)(int *);
        int (*get_address)(const char *, void **, int, unsigned long long, int *);
        void *pointer;
    } function = {.refuse = cuInit};
    (void)version, (void)flags;
    if (strcmp(name, "cuDriverGetVersion") == 0) function.get_version = cuDriverGetVersion;
    if (strcmp(name, "cuGetProcAddress") == 0) function.get_address = cuGetProcAddress_v2;
    *out = function.pointer;
    if (status != NULL) *status = 0;
    return 0;
}

int cuGetProcAddress(const char *name, void **out, int version, unsigned long long flags) {
    return cuGetProcAddress_v2(name, out, version, flags, NULL);
}

int cuGetExportTable(const void **table, const void *id) {
    (void)table, (void)id;
    return refuse();
}
