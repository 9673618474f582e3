/* The log of a training run: what is written is read back, what was torn or done again does not count, and what is no
   log is refused by name. */
#include "parity/train_log.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loaders/file.h"
#include "parity/train_report.h"
#include "tests/support/anx_test.h"

static anx_error err;

static const char start_line[] =
    "{\"event\":\"start\",\"schema\":1,\"version\":\"0.1.0\",\"time\":\"2026-11-26T21:09:49Z\",\"device\":\"cpu\","
    "\"threads\":2,\"arch\":\"alexnet\",\"classes\":10,\"train_images\":100,\"val_images\":10,\"weights\":null,"
    "\"seed\":\"7\",\"options\":{}}\n";

static const anx_train_option options[] = {
    {.name = "lr", .kind = ANX_TRAIN_NUMBER, .number = 0.1},
    {.name = "train_dir", .kind = ANX_TRAIN_TEXT, .text = "a \"folder\"\n"},
    {.name = "nesterov", .kind = ANX_TRAIN_FLAG, .flag = true},
    {.name = "clip", .kind = ANX_TRAIN_TEXT, .text = NULL},
};
static const anx_train_start start = {.version = "0.1.0",
                                      .device = "cpu",
                                      .threads = 3,
                                      .arch = "alexnet",
                                      .classes = 1000,
                                      .train_images = 1281167,
                                      .val_images = 50000,
                                      .weights = "w.pth",
                                      .options = options,
                                      .n_options = sizeof options / sizeof options[0],
                                      .seed = UINT64_MAX,
                                      .time = "2026-11-26T21:09:49Z"};
static const double rates[] = {0.1, 1.0 / 3.0};

static anx_train_step step_of(int64_t global_step, float loss) {
    return (anx_train_step){.epoch = (global_step - 1) / 10,
                            .step = (global_step - 1) % 10 + 1,
                            .steps = 10,
                            .global_step = global_step,
                            .images = 64,
                            .loss = loss,
                            .mean_loss = (double)loss + 1e-9,
                            .acc1 = 12.5,
                            .lr = rates,
                            .images_per_s = 99.9,
                            .data_wait_s = 1e-5};
}

static anx_train_epoch epoch_of(int64_t epoch) {
    return (anx_train_epoch){.epoch = epoch,
                             .global_step = 10 * (epoch + 1),
                             .train_loss = 1.0 / 7.0,
                             .train_acc1 = 50,
                             .validated = true,
                             .val_loss = 2.0 / 7.0,
                             .val_acc1 = 60.1,
                             .val_acc5 = 90.2,
                             .lr = rates,
                             .seconds = 3.5,
                             .best = epoch == 1};
}

static anx_train_resume resume_at(int64_t epoch, int64_t step) {
    return (anx_train_resume){.epoch = epoch,
                              .step = step,
                              .global_step = 10 * epoch + step,
                              .version = "0.1.0",
                              .device = "cpu",
                              .threads = 1,
                              .time = "2026-11-27T00:00:00Z"};
}

/* A log of that many steps, an epoch's line behind each ten; without an end. */
static void write_steps(const char *path, int64_t n) {
    anx_train_log_writer *w = NULL;
    ANX_CHECK_OK(anx_train_log_create(path, true, &start, 2, &w, &err), &err);
    for (int64_t i = 1; i <= n; i++) {
        const anx_train_step step = step_of(i, 1.0f / (float)i);
        ANX_CHECK_OK(anx_train_log_step(w, &step, &err), &err);
        if (i % 10 != 0) continue;
        const anx_train_epoch epoch = epoch_of(i / 10 - 1);
        ANX_CHECK_OK(anx_train_log_epoch(w, &epoch, &err), &err);
    }
    anx_train_log_destroy_writer(w);
}

/* There is nothing to go on with. */
static void no_log(void) {
    char text[sizeof err + 256];
    fprintf(stderr, "\n%s\n", anx_error_format(&err, text, sizeof text));
    exit(1);
}

