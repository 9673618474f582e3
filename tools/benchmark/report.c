#include "tools/benchmark/report.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/file.h"
#include "parity/json_builder.h"
#include "src/base/version.h"

/* "12.3", with about three figures. */
static void format_ms(double seconds, char *buf, size_t size) {
    const double ms = 1e3 * seconds;
    snprintf(buf, size, "%.*f", ms < 10.0 ? 2 : ms < 100.0 ? 1 : 0, ms);
}

/* "12.3 (11.9-14.0)" */
static void format_series(const bench_series *s, char *buf, size_t size) {
    char median[32], min[32], max[32];
    if (s->count == 0) {
        snprintf(buf, size, "-");
        return;
    }
    format_ms(bench_series_median(s), median, sizeof median);
    format_ms(bench_series_min(s), min, sizeof min);
    format_ms(bench_series_max(s), max, sizeof max);
    snprintf(buf, size, "%s (%s-%s)", median, min, max);
}

/* How many times as long `of` takes; "-" where one is missing. */
static void format_ratio(const bench_series *of, const bench_series *to, char *buf, size_t size) {
    if (of->count == 0 || to->count == 0)
        snprintf(buf, size, "-");
    else
        snprintf(buf, size, "%.2f", bench_series_median(of) / bench_series_median(to));
}

static void print_row(const bench_row *row, FILE *to) {
    char anx[128], torch[128], ratio[32], rate[32] = "-", bare[32], limit[48] = "-";
    format_series(&row->anx, anx, sizeof anx);
    format_series(&row->torch, torch, sizeof torch);
    format_ratio(&row->torch, &row->anx, ratio, sizeof ratio);
    format_ratio(&row->bare, &row->anx, bare, sizeof bare);
    const double median = bench_series_median(&row->anx);
    if (row->items > 0.0) snprintf(rate, sizeof rate, "%.1f", row->items / median);
    if (row->limit_seconds > 0.0)
        snprintf(limit, sizeof limit, "%.0f %% %s", 100.0 * row->limit_seconds / median, row->limit_by);
    fprintf(to, "%-11s %-20s %-19s %8s  %-19s %6s %6s  %s\n", row->name, row->what, anx, rate, torch, ratio, bare,
            limit);
}

/* ---- text ----------------------------------------------------------------------------------------------- */

static void print_device(const bench_report *report, FILE *to) {
    char words[ANX_DEVICE_WORDS];
    if (strcmp(report->device, "cpu") != 0)
        fprintf(to, "device %s: %s\n", report->device, anx_device_format(&report->info, words));
    for (int i = 0; anx_device_line(&report->info, i, words); i++) fprintf(to, "%s\n", words);
}

static void print_head(const bench_report *report, FILE *to) {
    fprintf(to, "%s, %d thread%s", report->cpu, report->threads, report->threads == 1 ? "" : "s");
    if (report->is_processor)
        fprintf(to, "; %s%s%s", report->info.library, report->info.library[0] != '\0' ? ", " : "", report->info.isa);
    fprintf(to, "%s%s\n", report->torch[0] != '\0' ? "; " : "", report->torch);
    print_device(report, to);
    if (report->torch_trouble[0] != '\0') fprintf(to, "without PyTorch: %s\n", report->torch_trouble);
    fprintf(to, "medians of %d run%s (min-max) in milliseconds; whole processes and loops run half as often\n",
            report->repeats, report->repeats == 1 ? "" : "s");
    if (!report->is_processor) return;
    fprintf(to,
            "limits: %.0f GFLOP/s of float32 multiply-adds (FMA, %s), %.1f GB/s read from memory,\n"
            "%.1f GB/s read and written there\n",
            1e-9 * report->limits.flops, report->limits.isa, 1e-9 * report->limits.bytes, 1e-9 * report->limits.moved);
}

static void print_legend(const bench_report *report, FILE *to) {
    fputs("\nratio: PyTorch's time / anx's. bare: time of the libraries' work alone / anx's: ", to);
    if (report->is_processor)
        fputs("oneDNN's convolutions and\nlinear layers, each on its favourite layouts; decoding the same parts of the "
              "images; ",
              to);
    else
        fputs("decoding the same parts of\nthe images; ", to);
    fputs("for whole loops what\n"
          "forward alone and preprocessing alone, shared out over the threads, add up to; for conversions `cp` of the "
          "same\n"
          "file and `sync` of the copy; for the head's training the frozen layers' forward pass and the head's steps, "
          "each by\n"
          "itself. Taken in turns in one run.\n",
          to);
    if (report->is_processor)
        fputs("limit: of each layer its multiply-adds or reading its weights, whichever takes longer, added up; in "
              "training\n"
              "of each of its products, and what the optimizer moves.\n",
              to);
    else
        fputs("load, convert, preprocess, pipeline and input are the processor's work, whatever the device. sgd is "
              "measured on\nthe processor alone: here it is part of train.\n",
              to);
}

static void print_row_notes(const bench_row *row, FILE *to) {
    const char *gap = row->what[0] != '\0' ? " " : "";
    if (row->torch.trouble[0] != '\0')
        fprintf(to, "%s%s%s: without PyTorch: %s\n", row->name, gap, row->what, row->torch.trouble);
    if (row->torch_setup[0] != '\0')
        fprintf(to, "%s %s: PyTorch's DataLoader has %s\n", row->name, row->what, row->torch_setup);
    if (row->moved_bytes > 0.0)
        fprintf(to, "%s %s: %.1f GB/s\n", row->name, row->what,
                1e-9 * row->moved_bytes / bench_series_median(&row->anx));
    if (row->anx_rss_bytes == 0) return;
    fprintf(to, "%s%s%s: at most %.0f MB resident", row->name, gap, row->what, 1e-6 * (double)row->anx_rss_bytes);
    if (row->torch_rss_bytes > 0) fprintf(to, ", PyTorch %.0f MB", 1e-6 * (double)row->torch_rss_bytes);
    fputc('\n', to);
}

