/* Files are told by their content, and those that are no checkpoints are refused by name. */
#include <stdio.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint.h"
#include "loaders/checkpoint/text.h"
#include "loaders/file.h"
#include "tests/support/anx_test.h"
#include "tests/support/test_tar.h"

static anx_error err;

#define BYTES(text) (text), sizeof(text) - 1

static void put(const char *path, const void *bytes, size_t n_bytes) {
    anx_file_writer *w = NULL;
    ANX_CHECK_OK(anx_file_writer_create(path, true, &w, &err), &err);
    ANX_CHECK_OK(anx_file_writer_write(w, bytes, n_bytes, &err), &err);
    ANX_CHECK_OK(anx_file_writer_commit(w, &err), &err);
    anx_file_writer_destroy(w);
}

static void check_refused(const void *bytes, size_t n_bytes, const char *message) {
    const char *path = anx_test_path("model.pth");
    char expected[1024], got[20000];
    put(path, bytes, n_bytes);
    anx_checkpoint *checkpoint = NULL;
    ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_checkpoint_open(path, NULL, &checkpoint, &err), &err);
    CU_ASSERT_PTR_NULL(checkpoint);
    snprintf(expected, sizeof expected, "%s: %s", path, message);
    CU_ASSERT_STRING_EQUAL(anx_error_format(&err, got, sizeof got), expected);
    if (strcmp(got, expected) != 0) fprintf(stderr, "\n  expected %s\n  got      %s\n", expected, got);
}

static void other_files_are_refused_by_name(void) {
    static const struct {
        const char *bytes;
        size_t n_bytes;
        const char *message;
    } cases[] = {
        {BYTES(""), "an empty file"},
        {BYTES("\x80\x02}q\0."), "a plain Python pickle: save the state_dict with torch.save"},
        {BYTES("\x80\x04\x95"), "a plain Python pickle: save the state_dict with torch.save"},
        {BYTES("\x89HDF\r\n\x1a\n\0\0"), "an HDF5 file (Keras): convert the weights to PyTorch or safetensors first"},
        {BYTES("version https://git-lfs.github.com/spec/v1\noid sha256:7be5\nsize 244408911\n"),
         "a Git LFS pointer: the file itself was not fetched: run `git lfs pull`"},
        {BYTES("\n <!DOCTYPE HTML><html><title>Sign in</title>"),
         "a web page (HTML): a download that gave a web page instead of the file; fetch it again"},
        {BYTES("<html>"), "a web page (HTML): a download that gave a web page instead of the file; fetch it again"},
        {BYTES("<?xml version=\"1.0\"?><Error><Code>AccessDenied"),
         "an XML document: a download that gave a web page instead of the file; fetch it again"},
        {BYTES("{\"error\": \"not found\"}"), "JSON text"},
        {BYTES("\x1f\x8b\x08\0"), "a gzip file: unpack it first"},
        {BYTES("BZh91AY&SY"), "a bzip2 file: unpack it first"},
        {BYTES("\xfd\x37zXZ\0\0"), "an xz file: unpack it first"},
        {BYTES("\x28\xb5\x2f\xfd\0"), "a zstd file: unpack it first"},
        {BYTES("7z\xbc\xaf\x27\x1c\0"), "a 7-Zip archive: unpack it first"},
        {BYTES("Rar!\x1a\x07\0"), "a RAR archive: unpack it first"},
        {BYTES("GGUF\x03\0\0\0"), "a GGUF model: convert the weights to PyTorch or safetensors first"},
        {BYTES("\x93NUMPY\x01\0"), "a NumPy array: convert the weights to PyTorch or safetensors first"},
        {BYTES("\x1c\0\0\0TFL3"), "a TensorFlow Lite model: convert the weights to PyTorch or safetensors first"},
        {BYTES("\xff\xd8\xff\xe0"), "a JPEG image: a checkpoint was expected here"},
        {BYTES("\x89PNG\r\n\x1a\n"), "a PNG image: a checkpoint was expected here"},
        {BYTES("\x08\x07\x12\x07pytorch"), "an ONNX model: export the weights from PyTorch instead"},
        {BYTES("\x89"
               "ANXBIN\r\n\x01\0\0\0"),
         "an anx bin file whose line ends were changed, as of a text: transfer it again, as binary"},
        {BYTES("P"), "an unknown kind of file, beginning with 'P'; a PyTorch checkpoint (zip, legacy stream or tar), "
                     "safetensors or anx bin was expected"},
        {BYTES("\x1b]0;owned\x07\0\0\0\0\0\0\0\0"),
         "an unknown kind of file, beginning with '\\x1b]0;owned\\x07\\x00\\x00\\x00\\x00\\x00\\x00'; a PyTorch "
         "checkpoint (zip, legacy stream or tar), safetensors or anx bin was expected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_refused(cases[i].bytes, cases[i].n_bytes, cases[i].message);
}

static void tar_archives_are_known_with_and_without_magic(void) {
    anx_checkpoint *checkpoint = NULL;
    test_tar tar;
    for (int magic = 0; magic < 2; magic++) {
        test_tar_init(&tar);
        const size_t header = test_tar_header(&tar, "sys_info", '0', NULL, 0);
        if (magic == 0) memset(tar.bytes + header + 257, 0, 8); /* as before POSIX */
        test_tar_seal(&tar, header);
        test_tar_finish(&tar);
        const char *path = anx_test_path("model.pth");
        put(path, tar.bytes, tar.n_bytes);
        ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_checkpoint_open(path, NULL, &checkpoint, &err), &err);
        ANX_CHECK_MESSAGE(
            "model.pth: no member 'pickle' in the tar archive: not a checkpoint of PyTorch 0.1, or truncated", &err);
        test_tar_fini(&tar);
    }
}

static void what_cannot_be_opened_says_why(void) {
    anx_checkpoint *checkpoint = NULL;
    ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND, anx_checkpoint_open(anx_test_path("none"), NULL, &checkpoint, &err), &err);
    ANX_CHECK_MESSAGE("/none: cannot open: No such file or directory", &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_checkpoint_open(anx_test_tmpdir(), NULL, &checkpoint, &err), &err);
    ANX_CHECK_MESSAGE(": a folder, not a file", &err);
    CU_ASSERT_NOT_EQUAL(anx_checkpoint_open(anx_test_path("none"), NULL, &checkpoint, NULL), ANX_OK);
}

