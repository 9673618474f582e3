#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/text.h"
#include "parity/report.h"
#include "src/base/text_stream.h"

/* Text for an attribute or for content. XML 1.0 has no way to write most control characters: they are left out. */
static void put_escaped(FILE *f, const char *text) {
    char shown[4096];
    if (!anx_utf8_valid(text, strlen(text))) text = anx_text_printable(text, strlen(text), shown, sizeof shown);
    for (; *text != '\0'; text++) switch (*text) {
        case '&': fputs("&amp;", f); break;
        case '<': fputs("&lt;", f); break;
        case '>': fputs("&gt;", f); break;
        case '"': fputs("&quot;", f); break;
        case '\n': fputs("&#10;", f); break;
        default:
            if ((unsigned char)*text >= 0x20) fputc(*text, f);
        }
}

static bool fails(const anx_verdicts *v, const anx_judged *j) {
    return j->verdict == ANX_VERDICT_FAIL ||
           (v->strict && (j->verdict == ANX_VERDICT_WARN || j->verdict == ANX_VERDICT_SKIP));
}

static void put_measured(FILE *f, const anx_judged *j) {
    for (int i = 0; i < j->n_versus; i++) {
        const anx_comparison *c = &j->versus[i];
        char at[128];
        fputs("against ", f);
        put_escaped(f, anx_basis_name(c->basis));
        fprintf(f,
                ": %" PRId64 " of %" PRId64 " elements beyond the bound, worst %.4g u*G (%.4g of its bound), RMS %.4g",
                c->over, c->elems, c->worst_r, c->worst_fraction, c->rms);
        if (c->bound == ANX_BOUND_SUM_TF32 || c->bound == ANX_BOUND_SUM_FAST)
            fprintf(f, ", by the bound '%s'", anx_bound_kind_name(c->bound));
        if (c->worst.known)
            fprintf(f, ", at %s: got %.9g, expected %.9g", anx_element_format(&c->worst, at, sizeof at), c->worst.got,
                    c->worst.expected);
        fputc('\n', f);
    }
}

static void put_failure(FILE *f, const anx_judged *j) {
    fprintf(f, "      <failure type=\"%s\" message=\"", anx_verdict_name(j->verdict));
    put_escaped(f, j->reason);
    fputs("\">", f);
    put_measured(f, j);
    for (int i = 0; i < j->n_causes; i++) {
        fputs("fits: ", f);
        put_escaped(f, j->causes[i].text);
        fputc('\n', f);
    }
    fputs("</failure>\n", f);
}

static void put_case(FILE *f, const anx_verdicts *v, const anx_judged *j) {
    fprintf(f, "    <testcase classname=\"anx-parity.%s.%s\" name=\"", anx_judged_path_name(j->path),
            anx_judged_kind_name(j->kind));
    put_escaped(f, j->point);
    if (j->input[0] != '\0') {
        fputs(" [", f);
        put_escaped(f, j->input);
        fputc(']', f);
    }
    fputs("\">\n", f);
    if (fails(v, j)) {
        put_failure(f, j);
    } else if (j->verdict == ANX_VERDICT_SKIP) {
        fputs("      <skipped message=\"", f);
        put_escaped(f, j->reason);
        fputs("\"/>\n", f);
    } else {
        fprintf(f, "      <system-out>%s: ", anx_verdict_name(j->verdict));
        put_escaped(f, j->reason);
        fputs("</system-out>\n", f);
    }
    fputs("    </testcase>\n", f);
}

/* What was not judged is no test. */
static bool counts(const anx_judged *j, anx_judged_path path) {
    return j->path == path && j->verdict != ANX_VERDICT_INFO;
}

static void put_suite(FILE *f, const anx_verdicts *v, anx_judged_path path) {
    int64_t tests = 0, failures = 0, skipped = 0;
    for (size_t i = 0; i < v->n_judged; i++) {
        if (!counts(&v->judged[i], path)) continue;
        tests++;
        failures += fails(v, &v->judged[i]);
        skipped += v->judged[i].verdict == ANX_VERDICT_SKIP && !fails(v, &v->judged[i]);
    }
    if (tests == 0) return;
    fprintf(f,
            "  <testsuite name=\"%s\" tests=\"%" PRId64 "\" failures=\"%" PRId64 "\" errors=\"0\" skipped=\"%" PRId64
            "\">\n",
            anx_judged_path_name(path), tests, failures, skipped);
    for (size_t i = 0; i < v->n_judged; i++)
        if (counts(&v->judged[i], path)) put_case(f, v, &v->judged[i]);
    fputs("  </testsuite>\n", f);
}

/* A run that failed without a failing test: nothing could be judged. A server must not show it as good. */
static void put_nothing_judged(FILE *f) {
    fputs("  <testsuite name=\"verdict\" tests=\"1\" failures=\"1\" errors=\"0\" skipped=\"0\">\n"
          "    <testcase classname=\"anx-parity\" name=\"something is judged\">\n"
          "      <failure type=\"fail\" message=\"nothing was judged\"/>\n"
          "    </testcase>\n"
          "  </testsuite>\n",
          f);
}

anx_status anx_report_junit(const anx_verdicts *verdicts, const anx_report_options *options, char **text,
                            size_t *n_bytes, anx_error *err) {
    (void)options;
    anx_text_stream s;
    anx_status status = anx_text_stream_open(&s, err);
    if (status != ANX_OK) return status;
    FILE *f = s.to;
    int64_t tests = 0, failures = 0;
    for (size_t i = 0; i < verdicts->n_judged; i++) {
        tests += verdicts->judged[i].verdict != ANX_VERDICT_INFO;
        failures += fails(verdicts, &verdicts->judged[i]);
    }
    const bool nothing = verdicts->overall == ANX_VERDICT_FAIL && failures == 0;
    tests += nothing;
    failures += nothing;
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"anx-parity ", f);
    put_escaped(f, verdicts->checkpoint.path);
    fprintf(f, "\" tests=\"%" PRId64 "\" failures=\"%" PRId64 "\" time=\"%.3f\">\n", tests, failures,
            verdicts->total_seconds);
    for (int path = 0; path < ANX_PATH_COUNT; path++) put_suite(f, verdicts, (anx_judged_path)path);
    if (nothing) put_nothing_judged(f);
    fputs("</testsuites>\n", f);
    return anx_text_stream_close(&s, text, n_bytes, err);
}
