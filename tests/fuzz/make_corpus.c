/*
 * make_corpus FOLDER: writes small valid inputs to FOLDER/{pickle,state_dict,checkpoint,safetensors,bin,...}, and
 * from each of them many damaged ones (cut, flipped, spliced; the same every time), for the fuzzers to start from and
 * replay to run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "loaders/checkpoint/safetensors.h"
#include "loaders/checkpoint/saving.h"
#include "loaders/file.h"
#include "tests/checkpoint/training_sample.h"
#include "tests/support/anx_test.h"
#include "tests/support/test_tar.h"
#include "tests/support/test_zip.h"
#include "tests/support/torch_streams.h"

static const char *root;
static uint64_t state = 88172645463325252u;

static size_t random_below(size_t n) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (size_t)(state % n);
}

static void put(const char *kind, const char *name, const void *bytes, size_t n_bytes) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s/%s", root, kind, name);
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(bytes, 1, n_bytes, f) != n_bytes || fclose(f) != 0) {
        perror(path);
        exit(2);
    }
}

static void put_damaged(const char *kind, const char *name, const uint8_t *bytes, size_t n_bytes) {
    uint8_t *copy = malloc(n_bytes + 1);
    if (copy == NULL) exit(2);
    for (int i = 0; i < 40; i++) {
        char file[128];
        size_t n = n_bytes;
        memcpy(copy, bytes, n);
        for (size_t k = random_below(3) + 1; k > 0 && n > 0; k--) {
            static const uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xff};
            const size_t at = random_below(n);
            switch (random_below(4)) {
            case 0: copy[at] ^= (uint8_t)(1u << random_below(8)); break;
            case 1: copy[at] = telling[random_below(sizeof telling)]; break;
            case 2:
                if (n >= 8) memmove(copy + random_below(n - 7), copy + random_below(n - 7), 8);
                break;
            default: n = random_below(8) == 0 ? at : n; break;
            }
        }
        snprintf(file, sizeof file, "%s-%02d", name, i);
        put(kind, file, copy, n);
    }
    free(copy);
}

static void put_all(const char *kind, const char *name, const void *bytes, size_t n_bytes) {
    put(kind, name, bytes, n_bytes);
    put_damaged(kind, name, bytes, n_bytes);
}

/* One pickle each for what a checkpoint may hold. */
static const struct {
    const char *name, *bytes;
    size_t n_bytes;
} pickles[] = {
#define PICKLE(name, text)                                                                                             \
    { name, "\x80\x02" text ".", sizeof("\x80\x02" text ".") - 1 }
    PICKLE("dict", "}q\0(" TP_STR("\x01", "w") "q\x01" TP_W "q\x02" TP_STR("\x01", "v") "h\x02u"),
    PICKLE("wrapped",
           "}(" TP_STR("\x05", "model") "}" TP_STR("\x08", "module.w") TP_W "s" TP_STR("\x05", "epoch") "K\x07u"),
    PICKLE("ordered", TP_GLOBAL("collections", "OrderedDict") ")R" TP_STR("\x01", "w") TP_W
           "s}" TP_STR("\x09", "_metadata") "}sb"),
    PICKLE("numbers", "(K\x01M\x02\x03J\x04\x05\x06\x07\x8a\x03\x01\x02\x03G\x3f\xf0\0\0\0\0\0\0N\x88\x89t"),
    PICKLE("containers", "](]}\x8f)N\x85NN\x86NNN\x87U\x02"
                         "abe"),
    PICKLE("memo", "]q\0](h\0r\x01\0\0\0j\x01\0\0\0eh\0a"),
    PICKLE("namespace",
           TP_GLOBAL("argparse", "Namespace") ")\x81}" TP_STR("\x02", "lr") "G\x3f\xb9\x99\x99\x99\x99\x99\x9as"
                                                                            "b"),
    PICKLE("others", "(" TP_GLOBAL("torch", "Size") "K\x02K\x03\x86\x85R" TP_GLOBAL("torch", "device")
                         TP_STR("\x03", "cpu") "\x85R" TP_GLOBAL("_codecs", "encode") TP_STR("\x04", "a\xc3\xbf"
                                                                                                     "b")
                             TP_STR("\x06", "latin1") "\x86R" TP_GLOBAL("torch", "float32") "t"),
    PICKLE("parameter", TP_GLOBAL("torch._utils", "_rebuild_parameter") TP_W "\x88)\x87R"),
    PICKLE("strides", "}" TP_STR("\x01", "w") TP_TENSOR(TP_FLOATS, "K\x01", "K\x02K\x02\x86", "K\x01K\x02\x86") "s"),
};

