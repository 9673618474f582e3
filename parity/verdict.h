/*
 * The one list that everything the judge finds goes into. Text, JSON, JUnit and HTML are views of it.
 *
 * A *judged thing* is (point, where it was looked at, what it was compared with, measured, bound, where the bound
 * comes from, verdict, reason). Beside the judged things the list carries what a report says about the run itself:
 * environment, checkpoint, recordings, top-5 lists, times. It owns all its memory; text is UTF-8, never NULL unless
 * the field's comment says so.
 */
#ifndef ANX_PARITY_VERDICT_H
#define ANX_PARITY_VERDICT_H

#include "parity/device_facts.h"
#include "src/base/sha256.h"
#include "src/model/graph.h"

/* Ordered from good to bad: the verdict of several is the greatest of them. */
typedef enum anx_verdict {
    ANX_VERDICT_INFO = 0, /* reported, not judged (the accumulated error) */
    ANX_VERDICT_PASS,
    ANX_VERDICT_SKIP, /* could not be judged; the reason says why */
    ANX_VERDICT_WARN,
    ANX_VERDICT_FAIL,
    ANX_VERDICT_COUNT
} anx_verdict;
/* "info", "pass", "skip", "warn", "fail". */
const char *anx_verdict_name(anx_verdict verdict);

/* What kind of thing was judged. */
typedef enum anx_judged_kind {
    ANX_JUDGED_FIXTURE = 0, /* a recording named by the user: does it belong to this checkpoint? */
    ANX_JUDGED_STAGE,       /* a preprocessing stage: "image", "resize", "crop", "input" */
    ANX_JUDGED_MODULE,      /* one module's output: "features.0" */
    ANX_JUDGED_GROUP,       /* a fused group's output: "features.0..features.1" */
    ANX_JUDGED_WHOLE,       /* the infer plan run whole, against itself run group by group */
    ANX_JUDGED_DIGEST,      /* a module's output reproduced bit for bit: compared by SHA-256 */
    ANX_JUDGED_SKETCH,      /* a module's output by samples, moments and projections */
    ANX_JUDGED_PROBE,       /* the exact integer probe of one layer */
    ANX_JUDGED_TOPK,        /* top-5 of one image */
    ANX_JUDGED_STEPS,       /* what training steps leave, held against a recording */
    ANX_JUDGED_GRADIENT,    /* one operator's gradient in training */
    ANX_JUDGED_UPDATE,      /* momentum and values of one parameter after a step */
    ANX_JUDGED_ENVELOPE,    /* a training's drift, within that of right runs */
    ANX_JUDGED_KIND_COUNT
} anx_judged_kind;
/* "fixture", "stage", "module", "group", "whole", "digest", "sketch", "probe", "topk", "steps", "gradient", ... */
const char *anx_judged_kind_name(anx_judged_kind kind);

/* By which path the judged values came about. Also the order of the sections of a report. */
typedef enum anx_judged_path {
    ANX_PATH_RECORDINGS = 0,  /* the recordings themselves: do they apply */
    ANX_PATH_EXACT,           /* the exact backend against the recordings: are PyTorch's own bits at hand here */
    ANX_PATH_PREPROCESS,      /* bytes of an image file to the network's input */
    ANX_PATH_OBSERVE,         /* the observe plan, each module fed the reference's input */
    ANX_PATH_INFER,           /* the infer plan's fused groups, each fed the reference's input */
    ANX_PATH_ACCUMULATED,     /* the observe plan run from the network's input: information */
    ANX_PATH_PROBE,           /* the exact integer probe */
    ANX_PATH_AGAINST,         /* somebody else's activations, each layer judged from the dump's own input to it */
    ANX_PATH_RESULT,          /* top-5 */
    ANX_PATH_TRAIN_REPLAY,    /* recorded training steps taken again: what must have the same bits */
    ANX_PATH_TRAIN_OPERATORS, /* the way back through each group, fed what PyTorch had in a training step */
    ANX_PATH_TRAIN_UPDATE,    /* SGD from a recorded state */
    ANX_PATH_TRAIN_FREE,      /* a training of the device's own, beside PyTorch's */
    ANX_PATH_COUNT
} anx_judged_path;
/* "recordings", "exact", "preprocess", "observe", "infer", "accumulated", "probe", "against", "result",
   "train-replay", "train-operators", "train-update", "train-free". */
