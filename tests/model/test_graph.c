#include <string.h>

#include "src/model/graph.h"
#include "tests/support/anx_test.h"

static anx_graph *graph_of(const char *arch, int64_t classes, int64_t height, int64_t width) {
    anx_graph *graph = NULL;
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_graph_create(anx_arch_find(arch), classes, height, width, &graph, &err), &err);
    return graph;
}

static void check_out(const anx_graph *graph, const char *name, int64_t c, int64_t h, int64_t w) {
    const anx_node *node = &graph->nodes[anx_graph_find_node(graph, name)];
    CU_ASSERT_EQUAL(node->out.dim[0], c);
    if (node->out.rank == 3) CU_ASSERT_TRUE(node->out.dim[1] == h && node->out.dim[2] == w);
}

/* Shapes as torchvision.models.alexnet gives them at 224. */
static void alexnet_has_torchvisions_shapes(void) {
    anx_graph *g = graph_of("alexnet", 0, 0, 0);
    check_out(g, "features.0", 64, 55, 55);
    check_out(g, "features.2", 64, 27, 27);
    check_out(g, "features.3", 192, 27, 27);
    check_out(g, "features.5", 192, 13, 13);
    check_out(g, "features.10", 256, 13, 13);
    check_out(g, "features.12", 256, 6, 6);
    check_out(g, "avgpool", 256, 6, 6);
    check_out(g, "flatten", 9216, 0, 0);
    check_out(g, "logits", 1000, 0, 0);
    CU_ASSERT_EQUAL(g->n_params, 16);
    CU_ASSERT_EQUAL(anx_graph_param_elems(g), 61100840);
    CU_ASSERT_STRING_EQUAL(g->params[0].name, "features.0.weight");
    CU_ASSERT_STRING_EQUAL(g->params[15].name, "classifier.6.bias");
    CU_ASSERT_EQUAL(g->params[2].fan_in, 1600);
    CU_ASSERT_EQUAL(g->params[10].shape[1], 9216);
    anx_graph_destroy(g);
}

static void sizes_below_63_are_refused_by_name(void) {
    anx_graph *g = graph_of("alexnet", 7, 63, 63);
    check_out(g, "features.12", 256, 1, 1);
    check_out(g, "logits", 7, 0, 0);
    anx_graph_destroy(g);
    g = NULL;
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_graph_create(anx_arch_find("alexnet"), 0, 62, 224, &g, &err), &err);
    ANX_CHECK_MESSAGE(
        "layer 'features.12': an input of 62x224 leaves this layer no output; alexnet needs at least 63x63", &err);
    CU_ASSERT_PTR_NULL(g);
}

/* The least size that a table states, which messages name: it works, and one less does not. */
static void every_tables_least_size_is_the_least(void) {
    for (int i = 0; anx_arch_at(i) != NULL; i++) {
        const anx_arch *arch = anx_arch_at(i);
        anx_error err = ANX_ERROR_INIT;
        anx_graph *g = NULL;
        anx_graph_destroy(graph_of(arch->name, 0, arch->min_size, arch->min_size));
        ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT,
                         anx_graph_create(arch, 0, arch->min_size - 1, arch->min_size - 1, &g, &err), &err);
        CU_ASSERT_PTR_NULL(g);
    }
}

static bool collect(const char *name, void *user) {
    char *all = user;
    strcat(all, name);
    strcat(all, "|");
    return true;
}

/* [n for n, _ in torchvision.models.alexnet().named_modules()] */
static void modules_come_in_named_modules_order(void) {
    char all[1024] = "";
    anx_arch_each_module(anx_arch_find("alexnet"), collect, all);
    CU_ASSERT_STRING_EQUAL(all,
                           "|features|features.0|features.1|features.2|features.3|features.4|features.5|features.6|"
                           "features.7|features.8|features.9|features.10|features.11|features.12|avgpool|classifier|"
                           "classifier.0|classifier.1|classifier.2|classifier.3|classifier.4|classifier.5|"
                           "classifier.6|");
}

/* torch.nn.functional.max_pool2d(torch.zeros(1, 1, n, n), 3, 2, ceil_mode=True) and the convolution formula. */
static void the_narrow_network_covers_groups_ceil_mode_and_uneven_kernels(void) {
    anx_graph *g = graph_of("narrow", 0, 0, 0);
    check_out(g, "features.0", 10, 17, 17);
    check_out(g, "features.2", 10, 8, 8);
    check_out(g, "features.3", 22, 8, 8);
    check_out(g, "features.7", 18, 4, 4);
    check_out(g, "avgpool", 18, 3, 3);
    CU_ASSERT_EQUAL(g->params[2].shape[1], 5);
    CU_ASSERT_EQUAL(g->nodes[anx_graph_find_node(g, "features.3")].terms, 75);
    CU_ASSERT_EQUAL(g->nodes[anx_graph_find_node(g, "avgpool")].terms, 4);
    anx_graph_destroy(g);
}

static void unknown_names_are_told_apart_from_the_input(void) {
    anx_graph *g = graph_of("narrow", 0, 0, 0);
    CU_ASSERT_EQUAL(anx_graph_find_node(g, "input"), ANX_NODE_INPUT);
    CU_ASSERT_EQUAL(anx_graph_find_node(g, "features.99"), -2);
    CU_ASSERT_EQUAL(anx_graph_find_param(g, "features.0.bias"), 1);
    CU_ASSERT_EQUAL(anx_graph_find_param(g, "x"), -1);
    anx_graph_destroy(g);
    CU_ASSERT_PTR_NULL(anx_arch_find("resnet"));
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"alexnet has torchvision's shapes", alexnet_has_torchvisions_shapes},
        {"sizes below 63 are refused by name", sizes_below_63_are_refused_by_name},
        {"every table's least size is the least", every_tables_least_size_is_the_least},
        {"modules come in named_modules() order", modules_come_in_named_modules_order},
        {"the narrow network covers groups, ceil_mode and uneven kernels",
         the_narrow_network_covers_groups_ceil_mode_and_uneven_kernels},
        {"unknown names are told apart from the input", unknown_names_are_told_apart_from_the_input},
        {NULL, NULL},
    };
    return anx_test_main("graph", tests, argc, argv);
}
