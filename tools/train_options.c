#include "tools/train_options.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/text.h"
#include "loaders/file.h"
#include "src/model/arch.h"
#include "src/train/schedule.h"
#include "tools/common/cli.h"
#include "tools/common/engine_options.h"

const anx_train_options anx_train_defaults = {
    .epochs = 90,
    .batch = 32,
    .lr = 0.01,
    .momentum = 0.9,
    .weight_decay = 1e-4,
    .opt = "sgd",
    .lr_scheduler = "steplr",
    .lr_step_size = 30,
    .lr_gamma = 0.1,
    .lr_patience = 10,
    .lr_warmup_method = "constant",
    .lr_warmup_decay = 0.01,
    .augment = "torchvision-basic",
    .order = "pytorch",
    .dropout = -1.0,
    .dropout_masks = "pytorch",
    .device = "auto",
    .math = "float32",
    .save_minutes = 15,
};

/* ---- help ----------------------------------------------------------------------------------------------- */

/* "(default 32)", or nothing where the help's own lines say it. */
static void print_default(const anx_train_setting *s, int i, FILE *to) {
    char buf[40];
    const bool limited = s->type == ANX_SETTING_INTEGER && s->min > 0; /* 0: no limit */
    const bool told = strstr(s->help, "(default") != NULL || s->role == ANX_SETTING_ORIGIN ||
                      (limited && *(const int64_t *)anx_train_setting_value(&anx_train_defaults, i) == 0);
    const char *text = anx_train_setting_text(&anx_train_defaults, i, buf);
    if (!told && s->type != ANX_SETTING_FLAG && *text != '\0') fprintf(to, " (default %s)", text);
}

static void print_setting(int i, FILE *to) {
    enum { column = 26 };
    const anx_train_setting *s = anx_train_setting_at(i);
    char left[64];
    if (s->letter != 0)
        snprintf(left, sizeof left, "  -%c, --%s %s", s->letter, s->name, s->metavar);
    else
        snprintf(left, sizeof left, "  --%s%s%s", s->name, s->metavar != NULL ? " " : "",
                 s->metavar != NULL ? s->metavar : "");
    fprintf(to, "%-*s", column, left);
    if (strlen(left) >= column) fprintf(to, "\n%*s", column, "");
    if (s->choices != NULL) {
        for (int k = 0; s->choices[k] != NULL; k++) fprintf(to, "%s%s", k > 0 ? ", " : "", s->choices[k]);
        fprintf(to, ":\n%*s", column, "");
    }
    for (const char *c = s->help; *c != '\0'; c++) {
        fputc(*c, to);
        if (*c == '\n') fprintf(to, "%*s", column, "");
    }
    print_default(s, i, to);
    fputc('\n', to);
}

static void print_from(const char *first, const char *last, FILE *to) {
    bool on = false;
    for (int i = 0; anx_train_setting_at(i) != NULL; i++) {
        const anx_train_setting *s = anx_train_setting_at(i);
        on = on || strcmp(s->name, first) == 0;
        if (on && s->help != NULL) print_setting(i, to);
        if (on && strcmp(s->name, last) == 0) return;
    }
}

