/*
 * anx-train: trains a classifier as torchvision's train.py does, and shows what the logs of such runs tell.
 */
#include "tools/common/cli.h"
#include "tools/train_options.h"
#include "tools/train_report.h"
#include "tools/train_run.h"

int main(int argc, char **argv) {
    static const anx_subcommand train = {"", "", anx_train_help, anx_train};
    static const anx_subcommand subcommands[] = {
        {"report", "show what the logs of training runs tell, as text or HTML", anx_train_report_help,
         anx_train_report},
    };
    static const anx_command command = {
        .name = "anx-train",
        .summary = "Trains a classifier as torchvision's train.py does.",
        .main = &train,
        .subcommands = subcommands,
        .n_subcommands = sizeof subcommands / sizeof subcommands[0],
    };
    return anx_command_main(&command, argc, argv);
}
