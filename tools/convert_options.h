/* The options of a conversion, from the command line. */
#ifndef ANX_TOOLS_CONVERT_OPTIONS_H
#define ANX_TOOLS_CONVERT_OPTIONS_H

#include <stdio.h>

#include "loaders/checkpoint/saving.h"

enum { ANX_MAX_EDITS = 256 };

typedef struct anx_rename {
    char *from; /* a copy of its own */
    const char *to;
} anx_rename;

typedef struct anx_convert_options {
    const char *in, *out; /* out "-": standard output */
    const anx_checkpoint_format *format;
    bool convert; /* floats are written as dtype */
    anx_dtype dtype;
    const char *only[ANX_MAX_EDITS];
    size_t n_only;
    const char *strip[ANX_MAX_EDITS];
    size_t n_strip;
    anx_rename renames[ANX_MAX_EDITS];
    size_t n_renames;
    const char *header; /* --header, or NULL */
    bool force, accept_bad_crc;
} anx_convert_options;

/* The lines that explain them. has_to: the command has --to. */
void anx_convert_options_help(FILE *to, bool has_to);

/*
 * format: what is written, or NULL where --to and the name decide. Returns ANX_EXIT_OK; *stop is set where the command
 * ends with the returned code. Release with anx_convert_options_fini in any case.
 */
int anx_convert_options_parse(int argc, char **argv, const anx_checkpoint_format *format, anx_convert_options *o,
                              bool *stop);
void anx_convert_options_fini(anx_convert_options *o);

#endif
