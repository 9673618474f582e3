#include <cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/text.h"
#include "loaders/file.h"
#include "parity/train_log_inside.h"

enum { max_events = 10000000, max_kept = 100000 };

typedef struct reader {
    anx_train_log *log;
    const anx_train_resume *until; /* NULL: to the end */
    bool beyond;                   /* a line told of a time behind it */
    size_t steps_room, epochs_room, step_lr_room, epoch_lr_room, resumes_room, non_finite_room, trees_room;
    size_t n_events;
    bool started;
    anx_error *err;
} reader;

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for a training log");
}

/* Room for `wanted` elements of that size in an array that grows. */
static anx_status reserve(reader *r, void **array, size_t *room, size_t wanted, size_t size) {
    if (wanted <= *room && *array != NULL) return ANX_OK;
    size_t more = *room < 16 ? 16 : *room;
    while (more < wanted) more *= 2; /* wanted is bounded by max_events times the groups */
    void *grown = reallocarray(*array, more, size);
    if (grown == NULL) return out_of_memory(r->err);
    *array = grown;
    *room = more;
    return ANX_OK;
}

/* ---- fields ---- */

static anx_status bad(reader *r, const char *key, const char *what) {
    return anx_error_set(r->err, ANX_ERR_FORMAT, "key '%s' %s", key, what);
}

/* The value of a key; NULL where it is missing or null. */
static const cJSON *field(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNull(item) ? NULL : item;
}

/* A count: not negative, exact in a double. */
static anx_status get_count(reader *r, const cJSON *object, const char *key, int64_t *out) {
    const cJSON *item = field(object, key);
    if (item == NULL) return bad(r, key, "is missing");
    const double value = item->valuedouble;
    if (!cJSON_IsNumber(item) || !(value >= 0 && value < 0x1p53) || value != floor(value))
        return bad(r, key, "is not a whole number from 0 to 2^53");
    *out = (int64_t)value;
    return ANX_OK;
}

/* Where in the run an event was. */
static anx_status get_place(reader *r, const cJSON *object, int64_t *epoch, int64_t *step, int64_t *global_step) {
    anx_status status = get_count(r, object, "epoch", epoch);
    if (status == ANX_OK) status = get_count(r, object, "step", step);
    return status == ANX_OK ? get_count(r, object, "global_step", global_step) : status;
}

/* A measure: NAN where it is missing or null. */
static anx_status get_measure(reader *r, const cJSON *object, const char *key, double *out) {
    const cJSON *item = field(object, key);
    *out = (double)NAN;
    if (item == NULL) return ANX_OK;
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble))
        return bad(r, key, "is not a number in a double's range");
    *out = item->valuedouble;
    return ANX_OK;
}

/* A number that was computed and may be NaN or infinite, as KEY_text tells; *there is false where there is neither. */
static anx_status get_number(reader *r, const cJSON *object, const char *key, bool *there, double *out) {
    char text_key[64];
    snprintf(text_key, sizeof text_key, "%s_text", key);
    const cJSON *text = field(object, text_key);
    *there = text != NULL || field(object, key) != NULL;
    if (text == NULL || field(object, key) != NULL) return get_measure(r, object, key, out);
    const char *value = cJSON_GetStringValue(text);
    if (value != NULL && strcmp(value, "nan") == 0)
        *out = (double)NAN;
    else if (value != NULL && strcmp(value, "inf") == 0)
        *out = (double)INFINITY;
    else if (value != NULL && strcmp(value, "-inf") == 0)
        *out = -(double)INFINITY;
    else
        return bad(r, text_key, "is neither \"nan\" nor \"inf\" nor \"-inf\"");
    return ANX_OK;
}

/* A text; NULL where it is missing or null. */
static anx_status get_text(reader *r, const cJSON *object, const char *key, const char **out) {
    const cJSON *item = field(object, key);
    *out = cJSON_GetStringValue(item);
    return item != NULL && *out == NULL ? bad(r, key, "is not a text") : ANX_OK;
}

