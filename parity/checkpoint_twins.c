/*
 * Whatever order a framework keeps its elements in, they stay the same elements: a sum over their bits, each scrambled,
 * finds in one pass which tensors can be another's at all. Those alone are compared, bit for bit, in one order after
 * the other.
 */
#include "parity/checkpoint_twins.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/elements_equal.h"
#include "parity/name_prefix.h"

enum { piece_elems = 1024, largest_element = 8, head_elems = 256, n_shares = 64 };
static const int64_t parallel_elems = 1 << 18; /* fewer are not worth waking threads for */

/* A tensor that differs. */
typedef struct item {
    bool in_b, taken;
    size_t index; /* in its checkpoint */
    anx_elements elements;
    int64_t n_elems;
    bool constant;
    uint64_t sum; /* the same for the same elements in any order */
    size_t same;  /* which class of `classes` it is in */
} item;

/* Tensors of one shape and the same bits. Its items stand side by side, A's first. */
typedef struct class {
    size_t first, n_a, n_b;
    size_t free_a, free_b; /* those that are not taken */
    size_t group;          /* the same for classes of the same elements */
} class;

/* Classes whose bits are the same in this order; those of one group stand side by side. */
typedef struct match {
    size_t x, y; /* x has tensors of A, y of B */
    anx_twin_order order;
    bool other_orders;
} match;

typedef struct finding {
    const anx_checkpoint_diff *diff;
    anx_checkpoint_twins *twins;
    int threads;
    anx_read_budget budget;
    anx_name_prefix prefix;
    item *items;
    size_t n_items;
    class *classes;
    size_t n_classes;
    match *matches;
    size_t n_matches, max_matches;
    size_t *item_of_b; /* of each of B's tensors: its place among the items; SIZE_MAX: it is not there */
} finding;

static const char *name_of(const finding *f, const item *it) {
    return (it->in_b ? f->diff->b : f->diff->a)->tensors.items[it->index].name;
}

/* ---- the tensors that differ ---------------------------------------------------------------------------- */

static void add_item(finding *f, bool in_b, size_t index) {
    item *it = &f->items[f->n_items++];
    *it = (item){.in_b = in_b, .index = index};
    it->elements = anx_checkpoint_elements(in_b ? f->diff->b : f->diff->a, index);
    it->n_elems = anx_tensor_elems(&it->elements.tensor);
}

static void collect(finding *f) {
    for (size_t i = 0; i < f->diff->n_rows; i++) {
        const anx_diff_row *row = &f->diff->rows[i];
        if (row->kind == ANX_DIFF_DTYPE || row->kind == ANX_DIFF_SKIPPED) continue;
        if (row->a != SIZE_MAX) add_item(f, false, row->a);
        if (row->b != SIZE_MAX) add_item(f, true, row->b);
    }
}

#define ORDER_BY(x, y)                                                                                                 \
    if ((x) != (y)) return (x) < (y) ? -1 : 1

static int by_size(const void *p, const void *q) {
    const item *a = p, *b = q;
    ORDER_BY(a->elements.tensor.dtype, b->elements.tensor.dtype);
    ORDER_BY(a->n_elems, b->n_elems);
    ORDER_BY(a->in_b, b->in_b);
    ORDER_BY(a->index, b->index);
    return 0;
}

static int by_elements(const void *p, const void *q) {
    const item *a = p, *b = q;
    ORDER_BY(a->elements.tensor.dtype, b->elements.tensor.dtype);
    ORDER_BY(a->n_elems, b->n_elems);
    ORDER_BY(a->constant, b->constant);
    ORDER_BY(a->sum, b->sum);
    ORDER_BY(a->in_b, b->in_b);
    ORDER_BY(a->index, b->index);
    return 0;
}

static int by_class(const void *p, const void *q) {
    const item *a = p, *b = q;
    ORDER_BY(a->same, b->same);
    ORDER_BY(a->in_b, b->in_b);
    ORDER_BY(a->index, b->index);
    return 0;
}

static bool same_size(const item *a, const item *b) {
    return a->elements.tensor.dtype == b->elements.tensor.dtype && a->n_elems == b->n_elems;
}

static bool same_elements(const item *a, const item *b) {
    return same_size(a, b) && a->constant == b->constant && a->sum == b->sum;
}

/* Leaves out those of a size that the other checkpoint has none of. The items are in the order of by_size. */
static void drop_lonely(finding *f) {
    size_t kept = 0;
    for (size_t i = 0, end; i < f->n_items; i = end) {
        for (end = i; end < f->n_items && same_size(&f->items[i], &f->items[end]);) end++;
        if (f->items[i].in_b || !f->items[end - 1].in_b) continue;
        memmove(&f->items[kept], &f->items[i], (end - i) * sizeof *f->items);
        kept += end - i;
    }
    f->n_items = kept;
}

