/*
 * anx-train report: what training logs tell, as text or as a page of HTML.
 */
#ifndef ANX_TOOLS_TRAIN_REPORT_H
#define ANX_TOOLS_TRAIN_REPORT_H

#include <stdio.h>

void anx_train_report_help(FILE *to);
int anx_train_report(int argc, char **argv);

#endif
