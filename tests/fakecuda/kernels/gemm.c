#include "tests/fakecuda/kernels/gemm.h"

#include <oneapi/dnnl/dnnl.h>

#include "tests/fakecuda/core/report.h"

void fake_gemm_run(const fake_gemm *g) {
    const dnnl_status_t status = dnnl_sgemm(g->ta ? 'T' : 'N', g->tb ? 'T' : 'N', g->m, g->n, g->k, g->alpha, g->a,
                                            g->lda, g->b, g->ldb, g->beta, g->c, g->ldc);
    if (status != dnnl_success) fake_misuse("kernel", "oneDNN's product of matrices answers %d", (int)status);
}
