/* The table of anx-train's settings, and what can be said of one by its row alone. */
#include <ctype.h>
#include <float.h>
#include <inttypes.h>
#include <string.h>

#include "loaders/checkpoint/text.h"
#include "tools/train_options.h"

static const char *const schedulers[] = {"steplr", "multisteplr", "exponentiallr", "cosineannealinglr", "plateau",
                                         "none",   NULL};
static const char *const warmups[] = {"constant", "linear", NULL};
static const char *const optimizers[] = {"sgd", "sgd_nesterov", NULL};
static const char *const augmentations[] = {"torchvision-basic", "hflip", "none", NULL};
static const char *const masks[] = {"pytorch", "device", NULL};
static const char *const maths[] = {"float32", "tf32", "fast", NULL};
static const char *const orders[] = {"pytorch", "independent", NULL};

#define AT(field) offsetof(anx_train_options, field)
#define ROLE(r) ANX_SETTING_##r

static const double largest_count = 0x1p53; /* what a log's number can hold */

static const anx_train_setting table[] = {
    /* what is trained */
    {"data", 0, "DIR", ROLE(TEXT), ROLE(KEPT), AT(data), 0, 0, false, NULL,
     "the images to train with: a folder with a folder for each class, as\n"
     "torchvision's ImageFolder reads it, or a tar of one. A folder that has\n"
     "train/ and val/ in it, as torchvision's train.py takes it, is both"},
    {"val-dir", 0, "DIR", ROLE(TEXT), ROLE(KEPT), AT(val_dir), 0, 0, false, NULL,
     "images to evaluate with after each epoch, with the same classes"},
    {"weights", 0, "FILE", ROLE(TEXT), ROLE(ORIGIN), AT(weights), 0, 0, false, NULL,
     "the checkpoint to begin with. Where its number of classes is not the\n"
     "data's, the last layer is made anew: after torch.manual_seed(SEED), as\n"
     "torch.nn.Linear(4096, K) draws it"},
    {"arch", 0, "NAME", ROLE(TEXT), ROLE(ORIGIN), AT(arch), 0, 0, false, NULL,
     "begin with drawn weights instead: torch.manual_seed(SEED), then\n"
     "torchvision.models.NAME(num_classes=K)"},
    {"resume", 0, "FILE", ROLE(TEXT), ROLE(PASSING), AT(resume), 0, 0, false, NULL,
     "go on with a run from its last.pth or best.pth: settings come from the file,\n"
     "what is given must agree. Or from a checkpoint of torchvision's train.py, with\n"
     "what it does not have: --data, --epochs, --batch, --augment, --freeze ..."},
    {"num-classes", 0, "K", ROLE(INTEGER), ROLE(KEPT), AT(num_classes), 1, 0x1p31, false, NULL,
     "how many classes the data must have (default: as many as they have)"},
    {"output", 'o', "DIR", ROLE(TEXT), ROLE(PASSING), AT(output), 0, 0, false, NULL,
     "where checkpoints and the log go; made if need be. A folder that has an\n"
     "earlier run's is left alone (default for --resume: the file's folder)"},
    {"force", 0, NULL, ROLE(FLAG), ROLE(PASSING), AT(force), 0, 0, false, NULL,
     "replace what an earlier run left in the folder; with --resume, what came\n"
     "behind the checkpoint that is gone on from"},
    /* the recipe */
    {"epochs", 0, "N", ROLE(INTEGER), ROLE(KEPT), AT(epochs), 1, 1e9, false, NULL, "how many in all"},
    {"batch", 0, "N", ROLE(INTEGER), ROLE(DECIDES), AT(batch), 1, 4096, false, NULL, "images of a step"},
    {"opt", 0, "NAME", ROLE(CHOICE), ROLE(DECIDES), AT(opt), 0, 0, false, optimizers,
     "torch.optim.SGD, sgd_nesterov with nesterov=True"},
    {"lr", 0, "X", ROLE(REAL), ROLE(DECIDES), AT(lr), 0, FLT_MAX, false, NULL, "learning rate"},
    {"momentum", 0, "X", ROLE(REAL), ROLE(DECIDES), AT(momentum), 0, FLT_MAX, false, NULL, "of SGD; 0: none"},
    {"weight-decay", 0, "X", ROLE(REAL), ROLE(DECIDES), AT(weight_decay), 0, FLT_MAX, false, NULL,
     "of SGD, for every parameter"},
    {"lr-scheduler", 0, "NAME", ROLE(CHOICE), ROLE(DECIDES), AT(lr_scheduler), 0, 0, false, schedulers,
     "stepped after each epoch. plateau is ReduceLROnPlateau(factor=lr-gamma) on\n"
     "the validation loss, or without --val-dir on the training loss"},
    {"lr-step-size", 0, "N", ROLE(INTEGER), ROLE(DECIDES), AT(lr_step_size), 1, 1e9, false, NULL, "steplr: epochs"},
    {"lr-gamma", 0, "X", ROLE(REAL), ROLE(DECIDES), AT(lr_gamma), 0, FLT_MAX, false, NULL,
     "steplr, multisteplr, exponentiallr, plateau: the factor"},
    {"lr-milestones", 0, "N,N", ROLE(TEXT), ROLE(DECIDES), AT(lr_milestones), 0, 0, false, NULL, "multisteplr: epochs"},
    {"lr-patience", 0, "N", ROLE(INTEGER), ROLE(DECIDES), AT(lr_patience), 0, 1e9, false, NULL,
     "plateau: epochs without progress that are let pass"},
    {"lr-min", 0, "X", ROLE(REAL), ROLE(DECIDES), AT(lr_min), 0, FLT_MAX, false, NULL,
     "cosineannealinglr: eta_min; plateau: min_lr"},
    {"lr-warmup-epochs", 0, "N", ROLE(INTEGER), ROLE(DECIDES), AT(lr_warmup_epochs), 0, 1e9, false, NULL,
     "SequentialLR: a warm-up, then the scheduler (not plateau)"},
    {"lr-warmup-method", 0, "NAME", ROLE(CHOICE), ROLE(DECIDES), AT(lr_warmup_method), 0, 0, false, warmups,
     "ConstantLR, LinearLR"},
    {"lr-warmup-decay", 0, "X", ROLE(REAL), ROLE(DECIDES), AT(lr_warmup_decay), 0, 1, true, NULL,
     "the warm-up's factor"},
    {"freeze", 0, "GLOB", ROLE(TEXTS), ROLE(DECIDES), AT(freeze), 0, 0, false, NULL,
     "leave the parameters of these names as they are: 'features.*'; may be\n"
     "given again. Nothing is computed backward below the lowest that is trained"},
    {"lr-group", 0, "GLOB=X", ROLE(TEXTS), ROLE(DECIDES), AT(lr_group), 0, 0, false, NULL,
     "the learning rate of these, a parameter group of their own; may be given\n"
     "again, the first that matches counts"},
    {"augment", 0, "NAME", ROLE(CHOICE), ROLE(DECIDES), AT(augment), 0, 0, false, augmentations,
     "RandomResizedCrop(224) and RandomHorizontalFlip; Resize(256),\n"
     "CenterCrop(224) and the flip; no flip either"},
    {"dropout", 0, "P", ROLE(REAL), ROLE(DECIDES), AT(dropout), 0, 1, false, NULL,
     "of every dropout layer (default: the architecture's own, 0.5)"},
    {"dropout-masks", 0, "NAME", ROLE(CHOICE), ROLE(DECIDES), AT(dropout_masks), 0, 0, false, masks,
     "drawn on the host, as PyTorch draws them on a CPU; or by the device's own\n"
     "generator, where it has one: another run, and the same one again only on such a\n"
     "device. Each step draws its seed"},
    {"label-smoothing", 0, "E", ROLE(REAL), ROLE(DECIDES), AT(label_smoothing), 0, 1, false, NULL,
     "of the loss, CrossEntropyLoss"},
    {"seed", 0, "N", ROLE(SEED), ROLE(DECIDES), AT(seed), 0, 0, false, NULL,
     "torch.manual_seed's, before a new last layer is drawn and before\n"
     "the first epoch"},
    {"order", 0, "NAME", ROLE(CHOICE), ROLE(DECIDES), AT(order), 0, 0, false, orders,
     "pytorch: images, crops and flips as DataLoader(shuffle=True, num_workers=0)\n"
     "draws them from the one generator. independent: each image's draws depend\n"
     "on seed, epoch and image alone, and all threads draw"},
    {"skip-bad", 0, NULL, ROLE(FLAG), ROLE(KEPT), AT(skip_bad), 0, 0, false, NULL,
     "leave out images that cannot be read, and name them; else they end the run,\n"
     "which --resume with this goes on with"},
    /* this run */
    {"max-steps", 0, "N", ROLE(INTEGER), ROLE(PASSING), AT(max_steps), 1, largest_count, false, NULL,
     "stop after N steps of the whole run, at an epoch's end after its evaluation;\n"
     "--resume goes on from there"},
    {"device", 0, "NAME", ROLE(TEXT), ROLE(KEPT), AT(device), 0, 0, false, NULL, NULL},
    {"math", 0, "MODE", ROLE(CHOICE), ROLE(DECIDES), AT(math), 0, 0, false, maths,
     "what the device may compute with; one that has no such choice stays with\n"
     "what it has"},
    {"threads", 0, "N", ROLE(INTEGER), ROLE(PASSING), AT(threads), 1, 4096, false, NULL,
     "(default: what affinity, cgroup and OMP_NUM_THREADS allow)"},
    {"accept-bad-crc", 0, NULL, ROLE(FLAG), ROLE(PASSING), AT(accept_bad_crc), 0, 0, false, NULL,
     "read a checkpoint whose records' CRC-32 do not match all the same"},
    /* what it leaves */
    {"log", 0, "FILE", ROLE(TEXT), ROLE(PASSING), AT(log), 0, 0, false, NULL,
     "the log, a line of JSON for each step and epoch (default: DIR/log.jsonl)"},
    {"json", 0, "FILE", ROLE(TEXT), ROLE(PASSING), AT(json), 0, 0, false, NULL,
     "how the run ended, as JSON ('-': standard output, the text to standard error)"},
    {"print-freq", 0, "N", ROLE(INTEGER), ROLE(KEPT), AT(print_freq), 1, 1e9, false, NULL,
     "log each Nth step (default: each one, but at most some 1,000 an epoch)"},
    {"save-minutes", 0, "X", ROLE(REAL), ROLE(KEPT), AT(save_minutes), 0, 1e6, false, NULL,
     "within an epoch, write last.pth so often; 0: never"},
    {"with-args", 0, NULL, ROLE(FLAG), ROLE(KEPT), AT(with_args), 0, 0, false, NULL,
     "put train.py's 'args' into checkpoints, which torch.load then only takes\n"
     "with weights_only=False"},
    /* train.py's name for one above */
    {"batch-size", 0, "N", ROLE(INTEGER), ROLE(DECIDES), AT(batch), 1, 4096, false, NULL, NULL},
};

