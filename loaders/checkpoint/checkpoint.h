/*
 * Reading checkpoints: any supported file in, named tensors out, nothing executed.
 */
#ifndef ANX_LOADERS_CHECKPOINT_CHECKPOINT_H
#define ANX_LOADERS_CHECKPOINT_CHECKPOINT_H

#include "src/base/elements.h"
#include "src/base/sha256.h"
#include "src/base/state_dict.h"
#include "src/model/graph.h"

/*
 * An open checkpoint. Tensors are views of the mapped file where its layout allows (stored, aligned, contiguous,
 * little-endian), copies otherwise; they are valid until anx_checkpoint_close. Names have a "module." prefix removed
 * where every key carries it, and come from under "state_dict" or "model" where the file wraps them so.
 */
typedef struct anx_checkpoint {
    anx_state_dict tensors; /* as stored: original dtypes */
    const char *format;     /* "PyTorch zip", "PyTorch legacy stream", "PyTorch 0.1 tar", "safetensors", "anx bin" */
    char *path;             /* as given */
    uint64_t file_bytes;
    char *wrapped_in; /* "state_dict", "model", or NULL */
    bool module_prefix_removed;
    size_t n_bad_crc; /* CRC-32s, of zip records or in an anx bin file, that did not match and were accepted */
    /* reader's own: the mapping and what else must live as long */
    void *impl;
} anx_checkpoint;

typedef struct anx_checkpoint_options {
    bool accept_bad_crc; /* zip records whose CRC-32 does not match (torch can write such files) */
    bool skip_crc;       /* do not compute record CRCs at all: for timing-critical starts where the caller digests */
    /*
     * For those that pass a file's contents on instead of computing with them: nothing is copied, whatever its
     * alignment and byte order. The tensors' data may then be misaligned and big-endian, and are read through
     * anx_checkpoint_elements alone.
     */
    bool as_stored;
    bool keep_prefix; /* leave "module." before the names */
} anx_checkpoint_options;

/*
 * Opens by content, never by name. options may be NULL. Errors: NOT_FOUND, IO, FORMAT (names file, entry, offset and
 * what was expected), UNSUPPORTED (names the format it is), LIMIT, OUT_OF_MEMORY.
 */
anx_status anx_checkpoint_open(const char *path, const anx_checkpoint_options *options, anx_checkpoint **out,
                               anx_error *err);
void anx_checkpoint_close(anx_checkpoint *checkpoint);

/* The elements of tensor i, however the file holds them. */
anx_elements anx_checkpoint_elements(const anx_checkpoint *checkpoint, size_t i);

/* SHA-256 of the whole file (computed when first asked for). */
anx_status anx_checkpoint_file_digest(anx_checkpoint *checkpoint, anx_digest *out, anx_error *err);

/*
 * Parameters bound to a graph: what plans take. Float32 views of the checkpoint where possible, converted copies
 * otherwise (float16, bfloat16, float64, strided).
 */
typedef struct anx_model {
    anx_graph *graph;
    anx_tensor *params;      /* graph->n_params float32 contiguous tensors */
    int n_converted;         /* parameters that were not float32, */
    unsigned converted_from; /* ... and the dtypes that they had: the bit 1 << dtype of each */
    anx_digest *digests;     /* per parameter, of the float32 tensor; filled by anx_model_digests, else NULL */
} anx_model;

/*
 * arch NULL: the architecture whose parameter names match. The number of classes comes from the shape of the last
 * linear layer. height, width <= 0: default size. The checkpoint must outlive the model.
 * Errors: MISMATCH listing every missing, unexpected and misshapen tensor, worded as PyTorch's strict load_state_dict.
 */
anx_status anx_model_bind(anx_checkpoint *checkpoint, const anx_arch *arch, int64_t height, int64_t width,
                          anx_model **out, anx_error *err);
/* The same parameters on a graph of another input size (parameters are shared with, and must not outlive, model). */
anx_status anx_model_resize(const anx_model *model, int64_t height, int64_t width, anx_model **out, anx_error *err);
/* Digests of the float32 parameter tensors (anx_tensor_digest), computed with `threads` threads once. */
anx_status anx_model_digests(anx_model *model, int threads, anx_error *err);
void anx_model_destroy(anx_model *model);

#endif
