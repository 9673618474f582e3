/*
 * What every command shares: subcommands, options, help, exit codes and errors.
 */
#ifndef ANX_TOOLS_COMMON_CLI_H
#define ANX_TOOLS_COMMON_CLI_H

#include <getopt.h>
#include <stdio.h>

#include "src/base/status.h"

enum {
    ANX_EXIT_OK = 0,       /* done as asked; a check passed */
    ANX_EXIT_MISMATCH = 1, /* a check failed */
    ANX_EXIT_TROUBLE = 2,  /* a bad file, no device, no space, ... */
    ANX_EXIT_USAGE = 64    /* wrong usage, as sysexits.h has it */
};

typedef struct anx_subcommand {
    const char *name;
    const char *summary; /* half a line, for the command's own help */
    void (*help)(FILE *to);
    /* argv[0] is the subcommand's name. Returns the exit code. */
    int (*run)(int argc, char **argv);
} anx_subcommand;

typedef struct anx_command {
    const char *name;           /* "anx-convert" */
    const char *summary;        /* what it is for, one or two lines */
    const char *examples;       /* lines to copy, each indented by two spaces; not where there is a main */
    const anx_subcommand *main; /* what the command does without a subcommand; its help is the command's. Or NULL */
    bool main_takes_operands;   /* ... and what is no subcommand's name is the first of them */
    const anx_subcommand *subcommands;
    int n_subcommands;
} anx_command;

/*
 * A command's entry: --help, --version and the subcommands. Installs the signal handling of signals.h; makes sure that
 * what was printed has arrived. Returns the exit code.
 */
int anx_command_main(const anx_command *command, int argc, char **argv);

/* Returned by anx_cli_next_option: return anx_cli_stop_code() from the subcommand. */
enum { ANX_CLI_STOP = 0x10000, ANX_CLI_FIRST_LONG = 0x100 /* first `val` for options without a letter */ };

/*
 * getopt_long with this project's messages; -1 behind the last option, then optind is the first operand. letters as
 * for getopt, without 'h'; --help and -h are dealt with here. Ends with ANX_CLI_STOP after help or a mistake.
 */
int anx_cli_next_option(int argc, char **argv, const char *letters, const struct option *options);
int anx_cli_stop_code(void);

/* Prints "anx-convert: MESSAGE" and where help is found to standard error; returns ANX_EXIT_USAGE. */
int anx_cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints "anx-convert: FILE: entry 'E': MESSAGE" to standard error; returns ANX_EXIT_TROUBLE. */
int anx_cli_trouble(const anx_error *err);
/* Prints "anx-convert: MESSAGE" to standard error. */
void anx_cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whole decimal numbers, nothing before or behind them but one sign. False where text is none or out of range. */
bool anx_cli_parse_i64(const char *text, int64_t min, int64_t max, int64_t *out);
/* The seeds torch.manual_seed takes: -2^63 .. 2^64 - 1, a negative one as its two's complement. */
bool anx_cli_parse_seed(const char *text, uint64_t *out);

/* Whether a report goes to standard output: path is "-". False for NULL. */
bool anx_cli_is_standard_output(const char *path);
/* Writes a report to the file `path`, replacing it, or to standard output. Errors: IO, INVALID_ARGUMENT (a folder). */
anx_status anx_cli_put(const char *path, const void *data, size_t n_bytes, anx_error *err);
/* Whether a report could be put there, which is better known before the work than behind it. path NULL: none is
   wanted. What is there stays. Errors: as anx_cli_put. */
anx_status anx_cli_try_to_put(const char *path, anx_error *err);
/* ANX_EXIT_OK, or what anx_cli_usage returns: `path` can be no file to read, as it is empty or standard input. */
int anx_cli_check_input(const char *path);

/* Whether to colour what is printed there: a terminal that can, and NO_COLOR (https://no-color.org) unset or empty. */
bool anx_cli_color(FILE *to);

#endif
