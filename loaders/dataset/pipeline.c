#include "loaders/dataset/pipeline.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/base/interrupt.h"
#include "src/base/threads.h"

/* Files announced for each image begun: more than one, so that the lead grows; few, so that the first begins soon. */
enum { ANNOUNCED_AT_ONCE = 4 };

/* Where one batch lies. Which batch that is changes as the window moves on. */
typedef struct slot {
    float *input;          /* (batch, 3, crop, crop) */
    anx_error **bad;       /* (batch) NULL or malloc'd: an error is 18 KB, and most images have none */
    int64_t n, unfinished; /* images; those not yet preprocessed */
} slot;

struct anx_pipeline {
    anx_image_source source;
    anx_preprocess_profile profile;
    anx_status (*augment)(void *, int64_t, const uint8_t *, size_t, anx_augmentation *, anx_error *);
    void *augment_context;
    const int64_t *files;
    int64_t n_files, batch, n_batches;
    int threads;
    size_t image_elems;
    slot *slots;
    int64_t n_slots;
    float *inputs;      /* of all slots */
    anx_device *device; /* whose memory they are; NULL: ours */
    anx_error **bads;   /* of all slots */

    int64_t allowed; /* positions below may be begun */
    int64_t next;    /* batch that the next call gives out */
    int64_t opened;  /* batches before this one have a slot, or had one */
    int64_t ahead;   /* how many batches may be open from `next` on */
    int64_t lead;    /* files announced ahead of the last one begun */

    /* What the team shares, under the lock. One is taken per image, whose milliseconds make it cheap. */
    pthread_mutex_t lock;
    bool lock_made;
    int64_t begun;     /* positions below were begun */
    int64_t announced; /* positions below were announced to the source, or begun before that */
    anx_status failed; /* OK until something other than an image failed */
    anx_error failure;
};

/* An image to preprocess, and the positions to announce before. */
typedef struct job {
    int64_t position, announce_from, announce_to;
} job;

static slot *slot_of_batch(const anx_pipeline *p, int64_t batch) {
    return &p->slots[batch % p->n_slots];
}

static const char *file_name(const anx_pipeline *p, int64_t position) {
    return p->source.name(p->source.context, p->files[position]);
}

/* ---- what a thread does ---- */

/* Gives out the next image; false where none may be begun. */
static bool take(anx_pipeline *p, job *out) {
    pthread_mutex_lock(&p->lock);
    int64_t room = p->opened < p->n_batches ? p->opened * p->batch : p->n_files;
    if (room > p->allowed) room = p->allowed;
    const bool wanted = slot_of_batch(p, p->next)->unfinished > 0;
    const bool taken = wanted && p->begun < room && p->failed == ANX_OK && !anx_interrupt_requested();
    if (taken) {
        out->position = p->begun++;
        out->announce_from = p->announced > p->begun ? p->announced : p->begun;
        int64_t to = p->n_files - p->begun > p->lead ? p->begun + p->lead : p->n_files;
        if (to > out->announce_from + ANNOUNCED_AT_ONCE) to = out->announce_from + ANNOUNCED_AT_ONCE;
        out->announce_to = to;
        p->announced = to > out->announce_from ? to : out->announce_from;
    }
    pthread_mutex_unlock(&p->lock);
    return taken;
}

static void finish(anx_pipeline *p, int64_t position) {
    pthread_mutex_lock(&p->lock);
    slot_of_batch(p, position / p->batch)->unfinished--;
    pthread_mutex_unlock(&p->lock);
}

/* Ends the pipeline: the first failure is what the call returns. */
static void fail(anx_pipeline *p, anx_status status, const anx_error *err) {
    pthread_mutex_lock(&p->lock);
    if (p->failed == ANX_OK) p->failure = *err;
    if (p->failed == ANX_OK) p->failed = status;
    pthread_mutex_unlock(&p->lock);
}

static anx_status read_and_preprocess(const anx_pipeline *p, int64_t position, float *input, anx_error *err) {
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    const char *name = file_name(p, position);
    anx_status status = p->source.read(p->source.context, p->files[position], &bytes, &n_bytes, err);
    anx_augmentation augmentation = {.has_crop = false};
    if (status == ANX_OK) {
        if (p->augment != NULL) status = p->augment(p->augment_context, position, bytes, n_bytes, &augmentation, err);
        if (status == ANX_OK)
            status = anx_preprocess_augmented(&p->profile, &augmentation, bytes, n_bytes, name, input, err);
        else
            anx_error_in_file(err, name);
        free(bytes);
    } else {
        anx_error_in_file(err, name);
    }
    return status;
}

