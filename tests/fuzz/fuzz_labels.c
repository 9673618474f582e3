/* Any bytes as a label file of a small folder, and as the devkit's list of synsets. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loaders/dataset/dataset.h"
#include "tests/fuzz/fuzz.h"

static const char *const files[] = {"a.jpg", "b.JPEG", "ILSVRC2012_val_00000001.JPEG", ".c.png"};
enum { N_FILES = sizeof files / sizeof files[0] };

static char root[64];
static char ids[128]; /* of a ground truth */
static anx_class_names *names;

static void remove_folder(void) {
    char path[256];
    for (int i = 0; i < N_FILES; i++) {
        snprintf(path, sizeof path, "%s/%s", root, files[i]);
        unlink(path);
    }
    unlink(ids);
    rmdir(root);
    anx_class_names_close(names);
}

static void put(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0) abort();
}

static void make_folder(void) {
    char path[256];
    strcpy(root, "/tmp/fuzz-images-XXXXXX");
    if (mkdtemp(root) == NULL) abort();
    atexit(remove_folder);
    for (int i = 0; i < N_FILES; i++) {
        snprintf(path, sizeof path, "%s/%s", root, files[i]);
        put(path, "");
    }
    snprintf(path, sizeof path, "%s/names", root);
    put(path, "0\tn00000001\tone\n1\tn00000002\ttwo\n2\tn00000003\tthree\n");
    if (anx_class_names_open(path, &names, NULL) != ANX_OK) abort();
    unlink(path);
    snprintf(ids, sizeof ids, "%s/ids", root);
    put(ids, "1\n3\n2\n");
}

static void try_open(const char *labels, const char *synsets) {
    static anx_error err;
    anx_dataset *dataset = NULL;
    const anx_dataset_options options = {.labels = labels, .synsets = synsets, .classes = names, .n_classes = 3};
    const anx_status status = anx_dataset_open(root, &options, &dataset, &err);
    if (status != ANX_OK) {
        if (dataset != NULL || err.status != status || err.message[0] == '\0' || status == ANX_ERR_INTERNAL) abort();
        return;
    }
    if (dataset->n_samples < N_FILES - 1 || dataset->n_samples > N_FILES + 1) abort(); /* each file at most once */
    for (int64_t i = 0; i < dataset->n_samples; i++)
        if (dataset->samples[i].label < 0 || dataset->samples[i].label >= 3) abort();
    anx_dataset_close(dataset);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    if (names == NULL) make_folder();
    const char *path = fuzz_file(data, n_bytes);
    try_open(path, NULL);
    try_open(ids, path);
    return 0;
}