static anx_train_log *read_log(const char *path) {
    anx_train_log *log = NULL;
    ANX_CHECK_OK(anx_train_log_read(path, &log, &err), &err);
    if (log == NULL) no_log();
    return log;
}

static void append(const char *path, const char *text) {
    FILE *f = fopen(path, "ab");
    if (f == NULL || fputs(text, f) == EOF || fclose(f) != 0) exit(2);
}

static void what_is_written_is_read_back(void) {
    const char *path = anx_test_path("whole.jsonl");
    anx_train_log_writer *w = NULL;
    const float losses[] = {0.1f, 16777217.0f, 3.4028235e38f, 1e-45f, 6.9077554f, -0.0f};
    enum { n = sizeof losses / sizeof losses[0] };
    ANX_CHECK_OK(anx_train_log_create(path, true, &start, 2, &w, &err), &err);
    for (int i = 0; i < n; i++) {
        const anx_train_step step = step_of(i + 1, losses[i]);
        ANX_CHECK_OK(anx_train_log_step(w, &step, &err), &err);
    }
    const anx_train_epoch epoch = epoch_of(1);
    ANX_CHECK_OK(anx_train_log_epoch(w, &epoch, &err), &err);
    const anx_train_end end = {
        .reason = ANX_TRAIN_MAX_STEPS, .epoch = 1, .global_step = n, .best_acc1 = 60.1, .seconds = 0.25};
    ANX_CHECK_OK(anx_train_log_end(w, &end, &err), &err);
    anx_train_log_destroy_writer(w);

    anx_train_log *log = read_log(path);
    CU_ASSERT_STRING_EQUAL(log->start.device, "cpu");
    CU_ASSERT_STRING_EQUAL(log->start.weights, "w.pth");
    CU_ASSERT_EQUAL(log->start.seed, UINT64_MAX);
    CU_ASSERT_EQUAL(log->start.train_images, 1281167);
    CU_ASSERT_EQUAL_FATAL(log->start.n_options, 4);
    CU_ASSERT_EQUAL(log->start.options[0].number, 0.1);
    CU_ASSERT_STRING_EQUAL(log->start.options[1].text, "a \"folder\"\n");
    CU_ASSERT(log->start.options[2].kind == ANX_TRAIN_FLAG && log->start.options[2].flag);
    CU_ASSERT(log->start.options[3].kind == ANX_TRAIN_TEXT && log->start.options[3].text == NULL);
    CU_ASSERT_EQUAL(log->n_groups, 2);
    CU_ASSERT_EQUAL_FATAL(log->n_steps, n);
    for (int i = 0; i < n; i++) {
        CU_ASSERT(memcmp(&log->steps[i].loss, &losses[i], sizeof losses[i]) == 0);
        CU_ASSERT_EQUAL(log->steps[i].mean_loss, (double)losses[i] + 1e-9);
        CU_ASSERT(log->steps[i].lr[0] == rates[0] && log->steps[i].lr[1] == rates[1]);
    }
    CU_ASSERT_EQUAL_FATAL(log->n_epochs, 1);
    const anx_train_epoch *e = log->epochs;
    CU_ASSERT(e->epoch == 1 && e->train_loss == 1.0 / 7.0 && e->val_loss == 2.0 / 7.0 && e->validated && e->best);
    CU_ASSERT(e->val_acc1 == 60.1 && e->val_acc5 == 90.2 && e->lr[1] == 1.0 / 3.0 && e->seconds == 3.5);
    CU_ASSERT(log->ended && log->end.reason == ANX_TRAIN_MAX_STEPS && log->end.best_acc1 == 60.1);
    CU_ASSERT(!log->torn && log->unknown == 0);
    anx_train_log_destroy(log);
}

