/* The instruction sets that loops are compiled for, and which of them this processor runs. */
#ifndef ANX_SRC_BASE_ISA_H
#define ANX_SRC_BASE_ISA_H

#include "src/base/status.h"

/* Each one includes those before it: AVX2 means FMA too, AVX512 means AVX-512F. On other processors: PORTABLE. */
typedef enum anx_isa { ANX_ISA_PORTABLE = 0, ANX_ISA_AVX2, ANX_ISA_AVX512 } anx_isa;

/* The best one that this processor runs. */
anx_isa anx_isa_best(void);

/*
 * The same, or less where the environment's ANX_ISA ("avx512", "avx2" or "portable") asks for less, so that results
 * can be compared between instruction sets on one machine. Errors: INVALID_ARGUMENT (ANX_ISA is none of them).
 */
anx_status anx_isa_wanted(anx_isa *out, anx_error *err);

#endif
