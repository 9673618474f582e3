#include "tools/benchmark/limits.h"

#include <omp.h>
#include <stdint.h>
#include <sys/mman.h>

#include "src/base/clock.h"
#include "src/base/isa.h"
#include "tools/benchmark/series.h"

static bench_fma_fn *choose_fma(const char **isa) {
#if defined(__x86_64__)
    switch (anx_isa_best()) {
    case ANX_ISA_AVX512: *isa = "AVX-512"; return bench_fma_avx512;
    case ANX_ISA_AVX2: *isa = "AVX2"; return bench_fma_avx2;
    case ANX_ISA_PORTABLE: break;
    }
#endif
    *isa = "portable";
    return bench_fma_portable;
}

static double fastest_flops(int threads, bench_fma_fn *fma) {
    double best = 0.0;
    for (int run = 0; run < 5; run++) {
        double operations = 0.0;
        const double start = anx_clock_seconds();
#pragma omp parallel num_threads(threads) reduction(+ : operations)
        {
            float sink = 0.0f;
            operations += fma(20000000, &sink);
            volatile float keep = sink;
            (void)keep;
        }
        const double rate = operations / (anx_clock_seconds() - start);
        if (rate > best) best = rate;
    }
    return best;
}

/* Far more than any cache holds. */
static const size_t buffer_bytes = (size_t)512 << 20;

/*
 * Each thread reads several streams, since processors fetch ahead in each by itself: with one alone, some reach two
 * thirds of what their memory gives.
 */
enum { STREAMS = 4 };

static uint64_t combine(const uint64_t *words, size_t n) {
    uint64_t x[8] = {0};
    const size_t part = n / STREAMS;
    for (size_t i = 0; i + 8 <= part; i += 8)
        for (size_t s = 0; s < STREAMS; s++)
            for (int k = 0; k < 8; k++) x[k] ^= words[s * part + i + (size_t)k];
    return x[0] ^ x[1] ^ x[2] ^ x[3] ^ x[4] ^ x[5] ^ x[6] ^ x[7];
}

static double fastest_bytes(int threads, const uint64_t *words) {
    double best = 0.0;
    for (int run = 0; run < 5; run++) {
        const double start = anx_clock_seconds();
        uint64_t all = 0;
#pragma omp parallel num_threads(threads) reduction(^ : all)
        {
            const size_t n =
                buffer_bytes / sizeof *words / (size_t)omp_get_num_threads() / (8 * STREAMS) * (8 * STREAMS);
            all ^= combine(words + (size_t)omp_get_thread_num() * n, n);
        }
        volatile uint64_t keep = all;
        (void)keep;
        const double rate = (double)buffer_bytes / (anx_clock_seconds() - start);
        if (rate > best) best = rate;
    }
    return best;
}

/* One half of the words is added to the other: two numbers are read for each that is written. */
static double fastest_moved(int threads, uint64_t *words) {
    const size_t half = buffer_bytes / sizeof *words / 2;
    double best = 0.0;
    for (int run = 0; run < 5; run++) {
        const double start = anx_clock_seconds();
#pragma omp parallel for num_threads(threads) schedule(static)
        for (size_t i = 0; i < half; i++) words[i] += words[half + i];
        const double rate = 3.0 * (double)(half * sizeof *words) / (anx_clock_seconds() - start);
        if (rate > best) best = rate;
    }
    return best;
}

anx_status bench_measure_limits(int threads, bench_limits *out, anx_error *err) {
    bench_limits limits = {.flops = 0.0};
    uint64_t *words = mmap(NULL, buffer_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (words == MAP_FAILED)
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for %zu bytes", buffer_bytes);
    (void)madvise(words, buffer_bytes, MADV_HUGEPAGE);
    /* Pages that were never written all read as the same page of zeros. */
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t i = 0; i < buffer_bytes / sizeof *words; i++) words[i] = i;
    bench_fma_fn *fma = choose_fma(&limits.isa);
    limits.flops = fastest_flops(threads, fma);
    limits.bytes = fastest_bytes(threads, words);
    limits.moved = fastest_moved(threads, words);
    munmap(words, buffer_bytes);
    *out = limits;
    return ANX_OK;
}
