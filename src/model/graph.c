#include "src/model/graph.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"

enum { NO_SUCH_NODE = -2 };

static int find_row(const anx_arch *arch, const char *name, int before) {
    if (strcmp(name, "input") == 0) return ANX_NODE_INPUT;
    for (int i = 0; i < before; i++)
        if (strcmp(arch->layers[i].name, name) == 0) return i;
    return NO_SUCH_NODE;
}

static anx_status resolve_inputs(const anx_arch *arch, int row, anx_node *node, anx_error *err) {
    const anx_layer *layer = &arch->layers[row];
    for (int i = 0; i < ANX_MAX_INPUTS && layer->from[i] != NULL; i++) {
        const int source = find_row(arch, layer->from[i], row);
        if (source == NO_SUCH_NODE)
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                                 "architecture '%s': the row reads from '%s', which no earlier row is named",
                                 arch->name, layer->from[i]);
        node->inputs[node->n_inputs++] = source;
    }
    if (node->n_inputs == 0) node->inputs[node->n_inputs++] = row - 1; /* -1 is ANX_NODE_INPUT */
    if (node->n_inputs != 1)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "architecture '%s': %s reads one row, not %d", arch->name,
                             anx_op_name(layer->op), node->n_inputs);
    return ANX_OK;
}

/* floor((in + 2 pad - dilation (kernel - 1) - 1) / stride) + 1, as torch.nn.Conv2d documents it; <= 0: no output. */
static int64_t window_count(int64_t in, int kernel, int stride, int pad, int dilation) {
    const int64_t room = in + 2 * (int64_t)pad - (int64_t)dilation * (kernel - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
}

/* As pooling_output_shape in PyTorch's aten/src/ATen/native/Pool.h: with ceil_mode the last window must start inside
   the input or its left padding. */
static int64_t pooled_extent(int64_t in, int kernel, int stride, int pad, bool ceil_mode) {
    const int64_t room = in + 2 * (int64_t)pad - kernel;
    if (room < 0 && !ceil_mode) return 0;
    int64_t out = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
    if (room + (ceil_mode ? stride - 1 : 0) < 0) return 0;
    if (ceil_mode && (out - 1) * stride >= in + pad) out--;
    return out;
}

static anx_status need_rank(const anx_node *node, int rank, anx_error *err) {
    if (node->in.rank == rank) return ANX_OK;
    return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "%s needs an input of rank %d (with the batch), got %d",
                         anx_op_name(node->layer->op), rank + 1, node->in.rank + 1);
}

static int at_least_one(int value) {
    return value == 0 ? 1 : value;
}

static anx_status shape_conv(anx_node *node, anx_error *err) {
    anx_conv2d_params *p = &node->conv;
    *p = node->layer->u.conv;
    p->dilation_h = at_least_one(p->dilation_h);
    p->dilation_w = at_least_one(p->dilation_w);
    p->groups = at_least_one(p->groups);
    anx_status status = need_rank(node, 3, err);
    if (status != ANX_OK) return status;
    if (p->out_channels < 1 || p->kernel_h < 1 || p->kernel_w < 1 || p->stride_h < 1 || p->stride_w < 1 ||
        p->pad_h < 0 || p->pad_w < 0 || p->dilation_h < 1 || p->dilation_w < 1 || p->groups < 1 ||
        node->in.dim[0] % p->groups != 0 || p->out_channels % p->groups != 0)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                             "convolution of %lld to %d channels in %d groups, kernel %dx%d: not a valid combination",
                             (long long)node->in.dim[0], p->out_channels, p->groups, p->kernel_h, p->kernel_w);
    node->out =
        (anx_extent){3,
                     {p->out_channels, window_count(node->in.dim[1], p->kernel_h, p->stride_h, p->pad_h, p->dilation_h),
                      window_count(node->in.dim[2], p->kernel_w, p->stride_w, p->pad_w, p->dilation_w)}};
    node->terms = node->in.dim[0] / p->groups * p->kernel_h * p->kernel_w;
    return ANX_OK;
}

static anx_status shape_pool(anx_node *node, anx_error *err) {
    const anx_pool2d_params *p = &node->layer->u.pool;
    anx_status status = need_rank(node, 3, err);
    if (status != ANX_OK) return status;
    if (p->kernel_h < 1 || p->kernel_w < 1 || p->stride_h < 1 || p->stride_w < 1 || p->pad_h < 0 || p->pad_w < 0 ||
        p->pad_h > p->kernel_h / 2 || p->pad_w > p->kernel_w / 2)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "pooling window %dx%d with padding %dx%d is not valid",
                             p->kernel_h, p->kernel_w, p->pad_h, p->pad_w);
    node->out =
        (anx_extent){3,
                     {node->in.dim[0], pooled_extent(node->in.dim[1], p->kernel_h, p->stride_h, p->pad_h, p->ceil_mode),
                      pooled_extent(node->in.dim[2], p->kernel_w, p->stride_w, p->pad_w, p->ceil_mode)}};
    return ANX_OK;
}

