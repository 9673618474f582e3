#include "parity/verdict.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const verdict_names[ANX_VERDICT_COUNT] = {"info", "pass", "skip", "warn", "fail"};

static const char *const kind_names[ANX_JUDGED_KIND_COUNT] = {"fixture",  "stage",  "module",  "group", "whole",
                                                              "digest",   "sketch", "probe",   "topk",  "steps",
                                                              "gradient", "update", "envelope"};

static const char *const path_names[ANX_PATH_COUNT] = {
    "recordings", "exact",  "preprocess",   "observe",         "infer",        "accumulated", "probe",
    "against",    "result", "train-replay", "train-operators", "train-update", "train-free"};

static const struct {
    const char *id, *name;
} bases[ANX_BASIS_COUNT] = {
    [ANX_BASIS_NONE] = {"none", "nothing"},
    [ANX_BASIS_TRUTH_RECORDED] = {"truth-recorded", "truth (recorded)"},
    [ANX_BASIS_TRUTH_COMPUTED] = {"truth-computed", "truth (computed)"},
    [ANX_BASIS_PYTORCH_RECORDED] = {"pytorch-recorded", "PyTorch (recorded)"},
    [ANX_BASIS_PYTORCH_REGENERATED] = {"pytorch-regenerated", "PyTorch (regenerated)"},
    [ANX_BASIS_PILLOW_RECORDED] = {"pillow-recorded", "Pillow (recorded)"},
    [ANX_BASIS_ARITHMETIC] = {"arithmetic", "integer arithmetic"},
    [ANX_BASIS_ITSELF] = {"itself", "itself"},
    [ANX_BASIS_ANX_PREPROCESS] = {"anx-preprocess", "anx's preprocessing"},
};

