/*
 * gpu_questions [FILE]: what NVIDIA's documents leave open, asked of the GPU at hand (or of the double): which
 * algorithms exist in which arithmetic, how exact and how fast they are, what one call for product and bias makes of a
 * linear layer, what becomes of NaN and of ties, which calls work in place, what the environment can change, and how
 * wrong calls are refused. A report on stdout, JSON into FILE.
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
static anx_json json;
static cJSON *questions, *answers;

/* ---- telling -------------------------------------------------------------------------------------------- */

static void ask(const char *text) {
    printf("\n%s\n", text);
    cJSON *q = anx_json_add_object(&json, questions, NULL);
    anx_json_add_text(&json, q, "question", text);
    answers = anx_json_add_array(&json, q, "answers");
}

static void answer(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void answer(const char *format, ...) {
    char text[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    printf("  %s\n", text);
    anx_json_add_text(&json, answers, NULL, text);
}

static void must(unsigned code, const char *what) {
    if (code == 0) return;
    fprintf(stderr, "gpu_questions: %s: %u\n", what, code);
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

static float *normal(int64_t n, double scale, uint64_t seed) {
    test_random r = {.state = seed};
    float *values = calloc((size_t)n, sizeof *values);
    if (values == NULL) exit(2);
    for (int64_t i = 0; i < n; i++) values[i] = (float)(scale * test_random_normal(&r));
    return values;
}

/* ---- measuring ------------------------------------------------------------------------------------------ */

/* The largest error in u*G, and its root mean square. */
static void measure_error(const float *memory, const double *truth, const float *gauge, int64_t n, double *worst,
                          double *rms) {
    float *got = to_host(memory, n);
    double sum = 0.0;
    *worst = 0.0;
    for (int64_t i = 0; i < n; i++) {
        const double r = fabs((double)got[i] - truth[i]) / (0x1p-24 * (double)gauge[i] + 1e-300);
        if (!(r <= *worst)) *worst = r;
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

static void conv_init(conv *c, const anx_graph *graph, int node) {
    *c = (conv){.graph = graph, .node = node};
    const anx_node *n = &graph->nodes[node];
    c->n_x = BATCH * n->in.dim[0] * n->in.dim[1] * n->in.dim[2];
    c->n_y = BATCH * n->out.dim[0] * n->out.dim[1] * n->out.dim[2];
    c->n_w = anx_param_elems(&graph->params[n->weight]);
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

static void ask_algorithms(const anx_graph *graph) {
    static const struct {
        unsigned mode;
        const char *name;
    } maths[] = {{ANX_CU_FMA_MATH, "FMA"}, {ANX_CU_DEFAULT_MATH, "DEFAULT"}};
    ask("Which algorithms run each convolution, in which arithmetic, how exactly and how fast? (batch 2)");
    for (int node = 0; node < graph->n_nodes; node++) {
        if (graph->nodes[node].layer->op != ANX_OP_CONV2D) continue;
        conv c;
        conv_init(&c, graph, node);
        for (size_t m = 0; m < 2; m++) {
            describe(&c, maths[m].mode);
            for (int d = 0; d < 3; d++)
                for (unsigned a = 0; a < 8; a++)
                    if (algorithm_names[d][a] != NULL) ask_algorithm(&c, (direction)d, a, maths[m].name);
        }
        conv_fini(&c);
    }
}

/* ---- the fused call ------------------------------------------------------------------------------------- */

static void ask_fused(const anx_graph *graph) {
    static const float one = 1.0f, zero = 0.0f;
    ask("Does the fused call take FMA arithmetic, and keep NaN? Has it the bits of three calls?");
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
    must(run_conv(&c, FORWARD, 1, workspace, bytes), "a convolution");
    MUST(cudaMemcpyAsync(dev_three, c.dev_out, (size_t)c.n_y * sizeof(float), ANX_CU_DEVICE_TO_DEVICE, device->stream));
    MUST(cudnnAddTensor(device->dnn.handle, &one, bias_tensor, dev_bias, &one, c.y_tensor, dev_three));
    MUST(cudnnSetActivationDescriptor(activation, ANX_CU_RELU, ANX_CU_PROPAGATE_NAN, 0.0));
    MUST(cudnnActivationForward(device->dnn.handle, activation, &one, c.y_tensor, dev_three, &zero, c.y_tensor,
                                dev_three));
    float *three = to_host(dev_three, c.n_y);
    for (unsigned nan = 0; nan < 2; nan++) {
        MUST(cudnnSetActivationDescriptor(activation, ANX_CU_RELU, nan, 0.0));
        const unsigned code = api->cudnnConvolutionBiasActivationForward(
            device->dnn.handle, &one, c.x_tensor, c.dev_x, c.filter, c.dev_w, c.description, 1, workspace, bytes, &zero,
            c.y_tensor, c.dev_out, bias_tensor, dev_bias, activation, c.y_tensor, c.dev_out);
        if (code != 0) {
            answer("fused, %s: refused, %u", nan ? "PROPAGATE_NAN" : "NOT_PROPAGATE_NAN", code);
            continue;
        }
        float *fused = to_host(c.dev_out, c.n_y);
        int64_t nans = 0, different = 0;
        for (int64_t i = 0; i < plane; i++) nans += isnan(fused[i]) != 0;
        for (int64_t i = plane; i < c.n_y / BATCH; i++) different += memcmp(&fused[i], &three[i], sizeof *fused) != 0;
        answer("fused, %s: runs; %lld of %lld NaN kept; %lld of %lld other values have other bits than three calls",
               nan ? "PROPAGATE_NAN" : "NOT_PROPAGATE_NAN", (long long)nans, (long long)plane, (long long)different,
               (long long)(c.n_y / BATCH - plane));
        free(fused);
    }
    if (workspace != NULL) MUST(cudaFree(workspace));
    MUST(cudaFree(dev_bias));
    MUST(cudaFree(dev_three));
    MUST(cudnnDestroyTensorDescriptor(bias_tensor));
    MUST(cudnnDestroyActivationDescriptor(activation));
    free(bias);
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

static void linear_init(linear *l, const anx_graph *graph, int node) {
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

static void ask_linear_layers(const anx_graph *graph) {
    ask("Does cuBLASLt take a product and its bias in one call, in float32 (PEDANTIC, FMA alone), and how exactly? "
        "(batch 2)");
    for (int node = 0; node < graph->n_nodes; node++) {
        const char *layer = graph->nodes[node].layer->name;
        anx_error err = ANX_ERROR_INIT;
        linear l;
        if (graph->nodes[node].layer->op != ANX_OP_LINEAR) continue;
        linear_init(&l, graph, node);
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
    ask("Does the ReLU of cuBLASLt's epilogue keep NaN? (y = NaN by its bias, and by its product)");
    float *memory[] = {on_device(x, 4), on_device(w, 8), on_device(b, 2), on_device(NULL, 2)};
    for (int i = 0; i < 2; i++) {
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
    ask("Which element of a max-pool's window wins a tie, and does NaN win? What does ReLU keep?");
    ask_window("2 at 1 2 3 5 7 8", ties);
    ask_window("zeros", zeros);
    ask_window("zeros of both signs, -0 first", signs);
    ask_window("NaN at 2 and 4, inf at 1", nans);
    ask_elementwise();
}

/* ---- in place ------------------------------------------------------------------------------------------- */

static void ask_in_place(void) {
    enum { N = 4096 };
    ask("Which calls work in place?");
    float *x = normal(N, 1.0, 1), *m = normal(N, 1.0, 2);
    float *a = on_device(x, N), *b = on_device(m, N), *out = on_device(NULL, N);
    anx_error err = ANX_ERROR_INIT;
    int64_t different = 0;
    if (anx_cublas_multiply(&device->blas, N, a, b, out, &err) != ANX_OK ||
        anx_cublas_multiply(&device->blas, N, a, b, a, &err) != ANX_OK) {
        answer("%s", err.message);
    } else {
        float *apart = to_host(out, N), *in_place = to_host(a, N);
        for (int i = 0; i < N; i++) different += memcmp(&apart[i], &in_place[i], sizeof *apart) != 0;
        answer("cublasSdgmm in place: %lld of %d elements differ", (long long)different, N);
        different = 0;
        for (int i = 0; i < N; i++) different += apart[i] != x[i] * m[i];
        answer("cublasSdgmm: %lld of %d elements are not the rounded product", (long long)different, N);
        free(apart);
        free(in_place);
    }
    MUST(cudaFree(a));
    MUST(cudaFree(b));
    MUST(cudaFree(out));
    free(x);
    free(m);
}

/* ---- wrong calls ---------------------------------------------------------------------------------------- */

static void ask_wrong_calls(const anx_graph *graph) {
    ask("With which numbers does cuDNN refuse wrong calls?");
    conv c;
    conv_init(&c, graph, 0);
    describe(&c, ANX_CU_FMA_MATH);
    size_t bytes = 0;
    void *workspace = NULL;
    must(workspace_of(&c, FORWARD, 1, &bytes), "workspace");
    if (bytes > 0) MUST(cudaMalloc(&workspace, bytes));
    answer("a workspace of %zu bytes, given as NULL: %u", bytes, run_conv(&c, FORWARD, 1, NULL, bytes));
    answer("a workspace shorter by 4 bytes: %u", bytes >= 4 ? run_conv(&c, FORWARD, 1, workspace, bytes - 4) : 0);
    MUST(cudnnSetTensor4dDescriptor(c.y_tensor, 0, 0, BATCH, 64, 54, 55));
    answer("an output of another height: query %u, run %u", workspace_of(&c, FORWARD, 1, &bytes),
           run_conv(&c, FORWARD, 1, workspace, bytes));
    describe(&c, ANX_CU_FMA_MATH);
    MUST(cudnnSetConvolutionGroupCount(c.description, 3));
    MUST(cudnnSetFilter4dDescriptor(c.filter, 0, 0, 64, 1, 11, 11));
    answer("64 outputs in 3 groups: query %u, run %u", workspace_of(&c, FORWARD, 1, &bytes),
           run_conv(&c, FORWARD, 1, workspace, bytes));
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
        worst = fmax(worst, fabs((double)y[i] - sum) / (0x1p-24 * gauge));
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
    bool good = anx_cublas_linear_forward(&device->blas, &l, dev_x, dev_w, dev_y, NULL) == ANX_OK;
    if (good) printf(", product of matrices %.2f u G", error_of_product(x, w, dev_y, n, k, m));
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

/* In a process of its own, as the libraries read the environment once: the errors of FMA and PEDANTIC arithmetic. */
static int ask_precision(const anx_graph *graph) {
    enum { N = 64, K = 4096, M = 64 };
    conv c;
    double worst = 0.0, rms = 0.0;
    conv_init(&c, graph, 3);
    describe(&c, ANX_CU_FMA_MATH);
    size_t bytes = 0;
    void *workspace = NULL;
    must(workspace_of(&c, FORWARD, 1, &bytes), "workspace");
    if (bytes > 0) MUST(cudaMalloc(&workspace, bytes));
    must(run_conv(&c, FORWARD, 1, workspace, bytes), "a convolution");
    measure_conv(&c, FORWARD, &worst, &rms);
    printf("convolution %.2f u G (RMS %.3f)", worst, rms);
    MUST(cudaStreamSynchronize(device->stream));
    if (workspace != NULL) MUST(cudaFree(workspace));
    conv_fini(&c);
    return print_products(N, K, M) ? 0 : 2;
}

static void ask_environment(const char *self) {
    static const char *const settings[] = {"ANX_NOTHING=1", "NVIDIA_TF32_OVERRIDE=1",
                                           "CUBLAS_EMULATE_SINGLE_PRECISION=1",
                                           "CUBLAS_EMULATE_SINGLE_PRECISION=1 CUBLAS_EMULATION_STRATEGY=performant"};
    ask("Can the environment make float32 arithmetic less than that? (FMA convolution, PEDANTIC matrices)");
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        char command[8192], line[256] = "nothing";
        snprintf(command, sizeof command, "%s '%s' --precision 2>&1", settings[i], self);
        FILE *child = popen(command, "r");
        if (child != NULL && fgets(line, sizeof line, child) != NULL) line[strcspn(line, "\n")] = '\0';
        if (child != NULL) pclose(child);
        answer("%s: %s", i == 0 ? "as it is" : settings[i], line);
    }
}

/* ---- all of it ------------------------------------------------------------------------------------------ */

static int write_report(cJSON *root, const char *path) {
    char *text = NULL;
    size_t bytes = 0;
    anx_error err = ANX_ERROR_INIT;
    if (anx_json_print(&json, root, &text, &bytes, &err) != ANX_OK) return 2;
    FILE *file = fopen(path, "wb");
    const bool good = file != NULL && fwrite(text, 1, bytes, file) == bytes;
    if (file == NULL || fclose(file) != 0 || !good) {
        perror(path);
        free(text);
        return 2;
    }
    free(text);
    return 0;
}

int main(int argc, char **argv) {
    const bool precision = argc == 2 && strcmp(argv[1], "--precision") == 0;
    anx_error err = ANX_ERROR_INIT;
    void *opened = NULL;
    anx_graph *graph = NULL;
    if (argc > 2) {
        fprintf(stderr, "usage: gpu_questions [JSON FILE]\n");
        return 64;
    }
    if (anx_cuda_device_open(0, &(anx_device_options){.threads = 0}, &opened, &err) != ANX_OK ||
        anx_graph_create(anx_arch_find("alexnet"), 0, 0, 0, &graph, &err) != ANX_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 2;
    }
    device = opened;
    api = device->api;
    int rc = 0;
    if (precision) {
        rc = ask_precision(graph);
    } else {
        char self[4096];
        const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
        self[length > 0 ? length : 0] = '\0';
        cJSON *root = anx_json_root(&json);
        anx_json_add_text(&json, root, "gpu", device->isa);
        anx_json_add_text(&json, root, "libraries", device->text_of_libraries);
        questions = anx_json_add_array(&json, root, "questions");
        printf("%s\n%s\n", device->isa, device->text_of_libraries);
        ask_algorithms(graph);
        ask_fused(graph);
        ask_linear_layers(graph);
        ask_epilogues();
        ask_about_values();
        ask_in_place();
        ask_wrong_calls(graph);
        ask_environment(self);
        if (argc > 1)
            rc = write_report(root, argv[1]);
        else
            cJSON_Delete(root);
    }
    anx_graph_destroy(graph);
    anx_cuda_device_close(device);
    return rc;
}
