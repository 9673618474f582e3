#include "tests/image/jpeg_encode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

typedef struct color_space {
    const char *name;
    int channels;
    J_COLOR_SPACE in, stored;
} color_space;

static const color_space *find_space(const char *name) {
    static const color_space spaces[] = {
        {"gray", 1, JCS_GRAYSCALE, JCS_GRAYSCALE},
        {"rgb", 3, JCS_RGB, JCS_RGB},
        {"ycc", 3, JCS_RGB, JCS_YCbCr},
        {"cmyk", 4, JCS_CMYK, JCS_CMYK},
        {"ycck", 4, JCS_CMYK, JCS_YCCK},
        {"two", 2, JCS_UNKNOWN, JCS_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof spaces / sizeof spaces[0]; i++)
        if (strcmp(name, spaces[i].name) == 0) return &spaces[i];
    return NULL;
}

int jpeg_kind_channels(const char *space) {
    const color_space *s = find_space(space);
    return s == NULL ? 0 : s->channels;
}

static void set_sampling(struct jpeg_compress_struct *c, const char *sampling) {
    for (int i = 0; i < c->num_components; i++) {
        c->comp_info[i].h_samp_factor = sampling[0] - '0';
        c->comp_info[i].v_samp_factor = sampling[2] - '0';
        if (sampling[3] == ',') sampling += 4;
    }
}

uint8_t *jpeg_encode(const jpeg_kind *kind, unsigned width, unsigned height, const uint8_t *samples, size_t *n_bytes) {
    const color_space *space = find_space(kind->space);
    if (space == NULL) {
        fprintf(stderr, "unknown color space %s\n", kind->space);
        exit(64);
    }
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    jpeg_scan_info separate[4];
    unsigned char *file = NULL;
    unsigned long file_bytes = 0;
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &file, &file_bytes);
    c.image_width = width;
    c.image_height = height;
    c.input_components = space->channels;
    c.in_color_space = space->in;
    jpeg_set_defaults(&c);
    jpeg_set_colorspace(&c, space->stored);
    jpeg_set_quality(&c, kind->quality, TRUE);
    set_sampling(&c, kind->sampling);
    if (strchr(kind->flags, 'p') != NULL) jpeg_simple_progression(&c);
    if (strchr(kind->flags, 'a') != NULL) c.arith_code = TRUE;
    if (strchr(kind->flags, 'o') != NULL) c.optimize_coding = TRUE;
    if (strchr(kind->flags, 'n') != NULL) c.write_JFIF_header = c.write_Adobe_marker = FALSE;
    if (strchr(kind->flags, 's') != NULL) {
        for (int i = 0; i < c.num_components; i++)
            separate[i] = (jpeg_scan_info){.comps_in_scan = 1, .component_index = {i}, .Ss = 0, .Se = 63};
        c.scan_info = separate;
        c.num_scans = c.num_components;
    }
    c.restart_interval = kind->restart;
    jpeg_start_compress(&c, TRUE);
    while (c.next_scanline < height) {
        JSAMPROW row = (JSAMPROW)(uintptr_t)(samples + (size_t)c.next_scanline * width * (size_t)space->channels);
        jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    *n_bytes = file_bytes;
    return file;
}
