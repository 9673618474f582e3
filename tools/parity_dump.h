/*
 * anx-parity dump: what a network and its preprocessing make of one input, point by point.
 */
#ifndef ANX_TOOLS_PARITY_DUMP_H
#define ANX_TOOLS_PARITY_DUMP_H

#include <stdio.h>

void anx_parity_dump_help(FILE *to);
int anx_parity_dump(int argc, char **argv);

#endif
