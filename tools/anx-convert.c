/*
 * anx-convert: makes checkpoints.
 */
#include "tools/common/cli.h"
#include "tools/convert_init.h"

int main(int argc, char **argv) {
    static const anx_subcommand subcommands[] = {
        {"init", "write freshly initialised weights, as PyTorch initialises them", anx_convert_init_help,
         anx_convert_init},
    };
    static const anx_command command = {
        .name = "anx-convert",
        .summary = "Makes checkpoints that PyTorch loads.",
        .examples = "  anx-convert init --arch alexnet --seed 0 -o alexnet-seed0.pth\n"
                    "  anx-convert init --help\n",
        .subcommands = subcommands,
        .n_subcommands = sizeof subcommands / sizeof subcommands[0],
    };
    return anx_command_main(&command, argc, argv);
}
