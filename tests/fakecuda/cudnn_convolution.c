/* cuDNN's convolutions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fakecuda/cudnn.h"
#include "tests/fakecuda/kernels/conv.h"

/* ---- a convolution as it was asked for ----------------------------------------------------------------------- */

/* Of y = conv(x, w), whichever of the three is sought. */
typedef struct convolution {
    fake_conv conv;
    dnn_operand x, y;
    const float *w;
    float alpha, beta;
    void *workspace;
    size_t need;
    /* of the fused call */
    dnn_operand z;
    const float *bias;
    float z_alpha;
    bool relu, propagate_nan;
} convolution;

/* The three descriptors fit each other, and the double computes such. */
static unsigned check_geometry(const fake_convolution *c, const fake_tensor *x, const fake_filter *w,
                               const fake_tensor *y) {
    int expected[4];
    const unsigned status = dnn_convolution_output(c, x, w, expected);
    if (status != 0) return status;
    if (!y->set || memcmp(y->n, expected, sizeof expected) != 0) return DNN_BAD_PARAM;
    if (w->n[0] % (c->more_groups + 1) != 0) return DNN_BAD_PARAM;
    if (dnn_check_floats(x) != 0 || dnn_check_floats(y) != 0) return DNN_NOT_SUPPORTED;
    if (w->type != ANX_CU_FLOAT || w->format != ANX_CU_NCHW || c->type != ANX_CU_FLOAT) return DNN_NOT_SUPPORTED;
    return 0;
}

static void fill_geometry(convolution *to, const fake_convolution *c, const fake_tensor *x, const fake_filter *w,
                          const fake_tensor *y) {
    fake_conv *g = &to->conv;
    memcpy(g->x, x->n, sizeof g->x);
    memcpy(g->w, w->n, sizeof g->w);
    memcpy(g->y, y->n, sizeof g->y);
    memcpy(g->pad, c->pad, sizeof g->pad);
    memcpy(g->stride, c->stride, sizeof g->stride);
    memcpy(g->dilation, c->dilation, sizeof g->dilation);
    g->groups = c->more_groups + 1;
    g->flip = c->mode != ANX_CU_CROSS_CORRELATION;
}

/* ---- algorithms ---------------------------------------------------------------------------------------------- */

/* What is behind an algorithm's number. */
typedef enum method {
    NO_ALGORITHM, /* a number that no library ever ran */
    PLAIN,
    MATRICES,
    FFT,
    FFT_TILING,
    WINOGRAD,
    WINOGRAD_NONFUSED
} method;

typedef struct algorithm {
    method method;
    bool needs_workspace, nondeterministic;
} algorithm;

static const algorithm forward_algorithms[] = {
    {PLAIN, false, false}, {PLAIN, true, false},      {MATRICES, true, false}, {NO_ALGORITHM, false, false},
    {FFT, true, false},    {FFT_TILING, true, false}, {WINOGRAD, true, false}, {WINOGRAD_NONFUSED, true, false}};
static const algorithm data_algorithms[] = {{PLAIN, false, true},    {PLAIN, true, false},
                                            {FFT, true, false},      {FFT_TILING, true, false},
                                            {WINOGRAD, true, false}, {WINOGRAD_NONFUSED, true, false}};
static const algorithm filter_algorithms[] = {{PLAIN, false, true},         {PLAIN, true, false},
                                              {FFT, true, false},           {PLAIN, true, true},
                                              {NO_ALGORITHM, false, false}, {WINOGRAD_NONFUSED, true, false},
                                              {FFT_TILING, true, false}};

#define COUNT(array) (unsigned)(sizeof(array) / sizeof(array)[0])

static bool unit_steps(const fake_conv *g) {
    return g->stride[0] == 1 && g->stride[1] == 1 && g->dilation[0] == 1 && g->dilation[1] == 1;
}