static const struct {
    const char *name, *text;
} bounds[ANX_BOUND_KIND_COUNT] = {
    [ANX_BOUND_NONE] = {"none", "not judged"},
    [ANX_BOUND_BITS] = {"bits", "the same bits: nothing is rounded here, or the order of rounding is prescribed"},
    [ANX_BOUND_SUM] =
        {"sum",
         "|y - truth| <= min(h, 4 sqrt h) u G and RMS <= 32 u G per image; u = 2^-24, h = products + 1 roundings, "
         "G = sum |w||x| + |b|. h is proven for every order of summation (Higham, Accuracy and Stability of Numerical "
         "Algorithms, section 3.1); 4 sqrt h is over nine standard deviations of independent roundings"},
    [ANX_BOUND_AVERAGE] = {"average", "as for sums, with the window's elements + 1 roundings and G = mean |x|"},
    [ANX_BOUND_SOFTMAX] = {"softmax",
                           "|p - truth| <= u p (|x - max| + mean of |x - max| under p + min(n, 4 sqrt n) + 11): "
                           "the roundings of x - max, two exponentials good to 2 ulp, the sum of n terms "
                           "and the division"},
    [ANX_BOUND_INTEGER] = {"integer", "every product and partial sum is an integer below 2^24, which float32 holds "
                                      "exactly: one right answer in every order of summation"},
    [ANX_BOUND_PIXELS] = {"pixels", "the same 8-bit values"},
    [ANX_BOUND_CHAIN] = {"chain",
                         "RMS error over an image at most 32 times that of float32 in PyTorch's order over the "
                         "same layers (float32 engines differ by a factor of 7, TF32 by 1,000)"},
    [ANX_BOUND_RANK] = {"rank", "the same classes in the same order, apart from margins of at most 512 u s "
                                "(s: standard deviation of the image's logits), which rounding may turn; 2^-6 s in "
                                "TF32, 2^-5 s where anything fast is allowed"},
    [ANX_BOUND_UPDATE] = {"update",
                          "from the same state: |momentum - truth| <= gamma G + 2u (|mu buf| + |buf'|), gamma = n u / "
                          "(1 - n u) of the gradient's n terms (in TF32 or less the gradient's own bound instead of "
                          "gamma G); |value - truth| <= lr |delta momentum| + 2u |p'|. Of a step that "
                          "the device takes itself, from its own gradients: 4u S and 6u lr S + 4u (|p| + lr S), S = "
                          "|mu buf| + |1 - dampening| (|g| + |wd p|), whatever the order"},
    [ANX_BOUND_ENVELOPE] =
        {"envelope", "at most 8 times the largest drift of PyTorch's own right runs (other threads, order "
                     "within the batch, an ulp in the first parameters, float64, without oneDNN) so far; of all "
                     "their steps once a max-pool's winner has differed. Nothing is claimed beyond these steps. "
                     "With TF32 or less no bound is below what 11 bits leave: 2^-6 of the loss and 1/4 of the way"},
    [ANX_BOUND_SUM_TF32] =
        {"sum-tf32",
         "both operands of a product may be rounded or cut off to TF32's 11 bits: |y - truth| <= min(32784 + 2h, 24 s "
         "/ G + 2 min(h, 4 sqrt h)) u G and RMS <= 1.5 (1 + 2 / sqrt n) RMS(s / G) + 64 over an image's n values, s^2 "
         "= 6689^2 sum (wx)^2 + 16384^2 (sum wx)^2: the variance of two roundings and the square of two cut-offs' "
         "mean. "
         "The sum's own part is twice float32's, since tensor cores cut off what they add; 32784 = 2 2^14 + 16 is "
         "proven; TF32 comes to at most 0.79 of RMS(s) in AlexNet's layers, bfloat16 to 2.0 and "
         "more"},
    [ANX_BOUND_SUM_FAST] =
        {"sum-fast",
         "as accurate as TF32 in the norm over a plane, by whatever algorithm: the errors of tiles and transforms "
         "(Winograd, FFT) follow the largest values of the plane (Barabasz et al., Error analysis and improving the "
         "accuracy of Winograd convolution; Higham, chapter 24). |y - truth| <= (24 max s + 2 min(h, 4 sqrt h) max G) "
         "u, and RMS over an image of |y - truth| / (u max G) <= 1.5 (1 + 2 / sqrt n) RMS(s / max G) + 64, s as for "
         "sum-tf32, the maxima being the plane's. Tiles up to F(6x6) in float32 come to 0.01 of RMS(s), F(2x2) with "
         "TF32's products to 0.76, bfloat16 to 2.0 and more"},
};

const char *anx_verdict_name(anx_verdict verdict) {
    return (unsigned)verdict < ANX_VERDICT_COUNT ? verdict_names[verdict] : "?";
}

const char *anx_judged_kind_name(anx_judged_kind kind) {
    return (unsigned)kind < ANX_JUDGED_KIND_COUNT ? kind_names[kind] : "?";
}

const char *anx_judged_path_name(anx_judged_path path) {
    return (unsigned)path < ANX_PATH_COUNT ? path_names[path] : "?";
}

const char *anx_basis_name(anx_basis basis) {
    return (unsigned)basis < ANX_BASIS_COUNT ? bases[basis].name : "?";
}

const char *anx_basis_id(anx_basis basis) {
    return (unsigned)basis < ANX_BASIS_COUNT ? bases[basis].id : "?";
}

const char *anx_bound_kind_name(anx_bound_kind kind) {
    return (unsigned)kind < ANX_BOUND_KIND_COUNT ? bounds[kind].name : "?";
}

const char *anx_bound_kind_text(anx_bound_kind kind) {
    return (unsigned)kind < ANX_BOUND_KIND_COUNT ? bounds[kind].text : "?";
}

