#include "parity/operands.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "src/backend/reference/ops.h"

/* 2^-11 / u times sqrt(2/3), and twice 2^-11 / u. */
static const double two_roundings = 6688.7, two_cuts = 16384;
/* The bound on an element, in s, and u: metrics.c. */
static const double most = 24 * 0x1p-24;

/* The squares of v / 2^*exponent, which is chosen so that none overflows and only what is negligible underflows. */
static float *squares_of(const float *v, int64_t n, int *exponent, int threads) {
    float *out = malloc((size_t)(n > 0 ? n : 1) * sizeof *out), largest = 0;
    if (out == NULL) return NULL;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(max : largest)
    for (int64_t i = 0; i < n; i++) {
        const float magnitude = fabsf(v[i]);
        if (magnitude <= FLT_MAX && magnitude > largest) largest = magnitude;
    }
    *exponent = largest > 0 ? ilogbf(largest) : 0;
    const double scale = ldexp(1, -*exponent); /* 2^149 is no float */
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < n; i++) {
        const float scaled = (float)((double)v[i] * scale);
        out[i] = scaled * scaled;
    }
    return out;
}

/* squares: sum (wx)^2, scaled; sum: sum wx. */
static float expected(double squares, int exponent, double sum) {
    return (float)hypot(two_roundings * ldexp(sqrt(squares), exponent), two_cuts * sum);
}

static int64_t plane_of(const anx_extent *e) {
    return e->rank == 3 ? e->dim[1] * e->dim[2] : 1;
}

anx_status anx_operand_errors(const anx_graph *graph, int node, int64_t batch, const float *x, const float *weight,
                              const float *bias, const double *y64, float *s, int threads, anx_error *err) {
    const anx_node *n = &graph->nodes[node];
    const int64_t plane = plane_of(&n->out), outputs = n->out.dim[0];
    int ex = 0, ew = 0;
    float *xx = squares_of(x, batch * anx_graph_node_elems(graph, n->inputs[0]), &ex, threads);
    float *ww = squares_of(weight, outputs * n->terms, &ew, threads);
    float *none = bias != NULL ? calloc((size_t)outputs, sizeof *none) : NULL;
    anx_status status = ANX_OK;
    if (xx == NULL || ww == NULL || (bias != NULL && none == NULL))
        status =
            anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the operands' errors of '%s'", n->layer->name);
    if (status == ANX_OK) status = anx_reference_gauge(graph, node, batch, xx, ww, none, s, threads, err);
    for (int64_t i = 0; status == ANX_OK && i < batch * outputs * plane; i++)
        s[i] = expected(s[i], ex + ew, y64[i] - (bias != NULL ? (double)bias[i / plane % outputs] : 0));
    free(xx);
    free(ww);
    free(none);
    return status;
}

/* sums of squares (n), in double, with their sums: s. */
static void combine(const double *squares, int exponent, const double *sums, int64_t n, float *s) {
    for (int64_t i = 0; i < n; i++) s[i] = expected(squares[i], exponent, sums[i]);
}

anx_status anx_operand_errors_back(const anx_graph *graph, int node, int64_t batch, const anx_operand_gradients *g,
                                   int threads, anx_error *err) {
    const anx_node *n = &graph->nodes[node];
    const int64_t in = batch * anx_graph_node_elems(graph, n->inputs[0]), weights = n->out.dim[0] * n->terms;
    int ex = 0, ey = 0, ew = 0;
    float *xx = squares_of(g->x, in, &ex, threads), *ww = squares_of(g->weight, weights, &ew, threads);
    float *yy = squares_of(g->dy, batch * anx_graph_node_elems(graph, node), &ey, threads);
    double *dx = g->dx != NULL ? calloc((size_t)in, sizeof *dx) : NULL;
    double *dweight = g->dweight != NULL ? calloc((size_t)weights, sizeof *dweight) : NULL;
    const anx_reference_gradients squares = {
        .x = xx, .dy = yy, .weight = ww, .gauge = true, .dx = dx, .dweight = dweight};
    anx_status status = ANX_OK;
    if (xx == NULL || ww == NULL || yy == NULL || (g->dx != NULL && dx == NULL) ||
        (g->dweight != NULL && dweight == NULL))
        status =
            anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the operands' errors of '%s'", n->layer->name);
    if (status == ANX_OK) status = anx_reference_node_back(graph, node, batch, &squares, threads, err);
    if (status == ANX_OK && dx != NULL) combine(dx, ew + ey, g->dx, in, g->dx_s);
    if (status == ANX_OK && dweight != NULL) combine(dweight, ex + ey, g->dweight, weights, g->dweight_s);
    free(xx);
    free(yy);
    free(ww);
    free(dx);
    free(dweight);
    return status;
}

void anx_operands_through_relu(const double *y64, int64_t n, float *s) {
    for (int64_t i = 0; i < n; i++)
        if (y64[i] < -most * (double)s[i]) s[i] = 0;
}
