#include "tools/train_setup.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "loaders/checkpoint/text.h"
#include "src/train/init.h"
#include "tools/common/model_classes.h"

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

/* ---- images --------------------------------------------------------------------------------------------- */

static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static char *join(const char *folder, const char *name) {
    char *path;
    return asprintf(&path, "%s/%s", folder, name) >= 0 ? path : NULL;
}

/* DIR, or DIR/train and DIR/val where both are there: torchvision's train.py is given such a folder. */
anx_status anx_train_setup_folders(const anx_train_options *o, anx_train_setup *s, anx_error *err) {
    char *train = join(o->data, "train"), *val = join(o->data, "val");
    const bool both = train != NULL && val != NULL && is_folder(train) && is_folder(val);
    s->train_path = both ? train : strdup(o->data);
    if (o->val_dir != NULL)
        s->val_path = strdup(o->val_dir);
    else if (both)
        s->val_path = val;
    const bool failed = train == NULL || val == NULL || s->train_path == NULL || (o->val_dir != NULL && !s->val_path);
    if (!both) free(train);
    if (s->val_path != val) free(val);
    return failed ? out_of_memory(err) : ANX_OK;
}

/* Names go into a checkpoint and into classes.tsv. */
static anx_status check_class_names(const anx_dataset *d, anx_error *err) {
    for (int64_t i = 0; i < d->n_classes; i++) {
        char shown[400];
        const char *id = d->class_ids[i];
        const size_t n = strlen(id);
        if (strpbrk(id, "\t\n\r") == NULL && anx_utf8_valid((const uint8_t *)id, n)) continue;
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                             "the class folder '%s' has a name that is not UTF-8, or a tab or line break in it",
                             anx_text_printable(id, n, shown, sizeof shown));
    }
    return ANX_OK;
}

/* Folders of that name hold images of all classes: trained with as if they were classes, they would teach nothing. */
static anx_status check_not_parts(const anx_dataset *d, anx_error *err) {
    static const char *const parts[] = {"train", "val", "valid", "validation", "test"};
    bool train = false;
    for (int64_t i = 0; i < d->n_classes; i++) {
        bool is_part = false;
        for (size_t k = 0; k < sizeof parts / sizeof parts[0]; k++)
            is_part = is_part || strcmp(d->class_ids[i], parts[k]) == 0;
        if (!is_part) return ANX_OK;
        train = train || strcmp(d->class_ids[i], "train") == 0;
    }
    if (!train) return ANX_OK;
    return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                         "its folders are 'train' and the like, which are no classes: give --data the folder 'train' "
                         "itself, or a tar of it, and --val-dir the other");
}

/* A run that is gone on with remembers where its images were. */
static anx_status check_there(const anx_train_options *o, const char *path, const char *option, bool given,
                              anx_error *err) {
    struct stat st;
    if (path == NULL || o->resume == NULL || given || stat(path, &st) == 0) return ANX_OK;
    return anx_error_set(err, ANX_ERR_IO, "the run's images are not there any more: give --%s where they are now",
                         option);
}

static anx_status open_train(anx_train_setup *s, anx_error *err) {
    const anx_dataset_options options = {.n_classes = 0};
    const int64_t wanted = s->options->num_classes;
    anx_status status = check_there(s->options, s->train_path, "data", ANX_TRAIN_GIVEN(s->options, data), err);
    if (status == ANX_OK) status = anx_dataset_open(s->train_path, &options, &s->train, err);
    if (status == ANX_OK) status = check_class_names(s->train, err);
    if (status == ANX_OK) status = check_not_parts(s->train, err);
    if (status == ANX_OK && wanted > 0 && wanted != s->train->n_classes)
        status = anx_error_set(err, ANX_ERR_MISMATCH, "%" PRId64 " class folders, but --num-classes %" PRId64,
                               s->train->n_classes, wanted);
    if (status == ANX_OK) status = anx_class_names_make(s->train->class_ids, s->train->n_classes, &s->classes, err);
    if (status != ANX_OK) {
        anx_error_in_file(err, s->train_path);
        return status;
    }
    s->train_source = anx_dataset_source(s->train);
    s->targets = calloc((size_t)s->train->n_samples, sizeof *s->targets);
    if (s->targets == NULL) return out_of_memory(err);
    for (int64_t i = 0; i < s->train->n_samples; i++) s->targets[i] = s->train->samples[i].label;
    return ANX_OK;
}

