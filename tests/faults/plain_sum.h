/* Inside plain.c: one output's terms, and their sum. */
#ifndef ANX_TESTS_FAULTS_PLAIN_SUM_H
#define ANX_TESTS_FAULTS_PLAIN_SUM_H

#include "tests/faults/plain.h"

typedef struct plain_terms {
    int64_t n;
    float *x, *w; /* in the order (c, kh, kw) */
    int *index;   /* the order in which they are added, where that is another */
} plain_terms;

/* Room for n terms, of which `taps` belong to one channel. */
void plain_terms_init(plain_terms *t, const plain_sum *s, int64_t n, int64_t taps);
void plain_terms_fini(plain_terms *t);
float plain_sum_terms(const plain_sum *s, const plain_terms *t, float bias);

#endif
