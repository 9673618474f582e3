/*
 * anx bin: the layout, as BIN-FORMAT.md beside this file describes it for readers of their own. All numbers are
 * little-endian; every byte of a file is determined by its contents and covered by a check.
 */
#ifndef ANX_LOADERS_CHECKPOINT_BIN_FORMAT_H
#define ANX_LOADERS_CHECKPOINT_BIN_FORMAT_H

#include "src/base/tensor.h"

#define ANX_BIN_MAGIC "\x89" /* no text begins so */ "ANXBIN\n"
enum { ANX_BIN_MAGIC_BYTES = 8, ANX_BIN_VERSION = 1, ANX_BIN_ALIGNMENT = 64 };
/* Longer names in all are neither read nor written, though the format has room for them. */
enum { ANX_BIN_MAX_NAMES_BYTES = 16 << 20 };

/* At the beginning of the file. The table follows it, then the names, the text, zeros up to data_offset, the data. */
typedef struct anx_bin_header {
    char magic[ANX_BIN_MAGIC_BYTES];
    uint32_t version;
    uint32_t n_tensors;
    uint64_t file_bytes;  /* the whole file */
    uint64_t names_bytes; /* the names, each with its NUL */
    uint64_t text_bytes;  /* a JSON text about the whole (state_dict_json.h); 0: none */
    uint64_t data_offset; /* where the first tensor's elements may begin: a multiple of 64 */
    uint64_t reserved;    /* 0 */
    uint32_t table_crc;   /* CRC-32 of all from the end of this header to data_offset */
    uint32_t header_crc;  /* CRC-32 of this header up to here */
} anx_bin_header;

typedef struct anx_bin_record {
    uint64_t name_offset; /* in the file; the names lie in the order of the table */
    uint32_t name_bytes;  /* without the NUL */
    uint32_t dtype;       /* anx_bin_dtype_code */
    uint32_t rank;        /* 0 .. 8 */
    uint32_t crc;         /* CRC-32 of the elements */
    uint64_t data_offset; /* in the file: the end of the one before, rounded up to 64 */
    uint64_t data_bytes;
    uint64_t shape[ANX_MAX_RANK]; /* 0 beyond rank */
} anx_bin_record;

_Static_assert(sizeof(anx_bin_header) == 64 && sizeof(anx_bin_record) == 104, "the file's layout, without padding");
_Static_assert(ANX_MAX_RANK == 8, "the records have room for eight extents");

/* 1 float32, 2 float64, 3 float16, 4 bfloat16, 5 int64, 6 int32, 7 int16, 8 int8, 9 uint8, 10 bool */
uint32_t anx_bin_dtype_code(anx_dtype dtype);
bool anx_bin_dtype_find(uint32_t code, anx_dtype *out);

#endif