/* Steele, Lea and Flood's mixer: bits that differ anywhere differ in all places. */
static uint64_t scramble(uint64_t bits) {
    bits += 0x9e3779b97f4a7c15u;
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
    return bits ^ (bits >> 31);
}

static uint64_t sum_share(const item *it, uint64_t first_bits, anx_share share, bool *constant) {
    char buf[piece_elems * largest_element];
    const anx_dtype dtype = it->elements.tensor.dtype;
    const size_t bytes = anx_dtype_bytes(dtype);
    uint64_t sum = 0;
    for (int64_t from = share.from; from < share.to;) {
        const int64_t n = share.to - from < piece_elems ? share.to - from : piece_elems;
        anx_elements_read(&it->elements, from, n, dtype, buf, NULL);
        for (int64_t i = 0; i < n; i++) {
            const uint64_t bits = anx_element_value_load(dtype, buf + (size_t)i * bytes).bits;
            *constant = *constant && bits == first_bits;
            sum += scramble(bits);
        }
        from += n;
    }
    return sum;
}

static void sum_up(finding *f, item *it) {
    char first[largest_element] = {0};
    const anx_dtype dtype = it->elements.tensor.dtype;
    if (it->n_elems > 0) anx_elements_read(&it->elements, 0, 1, dtype, first, NULL);
    const uint64_t first_bits = anx_element_value_load(dtype, first).bits;
    const int shares = it->n_elems >= parallel_elems ? n_shares : 1;
    uint64_t sum = 0; /* of integers: the same in any order */
    bool constant = true;
#pragma omp parallel for schedule(dynamic, 1) num_threads(f->threads) reduction(+ : sum) reduction(&& : constant) if (shares > 1)
    for (int i = 0; i < shares; i++) {
        bool alike = true;
        sum += sum_share(it, first_bits, anx_share_of(it->n_elems, i, shares), &alike);
        constant = constant && alike;
    }
    it->sum = sum;
    it->constant = constant;
}

static void sum_up_all(finding *f) {
    size_t kept = 0;
    for (size_t i = 0; i < f->n_items; i++) {
        if (!anx_read_budget_take(&f->budget, f->items[i].n_elems, f->items[i].elements.tensor.dtype)) continue;
        sum_up(f, &f->items[i]);
        f->items[kept++] = f->items[i];
    }
    f->n_items = kept;
}

/* ---- comparing ------------------------------------------------------------------------------------------ */

/* Most of what differs does so among the first elements, which cost little. */
static bool same_bits(finding *f, const anx_elements *a, const anx_elements *b) {
    const int64_t n = anx_tensor_elems(&b->tensor), head = n < head_elems ? n : head_elems;
    if (!anx_read_budget_take(&f->budget, head_elems, b->tensor.dtype)) return false;
    if (!anx_elements_equal_range(a, b, 0, head)) return false;
    return head == n || (anx_read_budget_take(&f->budget, n, b->tensor.dtype) && anx_elements_equal(a, b, f->threads));
}

/* Of constant tensors one element tells of all. */
static bool same_constants(const item *a, const item *b) {
    return a->n_elems == 0 || anx_elements_equal_range(&a->elements, &b->elements, 0, 1);
}

static bool same_items(finding *f, const item *a, const item *b) {
    return anx_read_budget_take(&f->budget, 1, ANX_F64) &&
           anx_tensor_same_shape(&a->elements.tensor, &b->elements.tensor) &&
           (a->constant ? same_constants(a, b) : same_bits(f, &a->elements, &b->elements));
}

typedef struct trial {
    finding *f;
    const item *a, *b;
    bool found, other_orders;
    anx_twin_order order;
} trial;

static bool try_order(void *user, const anx_twin_order *order) {
    trial *t = user;
    const anx_elements view = anx_twin_order_view(&t->a->elements, order);
    if (t->found) {
        const anx_elements before = anx_twin_order_view(&t->a->elements, &t->order);
        if (anx_twin_order_view_same(&before, &view)) return true;
    }
    if (!same_bits(t->f, &view, &t->b->elements)) return !t->f->budget.refused;
    if (t->found) {
        t->other_orders = true;
        return false;
    }
    t->found = true;
    t->order = *order;
    return order->kind != ANX_TWIN_SAME && !t->a->constant;
}

static bool find_order(finding *f, const item *a, const item *b, trial *t) {
    *t = (trial){.f = f, .a = a, .b = b};
    anx_twin_order_each(&a->elements.tensor, &b->elements.tensor, try_order, t);
    return t->found;
}

