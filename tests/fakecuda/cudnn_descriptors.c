/* cuDNN's descriptors: what their setters take and refuse is calibrated against the real library. */
#include <limits.h>
#include <string.h>

#include "tests/fakecuda/cudnn.h"

/* Creation and destruction of one kind of descriptor. */
#define DESCRIPTOR(Name, Tag, KIND)                                                                                    \
    unsigned cudnnCreate##Name##Descriptor(struct cudnn##Tag##Struct **d) {                                            \
        FAKE_ENTER(NULL);                                                                                              \
        FAKE_TRACE_DESCRIPTOR("%s", "");                                                                               \
        DNN_INJECT(DNN_ALLOC_FAILED);                                                                                  \
        if (d == NULL) return DNN_BAD_PARAM;                                                                           \
        *d = (struct cudnn##Tag##Struct *)fake_object_create(KIND);                                                    \
        return 0;                                                                                                      \
    }                                                                                                                  \
    unsigned cudnnDestroy##Name##Descriptor(struct cudnn##Tag##Struct *d) {                                            \
        FAKE_ENTER(NULL);                                                                                              \
        FAKE_TRACE_DESCRIPTOR("%s", fake_name(d));                                                                     \
        const unsigned injected = fake_injected(call.name, DNN_BAD_PARAM);                                             \
        if (d != NULL) fake_object_destroy(fake_object_get(call.name, d, KIND));                                       \
        return injected;                                                                                               \
    }

DESCRIPTOR(Tensor, Tensor, FAKE_TENSOR)
DESCRIPTOR(Filter, Filter, FAKE_FILTER)
DESCRIPTOR(Convolution, Convolution, FAKE_CONVOLUTION)
DESCRIPTOR(Activation, Activation, FAKE_ACTIVATION)
DESCRIPTOR(Pooling, Pooling, FAKE_POOLING)
DESCRIPTOR(Dropout, Dropout, FAKE_DROPOUT)

/* ---- tensors
 * --------------------------------------------------------------------------------------------------------- */

enum { N_TYPES = 10, N_TENSOR_FORMATS = 3, VECT_C = 2, INT8X4 = 5, UINT8X4 = 8, INT8X32 = 7, INT32 = 4 };

static bool all_positive(const int *n, int count) {
    for (int i = 0; i < count; i++)
        if (n[i] <= 0) return false;
    return true;
}

static bool vector_type(unsigned type) {
    return type == INT8X4 || type == INT8X32;
}

/* Elements from the first to the last; -1: more than a descriptor may have. */
static long long span_of(const int *n, const long long *stride) {
    long long last = 0;
    for (int i = 0; i < 4; i++) {
        const long long distance = stride[i] < 0 ? -stride[i] : stride[i];
        last += (n[i] - 1) * distance;
        if (last >= INT_MAX) return -1;
    }
    return last + 1;
}

static unsigned set_tensor(fake_tensor *t, unsigned type, const int *n, const long long *stride) {
    if (span_of(n, stride) < 0) return DNN_NOT_SUPPORTED;
    t->set = true;
    t->type = type;
    memcpy(t->n, n, sizeof t->n);
    for (int i = 0; i < 4; i++) t->stride[i] = (int)stride[i];
    const int packed[4] = {n[1] * n[2] * n[3], n[2] * n[3], n[3], 1};
    t->packed = true;
    for (int i = 0; i < 4; i++) t->packed = t->packed && (n[i] == 1 || t->stride[i] == packed[i]);
    return 0;
}

unsigned cudnnSetTensor4dDescriptor(struct cudnnTensorStruct *d, unsigned format, unsigned type, int n, int c, int hh,
                                    int w) {
    FAKE_ENTER(NULL);
    FAKE_TRACE_DESCRIPTOR("%s, %u, %u, %d, %d, %d, %d", fake_name(d), format, type, n, c, hh, w);
    DNN_TENSOR(t, d);
    DNN_INJECT(DNN_BAD_PARAM);
    const int extents[4] = {n, c, hh, w};
    if (type >= N_TYPES || format >= N_TENSOR_FORMATS || !all_positive(extents, 4)) return DNN_BAD_PARAM;
    if (format == VECT_C && !vector_type(type)) return DNN_BAD_PARAM;
    if ((double)n * c * hh * w >= (double)INT_MAX + 1.0) return DNN_NOT_SUPPORTED;
    const long long image = (long long)c * hh * w;
    const long long nchw[4] = {image, (long long)hh * w, w, 1}, nhwc[4] = {image, 1, (long long)w * c, c};
    return set_tensor(t, type, extents, format == ANX_CU_NCHW ? nchw : nhwc);
}