char *anx_element_format(const anx_element *e, char *buf, size_t size) {
    if (size == 0) return buf;
    buf[0] = '\0';
    if (!e->known) return buf;
    size_t used = 0;
    for (int i = 0; i < e->rank && used < size; i++) {
        const int n = snprintf(buf + used, size - used, "%s%" PRId64 "%s", i == 0 ? "[" : ", ", e->at[i],
                               i + 1 == e->rank ? "]" : "");
        if (n < 0) break;
        used += (size_t)n;
    }
    return buf;
}

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the list of verdicts");
}

/* Replaces *slot by a copy of text; a NULL text leaves NULL. */
static anx_status set_text(char **slot, const char *text, anx_error *err) {
    char *copy = NULL;
    if (text != NULL && (copy = strdup(text)) == NULL) return out_of_memory(err);
    free(*slot);
    *slot = copy;
    return ANX_OK;
}

static anx_status set_text_v(char **slot, anx_error *err, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));
static anx_status set_text_v(char **slot, anx_error *err, const char *format, va_list args) {
    char *text;
    if (vasprintf(&text, format, args) < 0) return out_of_memory(err);
    free(*slot);
    *slot = text;
    return ANX_OK;
}

/* Room for one more in an array that doubles: grown at counts that are powers of two. */
static anx_status grow(void **items, size_t count, size_t item_bytes, anx_error *err) {
    if (count != 0 && (count & (count - 1)) != 0) return ANX_OK;
    void *more = reallocarray(*items, count == 0 ? 1 : 2 * count, item_bytes);
    if (more == NULL) return out_of_memory(err);
    *items = more;
    return ANX_OK;
}

/* ---- one judged thing ---- */

anx_status anx_judged_init(anx_judged *judged, anx_judged_kind kind, anx_judged_path path, const char *point,
                           const char *input, const char *fixture, anx_error *err) {
    anx_judged made = {.kind = kind,
                       .path = path,
                       .node = ANX_JUDGED_NO_NODE,
                       .pytorch_r = NAN,
                       .pytorch_rms = NAN,
                       .verdict = ANX_VERDICT_INFO};
    anx_status status;
    if ((status = set_text(&made.point, point, err)) != ANX_OK) goto out;
    if ((status = set_text(&made.input, input, err)) != ANX_OK) goto out;
    if ((status = set_text(&made.fixture, fixture, err)) != ANX_OK) goto out;
    if ((status = set_text(&made.reason, "", err)) != ANX_OK) goto out;
    *judged = made;
    return ANX_OK;
out:
    anx_judged_fini(&made);
    return status;
}

anx_status anx_judged_conclude(anx_judged *judged, anx_verdict verdict, anx_error *err, const char *reason, ...) {
    va_list args;
    va_start(args, reason);
    const anx_status status = set_text_v(&judged->reason, err, reason, args);
    va_end(args);
    if (status == ANX_OK) judged->verdict = verdict;
    return status;
}

anx_status anx_judged_add_cause(anx_judged *judged, const char *id, double weight, anx_error *err, const char *text,
                                ...) {
    void *causes = judged->causes;
    anx_status status = grow(&causes, (size_t)judged->n_causes, sizeof *judged->causes, err);
    if (status != ANX_OK) return status;
    judged->causes = causes;

    anx_cause cause = {.weight = weight};
    va_list args;
    va_start(args, text);
    status = set_text_v(&cause.text, err, text, args);
    va_end(args);
    if (status == ANX_OK) status = set_text(&cause.id, id, err);
    if (status != ANX_OK) {
        free(cause.text);
        return status;
    }
    int at = judged->n_causes++;
    for (; at > 0 && judged->causes[at - 1].weight < weight; at--) judged->causes[at] = judged->causes[at - 1];
    judged->causes[at] = cause;
    return ANX_OK;
}

void anx_judged_fini(anx_judged *judged) {
    if (judged == NULL) return;
    for (int i = 0; i < judged->n_causes; i++) {
        free(judged->causes[i].id);
        free(judged->causes[i].text);
    }
    free(judged->causes);
    free(judged->point);
    free(judged->input);
    free(judged->fixture);
    free(judged->reason);
    *judged = (anx_judged){0};
}

