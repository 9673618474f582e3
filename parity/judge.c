#include "parity/judge.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/file.h"
#include "parity/judge_run.h"
#include "parity/judge_training.h"
#include "parity/points.h"
#include "src/base/clock.h"
#include "src/base/mt19937.h"
#include "src/base/threads.h"

/* A forward fixture of the run with what its weights have in common with the model's. */
typedef struct matched {
    const anx_fixture *fixture;
    anx_fixture_match match;
    bool asked;
    size_t fact; /* its place in the list's fixtures */
} matched;

typedef struct matched_list {
    matched *items;
    int count;
} matched_list;

static void matched_fini(matched_list *list) {
    for (int i = 0; i < list->count; i++) anx_fixture_match_fini(&list->items[i].match);
    free(list->items);
}

/* Same architecture and number of classes: the recording's cases fit the model, whatever the weights. */
static bool fits(const anx_judge_run *run, const anx_fixture *fixture) {
    return fixture->kind == ANX_FIXTURE_FORWARD && strcmp(fixture->arch, run->model->graph->arch->name) == 0;
}

static anx_status match_fixtures(anx_judge_run *run, matched_list *list, anx_error *err) {
    const anx_fixture_set *sets[2] = {run->options->asked, run->options->fixtures};
    int total = 0;
    for (int s = 0; s < 2; s++) total += sets[s] != NULL ? sets[s]->count : 0;
    list->items = calloc((size_t)total + 1, sizeof *list->items);
    if (list->items == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for %d fixtures", total);
    for (int s = 0; s < 2; s++)
        for (int i = 0; sets[s] != NULL && i < sets[s]->count; i++) {
            const anx_fixture *fixture = sets[s]->items[i];
            if (fixture->kind == ANX_FIXTURE_TRAINING && !run->options->train && s == 1) continue;
            matched m = {.fixture = fixture, .match = ANX_FIXTURE_MATCH_INIT, .asked = s == 0};
            anx_status status = ANX_OK;
            if (fixture->kind != ANX_FIXTURE_PREPROCESS)
                status = anx_fixture_match_model(fixture, run->model, &m.match, err);
            if (status == ANX_OK) status = anx_judge_describe_fixture(run, fixture, &m.match, m.asked, err);
            m.fact = run->list->n_fixtures - 1;
            if (status != ANX_OK || fixture->kind != ANX_FIXTURE_FORWARD)
                anx_fixture_match_fini(&m.match);
            else
                list->items[list->count++] = m;
            if (status != ANX_OK) return status;
        }
    return ANX_OK;
}

/* ---- cases ---- */

/* A case holds more than digests: values of a layer that applies, in full or as a sketch. */
static bool has_values(const anx_judge_case *c) {
    for (int i = 0; i < c->recorded->n_points; i++) {
        const anx_fixture_point *p = &c->recorded->points[i];
        if (p->y32.data == NULL && p->sketch == NULL) continue;
        const int node = anx_graph_find_node(c->graph, p->name);
        if (node >= 0 && (c->forced || c->match->applicable[node])) return true;
    }
    return false;
}

/* The judged engine on a prepared case. */
static anx_status judge_engine(anx_judge_run *run, anx_judge_case *c, anx_error *err) {
    anx_status status = anx_judge_observe(run, c, err);
    if (status == ANX_OK) status = anx_judge_infer(run, c, err);
    if (status == ANX_OK) status = anx_judge_accumulated(run, c, err);
    return status;
}

/* The row that says that a recording could not be used for want of its input. */
static anx_status add_input_row(anx_judge_run *run, const anx_fixture *fixture, const anx_fixture_case *recorded,
                                const char *why, anx_error *err) {
    anx_judged j;
    anx_status status =
        anx_judged_init(&j, ANX_JUDGED_FIXTURE, ANX_PATH_RECORDINGS, "input", recorded->name, fixture->name, err);
    if (status != ANX_OK) return status;
    status = anx_judged_conclude(&j, ANX_VERDICT_SKIP, err, "%s: its recorded values are not used", why);
    if (status == ANX_OK) status = anx_verdicts_add(run->list, &j, err);
    anx_judged_fini(&j);
    return status;
}

/* One recorded case: its input, exact against the recordings, and the judged engine where there are values. */
static anx_status judge_recorded(anx_judge_run *run, const matched *m, const anx_fixture_case *recorded, bool borrowed,
                                 int *engine_cases, anx_error *err) {
    anx_judge_case c = {.name = recorded->name,
                        .fixture = borrowed ? NULL : m->fixture,
                        .recorded = borrowed ? NULL : recorded,
                        .match = borrowed ? NULL : &m->match,
                        .forced = m->asked && !borrowed};
    anx_status status = anx_fixture_case_input(recorded, &c.input, &c.input_recorded, NULL, err);
    /* That this machine's decoder refuses an image is judged with preprocessing. */
    if (status != ANX_OK && status != ANX_ERR_OUT_OF_MEMORY && recorded->input_kind == ANX_FIXTURE_INPUT_IMAGES)
        return borrowed
                   ? ANX_OK
                   : add_input_row(run, m->fixture, recorded, "the input that PyTorch took cannot be made here", err);
    /* Another input than PyTorch's: nothing recorded applies to what follows from it. */
    if (status == ANX_OK && !c.input_recorded && !borrowed) {
        c.recorded = NULL;
        status = add_input_row(run, m->fixture, recorded, "the input made here is not the one that PyTorch took", err);
    }
    if (status == ANX_OK) status = anx_judge_case_prepare(run, &c, err);
    const bool judge = borrowed || (c.recorded != NULL && status == ANX_OK && has_values(&c));
    if (status == ANX_OK && run->judged != NULL && (judge || run->options->full)) {
        status = judge_engine(run, &c, err);
        ++*engine_cases;
    }
    if (status == ANX_OK && !borrowed) run->list->fixtures[m->fact].cases_run++;
    anx_judge_case_fini(&c);
    return status;
}

/* By default the fixture that covers most is enough; those that were asked for are always run. */
static bool worth_running(const anx_judge_run *run, const matched_list *list, const matched *m) {
    if (!fits(run, m->fixture)) return false;
    if (m->asked) return m->match.n_params == run->model->graph->n_params;
    if (m->match.n_applicable == 0) return false;
    if (run->options->full) return true;
    for (int i = 0; i < list->count; i++) {
        const matched *other = &list->items[i];
        if (other == m || !fits(run, other->fixture)) continue;
        if (other->match.n_applicable > m->match.n_applicable) return false;
        if (other->match.n_applicable == m->match.n_applicable && other < m) return false;
    }
    return true;
}

static anx_status judge_fixtures(anx_judge_run *run, const matched_list *list, int *engine_cases, anx_error *err) {
    anx_status status = ANX_OK;
    for (int i = 0; i < list->count; i++) {
        const matched *m = &list->items[i];
        if (!worth_running(run, list, m)) continue;
        for (int k = 0; status == ANX_OK && k < m->fixture->n_cases; k++)
            if (m->fixture->cases[k].quick || run->options->full)
                status = judge_recorded(run, m, &m->fixture->cases[k], false, engine_cases, err);
        if (status != ANX_OK) return status;
    }
    return status;
}

static anx_status judge_image(anx_judge_run *run, const char *path, anx_error *err) {
    const int64_t side = anx_preprocess_torchvision.crop, shape[4] = {1, 3, side, side};
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    anx_judge_case c = {.name = path};
    anx_status status = anx_read_file(path, &bytes, &n_bytes, err);
    if (status == ANX_OK) status = anx_tensor_alloc(ANX_F32, 4, shape, &c.input, err);
    if (status == ANX_OK) status = anx_judge_image_file(run, path, bytes, n_bytes, c.input.data, err);
    if (status == ANX_OK) status = anx_judge_case_prepare(run, &c, err);
    if (status == ANX_OK) status = judge_engine(run, &c, err);
    anx_judge_case_fini(&c);
    free(bytes);
    return status;
}

/*
 * An input of our own where no recording lends one: planes of slow waves with a little noise, in the range of
 * normalised photographs, since constant or purely random images hide faults that photographs show.
 */
static anx_status judge_synthetic(anx_judge_run *run, anx_error *err) {
    const anx_extent *e = &run->model->graph->input;
    const int64_t shape[4] = {1, e->dim[0], e->dim[1], e->dim[2]};
    anx_judge_case c = {.name = "waves"};
    anx_status status = anx_tensor_alloc(ANX_F32, 4, shape, &c.input, err);
    if (status != ANX_OK) return status;
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 0);
    float *at = c.input.data;
    anx_mt19937_uniform_f32(&gen, (size_t)anx_tensor_elems(&c.input), -0.4f, 0.4f, at);
    for (int64_t ch = 0; ch < e->dim[0]; ch++)
        for (int64_t y = 0; y < e->dim[1]; y++)
            for (int64_t x = 0; x < e->dim[2]; x++, at++)
                *at += (float)(sin(0.061 * (double)(x + 3 * ch)) * cos(0.083 * (double)y) +
                               0.7 * sin(0.31 * (double)(x - y) + (double)ch));
    status = anx_judge_case_prepare(run, &c, err);
    if (status == ANX_OK) status = judge_engine(run, &c, err);
    anx_judge_case_fini(&c);
    return status;
}

