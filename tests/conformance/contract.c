/* What backend.h promises about values, groups, parameters and plans. */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/harness.h"
#include "tests/conformance/suites.h"

static const anx_plan_mode modes[] = {ANX_PLAN_INFER, ANX_PLAN_OBSERVE};

static anx_value param_value(int param) {
    return (anx_value){ANX_VALUE_PARAM, param};
}

/* Calls check for every case in both modes. */
static void each_subject(void (*check)(subject *s, network *net)) {
    for (int i = 0; conformance_case_at(i) != NULL; i++)
        for (int m = 0; m < 2; m++) {
            network net;
            network_init(&net, conformance_case_at(i), DATA_NORMAL, (uint64_t)i + 100);
            subject s;
            subject_init(&s, &net, conformance_shared_device(), modes[m]);
            check(&s, &net);
            subject_fini(&s);
            network_fini(&net);
        }
}

/* ---- groups --------------------------------------------------------------------------------------------- */

static void expect_shape_of_groups(subject *s, network *net) {
    const anx_graph *graph = net->graph;
    const bool observe = anx_plan_get_mode(s->plan) == ANX_PLAN_OBSERVE;
    int next = 0;
    for (int g = 0; g < anx_plan_group_count(s->plan); g++) {
        const anx_group *group = anx_plan_group(s->plan, g);
        CU_ASSERT_TRUE(group->n_nodes >= 1);
        if (observe && group->n_nodes != 1) conformance_fail(s, group->nodes[0], "shares a group with others");
        for (int i = 0; i < group->n_nodes; i++)
            if (group->nodes[i] != next++) conformance_fail(s, group->nodes[i], "out of order in group %d", g);
        CU_ASSERT_EQUAL(group->n_inputs, 1);
        if (group->inputs[0] != graph->nodes[group->nodes[0]].inputs[0])
            conformance_fail(s, group->nodes[0], "the group says it reads node %d", group->inputs[0]);
        CU_ASSERT_EQUAL(anx_plan_group_of_node(s->plan, last_node(group)), g);
    }
    if (next != graph->n_nodes) conformance_fail(s, NO_NODE, "the groups cover %d of %d nodes", next, graph->n_nodes);
    if (anx_plan_group_of_node(s->plan, graph->logits) < 0) conformance_fail(s, graph->logits, "ends no group");
    CU_ASSERT_PTR_EQUAL(anx_plan_graph(s->plan), graph);
    CU_ASSERT_EQUAL(anx_plan_batch(s->plan), net->c->batch);
}

static void test_shape_of_groups(void) {
    each_subject(expect_shape_of_groups);
}

/*
 * Group by group, each given back what was read, in a second plan: the same bits as running whole. Copied as double,
 * which loses nothing of any device's values.
 */
static void expect_groups_add_up(subject *s, network *net) {
    write_value(s, anx_value_output(ANX_NODE_INPUT), &net->input);
    run_all(s);
    const int groups = anx_plan_group_count(s->plan), last = last_node(anx_plan_group(s->plan, groups - 1));
    anx_tensor whole = read_value(s, anx_value_output(last), ANX_F64);

    subject stepped;
    subject_init(&stepped, net, s->device, anx_plan_get_mode(s->plan));
    anx_tensor *outputs = calloc((size_t)net->graph->n_nodes, sizeof *outputs);
    if (outputs == NULL) abort();
    write_value(&stepped, anx_value_output(ANX_NODE_INPUT), &net->input);
    for (int g = 0; g < groups; g++) {
        run_groups(&stepped, g, 1);
        const int node = last_node(anx_plan_group(s->plan, g));
        outputs[node] = read_value(&stepped, anx_value_output(node), ANX_F64);
    }
    expect_same_bits(&stepped, last, &whole, &outputs[last]);

    /* Injection, in reverse order so that nothing left over from the group before can help. */
    for (int g = groups - 1; g >= 0; g--) {
        const anx_group *group = anx_plan_group(s->plan, g);
        const int source = group->inputs[0], node = last_node(group);
        write_value(&stepped, anx_value_output(source), source < 0 ? &net->input : &outputs[source]);
        run_groups(&stepped, g, 1);
        anx_tensor y = read_value(&stepped, anx_value_output(node), ANX_F64);
        expect_same_bits(&stepped, node, &outputs[node], &y);
        guarded_free(&y);
    }
    for (int node = 0; node < net->graph->n_nodes; node++) guarded_free(&outputs[node]);
    free(outputs);
    guarded_free(&whole);
    subject_fini(&stepped);
}

