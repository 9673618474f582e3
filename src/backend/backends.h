/* The backends listed in registry.c: those built in, each from its own folder, and the doors of those in plugins. */
#ifndef ANX_SRC_BACKEND_BACKENDS_H
#define ANX_SRC_BACKEND_BACKENDS_H

#include "src/backend/backend.h"

extern const anx_backend anx_backend_cpu;
extern const anx_backend anx_backend_cuda; /* a door: see plugin.h */
extern const anx_backend anx_backend_exact;
extern const anx_backend anx_backend_reference;

#endif
