#include "tests/fakecuda/calibration.h"

#include <limits.h>
#include <stdbool.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- tensors ------------------------------------------------------------------------------------------------- */

static void tensors(const anx_cuda_api *api, FILE *out) {
    static const int extents[] = {INT_MIN, -1, 0, 1, 2, 3, 65536};
    static const unsigned formats[] = {0, 1, 2, 3, 4, 99},
                          types[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 99};
    struct cudnnTensorStruct *d = NULL;
    fprintf(out, "tensor: create %u, of NULL %u, destroy NULL %u\n", api->cudnnCreateTensorDescriptor(&d),
            api->cudnnCreateTensorDescriptor(NULL), api->cudnnDestroyTensorDescriptor(NULL));
    for (size_t f = 0; f < COUNT(formats); f++)
        for (size_t t = 0; t < COUNT(types); t++)
            fprintf(out, "tensor: format %u type %u: %u\n", formats[f], types[t],
                    api->cudnnSetTensor4dDescriptor(d, formats[f], types[t], 2, 4, 4, 4));
    for (size_t a = 0; a < COUNT(extents); a++)
        for (int at = 0; at < 4; at++) {
            int n[4] = {2, 3, 5, 4};
            n[at] = extents[a];
            fprintf(out, "tensor: %d %d %d %d: %u\n", n[0], n[1], n[2], n[3],
                    api->cudnnSetTensor4dDescriptor(d, 0, 0, n[0], n[1], n[2], n[3]));
        }
    static const int large[][4] = {{65536, 32767, 1, 1},    {65535, 8192, 2, 2},   {65536, 8192, 2, 2},
                                   {INT_MAX, 1, 1, 1},      {1, INT_MAX, 1, 1},    {1, 1, INT_MAX, 1},
                                   {1, 1, 1, INT_MAX},      {2, INT_MAX, 1, 1},    {1, 1, 46341, 46341},
                                   {65536, 65536, 1, 1},    {1, 2048, 1024, 1024}, {1, 2047, 1024, 1024},
                                   {1 << 20, 1 << 10, 1, 2}};
    for (size_t i = 0; i < COUNT(large); i++)
        fprintf(out, "tensor: %d %d %d %d: %u\n", large[i][0], large[i][1], large[i][2], large[i][3],
                api->cudnnSetTensor4dDescriptor(d, 0, 0, large[i][0], large[i][1], large[i][2], large[i][3]));
    static const int strided[][8] = {
        {2, 3, 5, 4, 60, 20, 4, 1},     {2, 3, 5, 4, 120, 20, 4, 1},     {2, 3, 5, 4, 60, 1, 12, 3},
        {2, 3, 5, 4, 0, 20, 4, 1},      {2, 3, 5, 4, 60, 20, 4, 0},      {2, 3, 5, 4, -60, 20, 4, 1},
        {2, 3, 5, 4, 60, -20, 4, 1},    {2, 3, 5, 4, 1, 1, 1, 1},        {2, 3, 5, 4, 60, 20, 4, 2},
        {1, 3, 5, 4, 1, 20, 4, 1},      {0, 3, 5, 4, 60, 20, 4, 1},      {2, -3, 5, 4, 60, 20, 4, 1},
        {2, 3, 5, 4, INT_MAX, 1, 1, 1}, {3, 3, 5, 4, INT_MAX, 20, 4, 1}, {2, 3, 5, 4, 1 << 30, 20, 4, 1},
        {2, 3, 5, 4, 20, 60, 4, 1},     {2, 3, 5, 4, 60, 20, 1, 5},      {2, 3, 5, 4, 60, 20, 4, -1},
        {2, 3, 5, 4, 60, 20, -4, 1}};
    for (size_t i = 0; i < COUNT(strided); i++) {
        const int *s = strided[i];
        for (unsigned type = 0; type < 100; type += 99)
            fprintf(out, "tensor: strided %zu type %u: %u\n", i, type,
                    api->cudnnSetTensor4dDescriptorEx(d, type, s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]));
    }
    fprintf(out, "tensor: set NULL %u, strided NULL %u\n", api->cudnnSetTensor4dDescriptor(NULL, 0, 0, 1, 1, 1, 1),
            api->cudnnSetTensor4dDescriptorEx(NULL, 0, 1, 1, 1, 1, 1, 1, 1, 1));
    fprintf(out, "tensor: destroy %u\n", api->cudnnDestroyTensorDescriptor(d));
}

/* ---- filters ------------------------------------------------------------------------------------------------- */