static void test_groups_add_up(void) {
    if (!conformance_plans_agree()) return;
    each_subject(expect_groups_add_up);
}

/* In observe mode a value stays what it is until its own group runs again, whatever is written beside it. */
static void expect_values_to_last(subject *s, network *net) {
    if (anx_plan_get_mode(s->plan) != ANX_PLAN_OBSERVE) return;
    write_value(s, anx_value_output(ANX_NODE_INPUT), &net->input);
    run_all(s);
    const int nodes = net->graph->n_nodes;
    anx_tensor *before = calloc((size_t)nodes + 1, sizeof *before);
    if (before == NULL) abort();
    for (int node = ANX_NODE_INPUT; node < nodes; node++) before[node + 1] = read_output(s, node);
    expect_same_bits(s, ANX_NODE_INPUT, &net->input, &before[0]);
    for (int node = ANX_NODE_INPUT; node < nodes; node++) {
        anx_tensor other = guarded_value(s->plan, anx_value_output(node), ANX_F32);
        fill_normal(&other, &net->random);
        write_value(s, anx_value_output(node), &other);
        for (int beside = ANX_NODE_INPUT; beside < nodes; beside++) {
            anx_tensor now = read_output(s, beside);
            expect_same_bits(s, beside, beside == node ? &other : &before[beside + 1], &now);
            guarded_free(&now);
        }
        write_value(s, anx_value_output(node), &before[node + 1]);
        guarded_free(&other);
    }
    synchronise(s); /* the device may still read what was written last */
    for (int node = 0; node <= nodes; node++) guarded_free(&before[node]);
    free(before);
}

static void test_values_last(void) {
    each_subject(expect_values_to_last);
}

/* ---- writing and reading -------------------------------------------------------------------------------- */

static void fill_with_specials(anx_tensor *t, test_random *r) {
    static const float special[] = {NAN, INFINITY, -INFINITY, -0.0f, 0x1p-149f, -0x1.8p-130f, 0x1.fffffep127f};
    fill_normal(t, r);
    for (int64_t i = 0; i < anx_tensor_elems(t); i++)
        if (test_random_int(r, 0, 4) == 0) floats(t)[i] = special[test_random_int(r, 0, 6)];
}

static void expect_round_trip(subject *s, network *net, anx_value value) {
    const int node = value.kind == ANX_VALUE_OUTPUT ? value.index : NO_NODE;
    anx_tensor x = guarded_value(s->plan, value, ANX_F32);
    fill_with_specials(&x, &net->random);
    anx_tensor kept = guarded_copy(&x);
    write_value(s, value, &x);
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_device_sync(s->device, &err), &err);
    expect_same_bits(s, node, &kept, &x); /* the host's memory is not the device's to change */
    memset(x.data, 0x7f, anx_tensor_bytes(&x));
    anx_tensor back = read_value(s, value, ANX_F32), wide = read_value(s, value, ANX_F64);
    expect_same_bits(s, node, &kept, &back);
    for (int64_t i = 0; i < anx_tensor_elems(&kept); i++)
        if (!same_bits((float)doubles(&wide)[i], floats(&kept)[i]) ||
            (isfinite(floats(&kept)[i]) && doubles(&wide)[i] != (double)floats(&kept)[i])) {
            conformance_fail(s, node, "element %lld: wrote %.9g, read %.17g", (long long)i, (double)floats(&kept)[i],
                             doubles(&wide)[i]);
            break;
        }
    /* Doubles between two floats are rounded to the nearest, at the latest when they are read as float32. */
    for (int64_t i = 0; i < anx_tensor_elems(&wide); i++)
        doubles(&wide)[i] = (double)test_random_normal(&net->random) * (1.0 + 0x1p-30 * (double)(i % 7));
    write_value(s, value, &wide);
    anx_tensor rounded = read_value(s, value, ANX_F32);
    for (int64_t i = 0; i < anx_tensor_elems(&wide); i++)
        if (!same_bits(floats(&rounded)[i], (float)doubles(&wide)[i])) {
            conformance_fail(s, node, "element %lld: wrote %.17g, read %.9g", (long long)i, doubles(&wide)[i],
                             (double)floats(&rounded)[i]);
            break;
        }
    guarded_free(&rounded);
    guarded_free(&wide);
    guarded_free(&back);
    guarded_free(&kept);
    guarded_free(&x);
}

