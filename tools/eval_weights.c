#include "tools/eval_weights.h"

#include <stdlib.h>

#include "loaders/image/preprocess.h"
#include "parity/official.h"
#include "tools/common/cli.h"
#include "tools/common/hub_weights.h"

static anx_status open_checkpoint(const char *path, bool accept_bad_crc, anx_eval_weights *out, anx_error *err) {
    const anx_checkpoint_options options = {.accept_bad_crc = accept_bad_crc};
    anx_status status = anx_checkpoint_open(path, &options, &out->checkpoint, err);
    if (status != ANX_OK) return status;
    const int side = anx_preprocess_torchvision.crop;
    status = anx_model_bind(out->checkpoint, NULL, side, side, &out->model, err);
    if (status != ANX_OK) anx_error_in_file(err, path);
    return status;
}

int anx_eval_weights_open(const char *path, bool accept_bad_crc, anx_eval_weights *out) {
    anx_error err = ANX_ERROR_INIT;
    char *found = NULL;
    anx_status status = ANX_OK;
    if (path == NULL) {
        status = anx_find_hub_weights(anx_official_alexnet.name, &found, &err);
        if (status == ANX_ERR_NOT_FOUND) return anx_cli_usage("%s: --weights names a checkpoint", err.message);
    }
    if (status == ANX_OK) status = open_checkpoint(path != NULL ? path : found, accept_bad_crc, out, &err);
    free(found);
    if (status == ANX_OK) return ANX_EXIT_OK;
    anx_eval_weights_fini(out);
    return anx_cli_trouble(&err);
}

void anx_eval_weights_fini(anx_eval_weights *weights) {
    anx_model_destroy(weights->model);
    anx_checkpoint_close(weights->checkpoint);
    *weights = (anx_eval_weights)ANX_EVAL_WEIGHTS_INIT;
}
