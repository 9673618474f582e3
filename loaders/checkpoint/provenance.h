/*
 * What a checkpoint file's bytes tell of its format's version and of the program that wrote it: which records are
 * there, what they are called, in which order they come, how they are padded. A guess that says what it rests on.
 */
#ifndef ANX_LOADERS_CHECKPOINT_PROVENANCE_H
#define ANX_LOADERS_CHECKPOINT_PROVENANCE_H

#include "loaders/checkpoint/checkpoint.h"

enum { ANX_MAX_PROVENANCE_NOTES = 12, ANX_MAX_PROVENANCE_MARKS = 8 };

/* A small record that says something of the file itself: "byteorder", "little". */
typedef struct anx_provenance_mark {
    const char *name; /* lives as long as the program */
    char text[100];   /* printable; cut where it is longer */
} anx_provenance_mark;

typedef struct anx_provenance {
    char format_version[32]; /* as the format counts them ("3", "1001"); "" where it has none */
    char writer[300];        /* one sentence without a full stop, never empty */
    bool by_pytorch;         /* no other program is known to write such a file, but for anx itself */
    anx_provenance_mark marks[ANX_MAX_PROVENANCE_MARKS];
    int n_marks;
    char notes[ANX_MAX_PROVENANCE_NOTES][300]; /* what the sentence rests on, printable */
    int n_notes;
} anx_provenance;

/* Errors: OUT_OF_MEMORY; others only where the file is not what it was when it was opened. */
anx_status anx_checkpoint_provenance(const anx_checkpoint *checkpoint, anx_provenance *out, anx_error *err);

#endif