/* Labels are by the folders' names, so that a class without images moves no other. */
static anx_status open_val(anx_train_setup *s, anx_error *err) {
    if (s->val_path == NULL) return ANX_OK;
    const int64_t n = s->train->n_classes;
    const anx_dataset_options options = {.classes = s->classes, .n_classes = n};
    anx_status status = check_there(s->options, s->val_path, "val-dir", ANX_TRAIN_GIVEN(s->options, val_dir), err);
    if (status == ANX_OK) status = anx_dataset_open(s->val_path, &options, &s->val, err);
    if (status == ANX_OK) status = anx_check_class_folders(s->val, s->classes, err);
    if (status != ANX_OK) {
        anx_error_in_file(err, s->val_path);
        return status;
    }
    s->val_source = anx_dataset_source(s->val);
    s->val_files = calloc((size_t)s->val->n_samples, sizeof *s->val_files);
    if (s->val_files == NULL) return out_of_memory(err);
    for (int64_t i = 0; i < s->val->n_samples; i++) s->val_files[i] = i;
    return ANX_OK;
}

/* ---- weights -------------------------------------------------------------------------------------------- */

/* The values of a parameter that is drawn, as a tensor of their own. */
static anx_status draw_param(anx_train_setup *s, int i, anx_tensor *out, anx_error *err) {
    const anx_param *p = &s->graph->params[i];
    const anx_status status = anx_tensor_alloc(ANX_F32, p->rank, p->shape, out, err);
    if (status == ANX_OK) anx_init_draw(&s->gen, p, (size_t)anx_param_elems(p), out->data);
    return status;
}

static void fini_tensors(anx_tensor *tensors, int n) {
    for (int i = 0; tensors != NULL && i < n; i++) anx_tensor_fini(&tensors[i]);
    free(tensors);
}

/* Views of a model's parameters; of another number of classes, with the last layer drawn. */
static anx_status take_params(anx_train_setup *s, const anx_model *model, anx_tensor *out, anx_error *err) {
    const int last = s->graph->logits;
    anx_status status = ANX_OK;
    for (int i = 0; i < s->graph->n_params && status == ANX_OK; i++) {
        if (s->new_layer != NULL && s->graph->params[i].node == last) {
            status = draw_param(s, i, &out[i], err);
        } else {
            out[i] = model->params[i];
            out[i].owned = NULL;
        }
    }
    return status;
}

static anx_status draw_params(anx_train_setup *s, anx_tensor *out, anx_error *err) {
    anx_status status = ANX_OK;
    for (int i = 0; i < s->graph->n_params && status == ANX_OK; i++) status = draw_param(s, i, &out[i], err);
    return status;
}

static anx_status make_graph(anx_train_setup *s, const anx_model *model, anx_error *err) {
    const anx_arch *arch = model != NULL ? model->graph->arch : anx_arch_find(s->options->arch);
    const int64_t classes = s->train->n_classes;
    const int side = anx_preprocess_torchvision.crop;
    anx_status status = anx_graph_create(arch, classes, side, side, &s->graph, err);
    if (status != ANX_OK || model == NULL || model->graph->num_classes == classes) return status;
    s->old_classes = model->graph->num_classes;
    s->new_layer = s->graph->nodes[s->graph->logits].layer->name;
    if (s->options->resume == NULL) return ANX_OK;
    return anx_error_set(err, ANX_ERR_MISMATCH,
                         "the checkpoint's network has %" PRId64 " classes, the images have %" PRId64 " ('%s')",
                         s->old_classes, classes, s->train_path);
}

