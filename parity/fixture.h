/*
 * Fixtures: what PyTorch or Pillow computed, recorded by tools/record-fixtures. fixtures/FORMAT.md describes the files.
 *
 * A *forward* fixture belongs to parameters, known by their digests: it applies to any checkpoint at every point all
 * of whose parameters upstream hold the same bits. It has *cases* (one input each), a case has *points* (one module's
 * output each), a point has any of: a digest of the float32 output, that output in full, a sketch of it.
 * A *preprocess* fixture holds images and what each stage of preprocessing makes of them.
 * A *training* fixture belongs to parameters too, all of them: parity/training_recording.h.
 *
 * Files come from outside: everything is checked when a file is opened, so that what this header hands out can be used
 * as it is. All pointers and tensors are the fixture's, valid until it is closed.
 */
#ifndef ANX_PARITY_FIXTURE_H
#define ANX_PARITY_FIXTURE_H

#include "loaders/checkpoint/checkpoint.h"
#include "src/base/sha256.h"

typedef enum anx_fixture_kind {
    ANX_FIXTURE_FORWARD = 0,
    ANX_FIXTURE_PREPROCESS,
    ANX_FIXTURE_TRAINING
} anx_fixture_kind;

/*
 * A sketch of one module's output (N, ...) with E = elements of one image. Elements are grouped in *blocks*: one
 * channel plane of a rank-4 output, 64 neighbouring outputs (the last block may be shorter) of a rank-2 one.
 * The truth is y64 = y32 + e64, as for full tensors.
 */
typedef struct anx_fixture_sketch {
    int64_t n_samples;        /* of the whole batch */
    const int64_t *positions; /* (n_samples) flat indices into the (N, ...) output, ascending */
    const float *y32, *e64;   /* (n_samples) at those positions */

    int64_t n_blocks; /* of one image */
    int64_t block_elems;
    int n_projections;       /* K */
    uint32_t sign_seed;      /* projection k takes its signs from mt19937(sign_seed + k) */
    const double *p32;       /* (N, K, n_blocks): sum over the block of sign * y32 */
    const float *pe64;       /* (N, K, n_blocks): the same of y64, less p32 */
    const float *gauge_norm; /* (N, n_blocks): sqrt of the block's sum of G^2, G = sum |w||x| + |b|; 0 where the module
                                sums nothing and must be met exactly */

    double sum, sum_squares; /* moments of y32 over the whole batch, in double */
    float min, max;

    /* How small a change it sees, beside an engine that is correct (FORMAT.md derives them). */
    double sees_sample;  /* median over the samples: smallest change of a sampled element */
    double sees_element; /* median over the blocks: smallest change of any one element */
    double sees_rms;     /* smallest RMS error, in units of u G, spread over all elements */
} anx_fixture_sketch;

typedef struct anx_fixture_point {
    const char *name; /* as the graph's node: "features.0", "flatten", "prob" */
    int rank;
    int64_t shape[4]; /* (N, C, H, W) or (N, F) */
    bool has_digest;
    anx_digest digest;   /* anx_tensor_digest of the float32 output */
    bool pytorch_bits;   /* the digest is what the `exact` backend, run from the case's input, must give */
    anx_tensor y32, e64; /* float32, `shape`; data NULL where not recorded in full. e64 = float32(y64 - y32), y64 the
                            module carried out in double on PyTorch's own float32 input */
    const anx_fixture_sketch *sketch; /* NULL where there is none */
} anx_fixture_point;

typedef struct anx_fixture_top {
    int64_t index;
    float prob;
} anx_fixture_top;

enum { ANX_FIXTURE_TOP = 5 };

typedef enum anx_fixture_input_kind {
    ANX_FIXTURE_INPUT_IMAGES = 0, /* image files, one per batch entry, through the preprocessing profile */
    ANX_FIXTURE_INPUT_PIXELS,     /* uint8 (N, H, W, 3) as after CenterCrop: scaled and normalised */
    ANX_FIXTURE_INPUT_UNIFORM,    /* torch.manual_seed(seed); torch.empty(N, C, H, W).uniform_(low, high) */
    ANX_FIXTURE_INPUT_TENSOR      /* float32 (N, C, H, W) as it is */
} anx_fixture_input_kind;

