/*
 * Writing a checkpoint as torch.save(state_dict, "FILE.pth") of PyTorch 2.15 writes it on Linux, byte for byte.
 *
 * Sources: PyTorch's torch/serialization.py (save, _save), torch/_tensor.py (__reduce_ex__), torch/nn/modules/module.py
 * (state_dict) for the objects, and what pickle_writer.h, zip_writer.h and serialization_id.h name for the bytes.
 */
#ifndef ANX_LOADERS_CHECKPOINT_PTH_WRITER_H
#define ANX_LOADERS_CHECKPOINT_PTH_WRITER_H

#include "src/base/state_dict.h"

/* Where the elements of tensors without data come from. */
typedef struct anx_pth_source {
    /* The next n_bytes of item's contiguous elements into buf. Items are asked for in the dict's order, each from its
       beginning to its end, in pieces of whole elements. */
    anx_status (*read)(void *user, size_t item, void *buf, size_t n_bytes, anx_error *err);
    void *user;
} anx_pth_source;

typedef struct anx_pth_options {
    /* The folder inside the archive. NULL: as torch.save derives it from path (anx_pth_folder). */
    const char *folder;
    /* Names of all modules, containers included, in the order of named_modules() (anx_arch_each_module): the keys of
       the state_dict's _metadata, each with {"version": 1}. NULL: no _metadata. */
    const char *const *modules;
    size_t n_modules;
    /* Tensors that have elements but no data are read from here; NULL: there are none such. */
    const anx_pth_source *source;
    bool force; /* overwrite an existing file */
} anx_pth_options;

/*
 * Writes an OrderedDict of the tensors, atomically. Strides are kept, as torch.save keeps them: a strided tensor is
 * written as the memory it spans. Tensors of one dtype that overlap in memory share one storage, as tied weights do;
 * what of a storage no tensor in the dict reaches is not written.
 * options may be NULL. Memory needed does not grow with the tensors.
 * Errors: INVALID_ARGUMENT (a path that torch.save refuses, a negative stride), EXISTS, NOT_FOUND, IO, LIMIT,
 * OUT_OF_MEMORY, and what the source returns.
 */
anx_status anx_pth_write(const char *path, const anx_state_dict *dict, const anx_pth_options *options, anx_error *err);

/*
 * The folder torch.save gives an archive at that path, malloc'd in *out: what stands between the last '/' or '\' and
 * the last dot after it; "archive" where the path has a character beyond ASCII.
 * INVALID_ARGUMENT where nothing stands there (".pth"), which torch.save refuses.
 */
anx_status anx_pth_folder(const char *path, char **out, anx_error *err);

#endif
