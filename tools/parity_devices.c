#include "tools/parity_devices.h"

#include <stdlib.h>

#include "parity/device_list.h"
#include "tools/common/cli.h"

void anx_parity_devices_help(FILE *to) {
    fputs("usage: anx-parity devices [OPTIONS]\n\n"
          "Lists every device that --device takes, with its libraries, arithmetic, threads and memory, or says why it\n"
          "is not there. Each one is opened for that.\n\n"
          "Options:\n"
          "  --json FILE       the list as JSON ('-': to standard output, the text to standard error). An existing\n"
          "                    file is replaced.\n"
          "  -h, --help        this text\n\n"
          "Examples:\n"
          "  anx-parity devices\n"
          "  anx-parity devices --json - | jq .auto\n"
          "  ANX_PLUGIN_DIR=build/release/lib/anx anx-parity devices\n\n"
          "Exit status: 0 listed, whatever there is; 2 trouble (the file cannot be written), 64 wrong usage.\n",
          to);
}

static anx_status put(const anx_device_list *list, const char *json, anx_error *err) {
    char *text = NULL, *as_json = NULL;
    size_t n_text = 0, n_json = 0;
    FILE *to = anx_cli_is_standard_output(json) ? stderr : stdout;
    anx_status status = anx_device_list_text(list, anx_cli_color(to), &text, &n_text, err);
    if (status == ANX_OK) fwrite(text, 1, n_text, to); /* standard output is checked at the command's end */
    if (status == ANX_OK && json != NULL) status = anx_device_list_json(list, &as_json, &n_json, err);
    if (status == ANX_OK && json != NULL) status = anx_cli_put(json, as_json, n_json, err);
    free(text);
    free(as_json);
    return status;
}

int anx_parity_devices(int argc, char **argv) {
    enum { option_json = ANX_CLI_FIRST_LONG };
    static const struct option options[] = {{"json", required_argument, NULL, option_json}, {NULL, 0, NULL, 0}};
    const char *json = NULL;
    int option;
    while ((option = anx_cli_next_option(argc, argv, "", options)) != -1) {
        if (option != option_json) return anx_cli_stop_code();
        json = optarg;
    }
    if (optind < argc) return anx_cli_usage("unexpected argument '%s'", argv[optind]);
    anx_error err = ANX_ERROR_INIT;
    anx_device_list list = {.backends = NULL};
    anx_status status = anx_device_list_gather(&list, &err);
    if (status == ANX_OK) status = put(&list, json, &err);
    anx_device_list_fini(&list);
    return status == ANX_OK ? ANX_EXIT_OK : anx_cli_trouble(&err);
}
