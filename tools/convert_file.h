/*
 * anx-convert IN OUT, pth2bin and bin2pth: one checkpoint in, another out.
 */
#ifndef ANX_TOOLS_CONVERT_FILE_H
#define ANX_TOOLS_CONVERT_FILE_H

#include <stdio.h>

/* The command without a subcommand: help for all of it. */
void anx_convert_help(FILE *to);
int anx_convert(int argc, char **argv);

void anx_convert_pth2bin_help(FILE *to);
int anx_convert_pth2bin(int argc, char **argv);
void anx_convert_bin2pth_help(FILE *to);
int anx_convert_bin2pth(int argc, char **argv);

#endif
