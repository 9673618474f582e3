#include "parity/official.h"

#include <string.h>

const anx_official_file anx_official_alexnet = {
    .name = "alexnet-owt-7be5be79.pth",
    .sha256 = "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    .first_bias = "2348d661bcc5ec90fdc6bcaf3156c9f25e0602dd3fa5c0ef68529b1cf90bc0ed",
};

anx_status anx_official_recognise(const anx_official_file *official, anx_checkpoint *checkpoint, const anx_model *model,
                                  bool *is_official, bool *hashed, anx_digest *digest, anx_error *err) {
    anx_digest first;
    char hex[ANX_SHA256_HEX];
    const int bias = anx_graph_find_param(model->graph, "features.0.bias");
    *is_official = *hashed = false;
    if (bias < 0 || !anx_digest_parse(official->first_bias, &first) || !anx_digest_equal(&model->digests[bias], &first))
        return ANX_OK;
    const anx_status status = anx_checkpoint_file_digest(checkpoint, digest, err);
    if (status != ANX_OK) return status;
    *hashed = true;
    *is_official = strcmp(anx_digest_hex(digest, hex), official->sha256) == 0;
    return ANX_OK;
}
