/*
 * anx-convert inspect: what a checkpoint file is.
 */
#ifndef ANX_TOOLS_CONVERT_INSPECT_H
#define ANX_TOOLS_CONVERT_INSPECT_H

#include <stdio.h>

void anx_convert_inspect_help(FILE *to);
int anx_convert_inspect(int argc, char **argv);

#endif
