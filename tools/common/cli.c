#include "tools/common/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loaders/file.h"
#include "src/base/interrupt.h"
#include "src/base/version.h"
#include "tools/common/signals.h"

/* A command is one process: these hold what it is, for messages. */
static const anx_command *running;
static const anx_subcommand *running_sub;
static int stop_code;

void anx_cli_say(const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    fprintf(stderr, "%s: ", running->name);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
}

int anx_cli_usage(const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    fprintf(stderr, "%s: ", running->name);
    vfprintf(stderr, format, ap);
    va_end(ap);
    const bool sub = running_sub != NULL && running_sub != running->main;
    fprintf(stderr, "\nTry '%s%s%s --help'.\n", running->name, sub ? " " : "", sub ? running_sub->name : "");
    return ANX_EXIT_USAGE;
}

int anx_cli_trouble(const anx_error *err) {
    static char text[sizeof *err + 256];
    anx_cli_say("%s", anx_error_format(err, text, sizeof text));
    return ANX_EXIT_TROUBLE;
}

int anx_cli_stop_code(void) {
    return stop_code;
}

static int stop(int code) {
    stop_code = code;
    return ANX_CLI_STOP;
}

int anx_cli_next_option(int argc, char **argv, const char *letters, const struct option *options) {
    char all[64]; /* ':' first: a missing value is told apart from an unknown option */
    struct option with_help[48] = {{"help", no_argument, NULL, 'h'}};
    int n = 0;
    while (options[n].name != NULL && n < (int)(sizeof with_help / sizeof with_help[0]) - 2) n++;
    memcpy(with_help + 1, options, (size_t)n * sizeof *options); /* the rest is zeros: the end */
    snprintf(all, sizeof all, ":h%s", letters);
    opterr = 0;
    const int at = optind > 0 ? optind : 1;
    const int c = getopt_long(argc, argv, all, with_help, NULL);
    const char *text = argv[optind > at ? optind - 1 : at];
    switch (c) {
    case 'h': running_sub->help(stdout); return stop(ANX_EXIT_OK);
    case ':': return stop(anx_cli_usage("option '%s' needs a value", text));
    case '?':
        if (text != NULL && text[0] == '-' && text[1] != '-' && optopt != 0)
            return stop(anx_cli_usage("unknown option '-%c'", optopt));
        if (optopt != 0) return stop(anx_cli_usage("option '%s' takes no value", text));
        return stop(anx_cli_usage("unknown option '%s'", text));
    default: return c;
    }
}

static void print_help(const anx_command *command, FILE *to) {
    fprintf(to, "usage: %s SUBCOMMAND [OPTIONS]\n\n%s\n\nSubcommands:\n", command->name, command->summary);
    for (int i = 0; i < command->n_subcommands; i++)
        fprintf(to, "  %-10s %s\n", command->subcommands[i].name, command->subcommands[i].summary);
    fprintf(to,
            "\nOptions:\n  -h, --help     this text; '%s SUBCOMMAND --help' explains a subcommand\n"
            "  -V, --version  the version\n\nExamples:\n%s\n"
            "Exit status: 0 as asked, 1 a check failed, 2 trouble (a bad file, no space), 64 wrong usage.\n",
            command->name, command->examples);
}

static const anx_subcommand *find_subcommand(const anx_command *command, const char *name) {
    for (int i = 0; i < command->n_subcommands; i++)
        if (strcmp(command->subcommands[i].name, name) == 0) return &command->subcommands[i];
    return NULL;
}

static void command_help(const anx_command *command, FILE *to) {
    if (command->main != NULL)
        command->main->help(to);
    else
        print_help(command, to);
}

