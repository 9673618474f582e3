/*
 * The judge: takes a checkpoint, an engine (or somebody else's activations) and recordings, and says of every
 * preprocessing stage and every layer whether it computes what PyTorch computes.
 *
 * What it does, in order (each step is a path of the list, see verdict.h):
 *   recordings   which fixtures apply to these weights, by the digests of the tensors
 *   exact        the exact backend, run from each case's input, against the recordings: bit-equal or not. From then on
 *                PyTorch's own float32 values y32 are at hand, recorded or regenerated, at every node
 *   preprocess   the stages of preprocessing against Pillow's and torchvision's
 *   observe      each node alone, fed y32 of its inputs, against the truth (recorded, or computed in double here) and
 *                against y32
 *   infer        each fused group likewise, judged by the bound of the sum inside it; group by group must equal whole
 *   accumulated  the observe plan run from the input: information
 *   probe        integers, at every layer's shape, in both roles
 *   result       top-5 of the infer plan
 *   train-*      where asked for, training: parity/judge_training.h
 * With `against` the observe, infer, probe and accumulated paths fall away, and the dump's layers are judged each from
 * the dump's own input to it.
 *
 * parity/judge_run.h holds what the judge's own files share.
 */
#ifndef ANX_PARITY_JUDGE_H
#define ANX_PARITY_JUDGE_H

#include "loaders/checkpoint/checkpoint.h"
#include "loaders/image/preprocess.h"
#include "parity/fixture.h"
#include "parity/official.h"
#include "parity/training_play.h"
#include "parity/verdict.h"
#include "src/backend/backend.h"

/* Preprocessing as it is judged; NULL members: anx_preprocess_staged, anx_preprocess_fast. */
typedef struct anx_judge_preprocess {
    anx_status (*staged)(const anx_preprocess_profile *profile, const uint8_t *bytes, size_t n_bytes, const char *name,
                         anx_preprocess_stages *out, anx_error *err);
    anx_status (*fast)(const anx_preprocess_profile *profile, const uint8_t *bytes, size_t n_bytes, const char *name,
                       float *input, anx_error *err);
} anx_judge_preprocess;

/* All members may be zero but checkpoint or model. Nothing is taken over; everything must outlive the call alone. */
typedef struct anx_judge_options {
    const char *checkpoint; /* path of a checkpoint, opened and bound to the architecture that fits it, */
    anx_model *model;       /* ... or parameters bound already (its digests are filled in where they are not) */
    bool accept_bad_crc;    /* zip records whose CRC-32 does not match */
    const anx_fixture_set *fixtures; /* recordings to look through: those that apply are used */
    const anx_fixture_set *asked;    /* recordings named by the user: judged against whether they match or not */
    const char *const *images;       /* image files to judge as well */
    int n_images;
    const char *against;         /* safetensors of somebody else's activations; instead of a device */
    anx_device *device;          /* the judged engine, opened by the caller, */
    const char *device_name;     /* ... or its name; NULL: "auto" */
    anx_math_mode math;          /* what a device opened by name may compute with */
    int threads;                 /* <= 0: anx_threads_available() */
    const char *points;          /* globs over point names, comma separated; NULL: all */
    bool full;                   /* every recording, not the quick ones alone */
    bool strict;                 /* a missing recording, a warning or a skipped point is a failure */
    bool no_probe;               /* leave out the integer probe */
    bool train;                  /* judge training as well; not for a dump */
    anx_training_hooks training; /* its steps and schedules as they are judged */
    anx_judge_preprocess preprocess;
    const anx_official_table *official; /* what counts as published; NULL: anx_official_published */
} anx_judge_options;

/*
 * Judges. *out is a concluded list (the caller destroys it), whatever the verdicts; an error means that judging itself
 * could not be done: a checkpoint or dump that cannot be read, no such device, an image that cannot be decoded, no
 * memory. Errors are those of what failed; INVALID_ARGUMENT for options that contradict each other.
 */
anx_status anx_judge(const anx_judge_options *options, anx_verdicts **out, anx_error *err);

#endif
