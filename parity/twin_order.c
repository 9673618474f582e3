#include "parity/twin_order.h"

#include <string.h>

/* ---- views ---------------------------------------------------------------------------------------------- */

static void permute(anx_tensor *t, const int *axes) {
    const anx_tensor before = *t;
    for (int i = 0; i < t->rank; i++) {
        t->shape[i] = before.shape[axes[i]];
        t->stride[i] = before.stride[axes[i]];
    }
}

static void reverse(anx_tensor *t, int axis) {
    const int64_t last = (t->shape[axis] - 1) * t->stride[axis];
    t->data = (char *)t->data + last * (int64_t)anx_dtype_bytes(t->dtype);
    t->stride[axis] = -t->stride[axis];
}

/* A matrix whose axis `axis` becomes (inner, outer): three axes, in B's order. */
static void unflatten(anx_tensor *t, const anx_twin_order *order) {
    const anx_tensor before = *t;
    t->rank = 0;
    for (int i = 0; i < 2; i++) {
        const int from = order->axes[i];
        if (from == order->axis) {
            t->shape[t->rank] = order->inner;
            t->stride[t->rank++] = before.stride[from];
            t->shape[t->rank] = order->outer;
            t->stride[t->rank++] = before.stride[from] * order->inner;
        } else {
            t->shape[t->rank] = before.shape[from];
            t->stride[t->rank++] = before.stride[from];
        }
    }
}

anx_elements anx_twin_order_view(const anx_elements *a, const anx_twin_order *order) {
    anx_elements view = *a;
    switch (order->kind) {
    case ANX_TWIN_PERMUTED: permute(&view.tensor, order->axes); break;
    case ANX_TWIN_REVERSED:
        reverse(&view.tensor, order->axis);
        permute(&view.tensor, order->axes);
        break;
    case ANX_TWIN_FLATTENED: unflatten(&view.tensor, order); break;
    case ANX_TWIN_SAME:
    case ANX_TWIN_RESHAPED:
    case ANX_TWIN_KIND_COUNT: break;
    }
    return view;
}

/* Axes of extent 1 left out, axes that are one run put together. */
static anx_tensor plain(const anx_tensor *t) {
    anx_tensor out = *t;
    out.rank = 0;
    for (int i = 0; i < t->rank; i++) {
        if (t->shape[i] == 1) continue;
        const int last = out.rank - 1;
        if (last >= 0 && out.stride[last] == t->stride[i] * t->shape[i]) {
            out.shape[last] *= t->shape[i];
            out.stride[last] = t->stride[i];
        } else {
            out.shape[out.rank] = t->shape[i];
            out.stride[out.rank++] = t->stride[i];
        }
    }
    return out;
}

bool anx_twin_order_view_same(const anx_elements *x, const anx_elements *y) {
    const anx_tensor a = plain(&x->tensor), b = plain(&y->tensor);
    return a.data == b.data && anx_tensor_same_shape(&a, &b) &&
           memcmp(a.stride, b.stride, (size_t)a.rank * sizeof *a.stride) == 0;
}

/* ---- which there are ------------------------------------------------------------------------------------ */

typedef struct visiting {
    const anx_tensor *a, *b;
    anx_twin_order_visit visit;
    void *user;
} visiting;

static bool fits(const visiting *v, const int *axes) {
    for (int i = 0; i < v->a->rank; i++)
        if (v->a->shape[axes[i]] != v->b->shape[i]) return false;
    return true;
}

static void set_identity(int *axes, int rank) {
    for (int i = 0; i < rank; i++) axes[i] = i;
}

static bool is_identity(const int *axes, int rank) {
    for (int i = 0; i < rank; i++)
        if (axes[i] != i) return false;
    return true;
}

