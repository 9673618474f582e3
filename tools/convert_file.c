#include "tools/convert_file.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "loaders/checkpoint/checkpoint_impl.h"
#include "loaders/checkpoint/raw_write.h"
#include "loaders/checkpoint/text.h"
#include "parity/inspection_contents.h"
#include "tools/common/cli.h"
#include "tools/convert_options.h"

/* ---- help ----------------------------------------------------------------------------------------------- */

void anx_convert_help(FILE *to) {
    fputs("usage: anx-convert IN OUT [OPTIONS]\n"
          "       anx-convert SUBCOMMAND ...\n\n"
          "Converts checkpoints: every format in, every format out, each value bit for bit.\n\n",
          to);
    anx_convert_options_help(to, true);
    fputs("Subcommands ('anx-convert SUBCOMMAND --help' explains one):\n"
          "  pth2bin      IN OUT as anx bin, whatever OUT is called\n"
          "  bin2pth      IN OUT as .pth\n"
          "  inspect      show what a checkpoint holds\n"
          "  verify       compare two checkpoints, of any two formats\n"
          "  init         write freshly initialised weights, as PyTorch initialises them\n\n"
          "Examples:\n"
          "  anx-convert alexnet-owt-4df8aa71.pth alexnet.pth        # the tar of 2016, for today's PyTorch\n"
          "  anx-convert alexnet.pth alexnet.safetensors\n"
          "  anx-convert checkpoint.pth half.bin --dtype f16         # a training checkpoint's model, halved\n"
          "  anx-convert ddp.pth plain.pth --prefix-strip module.\n"
          "  anx-convert alexnet.pth alexnet.raw --header alexnet.h\n"
          "  anx-convert alexnet.pth - --to bin | ssh board 'cat > alexnet.bin'\n\n"
          "  -V, --version  the version\n\n"
          "Exit status: 0 as asked, 1 a comparison found a difference (verify), 2 trouble (a bad file, no space),\n"
          "64 wrong usage.\n",
          to);
}

static void alias_help(FILE *to, const char *name, const char *what, const char *example) {
    fprintf(to, "usage: anx-convert %s IN OUT [OPTIONS]\n\n%s\n\n", name, what);
    anx_convert_options_help(to, false);
    fprintf(to, "Example:\n  anx-convert %s\n\nExit status: 0 written, 2 could not be written, 64 wrong usage.\n",
            example);
}

void anx_convert_pth2bin_help(FILE *to) {
    alias_help(to, "pth2bin", "Writes a checkpoint as anx bin, the flat format that a reader of 40 lines of C takes.",
               "pth2bin alexnet.pth alexnet.bin");
}

void anx_convert_bin2pth_help(FILE *to) {
    alias_help(to, "bin2pth", "Writes a checkpoint as .pth, as torch.save does.", "bin2pth alexnet.bin alexnet.pth");
}

/* ---- before writing ------------------------------------------------------------------------------------- */

static bool is_standard_output(const char *out) {
    return anx_cli_is_standard_output(out) || anx_file_is_standard_output(out);
}

/* What out names, standard output included, is the file at `path`. */
static bool is_same_file(const char *path, const char *out) {
    return strcmp(out, "-") == 0 ? anx_file_is_standard_output(path) : anx_file_is_same(path, out);
}

static int refuse_input(const char *name) {
    anx_cli_say("%s: it is the file that is read; write to another name", name);
    return ANX_EXIT_TROUBLE;
}

/* Neither over the file that is read, by whatever name, nor one over the other. */
static int check_targets(const anx_convert_options *o) {
    if (is_same_file(o->in, o->out)) return refuse_input(strcmp(o->out, "-") == 0 ? "standard output" : o->out);
    if (o->header != NULL && anx_file_is_same(o->in, o->header)) return refuse_input(o->header);
    if (o->header != NULL && is_same_file(o->header, o->out))
        return anx_cli_usage("--header '%s': the values are written there; give it another name", o->header);
    if (is_standard_output(o->out) && isatty(STDOUT_FILENO))
        return anx_cli_usage("a checkpoint is not written to a terminal; redirect standard output");
    return ANX_EXIT_OK;
}

