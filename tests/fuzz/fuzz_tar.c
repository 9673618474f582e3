/*
 * Any bytes as a tar, once as folders of classes and once with a list of labels: what is opened can be read, file by
 * file, each as long as promised.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loaders/dataset/dataset.h"
#include "tests/fuzz/fuzz.h"

static char labels[64]; /* path of the list */

static void remove_labels(void) {
    unlink(labels);
}

static void make_labels(void) {
    static const char text[] = "a.jpg 0\nb/c.jpg 1\nd.jpg 1\n";
    strcpy(labels, "/tmp/fuzz-labels-XXXXXX");
    const int fd = mkstemp(labels);
    if (fd < 0 || write(fd, text, sizeof text - 1) != (ssize_t)(sizeof text - 1)) abort();
    close(fd);
    atexit(remove_labels);
}

static void try_open(const char *path, const anx_dataset_options *options) {
    static anx_error err;
    anx_dataset *dataset = NULL;
    const anx_status status = anx_dataset_open(path, options, &dataset, &err);
    if (status != ANX_OK) {
        if (dataset != NULL || err.status != status || err.message[0] == '\0' || status == ANX_ERR_INTERNAL) abort();
        return;
    }
    const anx_image_source source = anx_dataset_source(dataset);
    for (int64_t i = 0; i < dataset->n_samples; i++) {
        uint8_t *bytes = NULL;
        size_t n = 0;
        const anx_sample *sample = &dataset->samples[i];
        if (sample->label < 0 || sample->label >= dataset->n_classes || sample->name[0] == '\0') abort();
        if (source.read(source.context, i, &bytes, &n, &err) != ANX_OK || n != sample->file_bytes) abort();
        free(bytes);
    }
    anx_dataset_close(dataset);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    if (labels[0] == '\0') make_labels();
    const anx_dataset_options listed = {.labels = labels, .n_classes = 2}, folders = {.n_classes = 2};
    const char *path = fuzz_file(data, n_bytes);
    try_open(path, &listed);
    try_open(path, &folders);
    return 0;
}
