#include <cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/json_builder.h"
#include "parity/report.h"

enum { schema_version = 1 };

typedef struct builder {
    const anx_verdicts *verdicts;
    const anx_report_options *options;
    anx_json json;
} builder;

static void add_device(builder *b, cJSON *to, const char *key, const anx_device_facts *d) {
    if (d->backend == NULL || d->backend[0] == '\0') {
        anx_json_add_text(&b->json, to, key, NULL);
        return;
    }
    const anx_device_info info = anx_device_facts_info(d);
    anx_json_add_device(&b->json, to, key, &info);
}

static void add_checkpoint(builder *b, cJSON *to) {
    const anx_checkpoint_facts *c = &b->verdicts->checkpoint;
    cJSON *o = anx_json_add_object(&b->json, to, "checkpoint");
    anx_json_add_text(&b->json, o, "path", c->path);
    anx_json_add_text(&b->json, o, "format", c->format);
    anx_json_add_integer(&b->json, o, "bytes", (int64_t)c->file_bytes);
    if (c->has_file_digest)
        anx_json_add_digest(&b->json, o, "sha256", &c->file_digest);
    else
        anx_json_add_text(&b->json, o, "sha256", NULL);
    anx_json_add_bool(&b->json, o, "official", c->official);
    anx_json_add_text(&b->json, o, "official_name", c->official_name);
    anx_json_add_text(&b->json, o, "arch", c->arch);
    anx_json_add_integer(&b->json, o, "classes", c->num_classes);
    anx_json_add_integer(&b->json, o, "parameters", c->n_params);
    anx_json_add_integer(&b->json, o, "converted_tensors", c->n_converted);
    anx_json_add_text(&b->json, o, "converted_from", c->converted_from);
    anx_json_add_text(&b->json, o, "wrapped_in", c->wrapped_in);
    anx_json_add_bool(&b->json, o, "module_prefix_removed", c->module_prefix_removed);
    anx_json_add_integer(&b->json, o, "bad_crc_records", c->n_bad_crc);
    anx_json_add_digest(&b->json, o, "parameters_sha256", &c->params_digest);
}

static void add_fixture(builder *b, cJSON *to, const anx_fixture_facts *f) {
    cJSON *o = anx_json_add_object(&b->json, to, NULL);
    anx_json_add_text(&b->json, o, "name", f->name);
    anx_json_add_text(&b->json, o, "path", f->path);
    anx_json_add_text(&b->json, o, "recorded_by", f->recorded_by);
    anx_json_add_bool(&b->json, o, "asked_for", f->asked_for);
    anx_json_add_integer(&b->json, o, "tensors_matched", f->params_matched);
    anx_json_add_integer(&b->json, o, "tensors", f->params_total);
    anx_json_add_text(&b->json, o, "applies", f->applies);
    anx_json_add_text(&b->json, o, "differing", f->differing);
    anx_json_add_integer(&b->json, o, "cases_run", f->cases_run);
    anx_json_add_integer(&b->json, o, "cases", f->cases_total);
}

static void add_element(builder *b, cJSON *to, const anx_element *e) {
    if (!e->known) {
        anx_json_add_text(&b->json, to, "worst", NULL);
        return;
    }
    cJSON *o = anx_json_add_object(&b->json, to, "worst"), *at = anx_json_add_array(&b->json, o, "at");
    for (int i = 0; i < e->rank; i++) anx_json_add_integer(&b->json, at, NULL, e->at[i]);
    anx_json_add_value(&b->json, o, "got", e->got);
    anx_json_add_value(&b->json, o, "expected", e->expected);
}

