/* From files to a graph's parameters, on the narrow architecture. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint.h"
#include "loaders/checkpoint/pth_writer.h"
#include "loaders/checkpoint/safetensors.h"
#include "tests/support/anx_test.h"

static anx_error err;

static float value_of(int param, int64_t i) {
    return (float)((i * 37 + param * 1000) % 2039) / 64.0f - 12.0f;
}

/* The parameters of the narrow architecture with that many classes, filled by value_of. */
static void make_params(anx_state_dict *dict, int64_t classes) {
    anx_graph *graph = NULL;
    ANX_CHECK_OK(anx_graph_create(anx_arch_find("narrow"), classes, 0, 0, &graph, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(graph);
    for (int p = 0; p < graph->n_params; p++) {
        anx_tensor t = ANX_TENSOR_INIT;
        ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, graph->params[p].rank, graph->params[p].shape, &t, &err), &err);
        for (int64_t i = 0; i < anx_tensor_elems(&t); i++) ((float *)t.data)[i] = value_of(p, i);
        ANX_CHECK_OK(anx_state_dict_add(dict, graph->params[p].name, &t, &err), &err);
    }
    anx_graph_destroy(graph);
}

static void check_params(const anx_model *model) {
    int wrong = 0;
    for (int p = 0; p < model->graph->n_params; p++) {
        const anx_tensor *t = &model->params[p];
        CU_ASSERT(t->dtype == ANX_F32 && anx_tensor_is_contiguous(t));
        CU_ASSERT_EQUAL(t->rank, model->graph->params[p].rank);
        for (int64_t i = 0; i < anx_tensor_elems(t); i++) wrong += ((const float *)t->data)[i] != value_of(p, i);
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static anx_checkpoint *open_file(const char *path) {
    anx_checkpoint *checkpoint = NULL;
    ANX_CHECK_OK(anx_checkpoint_open(path, NULL, &checkpoint, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(checkpoint);
    return checkpoint;
}

static anx_checkpoint *write_and_open(const anx_state_dict *dict) {
    const anx_pth_options force = {.force = true};
    const char *path = anx_test_path("bind.pth");
    ANX_CHECK_OK(anx_pth_write(path, dict, &force, &err), &err);
    return open_file(path);
}

static anx_model *bind_model(anx_checkpoint *checkpoint) {
    anx_model *model = NULL;
    ANX_CHECK_OK(anx_model_bind(checkpoint, NULL, 0, 0, &model, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(model);
    return model;
}

static void what_we_write_we_bind_in_place(void) {
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    make_params(&dict, 5);
    anx_checkpoint *checkpoint = write_and_open(&dict);
    anx_model *model = bind_model(checkpoint);
    CU_ASSERT_STRING_EQUAL(model->graph->arch->name, "narrow");
    CU_ASSERT_EQUAL(model->graph->num_classes, 5);
    CU_ASSERT_EQUAL(model->n_converted, 0);
    check_params(model);
    for (int p = 0; p < model->graph->n_params; p++) {
        CU_ASSERT_PTR_NULL(model->params[p].owned);
        CU_ASSERT_PTR_EQUAL(model->params[p].data,
                            anx_state_dict_find(&checkpoint->tensors, model->graph->params[p].name)->data);
    }
    anx_model_destroy(model);
    anx_model_destroy(NULL);
    anx_checkpoint_close(checkpoint);
    anx_checkpoint_close(NULL);
    anx_state_dict_fini(&dict);
}

static void a_safetensors_checkpoint_binds_too(void) {
    anx_state_dict dict = ANX_STATE_DICT_INIT, prefixed = ANX_STATE_DICT_INIT;
    make_params(&dict, 3);
    for (size_t i = 0; i < dict.count; i++) {
        char name[128];
        snprintf(name, sizeof name, "module.%s", dict.items[i].name);
        anx_tensor view = dict.items[i].tensor;
        view.owned = NULL;
        ANX_CHECK_OK(anx_state_dict_add(&prefixed, name, &view, &err), &err);
    }
    const anx_state_dict *const dicts[] = {&dict, &prefixed};
    for (int i = 0; i < 2; i++) {
        const char *path = anx_test_path("weights.pth"); /* told by its content, whatever its name */
        ANX_CHECK_OK(anx_safetensors_write(path, dicts[i], NULL, 0, true, &err), &err);
        anx_checkpoint *checkpoint = open_file(path);
        CU_ASSERT_STRING_EQUAL(checkpoint->format, "safetensors");
        CU_ASSERT_EQUAL(checkpoint->module_prefix_removed, i == 1);
        anx_model *model = bind_model(checkpoint);
        CU_ASSERT_EQUAL(model->graph->num_classes, 3);
        check_params(model);
        anx_model_destroy(model);
        anx_checkpoint_close(checkpoint);
    }
    anx_state_dict_fini(&prefixed);
    anx_state_dict_fini(&dict);
}

/* Replaces one tensor of the dict by itself in another dtype (values of value_of are exact in all of them). */
static void convert(anx_state_dict *dict, size_t i, anx_dtype dtype) {
    anx_tensor t = ANX_TENSOR_INIT;
    ANX_CHECK_OK(anx_tensor_convert(&dict->items[i].tensor, dtype, &t, &err), &err);
    anx_tensor_fini(&dict->items[i].tensor);
    dict->items[i].tensor = t;
}

static void other_floating_types_are_converted_and_counted(void) {
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    make_params(&dict, 5);
    convert(&dict, 2, ANX_F64);
    convert(&dict, 5, ANX_F16);
    anx_checkpoint *checkpoint = write_and_open(&dict);
    anx_model *model = bind_model(checkpoint);
    CU_ASSERT_EQUAL(model->n_converted, 2);
    CU_ASSERT_EQUAL(model->converted_from, 1u << ANX_F64 | 1u << ANX_F16);
    check_params(model);
    anx_model_destroy(model);
    anx_checkpoint_close(checkpoint);
    anx_state_dict_fini(&dict);
}

/* Turns a matrix into the transpose of its transpose: the same values, other strides. */
static void strided_tensors_are_gathered(void) {
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    make_params(&dict, 5);
    anx_tensor *t = NULL;
    for (size_t i = 0; i < dict.count && t == NULL; i++)
        if (dict.items[i].tensor.rank == 2) t = &dict.items[i].tensor;
    CU_ASSERT_PTR_NOT_NULL_FATAL(t);
    anx_tensor swapped = *t, gathered = ANX_TENSOR_INIT;
    swapped.shape[0] = t->shape[1];
    swapped.shape[1] = t->shape[0];
    swapped.stride[0] = 1;
    swapped.stride[1] = t->stride[0];
    ANX_CHECK_OK(anx_tensor_convert(&swapped, ANX_F32, &gathered, &err), &err);
    gathered.shape[0] = t->shape[0];
    gathered.shape[1] = t->shape[1];
    gathered.stride[1] = t->shape[0];
    gathered.stride[0] = 1;
    anx_tensor_fini(t);
    *t = gathered;
    CU_ASSERT_FALSE(anx_tensor_is_contiguous(t));
    anx_checkpoint *checkpoint = write_and_open(&dict);
    anx_model *model = bind_model(checkpoint);
    check_params(model);
    CU_ASSERT_EQUAL(model->n_converted, 0);
    anx_model_destroy(model);
    anx_checkpoint_close(checkpoint);
    anx_state_dict_fini(&dict);
}

static void the_number_of_classes_comes_from_the_shapes(void) {
    static const int64_t classes[] = {1, 2, 999};
    for (size_t i = 0; i < 3; i++) {
        anx_state_dict dict = ANX_STATE_DICT_INIT;
        make_params(&dict, classes[i]);
        anx_checkpoint *checkpoint = write_and_open(&dict);
        anx_model *model = bind_model(checkpoint);
        CU_ASSERT_EQUAL(model->graph->num_classes, classes[i]);
        anx_model_destroy(model);
        anx_checkpoint_close(checkpoint);
        anx_state_dict_fini(&dict);
    }
}

/* The words are PyTorch's own (torch_judge.py compares them with PyTorch); here so that they are held without it. */
static void misfits_are_listed_in_pytorchs_words(void) {
    static const float ones[3] = {1, 1, 1};
    static const int64_t integers[18];
    anx_state_dict all = ANX_STATE_DICT_INIT, dict = ANX_STATE_DICT_INIT;
    make_params(&all, 11);
    for (size_t i = 0; i < all.count; i++) {
        const char *name = all.items[i].name;
        anx_tensor view = all.items[i].tensor;
        view.owned = NULL;
        if (strcmp(name, "features.3.bias") == 0 || strcmp(name, "classifier.1.weight") == 0) continue;
        if (strcmp(name, "features.0.bias") == 0) view = anx_tensor_view(ANX_F32, 1, (int64_t[]){3}, ones);
        if (strcmp(name, "features.5.bias") == 0) view = anx_tensor_view(ANX_I64, 1, (int64_t[]){18}, integers);
        ANX_CHECK_OK(anx_state_dict_add(&dict, name, &view, &err), &err);
    }
    const anx_tensor extra = anx_tensor_view(ANX_F32, 1, (int64_t[]){3}, ones);
    ANX_CHECK_OK(anx_state_dict_add(&dict, "fc.weight", &extra, &err), &err);
    ANX_CHECK_OK(anx_state_dict_add(&dict, "fc.\x1b[31m", &extra, &err), &err);
    anx_checkpoint *checkpoint = write_and_open(&dict);
    anx_model *model = NULL;
    ANX_CHECK_STATUS(ANX_ERR_MISMATCH, anx_model_bind(checkpoint, NULL, 0, 0, &model, &err), &err);
    CU_ASSERT_PTR_NULL(model);
    CU_ASSERT_STRING_EQUAL(
        err.message, "Error(s) in loading state_dict for narrow:\n"
                     "\tMissing key(s) in state_dict: \"features.3.bias\", \"classifier.1.weight\".\n"
                     "\tUnexpected key(s) in state_dict: \"fc.weight\", \"fc.\\x1b[31m\".\n"
                     "\tsize mismatch for features.0.bias: copying a param with shape torch.Size([3]) from checkpoint, "
                     "the shape in current model is torch.Size([10]).\n"
                     "\tdtype mismatch for features.5.bias: the checkpoint has int64, a floating-point type was "
                     "expected.");
    CU_ASSERT_STRING_EQUAL(err.file, checkpoint->path);
    anx_checkpoint_close(checkpoint);
    anx_state_dict_fini(&dict);
    anx_state_dict_fini(&all);
}

/* The last layer's weight written transposed: the bias says how many classes there are, and is not blamed. */
static void a_transposed_head_is_blamed_alone(void) {
    anx_state_dict all = ANX_STATE_DICT_INIT, dict = ANX_STATE_DICT_INIT;
    make_params(&all, 11);
    for (size_t i = 0; i < all.count; i++) {
        anx_tensor view = all.items[i].tensor;
        view.owned = NULL;
        if (strcmp(all.items[i].name, "classifier.3.weight") == 0)
            view = anx_tensor_view(ANX_F32, 2, (int64_t[]){70, 11}, view.data);
        ANX_CHECK_OK(anx_state_dict_add(&dict, all.items[i].name, &view, &err), &err);
    }
    anx_checkpoint *checkpoint = write_and_open(&dict);
    anx_model *model = NULL;
    ANX_CHECK_STATUS(ANX_ERR_MISMATCH, anx_model_bind(checkpoint, NULL, 0, 0, &model, &err), &err);
    CU_ASSERT_STRING_EQUAL(err.message, "Error(s) in loading state_dict for narrow:\n"
                                        "\tsize mismatch for classifier.3.weight: copying a param with shape "
                                        "torch.Size([70, 11]) from checkpoint, the shape in current model is "
                                        "torch.Size([11, 70]).");
    anx_checkpoint_close(checkpoint);
    anx_state_dict_fini(&dict);
    anx_state_dict_fini(&all);
}

static void a_list_too_long_for_a_message_is_counted(void) {
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    make_params(&dict, 11);
    static const float one = 1;
    const anx_tensor t = anx_tensor_view(ANX_F32, 0, NULL, &one);
    for (int i = 0; i < 5000; i++) {
        char name[32];
        snprintf(name, sizeof name, "extra.%d", i);
        ANX_CHECK_OK(anx_state_dict_add(&dict, name, &t, &err), &err);
    }
    anx_checkpoint *checkpoint = write_and_open(&dict);
    anx_model *model = NULL;
    ANX_CHECK_STATUS(ANX_ERR_MISMATCH, anx_model_bind(checkpoint, NULL, 0, 0, &model, &err), &err);
    const char *more = strstr(err.message, "\n\t... and ");
    CU_ASSERT_PTR_NOT_NULL_FATAL(more);
    /* Those listed and those counted are all of them. */
    int listed = 0;
    for (const char *p = err.message; (p = strstr(p, "\"extra.")) != NULL; p++) listed++;
    CU_ASSERT_EQUAL(listed + atoi(more + 10), 5000 + 1); /* the full stop is left out too */
    anx_checkpoint_close(checkpoint);
    anx_state_dict_fini(&dict);
}

static void a_checkpoint_of_no_known_architecture_says_so(void) {
    static const float one = 1;
    const anx_tensor t = anx_tensor_view(ANX_F32, 0, NULL, &one);
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    ANX_CHECK_OK(anx_state_dict_add(&dict, "layer1.0.conv1.weight", &t, &err), &err);
    anx_checkpoint *checkpoint = write_and_open(&dict);
    anx_model *model = NULL;
    ANX_CHECK_STATUS(ANX_ERR_MISMATCH, anx_model_bind(checkpoint, NULL, 0, 0, &model, &err), &err);
    ANX_CHECK_MESSAGE("none of its 1 tensors ('layer1.0.conv1.weight', ...) is a parameter of an architecture that is "
                      "known",
                      &err);
    anx_checkpoint_close(checkpoint);
    anx_state_dict_fini(&dict);
}

/* One stored number under a bias of 2^27 classes: nothing is gathered on the word of a shape. */
static void an_expanded_tensor_is_not_gathered_without_bound(void) {
    const int64_t classes = (int64_t)1 << 27;
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    make_params(&dict, 11);
    static const float one = 1;
    for (size_t i = 0; i < dict.count; i++) {
        anx_tensor *t = &dict.items[i].tensor;
        if (strncmp(dict.items[i].name, "classifier.3.", 13) != 0) continue;
        anx_tensor_fini(t);
        const bool bias = strstr(dict.items[i].name, "bias") != NULL;
        *t = anx_tensor_view(ANX_F32, bias ? 1 : 2, (int64_t[]){classes, 70}, &one);
        t->stride[0] = t->stride[1] = 0;
    }
    anx_checkpoint *checkpoint = write_and_open(&dict);
    CU_ASSERT(checkpoint->file_bytes < 200000);
    anx_model *model = NULL;
    ANX_CHECK_STATUS(ANX_ERR_LIMIT, anx_model_bind(checkpoint, NULL, 0, 0, &model, &err), &err);
    ANX_CHECK_MESSAGE("entry 'classifier.3.weight': 9395240960 elements expanded from fewer that are stored; at most "
                      "67108864 are gathered so",
                      &err);
    anx_checkpoint_close(checkpoint);
    anx_state_dict_fini(&dict);
}

static void digests_do_not_depend_on_threads_or_storage(void) {
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    make_params(&dict, 5);
    for (int threads = 1; threads <= 3; threads++) {
        if (threads == 3) convert(&dict, 4, ANX_F64); /* the digest is of the float32 parameter */
        anx_checkpoint *checkpoint = write_and_open(&dict);
        anx_model *model = bind_model(checkpoint);
        CU_ASSERT_PTR_NULL(model->digests);
        ANX_CHECK_OK(anx_model_digests(model, threads, &err), &err);
        CU_ASSERT_PTR_NOT_NULL_FATAL(model->digests);
        for (int p = 0; p < model->graph->n_params; p++) {
            anx_digest expected;
            ANX_CHECK_OK(anx_tensor_digest(&model->params[p], &expected, &err), &err);
            CU_ASSERT(anx_digest_equal(&expected, &model->digests[p]));
        }
        anx_model_destroy(model);
        anx_checkpoint_close(checkpoint);
    }
    anx_state_dict_fini(&dict);
}

static void a_resized_model_shares_its_parameters(void) {
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    make_params(&dict, 5);
    convert(&dict, 0, ANX_F64);
    anx_checkpoint *checkpoint = write_and_open(&dict);
    anx_model *model = bind_model(checkpoint), *resized = NULL;
    ANX_CHECK_OK(anx_model_digests(model, 1, &err), &err);
    ANX_CHECK_OK(anx_model_resize(model, 40, 51, &resized, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(resized);
    CU_ASSERT(resized->graph->input.dim[1] == 40 && resized->graph->input.dim[2] == 51);
    CU_ASSERT_EQUAL(resized->graph->num_classes, 5);
    CU_ASSERT_EQUAL(resized->n_converted, 1);
    for (int p = 0; p < model->graph->n_params; p++) {
        CU_ASSERT_PTR_EQUAL(resized->params[p].data, model->params[p].data);
        CU_ASSERT(anx_digest_equal(&resized->digests[p], &model->digests[p]));
    }
    anx_model_destroy(resized);
    resized = NULL;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_model_resize(model, 3, 3, &resized, &err), &err);
    CU_ASSERT_PTR_NULL(resized);
    check_params(model);
    anx_model_destroy(model);
    anx_checkpoint_close(checkpoint);
    anx_state_dict_fini(&dict);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"what_we_write_we_bind_in_place", what_we_write_we_bind_in_place},
        {"a_safetensors_checkpoint_binds_too", a_safetensors_checkpoint_binds_too},
        {"other_floating_types_are_converted_and_counted", other_floating_types_are_converted_and_counted},
        {"strided_tensors_are_gathered", strided_tensors_are_gathered},
        {"the_number_of_classes_comes_from_the_shapes", the_number_of_classes_comes_from_the_shapes},
        {"misfits_are_listed_in_pytorchs_words", misfits_are_listed_in_pytorchs_words},
        {"a transposed head is blamed alone", a_transposed_head_is_blamed_alone},
        {"a_list_too_long_for_a_message_is_counted", a_list_too_long_for_a_message_is_counted},
        {"a_checkpoint_of_no_known_architecture_says_so", a_checkpoint_of_no_known_architecture_says_so},
        {"an_expanded_tensor_is_not_gathered_without_bound", an_expanded_tensor_is_not_gathered_without_bound},
        {"digests_do_not_depend_on_threads_or_storage", digests_do_not_depend_on_threads_or_storage},
        {"a_resized_model_shares_its_parameters", a_resized_model_shares_its_parameters},
        {NULL, NULL},
    };
    return anx_test_main("bind", tests, argc, argv);
}