static void filters(const anx_cuda_api *api, FILE *out) {
    static const int extents[] = {INT_MIN, -1, 0, 1, 2, 65536};
    struct cudnnFilterStruct *d = NULL;
    fprintf(out, "filter: create %u, of NULL %u, destroy NULL %u\n", api->cudnnCreateFilterDescriptor(&d),
            api->cudnnCreateFilterDescriptor(NULL), api->cudnnDestroyFilterDescriptor(NULL));
    for (unsigned f = 0; f < 6; f++)
        for (unsigned t = 0; t < 16; t++)
            fprintf(out, "filter: format %u type %u: %u\n", f, t, api->cudnnSetFilter4dDescriptor(d, t, f, 4, 4, 4, 4));
    for (size_t a = 0; a < COUNT(extents); a++)
        for (int at = 0; at < 4; at++) {
            int n[4] = {2, 3, 5, 4};
            n[at] = extents[a];
            fprintf(out, "filter: %d %d %d %d: %u\n", n[0], n[1], n[2], n[3],
                    api->cudnnSetFilter4dDescriptor(d, 0, 0, n[0], n[1], n[2], n[3]));
        }
    static const int large[][4] = {
        {65536, 32767, 1, 1}, {65536, 32768, 1, 1}, {65536, 65536, 1, 1}, {INT_MAX, 1, 1, 1}, {INT_MAX, 2, 1, 1}};
    for (size_t i = 0; i < COUNT(large); i++)
        fprintf(out, "filter: %d %d %d %d: %u\n", large[i][0], large[i][1], large[i][2], large[i][3],
                api->cudnnSetFilter4dDescriptor(d, 0, 0, large[i][0], large[i][1], large[i][2], large[i][3]));
    fprintf(out, "filter: set NULL %u\n", api->cudnnSetFilter4dDescriptor(NULL, 0, 0, 1, 1, 1, 1));
    fprintf(out, "filter: destroy %u\n", api->cudnnDestroyFilterDescriptor(d));
}

/* ---- convolutions -------------------------------------------------------------------------------------------- */

static void convolution_settings(const anx_cuda_api *api, FILE *out) {
    static const int values[] = {INT_MIN, -1, 0, 1, 2, 3, 1000, INT_MAX};
    struct cudnnConvolutionStruct *d = NULL;
    fprintf(out, "convolution: create %u, of NULL %u, destroy NULL %u\n", api->cudnnCreateConvolutionDescriptor(&d),
            api->cudnnCreateConvolutionDescriptor(NULL), api->cudnnDestroyConvolutionDescriptor(NULL));
    for (size_t v = 0; v < COUNT(values); v++)
        for (int at = 0; at < 6; at++) {
            int n[6] = {1, 1, 1, 1, 1, 1};
            n[at] = values[v];
            fprintf(out, "convolution: %d %d %d %d %d %d: %u\n", n[0], n[1], n[2], n[3], n[4], n[5],
                    api->cudnnSetConvolution2dDescriptor(d, n[0], n[1], n[2], n[3], n[4], n[5], 1, 0));
        }
    for (unsigned mode = 0; mode < 4; mode++)
        for (unsigned type = 0; type < 16; type++)
            fprintf(out, "convolution: mode %u type %u: %u\n", mode, type,
                    api->cudnnSetConvolution2dDescriptor(d, 0, 0, 1, 1, 1, 1, mode, type));
    for (unsigned math = 0; math < 8; math++)
        fprintf(out, "convolution: math %u: %u\n", math, api->cudnnSetConvolutionMathType(d, math));
    for (size_t v = 0; v < COUNT(values); v++)
        fprintf(out, "convolution: groups %d: %u\n", values[v], api->cudnnSetConvolutionGroupCount(d, values[v]));
    fprintf(out, "convolution: NULL %u %u %u\n", api->cudnnSetConvolution2dDescriptor(NULL, 0, 0, 1, 1, 1, 1, 1, 0),
            api->cudnnSetConvolutionMathType(NULL, 3), api->cudnnSetConvolutionGroupCount(NULL, 1));
    fprintf(out, "convolution: destroy %u\n", api->cudnnDestroyConvolutionDescriptor(d));
}

typedef struct geometry {
    int x[4], w[4], pad, stride, dilation, groups;
} geometry;

static void output_extents(const anx_cuda_api *api, FILE *out, const geometry *g) {
    struct cudnnTensorStruct *x = NULL;
    struct cudnnFilterStruct *w = NULL;
    struct cudnnConvolutionStruct *d = NULL;
    api->cudnnCreateTensorDescriptor(&x);
    api->cudnnCreateFilterDescriptor(&w);
    api->cudnnCreateConvolutionDescriptor(&d);
    const unsigned set_x = api->cudnnSetTensor4dDescriptor(x, 0, 0, g->x[0], g->x[1], g->x[2], g->x[3]);
    const unsigned set_w = api->cudnnSetFilter4dDescriptor(w, 0, 0, g->w[0], g->w[1], g->w[2], g->w[3]);
    api->cudnnSetConvolutionGroupCount(d, g->groups);
    const unsigned set_d =
        api->cudnnSetConvolution2dDescriptor(d, g->pad, g->pad, g->stride, g->stride, g->dilation, g->dilation, 1, 0);
    int n = -7, c = -7, h = -7, v = -7;
    const unsigned status = api->cudnnGetConvolution2dForwardOutputDim(d, x, w, &n, &c, &h, &v);
    if (status != 0) n = c = h = v = -7;
    fprintf(out,
            "output: x %d %d %d %d, w %d %d %d %d, pad %d stride %d dilation %d groups %d: %u %u %u, %u %d %d %d %d\n",
            g->x[0], g->x[1], g->x[2], g->x[3], g->w[0], g->w[1], g->w[2], g->w[3], g->pad, g->stride, g->dilation,
            g->groups, set_x, set_w, set_d, status, n, c, h, v);
    api->cudnnDestroyTensorDescriptor(x);
    api->cudnnDestroyFilterDescriptor(w);
    api->cudnnDestroyConvolutionDescriptor(d);
}

