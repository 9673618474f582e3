/* Each misuse is caught, with a sentence that names what it is about; what is allowed is not. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fakecuda/kit.h"
#include "tests/support/anx_test.h"

typedef struct misuse {
    const char *what;
    program *program;
    int status;
    const char *sentence; /* part of it */
} misuse;

static void check(const misuse *cases, size_t n, const char *const *environment) {
    for (size_t i = 0; i < n; i++) {
        const outcome o = kit_run(cases[i].program, "13-9", environment);
        const bool good = o.status == cases[i].status && strstr(o.text, cases[i].sentence) != NULL;
        if (!good)
            fprintf(stderr, "%s: exit status %d, not %d: \"%s\", not \"%s\"\n", cases[i].what, o.status,
                    cases[i].status, o.text, cases[i].sentence);
        CU_ASSERT(good);
    }
}

#define CHECK(cases) check(cases, sizeof(cases) / sizeof(cases)[0], NULL)

enum { MISUSE = 86, LEAK = 87 };

/* A program with a kit: `body` misuses it. What comes after the misuse does not matter. */
#define PROGRAM(name, ...)                                                                                             \
    static int name(const anx_cuda_api *api) {                                                                         \
        kit k;                                                                                                         \
        kit_init(&k, api);                                                                                             \
        __VA_ARGS__                                                                                                    \
        kit_fini(&k);                                                                                                  \
        return 0;                                                                                                      \
    }

static const float ones[256] = {1, 1, 1, 1};

/* ---- addresses ----------------------------------------------------------------------------------------------- */

PROGRAM(reads_device_memory, {
    const volatile float *p = kit_floats(&k, 16);
    fprintf(stderr, "%g\n", (double)p[2]);
})

PROGRAM(writes_freed_device_memory, {
    float *p = NULL;
    MUST(api->cudaMalloc((void **)&p, 64));
    MUST(api->cudaFree(p));
    *(volatile float *)p = 1.0f;
})

PROGRAM(writes_freed_pinned_memory, {
    float *p = NULL;
    MUST(api->cudaHostAlloc((void **)&p, 64, 0));
    p[0] = 1.0f;
    MUST(api->cudaFreeHost(p));
    *(volatile float *)p = 1.0f;
})

PROGRAM(faults_on_another_stack, {
    static char stack[65536];
    const stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    sigaltstack(&other, NULL);
    *(volatile float *)kit_floats(&k, 16) = 1.0f;
})

static int faults_elsewhere(const anx_cuda_api *api) {
    (void)api;
    raise(SIGSEGV);
    return 0;
}

static void test_the_host_keeps_off_a_device(void) {
    static const misuse cases[] = {
        {"read", reads_device_memory, MISUSE, "fakecuda: host code: touched device memory dev1+8 of 64 bytes\n"},
        {"freed", writes_freed_device_memory, MISUSE, "touched device memory dev1+0 of 64 bytes, freed before"},
        {"pinned", writes_freed_pinned_memory, MISUSE, "touched pinned memory pin1+0 of 64 bytes, freed before"},
        {"another stack", faults_on_another_stack, MISUSE, "touched device memory dev1+0"}};
    CHECK(cases);
}

static void test_other_faults_stay_what_they_are(void) {
    const outcome o = kit_run(faults_elsewhere, "13-9", NULL);
    CU_ASSERT(o.status != 0 && o.status != MISUSE);
}

/* ---- memory -------------------------------------------------------------------------------------------------- */

PROGRAM(never_written, {
    float out[4];
    kit_download(&k, out, kit_floats(&k, 4), 4);
})

PROGRAM(partly_written, {
    float out[4];
    float *p = kit_floats(&k, 4);
    MUST(api->cudaMemsetAsync(p, 0, 12, k.stream));
    kit_download(&k, out, p, 4);
})

PROGRAM(past_the_end, {
    float *p = kit_upload(&k, ones, 4);
    MUST(api->cublasSscal_v2(k.blas, 5, &kit_one, p, 1));
})

PROGRAM(before_the_start, {
    float *p = kit_upload(&k, ones, 4);
    MUST(api->cudaMemsetAsync(p - 4, 0, 16, k.stream));
})

PROGRAM(never_given_out, {
    float *p = kit_upload(&k, ones, 4);
    MUST(api->cudaMemsetAsync((char *)p - ((size_t)1 << 20), 0, 16, k.stream));
})

