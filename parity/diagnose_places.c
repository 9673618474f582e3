/* Where an engine's wrong values lie, and whether they are the right ones of another place. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/diagnose_inside.h"

anx_layout anx_diagnose_layout(const anx_suspect *s) {
    const anx_extent *e = anx_diagnose_flattened_from(s->graph, s->node);
    if (e != NULL) return (anx_layout){s->batch, e->dim[0], e->dim[1], e->dim[2]};
    return (anx_layout){s->batch, 1, 1, anx_graph_extent(s->graph, s->node)->dim[0]};
}

static int64_t index_of(const anx_layout *l, int64_t n, int64_t c, int64_t y, int64_t x) {
    return ((n * l->planes + c) * l->h + y) * l->w + x;
}

/* ---- where they are wrong ---- */

static anx_status other_image(const anx_suspect *s, const anx_layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    (void)wrong;
    const int64_t each = l->planes * l->h * l->w;
    for (int64_t n = 0; n < l->batch; n++) {
        int64_t wrong_here = 0;
        for (int64_t i = 0; i < each; i++) wrong_here += anx_diagnose_is_wrong(s, n * each + i);
        for (int64_t m = 0; m < l->batch && wrong_here * 2 > each; m++) {
            if (m == n) continue;
            int64_t same = 0;
            for (int64_t i = 0; i < each; i++) same += anx_diagnose_is_got(s, n * each + i, s->expected[m * each + i]);
            if (same == each)
                return anx_judged_add_cause(j, "stale-image", 0.98, err,
                                            "image %lld of the batch holds the values of image %lld", (long long)n,
                                            (long long)m);
        }
    }
    return ANX_OK;
}

/* Features that have no rows and columns. */
static bool is_vector(const anx_layout *l) {
    return l->planes == 1 && l->h == 1;
}

/* All wrong values are one and the same feature of each image. */
static anx_status one_feature(const anx_suspect *s, const anx_layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    int64_t feature = -1;
    for (int64_t i = 0; i < anx_diagnose_elems(s); i++) {
        if (!anx_diagnose_is_wrong(s, i)) continue;
        if (feature >= 0 && i % l->w != feature) return ANX_OK;
        feature = i % l->w;
    }
    return anx_judged_add_cause(j, "one-channel", 0.8, err, "all %lld wrong values are feature %lld", (long long)wrong,
                                (long long)feature);
}

static bool has_padding(const anx_suspect *s) {
    for (int node = s->first; node <= s->node; node++) {
        const anx_node *n = &s->graph->nodes[node];
        const anx_pool2d_params *p = &n->layer->u.pool;
        if (n->layer->op == ANX_OP_CONV2D && (n->conv.pad_h > 0 || n->conv.pad_w > 0)) return true;
        if (n->layer->op == ANX_OP_MAX_POOL2D && (p->pad_h > 0 || p->pad_w > 0)) return true;
    }
    return false;
}

/* Wrong values confined to one plane, to the border, or to the end of the memory. */
static anx_status confined(const anx_suspect *s, const anx_layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    const int64_t n = anx_diagnose_elems(s);
    int64_t first = -1, planes = 0, plane = -1, border = 0, far_edge = 0, images = 0, image = -1;
    for (int64_t i = 0; i < n; i++) {
        if (!anx_diagnose_is_wrong(s, i)) continue;
        if (first < 0) first = i;
        const int64_t x = i % l->w, y = i / l->w % l->h, p = i / (l->w * l->h);
        planes += p != plane;
        plane = p;
        images += p / l->planes != image;
        image = p / l->planes;
        far_edge += x + 1 == l->w || y + 1 == l->h;
        border += x == 0 || y == 0 || x + 1 == l->w || y + 1 == l->h;
    }
    anx_status status = ANX_OK;
    if (l->planes > 1 && planes == images && planes <= l->batch) {
        bool one_channel = true; /* the same one in each image */
        for (int64_t i = 0; i < n; i++)
            one_channel =
                one_channel && (!anx_diagnose_is_wrong(s, i) || i / (l->w * l->h) % l->planes == plane % l->planes);
        if (one_channel)
            status = anx_judged_add_cause(j, "one-channel", 0.8, err, "all %lld wrong values lie in channel %lld",
                                          (long long)wrong, (long long)(plane % l->planes));
    }
    if (status == ANX_OK && is_vector(l)) status = one_feature(s, l, wrong, j, err);
    const bool has_inside = l->h > 2 && l->w > 2;
    if (status == ANX_OK && has_inside && far_edge == wrong && planes > 1)
        status = anx_judged_add_cause(j, "far-edge", 0.85, err,
                                      "all %lld wrong values lie in the last row or column: a window's end, or "
                                      "ceil_mode, is not PyTorch's",
                                      (long long)wrong);
    else if (status == ANX_OK && has_inside && has_padding(s) && border == wrong && planes > 1)
        status = anx_judged_add_cause(
            j, "border", 0.85, err, "all %lld wrong values lie at the border of their planes: padding is not PyTorch's",
            (long long)wrong);
    if (status == ANX_OK && l->planes == 1 && n - first <= 64 && (n - first) * 4 <= n && wrong > 1)
        status = anx_judged_add_cause(j, "tail", 0.7, err,
                                      "all wrong values lie among the last %lld: a remainder of a vectorised loop",
                                      (long long)(n - first));
    return status;
}