unsigned cudnnSetTensor4dDescriptorEx(struct cudnnTensorStruct *d, unsigned type, int n, int c, int hh, int w,
                                      int n_stride, int c_stride, int h_stride, int w_stride) {
    FAKE_ENTER(NULL);
    FAKE_TRACE_DESCRIPTOR("%s, %u, %d, %d, %d, %d, %d, %d, %d, %d", fake_name(d), type, n, c, hh, w, n_stride, c_stride,
                          h_stride, w_stride);
    DNN_TENSOR(t, d);
    DNN_INJECT(DNN_BAD_PARAM);
    const int extents[4] = {n, c, hh, w};
    const long long strides[4] = {n_stride, c_stride, h_stride, w_stride};
    if (type >= N_TYPES || !all_positive(extents, 4)) return DNN_BAD_PARAM;
    for (int i = 0; i < 4; i++)
        if (strides[i] == 0) return DNN_BAD_PARAM;
    return set_tensor(t, type, extents, strides);
}

/* ---- filters
 * ---------------------------------------------------------------------------------------------------------- */

unsigned cudnnSetFilter4dDescriptor(struct cudnnFilterStruct *d, unsigned type, unsigned format, int k, int c, int hh,
                                    int w) {
    FAKE_ENTER(NULL);
    FAKE_TRACE_DESCRIPTOR("%s, %u, %u, %d, %d, %d, %d", fake_name(d), type, format, k, c, hh, w);
    DNN_DESCRIPTOR(filter, FAKE_FILTER, f, d);
    DNN_INJECT(DNN_BAD_PARAM);
    const int extents[4] = {k, c, hh, w};
    if (type >= N_TYPES || type == INT32 || format >= N_TENSOR_FORMATS || !all_positive(extents, 4))
        return DNN_BAD_PARAM;
    if (format == VECT_C && !vector_type(type) && type != UINT8X4) return DNN_BAD_PARAM;
    *f = (fake_filter){.set = true, .type = type, .format = format};
    memcpy(f->n, extents, sizeof f->n);
    return 0;
}

/* ---- convolutions
 * ------------------------------------------------------------------------------------------------------ */

unsigned cudnnSetConvolution2dDescriptor(struct cudnnConvolutionStruct *d, int ph, int pw, int sh, int sw, int dh,
                                         int dw, unsigned mode, unsigned type) {
    enum { DOUBLE = 1, HALF = 2 };
    FAKE_ENTER(NULL);
    FAKE_TRACE_DESCRIPTOR("%s, %d, %d, %d, %d, %d, %d, %u, %u", fake_name(d), ph, pw, sh, sw, dh, dw, mode, type);
    DNN_DESCRIPTOR(convolution, FAKE_CONVOLUTION, c, d);
    DNN_INJECT(DNN_BAD_PARAM);
    const int steps[4] = {sh, sw, dh, dw};
    if (ph < 0 || pw < 0 || !all_positive(steps, 4) || mode > 1) return DNN_BAD_PARAM;
    if (type != ANX_CU_FLOAT && type != DOUBLE && type != HALF && type != INT32) return DNN_BAD_PARAM;
    c->set = true; /* the kind of arithmetic and the groups stay as they are */
    c->pad[0] = ph, c->pad[1] = pw;
    c->stride[0] = sh, c->stride[1] = sw;
    c->dilation[0] = dh, c->dilation[1] = dw;
    c->mode = mode;
    c->type = type;
    return 0;
}

unsigned cudnnSetConvolutionMathType(struct cudnnConvolutionStruct *d, unsigned math) {
    FAKE_ENTER(NULL);
    FAKE_TRACE_DESCRIPTOR("%s, %u", fake_name(d), math);
    DNN_DESCRIPTOR(convolution, FAKE_CONVOLUTION, c, d);
    DNN_INJECT(DNN_BAD_PARAM);
    if (math > ANX_CU_FMA_MATH) return DNN_BAD_PARAM;
    c->math = math;
    return 0;
}

unsigned cudnnSetConvolutionGroupCount(struct cudnnConvolutionStruct *d, int groups) {
    FAKE_ENTER(NULL);
    FAKE_TRACE_DESCRIPTOR("%s, %d", fake_name(d), groups);
    DNN_DESCRIPTOR(convolution, FAKE_CONVOLUTION, c, d);
    DNN_INJECT(DNN_BAD_PARAM);
    if (groups <= 0) return DNN_BAD_PARAM;
    c->more_groups = groups - 1;
    return 0;
}

static void need_place(const char *function, const void *p) {
    if (p == NULL) fake_misuse(function, "NULL where an extent is to be written");
}

static void write_extents(const char *function, const int *y, int *n, int *c, int *h, int *w) {
    int *const places[4] = {n, c, h, w};
    for (int i = 0; i < 4; i++) {
        need_place(function, places[i]);
        *places[i] = y[i];
    }
}

