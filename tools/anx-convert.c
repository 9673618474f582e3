/*
 * anx-convert: checkpoints from one format to another, shown, compared and made.
 */
#include "tools/common/cli.h"
#include "tools/convert_file.h"
#include "tools/convert_init.h"
#include "tools/convert_inspect.h"
#include "tools/convert_verify.h"

int main(int argc, char **argv) {
    static const anx_subcommand convert = {"", "", anx_convert_help, anx_convert};
    static const anx_subcommand subcommands[] = {
        {"pth2bin", "convert to anx bin", anx_convert_pth2bin_help, anx_convert_pth2bin},
        {"bin2pth", "convert to .pth", anx_convert_bin2pth_help, anx_convert_bin2pth},
        {"init", "write freshly initialised weights, as PyTorch initialises them", anx_convert_init_help,
         anx_convert_init},
        {"inspect", "show what a checkpoint file is", anx_convert_inspect_help, anx_convert_inspect},
        {"verify", "do two checkpoints hold the same tensors, bit for bit?", anx_convert_verify_help,
         anx_convert_verify},
    };
    static const anx_command command = {
        .name = "anx-convert",
        .summary = "Converts checkpoints, shows and compares them, and makes new ones.",
        .main = &convert,
        .main_takes_operands = true,
        .subcommands = subcommands,
        .n_subcommands = sizeof subcommands / sizeof subcommands[0],
    };
    return anx_command_main(&command, argc, argv);
}