/* Whether the failure says nothing about the image. */
static bool is_general(anx_status status) {
    return status == ANX_ERR_OUT_OF_MEMORY || status == ANX_ERR_INTERRUPTED;
}

/* *err becomes what the batch says of the image; OUT_OF_MEMORY, and *err says so, where there is no room for it. */
static anx_status keep_bad(const anx_pipeline *p, int64_t position, anx_error *err) {
    anx_error *kept = malloc(sizeof *kept);
    if (kept == NULL) {
        anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for what is wrong with an image");
        anx_error_in_file(err, file_name(p, position));
        return ANX_ERR_OUT_OF_MEMORY;
    }
    *kept = *err;
    slot_of_batch(p, position / p->batch)->bad[position % p->batch] = kept;
    return ANX_OK;
}

static void do_image(anx_pipeline *p, int64_t position) {
    float *input = slot_of_batch(p, position / p->batch)->input + (size_t)(position % p->batch) * p->image_elems;
    anx_error err = ANX_ERROR_INIT;
    anx_status status = read_and_preprocess(p, position, input, &err);
    if (status != ANX_OK && !is_general(status)) {
        memset(input, 0, p->image_elems * sizeof *input);
        status = keep_bad(p, position, &err);
    }
    if (status == ANX_OK)
        finish(p, position);
    else
        fail(p, status, &err);
}

static void work(anx_pipeline *p) {
    for (job j; take(p, &j);) {
        for (int64_t i = j.announce_from; i < j.announce_to && p->source.prefetch != NULL; i++)
            p->source.prefetch(p->source.context, p->files[i]);
        do_image(p, j.position);
    }
}

/* ---- batches ---- */

static void clear_bad(const anx_pipeline *p, slot *s) {
    for (int64_t i = 0; i < p->batch; i++) {
        free(s->bad[i]);
        s->bad[i] = NULL;
    }
}

/* Gives every batch that may be worked at now a slot. */
static void open_batches(anx_pipeline *p) {
    for (; p->opened < p->n_batches && p->opened < p->next + p->ahead; p->opened++) {
        slot *s = slot_of_batch(p, p->opened);
        const int64_t left = p->n_files - p->opened * p->batch;
        clear_bad(p, s);
        s->n = left < p->batch ? left : p->batch;
        s->unfinished = s->n;
        memset(s->input + (size_t)s->n * p->image_elems, 0, (size_t)(p->batch - s->n) * p->image_elems * sizeof(float));
    }
}

anx_status anx_pipeline_next(anx_pipeline *p, anx_pipeline_batch *out, anx_error *err) {
    if (p->failed == ANX_OK && p->next == p->n_batches) {
        *out = (anx_pipeline_batch){.first = p->n_files};
        return ANX_OK;
    }
    const int64_t left = p->n_files - p->next * p->batch, end = left > p->batch ? (p->next + 1) * p->batch : p->n_files;
    if (p->failed == ANX_OK && p->allowed < end)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "images up to %lld are wanted, up to %lld allowed",
                             (long long)end, (long long)p->allowed);
    if (p->failed == ANX_OK) open_batches(p);
    const slot *s = slot_of_batch(p, p->next);
    if (p->failed == ANX_OK && s->unfinished > 0) {
        /* The clause leaves the caller's own number of threads alone. A team may get fewer, which is no matter. */
#pragma omp parallel num_threads(p->threads)
        work(p);
    }
    if (p->failed == ANX_OK && anx_interrupt_requested())
        p->failed = anx_error_set(&p->failure, ANX_ERR_INTERRUPTED, "interrupted");
    if (p->failed != ANX_OK) {
        if (err != NULL) *err = p->failure;
        return p->failed;
    }
    *out = (anx_pipeline_batch){
        .first = p->next * p->batch, .n = s->n, .input = s->input, .bad = (const anx_error *const *)s->bad};
    p->next++;
    return ANX_OK;
}

void anx_pipeline_allow(anx_pipeline *p, int64_t n) {
    p->allowed = n < p->n_files ? n : p->n_files;
}

/* ---- creation ---- */

static anx_status check(const anx_image_source *source, const anx_pipeline_options *o, anx_error *err) {
    if (source->read == NULL || source->name == NULL)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "an image source needs functions that read and name");
    if (o->profile == NULL) return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "a pipeline needs a profile");
    if (o->n_files < 0 || (o->files == NULL && o->n_files > 0))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "a list of %lld files", (long long)o->n_files);
    if (o->batch < 1)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "batches of %lld images", (long long)o->batch);
    if (o->threads > ANX_PIPELINE_MAX_THREADS)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "%d threads; at most %d", o->threads,
                             (int)ANX_PIPELINE_MAX_THREADS);
    if (o->kept < 0 || (o->window > 0 && o->window - 2 < o->kept))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                             "a window of %d batches, %d of them kept; at least two more are needed", o->window,
                             o->kept);
    return anx_preprocess_check(o->profile, err);
}