/* The notes of the device that the event tells of; none where it tells of none. */
static anx_status get_notes(reader *r, const cJSON *object, anx_train_notes *out) {
    const cJSON *engine = field(object, "engine"), *list = field(engine, "notes"), *item;
    *out = (anx_train_notes){.n = 0};
    if (list != NULL && !cJSON_IsArray(list)) return bad(r, "notes", "is not a list");
    cJSON_ArrayForEach(item, list) {
        const char *line = cJSON_GetStringValue(item);
        if (line == NULL) return bad(r, "notes", "holds something that is not a text");
        if (out->n < ANX_TRAIN_LOG_NOTES) out->line[out->n++] = line;
    }
    return ANX_OK;
}

static anx_status get_flag(reader *r, const cJSON *object, const char *key, bool *out) {
    const cJSON *item = field(object, key);
    *out = cJSON_IsTrue(item) != 0;
    return item != NULL && !cJSON_IsBool(item) ? bad(r, key, "is neither true nor false") : ANX_OK;
}

/* The learning rates of record `index`, into an array that has n_groups for each. */
static anx_status get_rates(reader *r, const cJSON *object, double **rates, size_t *room, size_t index) {
    anx_train_log *log = r->log;
    const cJSON *list = field(object, "lr"), *item;
    const int n = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    if (n < 1 || n > ANX_TRAIN_LOG_GROUPS) return bad(r, "lr", "is not a list of 1 to 64 learning rates");
    if (log->n_groups == 0) log->n_groups = n;
    if (n != log->n_groups)
        return anx_error_set(r->err, ANX_ERR_FORMAT, "key 'lr' has %d learning rates, earlier lines have %d", n,
                             log->n_groups);
    const size_t groups = (size_t)n;
    const anx_status status = reserve(r, (void **)rates, room, (index + 1) * groups, sizeof **rates);
    if (status != ANX_OK) return status;
    double *to = *rates + index * groups;
    cJSON_ArrayForEach(item, list) {
        if (!cJSON_IsNull(item) && (!cJSON_IsNumber(item) || !isfinite(item->valuedouble)))
            return bad(r, "lr", "holds something that is not a number");
        *to++ = cJSON_IsNull(item) ? (double)NAN : item->valuedouble;
    }
    return ANX_OK;
}

/* Keeps a line's tree, because texts of it are referred to; *tree is NULL then. */
static anx_status keep(reader *r, cJSON **tree) {
    anx_train_log *log = r->log;
    if (log->n_trees >= max_kept)
        return anx_error_set(r->err, ANX_ERR_LIMIT, "more than %d starts, ends, resumptions and non-finite losses",
                             (int)max_kept);
    const anx_status status =
        reserve(r, (void **)&log->trees, &r->trees_room, log->n_trees + 1, sizeof(struct cJSON *));
    if (status != ANX_OK) return status;
    log->trees[log->n_trees++] = *tree;
    *tree = NULL;
    return ANX_OK;
}

/* ---- events ---- */

static bool is_beyond(reader *r, int64_t global_step) {
    if (r->until != NULL && global_step > r->until->global_step) r->beyond = true;
    return r->beyond;
}

static anx_status read_options(reader *r, const cJSON *object) {
    anx_train_start *s = &r->log->start;
    const cJSON *list = field(object, "options"), *item;
    if (list == NULL) return ANX_OK;
    if (!cJSON_IsObject(list)) return bad(r, "options", "is not an object");
    anx_train_option *options = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *options);
    if (options == NULL) return out_of_memory(r->err);
    s->options = options;
    cJSON_ArrayForEach(item, list) {
        anx_train_option o = {.name = item->string, .text = cJSON_GetStringValue(item)};
        if (cJSON_IsArray(item) || cJSON_IsObject(item)) continue; /* a newer version's */
        if (cJSON_IsNumber(item)) {
            o.kind = ANX_TRAIN_NUMBER;
            o.number = item->valuedouble;
            if (!isfinite(o.number)) return bad(r, "options", "holds a number beyond a double's range");
        } else if (cJSON_IsBool(item)) {
            o.kind = ANX_TRAIN_FLAG;
            o.flag = cJSON_IsTrue(item) != 0;
        }
        options[s->n_options++] = o;
    }
    return ANX_OK;
}

