/*
 * preprocess_dump [RESIZE CROP] < PATHS: preprocesses each file named on a line of standard input, staged and fast,
 * for test_pillow.py to compare with Pillow and torchvision. For each file it writes to standard output either
 *     ok WIDTH HEIGHT RESIZED_WIDTH RESIZED_HEIGHT CROP FAST
 * and the bytes of image, resize, crop (u8 HWC), scaled, input (f32 CHW), where FAST is "same", "differs" or an error;
 * or
 *     error STATUS|MESSAGE|FAST
 * where FAST is "same" or what the fast path said instead.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/file.h"
#include "loaders/image/preprocess.h"

static anx_error staged_error, fast_error;
static char staged_text[20000], fast_text[20000];

static void put_image(const anx_image *image) {
    fwrite(image->pixels, 3, (size_t)image->width * (size_t)image->height, stdout);
}

static void put_tensor(const anx_tensor *tensor) {
    fwrite(tensor->data, 1, anx_tensor_bytes(tensor), stdout);
}

static const char *compare(anx_status status, const anx_preprocess_stages *stages, anx_status fast,
                           const float *input) {
    if (fast != ANX_OK) anx_error_format(&fast_error, fast_text, sizeof fast_text);
    if (status != ANX_OK) {
        if (fast == ANX_OK) return "accepted";
        return fast == status && strcmp(staged_text, fast_text) == 0 ? "same" : fast_text;
    }
    if (fast != ANX_OK) return fast_text;
    return memcmp(input, stages->input.data, anx_tensor_bytes(&stages->input)) == 0 ? "same" : "differs";
}

static void dump(const anx_preprocess_profile *profile, const char *path, float *input) {
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    anx_preprocess_stages stages = ANX_PREPROCESS_STAGES_INIT;
    anx_status status = anx_read_file(path, &bytes, &n_bytes, &staged_error);
    if (status != ANX_OK) {
        anx_error_format(&staged_error, staged_text, sizeof staged_text);
        printf("error %s|%s|same\n", anx_status_name(status), staged_text);
        return;
    }
    const char *base = strrchr(path, '/') == NULL ? path : strrchr(path, '/') + 1;
    status = anx_preprocess_staged(profile, bytes, n_bytes, base, &stages, &staged_error);
    if (status != ANX_OK) anx_error_format(&staged_error, staged_text, sizeof staged_text);
    const anx_status fast = anx_preprocess_fast(profile, bytes, n_bytes, base, input, &fast_error);
    const char *verdict = compare(status, &stages, fast, input);
    if (status == ANX_OK) {
        printf("ok %lld %lld %lld %lld %d %s\n", (long long)stages.image.width, (long long)stages.image.height,
               (long long)stages.resize.width, (long long)stages.resize.height, profile->crop, verdict);
        put_image(&stages.image);
        put_image(&stages.resize);
        put_image(&stages.crop);
        put_tensor(&stages.scaled);
        put_tensor(&stages.input);
    } else {
        printf("error %s|%s|%s\n", anx_status_name(status), staged_text, verdict);
    }
    anx_preprocess_stages_fini(&stages);
    free(bytes);
}

int main(int argc, char **argv) {
    anx_preprocess_profile profile = anx_preprocess_torchvision;
    if (argc == 3) {
        profile.resize = atoi(argv[1]);
        profile.crop = atoi(argv[2]);
    } else if (argc != 1) {
        fputs("usage: preprocess_dump [RESIZE CROP] < PATHS\n", stderr);
        return 64;
    }
    float *input = malloc(sizeof *input * 3 * (size_t)profile.crop * (size_t)profile.crop);
    if (input == NULL) return 2;
    char path[4096];
    while (fgets(path, sizeof path, stdin) != NULL) {
        path[strcspn(path, "\n")] = '\0';
        dump(&profile, path, input);
        fflush(stdout);
    }
    free(input);
    return ferror(stdout) ? 2 : 0;
}
