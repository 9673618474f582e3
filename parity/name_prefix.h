/* What stands before all names that only one of two checkpoints has. Not for files outside parity/. */
#ifndef ANX_PARITY_NAME_PREFIX_H
#define ANX_PARITY_NAME_PREFIX_H

#include "parity/checkpoint_diff.h"

typedef struct anx_name_prefix {
    const char *text; /* begins a name of A's or B's; n_bytes of it count. NULL: there is none */
    size_t n_bytes;
    bool in_b;
    size_t n_names; /* names which the other has without it */
} anx_name_prefix;

/*
 * "module." where all names that are in B alone begin with it, and at least half of those that are in A alone (or in B
 * alone, if these are fewer) are theirs without it; or the other way round. It ends in one of "._/:". Bits are not
 * looked at.
 */
anx_name_prefix anx_name_prefix_find(const anx_checkpoint_diff *diff);

#endif
