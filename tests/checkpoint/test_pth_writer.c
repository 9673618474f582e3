#include "loaders/checkpoint/pth_writer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loaders/checkpoint/pickle_writer.h"
#include "loaders/file.h"
#include "src/base/interrupt.h"
#include "tests/support/anx_test.h"

#define SHAPE(...) ((const int64_t[]){__VA_ARGS__})

static void add(anx_state_dict *dict, const char *name, const anx_tensor *t) {
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_state_dict_add(dict, name, t, &err), &err);
}

/*
 * t = torch.UntypedStorage([(7*i + 3) & 255 for i in range(48)]); od = OrderedDict()
 * od["conv.weight"] = torch.empty(0).set_(t, 0, (3, 4), (4, 1)); od["tied"] = torch.empty(0).set_(t, 4, (2, 3), (4, 1))
 * od._metadata = OrderedDict((n, {"version": 1}) for n in ("", "conv")); torch.save(od, "golden.pth")
 * gives 1762 bytes of this digest in PyTorch 2.15.
 */
static const char golden_digest[] = "582c44ebb2c3a48c3b46b328ca27e65e5aff5b39620a6c24747412b561a5757d";
static const char *const golden_modules[] = {"", "conv"};
static _Alignas(4) uint8_t golden_memory[48];

static void golden_dict(anx_state_dict *dict) {
    for (size_t i = 0; i < sizeof golden_memory; i++) golden_memory[i] = (uint8_t)(7 * i + 3);
    const anx_tensor whole = anx_tensor_view(ANX_F32, 2, SHAPE(3, 4), golden_memory);
    anx_tensor part = anx_tensor_view(ANX_F32, 2, SHAPE(2, 3), golden_memory + 16);
    part.stride[0] = 4;
    add(dict, "conv.weight", &whole);
    add(dict, "tied", &part);
}

static void writes_torch_saves_bytes(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    golden_dict(&dict);
    const anx_pth_options options = {.modules = golden_modules, .n_modules = 2};
    const char *path = anx_test_path("golden.pth");
    ANX_CHECK_OK(anx_pth_write(path, &dict, &options, &err), &err);
    anx_test_check_file_digest(path, golden_digest);

    /* The folder's name alone makes the bytes; given, it is not taken from the path. */
    const anx_pth_options named = {.modules = golden_modules, .n_modules = 2, .folder = "golden"};
    const char *other = anx_test_path("other name");
    ANX_CHECK_OK(anx_pth_write(other, &dict, &named, &err), &err);
    anx_test_check_file_digest(other, golden_digest);
    anx_state_dict_fini(&dict);
}

/* A source that serves golden_memory, and counts. */
typedef struct counting {
    size_t item, done;
    int wrong;
} counting;

static anx_status serve(void *user, size_t item, void *buf, size_t n_bytes, anx_error *err) {
    counting *c = user;
    (void)err;
    if (item != c->item) c->done = 0;
    if (item < c->item || c->done + n_bytes > sizeof golden_memory) c->wrong++;
    c->item = item;
    memcpy(buf, golden_memory + c->done, n_bytes);
    c->done += n_bytes;
    return ANX_OK;
}

static void reads_missing_data_from_the_source(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_state_dict held = ANX_STATE_DICT_INIT, served = ANX_STATE_DICT_INIT;
    static const char *const names[] = {"a", "b"};
    uint8_t copies[2][sizeof golden_memory];
    for (size_t i = 0; i < sizeof golden_memory; i++) golden_memory[i] = copies[0][i] = copies[1][i] = (uint8_t)(i * i);
    for (int i = 0; i < 2; i++) {
        const anx_tensor with = anx_tensor_view(ANX_F32, 1, SHAPE(12 - i), copies[i]);
        const anx_tensor without = anx_tensor_view(ANX_F32, 1, SHAPE(12 - i), NULL);
        add(&held, names[i], &with);
        add(&served, names[i], &without);
    }
    counting c = {.item = 0};
    const anx_pth_source source = {.read = serve, .user = &c};
    const anx_pth_options plain = {.folder = "f"}, streamed = {.folder = "f", .source = &source};
    ANX_CHECK_OK(anx_pth_write(anx_test_path("held.pth"), &held, &plain, &err), &err);
    ANX_CHECK_OK(anx_pth_write(anx_test_path("served.pth"), &served, &streamed, &err), &err);
    CU_ASSERT_EQUAL(c.wrong, 0);
    uint8_t *a = NULL, *b = NULL;
    size_t n_a = 0, n_b = 0;
    ANX_CHECK_OK(anx_read_file(anx_test_path("held.pth"), &a, &n_a, &err), &err);
    ANX_CHECK_OK(anx_read_file(anx_test_path("served.pth"), &b, &n_b, &err), &err);
    CU_ASSERT_TRUE(n_a == n_b && n_a > 0 && memcmp(a, b, n_a) == 0);
    free(a);
    free(b);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_pth_write(anx_test_path("lost.pth"), &served, &plain, &err), &err);
    ANX_CHECK_MESSAGE("entry 'a': a tensor with elements but without data", &err);
    CU_ASSERT_NOT_EQUAL(access(anx_test_path("lost.pth"), F_OK), 0);
    anx_state_dict_fini(&held);
    anx_state_dict_fini(&served);
}

static anx_status refuse(void *user, size_t item, void *buf, size_t n_bytes, anx_error *err) {
    (void)user, (void)item, (void)buf, (void)n_bytes;
    return anx_error_set(err, ANX_ERR_DEVICE, "the source gave up");
}

