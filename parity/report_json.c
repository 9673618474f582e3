#include <cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/text.h"
#include "parity/report.h"

enum { schema_version = 1 };

/* Memory runs out at most once; every call after that is without effect, and the caller asks at the end. */
typedef struct builder {
    const anx_verdicts *verdicts;
    const anx_report_options *options;
    bool failed;
} builder;

static cJSON *check(builder *b, cJSON *item) {
    if (item == NULL) b->failed = true;
    return item;
}

/* An item made before goes into an object or, where key is NULL, an array. */
static cJSON *add(builder *b, cJSON *to, const char *key, cJSON *item) {
    if (check(b, item) == NULL) return NULL;
    const bool added =
        to != NULL && (key != NULL ? cJSON_AddItemToObject(to, key, item) : cJSON_AddItemToArray(to, item));
    if (added) return item;
    cJSON_Delete(item);
    b->failed = true;
    return NULL;
}

static cJSON *add_object(builder *b, cJSON *to, const char *key) {
    return add(b, to, key, cJSON_CreateObject());
}

static cJSON *add_array(builder *b, cJSON *to, const char *key) {
    return add(b, to, key, cJSON_CreateArray());
}

/* NULL becomes null. JSON is UTF-8: of a path that is not, the bytes that are not are shown as \xNN. */
static void add_text(builder *b, cJSON *to, const char *key, const char *text) {
    char shown[4096];
    if (text != NULL && !anx_utf8_valid(text, strlen(text)))
        text = anx_text_printable(text, strlen(text), shown, sizeof shown);
    add(b, to, key, text != NULL ? cJSON_CreateString(text) : cJSON_CreateNull());
}

static void add_bool(builder *b, cJSON *to, const char *key, bool value) {
    add(b, to, key, cJSON_CreateBool(value));
}

static void add_integer(builder *b, cJSON *to, const char *key, int64_t value) {
    add(b, to, key, cJSON_CreateNumber((double)value));
}

