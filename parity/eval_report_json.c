#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "parity/eval_report.h"
#include "parity/json_builder.h"
#include "src/base/version.h"

enum { schema_version = 1 };

static void add_run(anx_json *j, cJSON *o, const anx_eval_report *r) {
    static const char *const selections[] = {"all", "first", "sample"};
    anx_json_add_integer(j, o, "schema", schema_version);
    anx_json_add_text(j, o, "version", ANX_VERSION);
    anx_json_add_bool(j, o, "interrupted", r->interrupted);
    anx_json_add_text(j, o, "cpu", r->cpu);
    anx_json_add_device(j, o, "device", r->device);
    cJSON *checkpoint = anx_json_add_object(j, o, "checkpoint");
    anx_json_add_text(j, checkpoint, "path", r->checkpoint->path);
    anx_json_add_text(j, checkpoint, "format", r->checkpoint->format);
    anx_json_add_text(j, checkpoint, "arch", r->model->graph->arch->name);
    anx_json_add_integer(j, checkpoint, "classes", r->model->graph->num_classes);
    anx_json_add_text(j, checkpoint, "official_name", r->official_name);
    anx_json_add_digest(j, checkpoint, "parameters_sha256", &r->weights);
    cJSON *selection = anx_json_add_object(j, o, "selection");
    anx_json_add_text(j, selection, "kind", selections[r->selection]);
    anx_json_add_integer(j, selection, "images", r->n_selected);
    char seed[24]; /* as text: a JSON number may not hold 64 bits */
    snprintf(seed, sizeof seed, "%" PRIu64, r->seed);
    anx_json_add_text(j, selection, "seed", r->selection == ANX_EVAL_SAMPLE ? seed : NULL);
    anx_json_add_bool(j, selection, "skip_bad", r->skip_bad);
    anx_json_add_measure(j, o, "seconds", r->seconds);
    anx_json_add_integer(j, o, "images_before", r->images_before);
}

static void add_dataset(anx_json *j, cJSON *o, const anx_eval_report *r) {
    const anx_dataset *d = r->dataset;
    cJSON *to = anx_json_add_object(j, o, "dataset");
    anx_json_add_text(j, to, "path", d->root);
    anx_json_add_text(j, to, "layout", d->layout);
    anx_json_add_text(j, to, "labels", d->labels);
    anx_json_add_bool(j, to, "by_wnid", d->by_wnid);
    anx_json_add_integer(j, to, "images", d->n_samples);
    anx_json_add_integer(j, to, "classes_present", d->n_classes_present);
    anx_json_add_digest(j, to, "sha256", &d->digest);
    cJSON *notes = anx_json_add_array(j, to, "notes");
    for (int i = 0; i < d->n_notes; i++) anx_json_add_text(j, notes, NULL, d->notes[i]);
}

/* One of the two accuracies. */
static void add_top(anx_json *j, cJSON *o, const anx_eval_report *r, int k) {
    const anx_accuracy *a = r->accuracy;
    const int64_t right = k == 1 ? a->right1 : a->right5;
    cJSON *to = anx_json_add_object(j, o, k == 1 ? "top1" : "top5");
    anx_json_add_integer(j, to, "right", right);
    anx_json_add_measure(j, to, "percent", a->images > 0 ? 100.0 * (double)right / (double)a->images : (double)NAN);
    anx_json_add_integer(j, to, "tied", k == 1 ? a->tied1 : a->tied5);
    anx_json_add_integer(j, to, "within_rounding", k == 1 ? a->ambiguous1 : a->ambiguous5);
    anx_json_add_integer(j, to, "turned_in_double", k == 1 ? r->turned1 : r->turned5);
    if (!anx_eval_has_interval(r)) return;
    const anx_interval interval = anx_eval_interval(r, k);
    anx_json_add_measure(j, to, "interval_low_percent", 100.0 * interval.low);
    anx_json_add_measure(j, to, "interval_high_percent", 100.0 * interval.high);
}

static void add_result(anx_json *j, cJSON *o, const anx_eval_report *r) {
    const anx_accuracy *a = r->accuracy;
    anx_json_add_integer(j, o, "images", a->images);
    add_top(j, o, r, 1);
    add_top(j, o, r, 5);
    anx_json_add_integer(j, o, "redecided_in_double", r->redecided);
    anx_json_add_integer(j, o, "non_finite", a->non_finite);
    anx_json_add_value(j, o, "loss", a->loss);
    anx_json_add_value(j, o, "batch_averaged_loss", a->batch_loss);
    anx_json_add_integer(j, o, "batch", a->batch);
}

static void add_expectation(anx_json *j, cJSON *o, const anx_eval_report *r) {
    static const char *const outcomes[] = {"not judged", "met", "missed"};
    const anx_eval_expectation *e = &r->expected;
    if (!e->stated) {
        anx_json_add_text(j, o, "expected", NULL);
        return;
    }
    cJSON *to = anx_json_add_object(j, o, "expected");
    anx_json_add_bool(j, to, "asked", e->asked);
    anx_json_add_value(j, to, "top1_percent", e->acc1);
    anx_json_add_value(j, to, "top5_percent", e->acc5);
    anx_json_add_text(j, to, "outcome", outcomes[anx_eval_judge(r)]);
    if (e->official && r->accuracy->images == e->images)
        anx_json_add_bool(j, to, "counts_agree", r->accuracy->right1 == e->right1 && r->accuracy->right5 == e->right5);
}

static void add_classes(anx_json *j, cJSON *o, const anx_eval_report *r) {
    cJSON *list = anx_json_add_array(j, o, "classes");
    for (int64_t i = 0; i < r->accuracy->n_classes; i++) {
        const anx_accuracy_class *c = &r->accuracy->classes[i];
        if (c->images == 0) continue;
        cJSON *to = anx_json_add_object(j, list, NULL);
        anx_json_add_integer(j, to, "class", i);
        anx_json_add_text(j, to, "id", r->dataset->class_ids[i]);
        anx_json_add_text(j, to, "name", anx_eval_class_name(r, i));
        anx_json_add_integer(j, to, "images", c->images);
        anx_json_add_integer(j, to, "right1", c->right1);
        anx_json_add_integer(j, to, "right5", c->right5);
    }
}

anx_status anx_eval_report_json(const anx_eval_report *r, char **text, size_t *n_bytes, anx_error *err) {
    anx_json j = {.failed = false};
    cJSON *root = anx_json_root(&j);
    add_run(&j, root, r);
    add_dataset(&j, root, r);
    add_result(&j, root, r);
    add_expectation(&j, root, r);
    add_classes(&j, root, r);
    cJSON *bad = anx_json_add_array(&j, root, "bad_files");
    for (int64_t i = 0; i < r->evaluation->n_bad; i++) {
        cJSON *to = anx_json_add_object(&j, bad, NULL);
        anx_json_add_text(&j, to, "file", r->dataset->samples[r->evaluation->bad[i].file].name);
        anx_json_add_text(&j, to, "reason", r->evaluation->bad[i].reason);
    }
    return anx_json_print(&j, root, text, n_bytes, err);
}
