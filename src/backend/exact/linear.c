#include "src/backend/exact/ops.h"

int64_t anx_exact_linear_chain(int64_t in) {
    enum { CHAIN = 192 };
    return in > CHAIN && in < 2 * CHAIN ? in / 2 : CHAIN;
}

void anx_exact_linear_interleave(const float *x, int64_t batch, int64_t in, int most, float *to, int threads) {
    enum { SPAN = 256 };
    for (int64_t n = 0; n < batch;) {
        const int64_t rows = anx_exact_part(batch, n, most), spans = (in + SPAN - 1) / SPAN;
        const float *from = x + n * in;
        float *tile = to + n * in;
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int64_t span = 0; span < spans; span++) {
            const int64_t k1 = (span + 1) * SPAN < in ? (span + 1) * SPAN : in;
            for (int64_t k = span * SPAN; k < k1; k++)
                for (int64_t u = 0; u < rows; u++) tile[k * rows + u] = from[u * in + k];
        }
        n += rows;
    }
}

/* Inputs below `alone` into the first lane, those below `end` by lanes, those after that onto the sum of the lanes. */
static float dot_in_lanes(const float *x, const float *w, int64_t in, int lanes, int64_t alone, int64_t end) {
    float sum[8] = {0};
    int64_t k = 0;
    for (; k < alone; k++) sum[0] += x[k] * w[k];
    for (; k + lanes <= end; k += lanes)
        for (int j = 0; j < lanes; j++) sum[j] += x[k + j] * w[k + j];
    for (int half = lanes / 2; half >= 1; half /= 2)
        for (int j = 0; j < half; j++) sum[j] += sum[j + half];
    for (; k < in; k++) sum[0] += x[k] * w[k];
    return sum[0];
}

enum { ALONE = 4 };

/* Output `rest` of those that are not in fours, of a single image. */
static float dot_of_single(const float *x, const float *w, int64_t in, int64_t rest) {
    const int64_t alone = in < ALONE ? in : ALONE, end = alone + (in - alone) / 8 * 8;
    return rest == 1 ? dot_in_lanes(x, w, in, 4, alone, end) : dot_in_lanes(x, w, in, 8, alone, end);
}

void anx_exact_linear_few(const anx_exact_linear *linear, int threads) {
    const int64_t in = linear->in, out = linear->out, fours = out / 4 * 4;
    const int64_t alone = (out == 1 || linear->single) && in >= ALONE ? ALONE : 0;
    const bool single = linear->single && out > 1;
#pragma omp parallel for num_threads(threads) schedule(static) collapse(2)
    for (int64_t n = 0; n < linear->batch; n++)
        for (int64_t o = 0; o < out; o++) {
            const float *x = linear->x + n * in, *w = linear->weight + o * in;
            /* Constant arguments: the compiler makes one vector loop of each. */
            const float dot = o < fours || out == 1 ? dot_in_lanes(x, w, in, 4, alone, in)
                              : single              ? dot_of_single(x, w, in, o - fours)
                                                    : dot_in_lanes(x, w, in, 8, 0, in);
            const float sum = linear->bias[o] + dot;
            linear->y[n * out + o] = linear->relu && sum < 0.0f ? 0.0f : sum;
        }
}

/* ---- the way back --------------------------------------------------------------------------------------- */

void anx_exact_linear_back_settle(anx_exact_linear_back *linear) {
    enum { FUSED_FROM = 4 };
    linear->fused_dx = linear->batch >= FUSED_FROM;
    linear->dx_block = anx_exact_linear_chain(linear->out);
    linear->dw_block = anx_exact_linear_chain(linear->batch);
    linear->fused_dw = linear->out >= FUSED_FROM && linear->batch > 1;
}

enum { COLUMNS = 32, LEVELS = 4, STEP_BITS = 4 };

/* Passes partial sums on after `row` rows; `columns` sums on each level. */
static void cascade(float level[LEVELS][COLUMNS], int64_t row, int64_t columns) {
    const int64_t mask = (1 << STEP_BITS) - 1;
    for (int l = 1; l < LEVELS && (row & (mask << ((l - 1) * STEP_BITS))) == 0; l++)
        for (int64_t i = 0; i < columns; i++) {
            level[l][i] += level[l - 1][i];
            level[l - 1][i] = 0.0f;
        }
}

/* sum[i] = the cascade over `rows` rows of column i. */
static void cascade_sum(const float *x, int64_t ld, int64_t rows, int64_t columns, float *sum) {
    float level[LEVELS][COLUMNS] = {{0}};
    for (int64_t n = 0; n < rows;) {
        for (int64_t i = 0; i < columns; i++) level[0][i] += x[n * ld + i];
        n++;
        if (n % (1 << STEP_BITS) == 0) cascade(level, n, columns);
    }
    for (int l = 1; l < LEVELS; l++)
        for (int64_t i = 0; i < columns; i++) level[0][i] += level[l][i];
    for (int64_t i = 0; i < columns; i++) sum[i] = level[0][i];
}

/* Columns o .. o+count-1, each as four cascades. */
static void four_way_sum(const float *x, int64_t ld, int64_t rows, int64_t count, float *sum) {
    enum { WAYS = 4 };
    float part[WAYS][COLUMNS];
    for (int64_t k = 0; k < WAYS; k++) cascade_sum(x + k * ld, WAYS * ld, rows / WAYS, count, part[k]);
    for (int64_t n = rows / WAYS * WAYS; n < rows; n++)
        for (int64_t i = 0; i < count; i++) part[0][i] += x[n * ld + i];
    for (int64_t i = 0; i < count; i++) sum[i] = ((part[0][i] + part[1][i]) + part[2][i]) + part[3][i];
}

/* A single column lies in memory like a row: in 8 lanes. */
static float row_sum(const float *x, int64_t elems) {
    enum { LANES = 8 };
    float lane[LANES], sum = 0.0f;
    four_way_sum(x, LANES, elems / LANES, LANES, lane);
    for (int64_t i = elems / LANES * LANES; i < elems; i++) sum += x[i];
    for (int i = 0; i < LANES; i++) sum += lane[i];
    return sum;
}

void anx_exact_linear_bias_back(int64_t batch, int64_t out, const float *dy, float *db) {
    enum { VECTOR = 8, FEW = 4 };
    if (out == 1 && batch >= VECTOR) {
        *db = row_sum(dy, batch);
        return;
    }
    const int64_t together = out < VECTOR ? FEW : COLUMNS;
    int64_t o = 0;
    for (; o + together <= out; o += together) cascade_sum(dy + o, out, batch, together, db + o);
    four_way_sum(dy + o, out, batch, out - o, db + o);
}
