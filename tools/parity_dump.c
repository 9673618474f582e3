#include "tools/parity_dump.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint.h"
#include "loaders/checkpoint/safetensors.h"
#include "loaders/file.h"
#include "loaders/image/preprocess.h"
#include "parity/points.h"
#include "src/backend/backend.h"
#include "src/base/version.h"
#include "tools/common/cli.h"
#include "tools/common/engine_options.h"
#include "tools/parity_options.h"

void anx_parity_dump_help(FILE *to) {
    fputs("usage: anx-parity dump [OPTIONS] (--image FILE | --input FILE.safetensors) -o OUT.safetensors CHECKPOINT\n\n"
          "Writes what preprocessing and the network make of one input, point by point, as safetensors: image,\n"
          "resize and crop as uint8 (height, width, 3); scaled and input as float32 (3, height, width); then every\n"
          "module's output under PyTorch's name, float32 (N, ...), before a following in-place ReLU; flatten,\n"
          "logits and prob.\n\n"
          "Options:\n"
          "  --image FILE      a JPEG or PNG, preprocessed as torchvision's AlexNet weights ask\n"
          "  --input FILE      a safetensors file whose tensor 'input', (N, 3, H, W), is taken as it is\n"
          "  -o, --output FILE the file to write\n"
          "  --accept-bad-crc  read a checkpoint whose records' CRC-32 do not match all the same\n"
          "  --force           overwrite it if it exists\n"
          "  --points GLOBS    only these points: features.*,logits (quote them from the shell)\n"
          "  --device NAME     what computes (default auto):\n",
          to);
    anx_cli_list_devices(to);
    fputs("  --math MODE       float32 (default), tf32 or fast: what the device may compute with; one without\n"
          "                    such a choice stays with what it has\n"
          "  --threads N       threads to use (default: what affinity, cgroup and OMP_NUM_THREADS\n"
          "                    allow)\n"
          "  -h, --help        this text\n\n"
          "Examples:\n"
          "  anx-parity dump --image photo.jpg -o values.safetensors alexnet-seed0.pth\n"
          "  anx-parity dump --input batch.safetensors --device exact --points 'classifier.*' -o fc.safetensors \\\n"
          "      alexnet-seed0.pth\n"
          "  python3 -c \"from safetensors.torch import load_file; print(load_file('values.safetensors').keys())\"\n\n"
          "Exit status: 0 written, 2 trouble (a bad file, no such device), 64 wrong usage.\n",
          to);
}

typedef struct dump_options {
    const char *checkpoint, *image, *input, *output, *points, *device;
    anx_math_mode math;
    int threads;
    bool force, accept_bad_crc;
} dump_options;

static int parse_option(int option, dump_options *o) {
    switch (option) {
    case 'i': o->image = optarg; return ANX_EXIT_OK;
    case 'n': o->input = optarg; return ANX_EXIT_OK;
    case 'o': o->output = optarg; return ANX_EXIT_OK;
    case 'c': o->accept_bad_crc = true; return ANX_EXIT_OK;
    case 'f': o->force = true; return ANX_EXIT_OK;
    case 'p': o->points = optarg; return anx_parity_check_points(optarg);
    case 'd': o->device = optarg; return anx_cli_check_device(optarg);
    case 'm': return anx_cli_parse_math(optarg, &o->math);
    case 't': return anx_cli_parse_threads(optarg, &o->threads);
    default: return anx_cli_stop_code();
    }
}

static int parse_options(int argc, char **argv, dump_options *o, bool *stop) {
    static const struct option options[] = {
        {"accept-bad-crc", no_argument, NULL, 'c'}, {"device", required_argument, NULL, 'd'},
        {"force", no_argument, NULL, 'f'},          {"image", required_argument, NULL, 'i'},
        {"input", required_argument, NULL, 'n'},    {"math", required_argument, NULL, 'm'},
        {"output", required_argument, NULL, 'o'},   {"points", required_argument, NULL, 'p'},
        {"threads", required_argument, NULL, 't'},  {NULL, 0, NULL, 0},
    };
    *stop = true;
    int option;
    while ((option = anx_cli_next_option(argc, argv, "o:", options)) != -1) {
        const int code = parse_option(option, o);
        if (code != ANX_EXIT_OK || option == ANX_CLI_STOP) return code;
    }
    if (optind == argc) return anx_cli_usage("a checkpoint is missing");
    if (optind + 1 < argc) return anx_cli_usage("unexpected argument '%s'", argv[optind + 1]);
    if ((o->image == NULL) == (o->input == NULL)) return anx_cli_usage("give either --image or --input");
    if (o->output == NULL) return anx_cli_usage("-o is missing: the file to write");
    if (strcmp(o->output, "-") == 0)
        return anx_cli_usage("-o -: a dump is written to a file, not to standard output (./- names a file called '-')");
    o->checkpoint = argv[optind];
    *stop = false;
    return ANX_EXIT_OK;
}

