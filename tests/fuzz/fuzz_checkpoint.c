/* Any bytes as a checkpoint: sniffing, the zip walk against libzip, the pickle machine, binding. */
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    static anx_error err;
    static char text[20000];
    /* CRCs would have to be guessed before anything behind them is reached; what they do is in the unit tests. */
    const anx_checkpoint_options options = {.accept_bad_crc = true};
    anx_checkpoint *checkpoint = NULL;
    const char *path = fuzz_file(data, n_bytes);
    const anx_status status = anx_checkpoint_open(path, &options, &checkpoint, &err);
    if (status != ANX_OK) {
        if (checkpoint != NULL || err.status != status || strlen(anx_error_format(&err, text, sizeof text)) == 0 ||
            status == ANX_ERR_INTERNAL)
            abort();
        return 0;
    }
    fuzz_touch(&checkpoint->tensors);
    fuzz_training(checkpoint);
    anx_model *model = NULL;
    if (anx_model_bind(checkpoint, NULL, 0, 0, &model, &err) == ANX_OK) anx_model_destroy(model);
    anx_checkpoint_close(checkpoint);
    fuzz_inspect(path);
    return 0;
}