/* A note that was there at the start is said once, one that came with a resumption beside it. */
static void what_a_device_notes_is_in_every_view(void) {
    const char *path = anx_test_path("notes.jsonl");
    anx_train_log_writer *w = NULL;
    const anx_device_info first = {.backend = "cuda", .device = "cuda:0", .notes = "never on a GPU"},
                          second = {.backend = "cuda", .device = "cuda:0", .notes = "never on a GPU\nTF32 <is> forced"};
    anx_train_start noted = start;
    noted.engine = &first;
    ANX_CHECK_OK(anx_train_log_create(path, true, &noted, 2, &w, &err), &err);
    const anx_train_step step = step_of(1, 1.0f);
    ANX_CHECK_OK(anx_train_log_step(w, &step, &err), &err);
    anx_train_log_destroy_writer(w);
    anx_train_resume resume = resume_at(0, 1);
    resume.engine = &second;
    ANX_CHECK_OK(anx_train_log_resume(path, &resume, 2, &w, &err), &err);
    anx_train_log_destroy_writer(w);

    anx_train_log *log = read_log(path);
    const anx_train_log *const logs[] = {log};
    CU_ASSERT_EQUAL_FATAL(log->start.notes.n, 1);
    CU_ASSERT_STRING_EQUAL(log->start.notes.line[0], "never on a GPU");
    CU_ASSERT_EQUAL_FATAL(log->n_resumes, 1);
    CU_ASSERT_EQUAL(log->resumes[0].notes.n, 2);
    char *text = NULL;
    ANX_CHECK_OK(anx_train_report_text(logs, 1, false, &text, NULL, &err), &err);
    const char *once = strstr(text, "note: never on a GPU");
    CU_ASSERT_PTR_NOT_NULL_FATAL(once);
    CU_ASSERT_PTR_NULL(strstr(once + 1, "note: never"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "note: TF32 <is> forced"));
    free(text);
    ANX_CHECK_OK(anx_train_report_html(logs, 1, &text, NULL, &err), &err);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "<dt>note</dt><dd>never on a GPU</dd>"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "<dt>note</dt><dd>TF32 &lt;is&gt; forced</dd>"));
    free(text);
    anx_train_log_destroy(log);
}

static void numbers_that_are_not_finite_are_null_and_a_text(void) {
    const char *path = anx_test_path("nan.jsonl");
    anx_train_log_writer *w = NULL;
    ANX_CHECK_OK(anx_train_log_create(path, true, &start, 2, &w, &err), &err);
    anx_train_step step = step_of(1, (float)NAN);
    step.mean_loss = -(double)INFINITY;
    step.acc1 = (double)NAN;
    ANX_CHECK_OK(anx_train_log_step(w, &step, &err), &err);
    anx_train_epoch epoch = epoch_of(0);
    epoch.train_loss = (double)INFINITY;
    epoch.val_loss = (double)NAN;
    ANX_CHECK_OK(anx_train_log_epoch(w, &epoch, &err), &err);
    epoch = epoch_of(1);
    epoch.validated = false;
    ANX_CHECK_OK(anx_train_log_epoch(w, &epoch, &err), &err);
    const anx_train_non_finite event = {.epoch = 2, .step = 1, .global_step = 21, .loss = "nan", .tensor = "x"};
    ANX_CHECK_OK(anx_train_log_non_finite(w, &event, &err), &err);
    anx_train_log_destroy_writer(w);

    uint8_t *bytes = NULL;
    size_t n = 0;
    ANX_CHECK_OK(anx_read_file(path, &bytes, &n, &err), &err);
    CU_ASSERT(memmem(bytes, n, "\"loss\":null,\"loss_text\":\"nan\"", 29) != NULL);
    CU_ASSERT(memmem(bytes, n, "NaN", 3) == NULL && memmem(bytes, n, ":nan", 4) == NULL);
    free(bytes);
    anx_train_log *log = read_log(path);
    CU_ASSERT(isnan(log->steps[0].loss) && log->steps[0].mean_loss == -(double)INFINITY && isnan(log->steps[0].acc1));
    CU_ASSERT(isinf(log->epochs[0].train_loss) && log->epochs[0].validated && isnan(log->epochs[0].val_loss));
    CU_ASSERT(!log->epochs[1].validated && isnan(log->epochs[1].val_acc1));
    CU_ASSERT_EQUAL_FATAL(log->n_non_finite, 1);
    CU_ASSERT_STRING_EQUAL(log->non_finite[0].tensor, "x");
    CU_ASSERT(!log->ended);
    anx_train_log_destroy(log);
}

