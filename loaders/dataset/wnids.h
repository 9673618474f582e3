/* Which class a wnid ("n01440764") stands for: looked up in a sorted table. */
#ifndef ANX_LOADERS_DATASET_WNIDS_H
#define ANX_LOADERS_DATASET_WNIDS_H

#include "loaders/dataset/class_names.h"

typedef struct anx_wnid {
    const char *wnid;
    int64_t index;
} anx_wnid;

typedef struct anx_wnids {
    anx_wnid *items; /* (count) by wnid; empty where the model's classes have no wnids */
    int64_t count;
} anx_wnids;

/*
 * The table of `names`, which must outlive it; an empty one where names are NULL or not of n_classes classes.
 * Errors: FORMAT (a wnid twice), OUT_OF_MEMORY. *out must be zeros; release with anx_wnids_fini.
 */
anx_status anx_wnids_init(anx_wnids *out, const anx_class_names *names, int64_t n_classes, anx_error *err);
void anx_wnids_fini(anx_wnids *wnids);

/* The class of exactly that wnid, or -1. */
int64_t anx_wnids_find(const anx_wnids *wnids, const char *wnid);

/* What the classes of a table are called by: "wnid", or "name" where they are called otherwise. */
const char *anx_wnids_word(const anx_wnids *wnids);

/* Looks like a wnid, of ImageNet's classes or not: 'n' and eight digits, nothing behind them. */
bool anx_looks_like_wnid(const char *text);

#endif
