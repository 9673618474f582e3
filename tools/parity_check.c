#include "tools/parity_check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "loaders/file.h"
#include "parity/judge.h"
#include "parity/report.h"
#include "tools/common/cli.h"
#include "tools/common/data_folder.h"
#include "tools/common/engine_options.h"
#include "tools/parity_options.h"

void anx_parity_check_help(FILE *to) {
    fputs("usage: anx-parity check [OPTIONS] CHECKPOINT\n\n"
          "Judges whether an engine computes what PyTorch computes with these weights: preprocessing against\n"
          "Pillow, every layer against the same layer in double and against PyTorch's own values, the fused\n"
          "groups that run in use, and an integer probe that exposes reduced precision. CHECKPOINT is a PyTorch\n"
          "zip file (.pth) or safetensors.\n\n"
          "What is judged:\n"
          "  --device NAME     the engine (default auto):\n",
          to);
    anx_cli_list_devices(to);
    fputs("  --against FILE    somebody else's activations instead: a safetensors file with this project's point\n"
          "                    names, as ONNX Runtime, TensorRT or a phone gave them\n"
          "  --accept-bad-crc  read a checkpoint whose records' CRC-32 do not match all the same\n"
          "  --image FILE      judge this image too (JPEG or PNG; may be repeated)\n"
          "  --train           training too: recorded steps of PyTorch's taken again, every operator's gradients,\n"
          "                    SGD, and twenty steps of the engine's own (a minute or two more, 4 GB)\n"
          "  --math MODE       float32 (default), tf32 or fast: what the device may compute with; one without\n"
          "                    such a choice stays with what it has\n"
          "  --points GLOBS    only these points: features.*,logits (quote them from the shell)\n"
          "  --threads N       threads to use (default: what affinity, cgroup and OMP_NUM_THREADS\n"
          "                    allow)\n\n"
          "What it is judged by:\n"
          "  --fixtures PATH   recordings instead of those that come with anx: a folder, of which those that apply\n"
          "                    are used; or a file, used whether its weights are these or not (may be repeated)\n"
          "  --data-dir DIR    where the data that comes with anx is (default: ANX_DATA_DIR, then the\n"
          "                    installation, then the source tree)\n"
          "  --full            run every recording, not only the quick ones\n"
          "  --strict          a missing recording, a warning or a skipped point is a failure\n\n"
          "Reports:\n"
          "  -v, --verbose     every row, every failure with what fits its pattern, every top-5\n"
          "  --json FILE       the report as JSON ('-': to standard output, the text to standard error)\n"
          "  --junit FILE      the report for continuous-integration servers ('-' likewise)\n"
          "                    Both files are replaced if they exist.\n"
          "  -h, --help        this text\n\n"
          "Examples:\n"
          "  anx-parity check alexnet-seed0.pth\n"
          "  anx-parity check --full --strict --junit parity.xml alexnet-seed0.pth\n"
          "  anx-parity check --image photo.jpg --device exact my-finetuned.pth\n"
          "  anx-parity check --train --device cpu alexnet-seed0.pth\n"
          "  anx-parity check --device cuda:1 --math tf32 alexnet-seed0.pth\n"
          "  anx-parity check --against onnxruntime.safetensors alexnet-seed0.pth\n"
          "  anx-parity check --json - alexnet-seed0.pth | jq .verdict\n\n"
          "Exit status: 0 pass, 1 fail, 2 trouble (a bad file, no such device), 64 wrong usage.\n",
          to);
}

typedef struct check_options {
    anx_judge_options judge;
    const char **fixtures; /* paths as given; so many as there are arguments at most */
    int n_fixtures;
    const char **images;
    const char *data_dir, *json, *junit;
    bool verbose;
} check_options;

enum {
    option_accept_bad_crc = ANX_CLI_FIRST_LONG,
    option_against,
    option_data_dir,
    option_full,
    option_json,
    option_junit,
    option_math,
    option_strict,
    option_train
};

