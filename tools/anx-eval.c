/*
 * anx-eval: accuracy as torchvision counts it.
 */
#include "tools/common/cli.h"
#include "tools/eval_options.h"
#include "tools/eval_predict.h"
#include "tools/eval_run.h"

int main(int argc, char **argv) {
    static const anx_subcommand evaluate = {"", "", anx_eval_help, anx_eval};
    static const anx_subcommand subcommands[] = {
        {"predict", "the five likeliest classes of single images", anx_eval_predict_help, anx_eval_predict},
    };
    static const anx_command command = {
        .name = "anx-eval",
        .summary = "Counts top-1 and top-5 accuracy on labelled images as torchvision does.",
        .main = &evaluate,
        .subcommands = subcommands,
        .n_subcommands = sizeof subcommands / sizeof subcommands[0],
    };
    return anx_command_main(&command, argc, argv);
}