PROGRAM(uses_freed_memory, {
    float *p = NULL;
    MUST(api->cudaMalloc((void **)&p, 64));
    MUST(api->cudaFree(p));
    MUST(api->cudaMemsetAsync(p, 0, 64, k.stream));
})

PROGRAM(frees_twice, {
    void *p = NULL;
    MUST(api->cudaMalloc(&p, 64));
    MUST(api->cudaFree(p));
    MUST(api->cudaFree(p));
})

PROGRAM(frees_the_middle, {
    float *p = kit_floats(&k, 16);
    MUST(api->cudaFree(p + 4));
})

PROGRAM(frees_as_the_wrong_kind, MUST(api->cudaFreeHost(kit_floats(&k, 16)));)

PROGRAM(host_operand, {
    static float y[4];
    MUST(api->cublasSscal_v2(k.blas, 4, &kit_one, y, 1));
})

PROGRAM(pinned_operand, {
    float *y = NULL;
    MUST(api->cudaHostAlloc((void **)&y, 16, 0));
    MUST(api->cublasSscal_v2(k.blas, 4, &kit_one, y, 1));
})

PROGRAM(scalar_on_the_device, {
    float *y = kit_upload(&k, ones, 4);
    MUST(api->cublasSscal_v2(k.blas, 4, y, y, 1));
})

PROGRAM(wrong_direction, {
    float *y = kit_upload(&k, ones, 4);
    MUST(api->cudaMemcpyAsync(y, ones, 16, ANX_CU_DEVICE_TO_HOST, k.stream));
})

PROGRAM(past_pinned_memory, {
    float *y = NULL;
    MUST(api->cudaHostAlloc((void **)&y, 16, 0));
    MUST(api->cudaMemcpyAsync(kit_floats(&k, 8), y, 32, ANX_CU_HOST_TO_DEVICE, k.stream));
})

static void test_memory(void) {
    static const misuse cases[] = {
        {"never written", never_written, MISUSE, "fakecuda: cudaMemcpyAsync: reads dev1+0, which was never written"},
        {"partly written", partly_written, MISUSE, "reads dev1+12, which was never written"},
        {"past the end", past_the_end, MISUSE,
         "cublasSscal_v2: dev1+0: 20 bytes from there on run past the end of its 16"},
        {"before the start", before_the_start, MISUSE, "a device's address that was never given out"},
        {"never given out", never_given_out, MISUSE, "a device's address that was never given out"},
        {"freed", uses_freed_memory, MISUSE, "cudaMemsetAsync: dev1+0 was freed before"},
        {"freed twice", frees_twice, MISUSE, "cudaFree: dev1+0 was freed before"},
        {"freed in the middle", frees_the_middle, MISUSE, "dev1+16 is not where an allocation of such memory starts"},
        {"freed as pinned", frees_as_the_wrong_kind, MISUSE, "dev1+0 is not where an allocation of such memory starts"},
        {"host operand", host_operand, MISUSE, "cublasSscal_v2: host is memory of the host where a device's belongs"},
        {"pinned operand", pinned_operand, MISUSE, "pin1+0 is memory of the host where a device's belongs"},
        {"scalar", scalar_on_the_device, MISUSE, "alpha and beta are read from the host's memory, and dev1+0"},
        {"direction", wrong_direction, MISUSE, "kind 2 does not fit a copy from host to dev1+0"},
        {"past pinned", past_pinned_memory, MISUSE, "pin1+0: 32 bytes from there on run past the end of its 16"}};
    CHECK(cases);
}

/* ---- handles and descriptors --------------------------------------------------------------------------------- */

PROGRAM(destroyed_descriptor, {
    struct cudnnTensorStruct *d = kit_tensor(&k, 1, 4, 1, 1);
    float *y = kit_upload(&k, ones, 4);
    MUST(api->cudnnDestroyTensorDescriptor(d));
    MUST(api->cudnnSoftmaxForward(k.dnn, 1, 0, &kit_one, d, y, &kit_zero, d, y));
})

PROGRAM(destroyed_stream, {
    MUST(api->cudaStreamDestroy(k.stream));
    MUST(api->cublasSscal_v2(k.blas, 4, &kit_one, kit_floats(&k, 4), 1));
})

PROGRAM(wrong_kind, MUST(api->cudaStreamSynchronize((struct CUstream_st *)k.blas));)

