#include "src/backend/cuda/cudnn_ops.h"

#include <math.h>
#include <stdlib.h>

#include "src/backend/cuda/status.h"

#define CHECK(dnn, call, what, err) anx_cuda_check_dnn((dnn)->api, (dnn)->api->call, what, err)

/* Factors of results and of what was there before; read from host memory at the call. */
static const float one = 1.0f, zero = 0.0f;

/* ---- handle and descriptors ----------------------------------------------------------------------------- */

static anx_status create_activation(const anx_cudnn *dnn, unsigned mode, struct cudnnActivationStruct **out,
                                    anx_error *err) {
    anx_status status = CHECK(dnn, cudnnCreateActivationDescriptor(out), "describe an activation", err);
    if (status == ANX_OK)
        status = CHECK(dnn, cudnnSetActivationDescriptor(*out, mode, ANX_CU_PROPAGATE_NAN, 0.0),
                       "describe an activation", err);
    return status;
}

anx_status anx_cudnn_init(anx_cudnn *dnn, const anx_cuda_api *api, struct CUstream_st *stream, anx_math_mode math,
                          bool nondeterministic, anx_error *err) {
    *dnn = (anx_cudnn){.api = api, .stream = stream, .math = math, .nondeterministic = nondeterministic};
    anx_status status = CHECK(dnn, cudnnCreate(&dnn->handle), "start", err);
    if (status == ANX_OK) status = CHECK(dnn, cudnnSetStream(dnn->handle, stream), "use a stream", err);
    if (status == ANX_OK) status = create_activation(dnn, ANX_CU_RELU, &dnn->relu, err);
    if (status == ANX_OK) status = create_activation(dnn, ANX_CU_IDENTITY, &dnn->identity, err);
    if (status != ANX_OK) anx_cudnn_fini(dnn);
    return status;
}

void anx_cudnn_fini(anx_cudnn *dnn) {
    if (dnn->api == NULL) return;
    if (dnn->relu != NULL) dnn->api->cudnnDestroyActivationDescriptor(dnn->relu);
    if (dnn->identity != NULL) dnn->api->cudnnDestroyActivationDescriptor(dnn->identity);
    if (dnn->handle != NULL) dnn->api->cudnnDestroy(dnn->handle);
    *dnn = (anx_cudnn){.api = NULL};
}

/* A tensor whose rows are contiguous: strides in elements. */
static anx_status create_strided(const anx_cudnn *dnn, const int extent[4], const int stride[4],
                                 struct cudnnTensorStruct **out, anx_error *err) {
    struct cudnnTensorStruct *t = NULL;
    anx_status status = CHECK(dnn, cudnnCreateTensorDescriptor(&t), "describe a tensor", err);
    if (status != ANX_OK) return status;
    status = CHECK(dnn,
                   cudnnSetTensor4dDescriptorEx(t, ANX_CU_FLOAT, extent[0], extent[1], extent[2], extent[3], stride[0],
                                                stride[1], stride[2], stride[3]),
                   "describe a tensor", err);
    if (status == ANX_OK)
        *out = t;
    else
        anx_cudnn_tensor_destroy(dnn, t);
    return status;
}

anx_status anx_cudnn_tensor_create(const anx_cudnn *dnn, int64_t n, int64_t c, int64_t h, int64_t w,
                                   struct cudnnTensorStruct **out, anx_error *err) {
    struct cudnnTensorStruct *t = NULL;
    anx_status status = CHECK(dnn, cudnnCreateTensorDescriptor(&t), "describe a tensor", err);
    if (status != ANX_OK) return status;
    status = CHECK(dnn, cudnnSetTensor4dDescriptor(t, ANX_CU_NCHW, ANX_CU_FLOAT, (int)n, (int)c, (int)h, (int)w),
                   "describe a tensor", err);
    if (status == ANX_OK)
        *out = t;
    else
        anx_cudnn_tensor_destroy(dnn, t);
    return status;
}

void anx_cudnn_tensor_destroy(const anx_cudnn *dnn, struct cudnnTensorStruct *tensor) {
    if (tensor != NULL) dnn->api->cudnnDestroyTensorDescriptor(tensor);
}

/* ---- convolution: algorithms ---------------------------------------------------------------------------- */

typedef struct algorithm {
    unsigned id;
    bool deterministic;
    bool plain; /* sums the products as they are: what float32 arithmetic asks for */
    const char *name;
} algorithm;

/*
 * In order of preference. With float32 or TF32 arithmetic the first plain, deterministic one that the library accepts
 * is taken: they are PyTorch's deterministic choice too. ANX_MATH_FAST measures all that are allowed.
 */
