#include "tools/convert_options.h"

#include <stdlib.h>
#include <string.h>

#include "tools/common/cli.h"

/* What --dtype takes. */
static const struct {
    const char *name;
    anx_dtype dtype;
} dtypes[] = {{"f32", ANX_F32}, {"f16", ANX_F16}, {"bf16", ANX_BF16}, {"f64", ANX_F64}};

enum { option_to = ANX_CLI_FIRST_LONG, option_header, option_bad_crc };

/* "pth|safetensors|bin|raw" */
static const char *list_formats(void) {
    static char text[128];
    text[0] = '\0';
    for (int i = 0; anx_checkpoint_format_at(i) != NULL; i++) {
        const size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s", i > 0 ? "|" : "", anx_checkpoint_format_at(i)->name);
    }
    return text;
}

void anx_convert_options_help(FILE *to, bool has_to) {
    fputs("IN is any checkpoint, told by its bytes: PyTorch's zip (1.6 and later), its legacy stream, its tar of 2016\n"
          "(0.1), safetensors, anx bin. Of a training checkpoint the model is taken, and what is left out is named.\n"
          "Nothing in a file is ever executed.\n\n",
          to);
    if (has_to) {
        fputs("OUT's format is told by its name's ending, or by --to:\n", to);
        for (int i = 0; anx_checkpoint_format_at(i) != NULL; i++) {
            const anx_checkpoint_format *format = anx_checkpoint_format_at(i);
            fprintf(to, "  %-12s %-14s %s\n", format->name, format->extensions, format->summary);
        }
        fputc('\n', to);
    }
    fputs("Options:\n", to);
    if (has_to) fprintf(to, "  --to %s\n                   the format to write\n", list_formats());
    fputs("  --dtype f32|f16|bf16|f64\n"
          "                   write the floating tensors as this type, rounded once, to nearest even; what that did\n"
          "                   to the values is reported. Default: as they are\n"
          "  --only GLOB      the tensors whose names match alone, e.g. 'features.*'; may be given again\n"
          "  --prefix-strip P take P away from names that begin with it, e.g. module.; may be given again\n"
          "  --rename FROM=TO call the tensor or module FROM TO, e.g. classifier.6=head; may be given again.\n"
          "                   --only, --prefix-strip and --rename are applied in this order\n",
          to);
    if (has_to) fputs("  --header FILE.h  with raw: a C header with the offset of each tensor\n", to);
    fprintf(to, "  --force          overwrite OUT%s if it exists; never IN\n", has_to ? " (and the header)" : "");
    fputs("  --accept-bad-crc take records of a zip or bin file whose CRC-32 is wrong\n"
          "  -h, --help       this text\n\n",
          to);
}

/* ---- single options ------------------------------------------------------------------------------------- */

static int parse_dtype(const char *text, anx_convert_options *o) {
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (strcmp(text, dtypes[i].name) != 0) continue;
        o->dtype = dtypes[i].dtype;
        o->convert = true;
        return ANX_EXIT_OK;
    }
    return anx_cli_usage("--dtype '%s': f32, f16, bf16 or f64 was expected", text);
}

static int parse_to(const char *text, anx_convert_options *o) {
    o->format = anx_checkpoint_format_find(text);
    return o->format != NULL ? ANX_EXIT_OK
                             : anx_cli_usage("--to '%s': there is no such format; there is: %s", text, list_formats());
}

static int parse_rename(const char *text, anx_convert_options *o) {
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text || equals[1] == '\0')
        return anx_cli_usage("--rename '%s': FROM=TO was expected, e.g. classifier.6=head", text);
    if (o->n_renames == ANX_MAX_EDITS) return anx_cli_usage("more than %d --rename", (int)ANX_MAX_EDITS);
    char *from = strndup(text, (size_t)(equals - text));
    if (from == NULL) {
        anx_cli_say("out of memory");
        return ANX_EXIT_TROUBLE;
    }
    o->renames[o->n_renames++] = (anx_rename){from, equals + 1};
    return ANX_EXIT_OK;
}

