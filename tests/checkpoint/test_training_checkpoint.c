#include "loaders/checkpoint/training_checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint_impl.h"
#include "loaders/checkpoint/pickle_tree.h"
#include "tests/checkpoint/training_sample.h"
#include "tests/support/anx_test.h"

#define SHAPE(...) ((const int64_t[]){__VA_ARGS__})

/* torch.save(sample()[2], "sample.pth") of training_judge.py gives 8595 bytes of this digest in PyTorch 2.15. */
static const char sample_digest[] = "e9135cf2570d6e304e5151ffd875b936193501a1abc1e543e35d523cfc99d71b";

static anx_state_dict model;
static anx_training_state sample, got;

/* Writes what is in model and sample, which it releases. */
static const char *write(const char *name) {
    anx_error err = ANX_ERROR_INIT;
    const char *path = anx_test_path(name);
    ANX_CHECK_OK(anx_training_checkpoint_write(path, &model, &sample, &training_sample_options, &err), &err);
    anx_state_dict_fini(&model);
    return path;
}

static const char *write_sample(void) {
    training_sample(&model, &sample);
    return write("sample.pth");
}

static anx_checkpoint *open_file(const char *path) {
    anx_error err = ANX_ERROR_INIT;
    anx_checkpoint *checkpoint = NULL;
    ANX_CHECK_OK(anx_checkpoint_open(path, NULL, &checkpoint, &err), &err);
    if (checkpoint == NULL) abort();
    return checkpoint;
}

static void writes_torch_saves_bytes(void) {
    anx_test_check_file_digest(write_sample(), sample_digest);
}

/* ---- round trip ----------------------------------------------------------------------------------------- */

static bool same_number(const anx_saved_number *a, const anx_saved_number *b) {
    return a->kind == b->kind && memcmp(&a->value, &b->value, sizeof a->value) == 0;
}

static bool same_numbers(const anx_saved_numbers *a, const anx_saved_numbers *b) {
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) same = same_number(&a->items[i], &b->items[i]);
    return same;
}

static void check_group(const anx_saved_group *a, const anx_saved_group *b) {
    CU_ASSERT_TRUE(same_number(&a->lr, &b->lr) && same_number(&a->initial_lr, &b->initial_lr));
    CU_ASSERT_TRUE(same_number(&a->momentum, &b->momentum) && same_number(&a->dampening, &b->dampening));
    CU_ASSERT_TRUE(same_number(&a->weight_decay, &b->weight_decay));
    CU_ASSERT_TRUE(a->nesterov == b->nesterov && a->maximize == b->maximize);
    CU_ASSERT_TRUE(a->differentiable == b->differentiable && a->foreach == b->foreach && a->fused == b->fused);
    CU_ASSERT_TRUE(a->n_params == b->n_params && a->n_keys == b->n_keys);
    CU_ASSERT_EQUAL(memcmp(a->keys, b->keys, sizeof a->keys), 0);
}

static void check_scheduler(const anx_saved_scheduler *a, const anx_saved_scheduler *b) {
    CU_ASSERT_EQUAL(a->kind, b->kind);
    CU_ASSERT_TRUE(same_numbers(&a->base_lrs, &b->base_lrs) && same_numbers(&a->last_lr, &b->last_lr));
    CU_ASSERT_TRUE(a->last_epoch == b->last_epoch && a->step_count == b->step_count);
    CU_ASSERT_TRUE(a->step_size == b->step_size && a->total_iters == b->total_iters);
    CU_ASSERT_TRUE(same_number(&a->gamma, &b->gamma) && same_number(&a->start_factor, &b->start_factor));
    CU_ASSERT_TRUE(same_number(&a->end_factor, &b->end_factor));
    CU_ASSERT_TRUE(a->n_milestones == b->n_milestones && a->n_schedulers == b->n_schedulers);
    for (size_t i = 0; i < a->n_milestones; i++)
        CU_ASSERT_TRUE(a->milestones[i].epoch == b->milestones[i].epoch &&
                       a->milestones[i].count == b->milestones[i].count);
}

static void check_values(const anx_saved_value *a, size_t n_a, const anx_saved_value *b, size_t n_b) {
    CU_ASSERT_EQUAL_FATAL(n_a, n_b);
    for (size_t i = 0; i < n_a; i++) {
        CU_ASSERT_STRING_EQUAL(a[i].name, b[i].name);
        CU_ASSERT_EQUAL_FATAL(a[i].kind, b[i].kind);
        const bool is_singleton = a[i].kind == ANX_SAVED_VALUE_TEXT && a[i].u.text[0] == '\0'; /* one object anyway */
        CU_ASSERT_EQUAL(a[i].interned, b[i].interned || is_singleton);
        switch (a[i].kind) {
        case ANX_SAVED_VALUE_BOOL: CU_ASSERT_EQUAL(a[i].u.boolean, b[i].u.boolean); break;
        case ANX_SAVED_VALUE_INT: CU_ASSERT_EQUAL(a[i].u.integer, b[i].u.integer); break;
        case ANX_SAVED_VALUE_FLOAT: CU_ASSERT_EQUAL(memcmp(&a[i].u.real, &b[i].u.real, sizeof(double)), 0); break;
        case ANX_SAVED_VALUE_TEXT: CU_ASSERT_STRING_EQUAL(a[i].u.text, b[i].u.text); break;
        default: break;
        }
    }
}

