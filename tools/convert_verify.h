/* anx-convert verify: whether two checkpoints hold the same tensors. */
#ifndef ANX_TOOLS_CONVERT_VERIFY_H
#define ANX_TOOLS_CONVERT_VERIFY_H

#include <stdio.h>

void anx_convert_verify_help(FILE *to);
int anx_convert_verify(int argc, char **argv);

#endif
