#include "parity/elements_equal.h"

#include <string.h>

#include "src/base/checked.h"

enum {
    piece_elems = 1024,
    largest_element = 8,
    head_elems = 256, /* what differs mostly does so at once */
    most_shares = 64
};
static const int64_t parallel_elems = 1 << 18; /* fewer are not worth waking threads for */

anx_share anx_share_of(int64_t n, int i, int shares) {
    const int64_t whole = n / shares, more = n % shares;
    const int64_t from = whole * i + (i < more ? i : more);
    return (anx_share){.from = from, .to = from + whole + (i < more)};
}

/* The elements from `first`: where they are if they can be used there, otherwise in buf. */
static const char *elements_at(const anx_elements *e, const char *in_place, int64_t first, int64_t n, char *buf) {
    if (in_place != NULL) return in_place + first * (int64_t)anx_dtype_bytes(e->tensor.dtype);
    anx_elements_read(e, first, n, e->tensor.dtype, buf, NULL);
    return buf;
}

bool anx_elements_equal_range(const anx_elements *a, const anx_elements *b, int64_t first, int64_t n) {
    char a_buf[piece_elems * largest_element], b_buf[piece_elems * largest_element];
    const size_t element_bytes = anx_dtype_bytes(a->tensor.dtype);
    const char *const a_there = anx_elements_in_place(a), *const b_there = anx_elements_in_place(b);
    const bool there = a_there != NULL && b_there != NULL;
    for (int64_t done = 0; done < n;) {
        const int64_t now = !there && n - done > piece_elems ? piece_elems : n - done;
        if (memcmp(elements_at(a, a_there, first + done, now, a_buf), elements_at(b, b_there, first + done, now, b_buf),
                   (size_t)now * element_bytes) != 0)
            return false;
        done += now;
    }
    return true;
}

bool anx_elements_equal(const anx_elements *a, const anx_elements *b, int threads) {
    const int64_t n = anx_tensor_elems(&a->tensor);
    if (n == 0) return true;
    if (!anx_elements_equal_range(a, b, 0, n < head_elems ? n : head_elems)) return false;
    if (n < parallel_elems) return anx_elements_equal_range(a, b, 0, n);
    bool differ = false;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads > 0 ? threads : 1)
    for (int i = 0; i < most_shares; i++) {
        bool known;
#pragma omp atomic read
        known = differ;
        if (known) continue;
        const anx_share share = anx_share_of(n, i, most_shares);
        if (anx_elements_equal_range(a, b, share.from, share.to - share.from)) continue;
#pragma omp atomic write
        differ = true;
    }
    return !differ;
}

anx_read_budget anx_read_budget_for(uint64_t a_bytes, uint64_t b_bytes) {
    enum { times = 16 };
    uint64_t bytes = (uint64_t)1 << 30, files;
    if (__builtin_add_overflow(a_bytes, b_bytes, &files) || __builtin_mul_overflow(files, times, &files) ||
        __builtin_add_overflow(bytes, files, &bytes))
        bytes = UINT64_MAX;
    return (anx_read_budget){.bytes = bytes};
}

bool anx_read_budget_take(anx_read_budget *budget, int64_t n, anx_dtype dtype) {
    size_t bytes;
    if (!anx_checked_mul_size((size_t)n, anx_dtype_bytes(dtype), &bytes) || bytes > budget->bytes) {
        budget->refused = true;
        return false;
    }
    budget->bytes -= bytes;
    return true;
}
