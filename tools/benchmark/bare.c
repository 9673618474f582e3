#include "tools/benchmark/bare.h"

#include <stdlib.h>

#include "src/backend/backends.h"
#include "src/backend/dnnl/block.h"
#include "src/backend/dnnl/device.h"
#include "src/base/clock.h"
#include "tools/benchmark/series.h"

enum { ARGS = 5 };

/* A primitive with memory of its own for everything it touches. */
typedef struct kernel {
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[ARGS];
    int n_args;
    anx_dnnl_block blocks[ARGS];
} kernel;

struct bench_bare {
    anx_dnnl_device *device;
    kernel *kernels;
    int count;
};

static void kernel_fini(kernel *k) {
    for (int i = 0; i < k->n_args; i++) {
        if (k->args[i].memory != NULL) dnnl_memory_destroy(k->args[i].memory);
        anx_dnnl_block_fini(&k->blocks[i]);
    }
    if (k->primitive != NULL) dnnl_primitive_destroy(k->primitive);
    *k = (kernel){.n_args = 0};
}

/* Small numbers that are neither 0 nor subnormal, since those could be quicker or slower. */
static void fill(float *x, size_t bytes) {
    for (size_t i = 0; i < bytes / sizeof *x; i++) x[i] = (float)((int)(i * 2654435761u >> 16 & 1023) - 511) * 1e-4f;
}

static anx_status kernel_init(kernel *k, const anx_dnnl_device *device, dnnl_primitive_desc_t pd, anx_error *err) {
    static const struct {
        int arg;
        dnnl_query_t what;
        int index;
    } roles[ARGS] = {{DNNL_ARG_SRC, dnnl_query_src_md, 0},
                     {DNNL_ARG_WEIGHTS, dnnl_query_weights_md, 0},
                     {DNNL_ARG_BIAS, dnnl_query_weights_md, 1},
                     {DNNL_ARG_DST, dnnl_query_dst_md, 0},
                     {DNNL_ARG_SCRATCHPAD, dnnl_query_scratchpad_md, 0}};
    *k = (kernel){.n_args = 0};
    anx_status status = anx_dnnl_check(dnnl_primitive_create(&k->primitive, pd), "create a primitive", err);
    for (int i = 0; i < ARGS && status == ANX_OK; i++) {
        anx_dnnl_const_md md = dnnl_primitive_desc_query_md(pd, roles[i].what, roles[i].index);
        const size_t bytes = md != NULL ? dnnl_memory_desc_get_size(md) : 0;
        if (bytes == 0) continue;
        const int at = k->n_args++;
        k->args[at].arg = roles[i].arg;
        status = anx_dnnl_block_init(&k->blocks[at], bytes, err);
        if (status != ANX_OK) break;
        fill(k->blocks[at].data, bytes);
        status = anx_dnnl_check(dnnl_memory_create(&k->args[at].memory, md, device->engine, k->blocks[at].data),
                                "describe a buffer", err);
    }
    if (status != ANX_OK) kernel_fini(k);
    return status;
}

static anx_status time_kernel(const anx_dnnl_device *device, const kernel *k, double *seconds, anx_error *err) {
    bench_series series = {.count = 0};
    for (int i = 0; i < 4; i++) {
        const double start = anx_clock_seconds();
        anx_status status = anx_dnnl_execute(device, k->primitive, k->args, k->n_args, err);
        if (status != ANX_OK) return status;
        if (i > 0) bench_series_add(&series, anx_clock_seconds() - start);
    }
    *seconds = bench_series_min(&series);
    return ANX_OK;
}

/* Primitive descriptor number `way` for the node; unimplemented where that way does not exist. */
typedef dnnl_status_t describe_fn(const anx_dnnl_device *device, const anx_node *node, int64_t batch, int way,
                                  dnnl_primitive_desc_t *out);

enum { CONV_WAYS = 2, LINEAR_WAYS = 4 };

static dnnl_status_t describe_conv(const anx_dnnl_device *device, const anx_node *node, int64_t batch, int way,
                                   dnnl_primitive_desc_t *out) {
    const anx_conv2d_params *c = &node->conv;
    const dnnl_dim_t src_dims[] = {batch, node->in.dim[0], node->in.dim[1], node->in.dim[2]},
                     dst_dims[] = {batch, node->out.dim[0], node->out.dim[1], node->out.dim[2]},
                     weights_dims[] = {c->groups, c->out_channels / c->groups, node->in.dim[0] / c->groups, c->kernel_h,
                                       c->kernel_w},
                     bias_dims[] = {c->out_channels}, strides[] = {c->stride_h, c->stride_w},
                     dilation[] = {c->dilation_h - 1, c->dilation_w - 1}, pad[] = {c->pad_h, c->pad_w};
    const int skip = c->groups > 1 ? 0 : 1;
    anx_dnnl_md src = NULL, weights = NULL, bias = NULL, dst = NULL;
    dnnl_status_t s = anx_dnnl_md_create(&src, 4, src_dims, way == 0 ? dnnl_format_tag_any : dnnl_nchw);
    if (s == dnnl_success) s = anx_dnnl_md_create(&weights, 5 - skip, weights_dims + skip, dnnl_format_tag_any);
    if (s == dnnl_success) s = anx_dnnl_md_create(&bias, 1, bias_dims, dnnl_a);
    if (s == dnnl_success) s = anx_dnnl_md_create(&dst, 4, dst_dims, dnnl_format_tag_any);
    if (s == dnnl_success)
        s = anx_dnnl_convolution_pd(out, device->engine, src, weights, bias, dst, strides, dilation, pad, pad,
                                    device->attr_relu);
    anx_dnnl_md_destroy(dst);
    anx_dnnl_md_destroy(bias);
    anx_dnnl_md_destroy(weights);
    anx_dnnl_md_destroy(src);
    return s;
}

