#include "loaders/live_paths.h"

#include <stdlib.h>
#include <string.h>

void anx_live_paths_add(anx_live_paths live, const void *key, size_t n_bytes, const char *path) {
    char *copy = strdup(path);
    for (int i = 0; copy != NULL && i < ANX_LIVE_PATHS; i++) {
        char *none = NULL;
        if (!atomic_compare_exchange_strong(&live[i].path, &none, copy)) continue;
        atomic_store(&live[i].n_bytes, n_bytes);
        atomic_store(&live[i].key, key);
        return;
    }
    free(copy);
}

void anx_live_paths_remove(anx_live_paths live, const void *key) {
    for (int i = 0; i < ANX_LIVE_PATHS; i++) {
        const void *expected = key;
        if (!atomic_compare_exchange_strong(&live[i].key, &expected, NULL)) continue;
        free(atomic_exchange(&live[i].path, NULL));
        return;
    }
}
