#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "src/base/sha256.h"

const char *fuzz_file(const uint8_t *data, size_t n_bytes) {
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, 0) != 0 || (n_bytes > 0 && pwrite(fd, data, n_bytes, 0) != (ssize_t)n_bytes)) {
        perror("memfd");
        abort();
    }
    return path;
}

void fuzz_touch(const anx_state_dict *tensors) {
    static volatile unsigned char sink;
    for (size_t i = 0; i < tensors->count; i++) {
        const anx_tensor *t = &tensors->items[i].tensor;
        const int64_t elems = anx_tensor_elems(t);
        if (elems == 0) continue;
        int64_t last = 0;
        for (int k = 0; k < t->rank; k++) last += (t->shape[k] - 1) * t->stride[k];
        const int64_t element_bytes = (int64_t)anx_dtype_bytes(t->dtype);
        const unsigned char *bytes = t->data;
        sink = bytes[0];
        sink = bytes[last * element_bytes + element_bytes - 1];
        anx_digest digest;
        if (elems < 4096 && anx_tensor_digest(t, &digest, NULL) != ANX_OK) abort();
    }
    (void)sink;
}
