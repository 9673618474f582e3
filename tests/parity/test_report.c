#include "parity/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/parity/sample_verdicts.h"
#include "tests/support/anx_test.h"

typedef anx_status view(const anx_verdicts *, const anx_report_options *, char **, size_t *, anx_error *);

static char *report_of(view *make, const anx_verdicts *v, anx_report_options options) {
    anx_error err = ANX_ERROR_INIT;
    char *text = NULL;
    size_t n_bytes = 0;
    ANX_CHECK_OK(make(v, &options, &text, &n_bytes, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    CU_ASSERT_EQUAL(n_bytes, strlen(text));
    return text;
}

static void colours_only_where_asked_for(void) {
    anx_verdicts *v = sample_verdicts(SAMPLE_FAIL);
    char *plain = report_of(anx_report_text, v, (anx_report_options){.color = false});
    char *coloured = report_of(anx_report_text, v, (anx_report_options){.color = true});
    CU_ASSERT_PTR_NULL(strchr(plain, '\033'));
    CU_ASSERT_PTR_NOT_NULL(strstr(coloured, "\033[1;31mFAIL\033[0m"));
    /* Without its escape sequences the coloured one is the plain one: they never touch the text. */
    char *to = coloured;
    for (const char *from = coloured; *from != '\0';) {
        if (*from == '\033') {
            from += strcspn(from, "m") + 1;
            continue;
        }
        *to++ = *from++;
    }
    *to = '\0';
    CU_ASSERT_STRING_EQUAL(coloured, plain);
    free(plain);
    free(coloured);
    anx_verdicts_destroy(v);
}

static void all_failures_are_shown_when_verbose(void) {
    anx_verdicts *v = sample_verdicts(SAMPLE_FAIL);
    char *brief = report_of(anx_report_text, v, (anx_report_options){.verbose = false});
    char *verbose = report_of(anx_report_text, v, (anx_report_options){.verbose = true});
    CU_ASSERT_PTR_NOT_NULL(strstr(brief, "First bad point: features.3"));
    CU_ASSERT_PTR_NULL(strstr(brief, "Also bad:"));
    CU_ASSERT_PTR_NOT_NULL(strstr(verbose, "Also bad: features.6"));
    free(brief);
    free(verbose);
    anx_verdicts_destroy(v);
}

static void nothing_judged_is_a_failure_everywhere(void) {
    anx_verdicts *named = sample_verdicts(SAMPLE_PASS); /* lends its texts */
    anx_verdicts bare = *named;
    bare.n_judged = bare.n_top5 = 0;
    anx_verdicts_conclude(&bare);
    char *text = report_of(anx_report_text, &bare, (anx_report_options){.classes = NULL});
    char *junit = report_of(anx_report_junit, &bare, (anx_report_options){.classes = NULL});
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\nFAIL  0 passed, 0 failed"));
    CU_ASSERT_PTR_NOT_NULL(strstr(junit, "tests=\"1\" failures=\"1\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(junit, "message=\"nothing was judged\""));
    free(text);
    free(junit);
    anx_verdicts_destroy(named);
}

static void hostile_names_stay_harmless(void) {
    /* The sample's input is named with an escape sequence; a path may be no UTF-8 at all. */
    anx_verdicts *v = sample_verdicts(SAMPLE_FAIL);
    free(v->checkpoint.path);
    v->checkpoint.path = strdup("bad\xff\x1b]0;title\a.pth");
    char *text = report_of(anx_report_text, v, (anx_report_options){.verbose = true});
    char *json = report_of(anx_report_json, v, (anx_report_options){.classes = NULL});
    char *junit = report_of(anx_report_junit, v, (anx_report_options){.classes = NULL});
    CU_ASSERT_PTR_NULL(strchr(text, '\033'));
    CU_ASSERT_PTR_NULL(strchr(text, '\a'));
    CU_ASSERT_PTR_NULL(strchr(json, '\033'));
    CU_ASSERT_PTR_NULL(strchr(json, '\xff'));
    CU_ASSERT_PTR_NULL(strchr(junit, '\033'));
    CU_ASSERT_PTR_NULL(strchr(junit, '\xff'));
    free(text);
    free(json);
    free(junit);
    anx_verdicts_destroy(v);
}

/* The longest line's characters. */
static int columns_of(const char *text) {
    int most = 0, at = 0;
    for (; *text != '\0'; text++) {
        at = *text == '\n' ? 0 : at + (((unsigned char)*text & 0xc0) != 0x80);
        most = at > most ? at : most;
    }
    return most;
}

static void long_paths_are_broken_where_the_lines_end(void) {
    char path[1000] = "/data", with_spaces[600] = "My pictures";
    for (int i = 0; i < 40; i++) strcat(path, "/f\xc3\xb6lder-of-models");
    for (int i = 0; i < 30; i++) strcat(with_spaces, "/of a holiday");
    anx_verdicts *v = sample_verdicts(SAMPLE_FAIL);
    free(v->checkpoint.path);
    v->checkpoint.path = strdup(path);
    for (size_t i = 0; i < v->n_judged; i++) {
        free(v->judged[i].input);
        v->judged[i].input = strdup(i % 2 == 0 ? path : with_spaces);
    }
    for (size_t i = 0; i < v->n_top5; i++) {
        free(v->top5[i].input);
        v->top5[i].input = strdup(path);
    }
    char *text = report_of(anx_report_text, v, (anx_report_options){.verbose = true});
    char *json = report_of(anx_report_json, v, (anx_report_options){.classes = NULL});
    CU_ASSERT(columns_of(text) <= 100);
    CU_ASSERT_PTR_NOT_NULL(strstr(json, path));
    /* Nothing is lost: without the breaks it is all there. */
    char *to = text;
    for (const char *from = text; *from != '\0'; from++)
        if (*from != '\n' && *from != ' ') *to++ = *from;
    *to = '\0';
    CU_ASSERT_PTR_NOT_NULL(strstr(text, path));
    free(text);
    free(json);
    anx_verdicts_destroy(v);
}

static const char *file_with(const char *content) {
    const char *path = anx_test_path("classes.tsv");
    FILE *f = fopen(path, "wb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fputs(content, f);
    fclose(f);
    return path;
}

static void class_names_are_read_by_line(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_class_names *names = NULL;
    ANX_CHECK_OK(anx_class_names_open(file_with("0\tn01\ttench\n1\tn02\tgreat white shark"), &names, &err), &err);
    CU_ASSERT_EQUAL(names->count, 2);
    CU_ASSERT_STRING_EQUAL(names->wnids[1], "n02");
    CU_ASSERT_STRING_EQUAL(anx_class_name(names, 2, 1), "great white shark");
    CU_ASSERT_STRING_EQUAL(anx_class_name(names, 2, 2), "");
    CU_ASSERT_STRING_EQUAL(anx_class_name(names, 2, -1), "");
    CU_ASSERT_STRING_EQUAL(anx_class_name(names, 10, 1), ""); /* a model of other classes */
    CU_ASSERT_STRING_EQUAL(anx_class_name(NULL, 2, 1), "");
    anx_class_names_close(names);
}

static void malformed_class_names_are_refused(void) {
    static const struct {
        const char *content, *message;
    } cases[] = {
        {"", "no line in it"},
        {"0\tn01\n", "line 1: expected '0<tab>WNID<tab>NAME'"},
        {"0\tn01\ttench\tmore\n", "line 1: expected"},
        {"0\tn01\ttench\n2\tn02\tgoldfish\n", "line 2: expected '1<tab>WNID<tab>NAME'"},
        {"0\tn01\t\n", "line 1: expected"},
        {"zero\tn01\ttench\n", "line 1: expected"},
        {"0\tn01\tt\xff\n", "not text in UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        anx_error err = ANX_ERROR_INIT;
        anx_class_names *names = NULL;
        ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_class_names_open(file_with(cases[i].content), &names, &err), &err);
        ANX_CHECK_MESSAGE(cases[i].message, &err);
        CU_ASSERT_PTR_NULL(names);
    }
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"colours come only where asked for", colours_only_where_asked_for},
        {"all failures are shown when verbose", all_failures_are_shown_when_verbose},
        {"nothing judged is a failure everywhere", nothing_judged_is_a_failure_everywhere},
        {"hostile names stay harmless", hostile_names_stay_harmless},
        {"long paths are broken where the lines end", long_paths_are_broken_where_the_lines_end},
        {"class names are read line by line", class_names_are_read_by_line},
        {"malformed class names are refused", malformed_class_names_are_refused},
        {NULL, NULL},
    };
    return anx_test_main("report", tests, argc, argv);
}
