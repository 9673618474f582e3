#include "tools/train_show.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "loaders/checkpoint/text.h"
#include "parity/device_facts.h"
#include "parity/json_builder.h"
#include "parity/train_summary.h"
#include "src/base/version.h"

/* Control characters in names must not reach a terminal. */
typedef struct shown {
    char text[1024];
} shown;

static shown show(const char *text) {
    shown s;
    anx_text_printable(text, strlen(text), s.text, sizeof s.text);
    return s;
}

static const char *plural(int64_t n) {
    return n == 1 ? "" : "s";
}

static void put_lines(FILE *to, const char *label, const char *texts) {
    size_t n;
    bool first = true;
    const char *at;
    while ((at = anx_train_next_text(&texts, &n)) != NULL) {
        char text[256];
        fprintf(to, "%s%s", first ? label : ", ", anx_text_printable(at, n, text, sizeof text));
        first = false;
    }
}

static void show_network(FILE *to, const anx_train_setup *s) {
    const anx_train_options *o = s->options;
    char number[32];
    const char *from = o->resume != NULL ? o->resume : o->weights;
    fprintf(to, "network     %s, %" PRId64 " class%s, ", s->graph->arch->name, s->graph->num_classes,
            s->graph->num_classes == 1 ? "" : "es");
    if (from != NULL)
        fprintf(to, "from %s", show(from).text);
    else
        fprintf(to, "drawn at random, seed %" PRIu64, o->seed);
    if (s->new_layer != NULL)
        fprintf(to, "; %s made anew (it had %s classes), seed %" PRIu64, s->new_layer,
                anx_train_count(s->old_classes, number), o->seed);
    fputc('\n', to);
}

static void show_trained(FILE *to, const anx_train_setup *s) {
    char a[32], b[32];
    fprintf(to, "trained     %s of %s parameters", anx_train_count(anx_train_trained(s), a),
            anx_train_count(anx_graph_param_elems(s->graph), b));
    put_lines(to, "; frozen: ", s->options->freeze);
    fputc('\n', to);
}

/* The rate of each group; what else a group has is the same in all of a run of ours. */
static void show_recipe(FILE *to, const anx_train_setup *s) {
    const anx_sgd_options *g = anx_trainer_groups(s->trainer);
    const anx_train_options *o = s->options;
    char buf[32];
    fprintf(to, "recipe      %s, lr", g->nesterov ? "SGD with nesterov" : "SGD");
    for (int i = 0; i < s->n_groups; i++) fprintf(to, " %s", anx_train_rate(s->lr[i], buf));
    fprintf(to, ", momentum %g, weight decay %g, %s", g->momentum, g->weight_decay,
            s->scheduler != NULL ? anx_scheduler_class(s->scheduler->options.kind) : "no scheduler");
    if (o->label_smoothing > 0.0) fprintf(to, ", label smoothing %g", o->label_smoothing);
    if (o->dropout >= 0.0) fprintf(to, ", dropout %g", o->dropout);
    if (strcmp(o->dropout_masks, "device") == 0) fputs(", dropout masks the device's own", to);
    fprintf(to, "\n            augmentation %s, order %s, seed %" PRIu64 "\n", o->augment, o->order, o->seed);
}

void anx_train_show_head(FILE *to, const anx_train_setup *s, const anx_train_progress *p) {
    const anx_train_options *o = s->options;
    const anx_device_info *d = &s->info;
    char a[32], b[32], words[ANX_DEVICE_WORDS];
    show_network(to, s);
    fprintf(to, "training    %s image%s in %s; %s step%s of %" PRId64 " an epoch\n",
            anx_train_count(s->train->n_samples, a), plural(s->train->n_samples), show(s->train_path).text,
            anx_train_count(anx_train_steps(s), b), plural(anx_train_steps(s)), o->batch);
    if (s->val != NULL)
        fprintf(to, "validation  %s image%s in %s\n", anx_train_count(s->val->n_samples, a), plural(s->val->n_samples),
                show(s->val_path).text);
    show_trained(to, s);
    show_recipe(to, s);
    fprintf(to, "device      %s, %s%s\n", d->device, anx_device_format(d, words),
            d->pytorch_bits ? ": PyTorch's bits" : "");
    for (int i = 0; anx_device_line(d, i, words); i++) fprintf(to, "            %s\n", show(words).text);
    if (o->resume != NULL)
        fprintf(to, "going on    at epoch %" PRId64 ", step %" PRId64 " (step %s of the run)\n", p->epoch, p->step,
                anx_train_count(p->global_step, a));
    for (int i = 0; s->val != NULL && i < s->val->n_notes; i++) fprintf(to, "note        %s\n", s->val->notes[i]);
    fputc('\n', to);
}