static void make_pickles(void) {
    for (size_t i = 0; i < sizeof pickles / sizeof pickles[0]; i++) {
        put_all("pickle", pickles[i].name, pickles[i].bytes, pickles[i].n_bytes);
        put_all("state_dict", pickles[i].name, pickles[i].bytes, pickles[i].n_bytes);
    }
}

static void make_checkpoints(void) {
    test_zip zip;
    for (size_t i = 0; i < sizeof pickles / sizeof pickles[0]; i++) {
        test_zip_checkpoint(&zip, pickles[i].bytes, pickles[i].n_bytes);
        put_all("checkpoint", pickles[i].name, zip.bytes, zip.n_bytes);
        test_zip_fini(&zip);
    }
    test_zip_checkpoint(&zip, test_zip_pickle, test_zip_pickle_bytes);
    put_all("checkpoint", "plain", zip.bytes, zip.n_bytes);
    test_zip_fini(&zip);
    test_zip_init(&zip);
    zip.alignment = 0;
    zip.no_descriptor = zip.no_zip64 = true;
    test_zip_add(&zip, "m/data.pkl", test_zip_pickle, test_zip_pickle_bytes);
    test_zip_add(&zip, "m/byteorder", "big", 3);
    test_zip_add(&zip, "m/data/0", "012345678901234567890123", 24);
    test_zip_add(&zip, "m/data/1", "0123456789abcdef", 16);
    test_zip_finish(&zip);
    put_all("checkpoint", "big", zip.bytes, zip.n_bytes);
    test_zip_fini(&zip);
}

/* A training's checkpoint: whole, and its pickle alone, whose storages test_zip_checkpoint has. */
static void put_training(const char *name, const anx_state_dict *model, const anx_training_state *training) {
    const char *path = anx_test_path(name);
    uint8_t *file = NULL;
    size_t n_bytes = 0;
    if (anx_training_checkpoint_write(path, model, training, NULL, NULL) != ANX_OK ||
        anx_read_file(path, &file, &n_bytes, NULL) != ANX_OK)
        exit(2);
    put_all("checkpoint", name, file, n_bytes);
    const uint8_t *pickle = memmem(file, n_bytes, "\x80\x02", 2);
    const uint8_t *end = memmem(file, n_bytes, "PK\7\10", 4); /* behind the first record */
    if (pickle == NULL || end == NULL) exit(2);
    put_all("state_dict", name, pickle, (size_t)(end - pickle));
    free(file);
}

static void make_trainings(void) {
    static anx_training_state training;
    anx_state_dict sample, model = ANX_STATE_DICT_INIT;
    training_sample(&sample, &training);
    put_training("training", &sample, &training);
    /* One storage of six floats, for a model of one parameter and its buffer. */
    anx_tensor weight = sample.items[0].tensor;
    if (anx_state_dict_add(&model, "w", &weight, NULL) != ANX_OK) exit(2);
    training.optimizer.buffers[0].tensor = weight;
    training.has_own = false;
    put_training("sequential", &model, &training);
    anx_saved_number lrs[2] = {{.value = 0.5}, {.value = 0.25}};
    anx_saved_milestone milestones[2] = {{30, 1}, {60, 2}};
    training.scheduler = (anx_saved_scheduler){.kind = ANX_SAVED_MULTI_STEP_LR,
                                               .base_lrs = {lrs, 2},
                                               .last_lr = {lrs, 2},
                                               .milestones = milestones,
                                               .n_milestones = 2};
    put_training("multi-step", &model, &training);
    training.scheduler.kind = ANX_SAVED_REDUCE_LR_ON_PLATEAU;
    training.scheduler.min_lrs = training.scheduler.last_lr;
    put_training("plateau", &model, &training);
    anx_state_dict_fini(&model);
    anx_state_dict_fini(&sample);
}

