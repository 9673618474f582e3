/* What the environment asks of the double, statuses that the real libraries report, and work that comes late. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fakecuda/kit.h"
#include "tests/support/anx_test.h"

static void check_in(program *p, const char *generation, const char *const *environment, int status, int line) {
    const outcome o = kit_run(p, generation, environment);
    if (o.status != status) fprintf(stderr, "line %d: exit status %d, not %d: %s\n", line, o.status, status, o.text);
    CU_ASSERT_EQUAL(o.status, status);
}

/* Under variables, given as NAME, VALUE... */
#define CHECK(program, status, ...)                                                                                    \
    do {                                                                                                               \
        static const char *const environment[] = {__VA_ARGS__, NULL};                                                  \
        check_in(program, "13-9", environment, status, __LINE__);                                                      \
    } while (0)

enum { MUST_FAILED = 3, MISUSE = 86 };

/* ---- work comes late ----------------------------------------------------------------------------------------- */

static int pinned_copies_wait(const anx_cuda_api *api) {
    kit k;
    kit_init(&k, api);
    float *pinned = NULL, *p = kit_floats(&k, 1);
    MUST(api->cudaHostAlloc((void **)&pinned, 8, 0));
    pinned[0] = 1.0f;
    pinned[1] = 7.0f;
    MUST(api->cudaMemcpyAsync(p, &pinned[0], 4, ANX_CU_HOST_TO_DEVICE, k.stream));
    pinned[0] = 2.0f; /* too early */
    MUST(api->cudaMemcpyAsync(&pinned[1], p, 4, ANX_CU_DEVICE_TO_HOST, k.stream));
    EXPECT(pinned[1] == 7.0f);
    MUST(api->cudaStreamSynchronize(k.stream));
    EXPECT(pinned[1] == 2.0f);
    MUST(api->cudaFreeHost(pinned));
    kit_fini(&k);
    return 0;
}

static int pinned_memory_filled_after_it_was_sent(const anx_cuda_api *api) {
    kit k;
    kit_init(&k, api);
    float *pinned = NULL, *p = kit_floats(&k, 1);
    MUST(api->cudaHostAlloc((void **)&pinned, 8, 0));
    pinned[0] = 1.0f;
    MUST(api->cudaMemcpyAsync(p, &pinned[0], 4, ANX_CU_HOST_TO_DEVICE, k.stream));
    pinned[0] = 2.0f; /* too late */
    MUST(api->cudaMemcpyAsync(&pinned[1], p, 4, ANX_CU_DEVICE_TO_HOST, k.stream));
    MUST(api->cudaStreamSynchronize(k.stream));
    EXPECT(pinned[1] == 1.0f);
    MUST(api->cudaFreeHost(pinned));
    kit_fini(&k);
    return 0;
}

/* What ran early is unfinished all the same. */
static int race_of_early_work(const anx_cuda_api *api) {
    kit k;
    kit_init(&k, api);
    struct CUstream_st *other = NULL;
    float *p = kit_floats(&k, 4);
    MUST(api->cudaStreamCreateWithFlags(&other, ANX_CU_STREAM_NON_BLOCKING));
    MUST(api->cudaMemsetAsync(p, 0, 16, k.stream));
    MUST(api->cudaMemsetAsync(p, 1, 16, other));
    return 0;
}

static int pageable_copies(const anx_cuda_api *api, bool late) {
    kit k;
    kit_init(&k, api);
    float from = 1.0f, to = 7.0f, *p = kit_floats(&k, 1);
    MUST(api->cudaMemcpyAsync(p, &from, 4, ANX_CU_HOST_TO_DEVICE, k.stream));
    from = 2.0f;
    MUST(api->cudaMemcpyAsync(&to, p, 4, ANX_CU_DEVICE_TO_HOST, k.stream));
    EXPECT(to == (late ? 7.0f : 1.0f));
    MUST(api->cudaStreamSynchronize(k.stream));
    EXPECT(to == (late ? 2.0f : 1.0f));
    kit_fini(&k);
    return 0;
}

static int pageable_copies_early(const anx_cuda_api *api) {
    return pageable_copies(api, false);
}

static int pageable_copies_late(const anx_cuda_api *api) {
    return pageable_copies(api, true);
}

