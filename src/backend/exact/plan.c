#include "src/backend/exact/plan.h"

#include <stdlib.h>
#include <string.h>

#include "src/backend/memory_plan.h"
#include "src/base/checked.h"

/* `elems` floats for each of `times`, on a vector's boundary. */
static anx_status alloc_floats(int64_t elems, int64_t times, float **out, anx_error *err) {
    int64_t total, bytes;
    size_t rounded;
    if (!anx_checked_mul_i64(elems, times, &total) || !anx_checked_mul_i64(total, (int64_t)sizeof(float), &bytes) ||
        !anx_checked_align_size((size_t)bytes, ANX_ALIGNMENT_BYTES, &rounded))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "%lld times %lld floats overflow the address space",
                             (long long)times, (long long)elems);
    float *p = aligned_alloc(ANX_ALIGNMENT_BYTES, rounded > 0 ? rounded : ANX_ALIGNMENT_BYTES);
    if (p == NULL)
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory: %zu bytes for the exact backend", rounded);
    *out = p;
    return ANX_OK;
}

static void *zeroed(int count, size_t bytes) {
    return calloc(count > 0 ? (size_t)count : 1, bytes);
}

/* ---- groups --------------------------------------------------------------------------------------------- */

static bool is_identity(anx_op op) {
    return op == ANX_OP_DROPOUT || op == ANX_OP_FLATTEN;
}

static bool is_weighted(anx_op op) {
    return op == ANX_OP_CONV2D || op == ANX_OP_LINEAR;
}

/* True if node+1 reads node alone, and nobody else needs node's output. */
static bool next_takes_over(const anx_graph *graph, int node) {
    if (node == graph->logits || node + 1 == graph->n_nodes) return false;
    const anx_node *next = &graph->nodes[node + 1];
    if (next->n_inputs != 1 || next->inputs[0] != node) return false;
    for (int i = node + 2; i < graph->n_nodes; i++)
        for (int j = 0; j < graph->nodes[i].n_inputs; j++)
            if (graph->nodes[i].inputs[j] == node) return false;
    return true;
}

/* The last node of the group that starts with `first`. */
static int group_end(const anx_graph *graph, int first, anx_plan_mode mode) {
    int last = first;
    if (mode != ANX_PLAN_INFER) return last;
    while (is_identity(graph->nodes[last].layer->op) && next_takes_over(graph, last)) last++;
    if (is_weighted(graph->nodes[last].layer->op) && next_takes_over(graph, last) &&
        graph->nodes[last + 1].layer->op == ANX_OP_RELU)
        last++;
    return last;
}

static void make_groups(anx_exact_plan *plan, anx_plan_mode mode) {
    const anx_graph *graph = plan->graph;
    for (int i = 0; i < graph->n_nodes; i++) plan->group_nodes[i] = i;
    for (int first = 0; first < graph->n_nodes;) {
        const int last = group_end(graph, first, mode);
        anx_group *group = &plan->groups[plan->n_groups++];
        group->nodes = &plan->group_nodes[first];
        group->n_nodes = last - first + 1;
        group->n_inputs = graph->nodes[first].n_inputs;
        memcpy(group->inputs, graph->nodes[first].inputs, sizeof group->inputs);
        anx_exact_plan_value(plan, last)->visible = true;
        for (int i = first; i <= last; i++) {
            const anx_op op = graph->nodes[i].layer->op;
            plan->nodes[i].group = plan->n_groups - 1;
            plan->nodes[i].elsewhere = (op == ANX_OP_RELU && i > first) || (op == ANX_OP_DROPOUT && i < last);
        }
        first = last + 1;
    }
    anx_exact_plan_value(plan, ANX_NODE_INPUT)->visible = true;
}

/* ---- values --------------------------------------------------------------------------------------------- */

