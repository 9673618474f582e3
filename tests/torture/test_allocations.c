/*
 * Every allocation fails in turn, alone and with all that follow it, in everything that reads and writes checkpoints:
 * each time an error that says so, nothing handed out, nothing leaked, no file left behind.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loaders/checkpoint/checkpoint_impl.h"
#include "loaders/checkpoint/pth_writer.h"
#include "loaders/checkpoint/raw_write.h"
#include "loaders/checkpoint/saving.h"
#include "parity/inspection.h"
#include "tests/support/anx_test.h"
#include "tests/support/test_zip.h"
#include "tests/support/torch_streams.h"
#include "tests/torture/failing_memory.h"

static anx_error err;
static uint64_t result; /* of the last operation that succeeded: a sum of all that it gave */

/* Something that allocates: run with its input ready. It must release all that it got. */
typedef struct operation {
    const char *path;                      /* of what it reads */
    const anx_checkpoint_options *options; /* how */
    const anx_checkpoint_format *format;   /* what it writes */
    anx_checkpoint *checkpoint;            /* open already */
    anx_status expected;                   /* where no allocation fails */
    anx_status (*run)(const struct operation *op);
} operation;

static const anx_checkpoint_options as_stored = {.as_stored = true, .keep_prefix = true};

/* ---- results, without allocating ----------------------------------------------------------------------------- */

static void add_to_result(const void *bytes, size_t n_bytes) {
    const uint8_t *p = bytes;
    for (size_t i = 0; i < n_bytes; i++) result = (result ^ p[i]) * 1099511628211u;
}

/* Names in order, types and values. */
static void sum_checkpoint(const anx_checkpoint *checkpoint) {
    result = 0;
    for (size_t i = 0; i < checkpoint->tensors.count; i++) {
        const anx_named_tensor *t = &checkpoint->tensors.items[i];
        add_to_result(t->name, strlen(t->name) + 1);
        add_to_result(&t->tensor.dtype, sizeof t->tensor.dtype);
        add_to_result(t->tensor.data, anx_tensor_bytes(&t->tensor));
    }
    const bool metadata = anx_checkpoint_impl_of(checkpoint)->metadata != NULL;
    add_to_result(&metadata, sizeof metadata);
}

static void sum_file(const char *path) {
    static uint8_t buffer[1 << 16];
    result = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    CU_ASSERT(fd >= 0);
    for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) add_to_result(buffer, (size_t)n);
    close(fd);
}

/* ---- the folder ------------------------------------------------------------------------------------------- */

static int count_files(void) {
    DIR *folder = opendir(anx_test_tmpdir());
    CU_ASSERT_PTR_NOT_NULL_FATAL(folder);
    int n = 0;
    while (readdir(folder) != NULL) n++;
    closedir(folder);
    return n;
}

/* ---- one operation, again and again ----------------------------------------------------------------------- */

static bool out_of_memory(anx_status status) {
    return status == ANX_ERR_OUT_OF_MEMORY || status == ANX_ERR_LIMIT ||
           (status == ANX_ERR_IO && err.sys_errno == ENOMEM);
}

/* False when the operation came to its end without a failure being due. */
static bool fails_at(const operation *op, const char *name, size_t n, bool lasting, uint64_t wanted) {
    const int files = count_files();
    result = wanted;
    memset(&err, 0, sizeof err);
    failing_memory_begin(n, lasting);
    const anx_status status = op->run(op);
    const failing_memory_report r = failing_memory_end();
    static char text[20000];
    anx_error_format(&err, text, sizeof text);
    /* What is merely convenient may be missing: then all is as if nothing had failed. */
    const bool right = (status == op->expected && result == wanted) || (r.n_failed > 0 && out_of_memory(status));
    const bool said = status == ANX_OK || err.message[0] != '\0';
    const bool clean = r.n_left == 0 && count_files() == files;
    CU_ASSERT_TRUE(right);
    CU_ASSERT_TRUE(said);
    CU_ASSERT_TRUE(clean);
    if (!right || !said || !clean)
        fprintf(stderr,
                "\n  %s, allocation %zu%s: %s (%s); %zu blocks of %zu bytes left, the first the %zu. allocation; %d "
                "files more\n",
                name, n, lasting ? " and all after" : "", anx_status_name(status), text, r.n_left, r.left_bytes,
                r.first_left, count_files() - files);
    return r.n_failed > 0;
}

