/*
 * The product of two matrices in double, for the way back through convolutions and linear layers. C is cut into tiles
 * that stay in the first-level cache while a few rows of B at a time are multiplied into them; what an element is the
 * sum of, and in which order, depends on none of this.
 */
#include <string.h>

#include "src/backend/reference/kernels.h"
#include "src/backend/reference/vector.h"

enum {
    TILE_ROWS = 8,
    TILE_COLUMNS = 256, /* 16 KiB of C */
    STEPS = 4           /* rows of B at a time */
};

/* c[j] += a[0] b[0][j], then a[1] b[1][j], ... for j < n; `steps` of them. */
typedef void add_products_fn(double *c, const double *a, const double *const *b, int steps, int64_t n);

ANX_ALWAYS_INLINE void add_products(double *restrict c, const double *a, const double *const *b, int steps, int64_t n) {
    if (steps == STEPS) {
        const double a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
        const double *restrict b0 = b[0], *restrict b1 = b[1], *restrict b2 = b[2], *restrict b3 = b[3];
        for (int64_t j = 0; j < n; j++) c[j] = (((c[j] + a0 * b0[j]) + a1 * b1[j]) + a2 * b2[j]) + a3 * b3[j];
        return;
    }
    for (int k = 0; k < steps; k++) {
        const double factor = a[k];
        const double *restrict row = b[k];
        for (int64_t j = 0; j < n; j++) c[j] += factor * row[j];
    }
}

static void add_products_portable(double *c, const double *a, const double *const *b, int steps, int64_t n) {
    add_products(c, a, b, steps, n);
}

#if ANX_REFERENCE_X86
ANX_TARGET_AVX2 static void add_products_avx2(double *c, const double *a, const double *const *b, int steps,
                                              int64_t n) {
    add_products(c, a, b, steps, n);
}

ANX_TARGET_AVX512 static void add_products_avx512(double *c, const double *a, const double *const *b, int steps,
                                                  int64_t n) {
    add_products(c, a, b, steps, n);
}
#endif

static add_products_fn *pick_kernel(anx_isa isa) {
#if ANX_REFERENCE_X86
    switch (isa) {
    case ANX_ISA_AVX512: return add_products_avx512;
    case ANX_ISA_AVX2: return add_products_avx2;
    case ANX_ISA_PORTABLE: break;
    }
#endif
    return add_products_portable;
}

static int64_t at_most(int64_t n, int64_t limit) {
    return n < limit ? n : limit;
}

/* The rows k .. k+steps-1 of B from column j: where they lie, or widened. */
static void rows_of_b(const anx_reference_product *p, int64_t k, int steps, int64_t j, int64_t n,
                      double widened[STEPS][TILE_COLUMNS], const double *rows[STEPS]) {
    for (int i = 0; i < steps; i++) {
        rows[i] = widened[i];
        if (p->b64 != NULL)
            rows[i] = p->b64 + (k + i) * p->b_step + j;
        else
            for (int64_t column = 0; column < n; column++)
                widened[i][column] = (double)p->b32[(k + i) * p->b_step + j + column];
    }
}

static void run_tile(const anx_reference_product *p, add_products_fn *kernel, int64_t row, int64_t column) {
    const int64_t rows = at_most(p->rows - row, TILE_ROWS), columns = at_most(p->columns - column, TILE_COLUMNS);
    double *c = p->c + row * p->c_row + column;
    double widened[STEPS][TILE_COLUMNS];
    for (int64_t i = 0; !p->add && i < rows; i++) memset(c + i * p->c_row, 0, (size_t)columns * sizeof *c);
    for (int64_t k = 0; k < p->depth; k += STEPS) {
        const int steps = (int)at_most(p->depth - k, STEPS);
        const double *b[STEPS];
        rows_of_b(p, k, steps, column, columns, widened, b);
        for (int64_t i = 0; i < rows; i++) {
            double a[STEPS];
            for (int step = 0; step < steps; step++) a[step] = p->a[(row + i) * p->a_row + (k + step) * p->a_step];
            kernel(c + i * p->c_row, a, b, steps, columns);
        }
    }
}

void anx_reference_multiply(const anx_reference_product *p) {
    add_products_fn *const kernel = pick_kernel(p->isa);
    const int64_t across = (p->columns + TILE_COLUMNS - 1) / TILE_COLUMNS;
    const int64_t tiles = (p->rows + TILE_ROWS - 1) / TILE_ROWS * across;
#pragma omp parallel for schedule(dynamic) num_threads(p->threads)
    for (int64_t tile = 0; tile < tiles; tile++)
        run_tile(p, kernel, tile / across * TILE_ROWS, tile % across * TILE_COLUMNS);
}