/* The zero columns that the convolutions reading a value want, through nodes that only pass it on. */
static int64_t border_wanted(const anx_exact_plan *plan, int value) {
    int64_t border = 0;
    for (int i = plan->graph->n_nodes - 1; i > value && i >= 0; i--)
        for (int j = 0; j < plan->graph->nodes[i].n_inputs; j++) {
            if (plan->graph->nodes[i].inputs[j] != value) continue;
            int64_t wanted = 0;
            if (plan->graph->nodes[i].layer->op == ANX_OP_CONV2D)
                wanted = plan->graph->nodes[i].conv.pad_w;
            else if (plan->nodes[i].elsewhere)
                wanted = anx_exact_plan_value(plan, i)->layout.border;
            if (wanted > border) border = wanted;
        }
    return border;
}

/* The input keeps its few channels where convolutions alone read it: the other kernels take whole blocks. */
static bool may_be_narrow(const anx_exact_plan *plan, int value) {
    for (int i = 0; i < plan->graph->n_nodes; i++)
        for (int j = 0; j < plan->graph->nodes[i].n_inputs; j++)
            if (plan->graph->nodes[i].inputs[j] == value && plan->graph->nodes[i].layer->op != ANX_OP_CONV2D)
                return false;
    return value == ANX_NODE_INPUT;
}

/* The zero columns that the way back through a value's own node wants in its gradient. */
static int64_t grad_border_wanted(const anx_exact_plan *plan, int value) {
    const anx_node *node = value < 0 ? NULL : &plan->graph->nodes[value];
    return node != NULL && node->layer->op == ANX_OP_CONV2D ? anx_exact_conv_back_border(&node->conv) : 0;
}

static anx_status lay_out_values(anx_exact_plan *plan, anx_error *err) {
    for (int i = plan->graph->n_nodes - 1; i >= ANX_NODE_INPUT; i--) { /* readers first: they want borders */
        anx_exact_layout *layout = &anx_exact_plan_value(plan, i)->layout;
        if (!anx_exact_layout_init(layout, anx_graph_extent(plan->graph, i), border_wanted(plan, i),
                                   may_be_narrow(plan, i)))
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the values overflow the address space");
    }
    for (int i = ANX_NODE_INPUT; i < plan->graph->n_nodes && plan->mode == ANX_PLAN_TRAIN; i++)
        if (!anx_exact_layout_init(&anx_exact_plan_value(plan, i)->grad_layout, anx_graph_extent(plan->graph, i),
                                   grad_border_wanted(plan, i), false))
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the gradients overflow the address space");
    for (int i = 0; i < plan->graph->n_nodes; i++) /* inputs first: their borders may be wider than what is wanted */
        if (plan->nodes[i].elsewhere)
            anx_exact_plan_value(plan, i)->layout = anx_exact_plan_value(plan, plan->graph->nodes[i].inputs[0])->layout;
    return ANX_OK;
}

/* The value in whose memory a value lies: a fused ReLU's in its group's first, an idle dropout's in its input. */
static int home_of(const anx_exact_plan *plan, int value) {
    while (value >= 0 && plan->nodes[value].elsewhere) value = plan->graph->nodes[value].inputs[0];
    return value;
}

static anx_status check_bytes(const anx_exact_plan *plan, const anx_exact_value *value, size_t *bytes, anx_error *err) {
    size_t elems;
    if (anx_checked_mul_size((size_t)value->layout.image_elems, (size_t)plan->batch, &elems) &&
        anx_checked_mul_size(elems, sizeof(float), bytes))
        return ANX_OK;
    return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "a batch of %lld overflows the address space",
                         (long long)plan->batch);
}

