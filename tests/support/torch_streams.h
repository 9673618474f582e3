/*
 * Small checkpoints of PyTorch's older formats in memory, made by hand, with the places of what a test may damage. Both
 * hold "w": the floats 0 to 5 as (2, 3), and "t": its transpose, sharing the storage, "n": 10 and 11 (int64).
 */
#ifndef ANX_TESTS_SUPPORT_TORCH_STREAMS_H
#define ANX_TESTS_SUPPORT_TORCH_STREAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct test_stream {
    uint8_t *bytes; /* malloc'd */
    size_t n_bytes, capacity;
    /* where the parts begin; those that a format does not have are 0 */
    size_t version, facts, object, keys, data; /* legacy: "data" the first storage's count */
    size_t pickle, tensors, storages;          /* tar: the members' data */
    size_t n_pickle, n_tensors, n_storages;    /* ... and their sizes */
} test_stream;

void test_stream_init(test_stream *s);
void test_stream_fini(test_stream *s);
void test_stream_add(test_stream *s, const void *bytes, size_t n_bytes);

/* The legacy stream around an object's pickle and a pickled list of keys; then so many bytes of elements. */
void test_legacy(test_stream *s, const void *object, size_t n_object, const void *keys, size_t n_keys, const void *data,
                 size_t n_data);
/* The one that is described above. */
void test_legacy_good(test_stream *s);

/* A tar archive of those members. */
void test_torch_tar(test_stream *s, const void *pickle, size_t n_pickle, const void *tensors, size_t n_tensors,
                    const void *storages, size_t n_storages);
void test_torch_tar_good(test_stream *s);

/* Writes it to a new file in the test's folder and returns its path (anx_test_path's ring). */
const char *test_stream_save(const test_stream *s, const char *file_name);

#endif
