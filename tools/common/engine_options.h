/* Option values that every command with an engine takes: devices, math, threads. */
#ifndef ANX_TOOLS_COMMON_ENGINE_OPTIONS_H
#define ANX_TOOLS_COMMON_ENGINE_OPTIONS_H

#include <stdio.h>

#include "src/backend/backend.h"

/* Each returns ANX_EXIT_OK, or says what is wrong and returns ANX_EXIT_USAGE. */
int anx_cli_parse_threads(const char *text, int *threads);
/* "auto" or the name of a backend, with ":N" for one of several devices. */
int anx_cli_check_device(const char *name);

/* A math mode that is allowed. */
int anx_cli_parse_math(const char *text, anx_math_mode *math);

/* Lines for --help: the devices that --device takes. */
void anx_cli_list_devices(FILE *to);

#endif