static void a_torn_last_line_is_passed_over(void) {
    const char *path = anx_test_path("torn.jsonl");
    write_steps(path, 3);
    append(path, "{\"event\":\"step\",\"epo");
    anx_train_log *log = read_log(path);
    CU_ASSERT(log->n_steps == 3 && log->torn);
    anx_train_log_destroy(log);
    /* Gone on with, what was torn is gone. */
    const anx_train_resume resume = resume_at(0, 3);
    anx_train_log_writer *w = NULL;
    ANX_CHECK_OK(anx_train_log_resume(path, &resume, 2, &w, &err), &err);
    anx_train_log_destroy_writer(w);
    log = read_log(path);
    CU_ASSERT(log->n_steps == 3 && log->n_resumes == 1 && !log->torn);
    anx_train_log_destroy(log);
}

static void a_run_gone_on_with_never_goes_back(void) {
    const char *path = anx_test_path("resumed.jsonl");
    write_steps(path, 25);
    anx_train_log_writer *w = NULL;
    const anx_train_end end = {.reason = ANX_TRAIN_INTERRUPTED, .epoch = 2, .global_step = 25};
    const anx_train_resume resume = resume_at(1, 4);
    ANX_CHECK_OK(anx_train_log_resume(path, &resume, 2, &w, &err), &err);
    anx_train_step step = step_of(15, 9.0f);
    ANX_CHECK_OK(anx_train_log_step(w, &step, &err), &err);
    ANX_CHECK_OK(anx_train_log_end(w, &end, &err), &err);
    anx_train_log_destroy_writer(w);
    anx_train_log *log = read_log(path);
    CU_ASSERT_EQUAL_FATAL(log->n_steps, 15);
    for (size_t i = 0; i < 15; i++) CU_ASSERT_EQUAL(log->steps[i].global_step, (int64_t)i + 1);
    CU_ASSERT_EQUAL(log->steps[14].loss, 9.0f);
    CU_ASSERT_EQUAL_FATAL(log->n_epochs, 1);
    CU_ASSERT_EQUAL(log->epochs[0].epoch, 0);
    CU_ASSERT(log->n_resumes == 1 && log->resumes[0].global_step == 14 && log->ended);
    anx_train_log_destroy(log);
    /* From the step that ended an epoch, before its validation: the epoch's line is made again. */
    write_steps(path, 20);
    const anx_train_resume before = resume_at(1, 10);
    ANX_CHECK_OK(anx_train_log_resume(path, &before, 2, &w, &err), &err);
    const anx_train_epoch epoch = epoch_of(1);
    ANX_CHECK_OK(anx_train_log_epoch(w, &epoch, &err), &err);
    anx_train_log_destroy_writer(w);
    log = read_log(path);
    CU_ASSERT(log->n_steps == 20 && log->n_epochs == 2);
    anx_train_log_destroy(log);
    /* ... and from the next epoch it stays. */
    const anx_train_resume after = resume_at(2, 0);
    ANX_CHECK_OK(anx_train_log_resume(path, &after, 2, &w, &err), &err);
    anx_train_log_destroy_writer(w);
    log = read_log(path);
    CU_ASSERT(log->n_steps == 20 && log->n_epochs == 2 && log->n_resumes == 2);
    anx_train_log_destroy(log);
}

