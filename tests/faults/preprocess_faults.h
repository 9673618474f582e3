/*
 * Preprocessing with one fault in it: the project's own, run as far as the fault's stage, then changed and taken
 * through the stages behind.
 */
#ifndef ANX_TESTS_FAULTS_PREPROCESS_FAULTS_H
#define ANX_TESTS_FAULTS_PREPROCESS_FAULTS_H

#include "loaders/image/preprocess.h"
#include "parity/judge.h"

typedef enum preprocess_fault_kind {
    PREPROCESS_RIGHT = 0,

    /* decoding */
    PREPROCESS_BGR,     /* red and blue exchanged */
    PREPROCESS_GRAY,    /* every channel the green one */
    PREPROCESS_TURNED,  /* by 90 degrees, as if by an orientation tag */
    PREPROCESS_FLIPPED, /* upside down */

    /* resizing */
    PREPROCESS_NO_ANTIALIAS, /* two by two pixels, whatever the scale */
    PREPROCESS_NEAREST,
    PREPROCESS_FLOOR,     /* the filter's sums cut off, not rounded */
    PREPROCESS_SQUASHED,  /* to 256x256 */
    PREPROCESS_LONG_SIDE, /* the longer side to 256 */

    /* cropping */
    PREPROCESS_CROP_DOWN,  /* one row further down */
    PREPROCESS_CROP_RIGHT, /* one column further right */
    PREPROCESS_CROP_CORNER,

    /* to float */
    PREPROCESS_NOT_SCALED, /* no division by 255 */
    PREPROCESS_BY_256,
    PREPROCESS_HWC, /* interleaved where planes are asked for */

    /* normalising */
    PREPROCESS_STATISTICS_BGR, /* mean and deviation in the order blue, green, red */
    PREPROCESS_NO_MEAN,
    PREPROCESS_NO_DEVIATION,
    PREPROCESS_HALF,      /* (x - 0.5) / 0.5 */
    PREPROCESS_PLANES_BGR /* normalised rightly, then the planes exchanged */
} preprocess_fault_kind;

/*
 * Sets the fault of the functions below (for the whole process), of the staged way and the fast one, or of the fast
 * one alone. They may run in several threads at a time.
 */
void preprocess_fault_set(preprocess_fault_kind kind, bool fast_alone);

/* For anx_judge_options.preprocess. */
extern const anx_judge_preprocess preprocess_faulty;

/* 8-bit RGB (H, W, 3) as a PNG file in memory (malloc'd). Ends the process where libpng fails. */
uint8_t *preprocess_png(const anx_image *image, size_t *n_bytes);

#endif