/* What the algorithms are made for, as cuDNN's manual says. */
static bool runs(method by, const fake_conv *g) {
    const int largest = g->w[2] > g->w[3] ? g->w[2] : g->w[3];
    switch (by) {
    case NO_ALGORITHM: return false;
    case PLAIN:
    case MATRICES: return true;
    case FFT: return unit_steps(g) && g->x[2] + g->pad[0] <= 256 && g->x[3] + g->pad[1] <= 256;
    case FFT_TILING: return unit_steps(g) && largest <= 32;
    case WINOGRAD: return unit_steps(g) && g->w[2] == 3 && g->w[3] == 3 && fake_option.capability_major < 9;
    case WINOGRAD_NONFUSED: return unit_steps(g) && g->w[2] == g->w[3] && (largest == 3 || largest == 5);
    }
    return false;
}

static size_t round_up(size_t bytes) {
    return (bytes + 511) / 512 * 512;
}

static size_t workspace_of(const algorithm *a, const fake_conv *g) {
    const size_t taps = (size_t)g->w[1] * (size_t)g->w[2] * (size_t)g->w[3];
    const size_t places = (size_t)g->y[2] * (size_t)g->y[3], filters = dnn_count(g->w);
    if (!a->needs_workspace) return 0;
    switch (a->method) {
    case MATRICES: return round_up(taps * places * sizeof(float));
    case FFT:
    case FFT_TILING: return round_up(2 * sizeof(float) * (dnn_count(g->x) + dnn_count(g->y) + filters));
    case WINOGRAD_NONFUSED: return round_up(4 * sizeof(float) * (dnn_count(g->x) + filters));
    default: return round_up((taps + places) * sizeof(int) + filters * sizeof(float));
    }
}

/* The algorithm of that number; NOT_SUPPORTED where it does not run. `direction` names it in FAKECUDA_REFUSE. */
static unsigned choose(const algorithm *algorithms, unsigned count, const char *direction, unsigned number,
                       const fake_conv *g, const algorithm **chosen) {
    char name[32];
    if (number >= count) return DNN_BAD_PARAM;
    *chosen = &algorithms[number];
    if (!runs((*chosen)->method, g)) return DNN_NOT_SUPPORTED;
    if (fake_option.refuse == NULL) return 0;
    snprintf(name, sizeof name, "%s:%u", direction, number);
    return fake_refuses(name) ? DNN_NOT_SUPPORTED : 0;
}

static fake_precision precision_of(const algorithm *a, const fake_convolution *c) {
    const bool tensor_cores = fake_option.capability_major >= 8 && fake_option.tf32_allowed;
    return (fake_precision){
        .tf32 = c->math != ANX_CU_FMA_MATH && tensor_cores, .winograd = a->method >= FFT, .noise = a->nondeterministic};
}

/* ---- sizes of workspaces ------------------------------------------------------------------------------------- */

static void write_size(const char *function, size_t *to, size_t bytes) {
    if (to == NULL) fake_misuse(function, "NULL where a size is to be written");
    *to = bytes;
}

/* What the three queries share: y = conv(x, w). */
#define QUERY(direction, algorithms)                                                                                   \
    DNN_HANDLE(h, DNN_NOT_SUPPORTED);                                                                                  \
    (void)handle;                                                                                                      \
    const unsigned unfit = check_geometry(c, x, w, y);                                                                 \
    if (unfit != 0) return unfit;                                                                                      \
    convolution asked;                                                                                                 \
    const algorithm *a;                                                                                                \
    fill_geometry(&asked, c, x, w, y);                                                                                 \
    const unsigned refused = choose(algorithms, COUNT(algorithms), direction, algo, &asked.conv, &a);                  \
    if (refused != 0) return refused;                                                                                  \
    write_size(call.name, bytes, workspace_of(a, &asked.conv));                                                        \
    return 0

