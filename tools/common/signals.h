/*
 * Ctrl-C: a command ends at once, unless a file is being written; then as soon as its temporary file is gone.
 */
#ifndef ANX_TOOLS_COMMON_SIGNALS_H
#define ANX_TOOLS_COMMON_SIGNALS_H

/* Handles SIGINT, SIGTERM and SIGHUP, unless the process was started with them ignored (nohup); ignores SIGXFSZ. */
void anx_signals_install(void);
/* Called at a command's end: where a signal was held back meanwhile, ends the process by it, as a shell expects. */
void anx_signals_finish(void);

#endif
