#include "parity/inspection.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/threads.h"

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

static uint64_t product(uint64_t a, uint64_t b) {
    uint64_t r;
    return __builtin_mul_overflow(a, b, &r) ? UINT64_MAX : r;
}

static uint64_t sum(uint64_t a, uint64_t b) {
    uint64_t r;
    return __builtin_add_overflow(a, b, &r) ? UINT64_MAX : r;
}

/* ---- tensors and storages ------------------------------------------------------------------------------- */

static const char module_prefix[] = "module.";

static void describe_tensor(anx_inspection *in, size_t i) {
    const anx_checkpoint_impl *impl = anx_checkpoint_impl_of(in->checkpoint);
    const anx_named_tensor *named = &in->checkpoint->tensors.items[i];
    const anx_checkpoint_entry *entry = &impl->entries[i];
    const uint64_t element_bytes = anx_dtype_bytes(named->tensor.dtype);
    anx_inspected_tensor *t = &in->tensors[i];
    *t = (anx_inspected_tensor){.name = named->name,
                                .tensor = &named->tensor,
                                .entry = entry,
                                .n_elems = anx_tensor_elems(&named->tensor),
                                .file_offset = entry->storage->file_offset + (uint64_t)entry->offset * element_bytes,
                                .contiguous = anx_tensor_is_contiguous(&named->tensor),
                                .stats = ANX_TENSOR_STATS_INIT};
    t->n_bytes = product((uint64_t)t->n_elems, element_bytes);
    in->of_dtype[named->tensor.dtype]++;
    in->n_bytes = sum(in->n_bytes, t->n_bytes);
    if (__builtin_add_overflow(in->n_elems, t->n_elems, &in->n_elems)) in->n_elems = INT64_MAX;
    if (strncmp(named->name, module_prefix, sizeof module_prefix - 1) != 0) in->has_module_prefix = false;
    if (entry->storage->swapped) in->big_endian = true;
}

static int by_storage_and_place(const void *a, const void *b, void *tensors) {
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    const uintptr_t s = (uintptr_t)((const anx_inspected_tensor *)tensors)[x].entry->storage;
    const uintptr_t t = (uintptr_t)((const anx_inspected_tensor *)tensors)[y].entry->storage;
    if (s != t) return s < t ? -1 : 1;
    return x < y ? -1 : x > y;
}

static int by_first_tensor(const void *a, const void *b, void *by_storage) {
    const size_t x = ((const size_t *)by_storage)[((const anx_inspected_storage *)a)->first];
    const size_t y = ((const size_t *)by_storage)[((const anx_inspected_storage *)b)->first];
    return x < y ? -1 : x > y;
}

/* Storages in the order in which the tensors first need them. */
static void describe_storages(anx_inspection *in) {
    for (size_t i = 0; i < in->n_tensors; i++) in->by_storage[i] = i;
    qsort_r(in->by_storage, in->n_tensors, sizeof *in->by_storage, by_storage_and_place, in->tensors);
    for (size_t i = 0; i < in->n_tensors; i++) {
        const anx_storage *storage = in->tensors[in->by_storage[i]].entry->storage;
        if (in->n_storages == 0 || in->storages[in->n_storages - 1].storage != storage)
            in->storages[in->n_storages++] = (anx_inspected_storage){.storage = storage, .first = i};
        in->storages[in->n_storages - 1].n_tensors++;
    }
    qsort_r(in->storages, in->n_storages, sizeof *in->storages, by_first_tensor, in->by_storage);
    for (size_t s = 0; s < in->n_storages; s++) {
        const anx_inspected_storage *storage = &in->storages[s];
        in->storage_bytes = sum(in->storage_bytes,
                                product((uint64_t)storage->storage->n_elems, anx_dtype_bytes(storage->storage->dtype)));
        for (size_t k = 0; k < storage->n_tensors; k++) in->tensors[in->by_storage[storage->first + k]].storage = s;
    }
}

