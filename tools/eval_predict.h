/* anx-eval predict: what the network says of single images. */
#ifndef ANX_TOOLS_EVAL_PREDICT_H
#define ANX_TOOLS_EVAL_PREDICT_H

#include <stdio.h>

void anx_eval_predict_help(FILE *to);
int anx_eval_predict(int argc, char **argv);

#endif
