#include "loaders/checkpoint/pth_layout.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

void anx_pth_layout_fini(anx_pth_layout *layout) {
    free(layout->storages);
    free(layout->tensors);
    *layout = (anx_pth_layout){.storages = NULL};
}

uint64_t anx_pth_storage_bytes(const anx_pth_storage *storage) {
    size_t bytes;
    const size_t element_bytes = anx_dtype_bytes(storage->content.dtype);
    return anx_checked_mul_size((size_t)storage->n_elems, element_bytes, &bytes) ? bytes : UINT64_MAX;
}

static anx_status allocate(anx_pth_layout *l, size_t n, anx_error *err) {
    l->storages = calloc(n + 1, sizeof *l->storages);
    l->tensors = calloc(n + 1, sizeof *l->tensors);
    l->n_tensors = n;
    return l->storages != NULL && l->tensors != NULL ? ANX_OK : out_of_memory(err);
}

/* ---- numbering ------------------------------------------------------------------------------------------ */

typedef struct numbered {
    size_t first_item, was;
} numbered;

static int by_first_item(const void *pa, const void *pb) {
    const numbered *a = pa, *b = pb;
    return a->first_item < b->first_item ? -1 : a->first_item > b->first_item;
}

/* Puts the storages in the order in which the pickle first names them. */
static anx_status number_storages(anx_pth_layout *l, anx_error *err) {
    const size_t n = l->n_storages;
    anx_status status = ANX_OK;
    size_t in_order = 1;
    while (in_order < n && l->storages[in_order - 1].first_item < l->storages[in_order].first_item) in_order++;
    if (in_order >= n) return ANX_OK; /* as a file has them mostly */
    numbered *order = calloc(n + 1, sizeof *order);
    size_t *moved = calloc(n + 1, sizeof *moved);
    anx_pth_storage *storages = calloc(n + 1, sizeof *storages);
    if (order == NULL || moved == NULL || storages == NULL) {
        status = out_of_memory(err);
        goto out;
    }
    for (size_t i = 0; i < n; i++) order[i] = (numbered){l->storages[i].first_item, i};
    if (n > 0) qsort(order, n, sizeof *order, by_first_item);
    for (size_t i = 0; i < n; i++) {
        storages[i] = l->storages[order[i].was];
        moved[order[i].was] = i;
    }
    for (size_t i = 0; i < l->n_tensors; i++) l->tensors[i].storage = moved[l->tensors[i].storage];
    free(l->storages);
    l->storages = storages;
    storages = NULL;
out:
    free(storages);
    free(moved);
    free(order);
    return status;
}

/* ---- by memory ------------------------------------------------------------------------------------------ */

/* The memory that a tensor reaches, gaps between strides included. */
typedef struct span {
    anx_dtype dtype;
    const uint8_t *data;
    int64_t n_elems;
    size_t item;
} span;

/* Elements from the first to behind the last one. */
static anx_status span_of(const anx_tensor *t, int64_t *n_elems, anx_error *err) {
    int64_t elems = 0, last = 0, bytes = 0;
    bool sound = anx_shape_elems(t->rank, t->shape, &elems);
    for (int i = 0; sound && elems > 0 && i < t->rank; i++) {
        int64_t step = 0;
        sound = t->stride[i] >= 0 && anx_checked_mul_i64(t->shape[i] - 1, t->stride[i], &step) &&
                anx_checked_add_i64(last, step, &last);
    }
    *n_elems = elems > 0 ? last + 1 : 0;
    if (!sound || !anx_checked_mul_i64(*n_elems, (int64_t)anx_dtype_bytes(t->dtype), &bytes))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "a shape or strides that no memory can hold");
    return ANX_OK;
}

static int by_place(const void *pa, const void *pb) {
    const span *a = pa, *b = pb;
    if (a->dtype != b->dtype) return a->dtype < b->dtype ? -1 : 1;
    if (a->data != b->data) return a->data < b->data ? -1 : 1;
    return a->item < b->item ? -1 : 1;
}

static void set_memory(anx_pth_storage *storage, anx_dtype dtype, const uint8_t *data, int64_t n_elems) {
    storage->n_elems = n_elems;
    storage->content = (anx_saving_item){
        .elements = {.tensor = anx_tensor_view(dtype, 1, &n_elems, data)}, .dtype = dtype, .name = "storage"};
}

/* Sorted spans, neighbours that overlap joined. Empty tensors and those read from a source stand alone. */
static void join_spans(anx_pth_layout *l, const span *spans, size_t n) {
    anx_pth_storage *last = NULL; /* the last one that lies in memory */
    for (size_t i = 0; i < n; i++) {
        const span *s = &spans[i];
        anx_pth_tensor *t = &l->tensors[s->item];
        const int64_t element_bytes = (int64_t)anx_dtype_bytes(s->dtype);
        const bool in_memory = s->data != NULL && s->n_elems > 0;
        const uint8_t *start = last != NULL ? last->content.elements.tensor.data : NULL;
        if (in_memory && last != NULL && last->content.dtype == s->dtype &&
            s->data < start + last->n_elems * element_bytes && (s->data - start) % element_bytes == 0) {
            t->offset = (s->data - start) / element_bytes;
            if (t->offset + s->n_elems > last->n_elems) set_memory(last, s->dtype, start, t->offset + s->n_elems);
            if (s->item < last->first_item) last->first_item = s->item;
            t->storage = (size_t)(last - l->storages);
            continue;
        }
        anx_pth_storage *st = &l->storages[l->n_storages];
        set_memory(st, s->dtype, in_memory ? s->data : NULL, s->n_elems);
        st->from_source = !in_memory && s->n_elems > 0;
        st->first_item = s->item;
        t->storage = l->n_storages++;
        if (in_memory) last = st;
    }
}