/* ---- values of another place ---- */

/* (plane c, row y, column x) to where its value should come from; false: from nowhere. */
typedef bool (*place)(const anx_layout *l, int64_t *c, int64_t *y, int64_t *x);

static bool right_by_one(const anx_layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)l, (void)c, (void)y;
    return --*x >= 0;
}

static bool left_by_one(const anx_layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)c, (void)y;
    return ++*x < l->w;
}

static bool down_by_one(const anx_layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)l, (void)c, (void)x;
    return --*y >= 0;
}

static bool up_by_one(const anx_layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)c, (void)x;
    return ++*y < l->h;
}

static bool diagonal(const anx_layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)c;
    return ++*y < l->h && ++*x < l->w;
}

static bool diagonal_back(const anx_layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)l, (void)c;
    return --*y >= 0 && --*x >= 0;
}

static bool mirrored(const anx_layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)c, (void)y;
    *x = l->w - 1 - *x;
    return true;
}

static bool upside_down(const anx_layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)c, (void)x;
    *y = l->h - 1 - *y;
    return true;
}

static bool transposed(const anx_layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)c;
    const int64_t t = *y;
    *y = *x;
    *x = t;
    return *y < l->h && *x < l->w;
}

static bool next_channel(const anx_layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)y, (void)x;
    return ++*c < l->planes;
}

static bool previous_channel(const anx_layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)l, (void)y, (void)x;
    return --*c >= 0;
}

static bool reversed_channels(const anx_layout *l, int64_t *c, int64_t *y, int64_t *x) {
    (void)y, (void)x;
    *c = l->planes - 1 - *c;
    return true;
}

static bool channels_last(const anx_layout *l, int64_t *c, int64_t *y, int64_t *x) {
    const int64_t flat = (*c * l->h + *y) * l->w + *x; /* read as (h, w, c) */
    *c = flat % l->planes;
    *x = flat / l->planes % l->w;
    *y = flat / l->planes / l->w;
    return true;
}

static const struct {
    const char *id, *text;
    place from;
} places[] = {
    {"shift", "moved right by one column", right_by_one},
    {"shift", "moved left by one column", left_by_one},
    {"shift", "moved down by one row", down_by_one},
    {"shift", "moved up by one row", up_by_one},
    {"shift", "moved up and left by one", diagonal},
    {"shift", "moved down and right by one", diagonal_back},
    {"flip", "mirrored left to right", mirrored},
    {"flip", "upside down", upside_down},
    {"transpose", "with rows and columns exchanged", transposed},
    {"channel-order", "of the next channel", next_channel},
    {"channel-order", "of the channel before", previous_channel},
    {"channel-order", "of the channels in reverse order", reversed_channels},
    {"layout", "in (H, W, C) order", channels_last},
};