static void torture(const operation *op, const char *name) {
    enum { most = 100000 };
    ANX_CHECK_STATUS(op->expected, op->run(op), &err); /* what libraries allocate once and keep; the right result */
    const uint64_t wanted = result;
    for (int lasting = 0; lasting < 2; lasting++) {
        size_t n = 1;
        while (n < most && fails_at(op, name, n, lasting != 0, wanted)) n++;
        CU_ASSERT(n > 1 && n < most);
    }
}

/* ---- files ------------------------------------------------------------------------------------------------ */

/* The narrow architecture's parameters under "module.", as DataParallel saves them. */
static void make_params(anx_state_dict *dict, const char *prefix) {
    anx_graph *graph = NULL;
    ANX_CHECK_OK(anx_graph_create(anx_arch_find("narrow"), 5, 0, 0, &graph, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(graph);
    for (int p = 0; p < graph->n_params; p++) {
        anx_tensor t = ANX_TENSOR_INIT;
        char name[128];
        snprintf(name, sizeof name, "%s%s", prefix, graph->params[p].name);
        ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, graph->params[p].rank, graph->params[p].shape, &t, &err), &err);
        memset(t.data, 0, anx_tensor_bytes(&t));
        ANX_CHECK_OK(anx_state_dict_add(dict, name, &t, &err), &err);
    }
    anx_graph_destroy(graph);
}

/* It is written once for each of the formats that are read: the list grows with them. */
static const char *narrow_file(const char *extension) {
    static char paths[8][512];
    static int n_paths;
    char name[64];
    snprintf(name, sizeof name, "narrow.%s", extension);
    const char *path = anx_test_path(name);
    for (int i = 0; i < n_paths; i++)
        if (strcmp(paths[i], path) == 0) return paths[i];
    CU_ASSERT_FATAL(n_paths < 8);
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    const char *pth = anx_test_path("narrow.pth");
    const anx_pth_options force = {.force = true};
    anx_checkpoint *checkpoint = NULL;
    anx_saving saving = ANX_SAVING_INIT;
    anx_file_writer *file = NULL;
    make_params(&dict, "module.");
    ANX_CHECK_OK(anx_pth_write(pth, &dict, &force, &err), &err);
    anx_state_dict_fini(&dict);
    if (strcmp(extension, "pth") != 0) {
        ANX_CHECK_OK(anx_checkpoint_open(pth, &as_stored, &checkpoint, &err), &err);
        ANX_CHECK_OK(anx_saving_init(checkpoint, &saving, &err), &err);
        ANX_CHECK_OK(anx_file_writer_create(path, true, &file, &err), &err);
        ANX_CHECK_OK(anx_checkpoint_format_of_path(path)->write(&saving, path, file, NULL, &err), &err);
        ANX_CHECK_OK(anx_file_writer_commit(file, &err), &err);
        anx_file_writer_destroy(file);
        anx_saving_fini(&saving);
        anx_checkpoint_close(checkpoint);
    }
    snprintf(paths[n_paths], sizeof paths[n_paths], "%s", path);
    return paths[n_paths++];
}

static const char *const extensions[] = {"pth", "safetensors", "bin"};
enum { n_extensions = sizeof extensions / sizeof extensions[0] };

