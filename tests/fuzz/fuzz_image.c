/*
 * Any bytes as an image: whatever they are, the staged and the fast path agree on whether they are one and on the
 * network's input. Where that fails, the program aborts, which is what a fuzzer looks for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/image/preprocess.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Larger images say nothing new and make each run slow. */
enum { MAX_PIXELS = 1 << 18, CROP = 24 };

/* The size in a PNG's header or in any JPEG frame header; 0 where there is none to be found. */
static uint64_t promised_pixels(const uint8_t *data, size_t size) {
    uint64_t most = 0;
    if (size > 24 && data[0] == 0x89)
        for (size_t i = 12; i + 12 <= size; i++)
            if (memcmp(data + i, "IHDR", 4) == 0) {
                const uint8_t *p = data + i + 4;
                const uint64_t width = (uint64_t)p[0] << 24 | (uint64_t)p[1] << 16 | (uint64_t)p[2] << 8 | p[3];
                const uint64_t height = (uint64_t)p[4] << 24 | (uint64_t)p[5] << 16 | (uint64_t)p[6] << 8 | p[7];
                const uint64_t pixels = width > MAX_PIXELS || height > MAX_PIXELS ? UINT64_MAX : width * height;
                if (pixels > most) most = pixels;
            }
    if (size > 4 && data[0] == 0xff)
        for (size_t i = 0; i + 9 <= size; i++)
            if (data[i] == 0xff && data[i + 1] >= 0xc0 && data[i + 1] <= 0xcf) {
                const uint64_t pixels =
                    (uint64_t)(data[i + 5] << 8 | data[i + 6]) * (uint64_t)(data[i + 7] << 8 | data[i + 8]);
                if (pixels > most) most = pixels;
            }
    return most;
}

static void fail(const char *what, const anx_error *staged, const anx_error *fast) {
    fprintf(stderr, "%s\n  staged: %s\n  fast:   %s\n", what, staged->message, fast->message);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static anx_error staged_error, fast_error;
    static float input[3 * CROP * CROP];
    if (promised_pixels(data, size) > MAX_PIXELS) return 0;
    anx_preprocess_profile profile = anx_preprocess_torchvision;
    profile.resize = 28; /* small, so that most of the time goes into decoding */
    profile.crop = CROP;
    staged_error.message[0] = fast_error.message[0] = '\0';
    anx_preprocess_stages stages = ANX_PREPROCESS_STAGES_INIT;
    const anx_status staged = anx_preprocess_staged(&profile, data, size, "fuzz", &stages, &staged_error);
    const anx_status fast = anx_preprocess_fast(&profile, data, size, "fuzz", input, &fast_error);
    if (staged != fast && staged != ANX_ERR_LIMIT)
        fail("one path accepts what the other refuses", &staged_error, &fast_error);
    if (staged != ANX_OK && fast == staged && strcmp(staged_error.message, fast_error.message) != 0)
        fail("the paths refuse with different words", &staged_error, &fast_error);
    if (staged == ANX_OK && memcmp(stages.input.data, input, sizeof input) != 0)
        fail("the paths give different values", &staged_error, &fast_error);
    anx_preprocess_stages_fini(&stages);
    return 0;
}