static int pageable_copies_mixed(const anx_cuda_api *api) {
    kit k;
    kit_init(&k, api);
    float *p = kit_floats(&k, 1);
    int early_up = 0, early_down = 0;
    for (int i = 0; i < 100; i++) {
        float from = 1.0f, to = 7.0f;
        MUST(api->cudaMemcpyAsync(p, &from, 4, ANX_CU_HOST_TO_DEVICE, k.stream));
        from = 2.0f;
        MUST(api->cudaMemcpyAsync(&to, p, 4, ANX_CU_DEVICE_TO_HOST, k.stream));
        early_down += to != 7.0f;
        MUST(api->cudaStreamSynchronize(k.stream));
        EXPECT(to == 1.0f || to == 2.0f);
        early_up += to == 1.0f;
    }
    EXPECT(early_up > 30 && early_up < 70);
    EXPECT(early_down > 30 && early_down < 70);
    kit_fini(&k);
    return 0;
}

static int events_tell_time(const anx_cuda_api *api) {
    kit k;
    kit_init(&k, api);
    struct CUevent_st *a = NULL, *b = NULL, *untimed = NULL;
    float ms = -1.0f, *p = kit_floats(&k, 4);
    MUST(api->cudaEventCreateWithFlags(&a, ANX_CU_EVENT_DEFAULT));
    MUST(api->cudaEventCreateWithFlags(&b, ANX_CU_EVENT_DEFAULT));
    MUST(api->cudaEventCreateWithFlags(&untimed, ANX_CU_EVENT_NO_TIMING));
    MUST(api->cudaEventRecord(a, k.stream));
    EXPECT(api->cudaEventElapsedTime(&ms, a, b) == 400);
    MUST(api->cudaMemsetAsync(p, 0, 16, k.stream));
    MUST(api->cudaEventRecord(b, k.stream));
    MUST(api->cudaEventRecord(untimed, k.stream));
    EXPECT(api->cudaEventElapsedTime(&ms, a, b) == 600);
    MUST(api->cudaEventSynchronize(b));
    MUST(api->cudaEventElapsedTime(&ms, a, b));
    EXPECT(ms >= 0.0f && ms < 10000.0f);
    EXPECT(api->cudaEventElapsedTime(&ms, a, untimed) == 400);
    EXPECT(api->cudaGetLastError() == 400);
    EXPECT(api->cudaGetLastError() == 0);
    MUST(api->cudaEventDestroy(a));
    MUST(api->cudaEventDestroy(b));
    MUST(api->cudaEventDestroy(untimed));
    kit_fini(&k);
    return 0;
}

static void test_work_comes_late(void) {
    CHECK(pinned_copies_wait, 0, NULL);
    CHECK(pageable_copies_early, 0, NULL);
    CHECK(pageable_copies_early, 0, "FAKECUDA_PAGEABLE", "early");
    CHECK(pageable_copies_late, 0, "FAKECUDA_PAGEABLE", "late");
    CHECK(pageable_copies_mixed, 0, "FAKECUDA_PAGEABLE", "mixed");
    CHECK(events_tell_time, MISUSE, "FAKECUDA_PAGEABLE", "later");
    CHECK(pinned_memory_filled_after_it_was_sent, 0, "FAKECUDA_WORK", "early");
    CHECK(race_of_early_work, MISUSE, "FAKECUDA_WORK", "early");
    CHECK(events_tell_time, 0, NULL);
    CHECK(events_tell_time, 0, "FAKECUDA_WORK", "early");
}

/* ---- devices ------------------------------------------------------------------------------------------------- */

static unsigned expected_count;

/* Nothing that needs a device works, and nothing is given out. */
static int no_device(const anx_cuda_api *api) {
    int count = -7, version = -7;
    void *p = &count;
    struct cublasContext *blas = (struct cublasContext *)&count;
    struct cudnnContext *dnn = (struct cudnnContext *)&count;
    EXPECT(api->cudaGetDeviceCount(&count) == expected_count && count == -7);
    EXPECT(api->cudaGetLastError() == expected_count && api->cudaGetLastError() == expected_count);
    EXPECT(api->cudaSetDevice(0) == expected_count);
    EXPECT(api->cudaMalloc(&p, 4) == expected_count && p == &count);
    EXPECT(api->cudaFree(NULL) == expected_count);
    EXPECT(api->cublasCreate_v2(&blas) == 1 && blas == (struct cublasContext *)&count);
    EXPECT(api->cudnnCreate(&dnn) == 1001 && dnn == NULL);
    MUST(api->cudaRuntimeGetVersion(&version));
    EXPECT(version == 13000);
    return 0;
}

