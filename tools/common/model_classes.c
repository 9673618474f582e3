#include "tools/common/model_classes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/text.h"
#include "loaders/checkpoint/training_checkpoint.h"
#include "tools/common/data_folder.h"

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for the names of classes");
}

/* Lines as names; *out stays NULL where they are not num_classes. The text is cut up. */
static anx_status make_names(char *text, int64_t num_classes, anx_class_names **out, anx_error *err) {
    int64_t n = 1, i = 0;
    for (const char *c = text; *c != '\0'; c++) n += *c == '\n';
    if (n != num_classes) return ANX_OK;
    const char **names = calloc((size_t)n, sizeof *names);
    if (names == NULL) return out_of_memory(err);
    for (char *at = text; at != NULL;) names[i++] = strsep(&at, "\n");
    const anx_status status = anx_class_names_make(names, n, out, err);
    free(names);
    return status;
}

/* A checkpoint that is none of a training of ours has none inside. */
static anx_status find_inside(const anx_checkpoint *checkpoint, int64_t num_classes, anx_class_names **out,
                              anx_error *err) {
    anx_training_state *state = calloc(1, sizeof *state);
    if (state == NULL) return out_of_memory(err);
    anx_status status = anx_training_state_read(checkpoint, state, NULL);
    if (status != ANX_OK) {
        free(state);
        return status == ANX_ERR_OUT_OF_MEMORY ? out_of_memory(err) : ANX_OK;
    }
    for (size_t i = 0; i < state->n_options && *out == NULL && status == ANX_OK; i++) {
        const anx_saved_value *v = &state->options[i];
        if (strcmp(v->name, "classes") != 0 || v->kind != ANX_SAVED_VALUE_TEXT) continue;
        char *text = strdup(v->u.text);
        status = text != NULL ? make_names(text, num_classes, out, err) : out_of_memory(err);
        free(text);
    }
    anx_training_state_fini(state);
    free(state);
    return status;
}

/* What else is called classes.tsv is no reason to stop. */
static anx_status find_beside(const char *path, int64_t num_classes, anx_class_names **out, anx_error *err) {
    const char *slash = strrchr(path, '/');
    char *beside;
    anx_class_names *found = NULL;
    if (asprintf(&beside, "%.*sclasses.tsv", slash != NULL ? (int)(slash + 1 - path) : 0, path) < 0)
        return out_of_memory(err);
    const anx_status status = anx_class_names_open(beside, &found, NULL);
    free(beside);
    if (status == ANX_OK && found->count == num_classes)
        *out = found;
    else
        anx_class_names_close(found);
    return status == ANX_ERR_OUT_OF_MEMORY ? out_of_memory(err) : ANX_OK;
}

static bool same_wnids(const anx_class_names *a, const anx_class_names *b) {
    if (a == NULL || b == NULL || a->count != b->count) return false;
    for (int64_t i = 0; i < a->count; i++)
        if (strcmp(a->wnids[i], b->wnids[i]) != 0) return false;
    return true;
}

anx_status anx_model_classes_find(const anx_checkpoint *checkpoint, int64_t num_classes, const char *data_dir,
                                  anx_model_classes *out, anx_error *err) {
    anx_class_names *own = NULL, *imagenet = NULL;
    anx_status status = find_inside(checkpoint, num_classes, &own, err);
    if (status == ANX_OK && own == NULL) status = find_beside(checkpoint->path, num_classes, &own, err);
    if (status == ANX_OK) status = anx_load_class_names(data_dir, &imagenet, err);
    if (status != ANX_OK) {
        anx_class_names_close(own);
        return status;
    }
    const bool is_own = own != NULL && !same_wnids(own, imagenet);
    anx_class_names_close(is_own ? imagenet : own);
    *out = (anx_model_classes){.names = is_own ? own : imagenet, .own = is_own};
    return ANX_OK;
}

void anx_model_classes_fini(anx_model_classes *classes) {
    anx_class_names_close(classes->names);
    *classes = (anx_model_classes)ANX_MODEL_CLASSES_INIT;
}

anx_status anx_check_class_folders(const anx_dataset *d, const anx_class_names *names, anx_error *err) {
    if (names == NULL || names->count != d->n_classes || d->labels != NULL) return ANX_OK;
    for (int64_t i = 0; i < d->n_classes; i++) {
        char theirs[200], ours[200];
        const char *a = d->class_ids[i], *b = names->wnids[i];
        if (strcmp(a, b) == 0) continue;
        anx_error_set(err, ANX_ERR_MISMATCH,
                      "no folder is called like a class of the model: '%s' would be class %" PRId64 ", which is '%s'",
                      anx_text_printable(a, strlen(a), theirs, sizeof theirs), i,
                      anx_text_printable(b, strlen(b), ours, sizeof ours));
        anx_error_in_file(err, d->root);
        return ANX_ERR_MISMATCH;
    }
    return ANX_OK;
}