static anx_status touched_none(anx_error *err, const char *option, const char *what, const char *text) {
    return anx_error_set(err, ANX_ERR_NOT_FOUND, "%s '%s': %s", option, text, what);
}

static anx_status edit(const anx_convert_options *o, anx_saving *saving, anx_error *err) {
    anx_status status = ANX_OK;
    size_t n = 0;
    for (size_t i = 0; i < o->n_only; i++)
        if (anx_saving_count_matches(saving, o->only[i]) == 0)
            return touched_none(err, "--only", "no tensor's name matches", o->only[i]);
    if (o->n_only > 0) anx_saving_keep(saving, o->only, o->n_only, &n);
    for (size_t i = 0; i < o->n_strip && status == ANX_OK; i++) {
        status = anx_saving_strip_prefix(saving, o->strip[i], &n, err);
        if (status == ANX_OK && n == 0)
            return touched_none(err, "--prefix-strip", "no tensor's name begins so", o->strip[i]);
    }
    for (size_t i = 0; i < o->n_renames && status == ANX_OK; i++) {
        status = anx_saving_rename(saving, o->renames[i].from, o->renames[i].to, &n, err);
        if (status == ANX_OK && n == 0)
            return touched_none(err, "--rename", "no tensor and no module is called so", o->renames[i].from);
    }
    if (o->convert) anx_saving_convert(saving, o->dtype, &n);
    return status;
}

/* ---- writing -------------------------------------------------------------------------------------------- */

static anx_status write_header(const anx_convert_options *o, const anx_saving *saving, anx_file_writer *file,
                               anx_error *err) {
    return anx_raw_header_write(saving, strcmp(o->out, "-") == 0 ? o->header : o->out, file, err);
}

/* Both files, or neither. */
static anx_status write_files(const anx_convert_options *o, const anx_saving *saving, anx_rounding *rounding,
                              uint64_t *n_bytes, anx_error *err) {
    anx_file_writer *file = NULL, *header = NULL;
    anx_status status = strcmp(o->out, "-") == 0 ? anx_file_writer_stdout(&file, err)
                                                 : anx_file_writer_create(o->out, o->force, &file, err);
    if (status == ANX_OK && o->header != NULL) status = anx_file_writer_create(o->header, o->force, &header, err);
    if (status == ANX_OK && header != NULL) status = write_header(o, saving, header, err);
    if (status == ANX_OK) {
        status = o->format->write(saving, o->out, file, rounding, err);
        if (status != ANX_OK) anx_error_in_file(err, o->out);
    }
    if (status == ANX_OK) {
        *n_bytes = anx_file_writer_offset(file);
        status = anx_file_writer_commit(file, err);
    }
    if (status == ANX_OK && header != NULL) status = anx_file_writer_commit(header, err);
    anx_file_writer_destroy(header);
    anx_file_writer_destroy(file);
    return status;
}

/* ---- what is said about it ------------------------------------------------------------------------------ */

static const char *printable(const char *name, char buf[200]) {
    return anx_text_printable(name, strlen(name), buf, 200);
}

/* A key as it is shown: a text without quotes, anything else as its value. */
static const char *describe_key(const anx_pickle_value *key, char buf[200]) {
    return key->kind == ANX_PICKLE_STRING ? anx_text_printable(key->u.text.bytes, key->u.text.n_bytes, buf, 200)
                                          : anx_contents_value(key, buf, 200);
}

/* " = 89", " (a dict of 2)", ... */
static void describe_value(const anx_pickle_value *v, char *buf, size_t size) {
    char text[64];
    switch (v->kind) {
    case ANX_PICKLE_DICT: snprintf(buf, size, " (a dict of %zu)", v->u.dict.count); break;
    case ANX_PICKLE_LIST: snprintf(buf, size, " (a list of %zu)", v->u.list.count); break;
    case ANX_PICKLE_NONE:
    case ANX_PICKLE_BOOL:
    case ANX_PICKLE_INT:
    case ANX_PICKLE_BIG_INT:
    case ANX_PICKLE_FLOAT:
    case ANX_PICKLE_STRING:
    case ANX_PICKLE_BYTES: snprintf(buf, size, " = %s", anx_contents_value(v, text, sizeof text)); break;
    default: snprintf(buf, size, " (%s)", anx_pickle_kind_phrase(v->kind)); break;
    }
}