/* The groups between which each value must be kept, by its home: index 0 is the input's, as in plan->values. */
static anx_status find_lifetimes(const anx_exact_plan *plan, anx_buffer *buffers, anx_error *err) {
    const anx_graph *graph = plan->graph;
    for (int i = ANX_NODE_INPUT; i < graph->n_nodes; i++) {
        anx_buffer *buffer = &buffers[i + 1];
        buffer->first = buffer->last = i < 0 ? 0 : plan->nodes[i].group;
        if (home_of(plan, i) != i) continue; /* no bytes of its own */
        anx_status status = check_bytes(plan, anx_exact_plan_value(plan, i), &buffer->bytes, err);
        if (status != ANX_OK) return status;
    }
    for (int i = 0; i < graph->n_nodes; i++)
        for (int j = 0; j < graph->nodes[i].n_inputs; j++) {
            anx_buffer *read = &buffers[home_of(plan, graph->nodes[i].inputs[j]) + 1];
            if (read->last < plan->nodes[i].group) read->last = plan->nodes[i].group;
        }
    /* Run again without being written again; and what the run was for. */
    buffers[0].last = buffers[home_of(plan, graph->logits) + 1].last = plan->n_groups;
    return ANX_OK;
}

/* Values that do not live at the same time share memory. */
static anx_status alloc_shared(anx_exact_plan *plan, anx_error *err) {
    const int n = plan->graph->n_nodes + 1;
    size_t bytes = 0;
    anx_buffer *buffers = zeroed(n, sizeof *buffers);
    if (buffers == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    anx_status status = find_lifetimes(plan, buffers, err);
    if (status == ANX_OK && !anx_memory_plan(buffers, n, ANX_ALIGNMENT_BYTES, &bytes))
        status = anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "a batch of %lld overflows the address space",
                               (long long)plan->batch);
    if (status == ANX_OK) status = alloc_floats((int64_t)(bytes / sizeof(float)), 1, &plan->shared, err);
    for (int i = 0; i < n && status == ANX_OK; i++)
        plan->values[i].data = plan->shared + buffers[home_of(plan, i - 1) + 1].offset / sizeof(float);
    free(buffers);
    return status;
}

/* Each has its own. */
static anx_status alloc_apart(anx_exact_plan *plan, anx_error *err) {
    for (int i = ANX_NODE_INPUT; i < plan->graph->n_nodes; i++) {
        anx_exact_value *value = anx_exact_plan_value(plan, i);
        anx_status status = alloc_floats(value->layout.image_elems, plan->batch, &value->owned, err);
        if (status != ANX_OK) return status;
        value->data = value->owned;
    }
    return ANX_OK;
}

/* Memory that stays zero where nothing writes. */
static anx_status alloc_zeros(int64_t elems, int64_t times, float **out, anx_error *err) {
    anx_status status = alloc_floats(elems, times, out, err);
    if (status == ANX_OK) memset(*out, 0, (size_t)(elems * times) * sizeof **out);
    return status;
}

/* The value's readers; whether there are several. */
static bool find_readers(const anx_exact_plan *plan, int value) {
    int readers = 0;
    anx_exact_value *v = anx_exact_plan_value(plan, value);
    v->last_reader = -1;
    for (int i = 0; i < plan->graph->n_nodes; i++)
        for (int j = 0; j < plan->graph->nodes[i].n_inputs; j++)
            if (plan->graph->nodes[i].inputs[j] == value) {
                v->last_reader = i;
                readers++;
            }
    return readers > 1;
}

static anx_status alloc_grads(anx_exact_plan *plan, anx_error *err) {
    int64_t most = 0;
    anx_status status = ANX_OK;
    for (int i = plan->lowest; i < plan->graph->n_nodes && status == ANX_OK; i++) {
        anx_exact_value *v = anx_exact_plan_value(plan, i);
        if (find_readers(plan, i) && v->grad_layout.image_elems > most) most = v->grad_layout.image_elems;
        status = alloc_zeros(v->grad_layout.image_elems, plan->batch, &v->grad, err);
    }
    if (status == ANX_OK && most > 0) status = alloc_zeros(most, plan->batch, &plan->extra, err);
    return status;
}

/* What backward computes: gradients of parameters, and of all nodes from the lowest one that has such a parameter. */
static anx_status settle_trained(anx_exact_plan *plan, const bool *trained, anx_error *err) {
    const anx_graph *graph = plan->graph;
    plan->lowest = graph->n_nodes;
    for (int i = 0; i < graph->n_params; i++) {
        if (trained != NULL && !trained[i]) continue;
        if (graph->params[i].node < plan->lowest) plan->lowest = graph->params[i].node;
        anx_status status = alloc_zeros(anx_param_elems(&graph->params[i]), 1, &plan->params[i].grad, err);
        if (status != ANX_OK) return status;
    }
    return ANX_OK;
}

