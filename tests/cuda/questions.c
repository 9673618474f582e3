/*
 * gpu_questions [FILE]: what NVIDIA's documents leave open, asked of the GPU at hand (or of the double): which
 * algorithms exist in which arithmetic, how exact and how fast they are, what one call for product and bias makes of a
 * linear layer, what becomes of NaN and of ties, which calls work in place, what the environment can change, and how
 * wrong calls are refused. A report on stdout, JSON into FILE.
 *
 * Each question is asked by a process of its own (gpu_questions --ask NAME), each wrong call by another: what one of
 * them does not survive costs its answers alone. FILE is written anew after each question.
 *
 * It judges nothing: exit 0 where everything could be asked, 2 otherwise.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "parity/json_builder.h"
#include "src/backend/cuda/device.h"
#include "src/backend/reference/ops.h"
#include "src/base/threads.h"
#include "tests/support/random.h"

enum { BATCH = 2 };

static anx_cuda_device *device;
static const anx_cuda_api *api;
static anx_graph *graph; /* AlexNet's */

/* ---- telling -------------------------------------------------------------------------------------------- */

static void answer(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void answer(const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    printf("  ");
    vprintf(format, ap);
    printf("\n");
    va_end(ap);
    fflush(stdout);
}

static void must(unsigned code, const char *what) {
    if (code == 0) return;
    answer("stopped here: %s: %u", what, code);
    exit(2);
}

#define MUST(call) must(api->call, #call)

/* ---- memory --------------------------------------------------------------------------------------------- */

static float *on_device(const float *values, int64_t n) {
    void *memory = NULL;
    MUST(cudaMalloc(&memory, (size_t)n * sizeof(float)));
    if (values != NULL)
        MUST(cudaMemcpyAsync(memory, values, (size_t)n * sizeof(float), ANX_CU_HOST_TO_DEVICE, device->stream));
    else
        MUST(cudaMemsetAsync(memory, 0, (size_t)n * sizeof(float), device->stream));
    MUST(cudaStreamSynchronize(device->stream));
    return memory;
}

static float *to_host(const float *memory, int64_t n) {
    float *values = calloc((size_t)n, sizeof *values);
    if (values == NULL) exit(2);
    MUST(cudaMemcpyAsync(values, memory, (size_t)n * sizeof(float), ANX_CU_DEVICE_TO_HOST, device->stream));
    MUST(cudaStreamSynchronize(device->stream));
    return values;
}

/* NaN everywhere, so that what a call leaves unwritten shows. */
static void spoil(float *memory, int64_t n) {
    MUST(cudaMemsetAsync(memory, 0xff, (size_t)n * sizeof(float), device->stream));
}

static float *normal(int64_t n, double scale, uint64_t seed) {
    test_random r = {.state = seed};
    float *values = calloc((size_t)n, sizeof *values);
    if (values == NULL) exit(2);
    for (int64_t i = 0; i < n; i++) values[i] = (float)(scale * test_random_normal(&r));
    return values;
}

/* ---- measuring ------------------------------------------------------------------------------------------ */

/* The largest error in u*G, and its root mean square; both are NaN where a value is that should not be. */
static void measure_error(const float *memory, const double *truth, const float *gauge, int64_t n, double *worst,
                          double *rms) {
    float *got = to_host(memory, n);
    double sum = 0.0;
    *worst = 0.0;
    for (int64_t i = 0; i < n; i++) {
        const double r = fabs((double)got[i] - truth[i]) / (0x1p-24 * (double)gauge[i] + 1e-300);
        if (!(r <= *worst) && !isnan(*worst)) *worst = r;
        sum += r * r;
    }
    *rms = sqrt(sum / (double)n);
    free(got);
}

typedef unsigned runner(const void *what);

/* Of five runs. */
static float best_ms(runner *run, const void *what) {
    struct CUevent_st *start = NULL, *end = NULL;
    float best = INFINITY;
    MUST(cudaEventCreateWithFlags(&start, ANX_CU_EVENT_DEFAULT));
    MUST(cudaEventCreateWithFlags(&end, ANX_CU_EVENT_DEFAULT));
    for (int i = 0; i < 5; i++) {
        float ms = 0.0f;
        MUST(cudaEventRecord(start, device->stream));
        must(run(what), "a second run");
        MUST(cudaEventRecord(end, device->stream));
        MUST(cudaEventSynchronize(end));
        MUST(cudaEventElapsedTime(&ms, start, end));
        if (ms < best) best = ms;
    }
    MUST(cudaEventDestroy(start));
    MUST(cudaEventDestroy(end));
    return best;
}

/* ---- convolutions --------------------------------------------------------------------------------------- */

typedef enum direction { FORWARD = 0, DATA, FILTER } direction;

static const char *const direction_names[] = {"forward", "data", "filter"};
static const char *const algorithm_names[][8] = {
    {"implicit gemm", "implicit precomp gemm", "gemm", "direct", "fft", "fft tiling", "winograd", "winograd nonfused"},
    {"0", "1", "fft", "fft tiling", "winograd", "winograd nonfused", NULL, NULL},
    {"0", "1", "fft", "3", "winograd", "winograd nonfused", "fft tiling", NULL}};

typedef struct conv {
    const anx_graph *graph;
    int node;
    int64_t n_x, n_y, n_w;
    float *x, *w, *dy;                      /* host */
    float *dev_x, *dev_w, *dev_y, *dev_out; /* dev_y: the gradient; dev_out: room for the largest result */
    double *truth[3];
    float *gauge[3];
    struct cudnnTensorStruct *x_tensor, *y_tensor;
    struct cudnnFilterStruct *filter;
    struct cudnnConvolutionStruct *description;
} conv;

static int64_t result_elems(const conv *c, direction d) {
    return d == FORWARD ? c->n_y : d == DATA ? c->n_x : c->n_w;
}

static void describe(conv *c, unsigned math) {
    const anx_node *n = &c->graph->nodes[c->node];
    const anx_conv2d_params *p = &n->conv;
    MUST(cudnnSetTensor4dDescriptor(c->x_tensor, 0, 0, BATCH, (int)n->in.dim[0], (int)n->in.dim[1], (int)n->in.dim[2]));
    MUST(cudnnSetTensor4dDescriptor(c->y_tensor, 0, 0, BATCH, (int)n->out.dim[0], (int)n->out.dim[1],
                                    (int)n->out.dim[2]));
    MUST(cudnnSetFilter4dDescriptor(c->filter, 0, 0, p->out_channels, (int)n->in.dim[0] / p->groups, p->kernel_h,
                                    p->kernel_w));
    MUST(cudnnSetConvolution2dDescriptor(c->description, p->pad_h, p->pad_w, p->stride_h, p->stride_w, p->dilation_h,
                                         p->dilation_w, ANX_CU_CROSS_CORRELATION, ANX_CU_FLOAT));
    MUST(cudnnSetConvolutionGroupCount(c->description, p->groups));
    MUST(cudnnSetConvolutionMathType(c->description, math));
}

/* Truth and gauge by the reference, without the bias, which no direction asked here adds. */
static void find_truth(conv *c) {
    const int threads = anx_threads_available();
    const anx_node *n = &c->graph->nodes[c->node];
    const float *no_bias = calloc((size_t)n->out.dim[0], sizeof *no_bias);
    for (int d = 0; d < 3; d++) {
        c->truth[d] = calloc((size_t)result_elems(c, (direction)d), sizeof *c->truth[d]);
        c->gauge[d] = calloc((size_t)result_elems(c, (direction)d), sizeof *c->gauge[d]);
    }
    const int64_t in[] = {BATCH, n->in.dim[0], n->in.dim[1], n->in.dim[2]};
    const anx_tensor x = anx_tensor_view(ANX_F32, 4, in, c->x);
    const anx_param *pw = &c->graph->params[n->weight], *pb = &c->graph->params[n->bias];
    const anx_tensor w = anx_tensor_view(ANX_F32, pw->rank, pw->shape, c->w);
    const anx_tensor b = anx_tensor_view(ANX_F32, pb->rank, pb->shape, (void *)(uintptr_t)no_bias);
    anx_reference_node(c->graph, c->node, BATCH, &x, &w, &b, c->truth[FORWARD], threads, NULL);
    anx_reference_gauge(c->graph, c->node, BATCH, c->x, c->w, no_bias, c->gauge[FORWARD], threads, NULL);
    double *gauges[2] = {calloc((size_t)c->n_x, sizeof(double)), calloc((size_t)c->n_w, sizeof(double))};
    anx_reference_gradients g = {
        .x = c->x, .dy = c->dy, .weight = c->w, .dx = c->truth[DATA], .dweight = c->truth[FILTER]};
    anx_reference_node_back(c->graph, c->node, BATCH, &g, threads, NULL);
    g.gauge = true;
    g.dx = gauges[0];
    g.dweight = gauges[1];
    anx_reference_node_back(c->graph, c->node, BATCH, &g, threads, NULL);
    for (int64_t i = 0; i < c->n_x; i++) c->gauge[DATA][i] = (float)gauges[0][i];
    for (int64_t i = 0; i < c->n_w; i++) c->gauge[FILTER][i] = (float)gauges[1][i];
    free(gauges[0]);
    free(gauges[1]);
    free((void *)(uintptr_t)no_bias);
}

static void conv_init(conv *c, const anx_graph *network, int node) {
    *c = (conv){.graph = network, .node = node};
    const anx_node *n = &network->nodes[node];
    c->n_x = BATCH * n->in.dim[0] * n->in.dim[1] * n->in.dim[2];
    c->n_y = BATCH * n->out.dim[0] * n->out.dim[1] * n->out.dim[2];
    c->n_w = anx_param_elems(&network->params[n->weight]);
    c->x = normal(c->n_x, 1.0, (uint64_t)node + 1);
    c->w = normal(c->n_w, 1.0 / sqrt((double)n->terms), (uint64_t)node + 2);
    c->dy = normal(c->n_y, 1.0, (uint64_t)node + 3);
    find_truth(c);
    int64_t most = c->n_x > c->n_y ? c->n_x : c->n_y;
    if (c->n_w > most) most = c->n_w;
    c->dev_x = on_device(c->x, c->n_x);
    c->dev_w = on_device(c->w, c->n_w);
    c->dev_y = on_device(c->dy, c->n_y);
    c->dev_out = on_device(NULL, most);
    MUST(cudnnCreateTensorDescriptor(&c->x_tensor));
    MUST(cudnnCreateTensorDescriptor(&c->y_tensor));
    MUST(cudnnCreateFilterDescriptor(&c->filter));
    MUST(cudnnCreateConvolutionDescriptor(&c->description));
}

static void conv_fini(conv *c) {
    MUST(cudnnDestroyTensorDescriptor(c->x_tensor));
    MUST(cudnnDestroyTensorDescriptor(c->y_tensor));
    MUST(cudnnDestroyFilterDescriptor(c->filter));
    MUST(cudnnDestroyConvolutionDescriptor(c->description));
    MUST(cudaFree(c->dev_x));
    MUST(cudaFree(c->dev_w));
    MUST(cudaFree(c->dev_y));
    MUST(cudaFree(c->dev_out));
    for (int d = 0; d < 3; d++) {
        free(c->truth[d]);
        free(c->gauge[d]);
    }
    free(c->x);
    free(c->w);
    free(c->dy);
}

static unsigned workspace_of(const conv *c, direction d, unsigned algorithm, size_t *bytes) {
    struct cudnnContext *h = device->dnn.handle;
    if (d == FORWARD)
        return api->cudnnGetConvolutionForwardWorkspaceSize(h, c->x_tensor, c->filter, c->description, c->y_tensor,
                                                            algorithm, bytes);
    if (d == DATA)
        return api->cudnnGetConvolutionBackwardDataWorkspaceSize(h, c->filter, c->y_tensor, c->description, c->x_tensor,
                                                                 algorithm, bytes);
    return api->cudnnGetConvolutionBackwardFilterWorkspaceSize(h, c->x_tensor, c->y_tensor, c->description, c->filter,
                                                               algorithm, bytes);
}

static unsigned run_conv(const conv *c, direction d, unsigned algorithm, void *workspace, size_t bytes) {
    static const float one = 1.0f, zero = 0.0f;
    struct cudnnContext *h = device->dnn.handle;
    if (d == FORWARD)
        return api->cudnnConvolutionForward(h, &one, c->x_tensor, c->dev_x, c->filter, c->dev_w, c->description,
                                            algorithm, workspace, bytes, &zero, c->y_tensor, c->dev_out);
    if (d == DATA)
        return api->cudnnConvolutionBackwardData(h, &one, c->filter, c->dev_w, c->y_tensor, c->dev_y, c->description,
                                                 algorithm, workspace, bytes, &zero, c->x_tensor, c->dev_out);
    return api->cudnnConvolutionBackwardFilter(h, &one, c->x_tensor, c->dev_x, c->y_tensor, c->dev_y, c->description,
                                               algorithm, workspace, bytes, &zero, c->filter, c->dev_out);
}

static void measure_conv(const conv *c, direction d, double *worst, double *rms) {
    measure_error(c->dev_out, c->truth[d], c->gauge[d], result_elems(c, d), worst, rms);
}

typedef struct conv_run {
    const conv *c;
    direction d;
    unsigned algorithm;
    void *workspace;
    size_t bytes;
} conv_run;

static unsigned run_conv_again(const void *what) {
    const conv_run *r = what;
    return run_conv(r->c, r->d, r->algorithm, r->workspace, r->bytes);
}

static void ask_algorithm(const conv *c, direction d, unsigned algorithm, const char *math) {
    const char *layer = c->graph->nodes[c->node].layer->name, *name = algorithm_names[d][algorithm];
    size_t bytes = 0;
    void *workspace = NULL;
    unsigned code = workspace_of(c, d, algorithm, &bytes);
    if (code != 0 || bytes > (size_t)4 << 30) {
        answer("%s %s, %s, %s: workspace query %u, %zu bytes", layer, direction_names[d], name, math, code, bytes);
        return;
    }
    if (bytes > 0 && api->cudaMalloc(&workspace, bytes) != 0) {
        api->cudaGetLastError();
        answer("%s %s, %s, %s: no memory for a workspace of %zu bytes", layer, direction_names[d], name, math, bytes);
        return;
    }
    spoil(c->dev_out, result_elems(c, d));
    code = run_conv(c, d, algorithm, workspace, bytes);
    if (code == 0) {
        double worst, rms;
        const conv_run again = {c, d, algorithm, workspace, bytes};
        measure_conv(c, d, &worst, &rms);
        answer("%s %s, %s, %s: runs, workspace %zu bytes, error %.2f u G (RMS %.3f), %.4f ms", layer,
               direction_names[d], name, math, bytes, worst, rms, (double)best_ms(run_conv_again, &again));
    } else {
        answer("%s %s, %s, %s: refused when run, %u", layer, direction_names[d], name, math, code);
    }
    MUST(cudaStreamSynchronize(device->stream));
    if (workspace != NULL) MUST(cudaFree(workspace));
}

static void ask_algorithms_of(const anx_graph *network) {
    static const struct {
        unsigned mode;
        const char *name;
    } maths[] = {{ANX_CU_FMA_MATH, "FMA"}, {ANX_CU_DEFAULT_MATH, "DEFAULT"}};
    for (int node = 0; node < network->n_nodes; node++) {
        if (network->nodes[node].layer->op != ANX_OP_CONV2D) continue;
        conv c;
        conv_init(&c, network, node);
        for (size_t m = 0; m < 2; m++) {
            describe(&c, maths[m].mode);
            for (int d = 0; d < 3; d++)
                for (unsigned a = 0; a < 8; a++)
                    if (algorithm_names[d][a] != NULL) ask_algorithm(&c, (direction)d, a, maths[m].name);
        }
        conv_fini(&c);
    }
}

static void ask_algorithms(void) {
    ask_algorithms_of(graph);
}

/* The second convolution of the AlexNet of 2012. */
static void ask_groups(void) {
    static const anx_layer rows[] = {{.name = "two groups",
                                      .op = ANX_OP_CONV2D,
                                      .u.conv = {.out_channels = 256,
                                                 .kernel_h = 5,
                                                 .kernel_w = 5,
                                                 .stride_h = 1,
                                                 .stride_w = 1,
                                                 .pad_h = 2,
                                                 .pad_w = 2,
                                                 .groups = 2}}};
    static const anx_arch arch = {.name = "two groups",
                                  .in_channels = 96,
                                  .default_size = 27,
                                  .min_size = 27,
                                  .logits = "two groups",
                                  .layers = rows,
                                  .n_layers = 1,
                                  .internal = true};
    anx_graph *network = NULL;
    must(anx_graph_create(&arch, 0, 0, 0, &network, NULL), "a network");
    ask_algorithms_of(network);
    anx_graph_destroy(network);
}

/* ---- the fused call ------------------------------------------------------------------------------------- */

/* z, which counts nothing where its factor is 0, is the output itself, full of NaN. */
static unsigned run_fused(const conv *c, unsigned algorithm, struct cudnnActivationStruct *activation,
                          struct cudnnTensorStruct *bias_tensor, const float *bias, void *workspace, size_t bytes) {
    static const float one = 1.0f, zero = 0.0f;
    spoil(c->dev_out, c->n_y);
    return api->cudnnConvolutionBiasActivationForward(
        device->dnn.handle, &one, c->x_tensor, c->dev_x, c->filter, c->dev_w, c->description, algorithm, workspace,
        bytes, &zero, c->y_tensor, c->dev_out, bias_tensor, bias, activation, c->y_tensor, c->dev_out);
}

static int64_t count_different(const float *a, const float *b, int64_t n) {
    int64_t different = 0;
    for (int64_t i = 0; i < n; i++) different += memcmp(&a[i], &b[i], sizeof *a) != 0;
    return different;
}

/* Without an activation, by every algorithm; two: what a convolution and the bias give, by algorithm 1. */
static void ask_identity(const conv *c, struct cudnnTensorStruct *bias_tensor, const float *bias, const float *two) {
    for (unsigned a = 0; a < 8; a++) {
        const char *name = algorithm_names[FORWARD][a];
        size_t bytes = 0;
        void *workspace = NULL;
        unsigned code = workspace_of(c, FORWARD, a, &bytes);
        if (code == 0 && bytes > 0) MUST(cudaMalloc(&workspace, bytes));
        if (code == 0) code = run_fused(c, a, device->dnn.identity, bias_tensor, bias, workspace, bytes);
        if (code != 0) {
            answer("fused, IDENTITY, %s: refused, %u", name, code);
        } else {
            float *fused = to_host(c->dev_out, c->n_y);
            answer("fused, IDENTITY, %s: runs; %lld of %lld values have other bits than two calls by %s", name,
                   (long long)count_different(fused, two, c->n_y), (long long)c->n_y, algorithm_names[FORWARD][1]);
            free(fused);
        }
        if (workspace != NULL) MUST(cudaFree(workspace));
    }
}

static void ask_fused(void) {
    static const float one = 1.0f, zero = 0.0f;
    conv c;
    conv_init(&c, graph, 0);
    describe(&c, ANX_CU_FMA_MATH);
    const int64_t channels = graph->nodes[0].out.dim[0], plane = c.n_y / BATCH / channels;
    float *bias = normal(channels, 1.0, 9);
    bias[0] = NAN;
    float *dev_bias = on_device(bias, channels), *dev_three = on_device(NULL, c.n_y);
    struct cudnnTensorStruct *bias_tensor = NULL;
    struct cudnnActivationStruct *activation = NULL;
    MUST(cudnnCreateTensorDescriptor(&bias_tensor));
    MUST(cudnnSetTensor4dDescriptor(bias_tensor, 0, 0, 1, (int)channels, 1, 1));
    MUST(cudnnCreateActivationDescriptor(&activation));
    size_t bytes = 0;
    void *workspace = NULL;
    must(workspace_of(&c, FORWARD, 1, &bytes), "workspace");
    if (bytes > 0) MUST(cudaMalloc(&workspace, bytes));
    spoil(c.dev_out, c.n_y);
    must(run_conv(&c, FORWARD, 1, workspace, bytes), "a convolution");
    MUST(cudaMemcpyAsync(dev_three, c.dev_out, (size_t)c.n_y * sizeof(float), ANX_CU_DEVICE_TO_DEVICE, device->stream));
    MUST(cudnnAddTensor(device->dnn.handle, &one, bias_tensor, dev_bias, &one, c.y_tensor, dev_three));
    float *two = to_host(dev_three, c.n_y);
    MUST(cudnnSetActivationDescriptor(activation, ANX_CU_RELU, ANX_CU_PROPAGATE_NAN, 0.0));
    MUST(cudnnActivationForward(device->dnn.handle, activation, &one, c.y_tensor, dev_three, &zero, c.y_tensor,
                                dev_three));
    float *three = to_host(dev_three, c.n_y);
    for (unsigned nan = 0; nan < 2; nan++) {
        MUST(cudnnSetActivationDescriptor(activation, ANX_CU_RELU, nan, 0.0));
        const unsigned code = run_fused(&c, 1, activation, bias_tensor, dev_bias, workspace, bytes);
        if (code != 0) {
            answer("fused, %s: refused, %u", nan ? "PROPAGATE_NAN" : "NOT_PROPAGATE_NAN", code);
            continue;
        }
        float *fused = to_host(c.dev_out, c.n_y);
        int64_t nans = 0;
        for (int64_t i = 0; i < plane; i++) nans += isnan(fused[i]) != 0;
        const int64_t different = count_different(fused + plane, three + plane, c.n_y / BATCH - plane);
        answer("fused, %s: runs; %lld of %lld NaN kept; %lld of %lld other values have other bits than three calls",
               nan ? "PROPAGATE_NAN" : "NOT_PROPAGATE_NAN", (long long)nans, (long long)plane, (long long)different,
               (long long)(c.n_y / BATCH - plane));
        free(fused);
    }
    ask_identity(&c, bias_tensor, dev_bias, two);
    if (workspace != NULL) MUST(cudaFree(workspace));
    MUST(cudaFree(dev_bias));
    MUST(cudaFree(dev_three));
    MUST(cudnnDestroyTensorDescriptor(bias_tensor));
    MUST(cudnnDestroyActivationDescriptor(activation));
    free(bias);
    free(two);
    free(three);
    conv_fini(&c);
}

/* ---- linear layers -------------------------------------------------------------------------------------- */

typedef struct linear {
    anx_cublas_linear shape;
    int64_t n_y;
    double *truth;
    float *gauge;
    float *x, *w, *b, *y; /* on the device */
    anx_matmul *matmul;
    struct cudnnTensorStruct *y_tensor, *b_tensor;
} linear;

static void linear_init(linear *l, int node) {
    const anx_node *n = &graph->nodes[node];
    const int threads = anx_threads_available();
    *l = (linear){.shape = {BATCH, n->in.dim[0], n->out.dim[0]}, .n_y = BATCH * n->out.dim[0]};
    const int64_t in[] = {BATCH, l->shape.in};
    const anx_param *pw = &graph->params[n->weight], *pb = &graph->params[n->bias];
    float *x = normal(BATCH * l->shape.in, 1.0, (uint64_t)node + 1), *b = normal(l->shape.out, 1.0, (uint64_t)node + 3);
    float *w = normal(anx_param_elems(pw), 1.0 / sqrt((double)l->shape.in), (uint64_t)node + 2);
    const anx_tensor tx = anx_tensor_view(ANX_F32, 2, in, x), tw = anx_tensor_view(ANX_F32, pw->rank, pw->shape, w);
    const anx_tensor tb = anx_tensor_view(ANX_F32, pb->rank, pb->shape, b);
    l->truth = calloc((size_t)l->n_y, sizeof *l->truth);
    l->gauge = calloc((size_t)l->n_y, sizeof *l->gauge);
    anx_reference_node(graph, node, BATCH, &tx, &tw, &tb, l->truth, threads, NULL);
    anx_reference_gauge(graph, node, BATCH, x, w, b, l->gauge, threads, NULL);
    l->x = on_device(x, BATCH * l->shape.in);
    l->w = on_device(w, anx_param_elems(pw));
    l->b = on_device(b, l->shape.out);
    l->y = on_device(NULL, l->n_y);
    must(anx_cudnn_tensor_create(&device->dnn, BATCH, l->shape.out, 1, 1, &l->y_tensor, NULL), "a descriptor");
    must(anx_cudnn_tensor_create(&device->dnn, 1, l->shape.out, 1, 1, &l->b_tensor, NULL), "a descriptor");
    free(x);
    free(w);
    free(b);
}

static void linear_fini(linear *l) {
    float *all[] = {l->x, l->w, l->b, l->y};
    MUST(cudaStreamSynchronize(device->stream));
    anx_matmul_destroy(l->matmul);
    anx_cudnn_tensor_destroy(&device->dnn, l->y_tensor);
    anx_cudnn_tensor_destroy(&device->dnn, l->b_tensor);
    for (int i = 0; i < 4; i++) MUST(cudaFree(all[i]));
    free(l->truth);
    free(l->gauge);
}

static unsigned run_one_call(const void *what) {
    const linear *l = what;
    return anx_matmul_run(l->matmul, l->x, l->w, l->y, NULL);
}

static unsigned run_two_calls(const void *what) {
    const linear *l = what;
    const anx_status status = anx_cublas_linear_forward(&device->blas, &l->shape, l->x, l->w, l->y, NULL);
    return status != ANX_OK ? status : anx_cudnn_add_bias(&device->dnn, l->b_tensor, l->b, l->y_tensor, l->y, NULL);
}

/* Its error, its time, and whether two runs agree. */
static void ask_way(const linear *l, const char *layer, const char *way, runner *run) {
    double worst, rms;
    spoil(l->y, l->n_y);
    must(run(l), way);
    measure_error(l->y, l->truth, l->gauge, l->n_y, &worst, &rms);
    float *first = to_host(l->y, l->n_y);
    const float ms = best_ms(run, l);
    float *last = to_host(l->y, l->n_y);
    answer("%s, %s: error %.2f u G (RMS %.3f), %.4f ms, %s", layer, way, worst, rms, (double)ms,
           memcmp(first, last, (size_t)l->n_y * sizeof *first) == 0 ? "the same bits again"
                                                                    : "OTHER BITS the next time");
    free(first);
    free(last);
}

static void ask_linear_layers(void) {
    for (int node = 0; node < graph->n_nodes; node++) {
        const char *layer = graph->nodes[node].layer->name;
        anx_error err = ANX_ERROR_INIT;
        linear l;
        if (graph->nodes[node].layer->op != ANX_OP_LINEAR) continue;
        linear_init(&l, node);
        if (anx_matmul_create(&device->lt, &l.shape, l.x, l.w, l.b, l.y, &l.matmul, &err) != ANX_OK)
            answer("%s, one call: %s", layer, err.message);
        else if (l.matmul == NULL)
            answer("%s, one call: refused", layer);
        else
            ask_way(&l, layer, "one call", run_one_call);
        ask_way(&l, layer, "two calls", run_two_calls);
        linear_fini(&l);
    }
}

/* y = epilogue(x w^T + b) of one image and two outputs, by whatever algorithm the library takes unasked. */
static unsigned run_epilogue(uint32_t epilogue, const float *x, const float *w, const float *b, float *y) {
    static const float one = 1.0f, zero = 0.0f;
    static const int32_t transposed = ANX_CU_BLAS_T;
    enum { IN = 4, OUT = 2 };
    anx_lt_matmul d = NULL;
    anx_lt_layout wd = NULL, xd = NULL, yd = NULL;
    MUST(cublasLtMatmulDescCreate(&d, ANX_CU_LT_COMPUTE_PEDANTIC, ANX_CU_LT_FLOAT));
    MUST(cublasLtMatmulDescSetAttribute(d, ANX_CU_LT_TRANSA, &transposed, sizeof transposed));
    MUST(cublasLtMatmulDescSetAttribute(d, ANX_CU_LT_EPILOGUE, &epilogue, sizeof epilogue));
    MUST(cublasLtMatmulDescSetAttribute(d, ANX_CU_LT_BIAS_POINTER, &b, sizeof b));
    MUST(cublasLtMatrixLayoutCreate(&wd, ANX_CU_LT_FLOAT, IN, OUT, IN));
    MUST(cublasLtMatrixLayoutCreate(&xd, ANX_CU_LT_FLOAT, IN, 1, IN));
    MUST(cublasLtMatrixLayoutCreate(&yd, ANX_CU_LT_FLOAT, OUT, 1, OUT));
    const unsigned code = api->cublasLtMatmul(device->lt.handle, d, &one, w, wd, x, xd, &zero, y, yd, y, yd, NULL, NULL,
                                              0, device->stream);
    MUST(cudaStreamSynchronize(device->stream));
    MUST(cublasLtMatmulDescDestroy(d));
    MUST(cublasLtMatrixLayoutDestroy(wd));
    MUST(cublasLtMatrixLayoutDestroy(xd));
    MUST(cublasLtMatrixLayoutDestroy(yd));
    return code;
}

static void ask_epilogues(void) {
    static const struct {
        uint32_t epilogue;
        const char *name;
    } epilogues[] = {{ANX_CU_LT_EPILOGUE_BIAS, "BIAS"}, {ANX_CU_LT_EPILOGUE_RELU_BIAS, "RELU_BIAS"}};
    static const float x[4] = {1.0f}, w[8] = {1.0f, 0.0f, 0.0f, 0.0f, NAN}, b[2] = {NAN, 1.0f};
    float *memory[] = {on_device(x, 4), on_device(w, 8), on_device(b, 2), on_device(NULL, 2)};
    for (int i = 0; i < 2; i++) {
        must(api->cudaMemsetAsync(memory[3], 0, 2 * sizeof(float), device->stream), "zeros"); /* as NaN is the answer */
        const unsigned code = run_epilogue(epilogues[i].epilogue, memory[0], memory[1], memory[2], memory[3]);
        float *y = to_host(memory[3], 2);
        if (code != 0)
            answer("%s: refused, %u", epilogues[i].name, code);
        else
            answer("%s: NaN becomes %g and %g", epilogues[i].name, (double)y[0], (double)y[1]);
        free(y);
    }
    for (int i = 0; i < 4; i++) MUST(cudaFree(memory[i]));
}

/* ---- pooling and ReLU ----------------------------------------------------------------------------------- */

static void tell(const char *what, const float *memory, int64_t n) {
    float *values = to_host(memory, n);
    char text[384] = "";
    for (int64_t i = 0; i < n; i++) {
        const size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, " %g", (double)values[i]);
    }
    answer("%s:%s", what, text);
    free(values);
}