/* A file's bytes as stored in a fixture. */
typedef struct anx_fixture_image {
    const char *name;
    const uint8_t *bytes;
    size_t n_bytes;
} anx_fixture_image;

typedef struct anx_fixture_case {
    const char *name;
    bool quick;                /* worth running by default; the others belong to a full run */
    int64_t shape[4];          /* of the input: (N, C, H, W) */
    anx_digest input_digest;   /* of the float32 input that PyTorch took */
    int64_t recorded_at_batch; /* PyTorch ran this case within a batch of so many (>= N) */

    anx_fixture_input_kind input_kind;
    const anx_fixture_image *images; /* IMAGES: N of them */
    anx_tensor pixels; /* PIXELS; for IMAGES what decoding, resizing and cropping gave, where recorded (data
                          NULL otherwise): a way on where this machine's decoder gives something else */
    uint32_t seed;     /* UNIFORM */
    float low, high;
    anx_tensor tensor; /* TENSOR */

    const anx_fixture_point *points; /* in the order of execution */
    int n_points;
    const anx_fixture_top *top; /* (N, ANX_FIXTURE_TOP), largest first; NULL where not recorded. Fewer classes than
                                   five: the rest has index -1 */
} anx_fixture_case;

typedef enum anx_fixture_stage_id {
    ANX_FIXTURE_STAGE_IMAGE = 0, /* decoded, convert("RGB"): uint8 (H, W, 3) */
    ANX_FIXTURE_STAGE_RESIZE,    /* uint8 (H, W, 3) */
    ANX_FIXTURE_STAGE_CROP,      /* uint8 (H, W, 3), in full too */
    ANX_FIXTURE_STAGE_SCALED,    /* float32 (3, H, W) in [0, 1] */
    ANX_FIXTURE_STAGE_INPUT,     /* float32 (3, H, W), normalised */
    ANX_FIXTURE_STAGE_COUNT
} anx_fixture_stage_id;

/* One stage: its shape and a digest per band of rows, so that a difference can be placed. */
typedef struct anx_fixture_stage {
    anx_dtype dtype;
    int64_t shape[3];
    int64_t height;    /* rows: shape[0] for uint8 (H, W, 3), shape[1] for float32 (3, H, W) */
    int64_t band_rows; /* rows of a band; the last one may be shorter */
    int64_t n_bands;
    const anx_digest *bands; /* (n_bands), each anx_tensor_digest of the band's rows with all columns and channels */
    anx_tensor full;         /* data NULL where not recorded in full */
} anx_fixture_stage;

/* What preprocessing makes of one image. */
typedef struct anx_fixture_sample {
    const char *name;  /* a file's name */
    const char *shows; /* what it is there for: "progressive, 4:2:0" */
    anx_fixture_image image;
    anx_fixture_stage stages[ANX_FIXTURE_STAGE_COUNT];
} anx_fixture_sample;

typedef struct anx_fixture_field {
    const char *key, *value;
} anx_fixture_field;

typedef struct anx_fixture_param {
    const char *name; /* "features.0.weight" */
    anx_digest digest;
} anx_fixture_param;

typedef struct anx_fixture {
    const char *path;
    const char *name; /* "alexnet-seed0" */
    anx_fixture_kind kind;
    const anx_fixture_field *recorder; /* versions, CPU, ISA, threads, kernels: in file order */
    int n_recorder;
    bool recorder_pytorch_bits; /* recorded under the conditions whose bits the `exact` backend gives */

    /* forward and training */
    const char *arch; /* "alexnet" */
    int64_t num_classes;
    const char *model; /* how the weights were made, in words */
    const anx_fixture_param *params;
    int n_params;

    /* forward */
    const anx_fixture_case *cases;
    int n_cases;

    /* preprocess */
    const char *profile; /* "torchvision-alexnet" */
    const anx_fixture_sample *samples;
    int n_samples;

    const struct anx_training_recording *training; /* training */

    void *impl;
} anx_fixture;

/* Opens and checks one file. Errors: NOT_FOUND, IO, FORMAT (file, JSON path and what was expected), UNSUPPORTED (a
   newer schema), OUT_OF_MEMORY. */
anx_status anx_fixture_open(const char *path, anx_fixture **out, anx_error *err);
void anx_fixture_close(anx_fixture *fixture);

/* The recorder's value of a key ("torch"), NULL if it has none. */
const char *anx_fixture_recorder(const anx_fixture *fixture, const char *key);

