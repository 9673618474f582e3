/* anx-eval itself: the evaluation of a dataset. */
#ifndef ANX_TOOLS_EVAL_RUN_H
#define ANX_TOOLS_EVAL_RUN_H

int anx_eval(int argc, char **argv);

#endif
