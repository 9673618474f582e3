/*
 * anx-parity check: judges an engine against PyTorch's recordings and the truth, and reports.
 */
#ifndef ANX_TOOLS_PARITY_CHECK_H
#define ANX_TOOLS_PARITY_CHECK_H

#include <stdio.h>

void anx_parity_check_help(FILE *to);
int anx_parity_check(int argc, char **argv);

#endif
