/* Published weights, recognised by what the file holds and not by its name. */
#ifndef ANX_PARITY_OFFICIAL_H
#define ANX_PARITY_OFFICIAL_H

#include "loaders/checkpoint/checkpoint.h"

typedef struct anx_official_file {
    const char *name; /* as published */
    uint64_t file_bytes;
    const char
        *sha256; /* of the whole file: all 64 digits or, where no more is known, the first, as torch.hub has it */
} anx_official_file;

/* torchvision's AlexNet_Weights.IMAGENET1K_V1. */
extern const anx_official_file anx_official_alexnet;

typedef struct anx_official_table {
    const anx_official_file *const *files;
    size_t n_files;
} anx_official_table;

/* All of torchvision's AlexNet files: that one, and the tar archive that it replaced. */
extern const anx_official_table anx_official_published;

/* The file of that size and digest; NULL: none. */
const anx_official_file *anx_official_find(const anx_official_table *table, uint64_t file_bytes,
                                           const anx_digest *digest);

/*
 * Which of them the checkpoint is; *out is NULL for none. *hashed: the file's SHA-256 was computed on the way, as it is
 * where the size is that of one of them, and is in *digest. Errors: those of anx_checkpoint_file_digest.
 */
anx_status anx_official_recognise(const anx_official_table *table, anx_checkpoint *checkpoint,
                                  const anx_official_file **out, bool *hashed, anx_digest *digest, anx_error *err);

#endif
