#include "loaders/checkpoint/sniff.h"

#include <string.h>
#include <strings.h>

#include "loaders/checkpoint/bin_format.h"
#include "loaders/checkpoint/zip_index.h"

typedef struct row {
    anx_file_format format;
    const char *magic; /* bytes at `offset`; NULL: `match` decides */
    size_t magic_bytes, offset;
    bool (*match)(const uint8_t *bytes, size_t n_bytes);
} row;

/* ---- kinds without a fixed beginning --------------------------------------------------------------------- */

/* A header length that fits, then the '{' of the JSON object. */
static bool is_safetensors(const uint8_t *bytes, size_t n_bytes) {
    uint64_t length = 0;
    if (n_bytes < 10 || bytes[8] != '{') return false;
    memcpy(&length, bytes, sizeof length);
    return length >= 2 && length <= 100000000;
}

static const uint8_t *skip_space(const uint8_t *bytes, size_t *n_bytes) {
    if (*n_bytes >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) {
        bytes += 3;
        *n_bytes -= 3;
    }
    while (*n_bytes > 0 && memchr(" \t\r\n", *bytes, 4) != NULL) {
        bytes++;
        (*n_bytes)--;
    }
    return bytes;
}

static bool starts_with(const uint8_t *bytes, size_t n_bytes, const char *text) {
    const size_t n = strlen(text);
    return n_bytes >= n && strncasecmp((const char *)bytes, text, n) == 0;
}

static bool is_html(const uint8_t *bytes, size_t n_bytes) {
    bytes = skip_space(bytes, &n_bytes);
    return starts_with(bytes, n_bytes, "<!doctype html") || starts_with(bytes, n_bytes, "<html") ||
           starts_with(bytes, n_bytes, "<head") || starts_with(bytes, n_bytes, "<!--");
}

static bool is_xml(const uint8_t *bytes, size_t n_bytes) {
    bytes = skip_space(bytes, &n_bytes);
    return starts_with(bytes, n_bytes, "<?xml");
}

static bool is_json(const uint8_t *bytes, size_t n_bytes) {
    bytes = skip_space(bytes, &n_bytes);
    if (n_bytes == 0 || *bytes != '{') return false;
    n_bytes--;
    bytes = skip_space(bytes + 1, &n_bytes);
    return n_bytes > 0 && (*bytes == '"' || *bytes == '}');
}

/* ModelProto's first fields: ir_version (field 1, a small varint), then opset, producer or the graph. */
static bool is_onnx(const uint8_t *bytes, size_t n_bytes) {
    return n_bytes > 3 && bytes[0] == 0x08 && bytes[1] >= 1 && bytes[1] <= 32 &&
           (bytes[2] == 0x12 || bytes[2] == 0x1a || bytes[2] == 0x22 || bytes[2] == 0x3a || bytes[2] == 0x42);
}

/* Any pickle of protocol 2 to 5 that is not torch's legacy stream, which comes first in the table. */
static bool is_pickle(const uint8_t *bytes, size_t n_bytes) {
    return n_bytes > 2 && bytes[0] == 0x80 && bytes[1] >= 2 && bytes[1] <= 5;
}

/* The tar member names that torch 0.1 wrote first, in archives whose header has no "ustar". */
static bool is_old_tar(const uint8_t *bytes, size_t n_bytes) {
    return n_bytes >= 512 && (memcmp(bytes, "sys_info\0", 9) == 0 || memcmp(bytes, "pickle\0", 7) == 0);
}

static bool is_empty(const uint8_t *bytes, size_t n_bytes) {
    (void)bytes;
    return n_bytes == 0;
}

/* ---- the table ------------------------------------------------------------------------------------------ */

#define MAGIC(text) .magic = text, .magic_bytes = sizeof text - 1
#define REFUSED(name_, advice_) .format = {.name = name_, .kind = ANX_FILE_REFUSED, .advice = advice_}

static const char download[] = "a download that gave a web page instead of the file; fetch it again";
static const char unpack[] = "unpack it first";
static const char from_onnx[] = "export the weights from PyTorch instead";
static const char from_other[] = "convert the weights to PyTorch or safetensors first";

