#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/eval_report.h"
#include "src/base/text_stream.h"

/* A field as RFC 4180 has it: in quotes where it holds a comma, a quote or a line's end, quotes doubled. */
static void put_field(FILE *line, const char *text) {
    if (text[strcspn(text, ",\"\r\n")] == '\0') {
        fputs(text, line);
        return;
    }
    fputc('"', line);
    for (; *text != '\0'; text++) {
        if (*text == '"') fputc('"', line);
        fputc(*text, line);
    }
    fputc('"', line);
}

static void put_head(FILE *line) {
    fputs("file,label,label_name", line);
    for (int k = 1; k <= ANX_TOP; k++) fprintf(line, ",top%d,top%d_name,top%d_probability", k, k, k);
    fputs(",margin1,margin5,spread,ambiguous1,ambiguous5,loss\r\n", line);
}

static void put_prediction(const anx_eval_report *r, const anx_prediction *p, FILE *line) {
    put_field(line, r->dataset->samples[p->file].name);
    fprintf(line, ",%" PRId64 ",", p->label);
    put_field(line, anx_eval_class_name(r, p->label));
    for (int k = 0; k < ANX_TOP; k++) {
        if (p->top[k] < 0) {
            fputs(",,,", line);
            continue;
        }
        fprintf(line, ",%" PRId32 ",", p->top[k]);
        put_field(line, anx_eval_class_name(r, p->top[k]));
        fprintf(line, ",%.9g", (double)p->probability[k]);
    }
    fprintf(line, ",%.9g,%.9g,%.9g,%d,%d,%.9g\r\n", p->margin1, p->margin5, p->spread, p->ambiguous1, p->ambiguous5,
            p->loss);
}

anx_status anx_eval_report_csv(const anx_eval_report *r, anx_eval_write_fn *write, void *to, anx_error *err) {
    anx_text_stream line;
    anx_status status = anx_text_stream_open(&line, err);
    if (status != ANX_OK) return status;
    for (int64_t i = -1; status == ANX_OK && i < r->evaluation->n_predictions; i++) {
        anx_text_stream_rewind(&line);
        if (i < 0)
            put_head(line.to);
        else
            put_prediction(r, &r->evaluation->predictions[i], line.to);
        status = anx_text_stream_flush(&line, err);
        if (status == ANX_OK) status = write(to, line.bytes, line.n_bytes, err);
    }
    char *text = NULL;
    const anx_status closed = anx_text_stream_close(&line, &text, NULL, status == ANX_OK ? err : NULL);
    free(text);
    return status == ANX_OK ? closed : status;
}
