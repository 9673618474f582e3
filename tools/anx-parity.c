/*
 * anx-parity: says whether an engine computes what PyTorch computes.
 */
#include "tools/common/cli.h"
#include "tools/parity_check.h"
#include "tools/parity_devices.h"
#include "tools/parity_dump.h"

int main(int argc, char **argv) {
    static const anx_subcommand subcommands[] = {
        {"check", "judge an engine, layer by layer, and report", anx_parity_check_help, anx_parity_check},
        {"devices", "list what there is to compute with here", anx_parity_devices_help, anx_parity_devices},
        {"dump", "write every point's values to a file", anx_parity_dump_help, anx_parity_dump},
    };
    static const anx_command command = {
        .name = "anx-parity",
        .summary = "Says whether an engine computes what PyTorch computes: for every preprocessing stage and every\n"
                   "layer, how far off it is in units of rounding error, and what the verdict rests on.",
        .examples = "  anx-parity check alexnet-seed0.pth\n"
                    "  anx-parity check --image photo.jpg --json report.json alexnet-owt-7be5be79.pth\n"
                    "  anx-parity devices\n"
                    "  anx-parity dump --image photo.jpg -o values.safetensors alexnet-seed0.pth\n",
        .subcommands = subcommands,
        .n_subcommands = sizeof subcommands / sizeof subcommands[0],
    };
    return anx_command_main(&command, argc, argv);
}
