/*
 * augment_tool SEED CROP FLIP < PATHS: what a training's input makes of each file named on a line of standard input,
 * for augment_torch.py. The draws come from one generator, in the order of the files, as torchvision's training preset
 * draws them: CROP (0 or 1): a RandomResizedCrop, otherwise Resize and CenterCrop; FLIP: p of RandomHorizontalFlip.
 * Writes (3, 224, 224) floats for each file, then a 32-bit draw of the generator.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/file.h"
#include "loaders/image/preprocess.h"

static anx_status augment(anx_mt19937 *gen, bool crop, double flip, const char *path, float *input, anx_error *err) {
    const anx_crop_ranges ranges = anx_crop_defaults();
    anx_augmentation augmentation = {.has_crop = crop};
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    int32_t width = 0, height = 0;
    anx_status status = anx_read_file(path, &bytes, &n_bytes, err);
    if (status == ANX_OK) status = anx_image_size(bytes, n_bytes, &width, &height, err);
    if (status == ANX_OK && crop) augmentation.crop = anx_crop_draw(gen, height, width, &ranges);
    if (status == ANX_OK && flip > 0.0) augmentation.flip = anx_flip_draw(gen, flip);
    if (status == ANX_OK)
        status = anx_preprocess_augmented(&anx_preprocess_torchvision, &augmentation, bytes, n_bytes, path, input, err);
    free(bytes);
    return status;
}

int main(int argc, char **argv) {
    static float input[3 * 224 * 224];
    char path[4096], text[8192];
    anx_error err = ANX_ERROR_INIT;
    anx_mt19937 gen;
    if (argc != 4) return 64;
    anx_mt19937_seed(&gen, strtoull(argv[1], NULL, 10));
    while (fgets(path, sizeof path, stdin) != NULL) {
        path[strcspn(path, "\n")] = '\0';
        if (augment(&gen, strcmp(argv[2], "1") == 0, strtod(argv[3], NULL), path, input, &err) != ANX_OK) {
            fprintf(stderr, "%s\n", anx_error_format(&err, text, sizeof text));
            return 2;
        }
        fwrite(input, sizeof input, 1, stdout);
    }
    const uint32_t next = anx_mt19937_u32(&gen);
    fwrite(&next, sizeof next, 1, stdout);
    return fflush(stdout) == 0 ? 0 : 2;
}
