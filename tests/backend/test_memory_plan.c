/* Placing buffers: never two that live at once on the same bytes, and no more memory than the chain needs. */
#include <stdint.h>

#include "src/backend/memory_plan.h"
#include "tests/support/anx_test.h"
#include "tests/support/random.h"

static bool overlap(const anx_buffer *a, const anx_buffer *b) {
    const bool together = a->first <= b->last && b->first <= a->last;
    return together && a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
}

static void buffers_alive_together_never_share_bytes(void) {
    test_random r = {.state = 1};
    for (int round = 0; round < 200; round++) {
        anx_buffer buffers[24];
        const int n = (int)test_random_int(&r, 1, 24);
        size_t largest = 0, sum = 0;
        for (int i = 0; i < n; i++) {
            const int first = (int)test_random_int(&r, 0, 9);
            buffers[i] = (anx_buffer){.bytes = (size_t)test_random_int(&r, 0, 500),
                                      .first = first,
                                      .last = (int)test_random_int(&r, first, 9)};
            if (buffers[i].bytes > largest) largest = buffers[i].bytes;
            sum += (buffers[i].bytes + 63) / 64 * 64;
        }
        size_t total = 0;
        CU_ASSERT_TRUE_FATAL(anx_memory_plan(buffers, n, 64, &total));
        CU_ASSERT_TRUE(total >= largest && total <= sum);
        for (int i = 0; i < n; i++) {
            CU_ASSERT_EQUAL(buffers[i].offset % 64, 0);
            CU_ASSERT_TRUE(buffers[i].offset + buffers[i].bytes <= total);
            for (int j = 0; j < i; j++) CU_ASSERT_FALSE(overlap(&buffers[i], &buffers[j]));
        }
    }
}

/* Each of a chain's values lives until the next is computed: the largest neighbours are all that is needed. */
static void a_chain_needs_its_two_largest_neighbours(void) {
    anx_buffer chain[] = {{.bytes = 640, .first = 0, .last = 1},
                          {.bytes = 1280, .first = 1, .last = 2},
                          {.bytes = 320, .first = 2, .last = 3},
                          {.bytes = 960, .first = 3, .last = 4}};
    size_t total = 0;
    CU_ASSERT_TRUE(anx_memory_plan(chain, 4, 64, &total));
    CU_ASSERT_EQUAL(total, 1920);
}

static void sizes_beyond_the_address_space_are_refused(void) {
    anx_buffer huge[] = {{.bytes = SIZE_MAX / 2 + 1, .first = 0, .last = 0, .offset = 7},
                         {.bytes = SIZE_MAX / 2 + 1, .first = 1, .last = 1, .offset = 7}};
    size_t total = 3;
    CU_ASSERT_FALSE(anx_memory_plan(huge, 2, 64, &total));
    CU_ASSERT_EQUAL(total, 3);
    CU_ASSERT_EQUAL(huge[0].offset, 7);
}

static const anx_test tests[] = {
    {"buffers alive together never share bytes", buffers_alive_together_never_share_bytes},
    {"a chain needs its two largest neighbours", a_chain_needs_its_two_largest_neighbours},
    {"sizes beyond the address space are refused", sizes_beyond_the_address_space_are_refused},
    {NULL, NULL},
};

int main(int argc, char **argv) {
    return anx_test_main("memory_plan", tests, argc, argv);
}
