/*
 * The devkit's ILSVRC2012_validation_ground_truth.txt: one ILSVRC2012 id a line, from 1, for the images in the order of
 * their names. Ids are numbered as the devkit lists its synsets, not as class indices: which wnid each one is must be
 * given.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/text.h"
#include "loaders/dataset/labels.h"

static const char how_to[] =
    "these are ILSVRC2012 ids, not class indices: they follow the devkit's own list of synsets, class indices the "
    "order "
    "of the wnids, so that reading one as the other counts nearly everything wrong. Give the list with --synsets FILE: "
    "one wnid a line, line 1 for id 1. The devkit has it in data/meta.mat:\n"
    "  python3 -c \"import scipy.io; print(*[s['WNID'] for s in sorted(scipy.io.loadmat('meta.mat', "
    "squeeze_me=True)['synsets'], key=lambda s: s['ILSVRC2012_ID']) if s['num_children'] == 0], sep='\\n')\" "
    "> synsets.txt\n"
    "or use Caffe's val.txt or Kaggle's LOC_val_solution.csv, which need none.";

static bool recognises(char *line) {
    int64_t id;
    return anx_parse_index(line, &id);
}

/* One line of the synsets: a wnid, and perhaps words behind it. */
static void add_synset(anx_label_context *c, anx_defects *defects, bool *seen, char *line, int64_t number) {
    char shown[200];
    line[strcspn(line, " \t,")] = '\0';
    const int64_t index = anx_wnids_find(c->wnids, line);
    anx_text_printable(line, strlen(line), shown, sizeof shown);
    if (index < 0 && !anx_looks_like_wnid(line))
        anx_defects_add_line(defects, true, number, "'%s' is no wnid", shown);
    else if (index < 0)
        anx_defects_add_line(defects, false, number, "'%s' is the wnid of no class", shown);
    else if (seen[index])
        anx_defects_add_line(defects, false, number, "'%s' a second time", shown);
    else
        seen[index] = true;
    if (c->n_ids < c->wnids->count) c->ids[c->n_ids] = index;
    c->n_ids++;
}

static bool are_ascending(const anx_label_context *c) {
    for (int64_t i = 0; i < c->n_ids; i++)
        if (c->ids[i] != i) return false;
    return true;
}

static anx_status read_synsets(anx_label_context *c, anx_error *err) {
    const char *path = c->options->synsets;
    char *text = NULL;
    anx_lines lines;
    anx_status status = anx_lines_open(path, &text, &lines, err);
    if (status != ANX_OK) return status;
    anx_defects *defects = calloc(1, sizeof *defects);
    bool *seen = calloc((size_t)c->wnids->count, sizeof *seen);
    c->ids = calloc((size_t)c->wnids->count, sizeof *c->ids);
    if (defects == NULL || seen == NULL || c->ids == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
        goto out;
    }
    for (char *line; (line = anx_lines_next(&lines)) != NULL;) add_synset(c, defects, seen, line, lines.number);
    if (c->n_ids != c->wnids->count)
        anx_defects_add(defects, "%" PRId64 " wnids; the classes are %" PRId64, c->n_ids, c->wnids->count);
    status = anx_defects_status(defects, "faults in the list of synsets", err);
    if (status == ANX_OK && c->n_ids > 1 && are_ascending(c))
        c->note =
            "The synsets are in the order of class indices, which is not the devkit's: were they taken from another "
            "list (Caffe's synsets.txt, say), all labels are wrong.";
out:
    if (status != ANX_OK) anx_error_in_file(err, path);
    free(defects);
    free(seen);
    free(text);
    return status;
}

static anx_status prepare(anx_label_context *c, anx_error *err) {
    if (c->options->synsets == NULL) return anx_error_set(err, ANX_ERR_UNSUPPORTED, "%s", how_to);
    return read_synsets(c, err);
}

static bool read_line(anx_label_context *c, char *line, int64_t number, anx_label *out) {
    int64_t id;
    char shown[200];
    *out = (anx_label){.name = NULL, .label = -1, .line = number};
    if (!anx_parse_index(line, &id))
        anx_defects_add_line(c->defects, true, number, "'%s' is no ILSVRC2012 id",
                             anx_text_printable(line, strlen(line), shown, sizeof shown));
    else if (id < 1 || id > c->n_ids)
        anx_defects_add_line(c->defects, false, number, "id %" PRId64 "; the synsets have 1 to %" PRId64, id, c->n_ids);
    else
        out->label = c->ids[id - 1];
    return true;
}

const anx_label_format anx_label_devkit = {
    .name = "the devkit's ground truth",
    .usual_names =
        (const char *const[]){"ILSVRC2012_validation_ground_truth.txt", "data/ILSVRC2012_validation_ground_truth.txt",
                              "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", NULL},
    .without_extension = true,
    .by_wnid = true,
    .recognises = recognises,
    .prepare = prepare,
    .read_line = read_line,
};
