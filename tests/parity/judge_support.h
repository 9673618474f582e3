/* What the judge's suites ask of a list of verdicts. */
#ifndef ANX_TESTS_PARITY_JUDGE_SUPPORT_H
#define ANX_TESTS_PARITY_JUDGE_SUPPORT_H

#include "parity/judge.h"

/* Judges on one thread (layers as small as the narrow network's gain nothing from more); must succeed. */
anx_verdicts *narrow_judge(const anx_judge_options *options);

/* The first judged thing on that path at that point; NULL if there is none. */
const anx_judged *find_judged(const anx_verdicts *v, anx_judged_path path, const char *point);
/* Its verdict; a failed assertion where there is none. */
anx_verdict verdict_of(const anx_verdicts *v, anx_judged_path path, const char *point);
/* Among the causes of a failure is one with that id. j may be NULL. */
bool names_cause(const anx_judged *j, const char *id);
/* The first bad point, "" if all is well. */
const char *first_bad(const anx_verdicts *v);

#endif
