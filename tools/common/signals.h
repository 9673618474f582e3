/*
 * Ctrl-C: a command ends at once, unless a file is being written; then as soon as its temporary file is gone.
 * A mapped file that is truncated while it is read: a sentence that names it, and exit status 2.
 */
#ifndef ANX_TOOLS_COMMON_SIGNALS_H
#define ANX_TOOLS_COMMON_SIGNALS_H

/* Handles SIGINT, SIGTERM and SIGHUP, unless the process was started with them ignored (nohup), and SIGBUS; ignores
   SIGXFSZ. command: its name, for the sentence; must live on. */
void anx_signals_install(const char *command);
/* Called at a command's end: where a signal was held back meanwhile, ends the process by it, as a shell expects. */
void anx_signals_finish(void);

/*
 * For a command that stopped because of a signal and did what was left to do: 128 + the signal's number, the exit code
 * by which a shell knows it; anx_signals_finish then lets the process end by itself.
 */
int anx_signals_take(void);

#endif