static void convolution_outputs(const anx_cuda_api *api, FILE *out) {
    static const geometry networks[] = {
        {{1, 3, 224, 224}, {64, 3, 11, 11}, 2, 4, 1, 1},  {{32, 64, 27, 27}, {192, 64, 5, 5}, 2, 1, 1, 1},
        {{7, 192, 13, 13}, {384, 192, 3, 3}, 1, 1, 1, 1}, {{2, 384, 13, 13}, {256, 384, 3, 3}, 1, 1, 1, 1},
        {{3, 256, 13, 13}, {256, 256, 3, 3}, 1, 1, 1, 1}, {{2, 3, 227, 227}, {96, 3, 11, 11}, 0, 4, 1, 1},
        {{2, 96, 27, 27}, {256, 48, 5, 5}, 2, 1, 1, 2},   {{2, 384, 13, 13}, {384, 192, 3, 3}, 1, 1, 1, 2},
        {{2, 96, 27, 27}, {256, 48, 5, 5}, 2, 1, 1, 1},   {{2, 96, 27, 27}, {256, 32, 5, 5}, 2, 1, 1, 3},
        {{2, 96, 27, 27}, {255, 32, 5, 5}, 2, 1, 1, 3},   {{1, 3, 7, 7}, {8, 4, 3, 3}, 0, 1, 1, 1},
        {{1, 6, 7, 7}, {6, 1, 3, 3}, 0, 1, 1, 6},         {{1, 6, 7, 7}, {5, 1, 3, 3}, 0, 1, 1, 6},
        {{1, 6, 7, 7}, {4, 2, 3, 3}, 0, 1, 1, 4},         {{1, 6, 7, 7}, {1, 2, 3, 3}, 0, 1, 1, 3},
        {{65536, 3, 200, 50}, {8, 3, 1, 1}, 0, 1, 1, 1},  {{65536, 1, 100, 100}, {8, 1, 1, 1}, 0, 1, 1, 1}};
    for (size_t i = 0; i < COUNT(networks); i++) output_extents(api, out, &networks[i]);
    for (int size = 1; size <= 12; size += size < 5 ? 1 : 3)
        for (int kernel = 1; kernel <= 5; kernel++)
            for (int pad = 0; pad <= 6; pad += 3)
                for (int stride = 1; stride <= 4; stride++)
                    for (int dilation = 1; dilation <= 3; dilation++) {
                        const geometry g = {{1, 2, size, size + 1}, {4, 2, kernel, kernel}, pad, stride, dilation, 1};
                        output_extents(api, out, &g);
                    }
}

static void convolution_nulls(const anx_cuda_api *api, FILE *out) {
    struct cudnnTensorStruct *x = NULL;
    struct cudnnFilterStruct *w = NULL;
    struct cudnnConvolutionStruct *d = NULL;
    int n;
    api->cudnnCreateTensorDescriptor(&x);
    api->cudnnCreateFilterDescriptor(&w);
    api->cudnnCreateConvolutionDescriptor(&d);
    fprintf(out, "output: nothing set %u\n", api->cudnnGetConvolution2dForwardOutputDim(d, x, w, &n, &n, &n, &n));
    api->cudnnSetTensor4dDescriptor(x, 0, 0, 1, 3, 8, 8);
    fprintf(out, "output: x set %u\n", api->cudnnGetConvolution2dForwardOutputDim(d, x, w, &n, &n, &n, &n));
    api->cudnnSetFilter4dDescriptor(w, 0, 0, 4, 3, 3, 3);
    fprintf(out, "output: x, w set %u\n", api->cudnnGetConvolution2dForwardOutputDim(d, x, w, &n, &n, &n, &n));
    api->cudnnSetConvolution2dDescriptor(d, 0, 0, 1, 1, 1, 1, 1, 0);
    fprintf(out, "output: all set %u\n", api->cudnnGetConvolution2dForwardOutputDim(d, x, w, &n, &n, &n, &n));
    fprintf(out, "output: NULL %u %u %u\n", api->cudnnGetConvolution2dForwardOutputDim(NULL, x, w, &n, &n, &n, &n),
            api->cudnnGetConvolution2dForwardOutputDim(d, NULL, w, &n, &n, &n, &n),
            api->cudnnGetConvolution2dForwardOutputDim(d, x, NULL, &n, &n, &n, &n));
    for (unsigned type = 0; type < 3; type++)
        for (unsigned format = 0; format < 2; format++) {
            const unsigned status = api->cudnnSetFilter4dDescriptor(w, type, format, 4, 3, 3, 3);
            fprintf(out, "output: filter of type %u format %u: %u %u\n", type, format, status,
                    api->cudnnGetConvolution2dForwardOutputDim(d, x, w, &n, &n, &n, &n));
        }
    api->cudnnDestroyTensorDescriptor(x);
    api->cudnnDestroyFilterDescriptor(w);
    api->cudnnDestroyConvolutionDescriptor(d);
}

/* ---- activations --------------------------------------------------------------------------------------------- */