void anx_train_show_epoch(FILE *to, const anx_train_epoch *e, bool first) {
    char a[32], b[32], c[32], d[32], f[32], g[32], h[32];
    if (first)
        fprintf(to, "%6s %11s %8s %11s %8s %8s %11s %12s\n", "epoch", "train loss", "Acc@1", "val loss", "Acc@1",
                "Acc@5", "lr", "time");
    fprintf(to, "%6" PRId64 " %11s %8s %11s %8s %8s %11s %12s%s\n", e->epoch, anx_train_loss(e->train_loss, a),
            anx_train_accuracy(e->train_acc1, b), anx_train_loss(e->val_loss, c), anx_train_accuracy(e->val_acc1, d),
            anx_train_accuracy(e->val_acc5, f), anx_train_rate(e->lr[0], g), anx_train_duration(e->seconds, h),
            e->best ? "  best" : "");
}

static void show_best(FILE *to, const anx_train_progress *p, const anx_train_folder *folder) {
    char a[32], b[32];
    if (p->best_epoch < 0) return;
    fprintf(to, "best        epoch %" PRId64 ": Acc@1 %s, loss %s; %s, %s\n", p->best_epoch,
            anx_train_accuracy(p->best_acc1, a), anx_train_loss(p->best_loss, b),
            show(folder->files[ANX_TRAIN_BEST]).text, show(folder->files[ANX_TRAIN_BEST_MODEL]).text);
}

void anx_train_show_end(FILE *to, const anx_train_setup *s, const anx_train_outcome *e) {
    const anx_train_progress *p = e->progress;
    const anx_train_folder *f = e->folder;
    static const char *const words[] = {"done", "interrupted", "stopped, as asked", "STOPPED: a value is not finite",
                                        "ended"};
    char a[32], b[32], where[ANX_TRAIN_WORDS];
    fprintf(to, "\n%s after %s step%s (%" PRId64 " whole epoch%s of %" PRId64 ") in %s\n", words[e->reason],
            anx_train_count(p->global_step, a), plural(p->global_step), p->epoch, plural(p->epoch), s->options->epochs,
            anx_train_duration(e->seconds, b));
    if (e->non_finite != NULL)
        fprintf(to,
                "            %s\n            %s is as it was written last. A smaller --lr, or a warm-up, may help,\n"
                "            in a new run from there: --weights %s -o DIR\n",
                anx_train_non_finite_words(e->non_finite, where), show(f->files[ANX_TRAIN_LAST]).text,
                show(f->files[ANX_TRAIN_LAST]).text);
    if (e->reason == ANX_TRAIN_DONE && e->last == NULL && s->options->resume != NULL)
        fprintf(to, "            nothing was left to do; with more --epochs it would go on\n");
    if (e->left_out > 0)
        fprintf(to, "left out    images that could not be read, %s time%s\n", anx_train_count(e->left_out, a),
                plural(e->left_out));
    show_best(to, p, f);
    if (e->reason == ANX_TRAIN_NON_FINITE) return;
    fprintf(to, "last        %s, %s\n", show(f->files[ANX_TRAIN_LAST]).text, show(f->files[ANX_TRAIN_LAST_MODEL]).text);
    if (e->reason != ANX_TRAIN_DONE)
        fprintf(to, "go on with  anx-train --resume %s\n", show(f->files[ANX_TRAIN_LAST]).text);
    fprintf(to, "log         %s\n", show(f->files[ANX_TRAIN_LOG]).text);
}