/* ANX_EXIT_OK, or the code to end with. */
static int parse_option(int option, check_options *o) {
    switch (option) {
    case 'f': o->fixtures[o->n_fixtures++] = optarg; return ANX_EXIT_OK;
    case 'i': o->images[o->judge.n_images++] = optarg; return ANX_EXIT_OK;
    case 'd': o->judge.device_name = optarg; return anx_cli_check_device(optarg);
    case 't': return anx_cli_parse_threads(optarg, &o->judge.threads);
    case option_math: return anx_cli_parse_math(optarg, &o->judge.math);
    case 'p': o->judge.points = optarg; return anx_parity_check_points(optarg);
    case 'v': o->verbose = true; return ANX_EXIT_OK;
    case option_accept_bad_crc: o->judge.accept_bad_crc = true; return ANX_EXIT_OK;
    case option_against: o->judge.against = optarg; return ANX_EXIT_OK;
    case option_data_dir: o->data_dir = optarg; return ANX_EXIT_OK;
    case option_full: o->judge.full = true; return ANX_EXIT_OK;
    case option_strict: o->judge.strict = true; return ANX_EXIT_OK;
    case option_train: o->judge.train = true; return ANX_EXIT_OK;
    case option_json: o->json = optarg; return ANX_EXIT_OK;
    case option_junit: o->junit = optarg; return ANX_EXIT_OK;
    default: return anx_cli_stop_code();
    }
}

