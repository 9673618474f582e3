#include "tools/benchmark/run.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/threads.h"
#include "tools/benchmark/cases.h"
#include "tools/common/cli.h"
#include "tools/common/engine_options.h"

enum { MAX_IMAGES = 400, MAX_BATCHES = 8, TRAIN_BATCH = 32, EXACT_BATCH = 8, MAX_STEPS = 1000 };

void bench_run_help(FILE *to) {
    fputs("usage: anx-bench run [OPTION]... WEIGHTS.pth\n"
          "       tools/bench [OPTION]... [WEIGHTS.pth]   builds first; default: PyTorch's seed 0\n\n"
          "Measures forward passes, training, loading, preprocessing, whole evaluations, the start of a process, a\n"
          "whole check and conversions; beside PyTorch, taken in turns, where a Python that has it is named; and what\n"
          "this machine can do at most.\n\n"
          "Options:\n"
          "  --only NAME[,NAME]  of forward, load, start, preprocess, pipeline, evaluate, check, convert, train, sgd,\n"
          "                      input (default: all)\n"
          "  --batches N[,N]     of the forward passes (default: 1,8,32,128)\n"
          "  --device NAME       what computes (default: cpu), for PyTorch too where it is a GPU\n"
          "  --math MODE         float32 (default), tf32 or fast: what it may compute with, and PyTorch too\n"
          "  --threads N         default: what affinity and cgroup allow\n"
          "  --repeats N         runs of each, from which the median is taken (default: 7, at most 64)\n"
          "  --images FOLDER     JPEG and PNG files for all that needs images, at most 400 (default: none of that)\n"
          "  --python FILE       a Python with torch, torchvision and Pillow; a name without a slash is one in PATH\n"
          "  --peer FILE         PyTorch's side (default: beside the sources, tools/benchmark/peer.py)\n"
          "  --json FILE         write the results there too ('-': to standard output, the table to standard error)\n"
          "  -h, --help          this text\n\n"
          "Timings need a quiet machine. On a GPU sgd falls away, which is part of train there.\n"
          "Exit status: 0 measured; 2 trouble, also where PyTorch fails, without which all else is measured and\n"
          "reported; 64 wrong usage.\n",
          to);
}

typedef struct run_options {
    const char *only, *images, *python, *peer, *json, *weights;
    int64_t batches[MAX_BATCHES], threads, repeats;
    int n_batches;
    bench_engine engine;
} run_options;

/* Whether the list, of names with commas between, has that one. */
static bool has_name(const char *list, const char *name, size_t length) {
    for (const char *at = list; *at != '\0';) {
        const size_t item = strcspn(at, ",");
        if (item == length && strncmp(at, name, length) == 0) return true;
        at += item + (at[item] == ',');
    }
    return false;
}

static bool wanted(const run_options *o, const char *name) {
    return o->only == NULL || has_name(o->only, name, strlen(name));
}

static bool only_known(const char *list) {
    for (const char *at = list; *at != '\0';) {
        const size_t item = strcspn(at, ",");
        if (!has_name("forward,load,start,preprocess,pipeline,evaluate,check,convert,train,sgd,input", at, item))
            return false;
        at += item + (at[item] == ',');
    }
    return *list != '\0';
}

static bool parse_batches(const char *text, run_options *o) {
    char item[32];
    o->n_batches = 0;
    while (*text != '\0') {
        const size_t length = strcspn(text, ",");
        if (length >= sizeof item || o->n_batches == MAX_BATCHES) return false;
        memcpy(item, text, length);
        item[length] = '\0';
        if (!anx_cli_parse_i64(item, 1, 4096, &o->batches[o->n_batches++])) return false;
        text += length + (text[length] == ',');
    }
    return o->n_batches > 0;
}

/* --device and --math. ANX_EXIT_OK, or the code to end with. */
static int parse_engine(int option, bench_engine *engine) {
    if (option == 'm') return anx_cli_parse_math(optarg, &engine->math);
    engine->device = optarg;
    if (strcmp(optarg, "auto") == 0)
        return anx_cli_usage("--device auto may be another one tomorrow: name what is measured");
    return anx_cli_check_device(optarg);
}