void anx_train_help(FILE *to) {
    fputs("usage: anx-train --data DIR --weights FILE -o DIR [OPTIONS]\n"
          "       anx-train --resume DIR/last.pth [OPTIONS]\n"
          "       anx-train report [OPTIONS] LOG...\n\n"
          "Trains a classifier as torchvision's train.py does: SGD, a learning rate for each epoch, evaluation after\n"
          "it. From the same seed the order of the images, crops, flips, dropout masks, learning rates, loss and\n"
          "update are PyTorch's; on the device 'exact' the whole run is, to the bit.\n\n"
          "What is trained:\n",
          to);
    print_from("data", "force", to);
    fputs("\nThe recipe, torchvision's own for AlexNet unless said otherwise:\n", to);
    print_from("epochs", "skip-bad", to);
    fputs("\nThis run:\n", to);
    print_from("max-steps", "max-steps", to);
    fputs("  --device NAME           what computes (default auto):\n", to);
    anx_cli_list_devices(to);
    print_from("math", "accept-bad-crc", to);
    fputs(
        "\nWhat it leaves in DIR: last.pth and best.pth (model, optimizer, scheduler, generator: to go on from, here\n"
        "or in PyTorch), best-model.pth and last-model.pth (a state_dict: to use), classes.tsv, log.jsonl.\n",
        to);
    print_from("log", "with-args", to);
    fputs("  -h, --help              this text; 'anx-train report --help' explains report\n"
          "  -V, --version           the version\n\n"
          "Examples:\n"
          "  anx-train --data flowers --weights alexnet-owt-7be5be79.pth --freeze 'features.*' -o run --epochs 10\n"
          "  anx-train --resume run/last.pth --epochs 20\n"
          "  anx-train --data flowers/train --val-dir flowers/val --weights alexnet-owt-7be5be79.pth -o exact \\\n"
          "            --device exact --lr 0.001 --lr-group 'classifier.6.*=0.01' --max-steps 100\n"
          "  anx-train report run/log.jsonl -o run.html\n\n"
          "Exit status: 0 as asked, 2 trouble (a bad image, a loss that is not finite, a full disk), 64 wrong usage,\n"
          "130 interrupted: what was reached is in last.pth.\n",
          to);
}

/* ---- parsing -------------------------------------------------------------------------------------------- */

static bool parse_real(const char *text, double *out) {
    char *end;
    if (strspn(text, "0123456789+-.eE") != strlen(text)) return false; /* neither "inf" nor hexadecimal */
    *out = strtod(text, &end);
    return end != text && *end == '\0';
}

/* Whole numbers are shown as such. */
static int out_of_range(const anx_train_setting *s, const char *text) {
    char most[40] = "";
    if (s->max < 1e9 || s->type == ANX_SETTING_INTEGER) snprintf(most, sizeof most, " to %.17g", s->max);
    return anx_cli_usage("--%s '%s' is not a %s %s %g%s", s->name, text,
                         s->type == ANX_SETTING_INTEGER ? "whole number" : "number", s->above_min ? "above" : "from",
                         s->min, most);
}

static int parse_choice(const anx_train_setting *s, const char *text, const char **out) {
    char known[200] = "";
    for (int k = 0; s->choices[k] != NULL; k++) {
        const size_t used = strlen(known);
        if (strcmp(s->choices[k], text) == 0) {
            *out = s->choices[k];
            return ANX_EXIT_OK;
        }
        snprintf(known + used, sizeof known - used, "%s%s", k > 0 ? ", " : "", s->choices[k]);
    }
    return anx_cli_usage("--%s '%s' is none of these: %s", s->name, text, known);
}

static int add_text(anx_train_options *o, const char *text, const char **out) {
    const size_t before = *out != NULL ? strlen(*out) + 1 : 0, n = strlen(text);
    char *joined = anx_arena_alloc(&o->arena, before + n + 1, 1);
    if (joined == NULL) {
        anx_cli_say("out of memory");
        return ANX_EXIT_TROUBLE;
    }
    if (before > 0) {
        memcpy(joined, *out, before - 1);
        joined[before - 1] = '\n';
    }
    memcpy(joined + before, text, n);
    *out = joined;
    return ANX_EXIT_OK;
}

