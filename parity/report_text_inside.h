/* What the text reports share. Not for files outside parity/. */
#ifndef ANX_PARITY_REPORT_TEXT_INSIDE_H
#define ANX_PARITY_REPORT_TEXT_INSIDE_H

#include <stdio.h>

#include "parity/report.h"
#include "src/base/text_stream.h"

enum { ANX_REPORT_COLUMNS = 100 };

typedef struct anx_text_report {
    FILE *to;
    anx_text_stream *stream; /* whose `to` that is */
    const anx_verdicts *verdicts;
    const anx_report_options *options;
    const anx_verdict_row *rows;
    size_t n_rows;
} anx_text_report;

typedef enum anx_report_style {
    ANX_STYLE_PLAIN = 0,
    ANX_STYLE_TITLE,
    ANX_STYLE_FAINT,
    ANX_STYLE_GOOD,
    ANX_STYLE_DOUBTFUL,
    ANX_STYLE_BAD
} anx_report_style;

/* Memory ran out beside the stream, so that something is missing: the report as a whole has failed. */
void anx_report_out_of_memory(const anx_text_report *r);

anx_report_style anx_report_verdict_style(anx_verdict verdict);
/* printf in a style; nothing but the text where there are no colours. */
void anx_report_put(const anx_text_report *r, anx_report_style style, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Words, broken before column 100 (a path that is longer than a line, at its end); the first line begins behind what
   stands at column `at`, the others are indented to `indent`. Ends the line. */
void anx_report_put_wrapped(const anx_text_report *r, anx_report_style style, int at, int indent, const char *text);
/* The same in the plain style, printf's way. */
void anx_report_put_wrapped_format(const anx_text_report *r, int at, int indent, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* A line "label       text", continued under the text; printf style. */
void anx_report_put_fact(const anx_text_report *r, const char *label, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* What a device has to say beyond one line, a line each, without a label. */
void anx_report_put_device_lines(const anx_text_report *r, const anx_device_info *info);
/* "244,409,783" into buf, which is returned. */
char *anx_report_grouped(int64_t value, char buf[32]);

/* Prints a name that came from outside, padded to `width`: control characters must not reach a terminal. Returns the
   characters printed. */
int anx_report_put_name(const anx_text_report *r, const char *name, int width);

/* "8.32", "1234", "4.3e7", "inf", "-" for NaN: at most 6 characters up to 1e99. Returns buf. */
char *anx_report_number(double value, char buf[16]);
/* A fraction as "11%", beyond 9.99 as "12x" or "5.6e5x"; "" for NaN. At most 6 characters up to 1e9. Returns buf. */
char *anx_report_share(double fraction, char buf[16]);

/* report_tables.c: every path's rows. */
void anx_report_put_tables(const anx_text_report *r);

#endif