/* No recording applies: an input recorded with other weights, preferably of an image, or one of our own. */
static anx_status judge_without_recordings(anx_judge_run *run, const matched_list *list, anx_error *err) {
    int judged = 0;
    for (int images = 1; images >= 0; images--)
        for (int i = 0; i < list->count; i++) {
            const matched *m = &list->items[i];
            if (!fits(run, m->fixture)) continue;
            for (int k = 0; k < m->fixture->n_cases; k++) {
                const anx_fixture_case *lender = &m->fixture->cases[k];
                if (!lender->quick || (lender->input_kind == ANX_FIXTURE_INPUT_IMAGES) != images) continue;
                const anx_status status = judge_recorded(run, m, lender, true, &judged, err);
                if (status != ANX_OK || judged > 0) return status;
            }
        }
    return judge_synthetic(run, err);
}

/* The row that says which layers rest on no recording. */
static anx_status add_missing_row(anx_judge_run *run, const matched_list *list, anx_error *err) {
    const anx_graph *graph = run->model->graph;
    int covered = 0, total = 0;
    const char *first = NULL;
    for (int node = 0; node < graph->n_nodes; node++) {
        if (!anx_judge_wants(run, graph, node)) continue;
        bool applies = false;
        for (int i = 0; i < list->count; i++)
            applies = applies || (fits(run, list->items[i].fixture) && list->items[i].match.applicable[node]);
        total++;
        covered += applies;
        if (!applies && first == NULL) first = graph->nodes[node].layer->name;
    }
    if (covered == total) return ANX_OK;
    anx_judged j;
    anx_status status = anx_judged_init(&j, ANX_JUDGED_FIXTURE, ANX_PATH_RECORDINGS, "recordings", "", NULL, err);
    if (status != ANX_OK) return status;
    static const char rests[] = "the arithmetic carried out in double and on PyTorch's order of summation (exact)";
    if (covered == 0)
        status = anx_judged_conclude(&j, ANX_VERDICT_SKIP, err,
                                     "no recording applies to these weights: every layer is judged against %s", rests);
    else
        status = anx_judged_conclude(&j, run->options->strict ? ANX_VERDICT_SKIP : ANX_VERDICT_INFO, err,
                                     "recordings apply up to '%s': from there on layers are judged against %s", first,
                                     rests);
    if (status == ANX_OK) status = anx_verdicts_add(run->list, &j, err);
    anx_judged_fini(&j);
    return status;
}

