/*
 * The report of an evaluation: one struct, three views of it.
 */
#ifndef ANX_PARITY_EVAL_REPORT_H
#define ANX_PARITY_EVAL_REPORT_H

#include "loaders/dataset/dataset.h"
#include "loaders/file.h"
#include "parity/device_facts.h"
#include "parity/evaluate.h"

/* Which of the dataset's images were evaluated. */
typedef enum anx_eval_selection {
    ANX_EVAL_ALL = 0,
    ANX_EVAL_FIRST, /* the first ones: to try something out, says nothing of the others */
    ANX_EVAL_SAMPLE /* drawn at random */
} anx_eval_selection;

/* What was expected, in per cent. */
typedef struct anx_eval_expectation {
    bool stated;   /* false: nothing was expected */
    bool asked;    /* by the user; else it is shown because the weights are the published ones */
    bool official; /* the published accuracy, whose counts are known too */
    double acc1, acc5;
    int64_t right1, right5, images; /* official: of the full set */
} anx_eval_expectation;

/* torchvision's AlexNet on ImageNet's 50,000 validation images: 56.522 and 79.066. */
extern const anx_eval_expectation anx_eval_official;

/* Everything is borrowed. */
typedef struct anx_eval_report {
    const char *cpu;
    const anx_device_info *device;
    const anx_checkpoint *checkpoint;
    const anx_model *model;
    const char *official_name; /* NULL: not a published file */
    anx_digest weights;        /* over the parameters' digests */
    const anx_dataset *dataset;
    const anx_class_names *names; /* of ImageNet's classes; may be NULL */

    anx_eval_selection selection;
    int64_t n_selected;
    uint64_t seed;
    bool skip_bad;

    const anx_evaluation *evaluation;
    const anx_accuracy *accuracy;
    anx_eval_expectation expected;

    /* Ambiguous images decided again in double, and how many of their decisions came out otherwise. */
    int64_t redecided, turned1, turned5;

    double seconds;        /* of evaluating, this time */
    int64_t images_before; /* taken over from an earlier run */
    bool interrupted;
} anx_eval_report;

/* How the result stands to the expectation. */
typedef enum anx_eval_outcome {
    ANX_EVAL_NOT_JUDGED = 0, /* nothing expected, or too little was evaluated */
    ANX_EVAL_MET,            /* within 0.05 points on the full set; inside the interval for a sample */
    ANX_EVAL_MISSED
} anx_eval_outcome;
anx_eval_outcome anx_eval_judge(const anx_eval_report *report);
/* A sample that was interrupted has none: its first images in the dataset's order are not drawn at random. */
bool anx_eval_has_interval(const anx_eval_report *report);
/* The interval for the full set's accuracy, top-k with k 1 or 5, 99.9 %; for the full set its share alone. */
anx_interval anx_eval_interval(const anx_eval_report *report, int k);

/* The name of a class: ImageNet's, else its folder's; never NULL. */
const char *anx_eval_class_name(const anx_eval_report *report, int64_t index);

/* For people, at most 100 columns wide; malloc'd. Errors: OUT_OF_MEMORY. */
anx_status anx_eval_report_text(const anx_eval_report *report, bool color, char **text, size_t *n_bytes,
                                anx_error *err);
/* Everything but the single images; parity/eval_report.schema.json describes it. Errors: OUT_OF_MEMORY. */
anx_status anx_eval_report_json(const anx_eval_report *report, char **text, size_t *n_bytes, anx_error *err);
/*
 * A line for each image (RFC 4180): file, label, its name, the five likeliest classes each with index, name and
 * probability, margin1, margin5, spread, ambiguous1, ambiguous5, loss. Written line by line to `to`.
 * Errors: those of `write`.
 */
typedef anx_status anx_eval_write_fn(void *to, const void *data, size_t n_bytes, anx_error *err);
anx_status anx_eval_report_csv(const anx_eval_report *report, anx_eval_write_fn *write, void *to, anx_error *err);

#endif