/* ---- what is dumped ---- */

typedef struct dumping {
    const dump_options *options;
    anx_state_dict points; /* what will be written */
    anx_tensor input;      /* float32 (N, C, H, W), owned */
} dumping;

static bool wanted(const dumping *d, const char *name) {
    return anx_points_match(d->options->points, name);
}

/* A copy of the tensor's elements under that name. */
static anx_status add_copy(dumping *d, const char *name, const anx_tensor *t, anx_error *err) {
    if (!wanted(d, name)) return ANX_OK;
    anx_tensor copy = ANX_TENSOR_INIT;
    anx_status status = anx_tensor_convert(t, t->dtype, &copy, err);
    if (status == ANX_OK) status = anx_state_dict_add(&d->points, name, &copy, err);
    if (status != ANX_OK) anx_tensor_fini(&copy);
    return status;
}

static anx_status add_image(dumping *d, const char *name, const anx_image *image, anx_error *err) {
    const int64_t shape[3] = {image->height, image->width, 3};
    const anx_tensor t = anx_tensor_view(ANX_U8, 3, shape, image->pixels);
    return add_copy(d, name, &t, err);
}

static anx_status preprocess_image(dumping *d, anx_error *err) {
    const char *path = d->options->image;
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    anx_preprocess_stages s = ANX_PREPROCESS_STAGES_INIT;
    anx_status status = anx_read_file(path, &bytes, &n_bytes, err);
    if (status == ANX_OK) status = anx_preprocess_staged(&anx_preprocess_torchvision, bytes, n_bytes, path, &s, err);
    if (status == ANX_OK) status = add_image(d, "image", &s.image, err);
    if (status == ANX_OK) status = add_image(d, "resize", &s.resize, err);
    if (status == ANX_OK) status = add_image(d, "crop", &s.crop, err);
    if (status == ANX_OK) status = add_copy(d, "scaled", &s.scaled, err);
    if (status == ANX_OK) status = add_copy(d, "input", &s.input, err);
    if (status == ANX_OK) { /* one image is a batch of one */
        const int64_t shape[4] = {1, s.input.shape[0], s.input.shape[1], s.input.shape[2]};
        const anx_tensor batch = anx_tensor_view(ANX_F32, 4, shape, s.input.data);
        status = anx_tensor_convert(&batch, ANX_F32, &d->input, err);
    }
    anx_preprocess_stages_fini(&s);
    free(bytes);
    return status;
}

/* The names in a file, for a message; cut where there are many. */
static void list_names(const anx_state_dict *dict, char *buf, size_t size) {
    size_t used = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < dict->count && used + 80 < size; i++)
        used += (size_t)snprintf(buf + used, size - used, "%s%.60s", i > 0 ? ", " : "", dict->items[i].name);
    if (dict->count == 0) snprintf(buf, size, "nothing");
}

static anx_status take_input(dumping *d, const anx_safetensors *file, int64_t channels, anx_error *err) {
    const anx_tensor *t = anx_state_dict_find(&file->tensors, "input");
    char text[512];
    if (t == NULL) {
        list_names(&file->tensors, text, sizeof text);
        return anx_error_set(err, ANX_ERR_NOT_FOUND, "has no tensor named 'input'; it holds: %s", text);
    }
    if (!anx_dtype_is_float(t->dtype) || t->rank != 4 || t->shape[1] != channels || anx_tensor_elems(t) == 0)
        return anx_error_set(err, ANX_ERR_MISMATCH,
                             "the tensor 'input' is %s %s; floating point of shape (N, %" PRId64 ", H, W) was expected",
                             anx_dtype_name(t->dtype), anx_shape_format(t->rank, t->shape, text, sizeof text),
                             channels);
    const anx_status status = anx_tensor_convert(t, ANX_F32, &d->input, err);
    return status != ANX_OK ? status : add_copy(d, "input", &d->input, err);
}

static anx_status read_input(dumping *d, int64_t channels, anx_error *err) {
    anx_safetensors *file = NULL;
    anx_status status = anx_safetensors_open(d->options->input, &file, err);
    if (status != ANX_OK) return status;
    status = take_input(d, file, channels, err);
    if (status != ANX_OK) anx_error_in_file(err, d->options->input);
    anx_safetensors_close(file);
    return status;
}

/* ---- running ---- */

/* A node's output under that name. */
static anx_status add_node(dumping *d, anx_device *device, anx_plan *plan, int node, const char *name, anx_error *err) {
    if (!wanted(d, name)) return ANX_OK;
    int64_t shape[4];
    anx_tensor t = ANX_TENSOR_INIT;
    const int rank = anx_plan_value_shape(plan, anx_value_output(node), shape);
    anx_status status = anx_tensor_alloc(ANX_F32, rank, shape, &t, err);
    if (status == ANX_OK) status = anx_plan_read(plan, anx_value_output(node), &t, err);
    if (status == ANX_OK) status = anx_device_sync(device, err);
    if (status == ANX_OK) status = anx_state_dict_add(&d->points, name, &t, err);
    if (status != ANX_OK) anx_tensor_fini(&t);
    return status;
}