/* ---- groups --------------------------------------------------------------------------------------------- */

/* Puts the parameters that match, of those in group 0 and, where `again`, in group itself, into group. How many match;
   -1: out of memory. */
static int assign(anx_train_setup *s, const char *pattern, size_t n, bool again, int group) {
    char *glob = strndup(pattern, n);
    if (glob == NULL) return -1;
    int matching = 0;
    for (int i = 0; i < s->graph->n_params; i++) {
        int *of_param = &s->group_of_param[i];
        if (*of_param != 0 && !(again && *of_param == group)) continue;
        if (fnmatch(glob, s->graph->params[i].name, 0) != 0) continue;
        *of_param = group;
        matching++;
    }
    free(glob);
    return matching;
}

static anx_status no_match(const anx_graph *graph, const char *option, const char *text, size_t n, const char *what,
                           anx_error *err) {
    return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "--%s '%.*s' matches no %s; names are %s, %s, ... %s", option,
                         (int)n, text, what, graph->params[0].name, graph->params[1].name,
                         graph->params[graph->n_params - 1].name);
}

static anx_status freeze(anx_train_setup *s, anx_error *err) {
    size_t n;
    const char *rest = s->options->freeze, *at;
    while ((at = anx_train_next_text(&rest, &n)) != NULL) {
        const int matching = assign(s, at, n, true, ANX_TRAINER_FROZEN);
        if (matching < 0) return out_of_memory(err);
        if (matching == 0) return no_match(s->graph, "freeze", at, n, "parameter", err);
    }
    for (int i = 0; i < s->graph->n_params; i++)
        if (s->group_of_param[i] != ANX_TRAINER_FROZEN) return ANX_OK;
    return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "--freeze leaves nothing to be trained");
}

/* Group 0 is what no --lr-group names. */
static anx_status group(anx_train_setup *s, anx_error *err) {
    size_t n, glob;
    const char *rest = s->options->lr_group, *at;
    while ((at = anx_train_next_text(&rest, &n)) != NULL) {
        if (!anx_train_group_rate(at, n, &glob, &s->lr[s->n_groups]))
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "'%.*s' is not GLOB=RATE", (int)n, at);
        const int matching = assign(s, at, glob, false, s->n_groups);
        if (matching < 0) return out_of_memory(err);
        if (matching == 0)
            return no_match(s->graph, "lr-group", at, glob,
                            "parameter that is trained and not in an earlier --lr-group", err);
        s->n_groups++;
    }
    return ANX_OK;
}

/* Where every trained parameter is named by a group, there is no group 0. */
static void drop_empty_group(anx_train_setup *s) {
    for (int i = 0; i < s->graph->n_params; i++)
        if (s->group_of_param[i] == 0) return;
    for (int i = 0; i < s->graph->n_params; i++)
        if (s->group_of_param[i] > 0) s->group_of_param[i]--;
    memmove(s->lr, s->lr + 1, (size_t)--s->n_groups * sizeof *s->lr);
}

static anx_status make_groups(anx_train_setup *s, anx_error *err) {
    size_t most = 1, n; /* group 0 */
    const char *rest = s->options->lr_group;
    while (anx_train_next_text(&rest, &n) != NULL) most++;
    s->group_of_param = calloc((size_t)s->graph->n_params, sizeof *s->group_of_param);
    s->lr = calloc(most, sizeof *s->lr);
    if (s->group_of_param == NULL || s->lr == NULL) return out_of_memory(err);
    s->n_groups = 1;
    s->lr[0] = s->options->lr;
    anx_status status = freeze(s, err);
    if (status == ANX_OK) status = group(s, err);
    if (status == ANX_OK) drop_empty_group(s);
    return status;
}

/* ---- trainer and scheduler ------------------------------------------------------------------------------ */