/* The next in lexicographic order; false after the last. */
static bool next_permutation(int *axes, int rank) {
    int i = rank - 2;
    while (i >= 0 && axes[i] > axes[i + 1]) i--;
    if (i < 0) return false;
    int j = rank - 1;
    while (axes[j] < axes[i]) j--;
    const int swapped = axes[i];
    axes[i] = axes[j];
    axes[j] = swapped;
    for (int low = i + 1, high = rank - 1; low < high; low++, high--) {
        const int moved = axes[low];
        axes[low] = axes[high];
        axes[high] = moved;
    }
    return true;
}

/* What one permutation stands for: itself, or an axis reversed before it. */
static bool visit_permutation(const visiting *v, const int *axes, bool reversed) {
    const int rank = v->a->rank;
    anx_twin_order order = {.kind = reversed ? ANX_TWIN_REVERSED : ANX_TWIN_PERMUTED};
    if (!fits(v, axes)) return true;
    memcpy(order.axes, axes, (size_t)rank * sizeof *axes);
    if (!reversed) return is_identity(axes, rank) || v->visit(v->user, &order);
    for (order.axis = 0; order.axis < rank; order.axis++)
        if (v->a->shape[order.axis] > 1 && !v->visit(v->user, &order)) return false;
    return true;
}

/* Convolutions' layouts first: OIHW to HWIO and back, to OHWI and back. */
static bool visit_permutations(const visiting *v, bool reversed) {
    static const int layouts[][4] = {{2, 3, 1, 0}, {3, 2, 0, 1}, {0, 2, 3, 1}, {0, 3, 1, 2}};
    enum { n_layouts = sizeof layouts / sizeof layouts[0] };
    const int rank = v->a->rank;
    int axes[ANX_MAX_RANK] = {0};
    if (rank != v->b->rank) return true;
    set_identity(axes, rank);
    if (!visit_permutation(v, axes, reversed)) return false;
    for (int i = 0; rank == 4 && i < n_layouts; i++)
        if (!visit_permutation(v, layouts[i], reversed)) return false;
    while (next_permutation(axes, rank)) {
        bool known = false;
        for (int i = 0; rank == 4 && i < n_layouts; i++) known |= memcmp(axes, layouts[i], sizeof layouts[i]) == 0;
        if (!known && !visit_permutation(v, axes, reversed)) return false;
    }
    return true;
}

static bool visit_factors(const visiting *v, const anx_twin_order *plan) {
    const int64_t n = v->a->shape[plan->axis];
    anx_twin_order order = *plan;
    for (int64_t low = 2; low <= n / low; low++) {
        if (n % low != 0) continue;
        order.outer = low;
        order.inner = n / low;
        if (!v->visit(v->user, &order)) return false;
        order.outer = n / low;
        order.inner = low;
        if (order.outer != low && !v->visit(v->user, &order)) return false;
    }
    return true;
}

/* Matrices whose columns (or rows, where they stand the other way round) come from (channels, positions). */
static void visit_flattenings(const visiting *v) {
    static const int as_is[] = {0, 1}, transposed[] = {1, 0};
    if (v->a->rank != 2 || v->b->rank != 2) return;
    for (int t = 0; t < 2; t++) {
        const int *axes = t == 0 ? as_is : transposed;
        if (!fits(v, axes)) continue;
        for (int axis = 1; axis >= 0; axis--) {
            const anx_twin_order plan = {.kind = ANX_TWIN_FLATTENED, .axes = {axes[0], axes[1]}, .axis = axis};
            if (!visit_factors(v, &plan)) return;
        }
    }
}

void anx_twin_order_each(const anx_tensor *a, const anx_tensor *b, anx_twin_order_visit visit, void *user) {
    const visiting v = {.a = a, .b = b, .visit = visit, .user = user};
    const anx_twin_order same = {.kind = anx_tensor_same_shape(a, b) ? ANX_TWIN_SAME : ANX_TWIN_RESHAPED};
    if (visit(user, &same) && visit_permutations(&v, false) && visit_permutations(&v, true)) visit_flattenings(&v);
}