static anx_status run_network(dumping *d, const anx_model *model, anx_device *device, anx_error *err) {
    const anx_plan_desc desc = {.graph = model->graph,
                                .batch = d->input.shape[0],
                                .mode = ANX_PLAN_OBSERVE,
                                .params = model->params,
                                .n_params = model->graph->n_params};
    anx_plan *plan = NULL;
    anx_status status = anx_plan_create(device, &desc, &plan, err);
    if (status == ANX_OK) status = anx_plan_write(plan, anx_value_output(ANX_NODE_INPUT), &d->input, err);
    if (status == ANX_OK) status = anx_plan_run(plan, err);
    if (status == ANX_OK) status = anx_device_sync(device, err);
    for (int node = 0; status == ANX_OK && node < model->graph->n_nodes; node++)
        status = add_node(d, device, plan, node, model->graph->nodes[node].layer->name, err);
    if (status == ANX_OK) status = add_node(d, device, plan, model->graph->logits, "logits", err);
    anx_plan_destroy(plan);
    return status;
}

static anx_status write_points(const dumping *d, const anx_model *model, const anx_device *device, anx_error *err) {
    const dump_options *o = d->options;
    if (d->points.count == 0)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "no point of this input and network matches '%s'",
                             o->points != NULL ? o->points : "");
    anx_device_info info;
    char threads[16];
    anx_device_describe(device, &info);
    snprintf(threads, sizeof threads, "%d", info.threads);
    anx_safetensors_meta metadata[] = {
        {"anx", ANX_VERSION},
        {"arch", model->graph->arch->name},
        {"arithmetic", info.arithmetic},
        {"checkpoint", o->checkpoint},
        {"device", info.device},
        {o->image != NULL ? "image" : "input", o->image != NULL ? o->image : o->input},
        {"isa", info.isa},
        {"library", info.library},
        {"math", anx_math_mode_name(info.math)},
        {"threads", threads},
        {"capability", info.capability}, /* these of some devices alone */
        {"libraries", info.libraries},
        {"notes", info.notes},
    };
    size_t n = 0;
    for (size_t i = 0; i < sizeof metadata / sizeof metadata[0]; i++)
        if (metadata[i].value != NULL && metadata[i].value[0] != '\0') metadata[n++] = metadata[i];
    return anx_safetensors_write(o->output, &d->points, metadata, n, o->force, err);
}

static anx_status dump(const dump_options *o, dumping *d, anx_error *err) {
    anx_checkpoint *checkpoint = NULL;
    anx_model *model = NULL, *sized = NULL;
    anx_device *device = NULL;
    const anx_device_options device_options = {.threads = o->threads, .math = o->math};
    const anx_checkpoint_options checkpoint_options = {.accept_bad_crc = o->accept_bad_crc};
    anx_status status = anx_checkpoint_open(o->checkpoint, &checkpoint_options, &checkpoint, err);
    if (status == ANX_OK) status = anx_model_bind(checkpoint, NULL, 0, 0, &model, err);
    if (status == ANX_OK)
        status = o->image != NULL ? preprocess_image(d, err) : read_input(d, model->graph->input.dim[0], err);
    if (status == ANX_OK) {
        status = anx_model_resize(model, d->input.shape[2], d->input.shape[3], &sized, err);
        anx_error_in_file(status == ANX_OK ? NULL : err, o->image != NULL ? o->image : o->input);
    }
    if (status == ANX_OK)
        status = anx_device_open(o->device != NULL ? o->device : "auto", &device_options, &device, err);
    if (status == ANX_OK) status = run_network(d, sized, device, err);
    if (status == ANX_OK) status = write_points(d, model, device, err);
    anx_device_close(device);
    anx_model_destroy(sized);
    anx_model_destroy(model);
    anx_checkpoint_close(checkpoint);
    return status;
}

int anx_parity_dump(int argc, char **argv) {
    dump_options o = {.checkpoint = NULL};
    bool stop;
    const int code = parse_options(argc, argv, &o, &stop);
    if (stop) return code;
    anx_error err = ANX_ERROR_INIT;
    dumping d = {.options = &o, .points = ANX_STATE_DICT_INIT, .input = ANX_TENSOR_INIT};
    const anx_status status = dump(&o, &d, &err);
    anx_state_dict_fini(&d.points);
    anx_tensor_fini(&d.input);
    if (status == ANX_OK) return ANX_EXIT_OK;
    anx_cli_trouble(&err);
    if (status == ANX_ERR_EXISTS) anx_cli_say("--force overwrites it");
    return ANX_EXIT_TROUBLE;
}
