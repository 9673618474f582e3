/* Opening devices, and the mistakes a caller can make with one. */
#include <stdio.h>
#include <string.h>

#include "tests/conformance/harness.h"
#include "tests/conformance/suites.h"

static const conformance_case *case_named(const char *name) {
    for (int i = 0; conformance_case_at(i) != NULL; i++)
        if (strcmp(conformance_case_at(i)->arch.name, name) == 0) return conformance_case_at(i);
    CU_FAIL_FATAL("no such case");
    return NULL;
}

static void test_description(void) {
    anx_device *device = conformance_open(1);
    anx_device_info info;
    memset(&info, 0, sizeof info);
    anx_device_describe(device, &info);
    CU_ASSERT_PTR_NOT_NULL_FATAL(info.backend);
    CU_ASSERT_EQUAL(strncmp(conformance_device, info.backend, strlen(info.backend)), 0);
    CU_ASSERT_PTR_NOT_NULL(info.device);
    CU_ASSERT_PTR_NOT_NULL(info.library);
    CU_ASSERT_PTR_NOT_NULL(info.isa);
    CU_ASSERT_PTR_NOT_NULL(info.arithmetic);
    CU_ASSERT_TRUE(info.arithmetic == NULL || info.arithmetic[0] != '\0');
    CU_ASSERT_EQUAL(info.threads, 1);
    CU_ASSERT_TRUE(info.math <= conformance_math); /* it may do better than it was allowed to, never worse */
    /* What is fastest is found by timing, and need not be the same each time. */
    CU_ASSERT_TRUE(info.deterministic || info.math == ANX_MATH_FAST);
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_device_sync(device, &err), &err);
    anx_device_close(device);
}

static void test_names(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_device *device = NULL;
    const char *const backend = conformance_backend()->name;
    char name[64];
    snprintf(name, sizeof name, "%s:%d", backend, conformance_ordinal());
    ANX_CHECK_OK(anx_device_open(name, NULL, &device, &err), &err);
    anx_device_close(device);
    device = NULL;
    snprintf(name, sizeof name, "%s:999", backend);
    ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND, anx_device_open(name, NULL, &device, &err), &err);
    ANX_CHECK_MESSAGE("there is no device", &err);
    snprintf(name, sizeof name, "%s:", backend);
    ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND, anx_device_open(name, NULL, &device, &err), &err);
    snprintf(name, sizeof name, "%sx", backend);
    ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND, anx_device_open(name, NULL, &device, &err), &err);
    ANX_CHECK_MESSAGE("unknown device", &err);
    ANX_CHECK_MESSAGE(backend, &err); /* among those known */
    CU_ASSERT_PTR_NULL(device);
}

/* A table of another interface version is refused before anything else in it is looked at. */
static void test_abi(void) {
    struct {
        uint32_t abi_version;
    } alien = {ANX_BACKEND_ABI_VERSION + 1};
    anx_error err = ANX_ERROR_INIT;
    anx_device *device = NULL;
    ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED,
                     anx_device_open_backend((const anx_backend *)(const void *)&alien, 0, NULL, &device, &err), &err);
    ANX_CHECK_MESSAGE("interface version", &err);
    CU_ASSERT_PTR_NULL(device);
    CU_ASSERT_EQUAL(conformance_backend()->abi_version, ANX_BACKEND_ABI_VERSION);
    ANX_CHECK_OK(anx_device_open_backend(conformance_backend(), conformance_ordinal(), NULL, &device, &err), &err);
    anx_device_close(device);
}