static void text_is_made_printable(void) {
    static const struct {
        const char *bytes;
        size_t n_bytes;
        const char *expected;
    } cases[] = {
        {BYTES("plain"), "plain"},
        {BYTES(""), ""},
        {BYTES("a\0b\n\x7f"), "a\\x00b\\x0a\\x7f"},
        {BYTES("\xc3\xa4\xe6\xbc\xa2\xf0\x9f\x98\x80"), "\xc3\xa4\xe6\xbc\xa2\xf0\x9f\x98\x80"},
        {BYTES("\xc3"), "\\xc3"},
        {BYTES("\xc0\x80\xff"), "\\xc0\\x80\\xff"},
        {BYTES("\xed\xa0\x80"), "\\xed\\xa0\\x80"},
        {BYTES("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80"},
        {BYTES("\302\23331m\302\240"), "\\xc2\\x9b31m\302\240"}, /* CSI in one character */
        {BYTES("\342\200\256htp."), "\\xe2\\x80\\xaehtp."},      /* right to left from here on */
        {BYTES("\xe2\x80\xa8\xd8\x9c"), "\\xe2\\x80\\xa8\\xd8\\x9c"},
        {BYTES("\xe2\x81\xa6\xe2\x80\xa6"), "\\xe2\\x81\\xa6\xe2\x80\xa6"},
        {BYTES("0123456789012345678901234567890"), "01234567890123456789012345..."},
        {BYTES("012345678901234567890123456\xc3\xa4"), "01234567890123456789012345..."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[30];
        CU_ASSERT_STRING_EQUAL(anx_text_printable(cases[i].bytes, cases[i].n_bytes, text, sizeof text),
                               cases[i].expected);
    }
    CU_ASSERT_TRUE(anx_utf8_valid(BYTES("a\xc2\x80\xef\xbf\xbf\xf4\x8f\xbf\xbf")));
    CU_ASSERT_FALSE(anx_utf8_valid(BYTES("\xe0\x9f\xbf")));
    CU_ASSERT_FALSE(anx_utf8_valid(BYTES("\xf0\x8f\xbf\xbf")));
    CU_ASSERT_FALSE(anx_utf8_valid(BYTES("\x80")));
    CU_ASSERT_FALSE(anx_utf8_valid(BYTES("\xe6\xbc")));
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"other_files_are_refused_by_name", other_files_are_refused_by_name},
        {"tar_archives_are_known_with_and_without_magic", tar_archives_are_known_with_and_without_magic},
        {"what_cannot_be_opened_says_why", what_cannot_be_opened_says_why},
        {"text_is_made_printable", text_is_made_printable},
        {NULL, NULL},
    };
    return anx_test_main("sniff", tests, argc, argv);
}
