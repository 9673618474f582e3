/* What backend.h promises about train plans: order, values, frozen parameters, repeats. */
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/harness.h"
#include "tests/conformance/suites.h"

static int groups_to_logits(const subject *s) {
    return anx_plan_group_of_node(s->plan, s->net->graph->logits) + 1;
}

static void expect_same_gradients(const subject *s, const gradients *expected, const gradients *got) {
    for (int node = 0; node < expected->graph->n_nodes; node++)
        if (got->of_node[node].data != NULL) expect_same_bits(s, node, &expected->of_node[node], &got->of_node[node]);
    for (int i = 0; i < expected->graph->n_params; i++)
        if (got->of_param[i].data != NULL)
            expect_same_bits(s, expected->graph->params[i].node, &expected->of_param[i], &got->of_param[i]);
}

static void expect_again(const subject *s, const anx_tensor *dy, const gradients *expected) {
    gradients got;
    run_both_ways(s, dy);
    read_gradients(&got, s, NULL);
    expect_same_gradients(s, expected, &got);
    gradients_fini(&got);
}

/* ---- order ---------------------------------------------------------------------------------------------- */

/* A second pass overwrites; group by group, each from a copy of what it needs, is the whole. */
static void check_steps(network *net) {
    subject s;
    subject_init_trained(&s, net, conformance_shared_device(), NULL);
    anx_tensor dy = draw_logits_grad(net, DATA_NORMAL), other = draw_logits_grad(net, DATA_NORMAL);
    gradients whole, stepped;
    run_both_ways(&s, &dy);
    read_gradients(&whole, &s, NULL);
    run_both_ways(&s, &other);
    expect_again(&s, &dy, &whole);

    run_both_ways(&s, &other); /* what is left over must not help */
    write_value(&s, grad_value(net->graph->logits), &dy);
    for (int g = groups_to_logits(&s) - 1; g >= 0; g--) {
        const int last = last_node(anx_plan_group(s.plan, g));
        run_groups_backward(&s, g, 1);
        write_value(&s, grad_value(last), &whole.of_node[last]);
        run_groups_backward(&s, g, 1);
    }
    read_gradients(&stepped, &s, NULL);
    expect_same_gradients(&s, &whole, &stepped);
    gradients_fini(&stepped);
    gradients_fini(&whole);
    guarded_free(&other);
    guarded_free(&dy);
    subject_fini(&s);
}

static void test_steps(void) {
    each_lifted(DATA_NORMAL, check_steps);
}

/* ---- parameters ----------------------------------------------------------------------------------------- */

/* Backward goes by the parameters that were written last, like forward: as if compiled with them. */
static void check_replaced(network *net) {
    subject s;
    subject_init_trained(&s, net, conformance_shared_device(), NULL);
    anx_tensor dy = draw_logits_grad(net, DATA_NORMAL);
    run_both_ways(&s, &dy);
    for (int i = 0; i < net->graph->n_params; i++) {
        anx_tensor old = net->params[i], handed = guarded_copy(&old);
        for (int64_t k = 0; k < anx_tensor_elems(&handed); k++)
            floats(&handed)[k] = 0.5f * floats(&old)[k] + 0.25f * test_random_normal(&net->random);
        net->params[i] = guarded_copy(&handed);
        write_value(&s, (anx_value){ANX_VALUE_PARAM, i}, &handed);
        anx_error err = ANX_ERROR_INIT;
        ANX_CHECK_OK(anx_device_sync(s.device, &err), &err);
        memset(handed.data, 0xff, anx_tensor_bytes(&handed));
        memset(old.data, 0xff, anx_tensor_bytes(&old));
        guarded_free(&handed);
        guarded_free(&old);
    }
    subject fresh;
    subject_init_trained(&fresh, net, s.device, NULL);
    gradients expected;
    run_both_ways(&fresh, &dy);
    read_gradients(&expected, &fresh, NULL);
    expect_again(&s, &dy, &expected);
    gradients_fini(&expected);
    subject_fini(&fresh);
    guarded_free(&dy);
    subject_fini(&s);
}

static void test_replaced(void) {
    if (!conformance_plans_agree()) return;
    each_lifted(DATA_NORMAL, check_replaced);
}

static void expect_unreadable(const subject *s, int node, anx_value value) {
    anx_tensor t = guarded_value(s->plan, value, ANX_F32);
    anx_error err = ANX_ERROR_INIT;
    if (anx_plan_read(s->plan, value, &t, &err) != ANX_ERR_UNSUPPORTED)
        conformance_fail(s, node, "a gradient of kind %d that nobody asked for can be read", (int)value.kind);
    if (anx_plan_write(s->plan, value, &t, &err) != ANX_ERR_UNSUPPORTED)
        conformance_fail(s, node, "a gradient of kind %d that nobody asked for can be written", (int)value.kind);
    if (anx_plan_host_pointer(s->plan, value) != NULL)
        conformance_fail(s, node, "a gradient of kind %d that nobody asked for can be reached", (int)value.kind);
    guarded_free(&t);
}