static void test_refused_plans(void) {
    network net;
    network_init(&net, case_named("conv, relu, flatten, linear"), DATA_NORMAL, 1);
    anx_device *device = conformance_shared_device();
    const anx_plan_desc good = {
        .graph = net.graph, .batch = 2, .mode = ANX_PLAN_INFER, .params = net.params, .n_params = net.graph->n_params};
    anx_error err = ANX_ERROR_INIT;
    anx_plan *const untouched = (anx_plan *)(void *)&net, *plan = untouched;

    anx_plan_desc desc = good;
    desc.batch = 0;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_plan_create(device, &desc, &plan, &err), &err);
    desc.batch = INT64_MAX / 4;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_plan_create(device, &desc, &plan, &err), &err);
    ANX_CHECK_MESSAGE("overflows", &err);
    desc = good;
    desc.n_params--;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_plan_create(device, &desc, &plan, &err), &err);
    ANX_CHECK_MESSAGE("takes 4 parameters, got 3", &err);

    if (conformance_backend()->plan_run_backward == NULL) {
        desc = good;
        desc.mode = ANX_PLAN_TRAIN;
        ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_plan_create(device, &desc, &plan, &err), &err);
        ANX_CHECK_MESSAGE("has no plans for training", &err);
    }
    anx_plan *forward_only = NULL;
    ANX_CHECK_OK(anx_plan_create(device, &good, &forward_only, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_plan_run_groups_backward(forward_only, 0, 1, &err), &err);
    anx_plan_destroy(forward_only);

    const anx_tensor kept = net.params[2];
    net.params[2].shape[0]++;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_plan_create(device, &good, &plan, &err), &err);
    ANX_CHECK_MESSAGE("parameter 'l.weight' must be contiguous float32 (23, 330), got float32 (24, 330)", &err);
    net.params[2] = kept;
    net.params[2].dtype = ANX_F64;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_plan_create(device, &good, &plan, &err), &err);
    net.params[2] = kept;
    net.params[2].stride[0]++;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_plan_create(device, &good, &plan, &err), &err);
    ANX_CHECK_MESSAGE("strided", &err);
    net.params[2] = kept;
    CU_ASSERT_PTR_EQUAL(plan, untouched);
    anx_plan_destroy(NULL);
    network_fini(&net);
}

/* A batch too large for any memory is an error, not a crash; a later, ordinary plan still works. */
static void test_memory_refused(void) {
    network net;
    network_init(&net, case_named("linear, odd sizes"), DATA_NORMAL, 1);
    anx_plan_desc desc = {.graph = net.graph,
                          .batch = (int64_t)1 << 40,
                          .mode = ANX_PLAN_OBSERVE,
                          .params = net.params,
                          .n_params = net.graph->n_params};
    anx_error err = ANX_ERROR_INIT;
    anx_plan *plan = NULL;
    const anx_status status = anx_plan_create(conformance_shared_device(), &desc, &plan, &err);
    CU_ASSERT_TRUE(status == ANX_ERR_OUT_OF_MEMORY || status == ANX_ERR_DEVICE || status == ANX_ERR_UNSUPPORTED ||
                   status == ANX_ERR_INVALID_ARGUMENT);
    CU_ASSERT_PTR_NULL(plan);
    desc.batch = 1;
    ANX_CHECK_OK(anx_plan_create(conformance_shared_device(), &desc, &plan, &err), &err);
    anx_plan_destroy(plan);
    network_fini(&net);
}