static int old_driver(const anx_cuda_api *api) {
    int version = 0;
    MUST(api->cudaDriverGetVersion(&version));
    EXPECT(version == 12040);
    return no_device(api);
}

static int three_devices(const anx_cuda_api *api) {
    int count = 0, value = 0;
    size_t free_bytes = 0, total = 0;
    void *p = NULL, *q = NULL;
    MUST(api->cudaGetDeviceCount(&count));
    EXPECT(count == 3);
    EXPECT(api->cudaSetDevice(3) == 101 && api->cudaSetDevice(-1) == 101);
    MUST(api->cudaSetDevice(2));
    MUST(api->cudaMalloc(&p, 40000));
    EXPECT(api->cudaMalloc(&q, 40000) == 2);
    EXPECT(api->cudaGetLastError() == 2 && api->cudaGetLastError() == 0);
    MUST(api->cudaMemGetInfo(&free_bytes, &total));
    EXPECT(total == 65536 && free_bytes == 65536 - 40960);
    MUST(api->cudaSetDevice(1));
    MUST(api->cudaMalloc(&q, 40000));
    MUST(api->cudaFree(q));
    MUST(api->cudaMalloc(&q, 40000));
    MUST(api->cudaFree(q));
    MUST(api->cudaSetDevice(2));
    MUST(api->cudaFree(p));
    MUST(api->cudaDeviceGetAttribute(&value, ANX_CU_CAPABILITY_MAJOR, 0));
    EXPECT(value == 7);
    MUST(api->cudaDeviceGetAttribute(&value, ANX_CU_CAPABILITY_MINOR, 0));
    EXPECT(value == 5);
    char properties[8192];
    memset(properties, 0x55, sizeof properties);
    MUST(api->cudaGetDeviceProperties((struct cudaDeviceProp *)(void *)properties, 0));
    EXPECT(strlen(properties) > 0 && strlen(properties) < 256 && properties[1008] == 0x55);
    return 0;
}

static void test_devices(void) {
    expected_count = 100;
    CHECK(no_device, 0, "FAKECUDA_DEVICES", "0");
    expected_count = 35;
    CHECK(no_device, 0, "FAKECUDA_DRIVER", "0");
    CHECK(old_driver, 0, "FAKECUDA_DRIVER", "12040");
    expected_count = 803;
    CHECK(no_device, 0, "FAKECUDA_COUNT_ERROR", "803");
    CHECK(three_devices, 0, "FAKECUDA_DEVICES", "3", "FAKECUDA_MEM", "65536", "FAKECUDA_CAPABILITY", "7.5");
}

/* ---- failures on request ------------------------------------------------------------------------------------- */

static int second_malloc_fails(const anx_cuda_api *api) {
    void *p = NULL, *q = NULL;
    MUST(api->cudaMalloc(&p, 4));
    EXPECT(api->cudaMalloc(&q, 4) == 2 && q == NULL);
    EXPECT(api->cudaGetLastError() == 2);
    MUST(api->cudaMalloc(&q, 4));
    MUST(api->cudaFree(p));
    MUST(api->cudaFree(q));
    return 0;
}

static int third_call_fails(const anx_cuda_api *api) {
    int count = 0;
    struct cublasContext *blas = NULL;
    MUST(api->cudaGetDeviceCount(&count));
    MUST(api->cudaSetDevice(0));
    EXPECT(api->cublasCreate_v2(&blas) == 3 && blas == NULL);
    MUST(api->cublasCreate_v2(&blas));
    MUST(api->cublasDestroy_v2(blas));
    return 0;
}

