/*
 * raw: the float32 values of a state_dict, in its order, and nothing else; and a C header that says where each tensor
 * begins, for programs that have the file linked in or in flash.
 */
#ifndef ANX_LOADERS_CHECKPOINT_RAW_WRITE_H
#define ANX_LOADERS_CHECKPOINT_RAW_WRITE_H

#include "loaders/checkpoint/saving.h"

/*
 * The header for what anx_raw_save writes. raw_path: whose name the identifiers are made of ("alexnet.raw" gives
 * ALEXNET_FLOATS, ALEXNET_FEATURES_0_WEIGHT_OFFSET, ...). Errors: those of anx_raw_save and of the file.
 */
anx_status anx_raw_header_write(const anx_saving *saving, const char *raw_path, anx_file_writer *file, anx_error *err);

#endif