static void add_comparison(builder *b, cJSON *to, const anx_comparison *c) {
    cJSON *o = anx_json_add_object(&b->json, to, NULL);
    anx_json_add_text(&b->json, o, "basis", anx_basis_id(c->basis));
    anx_json_add_text(&b->json, o, "bound", anx_bound_kind_name(c->bound));
    anx_json_add_measure(&b->json, o, "limit_r", c->limit_r);
    anx_json_add_measure(&b->json, o, "limit_rms", c->limit_rms);
    anx_json_add_integer(&b->json, o, "elements", c->elems);
    anx_json_add_integer(&b->json, o, "different", c->different);
    anx_json_add_integer(&b->json, o, "zero_signs", c->zero_signs);
    anx_json_add_integer(&b->json, o, "nonfinite", c->nonfinite);
    anx_json_add_integer(&b->json, o, "over", c->over);
    anx_json_add_integer(&b->json, o, "subnormals", c->subnormals);
    anx_json_add_measure(&b->json, o, "worst_r", c->worst_r);
    anx_json_add_measure(&b->json, o, "worst_fraction", c->worst_fraction);
    anx_json_add_measure(&b->json, o, "worst_abs", c->worst_abs);
    anx_json_add_measure(&b->json, o, "rms", c->rms);
    anx_json_add_integer(&b->json, o, "rms_image", c->rms_image);
    anx_json_add_measure(&b->json, o, "part_rms", c->part_rms);
    anx_json_add_integer(&b->json, o, "part_image", c->part_image);
    anx_json_add_integer(&b->json, o, "part_index", c->part_index);
    anx_json_add_measure(&b->json, o, "slope", c->slope);
    add_element(b, o, &c->worst);
}

static void add_judged(builder *b, cJSON *to, const anx_judged *j) {
    cJSON *o = anx_json_add_object(&b->json, to, NULL);
    anx_json_add_text(&b->json, o, "kind", anx_judged_kind_name(j->kind));
    anx_json_add_text(&b->json, o, "path", anx_judged_path_name(j->path));
    anx_json_add_text(&b->json, o, "point", j->point);
    anx_json_add_text(&b->json, o, "op", j->node >= 0 ? anx_op_name(j->op) : NULL);
    anx_json_add_text(&b->json, o, "input", j->input);
    anx_json_add_text(&b->json, o, "fixture", j->fixture);
    anx_json_add_text(&b->json, o, "verdict", anx_verdict_name(j->verdict));
    anx_json_add_text(&b->json, o, "reason", j->reason);
    anx_json_add_measure(&b->json, o, "pytorch_r", j->pytorch_r);
    anx_json_add_measure(&b->json, o, "pytorch_rms", j->pytorch_rms);
    anx_json_add_integer(&b->json, o, "ties", j->ties);
    cJSON *versus = anx_json_add_array(&b->json, o, "comparisons");
    for (int i = 0; i < j->n_versus; i++) add_comparison(b, versus, &j->versus[i]);
    cJSON *causes = anx_json_add_array(&b->json, o, "causes");
    for (int i = 0; i < j->n_causes; i++) {
        cJSON *cause = anx_json_add_object(&b->json, causes, NULL);
        anx_json_add_text(&b->json, cause, "id", j->causes[i].id);
        anx_json_add_text(&b->json, cause, "text", j->causes[i].text);
        anx_json_add_measure(&b->json, cause, "weight", j->causes[i].weight);
    }
}

static void add_ranking(builder *b, cJSON *to, const char *key, const anx_ranked *ranked, int k) {
    cJSON *list = anx_json_add_array(&b->json, to, key);
    for (int i = 0; i < k; i++) {
        cJSON *o = anx_json_add_object(&b->json, list, NULL);
        const char *name = anx_class_name(b->options->classes, b->verdicts->checkpoint.num_classes, ranked[i].index);
        anx_json_add_integer(&b->json, o, "class", ranked[i].index);
        anx_json_add_text(&b->json, o, "name", name[0] != '\0' ? name : NULL);
        anx_json_add_value(&b->json, o, "logit", ranked[i].logit);
        anx_json_add_value(&b->json, o, "probability", ranked[i].prob);
    }
}