static anx_status make_trainer(anx_train_setup *s, const anx_tensor *params, anx_error *err) {
    const anx_train_options *o = s->options;
    anx_sgd_options *groups = calloc((size_t)s->n_groups, sizeof *groups);
    if (groups == NULL) return out_of_memory(err);
    for (int g = 0; g < s->n_groups; g++)
        groups[g] = (anx_sgd_options){.lr = s->lr[g],
                                      .momentum = o->momentum,
                                      .weight_decay = o->weight_decay,
                                      .nesterov = strcmp(o->opt, "sgd_nesterov") == 0};
    const bool device_masks = strcmp(o->dropout_masks, "device") == 0;
    const anx_trainer_options options = {.graph = s->graph,
                                         .device = s->device,
                                         .batch = o->batch < s->train->n_samples ? o->batch : s->train->n_samples,
                                         .has_dropout = o->dropout >= 0.0,
                                         .dropout = o->dropout >= 0.0 ? o->dropout : 0.0,
                                         .device_masks = device_masks,
                                         .label_smoothing = o->label_smoothing,
                                         .groups = groups,
                                         .n_groups = s->n_groups,
                                         .group_of_param = s->group_of_param,
                                         .threads = (int)o->threads};
    const anx_status status = anx_trainer_create(&options, params, &s->trainer, err);
    if (status == ANX_ERR_UNSUPPORTED && device_masks) anx_error_prefix(err, "--dropout-masks device: ");
    free(groups);
    return status;
}

/* As train.py makes it. */
static anx_status make_scheduler(anx_train_setup *s, anx_error *err) {
    const anx_train_options *o = s->options;
    anx_scheduler_kind kind, warmup_kind;
    int64_t *milestones = NULL;
    if (!anx_scheduler_find(o->lr_scheduler, &kind)) return ANX_OK; /* "none" */
    anx_scheduler_options options = anx_scheduler_defaults(kind);
    options.gamma = o->lr_gamma;
    options.step_size = o->lr_step_size;
    options.t_max = o->epochs - o->lr_warmup_epochs;
    options.eta_min = options.min_lr = o->lr_min;
    options.patience = o->lr_patience;
    options.factor = o->lr_gamma;
    if (kind == ANX_MULTI_STEP_LR && o->lr_milestones != NULL) {
        options.n_milestones = anx_train_milestones(o->lr_milestones, NULL, 0);
        milestones = options.milestones = calloc((size_t)options.n_milestones + 1, sizeof *milestones);
        if (milestones == NULL) return out_of_memory(err);
        anx_train_milestones(o->lr_milestones, milestones, options.n_milestones);
    }
    anx_scheduler_find(o->lr_warmup_method, &warmup_kind);
    anx_scheduler_options warmup = anx_scheduler_defaults(warmup_kind);
    warmup.factor = o->lr_warmup_decay;
    warmup.total_iters = o->lr_warmup_epochs;
    const anx_status status = anx_scheduler_create(&options, o->lr_warmup_epochs > 0 ? &warmup : NULL, s->n_groups,
                                                   s->lr, &s->scheduler, err);
    free(milestones);
    if (status == ANX_OK) anx_train_set_rates(s);
    return status;
}

static anx_status make_training(anx_train_setup *s, anx_model *model, anx_error *err) {
    const int n = s->graph->n_params;
    anx_tensor *params = calloc((size_t)n, sizeof *params);
    anx_status status = params != NULL ? ANX_OK : out_of_memory(err);
    anx_mt19937_seed(&s->gen, s->options->seed);
    if (status == ANX_OK) status = model != NULL ? take_params(s, model, params, err) : draw_params(s, params, err);
    if (status == ANX_OK) status = make_trainer(s, params, err);
    if (status == ANX_OK) status = make_scheduler(s, err);
    fini_tensors(params, n);
    return status;
}

static anx_status make_input(anx_train_setup *s, anx_error *err) {
    const anx_train_options *o = s->options;
    const anx_training_input_options options = {.source = &s->train_source,
                                                .targets = s->targets,
                                                .n_images = s->train->n_samples,
                                                .batch = o->batch,
                                                .profile = &anx_preprocess_torchvision,
                                                .augment = anx_augment_kind_find(o->augment),
                                                .independent = strcmp(o->order, "independent") == 0,
                                                .seed = o->seed,
                                                .threads = (int)o->threads,
                                                .skip_bad = o->skip_bad,
                                                .device = s->device};
    return anx_training_input_create(&options, &s->input, err);
}