static int parse_options(int argc, char **argv, check_options *o, bool *stop) {
    static const struct option options[] = {
        {"accept-bad-crc", no_argument, NULL, option_accept_bad_crc},
        {"against", required_argument, NULL, option_against},
        {"data-dir", required_argument, NULL, option_data_dir},
        {"device", required_argument, NULL, 'd'},
        {"fixtures", required_argument, NULL, 'f'},
        {"full", no_argument, NULL, option_full},
        {"image", required_argument, NULL, 'i'},
        {"json", required_argument, NULL, option_json},
        {"junit", required_argument, NULL, option_junit},
        {"math", required_argument, NULL, option_math},
        {"points", required_argument, NULL, 'p'},
        {"strict", no_argument, NULL, option_strict},
        {"threads", required_argument, NULL, 't'},
        {"train", no_argument, NULL, option_train},
        {"verbose", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    *stop = true;
    int option;
    while ((option = anx_cli_next_option(argc, argv, "v", options)) != -1) {
        const int code = parse_option(option, o);
        if (code != ANX_EXIT_OK || option == ANX_CLI_STOP) return code;
    }
    if (optind == argc) return anx_cli_usage("a checkpoint is missing: the file to check");
    if (optind + 1 < argc) return anx_cli_usage("unexpected argument '%s'", argv[optind + 1]);
    if (o->judge.against != NULL && o->judge.device_name != NULL)
        return anx_cli_usage("--against judges a dump instead of a device: give one or the other");
    if (o->judge.against != NULL && o->judge.math != ANX_MATH_FLOAT32)
        return anx_cli_usage("--math is of a device: a dump has been computed already");
    if (o->judge.against != NULL && o->judge.train)
        return anx_cli_usage("--train judges a device: a dump does not train");
    if (anx_cli_is_standard_output(o->json) && anx_cli_is_standard_output(o->junit))
        return anx_cli_usage("only one of --json and --junit can go to standard output");
    for (int i = 0; i < 2; i++) {
        const char *report = i == 0 ? o->json : o->junit, *name = i == 0 ? "--json" : "--junit";
        if (report == NULL || anx_cli_is_standard_output(report)) continue;
        if (anx_file_is_same(report, argv[optind]))
            return anx_cli_usage("%s '%s' is the checkpoint itself", name, report);
        if (o->judge.against != NULL && anx_file_is_same(report, o->judge.against))
            return anx_cli_usage("%s '%s' is the dump itself", name, report);
    }
    o->judge.checkpoint = argv[optind];
    o->judge.images = o->images;
    *stop = false;
    return ANX_EXIT_OK;
}

/* ---- what comes with anx ---- */

static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Files the user named are judged against whatever they hold; of folders those that apply are used. */
static anx_status load_fixtures(const check_options *o, anx_fixture_set *found, anx_fixture_set *asked,
                                anx_error *err) {
    anx_status status = ANX_OK;
    for (int i = 0; status == ANX_OK && i < o->n_fixtures; i++)
        status = anx_fixture_set_add(is_folder(o->fixtures[i]) ? found : asked, o->fixtures[i], err);
    if (status != ANX_OK || o->n_fixtures > 0) return status;
    char *folder = NULL;
    status = anx_find_data(o->data_dir, "fixtures", &folder, err);
    if (status == ANX_ERR_NOT_FOUND && anx_data_is_named(o->data_dir)) return status;
    if (status == ANX_OK) status = anx_fixture_set_add(found, folder, err);
    free(folder);
    if (status != ANX_ERR_NOT_FOUND) return status;
    anx_cli_say("no recordings found; judged by arithmetic alone (--fixtures PATH names recordings)");
    return ANX_OK;
}

/* ---- reports ---- */

typedef anx_status report_view(const anx_verdicts *, const anx_report_options *, char **, size_t *, anx_error *);

static anx_status print_report(FILE *to, report_view *view, const anx_verdicts *verdicts, anx_report_options options,
                               anx_error *err) {
    char *text = NULL;
    size_t n_bytes = 0;
    options.color = anx_cli_color(to);
    anx_status status = view(verdicts, &options, &text, &n_bytes, err);
    if (status == ANX_OK) fwrite(text, 1, n_bytes, to); /* standard output is checked at the command's end */
    free(text);
    return status;
}

static anx_status put_report(const char *path, report_view *view, const anx_verdicts *verdicts,
                             const anx_report_options *options, anx_error *err) {
    char *text = NULL;
    size_t n_bytes = 0;
    if (path == NULL) return ANX_OK;
    anx_status status = view(verdicts, options, &text, &n_bytes, err);
    if (status == ANX_OK) status = anx_cli_put(path, text, n_bytes, err);
    free(text);
    return status;
}

static anx_status report(const check_options *o, const anx_verdicts *verdicts, const anx_class_names *names,
                         anx_error *err) {
    const anx_report_options options = {.classes = names, .verbose = o->verbose};
    const bool taken = anx_cli_is_standard_output(o->json) || anx_cli_is_standard_output(o->junit);
    anx_status status = print_report(taken ? stderr : stdout, anx_report_text, verdicts, options, err);
    if (status == ANX_OK) status = put_report(o->json, anx_report_json, verdicts, &options, err);
    if (status == ANX_OK) status = put_report(o->junit, anx_report_junit, verdicts, &options, err);
    return status;
}

static int check(check_options *o) {
    anx_error err = ANX_ERROR_INIT;
    anx_fixture_set found = ANX_FIXTURE_SET_INIT, asked = ANX_FIXTURE_SET_INIT;
    anx_class_names *names = NULL;
    anx_verdicts *verdicts = NULL;
    int code = ANX_EXIT_TROUBLE;
    anx_status status = load_fixtures(o, &found, &asked, &err);
    if (status == ANX_OK) status = anx_load_class_names(o->data_dir, &names, &err);
    o->judge.fixtures = &found;
    o->judge.asked = &asked;
    if (status == ANX_OK) status = anx_judge(&o->judge, &verdicts, &err);
    if (status == ANX_OK) status = report(o, verdicts, names, &err);
    if (status == ANX_OK)
        code = verdicts->overall == ANX_VERDICT_PASS ? ANX_EXIT_OK : ANX_EXIT_MISMATCH;
    else
        anx_cli_trouble(&err);
    anx_verdicts_destroy(verdicts);
    anx_class_names_close(names);
    anx_fixture_set_fini(&asked);
    anx_fixture_set_fini(&found);
    return code;
}

int anx_parity_check(int argc, char **argv) {
    check_options o = {.fixtures = calloc((size_t)argc + 1, sizeof *o.fixtures),
                       .images = calloc((size_t)argc + 1, sizeof *o.images)};
    bool stop = true;
    int code = ANX_EXIT_TROUBLE;
    if (o.fixtures == NULL || o.images == NULL)
        anx_cli_say("out of memory");
    else
        code = parse_options(argc, argv, &o, &stop);
    if (!stop) code = check(&o);
    free(o.fixtures);
    free(o.images);
    return code;
}
