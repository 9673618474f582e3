/*
 * anx-convert init: the state_dict of a freshly constructed torchvision model, without PyTorch.
 */
#ifndef ANX_TOOLS_CONVERT_INIT_H
#define ANX_TOOLS_CONVERT_INIT_H

#include <stdio.h>

void anx_convert_init_help(FILE *to);
int anx_convert_init(int argc, char **argv);

#endif