/* The first row that matches counts. */
static const row rows[] = {
    {.format = {.name = "an empty file", .kind = ANX_FILE_REFUSED}, .match = is_empty},
    {.format = {.name = "a zip archive", .kind = ANX_FILE_ZIP}, MAGIC("PK\x03\x04")},
    {.format = {.name = "a zip archive", .kind = ANX_FILE_ZIP}, MAGIC("PK\x05\x06")},
    {.format = {.name = "an anx bin file", .kind = ANX_FILE_BIN}, MAGIC(ANX_BIN_MAGIC)},
    {REFUSED("an anx bin file whose line ends were changed, as of a text", "transfer it again, as binary"),
     MAGIC("\x89"
           "ANXBIN\r\n")},
    {.format = {.name = "safetensors", .kind = ANX_FILE_SAFETENSORS}, .match = is_safetensors},
    {.format = {.name = "PyTorch's legacy stream", .kind = ANX_FILE_TORCH_LEGACY},
     MAGIC("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e")},
    {.format = {.name = "a tar archive", .kind = ANX_FILE_TORCH_TAR}, MAGIC("ustar"), .offset = 257},
    {.format = {.name = "a tar archive", .kind = ANX_FILE_TORCH_TAR}, .match = is_old_tar},
    {REFUSED("a plain Python pickle", "save the state_dict with torch.save"), .match = is_pickle},
    {REFUSED("an HDF5 file (Keras)", from_other), MAGIC("\x89HDF\r\n\x1a\n")},
    {REFUSED("a Git LFS pointer", "the file itself was not fetched: run `git lfs pull`"),
     MAGIC("version https://git-lfs.github.com/spec/")},
    {REFUSED("a web page (HTML)", download), .match = is_html},
    {REFUSED("an XML document", download), .match = is_xml},
    {REFUSED("JSON text", NULL), .match = is_json},
    {REFUSED("a gzip file", unpack), MAGIC("\x1f\x8b")},
    {REFUSED("a bzip2 file", unpack), MAGIC("BZh")},
    {REFUSED("an xz file", unpack), MAGIC("\xfd\x37zXZ\0")},
    {REFUSED("a zstd file", unpack), MAGIC("\x28\xb5\x2f\xfd")},
    {REFUSED("a 7-Zip archive", unpack), MAGIC("7z\xbc\xaf\x27\x1c")},
    {REFUSED("a RAR archive", unpack), MAGIC("Rar!\x1a\x07")},
    {REFUSED("a GGUF model", from_other), MAGIC("GGUF")},
    {REFUSED("a NumPy array", from_other), MAGIC("\x93NUMPY")},
    {REFUSED("a TensorFlow Lite model", from_other), MAGIC("TFL3"), .offset = 4},
    {REFUSED("a JPEG image", "a checkpoint was expected here"), MAGIC("\xff\xd8\xff")},
    {REFUSED("a PNG image", "a checkpoint was expected here"), MAGIC("\x89PNG\r\n\x1a\n")},
    {REFUSED("an ONNX model", from_onnx), .match = is_onnx},
};

const anx_file_format *anx_sniff(const uint8_t *bytes, size_t n_bytes) {
    static const anx_file_format unknown = {.name = "an unknown kind of file", .kind = ANX_FILE_UNKNOWN};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const row *r = &rows[i];
        const bool matches = r->match != NULL ? r->match(bytes, n_bytes)
                                              : n_bytes >= r->offset + r->magic_bytes &&
                                                    memcmp(bytes + r->offset, r->magic, r->magic_bytes) == 0;
        if (matches) return &r->format;
    }
    return &unknown;
}

anx_status anx_sniff_refuse(const anx_file_format *format, anx_error *err) {
    return anx_error_set(err, ANX_ERR_UNSUPPORTED, "%s%s%s", format->name, format->advice != NULL ? ": " : "",
                         format->advice != NULL ? format->advice : "");
}

/* ---- zip archives --------------------------------------------------------------------------------------- */

/* An entry whose name, in its folder (if `in_folder`) or in whole, is `name`, or begins so where it ends in '*'. */
static bool has(const anx_zip_index *index, const char *name, bool in_folder) {
    const size_t n = strlen(name);
    const bool ending = name[0] == '*';
    for (size_t i = 0; i < index->count; i++) {
        const char *entry = index->entries[i].name;
        if (in_folder) {
            entry = strchr(entry, '/');
            if (entry == NULL) continue;
            entry++;
        }
        const size_t length = strlen(entry);
        if (ending ? length >= n - 1 && strcmp(entry + length - (n - 1), name + 1) == 0 : strcmp(entry, name) == 0)
            return true;
    }
    return false;
}

const anx_file_format *anx_sniff_zip(const anx_zip_index *index) {
    static const struct {
        const char *name; /* "*.npy": any that ends so */
        bool in_folder;
        anx_file_format format;
    } kinds[] = {
        {"constants.pkl",
         true,
         {.name = "a TorchScript archive (torch.jit.save)",
          .kind = ANX_FILE_REFUSED,
          .advice =
              "it holds a program; load it with torch.jit.load in Python and save its state_dict() with torch.save"}},
        {"models/model.json",
         true,
         {.name = "an exported program (torch.export.save)",
          .kind = ANX_FILE_REFUSED,
          .advice = "load it with torch.export.load in Python and save its state_dict with torch.save"}},
        {"model.weights.h5", false, {.name = "a Keras model", .kind = ANX_FILE_REFUSED, .advice = from_other}},
        {"AndroidManifest.xml", false, {.name = "an Android package", .kind = ANX_FILE_REFUSED}},
        {"[Content_Types].xml", false, {.name = "an Office document", .kind = ANX_FILE_REFUSED}},
        {"*.npy", false, {.name = "a NumPy archive (npz)", .kind = ANX_FILE_REFUSED, .advice = from_other}},
    };
    static const anx_file_format other = {
        .name = "a zip archive that is not a PyTorch checkpoint: it has no entry FOLDER/data.pkl",
        .kind = ANX_FILE_REFUSED};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (has(index, kinds[i].name, kinds[i].in_folder)) return &kinds[i].format;
    return has(index, "data.pkl", true) ? NULL : &other;
}