unsigned cudnnGetConvolutionForwardWorkspaceSize(struct cudnnContext *h, struct cudnnTensorStruct *const xd,
                                                 struct cudnnFilterStruct *const wd,
                                                 struct cudnnConvolutionStruct *const cd,
                                                 struct cudnnTensorStruct *const yd, unsigned algo, size_t *bytes) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %s, %s, %s, %s, %u", fake_name(h), fake_name(xd), fake_name(wd), fake_name(cd), fake_name(yd),
               algo);
    DNN_TENSOR(x, xd);
    DNN_DESCRIPTOR(filter, FAKE_FILTER, w, wd);
    DNN_DESCRIPTOR(convolution, FAKE_CONVOLUTION, c, cd);
    DNN_TENSOR(y, yd);
    QUERY("forward", forward_algorithms);
}

unsigned cudnnGetConvolutionBackwardDataWorkspaceSize(struct cudnnContext *h, struct cudnnFilterStruct *const wd,
                                                      struct cudnnTensorStruct *const dyd,
                                                      struct cudnnConvolutionStruct *const cd,
                                                      struct cudnnTensorStruct *const dxd, unsigned algo,
                                                      size_t *bytes) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %s, %s, %s, %s, %u", fake_name(h), fake_name(wd), fake_name(dyd), fake_name(cd), fake_name(dxd),
               algo);
    DNN_DESCRIPTOR(filter, FAKE_FILTER, w, wd);
    DNN_TENSOR(y, dyd);
    DNN_DESCRIPTOR(convolution, FAKE_CONVOLUTION, c, cd);
    DNN_TENSOR(x, dxd);
    QUERY("data", data_algorithms);
}

unsigned cudnnGetConvolutionBackwardFilterWorkspaceSize(struct cudnnContext *h, struct cudnnTensorStruct *const xd,
                                                        struct cudnnTensorStruct *const dyd,
                                                        struct cudnnConvolutionStruct *const cd,
                                                        struct cudnnFilterStruct *const dwd, unsigned algo,
                                                        size_t *bytes) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %s, %s, %s, %s, %u", fake_name(h), fake_name(xd), fake_name(dyd), fake_name(cd), fake_name(dwd),
               algo);
    DNN_TENSOR(x, xd);
    DNN_TENSOR(y, dyd);
    DNN_DESCRIPTOR(convolution, FAKE_CONVOLUTION, c, cd);
    DNN_DESCRIPTOR(filter, FAKE_FILTER, w, dwd);
    QUERY("filter", filter_algorithms);
}

/* ---- asking for one ------------------------------------------------------------------------------------------ */

typedef struct request {
    const fake_convolution *c;
    const fake_tensor *x, *y;
    const fake_filter *w;
    unsigned algo;
    void *workspace;
    size_t workspace_bytes;
} request;

/* Checks what all convolutions have in common. */
static unsigned prepare(const request *r, const algorithm *algorithms, unsigned count, const char *direction,
                        convolution *to) {
    const algorithm *a;
    unsigned status = check_geometry(r->c, r->x, r->w, r->y);
    if (status != 0) return status;
    fill_geometry(to, r->c, r->x, r->w, r->y);
    status = choose(algorithms, count, direction, r->algo, &to->conv, &a);
    if (status != 0) return status;
    to->conv.precision = precision_of(a, r->c);
    to->need = workspace_of(a, &to->conv);
    if (r->workspace_bytes < to->need || (to->need != 0 && r->workspace == NULL)) return DNN_BAD_PARAM;
    return 0;
}

static void touches_workspace(fake_work *work, const request *r) {
    if (r->workspace != NULL) fake_work_add(work, fake_region_flat(r->workspace, r->workspace_bytes, FAKE_WORKSPACE));
}

static fake_region filter_region(const fake_conv *g, const float *w, unsigned access) {
    return fake_region_flat(w, dnn_count(g->w) * sizeof *w, access);
}

#define NEED_POINTERS(...)                                                                                             \
    do {                                                                                                               \
        const void *const pointers[] = {__VA_ARGS__};                                                                  \
        for (unsigned i = 0; i < COUNT(pointers); i++)                                                                 \
            if (pointers[i] == NULL) return DNN_BAD_PARAM;                                                             \
    } while (0)