static anx_status read_seed(reader *r, const cJSON *object) {
    const cJSON *item = field(object, "seed");
    const char *text = cJSON_GetStringValue(item);
    char *end = NULL;
    errno = 0;
    const unsigned long long seed = text != NULL ? strtoull(text, &end, 10) : 0;
    if (text == NULL || *text < '0' || *text > '9' || *end != '\0' || errno != 0)
        return bad(r, "seed", "is not a whole number of 64 bits, as text");
    r->log->start.seed = seed;
    return ANX_OK;
}

static anx_status read_start(reader *r, cJSON **tree) {
    anx_train_start *s = &r->log->start;
    const cJSON *object = *tree;
    int64_t schema = 0;
    anx_status status = get_count(r, object, "schema", &schema);
    if (status == ANX_OK && schema != ANX_TRAIN_LOG_SCHEMA)
        status =
            anx_error_set(r->err, ANX_ERR_UNSUPPORTED, "a training log of schema %" PRId64 "; this release reads %d",
                          schema, ANX_TRAIN_LOG_SCHEMA);
    if (status == ANX_OK) status = get_text(r, object, "version", &s->version);
    if (status == ANX_OK) status = get_text(r, object, "time", &s->time);
    if (status == ANX_OK) status = get_text(r, object, "device", &s->device);
    if (status == ANX_OK) status = get_notes(r, object, &s->notes);
    if (status == ANX_OK) status = get_count(r, object, "threads", &s->threads);
    if (status == ANX_OK) status = get_text(r, object, "arch", &s->arch);
    if (status == ANX_OK) status = get_count(r, object, "classes", &s->classes);
    if (status == ANX_OK) status = get_count(r, object, "train_images", &s->train_images);
    if (status == ANX_OK) status = get_count(r, object, "val_images", &s->val_images);
    if (status == ANX_OK) status = get_text(r, object, "weights", &s->weights);
    if (status == ANX_OK) status = read_seed(r, object);
    if (status == ANX_OK) status = read_options(r, object);
    return status == ANX_OK ? keep(r, tree) : status;
}

static anx_status read_step(reader *r, cJSON **tree) {
    anx_train_log *log = r->log;
    const cJSON *object = *tree;
    anx_train_step s = {.epoch = 0};
    double loss = 0;
    bool there = false, any;
    anx_status status = get_place(r, object, &s.epoch, &s.step, &s.global_step);
    if (status == ANX_OK) status = get_count(r, object, "steps", &s.steps);
    if (status == ANX_OK) status = get_count(r, object, "images", &s.images);
    if (status == ANX_OK) status = get_number(r, object, "loss", &there, &loss);
    if (status == ANX_OK && !there) status = bad(r, "loss", "is missing");
    if (status == ANX_OK) status = get_number(r, object, "mean_loss", &any, &s.mean_loss);
    if (status == ANX_OK) status = get_measure(r, object, "acc1", &s.acc1);
    if (status == ANX_OK) status = get_measure(r, object, "images_per_s", &s.images_per_s);
    if (status == ANX_OK) status = get_measure(r, object, "data_wait_s", &s.data_wait_s);
    if (status == ANX_OK && isfinite(loss) && fabs(loss) >= 0x1.ffffffp127) /* rounded, infinite */
        status = bad(r, "loss", "is beyond a float's range");
    if (status == ANX_OK && !is_beyond(r, s.global_step) && log->n_steps > 0 &&
        s.global_step <= log->steps[log->n_steps - 1].global_step)
        status = anx_error_set(r->err, ANX_ERR_FORMAT,
                               "global_step %" PRId64 " comes after %" PRId64 ", without a \"resume\" between them",
                               s.global_step, log->steps[log->n_steps - 1].global_step);
    if (status == ANX_OK)
        status = reserve(r, (void **)&log->steps, &r->steps_room, log->n_steps + 1, sizeof *log->steps);
    if (status == ANX_OK) status = get_rates(r, object, &log->step_lr, &r->step_lr_room, log->n_steps);
    if (status != ANX_OK || r->beyond) return status;
    s.loss = (float)loss;
    log->steps[log->n_steps++] = s;
    return ANX_OK;
}