static anx_status describe_tensors(anx_inspection *in, anx_error *err) {
    in->n_tensors = in->checkpoint->tensors.count;
    in->tensors = calloc(in->n_tensors + 1, sizeof *in->tensors);
    in->storages = calloc(in->n_tensors + 1, sizeof *in->storages);
    in->by_storage = calloc(in->n_tensors + 1, sizeof *in->by_storage);
    if (in->tensors == NULL || in->storages == NULL || in->by_storage == NULL) return out_of_memory(err);
    in->has_module_prefix = in->n_tensors > 0;
    for (size_t i = 0; i < in->n_tensors; i++) describe_tensor(in, i);
    describe_storages(in);
    return ANX_OK;
}

/* ---- values: the file's digest beside them ---------------------------------------------------------------- */

typedef struct job {
    size_t tensor;
    int64_t piece;
    anx_tensor_stats found;
} job;

/*
 * A tensor of stride 0 has any number of elements, and tensors of one storage can be any number: files may ask for
 * centuries. What an honest file holds is read once, shared storages a few times.
 */
static int64_t choose_jobs(anx_inspection *in) {
    const uint64_t limit = 4 * (in->checkpoint->file_bytes + (1 << 20));
    uint64_t n_elems = 0;
    int64_t n_jobs = 0;
    for (size_t i = 0; i < in->n_tensors; i++) {
        anx_inspected_tensor *t = &in->tensors[i];
        const anx_elements e = anx_checkpoint_elements(in->checkpoint, i);
        t->state = t->n_elems == 0                           ? ANX_STATS_EMPTY
                   : t->n_elems > t->entry->storage->n_elems ? ANX_STATS_EXPANDED
                   : (uint64_t)t->n_elems > limit - n_elems  ? ANX_STATS_TOO_MANY
                                                             : ANX_STATS_COMPUTED;
        if (t->state != ANX_STATS_COMPUTED) continue;
        n_elems += (uint64_t)t->n_elems;
        n_jobs += anx_tensor_stats_pieces(&e);
    }
    return n_jobs;
}

static void list_jobs(const anx_inspection *in, job *jobs) {
    for (size_t i = 0; i < in->n_tensors; i++) {
        if (in->tensors[i].state != ANX_STATS_COMPUTED) continue;
        const anx_elements e = anx_checkpoint_elements(in->checkpoint, i);
        const int64_t n_pieces = anx_tensor_stats_pieces(&e);
        for (int64_t piece = 0; piece < n_pieces; piece++) *jobs++ = (job){.tensor = i, .piece = piece};
    }
}

static anx_status read_values(anx_inspection *in, int threads, anx_error *err) {
    const int64_t n_jobs = choose_jobs(in);
    job *jobs = calloc((size_t)n_jobs + 1, sizeof *jobs);
    if (jobs == NULL) return out_of_memory(err);
    list_jobs(in, jobs);
    anx_status status = ANX_OK;
    /* The digest cannot be shared, so that it comes first. */
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t j = -1; j < n_jobs; j++) {
        if (j < 0) {
            status = anx_checkpoint_file_digest(in->checkpoint, &in->digest, err);
            continue;
        }
        const anx_elements e = anx_checkpoint_elements(in->checkpoint, jobs[j].tensor);
        anx_tensor_stats_piece(&e, jobs[j].piece, &jobs[j].found);
    }
    for (int64_t j = 0; j < n_jobs; j++) anx_tensor_stats_add(&in->tensors[jobs[j].tensor].stats, &jobs[j].found);
    free(jobs);
    return status;
}

/* ---- the architecture ----------------------------------------------------------------------------------- */

/* The tensors without "module." before their names, where all have it. */
static anx_status without_prefix(const anx_inspection *in, anx_state_dict *out, anx_error *err) {
    anx_status status = ANX_OK;
    for (size_t i = 0; i < in->n_tensors && status == ANX_OK; i++) {
        anx_tensor view = *in->tensors[i].tensor;
        view.owned = NULL;
        status = anx_state_dict_add(out, in->tensors[i].name + sizeof module_prefix - 1, &view, err);
    }
    return status;
}