static void activations(const anx_cuda_api *api, FILE *out) {
    struct cudnnActivationStruct *d = NULL;
    fprintf(out, "activation: create %u, of NULL %u, destroy NULL %u\n", api->cudnnCreateActivationDescriptor(&d),
            api->cudnnCreateActivationDescriptor(NULL), api->cudnnDestroyActivationDescriptor(NULL));
    static const double coefficients[] = {0.0, -1.0, 6.0};
    for (unsigned mode = 0; mode < 10; mode++)
        for (unsigned nan = 0; nan < 4; nan++)
            for (size_t c = 0; c < COUNT(coefficients); c++)
                fprintf(out, "activation: mode %u nan %u coef %g: %u\n", mode, nan, coefficients[c],
                        api->cudnnSetActivationDescriptor(d, mode, nan, coefficients[c]));
    fprintf(out, "activation: set NULL %u\n", api->cudnnSetActivationDescriptor(NULL, 1, 1, 0.0));
    fprintf(out, "activation: destroy %u\n", api->cudnnDestroyActivationDescriptor(d));
}

/* ---- pooling ------------------------------------------------------------------------------------------------- */

static void pooling_settings(const anx_cuda_api *api, FILE *out) {
    static const int values[] = {INT_MIN, -1, 0, 1, 2, 3, 4, 1000, INT_MAX};
    struct cudnnPoolingStruct *d = NULL;
    fprintf(out, "pooling: create %u, of NULL %u, destroy NULL %u\n", api->cudnnCreatePoolingDescriptor(&d),
            api->cudnnCreatePoolingDescriptor(NULL), api->cudnnDestroyPoolingDescriptor(NULL));
    for (unsigned mode = 0; mode < 6; mode++)
        for (unsigned nan = 0; nan < 4; nan++)
            fprintf(out, "pooling: mode %u nan %u: %u\n", mode, nan,
                    api->cudnnSetPooling2dDescriptor(d, mode, nan, 3, 3, 0, 0, 2, 2));
    for (size_t v = 0; v < COUNT(values); v++)
        for (int at = 0; at < 6; at++) {
            int n[6] = {3, 3, 0, 0, 2, 2};
            n[at] = values[v];
            fprintf(out, "pooling: %d %d %d %d %d %d: %u\n", n[0], n[1], n[2], n[3], n[4], n[5],
                    api->cudnnSetPooling2dDescriptor(d, 3, 1, n[0], n[1], n[2], n[3], n[4], n[5]));
        }
    fprintf(out, "pooling: set NULL %u\n", api->cudnnSetPooling2dDescriptor(NULL, 3, 1, 3, 3, 0, 0, 2, 2));
    fprintf(out, "pooling: destroy %u\n", api->cudnnDestroyPoolingDescriptor(d));
}

static void pooling_outputs(const anx_cuda_api *api, FILE *out) {
    struct cudnnPoolingStruct *d = NULL;
    struct cudnnTensorStruct *x = NULL;
    int n, c, h, w;
    api->cudnnCreatePoolingDescriptor(&d);
    api->cudnnCreateTensorDescriptor(&x);
    fprintf(out, "pooled: nothing set %u\n", api->cudnnGetPooling2dForwardOutputDim(d, x, &n, &c, &h, &w));
    api->cudnnSetTensor4dDescriptor(x, 0, 0, 2, 64, 55, 56);
    fprintf(out, "pooled: x set %u\n", api->cudnnGetPooling2dForwardOutputDim(d, x, &n, &c, &h, &w));
    static const int sizes[] = {1, 2, 3, 4, 6, 7, 13, 27, 55};
    for (unsigned mode = 0; mode < 4; mode++)
        for (size_t s = 0; s < COUNT(sizes); s++)
            for (int window = 1; window <= 6; window++)
                for (int pad = -1; pad <= 4; pad++)
                    for (int stride = 1; stride <= 3; stride++) {
                        const unsigned set_d =
                            api->cudnnSetPooling2dDescriptor(d, mode, 1, window, window, pad, pad, stride, stride);
                        const unsigned set_x = api->cudnnSetTensor4dDescriptor(x, 0, 0, 2, 5, sizes[s], sizes[s] + 1);
                        n = c = h = w = -7;
                        const unsigned status = api->cudnnGetPooling2dForwardOutputDim(d, x, &n, &c, &h, &w);
                        if (status != 0) n = c = h = w = -7;
                        fprintf(out, "pooled: mode %u size %d window %d pad %d stride %d: %u %u, %u %d %d %d %d\n",
                                mode, sizes[s], window, pad, stride, set_d, set_x, status, n, c, h, w);
                    }
    fprintf(out, "pooled: NULL %u %u\n", api->cudnnGetPooling2dForwardOutputDim(NULL, x, &n, &c, &h, &w),
            api->cudnnGetPooling2dForwardOutputDim(d, NULL, &n, &c, &h, &w));
    api->cudnnDestroyPoolingDescriptor(d);
    api->cudnnDestroyTensorDescriptor(x);
}

/* ---- dropout ------------------------------------------------------------------------------------------------- */

