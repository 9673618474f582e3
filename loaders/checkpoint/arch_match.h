/* Which of the known architectures a file's tensors are the parameters of, by their names and shapes. */
#ifndef ANX_LOADERS_CHECKPOINT_ARCH_MATCH_H
#define ANX_LOADERS_CHECKPOINT_ARCH_MATCH_H

#include "src/base/state_dict.h"
#include "src/model/graph.h"

/* The architecture that most names and shapes fit; NULL where not one name does. Errors: OUT_OF_MEMORY. */
anx_status anx_arch_choose(const anx_state_dict *tensors, const anx_arch **out, anx_error *err);

/*
 * The outputs of the last linear layer; 0 (the default) where the tensors do not tell, which is an error later.
 * Errors: OUT_OF_MEMORY.
 */
anx_status anx_arch_count_classes(const anx_state_dict *tensors, const anx_arch *arch, int64_t *out, anx_error *err);

/* How the tensors compare with the parameters of the architecture that is nearest. */
typedef struct anx_arch_match {
    const anx_arch *arch; /* NULL: not one name fits any */
    int64_t num_classes;
    int n_params;               /* that it has */
    int n_missing, n_misshapen; /* of those: not in the file; of another shape, or no numbers with a
                                   fraction */
    size_t n_unexpected;        /* tensors that it has not */
    char missing[96], misshapen[300], unexpected[200]; /* the first of each, printable: a name, a phrase, a name */
} anx_arch_match;

/* Errors: OUT_OF_MEMORY. */
anx_status anx_arch_match_find(const anx_state_dict *tensors, anx_arch_match *out, anx_error *err);
/* Every parameter is there and fits, and nothing else is. */
bool anx_arch_match_is_exact(const anx_arch_match *match);

#endif