/* ---- nodes ---------------------------------------------------------------------------------------------- */

static bool relu_follows(const anx_exact_plan *plan, int node) {
    return node + 1 < plan->graph->n_nodes && plan->graph->nodes[node + 1].layer->op == ANX_OP_RELU &&
           plan->nodes[node + 1].elsewhere;
}

/* What the way back through a convolution needs, from the lowest trained node on. */
static anx_status prepare_conv_back(anx_exact_plan *plan, int i, anx_error *err) {
    const anx_node *node = &plan->graph->nodes[i];
    anx_exact_node *own = &plan->nodes[i];
    anx_status status = ANX_OK;
    own->conv_back = (anx_exact_conv_back){.forward = &own->conv,
                                           .dy = anx_exact_plan_value(plan, i)->grad_layout,
                                           .dx = anx_exact_plan_value(plan, node->inputs[0])->grad_layout};
    anx_exact_conv_back_settle(&own->conv_back);
    if (own->conv_back.dense_dx && anx_exact_plan_has_grad(plan, node->inputs[0]))
        status = alloc_floats(anx_exact_conv_back_packed_elems(&own->conv_back), 1, &own->packed_back, err);
    if (status == ANX_OK && own->conv_back.dense_dw && plan->params[node->weight].grad != NULL)
        status = alloc_floats(anx_exact_conv_packed_elems(&own->conv), 1, &own->packed_dw, err);
    own->conv_back.packed = own->packed_back;
    return status;
}

static anx_status prepare_conv(anx_exact_plan *plan, int i, anx_error *err) {
    const anx_node *node = &plan->graph->nodes[i];
    anx_exact_node *own = &plan->nodes[i];
    own->conv = (anx_exact_conv){.p = node->conv,
                                 .in = anx_exact_plan_value(plan, node->inputs[0])->layout,
                                 .out = anx_exact_plan_value(plan, i)->layout,
                                 .channels = node->in.dim[0] / node->conv.groups,
                                 .relu = relu_follows(plan, i)};
    anx_exact_conv_settle(&own->conv);
    anx_status status = ANX_OK;
    if (own->conv.dense) status = alloc_floats(anx_exact_conv_packed_elems(&own->conv), 1, &own->packed, err);
    if (status == ANX_OK) status = alloc_floats(own->conv.out.blocks * ANX_EXACT_BLOCK, 1, &own->bias, err);
    if (status == ANX_OK && anx_exact_plan_has_grad(plan, i)) status = prepare_conv_back(plan, i, err);
    if (status == ANX_OK) anx_exact_plan_update_node(plan, i);
    return status;
}

static void prepare_linear_back(anx_exact_plan *plan, int i, int64_t *widest) {
    const anx_node *node = &plan->graph->nodes[i];
    anx_exact_linear_back *linear = &plan->nodes[i].linear_back;
    *linear = (anx_exact_linear_back){.in = node->in.dim[0],
                                      .out = node->out.dim[0],
                                      .batch = plan->batch,
                                      .x = anx_exact_plan_value(plan, node->inputs[0])->data,
                                      .weight = plan->nodes[i].linear.weight,
                                      .dy = anx_exact_plan_value(plan, i)->grad,
                                      .dx = anx_exact_plan_value(plan, node->inputs[0])->grad,
                                      .dw = plan->params[node->weight].grad};
    anx_exact_linear_back_settle(linear);
    if (linear->out > *widest) *widest = linear->out;
}

/* All ones until it is written. */
static anx_status prepare_mask(anx_exact_plan *plan, int i, anx_error *err) {
    const int64_t elems = anx_exact_plan_value(plan, i)->layout.image_elems;
    anx_status status = alloc_floats(elems, plan->batch, &plan->nodes[i].mask, err);
    for (int64_t j = 0; status == ANX_OK && j < elems * plan->batch; j++) plan->nodes[i].mask[j] = 1.0f;
    return status;
}