static anx_status shape_adaptive(anx_node *node, anx_error *err) {
    anx_status status = need_rank(node, 3, err);
    if (status != ANX_OK) return status;
    const int oh = node->layer->u.adaptive.out_h, ow = node->layer->u.adaptive.out_w;
    if (oh < 1 || ow < 1) return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "adaptive pooling to %dx%d", oh, ow);
    node->out = (anx_extent){3, {node->in.dim[0], oh, ow}};
    /* The largest window: ceil((i + 1) H / OH) - floor(i H / OH) is at most ceil(H / OH) + 1. */
    int64_t most_h = 0, most_w = 0;
    for (int64_t i = 0; i < oh; i++) {
        const int64_t n = ((i + 1) * node->in.dim[1] + oh - 1) / oh - i * node->in.dim[1] / oh;
        if (n > most_h) most_h = n;
    }
    for (int64_t i = 0; i < ow; i++) {
        const int64_t n = ((i + 1) * node->in.dim[2] + ow - 1) / ow - i * node->in.dim[2] / ow;
        if (n > most_w) most_w = n;
    }
    node->terms = most_h * most_w;
    return ANX_OK;
}

static anx_status shape_node(const anx_graph *graph, anx_node *node, anx_error *err) {
    anx_status status = ANX_OK;
    switch (node->layer->op) {
    case ANX_OP_CONV2D: return shape_conv(node, err);
    case ANX_OP_MAX_POOL2D: return shape_pool(node, err);
    case ANX_OP_ADAPTIVE_AVG_POOL2D: return shape_adaptive(node, err);
    case ANX_OP_RELU:
    case ANX_OP_DROPOUT: node->out = node->in; return ANX_OK;
    case ANX_OP_FLATTEN: {
        int64_t features = 0;
        if (!anx_shape_elems(node->in.rank, node->in.dim, &features))
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the number of features overflows");
        node->out = (anx_extent){1, {features}};
        return ANX_OK;
    }
    case ANX_OP_LINEAR: {
        status = need_rank(node, 1, err);
        const int asked = node->layer->u.linear.out_features;
        node->out = (anx_extent){1, {asked == ANX_NUM_CLASSES ? graph->num_classes : asked}};
        node->terms = node->in.dim[0];
        return status;
    }
    case ANX_OP_SOFTMAX:
        status = need_rank(node, 1, err);
        node->out = node->in;
        node->terms = node->in.dim[0];
        return status;
    case ANX_OP_COUNT: break;
    }
    return anx_error_set(err, ANX_ERR_INTERNAL, "operation %d is not in the shape rules", (int)node->layer->op);
}

static anx_status check_output(const anx_graph *graph, const anx_node *node, anx_error *err) {
    int64_t elems = 0;
    bool empty = false;
    for (int i = 0; i < node->out.rank; i++) empty = empty || node->out.dim[i] < 1;
    if (empty)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                             "an input of %lldx%lld leaves this layer no output; %s needs at least %dx%d",
                             (long long)graph->input.dim[1], (long long)graph->input.dim[2], graph->arch->name,
                             graph->arch->min_size, graph->arch->min_size);
    if (!anx_shape_elems(node->out.rank, node->out.dim, &elems) || elems > INT_MAX)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the layer's output would have more than %d elements",
                             INT_MAX);
    return ANX_OK;
}

static int add_param(anx_graph *graph, int node, bool is_bias) {
    const anx_node *n = &graph->nodes[node];
    anx_param *p = &graph->params[graph->n_params];
    *p = (anx_param){.node = node, .is_bias = is_bias, .fan_in = n->terms};
    snprintf(p->name, sizeof p->name, "%s.%s", n->layer->name, is_bias ? "bias" : "weight");
    if (is_bias) {
        p->rank = 1;
        p->shape[0] = n->out.dim[0];
    } else if (n->layer->op == ANX_OP_CONV2D) {
        p->rank = 4;
        p->shape[0] = n->conv.out_channels;
        p->shape[1] = n->in.dim[0] / n->conv.groups;
        p->shape[2] = n->conv.kernel_h;
        p->shape[3] = n->conv.kernel_w;
    } else {
        p->rank = 2;
        p->shape[0] = n->out.dim[0];
        p->shape[1] = n->in.dim[0];
    }
    return graph->n_params++;
}

static anx_status build_node(anx_graph *graph, int row, anx_error *err) {
    anx_node *node = &graph->nodes[row];
    node->layer = &graph->arch->layers[row];
    node->weight = node->bias = ANX_NO_PARAM;
    anx_status status = resolve_inputs(graph->arch, row, node, err);
    if (status != ANX_OK) return status;
    node->in = *anx_graph_extent(graph, node->inputs[0]);
    status = shape_node(graph, node, err);
    if (status == ANX_OK) status = check_output(graph, node, err);
    if (status != ANX_OK) return status;
    if (node->layer->op == ANX_OP_CONV2D || node->layer->op == ANX_OP_LINEAR) {
        node->weight = add_param(graph, row, false);
        node->bias = add_param(graph, row, true);
    }
    return ANX_OK;
}

