/* Any bytes as a safetensors file; what is read is written, and reads back the same. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loaders/checkpoint/safetensors.h"
#include "tests/fuzz/fuzz.h"

static char path[64]; /* of the file written */

static void remove_file(void) {
    unlink(path);
}

static void check_round_trip(const anx_safetensors *file) {
    static anx_error err;
    anx_safetensors_meta metadata[16];
    const size_t n = file->n_metadata < 16 ? file->n_metadata : 16;
    for (size_t i = 0; i < n; i++) metadata[i] = (anx_safetensors_meta){file->metadata[i].key, file->metadata[i].value};
    if (path[0] == '\0') {
        strcpy(path, "/tmp/fuzz-safetensors-XXXXXX");
        const int fd = mkstemp(path);
        if (fd < 0) abort();
        close(fd);
        atexit(remove_file);
    }
    anx_status status = anx_safetensors_write(path, &file->tensors, metadata, n, true, &err);
    if (status == ANX_ERR_INVALID_ARGUMENT) return; /* a metadata key given twice is read, but not written */
    if (status != ANX_OK) abort();
    anx_safetensors *back = NULL;
    if (anx_safetensors_open(path, &back, &err) != ANX_OK || back->tensors.count != file->tensors.count) abort();
    for (size_t i = 0; i < back->tensors.count; i++) {
        const anx_tensor *a = &back->tensors.items[i].tensor;
        const anx_tensor *b = anx_state_dict_find(&file->tensors, back->tensors.items[i].name);
        if (b == NULL || a->dtype != b->dtype || !anx_tensor_same_shape(a, b) ||
            memcmp(a->data, b->data, anx_tensor_bytes(a)) != 0)
            abort();
    }
    anx_safetensors_close(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    static anx_error err;
    anx_safetensors *file = NULL;
    const anx_status status = anx_safetensors_open(fuzz_file(data, n_bytes), &file, &err);
    if (status != ANX_OK && (file != NULL || err.status != status || err.message[0] == '\0')) abort();
    if (status != ANX_OK) return 0;
    fuzz_touch(&file->tensors);
    check_round_trip(file);
    anx_safetensors_close(file);
    return 0;
}
