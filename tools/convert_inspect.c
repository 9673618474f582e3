#include "tools/convert_inspect.h"

#include <stdlib.h>
#include <string.h>

#include "loaders/file.h"
#include "parity/inspection.h"
#include "tools/common/cli.h"

void anx_convert_inspect_help(FILE *to) {
    fputs(
        "usage: anx-convert inspect [OPTIONS] FILE\n\n"
        "Shows what a checkpoint file is, without executing anything that is in it: the format, what wrote it as far\n"
        "as its bytes tell, its SHA-256 and whether it is one of torchvision's published files; every tensor with\n"
        "shape, strides, place in the file and the range of its values; the architecture that they fit; and what\n"
        "else is there (optimizer, epoch, arguments). FILE is anything that the other commands read.\n\n"
        "Options:\n"
        "  --json OUT        the same as JSON, with nothing shortened but very large contents, into the file OUT,\n"
        "                    which is replaced if it exists; '-': to standard output, instead of the text\n"
        "  --accept-bad-crc  read a file whose records' CRC-32 do not match all the same\n"
        "  -h, --help        this text\n\n"
        "Examples:\n"
        "  anx-convert inspect alexnet-owt-7be5be79.pth\n"
        "  anx-convert inspect --json - checkpoint.pth | jq '.tensors[] | select(.statistics.nan > 0)'\n\n"
        "Exit status: 0 shown, 2 trouble (not a checkpoint, cannot be read or written), 64 wrong usage.\n",
        to);
}

typedef struct inspect_options {
    anx_inspection_options inspection;
    const char *path, *json;
} inspect_options;

enum { option_accept_bad_crc = ANX_CLI_FIRST_LONG, option_json };

static int parse_options(int argc, char **argv, inspect_options *o, bool *stop) {
    static const struct option options[] = {
        {"accept-bad-crc", no_argument, NULL, option_accept_bad_crc},
        {"json", required_argument, NULL, option_json},
        {NULL, 0, NULL, 0},
    };
    *stop = true;
    int option;
    while ((option = anx_cli_next_option(argc, argv, "", options)) != -1) {
        if (option == option_accept_bad_crc)
            o->inspection.accept_bad_crc = true;
        else if (option == option_json)
            o->json = optarg;
        else
            return anx_cli_stop_code();
    }
    if (optind == argc) return anx_cli_usage("a checkpoint is missing: the file to inspect");
    if (optind + 1 < argc) return anx_cli_usage("unexpected argument '%s'", argv[optind + 1]);
    o->path = argv[optind];
    const int code = anx_cli_check_input(o->path);
    if (code != ANX_EXIT_OK) return code;
    if (o->json != NULL && !anx_cli_is_standard_output(o->json) && anx_file_is_same(o->json, o->path))
        return anx_cli_usage("--json '%s' is the checkpoint itself", o->json);
    *stop = false;
    return ANX_EXIT_OK;
}

static anx_status put_text(const anx_inspection *inspection, anx_error *err) {
    char *text = NULL;
    size_t n_bytes = 0;
    anx_status status = anx_inspection_text(inspection, &text, &n_bytes, err);
    if (status == ANX_OK) status = anx_cli_put("-", text, n_bytes, err);
    free(text);
    return status;
}

static anx_status put_json(const anx_inspection *inspection, const char *path, anx_error *err) {
    char *text = NULL;
    size_t n_bytes = 0;
    anx_status status = anx_inspection_json(inspection, &text, &n_bytes, err);
    if (status == ANX_OK) status = anx_cli_put(path, text, n_bytes, err);
    free(text);
    return status;
}

int anx_convert_inspect(int argc, char **argv) {
    inspect_options o = {.path = NULL};
    bool stop;
    const int code = parse_options(argc, argv, &o, &stop);
    if (stop) return code;
    anx_error err = ANX_ERROR_INIT;
    anx_inspection *inspection = NULL;
    anx_status status = anx_inspect(o.path, &o.inspection, &inspection, &err);
    if (status == ANX_OK && !anx_cli_is_standard_output(o.json)) status = put_text(inspection, &err);
    if (status == ANX_OK && o.json != NULL) status = put_json(inspection, o.json, &err);
    anx_inspection_destroy(inspection);
    return status == ANX_OK ? ANX_EXIT_OK : anx_cli_trouble(&err);
}