static dnnl_status_t describe_linear(const anx_dnnl_device *device, const anx_node *node, int64_t batch, int way,
                                     dnnl_primitive_desc_t *out) {
    const bool inner = way < 2, packed = way % 2 == 0;
    const dnnl_dim_t in = node->in.dim[0], features = node->out.dim[0];
    const dnnl_dim_t src_dims[] = {batch, in}, dst_dims[] = {batch, features}, bias_dims[] = {1, features},
                     weights_dims[] = {inner ? features : in, inner ? in : features};
    anx_dnnl_md src = NULL, weights = NULL, bias = NULL, dst = NULL;
    dnnl_status_t s = anx_dnnl_md_create(&src, 2, src_dims, dnnl_ab);
    if (s == dnnl_success)
        s = anx_dnnl_md_create(&weights, 2, weights_dims, packed ? dnnl_format_tag_any : inner ? dnnl_ab : dnnl_ba);
    if (s == dnnl_success)
        s = anx_dnnl_md_create(&bias, inner ? 1 : 2, inner ? bias_dims + 1 : bias_dims, inner ? dnnl_a : dnnl_ab);
    if (s == dnnl_success) s = anx_dnnl_md_create(&dst, 2, dst_dims, dnnl_ab);
    if (s == dnnl_success)
        s = (inner ? anx_dnnl_inner_product_pd : anx_dnnl_matmul_pd)(out, device->engine, src, weights, bias, dst,
                                                                     device->attr_relu);
    anx_dnnl_md_destroy(dst);
    anx_dnnl_md_destroy(bias);
    anx_dnnl_md_destroy(weights);
    anx_dnnl_md_destroy(src);
    return s;
}

/* The fastest of the node's ways. */
static anx_status choose_kernel(kernel *best, const anx_dnnl_device *device, const anx_node *node, int64_t batch,
                                anx_error *err) {
    const bool conv = node->layer->op == ANX_OP_CONV2D;
    describe_fn *describe = conv ? describe_conv : describe_linear;
    double best_seconds = 0.0;
    *best = (kernel){.n_args = 0};
    for (int way = 0; way < (conv ? CONV_WAYS : LINEAR_WAYS); way++) {
        dnnl_primitive_desc_t pd = NULL;
        const dnnl_status_t s = describe(device, node, batch, way, &pd);
        if (s == dnnl_unimplemented && best->primitive != NULL) continue;
        kernel k = {.n_args = 0};
        double seconds = 0.0;
        anx_status status = anx_dnnl_check(s, "describe a primitive", err);
        if (status == ANX_OK) status = kernel_init(&k, device, pd, err);
        if (status == ANX_OK) status = time_kernel(device, &k, &seconds, err);
        if (pd != NULL) dnnl_primitive_desc_destroy(pd);
        const bool better = status == ANX_OK && (best->primitive == NULL || seconds < best_seconds);
        if (better) {
            kernel_fini(best);
            *best = k;
            best_seconds = seconds;
        } else {
            kernel_fini(&k);
        }
        if (status != ANX_OK) return status;
    }
    return ANX_OK;
}

anx_status bench_bare_create(const anx_graph *graph, int64_t batch, int threads, bench_bare **out, anx_error *err) {
    bench_bare *bare = calloc(1, sizeof *bare);
    if (bare == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    const anx_device_options options = {.threads = threads};
    void *device = NULL;
    anx_status status = anx_dnnl_device_open(0, &options, &device, err);
    bare->device = device;
    bare->kernels = calloc((size_t)graph->n_nodes, sizeof *bare->kernels);
    if (status == ANX_OK && bare->kernels == NULL) status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    if (status == ANX_OK) {
        const int previous = anx_dnnl_threads_enter(bare->device);
        for (int i = 0; i < graph->n_nodes && status == ANX_OK; i++) {
            const anx_op op = graph->nodes[i].layer->op;
            if (op != ANX_OP_CONV2D && op != ANX_OP_LINEAR) continue;
            status = choose_kernel(&bare->kernels[bare->count++], bare->device, &graph->nodes[i], batch, err);
        }
        anx_dnnl_threads_leave(previous);
    }
    if (status == ANX_OK)
        *out = bare;
    else
        bench_bare_destroy(bare);
    return status;
}

void bench_bare_destroy(bench_bare *bare) {
    if (bare == NULL) return;
    for (int i = 0; i < bare->count; i++) kernel_fini(&bare->kernels[i]);
    free(bare->kernels);
    anx_dnnl_device_close(bare->device);
    free(bare);
}

anx_status bench_bare_run(bench_bare *bare, anx_error *err) {
    anx_status status = ANX_OK;
    const int previous = anx_dnnl_threads_enter(bare->device);
    for (int i = 0; i < bare->count && status == ANX_OK; i++)
        status = anx_dnnl_execute(bare->device, bare->kernels[i].primitive, bare->kernels[i].args,
                                  bare->kernels[i].n_args, err);
    anx_dnnl_threads_leave(previous);
    return status;
}