static void reads_what_it_wrote(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_checkpoint *checkpoint = open_file(write_sample());
    ANX_CHECK_OK(anx_training_state_read(checkpoint, &got, &err), &err);
    CU_ASSERT_EQUAL_FATAL(got.optimizer.n_groups, 2);
    for (int i = 0; i < 2; i++) check_group(&got.optimizer.groups[i], &sample.optimizer.groups[i]);
    CU_ASSERT_EQUAL_FATAL(got.optimizer.n_buffers, 2);
    CU_ASSERT_TRUE(got.optimizer.buffers[0].present && !got.optimizer.buffers[1].present);
    const anx_tensor *buffer = &got.optimizer.buffers[0].tensor;
    CU_ASSERT_TRUE(anx_tensor_same_shape(buffer, &sample.optimizer.buffers[0].tensor));
    CU_ASSERT_EQUAL(memcmp(buffer->data, sample.optimizer.buffers[0].tensor.data, 6 * sizeof(float)), 0);
    check_scheduler(&got.scheduler, &sample.scheduler);
    for (int i = 0; i < 2; i++) check_scheduler(&got.scheduler.schedulers[i], &sample.scheduler.schedulers[i]);
    CU_ASSERT_TRUE(got.epoch == 2 && got.has_args && got.has_own && got.step == 300);
    CU_ASSERT_EQUAL(got.order_seed, INT64_MAX);
    CU_ASSERT_EQUAL(memcmp(got.rng_state, sample.rng_state, sizeof got.rng_state), 0);
    check_values(got.args, got.n_args, sample.args, sample.n_args);
    check_values(got.options, got.n_options, sample.options, sample.n_options);
    CU_ASSERT_EQUAL(got.n_ignored, 0);
    anx_training_state_fini(&got);
    anx_checkpoint_close(checkpoint);
}

static void reads_a_checkpoint_with_the_least_in_it(void) {
    anx_error err = ANX_ERROR_INIT;
    training_sample(&model, &sample);
    sample.has_args = sample.has_own = false;
    sample.scheduler.kind = ANX_SAVED_NO_SCHEDULER;
    sample.optimizer = (anx_saved_optimizer){.groups = NULL};
    sample.epoch = -1;
    anx_checkpoint *checkpoint = open_file(write("least.pth"));
    ANX_CHECK_OK(anx_training_state_read(checkpoint, &got, &err), &err);
    CU_ASSERT_TRUE(got.epoch == -1 && !got.has_args && !got.has_own && got.optimizer.n_groups == 0);
    CU_ASSERT_EQUAL(got.scheduler.kind, ANX_SAVED_NO_SCHEDULER);
    anx_training_state_fini(&got);
    anx_checkpoint_close(checkpoint);
}

static void reads_reduce_lr_on_plateau(void) {
    anx_error err = ANX_ERROR_INIT;
    training_sample(&model, &sample);
    anx_saved_number lrs[2] = {{.value = 0.25}, {.value = 1, .kind = ANX_SAVED_INT}};
    sample.scheduler = (anx_saved_scheduler){.kind = ANX_SAVED_REDUCE_LR_ON_PLATEAU,
                                             .last_lr = {lrs, 2},
                                             .min_lrs = {lrs, 2},
                                             .default_min_lr = {.kind = ANX_SAVED_NONE},
                                             .factor = {.value = 0.5},
                                             .eps = {.value = 1e-8},
                                             .threshold = {.value = 1e-4},
                                             .best = {.value = -INFINITY},
                                             .mode_max = true,
                                             .threshold_abs = true,
                                             .patience = 10,
                                             .cooldown = 3,
                                             .cooldown_counter = 2,
                                             .num_bad_epochs = 7,
                                             .last_epoch = 4};
    anx_checkpoint *checkpoint = open_file(write("plateau.pth"));
    ANX_CHECK_OK(anx_training_state_read(checkpoint, &got, &err), &err);
    const anx_saved_scheduler *a = &sample.scheduler, *b = &got.scheduler;
    check_scheduler(a, b);
    CU_ASSERT_TRUE(same_numbers(&a->min_lrs, &b->min_lrs) && same_number(&a->default_min_lr, &b->default_min_lr));
    CU_ASSERT_TRUE(same_number(&a->factor, &b->factor) && same_number(&a->eps, &b->eps));
    CU_ASSERT_TRUE(same_number(&a->threshold, &b->threshold) && same_number(&a->best, &b->best));
    CU_ASSERT_TRUE(b->mode_max && b->threshold_abs && b->patience == 10 && b->cooldown == 3);
    CU_ASSERT_TRUE(b->cooldown_counter == 2 && b->num_bad_epochs == 7);
    anx_training_state_fini(&got);
    anx_checkpoint_close(checkpoint);
}

