/*
 * What the judging scripts run: this project's readers and writers behind a small command line.
 *   checkpoint_tool safetensors FILE      one line for each tensor: digest, dtype, shape, name
 *   checkpoint_tool tensors FILE          the same of a checkpoint of any format, after a line about the file
 *   checkpoint_tool accept FILE           the same, records with a wrong CRC-32 accepted
 *   checkpoint_tool bind FILE [ARCH]      the same of the parameters of the architecture (that fits, if not given)
 *   checkpoint_tool copy IN OUT           safetensors read and written again, metadata included
 */
#include <stdio.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint.h"
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

static int print_safetensors(const char *path) {
    anx_safetensors *file = NULL;
    if (anx_safetensors_open(path, &file, &err) != ANX_OK) return complain();
    const int rc = print_tensors(&file->tensors);
    anx_safetensors_close(file);
    return rc;
}

static int copy_safetensors(const char *from, const char *to) {
    anx_safetensors *file = NULL;
    if (anx_safetensors_open(from, &file, &err) != ANX_OK) return complain();
    const int rc = copy(file, to);
    anx_safetensors_close(file);
    return rc;
}

static int print_params(anx_checkpoint *checkpoint, const char *arch_name) {
    const anx_arch *arch = arch_name != NULL ? anx_arch_find(arch_name) : NULL;
    anx_model *model = NULL;
    if (arch_name != NULL && arch == NULL) return 64;
    if (anx_model_bind(checkpoint, arch, 0, 0, &model, &err) != ANX_OK) return complain();
    const anx_graph *graph = model->graph;
    printf("arch=%s classes=%lld converted=%d\n", graph->arch->name, (long long)graph->num_classes, model->n_converted);
    anx_state_dict params = ANX_STATE_DICT_INIT; /* views: the model owns what there is to own */
    int rc = 0;
    for (int i = 0; i < graph->n_params && rc == 0; i++) {
        anx_tensor view = model->params[i];
        view.owned = NULL;
        if (anx_state_dict_add(&params, graph->params[i].name, &view, &err) != ANX_OK) rc = complain();
    }
    if (rc == 0) rc = print_tensors(&params);
    anx_state_dict_fini(&params);
    anx_model_destroy(model);
    return rc;
}

static int print_checkpoint(const char *path, bool accept_bad_crc) {
    const anx_checkpoint_options options = {.accept_bad_crc = accept_bad_crc};
    anx_checkpoint *checkpoint = NULL;
    if (anx_checkpoint_open(path, &options, &checkpoint, &err) != ANX_OK) return complain();
    printf("format=%s wrapped_in=%s module=%d bad_crc=%zu\n", checkpoint->format,
           checkpoint->wrapped_in != NULL ? checkpoint->wrapped_in : "-", checkpoint->module_prefix_removed,
           checkpoint->n_bad_crc);
    const int rc = print_tensors(&checkpoint->tensors);
    anx_checkpoint_close(checkpoint);
    return rc;
}

static int bind_checkpoint(const char *path, const char *arch) {
    anx_checkpoint *checkpoint = NULL;
    if (anx_checkpoint_open(path, NULL, &checkpoint, &err) != ANX_OK) return complain();
    const int rc = print_params(checkpoint, arch);
    anx_checkpoint_close(checkpoint);
    return rc;
}

int main(int argc, char **argv) {
    const char *command = argc > 2 ? argv[1] : "";
    if (argc == 3 && strcmp(command, "safetensors") == 0) return print_safetensors(argv[2]);
    if (argc == 4 && strcmp(command, "copy") == 0) return copy_safetensors(argv[2], argv[3]);
    if (argc == 3 && strcmp(command, "tensors") == 0) return print_checkpoint(argv[2], false);
    if (argc == 3 && strcmp(command, "accept") == 0) return print_checkpoint(argv[2], true);
    if ((argc == 3 || argc == 4) && strcmp(command, "bind") == 0) return bind_checkpoint(argv[2], argv[3]);
    fprintf(stderr,
            "usage: checkpoint_tool safetensors FILE | copy IN OUT | tensors FILE | accept FILE | bind FILE [ARCH]\n");
    return 64;
}
