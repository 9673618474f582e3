/* Any bytes behind the magic number of PyTorch's legacy stream. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    static const char magic[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    const size_t n_magic = sizeof magic - 1;
    uint8_t *file = malloc(n_magic + n_bytes);
    if (file == NULL) abort();
    memcpy(file, magic, n_magic);
    if (n_bytes > 0) memcpy(file + n_magic, data, n_bytes);
    fuzz_open(file, n_magic + n_bytes, false);
    fuzz_open(file, n_magic + n_bytes, true);
    free(file);
    return 0;
}