/* ---- from a source -------------------------------------------------------------------------------------- */

static anx_status serve(void *user, size_t item, void *buf, size_t n_bytes, anx_error *err) {
    static size_t at_item, done;
    const void *const *data = user;
    (void)err;
    if (item != at_item) done = 0;
    at_item = item;
    memcpy(buf, (const char *)data[item] + done, n_bytes);
    done += n_bytes;
    return ANX_OK;
}

static void reads_missing_data_from_the_source(void) {
    anx_error err = ANX_ERROR_INIT;
    training_sample(&model, &sample);
    const void *data[3] = {model.items[0].tensor.data, model.items[1].tensor.data,
                           sample.optimizer.buffers[0].tensor.data};
    model.items[0].tensor.data = model.items[1].tensor.data = sample.optimizer.buffers[0].tensor.data = NULL;
    const anx_pth_source source = {.read = serve, .user = (void *)data};
    anx_pth_options options = training_sample_options;
    options.folder = "sample";
    options.source = &source;
    const char *path = anx_test_path("served.pth");
    ANX_CHECK_OK(anx_training_checkpoint_write(path, &model, &sample, &options, &err), &err);
    anx_test_check_file_digest(path, sample_digest);
    anx_state_dict_fini(&model);
}

/* ---- states that cannot be written ---------------------------------------------------------------------- */

static void check_refused(const char *message) {
    anx_error err = ANX_ERROR_INIT;
    const char *path = anx_test_path("refused.pth");
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT,
                     anx_training_checkpoint_write(path, &model, &sample, &training_sample_options, &err), &err);
    CU_ASSERT_STRING_EQUAL(err.message, message);
    if (strcmp(err.message, message) != 0) printf("\n  %s\n", err.message);
    anx_state_dict_fini(&model);
    training_sample(&model, &sample);
}

static void refuses_states_that_are_not_sound(void) {
    training_sample(&model, &sample);
    sample.optimizer.groups[1].n_params = 2;
    check_refused("3 parameters in the optimizer's groups, 2 buffers");
    sample.optimizer.groups[1].lr = (anx_saved_number){.value = 0.5, .kind = ANX_SAVED_INT};
    check_refused("a group of the optimizer: 'lr' is not a float or an int of at most 2^53");
    sample.optimizer.groups[1].dampening = (anx_saved_number){.kind = ANX_SAVED_NONE};
    check_refused("a group of the optimizer: 'dampening' is not a float or an int of at most 2^53");
    sample.scheduler.n_milestones = 0;
    check_refused("SequentialLR of 2 schedulers with 0 milestones");
    anx_saved_scheduler inner[2] = {{.kind = ANX_SAVED_REDUCE_LR_ON_PLATEAU}, {.kind = ANX_SAVED_STEP_LR}};
    sample.scheduler.schedulers = inner;
    check_refused("ReduceLROnPlateau inside a SequentialLR");
    sample.scheduler =
        (anx_saved_scheduler){.kind = ANX_SAVED_STEP_LR, .gamma = {.value = 1e17, .kind = ANX_SAVED_INT}};
    check_refused("StepLR: 'gamma' is not a float or an int of at most 2^53");
    anx_saved_value values[1] = {{.name = "x\n", .kind = ANX_SAVED_VALUE_OTHER, .u.text = "list"}};
    sample.args = values;
    sample.n_args = 1;
    check_refused("the value of 'x\\x0a' cannot be written: UTF-8 text, numbers, bools and None can");
    values[0] = (anx_saved_value){.name = "x", .kind = ANX_SAVED_VALUE_TEXT, .u.text = "\xff"};
    sample.options = values;
    sample.n_options = 1;
    check_refused("the value of 'x' cannot be written: UTF-8 text, numbers, bools and None can");
    anx_state_dict_fini(&model);
}

/* ---- files that hold something else --------------------------------------------------------------------- */

/* What a case does to the value that its path names. */
typedef enum change {
    TO_NONE,
    TO_INT,   /* number */
    TO_FLOAT, /* number */
    TO_TEXT,  /* text */
    TO_TRUE,
    TO_BIG_INT,
    TO_DICT, /* an empty one */
    TO_ROOT, /* the file's dict itself: a cycle */
    TO_SCHEDULER,
    TO_WEIGHT,  /* the tensor fc.weight */
    TO_RNG,     /* the tensor rng_state */
    SHORTEN,    /* its last item goes */
    REPEAT,     /* its first item comes `number` times */
    RENAME,     /* its key becomes text */
    RENAME_INT, /* its key becomes number */
    DELETE
} change;

