/* Opens the libraries of a folder, the double's or NVIDIA's, for the double's own tests. */
#ifndef ANX_TESTS_FAKECUDA_LOAD_H
#define ANX_TESTS_FAKECUDA_LOAD_H

#include <stdbool.h>

#include "src/backend/cuda/api_table.h"

/* Of these generations; false, having said why on stderr, if one is missing or lacks a function. */
bool fake_load(anx_cuda_api *api, const char *folder, int cuda, int cudnn);

#endif
