#include "parity/judge_training.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/backend/training.h"

enum { full_stride = 4, synthetic_steps = 2, synthetic_batch = 4 };

/* ---- rows -------------------------------------------------------------------------------------------------- */

static anx_status add_row(anx_judge_run *run, anx_judged_path path, const char *point, const char *input,
                          const char *fixture, anx_verdict verdict, const char *reason, anx_error *err) {
    anx_judged j = {0};
    anx_status status = anx_judged_init(&j, path == ANX_PATH_RECORDINGS ? ANX_JUDGED_FIXTURE : ANX_JUDGED_STEPS, path,
                                        point, input, fixture, err);
    if (status == ANX_OK) status = anx_judged_conclude(&j, verdict, err, "%s", reason);
    if (status == ANX_OK) status = anx_verdicts_add(run->list, &j, err);
    anx_judged_fini(&j);
    return status;
}

static const char *torch_of(const anx_fixture *fixture) {
    const char *torch = fixture != NULL ? anx_fixture_recorder(fixture, "torch") : NULL;
    return torch != NULL ? torch : "";
}

/* What a play had in common with its recording: a row for each aspect that was held against it. */
static anx_status add_replay_rows(const anx_judge_scenario *s, const anx_fixture *fixture,
                                  const anx_training_tally *tally, bool all, anx_error *err) {
    anx_status status = ANX_OK;
    const int last = all ? ANX_TRAINING_ASPECTS : ANX_TRAINING_LOGITS;
    for (int a = 0; a < ANX_TRAINING_ASPECTS && status == ANX_OK; a++) {
        const char *name = anx_training_aspect_name((anx_training_aspect)a);
        char reason[400];
        if (tally->differs && tally->first == (anx_training_aspect)a) {
            snprintf(reason, sizeof reason, "step %" PRId64 " of %" PRId64 ": %s%s", tally->steps + 1,
                     s->scenario->steps, tally->what,
                     tally->first == ANX_TRAINING_LR || tally->first == ANX_TRAINING_LOSS ||
                             tally->first == ANX_TRAINING_ORDER
                         ? ""
                         : ": not the bits that PyTorch recorded");
            status = add_row(s->run, ANX_PATH_TRAIN_REPLAY, name, s->scenario->name, s->fixture, ANX_VERDICT_FAIL,
                             reason, err);
        } else if (a < last && (!tally->differs || tally->steps > 0)) {
            snprintf(reason, sizeof reason, "%" PRId64 " steps bit-equal to what PyTorch %s recorded%s", tally->steps,
                     torch_of(fixture), tally->differs ? "; the next one was not judged" : "");
            status = add_row(s->run, ANX_PATH_TRAIN_REPLAY, name, s->scenario->name, s->fixture, ANX_VERDICT_PASS,
                             reason, err);
        }
    }
    return status;
}

/* Does exact carry PyTorch's bits through the scenario? What follows rests on it. */
static anx_status add_exact_row(const anx_judge_scenario *s, const anx_fixture *fixture,
                                const anx_training_tally *tally, anx_error *err) {
    char reason[400];
    if (!fixture->recorder_pytorch_bits)
        return add_row(s->run, ANX_PATH_EXACT, "training", s->scenario->name, s->fixture, ANX_VERDICT_INFO,
                       tally->differs ? "not bit-equal; recorded where PyTorch's order of summation is not the one "
                                        "reproduced here"
                                      : "bit-equal, though recorded where PyTorch's order of summation is not the one "
                                        "reproduced here",
                       err);
    s->run->exact_checked++;
    s->run->exact_differed += tally->differs;
    if (tally->differs)
        snprintf(reason, sizeof reason, "step %" PRId64 " of 'exact': %s is not what PyTorch %s recorded",
                 tally->steps + 1, tally->what, torch_of(fixture));
    else
        snprintf(reason, sizeof reason, "%" PRId64 " steps bit-equal to what PyTorch %s recorded (SHA-256)",
                 tally->steps, torch_of(fixture));
    return add_row(s->run, ANX_PATH_EXACT, "training", s->scenario->name, s->fixture,
                   tally->differs ? ANX_VERDICT_FAIL : ANX_VERDICT_PASS, reason, err);
}

/* ---- a device with PyTorch's bits, where they are known ----------------------------------------------------- */

static anx_status replay(anx_judge_scenario *s, const anx_fixture *fixture, anx_error *err) {
    anx_training_play *play = NULL;
    anx_training_tally tally = {.index = -1};
    anx_status status = anx_training_play_create(&s->options, &play, err);
    for (int64_t i = 0; i < s->scenario->steps && status == ANX_OK && !tally.differs; i++) {
        status = anx_training_play_fetch(play, err);
        if (status == ANX_OK) status = anx_training_play_step(play, err);
        if (status == ANX_OK) status = anx_training_compare(play, true, s->run->threads, &tally, err);
    }
    if (status == ANX_OK) status = add_replay_rows(s, fixture, &tally, true, err);
    anx_training_play_destroy(play);
    return status;
}

/* ---- any other ---------------------------------------------------------------------------------------------- */

