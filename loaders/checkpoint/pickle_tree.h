/*
 * Values that are going to be pickled, put together as Python holds them: what is one object there is one value here,
 * for the pickler's memo goes by identity.
 *
 * Of strings, those that a program's source names (keys, attributes) are one object wherever they occur, since CPython
 * interns them, and so is every string of at most one Latin-1 character; any other is an object of its own.
 *
 * Memory runs out at most once: after that every call is without effect and `failed` is set, so that callers check at
 * the end alone.
 */
#ifndef ANX_LOADERS_CHECKPOINT_PICKLE_TREE_H
#define ANX_LOADERS_CHECKPOINT_PICKLE_TREE_H

#include "loaders/checkpoint/pickle.h"

typedef struct anx_pickle_tree {
    anx_arena arena;          /* holds the values */
    anx_pickle_value **names; /* a hash table of the interned strings */
    size_t n_names, capacity; /* a power of two, or 0 */
    bool failed;
    anx_pickle_value nothing; /* what every call returns once memory ran out */
} anx_pickle_tree;

#define ANX_PICKLE_TREE_INIT                                                                                           \
    { .names = NULL }

void anx_pickle_tree_fini(anx_pickle_tree *tree);

anx_pickle_value *anx_pickle_tree_none(anx_pickle_tree *tree);
anx_pickle_value *anx_pickle_tree_bool(anx_pickle_tree *tree, bool value);
anx_pickle_value *anx_pickle_tree_int(anx_pickle_tree *tree, int64_t value);
anx_pickle_value *anx_pickle_tree_float(anx_pickle_tree *tree, double value);
/* Strings, UTF-8; the text is copied. An interned one, and one of its own. */
anx_pickle_value *anx_pickle_tree_name(anx_pickle_tree *tree, const char *text);
anx_pickle_value *anx_pickle_tree_text(anx_pickle_tree *tree, const char *text);
/* Python has one object for each string of no character and of one up to U+00FF: such a one is never of its own. */
bool anx_pickle_tree_is_singleton(const char *text);
/* A tensor, of which only the pickle's writer knows (pth_pickle.h); it may occur once in a tree. */
anx_pickle_value *anx_pickle_tree_leaf(anx_pickle_tree *tree, size_t leaf);

anx_pickle_value *anx_pickle_tree_list(anx_pickle_tree *tree);
void anx_pickle_tree_append(anx_pickle_tree *tree, anx_pickle_value *list, anx_pickle_value *item);
/* A dict or an OrderedDict; keys are not compared with those that it has. */
anx_pickle_value *anx_pickle_tree_dict(anx_pickle_tree *tree, bool ordered);
void anx_pickle_tree_set(anx_pickle_tree *tree, anx_pickle_value *dict, anx_pickle_value *key, anx_pickle_value *value);
/* ... with an interned key. */
void anx_pickle_tree_set_name(anx_pickle_tree *tree, anx_pickle_value *dict, const char *key, anx_pickle_value *value);

/*
 * An instance of module.name, which is on the list of pickle_globals.h. arg: what the class is called with, NULL for
 * nothing. state: what BUILD gives it, or NULL.
 */
anx_pickle_value *anx_pickle_tree_object(anx_pickle_tree *tree, const char *module, const char *name,
                                         anx_pickle_value *arg, anx_pickle_value *state);

#endif