PROGRAM(no_handle, MUST(api->cudaStreamSynchronize((struct CUstream_st *)&k));)

PROGRAM(destroyed_twice, {
    MUST(api->cudnnDestroy(k.dnn));
    MUST(api->cudnnDestroy(k.dnn));
})

PROGRAM(nowhere_to_write, {
    struct cudnnTensorStruct *x = kit_tensor(&k, 1, 3, 8, 8);
    int n;
    api->cudnnGetPooling2dForwardOutputDim(kit_pooling(&k, 3, 1, 3, 0, 2), x, &n, &n, &n, NULL);
})

static void test_handles_and_descriptors(void) {
    static const misuse cases[] = {
        {"destroyed descriptor", destroyed_descriptor, MISUSE, "cudnnSoftmaxForward: tensor1 was destroyed before"},
        {"destroyed stream", destroyed_stream, MISUSE, "cublasSscal_v2: stream1 was destroyed before"},
        {"wrong kind", wrong_kind, MISUSE, "cudaStreamSynchronize: blas1 is given where a stream belongs"},
        {"no handle", no_handle, MISUSE, "cudaStreamSynchronize: host is given where a stream belongs"},
        {"destroyed twice", destroyed_twice, MISUSE, "cudnnDestroy: dnn1 was destroyed before"},
        {"nowhere", nowhere_to_write, MISUSE, "NULL where an extent is to be written"}};
    CHECK(cases);
}

/* ---- operands that share memory ------------------------------------------------------------------------------ */

PROGRAM(product_onto_its_operand, {
    float *a = kit_upload(&k, ones, 64);
    MUST(api->cublasSgemm_v2(k.blas, 0, 0, 4, 4, 4, &kit_one, a, 4, a + 16, 4, &kit_zero, a + 8, 4));
})

PROGRAM(product_in_place, {
    float *a = kit_upload(&k, ones, 64);
    MUST(api->cublasSgemm_v2(k.blas, 0, 0, 4, 4, 4, &kit_one, a, 4, a + 16, 4, &kit_zero, a, 4));
})

PROGRAM(transposed_sum_in_place, {
    float *a = kit_upload(&k, ones, 64);
    MUST(api->cublasSgeam(k.blas, 1, 0, 4, 4, &kit_one, a, 4, &kit_one, a + 16, 4, a, 4));
})

PROGRAM(not_aligned, {
    float *a = kit_upload(&k, ones, 64);
    MUST(api->cublasSscal_v2(k.blas, 4, &kit_one, (float *)(void *)((char *)a + 2), 1));
})

PROGRAM(pooling_in_place, {
    float *x = kit_upload(&k, ones, 16);
    struct cudnnTensorStruct *d = kit_tensor(&k, 1, 1, 4, 4);
    MUST(api->cudnnPoolingForward(k.dnn, kit_pooling(&k, 3, 1, 1, 0, 1), &kit_one, d, x, &kit_zero, d, x));
})

PROGRAM(convolution_in_place, {
    float *x = kit_upload(&k, ones, 16);
    float *w = kit_upload(&k, ones, 1);
    struct cudnnTensorStruct *d = kit_tensor(&k, 1, 1, 4, 4);
    MUST(api->cudnnConvolutionForward(k.dnn, &kit_one, d, x, kit_filter(&k, 1, 1, 1, 1), w,
                                      kit_convolution(&k, 0, 1, 1, 1), 0, NULL, 0, &kit_zero, d, x));
})

PROGRAM(activation_shifted, {
    float *x = kit_upload(&k, ones, 32);
    struct cudnnTensorStruct *d = kit_tensor(&k, 1, 1, 4, 4);
    struct cudnnActivationStruct *relu = kit_activation(&k, ANX_CU_RELU, 1);
    MUST(api->cudnnActivationForward(k.dnn, relu, &kit_one, d, x, &kit_zero, d, x + 4));
})

