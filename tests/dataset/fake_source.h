/* Image files in memory, for tests of what reads them: good ones, bad ones, and a record of who asked for what. */
#ifndef ANX_TESTS_DATASET_FAKE_SOURCE_H
#define ANX_TESTS_DATASET_FAKE_SOURCE_H

#include <pthread.h>

#include "loaders/dataset/image_source.h"
#include "loaders/image/preprocess.h"

enum { FAKE_FILES = 64 };

typedef struct fake_source fake_source;

typedef struct fake_file {
    char name[32];
    const uint8_t *bytes; /* NULL: it is not there */
    size_t n_bytes;
    anx_status outcome; /* what reading and preprocessing it must give */
    float *expected;    /* (3, crop, crop), by anx_preprocess_fast alone; zeros for a bad file */
} fake_file;

struct fake_source {
    fake_file files[FAKE_FILES]; /* kinds of JPEG and PNG by turns; every seventh is missing, every ninth damaged */
    size_t image_elems;
    unsigned delay_us; /* reading some of the files takes that long */
    bool vanish;       /* a file is gone as soon as it was announced */
    /* (optional) called by read in the reading thread, without the lock. */
    void (*on_read)(fake_source *source, int64_t file);
    anx_status (*fail)(int64_t file, anx_error *err); /* (optional) read gives what this gives, unless OK */

    pthread_mutex_t lock;
    pthread_cond_t changed; /* when a read begins */
    int reads[FAKE_FILES], announcements[FAKE_FILES];
    int n_reads, reading, most_reading; /* reads begun; going on; going on at once */
    bool gave_up;                       /* something was waited for in vain */
};

void fake_source_init(fake_source *source, const anx_preprocess_profile *profile);
void fake_source_fini(fake_source *source);
/* Forgets what was read, and any settings. */
void fake_source_reset(fake_source *source);
anx_image_source fake_source_view(fake_source *source);
/* Until so many reads have begun; a minute at most (then gave_up). */
void fake_source_await_reads(fake_source *source, int n_reads);
int fake_source_reads(fake_source *source);

#endif
