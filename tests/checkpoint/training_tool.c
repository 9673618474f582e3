/*
 * What training_judge.py runs.
 *   training_tool sample OUT       writes training_sample.h
 *   training_tool rewrite IN OUT   reads a training's checkpoint, prints what it passed over, writes it again
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint_impl.h"
#include "tests/checkpoint/training_sample.h"

static anx_error err;

static int complain(void) {
    static char text[20000];
    fprintf(stderr, "%s\n", anx_error_format(&err, text, sizeof text));
    return 2;
}

static int write_sample(const char *path) {
    static anx_training_state state;
    anx_state_dict model;
    training_sample(&model, &state);
    const anx_status status = anx_training_checkpoint_write(path, &model, &state, &training_sample_options, &err);
    anx_state_dict_fini(&model);
    return status == ANX_OK ? 0 : complain();
}

/* The modules that a state_dict's _metadata names. */
static const char **list_modules(const anx_checkpoint *checkpoint, size_t *n) {
    const anx_pickle_value *metadata = anx_checkpoint_impl_of(checkpoint)->metadata;
    *n = metadata != NULL ? metadata->u.dict.count : 0;
    const char **modules = calloc(*n + 1, sizeof *modules);
    for (size_t i = 0; modules != NULL && i < *n; i++) {
        const anx_pickle_value *name = metadata->u.dict.items[2 * i];
        modules[i] = strndup(name->u.text.bytes, name->u.text.n_bytes);
    }
    return modules;
}

static int rewrite(const char *from, const char *to) {
    static anx_training_state state;
    anx_checkpoint *checkpoint = NULL;
    if (anx_checkpoint_open(from, NULL, &checkpoint, &err) != ANX_OK) return complain();
    if (anx_training_state_read(checkpoint, &state, &err) != ANX_OK) return complain();
    for (size_t i = 0; i < state.n_ignored; i++) printf("ignored: %s\n", state.ignored[i]);
    size_t n_modules = 0;
    const char **modules = list_modules(checkpoint, &n_modules);
    const anx_pth_options options = {.modules = n_modules > 0 ? modules : NULL, .n_modules = n_modules, .force = true};
    const anx_status status = anx_training_checkpoint_write(to, &checkpoint->tensors, &state, &options, &err);
    for (size_t i = 0; i < n_modules; i++) free((char *)modules[i]);
    free(modules);
    anx_training_state_fini(&state);
    anx_checkpoint_close(checkpoint);
    return status == ANX_OK ? 0 : complain();
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "sample") == 0) return write_sample(argv[2]);
    if (argc == 4 && strcmp(argv[1], "rewrite") == 0) return rewrite(argv[2], argv[3]);
    return 64;
}