/* Whether groups divide the filters is not looked at here, by the real one neither. */
unsigned dnn_convolution_output(const fake_convolution *c, const fake_tensor *x, const fake_filter *w, int *y) {
    if (!c->set || !x->set || !w->set) return DNN_BAD_PARAM;
    if ((long long)w->n[1] * (c->more_groups + 1LL) != x->n[1]) return DNN_BAD_PARAM;
    y[0] = x->n[0];
    y[1] = w->n[0];
    for (int i = 0; i < 2; i++) {
        const long long window = (long long)c->dilation[i] * (w->n[2 + i] - 1) + 1;
        const long long room = x->n[2 + i] + 2LL * c->pad[i] - window;
        if (room < 0) return DNN_BAD_PARAM;
        y[2 + i] = (int)(room / c->stride[i] + 1);
    }
    return 0;
}

unsigned cudnnGetConvolution2dForwardOutputDim(struct cudnnConvolutionStruct *const d,
                                               struct cudnnTensorStruct *const x, struct cudnnFilterStruct *const w,
                                               int *n, int *c, int *hh, int *ww) {
    FAKE_ENTER(NULL);
    FAKE_TRACE_DESCRIPTOR("%s, %s, %s", fake_name(d), fake_name(x), fake_name(w));
    DNN_DESCRIPTOR(convolution, FAKE_CONVOLUTION, convolution, d);
    DNN_TENSOR(tensor, x);
    DNN_DESCRIPTOR(filter, FAKE_FILTER, filter, w);
    DNN_INJECT(DNN_BAD_PARAM);
    int y[4];
    const unsigned status = dnn_convolution_output(convolution, tensor, filter, y);
    if (status == 0) write_extents(call.name, y, n, c, hh, ww);
    return status;
}

/* ---- activations
 * ---------------------------------------------------------------------------------------------------------- */

unsigned cudnnSetActivationDescriptor(struct cudnnActivationStruct *d, unsigned mode, unsigned nan, double coef) {
    enum { N_ACTIVATIONS = 7 };
    FAKE_ENTER(NULL);
    FAKE_TRACE_DESCRIPTOR("%s, %u, %u, %g", fake_name(d), mode, nan, coef);
    DNN_DESCRIPTOR(activation, FAKE_ACTIVATION, a, d);
    DNN_INJECT(DNN_BAD_PARAM);
    if (mode >= N_ACTIVATIONS || nan > 1) return DNN_BAD_PARAM;
    *a = (fake_activation){true, mode, nan, coef};
    return 0;
}

/* ---- pooling
 * ---------------------------------------------------------------------------------------------------------------- */

unsigned cudnnSetPooling2dDescriptor(struct cudnnPoolingStruct *d, unsigned mode, unsigned nan, int wh, int ww, int ph,
                                     int pw, int sh, int sw) {
    FAKE_ENTER(NULL);
    FAKE_TRACE_DESCRIPTOR("%s, %u, %u, %d, %d, %d, %d, %d, %d", fake_name(d), mode, nan, wh, ww, ph, pw, sh, sw);
    DNN_DESCRIPTOR(pooling, FAKE_POOLING, p, d);
    DNN_INJECT(DNN_BAD_PARAM);
    const int positive[4] = {wh, ww, sh, sw};
    if (mode > ANX_CU_POOL_MAX_DETERMINISTIC || nan > 1 || !all_positive(positive, 4)) return DNN_BAD_PARAM;
    *p = (fake_pooling){true, mode, nan, {wh, ww}, {ph, pw}, {sh, sw}};
    return 0;
}

unsigned dnn_pooling_output(const fake_pooling *p, const fake_tensor *x, int *y) {
    if (!p->set || !x->set) return DNN_BAD_PARAM;
    y[0] = x->n[0];
    y[1] = x->n[1];
    for (int i = 0; i < 2; i++) {
        const long long room = x->n[2 + i] + 2LL * p->pad[i] - p->window[i];
        if (room < 0) return DNN_BAD_PARAM;
        y[2 + i] = (int)(room / p->stride[i] + 1);
    }
    return 0;
}

unsigned cudnnGetPooling2dForwardOutputDim(struct cudnnPoolingStruct *const d, struct cudnnTensorStruct *const x,
                                           int *n, int *c, int *hh, int *w) {
    FAKE_ENTER(NULL);
    FAKE_TRACE_DESCRIPTOR("%s, %s", fake_name(d), fake_name(x));
    DNN_DESCRIPTOR(pooling, FAKE_POOLING, pooling, d);
    DNN_TENSOR(tensor, x);
    DNN_INJECT(DNN_BAD_PARAM);
    int y[4];
    const unsigned status = dnn_pooling_output(pooling, tensor, y);
    if (status == 0) write_extents(call.name, y, n, c, hh, w);
    return status;
}
