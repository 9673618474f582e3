#include "tools/convert_verify.h"

#include <stdlib.h>
#include <string.h>

#include "loaders/file.h"
#include "parity/checkpoint_diff_report.h"
#include "src/base/threads.h"
#include "tools/common/cli.h"

void anx_convert_verify_help(FILE *to) {
    fputs("usage: anx-convert verify A B [--json FILE] [--accept-bad-crc]\n\n"
          "Do two checkpoints, of any two formats, hold the same tensors: names, shapes, element types, bits?\n"
          "For what differs: how many elements, where first, by how much; and which tensors are each other's\n"
          "twins under another name, transposed, with channels reversed or flattened in another order, as far\n"
          "as their bits prove it.\n\n"
          "No difference: the names in another order, strides, byte order, tensors that share their storage.\n"
          "What is beside the tensors (optimizer, epoch, _metadata) is not compared.\n\n"
          "Options:\n"
          "  --json FILE       the report as JSON ('-': to standard output, instead of the text)\n"
          "                    The file is replaced if it exists.\n"
          "  --accept-bad-crc  read a checkpoint whose records' CRC-32 do not match all the same\n"
          "  -h, --help        this text\n\n"
          "Examples:\n"
          "  anx-convert verify alexnet.pth alexnet.safetensors\n"
          "  anx-convert verify --json - mine.pth theirs.pth | jq .twins\n\n"
          "Exit status: 0 identical, 1 different, 2 trouble (a bad file; a tensor that could not be compared),\n"
          "64 wrong usage.\n",
          to);
}

typedef struct verify_options {
    const char *a, *b, *json;
    bool accept_bad_crc;
} verify_options;

enum { option_json = ANX_CLI_FIRST_LONG, option_accept_bad_crc };

/* ANX_EXIT_OK, or the code to end with. */
static int parse_option(int option, verify_options *o) {
    switch (option) {
    case option_json: o->json = optarg; return ANX_EXIT_OK;
    case option_accept_bad_crc: o->accept_bad_crc = true; return ANX_EXIT_OK;
    default: return anx_cli_stop_code();
    }
}

static int parse_options(int argc, char **argv, verify_options *o, bool *stop) {
    static const struct option options[] = {
        {"json", required_argument, NULL, option_json},
        {"accept-bad-crc", no_argument, NULL, option_accept_bad_crc},
        {NULL, 0, NULL, 0},
    };
    *stop = true;
    int option;
    while ((option = anx_cli_next_option(argc, argv, "", options)) != -1) {
        const int code = parse_option(option, o);
        if (code != ANX_EXIT_OK || option == ANX_CLI_STOP) return code;
    }
    if (argc - optind < 2) return anx_cli_usage("two checkpoints are needed");
    if (argc - optind > 2) return anx_cli_usage("unexpected argument '%s'", argv[optind + 2]);
    o->a = argv[optind];
    o->b = argv[optind + 1];
    int code = anx_cli_check_input(o->a);
    if (code == ANX_EXIT_OK) code = anx_cli_check_input(o->b);
    if (code != ANX_EXIT_OK) return code;
    if (o->json != NULL && (anx_file_is_same(o->json, o->a) || anx_file_is_same(o->json, o->b)))
        return anx_cli_usage("--json '%s' is one of the checkpoints itself", o->json);
    *stop = false;
    return ANX_EXIT_OK;
}

static anx_status report_json(const char *path, const anx_checkpoint_diff *diff, const anx_checkpoint_twins *twins,
                              anx_error *err) {
    char *text = NULL;
    size_t n_bytes = 0;
    anx_status status = anx_checkpoint_diff_json(diff, twins, &text, &n_bytes, err);
    if (status == ANX_OK) status = anx_cli_put(path, text, n_bytes, err);
    free(text);
    return status;
}

static anx_status report_text(const anx_checkpoint_diff *diff, const anx_checkpoint_twins *twins, anx_error *err) {
    char *text = NULL;
    size_t n_bytes = 0;
    anx_status status = anx_checkpoint_diff_text(diff, twins, anx_cli_color(stdout), &text, &n_bytes, err);
    if (status == ANX_OK) status = anx_cli_put("-", text, n_bytes, err);
    free(text);
    return status;
}

static int exit_code(const anx_checkpoint_diff *diff) {
    switch (diff->result) {
    case ANX_DIFF_IDENTICAL: return ANX_EXIT_OK;
    case ANX_DIFF_DIFFERENT: return ANX_EXIT_MISMATCH;
    case ANX_DIFF_NOT_VERIFIED: break;
    }
    return ANX_EXIT_TROUBLE;
}

static int verify(const verify_options *o) {
    /* Nothing is computed with the tensors, and a prefix that one has and the other not is a difference. */
    const anx_checkpoint_options options = {
        .accept_bad_crc = o->accept_bad_crc, .as_stored = true, .keep_prefix = true};
    const int threads = anx_threads_available();
    anx_error err = ANX_ERROR_INIT;
    anx_checkpoint *a = NULL, *b = NULL;
    anx_checkpoint_diff *diff = NULL;
    anx_checkpoint_twins *twins = NULL;
    anx_status status = anx_checkpoint_open(o->a, &options, &a, &err);
    if (status == ANX_OK) status = anx_checkpoint_open(o->b, &options, &b, &err);
    if (status == ANX_OK) status = anx_checkpoint_diff_create(a, b, threads, &diff, &err);
    if (status == ANX_OK) status = anx_checkpoint_twins_find(diff, threads, &twins, &err);
    if (status == ANX_OK && o->json != NULL) status = report_json(o->json, diff, twins, &err);
    if (status == ANX_OK && !anx_cli_is_standard_output(o->json)) status = report_text(diff, twins, &err);
    const int code = status == ANX_OK ? exit_code(diff) : anx_cli_trouble(&err);
    anx_checkpoint_twins_destroy(twins);
    anx_checkpoint_diff_destroy(diff);
    anx_checkpoint_close(b);
    anx_checkpoint_close(a);
    return code;
}

int anx_convert_verify(int argc, char **argv) {
    verify_options o = {.a = NULL};
    bool stop;
    const int code = parse_options(argc, argv, &o, &stop);
    return stop ? code : verify(&o);
}