static void run_forward(const void *arguments) {
    const convolution *c = arguments;
    float *own;
    const float *x = dnn_packed(&c->x, &own);
    float *y = fake_floats(dnn_count(c->y.n));
    fake_conv_forward(&c->conv, x, fake_bytes(c->w), y);
    dnn_blend(&c->y, c->alpha, y, c->beta);
    free(y);
    free(own);
}

unsigned cudnnConvolutionForward(struct cudnnContext *h, const void *alpha, struct cudnnTensorStruct *const xd,
                                 const void *x, struct cudnnFilterStruct *const wd, const void *w,
                                 struct cudnnConvolutionStruct *const cd, unsigned algo, void *ws, size_t ws_bytes,
                                 const void *beta, struct cudnnTensorStruct *const yd, void *y) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %s, %s, %s, %s, %s, %u, %s, %zu, %s, %s", fake_name(h), fake_name(xd), fake_name(x), fake_name(wd),
               fake_name(w), fake_name(cd), algo, fake_name(ws), ws_bytes, fake_name(yd), fake_name(y));
    DNN_HANDLE(h, DNN_EXECUTION_FAILED);
    DNN_TENSOR(x_tensor, xd);
    DNN_DESCRIPTOR(filter, FAKE_FILTER, filter, wd);
    DNN_DESCRIPTOR(convolution, FAKE_CONVOLUTION, settings, cd);
    DNN_TENSOR(y_tensor, yd);
    NEED_POINTERS(alpha, beta, x, w, y);
    const request r = {settings, x_tensor, y_tensor, filter, algo, ws, ws_bytes};
    convolution c = {.x = dnn_operand_of(x_tensor, x),
                     .y = dnn_operand_of(y_tensor, y),
                     .w = w,
                     .alpha = fake_scalar(call.name, alpha),
                     .beta = fake_scalar(call.name, beta)};
    const unsigned status = prepare(&r, forward_algorithms, COUNT(forward_algorithms), "forward", &c);
    if (status != 0) return status;
    fake_work work;
    dnn_begin(&work, &call, handle);
    dnn_touches(&work, &c.x, FAKE_READ);
    fake_work_add(&work, filter_region(&c.conv, c.w, FAKE_READ));
    touches_workspace(&work, &r);
    dnn_result(&work, &c.y, c.beta);
    return dnn_launch(&work, run_forward, &c, sizeof c);
}

/* ---- with bias and activation -------------------------------------------------------------------------------- */

static float activated(float y, const convolution *c) {
    if (!c->relu) return y;
    if (y != y) return c->propagate_nan ? y : 0.0f;
    return y < 0.0f ? 0.0f : y;
}

static void run_fused(const void *arguments) {
    const convolution *c = arguments;
    const size_t plane = (size_t)c->y.n[2] * (size_t)c->y.n[3], channels = (size_t)c->y.n[1];
    float *own, *own_z = NULL;
    const float *x = dnn_packed(&c->x, &own), *z = c->z_alpha != 0.0f ? dnn_packed(&c->z, &own_z) : NULL;
    const float *bias = fake_bytes(c->bias);
    float *y = fake_floats(dnn_count(c->y.n));
    fake_conv_forward(&c->conv, x, fake_bytes(c->w), y);
    const size_t planes = dnn_count(c->y.n) / plane;
#pragma omp parallel for
    for (size_t p = 0; p < planes; p++)
        for (size_t i = p * plane; i < (p + 1) * plane; i++) {
            const float sum = c->alpha * y[i] + (z != NULL ? c->z_alpha * z[i] : 0.0f) + bias[p % channels];
            y[i] = activated(sum, c);
        }
    dnn_blend(&c->y, 1.0f, y, 0.0f);
    free(y);
    free(own);
    free(own_z);
}

