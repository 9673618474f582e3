/*
 * anx-train: what the logs of training runs tell. It does not train yet.
 */
#include "tools/common/cli.h"
#include "tools/train_report.h"

int main(int argc, char **argv) {
    static const anx_subcommand subcommands[] = {
        {"report", "show what the logs of training runs tell, as text or HTML", anx_train_report_help,
         anx_train_report},
    };
    static const anx_command command = {
        .name = "anx-train",
        .summary = "Shows what the logs of training runs tell.",
        .examples = "  anx-train report run.jsonl\n"
                    "  anx-train report run.jsonl -o run.html\n",
        .main = NULL, /* training itself belongs here: what the command does without a subcommand */
        .subcommands = subcommands,
        .n_subcommands = sizeof subcommands / sizeof subcommands[0],
    };
    return anx_command_main(&command, argc, argv);
}
