/* anx-train itself: what the command does without a subcommand. */
#ifndef ANX_TOOLS_TRAIN_RUN_H
#define ANX_TOOLS_TRAIN_RUN_H

/* Returns the exit code. */
int anx_train(int argc, char **argv);

#endif