static anx_status prepare_places(anx_exact_plan *plan, int i, anx_error *err) {
    const anx_exact_pool *pool = &plan->nodes[i].pool;
    const anx_exact_layout *grad = &anx_exact_plan_value(plan, plan->graph->nodes[i].inputs[0])->grad_layout;
    float *places = NULL;
    if (grad->block_elems / ANX_EXACT_BLOCK > INT32_MAX)
        return anx_error_set(err, ANX_ERR_UNSUPPORTED, "planes of more than %d elements", INT32_MAX);
    anx_status status =
        alloc_zeros(pool->out.blocks * pool->out.height * pool->out.width * ANX_EXACT_BLOCK, plan->batch, &places, err);
    plan->nodes[i].places = (int32_t *)(void *)places;
    return status;
}

static void prepare_linear(anx_exact_plan *plan, int i, int64_t *widest) {
    const anx_node *node = &plan->graph->nodes[i];
    anx_exact_linear *linear = &plan->nodes[i].linear;
    *linear = (anx_exact_linear){.in = node->in.dim[0],
                                 .out = node->out.dim[0],
                                 .batch = plan->batch,
                                 .chain_block = anx_exact_linear_chain(node->in.dim[0]),
                                 .relu = relu_follows(plan, i),
                                 .x = anx_exact_plan_value(plan, node->inputs[0])->data,
                                 .y = anx_exact_plan_value(plan, i)->data};
    const bool small = plan->mode == ANX_PLAN_TRAIN && plan->batch < ANX_EXACT_SMALL_BATCH;
    linear->few = small || linear->out < ANX_EXACT_LINEAR_FEW;
    linear->single = small && plan->batch == 1;
    anx_exact_plan_update_node(plan, i);
    if (linear->few) return;
    const int64_t scratch = anx_exact_linear_scratch_elems(plan->kernels, linear->chain_block, plan->batch);
    if (scratch > plan->scratch_elems) plan->scratch_elems = scratch;
    if (linear->in > *widest) *widest = linear->in;
}

static anx_status prepare_nodes(anx_exact_plan *plan, anx_error *err) {
    anx_status status = ANX_OK;
    int64_t widest = 0;
    for (int i = 0; i < plan->graph->n_nodes && status == ANX_OK; i++) {
        const anx_node *node = &plan->graph->nodes[i];
        switch (node->layer->op) {
        case ANX_OP_CONV2D: status = prepare_conv(plan, i, err); break;
        case ANX_OP_LINEAR:
            prepare_linear(plan, i, &widest);
            if (anx_exact_plan_has_grad(plan, i)) prepare_linear_back(plan, i, &widest);
            break;
        case ANX_OP_MAX_POOL2D:
            plan->nodes[i].pool = (anx_exact_pool){.p = node->layer->u.pool,
                                                   .in = anx_exact_plan_value(plan, node->inputs[0])->layout,
                                                   .out = anx_exact_plan_value(plan, i)->layout};
            if (plan->mode == ANX_PLAN_TRAIN) status = prepare_places(plan, i, err);
            break;
        case ANX_OP_DROPOUT:
            if (plan->mode == ANX_PLAN_TRAIN) status = prepare_mask(plan, i, err);
            break;
        case ANX_OP_RELU:
        case ANX_OP_ADAPTIVE_AVG_POOL2D:
        case ANX_OP_FLATTEN:
        case ANX_OP_SOFTMAX: break;
        case ANX_OP_COUNT:
        default: status = anx_error_set(err, ANX_ERR_UNSUPPORTED, "the exact backend has no such operation"); break;
        }
        if (status != ANX_OK) anx_error_in_layer(err, node->layer->name);
    }
    if (status == ANX_OK && plan->scratch_elems > 0)
        status = alloc_floats(plan->scratch_elems, plan->threads, &plan->scratch, err);
    if (status == ANX_OK && widest > 0) status = alloc_floats(widest, plan->batch, &plan->interleaved, err);
    return status;
}