enum { max_named = 40 };

/* What stands beside the model in a training checkpoint. */
static void say_left_out(const anx_checkpoint_impl *impl) {
    if (impl->root == NULL || impl->root == impl->state_dict) return;
    const anx_pickle_value *root = impl->root;
    size_t n = 0;
    for (size_t i = 0; i < root->u.dict.count; i++) {
        const anx_pickle_value *key = root->u.dict.items[2 * i], *value = root->u.dict.items[2 * i + 1];
        char text[200], what[120];
        if (value == impl->state_dict) continue;
        describe_value(value, what, sizeof what);
        if (n++ < max_named) anx_cli_say("left out: %s%s", describe_key(key, text), what);
    }
    if (n > max_named) anx_cli_say("left out: %zu more", n - max_named);
}

static void say_others(const anx_checkpoint_impl *impl) {
    for (size_t i = 0; i < impl->n_others && i < max_named; i++) {
        char text[200];
        anx_cli_say("left out: %s, which is no tensor but %s", printable(impl->others[i].name, text),
                    anx_pickle_kind_phrase(impl->others[i].kind));
    }
    if (impl->n_others > max_named) anx_cli_say("left out: %zu more that are no tensors", impl->n_others - max_named);
}

/* Attributes of the state_dict's own besides _metadata. */
static void say_attributes(const anx_checkpoint_impl *impl) {
    const anx_pickle_value *attributes = impl->state_dict != NULL ? impl->state_dict->u.dict.attributes : NULL;
    for (size_t i = 0; attributes != NULL && i < attributes->u.dict.count && i < max_named; i++) {
        const anx_pickle_value *key = attributes->u.dict.items[2 * i];
        char text[200];
        if (attributes->u.dict.items[2 * i + 1] == impl->metadata) continue;
        anx_cli_say("left out: the state_dict's attribute %s", describe_key(key, text));
    }
}

/* What the format cannot keep. */
static anx_status say_lost(anx_saving *saving, const anx_checkpoint_format *format, anx_error *err) {
    size_t n_shared = 0, n_strided = 0;
    const size_t n_parameters = anx_saving_count_parameters(saving);
    bool kept = true, ordered = true;
    anx_status status = anx_saving_count_views(saving, &n_shared, &n_strided, err);
    if (status == ANX_OK && format->can_keep_order != NULL) status = format->can_keep_order(saving, &ordered, err);
    if (status != ANX_OK) return status;
    if (!format->keeps_views && n_parameters > 0)
        anx_cli_say(
            "%zu Parameters, or tensors that require a gradient, are written as plain tensors: %s knows no others",
            n_parameters, format->name);
    if (!ordered)
        anx_cli_say("left out: the order of the names, which takes more room than %s has for it", format->name);
    if (!format->keeps_views && n_shared > 0)
        anx_cli_say("%zu tensors that share storages are written each for itself: %s knows no sharing", n_shared,
                    format->name);
    if (!format->keeps_views && n_strided > 0)
        anx_cli_say("%zu strided tensors are written in row-major order: %s knows no strides", n_strided, format->name);
    if (saving->metadata != NULL && format->can_keep_metadata != NULL)
        status = format->can_keep_metadata(saving, &kept, err);
    if (status == ANX_OK && !kept) {
        anx_cli_say("left out: _metadata, which holds more than %s keeps", format->name);
        saving->metadata = NULL;
    }
    return status;
}

