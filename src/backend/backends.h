/* The backends built in; each is defined in its own folder and listed in registry.c. */
#ifndef ANX_SRC_BACKEND_BACKENDS_H
#define ANX_SRC_BACKEND_BACKENDS_H

#include "src/backend/backend.h"

extern const anx_backend anx_backend_cpu;
extern const anx_backend anx_backend_exact;
extern const anx_backend anx_backend_reference;

#endif
