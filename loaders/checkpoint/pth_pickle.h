/* data.pkl, as torch.save of PyTorch 2.15 writes it. Only the files that write .pth use it. */
#ifndef ANX_LOADERS_CHECKPOINT_PTH_PICKLE_H
#define ANX_LOADERS_CHECKPOINT_PTH_PICKLE_H

#include "loaders/checkpoint/pickle_writer.h"
#include "loaders/checkpoint/pth_layout.h"

typedef struct anx_pth_pickling {
    bool plain_dict; /* a dict, which has no _metadata; otherwise an OrderedDict */
    /* The _metadata: given, or made of module names with {"version": 1} each, or none. */
    const anx_pickle_value *metadata;
    const anx_pickle_value *const *keys; /* with metadata: as in anx_saving */
    const char *const *modules;
    size_t n_modules;
} anx_pth_pickling;

/* w is uninitialised, and released by the caller in any case. Errors: OUT_OF_MEMORY, UNSUPPORTED (_metadata). */
anx_status anx_pth_pickle(const anx_pth_layout *layout, const anx_pth_pickling *pickling, anx_pickle_writer *w,
                          anx_error *err);

#endif