static void dropout(const anx_cuda_api *api, FILE *out) {
    struct cudnnDropoutStruct *d = NULL;
    struct cudnnTensorStruct *x = NULL;
    size_t bytes = 0;
    fprintf(out, "dropout: create %u, of NULL %u, destroy NULL %u\n", api->cudnnCreateDropoutDescriptor(&d),
            api->cudnnCreateDropoutDescriptor(NULL), api->cudnnDestroyDropoutDescriptor(NULL));
    api->cudnnCreateTensorDescriptor(&x);
    static const int sizes[][4] = {{1, 1, 1, 1},    {1, 7, 1, 1},  {1, 8, 1, 1},    {1, 9, 1, 1},
                                   {1, 31, 1, 1},   {1, 32, 1, 1}, {1, 33, 1, 1},   {2, 9216, 1, 1},
                                   {3, 4096, 1, 1}, {2, 5, 7, 11}, {2, 64, 56, 55}, {1, 1, 1, 1000003}};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        api->cudnnSetTensor4dDescriptor(x, 0, 0, sizes[i][0], sizes[i][1], sizes[i][2], sizes[i][3]);
        const unsigned status = api->cudnnDropoutGetReserveSpaceSize(x, &bytes);
        fprintf(out, "dropout: reserve %zu: %u, %zu\n", i, status, bytes);
    }
    api->cudnnSetTensor4dDescriptorEx(x, 0, 2, 3, 5, 4, 120, 20, 4, 1);
    const unsigned status = api->cudnnDropoutGetReserveSpaceSize(x, &bytes);
    fprintf(out, "dropout: reserve, strided: %u, %zu\n", status, bytes);
    fprintf(out, "dropout: destroy %u\n", api->cudnnDestroyDropoutDescriptor(d));
    api->cudnnDestroyTensorDescriptor(x);
}

/* ---- everything else that needs no device -------------------------------------------------------------------- */

static void without_device(const anx_cuda_api *api, FILE *out) {
    int i = -7;
    size_t a = 7, b = 7;
    void *p = (void *)7;
    struct CUstream_st *s = NULL;
    struct CUevent_st *e = NULL;
    float ms;
    static char properties[8192];
    fprintf(out, "cudart: runtime %u", api->cudaRuntimeGetVersion(&i));
    fprintf(out, " %d, of NULL %u; driver", i / 1000, api->cudaRuntimeGetVersion(NULL));
    fprintf(out, " %u", api->cudaDriverGetVersion(&i));
    fprintf(out, " %d, of NULL %u\n", i, api->cudaDriverGetVersion(NULL));
    i = -7;
    fprintf(out, "cudart: count %u", api->cudaGetDeviceCount(&i));
    fprintf(out, " %d, of NULL %u\n", i, api->cudaGetDeviceCount(NULL));
    fprintf(out, "cudart: last %u %u\n", api->cudaGetLastError(), api->cudaGetLastError());
    fprintf(out, "cudart: device %u %u %u\n", api->cudaSetDevice(0), api->cudaSetDevice(-1), api->cudaSetDevice(5));
    fprintf(out, "cudart: attribute %u, NULL %u\n", api->cudaDeviceGetAttribute(&i, 75, 0),
            api->cudaDeviceGetAttribute(NULL, 75, 0));
    fprintf(out, "cudart: properties %u, memory %u\n",
            api->cudaGetDeviceProperties((struct cudaDeviceProp *)properties, 0), api->cudaMemGetInfo(&a, &b));
    fprintf(out, "cudart: malloc %u, of NULL %u, of 0 %u\n", api->cudaMalloc(&p, 16), api->cudaMalloc(NULL, 16),
            api->cudaMalloc(&p, 0));
    fprintf(out, "cudart: pinned %u, of NULL %u, flags %u\n", api->cudaHostAlloc(&p, 16, 0),
            api->cudaHostAlloc(NULL, 16, 0), api->cudaHostAlloc(&p, 16, 99));
    fprintf(out, "cudart: free NULL %u %u\n", api->cudaFree(NULL), api->cudaFreeHost(NULL));
    fprintf(out, "cudart: stream %u, NULL %u, flags %u\n", api->cudaStreamCreateWithFlags(&s, 1),
            api->cudaStreamCreateWithFlags(NULL, 1), api->cudaStreamCreateWithFlags(&s, 99));
    fprintf(out, "cudart: event %u, NULL %u, flags %u\n", api->cudaEventCreateWithFlags(&e, 2),
            api->cudaEventCreateWithFlags(NULL, 2), api->cudaEventCreateWithFlags(&e, 99));
    fprintf(out, "cudart: NULLs %u %u %u %u\n", api->cudaStreamDestroy(NULL), api->cudaStreamSynchronize(NULL),
            api->cudaEventDestroy(NULL), api->cudaEventSynchronize(NULL));
    fprintf(out, "cudart: NULLs %u %u %u\n", api->cudaEventRecord(NULL, NULL), api->cudaStreamWaitEvent(NULL, NULL, 0),
            api->cudaEventElapsedTime(&ms, NULL, NULL));
    fprintf(out, "cudart: copies %u %u %u\n", api->cudaMemcpyAsync(&i, &i, 0, 1, NULL),
            api->cudaMemcpyAsync(&i, &i, 4, 99, NULL), api->cudaMemsetAsync(NULL, 0, 0, NULL));
    fprintf(out, "cudart: last %u %u\n", api->cudaGetLastError(), api->cudaGetLastError());
    static const unsigned codes[] = {0,   1,   2,   3,   21,  34,  35,  46,  100,   101,
                                     214, 400, 600, 700, 702, 719, 803, 999, 424242};
    for (size_t k = 0; k < COUNT(codes); k++)
        fprintf(out, "cudart: %u is %s\n", codes[k], api->cudaGetErrorName(codes[k]));
}