static const algorithm forward_algorithms[] = {
    {ANX_CU_FORWARD_IMPLICIT_PRECOMP_GEMM, true, true, "implicit precomputed gemm"},
    {ANX_CU_FORWARD_IMPLICIT_GEMM, true, true, "implicit gemm"},
    {ANX_CU_FORWARD_GEMM, true, true, "gemm"},
    {ANX_CU_FORWARD_WINOGRAD_NONFUSED, true, false, "winograd, not fused"},
    {ANX_CU_FORWARD_WINOGRAD, true, false, "winograd"},
    {ANX_CU_FORWARD_FFT_TILING, true, false, "fft in tiles"},
    {ANX_CU_FORWARD_FFT, true, false, "fft"},
};
static const algorithm data_algorithms[] = {
    {ANX_CU_DATA_1, true, true, "1"},
    {ANX_CU_DATA_WINOGRAD_NONFUSED, true, false, "winograd, not fused"},
    {ANX_CU_DATA_WINOGRAD, true, false, "winograd"},
    {ANX_CU_DATA_FFT_TILING, true, false, "fft in tiles"},
    {ANX_CU_DATA_FFT, true, false, "fft"},
    {ANX_CU_DATA_0, false, true, "0"},
};
static const algorithm filter_algorithms[] = {
    {ANX_CU_FILTER_1, true, true, "1"},
    {ANX_CU_FILTER_WINOGRAD_NONFUSED, true, false, "winograd, not fused"},
    {ANX_CU_FILTER_FFT_TILING, true, false, "fft in tiles"},
    {ANX_CU_FILTER_FFT, true, false, "fft"},
    {ANX_CU_FILTER_0, false, true, "0"},
    {ANX_CU_FILTER_3, false, true, "3"},
};

typedef enum direction { FORWARD = 0, DATA, FILTER, DIRECTIONS } direction;

enum { MAX_CANDIDATES = 8 };

/* cuDNN has answered with sizes of terabytes for what it cannot do well; PyTorch keeps clear of them likewise. */
static const size_t most_workspace_bytes = (size_t)4 << 30;
/* Of those measured beside the one that always works: the plan holds the largest, whichever wins. */
static const size_t most_optional_bytes = (size_t)1 << 30;

static const struct {
    const algorithm *algorithms;
    size_t n;
    const char *name;
} directions[DIRECTIONS] = {
    [FORWARD] = {forward_algorithms, sizeof forward_algorithms / sizeof forward_algorithms[0], "forward"},
    [DATA] = {data_algorithms, sizeof data_algorithms / sizeof data_algorithms[0], "backward to the input"},
    [FILTER] = {filter_algorithms, sizeof filter_algorithms / sizeof filter_algorithms[0], "backward to the weights"},
};

typedef struct candidate {
    unsigned id;
    size_t workspace_bytes;
} candidate;

struct anx_cudnn_conv {
    const anx_cudnn *dnn;
    struct cudnnTensorStruct *x, *y, *bias;
    struct cudnnFilterStruct *w;
    struct cudnnConvolutionStruct *conv;
    bool relu;
    bool fused;                                       /* forward in one call */
    candidate candidates[DIRECTIONS][MAX_CANDIDATES]; /* the one to take first */
    int n_candidates[DIRECTIONS];                     /* 0: the direction is not wanted */
};

static unsigned ask_workspace(const anx_cudnn_conv *c, direction d, unsigned id, size_t *bytes) {
    const anx_cuda_api *api = c->dnn->api;
    struct cudnnContext *h = c->dnn->handle;
    switch (d) {
    case FORWARD: return api->cudnnGetConvolutionForwardWorkspaceSize(h, c->x, c->w, c->conv, c->y, id, bytes);
    case DATA: return api->cudnnGetConvolutionBackwardDataWorkspaceSize(h, c->w, c->y, c->conv, c->x, id, bytes);
    default: return api->cudnnGetConvolutionBackwardFilterWorkspaceSize(h, c->x, c->y, c->conv, c->w, id, bytes);
    }
}

static anx_status gather_candidates(anx_cudnn_conv *c, direction d, anx_error *err) {
    const bool all = c->dnn->math == ANX_MATH_FAST;
    unsigned refused = 0;
    size_t too_large = 0;
    for (size_t i = 0; i < directions[d].n && (all || c->n_candidates[d] == 0); i++) {
        const algorithm *a = &directions[d].algorithms[i];
        size_t bytes = 0;
        if ((!a->plain && !all) || (!a->deterministic && !c->dnn->nondeterministic)) continue;
        const unsigned code = ask_workspace(c, d, a->id, &bytes);
        if (code != 0) refused = code;
        const size_t most = c->n_candidates[d] == 0 ? most_workspace_bytes : most_optional_bytes;
        if (code == 0 && bytes > most) too_large = bytes;
        if (code == 0 && bytes <= most) c->candidates[d][c->n_candidates[d]++] = (candidate){a->id, bytes};
    }
    if (c->n_candidates[d] > 0) return ANX_OK;
    if (too_large > 0)
        return anx_error_set(
            err, ANX_ERR_OUT_OF_MEMORY,
            "cuDNN asks for %zu bytes of workspace for this convolution, %s, more than the %zu that it "
            "is given: take a smaller batch",
            too_large, directions[d].name, most_workspace_bytes);
    return anx_error_set(
        err, ANX_ERR_DEVICE,
        "cuDNN has no deterministic algorithm for this convolution, %s, in the arithmetic asked for: %s "
        "(%u)",
        directions[d].name, c->dnn->api->cudnnGetErrorString(refused), refused);
}

