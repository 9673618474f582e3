/*
 * What lies in a folder or a tar: names, sizes, positions; and the order in which torchvision's ImageFolder has them.
 */
#ifndef ANX_LOADERS_DATASET_LISTING_H
#define ANX_LOADERS_DATASET_LISTING_H

#include "src/base/arena.h"
#include "src/base/status.h"

typedef struct anx_listed {
    const char *path; /* ROOT/NAME, for messages and for opening */
    const char *name; /* within path: below the root, '/' between its parts, no part "." or ".." */
    uint64_t file_bytes;
    uint64_t offset; /* of its first byte in the tar; 0 in a folder */
    int64_t label;   /* -1: none */
    int64_t line;    /* of the label file that gave the label; 0: none */
    bool is_image;   /* by its extension, as torchvision decides */
} anx_listed;

typedef struct anx_listing {
    const char *root; /* without trailing slashes */
    anx_arena arena;  /* of all text */
    anx_listed *files;
    const char **folders; /* names, as those of files; of a folder those at its top alone, of a tar those it lists */
    size_t n_files, n_folders, file_capacity, folder_capacity;
} anx_listing;

enum { ANX_MAX_LISTED = 1 << 24 }; /* files, and folders, of a dataset */

/* *out must be zeros; release with anx_listing_fini. Errors: OUT_OF_MEMORY. */
anx_status anx_listing_init(anx_listing *out, const char *root, anx_error *err);
void anx_listing_fini(anx_listing *listing);

/* Errors: LIMIT, OUT_OF_MEMORY. The name is copied. */
anx_status anx_listing_add(anx_listing *listing, const char *name, uint64_t file_bytes, uint64_t offset,
                           anx_error *err);
anx_status anx_listing_add_folder(anx_listing *listing, const char *name, anx_error *err);

/*
 * Sorts files as ImageFolder gives them: by class (the first part of the name below `outer`), then by folder as one
 * text, then by name; all by code points, as Python compares its strings. outer: "" or "FOLDER/". Errors:
 * OUT_OF_MEMORY.
 */
anx_status anx_listing_sort(anx_listing *listing, const char *outer, anx_error *err);
/* Sorts names in the same way and drops those that occur again. */
anx_status anx_names_sort(const char **names, size_t *n, anx_error *err);

/* The name below `outer`, or NULL where it does not lie there. */
const char *anx_below(const char *name, const char *outer);
/* What follows the last '/'. */
const char *anx_base_name(const char *name);
/* ".JPEG" of "a.b/c.JPEG", where torchvision takes that for an image; NULL otherwise. */
const char *anx_image_extension(const char *name);

#define ANX_IMAGE_EXTENSIONS ".jpg, .jpeg, .png, .ppm, .bmp, .pgm, .tif, .tiff, .webp"

#endif