/* A value as it is: JSON has no NaN and no infinity, so that these become text. */
static void add_value(builder *b, cJSON *to, const char *key, double value) {
    if (isfinite(value))
        add(b, to, key, cJSON_CreateNumber(value));
    else
        add_text(b, to, key, isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
}

/* A measure: NaN means that it has no meaning here. */
static void add_measure(builder *b, cJSON *to, const char *key, double value) {
    if (isnan(value))
        add_text(b, to, key, NULL);
    else
        add_value(b, to, key, value);
}

static void add_digest(builder *b, cJSON *to, const char *key, const anx_digest *digest) {
    char hex[ANX_SHA256_HEX];
    add_text(b, to, key, anx_digest_hex(digest, hex));
}

static void add_device(builder *b, cJSON *to, const char *key, const anx_device_facts *d) {
    if (d->backend == NULL || d->backend[0] == '\0') {
        add_text(b, to, key, NULL);
        return;
    }
    cJSON *o = add_object(b, to, key);
    add_text(b, o, "backend", d->backend);
    add_text(b, o, "device", d->device);
    add_text(b, o, "library", d->library);
    add_text(b, o, "isa", d->isa);
    add_text(b, o, "arithmetic", d->arithmetic);
    add_integer(b, o, "threads", d->threads);
    add_bool(b, o, "pytorch_bits", d->pytorch_bits);
}

static void add_checkpoint(builder *b, cJSON *to) {
    const anx_checkpoint_facts *c = &b->verdicts->checkpoint;
    cJSON *o = add_object(b, to, "checkpoint");
    add_text(b, o, "path", c->path);
    add_text(b, o, "format", c->format);
    add_integer(b, o, "bytes", (int64_t)c->file_bytes);
    if (c->has_file_digest)
        add_digest(b, o, "sha256", &c->file_digest);
    else
        add_text(b, o, "sha256", NULL);
    add_bool(b, o, "official", c->official);
    add_text(b, o, "official_name", c->official_name);
    add_text(b, o, "arch", c->arch);
    add_integer(b, o, "classes", c->num_classes);
    add_integer(b, o, "parameters", c->n_params);
    add_integer(b, o, "converted_tensors", c->n_converted);
    add_text(b, o, "converted_from", c->converted_from);
    add_text(b, o, "wrapped_in", c->wrapped_in);
    add_bool(b, o, "module_prefix_removed", c->module_prefix_removed);
    add_digest(b, o, "parameters_sha256", &c->params_digest);
}

static void add_fixture(builder *b, cJSON *to, const anx_fixture_facts *f) {
    cJSON *o = add_object(b, to, NULL);
    add_text(b, o, "name", f->name);
    add_text(b, o, "path", f->path);
    add_text(b, o, "recorded_by", f->recorded_by);
    add_bool(b, o, "asked_for", f->asked_for);
    add_integer(b, o, "tensors_matched", f->params_matched);
    add_integer(b, o, "tensors", f->params_total);
    add_text(b, o, "applies", f->applies);
    add_text(b, o, "differing", f->differing);
    add_integer(b, o, "cases_run", f->cases_run);
    add_integer(b, o, "cases", f->cases_total);
}

static void add_element(builder *b, cJSON *to, const anx_element *e) {
    if (!e->known) {
        add_text(b, to, "worst", NULL);
        return;
    }
    cJSON *o = add_object(b, to, "worst"), *at = add_array(b, o, "at");
    for (int i = 0; i < e->rank; i++) add_integer(b, at, NULL, e->at[i]);
    add_value(b, o, "got", e->got);
    add_value(b, o, "expected", e->expected);
}

static void add_comparison(builder *b, cJSON *to, const anx_comparison *c) {
    cJSON *o = add_object(b, to, NULL);
    add_text(b, o, "basis", anx_basis_id(c->basis));
    add_text(b, o, "bound", anx_bound_kind_name(c->bound));
    add_measure(b, o, "limit_r", c->limit_r);
    add_measure(b, o, "limit_rms", c->limit_rms);
    add_integer(b, o, "elements", c->elems);
    add_integer(b, o, "different", c->different);
    add_integer(b, o, "zero_signs", c->zero_signs);
    add_integer(b, o, "nonfinite", c->nonfinite);
    add_integer(b, o, "over", c->over);
    add_integer(b, o, "subnormals", c->subnormals);
    add_measure(b, o, "worst_r", c->worst_r);
    add_measure(b, o, "worst_fraction", c->worst_fraction);
    add_measure(b, o, "worst_abs", c->worst_abs);
    add_measure(b, o, "rms", c->rms);
    add_integer(b, o, "rms_image", c->rms_image);
    add_measure(b, o, "part_rms", c->part_rms);
    add_integer(b, o, "part_image", c->part_image);
    add_integer(b, o, "part_index", c->part_index);
    add_measure(b, o, "slope", c->slope);
    add_element(b, o, &c->worst);
}

static void add_judged(builder *b, cJSON *to, const anx_judged *j) {
    cJSON *o = add_object(b, to, NULL);
    add_text(b, o, "kind", anx_judged_kind_name(j->kind));
    add_text(b, o, "path", anx_judged_path_name(j->path));
    add_text(b, o, "point", j->point);
    add_text(b, o, "op", j->node >= 0 ? anx_op_name(j->op) : NULL);
    add_text(b, o, "input", j->input);
    add_text(b, o, "fixture", j->fixture);
    add_text(b, o, "verdict", anx_verdict_name(j->verdict));
    add_text(b, o, "reason", j->reason);
    add_measure(b, o, "pytorch_r", j->pytorch_r);
    add_measure(b, o, "pytorch_rms", j->pytorch_rms);
    add_integer(b, o, "ties", j->ties);
    cJSON *versus = add_array(b, o, "comparisons");
    for (int i = 0; i < j->n_versus; i++) add_comparison(b, versus, &j->versus[i]);
    cJSON *causes = add_array(b, o, "causes");
    for (int i = 0; i < j->n_causes; i++) {
        cJSON *cause = add_object(b, causes, NULL);
        add_text(b, cause, "id", j->causes[i].id);
        add_text(b, cause, "text", j->causes[i].text);
        add_measure(b, cause, "weight", j->causes[i].weight);
    }
}

static void add_ranking(builder *b, cJSON *to, const char *key, const anx_ranked *ranked, int k) {
    cJSON *list = add_array(b, to, key);
    for (int i = 0; i < k; i++) {
        cJSON *o = add_object(b, list, NULL);
        const char *name = anx_class_name(b->options->classes, b->verdicts->checkpoint.num_classes, ranked[i].index);
        add_integer(b, o, "class", ranked[i].index);
        add_text(b, o, "name", name[0] != '\0' ? name : NULL);
        add_value(b, o, "logit", ranked[i].logit);
        add_value(b, o, "probability", ranked[i].prob);
    }
}

static void add_top5(builder *b, cJSON *to, const anx_top5 *t) {
    cJSON *o = add_object(b, to, NULL);
    const bool beside = t->other_basis != ANX_BASIS_NONE;
    add_text(b, o, "input", t->input);
    add_integer(b, o, "image", t->image);
    add_ranking(b, o, "judged", t->judged, t->k);
    add_text(b, o, "basis", anx_basis_id(t->other_basis));
    add_ranking(b, o, "expected", t->other, beside ? t->k : 0);
    add_bool(b, o, "same_top1", t->same_top1);
    add_bool(b, o, "same_set", t->same_set);
    add_bool(b, o, "same_order", t->same_order);
    add_measure(b, o, "margin_1_2", t->margin_1_2);
    add_measure(b, o, "margin_5_6", t->margin_5_6);
    add_bool(b, o, "ambiguous_top1", t->ambiguous_top1);
    add_bool(b, o, "ambiguous_set", t->ambiguous_set);
}

static void add_run(builder *b, cJSON *o) {
    const anx_verdicts *v = b->verdicts;
    add_integer(b, o, "schema", schema_version);
    add_text(b, o, "version", v->version);
    add_text(b, o, "verdict", anx_verdict_name(v->overall));
    add_bool(b, o, "strict", v->strict);
    add_bool(b, o, "full", v->full);
    add_text(b, o, "points", v->points_glob);
    cJSON *counts = add_object(b, o, "counts");
    for (int i = 0; i < ANX_VERDICT_COUNT; i++) add_integer(b, counts, anx_verdict_name((anx_verdict)i), v->counts[i]);
    add_measure(b, o, "seconds", v->total_seconds);
    cJSON *durations = add_array(b, o, "durations");
    for (size_t i = 0; i < v->n_durations; i++) {
        cJSON *d = add_object(b, durations, NULL);
        add_text(b, d, "name", v->durations[i].name);
        add_measure(b, d, "seconds", v->durations[i].seconds);
    }
    cJSON *environment = add_object(b, o, "environment");
    for (size_t i = 0; i < v->n_environment; i++)
        add_text(b, environment, v->environment[i].key, v->environment[i].value);
    add_device(b, o, "device", &v->device);
    add_device(b, o, "exact", &v->exact);
    add_bool(b, o, "pytorch_at_hand", v->pytorch_at_hand);
}

static void add_lists(builder *b, cJSON *o) {
    const anx_verdicts *v = b->verdicts;
    cJSON *fixtures = add_array(b, o, "fixtures");
    for (size_t i = 0; i < v->n_fixtures; i++) add_fixture(b, fixtures, &v->fixtures[i]);
    cJSON *judged = add_array(b, o, "judged");
    for (size_t i = 0; i < v->n_judged; i++) add_judged(b, judged, &v->judged[i]);
    if (v->first_bad >= 0)
        add_integer(b, o, "first_bad", v->first_bad);
    else
        add_text(b, o, "first_bad", NULL);
    cJSON *top5 = add_array(b, o, "top5");
    for (size_t i = 0; i < v->n_top5; i++) add_top5(b, top5, &v->top5[i]);
    cJSON *bounds = add_object(b, o, "bounds");
    for (int i = 0; i < ANX_BOUND_KIND_COUNT; i++)
        add_text(b, bounds, anx_bound_kind_name((anx_bound_kind)i), anx_bound_kind_text((anx_bound_kind)i));
}

anx_status anx_report_json(const anx_verdicts *verdicts, const anx_report_options *options, char **text,
                           size_t *n_bytes, anx_error *err) {
    builder b = {.verdicts = verdicts, .options = options};
    char *printed = NULL, *out = NULL;
    cJSON *root = check(&b, cJSON_CreateObject());
    if (root != NULL) {
        add_run(&b, root);
        add_checkpoint(&b, root);
        add_lists(&b, root);
    }
    if (!b.failed) printed = cJSON_Print(root);
    if (printed != NULL && asprintf(&out, "%s\n", printed) < 0) out = NULL;
    cJSON_free(printed);
    cJSON_Delete(root);
    if (out == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the report");
    if (n_bytes != NULL) *n_bytes = strlen(out);
    *text = out;
    return ANX_OK;
}
