#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "loaders/file.h"
#include "parity/json_builder.h"
#include "parity/train_log_inside.h"

struct anx_train_log_writer {
    char *path;
    int fd;
    bool regular;
    int n_groups;
};

char *anx_train_log_time(int64_t seconds, char buf[32]) {
    const time_t t = (time_t)seconds;
    struct tm parts;
    if (gmtime_r(&t, &parts) == NULL || strftime(buf, 32, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) buf[0] = '\0';
    return buf;
}

const char *anx_train_reason_name(anx_train_reason reason) {
    static const char *const names[] = {"done", "interrupted", "max_steps", "non_finite", "other"};
    return names[reason];
}

/* ---- the file ---- */

/* Opens and locks the log. New: it must not be there, but for force. */
static anx_status open_log(const char *path, int flags, int *fd, bool *regular, anx_error *err) {
    /* O_NONBLOCK: a FIFO that nobody reads must be refused, not waited for. */
    const int opened = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK | flags, 0666);
    if (opened < 0)
        return errno == EEXIST   ? anx_error_set(err, ANX_ERR_EXISTS, "exists already")
               : errno == ENOENT ? anx_error_set_errno(err, ANX_ERR_NOT_FOUND, errno, "cannot open")
               : errno == EISDIR ? anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "a folder, not a file")
                                 : anx_error_set_errno(err, ANX_ERR_IO, errno, "cannot open for writing");
    struct stat st;
    anx_status status = ANX_OK;
    if (fstat(opened, &st) != 0)
        status = anx_error_set_errno(err, ANX_ERR_IO, errno, "cannot stat");
    else if (S_ISREG(st.st_mode) && flock(opened, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        status =
            anx_error_set(err, ANX_ERR_IO, "another process is writing this log"); /* other errors: no locks here */
    else if (fcntl(opened, F_SETFL, O_APPEND) != 0)
        status = anx_error_set_errno(err, ANX_ERR_IO, errno, "cannot set up for writing");
    if (status != ANX_OK) {
        close(opened);
        return status;
    }
    *regular = S_ISREG(st.st_mode);
    *fd = opened;
    return ANX_OK;
}

/* Before its file is opened: behind that there is no failing for want of memory, which would leave an empty one. */
static anx_status make_writer(const char *path, int n_groups, anx_train_log_writer **out, anx_error *err) {
    anx_train_log_writer *w = calloc(1, sizeof *w);
    char *copy = strdup(path);
    if (w == NULL || copy == NULL) {
        free(w);
        free(copy);
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for a training log");
    }
    *w = (anx_train_log_writer){.path = copy, .fd = -1, .n_groups = n_groups};
    *out = w;
    return ANX_OK;
}

void anx_train_log_destroy_writer(anx_train_log_writer *w) {
    if (w == NULL) return;
    if (w->fd >= 0) close(w->fd);
    free(w->path);
    free(w);
}

static anx_status write_all(anx_train_log_writer *w, const char *text, size_t n_bytes, anx_error *err) {
    const off_t before = w->regular ? lseek(w->fd, 0, SEEK_END) : 0;
    size_t written = 0;
    while (written < n_bytes) {
        const ssize_t n = write(w->fd, text + written, n_bytes - written);
        if (n < 0 && errno == EINTR) continue;
        if (n >= 0) {
            written += (size_t)n;
            continue;
        }
        const int why = errno;
        anx_error_set_errno(err, ANX_ERR_IO, why, "cannot write a line of the training log");
        /* Half a line in the middle would make the log unreadable once there is room again. */
        if (w->regular && before >= 0 && written > 0 && ftruncate(w->fd, before) != 0)
            anx_error_set_errno(err, ANX_ERR_IO, why,
                                "cannot write a line of the training log, nor take back its half");
        anx_error_in_file(err, w->path);
        return ANX_ERR_IO;
    }
    return ANX_OK;
}

/* ---- lines ---- */

typedef struct line {
    anx_json json;
    cJSON *root;
} line;

static line begin(const char *event) {
    line l = {.json = {.failed = false}};
    l.root = anx_json_root(&l.json);
    anx_json_add_text(&l.json, l.root, "event", event);
    return l;
}

static anx_status finish(line *l, anx_train_log_writer *w, anx_error *err) {
    char *text = NULL;
    size_t n_bytes = 0;
    anx_status status = anx_json_print_line(&l->json, l->root, &text, &n_bytes, err);
    if (status == ANX_OK && n_bytes > ANX_TRAIN_LOG_LINE)
        status = anx_error_set(err, ANX_ERR_LIMIT, "a line of the training log would have %zu bytes", n_bytes);
    if (status == ANX_OK) status = write_all(w, text, n_bytes, err);
    anx_error_in_file(status == ANX_OK ? NULL : err, w->path);
    free(text);
    return status;
}

static void put_text(line *l, const char *key, const char *text) {
    anx_json_add_text(&l->json, l->root, key, text);
}

static void put_integer(line *l, const char *key, int64_t value) {
    anx_json_add_integer(&l->json, l->root, key, value);
}

/* A number that was computed: where it is not finite, null and what it is. */
static void put_number(line *l, const char *key, double value, bool is_float) {
    char text_key[64];
    if (isfinite(value)) {
        if (is_float)
            anx_json_add_float(&l->json, l->root, key, (float)value);
        else
            anx_json_add_value(&l->json, l->root, key, value);
        return;
    }
    put_text(l, key, NULL);
    snprintf(text_key, sizeof text_key, "%s_text", key);
    anx_json_add_value(&l->json, l->root, text_key, value);
}

/* A number that may not have been taken: null. */
static void put_measure(line *l, const char *key, double value) {
    if (isnan(value))
        put_text(l, key, NULL);
    else
        put_number(l, key, value, false);
}

static void put_rates(line *l, const double *lr, int n_groups) {
    cJSON *list = anx_json_add_array(&l->json, l->root, "lr");
    for (int i = 0; i < n_groups; i++)
        anx_json_add_measure(&l->json, list, NULL, isfinite(lr[i]) ? lr[i] : (double)NAN);
}

static anx_status check_start(const anx_train_start *start, int n_groups, anx_error *err) {
    if (n_groups < 1 || n_groups > ANX_TRAIN_LOG_GROUPS)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "%d groups of parameters; a training log takes 1 to %d",
                             n_groups, ANX_TRAIN_LOG_GROUPS);
    for (size_t i = 0; start != NULL && i < start->n_options; i++)
        if (start->options[i].kind == ANX_TRAIN_NUMBER && !isfinite(start->options[i].number))
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the option '%s' is not a finite number",
                                 start->options[i].name);
    return ANX_OK;
}

