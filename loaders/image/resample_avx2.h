/* The resampling kernels for AVX2, or NULL where the compiler or the CPU has none. */
#ifndef ANX_LOADERS_IMAGE_RESAMPLE_AVX2_H
#define ANX_LOADERS_IMAGE_RESAMPLE_AVX2_H

#include "loaders/image/resample.h"

const anx_resample_kernels *anx_resample_kernels_avx2(void);

#endif
