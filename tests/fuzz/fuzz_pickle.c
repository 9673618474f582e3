/* Any bytes as a pickle whose storages, whatever they are called, are one buffer of zeros. */
#include <stdlib.h>

#include "loaders/checkpoint/pickle.h"
#include "loaders/checkpoint/pickle_globals.h"
#include "tests/fuzz/fuzz.h"

enum { storage_bytes = 256, limit_bytes = 64 << 20 };

static anx_status load_persistent(void *user, const anx_pickle_value *id, anx_arena *arena, anx_pickle_value **out,
                                  anx_error *err) {
    static const uint64_t zeros[storage_bytes / 8];
    (void)user;
    anx_storage *storage = anx_arena_alloc(arena, 1, sizeof *storage);
    if (storage == NULL) return anx_error_set(err, ANX_ERR_LIMIT, "full");
    storage->dtype = ANX_F32;
    if (id->kind == ANX_PICKLE_TUPLE && id->u.list.count > 1 && id->u.list.items[1]->kind == ANX_PICKLE_GLOBAL &&
        id->u.list.items[1]->u.global->is_storage)
        storage->dtype = id->u.list.items[1]->u.global->dtype;
    storage->n_elems = storage_bytes / (int64_t)anx_dtype_bytes(storage->dtype);
    storage->data = zeros;
    storage->key = "k";
    return anx_pickle_storage_value(storage, arena, out, err);
}

/* Every reachable element of a tensor lies in its storage, by arithmetic wide enough not to overflow. */
static void check_tensor(const anx_pickle_tensor *t) {
    __extension__ typedef __int128 wide;
    wide last = t->offset;
    if (t->rank < 0 || t->rank > ANX_MAX_RANK || t->offset < 0) abort();
    for (int i = 0; i < t->rank; i++) {
        if (t->shape[i] < 0 || t->stride[i] < 0) abort();
        if (t->shape[i] == 0) return;
    }
    for (int i = 0; i < t->rank; i++) last += (wide)(t->shape[i] - 1) * t->stride[i];
    if (last >= t->storage->n_elems) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    static anx_error err;
    anx_arena arena = {.limit_bytes = limit_bytes};
    anx_pickle_value *root = NULL;
    size_t used = 0;
    const anx_pickle_input input = {
        .bytes = data, .n_bytes = n_bytes, .load_persistent = load_persistent, .python2 = n_bytes % 2 == 1};
    const anx_status status = anx_pickle_run(&input, &arena, &root, &used, &err);
    if (status == ANX_OK && (root == NULL || used == 0 || used > n_bytes || data[used - 1] != '.')) abort();
    if (status != ANX_OK && (err.status != status || !err.has_offset || err.offset > n_bytes)) abort();
    if (status == ANX_OK && root->kind == ANX_PICKLE_TENSOR) check_tensor(root->u.tensor);
    if (status == ANX_OK && root->kind == ANX_PICKLE_DICT)
        for (size_t i = 0; i < root->u.dict.count; i++)
            if (root->u.dict.items[2 * i + 1]->kind == ANX_PICKLE_TENSOR)
                check_tensor(root->u.dict.items[2 * i + 1]->u.tensor);
    anx_arena_fini(&arena);
    return 0;
}
