/* Runs one node backward: divides its work over threads and hands the pieces to the kernels. */
#include <string.h>

#include "src/backend/exact/plan.h"

static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static int threads_for(const anx_exact_plan *plan, double operations) {
    return anx_exact_plan_threads(plan, operations);
}

/* Products of two channels' planes, for every tap and image. */
static double conv_products(const anx_exact_plan *plan, const anx_exact_conv *conv) {
    return (double)(plan->batch * conv->out.height * conv->out.width) * (double)(conv->p.kernel_h * conv->p.kernel_w);
}

/* ---- convolution ---------------------------------------------------------------------------------------- */

static void conv_dx_dense(const anx_exact_plan *plan, const anx_exact_conv_back *back, const float *dy, float *dx) {
    const anx_exact_conv *conv = back->forward;
    const int64_t groups = conv->p.groups, group_blocks = back->dx.blocks / groups;
    const int64_t tile = plan->kernels->conv_out_blocks, tiles = ceil_div(group_blocks, tile);
    const int threads = threads_for(plan, conv_products(plan, conv) * (double)(conv->channels * back->dy.blocks));
    const int64_t pieces = plan->batch * groups * tiles, wanted = ceil_div(4 * threads, pieces);
    const int64_t chunks = threads == 1 ? 1 : wanted < back->dx.height ? wanted : back->dx.height;
    const int64_t rows = ceil_div(back->dx.height, chunks);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t piece = 0; piece < pieces * chunks; piece++) {
        const int64_t chunk = piece % chunks, n = piece / chunks % plan->batch, t = piece / chunks / plan->batch;
        const int64_t first = t % tiles * tile, left = group_blocks - first;
        const int64_t h0 = chunk * rows, h1 = h0 + rows < back->dx.height ? h0 + rows : back->dx.height;
        if (h0 < h1)
            plan->kernels->conv_dx_rows(back, dy + n * back->dy.image_elems, dx + n * back->dx.image_elems,
                                        t / tiles * group_blocks + first, left < tile ? left : tile, h0, h1);
    }
}

static void conv_dx_any(const anx_exact_plan *plan, const anx_exact_conv_back *back, const float *dy, float *dx) {
    const int64_t channels = back->dx.channels;
    const int threads = threads_for(plan, conv_products(plan, back->forward) * (double)(channels * back->dy.channels));
#pragma omp parallel for num_threads(threads) schedule(dynamic) collapse(2)
    for (int64_t n = 0; n < plan->batch; n++)
        for (int64_t c = 0; c < channels; c++)
            plan->kernels->conv_dx_channel(back, dy + n * back->dy.image_elems, dx + n * back->dx.image_elems, c);
}

/* Each piece of the weights sees all images, in order. */
static void conv_dw_dense(const anx_exact_plan *plan, const anx_exact_conv_back *back, const float *x, const float *dy,
                          float *packed, float *dw) {
    const anx_exact_conv *conv = back->forward;
    const int64_t groups = conv->p.groups, group_blocks = back->dy.blocks / groups;
    const int64_t tile = plan->kernels->conv_out_blocks, tiles = ceil_div(group_blocks, tile);
    const int64_t chains = ceil_div(conv->channels, ANX_EXACT_BLOCK);
    const int threads = threads_for(plan, conv_products(plan, conv) * (double)(conv->channels * back->dy.blocks));
    memset(packed, 0, (size_t)anx_exact_conv_packed_elems(conv) * sizeof *packed);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t piece = 0; piece < groups * tiles * chains; piece++) {
        const int64_t chain = piece % chains, t = piece / chains;
        const int64_t first = t % tiles * tile, left = group_blocks - first;
        for (int64_t n = 0; n < plan->batch; n++)
            plan->kernels->conv_dw(back, x + n * conv->in.image_elems, dy + n * back->dy.image_elems, packed,
                                   t / tiles * group_blocks + first, left < tile ? left : tile, chain);
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t block = 0; block < back->dy.blocks; block++) anx_exact_conv_unpack(conv, block, packed, dw);
}

static void conv_dw_any(const anx_exact_plan *plan, const anx_exact_conv_back *back, const float *x, const float *dy,
                        float *dw) {
    const anx_exact_conv *conv = back->forward;
    const int64_t filter = conv->channels * conv->p.kernel_h * conv->p.kernel_w;
    const int threads = threads_for(plan, conv_products(plan, conv) * (double)(conv->channels * back->dy.channels));
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t oc = 0; oc < back->dy.channels; oc++)
        plan->kernels->conv_dw_channel(back, plan->batch, x, dy, dw + oc * filter, oc);
}