size_t anx_cudnn_conv_workspace_bytes(const anx_cudnn_conv *c) {
    size_t most = 0;
    for (int d = 0; d < DIRECTIONS; d++)
        for (int i = 0; i < c->n_candidates[d]; i++)
            if (c->candidates[d][i].workspace_bytes > most) most = c->candidates[d][i].workspace_bytes;
    return most;
}

/* ---- convolution: creation ------------------------------------------------------------------------------ */

void anx_cudnn_conv_destroy(anx_cudnn_conv *c) {
    if (c == NULL) return;
    anx_cudnn_tensor_destroy(c->dnn, c->x);
    anx_cudnn_tensor_destroy(c->dnn, c->y);
    anx_cudnn_tensor_destroy(c->dnn, c->bias);
    if (c->w != NULL) c->dnn->api->cudnnDestroyFilterDescriptor(c->w);
    if (c->conv != NULL) c->dnn->api->cudnnDestroyConvolutionDescriptor(c->conv);
    free(c);
}

static anx_status describe_filter(anx_cudnn_conv *c, const anx_node *node, anx_error *err) {
    const anx_conv2d_params *p = &node->conv;
    anx_status status = CHECK(c->dnn, cudnnCreateFilterDescriptor(&c->w), "describe weights", err);
    if (status == ANX_OK)
        status = CHECK(c->dnn,
                       cudnnSetFilter4dDescriptor(c->w, ANX_CU_FLOAT, ANX_CU_NCHW, p->out_channels,
                                                  (int)node->in.dim[0] / p->groups, p->kernel_h, p->kernel_w),
                       "describe weights", err);
    return status;
}

/* The shape query does not look at whether the groups divide the channels: the graph has seen to that. */
static anx_status describe_convolution(anx_cudnn_conv *c, const anx_node *node, anx_error *err) {
    static const char what[] = "describe a convolution";
    const anx_conv2d_params *p = &node->conv;
    const unsigned math = c->dnn->math == ANX_MATH_FLOAT32 ? ANX_CU_FMA_MATH : ANX_CU_DEFAULT_MATH;
    anx_status status = CHECK(c->dnn, cudnnCreateConvolutionDescriptor(&c->conv), what, err);
    if (status == ANX_OK)
        status =
            CHECK(c->dnn,
                  cudnnSetConvolution2dDescriptor(c->conv, p->pad_h, p->pad_w, p->stride_h, p->stride_w, p->dilation_h,
                                                  p->dilation_w, ANX_CU_CROSS_CORRELATION, ANX_CU_FLOAT),
                  what, err);
    if (status == ANX_OK) status = CHECK(c->dnn, cudnnSetConvolutionGroupCount(c->conv, p->groups), what, err);
    if (status == ANX_OK) status = CHECK(c->dnn, cudnnSetConvolutionMathType(c->conv, math), what, err);
    return status;
}

/* That the library means the same convolution as the graph. */
static anx_status check_extents(const anx_cudnn_conv *c, const anx_node *node, int64_t batch, anx_error *err) {
    int got[4] = {0};
    const anx_status status =
        CHECK(c->dnn, cudnnGetConvolution2dForwardOutputDim(c->conv, c->x, c->w, &got[0], &got[1], &got[2], &got[3]),
              "tell the size of a convolution's output", err);
    if (status != ANX_OK) return status;
    if (got[0] == batch && got[1] == node->out.dim[0] && got[2] == node->out.dim[1] && got[3] == node->out.dim[2])
        return ANX_OK;
    return anx_error_set(err, ANX_ERR_INTERNAL, "cuDNN makes (%d, %d, %d, %d) of it, the graph says otherwise", got[0],
                         got[1], got[2], got[3]);
}

