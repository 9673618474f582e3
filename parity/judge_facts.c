/* What a report says about the run itself: machine, devices, checkpoint, recordings. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "loaders/libraries.h"
#include "parity/judge_run.h"
#include "parity/machine.h"
#include "parity/training_recording.h"
#include "src/base/version.h"

static anx_status copy_text(char **out, const char *text, anx_error *err) {
    char *copy = strdup(text != NULL ? text : "");
    if (copy == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the report");
    free(*out);
    *out = copy;
    return ANX_OK;
}

/* "float16, float64": the dtypes whose bits are set. */
static void format_dtypes(unsigned dtypes, char *buf, size_t size) {
    buf[0] = '\0';
    for (unsigned d = 0; d < CHAR_BIT * sizeof dtypes; d++) {
        const size_t used = strlen(buf);
        if ((dtypes >> d & 1) != 0)
            snprintf(buf + used, size - used, "%s%s", used > 0 ? ", " : "", anx_dtype_name((anx_dtype)d));
    }
}

anx_status anx_judge_describe_environment(anx_judge_run *run, anx_error *err) {
    anx_status status = copy_text(&run->list->version, ANX_VERSION, err);
    char text[600];
    struct utsname os;
    if (status == ANX_OK)
        status = anx_verdicts_add_environment(run->list, "cpu", anx_machine_cpu(text, sizeof text), err);
    if (uname(&os) == 0)
        snprintf(text, sizeof text, "%s %s %s", os.sysname, os.release, os.machine);
    else
        snprintf(text, sizeof text, "unknown");
    if (status == ANX_OK) status = anx_verdicts_add_environment(run->list, "os", text, err);
    snprintf(text, sizeof text, "%d", run->threads);
    if (status == ANX_OK) status = anx_verdicts_add_environment(run->list, "threads", text, err);
#ifdef __clang__
    snprintf(text, sizeof text, "%s", __VERSION__);
#else
    snprintf(text, sizeof text, "gcc %s", __VERSION__);
#endif
    if (status == ANX_OK) status = anx_verdicts_add_environment(run->list, "compiler", text, err);
    for (int i = 0; status == ANX_OK && anx_loaders_library(i).name != NULL; i++)
        status =
            anx_verdicts_add_environment(run->list, anx_loaders_library(i).name, anx_loaders_library(i).version, err);
    return status;
}

static anx_status recognise_official(anx_judge_run *run, anx_checkpoint_facts *facts, anx_error *err) {
    const anx_official_table *table = run->options->official != NULL ? run->options->official : &anx_official_published;
    const anx_official_file *official = NULL;
    if (run->checkpoint == NULL) return ANX_OK;
    anx_status status =
        anx_official_recognise(table, run->checkpoint, &official, &facts->has_file_digest, &facts->file_digest, err);
    facts->official = official != NULL;
    return status == ANX_OK && official != NULL ? copy_text(&facts->official_name, official->name, err) : status;
}

anx_status anx_judge_describe_checkpoint(anx_judge_run *run, anx_error *err) {
    anx_checkpoint_facts *f = &run->list->checkpoint;
    const anx_checkpoint *c = run->checkpoint;
    const anx_model *m = run->model;
    char dtypes[128];
    format_dtypes(m->converted_from, dtypes, sizeof dtypes);
    anx_status status = copy_text(&f->arch, m->graph->arch->name, err);
    if (status == ANX_OK) status = copy_text(&f->path, c != NULL ? c->path : "", err);
    if (status == ANX_OK) status = copy_text(&f->format, c != NULL ? c->format : "in memory", err);
    if (status == ANX_OK && m->n_converted > 0) status = copy_text(&f->converted_from, dtypes, err);
    if (status == ANX_OK && c != NULL && c->wrapped_in != NULL) status = copy_text(&f->wrapped_in, c->wrapped_in, err);
    if (status != ANX_OK) return status;
    f->file_bytes = c != NULL ? c->file_bytes : 0;
    f->n_bad_crc = c != NULL ? (int64_t)c->n_bad_crc : 0;
    f->module_prefix_removed = c != NULL && c->module_prefix_removed;
    f->n_converted = m->n_converted;
    f->num_classes = m->graph->num_classes;
    f->n_params = anx_graph_param_elems(m->graph);
    status = anx_sha256_buffer(m->digests, (size_t)m->graph->n_params * sizeof *m->digests, &f->params_digest, err);
    return status != ANX_OK ? status : recognise_official(run, f, err);
}

/* ---- recordings ---- */

/* "torch 2.15.0, pillow 13.0.0, cpu AMD EPYC, ..." */
static void format_recorder(const anx_fixture *fixture, char *buf, size_t size) {
    static const char *const keys[] = {"torch", "torchvision", "pillow", "isa", "cpu"};
    size_t used = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *value = anx_fixture_recorder(fixture, keys[i]);
        if (value == NULL || used >= size) continue;
        const int n = snprintf(buf + used, size - used, "%s%s %s", used > 0 ? ", " : "", keys[i], value);
        if (n > 0) used += (size_t)n;
    }
}