static unsigned check_fused(const fake_tensor *bias, const fake_tensor *y, const fake_activation *activation,
                            unsigned algo) {
    if (!activation->set) return DNN_BAD_PARAM;
    if (activation->mode != ANX_CU_RELU && activation->mode != ANX_CU_IDENTITY) return DNN_NOT_SUPPORTED;
    if (activation->mode == ANX_CU_IDENTITY && algo != ANX_CU_FORWARD_IMPLICIT_PRECOMP_GEMM) return DNN_NOT_SUPPORTED;
    if (!bias->set || bias->n[0] != 1 || bias->n[1] != y->n[1] || bias->n[2] != 1 || bias->n[3] != 1)
        return DNN_BAD_PARAM;
    if (dnn_check_floats(bias) != 0) return DNN_NOT_SUPPORTED;
    if (fake_refuses("fused")) return DNN_NOT_SUPPORTED;
    if (activation->nan == ANX_CU_PROPAGATE_NAN && fake_refuses("fused-propagate")) return DNN_NOT_SUPPORTED;
    return 0;
}

unsigned cudnnConvolutionBiasActivationForward(struct cudnnContext *h, const void *alpha1,
                                               struct cudnnTensorStruct *const xd, const void *x,
                                               struct cudnnFilterStruct *const wd, const void *w,
                                               struct cudnnConvolutionStruct *const cd, unsigned algo, void *ws,
                                               size_t ws_bytes, const void *alpha2, struct cudnnTensorStruct *const zd,
                                               const void *z, struct cudnnTensorStruct *const bd, const void *bias,
                                               struct cudnnActivationStruct *const ad,
                                               struct cudnnTensorStruct *const yd, void *y) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %s, %s, %s, %s, %s, %u, %s, %zu, %s, %s, %s, %s, %s, %s, %s", fake_name(h), fake_name(xd),
               fake_name(x), fake_name(wd), fake_name(w), fake_name(cd), algo, fake_name(ws), ws_bytes, fake_name(zd),
               fake_name(z), fake_name(bd), fake_name(bias), fake_name(ad), fake_name(yd), fake_name(y));
    DNN_HANDLE(h, DNN_EXECUTION_FAILED);
    DNN_TENSOR(x_tensor, xd);
    DNN_DESCRIPTOR(filter, FAKE_FILTER, filter, wd);
    DNN_DESCRIPTOR(convolution, FAKE_CONVOLUTION, settings, cd);
    DNN_TENSOR(z_tensor, zd);
    DNN_TENSOR(bias_tensor, bd);
    DNN_DESCRIPTOR(activation, FAKE_ACTIVATION, activation, ad);
    DNN_TENSOR(y_tensor, yd);
    NEED_POINTERS(alpha1, alpha2, x, w, z, bias, y);
    const request r = {settings, x_tensor, y_tensor, filter, algo, ws, ws_bytes};
    convolution c = {.x = dnn_operand_of(x_tensor, x),
                     .y = dnn_operand_of(y_tensor, y),
                     .z = dnn_operand_of(z_tensor, z),
                     .w = w,
                     .bias = bias,
                     .alpha = fake_scalar(call.name, alpha1),
                     .z_alpha = fake_scalar(call.name, alpha2),
                     .relu = activation->mode == ANX_CU_RELU,
                     .propagate_nan = activation->nan == ANX_CU_PROPAGATE_NAN && !fake_refuses("nan")};
    unsigned status = prepare(&r, forward_algorithms, COUNT(forward_algorithms), "forward", &c);
    if (status == 0) status = check_fused(bias_tensor, y_tensor, activation, algo);
    if (status == 0 && (dnn_check_floats(z_tensor) != 0 || !dnn_same_extents(z_tensor, y_tensor)))
        status = DNN_BAD_PARAM;
    if (status != 0) return status;
    fake_work work;
    dnn_begin(&work, &call, handle);
    dnn_touches(&work, &c.x, FAKE_READ);
    fake_work_add(&work, filter_region(&c.conv, c.w, FAKE_READ));
    if (c.z_alpha != 0.0f) dnn_touches(&work, &c.z, FAKE_READ | FAKE_IN_PLACE);
    fake_work_add(&work, fake_region_flat(bias, (size_t)c.y.n[1] * sizeof(float), FAKE_READ));
    touches_workspace(&work, &r);
    dnn_result(&work, &c.y, 0.0f);
    return dnn_launch(&work, run_fused, &c, sizeof c);
}