static void make_safetensors(void) {
    static const float values[6] = {1, 2, 3, 4, 5, 6};
    static anx_error err;
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    const anx_tensor matrix = anx_tensor_view(ANX_F32, 2, (const int64_t[]){2, 3}, values);
    const anx_tensor bytes = anx_tensor_view(ANX_U8, 1, (const int64_t[]){5}, values);
    const anx_safetensors_meta metadata[] = {{"format", "pt"}, {"json", "{\"a\": [1, 2]}"}};
    uint8_t *file = NULL;
    size_t n_bytes = 0;
    const char *path = anx_test_path("corpus.safetensors");
    anx_status status = anx_state_dict_add(&dict, "a.weight", &matrix, &err);
    if (status == ANX_OK) status = anx_state_dict_add(&dict, "b\"\xc3\xa4", &bytes, &err);
    if (status == ANX_OK) status = anx_safetensors_write(path, &dict, metadata, 2, true, &err);
    if (status == ANX_OK) status = anx_read_file(path, &file, &n_bytes, &err);
    if (status != ANX_OK) {
        fprintf(stderr, "%s\n", err.message);
        exit(2);
    }
    put_all("safetensors", "two", file, n_bytes);
    put_all("checkpoint", "safetensors", file, n_bytes);
    free(file);
    anx_state_dict_fini(&dict);
    put_all("safetensors", "none", "\x08\0\0\0\0\0\0\0{}      ", 16);
}

static void put_bin(const char *name, anx_saving_item *items, size_t n_items, bool plain_dict) {
    static anx_error err;
    const anx_saving saving = {.items = items, .n_items = n_items, .plain_dict = plain_dict};
    anx_file_writer *writer = NULL;
    uint8_t *file = NULL;
    size_t n_bytes = 0;
    const char *path = anx_test_path("corpus.bin");
    anx_status status = anx_file_writer_create(path, true, &writer, &err);
    if (status == ANX_OK) status = anx_bin_save(&saving, path, writer, NULL, &err);
    if (status == ANX_OK) status = anx_file_writer_commit(writer, &err);
    if (status == ANX_OK) status = anx_read_file(path, &file, &n_bytes, &err);
    if (status != ANX_OK) {
        fprintf(stderr, "%s\n", err.message);
        exit(2);
    }
    anx_file_writer_destroy(writer);
    put_all("bin", name, file, n_bytes);
    put_all("checkpoint", name, file, n_bytes);
    free(file);
}

static void make_bins(void) {
    static const float values[8] = {1, 2, 3, 4, 5, 6};
    anx_saving_item items[ANX_DTYPE_COUNT];
    for (int i = 0; i < ANX_DTYPE_COUNT; i++)
        items[i] = (anx_saving_item){
            .name = anx_dtype_name((anx_dtype)i),
            .elements = {.tensor = anx_tensor_view((anx_dtype)i, i % 4, (const int64_t[]){1, 2, 2}, values)},
            .dtype = (anx_dtype)i};
    put_bin("bin-one", items, 1, false);
    put_bin("bin-three", items + 1, 3, true);
    put_bin("bin-types", items, ANX_DTYPE_COUNT, false);
    items[1].elements.tensor = anx_tensor_view(ANX_F64, 3, (const int64_t[]){3, 0, 2}, NULL);
    put_bin("bin-empty", items, 2, false);
}

/* A good archive behind a pax header, a folder and a file of another name. */
static void make_pax_archive(const test_stream *good) {
    test_tar tar;
    test_tar_init(&tar);
    test_tar_pax(&tar, "mtime", "1480000000.25");
    test_tar_header(&tar, "a/", '5', NULL, 0);
    test_tar_file(&tar, "a/b", "B");
    test_tar_data(&tar, good->bytes, good->n_bytes);
    put_all("torch_archive", "pax", tar.bytes, tar.n_bytes);
    test_tar_fini(&tar);
}

/* As tests/fuzz/fuzz_torch_legacy.c, fuzz_torch_tar.c and fuzz_torch_archive.c have them, and for fuzz_checkpoint. */
static void make_torch_streams(void) {
    test_stream s, members;
    test_legacy_good(&s);
    put_all("checkpoint", "legacy", s.bytes, s.n_bytes);
    put_all("torch_legacy", "good", s.bytes + s.version, s.n_bytes - s.version);
    test_stream_fini(&s);
    test_torch_tar_good(&s);
    put_all("checkpoint", "torch-tar", s.bytes, s.n_bytes);
    put_all("torch_archive", "good", s.bytes, s.n_bytes);
    make_pax_archive(&s);
    const uint16_t lengths[2] = {(uint16_t)s.n_pickle, (uint16_t)s.n_tensors};
    test_stream_init(&members);
    test_stream_add(&members, lengths, sizeof lengths);
    test_stream_add(&members, s.bytes + s.pickle, s.n_pickle);
    test_stream_add(&members, s.bytes + s.tensors, s.n_tensors);
    test_stream_add(&members, s.bytes + s.storages, s.n_storages);
    put_all("torch_tar", "good", members.bytes, members.n_bytes);
    test_stream_fini(&members);
    test_stream_fini(&s);
}

