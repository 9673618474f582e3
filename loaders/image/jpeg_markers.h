/* The markers of a JPEG file up to its first scan, read as Pillow's JpegImageFile._open reads them. */
#ifndef ANX_LOADERS_IMAGE_JPEG_MARKERS_H
#define ANX_LOADERS_IMAGE_JPEG_MARKERS_H

#include "src/base/status.h"

typedef struct anx_jpeg_frame {
    uint8_t sof; /* second byte of the frame's marker: 0xc0 baseline, 0xc2 progressive, ... */
    uint16_t width, height;
    uint8_t bits, components;
} anx_jpeg_frame;

/*
 * Finds the frame that the first scan belongs to (the last one before it). Files that Pillow refuses here are refused:
 * FORMAT (truncated, no scan, a malformed segment, a marker that JPEG does not know), UNSUPPORTED (not 8 bits, neither
 * 1, 3 nor 4 components); and, though Pillow reads them, lossless ones (UNSUPPORTED). bytes start with the signature FF
 * D8 FF.
 */
anx_status anx_jpeg_read_frame(const uint8_t *bytes, size_t n_bytes, anx_jpeg_frame *out, anx_error *err);

#endif
