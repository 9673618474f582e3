#include "src/base/isa.h"

#include <stdlib.h>
#include <string.h>

anx_isa anx_isa_best(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return __builtin_cpu_supports("avx512f") ? ANX_ISA_AVX512 : ANX_ISA_AVX2;
#endif
    return ANX_ISA_PORTABLE;
}

anx_status anx_isa_wanted(anx_isa *out, anx_error *err) {
    static const char *const names[] = {
        [ANX_ISA_PORTABLE] = "portable", [ANX_ISA_AVX2] = "avx2", [ANX_ISA_AVX512] = "avx512"};
    const char *cap = getenv("ANX_ISA");
    int wanted = ANX_ISA_AVX512;
    if (cap != NULL && cap[0] != '\0')
        while (wanted >= 0 && strcmp(names[wanted], cap) != 0) wanted--;
    if (wanted < 0)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                             "ANX_ISA is '%s'; it may be avx512, avx2 or portable, or not set", cap);
    const anx_isa best = anx_isa_best();
    *out = (anx_isa)wanted < best ? (anx_isa)wanted : best;
    return ANX_OK;
}