static anx_status open_device(anx_train_setup *s, anx_error *err) {
    anx_device_options options = {.threads = (int)s->options->threads};
    anx_math_mode_find(s->options->math, &options.math);
    const anx_status status = anx_device_open(s->options->device, &options, &s->device, err);
    if (status == ANX_OK) anx_device_describe(s->device, &s->info);
    return status;
}

anx_status anx_train_setup_open(const anx_train_options *options, anx_checkpoint *checkpoint, anx_train_setup *s,
                                bool *wrong_usage, anx_error *err) {
    anx_model *model = NULL;
    s->options = options;
    *wrong_usage = false;
    anx_status status = open_train(s, err);
    if (status == ANX_OK) status = open_val(s, err);
    if (status == ANX_OK && checkpoint != NULL) {
        const int side = anx_preprocess_torchvision.crop;
        status = anx_model_bind(checkpoint, NULL, side, side, &model, err);
        if (status != ANX_OK) anx_error_in_file(err, checkpoint->path);
    }
    if (status == ANX_OK) {
        status = make_graph(s, model, err);
        if (status != ANX_OK && checkpoint != NULL) anx_error_in_file(err, checkpoint->path);
    }
    if (status == ANX_OK) {
        status = make_groups(s, err);
        *wrong_usage = status == ANX_ERR_INVALID_ARGUMENT &&
                       (ANX_TRAIN_GIVEN(options, freeze) || ANX_TRAIN_GIVEN(options, lr_group));
        if (status != ANX_OK && !*wrong_usage && checkpoint != NULL) anx_error_in_file(err, checkpoint->path);
    }
    if (status == ANX_OK) status = open_device(s, err);
    if (status == ANX_OK) status = make_training(s, model, err);
    if (status == ANX_OK) status = make_input(s, err);
    anx_model_destroy(model);
    return status;
}

void anx_train_setup_fini(anx_train_setup *s) {
    anx_training_input_destroy(s->input);
    anx_scheduler_destroy(s->scheduler);
    anx_trainer_destroy(s->trainer);
    anx_device_close(s->device);
    free(s->lr);
    free(s->group_of_param);
    anx_graph_destroy(s->graph);
    anx_class_names_close(s->classes);
    free(s->val_files);
    free(s->targets);
    anx_dataset_close(s->val);
    anx_dataset_close(s->train);
    free(s->val_path);
    free(s->train_path);
    *s = (anx_train_setup){.options = NULL};
}

/* ---- what the others ask -------------------------------------------------------------------------------- */

anx_training_live anx_train_live(anx_train_setup *s) {
    return (anx_training_live){.graph = s->graph,
                               .trainer = s->trainer,
                               .group_of_param = s->group_of_param,
                               .n_groups = s->n_groups,
                               .scheduler = s->scheduler,
                               .gen = &s->gen};
}

void anx_train_set_rates(anx_train_setup *s) {
    anx_sgd_options *groups = anx_trainer_groups(s->trainer);
    for (int g = 0; g < s->n_groups; g++) groups[g].lr = s->lr[g];
}

void anx_train_get_rates(anx_train_setup *s) {
    const anx_sgd_options *groups = anx_trainer_groups(s->trainer);
    for (int g = 0; g < s->n_groups; g++) s->lr[g] = groups[g].lr;
}

int64_t anx_train_steps(const anx_train_setup *s) {
    return (s->train->n_samples - 1) / s->options->batch + 1;
}

int64_t anx_train_trained(const anx_train_setup *s) {
    int64_t elems = 0;
    for (int i = 0; i < s->graph->n_params; i++)
        if (s->group_of_param[i] != ANX_TRAINER_FROZEN) elems += anx_param_elems(&s->graph->params[i]);
    return elems;
}
