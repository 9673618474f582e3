#include "tools/convert_init.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "loaders/checkpoint/arch_modules.h"
#include "loaders/checkpoint/pth_writer.h"
#include "src/train/init.h"
#include "tools/common/cli.h"

static void list_archs(FILE *to) {
    for (int i = 0; anx_arch_at(i) != NULL; i++)
        if (!anx_arch_at(i)->internal) fprintf(to, "      %-10s %s\n", anx_arch_at(i)->name, anx_arch_at(i)->summary);
}

void anx_convert_init_help(FILE *to) {
    fputs("usage: anx-convert init --arch NAME --seed N [--num-classes K] -o FILE.pth [--force]\n\n"
          "Writes the weights that PyTorch gives a new model:\n\n"
          "  torch.manual_seed(N)\n"
          "  model = torchvision.models.NAME(num_classes=K)\n"
          "  torch.save(model.state_dict(), \"FILE.pth\")\n\n"
          "byte for byte as PyTorch 2.15 writes that file on Linux. torch.load(FILE, weights_only=True) reads it,\n"
          "in PyTorch 1.13 and newer.\n\n"
          "Options:\n"
          "  --arch NAME      the architecture:\n",
          to);
    list_archs(to);
    fputs("  --seed N         what torch.manual_seed takes: a whole number from -2^63 to 2^64-1\n"
          "  --num-classes K  outputs of the last layer, 1 or more (default: the architecture's own)\n"
          "  -o, --output FILE.pth\n"
          "                   the file to write. Its name becomes the folder inside the archive, as torch.save\n"
          "                   does it: the same weights under another name are another file.\n"
          "  --force          overwrite FILE.pth if it exists\n"
          "  -h, --help       this text\n\n"
          "Examples:\n"
          "  anx-convert init --arch alexnet --seed 0 -o alexnet-seed0.pth\n"
          "  anx-convert init --arch alexnet --seed -1 --num-classes 10 -o build/ten.pth --force\n\n"
          "Exit status: 0 written, 2 could not be written, 64 wrong usage.\n",
          to);
}

typedef struct init_options {
    const anx_arch *arch;
    const char *seed_text, *output;
    uint64_t seed;
    int64_t num_classes; /* 0: the architecture's default */
    bool force;
} init_options;

static int find_arch(const char *name, init_options *o) {
    o->arch = anx_arch_find(name);
    if (o->arch != NULL) return ANX_EXIT_OK;
    char known[1024] = "";
    for (int i = 0; anx_arch_at(i) != NULL; i++) {
        const size_t used = strlen(known);
        if (!anx_arch_at(i)->internal)
            snprintf(known + used, sizeof known - used, "%s%s", used > 0 ? ", " : "", anx_arch_at(i)->name);
    }
    return anx_cli_usage("unknown architecture '%s'; there is: %s", name, known);
}

/* ANX_EXIT_OK, or the code to end with. */
static int parse_option(int option, init_options *o) {
    switch (option) {
    case 'a': return find_arch(optarg, o);
    case 's':
        o->seed_text = optarg;
        if (!anx_cli_parse_seed(optarg, &o->seed))
            return anx_cli_usage("--seed '%s' is not a whole number from -9223372036854775808 to 18446744073709551615, "
                                 "which torch.manual_seed takes",
                                 optarg);
        return ANX_EXIT_OK;
    case 'k':
        if (!anx_cli_parse_i64(optarg, 1, INT64_MAX, &o->num_classes))
            return anx_cli_usage("--num-classes '%s' is not a whole number, 1 or more", optarg);
        return ANX_EXIT_OK;
    case 'o': o->output = optarg; return ANX_EXIT_OK;
    case 'f': o->force = true; return ANX_EXIT_OK;
    default: return anx_cli_stop_code();
    }
}

