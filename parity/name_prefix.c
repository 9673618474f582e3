#include "parity/name_prefix.h"

#include <string.h>

enum { most_tried = 16 }; /* of one name's beginnings: a name may be all dots */

/* One of the two as the one whose names have something before them. */
typedef struct side {
    const anx_checkpoint_diff *diff;
    anx_diff_kind kind; /* of its rows */
    const anx_state_dict *dict, *other;
} side;

static const char *name_of(const side *s, size_t row) {
    const anx_diff_row *r = &s->diff->rows[row];
    return s->dict->items[s->kind == ANX_DIFF_ONLY_A ? r->a : r->b].name;
}

/* All names of s alone begin so, n_bytes long; NULL where there are none. */
static const char *common_beginning(const side *s, size_t *n_bytes) {
    const char *first = NULL;
    for (size_t i = 0; i < s->diff->n_rows; i++) {
        if (s->diff->rows[i].kind != s->kind) continue;
        const char *name = name_of(s, i);
        if (first == NULL) {
            first = name;
            *n_bytes = strlen(name);
        }
        size_t n = 0;
        while (n < *n_bytes && name[n] == first[n]) n++; /* the terminator differs from any byte before n_bytes */
        *n_bytes = n;
    }
    return first;
}

/* Names of s alone that are, without their first n bytes, names of the other alone. */
static size_t count_without(const side *s, size_t n_bytes) {
    size_t count = 0;
    for (size_t i = 0; i < s->diff->n_rows; i++) {
        if (s->diff->rows[i].kind != s->kind) continue;
        const char *rest = name_of(s, i) + n_bytes;
        count += anx_state_dict_find(s->other, rest) != NULL && anx_state_dict_find(s->dict, rest) == NULL;
    }
    return count;
}

static anx_name_prefix find_on(const side *s) {
    anx_name_prefix best = {.text = NULL, .in_b = s->kind == ANX_DIFF_ONLY_B};
    size_t n_bytes = 0, tried = 0;
    const char *beginning = common_beginning(s, &n_bytes);
    for (size_t n = 1; n <= n_bytes && tried < most_tried; n++) {
        if (strchr("._/:", beginning[n - 1]) == NULL) continue;
        tried++;
        const size_t count = count_without(s, n);
        if (count <= best.n_names) continue;
        best.text = beginning;
        best.n_bytes = n;
        best.n_names = count;
    }
    return best;
}

anx_name_prefix anx_name_prefix_find(const anx_checkpoint_diff *diff) {
    const side a = {diff, ANX_DIFF_ONLY_A, &diff->a->tensors, &diff->b->tensors};
    const side b = {diff, ANX_DIFF_ONLY_B, &diff->b->tensors, &diff->a->tensors};
    const anx_name_prefix in_a = find_on(&a), in_b = find_on(&b);
    const anx_name_prefix best = in_a.n_names > in_b.n_names ? in_a : in_b;
    const size_t n_a = diff->counts[ANX_DIFF_ONLY_A], n_b = diff->counts[ANX_DIFF_ONLY_B];
    if (best.text != NULL && 2 * best.n_names >= (n_a < n_b ? n_a : n_b)) return best;
    return (anx_name_prefix){.text = NULL};
}