/* ANX_EXIT_OK, or the code to end with. */
static int parse_option(int option, run_options *o) {
    switch (option) {
    case 'o':
        o->only = optarg;
        return only_known(optarg) ? ANX_EXIT_OK : anx_cli_usage("--only '%s' names what is not measured", optarg);
    case 'b':
        return parse_batches(optarg, o) ? ANX_EXIT_OK : anx_cli_usage("--batches '%s' is no list of sizes", optarg);
    case 't':
        if (!anx_cli_parse_i64(optarg, 1, 1024, &o->threads))
            return anx_cli_usage("--threads '%s' is no number", optarg);
        return ANX_EXIT_OK;
    case 'd':
    case 'm': return parse_engine(option, &o->engine);
    case 'r':
        if (!anx_cli_parse_i64(optarg, 1, BENCH_MAX_RUNS, &o->repeats))
            return anx_cli_usage("--repeats '%s' is not from 1 to %d", optarg, BENCH_MAX_RUNS);
        return ANX_EXIT_OK;
    case 'i': o->images = optarg; return ANX_EXIT_OK;
    case 'p': o->python = optarg; return ANX_EXIT_OK;
    case 'e': o->peer = optarg; return ANX_EXIT_OK;
    case 'j': o->json = optarg; return ANX_EXIT_OK;
    default: return anx_cli_stop_code();
    }
}

static int parse(int argc, char **argv, run_options *o) {
    static const struct option options[] = {
        {"only", required_argument, NULL, 'o'},
        {"batches", required_argument, NULL, 'b'},
        {"device", required_argument, NULL, 'd'},
        {"math", required_argument, NULL, 'm'},
        {"threads", required_argument, NULL, 't'},
        {"repeats", required_argument, NULL, 'r'},
        {"images", required_argument, NULL, 'i'},
        {"python", required_argument, NULL, 'p'},
        {"peer", required_argument, NULL, 'e'},
        {"json", required_argument, NULL, 'j'},
        {NULL, 0, NULL, 0},
    };
    int code = ANX_EXIT_OK;
    for (int option; code == ANX_EXIT_OK && (option = anx_cli_next_option(argc, argv, "", options)) != -1;) {
        if (option == ANX_CLI_STOP) return -1;
        code = parse_option(option, o);
    }
    if (code != ANX_EXIT_OK) return code;
    if (optind + 1 != argc) return anx_cli_usage("one checkpoint is measured, %d are given", argc - optind);
    o->weights = argv[optind];
    return ANX_EXIT_OK;
}

/* ---- what is found -------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_image(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot != NULL &&
           (strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0 || strcasecmp(dot, ".png") == 0);
}

/* The folder's images, in order of their names; each is malloc'd. */
static anx_status find_images(const char *folder, char **images, int *n_images, anx_error *err) {
    DIR *dir = opendir(folder);
    if (dir == NULL) return anx_error_set_errno(err, ANX_ERR_NOT_FOUND, errno, "cannot open the folder %s", folder);
    for (const struct dirent *entry; *n_images < MAX_IMAGES && (entry = readdir(dir)) != NULL;)
        if (is_image(entry->d_name) && asprintf(&images[*n_images], "%s/%s", folder, entry->d_name) > 0) ++*n_images;
    closedir(dir);
    qsort(images, (size_t)*n_images, sizeof *images, by_name);
    if (*n_images == 0) return anx_error_set(err, ANX_ERR_NOT_FOUND, "no JPEG or PNG in %s", folder);
    return ANX_OK;
}

static void find_cpu(char *name, size_t size) {
    snprintf(name, size, "unknown processor");
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[512];
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || colon == NULL) continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(name, size, "%s", colon + 2);
        break;
    }
    if (f != NULL) fclose(f);
}