const char *anx_judged_path_name(anx_judged_path path);

/* What the judged values were compared with. */
typedef enum anx_basis {
    ANX_BASIS_NONE = 0,
    ANX_BASIS_TRUTH_RECORDED,      /* the result in double, recorded (y32 + (y64 - y32)) */
    ANX_BASIS_TRUTH_COMPUTED,      /* the result in double, computed here from the same float32 input and weights */
    ANX_BASIS_PYTORCH_RECORDED,    /* PyTorch's float32 values as recorded */
    ANX_BASIS_PYTORCH_REGENERATED, /* PyTorch's float32 values computed here in its order of summation (exact) */
    ANX_BASIS_PILLOW_RECORDED,     /* what Pillow and torchvision gave */
    ANX_BASIS_ARITHMETIC,          /* integers: there is one right answer */
    ANX_BASIS_ITSELF,              /* the same engine by another path */
    ANX_BASIS_ANX_PREPROCESS,      /* this project's preprocessing (for dumps of an image that no recording holds) */
    ANX_BASIS_COUNT
} anx_basis;
/* "none", "truth (recorded)", "truth (computed)", "PyTorch (recorded)", "PyTorch (regenerated)", ... */
const char *anx_basis_name(anx_basis basis);
/* "none", "truth-recorded", "truth-computed", "pytorch-recorded", ...: for JSON. */
const char *anx_basis_id(anx_basis basis);

/* Where a bound comes from. */
typedef enum anx_bound_kind {
    ANX_BOUND_NONE = 0, /* not judged */
    ANX_BOUND_BITS,     /* the same bits */
    ANX_BOUND_SUM,      /* |difference| <= min(h, 4 sqrt h) u G, RMS <= 32 u G; h roundings, G = sum |w||x| + |b| */
    ANX_BOUND_AVERAGE,  /* the same rule with the window's terms and G = mean |x| */
    ANX_BOUND_SOFTMAX,  /* relative error of float32 exponentials and their sum */
    ANX_BOUND_INTEGER,  /* every sum is an integer below 2^24: any difference is wrong */
    ANX_BOUND_PIXELS,   /* the same 8-bit values */
    ANX_BOUND_CHAIN, /* several rounding layers at once: RMS error against that of PyTorch's order over the same stretch
                      */
    ANX_BOUND_RANK,  /* order of the logits, apart from margins that rounding may turn */
    ANX_BOUND_UPDATE,   /* what the bound of a gradient leaves of SGD's momentum and values */
    ANX_BOUND_ENVELOPE, /* the spread of right runs of PyTorch's */
    ANX_BOUND_SUM_TF32, /* a sum whose operands may have been shortened to TF32's 11 bits (parity/operands.h) */
    ANX_BOUND_SUM_FAST, /* ... and which may have been computed by tiles or transforms: in the norm over a plane */
    ANX_BOUND_KIND_COUNT
} anx_bound_kind;
/* "none", "bits", "sum", "average", "softmax", "integer", "pixels", "chain", "rank", "update", "envelope", "sum-tf32",
   "sum-fast". */
const char *anx_bound_kind_name(anx_bound_kind kind);
/* One sentence for a legend: the rule and the source it follows. */
const char *anx_bound_kind_text(anx_bound_kind kind);

/* One element, where it sits and what it holds. */
typedef struct anx_element {
    bool known;
    int rank; /* of at[]: image, then (channel, row, column), (feature) or, for pixels, (row, column, channel) */
    int64_t at[4];
    double got, expected;
} anx_element;
/* "[0, 17, 3, 4]" into buf; truncates, always terminates; "" where not known. Returns buf. */
char *anx_element_format(const anx_element *e, char *buf, size_t size);

/*
 * Judged values beside one set of expected values. Errors r are in units of u*G (u = 2^-24, G the element's gauge);
 * NaN where that unit has no meaning (exact comparisons). Counts are elements.
 */