/* ---- the list ---- */

anx_status anx_verdicts_create(anx_verdicts **out, anx_error *err) {
    anx_verdicts *list = calloc(1, sizeof *list);
    if (list == NULL) return out_of_memory(err);
    list->first_bad = -1;
    list->overall = ANX_VERDICT_FAIL;
    *out = list;
    return ANX_OK;
}

static void checkpoint_facts_fini(anx_checkpoint_facts *c) {
    free(c->path);
    free(c->format);
    free(c->official_name);
    free(c->arch);
    free(c->converted_from);
    free(c->wrapped_in);
}

void anx_fixture_facts_fini(anx_fixture_facts *fixture) {
    if (fixture == NULL) return;
    free(fixture->name);
    free(fixture->path);
    free(fixture->recorded_by);
    free(fixture->applies);
    free(fixture->differing);
    *fixture = (anx_fixture_facts){0};
}

void anx_verdicts_destroy(anx_verdicts *list) {
    if (list == NULL) return;
    for (size_t i = 0; i < list->n_environment; i++) {
        free(list->environment[i].key);
        free(list->environment[i].value);
    }
    for (size_t i = 0; i < list->n_fixtures; i++) anx_fixture_facts_fini(&list->fixtures[i]);
    for (size_t i = 0; i < list->n_judged; i++) anx_judged_fini(&list->judged[i]);
    for (size_t i = 0; i < list->n_top5; i++) free(list->top5[i].input);
    for (size_t i = 0; i < list->n_durations; i++) free(list->durations[i].name);
    anx_device_facts_fini(&list->device);
    anx_device_facts_fini(&list->exact);
    checkpoint_facts_fini(&list->checkpoint);
    free(list->environment);
    free(list->fixtures);
    free(list->judged);
    free(list->top5);
    free(list->durations);
    free(list->version);
    free(list->points_glob);
    free(list);
}

anx_status anx_verdicts_add(anx_verdicts *list, anx_judged *judged, anx_error *err) {
    void *items = list->judged;
    const anx_status status = grow(&items, list->n_judged, sizeof *list->judged, err);
    if (status != ANX_OK) return status;
    list->judged = items;
    list->judged[list->n_judged++] = *judged;
    *judged = (anx_judged){0};
    return ANX_OK;
}

anx_status anx_verdicts_add_environment(anx_verdicts *list, const char *key, const char *value, anx_error *err) {
    void *items = list->environment;
    anx_status status = grow(&items, list->n_environment, sizeof *list->environment, err);
    if (status != ANX_OK) return status;
    list->environment = items;
    anx_fact fact = {NULL, NULL};
    if ((status = set_text(&fact.key, key, err)) == ANX_OK) status = set_text(&fact.value, value, err);
    if (status != ANX_OK) {
        free(fact.key);
        return status;
    }
    list->environment[list->n_environment++] = fact;
    return ANX_OK;
}

anx_status anx_verdicts_add_duration(anx_verdicts *list, const char *name, double seconds, anx_error *err) {
    void *items = list->durations;
    anx_status status = grow(&items, list->n_durations, sizeof *list->durations, err);
    if (status != ANX_OK) return status;
    list->durations = items;
    anx_duration duration = {.seconds = seconds};
    if ((status = set_text(&duration.name, name, err)) != ANX_OK) return status;
    list->durations[list->n_durations++] = duration;
    return ANX_OK;
}

anx_status anx_verdicts_add_fixture(anx_verdicts *list, anx_fixture_facts *fixture, anx_error *err) {
    void *items = list->fixtures;
    const anx_status status = grow(&items, list->n_fixtures, sizeof *list->fixtures, err);
    if (status != ANX_OK) return status;
    list->fixtures = items;
    list->fixtures[list->n_fixtures++] = *fixture;
    *fixture = (anx_fixture_facts){0};
    return ANX_OK;
}

