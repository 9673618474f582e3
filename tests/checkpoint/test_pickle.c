/* The values that pickles of CPython 3.11 (pickle.dumps(..., protocol=2)) become. */
#include <math.h>
#include <string.h>

#include "loaders/checkpoint/pickle.h"
#include "tests/support/anx_test.h"

static anx_error err;

typedef struct unpickled {
    anx_arena arena;
    anx_pickle_value *root;
} unpickled;

static void load(unpickled *u, const char *bytes, size_t n_bytes) {
    *u = (unpickled){.arena = ANX_ARENA_INIT};
    size_t used = 0;
    const anx_pickle_input input = {.bytes = (const uint8_t *)bytes, .n_bytes = n_bytes};
    ANX_CHECK_OK(anx_pickle_run(&input, &u->arena, &u->root, &used, &err), &err);
    CU_ASSERT_EQUAL(used, n_bytes);
    CU_ASSERT_PTR_NOT_NULL_FATAL(u->root);
}

static bool is_text(const anx_pickle_value *v, anx_pickle_kind kind, const char *bytes, size_t n_bytes) {
    return v->kind == kind && v->u.text.n_bytes == n_bytes && memcmp(v->u.text.bytes, bytes, n_bytes) == 0;
}

/*
 * (-1, 255, 256, 65535, 65536, -2**31, 2**31, -2**31-1, -2**40, 2**62, -2**63, 2**63-1, 2**63, -2**80, 0.5, -1e300,
 *  inf, "", "a\u00e4\U0001f600", None, True, False, b"\x00\xffA")
 */
static void scalars_of_every_size(void) {
    static const char bytes[] =
        "\x80\x02("
        "J\xff\xff\xff\xffK\xffM\x00\x01M\xff\xffJ\x00\x00\x01\x00J\x00\x00\x00\x80\x8a\x05\x00\x00\x00\x80\x00"
        "\x8a\x05\xff\xff\xff\x7f\xff\x8a\x06\x00\x00\x00\x00\x00\xff\x8a\x08\x00\x00\x00\x00\x00\x00\x00@\x8a\x08\x00"
        "\x00\x00\x00\x00\x00\x00\x80\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80"
        "\x00\x8a\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xffG\x3f\xe0\x00\x00\x00\x00\x00\x00G\xfe\x37\xe4<\x88"
        "\x00u\x9cG\x7f\xf0\x00\x00\x00\x00\x00\x00X\x00\x00\x00\x00q\x00X\x07\x00\x00\x00\x61\xc3\xa4\xf0\x9f\x98\x80"
        "q\x01N\x88\x89\x63_codecs\x0a\x65ncode\x0aq\x02X\x04\x00\x00\x00\x00\xc3\xbf\x41q\x03X\x06\x00\x00\x00latin1q"
        "\x04\x86q\x05Rq\x06tq\x07.";
    static const int64_t integers[] = {-1,
                                       255,
                                       256,
                                       65535,
                                       65536,
                                       -((int64_t)1 << 31),
                                       1LL << 31,
                                       -(1LL << 31) - 1,
                                       -((int64_t)1 << 40),
                                       1LL << 62,
                                       INT64_MIN,
                                       INT64_MAX};
    unpickled u;
    load(&u, bytes, sizeof bytes - 1);
    CU_ASSERT_EQUAL_FATAL(u.root->kind, ANX_PICKLE_TUPLE);
    CU_ASSERT_EQUAL_FATAL(u.root->u.list.count, 23);
    anx_pickle_value *const *v = u.root->u.list.items;
    for (size_t i = 0; i < 12; i++) CU_ASSERT(v[i]->kind == ANX_PICKLE_INT && v[i]->u.integer == integers[i]);
    CU_ASSERT(is_text(v[12], ANX_PICKLE_BIG_INT, "\0\0\0\0\0\0\0\x80\0", 9));
    CU_ASSERT(is_text(v[13], ANX_PICKLE_BIG_INT, "\0\0\0\0\0\0\0\0\0\0\xff", 11));
    CU_ASSERT(v[14]->kind == ANX_PICKLE_FLOAT && v[14]->u.real == 0.5);
    CU_ASSERT(v[15]->kind == ANX_PICKLE_FLOAT && v[15]->u.real == -1e300);
    CU_ASSERT(v[16]->kind == ANX_PICKLE_FLOAT && v[16]->u.real == (double)INFINITY);
    CU_ASSERT(anx_pickle_is_string(v[17], ""));
    CU_ASSERT(anx_pickle_is_string(v[18], "a\xc3\xa4\xf0\x9f\x98\x80"));
    CU_ASSERT_EQUAL(v[19]->kind, ANX_PICKLE_NONE);
    CU_ASSERT(v[20]->kind == ANX_PICKLE_BOOL && v[20]->u.boolean);
    CU_ASSERT(v[21]->kind == ANX_PICKLE_BOOL && !v[21]->u.boolean);
    CU_ASSERT(is_text(v[22], ANX_PICKLE_BYTES,
                      "\0\xff"
                      "A",
                      3));
    anx_arena_fini(&u.arena);
}

