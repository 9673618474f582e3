/* What kind of file this is, by its first bytes and never by its name: one row for each kind. */
#ifndef ANX_LOADERS_CHECKPOINT_SNIFF_H
#define ANX_LOADERS_CHECKPOINT_SNIFF_H

#include "src/base/status.h"

typedef enum anx_file_kind {
    ANX_FILE_UNKNOWN = 0,
    ANX_FILE_ZIP, /* of any content: anx_sniff_zip says more */
    ANX_FILE_TORCH_LEGACY,
    ANX_FILE_TORCH_TAR, /* any tar archive */
    ANX_FILE_SAFETENSORS,
    ANX_FILE_BIN,
    ANX_FILE_REFUSED /* known, and not a checkpoint that is read */
} anx_file_kind;

typedef struct anx_file_format {
    const char *name; /* "PyTorch's legacy stream": with its article where it needs one, for messages */
    anx_file_kind kind;
    const char *advice; /* for REFUSED: what to do about it, after "NAME: "; NULL if there is nothing to say */
} anx_file_format;

/* Never NULL. n_bytes may be any, 0 too. */
const anx_file_format *anx_sniff(const uint8_t *bytes, size_t n_bytes);

/* UNSUPPORTED: "NAME: ADVICE". */
anx_status anx_sniff_refuse(const anx_file_format *format, anx_error *err);

struct anx_zip_index;
/*
 * What a zip archive is, by its entries' names: NULL for a PyTorch checkpoint (one entry "FOLDER/data.pkl"),
 * otherwise what to call it in a refusal.
 */
const anx_file_format *anx_sniff_zip(const struct anx_zip_index *index);

#endif
