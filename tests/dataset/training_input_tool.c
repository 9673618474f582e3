/*
 * training_input_tool FOLDER BATCH AUGMENT SEED EPOCHS THREADS MASKS: what a training gets of a folder of classes, for
 * training_input_torch.py. Between batches MASKS 64-bit draws are taken from the generator, as dropout does. Writes
 * for each batch n (int64), n targets, n file numbers (int64), (n, 3, 224, 224) floats; at each epoch's end a 0.
 */
#include <stdio.h>
#include <stdlib.h>

#include "loaders/dataset/dataset.h"
#include "loaders/dataset/training_input.h"

static anx_status run_epoch(anx_training_input *input, anx_mt19937 *gen, int64_t epoch, int64_t masks, anx_error *err) {
    anx_status status = anx_training_input_begin(input, gen, epoch, NULL, err);
    while (status == ANX_OK) {
        anx_training_batch b;
        status = anx_training_input_next(input, gen, &b, err);
        if (status != ANX_OK) break;
        fwrite(&b.n, sizeof b.n, 1, stdout);
        if (b.over) break;
        fwrite(b.targets, sizeof *b.targets, (size_t)b.n, stdout);
        fwrite(b.files, sizeof *b.files, (size_t)b.n, stdout);
        fwrite(b.input, sizeof(float) * 3 * 224 * 224, (size_t)b.n, stdout);
        for (int64_t i = 0; i < masks; i++) anx_mt19937_u64(gen);
    }
    return status;
}

int main(int argc, char **argv) {
    if (argc != 8) return 64;
    anx_error err = ANX_ERROR_INIT;
    anx_dataset *dataset = NULL;
    anx_training_input *input = NULL;
    int64_t *targets = NULL;
    const anx_dataset_options any = {.n_classes = 0};
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, strtoull(argv[4], NULL, 10));
    anx_status status = anx_dataset_open(argv[1], &any, &dataset, &err);
    if (status == ANX_OK) {
        const anx_image_source source = anx_dataset_source(dataset);
        targets = calloc((size_t)dataset->n_samples, sizeof *targets);
        for (int64_t i = 0; i < dataset->n_samples; i++) targets[i] = dataset->samples[i].label;
        const anx_training_input_options options = {.source = &source,
                                                    .targets = targets,
                                                    .n_images = dataset->n_samples,
                                                    .batch = atoll(argv[2]),
                                                    .profile = &anx_preprocess_torchvision,
                                                    .augment = anx_augment_kind_find(argv[3]),
                                                    .threads = atoi(argv[6])};
        status = anx_training_input_create(&options, &input, &err);
        for (int64_t epoch = 0; epoch < atoll(argv[5]) && status == ANX_OK; epoch++)
            status = run_epoch(input, &gen, epoch, atoll(argv[7]), &err);
    }
    if (status != ANX_OK) {
        char text[20000];
        fprintf(stderr, "%s\n", anx_error_format(&err, text, sizeof text));
    }
    anx_training_input_destroy(input);
    anx_dataset_close(dataset);
    free(targets);
    return status == ANX_OK && fflush(stdout) == 0 ? 0 : 2;
}
