/* The subcommands of anx-bench. */
#ifndef ANX_TOOLS_BENCHMARK_RUN_H
#define ANX_TOOLS_BENCHMARK_RUN_H

#include <stdio.h>

void bench_run_help(FILE *to);
int bench_run(int argc, char **argv);

void bench_steps_help(FILE *to);
int bench_steps(int argc, char **argv);

void bench_first_help(FILE *to);
int bench_first(int argc, char **argv);

#endif