/* A window of nine over the whole plane: which element gets the gradient? */
static void ask_window(const char *what, const float x[9]) {
    const float dy = 1.0f;
    float *dev_x = on_device(x, 9), *dev_y = on_device(NULL, 1), *dev_dy = on_device(&dy, 1),
          *dev_dx = on_device(NULL, 9);
    static const float one = 1.0f, zero = 0.0f;
    struct cudnnTensorStruct *in = NULL, *out = NULL;
    struct cudnnPoolingStruct *pooling = NULL;
    MUST(cudnnCreateTensorDescriptor(&in));
    MUST(cudnnCreateTensorDescriptor(&out));
    MUST(cudnnCreatePoolingDescriptor(&pooling));
    MUST(cudnnSetTensor4dDescriptor(in, 0, 0, 1, 1, 3, 3));
    MUST(cudnnSetTensor4dDescriptor(out, 0, 0, 1, 1, 1, 1));
    MUST(cudnnSetPooling2dDescriptor(pooling, ANX_CU_POOL_MAX_DETERMINISTIC, ANX_CU_PROPAGATE_NAN, 3, 3, 0, 0, 2, 2));
    spoil(dev_dx, 9);
    MUST(cudnnPoolingForward(device->dnn.handle, pooling, &one, in, dev_x, &zero, out, dev_y));
    MUST(
        cudnnPoolingBackward(device->dnn.handle, pooling, &one, out, dev_y, out, dev_dy, in, dev_x, &zero, in, dev_dx));
    char text[96];
    snprintf(text, sizeof text, "%s, output", what);
    tell(text, dev_y, 1);
    snprintf(text, sizeof text, "%s, gradient", what);
    tell(text, dev_dx, 9);
    MUST(cudnnDestroyTensorDescriptor(in));
    MUST(cudnnDestroyTensorDescriptor(out));
    MUST(cudnnDestroyPoolingDescriptor(pooling));
    float *all[] = {dev_x, dev_y, dev_dy, dev_dx};
    for (int i = 0; i < 4; i++) MUST(cudaFree(all[i]));
}

