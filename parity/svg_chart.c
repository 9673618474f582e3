#include "parity/svg_chart.h"

#include <math.h>
#include <string.h>

#include "loaders/checkpoint/text.h"
#include "parity/report_text_inside.h"

/* The drawing, in its own units. */
enum { width = 960, height = 330, left = 76, right = 16, top = 22, bottom = 48 };
enum { max_ticks = 24, most_markers = 120, mark_label_room = 84 };

static const char *const dashes[ANX_SVG_STYLES] = {"", "7 4", "2 3", "10 3 2 3", "14 4", "4 2", "10 3 2 3 2 3", "1 4"};

void anx_html_put_text(FILE *to, const char *text) {
    char shown[4096];
    for (const char *c = anx_text_printable(text, strlen(text), shown, sizeof shown); *c != '\0'; c++) {
        switch (*c) {
        case '&': fputs("&amp;", to); break;
        case '<': fputs("&lt;", to); break;
        case '>': fputs("&gt;", to); break;
        case '"': fputs("&quot;", to); break;
        case '\'': fputs("&#39;", to); break;
        default: fputc(*c, to);
        }
    }
}

/* ---- scales ---- */

/* From values to the drawing. */
typedef struct scale {
    bool log;
    double low, high; /* what the axis spans */
    double from, to;  /* where in the drawing */
    int n_ticks;
    double ticks[max_ticks];
    double step; /* between ticks; linear only */
} scale;

static double place(const scale *s, double value) {
    const double share = s->log ? log(value / s->low) / log(s->high / s->low) : (value - s->low) / (s->high - s->low);
    return s->from + share * (s->to - s->from);
}

/* The least of 1, 2, 5 times a power of ten that is no less than value, which is positive. */
static double round_up(double value) {
    const double power = pow(10, floor(log10(value))), share = value / power;
    return (share <= 1.0000001 ? 1 : share <= 2.0000001 ? 2 : share <= 5.0000001 ? 5 : 10) * power;
}

static void add_tick(scale *s, double value) {
    if (s->n_ticks < max_ticks) s->ticks[s->n_ticks++] = value;
}

/* fit: the axis ends where the values do, else at a tick. */
static void set_linear(scale *s, double low, double high, int wanted, bool whole, bool fit) {
    if (!(high - low >
          fmax(1e-300, 1e-9 * fmax(fabs(low), fabs(high))))) { /* one value, or as good as that: some room about it */
        const double room = whole ? 1 : fmax(fabs(low) * 0.05, 1e-12);
        low -= whole && low <= 0 ? 0 : room;
        high += room;
    }
    s->step = round_up((high - low) / wanted);
    if (whole && s->step < 1) s->step = 1;
    const double first = fit ? ceil(low / s->step - 1e-9) : floor(low / s->step + 1e-9);
    const double last = fit ? floor(high / s->step + 1e-9) : ceil(high / s->step - 1e-9);
    s->low = fit ? low : first * s->step;
    s->high = fit ? high : last * s->step;
    for (double i = first; i <= last && s->n_ticks < max_ticks; i++) add_tick(s, i * s->step);
}

static double pow10_exact(double exponent) { /* the double that "1e-5" reads as, not one beside it */
    return exponent < 0 ? 1 / pow(10, -exponent) : pow(10, exponent);
}

static void set_log(scale *s, double low, double high) {
    static const int all[] = {1, 2, 5};
    double decade = floor(log10(low) + 1e-9), end = ceil(log10(high) - 1e-9);
    if (end <= decade) end = decade + 1;
    s->log = true;
    const int between = end - decade <= 3 ? 3 : 1; /* 1, 2, 5 or only powers of ten */
    const double every = ceil((end - decade) / 8);
    /* The axis ends at the marks about the values. */
    s->low = pow10_exact(decade);
    s->high = pow10_exact(end);
    for (double d = decade; d <= end; d++)
        for (int i = 0; i < between; i++) {
            const double tick = d < 0 ? all[i] / pow(10, -d) : all[i] * pow(10, d);
            if (tick <= low * (1 + 1e-9)) s->low = between > 1 ? tick : s->low;
            if (tick >= high * (1 - 1e-9) && tick < s->high && tick > s->low * (1 + 1e-9)) s->high = tick;
        }
    for (double d = decade; d <= end; d++)
        for (int i = 0; i < between; i++) {
            const double tick = d < 0 ? all[i] / pow(10, -d) : all[i] * pow(10, d);
            if (tick < s->low * (1 - 1e-9) || tick > s->high * (1 + 1e-9)) continue;
            if (between > 1 || fmod(d - decade, every) == 0) add_tick(s, tick);
        }
}

