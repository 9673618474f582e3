#include "tools/eval_options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/file.h"
#include "tools/common/cli.h"
#include "tools/common/engine_options.h"

enum { default_batch = 32, max_batch = 4096 };

void anx_eval_help(FILE *to) {
    fputs("usage: anx-eval --val-dir DIR|FILE.tar [OPTIONS]\n"
          "       anx-eval predict [OPTIONS] IMAGE...\n\n"
          "Counts top-1 and top-5 accuracy on labelled images as torchvision's reference script does, with Pillow's\n"
          "preprocessing bit for bit, and says how many of the decisions are within rounding.\n\n"
          "What is evaluated:\n"
          "  --val-dir PATH    the images: a folder of folders named by wnid (n01440764) or by class; a flat folder\n"
          "                    with Caffe's val.txt, Kaggle's LOC_val_solution.csv or the devkit's ground truth;\n"
          "                    ILSVRC2012_img_val.tar as downloaded, with one of these\n"
          "  --labels FILE     the label file, where it is not beside the images under its usual name\n"
          "  --synsets FILE    one wnid per line in the order of ILSVRC's ids, which the devkit's ground truth needs:\n"
          "                    its ids are not class indices\n"
          "  --weights FILE    the checkpoint (default: torchvision's published AlexNet in torch.hub's cache)\n"
          "  --accept-bad-crc  read a checkpoint whose records' CRC-32 do not match all the same\n"
          "  --limit N         the first N images alone, to try something out\n"
          "  --sample N        N images drawn at random: the report gives an interval for all of them\n"
          "  --seed S          of the drawing (default 0)\n"
          "  --skip-bad        go on after a file that cannot be read or decoded, list it, and end with 2\n\n"
          "How:\n"
          "  --device NAME     what computes (default auto):\n",
          to);
    anx_cli_list_devices(to);
    fprintf(to,
            "  --batch N         images that go through the network at once (default %d)\n"
            "  --math MODE       float32 (default), tf32 or fast: what the device may compute with; one without\n"
            "                    such a choice stays with what it has\n"
            "  --threads N       threads to use (default: what affinity, cgroup and OMP_NUM_THREADS allow)\n"
            "  --resume FILE     keep what was reached in FILE, and go on from there when it exists\n"
            "  --data-dir DIR    where the data that comes with anx is\n\n"
            "Results:\n"
            "  --expect A,B      Acc@1 and Acc@5 in per cent that are expected: within 0.05 points on the full set,\n"
            "                    inside the interval for a sample; 'official': torchvision's 56.522,79.066\n"
            "  --predictions FILE.csv\n"
            "                    each image's label, five classes with probabilities, margins ('-': standard output)\n"
            "  --json FILE       the report as JSON ('-': standard output, the text to standard error)\n"
            "                    Both files are replaced if they exist.\n"
            "  -h, --help        this text; 'anx-eval predict --help' explains predict\n"
            "  -V, --version     the version\n\n"
            "Examples:\n"
            "  anx-eval --val-dir imagenet/val\n"
            "  anx-eval --val-dir ILSVRC2012_img_val.tar --labels val.txt --weights model.pth --sample 2000\n"
            "  anx-eval --val-dir imagenet/val --expect official --json accuracy.json\n"
            "  anx-eval --val-dir imagenet/val --resume eval.state     # Ctrl-C, and the same again later\n"
            "  anx-eval predict --weights model.pth cat.jpg\n\n"
            "Exit status: 0 as asked, 1 the expectation is missed, 2 trouble (a bad file, no such device), 64 wrong\n"
            "usage, 130 interrupted.\n",
            (int)default_batch);
}

enum {
    option_val_dir = ANX_CLI_FIRST_LONG,
    option_labels,
    option_synsets,
    option_weights,
    option_accept_bad_crc,
    option_limit,
    option_sample,
    option_seed,
    option_skip_bad,
    option_batch,
    option_math,
    option_resume,
    option_data_dir,
    option_expect,
    option_predictions,
    option_json
};

static int parse_count(const char *name, int64_t max, int64_t *out) {
    if (anx_cli_parse_i64(optarg, 1, max, out)) return ANX_EXIT_OK;
    if (max == INT64_MAX) return anx_cli_usage("%s '%s' is not a whole number from 1", name, optarg);
    return anx_cli_usage("%s '%s' is not a whole number from 1 to %lld", name, optarg, (long long)max);
}

/* A number of per cent up to `end`. */
static bool parse_percent(const char *text, char end, const char **after, double *out) {
    char *stop;
    errno = 0;
    *out = strtod(text, &stop);
    *after = stop + 1;
    return stop != text && errno == 0 && *stop == end && *out >= 0.0 && *out <= 100.0;
}

static int parse_expect(anx_eval_options *o) {
    o->expects = true;
    o->expects_official = strcmp(optarg, "official") == 0;
    if (o->expects_official) return ANX_EXIT_OK;
    const char *second, *end;
    if (parse_percent(optarg, ',', &second, &o->expect1) && parse_percent(second, '\0', &end, &o->expect5))
        return ANX_EXIT_OK;
    return anx_cli_usage("--expect '%s' is neither 'official' nor Acc@1,Acc@5 in per cent (56.522,79.066)", optarg);
}