anx_status anx_graph_create(const anx_arch *arch, int64_t num_classes, int64_t height, int64_t width, anx_graph **out,
                            anx_error *err) {
    anx_status status = ANX_OK;
    anx_graph *graph = calloc(1, sizeof *graph);
    if (graph == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    graph->arch = arch;
    graph->num_classes = num_classes > 0 ? num_classes : arch->default_classes;
    graph->input = (anx_extent){
        3, {arch->in_channels, height > 0 ? height : arch->default_size, width > 0 ? width : arch->default_size}};
    graph->nodes = calloc((size_t)arch->n_layers, sizeof *graph->nodes);
    graph->params = calloc((size_t)arch->n_layers * 2, sizeof *graph->params);
    if (graph->nodes == NULL || graph->params == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
        goto out;
    }
    int64_t elems = 0;
    if (!anx_shape_elems(3, graph->input.dim, &elems) || elems > INT_MAX) {
        status = anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "an input of %lldx%lld is too large",
                               (long long)graph->input.dim[1], (long long)graph->input.dim[2]);
        goto out;
    }
    for (int row = 0; row < arch->n_layers; row++) {
        status = build_node(graph, row, err);
        if (status != ANX_OK) {
            anx_error_in_layer(err, arch->layers[row].name);
            goto out;
        }
        graph->n_nodes++;
    }
    graph->logits = find_row(arch, arch->logits, arch->n_layers);
    if (graph->logits < 0) {
        status = anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "architecture '%s' has no row '%s' for its logits",
                               arch->name, arch->logits);
        goto out;
    }
    *out = graph;
    graph = NULL;
out:
    anx_graph_destroy(graph);
    return status;
}

void anx_graph_destroy(anx_graph *graph) {
    if (graph == NULL) return;
    free(graph->nodes);
    free(graph->params);
    free(graph);
}

int anx_graph_find_node(const anx_graph *graph, const char *name) {
    if (strcmp(name, "logits") == 0) return graph->logits;
    return find_row(graph->arch, name, graph->n_nodes);
}

int anx_graph_find_param(const anx_graph *graph, const char *name) {
    for (int i = 0; i < graph->n_params; i++)
        if (strcmp(graph->params[i].name, name) == 0) return i;
    return ANX_NO_PARAM;
}

int64_t anx_graph_max_batch(const anx_graph *graph, int64_t max_elems) {
    int64_t largest = 1;
    for (int node = ANX_NODE_INPUT; node < graph->n_nodes; node++) {
        const int64_t elems = anx_graph_node_elems(graph, node);
        if (elems > largest) largest = elems;
    }
    return max_elems / largest;
}

const anx_extent *anx_graph_extent(const anx_graph *graph, int node) {
    return node == ANX_NODE_INPUT ? &graph->input : &graph->nodes[node].out;
}

int64_t anx_graph_node_elems(const anx_graph *graph, int node) {
    const anx_extent *e = anx_graph_extent(graph, node);
    int64_t elems = 0;
    return anx_shape_elems(e->rank, e->dim, &elems) ? elems : 0;
}

int64_t anx_param_elems(const anx_param *param) {
    int64_t elems = 0; /* the shape is sound, since the graph was made */
    return anx_shape_elems(param->rank, param->shape, &elems) ? elems : 0;
}

int64_t anx_graph_param_elems(const anx_graph *graph) {
    int64_t total = 0;
    for (int i = 0; i < graph->n_params; i++) total += anx_param_elems(&graph->params[i]);
    return total;
}

int anx_graph_node_shape(const anx_graph *graph, int node, int64_t batch, int64_t shape[4]) {
    const anx_extent *e = anx_graph_extent(graph, node);
    shape[0] = batch;
    for (int i = 0; i < e->rank; i++) shape[1 + i] = e->dim[i];
    return 1 + e->rank;
}

void anx_arch_each_module(const anx_arch *arch, bool (*visit)(const char *name, void *user), void *user) {
    const char *previous = "";
    if (!visit("", user)) return;
    for (int row = 0; row < arch->n_layers; row++) {
        const char *name = arch->layers[row].name;
        if (arch->layers[row].functional) continue;
        /* A container is visited before the first of its children, as named_modules() walks them. */
        for (const char *dot = strchr(name, '.'); dot != NULL; dot = strchr(dot + 1, '.')) {
            const size_t length = (size_t)(dot - name);
            char container[96];
            if (strncmp(previous, name, length + 1) == 0 || length >= sizeof container) continue;
            memcpy(container, name, length);
            container[length] = '\0';
            if (!visit(container, user)) return;
        }
        if (!visit(name, user)) return;
        previous = name;
    }
}