typedef struct bad_case {
    const char *path; /* "optimizer/param_groups/0/lr" */
    change change;
    const char *text;
    int64_t number;
    anx_status status;
    const char *message;
} bad_case;

typedef struct place {
    anx_pickle_value *parent, *value;
    size_t index; /* of the item in its parent */
} place;

static size_t find_index(const anx_pickle_value *parent, const char *key) {
    if (parent->kind == ANX_PICKLE_LIST) return (size_t)atoi(key);
    for (size_t i = 0; i < parent->u.dict.count; i++) {
        const anx_pickle_value *k = parent->u.dict.items[2 * i];
        if (k->kind == ANX_PICKLE_INT ? k->u.integer == atoi(key) : anx_pickle_is_string(k, key)) return i;
    }
    printf("\n  no '%s'\n", key);
    abort();
}

static place find(anx_pickle_value *root, const char *path) {
    place p = {NULL, root, 0};
    char copy[200], *rest = NULL;
    snprintf(copy, sizeof copy, "%s", path);
    for (char *key = strtok_r(copy, "/", &rest); key != NULL; key = strtok_r(NULL, "/", &rest)) {
        p.parent = p.value->kind == ANX_PICKLE_OBJECT ? p.value->u.object.state : p.value;
        p.index = find_index(p.parent, key);
        p.value = p.parent->kind == ANX_PICKLE_LIST ? p.parent->u.list.items[p.index]
                                                    : p.parent->u.dict.items[2 * p.index + 1];
    }
    return p;
}

static void set_item(const place *p, anx_pickle_value *value) {
    if (p->parent->kind == ANX_PICKLE_LIST)
        p->parent->u.list.items[p->index] = value;
    else
        p->parent->u.dict.items[2 * p->index + 1] = value;
}

static void delete_item(const place *p) {
    anx_pickle_value *dict = p->parent;
    memmove(&dict->u.dict.items[2 * p->index], &dict->u.dict.items[2 * p->index + 2],
            2 * (dict->u.dict.count - p->index - 1) * sizeof *dict->u.dict.items);
    dict->u.dict.count--;
}

static anx_pickle_value *new_value(anx_pickle_tree *tree, anx_pickle_value *root, const bad_case *c) {
    switch (c->change) {
    case TO_INT: return anx_pickle_tree_int(tree, c->number);
    case TO_FLOAT: return anx_pickle_tree_float(tree, (double)c->number);
    case TO_TEXT: return anx_pickle_tree_text(tree, c->text);
    case TO_TRUE: return anx_pickle_tree_bool(tree, true);
    case TO_DICT: return anx_pickle_tree_dict(tree, false);
    case TO_ROOT: return root;
    case TO_SCHEDULER: return find(root, "lr_scheduler").value;
    case TO_WEIGHT: return find(root, "model/fc.weight").value;
    case TO_RNG: return find(root, "anx/rng_state").value;
    case TO_BIG_INT: {
        anx_pickle_value *v = anx_pickle_tree_text(tree, "123456789");
        v->kind = ANX_PICKLE_BIG_INT;
        return v;
    }
    default: return anx_pickle_tree_none(tree);
    }
}

static void apply(anx_pickle_tree *tree, anx_pickle_value *root, const bad_case *c) {
    const place p = find(root, c->path);
    if (c->change == DELETE) {
        delete_item(&p);
    } else if (c->change == RENAME) {
        p.parent->u.dict.items[2 * p.index] = anx_pickle_tree_text(tree, c->text);
    } else if (c->change == RENAME_INT) {
        p.parent->u.dict.items[2 * p.index] = anx_pickle_tree_int(tree, c->number);
    } else if (c->change == SHORTEN) {
        p.value->u.list.count--;
    } else if (c->change == REPEAT) {
        anx_pickle_value *first = p.value->u.list.items[0];
        p.value->u.list = (__typeof__(p.value->u.list)){.items = NULL};
        for (int64_t i = 0; i < c->number; i++) anx_pickle_tree_append(tree, p.value, first);
    } else {
        set_item(&p, new_value(tree, root, c));
    }
}

static void check_case(const char *path, const bad_case *c) {
    anx_error err = ANX_ERROR_INIT;
    anx_pickle_tree tree = ANX_PICKLE_TREE_INIT;
    anx_checkpoint *checkpoint = open_file(path);
    apply(&tree, anx_checkpoint_impl_of(checkpoint)->root, c);
    ANX_CHECK_STATUS(c->status, anx_training_state_read(checkpoint, &got, &err), &err);
    CU_ASSERT_STRING_EQUAL(err.message, c->message);
    if (strcmp(err.message, c->message) != 0) printf("\n  %s: %s\n", c->path, err.message);
    CU_ASSERT_STRING_EQUAL(err.file, path);
    anx_pickle_tree_fini(&tree);
    anx_checkpoint_close(checkpoint);
}

