/* What writing and reading a training log share. Not for files outside parity/. */
#ifndef ANX_PARITY_TRAIN_LOG_INSIDE_H
#define ANX_PARITY_TRAIN_LOG_INSIDE_H

#include "parity/train_log.h"

enum { ANX_TRAIN_LOG_SCHEMA = 1, ANX_TRAIN_LOG_GROUPS = 64, ANX_TRAIN_LOG_LINE = 1 << 20 };

/*
 * anx_train_log_parse; and in *cut where in the bytes the first line begins that tells of a time behind `resume` (or
 * what is torn begins, or the bytes end). resume may be NULL.
 */
anx_status anx_train_log_parse_until(const char *path, const void *bytes, size_t n_bytes,
                                     const anx_train_resume *resume, anx_train_log **out, size_t *cut, anx_error *err);

#endif
