/* From a checkpoint's tensors to the parameters of a graph. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/arch_match.h"
#include "loaders/checkpoint/checkpoint_impl.h"
#include "loaders/checkpoint/text.h"

/*
 * A tensor may repeat a few stored numbers without end (stride 0): what is gathered from one is then bounded by this
 * and not by the file's size. AlexNet's largest parameter has 37.7 million elements.
 */
static const int64_t max_expanded_elems = (int64_t)1 << 26;

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

static anx_status choose_arch(const anx_state_dict *tensors, const anx_arch **out, anx_error *err) {
    anx_status status = anx_arch_choose(tensors, out, err);
    if (status != ANX_OK || *out != NULL) return status;
    const char *first = tensors->count > 0 ? tensors->items[0].name : "";
    char text[100];
    return anx_error_set(err, ANX_ERR_MISMATCH,
                         "none of its %zu tensors ('%s', ...) is a parameter of an architecture that is known",
                         tensors->count, anx_text_printable(first, strlen(first), text, sizeof text));
}

/* ---- the strict comparison ------------------------------------------------------------------------------ */

/* A message that grows until it is full; what no longer fits is counted. */
typedef struct message {
    char text[12000];
    size_t used;
    size_t left_out;
} message;

static void add(message *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(message *m, const char *format, ...) {
    char piece[640];
    va_list ap;
    va_start(ap, format);
    vsnprintf(piece, sizeof piece, format, ap);
    va_end(ap);
    const size_t n = strlen(piece);
    if (m->left_out > 0 || n >= sizeof m->text - m->used) {
        m->left_out++;
        return;
    }
    memcpy(m->text + m->used, piece, n + 1);
    m->used += n;
}

/* A list of quoted names under a heading, as PyTorch writes it: `Missing key(s) in state_dict: "a", "b". `. */
static void add_key(message *m, const char *heading, int *n, const char *name) {
    char text[300];
    anx_text_printable(name, strlen(name), text, sizeof text);
    if (*n == 0)
        add(m, "\n\t%s key(s) in state_dict: \"%s\"", heading, text);
    else
        add(m, ", \"%s\"", text);
    (*n)++;
}

/* What stands under that name and is no tensor; NULL if nothing does. */
static const anx_checkpoint_other *find_other(const anx_checkpoint *checkpoint, const char *name) {
    const anx_checkpoint_impl *impl = anx_checkpoint_impl_of(checkpoint);
    for (size_t i = 0; i < impl->n_others; i++)
        if (strcmp(impl->others[i].name, name) == 0) return &impl->others[i];
    return NULL;
}

static void add_missing(message *m, const anx_checkpoint *checkpoint, const anx_graph *graph) {
    int n = 0;
    for (int i = 0; i < graph->n_params; i++)
        if (anx_state_dict_find(&checkpoint->tensors, graph->params[i].name) == NULL &&
            find_other(checkpoint, graph->params[i].name) == NULL)
            add_key(m, "Missing", &n, graph->params[i].name);
    if (n > 0) add(m, ".");
}

static void add_unexpected(message *m, const anx_checkpoint *checkpoint, const anx_graph *graph) {
    const anx_checkpoint_impl *impl = anx_checkpoint_impl_of(checkpoint);
    int n = 0;
    for (size_t i = 0; i < checkpoint->tensors.count; i++)
        if (anx_graph_find_param(graph, checkpoint->tensors.items[i].name) < 0)
            add_key(m, "Unexpected", &n, checkpoint->tensors.items[i].name);
    for (size_t i = 0; i < impl->n_others; i++)
        if (anx_graph_find_param(graph, impl->others[i].name) < 0) add_key(m, "Unexpected", &n, impl->others[i].name);
    if (n > 0) add(m, ".");
}

/* "torch.Size([64, 3, 11, 11])" */
static char *size_text(int rank, const int64_t *shape, char buf[200]) {
    size_t used = (size_t)snprintf(buf, 200, "torch.Size([");
    for (int i = 0; i < rank; i++)
        used += (size_t)snprintf(buf + used, 200 - used, "%s%lld", i > 0 ? ", " : "", (long long)shape[i]);
    snprintf(buf + used, 200 - used, "])");
    return buf;
}

static void add_misfits(message *m, const anx_checkpoint *checkpoint, const anx_graph *graph) {
    for (int i = 0; i < graph->n_params; i++) {
        const anx_param *param = &graph->params[i];
        const anx_tensor *t = anx_state_dict_find(&checkpoint->tensors, param->name);
        const anx_checkpoint_other *other = t == NULL ? find_other(checkpoint, param->name) : NULL;
        char got[200], expected[200];
        if (other != NULL)
            add(m,
                "\n\tWhile copying the parameter named \"%s\", expected torch.Tensor or Tensor-like object from "
                "checkpoint but received <class '%s'>",
                param->name, other->kind == ANX_PICKLE_NONE ? "NoneType" : anx_pickle_kind_name(other->kind));
        if (t == NULL) continue;
        if (t->rank != param->rank || memcmp(t->shape, param->shape, (size_t)t->rank * sizeof *t->shape) != 0)
            add(m,
                "\n\tsize mismatch for %s: copying a param with shape %s from checkpoint, the shape in current model "
                "is %s.",
                param->name, size_text(t->rank, t->shape, got), size_text(param->rank, param->shape, expected));
        else if (!anx_dtype_is_float(t->dtype))
            add(m, "\n\tdtype mismatch for %s: the checkpoint has %s, a floating-point type was expected.", param->name,
                anx_dtype_name(t->dtype));
    }
}

/* torch.nn.Module.load_state_dict(strict=True): every fault in one message, in its order and its words. */
static anx_status compare(const anx_checkpoint *checkpoint, const anx_graph *graph, anx_error *err) {
    message *m = calloc(1, sizeof *m);
    if (m == NULL) return out_of_memory(err);
    add_missing(m, checkpoint, graph);
    add_unexpected(m, checkpoint, graph);
    add_misfits(m, checkpoint, graph);
    anx_status status = ANX_OK;
    if (m->used > 0) {
        char more[64] = "";
        if (m->left_out > 0) snprintf(more, sizeof more, "\n\t... and %zu more", m->left_out);
        status = anx_error_set(err, ANX_ERR_MISMATCH, "Error(s) in loading state_dict for %s:%s%s", graph->arch->name,
                               m->text, more);
    }
    free(m);
    return status;
}

/* ---- parameters ----------------------------------------------------------------------------------------- */

/* How many different elements shape and strides reach at most: fewer than its elements where a stride is 0. */
static bool is_expanded(const anx_tensor *t) {
    for (int i = 0; i < t->rank; i++)
        if (t->stride[i] == 0 && t->shape[i] > 1) return true;
    return false;
}

/* A view of a contiguous float32 tensor, a converted and gathered copy of any other. */
static anx_status bind_param(const anx_param *param, const anx_tensor *t, anx_tensor *out, anx_error *err) {
    if (t->dtype == ANX_F32 && anx_tensor_is_contiguous(t)) {
        *out = anx_tensor_view(ANX_F32, t->rank, t->shape, t->data);
        return ANX_OK;
    }
    anx_status status;
    if (is_expanded(t) && anx_tensor_elems(t) > max_expanded_elems)
        status = anx_error_set(err, ANX_ERR_LIMIT,
                               "%lld elements expanded from fewer that are stored; at most %lld are gathered so",
                               (long long)anx_tensor_elems(t), (long long)max_expanded_elems);
    else
        status = anx_tensor_convert(t, ANX_F32, out, err);
    if (status != ANX_OK) anx_error_in_entry(err, param->name);
    return status;
}

static anx_status bind_params(const anx_state_dict *tensors, anx_model *model, anx_error *err) {
    const anx_graph *graph = model->graph;
    model->params = calloc((size_t)graph->n_params + 1, sizeof *model->params);
    if (model->params == NULL) return out_of_memory(err);
    for (int i = 0; i < graph->n_params; i++) {
        const anx_tensor *t = anx_state_dict_find(tensors, graph->params[i].name);
        anx_status status = bind_param(&graph->params[i], t, &model->params[i], err);
        if (status != ANX_OK) return status;
        if (t->dtype == ANX_F32) continue;
        model->n_converted++;
        model->converted_from |= 1u << t->dtype;
    }
    return ANX_OK;
}

anx_status anx_model_bind(anx_checkpoint *checkpoint, const anx_arch *arch, int64_t height, int64_t width,
                          anx_model **out, anx_error *err) {
    const anx_state_dict *tensors = &checkpoint->tensors;
    anx_status status = ANX_OK;
    anx_model *model = calloc(1, sizeof *model);
    int64_t classes = 0;
    if (model == NULL) {
        status = out_of_memory(err);
        goto out;
    }
    if (arch == NULL) status = choose_arch(tensors, &arch, err);
    if (status == ANX_OK) status = anx_arch_count_classes(tensors, arch, &classes, err);
    if (status == ANX_OK) status = anx_graph_create(arch, classes, height, width, &model->graph, err);
    if (status == ANX_OK) status = compare(checkpoint, model->graph, err);
    if (status == ANX_OK) status = bind_params(tensors, model, err);
out:
    if (status == ANX_OK) {
        *out = model;
    } else {
        if (status != ANX_ERR_INVALID_ARGUMENT)
            anx_error_in_file(err, checkpoint->path); /* that is the caller's size */
        anx_model_destroy(model);
    }
    return status;
}

anx_status anx_model_resize(const anx_model *model, int64_t height, int64_t width, anx_model **out, anx_error *err) {
    const anx_graph *graph = model->graph;
    anx_model *resized = calloc(1, sizeof *resized);
    if (resized == NULL) return out_of_memory(err);
    resized->n_converted = model->n_converted;
    resized->converted_from = model->converted_from;
    anx_status status = anx_graph_create(graph->arch, graph->num_classes, height, width, &resized->graph, err);
    if (status != ANX_OK) goto out;
    const size_t n = (size_t)graph->n_params;
    resized->params = calloc(n + 1, sizeof *resized->params);
    resized->digests = model->digests != NULL ? calloc(n + 1, sizeof *resized->digests) : NULL;
    if (resized->params == NULL || (model->digests != NULL && resized->digests == NULL)) {
        status = out_of_memory(err);
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        resized->params[i] = model->params[i];
        resized->params[i].owned = NULL;
        if (model->digests != NULL) resized->digests[i] = model->digests[i];
    }
out:
    if (status == ANX_OK)
        *out = resized;
    else
        anx_model_destroy(resized);
    return status;
}

/* ---- digests -------------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b, void *params) {
    const size_t x = anx_tensor_bytes((const anx_tensor *)params + *(const int *)a);
    const size_t y = anx_tensor_bytes((const anx_tensor *)params + *(const int *)b);
    return x > y ? -1 : x < y;
}

/* One thread does without a team: where there is no memory for one, the OpenMP runtime ends the process. */
static bool digest_all(const anx_model *model, const int *order, int threads, anx_digest *digests) {
    const int n = model->graph->n_params;
    bool good = true;
    if (threads <= 1) {
        for (int k = 0; k < n && good; k++)
            good = anx_tensor_digest(&model->params[order[k]], &digests[order[k]], NULL) == ANX_OK;
        return good;
    }
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) reduction(&& : good)
    for (int k = 0; k < n; k++)
        good = anx_tensor_digest(&model->params[order[k]], &digests[order[k]], NULL) == ANX_OK && good;
    return good;
}