#define BAD_AS(status_, path_, message_, ...)                                                                          \
    { .path = path_, .status = status_, .message = message_, __VA_ARGS__ }
#define BAD(path_, message_, ...) BAD_AS(ANX_ERR_FORMAT, path_, message_, __VA_ARGS__)
#define OTHER_OPTIMIZER ", which torch.optim.SGD has not; no other optimizer is supported"
#define KNOWN                                                                                                          \
    "; StepLR, MultiStepLR, ExponentialLR, CosineAnnealingLR, ConstantLR, LinearLR, SequentialLR and "                 \
    "ReduceLROnPlateau are known"

static const bad_case bad_cases[] = {
    BAD("optimizer",
        "a checkpoint of a training was expected, a dict with 'model', 'optimizer', 'lr_scheduler' and 'epoch'; the "
        "file has no 'optimizer'",
        .change = DELETE),
    BAD("optimizer", "'optimizer' is an int; a dict was expected", .change = TO_INT),
    BAD("optimizer/param_groups", "optimizer: 'param_groups' is missing", .change = DELETE),
    BAD("optimizer/param_groups", "optimizer: 'param_groups' is a str; a list was expected", .change = TO_TEXT,
        .text = "x"),
    BAD_AS(ANX_ERR_LIMIT, "optimizer/param_groups",
           "optimizer: 'param_groups' has 10001 groups; at most 10000 are taken", .change = REPEAT, .number = 10001),
    BAD("optimizer/param_groups", "optimizer: parameter 0 occurs twice in the groups", .change = REPEAT, .number = 2),
    BAD("optimizer/param_groups/1", "optimizer: param_groups[1]: it is None; a dict was expected", .change = TO_NONE),
    BAD_AS(ANX_ERR_UNSUPPORTED, "optimizer/param_groups/1",
           "optimizer: param_groups[1]: has the key 'model'" OTHER_OPTIMIZER, .change = TO_ROOT),
    BAD_AS(ANX_ERR_UNSUPPORTED, "optimizer/param_groups/0/dampening",
           "optimizer: param_groups[0]: has the key 'be\\x1btas'" OTHER_OPTIMIZER, .change = RENAME,
           .text = "be\033tas"),
    BAD("optimizer/param_groups/0/lr", "optimizer: param_groups[0]: 'lr' is missing", .change = DELETE),
    BAD("optimizer/param_groups/0/params", "optimizer: param_groups[0]: 'params' is missing", .change = DELETE),
    BAD("optimizer/param_groups/0/lr", "optimizer: param_groups[0]: 'lr' is a tensor; a number was expected",
        .change = TO_WEIGHT),
    BAD("optimizer/param_groups/0/lr", "optimizer: param_groups[0]: 'lr' is None; a number was expected",
        .change = TO_NONE),
    BAD("optimizer/param_groups/0/lr", "optimizer: param_groups[0]: 'lr' is a bool; a number was expected",
        .change = TO_TRUE),
    BAD("optimizer/param_groups/0/momentum", "optimizer: param_groups[0]: 'momentum' is an int beyond 2^53",
        .change = TO_INT, .number = ((int64_t)1 << 53) + 1),
    BAD("optimizer/param_groups/0/momentum", "optimizer: param_groups[0]: 'momentum' is an int beyond 2^53",
        .change = TO_BIG_INT),
    BAD("optimizer/param_groups/0/fused", "optimizer: param_groups[0]: 'fused' is an int; a bool or None was expected",
        .change = TO_INT),
    BAD("optimizer/param_groups/0/nesterov", "optimizer: param_groups[0]: 'nesterov' is None; a bool was expected",
        .change = TO_NONE),
    BAD("optimizer/param_groups/1/params", "optimizer: param_groups[1]: 'params' is a dict; a list was expected",
        .change = TO_DICT),
    BAD_AS(ANX_ERR_LIMIT, "optimizer/param_groups/1/params",
           "optimizer: param_groups[1]: 'params' has 1000001 entries; at most 1000000 are taken", .change = REPEAT,
           .number = 1000000),
    BAD("optimizer/param_groups/1/params/0", "optimizer: param_groups[1]: 'params' is a float; an int was expected",
        .change = TO_FLOAT),
    BAD("optimizer/param_groups/1/params/0", "optimizer: parameter 0 occurs twice in the groups", .change = TO_INT),
    BAD("optimizer/state", "optimizer: 'state' is missing", .change = DELETE),
    BAD("optimizer/state", "optimizer: 'state' is a float; a dict was expected", .change = TO_FLOAT),
    BAD("optimizer/state/0", "optimizer: state has the key 'x', which is in no group", .change = RENAME, .text = "x"),
    BAD("optimizer/param_groups/0/params/0", "optimizer: state has the key 0, which is in no group", .change = TO_INT,
        .number = 7),
    BAD("optimizer/state/0", "optimizer: state[0]: it is a tensor; a dict was expected", .change = TO_WEIGHT),
    BAD_AS(ANX_ERR_UNSUPPORTED, "optimizer/state/0/momentum_buffer",
           "optimizer: state[0]: has the key 'exp_avg'" OTHER_OPTIMIZER, .change = RENAME, .text = "exp_avg"),
    BAD("optimizer/state/0/momentum_buffer",
        "optimizer: state[0]: 'momentum_buffer' is an int; a tensor or None was expected", .change = TO_INT),
    BAD("optimizer/state/0/momentum_buffer", "optimizer: state[0]: 'momentum_buffer' is of uint8; float32 was expected",
        .change = TO_RNG),

    BAD("lr_scheduler", "lr_scheduler: it is a str; a dict was expected", .change = TO_TEXT, .text = "steplr"),
    BAD("lr_scheduler", "lr_scheduler: an empty dict" KNOWN, .change = TO_DICT),
    BAD_AS(ANX_ERR_UNSUPPORTED, "lr_scheduler", "lr_scheduler: an unknown scheduler with the key 'model'" KNOWN,
           .change = TO_ROOT),
    BAD("lr_scheduler/_milestones", "lr_scheduler: SequentialLR: '_milestones' is an int; a list was expected",
        .change = TO_INT),
    BAD("lr_scheduler/_milestones/0", "lr_scheduler: SequentialLR: '_milestones' is None; an int was expected",
        .change = TO_NONE),
    BAD_AS(ANX_ERR_LIMIT, "lr_scheduler/_milestones",
           "lr_scheduler: SequentialLR: '_milestones' has 10001 entries; at most 10000 are taken", .change = REPEAT,
           .number = 10001),
    BAD("lr_scheduler/last_epoch", "lr_scheduler: SequentialLR: 'last_epoch' is missing", .change = DELETE),
    BAD("lr_scheduler/_schedulers", "lr_scheduler: SequentialLR: '_schedulers' is a dict; a list was expected",
        .change = TO_DICT),
    BAD("lr_scheduler/_schedulers", "lr_scheduler: SequentialLR: '_schedulers' has 1 entries; 1 milestones want 2",
        .change = SHORTEN),
    BAD_AS(ANX_ERR_LIMIT, "lr_scheduler/_schedulers",
           "lr_scheduler: SequentialLR: '_schedulers' has 17 entries; at most 16 are taken", .change = REPEAT,
           .number = 17),
    BAD_AS(ANX_ERR_UNSUPPORTED, "lr_scheduler/_schedulers/0",
           "lr_scheduler: SequentialLR: _schedulers[0]: SequentialLR inside a SequentialLR", .change = TO_SCHEDULER),
    BAD_AS(ANX_ERR_UNSUPPORTED, "lr_scheduler/_schedulers/0/total_iters",
           "lr_scheduler: SequentialLR: _schedulers[0]: an unknown scheduler with the key 'power', which LinearLR has "
           "not" KNOWN,
           .change = RENAME, .text = "power"),
    BAD("lr_scheduler/_schedulers/1/step_size",
        "lr_scheduler: SequentialLR: _schedulers[1]: StepLR: 'step_size' is a float; an int was expected",
        .change = TO_FLOAT, .number = 2),
    BAD("lr_scheduler/_schedulers/1/gamma", "lr_scheduler: SequentialLR: _schedulers[1]: StepLR: 'gamma' is missing",
        .change = DELETE),
    BAD("lr_scheduler/_schedulers/1/base_lrs",
        "lr_scheduler: SequentialLR: _schedulers[1]: StepLR: 'base_lrs' has 1 entries; the optimizer has 2 parameter "
        "groups",
        .change = SHORTEN),
    BAD("lr_scheduler/_schedulers/1/base_lrs/1",
        "lr_scheduler: SequentialLR: _schedulers[1]: StepLR: 'base_lrs' is a str; a number was expected",
        .change = TO_TEXT, .text = "0.1"),

    BAD("epoch", "'epoch' is missing", .change = DELETE),
    BAD("epoch", "'epoch' is a float; an int was expected", .change = TO_FLOAT),
    BAD("epoch", "'epoch' is -2", .change = TO_INT, .number = -2),
    BAD("args", "'args' is a dict; an argparse.Namespace was expected", .change = TO_DICT),
    BAD("args/lr", "'args' has the key 5; names were expected", .change = RENAME_INT, .number = 5),

    BAD("anx", "'anx' is a str; a dict was expected", .change = TO_TEXT, .text = "x"),
    BAD_AS(ANX_ERR_UNSUPPORTED, "anx/version", "anx: version 2; 1 is known", .change = TO_INT, .number = 2),
    BAD("anx/options", "anx: 'options' is missing", .change = DELETE),
    BAD("anx/options", "anx: 'options' is None; a dict was expected", .change = TO_NONE),
    BAD("anx/step", "anx: 'step' is negative, -1", .change = TO_INT, .number = -1),
    BAD("anx/order_seed", "anx: 'order_seed' is an int beyond 64 bits", .change = TO_BIG_INT),
    BAD("anx/rng_state", "anx: 'rng_state' is an int; a tensor was expected", .change = TO_INT),
    BAD("anx/rng_state", "anx: 'rng_state' is of float32 and shape (2, 3); uint8 and (5056,) were expected",
        .change = TO_WEIGHT),
};

