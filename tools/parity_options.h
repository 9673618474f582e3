/* Option values that the subcommands of anx-parity share: points. */
#ifndef ANX_TOOLS_PARITY_OPTIONS_H
#define ANX_TOOLS_PARITY_OPTIONS_H

/*
 * Every glob of the list matches a point: a layer of some architecture, a preprocessing stage, "logits". Returns
 * ANX_EXIT_OK, or says what is wrong and returns ANX_EXIT_USAGE.
 */
int anx_parity_check_points(const char *globs);

#endif
