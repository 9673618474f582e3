#include "loaders/checkpoint/zip_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "loaders/checkpoint/serialization_id.h"

enum {
    data_alignment = 64,
    local_header_bytes = 30,
    extra_header_bytes = 4, /* of any extra field: a tag and a length */
    flag_descriptor = 1 << 3,
    flag_utf8 = 1 << 11
};

static const uint32_t local_header_tag = 0x04034b50, descriptor_tag = 0x08074b50, central_tag = 0x02014b50,
                      zip64_end_tag = 0x06064b50, zip64_locator_tag = 0x07064b50, end_tag = 0x06054b50;

typedef struct record {
    char *name; /* with the folder */
    uint64_t header_offset, n_bytes;
    uint32_t crc;
} record;

struct anx_zip_writer {
    anx_file_writer *file;
    char *folder;
    record *records;
    size_t count, capacity;
    bool open;          /* between begin and end: the last record */
    bool summed;        /* its CRC-32 is known already */
    uint64_t remaining; /* bytes the open record still lacks */
    uint8_t start[8];   /* its first bytes, */
    size_t n_start;     /* ... so many of them */
    anx_serialization_id id;
};

/* A small buffer for headers. Sizes are known beforehand; see the uses. */
typedef struct block {
    uint8_t bytes[128];
    size_t n;
} block;

static void put16(block *b, unsigned value) {
    b->bytes[b->n++] = (uint8_t)value;
    b->bytes[b->n++] = (uint8_t)(value >> 8);
}

static void put32(block *b, uint32_t value) {
    put16(b, value & 0xffff);
    put16(b, value >> 16);
}

static void put64(block *b, uint64_t value) {
    put32(b, (uint32_t)value);
    put32(b, (uint32_t)(value >> 32));
}

static anx_status write_block(anx_zip_writer *zip, const block *b, anx_error *err) {
    return anx_file_writer_write(zip->file, b->bytes, b->n, err);
}

static bool is_big(const record *r) {
    return r->n_bytes >= UINT32_MAX;
}

static bool is_far(const record *r) {
    return r->header_offset >= UINT32_MAX;
}