static void says_what_is_wrong_in_a_file(void) {
    const char *path = write_sample();
    for (size_t i = 0; i < sizeof bad_cases / sizeof bad_cases[0]; i++) check_case(path, &bad_cases[i]);
}

static void says_what_is_wrong_in_schedulers(void) {
    anx_saved_number lrs[2] = {{.value = 1}, {.value = 2}};
    anx_saved_milestone milestones[1] = {{3, 1}};
    training_sample(&model, &sample);
    sample.scheduler = (anx_saved_scheduler){.kind = ANX_SAVED_MULTI_STEP_LR,
                                             .base_lrs = {lrs, 2},
                                             .last_lr = {lrs, 2},
                                             .milestones = milestones,
                                             .n_milestones = 1};
    const char *path = write("multi.pth");
    check_case(path, &(bad_case)BAD("lr_scheduler/milestones",
                                    "lr_scheduler: MultiStepLR: 'milestones' is a dict; a collections.Counter was "
                                    "expected",
                                    .change = TO_DICT));
    training_sample(&model, &sample);
    sample.scheduler =
        (anx_saved_scheduler){.kind = ANX_SAVED_REDUCE_LR_ON_PLATEAU, .min_lrs = {lrs, 2}, .last_lr = {lrs, 2}};
    path = write("plateau.pth");
    check_case(path, &(bad_case)BAD("lr_scheduler/mode",
                                    "lr_scheduler: ReduceLROnPlateau: 'mode' is 'mid'; 'min' or 'max' was expected",
                                    .change = TO_TEXT, .text = "mid"));
    check_case(path, &(bad_case)BAD("lr_scheduler/default_min_lr",
                                    "lr_scheduler: ReduceLROnPlateau: 'default_min_lr' is a str; a number or None was "
                                    "expected",
                                    .change = TO_TEXT, .text = "x"));
    training_sample(&model, &sample);
    sample.scheduler =
        (anx_saved_scheduler){.kind = ANX_SAVED_EXPONENTIAL_LR, .base_lrs = {lrs, 2}, .last_lr = {lrs, 2}};
    path = write("exponential.pth");
    check_case(path, &(bad_case)BAD_AS(ANX_ERR_UNSUPPORTED, "lr_scheduler/gamma",
                                       "lr_scheduler: an unknown scheduler with the key 'lr_lambdas'" KNOWN,
                                       .change = RENAME, .text = "lr_lambdas"));
}

