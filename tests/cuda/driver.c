/*
 * gpu_driver: what NVIDIA's driver says about itself and its GPUs, asked of libcuda.so.1 alone: before any library of
 * NVIDIA's is there, and where nvidia-smi is not. Prints "driver VERSION" (13030 is CUDA 13.3) and for each GPU "gpu
 * CAPABILITY BYTES NAME". Exit 0; 1 where there is no driver.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

enum { CAPABILITY_MAJOR = 75, CAPABILITY_MINOR = 76 };

static void *library;

/* Of a function that this driver has not, NULL. */
static void find(const char *name, void *function) {
    void *address = dlsym(library, name);
    memcpy(function, &address, sizeof address);
}

static void print_gpus(void) {
    int (*init)(unsigned) = NULL, (*count)(int *) = NULL, (*name_of)(char *, int, int) = NULL;
    int (*memory_of)(size_t *, int) = NULL, (*attribute_of)(int *, int, int) = NULL;
    int n = 0;
    find("cuInit", &init);
    find("cuDeviceGetCount", &count);
    find("cuDeviceGetName", &name_of);
    find("cuDeviceTotalMem_v2", &memory_of);
    find("cuDeviceGetAttribute", &attribute_of);
    if (init == NULL || count == NULL || name_of == NULL || memory_of == NULL || attribute_of == NULL) return;
    const int code = init(0);
    if (code != 0 || count(&n) != 0) {
        fprintf(stderr, "gpu_driver: the driver sees no GPU: cuInit says %d\n", code);
        return;
    }
    for (int i = 0; i < n; i++) { /* a device's handle is its number */
        char name[256] = "";
        size_t bytes = 0;
        int major = 0, minor = 0;
        if (attribute_of(&major, CAPABILITY_MAJOR, i) == 0 && attribute_of(&minor, CAPABILITY_MINOR, i) == 0 &&
            memory_of(&bytes, i) == 0 && name_of(name, sizeof name - 1, i) == 0)
            printf("gpu %d.%d %zu %s\n", major, minor, bytes, name);
    }
}

int main(void) {
    int (*version_of)(int *) = NULL;
    int version = 0;
    library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "gpu_driver: %s\n", dlerror());
        return 1;
    }
    find("cuDriverGetVersion", &version_of);
    if (version_of == NULL || version_of(&version) != 0) {
        fprintf(stderr, "gpu_driver: libcuda.so.1 does not say its version\n");
        return 1;
    }
    printf("driver %d\n", version);
    print_gpus();
    return 0;
}