static int parse_option(int option, anx_eval_options *o) {
    switch (option) {
    case option_val_dir: o->val_dir = optarg; return ANX_EXIT_OK;
    case option_labels: o->labels = optarg; return ANX_EXIT_OK;
    case option_synsets: o->synsets = optarg; return ANX_EXIT_OK;
    case option_accept_bad_crc: o->accept_bad_crc = true; return ANX_EXIT_OK;
    case option_weights: o->weights = optarg; return ANX_EXIT_OK;
    case option_limit: return parse_count("--limit", INT64_MAX, &o->limit);
    case option_sample: return parse_count("--sample", INT64_MAX, &o->sample);
    case option_seed:
        return anx_cli_parse_seed(optarg, &o->seed) ? ANX_EXIT_OK : anx_cli_usage("--seed '%s' is no seed", optarg);
    case option_skip_bad: o->skip_bad = true; return ANX_EXIT_OK;
    case 'd': o->device = optarg; return anx_cli_check_device(optarg);
    case option_batch: return parse_count("--batch", max_batch, &o->batch);
    case option_math: return anx_cli_parse_math(optarg, &o->math);
    case 't': return anx_cli_parse_threads(optarg, &o->threads);
    case option_resume: o->resume = optarg; return ANX_EXIT_OK;
    case option_data_dir: o->data_dir = optarg; return ANX_EXIT_OK;
    case option_expect: return parse_expect(o);
    case option_predictions: o->predictions = optarg; return ANX_EXIT_OK;
    case option_json: o->json = optarg; return ANX_EXIT_OK;
    default: return anx_cli_stop_code();
    }
}

static bool is_same(const char *a, const char *b) {
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

/* A report must not take the place of what is read. */
static int check_report(const char *option, const char *path, const anx_eval_options *o) {
    if (path == NULL || anx_cli_is_standard_output(path)) return ANX_EXIT_OK;
    if (o->weights != NULL && anx_file_is_same(path, o->weights))
        return anx_cli_usage("%s '%s' is the file that --weights names", option, path);
    if (o->labels != NULL && anx_file_is_same(path, o->labels))
        return anx_cli_usage("%s '%s' is the file that --labels names", option, path);
    if (anx_file_is_same(path, o->val_dir)) return anx_cli_usage("%s '%s' is the file of the images", option, path);
    return ANX_EXIT_OK;
}

/* Options that are each right, but not together. */
static int check_together(const anx_eval_options *o) {
    if (o->val_dir == NULL) return anx_cli_usage("--val-dir is missing: the images to evaluate");
    if (o->limit > 0 && o->sample > 0) return anx_cli_usage("give either --limit or --sample");
    if (o->limit > 0 && o->expects)
        return anx_cli_usage("--limit takes the first images, which say nothing of all: --expect needs all of them, or "
                             "--sample");
    if (anx_cli_is_standard_output(o->json) && anx_cli_is_standard_output(o->predictions))
        return anx_cli_usage("only one of --json and --predictions can go to standard output");
    if (is_same(o->json, o->predictions) || is_same(o->json, o->resume) || is_same(o->predictions, o->resume))
        return anx_cli_usage("--json, --predictions and --resume need a file each");
    int code = check_report("--json", o->json, o);
    if (code == ANX_EXIT_OK) code = check_report("--predictions", o->predictions, o);
    return code == ANX_EXIT_OK ? check_report("--resume", o->resume, o) : code;
}

int anx_eval_parse(int argc, char **argv, anx_eval_options *out, bool *stop) {
    static const struct option options[] = {
        {"accept-bad-crc", no_argument, NULL, option_accept_bad_crc},
        {"batch", required_argument, NULL, option_batch},
        {"data-dir", required_argument, NULL, option_data_dir},
        {"device", required_argument, NULL, 'd'},
        {"expect", required_argument, NULL, option_expect},
        {"json", required_argument, NULL, option_json},
        {"labels", required_argument, NULL, option_labels},
        {"limit", required_argument, NULL, option_limit},
        {"math", required_argument, NULL, option_math},
        {"predictions", required_argument, NULL, option_predictions},
        {"resume", required_argument, NULL, option_resume},
        {"sample", required_argument, NULL, option_sample},
        {"seed", required_argument, NULL, option_seed},
        {"skip-bad", no_argument, NULL, option_skip_bad},
        {"synsets", required_argument, NULL, option_synsets},
        {"threads", required_argument, NULL, 't'},
        {"val-dir", required_argument, NULL, option_val_dir},
        {"weights", required_argument, NULL, option_weights},
        {NULL, 0, NULL, 0},
    };
    *out = (anx_eval_options){.batch = default_batch};
    *stop = true;
    int option;
    while ((option = anx_cli_next_option(argc, argv, "", options)) != -1) {
        const int code = parse_option(option, out);
        if (code != ANX_EXIT_OK || option == ANX_CLI_STOP) return code;
    }
    if (optind < argc) return anx_cli_usage("unexpected argument '%s'", argv[optind]);
    const int code = check_together(out);
    *stop = code != ANX_EXIT_OK;
    return code;
}