/* A step whose operators are judged one by one: by default one with momentum behind it, of every short scenario. */
static bool is_inspected(const anx_judge_scenario *s, int64_t step) {
    if (s->scenario->recorded == NULL) return true;
    if (s->run->options->full) return step % full_stride == 1 % full_stride;
    return step == 1 && s->scenario->envelope == NULL;
}

/* The step the standard has just taken, by the judged device from the same state. */
static anx_status inspect(anx_judge_scenario *s, const anx_trained_values *before, anx_error *err) {
    anx_trainer *trainer = NULL;
    anx_status status = anx_training_play_trainer(&s->options, s->standard->n, before->params, &trainer, err);
    for (int i = 0; i < before->n_params && status == ANX_OK; i++)
        if (before->momentum[i].data != NULL) status = anx_trainer_set_momentum(trainer, i, &before->momentum[i], err);
    if (status == ANX_OK) status = anx_judge_training_operators(s, before, trainer, err);
    if (status == ANX_OK) status = anx_judge_training_own_step(s, before, trainer, err);
    anx_trainer_destroy(trainer);
    return status;
}

/* The judged device's own run, beside the standard's. */
static anx_status play_own(anx_judge_scenario *s, anx_training_play *judged, anx_training_tally *own,
                           anx_training_free *free_run, anx_error *err) {
    if (judged->stopped) return ANX_OK;
    anx_status status = anx_training_play_fetch(judged, err);
    if (status == ANX_OK) status = anx_training_play_step(judged, err);
    if (status == ANX_OK) status = anx_training_compare(judged, false, s->run->threads, own, err);
    if (status == ANX_OK && s->scenario->envelope != NULL) status = anx_training_free_note(s, judged, free_run, err);
    return status;
}

/* One step of the standard, and what is judged beside it. */
static anx_status play_beside(anx_judge_scenario *s, anx_training_play *judged, anx_training_tally *exact,
                              anx_training_tally *own, anx_training_free *free_run, anx_error *err) {
    const bool recorded = s->scenario->recorded != NULL, inspected = is_inspected(s, s->standard->step);
    anx_trained_values before = {NULL, NULL, 0};
    anx_status status = anx_training_play_fetch(s->standard, err);
    if (status == ANX_OK && inspected)
        status = anx_trained_values_copy(s->standard->trainer, s->options.graph, &before, err);
    if (status == ANX_OK) status = anx_training_play_step(s->standard, err);
    if (status == ANX_OK && recorded) status = anx_training_compare(s->standard, true, s->run->threads, exact, err);
    if (status == ANX_OK && s->standard->stopped && !recorded)
        status = add_row(s->run, ANX_PATH_TRAIN_OPERATORS, "loss", s->scenario->name, NULL, ANX_VERDICT_SKIP,
                         "with these weights the loss is not finite: there is no way back to judge", err);
    if (status == ANX_OK && inspected && !s->standard->stopped) status = inspect(s, &before, err);
    anx_trained_values_fini(&before);
    return status == ANX_OK && recorded ? play_own(s, judged, own, free_run, err) : status;
}

static anx_status judge_beside(anx_judge_scenario *s, const anx_fixture *fixture, anx_error *err) {
    anx_training_play *judged = NULL;
    anx_training_tally exact = {.index = -1}, own = {.index = -1};
    anx_training_free free_run = {NULL, NULL, NULL, 0, 0};
    anx_training_play_options standard = s->options;
    const bool recorded = s->scenario->recorded != NULL;
    standard.device = s->run->exact;
    standard.hooks = (anx_training_hooks){NULL, NULL};
    anx_status status = anx_training_play_create(&standard, &s->standard, err);
    if (status == ANX_OK && recorded) status = anx_training_play_create(&s->options, &judged, err);
    if (status == ANX_OK && s->scenario->envelope != NULL) status = anx_training_free_init(s, &free_run, err);
    for (int64_t i = 0; i < s->scenario->steps && status == ANX_OK && !s->standard->stopped; i++)
        status = play_beside(s, judged, &exact, &own, &free_run, err);
    if (status == ANX_OK && recorded) status = add_exact_row(s, fixture, &exact, err);
    if (status == ANX_OK && recorded) status = add_replay_rows(s, fixture, &own, false, err);
    if (status == ANX_OK && s->scenario->envelope != NULL) status = anx_training_free_conclude(s, &free_run, err);
    anx_training_free_fini(&free_run);
    anx_training_play_destroy(judged);
    anx_training_play_destroy(s->standard);
    s->standard = NULL;
    return status;
}

/* ---- scenarios ---------------------------------------------------------------------------------------------- */

