/* A line on a terminal that says how far something has come, written over again and again. */
#ifndef ANX_TOOLS_COMMON_PROGRESS_H
#define ANX_TOOLS_COMMON_PROGRESS_H

#include <stdbool.h>

/* Whether there is a terminal (standard error) to show progress on. */
bool anx_progress_is_shown(void);
/* How many characters of a line are shown. */
int anx_progress_width(void);
/* Shows the line (printf style, cut at the terminal's width) in place of the last one, at most five times a second;
   nothing where there is no terminal. */
void anx_progress_show(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Removes the line: before anything else is printed. */
void anx_progress_clear(void);

#endif