static void ask_elementwise(void) {
    static const float x[9] = {-1.0f, -0.0f, 0.0f, 0x1p-149f, NAN, INFINITY, -INFINITY, -0x1p-149f, 2.0f};
    float *memory = on_device(x, 9);
    struct cudnnTensorStruct *t = NULL;
    anx_error err = ANX_ERROR_INIT;
    if (anx_cudnn_tensor_create(&device->dnn, 1, 9, 1, 1, &t, &err) != ANX_OK ||
        anx_cudnn_relu_forward(&device->dnn, t, memory, memory, &err) != ANX_OK)
        answer("%s", err.message);
    else
        tell("ReLU of -1 -0 0 2^-149 nan inf -inf -2^-149 2", memory, 9);
    anx_cudnn_tensor_destroy(&device->dnn, t);
    MUST(cudaFree(memory));
}

static void ask_about_values(void) {
    static const float ties[9] = {1.0f, 2.0f, 2.0f, 2.0f, 0.0f, 2.0f, 1.0f, 2.0f, 2.0f};
    static const float zeros[9] = {0.0f};
    static const float signs[9] = {-0.0f, 0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f};
    static const float nans[9] = {1.0f, INFINITY, NAN, 2.0f, NAN, 3.0f, 4.0f, 5.0f, 6.0f};
    ask_window("2 at 1 2 3 5 7 8", ties);
    ask_window("zeros", zeros);
    ask_window("zeros of both signs, -0 first", signs);
    ask_window("NaN at 2 and 4, inf at 1", nans);
    ask_elementwise();
}

