/*
 * What a checkpoint's pickle holds besides the tensors of its state_dict, as a tree of bounded size. What the pickle
 * describes is a graph, which may come back to itself and may be shared so often that it would never end if it were
 * written out: each of its containers is looked into once, and is a reference where it occurs again.
 */
#ifndef ANX_PARITY_INSPECTION_CONTENTS_H
#define ANX_PARITY_INSPECTION_CONTENTS_H

#include "loaders/checkpoint/checkpoint_impl.h"

enum {
    ANX_CONTENTS_MAX_NODES = 10000,
    ANX_CONTENTS_MAX_ITEMS = 1000, /* of one container */
    ANX_CONTENTS_MAX_DEPTH = 64,
    ANX_CONTENTS_KEY_BYTES = 64 /* for a node's key as text */
};

typedef struct anx_contents_node {
    const anx_pickle_value *value;
    const anx_pickle_value *key; /* in a dict; NULL in a list, where its place is its key */
    const char *label;           /* what it is called instead of either, or NULL */
    size_t parent;               /* index; the root is its own */
    int depth;
    size_t place;                   /* among what its container holds */
    size_t n_items;                 /* what it holds, but for the state_dict's tensors, */
    size_t n_tensors;               /* ... of which it has so many */
    size_t first_child, n_children; /* those of n_items that are nodes, side by side */
    size_t same_as;                 /* the node that shows what it holds; 0 is its own */
    bool is_reference;              /* see same_as */
} anx_contents_node;

/* Borrows from the checkpoint. */
typedef struct anx_contents {
    anx_contents_node *nodes; /* nodes[0] is the whole; parents before children */
    size_t count;
    bool complete; /* nothing was left out for want of room */
} anx_contents;

#define ANX_CONTENTS_INIT                                                                                              \
    { .nodes = NULL, .count = 0, .complete = true }

/* Empty for formats without a pickle. Release with anx_contents_fini. Errors: OUT_OF_MEMORY. */
anx_status anx_contents_init(const anx_checkpoint *checkpoint, anx_contents *out, anx_error *err);
void anx_contents_fini(anx_contents *contents);

/* A node's key, printable: "lr", "0", "(1, 2)". "" for the root. Returns buf. */
char *anx_contents_key(const anx_contents *contents, size_t node, char buf[ANX_CONTENTS_KEY_BYTES]);
/* "optimizer.state.0", cut in front where it is long; "" for the root. Returns buf. */
char *anx_contents_path(const anx_contents *contents, size_t node, char *buf, size_t size);

/* "dict", "OrderedDict", "argparse.Namespace", "tensor", "int", ...: what a value is, printable. Returns buf. */
char *anx_contents_kind(const anx_pickle_value *value, char buf[128]);
/* A value that holds no others as Python shows it ("0.1", "'SGD'", "None"), printable, cut where it is long. */
char *anx_contents_value(const anx_pickle_value *value, char *buf, size_t size);
/* It holds others: a dict, a list, ... */
bool anx_contents_is_container(const anx_pickle_value *value);

#endif