/* On integers, so that another algorithm for what is left would have to give the same. */
static void expect_frozen(const network *net, const bool *trained, const anx_tensor *dy, const gradients *all) {
    subject s;
    subject_init_trained(&s, net, conformance_shared_device(), trained);
    const int lowest = lowest_trained(net->graph, trained);
    if (lowest > net->graph->logits) {
        for (int i = 0; i < net->graph->n_params; i++)
            expect_unreadable(&s, net->graph->params[i].node, param_grad_value(i));
        subject_fini(&s);
        return;
    }
    gradients got;
    run_both_ways(&s, dy);
    read_gradients(&got, &s, trained);
    expect_same_gradients(&s, all, &got);
    for (int i = 0; i < net->graph->n_params; i++)
        if (!trained[i]) expect_unreadable(&s, net->graph->params[i].node, param_grad_value(i));
    for (int node = ANX_NODE_INPUT; node < lowest; node++) expect_unreadable(&s, node, grad_value(node));
    gradients_fini(&got);
    subject_fini(&s);
}

static void check_frozen(network *net) {
    for (int node = 0; node <= net->graph->logits; node++)
        if (!node_is_exact(&net->graph->nodes[node])) return;
    subject s;
    subject_init_trained(&s, net, conformance_shared_device(), NULL);
    anx_tensor dy = draw_logits_grad(net, DATA_INTEGERS);
    gradients all;
    run_both_ways(&s, &dy);
    read_gradients(&all, &s, NULL);
    const int n = net->graph->n_params;
    bool *trained = calloc((size_t)n + 1, sizeof *trained);
    if (trained == NULL) abort();
    for (int first = 1; first <= n; first++) { /* up to all of them frozen */
        for (int i = 0; i < n; i++) trained[i] = i >= first;
        expect_frozen(net, trained, &dy, &all);
    }
    for (int odd = 0; odd < 2; odd++) { /* the weights alone, the biases alone */
        for (int i = 0; i < n; i++) trained[i] = i % 2 == odd;
        expect_frozen(net, trained, &dy, &all);
    }
    free(trained);
    gradients_fini(&all);
    guarded_free(&dy);
    subject_fini(&s);
}

static void test_frozen(void) {
    if (!conformance_plans_agree()) return;
    each_lifted(DATA_INTEGERS, check_frozen);
}

/* ---- values --------------------------------------------------------------------------------------------- */

static void expect_round_trip(const subject *s, int node, anx_value value, test_random *r) {
    anx_tensor x = guarded_value(s->plan, value, ANX_F32);
    fill_normal(&x, r);
    write_value(s, value, &x);
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_device_sync(s->device, &err), &err);
    anx_tensor kept = guarded_copy(&x);
    memset(x.data, 0x7f, anx_tensor_bytes(&x));
    anx_tensor back = read_value(s, value, ANX_F32), wide = read_value(s, value, ANX_F64);
    expect_same_bits(s, node, &kept, &back);
    for (int64_t i = 0; i < anx_tensor_elems(&wide); i++)
        if (doubles(&wide)[i] != (double)floats(&kept)[i]) {
            conformance_fail(s, node, "kind %d: wrote %.9g, read %.17g", (int)value.kind, (double)floats(&kept)[i],
                             doubles(&wide)[i]);
            break;
        }
    write_value(s, value, &wide);
    guarded_free(&back);
    back = read_value(s, value, ANX_F32);
    expect_same_bits(s, node, &kept, &back);
    guarded_free(&back);
    guarded_free(&wide);
    guarded_free(&kept);
    guarded_free(&x);
}

