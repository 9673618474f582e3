#include "tools/common/engine_options.h"

#include <string.h>

#include "tools/common/cli.h"

enum { max_threads = 4096 };

int anx_cli_parse_threads(const char *text, int *threads) {
    int64_t value;
    if (!anx_cli_parse_i64(text, 1, max_threads, &value))
        return anx_cli_usage("--threads '%s' is not a whole number from 1 to %d", text, max_threads);
    *threads = (int)value;
    return ANX_EXIT_OK;
}

int anx_cli_parse_math(const char *text, anx_math_mode *math) {
    if (anx_math_mode_find(text, math)) return ANX_EXIT_OK;
    return anx_cli_usage("--math '%s' is none of these: float32, tf32, fast", text);
}

int anx_cli_check_device(const char *name) {
    const size_t length = strcspn(name, ":");
    const bool known = strcmp(name, "auto") == 0 || anx_backend_find(name) != NULL;
    char list[512] = "auto";
    for (int i = 0; anx_backend_at(i) != NULL; i++) {
        const size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, ", %s", anx_backend_at(i)->name);
    }
    int64_t ordinal;
    const bool good = known && (name[length] == '\0' || anx_cli_parse_i64(name + length + 1, 0, INT32_MAX, &ordinal));
    return good ? ANX_EXIT_OK : anx_cli_usage("unknown device '%s'; there is: %s", name, list);
}

void anx_cli_list_devices(FILE *to) {
    fprintf(to, "      %-10s the first of these that is there\n", "auto");
    for (int i = 0; anx_backend_at(i) != NULL; i++)
        fprintf(to, "      %-10s %s\n", anx_backend_at(i)->name, anx_backend_at(i)->summary);
}