typedef struct anx_comparison {
    anx_basis basis;
    anx_bound_kind bound;
    double limit_r;   /* bound on r of the worst element (the one of worst_fraction) */
    double limit_rms; /* bound on the RMS of r over one image; NaN: none */
    int64_t elems;
    int64_t different;     /* other bits (NaN with NaN counts as equal; +0 with -0 as different) */
    int64_t zero_signs;    /* of these, +0 against -0 */
    int64_t nonfinite;     /* NaN or infinity where the expected value is finite, or the reverse */
    int64_t over;          /* beyond the bound */
    int64_t undecided;     /* not judged: right engines may differ there in NaN or infinity (metrics.h says where) */
    int64_t subnormals;    /* expected values that are subnormal float32 (other than 0) */
    double worst_r;        /* largest |got - expected| / (u G) */
    double worst_fraction; /* the same as a fraction of its bound: > 1 fails */
    double worst_abs;      /* largest |got - expected| */
    double rms;            /* RMS of r over the worst image, */
    int64_t rms_image;     /* ... which one */
    double part_rms;       /* RMS of r over the worst part: one plane, or 64 neighbouring features */
    int64_t part_image, part_index; /* ... its image, and the plane or the first feature */
    double slope;      /* sum d*y/G^2 / sum (y/G)^2, d = (got - y)/u: of the image where it is largest in magnitude */
    anx_element worst; /* the element of worst_fraction; for exact comparisons the first that differs */
} anx_comparison;

/* A kind of mistake that fits a pattern of errors. */
typedef struct anx_cause {
    char *id;      /* "reduced-precision-tf32", "shift", "channel-order", ...: stable, for machines */
    char *text;    /* one sentence with the measured facts */
    double weight; /* 0..1, how well it fits; causes are sorted by it, best first */
} anx_cause;

enum { ANX_JUDGED_MAX_COMPARISONS = 2 };

typedef struct anx_judged {
    anx_judged_kind kind;
    anx_judged_path path;
    char *point;   /* module, stage or group; for a fixture its name */
    int node;      /* the graph's node (a group: its last one), ANX_NODE_INPUT, or ANX_JUDGED_NO_NODE */
    anx_op op;     /* of that node, where there is one */
    char *input;   /* the case: image or input by name; "" for a probe */
    char *fixture; /* the recording it rests on; NULL if none */
    anx_comparison versus[ANX_JUDGED_MAX_COMPARISONS]; /* first the one that rows of a table show */
    int n_versus;
    double pytorch_r, pytorch_rms; /* PyTorch's own values against the truth, in the same unit; NaN: not known */
    int64_t ties;                  /* max-pool windows with an exact positive tie; near-ties of a top-k */
    anx_verdict verdict;
    char *reason;      /* a sentence: what was found, and what the verdict rests on */
    anx_cause *causes; /* for failures */
    int n_causes;
} anx_judged;

enum { ANX_JUDGED_NO_NODE = -3 };

/* ---- about the run ---------------------------------------------------------------------------------------- */

typedef struct anx_fact {
    char *key, *value; /* "oneDNN", "2.6.3"; keys are lower-case words for machines as well as for people */
} anx_fact;

typedef struct anx_checkpoint_facts {
    char *path, *format;
    uint64_t file_bytes;
    bool has_file_digest;
    anx_digest file_digest;
    bool official;       /* torchvision's published file, by its SHA-256 */
    char *official_name; /* "alexnet-owt-7be5be79.pth", NULL if not official */
    char *arch;          /* "alexnet" */
    int64_t num_classes, n_params;
    int n_converted;      /* parameters that were not float32 */
    char *converted_from; /* their dtypes, comma separated; NULL if none */
    char *wrapped_in;     /* NULL if the file is a plain state_dict */
    bool module_prefix_removed;
    int64_t n_bad_crc;        /* zip records whose CRC-32 did not match and was accepted */
    anx_digest params_digest; /* SHA-256 over the parameters' digests in state_dict order: one name for the weights */
} anx_checkpoint_facts;

typedef struct anx_fixture_facts {
    char *name, *path;
    char *recorded_by; /* "torch 2.15.0, torchvision 0.30, Pillow 13.0; AMD EPYC, 1 thread" */
    bool asked_for;    /* named by the user */
    int params_matched, params_total;
    char *applies;   /* "in full", "up to avgpool", "preprocessing", "does not match: ..." */
    char *differing; /* names of the tensors that differ, comma separated; NULL if none */
    int cases_run, cases_total;
} anx_fixture_facts;

enum { ANX_TOP_K = 5 };

typedef struct anx_ranked {
    int64_t index; /* class */
    double logit, prob;
} anx_ranked;