void bench_report_text(const bench_report *report, FILE *to) {
    print_head(report, to);
    fprintf(to, "\n%-11s %-20s %-19s %8s  %-19s %6s %6s  %s\n", "", "", "anx", "images/s", "PyTorch", "ratio", "bare",
            "of the limit");
    for (int i = 0; i < report->n_rows; i++) print_row(&report->rows[i], to);
    print_legend(report, to);
    for (int i = 0; i < report->n_rows; i++) print_row_notes(&report->rows[i], to);
}

/* ---- JSON ----------------------------------------------------------------------------------------------- */

static void add_series(cJSON *to, const char *name, const bench_series *s) {
    if (s->count == 0) return;
    cJSON *o = cJSON_AddObjectToObject(to, name);
    cJSON_AddNumberToObject(o, "median_s", bench_series_median(s));
    cJSON_AddNumberToObject(o, "min_s", bench_series_min(s));
    cJSON_AddNumberToObject(o, "max_s", bench_series_max(s));
    cJSON_AddNumberToObject(o, "runs", s->count);
}

static void add_row(cJSON *rows, const bench_row *row) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddItemToArray(rows, o);
    cJSON_AddStringToObject(o, "name", row->name);
    cJSON_AddStringToObject(o, "what", row->what);
    if (row->items > 0.0) cJSON_AddNumberToObject(o, "items", row->items);
    add_series(o, "anx", &row->anx);
    add_series(o, "pytorch", &row->torch);
    add_series(o, "bare", &row->bare);
    if (row->torch.trouble[0] != '\0') cJSON_AddStringToObject(o, "pytorch_trouble", row->torch.trouble);
    const double median = bench_series_median(&row->anx);
    if (row->torch.count > 0) cJSON_AddNumberToObject(o, "pytorch_over_anx", bench_series_median(&row->torch) / median);
    if (row->bare.count > 0) cJSON_AddNumberToObject(o, "bare_over_anx", bench_series_median(&row->bare) / median);
    if (row->limit_seconds > 0.0) {
        cJSON_AddNumberToObject(o, "limit_s", row->limit_seconds);
        cJSON_AddStringToObject(o, "limit_by", row->limit_by);
    }
    if (row->moved_bytes > 0.0) cJSON_AddNumberToObject(o, "moved_bytes", row->moved_bytes);
    if (row->torch_setup[0] != '\0') cJSON_AddStringToObject(o, "pytorch_setup", row->torch_setup);
    if (row->anx_rss_bytes > 0) cJSON_AddNumberToObject(o, "anx_max_rss_bytes", (double)row->anx_rss_bytes);
    if (row->torch_rss_bytes > 0) cJSON_AddNumberToObject(o, "pytorch_max_rss_bytes", (double)row->torch_rss_bytes);
}

static anx_status write_text(const char *path, const char *text, anx_error *err) {
    if (strcmp(path, "-") == 0) {
        puts(text); /* standard output is checked at the command's end */
        return ANX_OK;
    }
    anx_file_writer *writer = NULL;
    anx_status status = anx_file_writer_create(path, true, &writer, err);
    if (status == ANX_OK) status = anx_file_writer_write(writer, text, strlen(text), err);
    if (status == ANX_OK) status = anx_file_writer_write(writer, "\n", 1, err);
    if (status == ANX_OK) status = anx_file_writer_commit(writer, err);
    anx_file_writer_destroy(writer);
    return status;
}

anx_status bench_report_json(const bench_report *report, const char *path, anx_error *err) {
    char words[ANX_DEVICE_WORDS];
    anx_json json = {.failed = false};
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "format", "anx-bench 1");
    cJSON_AddStringToObject(root, "anx_version", ANX_VERSION);
    cJSON_AddStringToObject(root, "cpu", report->cpu);
    cJSON_AddStringToObject(root, "device", report->device);
    cJSON_AddStringToObject(root, "engine", anx_device_format(&report->info, words));
    cJSON_AddStringToObject(root, "library", report->info.library);
    cJSON_AddStringToObject(root, "isa", report->info.isa);
    anx_json_add_device(&json, root, "facts", &report->info);
    if (report->torch[0] != '\0') cJSON_AddStringToObject(root, "pytorch", report->torch);
    if (report->torch_trouble[0] != '\0') cJSON_AddStringToObject(root, "pytorch_trouble", report->torch_trouble);
    cJSON_AddNumberToObject(root, "threads", report->threads);
    if (report->is_processor) {
        cJSON_AddNumberToObject(root, "fma_flop_per_s", report->limits.flops);
        cJSON_AddNumberToObject(root, "read_bytes_per_s", report->limits.bytes);
        cJSON_AddNumberToObject(root, "moved_bytes_per_s", report->limits.moved);
    }
    cJSON *rows = cJSON_AddArrayToObject(root, "rows");
    for (int i = 0; i < report->n_rows; i++) add_row(rows, &report->rows[i]);
    char *text = json.failed ? NULL : cJSON_Print(root);
    cJSON_Delete(root);
    if (text == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    const anx_status status = write_text(path, text, err);
    cJSON_free(text);
    return status;
}
