#include "tools/parity_options.h"

#include <stdlib.h>
#include <string.h>

#include "parity/points.h"
#include "src/model/arch.h"
#include "tools/common/cli.h"

static bool matches_something(const char *glob) {
    static const char *const others[] = {"image", "resize", "crop", "scaled", "input", "logits"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (anx_points_match(glob, others[i])) return true;
    for (int a = 0; anx_arch_at(a) != NULL; a++)
        for (int i = 0; i < anx_arch_at(a)->n_layers; i++)
            if (anx_points_match(glob, anx_arch_at(a)->layers[i].name)) return true;
    return false;
}

int anx_parity_check_points(const char *globs) {
    for (const char *at = globs;; at++) {
        const size_t length = strcspn(at, ",");
        char *glob = strndup(at, length);
        if (glob == NULL) {
            anx_cli_say("out of memory");
            return ANX_EXIT_TROUBLE;
        }
        const bool good = glob[strspn(glob, " \t")] != '\0' && matches_something(glob);
        const int code = good ? ANX_EXIT_OK : anx_cli_usage("--points: no point matches '%s'", glob);
        free(glob);
        at += length;
        if (code != ANX_EXIT_OK || *at == '\0') return code;
    }
}