static anx_status read_epoch(reader *r, cJSON **tree) {
    anx_train_log *log = r->log;
    const cJSON *object = *tree;
    anx_train_epoch e = {.epoch = 0};
    bool there = false;
    anx_status status = get_count(r, object, "epoch", &e.epoch);
    if (status == ANX_OK) status = get_count(r, object, "global_step", &e.global_step);
    if (status == ANX_OK) status = get_number(r, object, "train_loss", &there, &e.train_loss);
    if (status == ANX_OK) status = get_measure(r, object, "train_acc1", &e.train_acc1);
    if (status == ANX_OK) status = get_number(r, object, "val_loss", &there, &e.val_loss);
    if (status == ANX_OK) status = get_measure(r, object, "val_acc1", &e.val_acc1);
    if (status == ANX_OK) status = get_measure(r, object, "val_acc5", &e.val_acc5);
    if (status == ANX_OK) status = get_measure(r, object, "seconds", &e.seconds);
    if (status == ANX_OK) status = get_flag(r, object, "best", &e.best);
    if (status == ANX_OK && r->until != NULL && e.epoch >= r->until->epoch) r->beyond = true;
    if (status == ANX_OK && !is_beyond(r, e.global_step) && log->n_epochs > 0 &&
        e.epoch <= log->epochs[log->n_epochs - 1].epoch)
        status = anx_error_set(r->err, ANX_ERR_FORMAT,
                               "epoch %" PRId64 " comes after %" PRId64 ", without a \"resume\" between them", e.epoch,
                               log->epochs[log->n_epochs - 1].epoch);
    if (status == ANX_OK)
        status = reserve(r, (void **)&log->epochs, &r->epochs_room, log->n_epochs + 1, sizeof *log->epochs);
    if (status == ANX_OK) status = get_rates(r, object, &log->epoch_lr, &r->epoch_lr_room, log->n_epochs);
    if (status != ANX_OK || r->beyond) return status;
    e.validated = there || !isnan(e.val_acc1);
    log->epochs[log->n_epochs++] = e;
    return ANX_OK;
}

/* What was logged behind the step that the run was gone on from does not count. */
static void take_back(anx_train_log *log, const anx_train_resume *to) {
    while (log->n_steps > 0 && log->steps[log->n_steps - 1].global_step > to->global_step) log->n_steps--;
    while (log->n_epochs > 0 && (log->epochs[log->n_epochs - 1].epoch >= to->epoch ||
                                 log->epochs[log->n_epochs - 1].global_step > to->global_step))
        log->n_epochs--;
    while (log->n_non_finite > 0 && log->non_finite[log->n_non_finite - 1].global_step > to->global_step)
        log->n_non_finite--;
    while (log->n_resumes > 0 && log->resumes[log->n_resumes - 1].global_step > to->global_step) log->n_resumes--;
}

