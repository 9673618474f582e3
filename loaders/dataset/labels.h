/*
 * Label files: which class each image is of. One row of a table for each format (label_file.c), one file for each.
 * Lines may end in CR LF, a UTF-8 byte order mark, blank lines and spaces around lines are passed over.
 */
#ifndef ANX_LOADERS_DATASET_LABELS_H
#define ANX_LOADERS_DATASET_LABELS_H

#include "loaders/dataset/dataset.h"
#include "loaders/dataset/defects.h"
#include "loaders/dataset/listing.h"
#include "loaders/dataset/wnids.h"

typedef struct anx_label {
    const char *name; /* as the file has it; NULL: the images in their order */
    int64_t label;    /* -1: reported as a defect already */
    int64_t line;
} anx_label;

/* What a format's lines are read with. */
typedef struct anx_label_context {
    const anx_dataset_options *options;
    const anx_wnids *wnids;
    anx_defects *defects;
    int64_t *ids; /* (n_ids) class of id i + 1: what `prepare` of the devkit's format fills in; freed by the caller */
    int64_t n_ids;
    const char *note; /* what `prepare` has to say of it, or NULL */
} anx_label_context;

typedef struct anx_label_format {
    const char *name;                                            /* "Caffe's val.txt" */
    const char *const *usual_names;                              /* ended by NULL: looked for beside the images */
    bool without_extension;                                      /* its names lack ".JPEG" */
    bool by_wnid;                                                /* its labels are wnids in the end */
    bool (*recognises)(char *line);                              /* by the first line that is not blank; may cut it */
    anx_status (*prepare)(anx_label_context *c, anx_error *err); /* or NULL; before lines are read */
    /* Takes a line, which it may cut; false: it holds no label (a heading, or a defect that names no image). */
    bool (*read_line)(anx_label_context *c, char *line, int64_t number, anx_label *out);
} anx_label_format;

extern const anx_label_format anx_label_caffe, anx_label_kaggle, anx_label_devkit;

/* The label file that lies in the folder `inside` (or NULL) or in `beside`, by usual name; NULL: none. malloc'd. */
char *anx_labels_find(const char *inside, const char *beside, bool devkit_first);
/* The usual names of all formats, for a message. Returns buf. */
char *anx_labels_usual_names(char *buf, size_t size);

/* A label file that was read. */
typedef struct anx_labels {
    const anx_label_format *format;
    anx_label *items; /* (n) in the order of the file; names are within `text` */
    size_t n;
    char *text;
    const char *note; /* what a reader of a result should know, or NULL */
    bool in_order;    /* the labels went to the images in their order, though their names have other numbers */
} anx_labels;

/*
 * Reads it, recognising the format by its content. Defects of lines are added to `defects`. *out must be zeros; release
 * with anx_labels_fini. Errors: NOT_FOUND, IO, FORMAT, UNSUPPORTED, LIMIT, OUT_OF_MEMORY.
 */
anx_status anx_labels_read(const char *path, const anx_dataset_options *options, const anx_wnids *wnids,
                           anx_defects *defects, anx_labels *out, anx_error *err);
void anx_labels_fini(anx_labels *labels);

/*
 * Gives the listing's files (sorted) their labels; adds labels for missing files, files without labels and second
 * labels to `defects`. Hidden images without a label are not counted as missing one: their number goes to *n_hidden. A
 * name finds the file whose name ends in it, or whose name it ends in, part by part. Errors: OUT_OF_MEMORY.
 */
anx_status anx_labels_match(anx_labels *labels, anx_listing *listing, anx_defects *defects, int64_t *n_hidden,
                            anx_error *err);

/* ---- for the formats ------------------------------------------------------------------------------------ */

/* A text file's lines one by one, cut at their ends, trimmed; blank ones are passed over. */
typedef struct anx_lines {
    char *at;       /* what is still to be read; NULL at the end */
    int64_t number; /* of the line given last */
} anx_lines;

/*
 * A text file in memory, NUL-terminated, past its byte order mark; *text is malloc'd, *lines points into it. Errors:
 * NOT_FOUND, IO, LIMIT, OUT_OF_MEMORY, FORMAT (UTF-16, NUL bytes).
 */
anx_status anx_lines_open(const char *path, char **text, anx_lines *lines, anx_error *err);
char *anx_lines_next(anx_lines *lines);

/* Digits alone, at most 18 of them. */
bool anx_parse_index(const char *text, int64_t *out);
/* The class of a wnid in a label; -1 where there is none, which is added to defects. */
int64_t anx_label_of_wnid(anx_label_context *c, const char *wnid, int64_t line);

#endif