void anx_exact_plan_update_node(anx_exact_plan *plan, int node) {
    const anx_node *n = &plan->graph->nodes[node];
    anx_exact_node *own = &plan->nodes[node];
    const float *weight = plan->params[n->weight].data, *bias = plan->params[n->bias].data;
    if (n->layer->op == ANX_OP_CONV2D) {
        anx_exact_conv_pack(&own->conv, weight, bias, own->packed, own->bias, plan->threads);
        if (own->packed_back == NULL) return;
        anx_exact_conv_back_pack(&own->conv_back, weight, own->packed_back, plan->threads);
        own->weight_range = anx_exact_range_of(weight, anx_param_elems(&plan->graph->params[n->weight]));
    } else {
        own->linear.weight = own->linear_back.weight = weight;
        own->linear.bias = bias;
    }
}

/* ---- creation ------------------------------------------------------------------------------------------- */

anx_status anx_exact_plan_create(const anx_exact_device *device, const anx_plan_desc *desc, anx_exact_plan **out,
                                 anx_error *err) {
    const anx_graph *graph = desc->graph;
    anx_status status = ANX_OK;
    anx_exact_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    plan->graph = graph;
    plan->kernels = device->kernels;
    plan->threads = device->threads;
    plan->batch = desc->batch;
    plan->mode = desc->mode;
    plan->values = zeroed(graph->n_nodes + 1, sizeof *plan->values);
    plan->nodes = zeroed(graph->n_nodes, sizeof *plan->nodes);
    plan->params = zeroed(graph->n_params, sizeof *plan->params);
    plan->groups = zeroed(graph->n_nodes, sizeof *plan->groups);
    plan->group_nodes = zeroed(graph->n_nodes, sizeof *plan->group_nodes);
    if (plan->values == NULL || plan->nodes == NULL || plan->params == NULL || plan->groups == NULL ||
        plan->group_nodes == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
        goto out;
    }
    for (int i = 0; i < graph->n_params; i++) plan->params[i].data = desc->params[i].data;
    make_groups(plan, desc->mode);
    status = lay_out_values(plan, err);
    if (status == ANX_OK && desc->mode == ANX_PLAN_TRAIN) status = settle_trained(plan, desc->trained, err);
    if (status == ANX_OK) status = desc->mode == ANX_PLAN_INFER ? alloc_shared(plan, err) : alloc_apart(plan, err);
    if (status == ANX_OK && desc->mode == ANX_PLAN_TRAIN) status = alloc_grads(plan, err);
    if (status == ANX_OK) status = prepare_nodes(plan, err);
    if (status != ANX_OK) goto out;
    *out = plan;
    plan = NULL;
out:
    anx_exact_plan_destroy(plan);
    return status;
}

void anx_exact_plan_destroy(anx_exact_plan *plan) {
    if (plan == NULL) return;
    const int n_nodes = plan->graph->n_nodes, n_params = plan->graph->n_params;
    for (int i = 0; plan->values != NULL && i < n_nodes + 1; i++) {
        free(plan->values[i].owned);
        free(plan->values[i].grad);
    }
    for (int i = 0; plan->nodes != NULL && i < n_nodes; i++) {
        free(plan->nodes[i].packed);
        free(plan->nodes[i].bias);
        free(plan->nodes[i].packed_back);
        free(plan->nodes[i].packed_dw);
        free(plan->nodes[i].mask);
        free(plan->nodes[i].places);
    }
    for (int i = 0; plan->params != NULL && i < n_params; i++) {
        free(plan->params[i].owned);
        free(plan->params[i].grad);
    }
    free(plan->values);
    free(plan->nodes);
    free(plan->params);
    free(plan->groups);
    free(plan->group_nodes);
    free(plan->shared);
    free(plan->scratch);
    free(plan->interleaved);
    free(plan->extra);
    free(plan);
}