anx_status anx_verdicts_add_top5(anx_verdicts *list, anx_top5 *top5, anx_error *err) {
    void *items = list->top5;
    const anx_status status = grow(&items, list->n_top5, sizeof *list->top5, err);
    if (status != ANX_OK) return status;
    list->top5 = items;
    list->top5[list->n_top5++] = *top5;
    *top5 = (anx_top5){0};
    return ANX_OK;
}

/* A greater one is a worse failure to show; not a number counts as worst of all. */
static double severity(const anx_judged *j) {
    double worst = -1;
    for (int i = 0; i < j->n_versus; i++) {
        const double f = j->versus[i].worst_fraction;
        if (isnan(f) && j->versus[i].nonfinite > 0) return INFINITY;
        if (f > worst) worst = f;
        if (j->versus[i].bound == ANX_BOUND_BITS && (double)j->versus[i].different > worst)
            worst = (double)j->versus[i].different;
    }
    return worst;
}

/* A point's place on the way from the image to the result, within its path. */
static int place_on_the_way(const anx_judged *j) {
    static const char *const stages[] = {"image", "resize", "crop", "scaled", "input"};
    const int n = (int)(sizeof stages / sizeof *stages);
    if (j->kind != ANX_JUDGED_STAGE) return j->node;
    for (int i = 0; i < n; i++)
        if (strcmp(j->point, stages[i]) == 0) return i - 2 * n; /* before any node, ANX_JUDGED_NO_NODE included */
    return -n;
}

/* Does a come before b on that way? Equals: as they were found. */
static bool comes_before(const anx_judged *a, const anx_judged *b) {
    return a->path != b->path ? a->path < b->path : place_on_the_way(a) < place_on_the_way(b);
}

void anx_verdicts_conclude(anx_verdicts *list) {
    memset(list->counts, 0, sizeof list->counts);
    list->first_bad = -1;
    for (size_t i = 0; i < list->n_judged; i++) {
        const anx_verdict v = list->judged[i].verdict;
        list->counts[v]++;
        if (v == ANX_VERDICT_FAIL &&
            (list->first_bad < 0 || comes_before(&list->judged[i], &list->judged[list->first_bad])))
            list->first_bad = (int64_t)i;
    }
    const bool failed = list->counts[ANX_VERDICT_FAIL] > 0 || list->counts[ANX_VERDICT_PASS] == 0;
    const bool doubtful = list->counts[ANX_VERDICT_WARN] + list->counts[ANX_VERDICT_SKIP] > 0;
    list->overall = failed || (list->strict && doubtful) ? ANX_VERDICT_FAIL : ANX_VERDICT_PASS;
}

anx_status anx_verdicts_rows(const anx_verdicts *list, anx_verdict_row **out, size_t *n, anx_error *err) {
    anx_verdict_row *rows = calloc(list->n_judged == 0 ? 1 : list->n_judged, sizeof *rows);
    if (rows == NULL) return out_of_memory(err);
    size_t count = 0;
    for (int path = 0; path < ANX_PATH_COUNT; path++) {
        const size_t begin = count;
        for (size_t i = 0; i < list->n_judged; i++) {
            const anx_judged *j = &list->judged[i];
            if ((int)j->path != path) continue;
            size_t r = begin;
            while (r < count && strcmp(rows[r].worst->point, j->point) != 0) r++;
            if (r == count) rows[count++] = (anx_verdict_row){.worst = j, .index = i};
            anx_verdict_row *row = &rows[r];
            row->n++;
            row->counts[j->verdict]++;
            if (j->verdict > row->worst->verdict ||
                (j->verdict == row->worst->verdict && severity(j) > severity(row->worst))) {
                row->worst = j;
                row->index = i;
            }
        }
    }
    *out = rows;
    *n = count;
    return ANX_OK;
}