/* ---- JSON ----------------------------------------------------------------------------------------------- */

static void put_last(anx_json *j, cJSON *root, const anx_train_epoch *e) {
    if (e == NULL) return;
    cJSON *last = anx_json_add_object(j, root, "last_epoch");
    anx_json_add_integer(j, last, "epoch", e->epoch);
    anx_json_add_value(j, last, "train_loss", e->train_loss);
    anx_json_add_measure(j, last, "train_acc1", e->train_acc1);
    if (e->validated) {
        anx_json_add_value(j, last, "val_loss", e->val_loss);
        anx_json_add_measure(j, last, "val_acc1", e->val_acc1);
        anx_json_add_measure(j, last, "val_acc5", e->val_acc5);
    }
    anx_json_add_measure(j, last, "seconds", e->seconds);
}

static void put_best(anx_json *j, cJSON *root, const anx_train_outcome *e) {
    if (e->progress->best_epoch < 0) return;
    cJSON *best = anx_json_add_object(j, root, "best");
    anx_json_add_integer(j, best, "epoch", e->progress->best_epoch);
    anx_json_add_measure(j, best, "val_acc1", e->progress->best_acc1);
    anx_json_add_value(j, best, "val_loss", e->progress->best_loss);
    anx_json_add_text(j, best, "checkpoint", e->folder->files[ANX_TRAIN_BEST]);
    anx_json_add_text(j, best, "model", e->folder->files[ANX_TRAIN_BEST_MODEL]);
}

static void put_non_finite(anx_json *j, cJSON *root, const anx_train_non_finite *n) {
    if (n == NULL) return;
    cJSON *to = anx_json_add_object(j, root, "non_finite");
    anx_json_add_integer(j, to, "epoch", n->epoch);
    anx_json_add_integer(j, to, "step", n->step);
    anx_json_add_text(j, to, "loss", n->loss);
    anx_json_add_text(j, to, "tensor", n->tensor);
}

anx_status anx_train_outcome_json(const anx_train_setup *s, const anx_train_outcome *e, char **text, size_t *n_bytes,
                                  anx_error *err) {
    anx_json j = {.failed = false};
    cJSON *root = anx_json_root(&j);
    anx_json_add_integer(&j, root, "schema", 1);
    anx_json_add_text(&j, root, "version", ANX_VERSION);
    anx_json_add_text(&j, root, "reason", anx_train_reason_name(e->reason));
    anx_json_add_text(&j, root, "arch", s->graph->arch->name);
    anx_json_add_integer(&j, root, "classes", s->graph->num_classes);
    anx_json_add_text(&j, root, "device", s->info.device);
    anx_json_add_integer(&j, root, "threads", s->info.threads);
    anx_json_add_device(&j, root, "engine", &s->info);
    anx_json_add_integer(&j, root, "train_images", s->train->n_samples);
    anx_json_add_integer(&j, root, "val_images", s->val != NULL ? s->val->n_samples : 0);
    anx_json_add_digest(&j, root, "data_digest", &s->train->digest);
    anx_json_add_integer(&j, root, "trained_parameters", anx_train_trained(s));
    anx_json_add_integer(&j, root, "epochs", s->options->epochs);
    anx_json_add_integer(&j, root, "epochs_done", e->progress->epoch);
    anx_json_add_integer(&j, root, "steps_done", e->progress->global_step);
    anx_json_add_integer(&j, root, "left_out", e->left_out);
    put_last(&j, root, e->last);
    put_best(&j, root, e);
    put_non_finite(&j, root, e->non_finite);
    anx_json_add_text(&j, root, "checkpoint", e->folder->files[ANX_TRAIN_LAST]);
    anx_json_add_text(&j, root, "log", e->folder->files[ANX_TRAIN_LOG]);
    anx_json_add_measure(&j, root, "seconds", e->seconds);
    return anx_json_print(&j, root, text, n_bytes, err);
}