/* ---- set-up ---- */

static anx_status open_model(anx_judge_run *run, anx_error *err) {
    const anx_judge_options *o = run->options;
    anx_status status = ANX_OK;
    run->model = o->model;
    if (o->model == NULL) {
        const anx_checkpoint_options options = {.accept_bad_crc = o->accept_bad_crc};
        status = anx_checkpoint_open(o->checkpoint, &options, &run->checkpoint, err);
        if (status == ANX_OK) status = anx_model_bind(run->checkpoint, NULL, 0, 0, &run->model, err);
    }
    if (status == ANX_OK && run->model->digests == NULL) status = anx_model_digests(run->model, run->threads, err);
    return status;
}

static anx_status open_devices(anx_judge_run *run, anx_error *err) {
    const anx_judge_options *o = run->options;
    const anx_device_options float32 = {.threads = run->threads};
    const anx_device_options options = {.threads = run->threads, .math = o->math};
    anx_device_info exact;
    anx_status status = anx_device_open("exact", &float32, &run->exact, err);
    if (status != ANX_OK) return status;
    anx_device_describe(run->exact, &exact);
    if ((status = anx_device_facts_copy(&exact, &run->list->exact, err)) != ANX_OK) return status;
    if (o->against != NULL) {
        run->info = (anx_device_info){
            .backend = "dump", .device = o->against, .library = "", .isa = "", .arithmetic = "", .deterministic = true};
    } else if (o->device != NULL)
        run->judged = o->device;
    else {
        status = anx_device_open(o->device_name != NULL ? o->device_name : "auto", &options, &run->judged, err);
        run->owns_judged = status == ANX_OK;
    }
    if (status != ANX_OK) return status;
    if (run->judged != NULL) anx_device_describe(run->judged, &run->info);
    return anx_device_facts_copy(&run->info, &run->list->device, err);
}

