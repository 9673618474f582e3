/*
 * The report of training runs, from their logs: two views of it.
 */
#ifndef ANX_PARITY_TRAIN_REPORT_H
#define ANX_PARITY_TRAIN_REPORT_H

#include "parity/train_log.h"

enum { ANX_TRAIN_REPORT_LOGS = 8 }; /* as many as there are colours to tell their lines apart */

/* For people, at most 100 columns wide; malloc'd. n: 1 to ANX_TRAIN_REPORT_LOGS. Errors: OUT_OF_MEMORY. */
anx_status anx_train_report_text(const anx_train_log *const *logs, size_t n, bool color, char **text, size_t *n_bytes,
                                 anx_error *err);
/*
 * One page of HTML that needs nothing else, no script, no other file: loss, accuracy and learning rate as charts, a
 * table of epochs, what the runs were; malloc'd. Of several logs each chart has a line for each. Errors: OUT_OF_MEMORY.
 */
anx_status anx_train_report_html(const anx_train_log *const *logs, size_t n, char **text, size_t *n_bytes,
                                 anx_error *err);

#endif