/* Winners other than the layer's own are taken as they are: the window's last element in place of the largest. */
static void expect_written_winners(const subject *s, int node, int g) {
    const anx_node *nd = &s->net->graph->nodes[node];
    const anx_pool2d_params *p = &nd->layer->u.pool;
    const int64_t out_h = nd->out.dim[1], out_w = nd->out.dim[2], h = nd->in.dim[1], w = nd->in.dim[2];
    anx_tensor winners = guarded_value(s->plan, (anx_value){ANX_VALUE_ARGMAX, node}, ANX_I64);
    anx_tensor dy = guarded_value(s->plan, grad_value(node), ANX_F32);
    anx_tensor dx = guarded_value(s->plan, grad_value(nd->inputs[0]), ANX_F32);
    for (int64_t i = 0; i < anx_tensor_elems(&dx); i++) floats(&dx)[i] = 0.0f;
    for (int64_t i = 0; i < anx_tensor_elems(&dy); i++) {
        const int64_t bottom = i / out_w % out_h * p->stride_h - p->pad_h + p->kernel_h - 1;
        const int64_t right = i % out_w * p->stride_w - p->pad_w + p->kernel_w - 1;
        const int64_t at = (bottom < h ? bottom : h - 1) * w + (right < w ? right : w - 1);
        ((int64_t *)winners.data)[i] = at;
        floats(&dy)[i] = (float)(i % 7) - 3.0f;
        floats(&dx)[i / (out_h * out_w) * h * w + at] += floats(&dy)[i];
    }
    write_value(s, (anx_value){ANX_VALUE_ARGMAX, node}, &winners);
    anx_tensor back = read_value(s, (anx_value){ANX_VALUE_ARGMAX, node}, ANX_I64);
    CU_ASSERT_EQUAL(memcmp(back.data, winners.data, anx_tensor_bytes(&back)), 0);
    guarded_free(&back);
    write_value(s, grad_value(node), &dy);
    run_groups_backward(s, g, 1);
    back = read_value(s, grad_value(nd->inputs[0]), ANX_F32);
    for (int64_t i = 0; i < anx_tensor_elems(&dx); i++)
        if (floats(&back)[i] != floats(&dx)[i]) {
            conformance_fail(s, node, "with winners that were written, gradient %lld is %g, not %g", (long long)i,
                             (double)floats(&back)[i], (double)floats(&dx)[i]);
            break;
        }
    guarded_free(&back);
    guarded_free(&dx);
    guarded_free(&dy);
    guarded_free(&winners);
}

static void check_values(network *net) {
    subject s;
    subject_init_trained(&s, net, conformance_shared_device(), NULL);
    write_value(&s, anx_value_output(ANX_NODE_INPUT), &net->input);
    run_all(&s);
    for (int g = 0; g < groups_to_logits(&s); g++) {
        const anx_group *group = anx_plan_group(s.plan, g);
        const int node = last_node(group);
        expect_round_trip(&s, node, grad_value(node), &net->random);
        const anx_op op = net->graph->nodes[node].layer->op;
        if (op == ANX_OP_DROPOUT) expect_round_trip(&s, node, (anx_value){ANX_VALUE_MASK, node}, &net->random);
        if (op == ANX_OP_MAX_POOL2D && group->n_nodes == 1) expect_written_winners(&s, node, g);
        for (int k = 0; k + 1 < group->n_nodes; k++) {
            expect_unreadable(&s, group->nodes[k], grad_value(group->nodes[k]));
        }
    }
    subject_fini(&s);
}

static void test_values(void) {
    each_lifted(DATA_NORMAL, check_values);
}

/* ---- refusals ------------------------------------------------------------------------------------------- */

static const conformance_case *case_named(const char *name) {
    for (int i = 0; conformance_case_at(i) != NULL; i++)
        if (strcmp(conformance_case_at(i)->arch.name, name) == 0) return conformance_case_at(i);
    CU_FAIL_FATAL("no such case");
    return NULL;
}

/* What nobody has written or computed yet. */
static void expect_zeros(const subject *s, int node, anx_value value) {
    anx_tensor t = read_value(s, value, ANX_F64);
    for (int64_t i = 0; i < anx_tensor_elems(&t); i++)
        if (doubles(&t)[i] != 0.0) {
            conformance_fail(s, node, "a gradient that was not computed is %g", doubles(&t)[i]);
            break;
        }
    guarded_free(&t);
}

static void test_out_of_order(void) {
    conformance_lifted lifted;
    conformance_lift(case_named("logits before the last row"), &lifted);
    network net;
    network_init(&net, &lifted.c, DATA_NORMAL, 1);
    subject s;
    subject_init_trained(&s, &net, conformance_shared_device(), NULL);
    const int groups = groups_to_logits(&s), logits = net.graph->logits;
    anx_tensor dy = draw_logits_grad(&net, DATA_NORMAL);
    anx_tensor dw = guarded_value(s.plan, param_grad_value(0), ANX_F32);
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_plan_run_groups_backward(s.plan, 0, groups, &err), &err);
    ANX_CHECK_MESSAGE("before it ran forward", &err);
    write_value(&s, anx_value_output(ANX_NODE_INPUT), &net.input);
    run_all(&s);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_plan_run_groups_backward(s.plan, 0, groups, &err), &err);
    ANX_CHECK_MESSAGE("neither written nor computed", &err);
    expect_zeros(&s, logits, grad_value(logits));
    expect_zeros(&s, 0, param_grad_value(0));
    ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_plan_write(s.plan, param_grad_value(0), &dw, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT,
                     anx_plan_run_groups_backward(s.plan, 0, anx_plan_group_count(s.plan) + 1, &err), &err);
    write_value(&s, grad_value(logits), &dy);
    ANX_CHECK_OK(anx_plan_run_groups_backward(s.plan, groups, 0, &err), &err);
    ANX_CHECK_OK(anx_plan_run_groups_backward(s.plan, 0, groups, &err), &err);
    ANX_CHECK_OK(anx_plan_read(s.plan, param_grad_value(0), &dw, &err), &err);
    synchronise(&s); /* the device writes into one and reads from the other until then */
    guarded_free(&dw);
    guarded_free(&dy);
    subject_fini(&s);
    network_fini(&net);
}