static int parse_options(int argc, char **argv, init_options *o, bool *stop) {
    static const struct option options[] = {
        {"arch", required_argument, NULL, 'a'},
        {"seed", required_argument, NULL, 's'},
        {"num-classes", required_argument, NULL, 'k'},
        {"output", required_argument, NULL, 'o'},
        {"force", no_argument, NULL, 'f'},
        {NULL, 0, NULL, 0},
    };
    *stop = true;
    int option;
    while ((option = anx_cli_next_option(argc, argv, "o:", options)) != -1) {
        const int code = parse_option(option, o);
        if (code != ANX_EXIT_OK || option == ANX_CLI_STOP) return code;
    }
    if (optind < argc) return anx_cli_usage("unexpected argument '%s'", argv[optind]);
    if (o->arch == NULL) return anx_cli_usage("--arch is missing");
    if (o->seed_text == NULL) return anx_cli_usage("--seed is missing");
    if (o->output == NULL) return anx_cli_usage("-o is missing: the file to write");
    if (anx_cli_is_standard_output(o->output))
        return anx_cli_usage("init writes a file, not to standard output; a file of that name is ./-");
    *stop = false;
    return ANX_EXIT_OK;
}

/* Draws the tensors' values as the file is written: no copy of the model is kept. */
typedef struct drawing {
    anx_mt19937 gen;
    const anx_graph *graph;
} drawing;

static anx_status draw(void *user, size_t item, void *buf, size_t n_bytes, anx_error *err) {
    drawing *d = user;
    (void)err;
    anx_init_draw(&d->gen, &d->graph->params[item], n_bytes / sizeof(float), buf);
    return ANX_OK;
}

/* The parameters as tensors without data. */
static anx_status describe(const anx_graph *graph, anx_state_dict *dict, anx_error *err) {
    for (int i = 0; i < graph->n_params; i++) {
        const anx_param *p = &graph->params[i];
        const anx_tensor t = anx_tensor_view(ANX_F32, p->rank, p->shape, NULL);
        anx_status status = anx_state_dict_add(dict, p->name, &t, err);
        if (status != ANX_OK) return status;
    }
    return ANX_OK;
}

static anx_status write_checkpoint(const init_options *o, const anx_graph *graph, anx_error *err) {
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    anx_arch_modules modules = ANX_ARCH_MODULES_INIT;
    drawing d = {.graph = graph};
    const anx_pth_source source = {.read = draw, .user = &d};
    anx_mt19937_seed(&d.gen, o->seed);
    anx_status status = anx_arch_modules_list(graph->arch, &modules, err);
    if (status == ANX_OK) status = describe(graph, &dict, err);
    if (status == ANX_OK) {
        const anx_pth_options options = {.modules = (const char *const *)modules.names,
                                         .n_modules = modules.n,
                                         .source = &source,
                                         .force = o->force};
        status = anx_pth_write(o->output, &dict, &options, err);
    }
    anx_arch_modules_fini(&modules);
    anx_state_dict_fini(&dict);
    return status;
}

static void print_written(const init_options *o, const anx_graph *graph) {
    struct stat st;
    const long long n_bytes = stat(o->output, &st) == 0 ? (long long)st.st_size : 0;
    printf("%s: %s, seed %s, %" PRId64 " class%s, %" PRId64 " parameters, %lld bytes\n", o->output, o->arch->name,
           o->seed_text, graph->num_classes, graph->num_classes == 1 ? "" : "es", anx_graph_param_elems(graph),
           n_bytes);
}

int anx_convert_init(int argc, char **argv) {
    init_options o = {.arch = NULL};
    bool stop;
    const int code = parse_options(argc, argv, &o, &stop);
    if (stop) return code;
    anx_error err = ANX_ERROR_INIT;
    anx_graph *graph = NULL;
    if (anx_graph_create(o.arch, o.num_classes, 0, 0, &graph, &err) != ANX_OK)
        return anx_cli_usage("--num-classes %" PRId64 ": %s", o.num_classes, err.message);
    const anx_status status = write_checkpoint(&o, graph, &err);
    if (status == ANX_OK) print_written(&o, graph);
    anx_graph_destroy(graph);
    switch (status) {
    case ANX_OK: return ANX_EXIT_OK;
    case ANX_ERR_INVALID_ARGUMENT: return anx_cli_usage("%s: %s", o.output, err.message);
    case ANX_ERR_EXISTS:
        anx_cli_trouble(&err);
        anx_cli_say("--force overwrites it");
        return ANX_EXIT_TROUBLE;
    default: return anx_cli_trouble(&err);
    }
}
