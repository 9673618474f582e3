#include "src/train/init.h"

#include <stdlib.h>

#include "src/base/sha256.h"
#include "tests/support/anx_test.h"

/* The parameters of a graph, drawn. */
static anx_tensor *draw_params(anx_mt19937 *gen, const anx_graph *graph) {
    anx_error err = ANX_ERROR_INIT;
    anx_tensor *params = calloc((size_t)graph->n_params, sizeof *params);
    CU_ASSERT_PTR_NOT_NULL_FATAL(params);
    for (int i = 0; i < graph->n_params; i++)
        ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, graph->params[i].rank, graph->params[i].shape, &params[i], &err), &err);
    ANX_CHECK_OK(anx_init_params(gen, graph, params, &err), &err);
    return params;
}

static void free_params(const anx_graph *graph, anx_tensor *params) {
    for (int i = 0; i < graph->n_params; i++) anx_tensor_fini(&params[i]);
    free(params);
}

static void alexnet_of_seed_0_is_pytorchs(void) {
    /* SHA-256 over the 16 tensors' bytes of torch.manual_seed(0); torchvision.models.alexnet(), in order: the same in
       PyTorch 1.13 and 2.15 */
    static const char expected[] = "e3dc067d1cf9397453a06921ffb1fc596bf8dc27905c44ecebe0a1fc8bfce718";
    anx_error err = ANX_ERROR_INIT;
    anx_graph *graph = NULL;
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 0);
    ANX_CHECK_OK(anx_graph_create(anx_arch_find("alexnet"), 0, 0, 0, &graph, &err), &err);
    anx_tensor *params = draw_params(&gen, graph);
    anx_sha256 *hash = NULL;
    anx_digest digest;
    char hex[ANX_SHA256_HEX] = "";
    ANX_CHECK_OK(anx_sha256_create(&hash, &err), &err);
    for (int i = 0; i < graph->n_params; i++)
        ANX_CHECK_OK(anx_sha256_update(hash, params[i].data, anx_tensor_bytes(&params[i]), &err), &err);
    ANX_CHECK_OK(anx_sha256_finish(hash, &digest, &err), &err);
    CU_ASSERT_STRING_EQUAL(anx_digest_hex(&digest, hex), expected);
    anx_sha256_destroy(hash);
    free_params(graph, params);
    anx_graph_destroy(graph);
}

static void stream_goes_on_behind_the_model(void) {
    /* torchvision's regression test: manual_seed(0); alexnet(num_classes=50); x = torch.rand(1, 3, 224, 224).
       The digest is anx_tensor_digest's, of PyTorch's x. */
    static const char expected[] = "1829147e4373c001adb1637b76b9c949bd20f23d9a4c00b96eb2a867b19e36ac";
    anx_error err = ANX_ERROR_INIT;
    anx_graph *graph = NULL;
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 0);
    ANX_CHECK_OK(anx_graph_create(anx_arch_find("alexnet"), 50, 0, 0, &graph, &err), &err);
    anx_tensor *params = draw_params(&gen, graph), x = ANX_TENSOR_INIT;
    ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, 4, (const int64_t[]){1, 3, 224, 224}, &x, &err), &err);
    anx_mt19937_uniform_f32(&gen, (size_t)anx_tensor_elems(&x), 0.0f, 1.0f, x.data);
    anx_digest digest;
    char hex[ANX_SHA256_HEX] = "";
    ANX_CHECK_OK(anx_tensor_digest(&x, &digest, &err), &err);
    CU_ASSERT_STRING_EQUAL(anx_digest_hex(&digest, hex), expected);
    anx_tensor_fini(&x);
    free_params(graph, params);
    anx_graph_destroy(graph);
}

static void tensors_of_another_shape_are_refused(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_graph *graph = NULL;
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 0);
    ANX_CHECK_OK(anx_graph_create(anx_arch_find("alexnet"), 10, 0, 0, &graph, &err), &err);
    anx_tensor *params = draw_params(&gen, graph);
    const anx_mt19937 before = gen;
    params[1].shape[0]--;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_init_params(&gen, graph, params, &err), &err);
    ANX_CHECK_MESSAGE("features.0.bias", &err);
    CU_ASSERT_EQUAL(gen.next, before.next); /* nothing was drawn */
    free_params(graph, params);
    anx_graph_destroy(graph);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"AlexNet of seed 0 is PyTorch's, bit for bit", alexnet_of_seed_0_is_pytorchs},
        {"the stream goes on behind the model", stream_goes_on_behind_the_model},
        {"tensors of another shape are refused", tensors_of_another_shape_are_refused},
        {NULL, NULL},
    };
    return anx_test_main("init", tests, argc, argv);
}