static void report(FILE *to, const anx_convert_options *o, const anx_checkpoint *checkpoint, const anx_saving *saving,
                   uint64_t n_bytes, const anx_rounding *rounding) {
    int64_t elems = 0;
    for (size_t i = 0; i < saving->n_items; i++) elems += anx_tensor_elems(&saving->items[i].elements.tensor);
    fprintf(to, "%s: %s, %zu tensor%s, %" PRId64 " element%s, %" PRIu64 " bytes, from %s\n",
            strcmp(o->out, "-") == 0 ? "standard output" : o->out, o->format->name, saving->n_items,
            saving->n_items == 1 ? "" : "s", elems, elems == 1 ? "" : "s", n_bytes, checkpoint->format);
    if (rounding->n_elems == 0) return;
    if (rounding->n_changed == 0) {
        fprintf(to, "  %" PRId64 " values converted to %s, all exactly\n", rounding->n_elems, anx_dtype_name(o->dtype));
        return;
    }
    fprintf(to,
            "  %" PRId64 " values converted to %s: %" PRId64 " rounded, %" PRId64 " overflowed to infinity, %" PRId64
            " underflowed to zero,\n  largest relative error of the others %.3g\n",
            rounding->n_elems, anx_dtype_name(o->dtype), rounding->n_changed, rounding->n_overflow,
            rounding->n_underflow, rounding->max_relative);
}

/* ---- the command ---------------------------------------------------------------------------------------- */

static int fail(anx_status status, const anx_error *err, const anx_convert_options *o) {
    if (status == ANX_ERR_INVALID_ARGUMENT && strcmp(err->file, o->out) == 0)
        return anx_cli_usage("%s: %s", o->out, err->message);
    anx_cli_trouble(err);
    if (status == ANX_ERR_EXISTS && !o->force && strcmp(err->file, o->in) != 0) anx_cli_say("--force overwrites it");
    return ANX_EXIT_TROUBLE;
}

static anx_status convert(const anx_convert_options *o, anx_checkpoint *checkpoint, anx_error *err) {
    anx_saving saving = ANX_SAVING_INIT;
    anx_rounding rounding = {0};
    uint64_t n_bytes = 0;
    FILE *to = is_standard_output(o->out) ? stderr : stdout; /* told before a file is renamed over what is there */
    anx_status status = anx_saving_init(checkpoint, &saving, err);
    if (status == ANX_OK) status = edit(o, &saving, err);
    if (status == ANX_OK && !o->format->keeps_views) status = anx_saving_check_expanded(&saving, err);
    if (status != ANX_OK) anx_error_in_file(err, o->in);
    if (status == ANX_OK) status = say_lost(&saving, o->format, err);
    if (status == ANX_OK) status = write_files(o, &saving, &rounding, &n_bytes, err);
    if (status == ANX_OK) {
        say_left_out(anx_checkpoint_impl_of(checkpoint));
        say_others(anx_checkpoint_impl_of(checkpoint));
        say_attributes(anx_checkpoint_impl_of(checkpoint));
        if (checkpoint->n_bad_crc > 0)
            anx_cli_say("%zu record%s taken though the CRC-32 does not match", checkpoint->n_bad_crc,
                        checkpoint->n_bad_crc == 1 ? "" : "s");
        report(to, o, checkpoint, &saving, n_bytes, &rounding);
    }
    anx_saving_fini(&saving);
    return status;
}

static int run(int argc, char **argv, const char *format) {
    static anx_convert_options o;
    anx_error err = ANX_ERROR_INIT;
    bool stop;
    anx_checkpoint *checkpoint = NULL;
    int code =
        anx_convert_options_parse(argc, argv, format != NULL ? anx_checkpoint_format_find(format) : NULL, &o, &stop);
    if (stop) goto out;
    code = check_targets(&o);
    if (code != ANX_EXIT_OK) goto out;
    const anx_checkpoint_options options = {.accept_bad_crc = o.accept_bad_crc, .as_stored = true, .keep_prefix = true};
    anx_status status = anx_checkpoint_open(o.in, &options, &checkpoint, &err);
    if (status == ANX_OK) status = convert(&o, checkpoint, &err);
    code = status == ANX_OK ? ANX_EXIT_OK : fail(status, &err, &o);
out:
    anx_checkpoint_close(checkpoint);
    anx_convert_options_fini(&o);
    return code;
}

int anx_convert(int argc, char **argv) {
    return run(argc, argv, NULL);
}

int anx_convert_pth2bin(int argc, char **argv) {
    return run(argc, argv, "bin");
}

int anx_convert_bin2pth(int argc, char **argv) {
    return run(argc, argv, "pth");
}
