#include "loaders/dataset/path_list.h"

#include "loaders/file.h"

static const char *name(void *context, int64_t i) {
    const char *const *paths = context;
    return paths[i];
}

static anx_status read_file(void *context, int64_t i, uint8_t **bytes, size_t *n_bytes, anx_error *err) {
    return anx_read_file(name(context, i), bytes, n_bytes, err);
}

anx_image_source anx_path_list_source(const char *const *paths) {
    return (anx_image_source){.read = read_file, .name = name, .context = (void *)(uintptr_t)paths};
}