/* ---- in place ------------------------------------------------------------------------------------------- */

static void ask_multiply(int64_t n) {
    float *x = normal(n, 1.0, 1), *m = normal(n, 1.0, 2);
    float *a = on_device(x, n), *b = on_device(m, n), *out = on_device(NULL, n);
    anx_error err = ANX_ERROR_INIT;
    spoil(out, n);
    if (anx_cublas_multiply(&device->blas, n, a, b, out, &err) != ANX_OK ||
        anx_cublas_multiply(&device->blas, n, a, b, a, &err) != ANX_OK) {
        answer("%s", err.message);
    } else {
        float *apart = to_host(out, n), *in_place = to_host(a, n);
        int64_t wrong = 0;
        for (int64_t i = 0; i < n; i++) wrong += apart[i] != x[i] * m[i];
        answer("cublasSdgmm of %lld elements in place: %lld differ; apart: %lld are not the rounded product",
               (long long)n, (long long)count_different(apart, in_place, n), (long long)wrong);
        free(apart);
        free(in_place);
    }
    MUST(cudaFree(a));
    MUST(cudaFree(b));
    MUST(cudaFree(out));
    free(x);
    free(m);
}

/* The masks of dropout. */
static void ask_in_place(void) {
    ask_multiply(4096);
    ask_multiply(INT64_C(256) * 9216);
}