_Static_assert(sizeof table / sizeof table[0] == ANX_TRAIN_SETTINGS, "the table has another length");

const anx_train_setting *anx_train_setting_at(int i) {
    return i >= 0 && i < ANX_TRAIN_SETTINGS ? &table[i] : NULL;
}

bool anx_train_is_main_name(int i) {
    for (int k = 0; k < i; k++)
        if (table[k].offset == table[i].offset) return false;
    return true;
}

bool anx_train_can_be_kept(const char *text, bool lines) {
    for (const char *c = text; *c != '\0'; c++)
        if (iscntrl((unsigned char)*c) && !(lines && *c == '\n')) return false;
    return anx_utf8_valid((const uint8_t *)text, strlen(text));
}

bool anx_train_is_given(const anx_train_options *options, size_t offset) {
    for (int i = 0; i < ANX_TRAIN_SETTINGS; i++)
        if (table[i].offset == offset && options->given[i]) return true;
    return false;
}

const void *anx_train_setting_value(const anx_train_options *options, int i) {
    return (const char *)options + table[i].offset;
}

const char *anx_train_setting_text(const anx_train_options *options, int i, char buf[40]) {
    const void *at = anx_train_setting_value(options, i);
    switch (table[i].type) {
    case ANX_SETTING_INTEGER:
        snprintf(buf, 40, "%" PRId64, *(const int64_t *)at);
        return (double)*(const int64_t *)at < table[i].min ? "" : buf;
    case ANX_SETTING_REAL:
        if (*(const double *)at < table[i].min) return "";
        snprintf(buf, 40, "%.17g", *(const double *)at);
        break;
    case ANX_SETTING_SEED: snprintf(buf, 40, "%" PRIu64, *(const uint64_t *)at); return buf;
    case ANX_SETTING_FLAG: return *(const bool *)at ? "yes" : "no";
    default: return *(const char *const *)at != NULL ? *(const char *const *)at : "";
    }
    for (int digits = 1; digits < 17; digits++) { /* as few as read back to the same */
        char shorter[40];
        double back;
        snprintf(shorter, sizeof shorter, "%.*g", digits, *(const double *)at);
        if (sscanf(shorter, "%lf", &back) == 1 && back == *(const double *)at) return strcpy(buf, shorter);
    }
    return buf;
}
