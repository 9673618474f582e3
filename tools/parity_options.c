#include "tools/parity_options.h"

#include <stdlib.h>
#include <string.h>

#include "parity/points.h"
#include "src/backend/backend.h"
#include "tools/common/cli.h"

enum { max_threads = 4096 };

int anx_parity_parse_threads(const char *text, int *threads) {
    int64_t value;
    if (!anx_cli_parse_i64(text, 1, max_threads, &value))
        return anx_cli_usage("--threads '%s' is not a whole number from 1 to %d", text, max_threads);
    *threads = (int)value;
    return ANX_EXIT_OK;
}

int anx_parity_check_device(const char *name) {
    const size_t length = strcspn(name, ":");
    bool known = strcmp(name, "auto") == 0;
    char list[512] = "auto";
    for (int i = 0; anx_backend_at(i) != NULL; i++) {
        const char *backend = anx_backend_at(i)->name;
        const size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, ", %s", backend);
        known = known || (strlen(backend) == length && strncmp(name, backend, length) == 0);
    }
    int64_t ordinal;
    if (known && name[length] == ':') known = anx_cli_parse_i64(name + length + 1, 0, INT32_MAX, &ordinal);
    return known ? ANX_EXIT_OK : anx_cli_usage("unknown device '%s'; there is: %s", name, list);
}

void anx_parity_list_devices(FILE *to) {
    fprintf(to, "      %-10s the first of these that is there\n", "auto");
    for (int i = 0; anx_backend_at(i) != NULL; i++)
        fprintf(to, "      %-10s %s\n", anx_backend_at(i)->name, anx_backend_at(i)->summary);
}

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
