/*
 * Of the tensors in which two checkpoints differ: which of A's is which of B's under another name, transposed, with its
 * channels reversed, flattened in another order. Nothing is said that was not found equal bit for bit, and what is
 * ambiguous is marked so.
 */
#ifndef ANX_PARITY_CHECKPOINT_TWINS_H
#define ANX_PARITY_CHECKPOINT_TWINS_H

#include "parity/checkpoint_diff.h"
#include "parity/twin_order.h"

/* Why these two, where others have the same bits. */
typedef enum anx_twin_basis {
    ANX_TWIN_BY_NAME = 0, /* one name, or one but for the prefix */
    ANX_TWIN_BY_BITS,     /* no other tensor that differs fits */
    ANX_TWIN_BY_MODULE,   /* others have the same bits; another parameter of A's module is known to be in B's */
    ANX_TWIN_AMBIGUOUS    /* others fit as well: a and b are the first of each */
} anx_twin_basis;

typedef struct anx_twin {
    size_t a, b; /* which of A's and B's tensors */
    anx_twin_order order;
    anx_twin_basis basis;
    bool constant;     /* all elements are one value, which fits any order */
    bool other_orders; /* other orders fit as well */
    size_t others_a;   /* of A's tensors that differ, so many others could be b too, */
    size_t others_b;   /* and so many others of B's a */
    int64_t channels;  /* of ANX_TWIN_FLATTENED: outer or inner where the convolution before has so many outputs; 0:
                          not known */
} anx_twin;

typedef struct anx_checkpoint_twins {
    anx_twin *items; /* in A's order */
    size_t n_items;
    char *prefix;         /* of all names that are in one alone; NULL: none that explains anything */
    bool prefix_in_b;     /* they are B's; otherwise A's */
    size_t n_prefixed;    /* names that the other has without it (with the same shapes or not) */
    size_t n_prefix_same; /* ... whose bits are the same; their twins are ANX_TWIN_SAME and _BY_NAME */
    bool cut_short;       /* there was more to compare than a file may ask for */
} anx_checkpoint_twins;

/* threads: as for the diff. Errors: OUT_OF_MEMORY. */
anx_status anx_checkpoint_twins_find(const anx_checkpoint_diff *diff, int threads, anx_checkpoint_twins **out,
                                     anx_error *err);
void anx_checkpoint_twins_destroy(anx_checkpoint_twins *twins);

/*
 * PyTorch's expression for B's tensor in terms of A's: "A.permute(2, 3, 1, 0)", "A"; into buf, which is returned.
 */
enum { ANX_TWIN_TEXT = 512 };
char *anx_twin_expression(const anx_checkpoint_diff *diff, const anx_twin *twin, char buf[ANX_TWIN_TEXT]);

/*
 * The name of A's (of B's, where in_b) tensor i when the prefix has been taken away, where that one's names have it:
 * a part of the name itself.
 */
const char *anx_twins_bare_name(const anx_checkpoint_diff *diff, const anx_checkpoint_twins *twins, bool in_b,
                                size_t i);

/*
 * What follows anx-convert's option --rename, and --prefix-strip if there is a prefix, to give B's tensor the name that
 * it has in A, but for the prefix: *out is "conv1.weight=conv2.weight", malloc'd. NULL where it has that name, where it
 * is ambiguous, where B has a tensor of that name, or where the names or the prefix could not be said so.
 * Errors: OUT_OF_MEMORY.
 */
anx_status anx_twin_rename(const anx_checkpoint_diff *diff, const anx_checkpoint_twins *twins, const anx_twin *twin,
                           char **out, anx_error *err);

const char *anx_twin_kind_name(anx_twin_kind kind);    /* "same", "reshaped", "permuted", "reversed", "flattened" */
const char *anx_twin_basis_name(anx_twin_basis basis); /* "name", "bits", "module", "ambiguous" */

#endif
