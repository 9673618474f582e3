#include "loaders/dataset/listing.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "loaders/checkpoint/text.h"

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

anx_status anx_listing_init(anx_listing *out, const char *root, anx_error *err) {
    size_t n = strlen(root);
    while (n > 1 && root[n - 1] == '/') n--;
    out->root = anx_arena_text(&out->arena, root, n);
    return out->root != NULL ? ANX_OK : out_of_memory(err);
}

void anx_listing_fini(anx_listing *listing) {
    free(listing->files);
    free(listing->folders);
    anx_arena_fini(&listing->arena);
    *listing = (anx_listing){0};
}

/* Room for one more item in *items. */
static anx_status grow(void **items, size_t n, size_t *capacity, size_t size, const char *what, anx_error *err) {
    if (n < *capacity) return ANX_OK;
    if (n >= ANX_MAX_LISTED) return anx_error_set(err, ANX_ERR_LIMIT, "more than %d %s", (int)ANX_MAX_LISTED, what);
    const size_t more = n == 0 ? 1024 : 2 * n;
    void *grown = reallocarray(*items, more, size);
    if (grown == NULL) return out_of_memory(err);
    *items = grown;
    *capacity = more;
    return ANX_OK;
}

anx_status anx_listing_add(anx_listing *l, const char *name, uint64_t file_bytes, uint64_t offset, anx_error *err) {
    void *files = l->files;
    const anx_status status = grow(&files, l->n_files, &l->file_capacity, sizeof *l->files, "files", err);
    l->files = files;
    if (status != ANX_OK) return status;
    const size_t before = strlen(l->root), n = strlen(name);
    char *path = anx_arena_alloc(&l->arena, before + n + 2, 1);
    if (path == NULL) return out_of_memory(err);
    memcpy(path, l->root, before);
    path[before] = '/';
    memcpy(path + before + 1, name, n);
    l->files[l->n_files++] = (anx_listed){.path = path,
                                          .name = path + before + 1,
                                          .file_bytes = file_bytes,
                                          .offset = offset,
                                          .label = -1,
                                          .is_image = anx_image_extension(name) != NULL};
    return ANX_OK;
}

anx_status anx_listing_add_folder(anx_listing *l, const char *name, anx_error *err) {
    void *folders = l->folders;
    const anx_status status = grow(&folders, l->n_folders, &l->folder_capacity, sizeof *l->folders, "folders", err);
    l->folders = folders;
    if (status != ANX_OK) return status;
    const char *copy = anx_arena_text(&l->arena, name, strlen(name));
    if (copy == NULL) return out_of_memory(err);
    l->folders[l->n_folders++] = copy;
    return ANX_OK;
}

/* ---- names --------------------------------------------------------------------------------------------- */

const char *anx_below(const char *name, const char *outer) {
    const size_t n = strlen(outer);
    return strncmp(name, outer, n) == 0 ? name + n : NULL;
}

const char *anx_base_name(const char *name) {
    const char *slash = strrchr(name, '/');
    return slash != NULL ? slash + 1 : name;
}

const char *anx_image_extension(const char *name) {
    static const char *const extensions[] = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"};
    const char *dot = strrchr(anx_base_name(name), '.');
    for (size_t i = 0; dot != NULL && i < sizeof extensions / sizeof extensions[0]; i++)
        if (strcasecmp(dot, extensions[i]) == 0) return dot;
    return NULL;
}

/* ---- order ---------------------------------------------------------------------------------------------- */

/* What a name is sorted by, bytewise. */
typedef struct sort_key {
    const uint8_t *bytes;
    size_t n_bytes, index;
} sort_key;