static anx_status match_arch(anx_inspection *in, anx_error *err) {
    anx_state_dict stripped = ANX_STATE_DICT_INIT;
    anx_status status = in->has_module_prefix ? without_prefix(in, &stripped, err) : ANX_OK;
    if (status == ANX_OK)
        status = anx_arch_match_find(in->has_module_prefix ? &stripped : &in->checkpoint->tensors, &in->match, err);
    anx_state_dict_fini(&stripped);
    in->n_others = anx_checkpoint_impl_of(in->checkpoint)->n_others;
    in->fits = anx_arch_match_is_exact(&in->match) && in->n_others == 0;
    return status;
}

/* ---- _metadata ------------------------------------------------------------------------------------------ */

static void count_version(anx_metadata_summary *s, int64_t version) {
    for (int i = 0; i < s->n_versions; i++)
        if (s->versions[i].version == version) {
            s->versions[i].n_modules++;
            return;
        }
    if (s->n_versions == ANX_MAX_METADATA_VERSIONS) {
        s->n_others++;
        return;
    }
    s->versions[s->n_versions].version = version;
    s->versions[s->n_versions++].n_modules = 1;
}

static void sum_up_metadata(anx_inspection *in) {
    enum { max_module_items = 64 }; /* a large dict that many modules share would take for ever; PyTorch writes one */
    const anx_pickle_value *metadata = anx_checkpoint_impl_of(in->checkpoint)->metadata;
    anx_metadata_summary *s = &in->metadata;
    if (metadata == NULL) return;
    s->present = true;
    s->n_modules = metadata->u.dict.count;
    for (size_t i = 0; i < s->n_modules; i++) {
        const anx_pickle_value *module = metadata->u.dict.items[2 * i + 1];
        const anx_pickle_value *version = module->kind == ANX_PICKLE_DICT && module->u.dict.count <= max_module_items
                                              ? anx_pickle_dict_find(module, "version")
                                              : NULL;
        if (version != NULL && version->kind == ANX_PICKLE_INT)
            count_version(s, version->u.integer);
        else
            s->n_without++;
    }
}

/* ---- all of it ------------------------------------------------------------------------------------------ */

anx_status anx_inspect(const char *path, const anx_inspection_options *options, anx_inspection **out, anx_error *err) {
    const anx_inspection_options none = {.accept_bad_crc = false};
    if (options == NULL) options = &none;
    const anx_official_table *table = options->official != NULL ? options->official : &anx_official_published;
    const anx_checkpoint_options open_options = {
        .accept_bad_crc = options->accept_bad_crc, .as_stored = true, .keep_prefix = true};
    anx_inspection *in = calloc(1, sizeof *in);
    if (in == NULL) return out_of_memory(err);
    anx_status status = anx_checkpoint_open(path, &open_options, &in->checkpoint, err);
    if (status == ANX_OK) status = anx_checkpoint_provenance(in->checkpoint, &in->provenance, err);
    if (status == ANX_OK) status = describe_tensors(in, err);
    if (status == ANX_OK)
        status = read_values(in, options->threads > 0 ? options->threads : anx_threads_available(), err);
    if (status == ANX_OK) status = match_arch(in, err);
    if (status == ANX_OK) status = anx_contents_init(in->checkpoint, &in->contents, err);
    if (status == ANX_OK) {
        sum_up_metadata(in);
        in->n_published = table->n_files;
        in->official = anx_official_find(table, in->checkpoint->file_bytes, &in->digest);
        *out = in;
    } else {
        anx_error_in_file(err, path);
        anx_inspection_destroy(in);
    }
    return status;
}

void anx_inspection_destroy(anx_inspection *inspection) {
    if (inspection == NULL) return;
    anx_contents_fini(&inspection->contents);
    free(inspection->tensors);
    free(inspection->storages);
    free(inspection->by_storage);
    anx_checkpoint_close(inspection->checkpoint);
    free(inspection);
}