/* ---- classes -------------------------------------------------------------------------------------------- */

/* The items are in the order of by_elements. */
static void find_classes(finding *f) {
    size_t group = 0;
    for (size_t i = 0; i < f->n_items; i++) {
        item *it = &f->items[i];
        if (i == 0 || !same_elements(it, &f->items[i - 1])) group = f->n_classes;
        size_t k = group;
        while (k < f->n_classes && !same_items(f, &f->items[f->classes[k].first], it))
            k = f->budget.refused ? f->n_classes : k + 1;
        if (k == f->n_classes) f->classes[f->n_classes++] = (class){.first = i, .group = group};
        it->same = k;
    }
}

static void settle_classes(finding *f) {
    qsort(f->items, f->n_items, sizeof *f->items, by_class);
    for (size_t i = 0; i < f->n_items; i++) {
        const item *it = &f->items[i];
        class *c = &f->classes[it->same];
        if (i == 0 || f->items[i - 1].same != it->same) c->first = i;
        c->n_a += !it->in_b;
        c->n_b += it->in_b;
        c->free_a = c->n_a;
        c->free_b = c->n_b;
        if (it->in_b) f->item_of_b[it->index] = i;
    }
}

static item *items_of_a(const finding *f, const class *c) {
    return &f->items[c->first];
}

static item *items_of_b(const finding *f, const class *c) {
    return &f->items[c->first + c->n_a];
}

static void take(finding *f, item *it) {
    if (it->taken) return;
    it->taken = true;
    if (it->in_b)
        f->classes[it->same].free_b--;
    else
        f->classes[it->same].free_a--;
}

static void add_match(finding *f, const match *m) {
    if (f->n_matches < f->max_matches)
        f->matches[f->n_matches++] = *m;
    else
        f->budget.refused = true;
}

/* Classes of one group with tensors of A alone against those with tensors of B alone. */
static void match_group(finding *f, size_t from, size_t to) {
    for (size_t x = from; x < to && !f->budget.refused; x++) {
        const class *cx = &f->classes[x];
        if (cx->free_a == 0 || cx->free_b > 0) continue;
        for (size_t y = from; y < to && anx_read_budget_take(&f->budget, 1, ANX_F64); y++) {
            const class *cy = &f->classes[y];
            trial t;
            if (cy->free_b == 0 || cy->free_a > 0) continue;
            if (find_order(f, items_of_a(f, cx), items_of_b(f, cy), &t))
                add_match(f, &(match){.x = x, .y = y, .order = t.order, .other_orders = t.other_orders});
        }
    }
}

static void find_matches(finding *f) {
    for (size_t k = 0, end; k < f->n_classes; k = end) {
        for (end = k; end < f->n_classes && f->classes[end].group == f->classes[k].group; end++)
            if (f->classes[end].free_a > 0 && f->classes[end].free_b > 0)
                add_match(f, &(match){.x = end, .y = end, .order = {.kind = ANX_TWIN_SAME}});
        /* constants fit in any order: between names that say nothing that says nothing either */
        if (end - k > 1 && !f->items[f->classes[k].first].constant) match_group(f, k, end);
    }
}

/* ---- twins ---------------------------------------------------------------------------------------------- */

/* The channels of a flattened axis are those that the convolution before gives. */
static int64_t channels_before(const anx_checkpoint *checkpoint, size_t index, const anx_twin_order *order) {
    while (index-- > 0) {
        const anx_tensor *t = &checkpoint->tensors.items[index].tensor;
        if (t->rank != 4) continue;
        const bool outer = t->shape[0] == order->outer || t->shape[3] == order->outer;
        const bool inner = t->shape[0] == order->inner || t->shape[3] == order->inner;
        return outer == inner ? 0 : outer ? order->outer : order->inner;
    }
    return 0;
}

static anx_twin *add_twin(finding *f, item *a, item *b, const anx_twin_order *order, anx_twin_basis basis) {
    anx_twin *twin = &f->twins->items[f->twins->n_items++];
    *twin = (anx_twin){.a = a->index, .b = b->index, .order = *order, .basis = basis, .constant = a->constant};
    if (order->kind == ANX_TWIN_FLATTENED) {
        twin->channels = channels_before(f->diff->a, a->index, order);
        if (twin->channels == 0) twin->channels = channels_before(f->diff->b, b->index, order);
    }
    take(f, a);
    take(f, b);
    return twin;
}

