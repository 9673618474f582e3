/* Any bytes as the pickle of an otherwise good archive: storages, the search for the state_dict, binding. */
#include <stdlib.h>

#include "loaders/checkpoint/checkpoint.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/test_zip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    static anx_error err;
    test_zip zip;
    test_zip_checkpoint(&zip, data, n_bytes);
    anx_checkpoint *checkpoint = NULL;
    const char *path = fuzz_file(zip.bytes, zip.n_bytes);
    const anx_status status = anx_checkpoint_open(path, NULL, &checkpoint, &err);
    if (status != ANX_OK && (checkpoint != NULL || err.status != status || err.message[0] == '\0')) abort();
    if (status == ANX_OK) {
        if (checkpoint->tensors.count == 0) abort();
        fuzz_touch(&checkpoint->tensors);
        fuzz_training(checkpoint);
        anx_model *model = NULL;
        if (anx_model_bind(checkpoint, NULL, 0, 0, &model, &err) == ANX_OK) anx_model_destroy(model);
    }
    anx_checkpoint_close(checkpoint);
    if (status == ANX_OK) fuzz_inspect(path);
    test_zip_fini(&zip);
    return 0;
}
