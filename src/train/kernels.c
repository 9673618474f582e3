#include "src/train/kernels.h"

#include "src/base/isa.h"

anx_status anx_train_kernels_select(const anx_train_kernels **out, anx_error *err) {
    anx_isa isa;
    const anx_status status = anx_isa_wanted(&isa, err);
    if (status != ANX_OK) return status;
    switch (isa) {
#if defined(__x86_64__)
    case ANX_ISA_AVX512: *out = &anx_train_kernels_avx512; break;
    case ANX_ISA_AVX2: *out = &anx_train_kernels_avx2; break;
#endif
    default: *out = &anx_train_kernels_portable; break;
    }
    return ANX_OK;
}