/* This program's own path, and those of the commands beside it. */
static anx_status find_programs(char *self, char *parity, char *convert, size_t size, anx_error *err) {
    const ssize_t n = readlink("/proc/self/exe", self, size - 1);
    if (n < 0) return anx_error_set_errno(err, ANX_ERR_IO, errno, "cannot find this program");
    self[n] = '\0';
    const char *slash = strrchr(self, '/');
    const int folder = slash != NULL ? (int)(slash - self) : 0;
    if (snprintf(parity, size, "%.*s/anx-parity", folder, self) >= (int)size ||
        snprintf(convert, size, "%.*s/anx-convert", folder, self) >= (int)size)
        return anx_error_set(err, ANX_ERR_LIMIT, "the path of this program is too long");
    return ANX_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------ */

/*
 * Whole processes come first, while this one is small: the kernel counts the memory of whoever starts a program into
 * that program's largest resident memory.
 */
static anx_status measure_processes(bench_context *context, const run_options *o, bench_report *report,
                                    anx_error *err) {
    anx_status status = ANX_OK;
    if (wanted(o, "start")) status = bench_start(context, &report->rows[report->n_rows++], err);
    if (status == ANX_OK && wanted(o, "train"))
        status = bench_train_process(context, TRAIN_BATCH, &report->rows[report->n_rows++], err);
    if (status == ANX_OK && wanted(o, "check")) status = bench_check(context, &report->rows[report->n_rows++], err);
    static const char *const formats[] = {"pth", "safetensors", "bin"};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0] && status == ANX_OK && wanted(o, "convert"); i++)
        status = bench_convert(context, formats[i], &report->rows[report->n_rows++], err);
    return status;
}

static anx_status measure_images(bench_context *context, const run_options *o, bench_report *report, anx_error *err) {
    anx_status status = ANX_OK;
    if (context->n_images == 0) return ANX_OK;
    if (wanted(o, "preprocess")) status = bench_preprocess(context, &report->rows[report->n_rows++], err);
    if (status == ANX_OK && wanted(o, "pipeline"))
        status = bench_pipeline(context, 1, &report->rows[report->n_rows++], err);
    if (status == ANX_OK && wanted(o, "pipeline") && context->threads > 1)
        status = bench_pipeline(context, context->threads, &report->rows[report->n_rows++], err);
    if (status == ANX_OK && wanted(o, "evaluate"))
        status = bench_evaluate(context, &report->rows[report->n_rows++], err);
    return status;
}

static anx_status measure_inputs(bench_context *context, bench_report *report, anx_error *err) {
    anx_status status = ANX_OK;
    if (context->n_images == 0) return ANX_OK;
    for (int threads = 1; threads <= context->threads && status == ANX_OK;
         threads = threads < context->threads ? context->threads : threads + 1)
        for (int independent = 0; independent < 2 && status == ANX_OK; independent++)
            status = bench_training_input(context, threads, independent != 0, &report->rows[report->n_rows++], err);
    return status;
}

static anx_status measure_training(bench_context *context, const run_options *o, bench_report *report, anx_error *err) {
    anx_status status = ANX_OK;
    if (wanted(o, "sgd") && bench_engine_is_processor(&context->engine))
        status = bench_optimizer(context, &report->rows[report->n_rows++], err);
    if (status == ANX_OK && wanted(o, "train"))
        status = bench_train(context, &context->engine, TRAIN_BATCH, &report->rows[report->n_rows++], err);
    if (status == ANX_OK && wanted(o, "train"))
        status = bench_train_head(context, TRAIN_BATCH, &report->rows[report->n_rows++], err);
    const bench_engine exact = {.device = "exact", .threads = 1};
    if (status == ANX_OK && wanted(o, "train") && bench_engine_is_processor(&context->engine))
        status = bench_train(context, &exact, EXACT_BATCH, &report->rows[report->n_rows++], err);
    if (status == ANX_OK && wanted(o, "input")) status = measure_inputs(context, report, err);
    return status;
}

static anx_status measure_calls(bench_context *context, const run_options *o, bench_report *report, anx_error *err) {
    anx_status status = ANX_OK;
    for (int i = 0; i < o->n_batches && status == ANX_OK && wanted(o, "forward"); i++)
        status = bench_forward(context, o->batches[i], &report->rows[report->n_rows++], err);
    if (status == ANX_OK && wanted(o, "load")) status = bench_load(context, &report->rows[report->n_rows++], err);
    if (status == ANX_OK) status = measure_images(context, o, report, err);
    if (status == ANX_OK) status = measure_training(context, o, report, err);
    return status;
}