/* ---- backward ------------------------------------------------------------------------------------------------ */

static void run_backward_data(const void *arguments) {
    const convolution *c = arguments;
    float *own;
    const float *dy = dnn_packed(&c->y, &own);
    float *dx = fake_floats(dnn_count(c->x.n));
    fake_conv_backward_data(&c->conv, fake_bytes(c->w), dy, dx);
    dnn_blend(&c->x, c->alpha, dx, c->beta);
    free(dx);
    free(own);
}

unsigned cudnnConvolutionBackwardData(struct cudnnContext *h, const void *alpha, struct cudnnFilterStruct *const wd,
                                      const void *w, struct cudnnTensorStruct *const dyd, const void *dy,
                                      struct cudnnConvolutionStruct *const cd, unsigned algo, void *ws, size_t ws_bytes,
                                      const void *beta, struct cudnnTensorStruct *const dxd, void *dx) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %s, %s, %s, %s, %s, %u, %s, %zu, %s, %s", fake_name(h), fake_name(wd), fake_name(w), fake_name(dyd),
               fake_name(dy), fake_name(cd), algo, fake_name(ws), ws_bytes, fake_name(dxd), fake_name(dx));
    DNN_HANDLE(h, DNN_EXECUTION_FAILED);
    DNN_DESCRIPTOR(filter, FAKE_FILTER, filter, wd);
    DNN_TENSOR(y_tensor, dyd);
    DNN_DESCRIPTOR(convolution, FAKE_CONVOLUTION, settings, cd);
    DNN_TENSOR(x_tensor, dxd);
    NEED_POINTERS(alpha, beta, w, dy, dx);
    const request r = {settings, x_tensor, y_tensor, filter, algo, ws, ws_bytes};
    convolution c = {.x = dnn_operand_of(x_tensor, dx),
                     .y = dnn_operand_of(y_tensor, dy),
                     .w = w,
                     .alpha = fake_scalar(call.name, alpha),
                     .beta = fake_scalar(call.name, beta)};
    const unsigned status = prepare(&r, data_algorithms, COUNT(data_algorithms), "data", &c);
    if (status != 0) return status;
    fake_work work;
    dnn_begin(&work, &call, handle);
    fake_work_add(&work, filter_region(&c.conv, c.w, FAKE_READ));
    dnn_touches(&work, &c.y, FAKE_READ);
    touches_workspace(&work, &r);
    dnn_result(&work, &c.x, c.beta);
    return dnn_launch(&work, run_backward_data, &c, sizeof c);
}

static void run_backward_filter(const void *arguments) {
    const convolution *c = arguments;
    float *own_x, *own_dy;
    const float *x = dnn_packed(&c->x, &own_x), *dy = dnn_packed(&c->y, &own_dy);
    const size_t count = dnn_count(c->conv.w);
    float *dw = fake_floats(count), *out = fake_bytes(c->w);
    fake_conv_backward_filter(&c->conv, x, dy, dw);
    for (size_t i = 0; i < count; i++) out[i] = c->alpha * dw[i] + (c->beta == 0.0f ? 0.0f : c->beta * out[i]);
    free(dw);
    free(own_x);
    free(own_dy);
}

