/*
 * From image files to batches for the network, in order, with all threads.
 *
 * On a CPU the forward pass uses every core, and so does preprocessing: they take turns, so that neither steals from
 * the other. anx_pipeline_next preprocesses until the next batch is complete; a thread that finds no image left of it
 * goes on with images of the batches behind it (as many as the window holds), so that one slow image holds up nobody.
 * Once the batch is complete no image is begun: each thread finishes the one it is at, and the call returns. That costs
 * each thread half an image's time or so: little where a batch has several images for each thread.
 * A device that computes by itself (anx_plan_run_groups returns before it is done) works while the next batch is
 * preprocessed: set `kept` to 1 and ask for that before synchronising. Files to come are fetched from the disk
 * meanwhile. What is given out does not depend on the number of threads, the window or timing.
 *
 * A pipeline is used by one thread at a time; the others are an OpenMP team that lives during a call, and the calling
 * thread's OpenMP settings stay as they are. With a team of as many threads as the device has, both share one pool.
 */
#ifndef ANX_LOADERS_DATASET_PIPELINE_H
#define ANX_LOADERS_DATASET_PIPELINE_H

#include "loaders/dataset/image_source.h"
#include "loaders/image/preprocess.h"
#include "src/backend/backend.h"

typedef struct anx_pipeline_options {
    const anx_preprocess_profile *profile;
    const int64_t *files; /* (n_files) indices into the source, in the order wanted; must outlive the pipeline */
    int64_t n_files;
    int64_t batch; /* images of a batch; the last one may be shorter */
    int threads;   /* <= 0: anx_threads_available(); at most ANX_PIPELINE_MAX_THREADS */
    /*
     * Batches held at once, the one given out and the kept ones among them: at least kept + 2, so that there is one to
     * go on with. <= 0: that, or more where batches are so small that not every thread would have an image to go on
     * with. Memory: window * batch * 3 * crop * crop floats.
     */
    int window;
    /*
     * How many of the batches given out before stay valid while the next one is made: 0 where the device is done with
     * a batch before the next is asked for, 1 where it works on it meanwhile.
     */
    int kept;
    /* (optional) The batches are in memory that it copies from fastest (anx_device_host_alloc); must outlive it all. */
    anx_device *device;
    /*
     * (optional) What a training does to the image at a position of `files`, whose file is given. Called by several
     * threads at once; an error is one of the image's.
     */
    anx_status (*augment)(void *context, int64_t position, const uint8_t *bytes, size_t n_bytes, anx_augmentation *out,
                          anx_error *err);
    void *augment_context;
} anx_pipeline_options;

enum { ANX_PIPELINE_MAX_THREADS = 4096 };

/* A batch; the pipeline's own, valid until the next but `kept` call of anx_pipeline_next. */
typedef struct anx_pipeline_batch {
    int64_t first; /* position of its first image in `files`; n_files where there are no more */
    int64_t n;     /* images; 0: there are no more, and the pointers are NULL */
    /*
     * (batch, 3, crop, crop), contiguous; zeros for a bad image, and from n on: a plan of that many images takes the
     * last batch as it is.
     */
    const float *input;
    const anx_error *const *bad; /* (n) NULL, or why the image could not be read or decoded, naming its file */
} anx_pipeline_batch;

typedef struct anx_pipeline anx_pipeline;

/*
 * Reads nothing yet. The source must outlive the pipeline. Errors: INVALID_ARGUMENT, LIMIT (sizes that overflow),
 * OUT_OF_MEMORY.
 */
anx_status anx_pipeline_create(const anx_image_source *source, const anx_pipeline_options *options, anx_pipeline **out,
                               anx_error *err);
/*
 * The next batch. A bad image is no error. Errors: INTERRUPTED (src/base/interrupt.h; at once, or when each thread has
 * finished the image it is at), OUT_OF_MEMORY (naming the file: whether memory suffices says nothing about an image, so
 * it does not count as a bad one). After an error the pipeline can only be destroyed.
 */
anx_status anx_pipeline_next(anx_pipeline *pipeline, anx_pipeline_batch *out, anx_error *err);
/*
 * From now on the images before position n, and no others, may be begun: those for which it is known what is done to
 * them. Otherwise all may. anx_pipeline_next asks for a whole batch, and is INVALID_ARGUMENT where one is not allowed.
 */
void anx_pipeline_allow(anx_pipeline *pipeline, int64_t n);
void anx_pipeline_destroy(anx_pipeline *pipeline);

#endif