/* What it does not come to is its own trouble: anx is measured without it. */
static void start_peer(bench_context *context, bench_report *report) {
    anx_error err = ANX_ERROR_INIT;
    if (context->python == NULL) return;
    const anx_status status = bench_peer_start(context->python, context->peer_script, context->weights,
                                               context->threads, bench_torch_device(&context->engine),
                                               anx_math_mode_name(context->engine.math), &context->peer, &err);
    if (status == ANX_OK)
        snprintf(report->torch, sizeof report->torch, "%s", bench_peer_version(context->peer));
    else
        snprintf(context->torch_trouble, sizeof context->torch_trouble, "%.200s", err.message);
}

static bool lacks_torch(const bench_report *report) {
    bool lacks = report->torch_trouble[0] != '\0';
    for (int i = 0; i < report->n_rows; i++) lacks = lacks || report->rows[i].torch.trouble[0] != '\0';
    return lacks;
}

static anx_status prepare(bench_context *context, const run_options *o, anx_checkpoint **checkpoint,
                          bench_report *report, anx_error *err) {
    anx_status status = anx_checkpoint_open(o->weights, NULL, checkpoint, err);
    if (status == ANX_OK) status = anx_model_bind(*checkpoint, NULL, 0, 0, &context->model, err);
    if (status == ANX_OK) status = bench_engine_open(&context->engine, &context->device, err);
    report->is_processor = bench_engine_is_processor(&context->engine);
    if (status == ANX_OK && report->is_processor)
        status = bench_measure_limits(context->threads, &context->limits, err);
    if (status != ANX_OK) return status;
    anx_device_describe(context->device, &report->info);
    report->device = context->engine.device;
    report->limits = context->limits;
    find_cpu(report->cpu, sizeof report->cpu);
    start_peer(context, report);
    return ANX_OK;
}

static anx_status run(const run_options *o, anx_error *err) {
    static bench_report report;
    static char self[4096], parity[4096], convert[4096];
    char *images[MAX_IMAGES] = {NULL};
    int n_images = 0;
    anx_checkpoint *checkpoint = NULL;
    bench_context context = {.weights = o->weights,
                             .python = o->python,
                             .peer_script = o->peer,
                             .images = (const char *const *)images,
                             .self = self,
                             .anx_parity = parity,
                             .anx_convert = convert,
                             .engine = o->engine,
                             .threads = (int)o->threads,
                             .repeats = (int)o->repeats};
    anx_status status = find_programs(self, parity, convert, sizeof self, err);
    if (status == ANX_OK && o->images != NULL) status = find_images(o->images, images, &n_images, err);
    context.n_images = n_images;
    context.engine.threads = context.threads;
    report.threads = (int)o->threads;
    report.repeats = (int)o->repeats;
    if (status == ANX_OK) status = measure_processes(&context, o, &report, err);
    if (status == ANX_OK) status = prepare(&context, o, &checkpoint, &report, err);
    if (status == ANX_OK) status = measure_calls(&context, o, &report, err);
    const bool taken = anx_cli_is_standard_output(o->json);
    memcpy(report.torch_trouble, context.torch_trouble, sizeof report.torch_trouble);
    if (status == ANX_OK) bench_report_text(&report, taken ? stderr : stdout);
    if (status == ANX_OK && o->json != NULL) status = bench_report_json(&report, o->json, err);
    if (status == ANX_OK && lacks_torch(&report))
        status = anx_error_set(err, ANX_ERR_UNSUPPORTED, "PyTorch could not be measured beside all of it");
    bench_peer_stop(context.peer);
    anx_device_close(context.device);
    anx_model_destroy(context.model);
    anx_checkpoint_close(checkpoint);
    for (int i = 0; i < n_images; i++) free(images[i]);
    return status;
}

int bench_run(int argc, char **argv) {
    run_options o = {.batches = {1, 8, 32, 128},
                     .n_batches = 4,
                     .repeats = 7,
                     .threads = anx_threads_available(),
                     .peer = ANX_BENCH_PEER,
                     .engine = {.device = "cpu"}};
    const int code = parse(argc, argv, &o);
    if (code != ANX_EXIT_OK) return code < 0 ? anx_cli_stop_code() : code;
    anx_error err = ANX_ERROR_INIT;
    return run(&o, &err) == ANX_OK ? ANX_EXIT_OK : anx_cli_trouble(&err);
}

