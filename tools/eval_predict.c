#include "tools/eval_predict.h"

#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/text.h"
#include "loaders/dataset/path_list.h"
#include "parity/device_facts.h"
#include "parity/evaluate.h"
#include "tools/common/cli.h"
#include "tools/common/engine_options.h"
#include "tools/common/model_classes.h"
#include "tools/eval_weights.h"

enum { most_at_once = 32 };

void anx_eval_predict_help(FILE *to) {
    fputs("usage: anx-eval predict [OPTIONS] IMAGE...\n\n"
          "Prints the five likeliest classes of each image (JPEG or PNG), preprocessed as torchvision's AlexNet\n"
          "weights ask. What a device has to note of itself goes to standard error.\n\n"
          "Options:\n"
          "  --weights FILE    the checkpoint (default: torchvision's published AlexNet in torch.hub's cache)\n"
          "  --accept-bad-crc  read a checkpoint whose records' CRC-32 do not match all the same\n"
          "  --device NAME     what computes (default auto):\n",
          to);
    anx_cli_list_devices(to);
    fputs("  --math MODE       float32 (default), tf32 or fast: what the device may compute with; one without\n"
          "                    such a choice stays with what it has\n"
          "  --threads N       threads to use (default: what affinity, cgroup and OMP_NUM_THREADS allow)\n"
          "  --data-dir DIR    where the data that comes with anx is: the names of ImageNet's classes\n"
          "  -h, --help        this text\n\n"
          "Examples:\n"
          "  anx-eval predict cat.jpg\n"
          "  anx-eval predict --weights my-finetuned.pth --device exact *.jpg\n\n"
          "Exit status: 0 as asked, 2 trouble (some file is no image; the others are shown), 64 wrong usage.\n",
          to);
}

typedef struct predict_options {
    const char *weights, *device, *data_dir;
    anx_math_mode math;
    int threads;
    bool accept_bad_crc;
} predict_options;

enum { option_weights = ANX_CLI_FIRST_LONG, option_accept_bad_crc, option_data_dir, option_math };

static int parse_option(int option, predict_options *o) {
    switch (option) {
    case option_accept_bad_crc: o->accept_bad_crc = true; return ANX_EXIT_OK;
    case option_weights: o->weights = optarg; return ANX_EXIT_OK;
    case option_data_dir: o->data_dir = optarg; return ANX_EXIT_OK;
    case 'd': o->device = optarg; return anx_cli_check_device(optarg);
    case option_math: return anx_cli_parse_math(optarg, &o->math);
    case 't': return anx_cli_parse_threads(optarg, &o->threads);
    default: return anx_cli_stop_code();
    }
}

static int parse_options(int argc, char **argv, predict_options *o, bool *stop) {
    static const struct option options[] = {
        {"accept-bad-crc", no_argument, NULL, option_accept_bad_crc},
        {"data-dir", required_argument, NULL, option_data_dir},
        {"device", required_argument, NULL, 'd'},
        {"math", required_argument, NULL, option_math},
        {"threads", required_argument, NULL, 't'},
        {"weights", required_argument, NULL, option_weights},
        {NULL, 0, NULL, 0},
    };
    *stop = true;
    int option;
    while ((option = anx_cli_next_option(argc, argv, "", options)) != -1) {
        const int code = parse_option(option, o);
        if (code != ANX_EXIT_OK || option == ANX_CLI_STOP) return code;
    }
    if (optind == argc) return anx_cli_usage("an image is missing");
    *stop = false;
    return ANX_EXIT_OK;
}

static void print_prediction(const anx_prediction *p, const char *path, const anx_class_names *names,
                             int64_t num_classes) {
    char shown[4096]; /* control characters must not reach a terminal */
    printf("%s\n", anx_text_printable(path, strlen(path), shown, sizeof shown));
    for (int i = 0; i < ANX_TOP && p->top[i] >= 0; i++) {
        const char *name = anx_class_name(names, num_classes, p->top[i]);
        const double share = 100.0 * (double)p->probability[i];
        if (name[0] != '\0')
            printf("  %d %9.4f %%  %s (%d)\n", i + 1, share, name, p->top[i]);
        else
            printf("  %d %9.4f %%  class %d\n", i + 1, share, p->top[i]);
    }
}