static void test_hostile_winners(void) {
    conformance_lifted lifted;
    conformance_lift(case_named("max-pool, windows apart"), &lifted);
    network net;
    network_init(&net, &lifted.c, DATA_NORMAL, 1);
    subject s;
    subject_init_trained(&s, &net, conformance_shared_device(), NULL);
    const anx_value argmax = {ANX_VALUE_ARGMAX, net.graph->logits};
    anx_tensor winners = guarded_value(s.plan, argmax, ANX_I64);
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_plan_read(s.plan, argmax, &winners, &err), &err);
    ANX_CHECK_MESSAGE("before the layer has run", &err);
    run_all(&s);
    guarded_free(&winners);
    winners = read_value(&s, argmax, ANX_I64);
    int64_t *w = winners.data;
    const int64_t good = w[0], bad[] = {-1, 110, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        w[0] = bad[i];
        ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_plan_write(s.plan, argmax, &winners, &err), &err);
        ANX_CHECK_MESSAGE("element 0 of the winners of 'p'", &err);
    }
    w[0] = good;
    ANX_CHECK_OK(anx_plan_write(s.plan, argmax, &winners, &err), &err);
    anx_tensor wrong = guarded_value(s.plan, anx_value_output(net.graph->logits), ANX_F32);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_plan_read(s.plan, argmax, &wrong, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_plan_write(s.plan, argmax, &wrong, &err), &err);
    guarded_free(&wrong);
    guarded_free(&winners);
    subject_fini(&s);
    network_fini(&net);
}

/* Gradients, masks and winners belong to train plans. */
static void test_other_modes(void) {
    network net;
    network_init(&net, case_named("linear, relu, dropout, linear, softmax"), DATA_NORMAL, 1);
    for (int mode = ANX_PLAN_INFER; mode <= ANX_PLAN_OBSERVE; mode++) {
        subject s;
        subject_init(&s, &net, conformance_shared_device(), (anx_plan_mode)mode);
        const anx_value values[] = {
            grad_value(net.graph->logits), param_grad_value(0), {ANX_VALUE_MASK, anx_graph_find_node(net.graph, "d1")}};
        for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
            expect_unreadable(&s, net.graph->logits, values[i]);
        subject_fini(&s);
    }
    network_fini(&net);
}

/* ---- threads -------------------------------------------------------------------------------------------- */

/* Exact sums come out the same with any number of threads; all sums do where the device says how it computes them. */
static void test_thread_counts(void) {
    if (!conformance_plans_agree()) return;
    for (int kind = DATA_INTEGERS; kind <= DATA_NORMAL; kind++) {
        anx_device_info info;
        anx_device_describe(conformance_shared_device(), &info);
        if (kind == DATA_NORMAL && !info.pytorch_bits && !conformance_is_double()) continue;
        conformance_lifted lifted;
        conformance_lift(case_named(kind == DATA_NORMAL ? "narrow" : "conv, relu, pool, conv, relu, pool"), &lifted);
        network net;
        network_init(&net, &lifted.c, (data_kind)kind, 5);
        anx_tensor dy = draw_logits_grad(&net, (data_kind)kind);
        gradients first;
        for (int threads = 1; threads <= 4; threads++) {
            anx_device *device = conformance_open(threads);
            subject s;
            subject_init_trained(&s, &net, device, NULL);
            run_both_ways(&s, &dy);
            gradients got;
            read_gradients(threads == 1 ? &first : &got, &s, NULL);
            if (threads > 1) {
                expect_same_gradients(&s, &first, &got);
                gradients_fini(&got);
            }
            subject_fini(&s);
            anx_device_close(device);
        }
        gradients_fini(&first);
        guarded_free(&dy);
        network_fini(&net);
    }
}

const anx_test training_tests[] = {
    {"running_backward_group_by_group_or_again_gives_the_same_gradients", test_steps},
    {"backward_goes_by_replaced_parameters", test_replaced},
    {"frozen_parameters_have_no_gradients_and_change_no_others", test_frozen},
    {"gradients_masks_and_winners_are_taken_as_written", test_values},
    {"running_backward_too_early_is_refused", test_out_of_order},
    {"winners_outside_their_planes_are_refused", test_hostile_winners},
    {"plans_of_other_modes_have_no_gradients", test_other_modes},
    {"the_number_of_threads_changes_no_exact_gradient", test_thread_counts},
    {NULL, NULL},
};