static void conv_db(const anx_exact_plan *plan, const anx_exact_conv_back *back, const float *dy, float *db) {
    const int threads = threads_for(plan, (double)(plan->batch * back->dy.image_elems));
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t block = 0; block < back->dy.blocks; block++)
        anx_exact_conv_bias_back(back, plan->batch, block, dy, db);
}

static void conv_back(anx_exact_plan *plan, int node, const anx_exact_value *x, const float *dy, float *dx) {
    const anx_node *n = &plan->graph->nodes[node];
    const anx_exact_node *own = &plan->nodes[node];
    float *dw = plan->params[n->weight].grad, *db = plan->params[n->bias].grad;
    anx_exact_conv_back back = own->conv_back;
    const anx_exact_range dy_range = anx_exact_range_of(dy, plan->batch * back.dy.image_elems);
    if (db != NULL) conv_db(plan, &back, dy, db);
    if (dw != NULL && back.dense_dw) {
        const anx_exact_range x_range = anx_exact_range_of(x->data, plan->batch * own->conv.in.image_elems);
        back.skip_padding = !anx_exact_zeros_are_safe(dy_range, x_range);
        conv_dw_dense(plan, &back, x->data, dy, own->packed_dw, dw);
    } else if (dw != NULL) {
        conv_dw_any(plan, &back, x->data, dy, dw);
    }
    if (dx == NULL) return;
    back.skip_padding = !anx_exact_zeros_are_safe(dy_range, own->weight_range);
    if (back.dense_dx)
        conv_dx_dense(plan, &back, dy, dx);
    else
        conv_dx_any(plan, &back, dy, dx);
}

/* ---- linear --------------------------------------------------------------------------------------------- */

enum { SPAN = 256 /* inputs or outputs that a thread takes at a time: whole vectors */ };

static void linear_back(anx_exact_plan *plan, int node, float *dx) {
    const anx_node *n = &plan->graph->nodes[node];
    anx_exact_linear_back linear = plan->nodes[node].linear_back;
    const double products = (double)(linear.batch * linear.out) * (double)linear.in / ANX_EXACT_BLOCK;
    const int threads = threads_for(plan, products);
    float *db = plan->params[n->bias].grad;
    if (db != NULL) anx_exact_linear_bias_back(linear.batch, linear.out, linear.dy, db);
    if (linear.dw != NULL) {
        const int64_t rows = ceil_div(linear.out, 8 * threads), pieces = ceil_div(linear.out, rows);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
        for (int64_t i = 0; i < pieces; i++)
            plan->kernels->linear_dw(&linear, i * rows, (i + 1) * rows < linear.out ? (i + 1) * rows : linear.out);
    }
    if (dx == NULL) return;
    linear.dx = dx;
    linear.dy_tiles = plan->interleaved;
    anx_exact_linear_interleave(linear.dy, linear.batch, linear.out, plan->kernels->linear_rows, plan->interleaved,
                                threads_for(plan, (double)(linear.batch * linear.out) / 4.0));
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t i = 0; i < linear.in; i += SPAN)
        plan->kernels->linear_dx(&linear, i, i + SPAN < linear.in ? i + SPAN : linear.in);
}

/* ---- the others ----------------------------------------------------------------------------------------- */

static void relu_back(const anx_exact_plan *plan, const anx_exact_value *y, const anx_exact_layout *dx_layout,
                      float *dx) {
    const anx_exact_layout *out = &y->layout, *grad = &y->grad_layout;
    const int64_t rows = plan->batch * out->blocks * out->height, elems = out->width * out->block;
    const int threads = threads_for(plan, (double)(rows * elems) / 4.0);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < rows; i++)
        plan->kernels->relu_back(y->data + i * out->row_elems + out->border * out->block,
                                 y->grad + i * grad->row_elems + grad->border * grad->block,
                                 dx + i * dx_layout->row_elems + dx_layout->border * dx_layout->block, elems);
}

static void mask_back(const anx_exact_plan *plan, const anx_exact_value *y, const float *mask,
                      const anx_exact_layout *dx_layout, float *dx) {
    const anx_exact_layout *out = &y->layout, *grad = &y->grad_layout;
    const int64_t rows = plan->batch * out->blocks * out->height, elems = out->width * out->block;
    const int threads = threads_for(plan, (double)(rows * elems) / 4.0);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < rows; i++) {
        const float *factor = mask + i * out->row_elems + out->border * out->block;
        const float *from = y->grad + i * grad->row_elems + grad->border * grad->block;
        float *to = dx + i * dx_layout->row_elems + dx_layout->border * dx_layout->block;
        for (int64_t j = 0; j < elems; j++) to[j] = from[j] * factor[j];
    }
}

