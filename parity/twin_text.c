/* Twins in words. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/text.h"
#include "parity/checkpoint_twins.h"

const char *anx_twin_kind_name(anx_twin_kind kind) {
    static const char *const names[] = {"same", "reshaped", "permuted", "reversed", "flattened"};
    return names[kind];
}

const char *anx_twin_basis_name(anx_twin_basis basis) {
    static const char *const names[] = {"name", "bits", "module", "ambiguous"};
    return names[basis];
}

typedef struct phrase {
    char *buf;
    size_t used;
} phrase;

static void say(phrase *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(phrase *p, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(p->buf + p->used, ANX_TWIN_TEXT - p->used, format, args);
    va_end(args);
    p->used += (size_t)n < ANX_TWIN_TEXT - p->used ? (size_t)n : ANX_TWIN_TEXT - p->used - 1;
}

static void say_reshape(phrase *p, int rank, const int64_t *shape) {
    if (rank == 0) say(p, ".reshape(())");
    for (int i = 0; i < rank; i++)
        say(p, "%s%" PRId64 "%s", i == 0 ? ".reshape(" : ", ", shape[i], i == rank - 1 ? ")" : "");
}

static void say_permute(phrase *p, int rank, const int *axes) {
    bool moved = false;
    for (int i = 0; i < rank; i++) moved = moved || axes[i] != i;
    for (int i = 0; i < rank && moved; i++)
        say(p, "%s%d%s", i == 0 ? ".permute(" : ", ", axes[i], i == rank - 1 ? ")" : "");
}

static void say_flatten(phrase *p, const anx_tensor *a, const anx_twin_order *order) {
    int64_t split[3];
    for (int i = 0, n = 0; i < 2; i++) {
        split[n++] = i == order->axis ? order->outer : a->shape[i];
        if (i == order->axis) split[n++] = order->inner;
    }
    say_reshape(p, 3, split);
    say(p, ".transpose(%d, %d)", order->axis, order->axis + 1);
    say_reshape(p, 2, a->shape);
}

char *anx_twin_expression(const anx_checkpoint_diff *diff, const anx_twin *twin, char buf[ANX_TWIN_TEXT]) {
    const anx_tensor *a = &diff->a->tensors.items[twin->a].tensor, *b = &diff->b->tensors.items[twin->b].tensor;
    phrase p = {.buf = buf};
    say(&p, "A");
    switch (twin->order.kind) {
    case ANX_TWIN_RESHAPED: say_reshape(&p, b->rank, b->shape); break;
    case ANX_TWIN_REVERSED:
        say(&p, ".flip(%d)", twin->order.axis);
        say_permute(&p, a->rank, twin->order.axes);
        break;
    case ANX_TWIN_PERMUTED: say_permute(&p, a->rank, twin->order.axes); break;
    case ANX_TWIN_FLATTENED:
        say_flatten(&p, a, &twin->order);
        say_permute(&p, a->rank, twin->order.axes);
        break;
    case ANX_TWIN_SAME:
    case ANX_TWIN_KIND_COUNT: break;
    }
    return buf;
}

/* Can be written down as it is in an option and in a report. */
static bool plain(const char *name) {
    char shown[512];
    return strpbrk(name, "='") == NULL &&
           strcmp(anx_text_printable(name, strlen(name), shown, sizeof shown), name) == 0;
}

const char *anx_twins_bare_name(const anx_checkpoint_diff *diff, const anx_checkpoint_twins *twins, bool in_b,
                                size_t i) {
    const char *name = (in_b ? diff->b : diff->a)->tensors.items[i].name;
    const size_t n = twins->prefix != NULL && twins->prefix_in_b == in_b ? strlen(twins->prefix) : 0;
    return strncmp(name, twins->prefix != NULL ? twins->prefix : "", n) == 0 ? name + n : name;
}

/* B has a tensor of that name, or will have one when the prefix is taken away. */
static anx_status find_in_b(const anx_checkpoint_diff *diff, const anx_checkpoint_twins *twins, const char *bare,
                            bool *found, anx_error *err) {
    char *longer = NULL;
    *found = anx_state_dict_find(&diff->b->tensors, bare) != NULL;
    if (*found || twins->prefix == NULL || !twins->prefix_in_b) return ANX_OK;
    if (asprintf(&longer, "%s%s", twins->prefix, bare) < 0)
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for a name");
    *found = anx_state_dict_find(&diff->b->tensors, longer) != NULL;
    free(longer);
    return ANX_OK;
}

anx_status anx_twin_rename(const anx_checkpoint_diff *diff, const anx_checkpoint_twins *twins, const anx_twin *twin,
                           char **out, anx_error *err) {
    const char *a = anx_twins_bare_name(diff, twins, false, twin->a);
    const char *b = anx_twins_bare_name(diff, twins, true, twin->b);
    bool found;
    *out = NULL;
    if (twin->basis == ANX_TWIN_BY_NAME || twin->basis == ANX_TWIN_AMBIGUOUS) return ANX_OK;
    if (!plain(a) || !plain(b) || a[0] == '\0' || (twins->prefix != NULL && !plain(twins->prefix))) return ANX_OK;
    const anx_status status = find_in_b(diff, twins, a, &found, err);
    if (status != ANX_OK || found) return status;
    if (asprintf(out, "%s=%s", b, a) >= 0) return ANX_OK;
    *out = NULL;
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for a name");
}