PROGRAM(activation_in_place_in_another_layout, {
    float *x = kit_upload(&k, ones, 16);
    const int n[] = {1, 4, 2, 2};
    const int nhwc[] = {16, 1, 8, 4};
    struct cudnnActivationStruct *relu = kit_activation(&k, ANX_CU_RELU, 1);
    MUST(api->cudnnActivationForward(k.dnn, relu, &kit_one, kit_tensor(&k, 1, 4, 2, 2), x, &kit_zero,
                                     kit_strided(&k, n, nhwc), x));
    /* the same bytes, in the same order of addresses: what is refused is an overlap of another shape */
    MUST(api->cudnnActivationForward(k.dnn, relu, &kit_one, kit_tensor(&k, 1, 3, 2, 2), x, &kit_zero,
                                     kit_tensor(&k, 1, 3, 2, 2), x + 2));
})

PROGRAM(sum_onto_itself, {
    float *x = kit_upload(&k, ones, 16);
    struct cudnnTensorStruct *d = kit_tensor(&k, 1, 1, 4, 4);
    MUST(api->cudnnAddTensor(k.dnn, &kit_one, d, x, &kit_one, d, x));
})

/* A convolution whose workspace is also its weights, or another's data. */
static void with_workspace(kit *k, float *workspace, float *w) {
    const anx_cuda_api *api = k->api;
    struct cudnnTensorStruct *x = kit_tensor(k, 1, 1, 4, 4);
    struct cudnnTensorStruct *y = kit_tensor(k, 1, 1, 4, 4);
    MUST(api->cudnnConvolutionForward(k->dnn, &kit_one, x, kit_upload(k, ones, 16), kit_filter(k, 1, 1, 1, 1), w,
                                      kit_convolution(k, 0, 1, 1, 1), 1, workspace, 1024, &kit_zero, y,
                                      kit_floats(k, 16)));
}

PROGRAM(workspace_is_an_operand, {
    float *p = kit_upload(&k, ones, 256);
    with_workspace(&k, p, p);
})

PROGRAM(workspace_is_live_data, {
    float *p = kit_upload(&k, ones, 256);
    float out[256];
    with_workspace(&k, p, kit_upload(&k, ones, 1));
    kit_download(&k, out, p, 256);
})

PROGRAM(workspace_of_cublas_is_live_data, {
    float *p = kit_upload(&k, ones, 256);
    float *a = kit_upload(&k, ones, 16);
    float out[256];
    MUST(api->cublasSetWorkspace_v2(k.blas, p, 1024));
    MUST(api->cublasSgemm_v2(k.blas, 0, 0, 2, 2, 2, &kit_one, a, 2, a + 4, 2, &kit_zero, a + 8, 2));
    kit_download(&k, out, p, 256);
})

PROGRAM(x_and_y_of_different_poolings, {
    float *x = kit_upload(&k, ones, 4);
    float *y = kit_floats(&k, 1);
    float *dx = kit_floats(&k, 4);
    struct cudnnTensorStruct *xd = kit_tensor(&k, 1, 1, 2, 2);
    struct cudnnTensorStruct *yd = kit_tensor(&k, 1, 1, 1, 1);
    struct cudnnPoolingStruct *d = kit_pooling(&k, 3, 1, 2, 0, 2);
    MUST(api->cudnnPoolingForward(k.dnn, d, &kit_one, xd, x, &kit_zero, yd, y));
    MUST(api->cublasSscal_v2(k.blas, 1, &(float){3.0f}, y, 1));
    MUST(api->cudnnPoolingBackward(k.dnn, d, &kit_one, yd, y, yd, y, xd, x, &kit_zero, xd, dx));
    MUST(api->cudaStreamSynchronize(k.stream));
})

static void test_operands_that_share_memory(void) {
    static const misuse cases[] = {
        {"product", product_onto_its_operand, MISUSE, "cublasSgemm_v2: two operands share dev1+"},
        {"product in place", product_in_place, MISUSE, "cublasSgemm_v2: two operands share dev1+0"},
        {"sum of a transpose", transposed_sum_in_place, MISUSE,
         "cublasSgeam: in place, but not as the result is stored"},
        {"alignment", not_aligned, MISUSE, "cublasSscal_v2: dev1+2 is not aligned for floats"},
        {"pooling", pooling_in_place, MISUSE, "cudnnPoolingForward: two operands share dev1+0"},
        {"convolution", convolution_in_place, MISUSE, "cudnnConvolutionForward: two operands share dev1+0"},
        {"activation", activation_shifted, MISUSE, "cudnnActivationForward: two operands share dev1+16"},
        {"activation, layout", activation_in_place_in_another_layout, MISUSE, "cudnnActivationForward: two operands"},
        {"sum", sum_onto_itself, MISUSE, "cudnnAddTensor: two operands share dev1+0"},
        {"workspace, weights", workspace_is_an_operand, MISUSE, "cudnnConvolutionForward: two operands share dev1+0"},
        {"workspace, data", workspace_is_live_data, MISUSE, "reads dev1+0, which served as a workspace"},
        {"cuBLAS's workspace", workspace_of_cublas_is_live_data, MISUSE, "reads dev1+0, which served as a workspace"},
        {"pooling", x_and_y_of_different_poolings, MISUSE, "y is not what pooling makes of x"}};
    CHECK(cases);
}