static int create_answers(const anx_cuda_api *api) {
    struct cudnnContext *dnn = NULL;
    EXPECT(api->cudnnCreate(&dnn) == 3009);
    MUST(api->cudnnCreate(&dnn));
    EXPECT(api->cudnnDestroy(dnn) == 5001); /* gone nevertheless */
    return 0;
}

static int second_allocation_fails(const anx_cuda_api *api) {
    void *p = NULL, *q = NULL;
    MUST(api->cudaMalloc(&p, 4));
    EXPECT(api->cudaHostAlloc(&q, 4, 0) == 2);
    MUST(api->cudaFree(p));
    return 0;
}

static int work_fails_late(const anx_cuda_api *api) {
    kit k;
    struct cudnnTensorStruct *d = NULL;
    void *q = NULL;
    kit_init(&k, api);
    float *p = kit_floats(&k, 4);
    MUST(api->cudaMemsetAsync(p, 0, 16, k.stream));
    MUST(api->cudaMemsetAsync(p, 0, 16, k.stream));
    MUST(api->cublasSscal_v2(k.blas, 4, &kit_one, p, 1));
    EXPECT(api->cudaStreamSynchronize(k.stream) == 700);
    EXPECT(api->cudaStreamSynchronize(k.stream) == 700);
    EXPECT(api->cudaMalloc(&q, 4) == 700);
    EXPECT(api->cublasSscal_v2(k.blas, 4, &kit_one, p, 1) == 13);
    EXPECT(api->cudnnSoftmaxForward(k.dnn, 1, 0, &kit_one, kit_tensor(&k, 1, 4, 1, 1), p, &kit_zero,
                                    kit_tensor(&k, 1, 4, 1, 1), p) == 5000);
    EXPECT(api->cudaGetLastError() == 700 && api->cudaGetLastError() == 700);
    MUST(api->cudnnCreateTensorDescriptor(&d));
    MUST(api->cudnnDestroyTensorDescriptor(d));
    EXPECT(api->cudaFree(p) == 700);
    k.n_memory--;
    kit_fini(&k);
    return 0;
}

static void test_failures_on_request(void) {
    CHECK(second_malloc_fails, 0, "FAKECUDA_FAIL", "cudaMalloc:2");
    CHECK(third_call_fails, 0, "FAKECUDA_FAIL", "3");
    CHECK(create_answers, 0, "FAKECUDA_FAIL", "cudnnCreate:1=3009,cudnnDestroy:1=5001");
    CHECK(second_allocation_fails, 0, "FAKECUDA_ALLOC_FAIL", "2");
    CHECK(work_fails_late, 0, "FAKECUDA_ASYNC", "2=700");
    CHECK(no_device, MISUSE, "FAKECUDA_FAIL", "cudaMalloc:x");
    CHECK(no_device, MISUSE, "FAKECUDA_DEVICES", "many");
}

/* ---- algorithms that are refused ----------------------------------------------------------------------------- */

static unsigned forward_status(kit *k, unsigned algo, unsigned nan, bool fused) {
    struct cudnnTensorStruct *x = kit_tensor(k, 1, 1, 8, 8), *bias = kit_tensor(k, 1, 1, 1, 1);
    struct cudnnFilterStruct *w = kit_filter(k, 1, 1, 3, 3);
    struct cudnnConvolutionStruct *c = kit_convolution(k, 1, 1, 1, 1);
    struct cudnnActivationStruct *relu = kit_activation(k, ANX_CU_RELU, nan);
    static const float values[64] = {1};
    float *p = kit_upload(k, values, 64), *q = kit_upload(k, values, 64), *workspace = kit_floats(k, 4096);
    size_t need = 0;
    const unsigned query = k->api->cudnnGetConvolutionForwardWorkspaceSize(k->dnn, x, w, c, x, algo, &need);
    const unsigned run = fused ? k->api->cudnnConvolutionBiasActivationForward(
                                     k->dnn, &kit_one, x, p, w, q, c, algo, workspace, 16384, &kit_zero, x,
                                     workspace + 4000, bias, q, relu, x, kit_floats(k, 64))
                               : k->api->cudnnConvolutionForward(k->dnn, &kit_one, x, p, w, q, c, algo, workspace,
                                                                 16384, &kit_zero, x, kit_floats(k, 64));
    EXPECT(fused || query == run);
    return run;
}