static anx_status read_resume(reader *r, cJSON **tree) {
    anx_train_log *log = r->log;
    const cJSON *object = *tree;
    anx_train_resume e = {.epoch = 0};
    anx_status status = get_place(r, object, &e.epoch, &e.step, &e.global_step);
    if (status == ANX_OK) status = get_text(r, object, "version", &e.version);
    if (status == ANX_OK) status = get_text(r, object, "time", &e.time);
    if (status == ANX_OK) status = get_text(r, object, "device", &e.device);
    if (status == ANX_OK) status = get_notes(r, object, &e.notes);
    if (status == ANX_OK && field(object, "threads") != NULL) status = get_count(r, object, "threads", &e.threads);
    if (status != ANX_OK || is_beyond(r, e.global_step)) return status;
    take_back(log, &e);
    status = reserve(r, (void **)&log->resumes, &r->resumes_room, log->n_resumes + 1, sizeof *log->resumes);
    if (status != ANX_OK) return status;
    log->resumes[log->n_resumes++] = e;
    return keep(r, tree);
}

static anx_status read_non_finite(reader *r, cJSON **tree) {
    anx_train_log *log = r->log;
    const cJSON *object = *tree;
    anx_train_non_finite e = {.epoch = 0};
    anx_status status = get_place(r, object, &e.epoch, &e.step, &e.global_step);
    if (status == ANX_OK) status = get_text(r, object, "loss", &e.loss);
    if (status == ANX_OK) status = get_text(r, object, "tensor", &e.tensor);
    if (status != ANX_OK || is_beyond(r, e.global_step)) return status;
    status = reserve(r, (void **)&log->non_finite, &r->non_finite_room, log->n_non_finite + 1, sizeof *log->non_finite);
    if (status != ANX_OK) return status;
    log->non_finite[log->n_non_finite++] = e;
    return keep(r, tree);
}

static anx_status read_end(reader *r, cJSON **tree) {
    const cJSON *object = *tree;
    anx_train_end e = {.reason = ANX_TRAIN_OTHER};
    const char *reason = NULL;
    anx_status status = get_text(r, object, "reason", &reason);
    if (status == ANX_OK && reason == NULL) status = bad(r, "reason", "is missing");
    if (status == ANX_OK) status = get_count(r, object, "epoch", &e.epoch);
    if (status == ANX_OK) status = get_count(r, object, "global_step", &e.global_step);
    if (status == ANX_OK) status = get_measure(r, object, "best_acc1", &e.best_acc1);
    if (status == ANX_OK) status = get_measure(r, object, "seconds", &e.seconds);
    if (status != ANX_OK || is_beyond(r, e.global_step)) return status;
    for (int i = 0; i < ANX_TRAIN_OTHER; i++)
        if (strcmp(reason, anx_train_reason_name((anx_train_reason)i)) == 0) e.reason = (anx_train_reason)i;
    r->log->end = e;
    r->log->ended = true;
    return ANX_OK;
}

typedef struct event_reader {
    const char *event;
    anx_status (*read)(reader *r, cJSON **tree); /* takes the tree over, leaving NULL, or leaves it */
} event_reader;

static anx_status read_event(reader *r, cJSON **tree) {
    static const event_reader events[] = {
        {"step", read_step},     {"epoch", read_epoch},           {"end", read_end},
        {"resume", read_resume}, {"non_finite", read_non_finite},
    };
    const char *event = cJSON_GetStringValue(field(*tree, "event"));
    if (event == NULL) return bad(r, "event", "is missing or not a text");
    const bool is_start = strcmp(event, "start") == 0;
    if (is_start == r->started)
        return anx_error_set(r->err, ANX_ERR_FORMAT,
                             is_start ? "a second \"start\": one log holds one run"
                                      : "it does not begin with the event \"start\"");
    r->started = true;
    if (is_start) return read_start(r, tree);
    r->log->ended = false;
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
        if (strcmp(event, events[i].event) == 0) return events[i].read(r, tree);
    r->log->unknown++;
    return ANX_OK;
}

/* ---- lines ---- */

