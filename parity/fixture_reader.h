/*
 * Internal to parity/fixture_*.c: reading fields of a fixture's JSON, each checked, errors naming the JSON path.
 */
#ifndef ANX_PARITY_FIXTURE_READER_H
#define ANX_PARITY_FIXTURE_READER_H

#include <cjson/cJSON.h>

#include "loaders/checkpoint/safetensors.h"
#include "parity/fixture.h"

typedef struct anx_fixture_block anx_fixture_block;

/*
 * One file being read, and afterwards what keeps it alive (anx_fixture.impl). Strings handed out are the JSON's,
 * tensors the mapped file's, arrays come from anx_fixture_reader_array; all are released by _destroy.
 */
typedef struct anx_fixture_reader {
    anx_safetensors *file;
    cJSON *json;
    anx_fixture_block *blocks;
    char path[240]; /* of the object being read: "cases[3].points[2]" */
    anx_error *err;
} anx_fixture_reader;

void anx_fixture_reader_destroy(anx_fixture_reader *r);

/* Steps into `key` (with index >= 0: key[index]); returns what to hand to _leave. */
size_t anx_fixture_reader_enter(anx_fixture_reader *r, const char *key, int index);
void anx_fixture_reader_leave(anx_fixture_reader *r, size_t mark);

/* FORMAT with the current path; key, where not NULL, is appended to it. */
anx_status anx_fixture_reader_fail(anx_fixture_reader *r, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* n zeroed elements, at least one, that live as long as the reader. */
anx_status anx_fixture_reader_array(anx_fixture_reader *r, size_t n, size_t size, void *out_pointer);
/* The same with one element per member of a JSON array or object, of which there may be `max`. */
anx_status anx_fixture_reader_list(anx_fixture_reader *r, const cJSON *list, const char *key, int max, size_t size,
                                   void *out_pointer);

bool anx_fixture_reader_has(const cJSON *object, const char *key);

/* Fields of `object`, FORMAT where one is missing or of another kind; a bool may be missing and leaves *out alone. */
anx_status anx_fixture_reader_string(anx_fixture_reader *r, const cJSON *object, const char *key, const char **out);
anx_status anx_fixture_reader_bool(anx_fixture_reader *r, const cJSON *object, const char *key, bool *out);
anx_status anx_fixture_reader_int(anx_fixture_reader *r, const cJSON *object, const char *key, int64_t min, int64_t max,
                                  int64_t *out);
anx_status anx_fixture_reader_number(anx_fixture_reader *r, const cJSON *object, const char *key, double *out);
anx_status anx_fixture_reader_digest(anx_fixture_reader *r, const cJSON *object, const char *key, anx_digest *out);
anx_status anx_fixture_reader_member(anx_fixture_reader *r, const cJSON *object, const char *key, bool array,
                                     const cJSON **out);
/* An array of min_rank .. max_rank extents of at least 1, whose product is sound. */
anx_status anx_fixture_reader_shape(anx_fixture_reader *r, const cJSON *object, const char *key, int min_rank,
                                    int max_rank, int64_t *shape, int *rank);

/* The tensor that `key` names, of that dtype and shape; an extent of -1 takes any. */
anx_status anx_fixture_reader_tensor(anx_fixture_reader *r, const cJSON *object, const char *key, anx_dtype dtype,
                                     int rank, const int64_t *shape, anx_tensor *out);

/* {"bytes": tensor} and its name. */
anx_status anx_fixture_reader_image(anx_fixture_reader *r, const cJSON *object, anx_fixture_image *out);

/* What fixtures of weights begin with: architecture, number of classes, the parameters' digests. */
anx_status anx_fixture_read_weights(anx_fixture_reader *r, anx_fixture *out);

/* The kinds of fixture. */
anx_status anx_fixture_read_forward(anx_fixture_reader *r, anx_fixture *out);
anx_status anx_fixture_read_preprocess(anx_fixture_reader *r, anx_fixture *out);
anx_status anx_fixture_read_training(anx_fixture_reader *r, anx_fixture *out);
anx_status anx_fixture_read_sketch(anx_fixture_reader *r, const cJSON *object, const anx_fixture_point *point,
                                   const anx_fixture_sketch **out);

/* Blocks of one image of a point's output, and elements of a block (FORMAT.md). */
void anx_fixture_sketch_blocks(const anx_fixture_point *point, int64_t *n_blocks, int64_t *block_elems);

#endif