static void test_refused_values(void) {
    network net;
    network_init(&net, case_named("conv, relu, flatten, linear"), DATA_NORMAL, 1);
    for (int mode = ANX_PLAN_INFER; mode <= ANX_PLAN_OBSERVE; mode++) {
        subject s;
        subject_init(&s, &net, conformance_shared_device(), (anx_plan_mode)mode);
        anx_error err = ANX_ERROR_INIT;
        anx_tensor x = guarded_copy(&net.input);
        const anx_value wrong[] = {
            anx_value_output(-2),    anx_value_output(net.graph->n_nodes),
            {ANX_VALUE_PARAM, -1},   {ANX_VALUE_PARAM, net.graph->n_params},
            {ANX_VALUE_MASK, 0},     {ANX_VALUE_ARGMAX, 0},
            {(anx_value_kind)99, 0},
        };
        for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
            ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_plan_write(s.plan, wrong[i], &x, &err), &err);
            ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_plan_read(s.plan, wrong[i], &x, &err), &err);
            ANX_CHECK_MESSAGE("there is no value of kind", &err);
            CU_ASSERT_PTR_NULL(anx_plan_host_pointer(s.plan, wrong[i]));
        }
        /* The right value, the wrong tensor. */
        ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_plan_write(s.plan, anx_value_output(0), &x, &err), &err);
        ANX_CHECK_MESSAGE("'c' is copied to and from contiguous float32 or float64 (3, 11, 6, 5), got float32 "
                          "(3, 3, 6, 5)",
                          &err);
        anx_tensor odd = x;
        odd.dtype = ANX_I32;
        ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_plan_write(s.plan, anx_value_output(-1), &odd, &err), &err);
        odd = x;
        odd.stride[1]++;
        ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_plan_read(s.plan, anx_value_output(-1), &odd, &err), &err);
        /* Gradients belong to training plans. */
        ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_plan_read(s.plan, (anx_value){ANX_VALUE_GRAD, -1}, &x, &err), &err);
        guarded_free(&x);

        const int groups = anx_plan_group_count(s.plan);
        ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_plan_run_groups(s.plan, -1, 1, &err), &err);
        ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_plan_run_groups(s.plan, 0, groups + 1, &err), &err);
        ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_plan_run_groups(s.plan, groups, 1, &err), &err);
        ANX_CHECK_OK(anx_plan_run_groups(s.plan, groups, 0, &err), &err);
        subject_fini(&s);
    }
    network_fini(&net);
}

/* The inside of a fused group can be neither read nor written. */
static void test_unreadable_values(void) {
    for (int i = 0; conformance_case_at(i) != NULL; i++) {
        network net;
        network_init(&net, conformance_case_at(i), DATA_NORMAL, 1);
        subject s;
        subject_init(&s, &net, conformance_shared_device(), ANX_PLAN_INFER);
        for (int g = 0; g < anx_plan_group_count(s.plan); g++) {
            const anx_group *group = anx_plan_group(s.plan, g);
            for (int k = 0; k + 1 < group->n_nodes; k++) {
                const anx_value inner = anx_value_output(group->nodes[k]);
                anx_tensor t = guarded_value(s.plan, inner, ANX_F32);
                anx_error err = ANX_ERROR_INIT;
                ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_plan_read(s.plan, inner, &t, &err), &err);
                ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_plan_write(s.plan, inner, &t, &err), &err);
                CU_ASSERT_PTR_NULL(anx_plan_host_pointer(s.plan, inner));
                guarded_free(&t);
            }
        }
        subject_fini(&s);
        network_fini(&net);
    }
}

static void test_refused_networks(void) {
    for (int i = 0; conformance_refused_at(i) != NULL; i++) {
        const conformance_case *c = conformance_refused_at(i);
        anx_error err = ANX_ERROR_INIT;
        anx_graph *graph = NULL;
        const anx_status status = anx_graph_create(&c->arch, 0, c->height, c->width, &graph, &err);
        if (status != ANX_ERR_INVALID_ARGUMENT || graph != NULL) CU_FAIL("a network that has no output was accepted");
        CU_ASSERT_STRING_EQUAL(err.layer, c->arch.layers[c->arch.n_layers - 1].name);
        anx_graph_destroy(graph);
    }
}

const anx_test device_tests[] = {
    {"a_device_describes_itself", test_description},
    {"devices_open_by_name_and_ordinal_alone", test_names},
    {"another_interface_version_is_refused_unseen", test_abi},
    {"wrong_plans_are_refused_with_what_was_wrong", test_refused_plans},
    {"a_batch_beyond_all_memory_is_an_error", test_memory_refused},
    {"wrong_values_are_refused_with_what_was_wrong", test_refused_values},
    {"the_inside_of_a_fused_group_cannot_be_reached", test_unreadable_values},
    {"networks_without_an_output_are_refused", test_refused_networks},
    {NULL, NULL},
};