static anx_checkpoint *open_file(const char *path, const anx_checkpoint_options *options) {
    anx_checkpoint *checkpoint = NULL;
    ANX_CHECK_OK(anx_checkpoint_open(path, options, &checkpoint, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(checkpoint);
    return checkpoint;
}

/* ---- reading ---------------------------------------------------------------------------------------------- */

static anx_status run_open(const operation *op) {
    static char nothing;
    anx_checkpoint *const untouched = (anx_checkpoint *)(void *)&nothing;
    anx_checkpoint *checkpoint = untouched;
    const anx_status status = anx_checkpoint_open(op->path, op->options, &checkpoint, &err);
    if (status == ANX_OK) {
        sum_checkpoint(checkpoint);
        anx_checkpoint_close(checkpoint);
    } else {
        CU_ASSERT_PTR_EQUAL(checkpoint, untouched);
    }
    return status;
}

static void opening(void) {
    for (int i = 0; i < n_extensions; i++)
        torture(&(operation){.run = run_open, .path = narrow_file(extensions[i])}, extensions[i]);
}

static void opening_as_stored(void) {
    for (int i = 0; i < n_extensions; i++)
        torture(&(operation){.run = run_open, .path = narrow_file(extensions[i]), .options = &as_stored},
                extensions[i]);
}

/* Storages that cannot be used in place are copied. */
static void opening_what_is_not_aligned(void) {
    test_zip zip;
    test_zip_init(&zip);
    zip.alignment = 0;
    test_zip_add(&zip, "m/data.pkl", test_zip_pickle, test_zip_pickle_bytes);
    test_zip_add(&zip, "m/data/0", "012345678901234567890123", 24);
    test_zip_add(&zip, "m/data/1", "0123456789abcdef", 16);
    test_zip_finish(&zip);
    const operation op = {.run = run_open, .path = test_zip_save(&zip, "unaligned.pth")};
    torture(&op, "unaligned");
    test_zip_fini(&zip);
}

/* All containers and calls of the pickle language, _metadata, a Parameter, a shared storage, and what is beside. */
static const char *training_file(void) {
    static const char pickle[] =
        /* the tensors */
        "\x80\x02}q\0(" TP_STR("\x0a", "state_dict") TP_HOOKS
        "q\1(" TP_STR("\x08", "module.w") TP_W TP_STR("\x08", "module.b")
            TP_GLOBAL("torch._utils", "_rebuild_parameter") "(" TP_W "\x88" TP_HOOKS "tRu}" TP_STR("\x09", "_metadata")
                TP_HOOKS TP_STR("\0", "") "}" TP_STR("\x07", "version") "K\x01sssb"
        /* and what is beside them */
        TP_STR("\x05", "epoch") "K\x05" TP_STR("\x04", "args") TP_GLOBAL("argparse", "Namespace") ")\x81}" TP_STR(
            "\x02", "lr") "G\x3f\xb9\x99\x99\x99\x99\x99\x9asb" TP_STR("\x03", "raw") TP_GLOBAL("_codecs", "encode")
            TP_STR("\x03", "abc") TP_STR("\x06", "latin1") "\x86R" TP_STR("\x04", "list") "](K\x01K\x02"
                                                                                          "eu.";
    test_zip zip;
    test_zip_checkpoint(&zip, pickle, sizeof pickle - 1);
    const char *path = test_zip_save(&zip, "training.pth");
    test_zip_fini(&zip);
    return path;
}

static void opening_a_training_checkpoint(void) {
    const char *path = training_file();
    torture(&(operation){.run = run_open, .path = path}, "training");
    torture(&(operation){.run = run_open, .path = path, .options = &as_stored}, "training, as stored");
}

static const char *stream_file(bool tar, double part) {
    test_stream stream;
    if (tar)
        test_torch_tar_good(&stream);
    else
        test_legacy_good(&stream);
    stream.n_bytes = (size_t)((double)stream.n_bytes * part);
    const char *path = test_stream_save(&stream, tar ? "old.tar" : "old.pth");
    test_stream_fini(&stream);
    return path;
}

static void opening_the_older_formats(void) {
    for (int tar = 0; tar < 2; tar++) {
        const char *path = stream_file(tar != 0, 1);
        torture(&(operation){.run = run_open, .path = path}, tar ? "tar" : "legacy");
        torture(&(operation){.run = run_open, .path = path, .options = &as_stored}, tar ? "tar" : "legacy");
        path = stream_file(tar != 0, 0.6);
        torture(&(operation){.run = run_open, .path = path, .expected = ANX_ERR_FORMAT},
                tar ? "a cut tar" : "a cut legacy stream");
    }
}

static void save_bytes(const char *path, const void *bytes, size_t n_bytes) {
    FILE *f = fopen(path, "wb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    CU_ASSERT_EQUAL(fwrite(bytes, 1, n_bytes, f), n_bytes);
    CU_ASSERT_EQUAL(fclose(f), 0);
}

static void refused(const char *name, const void *bytes, size_t n_bytes, anx_status expected) {
    const char *path = anx_test_path(name);
    save_bytes(path, bytes, n_bytes);
    torture(&(operation){.run = run_open, .path = path, .expected = expected}, name);
}

static void refusing(void) {
    test_zip zip;
    test_zip_checkpoint(&zip, test_zip_pickle, test_zip_pickle_bytes);
    refused("cut.pth", zip.bytes, zip.n_bytes / 2, ANX_ERR_FORMAT);
    zip.bytes[zip.data[2]] ^= 1;
    refused("crc.pth", zip.bytes, zip.n_bytes, ANX_ERR_FORMAT);
    test_zip_fini(&zip);
    test_zip_checkpoint(&zip, "\x80\x02](K\x01", 7);
    refused("pickle.pth", zip.bytes, zip.n_bytes, ANX_ERR_FORMAT);
    test_zip_fini(&zip);
    static const char json[] = "\x0e\0\0\0\0\0\0\0{\"a\":{\"x\":[1";
    refused("json.safetensors", json, sizeof json - 1, ANX_ERR_FORMAT);
    static const char shape[] =
        "\x36\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}0123";
    refused("shape.safetensors", shape, sizeof shape - 1, ANX_ERR_FORMAT);
    refused("page.html", "<!DOCTYPE html>", 15, ANX_ERR_UNSUPPORTED);
    uint8_t *bytes = NULL;
    size_t n = 0;
    ANX_CHECK_OK(anx_read_file(narrow_file("bin"), &bytes, &n, &err), &err);
    bytes[n - 1] ^= 1;
    refused("crc.bin", bytes, n, ANX_ERR_FORMAT);
    free(bytes);
    torture(&(operation){.run = run_open, .path = anx_test_path("none.pth"), .expected = ANX_ERR_NOT_FOUND}, "no file");
}

/* ---- what is done with an open one ------------------------------------------------------------------------ */

static anx_status run_digest(const operation *op) {
    anx_digest digest = {{0}};
    anx_checkpoint_impl_of(op->checkpoint)->has_digest = false;
    const anx_status status = anx_checkpoint_file_digest(op->checkpoint, &digest, &err);
    result = 0;
    add_to_result(digest.bytes, sizeof digest.bytes);
    return status;
}

static anx_status run_bind(const operation *op) {
    anx_model *model = NULL, *resized = NULL;
    result = 0;
    anx_status status = anx_model_bind(op->checkpoint, NULL, 0, 0, &model, &err);
    if (status == ANX_OK) status = anx_model_digests(model, 1, &err);
    if (status == ANX_OK) status = anx_model_resize(model, 100, 100, &resized, &err);
    if (status != ANX_OK) CU_ASSERT_PTR_NULL(resized);
    for (int p = 0; status == ANX_OK && p < model->graph->n_params; p++) {
        add_to_result(model->digests[p].bytes, sizeof model->digests[p].bytes);
        add_to_result(model->params[p].data, anx_tensor_bytes(&model->params[p]));
    }
    anx_model_destroy(resized);
    anx_model_destroy(model);
    return status;
}

static void summing_the_file(void) {
    anx_checkpoint *checkpoint = open_file(narrow_file("pth"), NULL);
    torture(&(operation){.run = run_digest, .checkpoint = checkpoint}, "digest");
    anx_checkpoint_close(checkpoint);
}

/* What anx-convert does: edits, questions, the file. */
static anx_status run_write_as(const anx_checkpoint *from, const anx_checkpoint_format *format, const char *path,
                               const anx_dtype *dtype) {
    anx_saving saving = ANX_SAVING_INIT;
    anx_file_writer *file = NULL;
    anx_rounding rounding = {0};
    size_t n = 0, n_shared = 0, n_strided = 0;
    bool can = true;
    anx_status status = anx_saving_init(from, &saving, &err);
    if (status == ANX_OK) status = anx_saving_strip_prefix(&saving, "module.", &n, &err);
    if (status == ANX_OK && dtype == NULL) status = anx_saving_rename(&saving, "features.3", "conv2", &n, &err);
    if (status == ANX_OK && dtype == NULL) status = anx_saving_rename(&saving, "w", "weight", &n, &err);
    if (status == ANX_OK && dtype != NULL) anx_saving_convert(&saving, *dtype, &n);
    if (status == ANX_OK) status = anx_saving_count_views(&saving, &n_shared, &n_strided, &err);
    if (status == ANX_OK && format->can_keep_metadata != NULL) status = format->can_keep_metadata(&saving, &can, &err);
    if (status == ANX_OK) status = anx_file_writer_create(path, true, &file, &err);
    if (status == ANX_OK) status = format->write(&saving, path, file, &rounding, &err);
    if (status == ANX_OK) status = anx_file_writer_commit(file, &err);
    anx_file_writer_destroy(file);
    anx_saving_fini(&saving);
    return status;
}

/* The narrow architecture in half precision, so that its parameters are converted. */
static const char *half_file(void) {
    const anx_dtype half = ANX_F16;
    const char *path = anx_test_path("half.pth");
    anx_checkpoint *source = open_file(narrow_file("pth"), &as_stored);
    ANX_CHECK_OK(run_write_as(source, anx_checkpoint_format_find("pth"), path, &half), &err);
    anx_checkpoint_close(source);
    return path;
}

/* What inspect does, and its text. */
static anx_status run_inspect(const operation *op) {
    static const anx_inspection_options options;
    anx_inspection *inspection = NULL;
    char *text = NULL;
    size_t n_bytes = 0;
    anx_status status = anx_inspect(op->path, &options, &inspection, &err);
    if (status == ANX_OK) status = anx_inspection_text(inspection, &text, &n_bytes, &err);
    if (status == ANX_OK) {
        result = 0;
        add_to_result(text, n_bytes);
    }
    free(text);
    anx_inspection_destroy(inspection);
    return status;
}

static void inspecting(void) {
    torture(&(operation){.run = run_inspect, .path = narrow_file("pth")}, "inspecting");
}

static void binding(void) {
    anx_checkpoint *floats = open_file(narrow_file("pth"), NULL), *halves = open_file(half_file(), NULL);
    torture(&(operation){.run = run_bind, .checkpoint = floats}, "binding float32");
    torture(&(operation){.run = run_bind, .checkpoint = halves}, "binding float16");
    anx_checkpoint_close(halves);
    anx_checkpoint_close(floats);
}

/* Nothing fits the architecture: the message lists it all. */
static anx_status run_bind_wrongly(const operation *op) {
    anx_model *model = NULL;
    const anx_status status = anx_model_bind(op->checkpoint, anx_arch_find("alexnet"), 0, 0, &model, &err);
    CU_ASSERT_PTR_NULL(model);
    return status;
}

static void binding_what_does_not_fit(void) {
    anx_checkpoint *checkpoint = open_file(narrow_file("pth"), NULL);
    torture(&(operation){.run = run_bind_wrongly, .checkpoint = checkpoint, .expected = ANX_ERR_MISMATCH},
            "binding what does not fit");
    anx_checkpoint_close(checkpoint);
}

/* ---- writing ---------------------------------------------------------------------------------------------- */

static anx_status run_write(const operation *op) {
    static const anx_dtype floats = ANX_F32;
    const anx_status status =
        run_write_as(op->checkpoint, op->format, op->path, op->format->keeps_views ? NULL : &floats);
    if (status == ANX_OK) {
        sum_file(op->path);
        unlink(op->path);
    }
    return status;
}

static anx_status run_header(const operation *op) {
    anx_saving saving = ANX_SAVING_INIT;
    anx_file_writer *file = NULL;
    anx_status status = anx_saving_init(op->checkpoint, &saving, &err);
    if (status == ANX_OK) status = anx_file_writer_create(op->path, true, &file, &err);
    if (status == ANX_OK) status = anx_raw_header_write(&saving, "narrow.raw", file, &err);
    if (status == ANX_OK) status = anx_file_writer_commit(file, &err);
    anx_file_writer_destroy(file);
    anx_saving_fini(&saving);
    if (status == ANX_OK) {
        sum_file(op->path);
        unlink(op->path);
    }
    return status;
}

/* raw: what is expected of that format, which does not take integers. */
static void write_all(const char *path, const char *from, anx_status raw) {
    anx_checkpoint *checkpoint = open_file(path, &as_stored);
    for (int i = 0; anx_checkpoint_format_at(i) != NULL; i++) {
        const anx_checkpoint_format *format = anx_checkpoint_format_at(i);
        char name[64], to[64];
        snprintf(name, sizeof name, "%s from %s", format->name, from);
        snprintf(to, sizeof to, "written.%s", format->name);
        const operation op = {.run = run_write,
                              .checkpoint = checkpoint,
                              .format = format,
                              .path = anx_test_path(to),
                              .expected = strcmp(format->name, "raw") == 0 ? raw : ANX_OK};
        torture(&op, name);
    }
    anx_checkpoint_close(checkpoint);
}

static void writing(void) {
    for (int k = 0; k < n_extensions; k++) write_all(narrow_file(extensions[k]), extensions[k], ANX_OK);
}

static void writing_what_the_older_formats_hold(void) {
    write_all(stream_file(false, 1), "legacy", ANX_ERR_INVALID_ARGUMENT);
    write_all(stream_file(true, 1), "tar", ANX_ERR_INVALID_ARGUMENT);
}

static void writing_what_is_converted(void) {
    write_all(half_file(), "half", ANX_OK);
}

static void writing_a_training_checkpoint(void) {
    write_all(training_file(), "training", ANX_OK);
}

static void writing_a_header(void) {
    anx_checkpoint *checkpoint = open_file(narrow_file("pth"), &as_stored);
    torture(&(operation){.run = run_header, .checkpoint = checkpoint, .path = anx_test_path("narrow.h")}, "header");
    anx_checkpoint_close(checkpoint);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"opening", opening},
        {"opening as stored", opening_as_stored},
        {"opening what is not aligned", opening_what_is_not_aligned},
        {"opening a training checkpoint", opening_a_training_checkpoint},
        {"opening the older formats", opening_the_older_formats},
        {"refusing", refusing},
        {"summing the file", summing_the_file},
        {"inspecting", inspecting},
        {"binding", binding},
        {"binding what does not fit", binding_what_does_not_fit},
        {"writing", writing},
        {"writing what the older formats hold", writing_what_the_older_formats_hold},
        {"writing what is converted", writing_what_is_converted},
        {"writing a training checkpoint", writing_a_training_checkpoint},
        {"writing a header", writing_a_header},
        {NULL, NULL},
    };
    /* libzip asks for the local time, and libc would remember where /etc/localtime is anew each time. */
    setenv("TZ", "UTC0", 1);
    return anx_test_main("allocations", tests, argc, argv);
}