/* ---- steps ---------------------------------------------------------------------------------------------- */

void bench_steps_help(FILE *to) {
    fputs("usage: anx-bench steps [OPTION]... WEIGHTS.pth\n\n"
          "Opens the checkpoint, takes a few steps of training on numbers made up, and ends: what `anx-bench run`\n"
          "measures as 'steps', and what profilers can be run on.\n\n"
          "Options:\n"
          "  --batch N           images of a step (default: 32)\n"
          "  --device NAME       default: cpu\n"
          "  --math MODE         float32 (default), tf32 or fast\n"
          "  --steps N           default: 3, at most 1000\n"
          "  --threads N         default: what affinity and cgroup allow\n"
          "  -h, --help          this text\n",
          to);
}

int bench_steps(int argc, char **argv) {
    static const struct option options[] = {
        {"batch", required_argument, NULL, 'b'},   {"device", required_argument, NULL, 'd'},
        {"math", required_argument, NULL, 'm'},    {"steps", required_argument, NULL, 's'},
        {"threads", required_argument, NULL, 't'}, {NULL, 0, NULL, 0}};
    int64_t batch = TRAIN_BATCH, steps = 3, threads = 0;
    bench_engine engine = {.device = "cpu"};
    for (int option; (option = anx_cli_next_option(argc, argv, "", options)) != -1;) {
        if (option == 'b') {
            if (!anx_cli_parse_i64(optarg, 1, 4096, &batch)) return anx_cli_usage("--batch '%s' is no size", optarg);
        } else if (option == 'd' || option == 'm') {
            const int code = parse_engine(option, &engine);
            if (code != ANX_EXIT_OK) return code;
        } else if (option == 's') {
            if (!anx_cli_parse_i64(optarg, 1, MAX_STEPS, &steps))
                return anx_cli_usage("--steps '%s' is not from 1 to %d", optarg, MAX_STEPS);
        } else if (option == 't') {
            if (!anx_cli_parse_i64(optarg, 1, 1024, &threads))
                return anx_cli_usage("--threads '%s' is no number", optarg);
        } else {
            return anx_cli_stop_code();
        }
    }
    if (optind + 1 != argc) return anx_cli_usage("one checkpoint is opened, %d are given", argc - optind);
    anx_error err = ANX_ERROR_INIT;
    engine.threads = (int)threads;
    const anx_status status = bench_train_steps(argv[optind], &engine, batch, steps, &err);
    return status == ANX_OK ? ANX_EXIT_OK : anx_cli_trouble(&err);
}

/* ---- first ---------------------------------------------------------------------------------------------- */

void bench_first_help(FILE *to) {
    fputs("usage: anx-bench first [--device NAME] [--math MODE] [--threads N] WEIGHTS.pth\n\n"
          "Opens the checkpoint, runs one grey image through it and ends: what `anx-bench run` measures as 'start'.\n",
          to);
}

int bench_first(int argc, char **argv) {
    static const struct option options[] = {{"device", required_argument, NULL, 'd'},
                                            {"math", required_argument, NULL, 'm'},
                                            {"threads", required_argument, NULL, 't'},
                                            {NULL, 0, NULL, 0}};
    int64_t threads = 0;
    bench_engine engine = {.device = "cpu"};
    for (int option; (option = anx_cli_next_option(argc, argv, "", options)) != -1;) {
        if (option == ANX_CLI_STOP) return anx_cli_stop_code();
        const int code = option != 't' ? parse_engine(option, &engine) : ANX_EXIT_OK;
        if (code != ANX_EXIT_OK) return code;
        if (option == 't' && !anx_cli_parse_i64(optarg, 1, 1024, &threads))
            return anx_cli_usage("--threads '%s' is no number", optarg);
    }
    if (optind + 1 != argc) return anx_cli_usage("one checkpoint is opened, %d are given", argc - optind);
    anx_error err = ANX_ERROR_INIT;
    engine.threads = (int)threads;
    return bench_first_output(argv[optind], &engine, &err) == ANX_OK ? ANX_EXIT_OK : anx_cli_trouble(&err);
}