static int refuses_one(const anx_cuda_api *api) {
    kit k;
    kit_init(&k, api);
    EXPECT(forward_status(&k, 0, 1, false) == 0);
    EXPECT(forward_status(&k, 1, 1, false) == 3000);
    EXPECT(forward_status(&k, 0, 1, true) == 3000);
    EXPECT(forward_status(&k, 0, 0, true) == 0);
    EXPECT(forward_status(&k, 3, 0, false) == 3000); /* no library has it */
    EXPECT(forward_status(&k, 6, 0, false) == 3000); /* gone since compute capability 9 */
    EXPECT(forward_status(&k, 99, 0, false) == 2000);
    kit_fini(&k);
    return 0;
}

static int refuses_the_fused_call(const anx_cuda_api *api) {
    kit k;
    kit_init(&k, api);
    EXPECT(forward_status(&k, 1, 1, false) == 0);
    EXPECT(forward_status(&k, 1, 0, true) == 3000);
    EXPECT(forward_status(&k, 6, 0, false) == 0);
    kit_fini(&k);
    return 0;
}

static void test_algorithms_are_refused(void) {
    CHECK(refuses_one, 0, "FAKECUDA_REFUSE", "fused-propagate,forward:1");
    CHECK(refuses_the_fused_call, 0, "FAKECUDA_REFUSE", "data:1,fused", "FAKECUDA_CAPABILITY", "8.6");
}

/* ---- statuses ------------------------------------------------------------------------------------------------ */

static int statuses(const anx_cuda_api *api, unsigned bad, unsigned unsupported) {
    kit k;
    kit_init(&k, api);
    static const float values[256] = {1};
    float *p = kit_upload(&k, values, 256), *q = kit_floats(&k, 256), *ws = kit_floats(&k, 4096);
    struct cudnnTensorStruct *x = kit_tensor(&k, 1, 4, 4, 4), *smaller = kit_tensor(&k, 1, 4, 3, 4), *unset = NULL;
    struct cudnnFilterStruct *w = kit_filter(&k, 4, 4, 1, 1), *uneven = kit_filter(&k, 3, 2, 1, 1);
    struct cudnnConvolutionStruct *c = kit_convolution(&k, 0, 1, 1, 1), *grouped = kit_convolution(&k, 0, 1, 1, 2);
    size_t need = 0;
    MUST(api->cudnnCreateTensorDescriptor(&unset));
    struct cudnnTensorStruct *y3 = kit_tensor(&k, 1, 3, 4, 4);
#define FORWARD(y, w, c, ws, bytes)                                                                                    \
    api->cudnnConvolutionForward(k.dnn, &kit_one, x, p, w, p, c, 1, ws, bytes, &kit_zero, y, q)
    EXPECT(FORWARD(smaller, w, c, ws, 4096) == bad);
    EXPECT(FORWARD(unset, w, c, ws, 4096) == bad);
    EXPECT(FORWARD(y3, uneven, grouped, ws, 4096) == bad);
    EXPECT(FORWARD(x, w, c, NULL, 4096) == bad);
    MUST(api->cudnnGetConvolutionForwardWorkspaceSize(k.dnn, x, w, c, x, 1, &need));
    EXPECT(need > 0 && FORWARD(x, w, c, ws, need - 1) == bad);
    MUST(FORWARD(x, w, c, ws, need));
    EXPECT(api->cudnnAddTensor(k.dnn, &kit_one, smaller, p, &kit_one, x, q) == bad);
    EXPECT(api->cudnnTransformTensor(k.dnn, &kit_one, smaller, p, &kit_zero, x, q) == bad);
    EXPECT(api->cudnnSoftmaxForward(k.dnn, 3, 0, &kit_one, x, p, &kit_zero, x, q) == bad);
    EXPECT(api->cudnnPoolingForward(k.dnn, kit_pooling(&k, 3, 1, 2, 0, 2), &kit_one, x, p, &kit_zero, x, q) == bad);
    MUST(api->cudnnSetTensor4dDescriptor(unset, 0, 2, 1, 4, 4, 4)); /* halves */
    EXPECT(api->cudnnTransformTensor(k.dnn, &kit_one, unset, p, &kit_zero, x, q) == unsupported);
    EXPECT(api->cublasSgemm_v2(k.blas, 0, 0, 4, 4, 4, &kit_one, p, 3, p, 4, &kit_zero, q, 4) == 7);
    EXPECT(api->cublasSgemm_v2(k.blas, 0, 0, -1, 4, 4, &kit_one, p, 4, p, 4, &kit_zero, q, 4) == 7);
    MUST(api->cublasSgemm_v2(k.blas, 0, 0, 0, 4, 4, &kit_one, p, 4, p, 4, &kit_zero, q, 4));
    EXPECT(api->cublasSdgmm(k.blas, 1, 4, 4, p, 3, p, 1, q, 4) == 7);
    EXPECT(api->cublasSetMathMode(k.blas, 99) == 7);
    MUST(api->cudnnDestroyTensorDescriptor(unset));
    kit_fini(&k);
    return 0;
}