static uint32_t saturated32(uint64_t value) {
    return value >= UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

static unsigned saturated16(uint64_t value) {
    return value >= UINT16_MAX ? UINT16_MAX : (unsigned)value;
}

static unsigned flags_of(const record *r) {
    return r->n_bytes > 0 ? flag_utf8 | flag_descriptor : flag_utf8;
}

/* The zip64 extra field; in a local header the compressed size is not known yet. */
static void put_zip64_extra(block *b, const record *r, bool local) {
    if (!is_big(r) && !is_far(r)) return;
    put16(b, 0x0001);
    put16(b, (is_big(r) ? 16u : 0u) + (is_far(r) ? 8u : 0u));
    if (is_big(r)) {
        put64(b, r->n_bytes);
        put64(b, local ? 0 : r->n_bytes);
    }
    if (is_far(r)) put64(b, r->header_offset);
}

anx_status anx_zip_writer_create(anx_file_writer *file, const char *folder, anx_zip_writer **out, anx_error *err) {
    anx_zip_writer *zip = calloc(1, sizeof *zip);
    if (zip != NULL) zip->folder = strdup(folder);
    if (zip == NULL || zip->folder == NULL) {
        free(zip);
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    }
    zip->file = file;
    *out = zip;
    return ANX_OK;
}

void anx_zip_writer_destroy(anx_zip_writer *zip) {
    if (zip == NULL) return;
    for (size_t i = 0; i < zip->count; i++) free(zip->records[i].name);
    free(zip->records);
    free(zip->folder);
    anx_serialization_id_fini(&zip->id);
    free(zip);
}

static anx_status add_record(anx_zip_writer *zip, const char *name, uint64_t n_bytes, anx_error *err) {
    if (zip->count == zip->capacity) {
        const size_t capacity = zip->capacity == 0 ? 32 : zip->capacity * 2;
        record *records = reallocarray(zip->records, capacity, sizeof *records);
        if (records == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
        zip->records = records;
        zip->capacity = capacity;
    }
    char *full = NULL;
    if (asprintf(&full, "%s/%s", zip->folder, name) < 0)
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    zip->records[zip->count++] =
        (record){.name = full, .header_offset = anx_file_writer_offset(zip->file), .n_bytes = n_bytes};
    return ANX_OK;
}

/* The extra field 'FB' that moves the data to an aligned offset; always there, even when no padding is needed. */
static anx_status write_padding(anx_zip_writer *zip, size_t n_padding, anx_error *err) {
    block b = {.n = 0};
    put16(&b, 'F' | 'B' << 8);
    put16(&b, (unsigned)n_padding);
    memset(b.bytes + b.n, 'Z', n_padding);
    b.n += n_padding;
    return write_block(zip, &b, err);
}

anx_status anx_zip_writer_begin(anx_zip_writer *zip, const char *name, uint64_t n_bytes, anx_error *err) {
    if (zip->open) return anx_error_set(err, ANX_ERR_INTERNAL, "a record is begun before the last one has ended");
    anx_status status = add_record(zip, name, n_bytes, err);
    if (status != ANX_OK) return status;
    const record *r = &zip->records[zip->count - 1];
    const size_t name_bytes = strlen(r->name);
    block zip64 = {.n = 0};
    put_zip64_extra(&zip64, r, true);
    const uint64_t start = r->header_offset + local_header_bytes + name_bytes + zip64.n + extra_header_bytes;
    const size_t n_padding = (size_t)((data_alignment - start % data_alignment) % data_alignment);

    block b = {.n = 0};
    put32(&b, local_header_tag);
    put16(&b, 0); /* version needed */
    put16(&b, flags_of(r));
    put16(&b, 0); /* method: stored */
    put32(&b, 0); /* time and date */
    put32(&b, 0); /* CRC-32 and both sizes: in the descriptor */
    put32(&b, 0);
    put32(&b, 0);
    put16(&b, (unsigned)name_bytes);
    put16(&b, (unsigned)(zip64.n + extra_header_bytes + n_padding));
    status = write_block(zip, &b, err);
    if (status == ANX_OK) status = anx_file_writer_write(zip->file, r->name, name_bytes, err);
    if (status == ANX_OK) status = write_block(zip, &zip64, err);
    if (status == ANX_OK) status = write_padding(zip, n_padding, err);
    if (status == ANX_OK) status = anx_serialization_id_add_name(&zip->id, name, err);
    zip->open = true;
    zip->summed = false;
    zip->remaining = n_bytes;
    zip->n_start = 0;
    return status;
}

anx_status anx_zip_writer_begin_summed(anx_zip_writer *zip, const char *name, uint64_t n_bytes, uint32_t crc,
                                       anx_error *err) {
    anx_status status = anx_zip_writer_begin(zip, name, n_bytes, err);
    if (status != ANX_OK) return status;
    zip->summed = true;
    zip->records[zip->count - 1].crc = crc;
    return ANX_OK;
}

anx_status anx_zip_writer_append(anx_zip_writer *zip, const void *data, size_t n_bytes, anx_error *err) {
    if (!zip->open || n_bytes > zip->remaining)
        return anx_error_set(err, ANX_ERR_INTERNAL, "more bytes than the record was begun with");
    record *r = &zip->records[zip->count - 1];
    const size_t missing = sizeof zip->start - zip->n_start, now = n_bytes < missing ? n_bytes : missing;
    if (now > 0) memcpy(zip->start + zip->n_start, data, now);
    zip->n_start += now;
    zip->remaining -= n_bytes;
    if (!zip->summed) r->crc = (uint32_t)crc32_z(r->crc, data, n_bytes);
    return anx_file_writer_write(zip->file, data, n_bytes, err);
}

/*
 * PyTorch finds the CRC-32s for the id by looking at the blocks it writes: each that begins like a data descriptor
 * counts, a record's own data included.
 */
static void collect_crcs(anx_zip_writer *zip, const record *r) {
    uint32_t words[2];
    memcpy(words, zip->start, sizeof words);
    if (zip->n_start == sizeof zip->start && words[0] == descriptor_tag)
        anx_serialization_id_add_crc(&zip->id, words[1]);
    anx_serialization_id_add_crc(&zip->id, r->crc);
}

anx_status anx_zip_writer_end(anx_zip_writer *zip, anx_error *err) {
    if (!zip->open || zip->remaining > 0)
        return anx_error_set(err, ANX_ERR_INTERNAL, "fewer bytes than the record was begun with");
    zip->open = false;
    const record *r = &zip->records[zip->count - 1];
    if (r->n_bytes == 0) return ANX_OK; /* an empty record has no descriptor */
    collect_crcs(zip, r);
    block b = {.n = 0};
    put32(&b, descriptor_tag);
    put32(&b, r->crc);
    if (is_big(r) || is_far(r)) {
        put64(&b, r->n_bytes);
        put64(&b, r->n_bytes);
    } else {
        put32(&b, (uint32_t)r->n_bytes);
        put32(&b, (uint32_t)r->n_bytes);
    }
    return write_block(zip, &b, err);
}

anx_status anx_zip_writer_add(anx_zip_writer *zip, const char *name, const void *data, size_t n_bytes, anx_error *err) {
    anx_status status = anx_zip_writer_begin(zip, name, n_bytes, err);
    if (status == ANX_OK) status = anx_zip_writer_append(zip, data, n_bytes, err);
    if (status == ANX_OK) status = anx_zip_writer_end(zip, err);
    return status;
}

static anx_status write_central_entry(anx_zip_writer *zip, const record *r, anx_error *err) {
    block b = {.n = 0}, zip64 = {.n = 0};
    put_zip64_extra(&zip64, r, false);
    put32(&b, central_tag);
    put16(&b, 0); /* made by */
    put16(&b, 0); /* version needed */
    put16(&b, flags_of(r));
    put16(&b, 0); /* method */
    put32(&b, 0); /* time and date */
    put32(&b, r->crc);
    put32(&b, saturated32(r->n_bytes));
    put32(&b, saturated32(r->n_bytes));
    put16(&b, (unsigned)strlen(r->name));
    put16(&b, (unsigned)zip64.n);
    put16(&b, 0); /* comment */
    put16(&b, 0); /* disk */
    put16(&b, 0); /* internal attributes */
    put32(&b, 0); /* external attributes */
    put32(&b, saturated32(r->header_offset));
    anx_status status = write_block(zip, &b, err);
    if (status == ANX_OK) status = anx_file_writer_write(zip->file, r->name, strlen(r->name), err);
    if (status == ANX_OK) status = write_block(zip, &zip64, err);
    return status;
}

/* The zip64 end record, its locator and the end record: all three, however small the archive. */
static anx_status write_end(anx_zip_writer *zip, uint64_t directory_offset, anx_error *err) {
    const uint64_t end_offset = anx_file_writer_offset(zip->file), directory_bytes = end_offset - directory_offset;
    block b = {.n = 0};
    put32(&b, zip64_end_tag);
    put64(&b, 44);     /* bytes that follow in this record */
    put16(&b, 0x031e); /* made by: 3.0 on Unix */
    put16(&b, 0x002d); /* version needed: 4.5 */
    put32(&b, 0);      /* this disk, the directory's disk */
    put32(&b, 0);
    put64(&b, zip->count);
    put64(&b, zip->count);
    put64(&b, directory_bytes);
    put64(&b, directory_offset);

    put32(&b, zip64_locator_tag);
    put32(&b, 0);
    put64(&b, end_offset);
    put32(&b, 1); /* disks */
    anx_status status = write_block(zip, &b, err);

    b.n = 0;
    put32(&b, end_tag);
    put32(&b, 0); /* disks */
    put16(&b, saturated16(zip->count));
    put16(&b, saturated16(zip->count));
    put32(&b, saturated32(directory_bytes));
    put32(&b, saturated32(directory_offset));
    put16(&b, 0); /* comment */
    return status == ANX_OK ? write_block(zip, &b, err) : status;
}

anx_status anx_zip_writer_finish(anx_zip_writer *zip, anx_error *err) {
    char digits[ANX_SERIALIZATION_ID_SIZE];
    anx_serialization_id_format(&zip->id, digits);
    anx_status status = anx_zip_writer_add(zip, ".data/serialization_id", digits, sizeof digits - 1, err);
    const uint64_t directory_offset = anx_file_writer_offset(zip->file);
    for (size_t i = 0; status == ANX_OK && i < zip->count; i++)
        status = write_central_entry(zip, &zip->records[i], err);
    return status == ANX_OK ? write_end(zip, directory_offset, err) : status;
}
