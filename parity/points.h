/* Which points a user asked for: globs over their names. */
#ifndef ANX_PARITY_POINTS_H
#define ANX_PARITY_POINTS_H

#include <stdbool.h>

/*
 * Does a point's name match a list of globs (fnmatch(3), separated by commas, blanks around them ignored)? NULL and ""
 * match everything. "logits" is a name of its own: callers that know a second name of a point ask for both.
 */
bool anx_points_match(const char *globs, const char *name);

#endif