/* B's tensor of A's name, or of its name but for the prefix. SIZE_MAX: there is none that differs. */
static size_t named_alike(const finding *f, const item *a) {
    const anx_state_dict *dict = &f->diff->b->tensors;
    const char *name = name_of(f, a);
    const size_t n_bytes = f->prefix.n_bytes;
    const anx_tensor *t = anx_state_dict_find(dict, name);
    if (t == NULL && f->prefix.text != NULL && !f->prefix.in_b && strncmp(name, f->prefix.text, n_bytes) == 0)
        t = anx_state_dict_find(dict, name + n_bytes);
    char *longer = NULL;
    if (t == NULL && f->prefix.text != NULL && f->prefix.in_b &&
        asprintf(&longer, "%.*s%s", (int)n_bytes, f->prefix.text, name) >= 0) {
        t = anx_state_dict_find(dict, longer);
        free(longer);
    }
    if (t == NULL) return SIZE_MAX;
    const char *const entry = (const char *)t - offsetof(anx_named_tensor, tensor);
    return f->item_of_b[(size_t)(entry - (const char *)dict->items) / sizeof *dict->items];
}

static void take_named(finding *f) {
    for (size_t i = 0; i < f->n_items; i++) {
        item *a = &f->items[i];
        const size_t at = a->in_b ? SIZE_MAX : named_alike(f, a);
        item *b = at != SIZE_MAX ? &f->items[at] : NULL;
        trial t;
        if (b == NULL || b->taken || !same_elements(a, b) || !find_order(f, a, b, &t)) continue;
        add_twin(f, a, b, &t.order, ANX_TWIN_BY_NAME)->other_orders = t.other_orders;
        f->twins->n_prefix_same += t.order.kind == ANX_TWIN_SAME;
    }
}

/* How many of A's tensors the match's y could be, and of B's its x. */
static void count_rivals(const finding *f, const match *m, size_t *n_a, size_t *n_b) {
    const size_t group = f->classes[m->x].group;
    const match *at = m, *const end = f->matches + f->n_matches;
    *n_a = *n_b = 0;
    while (at > f->matches && f->classes[at[-1].x].group == group) at--;
    for (; at < end && f->classes[at->x].group == group; at++) {
        if (at->y == m->y) *n_a += f->classes[at->x].free_a;
        if (at->x == m->x) *n_b += f->classes[at->y].free_b;
    }
}

static item *first_free(item *items, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!items[i].taken) return &items[i];
    return NULL;
}

/* Those of which there is one each, unless all of them are wanted. */
static void take_matches(finding *f, bool unique, anx_twin_basis basis) {
    for (size_t i = 0; i < f->n_matches; i++) {
        const match *m = &f->matches[i];
        const class *x = &f->classes[m->x], *y = &f->classes[m->y];
        size_t n_a, n_b;
        count_rivals(f, m, &n_a, &n_b);
        item *a = first_free(items_of_a(f, x), x->n_a), *b = first_free(items_of_b(f, y), y->n_b);
        if (a == NULL || b == NULL || (unique && (n_a > 1 || n_b > 1))) continue;
        anx_twin *twin = add_twin(f, a, b, &m->order, basis);
        twin->other_orders = m->other_orders;
        twin->others_a = n_a - 1;
        twin->others_b = n_b - 1;
        if (unique) continue;
        for (size_t k = 0; k < x->n_a; k++) take(f, &items_of_a(f, x)[k]); /* one line says it of all of them */
        for (size_t k = 0; k < y->n_b; k++) take(f, &items_of_b(f, y)[k]);
    }
}

/* "features.0" and "weight" of "features.0.weight". */
static size_t module_bytes(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot != NULL ? (size_t)(dot - name) : 0;
}

static bool same_module(const char *name, size_t n_bytes, const char *other) {
    return module_bytes(other) == n_bytes && memcmp(name, other, n_bytes) == 0;
}

/* Another parameter of a's module is known to be one of b's. */
static bool modules_known(finding *f, const char *a, const char *b) {
    const size_t a_bytes = module_bytes(a), b_bytes = module_bytes(b);
    if (!anx_read_budget_take(&f->budget, 16, ANX_F64)) return false; /* names take their time too */
    if (a_bytes == 0 || b_bytes == 0 || strcmp(a + a_bytes, b + b_bytes) != 0) return false;
    if (!anx_read_budget_take(&f->budget, (int64_t)f->twins->n_items, ANX_F64)) return false;
    for (size_t i = 0; i < f->twins->n_items; i++) {
        const anx_twin *twin = &f->twins->items[i];
        if (twin->basis != ANX_TWIN_AMBIGUOUS && same_module(a, a_bytes, f->diff->a->tensors.items[twin->a].name) &&
            same_module(b, b_bytes, f->diff->b->tensors.items[twin->b].name))
            return true;
    }
    return false;
}

