#include "loaders/dataset/wnids.h"

#include <stdlib.h>
#include <string.h>

static int by_wnid(const void *a, const void *b) {
    return strcmp(((const anx_wnid *)a)->wnid, ((const anx_wnid *)b)->wnid);
}

anx_status anx_wnids_init(anx_wnids *out, const anx_class_names *names, int64_t n_classes, anx_error *err) {
    if (names == NULL || names->count != n_classes) return ANX_OK;
    anx_wnid *items = reallocarray(NULL, (size_t)n_classes, sizeof *items);
    if (items == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    for (int64_t i = 0; i < n_classes; i++) items[i] = (anx_wnid){names->wnids[i], i};
    qsort(items, (size_t)n_classes, sizeof *items, by_wnid);
    for (int64_t i = 1; i < n_classes; i++) {
        if (strcmp(items[i - 1].wnid, items[i].wnid) != 0) continue;
        const anx_status status = anx_error_set(err, ANX_ERR_FORMAT, "two classes have the wnid '%s'", items[i].wnid);
        free(items);
        return status;
    }
    *out = (anx_wnids){items, n_classes};
    return ANX_OK;
}

void anx_wnids_fini(anx_wnids *wnids) {
    free(wnids->items);
    *wnids = (anx_wnids){0};
}

int64_t anx_wnids_find(const anx_wnids *wnids, const char *wnid) {
    const anx_wnid key = {wnid, 0};
    const anx_wnid *found =
        wnids->count > 0 ? bsearch(&key, wnids->items, (size_t)wnids->count, sizeof key, by_wnid) : NULL;
    return found != NULL ? found->index : -1;
}

bool anx_looks_like_wnid(const char *text) {
    return text[0] == 'n' && strspn(text + 1, "0123456789") == 8 && text[9] == '\0';
}

const char *anx_wnids_word(const anx_wnids *wnids) {
    return wnids->count > 0 && !anx_looks_like_wnid(wnids->items[0].wnid) ? "name" : "wnid";
}
