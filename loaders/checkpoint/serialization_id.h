/*
 * The content of `.data/serialization_id`, the last record of a PyTorch zip checkpoint: 40 digits made of the records'
 * names and checksums. A file with another id loads all the same; with this one it is byte for byte torch.save's.
 *
 * Sources: PyTorch's caffe2/serialize/inline_container.cc (writeSerializationId, ostream_write_func) and
 * c10/util/hash.h (hash_combine). The names are combined in the order in which libstdc++ walks an
 * std::unordered_set<std::string> (bits/hashtable.h, hash_bytes.cc): that order is followed here too, so that the id
 * is the one of PyTorch's builds for Linux.
 */
#ifndef ANX_LOADERS_CHECKPOINT_SERIALIZATION_ID_H
#define ANX_LOADERS_CHECKPOINT_SERIALIZATION_ID_H

#include "src/base/status.h"

enum { ANX_SERIALIZATION_ID_SIZE = 41 /* 40 digits and the terminator */ };

typedef struct anx_serialization_id {
    uint64_t checksums; /* hash_combine over the CRC-32s so far */
    /* The set of names, as libstdc++ lays it out: one list, and for each bucket the node before its first. */
    uint64_t *hashes;
    uint32_t *next;    /* by node; node 0 is the list's head */
    uint32_t *buckets; /* node before the bucket's first one, NO_NODE where the bucket is empty */
    uint32_t count, capacity, n_buckets;
} anx_serialization_id;

#define ANX_SERIALIZATION_ID_INIT                                                                                      \
    { .checksums = 0, .hashes = NULL, .next = NULL, .buckets = NULL }

/* Both in the order of writing. name: of a record, without its folder; names must differ.
   Errors: OUT_OF_MEMORY, LIMIT (beyond three million records). */
anx_status anx_serialization_id_add_name(anx_serialization_id *id, const char *name, anx_error *err);
void anx_serialization_id_add_crc(anx_serialization_id *id, uint32_t crc);
/* The digits for what was added so far. */
void anx_serialization_id_format(const anx_serialization_id *id, char digits[ANX_SERIALIZATION_ID_SIZE]);
void anx_serialization_id_fini(anx_serialization_id *id);

#endif
