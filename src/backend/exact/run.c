/* Runs one node: divides its work over threads and hands the pieces to the kernels. */
#include <omp.h>
#include <string.h>

#include "src/backend/exact/plan.h"

static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* Products summed for one output channel of every image. */
static double conv_products(const anx_exact_plan *plan, const anx_exact_conv *conv) {
    return (double)(plan->batch * conv->out.height * conv->out.width) *
           (double)(conv->channels * conv->p.kernel_h * conv->p.kernel_w);
}

static void run_conv_dense(const anx_exact_plan *plan, const anx_exact_conv *conv, const float *x, float *y) {
    const int64_t groups = conv->p.groups, group_blocks = conv->out.blocks / groups;
    const int64_t tile = plan->kernels->conv_out_blocks, tiles = ceil_div(group_blocks, tile);
    const int threads = anx_exact_plan_threads(plan, conv_products(plan, conv) * (double)conv->out.blocks);
    const int64_t pieces = plan->batch * groups * tiles, wanted = ceil_div(4 * threads, pieces);
    const int64_t chunks = threads == 1 ? 1 : wanted < conv->out.height ? wanted : conv->out.height;
    const int64_t rows = ceil_div(conv->out.height, chunks);
    /* The weights of a tile of output channels stay in cache while all images pass. */
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t piece = 0; piece < pieces * chunks; piece++) {
        const int64_t chunk = piece % chunks, n = piece / chunks % plan->batch, t = piece / chunks / plan->batch;
        const int64_t first = t % tiles * tile, left = group_blocks - first;
        const int64_t oh0 = chunk * rows, oh1 = oh0 + rows < conv->out.height ? oh0 + rows : conv->out.height;
        if (oh0 < oh1)
            plan->kernels->conv_rows(conv, x + n * conv->in.image_elems, y + n * conv->out.image_elems,
                                     t / tiles * group_blocks + first, left < tile ? left : tile, oh0, oh1);
    }
}

static void run_conv_any(const anx_exact_plan *plan, const anx_exact_conv *conv, const float *x, float *y) {
    const int64_t channels = conv->out.channels;
    memset(y, 0, (size_t)(plan->batch * conv->out.image_elems) * sizeof *y); /* borders, unused channels */
    const int threads = anx_exact_plan_threads(plan, conv_products(plan, conv) * (double)channels);
#pragma omp parallel for num_threads(threads) schedule(dynamic) collapse(2)
    for (int64_t n = 0; n < plan->batch; n++)
        for (int64_t oc = 0; oc < channels; oc++)
            plan->kernels->conv_channel(conv, x + n * conv->in.image_elems, y + n * conv->out.image_elems, oc);
}

static void run_linear(anx_exact_plan *plan, const anx_exact_linear *layer) {
    anx_exact_linear linear = *layer;
    if (linear.few) {
        anx_exact_linear_few(
            &linear, anx_exact_plan_threads(plan, (double)linear.batch * (double)(linear.in * linear.out) / 4.0));
        return;
    }
    if (linear.batch > 1) {
        anx_exact_linear_interleave(layer->x, linear.batch, linear.in, plan->kernels->linear_rows, plan->interleaved,
                                    anx_exact_plan_threads(plan, (double)(linear.batch * linear.in) / 4.0));
        linear.x = plan->interleaved;
    }
    const int64_t panel = plan->kernels->linear_panel, panels = ceil_div(linear.out, panel);
    const int threads = anx_exact_plan_threads(plan, (double)(linear.batch * linear.in) * (double)panels);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t i = 0; i < panels; i++) {
        const int64_t first = i * panel, left = linear.out - first;
        plan->kernels->linear_panel_run(&linear, first, left < panel ? left : panel,
                                        plan->scratch + omp_get_thread_num() * plan->scratch_elems);
    }
}

static void run_max_pool(const anx_exact_plan *plan, const anx_exact_node *own, const float *x, float *y,
                         const anx_exact_layout *grad) {
    const anx_exact_pool *pool = &own->pool;
    const int64_t slices = plan->batch * pool->in.blocks;
    const int threads = anx_exact_plan_threads(plan, (double)(slices * pool->in.block_elems) / 4.0);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < slices; i++) {
        const float *from = x + i * pool->in.block_elems;
        float *to = y + i * pool->out.block_elems;
        if (own->places == NULL)
            plan->kernels->max_pool(pool, from, to);
        else
            plan->kernels->max_pool_places(pool, grad->row_elems / ANX_EXACT_BLOCK, grad->border, from, to,
                                           own->places + i * pool->out.height * pool->out.width * ANX_EXACT_BLOCK);
    }
}