static anx_status find_gradients(const anx_graph *graph, const anx_training_scenario *scenario, bool *has_grad,
                                 anx_error *err) {
    bool *trained = calloc((size_t)graph->n_params, sizeof *trained);
    if (trained == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    for (int i = 0; i < graph->n_params; i++) trained[i] = !anx_training_is_frozen(scenario, graph->params[i].name);
    anx_train_gradients(graph, trained, has_grad);
    free(trained);
    return ANX_OK;
}

static anx_status judge_scenario(anx_judge_run *run, const anx_training_scenario *scenario, const anx_fixture *fixture,
                                 anx_error *err) {
    const anx_graph *graph = run->sized->graph;
    bool *has_grad = calloc((size_t)graph->n_nodes, sizeof *has_grad);
    if (has_grad == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    anx_judge_scenario s = {.run = run,
                            .scenario = scenario,
                            .fixture = fixture != NULL ? fixture->name : NULL,
                            .options = {.scenario = scenario,
                                        .recording = fixture != NULL ? fixture->training : NULL,
                                        .graph = graph,
                                        .params = run->sized->params,
                                        .device = run->judged,
                                        .threads = run->threads,
                                        .hooks = run->options->training},
                            .has_grad = has_grad};
    if (s.options.hooks.step == NULL) s.options.hooks.step = anx_trainer_step;
    anx_status status = find_gradients(graph, scenario, has_grad, err);
    if (status == ANX_OK)
        status = run->info.pytorch_bits && scenario->recorded != NULL && fixture->recorder_pytorch_bits
                     ? replay(&s, fixture, err)
                     : judge_beside(&s, fixture, err);
    free(has_grad);
    return status;
}

/* Nothing recorded: an input of our own, for the operators and their updates alone. */
static anx_status judge_synthetic(anx_judge_run *run, anx_error *err) {
    const anx_training_scenario scenario = {
        .name = "waves",
        .batch = synthetic_batch,
        .steps = synthetic_steps,
        .augment = anx_augment_kind_find("none"),
        .frozen = "",
        .sgd = {.lr = 0.001, .momentum = 0.9, .weight_decay = 1e-4},
        .scheduler = anx_scheduler_defaults(ANX_STEP_LR),
    };
    const anx_status status =
        add_row(run, ANX_PATH_RECORDINGS, "training", "", NULL, ANX_VERDICT_SKIP,
                "no recorded training applies to these weights: whether its steps are PyTorch's in every bit is not "
                "known. Gradients and updates are judged against double, fed what 'exact' has in a synthetic scenario",
                err);
    return status == ANX_OK ? judge_scenario(run, &scenario, NULL, err) : status;
}

/* The recording of these very weights: one that was asked for, before others. */
static anx_status find_recording(anx_judge_run *run, const anx_fixture **out, anx_error *err) {
    const anx_fixture_set *sets[2] = {run->options->asked, run->options->fixtures};
    *out = NULL;
    for (int set = 0; set < 2; set++)
        for (int i = 0; sets[set] != NULL && i < sets[set]->count && *out == NULL; i++) {
            const anx_fixture *fixture = sets[set]->items[i];
            anx_fixture_match match = ANX_FIXTURE_MATCH_INIT;
            if (fixture->kind != ANX_FIXTURE_TRAINING) continue;
            const anx_status status = anx_fixture_match_model(fixture, run->model, &match, err);
            if (status != ANX_OK) return status;
            if (match.n_same == match.n_params && fixture->num_classes == run->model->graph->num_classes)
                *out = fixture;
            anx_fixture_match_fini(&match);
        }
    return ANX_OK;
}

static void note_scenario(anx_judge_run *run, const anx_fixture *fixture) {
    for (size_t i = 0; i < run->list->n_fixtures; i++)
        if (strcmp(run->list->fixtures[i].path, fixture->path) == 0) run->list->fixtures[i].cases_run++;
}

static anx_status check_masks(const anx_graph *graph, const anx_fixture *fixture, anx_error *err) {
    int dropouts = 0;
    for (int i = 0; i < graph->n_nodes; i++) dropouts += graph->nodes[i].layer->op == ANX_OP_DROPOUT;
    for (int i = 0; i < fixture->training->n_scenarios; i++) {
        const anx_training_steps *recorded = fixture->training->scenarios[i].recorded;
        if (recorded->n_masks == dropouts && recorded->n_params == graph->n_params) continue;
        return anx_error_set(err, ANX_ERR_FORMAT, "%s: %d masks and %d parameters, where '%s' has %d and %d",
                             fixture->path, recorded->n_masks, recorded->n_params, graph->arch->name, dropouts,
                             graph->n_params);
    }
    return ANX_OK;
}

anx_status anx_judge_training(anx_judge_run *run, anx_error *err) {
    const anx_fixture *fixture = NULL;
    const anx_extent *own = &run->model->graph->input;
    anx_judge_drop_plans(run); /* their memory is wanted */
    anx_status status = anx_judge_resize(run, own->dim[1], own->dim[2], 1, err);
    if (status == ANX_OK) status = find_recording(run, &fixture, err);
    if (status != ANX_OK) return status;
    if (fixture == NULL) return judge_synthetic(run, err);
    status = check_masks(run->sized->graph, fixture, err);
    for (int i = 0; i < fixture->training->n_scenarios && status == ANX_OK; i++) {
        status = judge_scenario(run, &fixture->training->scenarios[i], fixture, err);
        if (status == ANX_OK) note_scenario(run, fixture);
    }
    if (status == ANX_OK) run->list->pytorch_at_hand = run->list->pytorch_at_hand && run->exact_differed == 0;
    return status;
}