/* ---- files that hold it otherwise ----------------------------------------------------------------------- */

static void matches_parameters_by_place(void) {
    static const bad_case renumber[] = {
        {.path = "optimizer/param_groups/0/params/0", .change = TO_INT, .number = 11},
        {.path = "optimizer/param_groups/1/params/0", .change = TO_INT, .number = 10},
        {.path = "optimizer/state/0", .change = RENAME_INT, .number = 11},
    };
    anx_error err = ANX_ERROR_INIT;
    anx_pickle_tree tree = ANX_PICKLE_TREE_INIT;
    anx_checkpoint *checkpoint = open_file(write_sample());
    for (int i = 0; i < 3; i++) apply(&tree, anx_checkpoint_impl_of(checkpoint)->root, &renumber[i]);
    ANX_CHECK_OK(anx_training_state_read(checkpoint, &got, &err), &err);
    CU_ASSERT_TRUE(got.optimizer.n_buffers == 2 && got.optimizer.buffers[0].present);
    CU_ASSERT_FALSE(got.optimizer.buffers[1].present);
    anx_training_state_fini(&got);
    anx_pickle_tree_fini(&tree);
    anx_checkpoint_close(checkpoint);
}

/* 1.13: no default_min_lr, and _last_lr only after a step. */
static void reads_an_old_reduce_lr_on_plateau(void) {
    static const bad_case remove[] = {{.path = "lr_scheduler/default_min_lr", .change = DELETE},
                                      {.path = "lr_scheduler/_last_lr", .change = DELETE}};
    anx_saved_number min_lrs[2] = {{.value = 1}, {.value = 2}};
    anx_error err = ANX_ERROR_INIT;
    anx_pickle_tree tree = ANX_PICKLE_TREE_INIT;
    training_sample(&model, &sample);
    sample.scheduler =
        (anx_saved_scheduler){.kind = ANX_SAVED_REDUCE_LR_ON_PLATEAU, .min_lrs = {min_lrs, 2}, .last_lr = {min_lrs, 2}};
    anx_checkpoint *checkpoint = open_file(write("old.pth"));
    for (int i = 0; i < 2; i++) apply(&tree, anx_checkpoint_impl_of(checkpoint)->root, &remove[i]);
    ANX_CHECK_OK(anx_training_state_read(checkpoint, &got, &err), &err);
    CU_ASSERT_EQUAL(got.scheduler.default_min_lr.kind, ANX_SAVED_NONE);
    CU_ASSERT_EQUAL_FATAL(got.scheduler.last_lr.count, 2);
    for (int i = 0; i < 2; i++)
        CU_ASSERT_TRUE(same_number(&got.scheduler.last_lr.items[i], &sample.optimizer.groups[i].lr));
    anx_training_state_fini(&got);
    anx_pickle_tree_fini(&tree);
    anx_checkpoint_close(checkpoint);
}

