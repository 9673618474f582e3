/*
 * Any bytes as the log of a training run: an error that says something, or a log whose steps and epochs rise and whose
 * reports can be made: text without control characters, a page whose only markup is its own.
 */
#include <stdlib.h>
#include <string.h>

#include "parity/train_report.h"
#include "tests/fuzz/fuzz.h"

static void check_harmless(const char *text, size_t n_bytes) {
    if (strlen(text) != n_bytes) abort();
    for (size_t i = 0; i < n_bytes; i++)
        if ((unsigned char)text[i] < 0x20 && text[i] != '\n') abort();
}

static void check_order(const anx_train_log *log) {
    for (size_t i = 1; i < log->n_steps; i++)
        if (log->steps[i].global_step <= log->steps[i - 1].global_step) abort();
    for (size_t i = 1; i < log->n_epochs; i++)
        if (log->epochs[i].epoch <= log->epochs[i - 1].epoch) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    static anx_error err;
    anx_train_log *log = NULL;
    const anx_status status = anx_train_log_parse("log", data, n_bytes, &log, &err);
    if (status != ANX_OK) {
        if (log != NULL || err.status != status || err.message[0] == '\0' || status == ANX_ERR_INTERNAL) abort();
        return 0;
    }
    check_order(log);
    char *text = NULL;
    size_t length = 0;
    const anx_train_log *const twice[] = {log, log};
    if (anx_train_report_text(twice, 1, false, &text, &length, &err) != ANX_OK) abort();
    check_harmless(text, length);
    free(text);
    for (size_t n = 1; n <= 2; n++) {
        if (anx_train_report_html(twice, n, &text, &length, &err) != ANX_OK) abort();
        check_harmless(text, length);
        if (strstr(text, "<script") != NULL) abort(); /* the page has none of its own */
        free(text);
    }
    anx_train_log_destroy(log);
    return 0;
}