/* ---- streams ------------------------------------------------------------------------------------------------- */

enum order { NOTHING, AN_EVENT, AN_EARLIER_EVENT, SYNCHRONISATION };

/* Work on a stream, then on another one that touches the same memory. */
static int two_streams(const anx_cuda_api *api, enum order by, bool blocking, size_t distance) {
    kit k;
    kit_init(&k, api);
    struct CUstream_st *other = NULL;
    struct CUevent_st *event = NULL;
    float *p = kit_upload(&k, ones, 16);
    MUST(api->cudaStreamCreateWithFlags(&other, blocking ? 0 : ANX_CU_STREAM_NON_BLOCKING));
    MUST(api->cudaEventCreateWithFlags(&event, ANX_CU_EVENT_NO_TIMING));
    if (by == AN_EARLIER_EVENT) MUST(api->cudaEventRecord(event, k.stream));
    MUST(api->cublasSscal_v2(k.blas, 8, &kit_one, p, 1));
    if (by == AN_EVENT) MUST(api->cudaEventRecord(event, k.stream));
    if (by == AN_EVENT || by == AN_EARLIER_EVENT) MUST(api->cudaStreamWaitEvent(other, event, 0));
    if (by == SYNCHRONISATION) MUST(api->cudaStreamSynchronize(k.stream));
    MUST(api->cudaMemsetAsync(p + distance, 0, 32, other));
    MUST(api->cudaStreamSynchronize(other));
    MUST(api->cudaEventDestroy(event));
    MUST(api->cudaStreamDestroy(other));
    kit_fini(&k);
    return 0;
}

static int race(const anx_cuda_api *api) {
    return two_streams(api, NOTHING, false, 4);
}
static int race_past_an_event(const anx_cuda_api *api) {
    return two_streams(api, AN_EARLIER_EVENT, false, 4);
}
static int ordered_by_an_event(const anx_cuda_api *api) {
    return two_streams(api, AN_EVENT, false, 4);
}
static int ordered_by_waiting(const anx_cuda_api *api) {
    return two_streams(api, SYNCHRONISATION, false, 4);
}
static int side_by_side(const anx_cuda_api *api) {
    return two_streams(api, NOTHING, false, 8);
}

/* Destroying a stream waits for nothing. */
PROGRAM(race_with_a_stream_that_is_gone, {
    float *p = kit_floats(&k, 16);
    struct CUstream_st *other = NULL;
    MUST(api->cudaStreamCreateWithFlags(&other, ANX_CU_STREAM_NON_BLOCKING));
    MUST(api->cudaMemsetAsync(p, 0, 32, other));
    MUST(api->cudaStreamDestroy(other));
    MUST(api->cudaMemsetAsync(p, 0, 32, k.stream));
})

PROGRAM(race_with_the_null_stream, {
    float *p = kit_upload(&k, ones, 16);
    MUST(api->cublasSscal_v2(k.blas, 8, &kit_one, p, 1));
    MUST(api->cudaMemsetAsync(p, 0, 32, NULL));
})

PROGRAM(the_null_stream_and_a_blocking_one, {
    float *p = kit_upload(&k, ones, 16);
    struct CUstream_st *blocking = NULL;
    MUST(api->cudaStreamCreateWithFlags(&blocking, 0));
    MUST(api->cudaMemsetAsync(p, 0, 32, NULL));
    MUST(api->cudaMemsetAsync(p, 1, 32, blocking));
    MUST(api->cudaMemsetAsync(p, 2, 32, NULL));
    MUST(api->cudaStreamDestroy(blocking));
    MUST(api->cudaStreamSynchronize(NULL));
})

