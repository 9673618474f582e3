/*
 * Reports: views of the one list of verdicts. Each returns its text, malloc'd and terminated, in *text; *n_bytes may
 * be NULL. Errors: OUT_OF_MEMORY alone.
 */
#ifndef ANX_PARITY_REPORT_H
#define ANX_PARITY_REPORT_H

#include "loaders/dataset/class_names.h"
#include "parity/verdict.h"

typedef struct anx_report_options {
    const anx_class_names *classes; /* NULL: classes are shown by number alone */
    bool color;                     /* text: ANSI colours */
    bool verbose;                   /* text: every row, every failure with its causes, every top-5 */
} anx_report_options;

/*
 * For people, at most 100 columns wide: the run, a table for each path, the first bad point with what fits its pattern,
 * top-5, a legend. The last line begins with PASS or FAIL and has the counts and the time.
 */
anx_status anx_report_text(const anx_verdicts *verdicts, const anx_report_options *options, char **text,
                           size_t *n_bytes, anx_error *err);

/* Everything in the list as JSON; parity/report.schema.json describes it. */
anx_status anx_report_json(const anx_verdicts *verdicts, const anx_report_options *options, char **text,
                           size_t *n_bytes, anx_error *err);

/*
 * For continuous-integration servers: JUnit's XML, a suite for each path, a test case for each judged thing. Failures
 * carry the reason and the causes; warnings and skips are failures where the run was strict.
 */
anx_status anx_report_junit(const anx_verdicts *verdicts, const anx_report_options *options, char **text,
                            size_t *n_bytes, anx_error *err);

#endif
