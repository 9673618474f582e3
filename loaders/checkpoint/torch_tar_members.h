/*
 * The members of a tar archive in its mapped bytes, as far as PyTorch 0.1's checkpoints need it: where each regular
 * file's bytes lie. Source of the layout: POSIX.1-2001, pax(1), "ustar Interchange Format". Names, types and sizes are
 * what Python's tarfile makes of them; what would have it read a member under another name or elsewhere than its header
 * says (pax's "path" and "size", GNU's long names and sparse files) is refused, as PyTorch wrote none of it.
 */
#ifndef ANX_LOADERS_CHECKPOINT_TORCH_TAR_MEMBERS_H
#define ANX_LOADERS_CHECKPOINT_TORCH_TAR_MEMBERS_H

#include "src/base/status.h"

enum { ANX_TORCH_TAR_MEMBERS = 4 };

typedef struct anx_tar_member {
    const char *name; /* one of those below */
    uint64_t offset;  /* of its bytes in the archive */
    size_t n_bytes;
    bool found;
} anx_tar_member;

/*
 * Finds `sys_info`, `pickle`, `tensors` and `storages`, in this order in `members`, "./" before the names allowed.
 * Other members are let be. Errors: FORMAT (a header that is damaged, a member that is missing, twice there, no file,
 * or reaches beyond the archive, something behind the archive's end), UNSUPPORTED (see above), LIMIT.
 */
anx_status anx_torch_tar_find(const uint8_t *bytes, size_t n_bytes, anx_tar_member members[ANX_TORCH_TAR_MEMBERS],
                              anx_error *err);

#endif