static int by_key(const void *a, const void *b) {
    const sort_key *x = a, *y = b;
    const int order = memcmp(x->bytes, y->bytes, x->n_bytes < y->n_bytes ? x->n_bytes : y->n_bytes);
    if (order != 0) return order;
    if (x->n_bytes != y->n_bytes) return x->n_bytes < y->n_bytes ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/*
 * Appends text so that comparing bytes compares code points as Python has them: its strings hold a byte that is not
 * UTF-8 as the surrogate U+DC00 + byte, which sorts before U+E000, the byte itself after everything.
 */
static uint8_t *put_text(uint8_t *to, const char *text, const char *end) {
    while (text < end) {
        const int n = anx_utf8_sequence(text, end);
        if (n > 0) {
            memcpy(to, text, (size_t)n);
            to += n;
            text += n;
            continue;
        }
        const uint8_t byte = (uint8_t)*text++;
        *to++ = 0xed;
        *to++ = (uint8_t)(0xb0 | byte >> 6);
        *to++ = (uint8_t)(0x80 | (byte & 0x3f));
    }
    return to;
}

/* CLASS NUL FOLDERS NUL FILE: a NUL is in no name and sorts first, as the end of a text does. */
static bool make_key(anx_arena *arena, const char *name, sort_key *out) {
    const char *end = name + strlen(name), *file = anx_base_name(name);
    const char *first = strchr(name, '/');
    uint8_t *bytes = anx_arena_alloc(arena, (size_t)(end - name) + 1, 3), *to = bytes;
    if (bytes == NULL) return false;
    if (first != NULL) to = put_text(to, name, first);
    *to++ = '\0';
    if (first != NULL && first + 1 < file) to = put_text(to, first + 1, file - 1);
    *to++ = '\0';
    to = put_text(to, file, end);
    out->bytes = bytes;
    out->n_bytes = (size_t)(to - bytes);
    return true;
}

/* Keys of n names, sorted; in the arena. NULL: out of memory. */
static sort_key *sorted_keys(anx_arena *arena, const char *(*name_of)(const void *items, size_t i, const char *outer),
                             const void *items, size_t n, const char *outer) {
    sort_key *keys = anx_arena_alloc(arena, n, sizeof *keys);
    for (size_t i = 0; keys != NULL && i < n; i++) {
        keys[i].index = i;
        if (!make_key(arena, name_of(items, i, outer), &keys[i])) return NULL;
    }
    if (keys != NULL && n > 0) qsort(keys, n, sizeof *keys, by_key);
    return keys;
}

static const char *file_name(const void *items, size_t i, const char *outer) {
    const char *name = ((const anx_listed *)items)[i].name, *below = anx_below(name, outer);
    return below != NULL ? below : name;
}

static const char *plain_name(const void *items, size_t i, const char *outer) {
    (void)outer;
    return ((const char *const *)items)[i];
}

anx_status anx_listing_sort(anx_listing *l, const char *outer, anx_error *err) {
    anx_arena arena = ANX_ARENA_INIT;
    anx_status status = ANX_OK;
    anx_listed *files = reallocarray(NULL, l->n_files > 0 ? l->n_files : 1, sizeof *files);
    const sort_key *keys = sorted_keys(&arena, file_name, l->files, l->n_files, outer);
    if (keys == NULL || files == NULL) {
        status = out_of_memory(err);
        free(files);
        goto out;
    }
    for (size_t i = 0; i < l->n_files; i++) files[i] = l->files[keys[i].index];
    free(l->files);
    l->files = files;
    l->file_capacity = l->n_files;
out:
    anx_arena_fini(&arena);
    return status;
}

anx_status anx_names_sort(const char **names, size_t *n, anx_error *err) {
    anx_arena arena = ANX_ARENA_INIT;
    const sort_key *keys = sorted_keys(&arena, plain_name, names, *n, "");
    const char **sorted = anx_arena_alloc(&arena, *n, sizeof *sorted);
    anx_status status = ANX_OK;
    if (keys == NULL || sorted == NULL) {
        status = out_of_memory(err);
        goto out;
    }
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        const char *name = names[keys[i].index];
        if (kept == 0 || strcmp(sorted[kept - 1], name) != 0) sorted[kept++] = name;
    }
    if (kept > 0) memcpy(names, sorted, kept * sizeof *names);
    *n = kept;
out:
    anx_arena_fini(&arena);
    return status;
}
