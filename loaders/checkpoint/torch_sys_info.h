/* What PyTorch's legacy stream and tar archives say of the machine that wrote them (torch/serialization.py, sys_info).
 */
#ifndef ANX_LOADERS_CHECKPOINT_TORCH_SYS_INFO_H
#define ANX_LOADERS_CHECKPOINT_TORCH_SYS_INFO_H

#include "loaders/checkpoint/pickle.h"

/*
 * A dict with "protocol_version", which must be that one, and "little_endian"; either may be missing, others are let
 * be. Errors: FORMAT, UNSUPPORTED (another version).
 */
anx_status anx_torch_sys_info_read(const anx_pickle_value *sys_info, int64_t version, bool *big_endian, anx_error *err);

#endif