static void leaves_nothing_behind_on_failure(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    const anx_tensor t = anx_tensor_view(ANX_F32, 1, SHAPE(3), NULL);
    add(&dict, "a", &t);
    const anx_pth_source source = {.read = refuse};
    const anx_pth_options options = {.source = &source};
    const char *path = anx_test_path("failed.pth");
    ANX_CHECK_STATUS(ANX_ERR_DEVICE, anx_pth_write(path, &dict, &options, &err), &err);
    CU_ASSERT_STRING_EQUAL(err.file, path);
    CU_ASSERT_NOT_EQUAL(access(path, F_OK), 0);
    CU_ASSERT_FALSE(anx_interrupt_held());
    anx_state_dict_fini(&dict);
}

static void refuses_what_no_memory_holds(void) {
    static const struct { int64_t shape, stride; } bad[] = {{3, -1}, {-3, 1}, {INT64_MAX, 2}, {INT64_MAX / 2, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        anx_error err = ANX_ERROR_INIT;
        anx_state_dict dict = ANX_STATE_DICT_INIT;
        anx_tensor t = anx_tensor_view(ANX_F32, 1, SHAPE(1), golden_memory);
        t.shape[0] = bad[i].shape;
        t.stride[0] = bad[i].stride;
        add(&dict, "w", &t);
        ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_pth_write(anx_test_path("bad.pth"), &dict, NULL, &err), &err);
        ANX_CHECK_MESSAGE("entry 'w': a shape or strides that no memory can hold", &err);
        anx_state_dict_fini(&dict);
    }
}

static void names_folders_as_torch_save(void) {
    static const struct {
        const char *path, *folder; /* NULL: refused */
    } cases[] = {
        {"alexnet.pth", "alexnet"},
        {"a.b.pth", "a.b"},
        {"noext", "noext"},
        {"x.", "x"},
        {"..pth", "."},
        {"dir.d/model", "model"},
        {"a\\b.pth", "b"},
        {"/abs/ 1%\t.pt", " 1%\t"},
        {"caf\xc3\xa9/m.pth", "archive"},
        {".pth", NULL},
        {"dir/.hidden", NULL},
        {"dir/", NULL},
        {"./../m.tar.gz", "m.tar"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        anx_error err = ANX_ERROR_INIT;
        char *folder = NULL;
        if (cases[i].folder == NULL) {
            ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_pth_folder(cases[i].path, &folder, &err), &err);
            CU_ASSERT_PTR_NULL(folder);
            continue;
        }
        ANX_CHECK_OK(anx_pth_folder(cases[i].path, &folder, &err), &err);
        CU_ASSERT_STRING_EQUAL(folder, cases[i].folder);
        free(folder);
    }
}

static void pickles_integers_in_the_shortest_form(void) {
    /* pickle.dumps(value, 2), between PROTO and STOP */
    static const struct {
        int64_t value;
        const char *bytes;
        size_t n;
    } cases[] = {
        {0, "K\0", 2},
        {255, "K\xff", 2},
        {256, "M\0\1", 3},
        {65535, "M\xff\xff", 3},
        {65536, "J\0\0\1\0", 5},
        {-1, "J\xff\xff\xff\xff", 5},
        {INT32_MAX, "J\xff\xff\xff\x7f", 5},
        {INT32_MIN, "J\0\0\0\x80", 5},
        {INT64_C(1) << 31, "\x8a\5\0\0\0\x80\0", 7},
        {(INT64_C(1) << 39) - 1, "\x8a\5\xff\xff\xff\xff\x7f", 7},
        {INT64_C(1) << 39, "\x8a\6\0\0\0\0\x80\0", 8},
        {-(INT64_C(1) << 39), "\x8a\5\0\0\0\0\x80", 7},
        {INT64_MAX, "\x8a\x8\xff\xff\xff\xff\xff\xff\xff\x7f", 10},
        {INT64_MIN, "\x8a\x8\0\0\0\0\0\0\0\x80", 10},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        anx_pickle_writer w;
        anx_pickle_init(&w);
        anx_pickle_put_int(&w, cases[i].value);
        CU_ASSERT_EQUAL(w.size, 2 + cases[i].n);
        CU_ASSERT_TRUE(w.size == 2 + cases[i].n && memcmp(w.bytes + 2, cases[i].bytes, cases[i].n) == 0);
        anx_pickle_fini(&w);
    }
}

static void stops_when_interrupted(void) { /* last: a request cannot be taken back */
    anx_error err = ANX_ERROR_INIT;
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    golden_dict(&dict);
    const char *path = anx_test_path("interrupted.pth");
    anx_interrupt_request();
    ANX_CHECK_STATUS(ANX_ERR_INTERRUPTED, anx_pth_write(path, &dict, NULL, &err), &err);
    CU_ASSERT_NOT_EQUAL(access(path, F_OK), 0);
    anx_state_dict_fini(&dict);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"writes torch.save's bytes", writes_torch_saves_bytes},
        {"reads missing data from the source", reads_missing_data_from_the_source},
        {"leaves nothing behind on failure", leaves_nothing_behind_on_failure},
        {"refuses shapes and strides that no memory holds", refuses_what_no_memory_holds},
        {"names folders as torch.save", names_folders_as_torch_save},
        {"pickles integers in the shortest form", pickles_integers_in_the_shortest_form},
        {"stops when interrupted", stops_when_interrupted},
        {NULL, NULL},
    };
    return anx_test_main("pth_writer", tests, argc, argv);
}