static int64_t default_window(const anx_pipeline *p, int kept) {
    const int64_t for_threads = (p->threads - 1) / p->batch + 1;
    return kept + INT64_C(1) + for_threads;
}

static anx_status no_memory(const anx_pipeline *p, size_t bytes, anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for %lld batches of %lld images: %zu bytes",
                         (long long)p->n_slots, (long long)p->batch, bytes);
}

/* p->inputs: (images, 3, crop, crop), zeros. */
static anx_status make_inputs(anx_pipeline *p, int64_t images, size_t bytes, anx_error *err) {
    if (p->device == NULL) {
        p->inputs = calloc((size_t)images, p->image_elems * sizeof(float));
        return p->inputs != NULL ? ANX_OK : no_memory(p, bytes, err);
    }
    void *memory = NULL;
    const anx_status status = anx_device_host_alloc(p->device, bytes, &memory, err);
    if (status != ANX_OK) {
        anx_error_prefix(err, "%lld batches of %lld images: ", (long long)p->n_slots, (long long)p->batch);
        return status;
    }
    p->inputs = memory;
    memset(p->inputs, 0, bytes);
    return ANX_OK;
}

/* Memory for n_slots batches. */
static anx_status make_slots(anx_pipeline *p, anx_error *err) {
    const size_t crop = (size_t)p->profile.crop; /* at most 16384: no overflow here */
    p->image_elems = 3 * crop * crop;
    int64_t images, files;
    size_t bytes;
    if (!anx_checked_mul_i64(p->n_slots, p->batch, &images) || !anx_checked_add_i64(p->n_files, p->batch, &files) ||
        !anx_checked_mul_size((size_t)images, p->image_elems * sizeof(float), &bytes))
        return anx_error_set(err, ANX_ERR_LIMIT, "%lld batches of %lld images are too large", (long long)p->n_slots,
                             (long long)p->batch);
    p->lead = 2 * images;
    p->slots = calloc((size_t)p->n_slots, sizeof *p->slots);
    p->bads = calloc((size_t)images, sizeof *p->bads);
    if (p->slots == NULL || p->bads == NULL) return no_memory(p, bytes, err);
    const anx_status status = make_inputs(p, images, bytes, err);
    if (status != ANX_OK) return status;
    for (int64_t i = 0; i < p->n_slots; i++)
        p->slots[i] = (slot){.input = p->inputs + (size_t)(i * p->batch) * p->image_elems,
                             .bad = p->bads + (size_t)(i * p->batch)};
    return ANX_OK;
}

anx_status anx_pipeline_create(const anx_image_source *source, const anx_pipeline_options *options, anx_pipeline **out,
                               anx_error *err) {
    anx_status status = check(source, options, err);
    if (status != ANX_OK) return status;
    anx_pipeline *p = calloc(1, sizeof *p);
    if (p == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    p->source = *source;
    p->profile = *options->profile;
    p->device = options->device;
    p->augment = options->augment;
    p->augment_context = options->augment_context;
    p->files = options->files;
    p->n_files = options->n_files;
    p->allowed = options->n_files;
    p->batch = options->batch;
    p->n_batches = p->n_files / p->batch + (p->n_files % p->batch != 0);
    p->threads = options->threads > 0 ? options->threads : anx_threads_available();
    if (p->threads > ANX_PIPELINE_MAX_THREADS) p->threads = ANX_PIPELINE_MAX_THREADS;
    const int64_t window = options->window > 0 ? options->window : default_window(p, options->kept);
    p->ahead = window - options->kept;
    /* One slot at least, so that there is one to look at. */
    p->n_slots = window < p->n_batches ? window : p->n_batches > 0 ? p->n_batches : 1;
    status = make_slots(p, err);
    if (status == ANX_OK) {
        p->lock_made = pthread_mutex_init(&p->lock, NULL) == 0;
        if (!p->lock_made) status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for a lock");
    }
    if (status == ANX_OK)
        *out = p;
    else
        anx_pipeline_destroy(p);
    return status;
}

void anx_pipeline_destroy(anx_pipeline *p) {
    if (p == NULL) return;
    if (p->lock_made) pthread_mutex_destroy(&p->lock);
    for (int64_t i = 0; p->slots != NULL && p->bads != NULL && i < p->n_slots; i++)
        if (p->slots[i].bad != NULL) clear_bad(p, &p->slots[i]);
    free(p->bads);
    if (p->device != NULL)
        anx_device_host_free(p->device, p->inputs);
    else
        free(p->inputs);
    free(p->slots);
    free(p);
}
