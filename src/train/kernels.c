#include "src/train/kernels.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
static bool has_avx512(void) {
    return __builtin_cpu_supports("avx512f") != 0;
}

static bool has_avx2(void) {
    return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
}
#endif

static bool has_any(void) {
    return true;
}

/* Fastest first. */
static const struct {
    const char *name; /* in ANX_ISA */
    const anx_train_kernels *kernels;
    bool (*runs_here)(void);
} sets[] = {
#if defined(__x86_64__)
    {"avx512", &anx_train_kernels_avx512, has_avx512},
    {"avx2", &anx_train_kernels_avx2, has_avx2},
#endif
    {"portable", &anx_train_kernels_portable, has_any},
};

anx_status anx_train_kernels_select(const anx_train_kernels **out, anx_error *err) {
    const char *cap = getenv("ANX_ISA");
    const size_t count = sizeof sets / sizeof sets[0];
    size_t i = 0;
    if (cap != NULL && cap[0] != '\0')
        while (i < count && strcmp(sets[i].name, cap) != 0) i++;
    if (i == count)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                             "ANX_ISA is '%s'; it may be avx512, avx2 or portable, or not set", cap);
    while (!sets[i].runs_here()) i++;
    *out = sets[i].kernels;
    return ANX_OK;
}
