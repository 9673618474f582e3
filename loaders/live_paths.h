/*
 * A few paths that a signal handler may look at: of files that are mapped, of temporary files to be removed.
 */
#ifndef ANX_LOADERS_LIVE_PATHS_H
#define ANX_LOADERS_LIVE_PATHS_H

#include <stdatomic.h>
#include <stddef.h>

enum { ANX_LIVE_PATHS = 64 };

typedef struct anx_live_path {
    _Atomic(char *) path;      /* NULL: this place is free */
    _Atomic(const void *) key; /* what it belongs to; NULL while it is being filled in or emptied */
    _Atomic size_t n_bytes;
} anx_live_path;

typedef anx_live_path anx_live_paths[ANX_LIVE_PATHS];

/* Keeps a copy of the path for `key`; nothing where there is no place or no memory left. */
void anx_live_paths_add(anx_live_paths live, const void *key, size_t n_bytes, const char *path);
void anx_live_paths_remove(anx_live_paths live, const void *key);

#endif