/* Another writer may have appended without cutting: the later steps count. */
static void steps_behind_a_resume_count(void) {
    const char *path = anx_test_path("uncut.jsonl");
    write_steps(path, 25);
    append(path, "{\"event\":\"resume\",\"epoch\":1,\"step\":2,\"global_step\":12}\n"
                 "{\"event\":\"step\",\"epoch\":1,\"step\":3,\"steps\":10,\"global_step\":13,\"images\":1,\"loss\":5,"
                 "\"lr\":[1,2]}\n");
    anx_train_log *log = read_log(path);
    CU_ASSERT(log->n_steps == 13 && log->steps[12].loss == 5.0f && log->steps[12].lr[1] == 2.0);
    CU_ASSERT(log->n_epochs == 1 && isnan(log->steps[12].mean_loss));
    anx_train_log_destroy(log);
}

static void unknown_keys_and_events_are_passed_over(void) {
    const char *path = anx_test_path("newer.jsonl");
    write_steps(path, 1);
    append(path, "{\"event\":\"gradient\",\"norm\":[1,{}]}\n"
                 "{\"event\":\"end\",\"reason\":\"bored\",\"epoch\":0,\"global_step\":1,\"why\":\"so\"}\n");
    anx_train_log *log = read_log(path);
    CU_ASSERT(log->unknown == 1 && log->ended && log->end.reason == ANX_TRAIN_OTHER && isnan(log->end.best_acc1));
    anx_train_log_destroy(log);
}

static void bad_lines_are_named(void) {
#define STEP(fields_) "{\"event\":\"step\",\"epoch\":0,\"step\":1,\"steps\":9,\"images\":1" fields_ "}\n"
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"\n", "line 2: not one JSON object"},
        {"{\"event\":\"step\"\n", "line 2: not one JSON object"},
        {"[1]\n", "line 2: not one JSON object"},
        {"{\"event\":\"end\"} {}\n", "line 2: not one JSON object"},
        {"{\"a\":1}\n", "line 2: key 'event' is missing or not a text"},
        {"{\"event\":7}\n", "line 2: key 'event' is missing or not a text"},
        {"{\"event\":\"\\u0000\"}\n", "line 2: the line holds a string with a NUL in it"},
        {"{\"event\":\"\xff\"}\n", "line 2: not UTF-8"},
        {STEP(",\"global_step\":1,\"lr\":[1,2]"), "line 2: key 'loss' is missing"},
        {STEP(",\"global_step\":1,\"loss\":NaN,\"lr\":[1,2]"), "line 2: not one JSON object"},
        {STEP(",\"global_step\":1,\"loss\":1e999,\"lr\":[1,2]"), "line 2: key 'loss' is not a number in a double's"},
        {STEP(",\"global_step\":1,\"loss\":1e39,\"lr\":[1,2]"), "line 2: key 'loss' is beyond a float's range"},
        {STEP(",\"global_step\":1,\"loss\":null,\"loss_text\":\"big\",\"lr\":[1,2]"),
         "line 2: key 'loss_text' is neither"},
        {STEP(",\"global_step\":-1,\"loss\":1,\"lr\":[1,2]"), "line 2: key 'global_step' is not a whole number"},
        {STEP(",\"global_step\":1.5,\"loss\":1,\"lr\":[1,2]"), "line 2: key 'global_step' is not a whole number"},
        {STEP(",\"global_step\":1e300,\"loss\":1,\"lr\":[1,2]"), "line 2: key 'global_step' is not a whole number"},
        {STEP(",\"loss\":1,\"lr\":[1,2]"), "line 2: key 'global_step' is missing"},
        {STEP(",\"global_step\":1,\"loss\":1,\"lr\":[]"), "line 2: key 'lr' is not a list of 1 to 64"},
        {STEP(",\"global_step\":1,\"loss\":1,\"lr\":[\"a\"]"), "line 2: key 'lr' holds something"},
        {STEP(",\"global_step\":5,\"loss\":1,\"lr\":[1]") STEP(",\"global_step\":6,\"loss\":1,\"lr\":[1,2]"),
         "line 3: key 'lr' has 2 learning rates, earlier lines have 1"},
        {STEP(",\"global_step\":5,\"loss\":1,\"lr\":[1]") STEP(",\"global_step\":5,\"loss\":1,\"lr\":[1]"),
         "line 3: global_step 5 comes after 5, without a \"resume\""},
        {"{\"event\":\"end\",\"epoch\":0,\"global_step\":0}\n", "line 2: key 'reason' is missing"},
        {"{\"event\":\"epoch\",\"epoch\":0,\"global_step\":0,\"best\":1,\"lr\":[1]}\n",
         "line 2: key 'best' is neither"},
        {start_line, "line 2: a second \"start\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[2048], message[256];
        anx_train_log *log = NULL;
        const int n = snprintf(text, sizeof text, "%s%s", start_line, cases[i].line);
        ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_train_log_parse("a.jsonl", text, (size_t)n, &log, &err), &err);
        snprintf(message, sizeof message, "a.jsonl: %s", cases[i].message);
        ANX_CHECK_MESSAGE(message, &err);
        anx_train_log_destroy(log);
    }
}

