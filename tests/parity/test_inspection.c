/* What is said of small files whose every byte is known, the hostile ones too. */
#include "parity/inspection.h"

#include <cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "loaders/checkpoint/pth_writer.h"
#include "src/model/graph.h"
#include "tests/support/anx_test.h"
#include "tests/support/test_zip.h"

static anx_error err;

static anx_inspection *inspect_with(const char *path, const anx_inspection_options *options) {
    anx_inspection *in = NULL;
    ANX_CHECK_OK(anx_inspect(path, options, &in, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(in);
    return in;
}

static anx_inspection *inspect(const char *path) {
    return inspect_with(path, NULL);
}

/* No control characters, no blanks at a line's end. */
static char *text_of(const anx_inspection *in) {
    char *text = NULL;
    size_t n = 0;
    ANX_CHECK_OK(anx_inspection_text(in, &text, &n, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    CU_ASSERT_EQUAL(strlen(text), n);
    CU_ASSERT_EQUAL(text[n - 1], '\n');
    for (size_t i = 0; i < n; i++) {
        CU_ASSERT_TRUE((unsigned char)text[i] >= ' ' || text[i] == '\n');
        CU_ASSERT_NOT_EQUAL(text[i], 0x7f);
        if (text[i] == '\n' && i > 0) CU_ASSERT_NOT_EQUAL(text[i - 1], ' ');
    }
    return text;
}

static void check_text(const anx_inspection *in, const char *part) {
    char *text = text_of(in);
    if (strstr(text, part) == NULL) fprintf(stderr, "  no '%s' in:\n%s", part, text);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, part));
    free(text);
}

static cJSON *json_of(const anx_inspection *in) {
    char *text = NULL;
    ANX_CHECK_OK(anx_inspection_json(in, &text, NULL, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    cJSON *root = cJSON_Parse(text);
    CU_ASSERT_PTR_NOT_NULL_FATAL(root);
    free(text);
    return root;
}

/* ---- pickles that are put together ------------------------------------------------------------------------- */

typedef struct pickle {
    uint8_t *bytes;
    size_t n, capacity;
} pickle;

static void put(pickle *p, const void *bytes, size_t n) {
    if (p->n + n > p->capacity) {
        p->capacity = (p->n + n) * 2;
        p->bytes = realloc(p->bytes, p->capacity);
        if (p->bytes == NULL) abort();
    }
    memcpy(p->bytes + p->n, bytes, n);
    p->n += n;
}

#define PUT(p, literal) put((p), literal, sizeof literal - 1)

static void put_string(pickle *p, const char *text) {
    const uint32_t n = (uint32_t)strlen(text);
    PUT(p, "X");
    put(p, &n, 4);
    put(p, text, n);
}

/* In the folder "m": the pickle, and data/0 and data/1 as test_zip_checkpoint has them. */
static anx_inspection *inspect_pickle(pickle *p) {
    test_zip zip;
    PUT(p, ".");
    test_zip_checkpoint(&zip, p->bytes, p->n);
    anx_inspection *in = inspect(test_zip_save(&zip, "pickle.pth"));
    test_zip_fini(&zip);
    free(p->bytes);
    *p = (pickle){.bytes = NULL};
    return in;
}

/* ---- the file and its tensors ------------------------------------------------------------------------------ */

static void a_small_file(void) {
    test_zip zip;
    test_zip_checkpoint(&zip, test_zip_pickle, test_zip_pickle_bytes);
    anx_inspection *in = inspect(test_zip_save(&zip, "small.pth"));
    anx_digest digest;
    ANX_CHECK_OK(anx_sha256_buffer(zip.bytes, zip.n_bytes, &digest, &err), &err);
    CU_ASSERT_TRUE(anx_digest_equal(&in->digest, &digest));
    CU_ASSERT_PTR_NULL(in->official);
    CU_ASSERT(in->n_tensors == 2 && in->n_storages == 2 && in->n_elems == 8 && in->n_bytes == 40);
    const anx_inspected_tensor *w = &in->tensors[0], *n = &in->tensors[1];
    CU_ASSERT_STRING_EQUAL(w->name, "w");
    CU_ASSERT(w->file_offset == zip.data[2] && n->file_offset == zip.data[3]);
    CU_ASSERT(w->stats.min == 0 && w->stats.max == 5 && anx_tensor_stats_mean(&w->stats) == 2.5);
    CU_ASSERT(n->stats.int_min == 10 && n->stats.int_max == 11 && anx_tensor_stats_mean(&n->stats) == 10.5);
    CU_ASSERT_FALSE(in->big_endian || in->has_module_prefix || in->metadata.present || in->fits);
    CU_ASSERT_PTR_NULL(in->match.arch);
    CU_ASSERT_TRUE(in->contents.complete);
    CU_ASSERT(in->contents.count == 1 && in->contents.nodes[0].n_tensors == 2 && in->contents.nodes[0].n_items == 0);
    char *text = text_of(in);
    CU_ASSERT_PTR_NULL(strstr(text, "contents"));
    free(text);
    anx_inspection_destroy(in);
    test_zip_fini(&zip);
}

static void big_endian_and_not_aligned(void) {
    const float floats[6] = {0, 1, 2, 3, 4, NAN};
    uint32_t big[6];
    const uint64_t integers[2] = {__builtin_bswap64((uint64_t)INT64_MIN), __builtin_bswap64((1ULL << 53) + 1)};
    memcpy(big, floats, sizeof big);
    for (int i = 0; i < 6; i++) big[i] = __builtin_bswap32(big[i]);
    for (size_t shift = 0; shift < 8; shift++) {
        test_zip zip;
        char folder[16];
        test_zip_init(&zip);
        zip.alignment = 0;
        snprintf(folder, sizeof folder, "%.*s", (int)shift + 1, "aaaaaaaa");
        char name[40];
        snprintf(name, sizeof name, "%s/data.pkl", folder);
        test_zip_add(&zip, name, test_zip_pickle, test_zip_pickle_bytes);
        snprintf(name, sizeof name, "%s/byteorder", folder);
        test_zip_add(&zip, name, "big", 3);
        snprintf(name, sizeof name, "%s/data/0", folder);
        test_zip_add(&zip, name, big, sizeof big);
        snprintf(name, sizeof name, "%s/data/1", folder);
        test_zip_add(&zip, name, integers, sizeof integers);
        test_zip_finish(&zip);
        anx_inspection *in = inspect(test_zip_save(&zip, "big.pth"));
        const anx_inspected_tensor *w = &in->tensors[0], *n = &in->tensors[1];
        CU_ASSERT_TRUE(in->big_endian);
        CU_ASSERT(w->stats.min == 0 && w->stats.max == 4 && w->stats.n_nan == 1);
        CU_ASSERT_EQUAL(anx_tensor_stats_mean(&w->stats), 2);
        CU_ASSERT(n->stats.int_min == INT64_MIN && n->stats.int_max == (1LL << 53) + 1);
        CU_ASSERT_EQUAL(w->file_offset, zip.data[2]);
        check_text(in, "big-endian");
        check_text(in, "  -9.223e+18  9.007e+15  -4.607e+18\n");
        char *json = NULL;
        ANX_CHECK_OK(anx_inspection_json(in, &json, NULL, &err), &err);
        CU_ASSERT_PTR_NOT_NULL(strstr(json, "-9223372036854775808"));
        CU_ASSERT_PTR_NOT_NULL(strstr(json, "9007199254740993"));
        free(json);
        anx_inspection_destroy(in);
        test_zip_fini(&zip);
    }
}

static void views_of_one_storage(void) {
    pickle p = {.n = 0};
    PUT(&p, "\x80\x02}(");
    put_string(&p, "t"); /* transposed */
    PUT(&p, TP_TENSOR(TP_FLOATS, "K\0", "K\x03K\x02\x86", "K\x01K\x03\x86"));
    put_string(&p, "part"); /* elements 2 and 4 */
    PUT(&p, TP_TENSOR(TP_FLOATS, "K\x02", "K\x02\x85", "K\x02\x85"));
    for (int i = 0; i < 4; i++) {
        put_string(&p, (const char *const[]){"a", "b", "c", "d"}[i]);
        PUT(&p, TP_W);
    }
    put_string(&p, "none");
    PUT(&p, TP_TENSOR(TP_FLOATS, "K\x06", "K\0\x85", "K\x01\x85"));
    put_string(&p, "alone");
    PUT(&p, TP_TENSOR(TP_STORAGE("LongStorage", "\x01", "1", "K\x02"), "K\0", "K\x02\x85", "K\x01\x85"));
    PUT(&p, "u");
    anx_inspection *in = inspect_pickle(&p);
    CU_ASSERT_EQUAL_FATAL(in->n_tensors, 8);
    CU_ASSERT_EQUAL_FATAL(in->n_storages, 2);
    CU_ASSERT(in->storages[0].n_tensors == 7 && in->storages[1].n_tensors == 1);
    CU_ASSERT(in->n_elems == 6 + 2 + 24 + 0 + 2 && in->storage_bytes == 24 + 16);
    const anx_inspected_tensor *t = in->tensors;
    CU_ASSERT_FALSE(t[0].contiguous);
    CU_ASSERT(anx_tensor_stats_mean(&t[0].stats) == 2.5);
    CU_ASSERT(t[1].stats.min == 2 && t[1].stats.max == 4);
    CU_ASSERT_EQUAL(t[1].file_offset, t[0].file_offset + 8);
    CU_ASSERT_EQUAL(t[6].state, ANX_STATS_EMPTY);
    CU_ASSERT_EQUAL(t[7].storage, 1);
    for (size_t k = 0; k < 7; k++) CU_ASSERT_EQUAL(in->by_storage[in->storages[0].first + k], k);
    check_text(in, "    strides (1, 3)\n    shares its storage with 'part', 'a', 'b' and 3 more\n");
    check_text(in, "    strides (2,)\n    from element 2 of its storage's 6\n");
    check_text(in, "views of 2 storages of 40 bytes");
    anx_inspection_destroy(in);
}

static void parameters(void) {
    pickle p = {.n = 0};
    PUT(&p, "\x80\x02}(");
    put_string(&p, "w");
    PUT(&p, TP_GLOBAL("torch._utils", "_rebuild_parameter") TP_W "\x88" TP_HOOKS "\x87R");
    put_string(&p, "frozen");
    PUT(&p, TP_GLOBAL("torch._utils", "_rebuild_parameter") TP_W "\x89" TP_HOOKS "\x87R");
    PUT(&p, "u");
    anx_inspection *in = inspect_pickle(&p);
    CU_ASSERT_TRUE(in->tensors[0].entry->is_parameter && in->tensors[0].entry->requires_grad);
    check_text(in, "a Parameter, requires_grad True");
    check_text(in, "a Parameter, requires_grad False");
    anx_inspection_destroy(in);
}

/* 10^15 elements of one stored. */
static void expanded_tensors_take_no_time(void) {
    pickle p = {.n = 0};
    PUT(&p, "\x80\x02}(");
    for (int i = 0; i < 10; i++) {
        put_string(&p, (const char *const[]){"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}[i]);
        PUT(&p, TP_TENSOR(TP_FLOATS, "K\0", "\x8a\x07\0\x80\xc6\xa4~\x8d\x03\x85", "K\0\x85"));
    }
    PUT(&p, "u");
    const clock_t start = clock();
    anx_inspection *in = inspect_pickle(&p);
    CU_ASSERT((double)(clock() - start) / CLOCKS_PER_SEC < 2);
    CU_ASSERT_EQUAL(in->tensors[0].n_elems, 1000000000000000);
    CU_ASSERT_EQUAL(in->tensors[9].state, ANX_STATS_EXPANDED);
    CU_ASSERT_EQUAL(in->n_elems, 10000000000000000);
    check_text(in, "values not looked at: expanded from fewer elements than it has");
    cJSON *json = json_of(in), *t = cJSON_GetArrayItem(cJSON_GetObjectItem(json, "tensors"), 0);
    CU_ASSERT_STRING_EQUAL(cJSON_GetStringValue(cJSON_GetObjectItem(t, "not_computed")), "expanded");
    CU_ASSERT_TRUE(cJSON_IsNull(cJSON_GetObjectItem(t, "statistics")));
    cJSON_Delete(json);
    anx_inspection_destroy(in);
}

/* Elements whose number or bytes no int64 holds. */
static void sums_saturate(void) {
    pickle p = {.n = 0};
    PUT(&p, "\x80\x02}(");
    for (int i = 0; i < 5; i++) { /* 2^61 each */
        put_string(&p, (const char *const[]){"0", "1", "2", "3", "4"}[i]);
        PUT(&p, TP_TENSOR(TP_FLOATS, "K\0", "\x8a\x08\0\0\0\0\0\0\0\x20\x85", "K\0\x85"));
    }
    PUT(&p, "u");
    anx_inspection *in = inspect_pickle(&p);
    CU_ASSERT_EQUAL(in->n_elems, INT64_MAX);
    CU_ASSERT_EQUAL(in->n_bytes, UINT64_MAX);
    check_text(in, "more than 2^63 bytes");
    cJSON_Delete(json_of(in));
    anx_inspection_destroy(in);
}

/* Each is as large as its storage: only their number asks for too much. */
static void very_many_views_are_not_all_read(void) {
    enum { n_bytes = 2 << 20, n_views = 40 };
    pickle p = {.n = 0};
    PUT(&p, "\x80\x02}(");
    for (int i = 0; i < n_views; i++) {
        char name[4];
        snprintf(name, sizeof name, "%d", i % 100);
        put_string(&p, name);
        PUT(&p,
            TP_TENSOR(TP_STORAGE("ByteStorage", "\x01", "0", "J\0\0\x20\0"), "K\0", "J\0\0\x20\0\x85", "K\x01\x85"));
    }
    PUT(&p, "u.");
    uint8_t *data = calloc(n_bytes, 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(data);
    data[n_bytes - 1] = 7;
    test_zip zip;
    test_zip_init(&zip);
    test_zip_add(&zip, "m/data.pkl", p.bytes, p.n);
    test_zip_add(&zip, "m/data/0", data, n_bytes);
    test_zip_finish(&zip);
    anx_inspection *in = inspect(test_zip_save(&zip, "views.pth"));
    CU_ASSERT(in->tensors[0].state == ANX_STATS_COMPUTED && in->tensors[0].stats.max == 7);
    CU_ASSERT(in->tensors[4].state == ANX_STATS_COMPUTED);
    CU_ASSERT(in->tensors[n_views - 1].state == ANX_STATS_TOO_MANY);
    check_text(in, "the tensors before it have several times the file's elements");
    anx_inspection_destroy(in);
    test_zip_fini(&zip);
    free(data);
    free(p.bytes);
}

static void threads_change_nothing(void) {
    enum { n = 1000003 };
    float *values = malloc(n * sizeof *values);
    CU_ASSERT_PTR_NOT_NULL_FATAL(values);
    uint32_t state = 1;
    for (int i = 0; i < n; i++) values[i] = (float)((state = state * 1664525u + 1013904223u) >> 8) * 1e-5f - 60.0f;
    const int64_t shape[1] = {n};
    const anx_tensor t = anx_tensor_view(ANX_F32, 1, shape, values);
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    const char *path = anx_test_path("threads.pth");
    ANX_CHECK_OK(anx_state_dict_add(&dict, "w", &t, &err), &err);
    ANX_CHECK_OK(anx_pth_write(path, &dict, NULL, &err), &err);
    char *first = NULL, *other = NULL;
    for (int threads = 1; threads <= 5; threads++) {
        anx_inspection *in = inspect_with(path, &(anx_inspection_options){.threads = threads});
        ANX_CHECK_OK(anx_inspection_json(in, threads == 1 ? &first : &other, NULL, &err), &err);
        anx_inspection_destroy(in);
        if (threads == 1) continue;
        CU_ASSERT_STRING_EQUAL(first, other);
        free(other);
    }
    free(first);
    free(values);
    anx_state_dict_fini(&dict);
}

static void accepted_checksums_are_counted(void) {
    test_zip zip;
    test_zip_checkpoint(&zip, test_zip_pickle, test_zip_pickle_bytes);
    test_zip_set32(&zip, zip.central[2] + 16, 1);
    test_zip_set32(&zip, zip.descriptor[2] + 4, 1);
    const char *path = test_zip_save(&zip, "crc.pth");
    anx_inspection *in = NULL;
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_inspect(path, NULL, &in, &err), &err);
    CU_ASSERT_PTR_NULL(in);
    in = inspect_with(path, &(anx_inspection_options){.accept_bad_crc = true});
    check_text(in, "1 record whose CRC-32 does not match, accepted as asked");
    anx_inspection_destroy(in);
    test_zip_fini(&zip);
}

/* The published files are not to be had: others take their places. */
static void published_files(void) {
    test_zip zip;
    anx_digest digest;
    char hex[ANX_SHA256_HEX], last_digit[ANX_SHA256_HEX], start[9];
    test_zip_checkpoint(&zip, test_zip_pickle, test_zip_pickle_bytes);
    const char *path = test_zip_save(&zip, "renamed.pth");
    ANX_CHECK_OK(anx_sha256_buffer(zip.bytes, zip.n_bytes, &digest, &err), &err);
    snprintf(start, sizeof start, "%.8s", anx_digest_hex(&digest, hex));
    memcpy(last_digit, hex, sizeof hex);
    last_digit[63] = last_digit[63] == '0' ? '1' : '0';
    const anx_official_file whole = {.name = "whole.pth", .file_bytes = zip.n_bytes, .sha256 = hex},
                            first_digits = {.name = "digits.pth", .file_bytes = zip.n_bytes, .sha256 = start},
                            other_size = {.name = "size.pth", .file_bytes = zip.n_bytes + 1, .sha256 = hex},
                            other_hash = {.name = "hash.pth", .file_bytes = zip.n_bytes, .sha256 = last_digit};
    const anx_official_file *const cases[][2] = {
        {&other_size, &whole}, {&first_digits, &other_hash}, {&other_size, &other_hash}};
    const anx_official_file *const expected[] = {&whole, &first_digits, NULL};
    for (size_t i = 0; i < 3; i++) {
        const anx_official_table table = {.files = cases[i], .n_files = 2};
        anx_inspection *in = inspect_with(path, &(anx_inspection_options){.official = &table});
        CU_ASSERT_PTR_EQUAL(in->official, expected[i]);
        check_text(in, i == 0   ? "yes: torchvision's whole.pth\n"
                       : i == 1 ? "by its size and the digits"
                                : "no: none of");
        anx_inspection_destroy(in);
    }
    CU_ASSERT_EQUAL(anx_official_published.n_files, 2);
    test_zip_fini(&zip);
}

/* ---- the architecture -------------------------------------------------------------------------------------- */

/* The narrow network's tensors, without values, but for what `change` does to one of them. */
typedef enum change { NOTHING, PREFIXED, WITHOUT_LAST, RESHAPED, INTEGER, WITH_MORE, N_CHANGES } damage;

static void write_narrow(const char *path, damage change) {
    anx_graph *graph = NULL;
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    ANX_CHECK_OK(anx_graph_create(anx_arch_find("narrow"), 7, 0, 0, &graph, &err), &err);
    for (int i = 0; i < graph->n_params; i++) {
        const anx_param *param = &graph->params[i];
        const bool last = i == graph->n_params - 1;
        int64_t shape[4];
        memcpy(shape, param->shape, sizeof shape);
        if (change == WITHOUT_LAST && last) continue;
        if (change == RESHAPED && i == 0) shape[2]++;
        char name[200];
        snprintf(name, sizeof name, "%s%s", change == PREFIXED ? "module." : "", param->name);
        anx_tensor t = ANX_TENSOR_INIT;
        ANX_CHECK_OK(anx_tensor_alloc(change == INTEGER && last ? ANX_I64 : ANX_F32, param->rank, shape, &t, &err),
                     &err);
        memset(t.data, 0, anx_tensor_bytes(&t));
        ANX_CHECK_OK(anx_state_dict_add(&dict, name, &t, &err), &err);
    }
    if (change == WITH_MORE) {
        static const float value = 0;
        const anx_tensor t = anx_tensor_view(ANX_F32, 0, NULL, &value);
        ANX_CHECK_OK(anx_state_dict_add(&dict, "scale\033[2J", &t, &err), &err);
    }
    ANX_CHECK_OK(anx_pth_write(path, &dict, NULL, &err), &err);
    anx_state_dict_fini(&dict);
    anx_graph_destroy(graph);
}

static void the_architecture_and_near_misses(void) {
    static const char *const said[N_CHANGES] = {
        [NOTHING] = "fits        narrow, 7 classes\n",
        [PREFIXED] = "fits        narrow, 7 classes\n            the tensors all have \"module.\" before their names",
        [WITHOUT_LAST] = ("the nearest is narrow (7 classes), but:\n"
                          "            1 of its 10 parameters is missing (classifier.3.bias)\n"),
        [RESHAPED] = "1 does not fit (features.0.weight is (10, 3, 6, 5), not (10, 3, 5, 5))",
        [INTEGER] = "1 does not fit (classifier.3.bias is int64, not of a floating-point type)",
        [WITH_MORE] = "1 tensor is not its own (scale\\x1b[2J)",
    };
    for (int i = 0; i < N_CHANGES; i++) {
        char name[40];
        snprintf(name, sizeof name, "narrow%d.pth", i);
        const char *path = anx_test_path(name);
        write_narrow(path, (damage)i);
        anx_inspection *in = inspect(path);
        CU_ASSERT_PTR_EQUAL(in->match.arch, anx_arch_find("narrow"));
        CU_ASSERT_EQUAL(in->match.num_classes, 7);
        CU_ASSERT_EQUAL(in->fits, i == NOTHING || i == PREFIXED);
        CU_ASSERT_EQUAL(in->has_module_prefix, i == PREFIXED);
        check_text(in, said[i]);
        anx_inspection_destroy(in);
    }
}

/* ---- contents ---------------------------------------------------------------------------------------------- */

static void a_training_checkpoint(void) {
    pickle p = {.n = 0};
    PUT(&p, "\x80\x02}(");
    put_string(&p, "model");
    PUT(&p, "}(");
    put_string(&p, "w");
    PUT(&p, TP_W);
    put_string(&p, "note");
    PUT(&p, "N");
    PUT(&p, "u");
    put_string(&p, "optimizer");
    PUT(&p, "}(");
    put_string(&p, "state");
    PUT(&p, "}K\0}");
    put_string(&p, "momentum_buffer");
    PUT(&p, TP_W "ss");
    put_string(&p, "param_groups");
    PUT(&p, "]}(");
    put_string(&p, "lr");
    PUT(&p, "G?\xb9\x99\x99\x99\x99\x99\x9a"); /* 0.1 */
    put_string(&p, "params");
    PUT(&p, "](K\0K\1K\2e");
    PUT(&p, "uau");
    put_string(&p, "epoch");
    PUT(&p, "K\x03");
    put_string(&p, "args");
    PUT(&p, TP_GLOBAL("argparse", "Namespace") ")\x81}");
    put_string(&p, "device");
    put_string(&p, "cuda\033");
    PUT(&p, "sb");
    PUT(&p, "u");
    anx_inspection *in = inspect_pickle(&p);
    CU_ASSERT_STRING_EQUAL(in->checkpoint->wrapped_in, "model");
    CU_ASSERT_EQUAL(in->n_others, 1);
    check_text(in, "contents    dict of 4\n"
                   "  model      dict: the 1 tensor above and 1 other\n"
                   "    note  None\n"
                   "  optimizer  dict of 2\n"
                   "    state         dict of 1\n"
                   "      0  dict of 1\n"
                   "        momentum_buffer  tensor float32 (2, 3)\n"
                   "    param_groups  list of 1\n"
                   "      0  dict of 2\n"
                   "        lr      0.1\n"
                   "        params  [0, 1, 2]\n"
                   "  epoch      3\n"
                   "  args       argparse.Namespace of 1\n"
                   "    device  'cuda\\x1b'\n");
    cJSON *json = json_of(in);
    CU_ASSERT_STRING_EQUAL(cJSON_GetStringValue(cJSON_GetObjectItem(json, "wrapped_in")), "model");
    cJSON_Delete(json);
    anx_inspection_destroy(in);
}

static void begin_with_tensor(pickle *p) {
    PUT(p, "\x80\x02}q\0(");
    put_string(p, "w");
    PUT(p, TP_W);
}

static void what_comes_back_to_itself(void) {
    pickle p = {.n = 0};
    begin_with_tensor(&p);
    put_string(&p, "whole");
    PUT(&p, "h\0");
    put_string(&p, "list");
    PUT(&p, "]q\1(h\1h\1K\7e");
    PUT(&p, "u");
    anx_inspection *in = inspect_pickle(&p);
    CU_ASSERT_TRUE(in->contents.complete);
    check_text(in, "contents    dict: the 1 tensor above and 2 others\n"
                   "  whole  the same dict as the whole\n"
                   "  list   list of 3\n"
                   "    0  the same list as list\n"
                   "    1  the same list as list\n"
                   "    2  7\n");
    cJSON *json = json_of(in), *items = cJSON_GetObjectItem(cJSON_GetObjectItem(json, "contents"), "items");
    CU_ASSERT_STRING_EQUAL(cJSON_GetStringValue(cJSON_GetObjectItem(cJSON_GetArrayItem(items, 0), "same_as")), "");
    cJSON_Delete(json);
    anx_inspection_destroy(in);
}

/* Thirty lists, each twice in the next: 2^30 if it were written out. */
static void a_memo_bomb(void) {
    pickle p = {.n = 0};
    begin_with_tensor(&p);
    put_string(&p, "0");
    PUT(&p, "]q\2(K\1K\2}e");
    for (int i = 1; i <= 30; i++) {
        const uint8_t below = (uint8_t)(1 + i), own = (uint8_t)(2 + i);
        char name[4];
        snprintf(name, sizeof name, "%d", i % 100);
        put_string(&p, name);
        PUT(&p, "]q");
        put(&p, &own, 1);
        PUT(&p, "(h");
        put(&p, &below, 1);
        PUT(&p, "h");
        put(&p, &below, 1);
        PUT(&p, "e");
    }
    PUT(&p, "u");
    anx_inspection *in = inspect_pickle(&p);
    CU_ASSERT_TRUE(in->contents.complete);
    CU_ASSERT_EQUAL(in->contents.count, 1 + 31 + 3 + 30 * 2);
    check_text(in, "    0  the same list as 14\n");
    cJSON_Delete(json_of(in));
    anx_inspection_destroy(in);
}

static void more_than_is_shown(void) {
    pickle p = {.n = 0};
    begin_with_tensor(&p);
    put_string(&p, "many");
    PUT(&p, "](");
    for (int i = 0; i < 1500; i++) PUT(&p, "}K\1K\2s");
    PUT(&p, "e");
    put_string(&p, "deep");
    for (int i = 0; i < 100; i++) PUT(&p, "]");
    for (int i = 0; i < 99; i++) PUT(&p, "a");
    put_string(&p, "numbers");
    PUT(&p, "](");
    for (int i = 0; i < 1200; i++) PUT(&p, "K\7");
    PUT(&p, "e");
    put_string(&p, "text");
    PUT(&p, "X\xd0\x07\0\0"); /* 2000 bytes of a character of two */
    for (int i = 0; i < 1000; i++) PUT(&p, "\xc3\xa4");
    PUT(&p, "u");
    anx_inspection *in = inspect_pickle(&p);
    CU_ASSERT_FALSE(in->contents.complete);
    check_text(in, "\n    ... 1484 more\n");
    check_text(in, "list of 1 (not shown)\n");
    check_text(in, ", 7, ... 1185 more]\n");
    cJSON *json = json_of(in), *items = cJSON_GetObjectItem(cJSON_GetObjectItem(json, "contents"), "items");
    const cJSON *many = cJSON_GetArrayItem(items, 0), *text = cJSON_GetArrayItem(items, 3);
    CU_ASSERT_EQUAL(cJSON_GetArraySize(cJSON_GetObjectItem(many, "items")), 1000);
    CU_ASSERT_EQUAL(cJSON_GetObjectItem(many, "count")->valueint, 1500);
    CU_ASSERT_EQUAL(strlen(cJSON_GetStringValue(cJSON_GetObjectItem(text, "value"))), 1000);
    CU_ASSERT_EQUAL(cJSON_GetObjectItem(text, "text_bytes")->valueint, 2000);
    CU_ASSERT_TRUE(cJSON_IsFalse(cJSON_GetObjectItem(json, "contents_complete")));
    int depth = 0;
    for (const cJSON *node = cJSON_GetArrayItem(items, 1); node != NULL; depth++)
        node = cJSON_GetArrayItem(cJSON_GetObjectItem(node, "items"), 0);
    CU_ASSERT_EQUAL(depth, ANX_CONTENTS_MAX_DEPTH);
    cJSON_Delete(json);
    anx_inspection_destroy(in);
}

/* A hundred lists of a thousand lists. */
static void no_more_nodes_than_there_is_room_for(void) {
    pickle p = {.n = 0};
    begin_with_tensor(&p);
    put_string(&p, "many");
    PUT(&p, "](");
    for (int i = 0; i < 100; i++) {
        PUT(&p, "](");
        for (int k = 0; k < 1000; k++) PUT(&p, "]");
        PUT(&p, "e");
    }
    PUT(&p, "e");
    put_string(&p, "last");
    PUT(&p, "K\7u");
    anx_inspection *in = inspect_pickle(&p);
    CU_ASSERT_EQUAL(in->contents.count, ANX_CONTENTS_MAX_NODES);
    CU_ASSERT_FALSE(in->contents.complete);
    check_text(in, "\n  last  7\n");
    cJSON_Delete(json_of(in));
    anx_inspection_destroy(in);
}

static void values_of_every_kind(void) {
    pickle p = {.n = 0};
    begin_with_tensor(&p);
    put_string(&p, "values");
    PUT(&p, "}(");
    static const struct {
        const char *bytes;
        size_t n;
    } values[] = {{"\x88", 1},
                  {"\x89", 1},
                  {"N", 1},
                  {"J\xff\xff\xff\xff", 5},
                  {"G\x7f\xf0\0\0\0\0\0\0", 9},
                  {"G\x7f\xf8\0\0\0\0\0\0", 9},
                  {"G@\0\0\0\0\0\0\0", 9},
                  {"\x8a\x09\0\0\0\0\0\0\0\0\x01", 11}, /* 2^64 */
                  {")", 1},
                  {"K\5\x85", 3},
                  {"ctorch\nfloat32\n", 15},
                  {TP_FLOATS, sizeof TP_FLOATS - 1}};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char name[2] = {(char)('a' + i), '\0'};
        put_string(&p, name);
        put(&p, values[i].bytes, values[i].n);
    }
    PUT(&p, "K\1K\2\x86K\0"); /* a tuple as a key */
    PUT(&p, "uu");
    anx_inspection *in = inspect_pickle(&p);
    check_text(in, "  values  dict of 13\n"
                   "    a      True\n"
                   "    b      False\n"
                   "    c      None\n"
                   "    d      -1\n"
                   "    e      inf\n"
                   "    f      nan\n"
                   "    g      2.0\n"
                   "    h      0x10000000000000000\n"
                   "    i      ()\n"
                   "    j      (5,)\n"
                   "    k      torch.float32\n"
                   "    l      storage of 6 float32\n"
                   "    tuple  0\n");
    cJSON *json = json_of(in);
    const cJSON *items = cJSON_GetObjectItem(
        cJSON_GetArrayItem(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "contents"), "items"), 0), "items");
    CU_ASSERT_STRING_EQUAL(cJSON_GetStringValue(cJSON_GetObjectItem(cJSON_GetArrayItem(items, 4), "value")), "inf");
    CU_ASSERT_EQUAL(cJSON_GetObjectItem(cJSON_GetArrayItem(items, 6), "value")->valuedouble, 2);
    cJSON_Delete(json);
    anx_inspection_destroy(in);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"a small file", a_small_file},
        {"big-endian and not aligned", big_endian_and_not_aligned},
        {"views of one storage", views_of_one_storage},
        {"parameters", parameters},
        {"expanded tensors take no time", expanded_tensors_take_no_time},
        {"sums saturate", sums_saturate},
        {"very many views are not all read", very_many_views_are_not_all_read},
        {"threads change nothing", threads_change_nothing},
        {"accepted checksums are counted", accepted_checksums_are_counted},
        {"published files", published_files},
        {"the architecture and near misses", the_architecture_and_near_misses},
        {"a training checkpoint", a_training_checkpoint},
        {"what comes back to itself", what_comes_back_to_itself},
        {"a memo bomb", a_memo_bomb},
        {"more than is shown", more_than_is_shown},
        {"no more nodes than there is room for", no_more_nodes_than_there_is_room_for},
        {"values of every kind", values_of_every_kind},
        {NULL, NULL},
    };
    return anx_test_main("inspection", tests, argc, argv);
}
