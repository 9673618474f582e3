/* Writes every sample as every kind of report into a folder: NAME.txt, NAME.json, NAME.xml. For report_check.py. */
#include <stdio.h>
#include <stdlib.h>

#include "parity/report.h"
#include "tests/parity/sample_verdicts.h"

static int write_file(const char *folder, const char *name, const char *ending, const char *text, size_t n_bytes) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.%s", folder, name, ending);
    FILE *f = fopen(path, "wb");
    if (f == NULL) return 1;
    const bool failed = fwrite(text, 1, n_bytes, f) != n_bytes;
    return fclose(f) != 0 || failed;
}

int main(int argc, char **argv) {
    typedef anx_status view(const anx_verdicts *, const anx_report_options *, char **, size_t *, anx_error *);
    static const struct {
        view *make;
        const char *ending;
    } views[] = {{anx_report_text, "txt"}, {anx_report_json, "json"}, {anx_report_junit, "xml"}};
    static const char *const names[SAMPLE_COUNT] = {"pass", "fail", "dump"};
    if (argc != 3) return 64;
    anx_class_names *classes = NULL;
    if (anx_class_names_open(argv[2], &classes, NULL) != ANX_OK) return 2;
    int failures = 0;
    for (int kind = 0; kind < SAMPLE_COUNT; kind++) {
        anx_verdicts *v = sample_verdicts((sample_kind)kind);
        for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
            const anx_report_options options = {.classes = classes, .verbose = kind == SAMPLE_FAIL};
            char *text = NULL;
            size_t n_bytes = 0;
            if (views[i].make(v, &options, &text, &n_bytes, NULL) != ANX_OK ||
                write_file(argv[1], names[kind], views[i].ending, text, n_bytes) != 0)
                failures++;
            free(text);
        }
        anx_verdicts_destroy(v);
    }
    anx_class_names_close(classes);
    return failures > 0;
}