static anx_status write_start(anx_train_log_writer *w, const anx_train_start *s, anx_error *err) {
    char seed[24]; /* as text: a JSON number may not hold 64 bits */
    line l = begin("start");
    put_integer(&l, "schema", ANX_TRAIN_LOG_SCHEMA);
    put_text(&l, "version", s->version);
    put_text(&l, "time", s->time);
    put_text(&l, "device", s->device);
    put_integer(&l, "threads", s->threads);
    if (s->engine != NULL) anx_json_add_device(&l.json, l.root, "engine", s->engine);
    put_text(&l, "arch", s->arch);
    put_integer(&l, "classes", s->classes);
    put_integer(&l, "train_images", s->train_images);
    put_integer(&l, "val_images", s->val_images);
    put_text(&l, "weights", s->weights);
    snprintf(seed, sizeof seed, "%" PRIu64, s->seed);
    put_text(&l, "seed", seed);
    cJSON *options = anx_json_add_object(&l.json, l.root, "options");
    for (size_t i = 0; i < s->n_options; i++) {
        const anx_train_option *o = &s->options[i];
        switch (o->kind) {
        case ANX_TRAIN_TEXT: anx_json_add_text(&l.json, options, o->name, o->text); break;
        case ANX_TRAIN_NUMBER: anx_json_add_value(&l.json, options, o->name, o->number); break;
        case ANX_TRAIN_FLAG: anx_json_add_bool(&l.json, options, o->name, o->flag); break;
        }
    }
    return finish(&l, w, err);
}

anx_status anx_train_log_create(const char *path, bool force, const anx_train_start *start, int n_groups,
                                anx_train_log_writer **out, anx_error *err) {
    anx_train_log_writer *w = NULL;
    anx_status status = check_start(start, n_groups, err);
    if (status == ANX_OK) status = make_writer(path, n_groups, &w, err);
    if (status == ANX_OK) status = open_log(path, O_CREAT | (force ? 0 : O_EXCL), &w->fd, &w->regular, err);
    if (status != ANX_OK) goto out;
    /* Emptied once it is locked: another run's log must not be while that runs. */
    if (w->regular && ftruncate(w->fd, 0) != 0) {
        status = anx_error_set_errno(err, ANX_ERR_IO, errno, "cannot empty");
        goto out;
    }
    status = write_start(w, start, err);
    if (status != ANX_OK) {
        if (w->regular) unlink(path); /* an empty file is no log, and a new one could not be created beside it */
        goto out;
    }
    *out = w;
    w = NULL;
out:
    anx_error_in_file(status == ANX_OK ? NULL : err, path);
    anx_train_log_destroy_writer(w);
    return status;
}

