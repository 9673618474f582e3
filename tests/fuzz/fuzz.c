#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "loaders/checkpoint/training_checkpoint.h"
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

static void touch(const anx_tensor *t) {
    static volatile unsigned char sink;
    const int64_t elems = anx_tensor_elems(t);
    if (elems == 0) return;
    int64_t last = 0;
    for (int k = 0; k < t->rank; k++) last += (t->shape[k] - 1) * t->stride[k];
    const int64_t element_bytes = (int64_t)anx_dtype_bytes(t->dtype);
    const unsigned char *bytes = t->data;
    sink = bytes[0];
    sink = bytes[last * element_bytes + element_bytes - 1];
    (void)sink;
    anx_digest digest;
    if (elems < 4096 && anx_tensor_digest(t, &digest, NULL) != ANX_OK) abort();
}

void fuzz_touch(const anx_state_dict *tensors) {
    for (size_t i = 0; i < tensors->count; i++) touch(&tensors->items[i].tensor);
}

void fuzz_training(const anx_checkpoint *checkpoint) {
    static anx_error err;
    static anx_training_state state;
    const anx_status status = anx_training_state_read(checkpoint, &state, &err);
    if (status != ANX_OK) {
        if (err.status != status || err.message[0] == '\0' || status == ANX_ERR_INTERNAL) abort();
        return;
    }
    size_t n = 0;
    for (size_t i = 0; i < state.optimizer.n_groups; i++) n += state.optimizer.groups[i].n_params;
    if (n != state.optimizer.n_buffers ||
        (state.scheduler.n_schedulers > 0 && state.scheduler.n_schedulers != state.scheduler.n_milestones + 1))
        abort();
    for (size_t i = 0; i < n; i++)
        if (state.optimizer.buffers[i].present) touch(&state.optimizer.buffers[i].tensor);
    anx_training_state_fini(&state);
}

void fuzz_open(const uint8_t *data, size_t n_bytes, bool as_stored) {
    static anx_error err;
    static char text[20000];
    /* CRCs would have to be guessed before anything behind them is reached; what they do is in the unit tests. */
    const anx_checkpoint_options options = {.accept_bad_crc = true, .as_stored = as_stored};
    anx_checkpoint *checkpoint = NULL;
    const anx_status status = anx_checkpoint_open(fuzz_file(data, n_bytes), &options, &checkpoint, &err);
    if (status != ANX_OK) {
        if (checkpoint != NULL || err.status != status || strlen(anx_error_format(&err, text, sizeof text)) == 0 ||
            status == ANX_ERR_INTERNAL)
            abort();
        return;
    }
    for (size_t i = 0; i < checkpoint->tensors.count; i++) {
        const anx_elements e = anx_checkpoint_elements(checkpoint, i);
        char piece[4096 * 8];
        const int64_t elems = anx_tensor_elems(&e.tensor);
        if (elems > 0 && elems <= 4096) anx_elements_read(&e, 0, elems, e.tensor.dtype, piece, NULL);
    }
    if (!as_stored) fuzz_touch(&checkpoint->tensors);
    anx_checkpoint_close(checkpoint);
}
