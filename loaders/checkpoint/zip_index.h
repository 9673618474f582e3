/*
 * Where the records of a zip archive lie in its mapped bytes. libzip reads and checks archives but tells no data
 * offsets, and stored records are used in place; so a bounded walk of our own finds them, and must agree with libzip
 * entry by entry. Source of the layout: PKWARE's APPNOTE.TXT, sections 4.3 and 4.4; zip64 included.
 */
#ifndef ANX_LOADERS_CHECKPOINT_ZIP_INDEX_H
#define ANX_LOADERS_CHECKPOINT_ZIP_INDEX_H

#include "src/base/status.h"

typedef struct anx_zip_entry {
    const char *name; /* as in the central directory, NUL-terminated, without a NUL inside */
    size_t name_bytes;
    uint64_t header_offset; /* of the local header, in the file */
    uint64_t data_offset;   /* set by anx_zip_index_locate, with the next */
    uint64_t end_offset;    /* past the data and the data descriptor */
    uint64_t packed_bytes, n_bytes;
    uint32_t crc;
    uint16_t method, flags;
    bool crc_verified; /* by anx_zip_index_check_crcs */
} anx_zip_entry;

typedef struct anx_zip_index {
    const uint8_t *bytes; /* the whole archive */
    size_t n_bytes;
    anx_zip_entry *entries; /* in the order of the central directory */
    size_t count;
    size_t *by_name;      /* entries in the order of their names with ASCII case folded */
    uint64_t records_end; /* where the central directory begins */
    char *names;          /* what the entries' names point into */
} anx_zip_index;

/*
 * Reads the end records and the central directory of the archive at `bytes`, which must outlive the index. Names,
 * sizes and positions are taken as the directory gives them: enough to tell what kind of archive it is.
 * Errors: FORMAT, LIMIT (more than 2^17 entries), OUT_OF_MEMORY. The caller destroys *out.
 */
anx_status anx_zip_index_create(const uint8_t *bytes, size_t n_bytes, anx_zip_index **out, anx_error *err);
void anx_zip_index_destroy(anx_zip_index *index);

/*
 * Finds each record's data and demands what makes them safe to use in place: stored, not encrypted, local header and
 * data descriptor agreeing with the directory, no two records overlapping, no two names equal (ASCII case folded, as
 * PyTorch's own reader looks them up), no absolute name and none that climbs with "..". Errors: FORMAT, UNSUPPORTED.
 */
anx_status anx_zip_index_locate(anx_zip_index *index, anx_error *err);

/* libzip's reading of the same bytes, its consistency checks on, is the same. Errors: FORMAT, OUT_OF_MEMORY. */
anx_status anx_zip_index_confirm(const anx_zip_index *index, anx_error *err);

/*
 * Computes the CRC-32 of every record, in parallel. With accept_bad, *n_bad counts those that differ from the
 * directory's; without, the first of them is an error (FORMAT). Only after anx_zip_index_locate.
 */
anx_status anx_zip_index_check_crcs(anx_zip_index *index, int threads, bool accept_bad, size_t *n_bad, anx_error *err);

/* The entry of exactly that name, or NULL. Only after anx_zip_index_locate. */
const anx_zip_entry *anx_zip_index_find(const anx_zip_index *index, const char *name, size_t name_bytes);

#endif