static anx_status read_line(reader *r, const char *line, size_t n_bytes) {
    size_t n_values = 0, at = 0;
    const char *end = NULL;
    if (n_bytes > ANX_TRAIN_LOG_LINE)
        return anx_error_set(r->err, ANX_ERR_LIMIT, "%zu bytes long; at most %d are read", n_bytes, ANX_TRAIN_LOG_LINE);
    if (++r->n_events > max_events)
        return anx_error_set(r->err, ANX_ERR_LIMIT, "one of more than %d events", (int)max_events);
    if (!anx_utf8_valid(line, n_bytes)) return anx_error_set(r->err, ANX_ERR_FORMAT, "not UTF-8");
    anx_status status = anx_json_scan(line, n_bytes, "the line", &n_values, &at, r->err);
    if (status != ANX_OK) return status;
    errno = 0;
    cJSON *tree = cJSON_ParseWithLengthOpts(line, n_bytes, &end, false);
    if (tree == NULL && errno == ENOMEM) return out_of_memory(r->err);
    if (!cJSON_IsObject(tree) || anx_json_skip_space(end, line + n_bytes) != line + n_bytes)
        status = anx_error_set(r->err, ANX_ERR_FORMAT, "not one JSON object");
    else
        status = read_event(r, &tree);
    cJSON_Delete(tree);
    return status;
}

/* The arrays stay where they are now: each record finds its learning rates. */
static void bind_rates(anx_train_log *log) {
    const size_t groups = (size_t)log->n_groups;
    for (size_t i = 0; i < log->n_steps; i++) log->steps[i].lr = log->step_lr + i * groups;
    for (size_t i = 0; i < log->n_epochs; i++) log->epochs[i].lr = log->epoch_lr + i * groups;
}

anx_status anx_train_log_parse_until(const char *path, const void *bytes, size_t n_bytes, const anx_train_resume *until,
                                     anx_train_log **out, size_t *cut, anx_error *err) {
    const char *text = bytes;
    anx_train_log *log = calloc(1, sizeof *log);
    anx_status status = ANX_OK;
    reader r = {.log = log, .until = until, .err = err};
    size_t at = 0, first_beyond = 0;
    if (log == NULL || (log->path = strdup(path)) == NULL) {
        status = out_of_memory(err);
        goto out;
    }
    for (size_t number = 1; at < n_bytes; number++) {
        const char *newline = memchr(text + at, '\n', n_bytes - at);
        if (newline == NULL) break; /* torn */
        const size_t length = (size_t)(newline - text) - at;
        status = read_line(&r, text + at, length);
        if (status != ANX_OK) {
            anx_error_prefix(err, "%sline %zu: ", r.started ? "" : "not a training log: ", number);
            goto out;
        }
        if (!r.beyond) first_beyond = at + length + 1;
        at += length + 1;
    }
    log->torn = at < n_bytes;
    if (!r.started) {
        status = anx_error_set(err, ANX_ERR_FORMAT, "holds not one complete line of a training log");
        goto out;
    }
    bind_rates(log);
    *cut = first_beyond;
    *out = log;
    log = NULL;
out:
    anx_error_in_file(status == ANX_OK ? NULL : err, path);
    anx_train_log_destroy(log);
    return status;
}

anx_status anx_train_log_parse(const char *path, const void *bytes, size_t n_bytes, anx_train_log **out,
                               anx_error *err) {
    size_t cut;
    return anx_train_log_parse_until(path, bytes, n_bytes, NULL, out, &cut, err);
}

anx_status anx_train_log_read(const char *path, anx_train_log **out, anx_error *err) {
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    anx_status status = anx_read_file(path, &bytes, &n_bytes, err);
    if (status == ANX_OK) status = anx_train_log_parse(path, bytes, n_bytes, out, err);
    free(bytes);
    return status;
}

void anx_train_log_destroy(anx_train_log *log) {
    if (log == NULL) return;
    for (size_t i = 0; i < log->n_trees; i++) cJSON_Delete(log->trees[i]);
    free(log->trees);
    free((void *)(uintptr_t)log->start.options);
    free(log->resumes);
    free(log->steps);
    free(log->epochs);
    free(log->non_finite);
    free(log->step_lr);
    free(log->epoch_lr);
    free(log->path);
    free(log);
}
