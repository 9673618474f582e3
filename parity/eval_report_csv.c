#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/eval_report.h"

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
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *line = open_memstream(&text, &n_bytes);
    if (line == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the list of predictions");
    anx_status status = ANX_OK;
    for (int64_t i = -1; status == ANX_OK && i < r->evaluation->n_predictions; i++) {
        rewind(line);
        if (i < 0)
            put_head(line);
        else
            put_prediction(r, &r->evaluation->predictions[i], line);
        /* A stream that has run out of memory says so here; its text is as long as what was written since rewind. */
        if (fflush(line) != 0 || ferror(line) != 0)
            status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the list of predictions");
        if (status == ANX_OK) status = write(to, text, n_bytes, err);
    }
    fclose(line);
    free(text);
    return status;
}
