#include "tests/fakecuda/kernels/product.h"

#include <stdlib.h>
#include <string.h>

#include "tests/fakecuda/core/memory.h"
#include "tests/fakecuda/kernels/gemm.h"

/* Without gaps, as the hardware sees it. */
static float *degraded(const fake_matrix *m, const fake_precision *precision) {
    const float *p = fake_bytes(m->p);
    const size_t rows = (size_t)m->rows;
    float *out = fake_floats(rows * (size_t)m->columns);
    for (long i = 0; i < m->columns; i++) {
        float *column = fake_degraded(p + i * m->ld, rows, precision);
        memcpy(out + (size_t)i * rows, column, rows * sizeof *out);
        free(column);
    }
    return out;
}

static void scale(const fake_product *p, float *c) {
    for (long i = 0; i < p->n; i++)
        for (long k = 0; k < p->m; k++) c[i * p->ldc + k] = p->beta == 0.0f ? 0.0f : p->beta * c[i * p->ldc + k];
}

/* The transposes are row-major, and multiplied in the other order. */
static void multiply(const fake_product *p, float *c) {
    float *own_a = NULL, *own_b = NULL;
    fake_gemm g = {p->b.transposed, p->a.transposed,    p->n,    p->m,    p->k, p->alpha, fake_bytes(p->b.p),
                   p->b.ld,         fake_bytes(p->a.p), p->a.ld, p->beta, c,    p->ldc};
    if (p->precision.tf32) {
        g.a = own_b = degraded(&p->b, &p->precision);
        g.b = own_a = degraded(&p->a, &p->precision);
        g.lda = p->b.rows;
        g.ldb = p->a.rows;
    }
    fake_gemm_run(&g);
    free(own_a);
    free(own_b);
    for (long i = 0; p->precision.noise && i < p->n; i++) fake_add_noise(c + i * p->ldc, (size_t)p->m);
}

void fake_product_run(const fake_product *p) {
    float *c = fake_bytes(p->c);
    if (p->alpha == 0.0f || p->k == 0)
        scale(p, c);
    else
        multiply(p, c);
}