unsigned cudnnConvolutionBackwardFilter(struct cudnnContext *h, const void *alpha, struct cudnnTensorStruct *const xd,
                                        const void *x, struct cudnnTensorStruct *const dyd, const void *dy,
                                        struct cudnnConvolutionStruct *const cd, unsigned algo, void *ws,
                                        size_t ws_bytes, const void *beta, struct cudnnFilterStruct *const dwd,
                                        void *dw) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %s, %s, %s, %s, %s, %u, %s, %zu, %s, %s", fake_name(h), fake_name(xd), fake_name(x), fake_name(dyd),
               fake_name(dy), fake_name(cd), algo, fake_name(ws), ws_bytes, fake_name(dwd), fake_name(dw));
    DNN_HANDLE(h, DNN_EXECUTION_FAILED);
    DNN_TENSOR(x_tensor, xd);
    DNN_TENSOR(y_tensor, dyd);
    DNN_DESCRIPTOR(convolution, FAKE_CONVOLUTION, settings, cd);
    DNN_DESCRIPTOR(filter, FAKE_FILTER, filter, dwd);
    NEED_POINTERS(alpha, beta, x, dy, dw);
    const request r = {settings, x_tensor, y_tensor, filter, algo, ws, ws_bytes};
    convolution c = {.x = dnn_operand_of(x_tensor, x),
                     .y = dnn_operand_of(y_tensor, dy),
                     .w = dw,
                     .alpha = fake_scalar(call.name, alpha),
                     .beta = fake_scalar(call.name, beta)};
    const unsigned status = prepare(&r, filter_algorithms, COUNT(filter_algorithms), "filter", &c);
    if (status != 0) return status;
    fake_work work;
    dnn_begin(&work, &call, handle);
    dnn_touches(&work, &c.x, FAKE_READ);
    dnn_touches(&work, &c.y, FAKE_READ);
    touches_workspace(&work, &r);
    fake_work_add(&work, filter_region(&c.conv, c.w, c.beta == 0.0f ? FAKE_WRITE : FAKE_READ | FAKE_WRITE));
    return dnn_launch(&work, run_backward_filter, &c, sizeof c);
}

typedef struct bias_sum {
    dnn_operand dy;
    float *db;
    float alpha, beta;
} bias_sum;

static void run_backward_bias(const void *arguments) {
    const bias_sum *b = arguments;
    const dnn_operand *dy = &b->dy;
    const float *p = fake_bytes(dy->p);
    float *out = fake_bytes(b->db);
#pragma omp parallel for
    for (int c = 0; c < dy->n[1]; c++) {
        double sum = 0.0;
        for (int n = 0; n < dy->n[0]; n++)
            for (int i = 0; i < dy->n[2]; i++)
                for (int k = 0; k < dy->n[3]; k++) sum += p[dnn_at(dy, n, c, i, k)];
        out[c] = b->alpha * (float)sum + (b->beta == 0.0f ? 0.0f : b->beta * out[c]);
    }
}

unsigned cudnnConvolutionBackwardBias(struct cudnnContext *h, const void *alpha, struct cudnnTensorStruct *const dyd,
                                      const void *dy, const void *beta, struct cudnnTensorStruct *const dbd, void *db) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %s, %s, %s, %s", fake_name(h), fake_name(dyd), fake_name(dy), fake_name(dbd), fake_name(db));
    DNN_HANDLE(h, DNN_EXECUTION_FAILED);
    DNN_TENSOR(y_tensor, dyd);
    DNN_TENSOR(b_tensor, dbd);
    NEED_POINTERS(alpha, beta, dy, db);
    if (dnn_check_floats(y_tensor) != 0) return dnn_check_floats(y_tensor);
    if (dnn_check_floats(b_tensor) != 0) return dnn_check_floats(b_tensor);
    if (b_tensor->n[0] != 1 || b_tensor->n[1] != y_tensor->n[1] || b_tensor->n[2] != 1 || b_tensor->n[3] != 1)
        return DNN_BAD_PARAM;
    if (!b_tensor->packed) return DNN_NOT_SUPPORTED;
    const bias_sum b = {dnn_operand_of(y_tensor, dy), db, fake_scalar(call.name, alpha), fake_scalar(call.name, beta)};
    fake_work work;
    dnn_begin(&work, &call, handle);
    dnn_touches(&work, &b.dy, FAKE_READ);
    const dnn_operand result = dnn_operand_of(b_tensor, db);
    dnn_result(&work, &result, b.beta);
    return dnn_launch(&work, run_backward_bias, &b, sizeof b);
}
