/*
 * What the judging scripts run: this project's readers and writers behind a small command line.
 *   checkpoint_tool safetensors FILE      one line for each tensor: digest, dtype, shape, name
 *   checkpoint_tool copy IN OUT           safetensors read and written again, metadata included
 */
#include <stdio.h>
#include <string.h>

#include "loaders/checkpoint/safetensors.h"
#include "loaders/checkpoint/text.h"
#include "src/base/sha256.h"

static anx_error err;

static int complain(void) {
    static char text[20000];
    fprintf(stderr, "%s\n", anx_error_format(&err, text, sizeof text));
    return 2;
}

static int print_tensors(const anx_state_dict *tensors) {
    for (size_t i = 0; i < tensors->count; i++) {
        const anx_tensor *t = &tensors->items[i].tensor;
        anx_digest digest;
        const char *name = tensors->items[i].name;
        char hex[ANX_SHA256_HEX], shape[256], text[1024];
        if (anx_tensor_digest(t, &digest, &err) != ANX_OK) return complain();
        printf("%s %s %s %s\n", anx_digest_hex(&digest, hex), anx_dtype_name(t->dtype),
               anx_shape_format(t->rank, t->shape, shape, sizeof shape),
               anx_text_printable(name, strlen(name), text, sizeof text));
    }
    return 0;
}

static int copy(const anx_safetensors *file, const char *to) {
    static anx_safetensors_meta metadata[64];
    if (file->n_metadata > sizeof metadata / sizeof metadata[0]) return 2;
    for (size_t i = 0; i < file->n_metadata; i++)
        metadata[i] = (anx_safetensors_meta){file->metadata[i].key, file->metadata[i].value};
    if (anx_safetensors_write(to, &file->tensors, metadata, file->n_metadata, true, &err) != ANX_OK) return complain();
    return 0;
}

int main(int argc, char **argv) {
    const bool copies = argc == 4 && strcmp(argv[1], "copy") == 0;
    if (!copies && !(argc == 3 && strcmp(argv[1], "safetensors") == 0)) {
        fprintf(stderr, "usage: checkpoint_tool safetensors FILE | copy IN OUT\n");
        return 64;
    }
    anx_safetensors *file = NULL;
    if (anx_safetensors_open(argv[2], &file, &err) != ANX_OK) return complain();
    const int rc = copies ? copy(file, argv[3]) : print_tensors(&file->tensors);
    anx_safetensors_close(file);
    return rc;
}