static int add_text(const char *option, const char *text, const char **list, size_t *n) {
    if (text[0] == '\0') return anx_cli_usage("%s needs a value that is not empty", option);
    if (*n == ANX_MAX_EDITS) return anx_cli_usage("more than %d %s", (int)ANX_MAX_EDITS, option);
    list[(*n)++] = text;
    return ANX_EXIT_OK;
}

/* ANX_EXIT_OK, or the code to end with. */
static int parse_option(int option, anx_convert_options *o) {
    switch (option) {
    case option_to: return parse_to(optarg, o);
    case 'd': return parse_dtype(optarg, o);
    case 'o': return add_text("--only", optarg, o->only, &o->n_only);
    case 'p': return add_text("--prefix-strip", optarg, o->strip, &o->n_strip);
    case 'r': return parse_rename(optarg, o);
    case option_header: o->header = optarg; return ANX_EXIT_OK;
    case 'f': o->force = true; return ANX_EXIT_OK;
    case option_bad_crc: o->accept_bad_crc = true; return ANX_EXIT_OK;
    default: return anx_cli_stop_code();
    }
}

/* ---- all of them ---------------------------------------------------------------------------------------- */

/* is_sub: a subcommand was named, so that a lone operand is none that does not exist. */
static int check_operands(int argc, char **argv, bool is_sub, anx_convert_options *o) {
    if (argc - optind == 0) return anx_cli_usage("IN and OUT are missing: the checkpoint to read and the one to write");
    if (argc - optind == 1 && is_sub) return anx_cli_usage("OUT is missing: the file to write");
    if (argc - optind == 1)
        return anx_cli_usage("'%s' is no subcommand, and to convert a file of that name OUT is missing", argv[optind]);
    if (argc - optind > 2) return anx_cli_usage("unexpected argument '%s'", argv[optind + 2]);
    o->in = argv[optind];
    o->out = argv[optind + 1];
    return anx_cli_check_input(o->in);
}

static int choose_format(anx_convert_options *o) {
    const bool is_stdout = anx_cli_is_standard_output(o->out);
    if (o->format == NULL && !is_stdout) o->format = anx_checkpoint_format_of_path(o->out);
    if (o->format == NULL && is_stdout)
        return anx_cli_usage("the format to write to standard output is missing: --to %s", list_formats());
    if (o->format == NULL)
        return anx_cli_usage("the name '%s' does not tell a format: --to %s", o->out, list_formats());
    if (o->header != NULL && strcmp(o->format->name, "raw") != 0)
        return anx_cli_usage("--header goes with raw; %s says itself where its tensors are", o->format->name);
    return ANX_EXIT_OK;
}

int anx_convert_options_parse(int argc, char **argv, const anx_checkpoint_format *format, anx_convert_options *o,
                              bool *stop) {
    static const struct option all[] = {
        {"to", required_argument, NULL, option_to},
        {"header", required_argument, NULL, option_header},
        {"dtype", required_argument, NULL, 'd'},
        {"only", required_argument, NULL, 'o'},
        {"prefix-strip", required_argument, NULL, 'p'},
        {"rename", required_argument, NULL, 'r'},
        {"force", no_argument, NULL, 'f'},
        {"accept-bad-crc", no_argument, NULL, option_bad_crc},
        {NULL, 0, NULL, 0},
    };
    enum { only_without_format = 2 }; /* the first ones make no sense where the format is given */
    *o = (anx_convert_options){.format = format};
    *stop = true;
    int option;
    while ((option = anx_cli_next_option(argc, argv, "", format == NULL ? all : all + only_without_format)) != -1) {
        const int code = parse_option(option, o);
        if (code != ANX_EXIT_OK || option == ANX_CLI_STOP) return code;
    }
    int code = check_operands(argc, argv, format != NULL, o);
    if (code == ANX_EXIT_OK) code = choose_format(o);
    *stop = code != ANX_EXIT_OK;
    return code;
}

void anx_convert_options_fini(anx_convert_options *o) {
    for (size_t i = 0; i < o->n_renames; i++) free(o->renames[i].from);
    o->n_renames = 0;
}
