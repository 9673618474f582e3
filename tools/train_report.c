#include "tools/train_report.h"

#include <stdlib.h>
#include <string.h>

#include "loaders/file.h"
#include "parity/train_report.h"
#include "tools/common/cli.h"

void anx_train_report_help(FILE *to) {
    fputs("usage: anx-train report [OPTIONS] LOG [LOG...]\n\n"
          "Shows what the logs of training runs tell. Without --output a summary is printed: what was trained with "
          "what,\n"
          "the epochs, the best one, how it ended. With it, a page of HTML is written that any browser shows, without\n"
          "scripts and without the network: loss, accuracy and learning rate as curves, a table of the epochs, the\n"
          "options; where a run was resumed or a loss was not finite is marked. Up to 8 logs are drawn over each "
          "other.\n\n"
          "A log may be read while its run goes on. A last line that was cut off by a kill is passed over.\n\n"
          "Options:\n"
          "  -o, --output FILE  write the page of HTML there, and print nothing; '-': to standard output\n"
          "  --force            replace FILE if it exists\n"
          "  -h, --help         this text\n\n"
          "Examples:\n"
          "  anx-train report runs/first.jsonl\n"
          "  anx-train report runs/first.jsonl -o first.html\n"
          "  anx-train report runs/lr-0.01.jsonl runs/lr-0.001.jsonl -o compared.html --force\n\n"
          "Exit status: 0 shown, 2 trouble (not a training log, cannot be read or written, FILE exists), 64 wrong "
          "usage.\n",
          to);
}

typedef struct report_options {
    char **paths;
    size_t n_paths;
    const char *output; /* NULL: the text */
    bool force;
} report_options;

enum { option_force = ANX_CLI_FIRST_LONG };

static int parse_options(int argc, char **argv, report_options *o, bool *stop) {
    static const struct option options[] = {
        {"output", required_argument, NULL, 'o'},
        {"force", no_argument, NULL, option_force},
        {NULL, 0, NULL, 0},
    };
    *stop = true;
    int option;
    while ((option = anx_cli_next_option(argc, argv, "o:", options)) != -1) {
        if (option == 'o')
            o->output = optarg;
        else if (option == option_force)
            o->force = true;
        else
            return anx_cli_stop_code();
    }
    o->paths = argv + optind;
    o->n_paths = (size_t)(argc - optind);
    if (o->n_paths == 0) return anx_cli_usage("a log is missing: the file that a training run wrote its log into");
    if (o->n_paths > ANX_TRAIN_REPORT_LOGS)
        return anx_cli_usage("%zu logs; at most %d can be told apart in one report", o->n_paths, ANX_TRAIN_REPORT_LOGS);
    if (o->output != NULL && o->output[0] == '\0') return anx_cli_usage("the name of the file to write is empty");
    if (o->force && o->output == NULL) return anx_cli_usage("--force is for a file to write: give -o FILE too");
    for (size_t i = 0; i < o->n_paths; i++) {
        if (o->paths[i][0] == '\0') return anx_cli_usage("the name of a log is empty");
        if (strcmp(o->paths[i], "-") == 0) return anx_cli_usage("standard input cannot be read; give a file");
        if (o->output != NULL && !anx_cli_is_standard_output(o->output) && anx_file_is_same(o->output, o->paths[i]))
            return anx_cli_usage("--output '%s' is the log itself", o->output);
    }
    *stop = false;
    return ANX_EXIT_OK;
}

/* The page into its file; an existing one only with --force. */
static anx_status write_page(const report_options *o, const char *text, size_t n_bytes, anx_error *err) {
    anx_file_writer *writer = NULL;
    anx_status status = anx_file_writer_create(o->output, o->force, &writer, err);
    if (status == ANX_OK) status = anx_file_writer_write(writer, text, n_bytes, err);
    if (status == ANX_OK) status = anx_file_writer_commit(writer, err);
    anx_file_writer_destroy(writer);
    return status;
}

static anx_status report(const report_options *o, const anx_train_log *const *logs, anx_error *err) {
    char *text = NULL;
    size_t n_bytes = 0;
    anx_status status = o->output == NULL
                            ? anx_train_report_text(logs, o->n_paths, anx_cli_color(stdout), &text, &n_bytes, err)
                            : anx_train_report_html(logs, o->n_paths, &text, &n_bytes, err);
    if (status == ANX_OK && (o->output == NULL || anx_cli_is_standard_output(o->output)))
        status = anx_cli_put("-", text, n_bytes, err);
    else if (status == ANX_OK)
        status = write_page(o, text, n_bytes, err);
    free(text);
    return status;
}

int anx_train_report(int argc, char **argv) {
    report_options o = {.paths = NULL};
    bool stop;
    const int code = parse_options(argc, argv, &o, &stop);
    if (stop) return code;
    anx_error err = ANX_ERROR_INIT;
    anx_status status = ANX_OK;
    anx_train_log *logs[ANX_TRAIN_REPORT_LOGS] = {NULL};
    for (size_t i = 0; status == ANX_OK && i < o.n_paths; i++) status = anx_train_log_read(o.paths[i], &logs[i], &err);
    if (status == ANX_OK) status = report(&o, (const anx_train_log *const *)logs, &err);
    for (size_t i = 0; i < o.n_paths; i++) anx_train_log_destroy(logs[i]);
    return status == ANX_OK ? ANX_EXIT_OK : anx_cli_trouble(&err);
}