static void expect_all_round_trips(subject *s, network *net) {
    expect_round_trip(s, net, anx_value_output(ANX_NODE_INPUT));
    for (int g = 0; g < anx_plan_group_count(s->plan); g++)
        expect_round_trip(s, net, anx_value_output(last_node(anx_plan_group(s->plan, g))));
    for (int i = 0; i < net->graph->n_params; i++) {
        anx_tensor now = read_value(s, param_value(i), ANX_F32);
        expect_same_bits(s, NO_NODE, &net->params[i], &now);
        guarded_free(&now);
        expect_round_trip(s, net, param_value(i));
    }
}

static void test_round_trips(void) {
    each_subject(expect_all_round_trips);
}

/* Where a value can be reached in place, that is the same as copying it. */
static void expect_pointers_to_fit(subject *s, network *net) {
    float *in_place = anx_plan_host_pointer(s->plan, anx_value_output(ANX_NODE_INPUT));
    if (in_place == NULL) return;
    write_value(s, anx_value_output(ANX_NODE_INPUT), &net->input);
    run_all(s);
    const int logits = net->graph->logits;
    const int groups = anx_plan_group_of_node(s->plan, logits) + 1;
    run_groups(s, 0, groups);
    anx_tensor copied = read_output(s, logits), nothing = guarded_copy(&net->input);
    memset(nothing.data, 0, anx_tensor_bytes(&nothing));
    write_value(s, anx_value_output(ANX_NODE_INPUT), &nothing);
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_device_sync(s->device, &err), &err);
    memcpy(in_place, net->input.data, anx_tensor_bytes(&net->input));
    run_groups(s, 0, groups);
    anx_tensor filled = read_output(s, logits);
    expect_same_bits(s, logits, &copied, &filled);
    const float *out = anx_plan_host_pointer(s->plan, anx_value_output(logits));
    if (out != NULL) CU_ASSERT_EQUAL(memcmp(out, filled.data, anx_tensor_bytes(&filled)), 0);
    guarded_free(&filled);
    guarded_free(&nothing);
    guarded_free(&copied);
}

static void test_pointers(void) {
    each_subject(expect_pointers_to_fit);
}

/* ---- parameters ----------------------------------------------------------------------------------------- */

static void expect_same_as_fresh(subject *s, network *net) {
    subject fresh;
    subject_init(&fresh, net, s->device, anx_plan_get_mode(s->plan));
    const subject *both[] = {s, &fresh};
    anx_tensor y[2];
    for (int i = 0; i < 2; i++) {
        write_value(both[i], anx_value_output(ANX_NODE_INPUT), &net->input);
        run_all(both[i]);
        y[i] = read_output(both[i], last_node(anx_plan_group(s->plan, anx_plan_group_count(s->plan) - 1)));
    }
    expect_same_bits(s, net->graph->n_nodes - 1, &y[1], &y[0]);
    guarded_free(&y[0]);
    guarded_free(&y[1]);
    subject_fini(&fresh);
}

/*
 * Replaced one after another, after the plan has run once: as if compiled with the new ones. The old memory and the
 * memory handed to write are the caller's again.
 */