static void tick_text(const scale *s, double value, char buf[32]) {
    const double magnitude = fabs(value);
    if (value == 0) {
        snprintf(buf, 32, "0");
    } else if (magnitude >= 1e15 || magnitude < 1e-4) { /* "1e-5", not "1e-05" */
        int exponent = (int)floor(log10(magnitude) + 1e-9);
        snprintf(buf, 32, "%.3ge%d", value / pow(10, exponent), exponent);
    } else if (value == trunc(value) && magnitude >= 1000 &&
               s->ticks[s->n_ticks - 1] >= 10000) { /* as its neighbours */
        anx_report_grouped((int64_t)value, buf);
    } else if (s->log || magnitude >= 10000) {
        snprintf(buf, 32, "%.6g", value);
    } else {
        const int decimals = (int)fmax(0, -floor(log10(s->step) + 1e-9));
        snprintf(buf, 32, "%.*f", decimals > 9 ? 9 : decimals, value);
    }
}

/* ---- what is drawn ---- */

static bool is_drawn(const anx_svg_chart *c, anx_svg_point p) {
    /* Bounded, so that no difference and no power of ten below leaves a double's range. */
    return fabs(p.x) < 1e300 && fabs(p.y) < 1e300 && (!c->log_y || p.y > 1e-300);
}

static void widen(double value, double *low, double *high) {
    if (value < *low) *low = value;
    if (value > *high) *high = value;
}

/* False where there is no point at all. */
static bool find_range(const anx_svg_chart *c, anx_svg_point *low, anx_svg_point *high) {
    *low = (anx_svg_point){(double)INFINITY, (double)INFINITY};
    *high = (anx_svg_point){-(double)INFINITY, -(double)INFINITY};
    for (size_t i = 0; i < c->n_series; i++) {
        const anx_svg_series *s = &c->series[i];
        const anx_svg_point *const lines[] = {s->points, s->low, s->high};
        for (size_t l = 0; l < 3; l++)
            for (size_t k = 0; lines[l] != NULL && k < s->n_points; k++) {
                if (!is_drawn(c, lines[l][k])) continue;
                widen(lines[l][k].x, &low->x, &high->x);
                widen(lines[l][k].y, &low->y, &high->y);
            }
    }
    if (!(low->x <= high->x)) return false;
    for (size_t i = 0; i < c->n_marks; i++) widen(c->marks[i].x, &low->x, &high->x);
    return true;
}

static void put_axes(FILE *to, const anx_svg_chart *c, const scale *x, const scale *y) {
    char text[32];
    for (int i = 0; i < y->n_ticks; i++) {
        const double at = place(y, y->ticks[i]);
        tick_text(y, y->ticks[i], text);
        fprintf(to, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.3f\" y2=\"%.3f\"/>", left, width - right, at, at);
        fprintf(to, "<text class=\"tick-y\" x=\"%d\" y=\"%.3f\" dy=\"4\" text-anchor=\"end\">%s</text>\n", left - 8, at,
                text);
    }
    for (int i = 0; i < x->n_ticks; i++) {
        const double at = place(x, x->ticks[i]);
        tick_text(x, x->ticks[i], text);
        fprintf(to, "<line class=\"grid\" x1=\"%.3f\" x2=\"%.3f\" y1=\"%d\" y2=\"%d\"/>", at, at, top, height - bottom);
        fprintf(to, "<text class=\"tick-x\" x=\"%.3f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", at,
                height - bottom + 18, text);
    }
    fprintf(to, "<path class=\"axis\" d=\"M%d %dV%dH%d\"/>\n", left, top, height - bottom, width - right);
    fprintf(to, "<text class=\"label\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">", (left + width - right) / 2,
            height - 8);
    anx_html_put_text(to, c->x_label);
    fprintf(to,
            "</text><text class=\"label\" x=\"16\" y=\"%d\" text-anchor=\"middle\" transform=\"rotate(-90 16 %d)\">",
            (top + height - bottom) / 2, (top + height - bottom) / 2);
    anx_html_put_text(to, c->y_label);
    fputs("</text>\n", to);
}

static void put_marks(FILE *to, const anx_svg_chart *c, const scale *x) {
    double free_from = -1; /* a label that would cover the one before is left to the line's title */
    for (size_t i = 0; i < c->n_marks; i++) {
        const double at = place(x, c->marks[i].x);
        fprintf(to, "<g class=\"mark\"><title>");
        anx_html_put_text(to, c->marks[i].title);
        fprintf(to, "</title><line x1=\"%.3f\" x2=\"%.3f\" y1=\"%d\" y2=\"%d\"/>", at, at, top - 6, height - bottom);
        if (at >= free_from) {
            const bool at_end = at > width - right - mark_label_room;
            fprintf(to, "<text x=\"%.3f\" y=\"%d\" text-anchor=\"%s\">", at_end ? at - 4 : at + 4, top - 8,
                    at_end ? "end" : "start");
            anx_html_put_text(to, c->marks[i].label);
            fputs("</text>", to);
            free_from = at + mark_label_room;
        }
        fputs("</g>\n", to);
    }
}

