#include "tests/dataset/fake_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/image/bytes.h"
#include "tests/image/jpeg_encode.h"
#include "tests/support/random.h"

enum { KINDS = 5 };

/* Larger and smaller than any crop, upright and lying. */
static uint8_t *make_file(int number, size_t *n_bytes) {
    static const jpeg_kind kinds[] = {{.space = "ycc", .quality = 80, .sampling = "2x2,1x1,1x1", .flags = "-"},
                                      {.space = "gray", .quality = 60, .sampling = "1x1", .flags = "o"},
                                      {.space = "ycc", .quality = 90, .sampling = "2x1,1x1,1x1", .flags = "p"}};
    const unsigned width = 9 + (unsigned)number * 11 % 47, height = 8 + (unsigned)number * 17 % 41;
    test_random random = {.state = (uint64_t)number};
    uint8_t *samples = malloc((size_t)width * height * 3);
    for (size_t i = 0; i < (size_t)width * height * 3; i++) samples[i] = (uint8_t)test_random_bits(&random);
    uint8_t *file;
    if (number % KINDS < 3) {
        file = jpeg_encode(&kinds[number % KINDS], width, height, samples, n_bytes);
    } else {
        bytes png = {.data = NULL};
        bytes_add_png(&png, width, height, number % KINDS == 3 ? 2 : 0, samples);
        file = png.data;
        *n_bytes = png.n;
    }
    free(samples);
    return file;
}

void fake_source_init(fake_source *source, const anx_preprocess_profile *profile) {
    memset(source, 0, sizeof *source);
    pthread_mutex_init(&source->lock, NULL);
    pthread_cond_init(&source->changed, NULL);
    source->image_elems = (size_t)(3 * profile->crop * profile->crop);
    for (int i = 0; i < FAKE_FILES; i++) {
        fake_file *f = &source->files[i];
        snprintf(f->name, sizeof f->name, "images/%03d", i);
        f->expected = calloc(source->image_elems, sizeof *f->expected);
        if (i % 7 == 6) {
            f->outcome = ANX_ERR_NOT_FOUND;
            continue;
        }
        f->bytes = make_file(i, &f->n_bytes);
        if (i % 9 == 8) {
            f->n_bytes = i % 2 == 0 ? 0 : f->n_bytes * 2 / 3; /* empty, or without its end: some rows are decoded */
            f->outcome = ANX_ERR_FORMAT;
            continue;
        }
        if (anx_preprocess_fast(profile, f->bytes, f->n_bytes, f->name, f->expected, NULL) != ANX_OK) abort();
    }
}

void fake_source_fini(fake_source *source) {
    for (int i = 0; i < FAKE_FILES; i++) {
        free((void *)(uintptr_t)source->files[i].bytes);
        free(source->files[i].expected);
    }
    pthread_cond_destroy(&source->changed);
    pthread_mutex_destroy(&source->lock);
}

void fake_source_reset(fake_source *source) {
    source->delay_us = 0;
    source->vanish = false;
    source->on_read = NULL;
    source->fail = NULL;
    memset(source->reads, 0, sizeof source->reads);
    memset(source->announcements, 0, sizeof source->announcements);
    source->n_reads = source->reading = source->most_reading = 0;
    source->gave_up = false;
}

static bool begin_read(fake_source *s, int64_t file) {
    pthread_mutex_lock(&s->lock);
    s->reads[file]++;
    s->n_reads++;
    s->reading++;
    if (s->reading > s->most_reading) s->most_reading = s->reading;
    const bool there = s->files[file].bytes != NULL && !(s->vanish && s->announcements[file] > 0);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return there;
}

static void end_read(fake_source *s) {
    pthread_mutex_lock(&s->lock);
    s->reading--;
    pthread_mutex_unlock(&s->lock);
}

static anx_status copy_file(const fake_file *f, uint8_t **out, size_t *n_bytes, anx_error *err) {
    /* Of just that size, so that a sanitizer sees who reads beyond. */
    uint8_t *copy = malloc(f->n_bytes > 0 ? f->n_bytes : 1);
    if (copy == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    memcpy(copy, f->bytes, f->n_bytes);
    *out = copy;
    *n_bytes = f->n_bytes;
    return ANX_OK;
}

static anx_status read_fake(void *context, int64_t file, uint8_t **out, size_t *n_bytes, anx_error *err) {
    fake_source *s = context;
    const bool there = begin_read(s, file);
    if (s->on_read != NULL) s->on_read(s, file);
    if (s->delay_us > 0 && file * 5 % 8 < 3) usleep(s->delay_us);
    anx_status status = s->fail != NULL ? s->fail(file, err) : ANX_OK;
    if (status == ANX_OK && !there) status = anx_error_set(err, ANX_ERR_NOT_FOUND, "cannot open: it is not there");
    if (status == ANX_OK) status = copy_file(&s->files[file], out, n_bytes, err);
    end_read(s);
    return status;
}

static void announce_fake(void *context, int64_t file) {
    fake_source *s = context;
    pthread_mutex_lock(&s->lock);
    s->announcements[file]++;
    pthread_mutex_unlock(&s->lock);
}

static const char *name_of_fake(void *context, int64_t file) {
    const fake_source *s = context;
    return s->files[file].name;
}

anx_image_source fake_source_view(fake_source *source) {
    return (anx_image_source){.read = read_fake, .prefetch = announce_fake, .name = name_of_fake, .context = source};
}

void fake_source_await_reads(fake_source *source, int n_reads) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    pthread_mutex_lock(&source->lock);
    while (source->n_reads < n_reads && !source->gave_up)
        if (pthread_cond_timedwait(&source->changed, &source->lock, &until) != 0) source->gave_up = true;
    pthread_mutex_unlock(&source->lock);
}

int fake_source_reads(fake_source *source) {
    pthread_mutex_lock(&source->lock);
    const int n = source->n_reads;
    pthread_mutex_unlock(&source->lock);
    return n;
}
