/*
 * Any bytes as an anx bin file: as they are, and with the header's fixed fields and all checksums made right, which a
 * fuzzer cannot guess. What is read is written, and is the same file again: there is one for given contents.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "loaders/checkpoint/bin_format.h"
#include "loaders/checkpoint/checkpoint.h"
#include "loaders/checkpoint/saving.h"
#include "tests/fuzz/fuzz.h"

enum { most_bytes = 1 << 17, pipe_bytes = 1 << 20 };

static anx_error err;

static uint32_t crc_of(const uint8_t *bytes, uint64_t n) {
    return (uint32_t)crc32_z(0, bytes, (size_t)n);
}

static void seal(uint8_t *file, size_t n_bytes) {
    anx_bin_header h;
    if (n_bytes < sizeof h) return;
    memcpy(&h, file, sizeof h);
    memcpy(h.magic, ANX_BIN_MAGIC, ANX_BIN_MAGIC_BYTES);
    h.version = ANX_BIN_VERSION;
    h.file_bytes = n_bytes;
    for (size_t at = sizeof h, i = 0; i < h.n_tensors && n_bytes - at >= sizeof(anx_bin_record); i++) {
        anx_bin_record r;
        memcpy(&r, file + at, sizeof r);
        if (r.data_offset >= h.data_offset && r.data_offset <= n_bytes && r.data_bytes <= n_bytes - r.data_offset)
            r.crc = crc_of(file + r.data_offset, r.data_bytes);
        memcpy(file + at, &r, sizeof r);
        at += sizeof r;
    }
    if (h.data_offset >= sizeof h && h.data_offset <= n_bytes)
        h.table_crc = crc_of(file + sizeof h, h.data_offset - sizeof h);
    h.header_crc = crc_of((const uint8_t *)&h, offsetof(anx_bin_header, header_crc));
    memcpy(file, &h, sizeof h);
}

/* Into a pipe that has room for all of it: no disk is waited for. Returns the number of bytes. */
static size_t write_again(const anx_checkpoint *checkpoint, uint8_t *out, size_t size) {
    static int ends[2] = {-1, -1};
    static char path[64];
    if (ends[0] < 0) {
        if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0 || fcntl(ends[1], F_SETPIPE_SZ, (int)pipe_bytes) < (int)pipe_bytes)
            abort();
        snprintf(path, sizeof path, "/proc/self/fd/%d", ends[1]);
    }
    anx_saving saving = ANX_SAVING_INIT;
    anx_file_writer *file = NULL;
    if (anx_saving_init(checkpoint, &saving, &err) != ANX_OK ||
        anx_file_writer_create(path, true, &file, &err) != ANX_OK ||
        anx_bin_save(&saving, path, file, NULL, &err) != ANX_OK || anx_file_writer_commit(file, &err) != ANX_OK)
        abort();
    anx_file_writer_destroy(file);
    anx_saving_fini(&saving);
    size_t n = 0;
    for (ssize_t got; n < size && (got = read(ends[0], out + n, size - n)) > 0;) n += (size_t)got;
    return n;
}

static anx_checkpoint *open_strictly(const uint8_t *file, size_t n_bytes) {
    const anx_checkpoint_options options = {.as_stored = true, .keep_prefix = true};
    anx_checkpoint *checkpoint = NULL;
    const anx_status status = anx_checkpoint_open(fuzz_file(file, n_bytes), &options, &checkpoint, &err);
    if ((status == ANX_OK) != (checkpoint != NULL) || status == ANX_ERR_INTERNAL) abort();
    return checkpoint;
}

/* The text's spaces are its own; tables and data are not. */
static void check_canonical(const uint8_t *file, size_t n_bytes) {
    static uint8_t first[pipe_bytes], second[pipe_bytes];
    anx_checkpoint *checkpoint = open_strictly(file, n_bytes);
    if (checkpoint == NULL) return;
    fuzz_touch(&checkpoint->tensors);
    const size_t n = write_again(checkpoint, first, sizeof first);
    anx_checkpoint_close(checkpoint);
    uint64_t text_bytes = 0;
    memcpy(&text_bytes, file + offsetof(anx_bin_header, text_bytes), sizeof text_bytes);
    if (text_bytes == 0 && (n != n_bytes || memcmp(first, file, n) != 0)) abort();
    checkpoint = open_strictly(first, n);
    if (checkpoint == NULL || write_again(checkpoint, second, sizeof second) != n || memcmp(first, second, n) != 0)
        abort();
    anx_checkpoint_close(checkpoint);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    if (n_bytes > most_bytes) return 0;
    fuzz_open(data, n_bytes, false);
    fuzz_open(data, n_bytes, true);
    uint8_t *file = malloc(n_bytes + 1);
    if (file == NULL) abort();
    if (n_bytes > 0) memcpy(file, data, n_bytes);
    seal(file, n_bytes);
    check_canonical(file, n_bytes);
    free(file);
    return 0;
}