PROGRAM(race_of_readers, {
    float *p = kit_upload(&k, ones, 16);
    float *q = kit_floats(&k, 16);
    struct CUstream_st *other = NULL;
    MUST(api->cudaStreamCreateWithFlags(&other, ANX_CU_STREAM_NON_BLOCKING));
    MUST(api->cudaMemcpyAsync(q, p, 32, ANX_CU_DEVICE_TO_DEVICE, k.stream));
    MUST(api->cudaMemcpyAsync(q + 8, p, 32, ANX_CU_DEVICE_TO_DEVICE, other));
    MUST(api->cudaStreamDestroy(other));
})

PROGRAM(race_for_a_workspace, {
    struct CUstream_st *other = NULL;
    float *p = kit_floats(&k, 256);
    MUST(api->cudaStreamCreateWithFlags(&other, ANX_CU_STREAM_NON_BLOCKING));
    float *w = kit_upload(&k, ones, 1);
    with_workspace(&k, p, w);
    struct cudnnTensorStruct *x = kit_tensor(&k, 1, 1, 4, 4);
    float *more = kit_floats(&k, 32);
    MUST(api->cudnnSetStream(k.dnn, other));
    MUST(api->cudnnConvolutionForward(k.dnn, &kit_one, x, more, kit_filter(&k, 1, 1, 1, 1), w,
                                      kit_convolution(&k, 0, 1, 1, 1), 1, p, 1024, &kit_zero, x, more + 16));
})

/* Two streams write slices of one tensor that lie between each other. */
static int slices(const anx_cuda_api *api, int shift) {
    kit k;
    kit_init(&k, api);
    struct CUstream_st *other = NULL;
    MUST(api->cudaStreamCreateWithFlags(&other, ANX_CU_STREAM_NON_BLOCKING));
    const int n[] = {3, 2, 2, 2};
    const int stride[] = {16, 4, 2, 1};
    struct cudnnTensorStruct *from = kit_tensor(&k, 3, 2, 2, 2);
    struct cudnnTensorStruct *to = kit_strided(&k, n, stride);
    float *x = kit_upload(&k, ones, 24);
    float *y = kit_floats(&k, 64);
    MUST(api->cudnnTransformTensor(k.dnn, &kit_one, from, x, &kit_zero, to, y));
    MUST(api->cudnnSetStream(k.dnn, other));
    MUST(api->cudnnTransformTensor(k.dnn, &kit_one, from, x, &kit_zero, to, y + shift));
    MUST(api->cudaStreamDestroy(other));
    kit_fini(&k);
    return 0;
}
static int slices_between_each_other(const anx_cuda_api *api) {
    return slices(api, 8);
}
static int slices_that_overlap(const anx_cuda_api *api) {
    return slices(api, 7);
}

static void test_streams(void) {
    static const misuse cases[] = {
        {"race", race, MISUSE, "cudaMemsetAsync: race: dev1+16 is also touched by cublasSscal_v2 on stream1"},
        {"event too early", race_past_an_event, MISUSE, "cudaMemsetAsync: race: dev1+16"},
        {"event", ordered_by_an_event, 0, ""},
        {"waiting", ordered_by_waiting, 0, ""},
        {"side by side", side_by_side, 0, ""},
        {"readers", race_of_readers, 0, ""},
        {"stream that is gone", race_with_a_stream_that_is_gone, MISUSE, "race: dev1+0 is also touched by cudaMemset"},
        {"null stream", race_with_the_null_stream, MISUSE, "race: dev1+0 is also touched by cublasSscal_v2"},
        {"blocking stream", the_null_stream_and_a_blocking_one, 0, ""},
        {"workspace", race_for_a_workspace, MISUSE, "race: dev1+0 is also touched by cudnnConvolutionForward"},
        {"slices", slices_between_each_other, 0, ""},
        {"slices that overlap", slices_that_overlap, MISUSE, "cudnnTransformTensor: race: dev2+"}};
    CHECK(cases);
}

/* ---- threads and devices ------------------------------------------------------------------------------------- */

typedef struct thread_work {
    kit *k;
    float *p;
} thread_work;

static void *scale_often(void *context) {
    const thread_work *w = context;
    for (int i = 0; i < 100000; i++) w->k->api->cublasSscal_v2(w->k->blas, 4, &kit_one, w->p, 1);
    return NULL;
}

PROGRAM(two_threads_and_one_handle, {
    pthread_t threads[2];
    thread_work work = {&k, kit_upload(&k, ones, 4)};
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, scale_often, &work);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
})

