#include "tests/backend/plan_files.h"

anx_status plan_file_params(const char *path, const anx_graph *graph, anx_file_map *map, anx_tensor *params,
                            anx_error *err) {
    anx_status status = anx_file_map_init(map, path, err);
    if (status != ANX_OK) return status;
    if (map->n_bytes != (size_t)anx_graph_param_elems(graph) * sizeof(float))
        return anx_error_set(err, ANX_ERR_MISMATCH, "%s holds %zu bytes, not this network's parameters", path,
                             map->n_bytes);
    const uint8_t *p = map->bytes;
    for (int i = 0; i < graph->n_params; i++) {
        params[i] = anx_tensor_view(ANX_F32, graph->params[i].rank, graph->params[i].shape, p);
        p += anx_tensor_bytes(&params[i]);
    }
    return ANX_OK;
}

anx_status plan_file_write(anx_plan *plan, anx_value value, anx_dtype dtype, const anx_file_map *map, size_t *used,
                           anx_error *err) {
    int64_t shape[4];
    const int rank = anx_plan_value_shape(plan, value, shape);
    const anx_tensor host = anx_tensor_view(dtype, rank, shape, (const uint8_t *)map->bytes + *used);
    if (map->n_bytes - *used < anx_tensor_bytes(&host))
        return anx_error_set(err, ANX_ERR_MISMATCH, "a file of %zu bytes is too small for this batch", map->n_bytes);
    *used += anx_tensor_bytes(&host);
    return anx_plan_write(plan, value, &host, err);
}

anx_status plan_file_append(anx_plan *plan, anx_value value, anx_dtype dtype, const char *label, FILE *file,
                            anx_error *err) {
    int64_t shape[4];
    const int rank = anx_plan_value_shape(plan, value, shape);
    anx_tensor host = ANX_TENSOR_INIT;
    anx_status status = anx_tensor_alloc(dtype, rank, shape, &host, err);
    if (status == ANX_OK) status = anx_plan_read(plan, value, &host, err);
    const size_t elems = status == ANX_OK ? (size_t)anx_tensor_elems(&host) : 0;
    if (status == ANX_OK && fwrite(host.data, anx_dtype_bytes(dtype), elems, file) != elems)
        status = anx_error_set(err, ANX_ERR_IO, "cannot write the output");
    if (status == ANX_OK) printf("%s %zu\n", label, elems);
    anx_tensor_fini(&host);
    return status;
}