static int parse_setting(anx_train_options *o, const anx_train_setting *s, const char *text) {
    void *at = (char *)o + s->offset;
    char shown[400];
    if (s->role != ANX_SETTING_PASSING && text != NULL && !anx_train_can_be_kept(text, false))
        return anx_cli_usage("--%s '%s' has control characters in it, or bytes that are not UTF-8, which no checkpoint "
                             "keeps%s",
                             s->name, anx_text_printable(text, strlen(text), shown, sizeof shown),
                             s->type == ANX_SETTING_TEXT ? ": a link to it can have another name" : "");
    switch (s->type) {
    case ANX_SETTING_TEXT:
        if (*text == '\0') return anx_cli_usage("--%s has an empty value", s->name);
        *(const char **)at = text;
        return ANX_EXIT_OK;
    case ANX_SETTING_TEXTS:
        if (*text == '\0' || strchr(text, '\n') != NULL)
            return anx_cli_usage("--%s '%s' matches no parameter's name", s->name, text);
        return add_text(o, text, at);
    case ANX_SETTING_CHOICE: return parse_choice(s, text, at);
    case ANX_SETTING_INTEGER:
        return anx_cli_parse_i64(text, (int64_t)s->min, (int64_t)s->max, at) ? ANX_EXIT_OK : out_of_range(s, text);
    case ANX_SETTING_REAL: {
        double value;
        if (!parse_real(text, &value) || !(value >= s->min) || !(value <= s->max) || (s->above_min && value == s->min))
            return out_of_range(s, text);
        *(double *)at = value;
        return ANX_EXIT_OK;
    }
    case ANX_SETTING_SEED:
        return anx_cli_parse_seed(text, at) ? ANX_EXIT_OK : anx_cli_usage("--%s '%s' is no seed", s->name, text);
    case ANX_SETTING_FLAG: *(bool *)at = true; return ANX_EXIT_OK;
    }
    return ANX_EXIT_USAGE;
}

int anx_train_milestones(const char *text, int64_t *out, int n) {
    int count = 0;
    for (const char *at = text; at != NULL; count++) {
        char number[24];
        const size_t length = strcspn(at, ",");
        int64_t value;
        if (length >= sizeof number) return -1;
        memcpy(number, at, length);
        number[length] = '\0';
        if (!anx_cli_parse_i64(number, 0, INT64_MAX, &value)) return -1;
        if (count < n) out[count] = value;
        at = at[length] == ',' ? at + length + 1 : NULL;
    }
    return count;
}

const char *anx_train_next_text(const char **rest, size_t *length) {
    const char *at = *rest;
    if (at == NULL) return NULL;
    *length = strcspn(at, "\n");
    *rest = at[*length] != '\0' ? at + *length + 1 : NULL;
    return at;
}

bool anx_train_group_rate(const char *text, size_t length, size_t *glob_length, double *lr) {
    char rate[64];
    size_t equals = length;
    while (equals > 0 && text[equals - 1] != '=') equals--;
    if (equals < 2 || length - equals >= sizeof rate) return false;
    memcpy(rate, text + equals, length - equals);
    rate[length - equals] = '\0';
    *glob_length = equals - 1;
    return parse_real(rate, lr) && *lr >= 0.0 && *lr <= (double)FLT_MAX;
}

/* ---- together ------------------------------------------------------------------------------------------- */

#define WRONG(...) anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, __VA_ARGS__)

static anx_status check_texts(const anx_train_options *o, anx_error *err) {
    if (o->lr_milestones != NULL && anx_train_milestones(o->lr_milestones, NULL, 0) < 0)
        return WRONG("--lr-milestones '%s' are not whole numbers with commas between them: 30,60", o->lr_milestones);
    size_t length, glob;
    double lr;
    const char *rest = o->lr_group, *at;
    while ((at = anx_train_next_text(&rest, &length)) != NULL)
        if (!anx_train_group_rate(at, length, &glob, &lr))
            return WRONG("--lr-group '%.*s' is not GLOB=RATE: 'classifier.6.*=0.01'", (int)length, at);
    return ANX_OK;
}

anx_status anx_train_check_together(const anx_train_options *o, anx_error *err) {
    const bool plateau = strcmp(o->lr_scheduler, "plateau") == 0, none = strcmp(o->lr_scheduler, "none") == 0;
    if (o->data == NULL) return WRONG("--data is missing: the images to train with");
    if (strcmp(o->lr_scheduler, "multisteplr") == 0 && o->lr_milestones == NULL)
        return WRONG("--lr-scheduler multisteplr needs --lr-milestones");
    if (o->lr_warmup_epochs > 0 && (plateau || none))
        return WRONG("--lr-warmup-epochs does not go with --lr-scheduler %s", o->lr_scheduler);
    if (strcmp(o->lr_scheduler, "cosineannealinglr") == 0 && o->lr_warmup_epochs >= o->epochs)
        return WRONG("--lr-warmup-epochs %lld leaves cosineannealinglr none of %lld epochs",
                     (long long)o->lr_warmup_epochs, (long long)o->epochs);
    if (plateau && o->lr_gamma >= 1.0) return WRONG("--lr-scheduler plateau needs an --lr-gamma below 1");
    if (strcmp(o->opt, "sgd_nesterov") == 0 && o->momentum == 0.0) return WRONG("--opt sgd_nesterov needs a momentum");
    return check_texts(o, err);
}