static void cublas(const anx_cuda_api *api, FILE *out) {
    int i = -7;
    float one = 1.0f;
    struct cublasContext *h = (struct cublasContext *)7;
    fprintf(out, "cublas: create %u, %d, NULL %u, destroy NULL %u\n", api->cublasCreate_v2(&h),
            h == (struct cublasContext *)7, api->cublasCreate_v2(NULL), api->cublasDestroy_v2(NULL));
    for (unsigned t = 0; t < 5; t++) {
        const unsigned status = api->cublasGetProperty(t, &i);
        fprintf(out, "cublas: property %u: %u %d, NULL %u\n", t, status, t == 0 ? i : 0,
                api->cublasGetProperty(t, NULL));
    }
    fprintf(out, "cublas: NULL handle %u %u %u %u\n", api->cublasSetStream_v2(NULL, NULL),
            api->cublasSetWorkspace_v2(NULL, NULL, 0), api->cublasSetMathMode(NULL, 0),
            api->cublasSetAtomicsMode(NULL, 0));
    fprintf(out, "cublas: NULL handle %u %u %u %u %u\n",
            api->cublasSgemm_v2(NULL, 0, 0, 1, 1, 1, &one, NULL, 1, NULL, 1, &one, NULL, 1),
            api->cublasSaxpy_v2(NULL, 1, &one, NULL, 1, NULL, 1), api->cublasSscal_v2(NULL, 1, &one, NULL, 1),
            api->cublasSdgmm(NULL, 0, 1, 1, NULL, 1, NULL, 1, NULL, 1),
            api->cublasSgeam(NULL, 0, 0, 1, 1, &one, NULL, 1, &one, NULL, 1, NULL, 1));
    static const unsigned codes[] = {0, 1, 3, 7, 8, 11, 13, 14, 15, 16, 424242};
    for (size_t k = 0; k < COUNT(codes); k++)
        fprintf(out, "cublas: %u is %s\n", codes[k], api->cublasGetStatusName(codes[k]));
}

/* Each attribute that the double knows, of each size. */
static void lt_attributes(const anx_cuda_api *api, FILE *out, anx_lt_matmul d, anx_lt_preference p) {
    static const char value[16] = {0};
    for (unsigned attr = 0; attr < 15; attr++)
        for (size_t bytes = 0; bytes <= 16; bytes++)
            fprintf(out, "cublasLt: operation's attribute %u of %zu bytes: %u\n", attr, bytes,
                    api->cublasLtMatmulDescSetAttribute(d, attr, value, bytes));
    for (unsigned attr = 0; attr < 13; attr++)
        for (size_t bytes = 0; bytes <= 16; bytes++)
            fprintf(out, "cublasLt: preference %u of %zu bytes: %u\n", attr, bytes,
                    api->cublasLtMatmulPreferenceSetAttribute(p, attr, value, bytes));
    fprintf(out, "cublasLt: attribute NULL %u %u, far away %u %u, of NULL %u %u\n",
            api->cublasLtMatmulDescSetAttribute(d, 3, NULL, 4),
            api->cublasLtMatmulPreferenceSetAttribute(p, 1, NULL, 8),
            api->cublasLtMatmulDescSetAttribute(d, 99, value, 4),
            api->cublasLtMatmulPreferenceSetAttribute(p, 99, value, 4),
            api->cublasLtMatmulDescSetAttribute(NULL, 3, value, 4),
            api->cublasLtMatmulPreferenceSetAttribute(NULL, 1, value, 8));
    static const int32_t values[] = {INT_MIN, -1, 0, 1, 2, 3, 4, 7, 69, 1000, INT_MAX};
    for (size_t v = 0; v < COUNT(values); v++) {
        fprintf(out, "cublasLt: value %d:", values[v]);
        for (unsigned attr = 3; attr < 8; attr++)
            fprintf(out, " %u", api->cublasLtMatmulDescSetAttribute(d, attr, &values[v], sizeof values[v]));
        for (unsigned attr = 5; attr < 9; attr++)
            fprintf(out, " %u", api->cublasLtMatmulPreferenceSetAttribute(p, attr, &values[v], sizeof values[v]));
        fprintf(out, " %u\n", api->cublasLtMatmulPreferenceSetAttribute(p, 3, &values[v], sizeof values[v]));
    }
}

