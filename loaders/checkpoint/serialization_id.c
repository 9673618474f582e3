#include "loaders/checkpoint/serialization_id.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { head = 0 };
static const uint32_t no_node = UINT32_MAX;

/* c10::hash_combine */
static uint64_t combine(uint64_t seed, uint64_t value) {
    return seed ^ (value + 0x9e3779b9 + (seed << 6) + (seed >> 2));
}

/* std::_Hash_bytes for 64 bits: MurmurHash64A, with the seed that std::hash<std::string> gives it. */
static uint64_t hash_string(const char *text) {
    const uint64_t mul = UINT64_C(0xc6a4a7935bd1e995), seed = UINT64_C(0xc70f6907);
    const size_t length = strlen(text), whole = length & ~(size_t)7;
    uint64_t hash = seed ^ (length * mul);
    for (size_t at = 0; at < whole; at += 8) {
        uint64_t word;
        memcpy(&word, text + at, sizeof word);
        word *= mul;
        hash = (hash ^ ((word ^ (word >> 47)) * mul)) * mul;
    }
    if (length > whole) {
        uint64_t tail = 0;
        memcpy(&tail, text + whole, length - whole);
        hash = (hash ^ tail) * mul;
    }
    hash = (hash ^ (hash >> 47)) * mul;
    return hash ^ (hash >> 47);
}

/* std::__detail::_Prime_rehash_policy: the numbers of buckets a growing set goes through; 0 past the end. */
static uint32_t grown(uint32_t n_buckets) {
    static const uint32_t sizes[] = {13,    29,    59,    127,   257,    541,    1109,   2357,    5087,
                                     10273, 20753, 42043, 85229, 172933, 351061, 712697, 1447153, 2938679};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i] > n_buckets) return sizes[i];
    return 0;
}

static uint32_t bucket_of(const anx_serialization_id *id, uint32_t node) {
    return (uint32_t)(id->hashes[node] % id->n_buckets);
}

/* _M_insert_bucket_begin: before the bucket's first node; into an empty bucket at the head of the list. */
static void link_node(anx_serialization_id *id, uint32_t node) {
    const uint32_t bucket = bucket_of(id, node);
    if (id->buckets[bucket] != no_node) {
        id->next[node] = id->next[id->buckets[bucket]];
        id->next[id->buckets[bucket]] = node;
        return;
    }
    id->next[node] = id->next[head];
    id->next[head] = node;
    id->buckets[bucket] = head;
    if (id->next[node] != no_node) id->buckets[bucket_of(id, id->next[node])] = node;
}

/* _M_rehash_aux: the old list's nodes, from its head on, linked into an empty one. */
static anx_status grow_buckets(anx_serialization_id *id, anx_error *err) {
    const uint32_t n = grown(id->n_buckets);
    if (n == 0) return anx_error_set(err, ANX_ERR_LIMIT, "more than %u records in one file", id->n_buckets);
    uint32_t *buckets = reallocarray(NULL, n, sizeof *buckets);
    if (buckets == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    for (uint32_t i = 0; i < n; i++) buckets[i] = no_node;
    free(id->buckets);
    id->buckets = buckets;
    id->n_buckets = n;
    uint32_t node = id->next[head];
    id->next[head] = no_node;
    while (node != no_node) {
        const uint32_t following = id->next[node];
        link_node(id, node);
        node = following;
    }
    return ANX_OK;
}

static anx_status reserve_node(anx_serialization_id *id, anx_error *err) {
    if (id->count + 1 < id->capacity) return ANX_OK; /* one more than the names: the head */
    const uint32_t capacity = id->capacity == 0 ? 32 : id->capacity * 2;
    uint64_t *hashes = reallocarray(id->hashes, capacity, sizeof *hashes);
    if (hashes != NULL) id->hashes = hashes;
    uint32_t *next = reallocarray(id->next, capacity, sizeof *next);
    if (next != NULL) id->next = next;
    if (hashes == NULL || next == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    if (id->capacity == 0) id->next[head] = no_node;
    id->capacity = capacity;
    return ANX_OK;
}

anx_status anx_serialization_id_add_name(anx_serialization_id *id, const char *name, anx_error *err) {
    anx_status status = reserve_node(id, err);
    if (status != ANX_OK) return status;
    if (id->count + 1 > id->n_buckets) status = grow_buckets(id, err);
    if (status != ANX_OK) return status;
    const uint32_t node = ++id->count;
    id->hashes[node] = hash_string(name);
    link_node(id, node);
    return ANX_OK;
}

void anx_serialization_id_add_crc(anx_serialization_id *id, uint32_t crc) {
    id->checksums = combine(id->checksums, crc);
}

void anx_serialization_id_format(const anx_serialization_id *id, char digits[ANX_SERIALIZATION_ID_SIZE]) {
    uint64_t names = 0;
    if (id->count > 0)
        for (uint32_t node = id->next[head]; node != no_node; node = id->next[node])
            names = combine(names, id->hashes[node]);
    snprintf(digits, ANX_SERIALIZATION_ID_SIZE, "%020" PRIu64 "%020" PRIu64, names, id->checksums);
}

void anx_serialization_id_fini(anx_serialization_id *id) {
    if (id == NULL) return;
    free(id->hashes);
    free(id->next);
    free(id->buckets);
    *id = (anx_serialization_id)ANX_SERIALIZATION_ID_INIT;
}