/* What only the command line can say. */
static int check_places(anx_train_options *o) {
    if (o->resume == NULL && (o->weights == NULL) == (o->arch == NULL))
        return anx_cli_usage("%s", o->weights == NULL ? "--weights is missing: the checkpoint to begin with (or --arch "
                                                        "for drawn weights, --resume to go on with a run)"
                                                      : "give either --weights or --arch");
    if (o->resume != NULL && (o->weights != NULL || o->arch != NULL))
        return anx_cli_usage("--resume has its weights already: --%s is for a new run",
                             o->weights != NULL ? "weights" : "arch");
    if (o->resume == NULL && o->output == NULL) return anx_cli_usage("-o is missing: the folder for what comes out");
    if (o->arch != NULL && anx_arch_find(o->arch) == NULL)
        return anx_cli_usage("unknown architecture '%s'; 'anx-convert init --help' lists them", o->arch);
    const char *inputs[] = {o->weights, o->resume};
    for (size_t i = 0; i < 2; i++) {
        const char *path = inputs[i];
        const int code = path != NULL ? anx_cli_check_input(path) : ANX_EXIT_OK;
        if (code != ANX_EXIT_OK) return code;
        if (path != NULL && o->log != NULL && anx_file_is_same(path, o->log))
            return anx_cli_usage("--log '%s' is the checkpoint", o->log);
        if (path != NULL && o->json != NULL && !anx_cli_is_standard_output(o->json) && anx_file_is_same(path, o->json))
            return anx_cli_usage("--json '%s' is the checkpoint", o->json);
    }
    if (anx_cli_is_standard_output(o->log)) return anx_cli_usage("--log is a file; one of that name is ./-");
    if (o->log != NULL && o->json != NULL && anx_file_is_same(o->log, o->json))
        return anx_cli_usage("--log and --json need a file each");
    anx_error err = ANX_ERROR_INIT;
    const anx_status status = o->resume == NULL ? anx_train_check_together(o, &err) : check_texts(o, &err);
    return status == ANX_OK ? ANX_EXIT_OK : anx_cli_usage("%s", err.message);
}

enum { first_long = ANX_CLI_FIRST_LONG };

int anx_train_parse(int argc, char **argv, anx_train_options *out, bool *stop) {
    struct option options[ANX_TRAIN_SETTINGS + 1] = {{NULL, 0, NULL, 0}};
    for (int i = 0; i < ANX_TRAIN_SETTINGS; i++) {
        const anx_train_setting *s = anx_train_setting_at(i);
        options[i] = (struct option){s->name, s->type == ANX_SETTING_FLAG ? no_argument : required_argument, NULL,
                                     first_long + i};
    }
    *out = anx_train_defaults;
    *stop = true;
    int option;
    while ((option = anx_cli_next_option(argc, argv, "o:", options)) != -1) {
        if (option == ANX_CLI_STOP) return anx_cli_stop_code();
        int i = option - first_long;
        for (int k = 0; option < first_long && k < ANX_TRAIN_SETTINGS; k++)
            if (anx_train_setting_at(k)->letter == option) i = k;
        int code = parse_setting(out, anx_train_setting_at(i), optarg);
        if (code == ANX_EXIT_OK && anx_train_setting_at(i)->offset == offsetof(anx_train_options, device))
            code = anx_cli_check_device(optarg);
        if (code != ANX_EXIT_OK) return code;
        out->given[i] = true;
    }
    if (optind < argc) return anx_cli_usage("unexpected argument '%s'", argv[optind]);
    const int code = check_places(out);
    *stop = code != ANX_EXIT_OK;
    return code;
}

void anx_train_options_fini(anx_train_options *options) {
    anx_arena_fini(&options->arena);
}