static void lt_layouts(const anx_cuda_api *api, FILE *out) {
    static const int64_t extents[][3] = {
        {4, 4, 4},  {0, 4, 4},  {4, 0, 4},         {4, 4, 0},         {4, 4, 3},
        {4, 4, -1}, {-1, 4, 4}, {INT64_MIN, 1, 1}, {4, 4, INT64_MAX}, {1ll << 40, 4, 1ll << 40}};
    anx_lt_layout d = NULL;
    fprintf(out, "cublasLt: layout NULL %u, destroy NULL %u\n", api->cublasLtMatrixLayoutCreate(NULL, 0, 4, 4, 4),
            api->cublasLtMatrixLayoutDestroy(NULL));
    for (unsigned type = 0; type < 40; type++) {
        const unsigned status = api->cublasLtMatrixLayoutCreate(&d, type, 4, 4, 4);
        fprintf(out, "cublasLt: layout of type %u: %u %u\n", type, status, api->cublasLtMatrixLayoutDestroy(d));
    }
    for (size_t i = 0; i < COUNT(extents); i++) {
        const unsigned status =
            api->cublasLtMatrixLayoutCreate(&d, 0, (uint64_t)extents[i][0], (uint64_t)extents[i][1], extents[i][2]);
        fprintf(out, "cublasLt: layout %zu: %u %u\n", i, status, api->cublasLtMatrixLayoutDestroy(d));
    }
}

static void cublas_lt(const anx_cuda_api *api, FILE *out) {
    const float one = 1.0f;
    int n = -7, major = 0;
    struct cublasLtContext *h = (struct cublasLtContext *)7;
    anx_lt_matmul d = NULL;
    anx_lt_layout l = NULL;
    anx_lt_preference p = NULL;
    anx_lt_choice choice;
    fprintf(out, "cublasLt: create %u, %d, NULL %u, destroy NULL %u\n", api->cublasLtCreate(&h),
            h == (struct cublasLtContext *)7, api->cublasLtCreate(NULL), api->cublasLtDestroy(NULL));
    for (unsigned t = 0; t < 5; t++) {
        const unsigned status = api->cublasLtGetProperty(t, &major);
        fprintf(out, "cublasLt: property %u: %u %d, NULL %u\n", t, status, t == 0 ? major : 0,
                api->cublasLtGetProperty(t, NULL));
    }
    fprintf(out, "cublasLt: operation NULL %u, destroy NULL %u; preference NULL %u, destroy NULL %u\n",
            api->cublasLtMatmulDescCreate(NULL, 69, 0), api->cublasLtMatmulDescDestroy(NULL),
            api->cublasLtMatmulPreferenceCreate(NULL), api->cublasLtMatmulPreferenceDestroy(NULL));
    for (unsigned compute = 60; compute < 84; compute++)
        for (unsigned scale = 0; scale < 16; scale++) {
            const unsigned status = api->cublasLtMatmulDescCreate(&d, compute, scale);
            fprintf(out, "cublasLt: operation in %u, %u: %u %u\n", compute, scale, status,
                    api->cublasLtMatmulDescDestroy(d));
        }
    lt_layouts(api, out);
    fprintf(out, "cublasLt: create %u", api->cublasLtMatmulDescCreate(&d, 69, 0));
    fprintf(out, " %u", api->cublasLtMatrixLayoutCreate(&l, 0, 1, 1, 1));
    fprintf(out, " %u\n", api->cublasLtMatmulPreferenceCreate(&p));
    lt_attributes(api, out, d, p);
    fprintf(out, "cublasLt: NULL handle %u",
            api->cublasLtMatmulAlgoGetHeuristic(NULL, d, l, l, l, l, p, 1, &choice, &n));
    fprintf(out, " %d %u\n", n,
            api->cublasLtMatmul(NULL, d, &one, &one, l, &one, l, &one, &one, l, NULL, l, NULL, NULL, 0, NULL));
    fprintf(out, "cublasLt: destroy %u", api->cublasLtMatmulDescDestroy(d));
    fprintf(out, " %u", api->cublasLtMatrixLayoutDestroy(l));
    fprintf(out, " %u\n", api->cublasLtMatmulPreferenceDestroy(p));
}

static void cudnn(const anx_cuda_api *api, FILE *out) {
    struct cudnnContext *h = (struct cudnnContext *)7;
    char message[256] = "";
    const size_t version = api->cudnnGetVersion();
    fprintf(out, "cudnn: version %zu for CUDA %zu\n", version >= 90000 ? version / 10000 : version / 1000,
            api->cudnnGetCudartVersion() / 1000);
    fprintf(out, "cudnn: create %u", api->cudnnCreate(&h));
    fprintf(out, ", %s\n", h == NULL ? "NULL" : "something");
    if (api->cudnnGetLastErrorString != NULL) {
        api->cudnnGetLastErrorString(message, sizeof message);
        fprintf(out, "cudnn: message: %s\n", message);
        fprintf(out, "cudnn: checks %u %u\n", api->cudnnOpsVersionCheck(), api->cudnnCnnVersionCheck());
    } else {
        fprintf(out, "cudnn: checks %u %u %u %u\n", api->cudnnOpsInferVersionCheck(), api->cudnnOpsTrainVersionCheck(),
                api->cudnnCnnInferVersionCheck(), api->cudnnCnnTrainVersionCheck());
    }
    fprintf(out, "cudnn: create NULL %u\n", api->cudnnCreate(NULL));
    static const unsigned codes[] = {0,    1,    2,    3,    4,    8,    9,    14,   1000, 1001,  1002,
                                     1007, 2000, 2001, 2002, 2003, 2004, 2005, 2006, 3000, 3001,  3009,
                                     4000, 4001, 4002, 4003, 5000, 5001, 5002, 5003, 5004, 424242};
    for (size_t k = 0; k < COUNT(codes); k++)
        fprintf(out, "cudnn: %u is %s\n", codes[k], api->cudnnGetErrorString(codes[k]));
}