static anx_status write_resume(anx_train_log_writer *w, const anx_train_resume *r, anx_error *err) {
    line l = begin("resume");
    put_integer(&l, "epoch", r->epoch);
    put_integer(&l, "step", r->step);
    put_integer(&l, "global_step", r->global_step);
    put_text(&l, "version", r->version);
    put_text(&l, "time", r->time);
    put_text(&l, "device", r->device);
    put_integer(&l, "threads", r->threads);
    if (r->engine != NULL) anx_json_add_device(&l.json, l.root, "engine", r->engine);
    return finish(&l, w, err);
}

anx_status anx_train_log_resume(const char *path, const anx_train_resume *resume, int n_groups,
                                anx_train_log_writer **out, anx_error *err) {
    uint8_t *bytes = NULL;
    size_t n_bytes = 0, cut = 0;
    anx_train_log *log = NULL;
    anx_train_log_writer *w = NULL;
    anx_status status = check_start(NULL, n_groups, err);
    if (status == ANX_OK) status = make_writer(path, n_groups, &w, err);
    if (status == ANX_OK) status = open_log(path, 0, &w->fd, &w->regular, err);
    if (status == ANX_OK) status = anx_read_file(path, &bytes, &n_bytes, err);
    if (status == ANX_OK) status = anx_train_log_parse_until(path, bytes, n_bytes, resume, &log, &cut, err);
    if (status != ANX_OK) goto out;
    if (log->n_groups != 0 && log->n_groups != n_groups) {
        status = anx_error_set(err, ANX_ERR_MISMATCH, "logs %d groups of parameters, the run has %d", log->n_groups,
                               n_groups);
        goto out;
    }
    if (ftruncate(w->fd, (off_t)cut) != 0) {
        status = anx_error_set_errno(err, ANX_ERR_IO, errno, "cannot cut off what comes behind the step to go on from");
        goto out;
    }
    status = write_resume(w, resume, err);
    if (status != ANX_OK) goto out;
    *out = w;
    w = NULL;
out:
    anx_error_in_file(status == ANX_OK ? NULL : err, path);
    anx_train_log_destroy_writer(w);
    anx_train_log_destroy(log);
    free(bytes);
    return status;
}

anx_status anx_train_log_step(anx_train_log_writer *w, const anx_train_step *s, anx_error *err) {
    line l = begin("step");
    put_integer(&l, "epoch", s->epoch);
    put_integer(&l, "step", s->step);
    put_integer(&l, "steps", s->steps);
    put_integer(&l, "global_step", s->global_step);
    put_integer(&l, "images", s->images);
    put_number(&l, "loss", (double)s->loss, true);
    put_number(&l, "mean_loss", s->mean_loss, false);
    put_measure(&l, "acc1", s->acc1);
    put_rates(&l, s->lr, w->n_groups);
    put_measure(&l, "images_per_s", s->images_per_s);
    put_measure(&l, "data_wait_s", s->data_wait_s);
    return finish(&l, w, err);
}

anx_status anx_train_log_epoch(anx_train_log_writer *w, const anx_train_epoch *e, anx_error *err) {
    line l = begin("epoch");
    put_integer(&l, "epoch", e->epoch);
    put_integer(&l, "global_step", e->global_step);
    put_number(&l, "train_loss", e->train_loss, false);
    put_measure(&l, "train_acc1", e->train_acc1);
    if (e->validated)
        put_number(&l, "val_loss", e->val_loss, false);
    else
        put_text(&l, "val_loss", NULL);
    put_measure(&l, "val_acc1", e->validated ? e->val_acc1 : (double)NAN);
    put_measure(&l, "val_acc5", e->validated ? e->val_acc5 : (double)NAN);
    put_rates(&l, e->lr, w->n_groups);
    put_measure(&l, "seconds", e->seconds);
    anx_json_add_bool(&l.json, l.root, "best", e->best);
    return finish(&l, w, err);
}

anx_status anx_train_log_non_finite(anx_train_log_writer *w, const anx_train_non_finite *n, anx_error *err) {
    line l = begin("non_finite");
    put_integer(&l, "epoch", n->epoch);
    put_integer(&l, "step", n->step);
    put_integer(&l, "global_step", n->global_step);
    put_text(&l, "loss", n->loss);
    put_text(&l, "tensor", n->tensor);
    return finish(&l, w, err);
}

anx_status anx_train_log_end(anx_train_log_writer *w, const anx_train_end *e, anx_error *err) {
    line l = begin("end");
    put_text(&l, "reason", anx_train_reason_name(e->reason));
    put_integer(&l, "epoch", e->epoch);
    put_integer(&l, "global_step", e->global_step);
    put_measure(&l, "best_acc1", e->best_acc1);
    put_measure(&l, "seconds", e->seconds);
    return finish(&l, w, err);
}
