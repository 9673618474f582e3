/*
 * jpeg_writer < SPECS: writes JPEG files of kinds that Pillow cannot write, for the tests that compare with Pillow.
 * Each line of standard input describes one, its last five words as in jpeg_encode.h:
 *     OUT RAW WIDTH HEIGHT SPACE QUALITY SAMPLING FLAGS RESTART
 * RAW: file of interleaved samples. jpeg_writer version: libjpeg-turbo's version.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include "loaders/file.h"
#include "tests/image/jpeg_encode.h"

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

static void write_one(const char *out, const char *raw, unsigned width, unsigned height, const jpeg_kind *kind) {
    static anx_error err = ANX_ERROR_INIT;
    uint8_t *samples = NULL;
    size_t n_samples = 0, n_bytes = 0;
    if (anx_read_file(raw, &samples, &n_samples, &err) != ANX_OK ||
        n_samples != (size_t)width * height * (size_t)jpeg_kind_channels(kind->space)) {
        fprintf(stderr, "%s: %s\n", raw, err.status != ANX_OK ? err.message : "its size does not fit");
        exit(2);
    }
    uint8_t *bytes = jpeg_encode(kind, width, height, samples, &n_bytes);
    FILE *file = fopen(out, "wb");
    if (file == NULL || fwrite(bytes, 1, n_bytes, file) != n_bytes || fclose(file) != 0) {
        perror(out);
        exit(2);
    }
    free(bytes);
    free(samples);
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "version") == 0) {
        puts(TEXT(LIBJPEG_TURBO_VERSION));
        return 0;
    }
    char line[8192], out[4096], raw[4096], space[16], sampling[32], flags[16];
    jpeg_kind kind = {.space = space, .sampling = sampling, .flags = flags};
    unsigned width, height;
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "%4095s %4095s %u %u %15s %d %31s %15s %u", out, raw, &width, &height, space, &kind.quality,
                   sampling, flags, &kind.restart) != 9) {
            fprintf(stderr, "cannot read: %s", line);
            return 64;
        }
        write_one(out, raw, width, height, &kind);
    }
    return 0;
}