/* Several fixtures, in the order of their files' names. */
typedef struct anx_fixture_set {
    anx_fixture **items;
    int count;
} anx_fixture_set;

#define ANX_FIXTURE_SET_INIT                                                                                           \
    { .items = NULL, .count = 0 }

/*
 * Adds a file, or every *.safetensors of a folder (not of its subfolders) in the order of their names.
 * Errors: as anx_fixture_open; NOT_FOUND where a folder has none. On an error the set is as before.
 */
anx_status anx_fixture_set_add(anx_fixture_set *set, const char *path, anx_error *err);
void anx_fixture_set_fini(anx_fixture_set *set);

/* ---- inputs ---------------------------------------------------------------------------------------------- */

/*
 * The case's input, float32 (N, C, H, W), made anew; the caller owns *out. *digest_matches tells whether it is the
 * input that PyTorch took, bit for bit. Images are decoded and resized here by anx_preprocess_fast; where that gives
 * other bits, or refuses one, and the case has `pixels`, these are used instead and *used_pixels is set. Both flags may
 * be NULL. Errors: those of preprocessing; OUT_OF_MEMORY.
 */
anx_status anx_fixture_case_input(const anx_fixture_case *c, anx_tensor *out, bool *digest_matches, bool *used_pixels,
                                  anx_error *err);
/* The point of that name; NULL if the case has none. */
const anx_fixture_point *anx_fixture_case_point(const anx_fixture_case *c, const char *name);

/* ---- which recordings apply to a model ----------------------------------------------------------------------- */

typedef enum anx_fixture_param_match {
    ANX_FIXTURE_PARAM_SAME = 0,
    ANX_FIXTURE_PARAM_DIFFERS,
    ANX_FIXTURE_PARAM_MISSING /* the fixture does not know it */
} anx_fixture_param_match;

/* One flag per parameter and per node of the model's graph. Release with anx_fixture_match_fini. */
typedef struct anx_fixture_match {
    int n_params, n_same;
    anx_fixture_param_match *params;
    int n_nodes, n_applicable;
    bool *applicable; /* the node's parameters and all those upstream are the same: recordings of its output apply */
    bool
        *injectable; /* the node's own parameters are the same: given the recorded input, its recorded output applies */
} anx_fixture_match;

#define ANX_FIXTURE_MATCH_INIT                                                                                         \
    { .params = NULL, .applicable = NULL, .injectable = NULL }

/*
 * Compares digests: model->digests must be filled (anx_model_digests). A fixture of another architecture matches
 * nothing. Nodes are those of model->graph; the same indices hold for anx_model_resize'd graphs.
 */
anx_status anx_fixture_match_model(const anx_fixture *fixture, const anx_model *model, anx_fixture_match *out,
                                   anx_error *err);
void anx_fixture_match_fini(anx_fixture_match *match);

/* ---- sketches ------------------------------------------------------------------------------------------------ */

/*
 * The projections of y, float32 (N, ...) contiguous of the point's shape: out (N, K, n_blocks) doubles, as p32.
 * Compare with p32 + pe64 (truth) or p32 (PyTorch). Errors: OUT_OF_MEMORY.
 */
anx_status anx_fixture_sketch_project(const anx_fixture_point *point, const float *y, double *out, anx_error *err);

/* The outcome of holding y against a point's sketch. Errors are in units of u times the gauge. */
typedef struct anx_fixture_sketch_result {
    int64_t n_nonfinite; /* samples or projections that are NaN or infinite */
    double worst_block;  /* max |p - p64| / (u gauge_norm) */
    int64_t worst_image, worst_block_index;
    double rms;        /* largest over the images: RMS of the same over projections and blocks */
    int64_t n_inexact; /* samples and projections that differ where gauge_norm is 0 (exact modules) */
    double pytorch_worst_block, pytorch_rms; /* PyTorch's own, in the same units */
} anx_fixture_sketch_result;

/* Limits that FORMAT.md derives: fail above either. */
#define ANX_FIXTURE_SKETCH_MAX_RMS 32.0
#define ANX_FIXTURE_SKETCH_MAX_BLOCK 128.0

anx_status anx_fixture_sketch_compare(const anx_fixture_point *point, const float *y, anx_fixture_sketch_result *out,
                                      anx_error *err);

#endif
