/* data.pkl, as torch.save of PyTorch 2.15 writes it. Only the files that write .pth use it. */
#ifndef ANX_LOADERS_CHECKPOINT_PTH_PICKLE_H
#define ANX_LOADERS_CHECKPOINT_PTH_PICKLE_H

#include "loaders/checkpoint/pickle_tree.h"
#include "loaders/checkpoint/pickle_writer.h"
#include "loaders/checkpoint/pth_layout.h"

typedef struct anx_pth_pickling {
    size_t n_tensors; /* of the state_dict: the first so many of the layout */
    bool plain_dict;  /* it is a dict, which has no _metadata; otherwise an OrderedDict */
    /* The _metadata: given, or made of module names with {"version": 1} each, or none. */
    const anx_pickle_value *metadata;
    const anx_pickle_value *const *keys; /* with metadata: as in anx_saving */
    const char *const *modules;
    size_t n_modules;
    /* What is pickled: a value of the tree, whose leaves are the layout's tensors, and one the state_dict. NULL: the
       state_dict itself; the tree may then be empty. */
    const anx_pickle_value *root;
    anx_pickle_tree *tree;
} anx_pth_pickling;

static const size_t anx_pth_state_dict_leaf = SIZE_MAX;

/* w is uninitialised, and released by the caller in any case. Errors: OUT_OF_MEMORY, UNSUPPORTED (_metadata). */
anx_status anx_pth_pickle(const anx_pth_layout *layout, const anx_pth_pickling *pickling, anx_pickle_writer *w,
                          anx_error *err);

/*
 * Writes an archive, as anx_pth_write: of the options all but the modules count. Sums up the layout's storages where
 * they lie in memory.
 */
anx_status anx_pth_write_pickling(const char *path, anx_pth_layout *layout, const anx_pth_pickling *pickling,
                                  const anx_pth_options *options, anx_error *err);

#endif