/* Names of the parameters that differ, comma separated; the caller frees it. NULL on lack of memory. */
static char *list_differing(const anx_graph *graph, const anx_fixture_match *match) {
    size_t bytes = 1;
    for (int i = 0; i < match->n_params; i++)
        if (match->params[i] != ANX_FIXTURE_PARAM_SAME) bytes += strlen(graph->params[i].name) + 2;
    char *text = malloc(bytes);
    if (text == NULL) return NULL;
    char *at = text;
    *at = '\0';
    for (int i = 0; i < match->n_params; i++)
        if (match->params[i] != ANX_FIXTURE_PARAM_SAME)
            at += snprintf(at, bytes - (size_t)(at - text), "%s%s", at > text ? ", " : "", graph->params[i].name);
    return text;
}

/* The last node that the recordings cover when all before it are covered; NULL if none. */
static const char *last_applicable(const anx_graph *graph, const anx_fixture_match *match) {
    const char *name = NULL;
    for (int i = 0; i < match->n_nodes && match->applicable[i]; i++) name = graph->nodes[i].layer->name;
    return name;
}

static anx_status describe_forward(const anx_judge_run *run, const anx_fixture *fixture, const anx_fixture_match *match,
                                   anx_fixture_facts *f, anx_error *err) {
    const anx_graph *graph = run->model->graph;
    char text[256];
    f->params_total = match->n_params;
    f->params_matched = match->n_same;
    f->cases_total = fixture->kind == ANX_FIXTURE_TRAINING ? fixture->training->n_scenarios : fixture->n_cases;
    if (strcmp(fixture->arch, graph->arch->name) != 0)
        snprintf(text, sizeof text, "does not match: recorded with '%s'", fixture->arch);
    else if (match->n_applicable == match->n_nodes)
        snprintf(text, sizeof text, fixture->kind == ANX_FIXTURE_TRAINING ? "training" : "in full");
    else if (fixture->kind == ANX_FIXTURE_TRAINING)
        snprintf(text, sizeof text, "does not match: training from other weights");
    else if (match->n_applicable > 0)
        snprintf(text, sizeof text, "up to %s", last_applicable(graph, match));
    else
        snprintf(text, sizeof text, "does not match: %d of %d tensors differ", match->n_params - match->n_same,
                 match->n_params);
    anx_status status = copy_text(&f->applies, text, err);
    if (status == ANX_OK && match->n_same < match->n_params) {
        f->differing = list_differing(graph, match);
        if (f->differing == NULL) status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the report");
    }
    return status;
}

/* The row that says whether a recording the user named belongs to these weights. */
static anx_status add_fixture_row(anx_judge_run *run, const anx_fixture *fixture, const anx_fixture_facts *f,
                                  anx_error *err) {
    anx_judged j;
    anx_status status = anx_judged_init(&j, ANX_JUDGED_FIXTURE, ANX_PATH_RECORDINGS, f->name, "", f->name, err);
    if (status != ANX_OK) return status;
    if (f->differing == NULL)
        status = anx_judged_conclude(&j, ANX_VERDICT_PASS, err, "belongs to these weights: all %d tensors are the same",
                                     f->params_total);
    else if (fixture->kind == ANX_FIXTURE_TRAINING)
        status = anx_judged_conclude(&j, ANX_VERDICT_WARN, err,
                                     "a training from other weights, of which nothing applies; %d of %d tensors differ",
                                     f->params_total - f->params_matched, f->params_total);
    else
        status = anx_judged_conclude(&j, ANX_VERDICT_WARN, err,
                                     "was recorded with other weights and is judged against all the same; %d of %d "
                                     "tensors differ: %s",
                                     f->params_total - f->params_matched, f->params_total, f->differing);
    if (status == ANX_OK) status = anx_verdicts_add(run->list, &j, err);
    anx_judged_fini(&j);
    return status;
}

anx_status anx_judge_describe_fixture(anx_judge_run *run, const anx_fixture *fixture, const anx_fixture_match *match,
                                      bool asked, anx_error *err) {
    anx_fixture_facts f = {.asked_for = asked};
    char recorder[512];
    format_recorder(fixture, recorder, sizeof recorder);
    anx_status status = copy_text(&f.name, fixture->name, err);
    if (status == ANX_OK) status = copy_text(&f.path, fixture->path, err);
    if (status == ANX_OK) status = copy_text(&f.recorded_by, recorder, err);
    if (status != ANX_OK) goto out;
    if (fixture->kind == ANX_FIXTURE_PREPROCESS) {
        f.cases_total = f.cases_run = fixture->n_samples;
        status = copy_text(&f.applies, "preprocessing", err);
    } else {
        status = describe_forward(run, fixture, match, &f, err);
        if (status == ANX_OK && asked) status = add_fixture_row(run, fixture, &f, err);
    }
    if (status == ANX_OK) status = anx_verdicts_add_fixture(run->list, &f, err);
out:
    anx_fixture_facts_fini(&f);
    return status;
}