/* ---- a linear layer's bias, by cuDNN -------------------------------------------------------------------- */

static void ask_add_bias(int64_t n, int64_t features, const float *y, const float *b, float *dev_y, float *dev_b,
                         struct cudnnTensorStruct *y_tensor, struct cudnnTensorStruct *b_tensor) {
    anx_error err = ANX_ERROR_INIT;
    if (anx_cudnn_add_bias(&device->dnn, b_tensor, dev_b, y_tensor, dev_y, &err) != ANX_OK) {
        answer("AddTensor on (%lld, %lld, 1, 1): %s", (long long)n, (long long)features, err.message);
        return;
    }
    float *sum = to_host(dev_y, n * features);
    int64_t wrong = 0;
    for (int64_t i = 0; i < n * features; i++) wrong += sum[i] != y[i] + b[i % features];
    answer("AddTensor on (%lld, %lld, 1, 1): %lld of %lld are not the rounded sum", (long long)n, (long long)features,
           (long long)wrong, (long long)(n * features));
    free(sum);
}

static void ask_bias_gradient(int64_t n, int64_t features, const float *dy, float *dev_dy, float *dev_db,
                              struct cudnnTensorStruct *dy_tensor, struct cudnnTensorStruct *b_tensor) {
    anx_error err = ANX_ERROR_INIT;
    double *truth = calloc((size_t)features, sizeof *truth), worst, rms;
    float *gauge = calloc((size_t)features, sizeof *gauge);
    if (truth == NULL || gauge == NULL) exit(2);
    for (int64_t i = 0; i < n * features; i++) {
        truth[i % features] += (double)dy[i];
        gauge[i % features] += fabsf(dy[i]);
    }
    spoil(dev_db, features);
    if (anx_cudnn_bias_gradient(&device->dnn, dy_tensor, dev_dy, b_tensor, dev_db, &err) != ANX_OK) {
        answer("BackwardBias of (%lld, %lld, 1, 1): %s", (long long)n, (long long)features, err.message);
    } else {
        measure_error(dev_db, truth, gauge, features, &worst, &rms);
        answer("BackwardBias of (%lld, %lld, 1, 1): error %.2f u G (RMS %.3f)", (long long)n, (long long)features,
               worst, rms);
    }
    free(truth);
    free(gauge);
}

