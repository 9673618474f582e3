/*
 * Charts as inline SVG for a page of HTML: lines over axes with round numbers. The page's style sheet gives the
 * colours: of the classes axis, grid, mark and s0 to s7.
 */
#ifndef ANX_PARITY_SVG_CHART_H
#define ANX_PARITY_SVG_CHART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { ANX_SVG_STYLES = 8 }; /* colours, each with a dash pattern and a marker of its own */

typedef struct anx_svg_point {
    double x, y; /* a point that is not finite, or not positive on a logarithmic scale, interrupts the line */
} anx_svg_point;

typedef struct anx_svg_series {
    const char *label;
    int style;    /* 0 to ANX_SVG_STYLES - 1 */
    bool thin;    /* a fine line, for what is dense */
    bool markers; /* a mark at every point, where there are not too many */
    const anx_svg_point *points;
    size_t n_points;
    const anx_svg_point *low, *high; /* NULL, or a band about the line, n_points each */
} anx_svg_series;

/* A vertical line. */
typedef struct anx_svg_mark {
    double x;
    const char *label; /* short */
    const char *title; /* in full */
} anx_svg_mark;

typedef struct anx_svg_chart {
    const char *title, *description; /* for those who do not see it */
    const char *x_label, *y_label;
    bool log_y;
    bool x_whole; /* x is counted: no tick between whole numbers */
    const anx_svg_series *series;
    size_t n_series;
    const anx_svg_mark *marks;
    size_t n_marks;
} anx_svg_chart;

/* Prints <svg>...</svg>. Every text is escaped. */
void anx_svg_put_chart(FILE *to, const anx_svg_chart *chart);
/* A short sample of a series' line, for a legend. */
void anx_svg_put_sample(FILE *to, const anx_svg_series *series);

/* A text for HTML or XML, where nothing in it is markup; control characters are shown as \xNN. */
void anx_html_put_text(FILE *to, const char *text);

#endif