/* {"list": [1, [2, [3]]], "dict": {1: "one", None: "none", (1, 2): "pair"}} */
static void containers_in_containers(void) {
    static const char bytes[] =
        "\x80\x02}q\x00(X\x04\x00\x00\x00listq\x01]q\x02(K\x01]q\x03(K\x02]q\x04K\x03\x61\x65\x65X\x04\x00\x00\x00\x64"
        "ictq\x05}q\x06(K\x01X\x03\x00\x00\x00oneq\x07NX\x04\x00\x00\x00noneq\x08K\x01K\x02\x86q\x09X\x04\x00\x00\x00"
        "pairq\x0auu.";
    unpickled u;
    load(&u, bytes, sizeof bytes - 1);
    CU_ASSERT_EQUAL_FATAL(u.root->kind, ANX_PICKLE_DICT);
    CU_ASSERT_FALSE(u.root->u.dict.ordered);
    const anx_pickle_value *list = anx_pickle_dict_find(u.root, "list"), *dict = anx_pickle_dict_find(u.root, "dict");
    CU_ASSERT_PTR_NOT_NULL_FATAL(list);
    CU_ASSERT_PTR_NOT_NULL_FATAL(dict);
    CU_ASSERT_PTR_NULL(anx_pickle_dict_find(u.root, "lis"));
    for (int64_t depth = 1; depth <= 3; depth++) {
        CU_ASSERT_EQUAL_FATAL(list->kind, ANX_PICKLE_LIST);
        CU_ASSERT_EQUAL_FATAL(list->u.list.count, depth < 3 ? 2 : 1);
        CU_ASSERT_EQUAL(list->u.list.items[0]->u.integer, depth);
        if (depth < 3) list = list->u.list.items[1];
    }
    CU_ASSERT_EQUAL_FATAL(dict->u.dict.count, 3);
    CU_ASSERT_EQUAL(dict->u.dict.items[0]->u.integer, 1);
    CU_ASSERT_EQUAL(dict->u.dict.items[2]->kind, ANX_PICKLE_NONE);
    CU_ASSERT_EQUAL(dict->u.dict.items[4]->kind, ANX_PICKLE_TUPLE);
    CU_ASSERT(anx_pickle_is_string(dict->u.dict.items[5], "pair"));
    anx_arena_fini(&u.arena);
}

/* d = {"k": 1}; d["k"] = 2, as a pickle that sets the key twice: Python keeps the last. */
static void the_last_of_equal_keys_counts(void) {
    static const char bytes[] = "\x80\x02}(X\x01\0\0\0kK\x01X\x01\0\0\0kK\x02u.";
    unpickled u;
    load(&u, bytes, sizeof bytes - 1);
    CU_ASSERT_EQUAL(anx_pickle_dict_find(u.root, "k")->u.integer, 2);
    anx_arena_fini(&u.arena);
}

/* argparse.Namespace(lr=0.1): kept, with its state, and not understood */
static void instances_are_kept_as_they_are(void) {
    static const char bytes[] = "\x80\x02\x63\x61rgparse\x0aNamespace\x0aq\x00)\x81q\x01}q\x02X\x02\x00\x00\x00lrq\x03G"
                                "\x3f\xb9\x99\x99\x99\x99\x99\x9asb.";
    unpickled u;
    load(&u, bytes, sizeof bytes - 1);
    CU_ASSERT_EQUAL_FATAL(u.root->kind, ANX_PICKLE_OBJECT);
    CU_ASSERT_PTR_NOT_NULL_FATAL(u.root->u.object.state);
    CU_ASSERT_EQUAL(u.root->u.object.args->u.list.count, 0);
    CU_ASSERT_EQUAL(anx_pickle_dict_find(u.root->u.object.state, "lr")->u.real, 0.1);
    anx_arena_fini(&u.arena);
}

static void kinds_have_names(void) {
    CU_ASSERT_STRING_EQUAL(anx_pickle_kind_name(ANX_PICKLE_INT), "int");
    CU_ASSERT_STRING_EQUAL(anx_pickle_kind_phrase(ANX_PICKLE_INT), "an int");
    CU_ASSERT_STRING_EQUAL(anx_pickle_kind_name(ANX_PICKLE_NONE), "None");
    for (int k = 0; k < ANX_PICKLE_KIND_COUNT; k++) CU_ASSERT_PTR_NOT_NULL(anx_pickle_kind_name((anx_pickle_kind)k));
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"scalars_of_every_size", scalars_of_every_size},
        {"containers_in_containers", containers_in_containers},
        {"the_last_of_equal_keys_counts", the_last_of_equal_keys_counts},
        {"instances_are_kept_as_they_are", instances_are_kept_as_they_are},
        {"kinds_have_names", kinds_have_names},
        {NULL, NULL},
    };
    return anx_test_main("pickle", tests, argc, argv);
}