static void put_tar(test_tar *tar, const char *name) {
    test_tar_finish(tar);
    put_all("tar", name, tar->bytes, tar->n_bytes);
    test_tar_fini(tar);
}

/* As tests/fuzz/fuzz_tar.c labels them. Headers are sealed by their checksums: some damage goes below the seal. */
static void make_tars(void) {
    test_tar tar;
    test_tar_init(&tar);
    test_tar_file(&tar, "a.jpg", "A");
    test_tar_file(&tar, "./b/c.jpg", "CC");
    test_tar_file(&tar, "d.jpg", "");
    put_tar(&tar, "flat");
    test_tar_init(&tar);
    test_tar_header(&tar, "x/", '5', NULL, 0);
    test_tar_pax(&tar, "path", "x/a-long-name.jpg");
    test_tar_file(&tar, "short", "A");
    test_tar_header(&tar, "././@LongLink", 'L', NULL, 7);
    test_tar_data(&tar, "y/b.jpg", 7);
    test_tar_file(&tar, "short", "B");
    test_tar_header(&tar, "y/c.jpg", '1', "y/b.jpg", 0);
    put_tar(&tar, "folders");
    test_tar_init(&tar);
    test_tar_pax(&tar, "GNU.sparse.map", "0,1,600,1");
    test_tar_pax(&tar, "size", "2");
    test_tar_file(&tar, "a.jpg", "AB");
    test_tar_header(&tar, "b/c.jpg", 'S', NULL, 1);
    test_tar_data(&tar, "C", 1);
    put_tar(&tar, "odd");
    for (int i = 0; i < 40; i++) {
        static const char zeros[700];
        char name[32];
        test_tar_init(&tar);
        const size_t header = test_tar_header(&tar, "a.jpg", '0', NULL, 700);
        test_tar_data(&tar, zeros, sizeof zeros);
        tar.bytes[header + random_below(345)] ^= (uint8_t)(1u << random_below(8));
        test_tar_seal(&tar, header);
        test_tar_file(&tar, "b/c.jpg", "C");
        test_tar_file(&tar, "d.jpg", "D");
        test_tar_finish(&tar);
        snprintf(name, sizeof name, "sealed-%02d", i);
        put("tar", name, tar.bytes, tar.n_bytes);
        test_tar_fini(&tar);
    }
}

/* As tests/fuzz/fuzz_labels.c has the files. */
static void make_labels(void) {
    static const char *const lists[][2] = {
        {"caffe", "a.jpg 0\r\n/data/b.JPEG\t2\n\nILSVRC2012_val_00000001.JPEG 1\n"},
        {"kaggle", "ImageId,PredictionString\na,n00000001 1 2 3 4\n\"b\",\"n00000003\"\n"
                   "ILSVRC2012_val_00000001,n00000002 1\n"},
        {"devkit", "\xef\xbb\xbf"
                   "3\n1\n2\n"},
        {"synsets", "n00000003 three\nn00000001\nn00000002, two\n"},
        {"wrong", "a.jpg 9\nx\\b.JPEG 1\na.jpg 1\nz 1\nword\n"},
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        put_all("labels", lists[i][0], lists[i][1], strlen(lists[i][1]));
}

int main(int argc, char **argv) {
    static const char *const kinds[] = {"",       "pickle",       "state_dict", "checkpoint",    "safetensors", "tar",
                                        "labels", "torch_legacy", "torch_tar",  "torch_archive", "bin"};
    if (argc != 2) {
        fprintf(stderr, "usage: make_corpus FOLDER\n");
        return 64;
    }
    root = argv[1];
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", root, kinds[i]);
        mkdir(path, 0777); /* may be there already; a missing folder shows in the first file */
    }
    make_pickles();
    make_checkpoints();
    make_trainings();
    make_safetensors();
    make_bins();
    make_torch_streams();
    make_tars();
    make_labels();
    return 0;
}