static void what_is_no_log_is_refused(void) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "holds not one complete line"},
        {"{\"event\":\"start\",\"sch", "holds not one complete line"},
        {"{\"event\":\"step\"}\n", "not a training log: line 1: it does not begin with the event \"start\""},
        {"{\"event\":\"start\"}\n", "line 1: key 'schema' is missing"},
        {"{\"event\":\"start\",\"schema\":2}\n", "line 1: a training log of schema 2; this release reads 1"},
        {"{\"event\":\"start\",\"schema\":1,\"version\":3}\n", "line 1: key 'version' is not a text"},
        {"PK\x03\x04\n", "not a training log: line 1: not one JSON object"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        anx_train_log *log = NULL;
        const anx_status status = anx_train_log_parse("a", cases[i].text, strlen(cases[i].text), &log, &err);
        CU_ASSERT(status == ANX_ERR_FORMAT || status == ANX_ERR_UNSUPPORTED);
        ANX_CHECK_MESSAGE(cases[i].message, &err);
    }
    anx_train_log *log = NULL;
    ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND, anx_train_log_read(anx_test_path("none"), &log, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_train_log_read(anx_test_tmpdir(), &log, &err), &err);
}

static void lines_have_a_limit(void) {
    const size_t begin = sizeof start_line - 1, n = begin + (1 << 20) + 2;
    char *text = malloc(n);
    if (text == NULL) exit(2);
    memcpy(text, start_line, begin);
    memset(text + begin, ' ', n - begin);
    text[n - 1] = '\n';
    anx_train_log *log = NULL;
    ANX_CHECK_STATUS(ANX_ERR_LIMIT, anx_train_log_parse("a", text, n, &log, &err), &err);
    ANX_CHECK_MESSAGE("a: line 2: 1048577 bytes long; at most 1048576 are read", &err);
    /* Nested as deep as a line allows. */
    memset(text + begin, '[', n - begin - 1);
    memcpy(text + begin, "{\"event\":", 9);
    text[begin + 1000000] = '\n';
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_train_log_parse("a", text, begin + 1000001, &log, &err), &err);
    free(text);
}

static void what_is_not_a_log_is_not_gone_on_with(void) {
    const char *path = anx_test_path("other.txt");
    const anx_train_resume resume = resume_at(0, 1);
    anx_train_log_writer *w = NULL;
    ANX_CHECK_OK(anx_file_replace(path, "not a log\n", 10, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_train_log_resume(path, &resume, 2, &w, &err), &err);
    ANX_CHECK_MESSAGE("other.txt: not a training log: line 1: not one JSON object", &err);
    uint8_t *bytes = NULL;
    size_t n = 0;
    ANX_CHECK_OK(anx_read_file(path, &bytes, &n, &err), &err);
    CU_ASSERT(n == 10 && memcmp(bytes, "not a log\n", 10) == 0);
    free(bytes);
    /* A bad line behind the step to go on from is one too: the file is not what it seems. */
    write_steps(path, 5);
    append(path, "garbage\n");
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_train_log_resume(path, &resume, 2, &w, &err), &err);
    ANX_CHECK_MESSAGE("line 7: not one JSON object", &err);
    write_steps(path, 5);
    ANX_CHECK_STATUS(ANX_ERR_MISMATCH, anx_train_log_resume(path, &resume, 3, &w, &err), &err);
    ANX_CHECK_MESSAGE("logs 2 groups of parameters, the run has 3", &err);
    ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND, anx_train_log_resume(anx_test_path("none"), &resume, 2, &w, &err), &err);
    anx_train_log *log = read_log(path);
    CU_ASSERT_EQUAL(log->n_steps, 5);
    anx_train_log_destroy(log);
}