static void put_band(FILE *to, const anx_svg_chart *c, const anx_svg_series *s, const scale *x, const scale *y) {
    for (size_t i = 0; i < s->n_points;) {
        if (!is_drawn(c, s->low[i]) || !is_drawn(c, s->high[i])) {
            i++;
            continue;
        }
        size_t end = i;
        fprintf(to, "<polygon class=\"band f%d\" points=\"", s->style);
        for (; end < s->n_points && is_drawn(c, s->low[end]) && is_drawn(c, s->high[end]); end++)
            fprintf(to, "%.3f,%.3f ", place(x, s->high[end].x), place(y, s->high[end].y));
        for (size_t k = end; k-- > i;) fprintf(to, "%.3f,%.3f ", place(x, s->low[k].x), place(y, s->low[k].y));
        fputs("\"/>\n", to);
        i = end;
    }
}

static void begin_line(FILE *to, const anx_svg_series *s) {
    fprintf(to, "<polyline class=\"s%d%s\"", s->style, s->thin ? " thin" : "");
    if (dashes[s->style][0] != '\0' && !s->thin) fprintf(to, " stroke-dasharray=\"%s\"", dashes[s->style]);
    fputs(" points=\"", to);
}

static void put_line(FILE *to, const anx_svg_chart *c, const anx_svg_series *s, const scale *x, const scale *y) {
    for (size_t i = 0; i < s->n_points; i++) {
        if (!is_drawn(c, s->points[i])) continue;
        begin_line(to, s);
        for (; i < s->n_points && is_drawn(c, s->points[i]); i++)
            fprintf(to, "%.3f,%.3f ", place(x, s->points[i].x), place(y, s->points[i].y));
        fputs("\"/>\n", to);
    }
}

static void put_marker(FILE *to, int style, double x, double y) {
    switch (style % 4) {
    case 0: fprintf(to, "<circle class=\"f%d\" cx=\"%.3f\" cy=\"%.3f\" r=\"3.2\"/>", style, x, y); break;
    case 1:
        fprintf(to, "<rect class=\"f%d\" x=\"%.3f\" y=\"%.3f\" width=\"6\" height=\"6\"/>", style, x - 3, y - 3);
        break;
    case 2: fprintf(to, "<path class=\"f%d\" d=\"M%.3f %.3fl4 7h-8z\"/>", style, x, y - 4.5); break;
    default: fprintf(to, "<path class=\"f%d\" d=\"M%.3f %.3fl4.2 4.2l-4.2 4.2l-4.2 -4.2z\"/>", style, x, y - 4.2);
    }
}

static void put_markers(FILE *to, const anx_svg_chart *c, const anx_svg_series *s, const scale *x, const scale *y) {
    if (!s->markers || s->n_points > most_markers) return;
    for (size_t i = 0; i < s->n_points; i++)
        if (is_drawn(c, s->points[i])) put_marker(to, s->style, place(x, s->points[i].x), place(y, s->points[i].y));
    fputc('\n', to);
}

static void put_series(FILE *to, const anx_svg_chart *c, const anx_svg_series *s, const scale *x, const scale *y) {
    fprintf(to, "<g><title>");
    anx_html_put_text(to, s->label);
    fputs("</title>\n", to);
    if (s->low != NULL && s->high != NULL) put_band(to, c, s, x, y);
    put_line(to, c, s, x, y);
    put_markers(to, c, s, x, y);
    fputs("</g>\n", to);
}

void anx_svg_put_chart(FILE *to, const anx_svg_chart *c) {
    anx_svg_point low, high;
    fprintf(to, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", width, height);
    anx_html_put_text(to, c->title);
    fputs("\">\n<title>", to);
    anx_html_put_text(to, c->title);
    fputs("</title>\n<desc>", to);
    anx_html_put_text(to, c->description);
    fputs("</desc>\n", to);
    if (find_range(c, &low, &high)) {
        scale x = {.from = left, .to = width - right}, y = {.from = height - bottom, .to = top};
        set_linear(&x, low.x, high.x, 10, c->x_whole, true);
        if (c->log_y)
            set_log(&y, low.y, high.y);
        else
            set_linear(&y, low.y, high.y, 6, false, false);
        put_axes(to, c, &x, &y);
        put_marks(to, c, &x);
        for (size_t i = 0; i < c->n_series; i++) put_series(to, c, &c->series[i], &x, &y);
    } else {
        fprintf(to, "<text class=\"label\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">nothing was logged yet</text>\n",
                width / 2, height / 2);
    }
    fputs("</svg>\n", to);
}

void anx_svg_put_sample(FILE *to, const anx_svg_series *s) {
    fputs("<svg viewBox=\"0 0 36 12\" width=\"36\" height=\"12\" aria-hidden=\"true\">", to);
    begin_line(to, s);
    fputs("0,6 36,6 \"/>", to);
    if (s->markers) put_marker(to, s->style, 18, 6);
    fputs("</svg>", to);
}
