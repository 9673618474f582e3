/* The modules of an architecture as a list: what a state_dict's _metadata has as its keys. */
#ifndef ANX_LOADERS_CHECKPOINT_ARCH_MODULES_H
#define ANX_LOADERS_CHECKPOINT_ARCH_MODULES_H

#include "src/model/graph.h"

typedef struct anx_arch_modules {
    char **names; /* (n) in the order of named_modules() */
    size_t n;
} anx_arch_modules;

#define ANX_ARCH_MODULES_INIT                                                                                          \
    { .names = NULL, .n = 0 }

/* *out is ANX_ARCH_MODULES_INIT; release it with anx_arch_modules_fini, after an error too. Errors: OUT_OF_MEMORY. */
anx_status anx_arch_modules_list(const anx_arch *arch, anx_arch_modules *out, anx_error *err);
void anx_arch_modules_fini(anx_arch_modules *modules);

#endif
