/*
 * Any bytes as an image: whatever they are, the staged and the fast path agree on whether they are one and on the
 * network's input. Where that fails, the program aborts, which is what a fuzzer looks for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/image/preprocess.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Larger or thinner images say nothing new and make each run slow. */
enum { MAX_SIDE = 2048, MAX_PIXELS = 1 << 18, CROP = 24 };

static bool too_large(uint64_t width, uint64_t height) {
    return width > MAX_SIDE || height > MAX_SIDE || width * height > MAX_PIXELS;
}

static uint32_t be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Whether anything that may be a PNG's header or a JPEG's frame header promises too much. */
static bool promises_too_much(const uint8_t *data, size_t size) {
    for (size_t i = 0; i + 12 <= size; i++) {
        const uint8_t *p = data + i;
        if (memcmp(p, "IHDR", 4) == 0 && too_large(be32(p + 4), be32(p + 8))) return true;
        const bool frame = p[0] == 0xff && p[1] >= 0xc0 && p[1] <= 0xcf;
        if (frame && too_large((uint64_t)(p[5] << 8 | p[6]), (uint64_t)(p[7] << 8 | p[8]))) return true;
    }
    return false;
}

static void fail(const char *what, const anx_error *staged, const anx_error *fast) {
    fprintf(stderr, "%s\n  staged: %s\n  fast:   %s\n", what, staged->message, fast->message);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static anx_error staged_error, fast_error;
    static float input[3 * CROP * CROP];
    if (promises_too_much(data, size)) return 0;
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
