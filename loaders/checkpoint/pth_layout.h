/*
 * What torch.save writes of a state_dict: which storages there are, in which order, and where in them each tensor lies.
 * Only the files that write .pth use it.
 */
#ifndef ANX_LOADERS_CHECKPOINT_PTH_LAYOUT_H
#define ANX_LOADERS_CHECKPOINT_PTH_LAYOUT_H

#include "loaders/checkpoint/pth_writer.h"
#include "loaders/checkpoint/saving.h"

/* One record: data/N, where N is its place among the storages. */
typedef struct anx_pth_storage {
    anx_saving_item content; /* of one dimension where it is a run of memory; without data where a source has it */
    int64_t n_elems;
    bool from_source;
    bool has_crc; /* of what will be written */
    uint32_t crc;
    size_t first_item; /* the first tensor in it, in the dict's order; what a source is asked for */
} anx_pth_storage;

typedef struct anx_pth_tensor {
    const char *name;
    anx_tensor tensor; /* shape and strides; as written */
    size_t storage;    /* index */
    int64_t offset;    /* elements */
    bool is_parameter, requires_grad;
    const void *object; /* the same for names of one and the same tensor; NULL: an object of its own */
} anx_pth_tensor;

typedef struct anx_pth_layout {
    anx_pth_storage *storages; /* in the order in which the tensors first need them */
    size_t n_storages;
    anx_pth_tensor *tensors;
    size_t n_tensors;
} anx_pth_layout;

/*
 * Storages by what the tensors' memory says: tensors of one dtype that overlap share one. Those without data come from
 * a source. Release either with anx_pth_layout_fini. Errors: INVALID_ARGUMENT, OUT_OF_MEMORY.
 */
anx_status anx_pth_layout_by_memory(const anx_named_tensor *items, size_t n, bool has_source, anx_pth_layout *out,
                                    anx_error *err);
/* Storages as the saving names them. */
anx_status anx_pth_layout_by_storage(const anx_saving *saving, anx_pth_layout *out, anx_error *err);
void anx_pth_layout_fini(anx_pth_layout *layout);

/* What a storage takes in the file; UINT64_MAX where that overflows. */
uint64_t anx_pth_storage_bytes(const anx_pth_storage *storage);

#endif