static int statuses_of_cudnn_9(const anx_cuda_api *api) {
    return statuses(api, 2000, 3000);
}

static int statuses_of_cudnn_8(const anx_cuda_api *api) {
    return statuses(api, 3, 9);
}

static int expected_runtime, expected_cudnn;

static int versions(const anx_cuda_api *api) {
    int version = 0, major = 0;
    MUST(api->cudaRuntimeGetVersion(&version));
    EXPECT(version / 1000 == expected_runtime);
    MUST(api->cublasGetProperty(0, &major));
    EXPECT(major == expected_runtime);
    EXPECT((int)(api->cudnnGetCudartVersion() / 1000) == expected_runtime);
    const size_t dnn = api->cudnnGetVersion();
    EXPECT((int)(dnn >= 90000 ? dnn / 10000 : dnn / 1000) == expected_cudnn);
    if (api->cudnnOpsVersionCheck != NULL) MUST(api->cudnnOpsVersionCheck());
    if (api->cudnnOpsInferVersionCheck != NULL) MUST(api->cudnnOpsInferVersionCheck());
    EXPECT((api->cudnnOpsVersionCheck != NULL) == (expected_cudnn == 9));
    EXPECT((api->cudnnOpsInferVersionCheck != NULL) == (expected_cudnn == 8));
    return 0;
}

static void test_statuses_and_versions_of_each_generation(void) {
    static const struct {
        const char *name;
        int runtime, cudnn;
    } generations[] = {{"13-9", 13, 9}, {"12-9", 12, 9}, {"12-8", 12, 8}, {"11-8", 11, 8}};
    for (size_t i = 0; i < sizeof generations / sizeof generations[0]; i++) {
        expected_runtime = generations[i].runtime;
        expected_cudnn = generations[i].cudnn;
        check_in(versions, generations[i].name, NULL, 0, __LINE__);
        check_in(expected_cudnn == 9 ? statuses_of_cudnn_9 : statuses_of_cudnn_8, generations[i].name, NULL, 0,
                 __LINE__);
    }
}

/* ---- precision and cost -------------------------------------------------------------------------------------- */

/* What a product of one element makes of a factor that TF32 cannot hold. */
static bool product_rounds(kit *k, unsigned mode) {
    const float a = 1.0f + 0x1p-12f;
    float out = 0.0f, *p = kit_upload(k, &a, 1), *q = kit_upload(k, &kit_one, 1), *r = kit_floats(k, 1);
    MUST(k->api->cublasSetMathMode(k->blas, mode));
    MUST(k->api->cublasSgemm_v2(k->blas, 0, 0, 1, 1, 1, &kit_one, p, 1, q, 1, &kit_zero, r, 1));
    kit_download(k, &out, r, 1);
    return out != a;
}

static bool expected_default, expected_tf32;

static int rounding(const anx_cuda_api *api) {
    kit k;
    kit_init(&k, api);
    EXPECT(product_rounds(&k, ANX_CU_BLAS_DEFAULT_MATH) == expected_default);
    EXPECT(product_rounds(&k, ANX_CU_BLAS_TF32_MATH) == expected_tf32);
    EXPECT(!product_rounds(&k, ANX_CU_BLAS_PEDANTIC_MATH));
    kit_fini(&k);
    return 0;
}