anx_status anx_pth_layout_by_memory(const anx_named_tensor *items, size_t n, bool has_source, anx_pth_layout *out,
                                    anx_error *err) {
    anx_pth_layout l = {.storages = NULL};
    span *spans = calloc(n + 1, sizeof *spans);
    anx_status status = spans != NULL ? allocate(&l, n, err) : out_of_memory(err);
    for (size_t i = 0; i < n && status == ANX_OK; i++) {
        const anx_tensor *t = &items[i].tensor;
        spans[i] = (span){.dtype = t->dtype, .data = t->data, .item = i};
        status = span_of(t, &spans[i].n_elems, err);
        if (status == ANX_OK && t->data == NULL && spans[i].n_elems > 0 &&
            (!has_source || !anx_tensor_is_contiguous(t)))
            status = anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "a tensor with elements but without data");
        if (status != ANX_OK) anx_error_in_entry(err, items[i].name);
        l.tensors[i] = (anx_pth_tensor){.name = items[i].name, .tensor = *t};
    }
    if (status == ANX_OK) {
        if (n > 0) qsort(spans, n, sizeof *spans, by_place);
        join_spans(&l, spans, n);
        status = number_storages(&l, err);
    }
    free(spans);
    if (status == ANX_OK)
        *out = l;
    else
        anx_pth_layout_fini(&l);
    return status;
}

/* ---- by storage ----------------------------------------------------------------------------------------- */

typedef struct use {
    const anx_storage *storage; /* NULL: none that is known */
    size_t item;
} use;

static int by_storage(const void *pa, const void *pb) {
    const use *a = pa, *b = pb;
    if (a->storage != b->storage) return (uintptr_t)a->storage < (uintptr_t)b->storage ? -1 : 1;
    return a->item < b->item ? -1 : 1;
}

/* All of a storage, also what no tensor reaches: torch.save writes it too. */
static void set_whole(anx_pth_storage *st, const anx_storage *storage, anx_dtype dtype) {
    set_memory(st, storage->dtype, storage->data, storage->n_elems);
    st->content.elements.swapped = storage->swapped;
    st->content.dtype = dtype;
    st->has_crc = storage->has_crc && !storage->swapped && dtype == storage->dtype;
    st->crc = storage->crc;
}

static void set_alone(anx_pth_storage *st, const anx_saving_item *item) {
    st->n_elems = anx_tensor_elems(&item->elements.tensor);
    st->content = *item;
}

anx_status anx_pth_layout_by_storage(const anx_saving *saving, anx_pth_layout *out, anx_error *err) {
    const size_t n = saving->n_items;
    anx_pth_layout l = {.storages = NULL};
    use *uses = calloc(n + 1, sizeof *uses);
    anx_status status = uses != NULL ? allocate(&l, n, err) : out_of_memory(err);
    for (size_t i = 0; i < n && status == ANX_OK; i++) {
        const anx_saving_item *item = &saving->items[i];
        const anx_tensor *t = &item->elements.tensor;
        uses[i] = (use){item->storage, i};
        l.tensors[i] =
            (anx_pth_tensor){.name = item->name,
                             .tensor = item->storage != NULL ? *t : anx_tensor_view(t->dtype, t->rank, t->shape, NULL),
                             .offset = item->storage != NULL ? item->offset : 0,
                             .is_parameter = item->is_parameter,
                             .requires_grad = item->requires_grad,
                             .object = item->object};
    }
    if (status != ANX_OK) goto out;
    if (n > 0) qsort(uses, n, sizeof *uses, by_storage);
    for (size_t i = 0; i < n; i++) {
        const anx_saving_item *item = &saving->items[uses[i].item];
        const bool known = item->storage != NULL;
        if (!known || i == 0 || uses[i - 1].storage != item->storage) {
            anx_pth_storage *st = &l.storages[l.n_storages++];
            st->first_item = uses[i].item;
            if (known)
                set_whole(st, item->storage, item->dtype);
            else
                set_alone(st, item);
        } else if (l.storages[l.n_storages - 1].content.dtype != item->dtype) {
            status = anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                                   "it shares its storage with a tensor that is to have another type");
            anx_error_in_entry(err, item->name);
            goto out;
        }
        l.tensors[uses[i].item].storage = l.n_storages - 1;
    }
    status = number_storages(&l, err);
out:
    free(uses);
    if (status == ANX_OK)
        *out = l;
    else
        anx_pth_layout_fini(&l);
    return status;
}