static anx_status check_options(const anx_judge_options *o, anx_error *err) {
    if ((o->checkpoint == NULL) == (o->model == NULL))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "either a checkpoint or a model is judged");
    if (o->against != NULL && (o->device != NULL || o->device_name != NULL))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                             "a dump is judged instead of a device: give one or the other");
    if (o->against != NULL && o->train) return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "a dump does not train");
    if (o->against != NULL && o->n_images > 1)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "a dump's preprocessing is of one image; %d were given",
                             o->n_images);
    return ANX_OK;
}

static void run_fini(anx_judge_run *run) {
    anx_judge_drop_plans(run);
    if (run->sized != run->model) anx_model_destroy(run->sized);
    if (run->owns_judged) anx_device_close(run->judged);
    anx_device_close(run->exact);
    if (run->checkpoint != NULL) {
        anx_model_destroy(run->model);
        anx_checkpoint_close(run->checkpoint);
    }
    anx_verdicts_destroy(run->list);
}

/* ---- steps, each with its duration in the report ---- */

static anx_status step_open(anx_judge_run *run, matched_list *list, anx_error *err) {
    anx_status status = anx_judge_describe_environment(run, err);
    if (status == ANX_OK) status = open_model(run, err);
    if (status == ANX_OK) status = anx_judge_describe_checkpoint(run, err);
    if (status == ANX_OK) status = match_fixtures(run, list, err);
    return status == ANX_OK ? open_devices(run, err) : status;
}

static anx_status step_preprocess(anx_judge_run *run, matched_list *list, anx_error *err) {
    (void)list;
    /* where a dump is judged, this preprocessing matters only if it supplies what the dump is compared with */
    if (run->options->against != NULL && run->options->n_images == 0) return ANX_OK;
    return anx_judge_preprocessing(run, err);
}

static anx_status step_layers(anx_judge_run *run, matched_list *list, anx_error *err) {
    int engine_cases = 0;
    anx_status status = add_missing_row(run, list, err);
    if (status == ANX_OK) status = judge_fixtures(run, list, &engine_cases, err);
    run->list->pytorch_at_hand = run->exact_checked > 0 && run->exact_differed == 0;
    if (status != ANX_OK || run->judged == NULL) return status;
    for (int i = 0; status == ANX_OK && i < run->options->n_images; i++, engine_cases++)
        status = judge_image(run, run->options->images[i], err);
    if (status == ANX_OK && engine_cases == 0) status = judge_without_recordings(run, list, err);
    return status;
}

static anx_status step_against(anx_judge_run *run, matched_list *list, anx_error *err) {
    (void)list;
    return run->options->against != NULL ? anx_judge_against(run, err) : ANX_OK;
}

static anx_status step_probe(anx_judge_run *run, matched_list *list, anx_error *err) {
    (void)list;
    return run->judged != NULL && !run->options->no_probe ? anx_judge_probe(run, err) : ANX_OK;
}

static anx_status step_training(anx_judge_run *run, matched_list *list, anx_error *err) {
    (void)list;
    return run->options->train ? anx_judge_training(run, err) : ANX_OK;
}

anx_status anx_judge(const anx_judge_options *options, anx_verdicts **out, anx_error *err) {
    static const struct {
        const char *name;
        anx_status (*run)(anx_judge_run *, matched_list *, anx_error *);
    } steps[] = {{"open", step_open},     {"preprocessing", step_preprocess},
                 {"layers", step_layers}, {"dump", step_against},
                 {"probe", step_probe},   {"training", step_training}};
    const double start = anx_clock_seconds();
    anx_judge_run run = {.options = options,
                         .preprocess = options->preprocess,
                         .threads = options->threads > 0 ? options->threads : anx_threads_available()};
    if (run.preprocess.staged == NULL) run.preprocess.staged = anx_preprocess_staged;
    if (run.preprocess.fast == NULL) run.preprocess.fast = anx_preprocess_fast;
    matched_list list = {NULL, 0};
    anx_status status = check_options(options, err);
    if (status == ANX_OK) status = anx_verdicts_create(&run.list, err);
    if (status != ANX_OK) goto out;
    run.list->strict = options->strict;
    run.list->full = options->full;
    if (options->points != NULL && (run.list->points_glob = strdup(options->points)) == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the report");
        goto out;
    }
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        const double begin = anx_clock_seconds();
        if ((status = steps[i].run(&run, &list, err)) != ANX_OK) goto out;
        if ((status = anx_verdicts_add_duration(run.list, steps[i].name, anx_clock_seconds() - begin, err)) != ANX_OK)
            goto out;
    }
    anx_verdicts_conclude(run.list);
    run.list->total_seconds = anx_clock_seconds() - start;
    *out = run.list;
    run.list = NULL;
out:
    matched_fini(&list);
    run_fini(&run);
    return status;
}
