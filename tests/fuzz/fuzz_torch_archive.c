/* Any bytes as a tar archive of PyTorch 0.1: each header that the walk would come to is given its right checksum. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/support/test_tar.h"

enum { block_bytes = 512, size_at = 124, size_bytes = 12 };

static void seal_headers(test_tar *tar) {
    for (size_t at = 0; tar->n_bytes - at >= block_bytes;) {
        char field[size_bytes + 1] = "";
        test_tar_seal(tar, at);
        memcpy(field, tar->bytes + at + size_at, size_bytes);
        const unsigned long long size = strtoull(field, NULL, 8);
        if (size > tar->n_bytes - at - block_bytes) return;
        const size_t padded = (size_t)(size + block_bytes - 1) / block_bytes * block_bytes;
        if (padded > tar->n_bytes - at - block_bytes) return;
        at += block_bytes + padded;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    static const uint8_t end[2 * block_bytes];
    test_tar tar;
    test_tar_init(&tar);
    test_tar_data(&tar, data, n_bytes); /* a whole number of blocks */
    seal_headers(&tar);
    test_tar_data(&tar, end, sizeof end);
    fuzz_open(tar.bytes, tar.n_bytes, false);
    fuzz_open(tar.bytes, tar.n_bytes, true);
    test_tar_fini(&tar);
    return 0;
}