static void test_the_environment_changes_precision(void) {
    expected_default = false, expected_tf32 = true;
    CHECK(rounding, 0, NULL);
    expected_default = true;
    CHECK(rounding, 0, "CUBLAS_EMULATE_SINGLE_PRECISION", "1");
    expected_default = expected_tf32 = false;
    CHECK(rounding, 0, "NVIDIA_TF32_OVERRIDE", "0");
    CHECK(rounding, 0, "FAKECUDA_CAPABILITY", "7.5");
}

static int computes_nothing(const anx_cuda_api *api) {
    kit k;
    kit_init(&k, api);
    float out[4] = {5}, *p = kit_floats(&k, 4), *pinned = NULL; /* never written: nobody reads it */
    MUST(api->cudaHostAlloc((void **)&pinned, 16, 0));
    pinned[0] = 5.0f;
    MUST(api->cublasSscal_v2(k.blas, 4, &kit_one, p, 1));
    MUST(api->cudaMemcpyAsync(pinned, p, 16, ANX_CU_DEVICE_TO_HOST, k.stream));
    kit_download(&k, out, p, 4);
    EXPECT(out[0] == 5.0f && pinned[0] == 5.0f);
    MUST(api->cudaFreeHost(pinned));
    MUST(api->cublasSscal_v2(k.blas, 5, &kit_one, p, 1)); /* arguments are looked at nevertheless */
    return 0;
}

static void test_without_arithmetic(void) {
    CHECK(computes_nothing, MISUSE, "FAKECUDA_COMPUTE", "off");
}

/* ---- trace --------------------------------------------------------------------------------------------------- */

static int traced(const anx_cuda_api *api) {
    kit k;
    kit_init(&k, api);
    float out[2], *p = kit_floats(&k, 4);
    MUST(api->cudaMemsetAsync(p, 0, 16, k.stream));
    kit_download(&k, out, p + 2, 2);
    kit_tensor(&k, 1, 4, 1, 1);
    kit_fini(&k);
    return 0;
}

static void read_trace(const char *descriptors, char *text, size_t size) {
    char path[] = "/tmp/anx-trace-XXXXXX";
    const int fd = mkstemp(path);
    const char *const environment[] = {"FAKECUDA_TRACE", path, "FAKECUDA_TRACE_DESCRIPTORS", descriptors, NULL};
    check_in(traced, "13-9", environment, 0, __LINE__);
    const ssize_t n = read(fd, text, size - 1);
    text[n > 0 ? n : 0] = '\0';
    close(fd);
    unlink(path);
}

static void test_the_trace_is_the_same_in_each_run(void) {
    static char all[8192], again[8192], work[8192];
    read_trace("1", all, sizeof all);
    read_trace("1", again, sizeof again);
    read_trace("0", work, sizeof work);
    CU_ASSERT_STRING_EQUAL(all, again);
    CU_ASSERT(strstr(all, "cudaMalloc(16)\ncudaMemsetAsync(dev1+0, 0, 16, stream1)\n"
                          "cudaMemcpyAsync(host, dev1+8, 8, 2, stream1)\ncudaStreamSynchronize(stream1)\n"
                          "cudnnCreateTensorDescriptor()\ncudnnSetTensor4dDescriptor(tensor1, 0, 0, 1, 4, 1, 1)\n"
                          "cudaFree(dev1+0)\ncudnnDestroyTensorDescriptor(tensor1)\ncudnnDestroy(dnn1)\n") != NULL);
    CU_ASSERT(strstr(work, "cudaStreamSynchronize(stream1)\ncudaFree(dev1+0)\ncudnnDestroy(dnn1)\n") != NULL);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"work comes late", test_work_comes_late},
        {"devices", test_devices},
        {"failures on request", test_failures_on_request},
        {"algorithms are refused", test_algorithms_are_refused},
        {"statuses and versions of each generation", test_statuses_and_versions_of_each_generation},
        {"the environment changes precision", test_the_environment_changes_precision},
        {"without arithmetic", test_without_arithmetic},
        {"the trace is the same in each run", test_the_trace_is_the_same_in_each_run},
        {NULL, NULL}};
    return anx_test_main("fakecuda_requests", tests, argc, argv);
}