static void ask_bias(void) {
    static const int64_t sizes[][2] = {{1, 4096}, {1, 1000}, {8, 4096}, {256, 4096}, {256, 1000}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const int64_t n = sizes[i][0], features = sizes[i][1];
        float *y = normal(n * features, 1.0, 1), *b = normal(features, 1.0, 2);
        float *dev_y = on_device(y, n * features), *dev_b = on_device(b, features);
        struct cudnnTensorStruct *y_tensor = NULL, *b_tensor = NULL;
        must(anx_cudnn_tensor_create(&device->dnn, n, features, 1, 1, &y_tensor, NULL), "a descriptor");
        must(anx_cudnn_tensor_create(&device->dnn, 1, features, 1, 1, &b_tensor, NULL), "a descriptor");
        float *dev_dy = on_device(y, n * features), *dev_db = on_device(NULL, features);
        ask_add_bias(n, features, y, b, dev_y, dev_b, y_tensor, b_tensor);
        ask_bias_gradient(n, features, y, dev_dy, dev_db, y_tensor, b_tensor);
        anx_cudnn_tensor_destroy(&device->dnn, y_tensor);
        anx_cudnn_tensor_destroy(&device->dnn, b_tensor);
        float *all[] = {dev_y, dev_b, dev_dy, dev_db};
        for (int k = 0; k < 4; k++) MUST(cudaFree(all[k]));
        free(y);
        free(b);
    }
}

/* ---- wrong calls ---------------------------------------------------------------------------------------- */

static void call_without_workspace(conv *c, char *workspace, size_t bytes) {
    (void)workspace;
    answer("a workspace of %zu bytes, given as NULL: %u", bytes, run_conv(c, FORWARD, 1, NULL, bytes));
}

static void call_with_a_short_workspace(conv *c, char *workspace, size_t bytes) {
    if (bytes >= 4)
        answer("a workspace shorter by 4 bytes: %u", run_conv(c, FORWARD, 1, workspace, bytes - 4));
    else
        answer("a workspace shorter by 4 bytes: none is needed");
}

static void call_with_another_height(conv *c, char *workspace, size_t bytes) {
    MUST(cudnnSetTensor4dDescriptor(c->y_tensor, 0, 0, BATCH, 64, 54, 55));
    const unsigned query = workspace_of(c, FORWARD, 1, &bytes);
    answer("an output of another height: query %u, run %u", query, run_conv(c, FORWARD, 1, workspace, bytes));
}

static void call_with_odd_groups(conv *c, char *workspace, size_t bytes) {
    MUST(cudnnSetConvolutionGroupCount(c->description, 3));
    MUST(cudnnSetFilter4dDescriptor(c->filter, 0, 0, 64, 1, 11, 11));
    const unsigned query = workspace_of(c, FORWARD, 1, &bytes);
    answer("64 outputs in 3 groups: query %u, run %u", query, run_conv(c, FORWARD, 1, workspace, bytes));
}

