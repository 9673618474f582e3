/*
 * The members of PyTorch 0.1's tar archive: two lengths of 16 bits, then "pickle", "tensors" and, what is left,
 * "storages". The archive around them is made here, with right checksums; archives as such are fuzz_checkpoint's.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/support/torch_streams.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    uint16_t lengths[2];
    if (n_bytes < sizeof lengths) return 0;
    memcpy(lengths, data, sizeof lengths);
    data += sizeof lengths;
    n_bytes -= sizeof lengths;
    const size_t n_pickle = lengths[0] < n_bytes ? lengths[0] : n_bytes, rest = n_bytes - n_pickle;
    const size_t n_tensors = lengths[1] < rest ? lengths[1] : rest;
    test_stream s;
    test_torch_tar(&s, data, n_pickle, data + n_pickle, n_tensors, data + n_pickle + n_tensors, rest - n_tensors);
    fuzz_open(s.bytes, s.n_bytes, false);
    fuzz_open(s.bytes, s.n_bytes, true);
    test_stream_fini(&s);
    return 0;
}