static int dispatch(const anx_command *command, int argc, char **argv) {
    if (argc < 2) {
        command_help(command, stderr);
        return ANX_EXIT_USAGE;
    }
    const char *first = argv[1];
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0) {
        command_help(command, stdout);
        return ANX_EXIT_OK;
    }
    if (strcmp(first, "--version") == 0 || strcmp(first, "-V") == 0) {
        printf("%s %s\n", command->name, ANX_VERSION);
        return ANX_EXIT_OK;
    }
    running_sub = find_subcommand(command, first);
    if (command->main != NULL && running_sub == NULL && (first[0] == '-' || command->main_takes_operands)) {
        running_sub = command->main;
        return running_sub->run(argc, argv);
    }
    if (first[0] == '-') return anx_cli_usage("unknown option '%s'", first);
    if (running_sub == NULL) return anx_cli_usage("unknown subcommand '%s'", first);
    return running_sub->run(argc - 1, argv + 1);
}

int anx_command_main(const anx_command *command, int argc, char **argv) {
    running = command;
    anx_signals_install(command->name);
    int code = dispatch(command, argc, argv);
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout)) {
        /* Where an earlier write failed, its reason is gone, and none is made up. */
        if (errno != 0)
            anx_cli_say("cannot write to standard output: %s", strerror(errno));
        else
            anx_cli_say("cannot write all of the output to standard output");
        code = ANX_EXIT_TROUBLE;
    }
    anx_signals_finish();
    return code;
}

/* Digits behind an optional sign; false where there is anything else or the magnitude exceeds 64 bits. */
static bool parse_decimal(const char *text, bool *negative, uint64_t *magnitude) {
    *negative = *text == '-';
    if (*text == '-' || *text == '+') text++;
    if (*text == '\0') return false;
    uint64_t value = 0;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') return false;
        if (__builtin_mul_overflow(value, (uint64_t)10, &value)) return false;
        if (__builtin_add_overflow(value, (uint64_t)(*text - '0'), &value)) return false;
    }
    *magnitude = value;
    return true;
}

bool anx_cli_parse_i64(const char *text, int64_t min, int64_t max, int64_t *out) {
    bool negative;
    uint64_t magnitude;
    if (!parse_decimal(text, &negative, &magnitude) || magnitude > (uint64_t)INT64_MAX) return false;
    const int64_t value = negative ? -(int64_t)magnitude : (int64_t)magnitude;
    if (value < min || value > max) return false;
    *out = value;
    return true;
}

bool anx_cli_parse_seed(const char *text, uint64_t *out) {
    bool negative;
    uint64_t magnitude;
    if (!parse_decimal(text, &negative, &magnitude)) return false;
    if (negative && magnitude > UINT64_C(1) << 63) return false;
    *out = negative ? 0 - magnitude : magnitude;
    return true;
}

bool anx_cli_is_standard_output(const char *path) {
    return path != NULL && strcmp(path, "-") == 0;
}

anx_status anx_cli_put(const char *path, const void *data, size_t n_bytes, anx_error *err) {
    if (!anx_cli_is_standard_output(path)) return anx_file_replace(path, data, n_bytes, err);
    fwrite(data, 1, n_bytes, stdout); /* standard output is checked at the command's end */
    return ANX_OK;
}

anx_status anx_cli_try_to_put(const char *path, anx_error *err) {
    anx_file_writer *file = NULL;
    if (path == NULL || anx_cli_is_standard_output(path)) return ANX_OK;
    const anx_status status = anx_file_writer_create(path, true, &file, err);
    anx_file_writer_destroy(file); /* leaves what is there as it is */
    return status;
}

int anx_cli_check_input(const char *path) {
    if (path[0] == '\0') return anx_cli_usage("the name of the file to read is empty");
    if (strcmp(path, "-") == 0)
        return anx_cli_usage("standard input cannot be read: a checkpoint is mapped, not read in one go; give a file");
    return ANX_EXIT_OK;
}

bool anx_cli_color(FILE *to) {
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    if (no_color != NULL && *no_color != '\0') return false;
    return isatty(fileno(to)) && term != NULL && strcmp(term, "dumb") != 0;
}