PROGRAM(memory_of_another_device, {
    float *p = kit_upload(&k, ones, 4);
    struct CUstream_st *other = NULL;
    MUST(api->cudaSetDevice(1));
    MUST(api->cudaStreamCreateWithFlags(&other, 1));
    MUST(api->cudaMemsetAsync(p, 0, 16, other));
})

PROGRAM(stream_of_another_device, {
    MUST(api->cudaSetDevice(1));
    MUST(api->cudaStreamSynchronize(k.stream));
})

PROGRAM(handle_of_another_device, {
    MUST(api->cudaSetDevice(1));
    MUST(api->cudnnSetStream(k.dnn, NULL));
})

static void *frees(void *context) {
    const thread_work *w = context;
    MUST(w->k->api->cudaSetDevice(1));
    return NULL;
}

PROGRAM(each_thread_has_its_device, {
    pthread_t thread;
    thread_work work = {&k, NULL};
    pthread_create(&thread, NULL, frees, &work);
    pthread_join(thread, NULL);
    MUST(api->cudaStreamSynchronize(k.stream));
})

static void test_threads_and_devices(void) {
    static const char *const two_devices[] = {"FAKECUDA_DEVICES", "2", NULL};
    static const misuse cases[] = {
        {"memory", memory_of_another_device, MISUSE, "dev1+0 is memory of device 0, and the current one is 1"},
        {"stream", stream_of_another_device, MISUSE, "stream1 belongs to device 0, and the current one is 1"},
        {"handle", handle_of_another_device, MISUSE, "dnn1 belongs to device 0, and the current one is 1"},
        {"threads", each_thread_has_its_device, 0, ""},
        {"one handle", two_threads_and_one_handle, MISUSE, "blas1 is used by two threads at once"}};
    check(cases, sizeof cases / sizeof cases[0], two_devices);
}

/* ---- what is left in the end --------------------------------------------------------------------------------- */

PROGRAM(leaks_memory, {
    void *p = NULL;
    MUST(api->cudaMalloc(&p, 100));
})

PROGRAM(leaks_pinned_memory, {
    void *p = NULL;
    MUST(api->cudaHostAlloc(&p, 100, 0));
})

PROGRAM(leaks_a_stream_and_an_event, {
    struct CUstream_st *s = NULL;
    struct CUevent_st *e = NULL;
    MUST(api->cudaStreamCreateWithFlags(&s, 1));
    MUST(api->cudaEventCreateWithFlags(&e, 2));
})

PROGRAM(leaks_a_descriptor, {
    struct cudnnPoolingStruct *d = NULL;
    MUST(api->cudnnCreatePoolingDescriptor(&d));
})

static int leaks_handles(const anx_cuda_api *api) {
    struct cublasContext *b = NULL;
    struct cudnnContext *d = NULL;
    MUST(api->cublasCreate_v2(&b));
    MUST(api->cudnnCreate(&d));
    return 0;
}

PROGRAM(leaks_nothing, )

static void test_what_is_left_in_the_end(void) {
    static const misuse cases[] = {
        {"memory", leaks_memory, LEAK, "fakecuda: leak: dev1 (100 bytes)\n"},
        {"pinned", leaks_pinned_memory, LEAK, "fakecuda: leak: pin1 (100 bytes)\n"},
        {"stream", leaks_a_stream_and_an_event, LEAK, "leak: stream2\nfakecuda: leak: event1\n"},
        {"descriptor", leaks_a_descriptor, LEAK, "fakecuda: leak: pooling1\n"},
        {"handles", leaks_handles, LEAK, "fakecuda: leak: blas1\nfakecuda: leak: dnn1\n"},
        {"nothing", leaks_nothing, 0, ""}};
    CHECK(cases);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {{"the host keeps off a device", test_the_host_keeps_off_a_device},
                                     {"other faults stay what they are", test_other_faults_stay_what_they_are},
                                     {"memory", test_memory},
                                     {"handles and descriptors", test_handles_and_descriptors},
                                     {"operands that share memory", test_operands_that_share_memory},
                                     {"streams", test_streams},
                                     {"threads and devices", test_threads_and_devices},
                                     {"what is left in the end", test_what_is_left_in_the_end},
                                     {NULL, NULL}};
    return anx_test_main("fakecuda_misuse", tests, argc, argv);
}
