/* The architectures built in; each is defined in the file of its name and listed in registry.c. */
#ifndef ANX_SRC_MODEL_TABLES_H
#define ANX_SRC_MODEL_TABLES_H

#include "src/model/arch.h"

extern const anx_arch anx_arch_alexnet;
extern const anx_arch anx_arch_narrow;

#endif