/* Everything that wants a handle, without one. */
static void cudnn_without_handle(const anx_cuda_api *api, FILE *out) {
    const float one = 1.0f;
    float p[4] = {0};
    size_t bytes = 0;
    struct cudnnTensorStruct *x = NULL;
    struct cudnnFilterStruct *w = NULL;
    struct cudnnConvolutionStruct *c = NULL;
    struct cudnnActivationStruct *a = NULL;
    struct cudnnPoolingStruct *pool = NULL;
    struct cudnnDropoutStruct *d = NULL;
    api->cudnnCreateTensorDescriptor(&x);
    api->cudnnCreateFilterDescriptor(&w);
    api->cudnnCreateConvolutionDescriptor(&c);
    api->cudnnCreateActivationDescriptor(&a);
    api->cudnnCreatePoolingDescriptor(&pool);
    api->cudnnCreateDropoutDescriptor(&d);
    api->cudnnSetTensor4dDescriptor(x, 0, 0, 1, 1, 1, 1);
    api->cudnnSetFilter4dDescriptor(w, 0, 0, 1, 1, 1, 1);
    api->cudnnSetConvolution2dDescriptor(c, 0, 0, 1, 1, 1, 1, 1, 0);
    api->cudnnSetActivationDescriptor(a, 1, 1, 0.0);
    api->cudnnSetPooling2dDescriptor(pool, 3, 1, 1, 1, 0, 0, 1, 1);
    fprintf(out, "no handle: destroy %u, stream %u\n", api->cudnnDestroy(NULL), api->cudnnSetStream(NULL, NULL));
    fprintf(out, "no handle: workspaces %u %u %u\n",
            api->cudnnGetConvolutionForwardWorkspaceSize(NULL, x, w, c, x, 1, &bytes),
            api->cudnnGetConvolutionBackwardDataWorkspaceSize(NULL, w, x, c, x, 1, &bytes),
            api->cudnnGetConvolutionBackwardFilterWorkspaceSize(NULL, x, x, c, w, 1, &bytes));
    fprintf(out, "no handle: convolutions %u %u %u %u\n",
            api->cudnnConvolutionForward(NULL, &one, x, p, w, p, c, 1, NULL, 0, &one, x, p),
            api->cudnnConvolutionBackwardData(NULL, &one, w, p, x, p, c, 1, NULL, 0, &one, x, p),
            api->cudnnConvolutionBackwardFilter(NULL, &one, x, p, x, p, c, 1, NULL, 0, &one, w, p),
            api->cudnnConvolutionBackwardBias(NULL, &one, x, p, &one, x, p));
    fprintf(
        out, "no handle: fused %u\n",
        api->cudnnConvolutionBiasActivationForward(NULL, &one, x, p, w, p, c, 1, NULL, 0, &one, x, p, x, p, a, x, p));
    fprintf(out, "no handle: sums %u %u\n", api->cudnnAddTensor(NULL, &one, x, p, &one, x, p),
            api->cudnnTransformTensor(NULL, &one, x, p, &one, x, p));
    fprintf(out, "no handle: activations %u %u\n", api->cudnnActivationForward(NULL, a, &one, x, p, &one, x, p),
            api->cudnnActivationBackward(NULL, a, &one, x, p, x, p, x, p, &one, x, p));
    fprintf(out, "no handle: pooling %u %u\n", api->cudnnPoolingForward(NULL, pool, &one, x, p, &one, x, p),
            api->cudnnPoolingBackward(NULL, pool, &one, x, p, x, p, x, p, &one, x, p));
    fprintf(out, "no handle: softmax %u %u\n", api->cudnnSoftmaxForward(NULL, 1, 0, &one, x, p, &one, x, p),
            api->cudnnSoftmaxBackward(NULL, 1, 0, &one, x, p, x, p, &one, x, p));
    fprintf(out, "no handle: dropout %u %u %u\n", api->cudnnDropoutGetStatesSize(NULL, &bytes),
            api->cudnnSetDropoutDescriptor(d, NULL, 0.5f, NULL, 0, 1),
            api->cudnnDropoutForward(NULL, d, x, p, x, p, p, 4));
    api->cudnnDestroyTensorDescriptor(x);
    api->cudnnDestroyFilterDescriptor(w);
    api->cudnnDestroyConvolutionDescriptor(c);
    api->cudnnDestroyActivationDescriptor(a);
    api->cudnnDestroyPoolingDescriptor(pool);
    api->cudnnDestroyDropoutDescriptor(d);
}

typedef void part(const anx_cuda_api *api, FILE *out);

void calibration_run(const anx_cuda_api *api, FILE *out) {
    static part *const parts[] = {tensors,
                                  filters,
                                  convolution_settings,
                                  convolution_outputs,
                                  convolution_nulls,
                                  activations,
                                  pooling_settings,
                                  pooling_outputs,
                                  dropout,
                                  without_device,
                                  cublas,
                                  cublas_lt,
                                  cudnn,
                                  cudnn_without_handle};
    for (size_t i = 0; i < COUNT(parts); i++) {
        parts[i](api, out);
        fflush(out);
    }
}
