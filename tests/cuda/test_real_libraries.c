/*
 * NVIDIA's real libraries, where they are installed, without a GPU: every function of the table is in them, and they
 * mean by every layer of every architecture what the graph means.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dlfcn.h>

#include "src/backend/cuda/cudnn_ops.h"
#include "src/backend/cuda/search.h"
#include "src/model/graph.h"
#include "tests/conformance/cases.h"
#include "tests/support/anx_test.h"

static const char *const runtimes[] = {"libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", NULL};
static const char *const cublases[] = {"libcublas.so.13", "libcublas.so.12", "libcublas.so.11", NULL};
static const char *const cudnns[] = {"libcudnn.so.9", "libcudnn.so.8", NULL};

static anx_cuda_api api;
static anx_cuda_library runtime, cublas, cudnn;

static void find_newest(const anx_cuda_places *places, const char *const *names, anx_cuda_library *out) {
    out->handle = NULL;
    for (; *names != NULL && out->handle == NULL; names++) anx_cuda_find(places, *names, out);
}

static bool find_libraries(void) {
    anx_cuda_places places;
    if (!anx_cuda_places_init(&places)) return false;
    find_newest(&places, runtimes, &runtime);
    find_newest(&places, cublases, &cublas);
    find_newest(&places, cudnns, &cudnn);
    anx_cuda_places_fini(&places);
    return runtime.handle != NULL && cublas.handle != NULL && cudnn.handle != NULL;
}

static void *function_of(const anx_cuda_library *library, const char *name) {
    void *address = dlsym(library->handle, name);
    if (address != NULL) return address;
    char text[1200];
    snprintf(text, sizeof text, "%s has no %s", library->path, name);
    CU_assertImplementation(CU_FALSE, __LINE__, text, __FILE__, "", CU_FALSE);
    return NULL;
}

/* As the device looks for it: by the bare name, once cuBLAS is open. */
static void test_cublas_brings_cublas_lt_along(void) {
    const anx_cuda_places loader = {.folder = {(char *)""}, .n = 1};
    anx_cuda_library lt = {.handle = NULL};
    char name[32], *at = strstr(cublas.path, "libcublas.so.");
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    snprintf(name, sizeof name, "libcublasLt.so.%d", atoi(at + strlen("libcublas.so.")));
    anx_cuda_find(&loader, name, &lt);
    CU_ASSERT_PTR_NOT_NULL(lt.handle);
    CU_ASSERT_PTR_EQUAL(function_of(&lt, "cublasLtMatmul"), dlsym(cublas.handle, "cublasLtMatmul"));
    unsigned (*get)(unsigned, int *) = NULL, (*get_lt)(unsigned, int *) = NULL;
    void *address = function_of(&cublas, "cublasGetProperty"), *address_lt = function_of(&lt, "cublasLtGetProperty");
    memcpy(&get, &address, sizeof get);
    memcpy(&get_lt, &address_lt, sizeof get_lt);
    for (unsigned i = 0; i < 3 && get != NULL && get_lt != NULL; i++) {
        int version = -1, version_lt = -2;
        CU_ASSERT(get(i, &version) == 0 && get_lt(i, &version_lt) == 0);
        CU_ASSERT_EQUAL(version, version_lt);
    }
}

static void test_functions(void) {
#define FIND(library, result, name, arguments)                                                                         \
    {                                                                                                                  \
        void *address = function_of(library##_of_table, #name);                                                        \
        memcpy(&api.name, &address, sizeof address);                                                                   \
    }
    /* cuBLAS brings cuBLASLt along: what the latter has is found in the former. */
    const anx_cuda_library *const cudart_of_table = &runtime, *const cublas_of_table = &cublas,
                                  *const cublasLt_of_table = &cublas, *const cudnn_of_table = &cudnn;
    ANX_CUDA_TABLE(FIND)
    const size_t version = api.cudnnGetVersion != NULL ? api.cudnnGetVersion() : 0;
    const int major = version >= 90000 ? 9 : 8;
    int found = 0;
#define FIND_OPTIONAL(library, result, name, arguments, first, last)                                                   \
    if (first > 0 && major >= first && major <= last) found += function_of(library##_of_table, #name) != NULL;
    ANX_CUDA_TABLE_OPTIONAL(FIND_OPTIONAL)
    CU_ASSERT_TRUE(found > 0);
}

/* Descriptors need no GPU; the sizes of workspaces do, and are asked for last. */
static void check_conv(const anx_cudnn *dnn, const anx_node *node, int64_t batch) {
    const anx_cudnn_conv_spec spec = {.node = node, .batch = batch};
    anx_cudnn_conv *conv = NULL;
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_STATUS(ANX_ERR_DEVICE, anx_cudnn_conv_create(dnn, &spec, &conv, &err), &err);
    ANX_CHECK_MESSAGE("no deterministic algorithm", &err);
}

static void check_pool(const anx_cudnn *dnn, const anx_node *node, int64_t batch) {
    anx_cudnn_pool *pool = NULL;
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_cudnn_pool_create(dnn, node, batch, &pool, &err), &err);
    anx_cudnn_pool_destroy(pool);
}

static void check_graph(const anx_arch *arch, int64_t height, int64_t width, int64_t batch) {
    const anx_cudnn dnn = {.api = &api};
    anx_graph *graph = NULL;
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_graph_create(arch, 0, height, width, &graph, &err), &err);
    for (int i = 0; graph != NULL && i < graph->n_nodes; i++) {
        const anx_op op = graph->nodes[i].layer->op;
        if (op == ANX_OP_CONV2D) check_conv(&dnn, &graph->nodes[i], batch);
        if (op == ANX_OP_MAX_POOL2D || op == ANX_OP_ADAPTIVE_AVG_POOL2D) check_pool(&dnn, &graph->nodes[i], batch);
    }
    anx_graph_destroy(graph);
}

static void test_architectures(void) {
    static const int64_t sizes[] = {0, 1, 2, 15, 64};
    for (int i = 0; anx_arch_at(i) != NULL; i++)
        for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
            const anx_arch *arch = anx_arch_at(i);
            check_graph(arch, arch->default_size + sizes[k], arch->default_size + sizes[k] / 2, 1 + sizes[k]);
            check_graph(arch, arch->min_size, arch->min_size, 2);
        }
}

static void test_cases(void) {
    for (int i = 0; conformance_case_at(i) != NULL; i++) {
        const conformance_case *c = conformance_case_at(i);
        check_graph(&c->arch, c->height, c->width, c->batch);
    }
}

static const anx_test tests[] = {
    {"cublas_brings_the_cublas_lt_of_its_own_version_along", test_cublas_brings_cublas_lt_along},
    {"the_libraries_have_every_function_of_the_table", test_functions},
    {"cudnn_means_the_same_by_every_layer_of_every_architecture", test_architectures},
    {"cudnn_means_the_same_by_the_conformance_cases", test_cases},
    {NULL, NULL},
};

int main(int argc, char **argv) {
    if (!find_libraries()) anx_test_skip("CUDA's runtime, cuBLAS and cuDNN are not installed here");
    printf("%s\n%s\n%s\n", runtime.path, cublas.path, cudnn.path);
    return anx_test_main("cuda_real_libraries", tests, argc, argv);
}
