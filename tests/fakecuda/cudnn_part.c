/* A part of cuDNN: it exists, and a loader may open it. */
#include "tests/fakecuda/core/export.h"

FAKE_EXPORT extern const int fakecuda_part;
const int fakecuda_part = 1;