static void a_log_is_replaced_only_when_asked_and_never_under_its_writer(void) {
    const char *path = anx_test_path("twice.jsonl");
    const anx_train_resume resume = resume_at(0, 0);
    anx_train_log_writer *w = NULL, *second = NULL;
    ANX_CHECK_OK(anx_train_log_create(path, false, &start, 2, &w, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_EXISTS, anx_train_log_create(path, false, &start, 2, &second, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_IO, anx_train_log_create(path, true, &start, 2, &second, &err), &err);
    ANX_CHECK_MESSAGE("another process is writing this log", &err);
    ANX_CHECK_STATUS(ANX_ERR_IO, anx_train_log_resume(path, &resume, 2, &second, &err), &err);
    anx_train_log_destroy_writer(w);
    anx_train_log *log = read_log(path);
    anx_train_log_destroy(log);
    ANX_CHECK_OK(anx_train_log_create(path, true, &start, 1, &w, &err), &err);
    anx_train_log_destroy_writer(w);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_train_log_create(path, true, &start, 0, &w, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_train_log_create(anx_test_tmpdir(), true, &start, 1, &w, &err),
                     &err);
}

static void a_full_disk_is_told(void) {
    anx_train_log_writer *w = NULL;
    if (access("/dev/full", W_OK) != 0) anx_test_skip("/dev/full is not here");
    ANX_CHECK_STATUS(ANX_ERR_IO, anx_train_log_create("/dev/full", true, &start, 2, &w, &err), &err);
    ANX_CHECK_MESSAGE("/dev/full: cannot write a line of the training log: No space left on device", &err);
    CU_ASSERT_EQUAL(err.sys_errno, ENOSPC);
}

/* Where only the beginning of a line finds room, that is taken back: what is written later follows a whole line. */
static void half_a_line_is_taken_back(void) {
    const char *path = anx_test_path("half.jsonl");
    anx_train_log_writer *w = NULL;
    anx_train_log *log = NULL;
    struct rlimit before, little;
    struct stat st;
    ANX_CHECK_OK(anx_train_log_create(path, false, &start, 2, &w, &err), &err);
    if (w == NULL) return;
    CU_ASSERT_EQUAL_FATAL(stat(path, &st), 0);
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_FSIZE, &before), 0);
    little = before;
    little.rlim_cur = (rlim_t)st.st_size + 20;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_FSIZE, &little), 0);
    const anx_train_step first = step_of(1, 0.5f), second = step_of(2, 0.25f);
    const anx_status status = anx_train_log_step(w, &first, &err);
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    CU_ASSERT_EQUAL(status, ANX_ERR_IO);
    CU_ASSERT_EQUAL(err.sys_errno, EFBIG);
    ANX_CHECK_OK(anx_train_log_step(w, &second, &err), &err);
    anx_train_log_destroy_writer(w);
    ANX_CHECK_OK(anx_train_log_read(path, &log, &err), &err);
    if (log == NULL) return;
    CU_ASSERT(log->n_steps == 1 && log->steps[0].global_step == 2 && !log->torn);
    anx_train_log_destroy(log);
}