static void refuses_what_is_no_training(void) {
    anx_error err = ANX_ERROR_INIT;
    training_sample(&model, &sample);
    const char *path = anx_test_path("plain.pth");
    ANX_CHECK_OK(anx_pth_write(path, &model, NULL, &err), &err);
    anx_state_dict_fini(&model);
    anx_checkpoint *checkpoint = open_file(path);
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_training_state_read(checkpoint, &got, &err), &err);
    ANX_CHECK_MESSAGE("a checkpoint of a training was expected", &err);
    anx_checkpoint_close(checkpoint);

    const anx_checkpoint_options as_stored = {.as_stored = true};
    checkpoint = NULL;
    ANX_CHECK_OK(anx_checkpoint_open(write_sample(), &as_stored, &checkpoint, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_training_state_read(checkpoint, &got, &err), &err);
    anx_checkpoint_close(checkpoint);
}

/* ---- states that do not fit ----------------------------------------------------------------------------- */

static void check_fit(const anx_training_expected *expected, const char *message) {
    anx_error err = ANX_ERROR_INIT;
    if (message == NULL) {
        ANX_CHECK_OK(anx_training_state_check(&sample, expected, &err), &err);
        return;
    }
    ANX_CHECK_STATUS(ANX_ERR_MISMATCH, anx_training_state_check(&sample, expected, &err), &err);
    CU_ASSERT_STRING_EQUAL(err.message, message);
}

static void compares_a_state_with_a_training(void) {
    training_sample(&model, &sample);
    const size_t sizes[] = {1, 1, 1};
    const char *const names[] = {"fc.weight", "fc.bias"};
    anx_tensor params[] = {model.items[0].tensor, model.items[1].tensor};
    anx_training_expected e = {
        .group_sizes = sizes, .n_groups = 2, .params = params, .names = names, .scheduler = ANX_SAVED_SEQUENTIAL_LR};
    check_fit(&e, NULL);
    e.n_groups = 3;
    check_fit(&e, "optimizer: 2 parameter groups; 3 were expected");
    e.n_groups = 2;
    e.group_sizes = (const size_t[]){1, 2};
    check_fit(&e, "optimizer: param_groups[1] has 1 parameters; 2 were expected");
    e.group_sizes = sizes;
    params[0].shape[1] = 4;
    check_fit(&e, "optimizer: the momentum_buffer of 'fc.weight' has shape (2, 3); (2, 4) was expected");
    params[0].shape[1] = 3;
    e.scheduler = ANX_SAVED_COSINE_ANNEALING_LR;
    check_fit(&e, "lr_scheduler: SequentialLR; CosineAnnealingLR was expected");
    anx_state_dict_fini(&model);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"writes torch.save's bytes", writes_torch_saves_bytes},
        {"reads what it wrote", reads_what_it_wrote},
        {"reads a checkpoint with the least in it", reads_a_checkpoint_with_the_least_in_it},
        {"reads ReduceLROnPlateau", reads_reduce_lr_on_plateau},
        {"reads missing data from the source", reads_missing_data_from_the_source},
        {"refuses states that are not sound", refuses_states_that_are_not_sound},
        {"says what is wrong in a file", says_what_is_wrong_in_a_file},
        {"says what is wrong in schedulers", says_what_is_wrong_in_schedulers},
        {"matches parameters by place", matches_parameters_by_place},
        {"reads an old ReduceLROnPlateau", reads_an_old_reduce_lr_on_plateau},
        {"refuses what is no training", refuses_what_is_no_training},
        {"compares a state with a training", compares_a_state_with_a_training},
        {NULL, NULL},
    };
    return anx_test_main("training_checkpoint", tests, argc, argv);
}