anx_status anx_model_digests(anx_model *model, int threads, anx_error *err) {
    if (model->digests != NULL) return ANX_OK;
    const int n = model->graph->n_params;
    anx_status status = ANX_OK;
    anx_digest *digests = calloc((size_t)n + 1, sizeof *digests);
    int *order = calloc((size_t)n + 1, sizeof *order);
    if (digests == NULL || order == NULL) {
        status = out_of_memory(err);
        goto out;
    }
    /* Largest first: one tensor holds 62 % of AlexNet's parameters, and is hashed by one thread alone. */
    for (int i = 0; i < n; i++) order[i] = i;
    qsort_r(order, (size_t)n, sizeof *order, by_size, model->params);
    if (!digest_all(model, order, threads, digests)) { /* once more, for the reason */
        for (int i = 0; i < n && status == ANX_OK; i++) status = anx_tensor_digest(&model->params[i], &digests[i], err);
        if (status != ANX_OK) goto out;
    }
    model->digests = digests;
    digests = NULL;
out:
    free(order);
    free(digests);
    return status;
}

void anx_model_destroy(anx_model *model) {
    if (model == NULL) return;
    for (int i = 0; model->params != NULL && i < model->graph->n_params; i++) anx_tensor_fini(&model->params[i]);
    free(model->params);
    free(model->digests);
    anx_graph_destroy(model->graph);
    free(model);
}