anx_status anx_cudnn_conv_create(const anx_cudnn *dnn, const anx_cudnn_conv_spec *spec, anx_cudnn_conv **out,
                                 anx_error *err) {
    const anx_node *node = spec->node;
    const int64_t *in = node->in.dim, *to = node->out.dim;
    anx_cudnn_conv *c = calloc(1, sizeof *c);
    if (c == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    c->dnn = dnn;
    c->relu = spec->relu;
    anx_status status = anx_cudnn_tensor_create(dnn, spec->batch, in[0], in[1], in[2], &c->x, err);
    if (status == ANX_OK) status = anx_cudnn_tensor_create(dnn, spec->batch, to[0], to[1], to[2], &c->y, err);
    if (status == ANX_OK) status = anx_cudnn_tensor_create(dnn, 1, to[0], 1, 1, &c->bias, err);
    if (status == ANX_OK) status = describe_filter(c, node, err);
    if (status == ANX_OK) status = describe_convolution(c, node, err);
    if (status == ANX_OK) status = check_extents(c, node, spec->batch, err);
    if (status == ANX_OK) status = gather_candidates(c, FORWARD, err);
    if (status == ANX_OK && spec->dx_wanted) status = gather_candidates(c, DATA, err);
    if (status == ANX_OK && spec->dw_wanted) status = gather_candidates(c, FILTER, err);
    if (status == ANX_OK)
        *out = c;
    else
        anx_cudnn_conv_destroy(c);
    return status;
}

/* ---- convolution: running ------------------------------------------------------------------------------- */

/*
 * The addend z has the factor 0 and is not read; it must be given all the same, so y stands for it. Without a ReLU the
 * library has this call for one algorithm alone.
 */
static unsigned run_fused(const anx_cudnn_conv *c, const candidate *a, const anx_cudnn_conv_memory *m) {
    struct cudnnActivationStruct *activation = c->relu ? c->dnn->relu : c->dnn->identity;
    return c->dnn->api->cudnnConvolutionBiasActivationForward(c->dnn->handle, &one, c->x, m->x, c->w, m->w, c->conv,
                                                              a->id, m->workspace, a->workspace_bytes, &zero, c->y,
                                                              m->y, c->bias, m->b, activation, c->y, m->y);
}

static unsigned run_plain(const anx_cudnn_conv *c, const candidate *a, const anx_cudnn_conv_memory *m) {
    return c->dnn->api->cudnnConvolutionForward(c->dnn->handle, &one, c->x, m->x, c->w, m->w, c->conv, a->id,
                                                m->workspace, a->workspace_bytes, &zero, c->y, m->y);
}

static unsigned run_data(const anx_cudnn_conv *c, const candidate *a, const anx_cudnn_conv_memory *m) {
    return c->dnn->api->cudnnConvolutionBackwardData(c->dnn->handle, &one, c->w, m->w, c->y, m->dy, c->conv, a->id,
                                                     m->workspace, a->workspace_bytes, &zero, c->x, m->dx);
}

static unsigned run_filter(const anx_cudnn_conv *c, const candidate *a, const anx_cudnn_conv_memory *m) {
    return c->dnn->api->cudnnConvolutionBackwardFilter(c->dnn->handle, &one, c->x, m->x, c->y, m->dy, c->conv, a->id,
                                                       m->workspace, a->workspace_bytes, &zero, c->w, m->dw);
}

anx_status anx_cudnn_conv_forward(const anx_cudnn_conv *c, const anx_cudnn_conv_memory *m, anx_error *err) {
    const candidate *a = &c->candidates[FORWARD][0];
    if (c->fused) return anx_cuda_check_dnn(c->dnn->api, run_fused(c, a, m), "run a convolution", err);
    anx_status status = anx_cuda_check_dnn(c->dnn->api, run_plain(c, a, m), "run a convolution", err);
    if (status == ANX_OK) status = anx_cudnn_add_bias(c->dnn, c->bias, m->b, c->y, m->y, err);
    if (status == ANX_OK && c->relu) status = anx_cudnn_relu_forward(c->dnn, c->y, m->y, m->y, err);
    return status;
}

anx_status anx_cudnn_conv_backward_data(const anx_cudnn_conv *c, const anx_cudnn_conv_memory *m, anx_error *err) {
    return anx_cuda_check_dnn(c->dnn->api, run_data(c, &c->candidates[DATA][0], m), "run a convolution backward", err);
}

anx_status anx_cudnn_conv_backward_filter(const anx_cudnn_conv *c, const anx_cudnn_conv_memory *m, anx_error *err) {
    return anx_cuda_check_dnn(c->dnn->api, run_filter(c, &c->candidates[FILTER][0], m), "run a convolution backward",
                              err);
}

/* ---- convolution: settling ------------------------------------------------------------------------------ */

typedef unsigned (*runner)(const anx_cudnn_conv *c, const candidate *a, const anx_cudnn_conv_memory *m);

typedef struct stopwatch {
    struct CUevent_st *start, *end;
} stopwatch;

static anx_status stopwatch_init(const anx_cudnn *dnn, stopwatch *s, anx_error *err) {
    *s = (stopwatch){NULL, NULL};
    anx_status status = anx_cuda_check(dnn->api, dnn->api->cudaEventCreateWithFlags(&s->start, ANX_CU_EVENT_DEFAULT),
                                       "make an event", err);
    if (status == ANX_OK)
        status = anx_cuda_check(dnn->api, dnn->api->cudaEventCreateWithFlags(&s->end, ANX_CU_EVENT_DEFAULT),
                                "make an event", err);
    return status;
}

static void stopwatch_fini(const anx_cudnn *dnn, stopwatch *s) {
    if (s->start != NULL) dnn->api->cudaEventDestroy(s->start);
    if (s->end != NULL) dnn->api->cudaEventDestroy(s->end);
}

/* That the library refused because it does not do what was asked, and not because the GPU is lost. */
static anx_status still_there(const anx_cudnn *dnn, anx_error *err) {
    return anx_cuda_check(dnn->api, dnn->api->cudaStreamSynchronize(dnn->stream), "run a convolution", err);
}

/* Milliseconds of one run, the second of two; *refused where the library does not take it. */
static anx_status measure(const anx_cudnn_conv *c, runner run, const candidate *a, const anx_cudnn_conv_memory *m,
                          const stopwatch *s, float *ms, bool *refused, anx_error *err) {
    const anx_cuda_api *api = c->dnn->api;
    *refused = run(c, a, m) != 0;
    if (*refused) return still_there(c->dnn, err);
    anx_status status = anx_cuda_check(api, api->cudaEventRecord(s->start, c->dnn->stream), "record an event", err);
    if (status == ANX_OK) status = anx_cuda_check_dnn(api, run(c, a, m), "run a convolution", err);
    if (status == ANX_OK)
        status = anx_cuda_check(api, api->cudaEventRecord(s->end, c->dnn->stream), "record an event", err);
    if (status == ANX_OK) status = anx_cuda_check(api, api->cudaEventSynchronize(s->end), "run a convolution", err);
    if (status == ANX_OK)
        status = anx_cuda_check(api, api->cudaEventElapsedTime(ms, s->start, s->end), "measure a time", err);
    return status;
}

/* Puts the fastest candidate that runs first. */
static anx_status take_fastest(anx_cudnn_conv *c, direction d, runner run, const anx_cudnn_conv_memory *m,
                               anx_error *err) {
    stopwatch s;
    int best = -1;
    float best_ms = 0.0f;
    anx_status status = stopwatch_init(c->dnn, &s, err);
    for (int i = 0; i < c->n_candidates[d] && status == ANX_OK; i++) {
        float ms = 0.0f;
        bool refused = false;
        status = measure(c, run, &c->candidates[d][i], m, &s, &ms, &refused, err);
        if (refused || (best >= 0 && ms >= best_ms)) continue;
        best = i;
        best_ms = ms;
    }
    stopwatch_fini(c->dnn, &s);
    if (status == ANX_OK && best < 0)
        status =
            anx_error_set(err, ANX_ERR_DEVICE, "cuDNN runs none of the algorithms that it offers for a convolution");
    if (status != ANX_OK) return status;
    const candidate taken = c->candidates[d][best];
    c->candidates[d][best] = c->candidates[d][0];
    c->candidates[d][0] = taken;
    return ANX_OK;
}

static anx_status copy_float(const anx_cudnn *dnn, float *to, const float *from, unsigned kind, anx_error *err) {
    return anx_cuda_check(dnn->api, dnn->api->cudaMemcpyAsync(to, from, sizeof *to, kind, dnn->stream), "copy memory",
                          err);
}

/*
 * The call with everything in it is taken where it is there and its ReLU keeps NaN, as PyTorch's does: the library's
 * manual leaves that open, so it is asked with a bias that is none, in place of the first channel's.
 */
static anx_status settle_fused(anx_cudnn_conv *c, const anx_cudnn_conv_memory *m, anx_error *err) {
    const candidate *a = &c->candidates[FORWARD][0];
    if (!c->relu && a->id != ANX_CU_FORWARD_IMPLICIT_PRECOMP_GEMM) return ANX_OK;
    float bias = 0.0f, y = 0.0f;
    const float not_a_number = NAN;
    anx_status status = copy_float(c->dnn, &bias, m->b, ANX_CU_DEVICE_TO_HOST, err);
    if (status == ANX_OK) status = still_there(c->dnn, err);
    if (status == ANX_OK) status = copy_float(c->dnn, m->b, &not_a_number, ANX_CU_HOST_TO_DEVICE, err);
    const bool runs = status == ANX_OK && run_fused(c, a, m) == 0;
    if (runs) status = copy_float(c->dnn, &y, m->y, ANX_CU_DEVICE_TO_HOST, err);
    if (status == ANX_OK) status = copy_float(c->dnn, m->b, &bias, ANX_CU_HOST_TO_DEVICE, err);
    /* Whatever happened: nothing may come to where these numbers were. */
    const anx_status waited = still_there(c->dnn, status == ANX_OK ? err : NULL);
    if (status == ANX_OK) status = waited;
    c->fused = runs && isnan(y);
    return status;
}

anx_status anx_cudnn_conv_settle(anx_cudnn_conv *c, const anx_cudnn_conv_memory *m, anx_error *err) {
    static const runner runners[DIRECTIONS] = {run_plain, run_data, run_filter};
    anx_status status = ANX_OK;
    for (int d = 0; d < DIRECTIONS && status == ANX_OK; d++)
        if (c->n_candidates[d] > 1) status = take_fastest(c, (direction)d, runners[d], m, err);
    return status != ANX_OK ? status : settle_fused(c, m, err);
}

/* ---- pooling: windows ----------------------------------------------------------------------------------- */

/* Windows along one side that follow one another evenly: what one call can do. */
typedef struct run {
    int first, count; /* of the output */
    int start, length, stride;
} run;

typedef struct side {
    int64_t in, out;
    int kernel, stride, pad; /* max-pool; kernel 0: adaptive */
} side;

static void window_at(const side *s, int64_t i, int *start, int *length) {
    const bool adaptive = s->kernel == 0;
    int64_t from = adaptive ? i * s->in / s->out : i * s->stride - s->pad;
    int64_t to = adaptive ? ((i + 1) * s->in + s->out - 1) / s->out : from + s->kernel;
    if (from < 0) from = 0;
    if (to > s->in) to = s->in;
    *start = (int)from;
    *length = (int)(to - from);
}

/* runs: room for s->out. Returns how many. */
static int split_side(const side *s, run *runs) {
    int n = 0;
    for (int64_t i = 0; i < s->out; i++) {
        int start, length;
        window_at(s, i, &start, &length);
        run *r = n > 0 ? &runs[n - 1] : NULL;
        const int step = r == NULL ? 0 : start - (r->start + (r->count - 1) * r->stride);
        if (r != NULL && r->length == length && step > 0 && (r->count == 1 || step == r->stride)) {
            r->stride = step;
            r->count++;
        } else {
            runs[n++] = (run){.first = (int)i, .count = 1, .start = start, .length = length, .stride = 1};
        }
    }
    return n;
}

/* ---- pooling -------------------------------------------------------------------------------------------- */

/* Windows that one call pools: of a part of the planes, into a part of the output. */
typedef struct part {
    struct cudnnTensorStruct *x, *y;
    struct cudnnPoolingStruct *pooling;
    size_t x_first, y_first; /* elements */
} part;

struct anx_cudnn_pool {
    const anx_cudnn *dnn;
    size_t x_bytes;
    part *parts;
    int n_parts;
};

void anx_cudnn_pool_destroy(anx_cudnn_pool *p) {
    if (p == NULL) return;
    for (int i = 0; i < p->n_parts; i++) {
        anx_cudnn_tensor_destroy(p->dnn, p->parts[i].x);
        anx_cudnn_tensor_destroy(p->dnn, p->parts[i].y);
        if (p->parts[i].pooling != NULL) p->dnn->api->cudnnDestroyPoolingDescriptor(p->parts[i].pooling);
    }
    free(p->parts);
    free(p);
}

/* That the library makes of a part what the graph says. */
static anx_status check_part(const anx_cudnn *dnn, const part *q, int64_t rows, int64_t columns, anx_error *err) {
    int n = 0, c = 0, h = 0, w = 0;
    const anx_status status = CHECK(dnn, cudnnGetPooling2dForwardOutputDim(q->pooling, q->x, &n, &c, &h, &w),
                                    "tell the size of a pooling's output", err);
    if (status != ANX_OK || (h == rows && w == columns)) return status;
    return anx_error_set(err, ANX_ERR_INTERNAL, "cuDNN pools to %d x %d, the graph says %lld x %lld", h, w,
                         (long long)rows, (long long)columns);
}

static anx_status describe_pooling(const anx_cudnn *dnn, part *q, unsigned mode, const int window[2], const int pad[2],
                                   const int stride[2], anx_error *err) {
    anx_status status = CHECK(dnn, cudnnCreatePoolingDescriptor(&q->pooling), "describe a pooling", err);
    if (status == ANX_OK)
        status = CHECK(dnn,
                       cudnnSetPooling2dDescriptor(q->pooling, mode, ANX_CU_PROPAGATE_NAN, window[0], window[1], pad[0],
                                                   pad[1], stride[0], stride[1]),
                       "describe a pooling", err);
    return status;
}

/* The windows of one run of rows and one of columns, on views of the whole tensors. */
static anx_status add_part(anx_cudnn_pool *p, const anx_node *node, int64_t batch, unsigned mode, const run *rows,
                           const run *columns, anx_error *err) {
    part *q = &p->parts[p->n_parts++];
    const int channels = (int)node->in.dim[0], height = (int)node->in.dim[1], width = (int)node->in.dim[2];
    const int out_height = (int)node->out.dim[1], out_width = (int)node->out.dim[2];
    const int in_extent[4] = {(int)batch, channels, (rows->count - 1) * rows->stride + rows->length,
                              (columns->count - 1) * columns->stride + columns->length};
    const int in_stride[4] = {channels * height * width, height * width, width, 1};
    const int out_extent[4] = {(int)batch, channels, rows->count, columns->count};
    const int out_stride[4] = {channels * out_height * out_width, out_height * out_width, out_width, 1};
    const int window[2] = {rows->length, columns->length}, pad[2] = {0, 0}, stride[2] = {rows->stride, columns->stride};
    q->x_first = (size_t)rows->start * (size_t)width + (size_t)columns->start;
    q->y_first = (size_t)rows->first * (size_t)out_width + (size_t)columns->first;
    anx_status status = create_strided(p->dnn, in_extent, in_stride, &q->x, err);
    if (status == ANX_OK) status = create_strided(p->dnn, out_extent, out_stride, &q->y, err);
    if (status == ANX_OK) status = describe_pooling(p->dnn, q, mode, window, pad, stride, err);
    return status != ANX_OK ? status : check_part(p->dnn, q, rows->count, columns->count, err);
}

/* Whether cuDNN's own rule makes the same windows of a side: padding at both ends, rounding down. */
static bool is_plain(const side *s) {
    const int64_t padded = s->in + 2 * (int64_t)s->pad;
    return s->kernel > 0 && padded >= s->kernel && s->out == (padded - s->kernel) / s->stride + 1;
}

static anx_status add_whole(anx_cudnn_pool *p, const anx_node *node, int64_t batch, unsigned mode, const side sides[2],
                            anx_error *err) {
    part *q = &p->parts[p->n_parts++];
    const int window[2] = {sides[0].kernel, sides[1].kernel}, pad[2] = {sides[0].pad, sides[1].pad};
    const int stride[2] = {sides[0].stride, sides[1].stride};
    const int64_t *in = node->in.dim, *out = node->out.dim;
    anx_status status = anx_cudnn_tensor_create(p->dnn, batch, in[0], in[1], in[2], &q->x, err);
    if (status == ANX_OK) status = anx_cudnn_tensor_create(p->dnn, batch, out[0], out[1], out[2], &q->y, err);
    if (status == ANX_OK) status = describe_pooling(p->dnn, q, mode, window, pad, stride, err);
    return status != ANX_OK ? status : check_part(p->dnn, q, out[1], out[2], err);
}

static anx_status add_parts(anx_cudnn_pool *p, const anx_node *node, int64_t batch, unsigned mode, const side sides[2],
                            anx_error *err) {
    run *rows = calloc((size_t)sides[0].out, sizeof *rows), *columns = calloc((size_t)sides[1].out, sizeof *columns);
    anx_status status = ANX_OK;
    int n_rows = 0, n_columns = 0;
    if (rows != NULL && columns != NULL) {
        n_rows = split_side(&sides[0], rows);
        n_columns = split_side(&sides[1], columns);
        p->parts = calloc((size_t)n_rows * (size_t)n_columns, sizeof *p->parts);
    }
    if (p->parts == NULL) status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    for (int i = 0; i < n_rows && status == ANX_OK; i++)
        for (int k = 0; k < n_columns && status == ANX_OK; k++)
            status = add_part(p, node, batch, mode, &rows[i], &columns[k], err);
    free(rows);
    free(columns);
    return status;
}

anx_status anx_cudnn_pool_create(const anx_cudnn *dnn, const anx_node *node, int64_t batch, anx_cudnn_pool **out,
                                 anx_error *err) {
    const bool max = node->layer->op == ANX_OP_MAX_POOL2D;
    const anx_pool2d_params *pool = &node->layer->u.pool;
    const side sides[2] = {
        {node->in.dim[1], node->out.dim[1], max ? pool->kernel_h : 0, max ? pool->stride_h : 0, max ? pool->pad_h : 0},
        {node->in.dim[2], node->out.dim[2], max ? pool->kernel_w : 0, max ? pool->stride_w : 0, max ? pool->pad_w : 0}};
    const unsigned mode = max ? ANX_CU_POOL_MAX_DETERMINISTIC : ANX_CU_POOL_AVERAGE_EXCLUDE_PADDING;
    anx_cudnn_pool *p = calloc(1, sizeof *p);
    if (p == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    p->dnn = dnn;
    p->x_bytes = (size_t)(batch * node->in.dim[0] * node->in.dim[1] * node->in.dim[2]) * sizeof(float);
    anx_status status = ANX_OK;
    if (is_plain(&sides[0]) && is_plain(&sides[1])) {
        p->parts = calloc(1, sizeof *p->parts);
        status = p->parts == NULL ? anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory")
                                  : add_whole(p, node, batch, mode, sides, err);
    } else {
        status = add_parts(p, node, batch, mode, sides, err);
    }
    if (status == ANX_OK)
        *out = p;
    else
        anx_cudnn_pool_destroy(p);
    return status;
}

anx_status anx_cudnn_pool_forward(const anx_cudnn_pool *p, const float *x, float *y, anx_error *err) {
    anx_status status = ANX_OK;
    for (int i = 0; i < p->n_parts && status == ANX_OK; i++) {
        const part *q = &p->parts[i];
        status = CHECK(
            p->dnn,
            cudnnPoolingForward(p->dnn->handle, q->pooling, &one, q->x, x + q->x_first, &zero, q->y, y + q->y_first),
            "pool", err);
    }
    return status;
}

/* Several parts overlap in dx, and none of them need cover it: they add to zeros. */
anx_status anx_cudnn_pool_backward(const anx_cudnn_pool *p, const float *x, const float *y, const float *dy, float *dx,
                                   anx_error *err) {
    const anx_cuda_api *api = p->dnn->api;
    const float *before = p->n_parts > 1 ? &one : &zero;
    anx_status status = ANX_OK;
    if (p->n_parts > 1)
        status = anx_cuda_check(api, api->cudaMemsetAsync(dx, 0, p->x_bytes, p->dnn->stream), "clear memory", err);
    for (int i = 0; i < p->n_parts && status == ANX_OK; i++) {
        const part *q = &p->parts[i];
        status = CHECK(p->dnn,
                       cudnnPoolingBackward(p->dnn->handle, q->pooling, &one, q->y, y + q->y_first, q->y,
                                            dy + q->y_first, q->x, x + q->x_first, before, q->x, dx + q->x_first),
                       "pool backward", err);
    }
    return status;
}

/* ---- the others ----------------------------------------------------------------------------------------- */

anx_status anx_cudnn_relu_forward(const anx_cudnn *dnn, struct cudnnTensorStruct *t, const float *x, float *y,
                                  anx_error *err) {
    return CHECK(dnn, cudnnActivationForward(dnn->handle, dnn->relu, &one, t, x, &zero, t, y), "apply a ReLU", err);
}

/* The library asks for the input too; what comes out is decided by the output, which stands for both. */
anx_status anx_cudnn_relu_backward(const anx_cudnn *dnn, struct cudnnTensorStruct *t, const float *y, const float *dy,
                                   float *dx, anx_error *err) {
    return CHECK(dnn, cudnnActivationBackward(dnn->handle, dnn->relu, &one, t, y, t, dy, t, y, &zero, t, dx),
                 "apply a ReLU backward", err);
}

anx_status anx_cudnn_softmax_forward(const anx_cudnn *dnn, struct cudnnTensorStruct *t, const float *x, float *y,
                                     anx_error *err) {
    return CHECK(
        dnn,
        cudnnSoftmaxForward(dnn->handle, ANX_CU_SOFTMAX_ACCURATE, ANX_CU_SOFTMAX_INSTANCE, &one, t, x, &zero, t, y),
        "compute a softmax", err);
}

anx_status anx_cudnn_softmax_backward(const anx_cudnn *dnn, struct cudnnTensorStruct *t, const float *y,
                                      const float *dy, float *dx, anx_error *err) {
    return CHECK(dnn,
                 cudnnSoftmaxBackward(dnn->handle, ANX_CU_SOFTMAX_ACCURATE, ANX_CU_SOFTMAX_INSTANCE, &one, t, y, t, dy,
                                      &zero, t, dx),
                 "compute a softmax backward", err);
}

anx_status anx_cudnn_add_bias(const anx_cudnn *dnn, struct cudnnTensorStruct *b_tensor, const float *b,
                              struct cudnnTensorStruct *y_tensor, float *y, anx_error *err) {
    return CHECK(dnn, cudnnAddTensor(dnn->handle, &one, b_tensor, b, &one, y_tensor, y), "add a bias", err);
}

anx_status anx_cudnn_bias_gradient(const anx_cudnn *dnn, struct cudnnTensorStruct *dy_tensor, const float *dy,
                                   struct cudnnTensorStruct *b_tensor, float *db, anx_error *err) {
    return CHECK(dnn, cudnnConvolutionBackwardBias(dnn->handle, &one, dy_tensor, dy, &zero, b_tensor, db),
                 "sum a bias's gradient", err);
}

/* ---- dropout masks -------------------------------------------------------------------------------------- */

anx_status anx_cudnn_mask_bytes(const anx_cudnn *dnn, struct cudnnTensorStruct *t, size_t *states, size_t *reserve,
                                anx_error *err) {
    anx_status status = CHECK(dnn, cudnnDropoutGetStatesSize(dnn->handle, states), "size its generator", err);
    if (status == ANX_OK) status = CHECK(dnn, cudnnDropoutGetReserveSpaceSize(t, reserve), "size its dropout", err);
    return status;
}

anx_status anx_cudnn_draw_mask(const anx_cudnn *dnn, struct cudnnTensorStruct *t, double p, uint64_t seed,
                               const float *ones, float *mask, void *states, size_t states_bytes, void *reserve,
                               size_t reserve_bytes, anx_error *err) {
    struct cudnnDropoutStruct *dropout = NULL;
    anx_status status = CHECK(dnn, cudnnCreateDropoutDescriptor(&dropout), "describe a dropout", err);
    if (status == ANX_OK)
        status = CHECK(dnn, cudnnSetDropoutDescriptor(dropout, dnn->handle, (float)p, states, states_bytes, seed),
                       "seed its generator", err);
    if (status == ANX_OK)
        status = CHECK(dnn, cudnnDropoutForward(dnn->handle, dropout, t, ones, t, mask, reserve, reserve_bytes),
                       "draw a dropout mask", err);
    if (dropout != NULL) dnn->api->cudnnDestroyDropoutDescriptor(dropout);
    return status;
}
