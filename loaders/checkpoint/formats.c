/* The formats that checkpoints are written in: a new one is one new file and one line here. */
#include <string.h>
#include <strings.h>

#include "loaders/checkpoint/saving.h"

static const anx_checkpoint_format formats[] = {
    {.name = "pth",
     .extensions = ".pth .pt",
     .summary = "what torch.save of PyTorch 2.15 writes, byte for byte",
     .keeps_views = true,
     .can_keep_metadata = anx_pth_can_keep_metadata,
     .write = anx_pth_save},
    {.name = "safetensors",
     .extensions = ".safetensors",
     .summary = "safetensors, laid out as its reference writer does",
     .can_keep_order = anx_safetensors_can_keep_order,
     .can_keep_metadata = anx_safetensors_can_keep_metadata,
     .write = anx_safetensors_save},
    {.name = "bin",
     .extensions = ".bin",
     .summary = "flat, mappable, with checksums: a reader is 40 lines of C",
     .can_keep_metadata = anx_bin_can_keep_metadata,
     .write = anx_bin_save},
    {.name = "raw",
     .extensions = ".raw .f32",
     .summary = "the float32 values in order and nothing else",
     .write = anx_raw_save},
};

const anx_checkpoint_format *anx_checkpoint_format_at(int i) {
    return i >= 0 && (size_t)i < sizeof formats / sizeof formats[0] ? &formats[i] : NULL;
}

const anx_checkpoint_format *anx_checkpoint_format_find(const char *name) {
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (strcmp(formats[i].name, name) == 0) return &formats[i];
    return NULL;
}

/* Is `extension`, of n letters, one of a list's words? */
static bool lists(const char *list, const char *extension, size_t n) {
    while (*list != '\0') {
        const size_t length = strcspn(list, " ");
        if (length == n && strncasecmp(list, extension, n) == 0) return true;
        list += length + strspn(list + length, " ");
    }
    return false;
}

const anx_checkpoint_format *anx_checkpoint_format_of_path(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path, *dot = strrchr(name, '.');
    if (dot == NULL) return NULL;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (lists(formats[i].extensions, dot, strlen(dot))) return &formats[i];
    return NULL;
}
