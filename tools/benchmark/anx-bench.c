/*
 * anx-bench: how fast, beside PyTorch, beside oneDNN alone, and beside what the machine can do. Not installed: started
 * by tools/bench.
 */
#include "tools/benchmark/run.h"
#include "tools/common/cli.h"

int main(int argc, char **argv) {
    static const anx_subcommand subcommands[] = {
        {"run", "measure everything and print a table", bench_run_help, bench_run},
        {"steps", "a few steps of training: what 'run' measures as such a process", bench_steps_help, bench_steps},
        {"first", "one image from nothing: what 'run' measures as a process's start", bench_first_help, bench_first},
    };
    static const anx_command command = {
        .name = "anx-bench",
        .summary = "Measures how fast anx is: beside PyTorch, beside oneDNN alone, and as a share of what the machine\n"
                   "can do.",
        .examples = "  anx-bench run alexnet-seed0.pth\n"
                    "  anx-bench run --python .venv/bin/python --images photos --json bench.json alexnet-seed0.pth\n",
        .subcommands = subcommands,
        .n_subcommands = sizeof subcommands / sizeof subcommands[0],
    };
    return anx_command_main(&command, argc, argv);
}