static void expect_replaced_parameters(subject *s, network *net) {
    write_value(s, anx_value_output(ANX_NODE_INPUT), &net->input);
    run_all(s);
    for (int i = 0; i < net->graph->n_params; i++) {
        anx_tensor old = net->params[i], fresh = guarded_copy(&old), handed = ANX_TENSOR_INIT;
        for (int64_t k = 0; k < anx_tensor_elems(&fresh); k++)
            floats(&fresh)[k] = test_random_normal(&net->random) * 0.3f;
        handed = guarded_copy(&fresh);
        write_value(s, param_value(i), &handed);
        anx_error err = ANX_ERROR_INIT;
        ANX_CHECK_OK(anx_device_sync(s->device, &err), &err);
        memset(handed.data, 0xff, anx_tensor_bytes(&handed));
        memset(old.data, 0xff, anx_tensor_bytes(&old));
        net->params[i] = fresh;
        expect_same_as_fresh(s, net);
        guarded_free(&handed);
        guarded_free(&old);
    }
}

static void test_replaced_parameters(void) {
    if (!conformance_plans_agree()) return;
    each_subject(expect_replaced_parameters);
}

/* ---- plans ---------------------------------------------------------------------------------------------- */

static void run_from(const subject *s, const anx_tensor *input, anx_tensor *logits) {
    write_value(s, anx_value_output(ANX_NODE_INPUT), input);
    run_groups(s, 0, anx_plan_group_of_node(s->plan, s->net->graph->logits) + 1);
    *logits = read_output(s, s->net->graph->logits);
}

/* The same bits again, after another input in between. */
static void expect_repeatable(subject *s, network *net) {
    anx_tensor first, between, again, other = guarded_copy(&net->input);
    fill_normal(&other, &net->random);
    run_from(s, &net->input, &first);
    run_from(s, &other, &between);
    run_from(s, &net->input, &again);
    expect_same_bits(s, net->graph->logits, &first, &again);
    /* anx_plan_forward is the same in one call. */
    anx_tensor forward = guarded_copy(&between);
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_plan_forward(s->plan, &other, &forward, &err), &err);
    expect_same_bits(s, net->graph->logits, &between, &forward);
    guarded_free(&forward);
    guarded_free(&again);
    guarded_free(&between);
    guarded_free(&first);
    guarded_free(&other);
}

static void test_repeatable(void) {
    each_subject(expect_repeatable);
}

/* Two plans of one device, their groups interleaved, one destroyed before the other. */
static void expect_independent(subject *s, network *net) {
    anx_tensor alone, together;
    run_from(s, &net->input, &alone);
    network other_net;
    network_init(&other_net, net->c, DATA_NORMAL, 7);
    subject other;
    subject_init(&other, &other_net, s->device, anx_plan_get_mode(s->plan));
    anx_tensor other_alone, other_together;
    run_from(&other, &other_net.input, &other_alone);
    const int last = anx_plan_group_of_node(s->plan, net->graph->logits);
    write_value(s, anx_value_output(ANX_NODE_INPUT), &net->input);
    write_value(&other, anx_value_output(ANX_NODE_INPUT), &other_net.input);
    for (int g = 0; g <= last; g++) {
        run_groups(s, g, 1);
        run_groups(&other, g, 1);
    }
    together = read_output(s, net->graph->logits);
    other_together = read_output(&other, net->graph->logits);
    expect_same_bits(s, net->graph->logits, &alone, &together);
    expect_same_bits(&other, net->graph->logits, &other_alone, &other_together);
    guarded_free(&together);
    subject_fini(&other);
    network_fini(&other_net);
    run_from(s, &net->input, &together);
    expect_same_bits(s, net->graph->logits, &alone, &together);
    guarded_free(&together);
    guarded_free(&alone);
    guarded_free(&other_alone);
    guarded_free(&other_together);
}

static void test_independent(void) {
    each_subject(expect_independent);
}

/* ---- threads -------------------------------------------------------------------------------------------- */

/* The narrow network: the last case. */
static const conformance_case *narrow_case(void) {
    int i = 0;
    while (conformance_case_at(i + 1) != NULL) i++;
    return conformance_case_at(i);
}

