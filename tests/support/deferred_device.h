/*
 * The exact device as one with memory of its own shows itself, and as late as a contract lets it be: nothing is done
 * before somebody waits. What is written is read from the host's memory only then; where something is read to, NaN
 * stands until then. It takes SGD's steps itself, has pinned memory to give, and a generator for masks. So whoever does
 * not wait, or changes what is still needed, gets wrong numbers; who does it right gets exact's bits.
 */
#ifndef ANX_TESTS_SUPPORT_DEFERRED_DEVICE_H
#define ANX_TESTS_SUPPORT_DEFERRED_DEVICE_H

#include "src/backend/backend.h"

extern const anx_backend deferred_backend;

typedef enum deferred_call {
    DEFERRED_NONE = 0,
    DEFERRED_WRITE,
    DEFERRED_READ,
    DEFERRED_RUN,
    DEFERRED_BACKWARD,
    DEFERRED_SGD,
    DEFERRED_MASKS,
    DEFERRED_SYNC,
    DEFERRED_CREATE,
    DEFERRED_HOST_ALLOC,
    DEFERRED_CALLS
} deferred_call;

typedef enum deferred_fault {
    DEFERRED_AT_CALL = 0, /* the call itself says so */
    DEFERRED_LATER,       /* whoever waits is told, once; what was asked for behind it is not done */
    DEFERRED_LOST         /* the same, and no call succeeds ever after */
} deferred_fault;

typedef enum deferred_rounding {
    DEFERRED_AS_SGD = 0, /* as src/train/sgd.h has it */
    DEFERRED_APART,      /* every product and every sum is rounded, and what decays comes last */
    DEFERRED_NO_DECAY    /* which is wrong */
} deferred_rounding;

/* The nth such call from now fails, n from 1; NONE: none does, and a lost device is there again. */
void deferred_fail(deferred_call call, int nth, deferred_fault fault);
/* How many such calls there were since deferred_fail. */
int deferred_count(deferred_call call);
void deferred_round(deferred_rounding rounding);
/* Blocks of pinned memory that nobody has given back. */
int deferred_blocks(void);

#endif
