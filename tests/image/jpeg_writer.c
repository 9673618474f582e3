/*
 * jpeg_writer < SPECS: writes JPEG files of kinds that Pillow cannot write, through libjpeg, for the tests that compare
 * with Pillow. Each line of standard input describes one:
 *     OUT RAW WIDTH HEIGHT SPACE QUALITY SAMPLING FLAGS RESTART
 * RAW: file of interleaved samples; SPACE: gray, rgb (stored as RGB), ycc (from RGB), cmyk, ycck (from CMYK), two;
 * SAMPLING: 2x1,1x1,1x1; FLAGS: any of p(rogressive) a(rithmetic) o(ptimized) n(o JFIF and Adobe markers)
 * s(eparate scans) or -; RESTART: MCUs between restart markers, 0 for none. jpeg_writer version: libjpeg-turbo's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

static void set_space(struct jpeg_compress_struct *c, const char *space) {
    static const struct {
        const char *name;
        int components;
        J_COLOR_SPACE in, stored;
    } spaces[] = {
        {"gray", 1, JCS_GRAYSCALE, JCS_GRAYSCALE},
        {"rgb", 3, JCS_RGB, JCS_RGB},
        {"ycc", 3, JCS_RGB, JCS_YCbCr},
        {"cmyk", 4, JCS_CMYK, JCS_CMYK},
        {"ycck", 4, JCS_CMYK, JCS_YCCK},
        {"two", 2, JCS_UNKNOWN, JCS_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof spaces / sizeof spaces[0]; i++) {
        if (strcmp(space, spaces[i].name) != 0) continue;
        c->input_components = spaces[i].components;
        c->in_color_space = spaces[i].in;
        jpeg_set_defaults(c);
        jpeg_set_colorspace(c, spaces[i].stored);
        return;
    }
    fprintf(stderr, "unknown color space %s\n", space);
    exit(64);
}

static void set_sampling(struct jpeg_compress_struct *c, const char *sampling) {
    for (int i = 0; i < c->num_components; i++) {
        c->comp_info[i].h_samp_factor = sampling[0] - '0';
        c->comp_info[i].v_samp_factor = sampling[2] - '0';
        if (sampling[3] == ',') sampling += 4;
    }
}

static void write_one(const char *out, const char *raw, unsigned width, unsigned height, const char *space, int quality,
                      const char *sampling, const char *flags, unsigned restart) {
    static jpeg_scan_info separate[4];
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    FILE *in = fopen(raw, "rb"), *file = fopen(out, "wb");
    if (in == NULL || file == NULL) {
        perror(in == NULL ? raw : out);
        exit(2);
    }
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_stdio_dest(&c, file);
    c.image_width = width;
    c.image_height = height;
    set_space(&c, space);
    jpeg_set_quality(&c, quality, TRUE);
    set_sampling(&c, sampling);
    if (strchr(flags, 'p') != NULL) jpeg_simple_progression(&c);
    if (strchr(flags, 'a') != NULL) c.arith_code = TRUE;
    if (strchr(flags, 'o') != NULL) c.optimize_coding = TRUE;
    if (strchr(flags, 'n') != NULL) c.write_JFIF_header = c.write_Adobe_marker = FALSE;
    if (strchr(flags, 's') != NULL) {
        for (int i = 0; i < c.num_components; i++)
            separate[i] = (jpeg_scan_info){.comps_in_scan = 1, .component_index = {i}, .Ss = 0, .Se = 63};
        c.scan_info = separate;
        c.num_scans = c.num_components;
    }
    c.restart_interval = restart;
    jpeg_start_compress(&c, TRUE);
    const size_t row_bytes = (size_t)width * (size_t)c.input_components;
    JSAMPLE *row = malloc(row_bytes);
    if (row == NULL) exit(2);
    while (c.next_scanline < height) {
        if (fread(row, 1, row_bytes, in) != row_bytes) {
            fprintf(stderr, "%s is too short\n", raw);
            exit(2);
        }
        JSAMPROW rows[1] = {row};
        jpeg_write_scanlines(&c, rows, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    free(row);
    fclose(in);
    if (fclose(file) != 0) exit(2);
}

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "version") == 0) {
        puts(TEXT(LIBJPEG_TURBO_VERSION));
        return 0;
    }
    char line[8192], out[4096], raw[4096], space[16], sampling[32], flags[16];
    unsigned width, height, restart;
    int quality;
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "%4095s %4095s %u %u %15s %d %31s %15s %u", out, raw, &width, &height, space, &quality,
                   sampling, flags, &restart) != 9) {
            fprintf(stderr, "cannot read: %s", line);
            return 64;
        }
        write_one(out, raw, width, height, space, quality, sampling, flags, restart);
    }
    return 0;
}
