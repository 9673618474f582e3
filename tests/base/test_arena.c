/* The arena, and the name table of state_dicts that files fill. */
#include <stdalign.h>
#include <stdio.h>
#include <string.h>

#include "src/base/arena.h"
#include "src/base/state_dict.h"
#include "tests/support/anx_test.h"

static anx_error err;

static void allocations_are_zeroed_aligned_and_apart(void) {
    anx_arena arena = ANX_ARENA_INIT;
    unsigned char *before = NULL;
    size_t before_bytes = 0;
    for (size_t n = 1; n < 300000; n += 1 + n / 2) {
        unsigned char *p = anx_arena_alloc(&arena, n, 1);
        CU_ASSERT_PTR_NOT_NULL_FATAL(p);
        CU_ASSERT_EQUAL((size_t)p % alignof(max_align_t), 0);
        size_t wrong = 0;
        for (size_t i = 0; i < n; i++) wrong += p[i] != 0;
        memset(p, 0xff, n);
        for (size_t i = 0; i < before_bytes; i++) wrong += before[i] != 0xff;
        CU_ASSERT_EQUAL(wrong, 0);
        before = p;
        before_bytes = n;
    }
    CU_ASSERT_PTR_NOT_NULL(anx_arena_alloc(&arena, 0, 8));
    CU_ASSERT_STRING_EQUAL(anx_arena_text(&arena, "abcdef", 3), "abc");
    anx_arena_fini(&arena);
    anx_arena_fini(NULL);
}

static void limits_and_overflows_give_nothing(void) {
    anx_arena arena = {.limit_bytes = 1000};
    CU_ASSERT_PTR_NULL(anx_arena_alloc(&arena, SIZE_MAX / 2, 3));
    CU_ASSERT_PTR_NULL(anx_arena_alloc(&arena, SIZE_MAX, 1));
    CU_ASSERT_PTR_NULL(anx_arena_alloc(&arena, 1001, 1));
    CU_ASSERT_PTR_NOT_NULL(anx_arena_alloc(&arena, 900, 1));
    CU_ASSERT_PTR_NULL(anx_arena_alloc(&arena, 200, 1));
    CU_ASSERT(arena.used_bytes <= 1000);
    ANX_CHECK_STATUS(ANX_ERR_LIMIT, anx_arena_error(&arena, &err), &err);
    ANX_CHECK_MESSAGE("what it describes needs more than 1000 bytes of memory, the limit here", &err);
    anx_arena_fini(&arena);
}

static void memory_elsewhere_counts_until_it_is_released(void) {
    anx_arena arena = {.limit_bytes = 1000};
    CU_ASSERT_TRUE(anx_arena_charge(&arena, 800));
    CU_ASSERT_FALSE(anx_arena_charge(&arena, 201));
    CU_ASSERT_FALSE(anx_arena_charge(&arena, SIZE_MAX));
    CU_ASSERT_PTR_NULL(anx_arena_alloc(&arena, 300, 1));
    anx_arena_discharge(&arena, 800);
    CU_ASSERT_PTR_NOT_NULL(anx_arena_alloc(&arena, 300, 1));
    anx_arena_fini(&arena);
    const anx_arena unlimited = ANX_ARENA_INIT;
    ANX_CHECK_STATUS(ANX_ERR_OUT_OF_MEMORY, anx_arena_error(&unlimited, &err), &err);
}

static void very_many_names_are_found_and_kept_unique(void) {
    enum { n = 100000 };
    static const float one = 1;
    const anx_tensor t = anx_tensor_view(ANX_F32, 0, NULL, &one);
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    char name[32];
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "layer.%d.weight", i);
        if (anx_state_dict_add(&dict, name, &t, &err) != ANX_OK) CU_FAIL("not added");
    }
    CU_ASSERT_EQUAL(dict.count, n);
    for (int i = 0; i < n; i += 997) {
        snprintf(name, sizeof name, "layer.%d.weight", i);
        CU_ASSERT_PTR_EQUAL(anx_state_dict_find(&dict, name), &dict.items[i].tensor);
        ANX_CHECK_STATUS(ANX_ERR_EXISTS, anx_state_dict_add(&dict, name, &t, &err), &err);
    }
    CU_ASSERT_PTR_NULL(anx_state_dict_find(&dict, "layer.100000.weight"));
    /* A dict put together by hand has no table. */
    const anx_state_dict part = {.items = dict.items, .count = 10};
    CU_ASSERT_PTR_EQUAL(anx_state_dict_find(&part, "layer.9.weight"), &dict.items[9].tensor);
    CU_ASSERT_PTR_NULL(anx_state_dict_find(&part, "layer.10.weight"));
    anx_state_dict_fini(&dict);
}

static void an_error_can_be_prefixed(void) {
    anx_error_set(&err, ANX_ERR_FORMAT, "reason %d", 7);
    anx_error_at_offset(&err, 12);
    anx_error_prefix(&err, "opcode %s: ", "REDUCE");
    CU_ASSERT_STRING_EQUAL(err.message, "opcode REDUCE: reason 7");
    CU_ASSERT(err.status == ANX_ERR_FORMAT && err.has_offset && err.offset == 12);
    memset(err.message, 'x', sizeof err.message - 1);
    anx_error_prefix(&err, "before ");
    CU_ASSERT_EQUAL(strlen(err.message), sizeof err.message - 1);
    CU_ASSERT(strncmp(err.message, "before xxx", 10) == 0);
    anx_error_prefix(NULL, "nothing");
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"allocations_are_zeroed_aligned_and_apart", allocations_are_zeroed_aligned_and_apart},
        {"limits_and_overflows_give_nothing", limits_and_overflows_give_nothing},
        {"memory_elsewhere_counts_until_it_is_released", memory_elsewhere_counts_until_it_is_released},
        {"very_many_names_are_found_and_kept_unique", very_many_names_are_found_and_kept_unique},
        {"an_error_can_be_prefixed", an_error_can_be_prefixed},
        {NULL, NULL},
    };
    return anx_test_main("arena", tests, argc, argv);
}