/* Of what the query says, at another address than cudaMalloc's, which are multiples of 256. */
static void call_misaligned(conv *c, direction d, size_t offset) {
    char *workspace = NULL;
    void *memory = NULL;
    size_t bytes = 0;
    double worst, rms;
    must(workspace_of(c, d, 1, &bytes), "workspace");
    MUST(cudaMalloc(&memory, bytes + 256));
    workspace = memory;
    spoil(c->dev_out, result_elems(c, d));
    const unsigned code = run_conv(c, d, 1, workspace + offset, bytes);
    if (code != 0) {
        answer("%s, a workspace of %zu bytes at %zu behind a multiple of 256: refused, %u", direction_names[d], bytes,
               offset, code);
    } else {
        measure_conv(c, d, &worst, &rms);
        answer("%s, a workspace of %zu bytes at %zu behind a multiple of 256: runs, error %.2f u G (RMS %.3f)",
               direction_names[d], bytes, offset, worst, rms);
    }
    MUST(cudaStreamSynchronize(device->stream));
    MUST(cudaFree(memory));
}

typedef void wrong_call(conv *c, char *workspace, size_t bytes);

static wrong_call *const wrong_calls[] = {call_without_workspace, call_with_a_short_workspace, call_with_another_height,
                                          call_with_odd_groups};
static const size_t offsets[] = {4, 16, 64, 128};
enum {
    N_KINDS = sizeof wrong_calls / sizeof wrong_calls[0],
    N_WRONG_CALLS = N_KINDS + sizeof offsets / sizeof offsets[0]
};

static void ask_wrong_call(int i) {
    conv c;
    conv_init(&c, graph, 0);
    describe(&c, ANX_CU_FMA_MATH);
    size_t bytes = 0;
    void *workspace = NULL;
    must(workspace_of(&c, FORWARD, 1, &bytes), "workspace");
    if (bytes > 0) MUST(cudaMalloc(&workspace, bytes));
    if (i < N_KINDS) wrong_calls[i](&c, workspace, bytes);
    for (int d = 0; d < 3 && i >= N_KINDS; d++) call_misaligned(&c, (direction)d, offsets[i - N_KINDS]);
    if (workspace != NULL) MUST(cudaFree(workspace));
    conv_fini(&c);
}

/* ---- the environment ------------------------------------------------------------------------------------ */

/* The largest error of y (n, m) = x (n, k) w^T (m, k) in u*G. */
static double error_of_product(const float *x, const float *w, const float *dev_y, int n, int k, int m) {
    float *y = to_host(dev_y, (int64_t)n * m);
    double worst = 0.0;
    for (int i = 0; i < n * m; i++) {
        double sum = 0.0, gauge = 0.0;
        for (int q = 0; q < k; q++) {
            const double term = (double)x[i / m * k + q] * (double)w[i % m * k + q];
            sum += term;
            gauge += fabs(term);
        }
        const double r = fabs((double)y[i] - sum) / (0x1p-24 * gauge);
        if (!(r <= worst) && !isnan(worst)) worst = r;
    }
    free(y);
    return worst;
}

/* By cuBLAS, and by cuBLASLt with a bias of zeros. */
static bool print_products(int n, int k, int m) {
    float *x = normal((int64_t)n * k, 1.0, 1), *w = normal((int64_t)m * k, 1.0, 2);
    float *dev_x = on_device(x, (int64_t)n * k), *dev_w = on_device(w, (int64_t)m * k), *dev_b = on_device(NULL, m);
    float *dev_y = on_device(NULL, (int64_t)n * m);
    const anx_cublas_linear l = {n, k, m};
    anx_matmul *matmul = NULL;
    spoil(dev_y, (int64_t)n * m);
    bool good = anx_cublas_linear_forward(&device->blas, &l, dev_x, dev_w, dev_y, NULL) == ANX_OK;
    if (good) printf(", product of matrices %.2f u G", error_of_product(x, w, dev_y, n, k, m));
    spoil(dev_y, (int64_t)n * m);
    good = good && anx_matmul_create(&device->lt, &l, dev_x, dev_w, dev_b, dev_y, &matmul, NULL) == ANX_OK;
    if (good && matmul != NULL) printf(", with a bias %.2f u G", error_of_product(x, w, dev_y, n, k, m));
    printf("\n");
    anx_matmul_destroy(matmul);
    float *all[] = {dev_x, dev_w, dev_b, dev_y};
    for (int i = 0; i < 4; i++) MUST(cudaFree(all[i]));
    free(x);
    free(w);
    return good;
}

/* The errors of FMA and PEDANTIC arithmetic, in an environment that the libraries read once. */
static void ask_precision(void) {
    enum { N = 64, K = 4096, M = 64 };
    conv c;
    double worst = 0.0, rms = 0.0;
    conv_init(&c, graph, 3);
    describe(&c, ANX_CU_FMA_MATH);
    size_t bytes = 0;
    void *workspace = NULL;
    must(workspace_of(&c, FORWARD, 1, &bytes), "workspace");
    if (bytes > 0) MUST(cudaMalloc(&workspace, bytes));
    spoil(c.dev_out, c.n_y);
    must(run_conv(&c, FORWARD, 1, workspace, bytes), "a convolution");
    measure_conv(&c, FORWARD, &worst, &rms);
    printf("  convolution %.2f u G (RMS %.3f)", worst, rms);
    MUST(cudaStreamSynchronize(device->stream));
    if (workspace != NULL) MUST(cudaFree(workspace));
    conv_fini(&c);
    if (!print_products(N, K, M)) exit(2);
}

/* ---- all of it ------------------------------------------------------------------------------------------ */

static void ask_device(void) {
    printf("%s\n%s\n", device->isa, device->text_of_libraries);
}

typedef struct question {
    const char *name;
    const char *text;
    void (*ask)(void);
} question;

static const question questions[] = {
    {"algorithms", "Which algorithms run each convolution, in which arithmetic, how exactly and how fast? (batch 2)",
     ask_algorithms},
    {"groups", "Which of them run one of two groups?", ask_groups},
    {"fused",
     "Does the fused call take FMA arithmetic, and keep NaN? Has it the bits of three calls? Does it run without an "
     "activation?",
     ask_fused},
    {"linear",
     "Does cuBLASLt take a product and its bias in one call, in float32 (PEDANTIC, FMA alone), and how exactly? "
     "(batch 2)",
     ask_linear_layers},
    {"epilogues", "Does the ReLU of cuBLASLt's epilogue keep NaN? (y = NaN by its bias, and by its product)",
     ask_epilogues},
    {"bias", "Do cuDNN's sums serve a linear layer's bias?", ask_bias},
    {"values", "Which element of a max-pool's window wins a tie, and does NaN win? What does ReLU keep?",
     ask_about_values},
    {"in-place", "Which calls work in place?", ask_in_place},
};
enum { N_QUESTIONS = sizeof questions / sizeof questions[0] };