typedef struct anx_top5 {
    char *input;   /* case or image file */
    int64_t image; /* within the case's batch */
    int k;         /* min(ANX_TOP_K, classes) */
    anx_ranked judged[ANX_TOP_K];
    anx_basis other_basis; /* NONE: nothing to stand beside it */
    anx_ranked other[ANX_TOP_K];
    bool same_top1, same_set, same_order;
    double margin_1_2,
        margin_5_6; /* the reference's margins in units of s, the standard deviation of its logits; NaN */
    bool ambiguous_top1, ambiguous_set; /* the margin is one that float32 rounding may turn */
} anx_top5;

typedef struct anx_duration {
    char *name;
    double seconds;
} anx_duration;

typedef struct anx_verdicts {
    char *version;         /* anx's */
    anx_fact *environment; /* cpu, os, compiler, libraries with versions */
    size_t n_environment;
    anx_device_facts device; /* the judged one; for a dump: backend "dump", device its path */
    anx_device_facts exact;  /* what regenerates PyTorch's values; backend "" if not at hand */
    bool pytorch_at_hand;    /* exact reproduced every recording that applies, in every bit */
    anx_checkpoint_facts checkpoint;
    anx_fixture_facts *fixtures;
    size_t n_fixtures;
    anx_judged *judged;
    size_t n_judged;
    int64_t first_bad; /* the first failure by path, then by node, then as found: its index; -1 */
    anx_top5 *top5;
    size_t n_top5;
    anx_duration *durations;
    size_t n_durations;
    double total_seconds;
    int64_t counts[ANX_VERDICT_COUNT];
    bool strict, full;
    char *points_glob;   /* NULL: all */
    anx_verdict overall; /* PASS or FAIL */
} anx_verdicts;

anx_status anx_verdicts_create(anx_verdicts **out, anx_error *err);
void anx_verdicts_destroy(anx_verdicts *list);

/* A judged thing with copies of the texts (fixture may be NULL), no comparisons, verdict INFO, reason "". */
anx_status anx_judged_init(anx_judged *judged, anx_judged_kind kind, anx_judged_path path, const char *point,
                           const char *input, const char *fixture, anx_error *err);
/* Replaces the verdict and the reason (printf style). */
anx_status anx_judged_conclude(anx_judged *judged, anx_verdict verdict, anx_error *err, const char *reason, ...)
    __attribute__((format(printf, 4, 5)));
anx_status anx_judged_add_cause(anx_judged *judged, const char *id, double weight, anx_error *err, const char *text,
                                ...) __attribute__((format(printf, 5, 6)));
void anx_judged_fini(anx_judged *judged);

/* Appends; takes over *judged (left empty) on success alone. */
anx_status anx_verdicts_add(anx_verdicts *list, anx_judged *judged, anx_error *err);
anx_status anx_verdicts_add_environment(anx_verdicts *list, const char *key, const char *value, anx_error *err);
anx_status anx_verdicts_add_duration(anx_verdicts *list, const char *name, double seconds, anx_error *err);
/* Take over what the argument owns, on success alone. */
anx_status anx_verdicts_add_fixture(anx_verdicts *list, anx_fixture_facts *fixture, anx_error *err);
anx_status anx_verdicts_add_top5(anx_verdicts *list, anx_top5 *top5, anx_error *err);

void anx_fixture_facts_fini(anx_fixture_facts *fixture);

/*
 * Counts, the first bad thing and the overall verdict. FAIL where anything failed or nothing at all was judged;
 * with list->strict also where anything warned or was skipped. Called by the judge at its end.
 */
void anx_verdicts_conclude(anx_verdicts *list);

/*
 * Rows for a table: the judged things folded by (path, point), in the order of path, then of first appearance. Several
 * inputs (and a sketch beside full values) judged at one point become one row that shows the worst of them.
 */
typedef struct anx_verdict_row {
    const anx_judged *worst; /* the greatest verdict; among equals the greatest fraction of the bound */
    size_t index;            /* ... its index in the list */
    int64_t counts[ANX_VERDICT_COUNT];
    int64_t n;
} anx_verdict_row;
/* *out is malloc'd (free it), *n rows. */
anx_status anx_verdicts_rows(const anx_verdicts *list, anx_verdict_row **out, size_t *n, anx_error *err);

#endif
