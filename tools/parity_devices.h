/* anx-parity devices: what there is to compute with on this machine. */
#ifndef ANX_TOOLS_PARITY_DEVICES_H
#define ANX_TOOLS_PARITY_DEVICES_H

#include <stdio.h>

void anx_parity_devices_help(FILE *to);
int anx_parity_devices(int argc, char **argv);

#endif
