#include <cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "parity/inspection.h"
#include "tests/fuzz/fuzz.h"

void fuzz_inspect(const char *path) {
    static anx_error err;
    const anx_inspection_options options = {.accept_bad_crc = true, .threads = 1};
    anx_inspection *in = NULL;
    char *text = NULL, *json = NULL;
    if (anx_inspect(path, &options, &in, &err) != ANX_OK || anx_inspection_text(in, &text, NULL, &err) != ANX_OK ||
        anx_inspection_json(in, &json, NULL, &err) != ANX_OK)
        abort();
    for (const char *c = text; *c != '\0'; c++)
        if (((unsigned char)*c < ' ' && *c != '\n') || *c == 0x7f) abort();
    cJSON *root = cJSON_Parse(json);
    if (root == NULL) abort();
    cJSON_Delete(root);
    free(text);
    free(json);
    anx_inspection_destroy(in);
}
