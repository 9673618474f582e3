/*
 * What a state_dict is besides its tensors (the order of its keys, its _metadata) as one line of JSON, for formats that
 * have room for a text:
 *
 *   {"keys":["features.0.weight",...],"_metadata":{"":{"version":1},"features":{"version":1},...}}
 *
 * so that a checkpoint that went through such a format and back is the same bytes again.
 */
#ifndef ANX_LOADERS_CHECKPOINT_STATE_DICT_JSON_H
#define ANX_LOADERS_CHECKPOINT_STATE_DICT_JSON_H

#include "loaders/checkpoint/saving.h"

/* cJSON spends 64 bytes on each value: the text may not ask for more than a few tens of megabytes. */
enum { ANX_STATE_DICT_MAX_TEXT_BYTES = 1 << 20 };

/* The key of this text among a safetensors' pairs. */
extern const char anx_state_dict_pair[];

/*
 * *out is malloc'd, or NULL where there is nothing to say. with_keys: for formats that order tensors by rules of their
 * own. A _metadata other than PyTorch's own (module names with a dict of numbers and texts each), and more than the
 * text may take, is left out; *complete tells. Errors: OUT_OF_MEMORY.
 */
anx_status anx_state_dict_to_json(const anx_saving *saving, bool with_keys, char **out, bool *complete, anx_error *err);
/* Whether all of it can be said. Errors: OUT_OF_MEMORY. */
anx_status anx_state_dict_fits_json(const anx_saving *saving, bool with_keys, bool *fits, anx_error *err);

typedef struct anx_state_dict_text {
    const char **keys; /* in the arena; NULL: the text has none */
    size_t n_keys;
    bool plain_dict;
    anx_pickle_value *metadata; /* in the arena; NULL: the text has none */
} anx_state_dict_text;

/* text, n_bytes of UTF-8, need not be terminated. Errors: FORMAT, LIMIT, OUT_OF_MEMORY. */
anx_status anx_state_dict_from_json(const char *text, size_t n_bytes, anx_arena *arena, anx_state_dict_text *out,
                                    anx_error *err);

#endif
