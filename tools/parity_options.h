/* Option values that the subcommands of anx-parity share: devices, points, threads. */
#ifndef ANX_TOOLS_PARITY_OPTIONS_H
#define ANX_TOOLS_PARITY_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

/* Each returns ANX_EXIT_OK, or says what is wrong and returns ANX_EXIT_USAGE. */
int anx_parity_parse_threads(const char *text, int *threads);
/* "auto" or the name of a backend, with ":N" for one of several devices. */
int anx_parity_check_device(const char *name);
/* Every glob of the list matches a point: a layer of some architecture, a preprocessing stage, "logits". */
int anx_parity_check_points(const char *globs);

/* Lines for --help: the devices that --device takes. */
void anx_parity_list_devices(FILE *to);

#endif