/* In the order the images were named; those that are none are named on standard error. */
static int print_all(const anx_evaluation *e, char **paths, const anx_class_names *names, int64_t num_classes) {
    for (int64_t i = 0; i < e->n_predictions; i++)
        print_prediction(&e->predictions[i], paths[e->predictions[i].file], names, num_classes);
    for (int64_t i = 0; i < e->n_bad; i++) anx_cli_say("%s", e->bad[i].reason);
    return e->n_bad > 0 ? ANX_EXIT_TROUBLE : ANX_EXIT_OK;
}

/* Of a device that has something to note, all that it tells. Classes alone go to standard output. */
static void say_device(const anx_device *device) {
    anx_device_info info;
    char words[ANX_DEVICE_WORDS];
    anx_device_describe(device, &info);
    if (info.notes == NULL || info.notes[0] == '\0') return;
    anx_cli_say("%s: %s", info.device, anx_device_format(&info, words));
    for (int i = 0; anx_device_line(&info, i, words); i++) anx_cli_say("%s", words);
}

static anx_status predict_all(const predict_options *o, const anx_model *model, char **paths, int n_paths,
                              anx_evaluation *evaluation, anx_error *err) {
    const anx_device_options device_options = {.threads = o->threads, .math = o->math};
    const anx_image_source source = anx_path_list_source((const char *const *)paths);
    int64_t *files = calloc((size_t)n_paths, sizeof *files);
    anx_device *device = NULL;
    anx_status status = files != NULL ? ANX_OK : anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    for (int i = 0; files != NULL && i < n_paths; i++) files[i] = i;
    if (status == ANX_OK)
        status = anx_device_open(o->device != NULL ? o->device : "auto", &device_options, &device, err);
    if (status == ANX_OK) {
        say_device(device);
        const anx_evaluate_options options = {.model = model,
                                              .device = device,
                                              .profile = &anx_preprocess_torchvision,
                                              .source = &source,
                                              .files = files,
                                              .n_files = n_paths,
                                              .batch = most_at_once,
                                              .threads = o->threads,
                                              .skip_bad = true};
        status = anx_evaluate(&options, evaluation, err);
    }
    anx_device_close(device);
    free(files);
    return status;
}

static int predict(const predict_options *o, char **paths, int n_paths) {
    anx_error err = ANX_ERROR_INIT;
    anx_evaluation evaluation = ANX_EVALUATION_INIT;
    anx_model_classes classes = ANX_MODEL_CLASSES_INIT;
    anx_eval_weights weights = ANX_EVAL_WEIGHTS_INIT;
    int code = anx_eval_weights_open(o->weights, o->accept_bad_crc, &weights);
    if (code != ANX_EXIT_OK) return code;
    const int64_t num_classes = weights.model->graph->num_classes;
    anx_status status = anx_model_classes_find(weights.checkpoint, num_classes, o->data_dir, &classes, &err);
    if (status == ANX_OK) status = predict_all(o, weights.model, paths, n_paths, &evaluation, &err);
    code = status == ANX_OK ? print_all(&evaluation, paths, classes.names, num_classes) : anx_cli_trouble(&err);
    anx_evaluation_fini(&evaluation);
    anx_model_classes_fini(&classes);
    anx_eval_weights_fini(&weights);
    return code;
}

int anx_eval_predict(int argc, char **argv) {
    predict_options o = {.weights = NULL};
    bool stop = true;
    const int code = parse_options(argc, argv, &o, &stop);
    return stop ? code : predict(&o, argv + optind, argc - optind);
}