static void run_avg_pool(const anx_exact_plan *plan, const anx_exact_value *x, anx_exact_value *y) {
    const int64_t slices = plan->batch * x->layout.blocks;
    const int threads = anx_exact_plan_threads(plan, (double)(slices * x->layout.block_elems) / 4.0);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < slices; i++)
        anx_exact_adaptive_avg_pool(&x->layout, &y->layout, x->data + i * x->layout.block_elems,
                                    y->data + i * y->layout.block_elems);
}

/* ReLU, or a copy: row by row, since the two values may want different borders. */
static void run_rows(const anx_exact_plan *plan, const anx_exact_value *x, anx_exact_value *y, bool relu) {
    const anx_exact_layout *in = &x->layout, *out = &y->layout;
    const int64_t rows = plan->batch * in->blocks * in->height, elems = in->width * in->block;
    const int64_t border = out->border * out->block;
    const int threads = anx_exact_plan_threads(plan, (double)(rows * elems) / 4.0);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < rows; i++) {
        const float *from = x->data + i * in->row_elems + in->border * in->block;
        float *to = y->data + i * out->row_elems;
        memset(to, 0, (size_t)border * sizeof *to);
        if (relu)
            plan->kernels->relu(from, to + border, elems);
        else
            memcpy(to + border, from, (size_t)elems * sizeof *to);
        memset(to + border + elems, 0, (size_t)border * sizeof *to);
    }
}

/* Trained dropout: times the factors. */
static void run_mask(const anx_exact_plan *plan, const anx_exact_value *x, anx_exact_value *y, const float *mask) {
    const anx_exact_layout *in = &x->layout, *out = &y->layout;
    const int64_t rows = plan->batch * in->blocks * in->height, elems = in->width * in->block;
    const int threads = anx_exact_plan_threads(plan, (double)(rows * elems) / 4.0);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < rows; i++) {
        const float *from = x->data + i * in->row_elems + in->border * in->block;
        const float *factor = mask + i * out->row_elems + out->border * out->block;
        float *to = y->data + i * out->row_elems + out->border * out->block;
        for (int64_t j = 0; j < elems; j++) to[j] = from[j] * factor[j];
    }
}

static void run_flatten(const anx_exact_plan *plan, const anx_exact_value *x, anx_exact_value *y) {
    const int64_t shape[2] = {plan->batch, y->layout.channels};
    anx_tensor flat = anx_tensor_view(ANX_F32, 2, shape, y->data);
    anx_exact_layout_export(&x->layout, plan->batch, x->data, &flat,
                            anx_exact_plan_threads(plan, (double)(plan->batch * y->layout.channels) / 4.0));
}

static void run_softmax(const anx_exact_plan *plan, const anx_exact_value *x, anx_exact_value *y) {
    const int64_t columns = x->layout.channels;
    const int threads = anx_exact_plan_threads(plan, (double)(plan->batch * columns));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t n = 0; n < plan->batch; n++) anx_exact_softmax(x->data + n * columns, y->data + n * columns, columns);
}

void anx_exact_plan_run_node(anx_exact_plan *plan, int node) {
    const anx_node *n = &plan->graph->nodes[node];
    const anx_exact_node *own = &plan->nodes[node];
    const anx_exact_value *x = anx_exact_plan_value(plan, n->inputs[0]);
    anx_exact_value *y = anx_exact_plan_value(plan, node);
    if (own->elsewhere) return;
    switch (n->layer->op) {
    case ANX_OP_CONV2D:
        if (own->conv.dense)
            run_conv_dense(plan, &own->conv, x->data, y->data);
        else
            run_conv_any(plan, &own->conv, x->data, y->data);
        break;
    case ANX_OP_RELU: run_rows(plan, x, y, true); break;
    case ANX_OP_MAX_POOL2D: run_max_pool(plan, own, x->data, y->data, &x->grad_layout); break;
    case ANX_OP_ADAPTIVE_AVG_POOL2D: run_avg_pool(plan, x, y); break;
    case ANX_OP_DROPOUT:
        if (own->mask != NULL)
            run_mask(plan, x, y, own->mask);
        else
            run_rows(plan, x, y, false);
        break;
    case ANX_OP_FLATTEN: run_flatten(plan, x, y); break;
    case ANX_OP_LINEAR: run_linear(plan, &own->linear); break;
    case ANX_OP_SOFTMAX: run_softmax(plan, x, y); break;
    case ANX_OP_COUNT: break;
    }
}