/* Integers come out the same with any number of threads. */
static void test_thread_counts(void) {
    if (!conformance_plans_agree()) return;
    network net;
    network_init(&net, narrow_case(), DATA_INTEGERS, 3);
    anx_tensor first = ANX_TENSOR_INIT;
    static const int counts[] = {1, 2, 3, 8, 0};
    for (int i = 0; i < 5; i++) {
        anx_device *device = conformance_open(counts[i]);
        subject s;
        subject_init(&s, &net, device, ANX_PLAN_INFER);
        anx_tensor y;
        /* classifier.1 lies behind an average of 3x3 windows, which is no integer: compare what comes before. */
        write_value(&s, anx_value_output(ANX_NODE_INPUT), &net.input);
        const int node = anx_graph_find_node(net.graph, "features.7");
        const int group = anx_plan_group_of_node(s.plan, node);
        CU_ASSERT_TRUE_FATAL(group >= 0);
        run_groups(&s, 0, group + 1);
        y = read_output(&s, node);
        if (i == 0) first = guarded_copy(&y);
        expect_same_bits(&s, node, &first, &y);
        guarded_free(&y);
        subject_fini(&s);
        anx_device_close(device);
    }
    guarded_free(&first);
    network_fini(&net);
}

typedef struct worker {
    pthread_t thread;
    network *net;
    anx_tensor expected;
    bool good;
} worker;

/* CUnit's assertions are not for several threads: a worker says whether all went well. */
static void *work(void *user) {
    worker *w = user;
    anx_error *err = malloc(sizeof *err);
    anx_device *device = NULL;
    anx_plan *plan = NULL;
    w->good = false;
    if (err == NULL || conformance_open_device(1, &device, err) != ANX_OK) goto out;
    const anx_plan_desc desc = {.graph = w->net->graph,
                                .batch = w->net->c->batch,
                                .mode = ANX_PLAN_INFER,
                                .params = w->net->params,
                                .n_params = w->net->graph->n_params};
    if (anx_plan_create(device, &desc, &plan, err) != ANX_OK) goto out;
    anx_tensor y = guarded_copy(&w->expected);
    w->good = true;
    for (int i = 0; i < 20; i++) {
        memset(y.data, 0xff, anx_tensor_bytes(&y));
        w->good = w->good && anx_plan_forward(plan, &w->net->input, &y, err) == ANX_OK &&
                  memcmp(y.data, w->expected.data, anx_tensor_bytes(&y)) == 0;
    }
    guarded_free(&y);
out:
    anx_plan_destroy(plan);
    anx_device_close(device);
    free(err);
    return NULL;
}

/* Several callers, each with a device of its own, sharing graph and parameters. */
static void test_many_callers(void) {
    if (!conformance_plans_agree()) return;
    enum { WORKERS = 4 };
    network net;
    network_init(&net, narrow_case(), DATA_NORMAL, 3);
    anx_device *device = conformance_open(1);
    subject s;
    subject_init(&s, &net, device, ANX_PLAN_INFER);
    worker workers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        workers[i].net = &net;
        run_from(&s, &net.input, &workers[i].expected);
    }
    for (int i = 0; i < WORKERS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    for (int i = 0; i < WORKERS; i++) {
        CU_ASSERT_EQUAL(pthread_join(workers[i].thread, NULL), 0);
        CU_ASSERT_TRUE(workers[i].good);
        guarded_free(&workers[i].expected);
    }
    subject_fini(&s);
    anx_device_close(device);
    network_fini(&net);
}

const anx_test contract_tests[] = {
    {"groups_cover_every_node_once_and_in_order", test_shape_of_groups},
    {"running_group_by_group_from_copies_is_running_whole", test_groups_add_up},
    {"an_observed_value_stays_until_its_own_group_runs_again", test_values_last},
    {"what_is_written_is_read_back", test_round_trips},
    {"values_reached_in_place_are_the_values_copied", test_pointers},
    {"parameters_replaced_after_compilation_take_effect", test_replaced_parameters},
    {"the_same_input_gives_the_same_bits_again", test_repeatable},
    {"two_plans_of_a_device_do_not_disturb_each_other", test_independent},
    {"the_number_of_threads_does_not_change_exact_sums", test_thread_counts},
    {"several_callers_run_at_once", test_many_callers},
    {NULL, NULL},
};