static bool ask_by_name(const char *name) {
    int number = 0;
    if (strcmp(name, "device") == 0) {
        ask_device();
        return true;
    }
    if (strcmp(name, "precision") == 0) {
        ask_precision();
        return true;
    }
    if (sscanf(name, "wrong-%d", &number) == 1 && number >= 0 && number < N_WRONG_CALLS) {
        ask_wrong_call(number);
        return true;
    }
    for (int i = 0; i < N_QUESTIONS; i++)
        if (strcmp(questions[i].name, name) == 0) {
            questions[i].ask();
            return true;
        }
    fprintf(stderr, "gpu_questions: there is no question '%s'\n", name);
    return false;
}

/* As --ask does. */
static int ask_one(const char *name) {
    anx_error err = ANX_ERROR_INIT;
    void *opened = NULL;
    if (anx_cuda_device_open(0, &(anx_device_options){.threads = 0}, &opened, &err) != ANX_OK ||
        anx_graph_create(anx_arch_find("alexnet"), 0, 0, 0, &graph, &err) != ANX_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 2;
    }
    device = opened;
    api = device->api;
    const bool asked = ask_by_name(name);
    anx_graph_destroy(graph);
    anx_cuda_device_close(device);
    return asked ? 0 : 64;
}

/* ---- gathering ------------------------------------------------------------------------------------------ */

typedef struct report {
    anx_json json;
    cJSON *root, *questions;
    const char *path; /* NULL: none is wanted */
    char self[4096];
} report;

/* Whole or not at all, since it is written again and again. */
static bool write_report(report *r) {
    char *text = NULL, part[4096];
    size_t bytes = 0;
    anx_error err = ANX_ERROR_INIT;
    if (r->path == NULL) return true;
    cJSON *copy = cJSON_Duplicate(r->root, true);
    if (copy == NULL || anx_json_print(&r->json, copy, &text, &bytes, &err) != ANX_OK) return false;
    snprintf(part, sizeof part, "%s.part", r->path);
    FILE *file = fopen(part, "wb");
    bool good = file != NULL && fwrite(text, 1, bytes, file) == bytes;
    if (file != NULL && fclose(file) != 0) good = false;
    good = good && rename(part, r->path) == 0;
    if (!good) perror(r->path);
    free(text);
    return good;
}

static cJSON *add_question(report *r, const char *text) {
    printf("\n%s\n", text);
    cJSON *q = anx_json_add_object(&r->json, r->questions, NULL);
    anx_json_add_text(&r->json, q, "question", text);
    return anx_json_add_array(&r->json, q, "answers");
}

static void add_answer(report *r, cJSON *answers, const char *before, const char *text) {
    char line[1200];
    snprintf(line, sizeof line, "%s%s", before, text);
    printf("  %s\n", line);
    fflush(stdout);
    anx_json_add_text(&r->json, answers, NULL, line);
}

/* What a process that asks prints, each line with `before` before it; false where it did not end as it should. */
static bool gather(report *r, const char *setting, const char *name, cJSON *answers, const char *before) {
    char command[8400], line[1024];
    snprintf(command, sizeof command, "%s exec '%s' --ask %s", setting, r->self, name);
    FILE *child = popen(command, "r");
    if (child == NULL) {
        perror("popen");
        return false;
    }
    while (fgets(line, sizeof line, child) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        add_answer(r, answers, before, line + strspn(line, " "));
    }
    const int status = pclose(child);
    if (status == 0) return true;
    if (WIFSIGNALED(status))
        snprintf(line, sizeof line, "%s: ended by signal %d", name, WTERMSIG(status));
    else
        snprintf(line, sizeof line, "%s: ended with exit status %d", name, WEXITSTATUS(status));
    add_answer(r, answers, before, line);
    return false;
}

/* GPU and libraries, for the head of the report. */
static bool gather_device(report *r) {
    char command[8400], gpu[512] = "", libraries[8192] = "";
    snprintf(command, sizeof command, "exec '%s' --ask device", r->self);
    FILE *child = popen(command, "r");
    if (child == NULL) return false;
    if (fgets(gpu, sizeof gpu, child) != NULL) gpu[strcspn(gpu, "\n")] = '\0';
    libraries[fread(libraries, 1, sizeof libraries - 1, child)] = '\0';
    const bool there = pclose(child) == 0;
    printf("%s\n%s", gpu, libraries);
    anx_json_add_text(&r->json, r->root, "gpu", there ? gpu : NULL);
    anx_json_add_text(&r->json, r->root, "libraries", libraries);
    r->questions = anx_json_add_array(&r->json, r->root, "questions");
    return there;
}

static bool gather_wrong_calls(report *r) {
    cJSON *answers = add_question(r, "With which numbers does cuDNN refuse wrong calls, and misaligned workspaces?");
    char name[32];
    for (int i = 0; i < N_WRONG_CALLS; i++) { /* not to survive one is an answer */
        snprintf(name, sizeof name, "wrong-%d", i);
        gather(r, "", name, answers, "");
    }
    return true;
}

static bool gather_environments(report *r) {
    static const char *const settings[] = {"", "NVIDIA_TF32_OVERRIDE=1", "CUBLAS_EMULATE_SINGLE_PRECISION=1",
                                           "CUBLAS_EMULATE_SINGLE_PRECISION=1 CUBLAS_EMULATION_STRATEGY=performant"};
    bool good = true;
    cJSON *answers = add_question(
        r, "Can the environment make float32 arithmetic less than that? (FMA convolution, PEDANTIC matrices)");
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        char before[128], setting[160];
        snprintf(before, sizeof before, "%s: ", i == 0 ? "as it is" : settings[i]);
        snprintf(setting, sizeof setting, "%s%s", i == 0 ? "" : "export ", settings[i]);
        if (i > 0) strcat(setting, ";");
        good = gather(r, setting, "precision", answers, before) && good;
    }
    return good;
}

static int gather_all(const char *path) {
    report r = {.path = path};
    const ssize_t length = readlink("/proc/self/exe", r.self, sizeof r.self - 1);
    r.self[length > 0 ? length : 0] = '\0';
    r.root = anx_json_root(&r.json);
    bool good = gather_device(&r);
    if (good) {
        for (int i = 0; i < N_QUESTIONS; i++) {
            good = gather(&r, "", questions[i].name, add_question(&r, questions[i].text), "") && good;
            good = write_report(&r) && good;
        }
        good = gather_wrong_calls(&r) && good;
        good = write_report(&r) && good;
        good = gather_environments(&r) && good;
    }
    good = write_report(&r) && good;
    cJSON_Delete(r.root);
    return good ? 0 : 2;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--ask") == 0) return ask_one(argv[2]);
    if (argc > 2) {
        fprintf(stderr, "usage: gpu_questions [JSON FILE]\n");
        return 64;
    }
    return gather_all(argc > 1 ? argv[1] : NULL);
}