static void add_top5(builder *b, cJSON *to, const anx_top5 *t) {
    cJSON *o = anx_json_add_object(&b->json, to, NULL);
    const bool beside = t->other_basis != ANX_BASIS_NONE;
    anx_json_add_text(&b->json, o, "input", t->input);
    anx_json_add_integer(&b->json, o, "image", t->image);
    add_ranking(b, o, "judged", t->judged, t->k);
    anx_json_add_text(&b->json, o, "basis", anx_basis_id(t->other_basis));
    add_ranking(b, o, "expected", t->other, beside ? t->k : 0);
    anx_json_add_bool(&b->json, o, "same_top1", t->same_top1);
    anx_json_add_bool(&b->json, o, "same_set", t->same_set);
    anx_json_add_bool(&b->json, o, "same_order", t->same_order);
    anx_json_add_measure(&b->json, o, "margin_1_2", t->margin_1_2);
    anx_json_add_measure(&b->json, o, "margin_5_6", t->margin_5_6);
    anx_json_add_bool(&b->json, o, "ambiguous_top1", t->ambiguous_top1);
    anx_json_add_bool(&b->json, o, "ambiguous_set", t->ambiguous_set);
}

static void add_run(builder *b, cJSON *o) {
    const anx_verdicts *v = b->verdicts;
    anx_json_add_integer(&b->json, o, "schema", schema_version);
    anx_json_add_text(&b->json, o, "version", v->version);
    anx_json_add_text(&b->json, o, "verdict", anx_verdict_name(v->overall));
    anx_json_add_bool(&b->json, o, "strict", v->strict);
    anx_json_add_bool(&b->json, o, "full", v->full);
    anx_json_add_text(&b->json, o, "points", v->points_glob);
    cJSON *counts = anx_json_add_object(&b->json, o, "counts");
    for (int i = 0; i < ANX_VERDICT_COUNT; i++)
        anx_json_add_integer(&b->json, counts, anx_verdict_name((anx_verdict)i), v->counts[i]);
    anx_json_add_measure(&b->json, o, "seconds", v->total_seconds);
    cJSON *durations = anx_json_add_array(&b->json, o, "durations");
    for (size_t i = 0; i < v->n_durations; i++) {
        cJSON *d = anx_json_add_object(&b->json, durations, NULL);
        anx_json_add_text(&b->json, d, "name", v->durations[i].name);
        anx_json_add_measure(&b->json, d, "seconds", v->durations[i].seconds);
    }
    cJSON *environment = anx_json_add_object(&b->json, o, "environment");
    for (size_t i = 0; i < v->n_environment; i++)
        anx_json_add_text(&b->json, environment, v->environment[i].key, v->environment[i].value);
    add_device(b, o, "device", &v->device);
    add_device(b, o, "exact", &v->exact);
    anx_json_add_bool(&b->json, o, "pytorch_at_hand", v->pytorch_at_hand);
    anx_json_add_text(&b->json, o, "judged_as", anx_math_mode_name(v->device.math));
}

static void add_lists(builder *b, cJSON *o) {
    const anx_verdicts *v = b->verdicts;
    cJSON *fixtures = anx_json_add_array(&b->json, o, "fixtures");
    for (size_t i = 0; i < v->n_fixtures; i++) add_fixture(b, fixtures, &v->fixtures[i]);
    cJSON *judged = anx_json_add_array(&b->json, o, "judged");
    for (size_t i = 0; i < v->n_judged; i++) add_judged(b, judged, &v->judged[i]);
    if (v->first_bad >= 0)
        anx_json_add_integer(&b->json, o, "first_bad", v->first_bad);
    else
        anx_json_add_text(&b->json, o, "first_bad", NULL);
    cJSON *top5 = anx_json_add_array(&b->json, o, "top5");
    for (size_t i = 0; i < v->n_top5; i++) add_top5(b, top5, &v->top5[i]);
    cJSON *bounds = anx_json_add_object(&b->json, o, "bounds");
    for (int i = 0; i < ANX_BOUND_KIND_COUNT; i++)
        anx_json_add_text(&b->json, bounds, anx_bound_kind_name((anx_bound_kind)i),
                          anx_bound_kind_text((anx_bound_kind)i));
}

anx_status anx_report_json(const anx_verdicts *verdicts, const anx_report_options *options, char **text,
                           size_t *n_bytes, anx_error *err) {
    builder b = {.verdicts = verdicts, .options = options};
    cJSON *root = anx_json_root(&b.json);
    if (root != NULL) {
        add_run(&b, root);
        add_checkpoint(&b, root);
        add_lists(&b, root);
    }
    return anx_json_print(&b.json, root, text, n_bytes, err);
}