static void max_pool_back(const anx_exact_plan *plan, const anx_exact_node *own, const anx_exact_value *y,
                          const anx_exact_layout *dx_layout, float *dx) {
    const anx_exact_layout *out = &own->pool.out;
    const int64_t slices = plan->batch * out->blocks, places = out->height * out->width * ANX_EXACT_BLOCK;
    const int threads = threads_for(plan, (double)(slices * places));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < slices; i++)
        anx_exact_max_pool_back(out, &y->grad_layout, dx_layout, y->grad + i * y->grad_layout.block_elems,
                                own->places + i * places, dx + i * dx_layout->block_elems);
}

static void avg_pool_back(const anx_exact_plan *plan, const anx_exact_value *y, const anx_exact_layout *dx_layout,
                          float *dx) {
    const int64_t slices = plan->batch * dx_layout->blocks;
    const int threads = threads_for(plan, (double)(slices * dx_layout->block_elems) / 4.0);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < slices; i++)
        anx_exact_adaptive_avg_pool_back(&y->grad_layout, dx_layout, y->grad + i * y->grad_layout.block_elems,
                                         dx + i * dx_layout->block_elems);
}

static void flatten_back(const anx_exact_plan *plan, const anx_exact_value *x, const anx_exact_value *y, float *dx) {
    const int64_t shape[4] = {plan->batch, x->grad_layout.channels, x->grad_layout.height, x->grad_layout.width};
    const anx_tensor planes = anx_tensor_view(ANX_F32, 4, shape, y->grad);
    anx_exact_layout_import(&x->grad_layout, plan->batch, &planes, dx,
                            threads_for(plan, (double)(plan->batch * y->grad_layout.channels) / 4.0));
}

static void softmax_back(const anx_exact_plan *plan, const anx_exact_value *y, float *dx) {
    const int64_t columns = y->layout.channels;
    for (int64_t n = 0; n < plan->batch; n++)
        anx_exact_softmax_back(y->data + n * columns, y->grad + n * columns, dx + n * columns, columns);
}

/* The gradient by the input into dx, unless that is NULL. */
static void node_back(anx_exact_plan *plan, int node, float *dx) {
    const anx_node *n = &plan->graph->nodes[node];
    const anx_exact_node *own = &plan->nodes[node];
    const anx_exact_value *x = anx_exact_plan_value(plan, n->inputs[0]), *y = anx_exact_plan_value(plan, node);
    if (n->layer->op == ANX_OP_CONV2D) {
        conv_back(plan, node, x, y->grad, dx);
        return;
    }
    if (n->layer->op == ANX_OP_LINEAR) {
        linear_back(plan, node, dx);
        return;
    }
    if (dx == NULL) return;
    switch (n->layer->op) {
    case ANX_OP_RELU: relu_back(plan, y, &x->grad_layout, dx); break;
    case ANX_OP_MAX_POOL2D: max_pool_back(plan, own, y, &x->grad_layout, dx); break;
    case ANX_OP_ADAPTIVE_AVG_POOL2D: avg_pool_back(plan, y, &x->grad_layout, dx); break;
    case ANX_OP_DROPOUT: mask_back(plan, y, own->mask, &x->grad_layout, dx); break;
    case ANX_OP_FLATTEN: flatten_back(plan, x, y, dx); break;
    case ANX_OP_SOFTMAX: softmax_back(plan, y, dx); break;
    case ANX_OP_CONV2D:
    case ANX_OP_LINEAR:
    case ANX_OP_COUNT: break;
    }
}

void anx_exact_plan_run_node_back(anx_exact_plan *plan, int node) {
    if (!anx_exact_plan_has_grad(plan, node)) return;
    const int input = plan->graph->nodes[node].inputs[0];
    if (!anx_exact_plan_has_grad(plan, input)) {
        node_back(plan, node, NULL);
        return;
    }
    anx_exact_value *x = anx_exact_plan_value(plan, input);
    const bool adds = node != x->last_reader;
    node_back(plan, node, adds ? plan->extra : x->grad);
    for (int64_t i = 0; adds && i < plan->batch * x->grad_layout.image_elems; i++) x->grad[i] += plan->extra[i];
}