/* Of the plane's elements that come from a place at all, how many hold that place's right value? */
static void count_moved(const anx_suspect *s, const anx_layout *l, int64_t n, int64_t c, place from, int64_t *hits,
                        int64_t *counted) {
    for (int64_t y = 0; y < l->h; y++)
        for (int64_t x = 0; x < l->w; x++) {
            int64_t c2 = c, y2 = y, x2 = x;
            if (!from(l, &c2, &y2, &x2)) continue;
            ++*counted;
            *hits += anx_diagnose_is_got(s, index_of(l, n, c, y, x), s->expected[index_of(l, n, c2, y2, x2)]);
        }
}

static bool plane_is_wrong(const anx_suspect *s, const anx_layout *l, int64_t plane) {
    for (int64_t i = plane * l->h * l->w; i < (plane + 1) * l->h * l->w; i++)
        if (anx_diagnose_is_wrong(s, i)) return true;
    return false;
}

/* Planes with wrong values in which every value is the right one of another place. */
static anx_status moved(const anx_suspect *s, const anx_layout *l, int64_t wrong, anx_judged *j, anx_error *err) {
    if (wrong < 4 || is_vector(l)) return ANX_OK; /* features are looked at one by one (permuted) */
    anx_status status = ANX_OK;
    for (size_t k = 0; status == ANX_OK && k < sizeof places / sizeof *places; k++) {
        int64_t hits = 0, counted = 0, all = 0;
        for (int64_t plane = 0; plane < l->batch * l->planes; plane++) {
            if (!plane_is_wrong(s, l, plane)) continue;
            all += l->h * l->w;
            count_moved(s, l, plane / l->planes, plane % l->planes, places[k].from, &hits, &counted);
        }
        if (counted * 2 > all && (double)hits > 0.9 * (double)counted)
            status = anx_judged_add_cause(j, places[k].id, 0.95, err,
                                          "%.3g %% of the wrong planes' values are the right ones %s",
                                          100 * (double)hits / (double)counted, places[k].text);
    }
    return status;
}

/* Does wrong channel c hold, in each of the first `batch` images, the right values of channel `other`? */
static bool holds_channel(const anx_suspect *s, const anx_layout *l, int64_t batch, int64_t c, int64_t other) {
    const int64_t each = l->h * l->w;
    for (int64_t n = 0; n < batch; n++) {
        const int64_t at = (n * l->planes + c) * each, from = (n * l->planes + other) * each;
        for (int64_t i = 0; i < each; i++)
            if (!anx_diagnose_is_got(s, at + i, s->expected[from + i])) return false;
    }
    return true;
}

/* Wrong planes (features: values) that are, value for value, the right ones of other channels. */
static anx_status permuted(const anx_suspect *s, const anx_layout *planes, int64_t wrong, anx_judged *j,
                           anx_error *err) {
    (void)wrong;
    anx_layout l = *planes;
    if (l.planes == 1 && l.h == 1) l = (anx_layout){l.batch, l.w, 1, 1};
    const int64_t each = l.h * l.w, batch = each < 4 ? l.batch : 1; /* few values: all images, to be sure */
    if (l.planes < 2) return ANX_OK;
    int64_t bad = 0, matched = 0, from = -1, to = -1;
    for (int64_t c = 0; c < l.planes; c++) {
        if (holds_channel(s, &l, batch, c, c)) continue;
        bad++;
        int64_t other = 0;
        while (other < l.planes && (other == c || !holds_channel(s, &l, batch, c, other))) other++;
        if (other == l.planes) continue;
        matched++;
        to = c;
        from = other;
    }
    if (matched < 2 || (double)matched < 0.9 * (double)bad) return ANX_OK;
    return anx_judged_add_cause(
        j, "channel-order", 0.96, err,
        "%lld of %lld wrong channels hold the right values of another channel (channel %lld those "
        "of %lld)",
        (long long)matched, (long long)bad, (long long)to, (long long)from);
}

anx_status anx_diagnose_places(const anx_suspect *s, const anx_layout *l, int64_t wrong, anx_judged *judged,
                               anx_error *err) {
    static const anx_pattern patterns[] = {other_image, confined, moved, permuted};
    anx_status status = ANX_OK;
    for (size_t i = 0; status == ANX_OK && i < sizeof patterns / sizeof *patterns; i++)
        status = patterns[i](s, l, wrong, judged, err);
    return status;
}
