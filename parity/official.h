/* Published weights, recognised by what the file holds and not by its name. */
#ifndef ANX_PARITY_OFFICIAL_H
#define ANX_PARITY_OFFICIAL_H

#include "loaders/checkpoint/checkpoint.h"

typedef struct anx_official_file {
    const char *name;       /* as published */
    const char *sha256;     /* of the whole file */
    const char *first_bias; /* anx_tensor_digest of features.0.bias: only a file that has it is worth hashing whole */
} anx_official_file;

/* torchvision's AlexNet_Weights.IMAGENET1K_V1. */
extern const anx_official_file anx_official_alexnet;

/*
 * Is the checkpoint that file? Its model's digests must be filled in (anx_model_digests). *hashed: the file's SHA-256
 * was computed on the way and is in *digest. Errors: those of anx_checkpoint_file_digest.
 */
anx_status anx_official_recognise(const anx_official_file *official, anx_checkpoint *checkpoint, const anx_model *model,
                                  bool *is_official, bool *hashed, anx_digest *digest, anx_error *err);

#endif