static void take_by_module(finding *f) {
    for (size_t i = 0; i < f->n_matches; i++) {
        const match *m = &f->matches[i];
        item *a = items_of_a(f, &f->classes[m->x]), *b = items_of_b(f, &f->classes[m->y]);
        const size_t n_a = f->classes[m->x].n_a, n_b = f->classes[m->y].n_b;
        size_t rivals_a, rivals_b;
        count_rivals(f, m, &rivals_a, &rivals_b);
        for (size_t j = 0; j < n_a; j++) {
            for (size_t k = 0; k < n_b && !a[j].taken && !f->budget.refused; k++) {
                if (b[k].taken || !modules_known(f, name_of(f, &a[j]), name_of(f, &b[k]))) continue;
                anx_twin *twin = add_twin(f, &a[j], &b[k], &m->order, ANX_TWIN_BY_MODULE);
                twin->other_orders = m->other_orders;
                twin->others_a = rivals_a - 1;
                twin->others_b = rivals_b - 1;
            }
        }
    }
}

static int by_place_in_a(const void *p, const void *q) {
    const anx_twin *a = p, *b = q;
    ORDER_BY(a->a, b->a);
    return 0;
}

/* ---- all of it ------------------------------------------------------------------------------------------ */

static anx_status allocate(finding *f, anx_error *err) {
    const size_t n = 2 * f->diff->n_rows + 1, n_b = f->diff->b->tensors.count;
    f->twins = calloc(1, sizeof *f->twins);
    f->items = calloc(n, sizeof *f->items);
    f->classes = calloc(n, sizeof *f->classes);
    f->max_matches = n + 4096; /* a class that matches itself needs one; several that match each other are rare */
    f->matches = calloc(f->max_matches, sizeof *f->matches);
    f->item_of_b = calloc(n_b + 1, sizeof *f->item_of_b);
    if (f->twins != NULL) f->twins->items = calloc(f->diff->n_rows + 1, sizeof *f->twins->items);
    if (f->twins == NULL || f->twins->items == NULL || f->items == NULL || f->classes == NULL || f->matches == NULL ||
        f->item_of_b == NULL)
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    for (size_t i = 0; i < n_b; i++) f->item_of_b[i] = SIZE_MAX;
    return ANX_OK;
}

static anx_status keep_prefix(finding *f, anx_error *err) {
    if (f->prefix.text == NULL) return ANX_OK;
    f->twins->prefix_in_b = f->prefix.in_b;
    f->twins->n_prefixed = f->prefix.n_names;
    f->twins->prefix = strndup(f->prefix.text, f->prefix.n_bytes);
    return f->twins->prefix != NULL ? ANX_OK : anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

static void find_twins(finding *f) {
    collect(f);
    qsort(f->items, f->n_items, sizeof *f->items, by_size);
    drop_lonely(f);
    sum_up_all(f);
    f->twins->cut_short = f->budget.refused; /* of one that was too large; there may be enough for the others */
    f->budget.refused = false;
    qsort(f->items, f->n_items, sizeof *f->items, by_elements);
    find_classes(f);
    settle_classes(f);
    take_named(f);
    find_matches(f);
    take_matches(f, true, ANX_TWIN_BY_BITS);
    take_by_module(f);
    take_matches(f, false, ANX_TWIN_AMBIGUOUS);
    qsort(f->twins->items, f->twins->n_items, sizeof *f->twins->items, by_place_in_a);
    f->twins->cut_short = f->twins->cut_short || f->budget.refused;
}

anx_status anx_checkpoint_twins_find(const anx_checkpoint_diff *diff, int threads, anx_checkpoint_twins **out,
                                     anx_error *err) {
    finding f = {.diff = diff,
                 .threads = threads > 0 ? threads : 1,
                 .budget = anx_read_budget_for(diff->a->file_bytes, diff->b->file_bytes),
                 .prefix = anx_name_prefix_find(diff)};
    anx_status status = allocate(&f, err);
    if (status == ANX_OK) status = keep_prefix(&f, err);
    if (status == ANX_OK) find_twins(&f);
    free(f.items);
    free(f.classes);
    free(f.matches);
    free(f.item_of_b);
    if (status == ANX_OK)
        *out = f.twins;
    else
        anx_checkpoint_twins_destroy(f.twins);
    return status;
}

void anx_checkpoint_twins_destroy(anx_checkpoint_twins *twins) {
    if (twins == NULL) return;
    free(twins->items);
    free(twins->prefix);
    free(twins);
}
