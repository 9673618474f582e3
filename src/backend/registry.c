#include "src/backend/backends.h"

/* In the order in which they are listed; "auto" takes the first whose device opens: a GPU before the processor. */
static const anx_backend *const backends[] = {
    &anx_backend_cuda, &anx_backend_cpu, &anx_backend_reference, &anx_backend_exact, NULL,
};

const anx_backend *anx_backend_at(int i) {
    return i >= 0 && i < (int)(sizeof backends / sizeof backends[0]) ? backends[i] : NULL;
}