/* Reports of logs that hold next to nothing, or numbers at the ends of their ranges. */
static void every_log_has_its_reports(void) {
    static const char *const lines[] = {
        "",
        STEP(",\"global_step\":9007199254740991,\"loss\":3.4e38,\"lr\":[1e308,-1e308]"),
        STEP(",\"global_step\":1,\"loss\":null,\"loss_text\":\"nan\",\"lr\":[null,0]"),
        STEP(",\"global_step\":1,\"loss\":0,\"lr\":[0]") STEP(",\"global_step\":2,\"loss\":1e-45,\"lr\":[5e-324]"),
        STEP(",\"global_step\":1,\"loss\":1,\"lr\":[1]") STEP(",\"global_step\":2,\"loss\":1.0000001,\"lr\":[1e300]"),
        "{\"event\":\"epoch\",\"epoch\":9007199254740991,\"global_step\":0,\"train_loss\":-1e308,\"val_loss\":1e308,"
        "\"val_acc1\":1e308,\"lr\":[1],\"seconds\":1e308}\n",
        "{\"event\":\"resume\",\"epoch\":9007199254740991,\"step\":0,\"global_step\":0}\n",
        "{\"event\":\"end\",\"reason\":\"done\",\"epoch\":0,\"global_step\":0,\"seconds\":-1e308,\"best_acc1\":1e308}"
        "\n",
    };
    enum { n = sizeof lines / sizeof lines[0] };
    anx_train_log *logs[n] = {NULL};
    char text[2048], *out = NULL;
    for (int i = 0; i < n; i++) {
        const int length = snprintf(text, sizeof text, "%s%s", start_line, lines[i]);
        ANX_CHECK_OK(anx_train_log_parse("a", text, (size_t)length, &logs[i], &err), &err);
        if (logs[i] == NULL) no_log();
        const anx_train_log *const one = logs[i];
        ANX_CHECK_OK(anx_train_report_text(&one, 1, false, &out, NULL, &err), &err);
        free(out);
        ANX_CHECK_OK(anx_train_report_html(&one, 1, &out, NULL, &err), &err);
        /* No coordinate is anything but a number. */
        CU_ASSERT(strstr(out, "=\"nan") == NULL && strstr(out, "\"inf") == NULL && strstr(out, ",nan") == NULL &&
                  strstr(out, "-nan") == NULL && strstr(out, ",-inf") == NULL);
        free(out);
    }
    ANX_CHECK_OK(anx_train_report_html((const anx_train_log *const *)logs, n, &out, NULL, &err), &err);
    free(out);
    ANX_CHECK_OK(anx_train_report_text((const anx_train_log *const *)logs, n, true, &out, NULL, &err), &err);
    free(out);
    for (int i = 0; i < n; i++) anx_train_log_destroy(logs[i]);
}

static void times_are_iso_8601(void) {
    char text[32];
    CU_ASSERT_STRING_EQUAL(anx_train_log_time(1795727389, text), "2026-11-26T21:09:49Z");
    CU_ASSERT_STRING_EQUAL(anx_train_log_time(0, text), "1970-01-01T00:00:00Z");
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"what is written is read back", what_is_written_is_read_back},
        {"what a device notes is in every view", what_a_device_notes_is_in_every_view},
        {"numbers that are not finite are null and a text", numbers_that_are_not_finite_are_null_and_a_text},
        {"a torn last line is passed over", a_torn_last_line_is_passed_over},
        {"a run gone on with never goes back", a_run_gone_on_with_never_goes_back},
        {"steps behind a resume count", steps_behind_a_resume_count},
        {"unknown keys and events are passed over", unknown_keys_and_events_are_passed_over},
        {"bad lines are named", bad_lines_are_named},
        {"what is no log is refused", what_is_no_log_is_refused},
        {"lines have a limit", lines_have_a_limit},
        {"what is not a log is not gone on with", what_is_not_a_log_is_not_gone_on_with},
        {"a log is replaced only when asked, and never under its writer",
         a_log_is_replaced_only_when_asked_and_never_under_its_writer},
        {"a full disk is told", a_full_disk_is_told},
        {"half a line is taken back", half_a_line_is_taken_back},
        {"every log has its reports", every_log_has_its_reports},
        {"times are ISO 8601", times_are_iso_8601},
        {NULL, NULL},
    };
    return anx_test_main("train_log", tests, argc, argv);
}
