/*
 * The contract between the engine and what computes: devices, plans, values.
 *
 * A *device* is opened by name ("cpu", "exact", "reference", "cuda:1"). A *plan* is what a device makes of
 * (graph, batch size, mode), compiled once and run many times. A plan's work is divided into *groups*, run in
 * order; a group covers one or more nodes (in infer mode conv+bias+ReLU are one group; in observe mode each node
 * is its own) and produces the output of its last node. What flows between groups, and the parameters, are the
 * plan's *values*: opaque tensors of the device, written and read by explicit copies. Everything is enqueued in
 * order; host memory handed to write or read stays untouched by the caller until anx_device_sync returns.
 *
 * Backends are tables of functions (anx_backend), found through the registry. Callers use the anx_device_* and
 * anx_plan_* functions below, which check arguments once for all backends and then call the table.
 */
#ifndef ANX_SRC_BACKEND_BACKEND_H
#define ANX_SRC_BACKEND_BACKEND_H

#include "src/backend/sgd_options.h"
#include "src/base/tensor.h"
#include "src/model/graph.h"

/* Raised whenever anything in this header changes for a plugin; checked before any other member is used. */
#define ANX_BACKEND_ABI_VERSION 4u

typedef struct anx_device anx_device;
typedef struct anx_plan anx_plan;

typedef enum anx_math_mode {
    ANX_MATH_FLOAT32 = 0, /* every product and sum in float32 or better: the default, and what parity judges */
    ANX_MATH_TF32,
    ANX_MATH_FAST /* whatever the device finds fastest */
} anx_math_mode;

typedef enum anx_plan_mode {
    ANX_PLAN_INFER = 0, /* fused, blocked layouts; values between groups live only until the next group has run */
    ANX_PLAN_OBSERVE,   /* one group per node; every value stays readable until the next run of its group */
    /*
     * Activations kept for the backward pass; each node its own group or fused as the device likes. Dropout multiplies
     * by its MASK, which is all ones until it is written (PyTorch's masks are drawn on the host). Backward overwrites
     * gradients, it does not add to those of an earlier pass.
     */
    ANX_PLAN_TRAIN
} anx_plan_mode;

typedef enum anx_value_kind {
    ANX_VALUE_OUTPUT =
        0,           /* output of node `index`; ANX_NODE_INPUT is the network's input. Host: (N, C, H, W) or (N, F) */
    ANX_VALUE_PARAM, /* parameter `index` of the graph */
    ANX_VALUE_GRAD,  /* train: gradient of the loss by OUTPUT; written for the last group that runs backward. 0 until
                        it is written or computed. Of several readers the last overwrites it, the others add */
    ANX_VALUE_PARAM_GRAD, /* train: gradient by PARAM; read only, 0 until it is computed */
    ANX_VALUE_MASK,       /* train: factors (0 or 1/(1-p)) of dropout node `index`, in its output's shape */
    ANX_VALUE_ARGMAX,     /* train: winners of max-pool node `index`, int64 index into the H*W input plane, in its
                             output's shape; known after forward, and may be written before backward */
    ANX_VALUE_MOMENTUM    /* train, where plan_sgd_step is: SGD's momentum buffer of a trained PARAM; 0 until it is
                             written or a step sets it */
} anx_value_kind;

typedef struct anx_value {
    anx_value_kind kind;
    int index;
} anx_value;

static inline anx_value anx_value_output(int node) {
    return (anx_value){ANX_VALUE_OUTPUT, node};
}

typedef struct anx_device_options {
    int threads; /* CPU devices; <= 0: anx_threads_available() */
    anx_math_mode math;
    bool nondeterministic; /* allow algorithms whose bits differ from run to run */
} anx_device_options;

/* What a device tells about itself, for reports. Strings are the device's, valid until it is closed. */
typedef struct anx_device_info {
    const char *backend;    /* "cpu" */
    const char *device;     /* "cpu", "cuda:0" */
    const char *library;    /* "oneDNN 2.6.3 (OpenMP)", "" if none */
    const char *isa;        /* what really runs: "AVX-512", "" if not applicable */
    const char *arithmetic; /* "float32", "float64", ... */
    int threads;
    anx_math_mode math; /* what it computes with: a device may do better than it was allowed to, never worse */
    bool deterministic; /* the same input gives the same bits, run after run */
    bool pytorch_bits;  /* float32 in PyTorch's own order of summation: bit-equality may be demanded */
    /* Of a device with memory of its own; 0 and NULL for others. */
    uint64_t memory_bytes, free_bytes;
    const char *capability; /* compute capability, "9.0" */
    const char *libraries;  /* one a line: name, version, path */
    const char *notes; /* what a reader of its results should know, such as settings of this machine that may change its
                          arithmetic: one a line; "" if nothing */
} anx_device_info;

typedef struct anx_plan_desc {
    const anx_graph *graph; /* must outlive the plan */
    int64_t batch;          /* >= 1 */
    anx_plan_mode mode;
    const anx_tensor *params; /* graph->n_params contiguous float32 tensors in graph order; their memory must stay
                                 valid and unchanged until the plan is destroyed or the parameter is written anew */
    int n_params;
    /* train: for each parameter whether its gradient is wanted; NULL: all of them. Nothing is computed backward below
       the lowest node that has such a parameter: its PARAM_GRADs and GRADs cannot be read. (Where this is NULL a device
       may offer the input's GRAD.) */
    const bool *trained;
} anx_plan_desc;

/* One unit of execution. */
typedef struct anx_group {
    const int *nodes; /* node indices covered, in order; the last one's output is the group's output */
    int n_nodes;
    int inputs[ANX_MAX_INPUTS]; /* nodes (or ANX_NODE_INPUT) whose outputs it reads */
    int n_inputs;
} anx_group;

typedef struct anx_backend {
    uint32_t abi_version; /* ANX_BACKEND_ABI_VERSION; always the first member */
    const char *name;     /* "cpu": the part of a device name before ':' */
    const char *summary;  /* one line */
    /*
     * Of a backend that lives in a plugin: opens it, once, and gives the table in it; nothing else but the members
     * above is set in this one. NULL for those built in. Errors: NOT_FOUND, UNSUPPORTED (another interface version).
     */
    const struct anx_backend *(*load)(anx_error *err);

    /* Number of usable devices; 0 with a described reason in err (status DEVICE or NOT_FOUND) where there is none. */
    int (*device_count)(anx_error *err);
    anx_status (*device_open)(int ordinal, const anx_device_options *options, void **out, anx_error *err);
    void (*device_close)(void *device);
    void (*device_info)(const void *device, anx_device_info *out);
    anx_status (*device_sync)(void *device, anx_error *err);

    anx_status (*plan_create)(void *device, const anx_plan_desc *desc, void **out, anx_error *err);
    void (*plan_destroy)(void *plan);
    int (*plan_group_count)(const void *plan);
    const anx_group *(*plan_group)(const void *plan, int group);
    /*
     * write: host tensor (contiguous; F32 or F64, I64 for ARGMAX; rounded to the device's type) into a value.
     * read: a value into a host tensor of the same shapes (F32 or F64, I64 for ARGMAX). UNSUPPORTED for a value this
     * plan does not keep (the inside of a fused group). The caller has checked shapes, dtypes, that the plan's mode
     * and `trained` have the value (training.h), that winners lie in their planes, and that it is known by now.
     */
    anx_status (*plan_write)(void *plan, anx_value value, const anx_tensor *host, anx_error *err);
    anx_status (*plan_read)(void *plan, anx_value value, anx_tensor *host, anx_error *err);
    /* Runs groups first .. first+count-1 forward. */
    anx_status (*plan_run)(void *plan, int first, int count, anx_error *err);
    /* (optional) runs groups first+count-1 .. first backward, of train plans; a backend without it has no such plans.
       The caller has checked that they ran forward and that the last one's GRAD is known. Groups whose output has no
       gradient have nothing to do. */
    anx_status (*plan_run_backward)(void *plan, int first, int count, anx_error *err);
    /* (optional) host address of a value stored as contiguous float32 in host-visible memory, to fill or read in
       place; NULL where it is not stored so. */
    float *(*plan_host_pointer)(void *plan, anx_value value);

    /*
     * (optional, both or none) host memory that the device copies from and to by itself, so that a write of it returns
     * at once and a read into it needs no second copy. bytes > 0.
     */
    anx_status (*host_alloc)(void *device, size_t bytes, void **out, anx_error *err);
    void (*host_free)(void *device, void *memory);
    /*
     * (optional) train plans: SGD where parameters, gradients and momentum lie. options: n_params, NULL where the
     * parameter stays as it is; has_momentum: n_params, whether there is a momentum to go on from, which the step sets
     * where the options have one. Rounds as the device does: one rounding or two where src/train/sgd.h says which.
     */
    anx_status (*plan_sgd_step)(void *plan, const anx_sgd_options *const *options, bool *has_momentum, anx_error *err);
    /*
     * (optional) train plans: fills every MASK from the device's own generator; dropout: n_nodes, the probability of
     * each dropout node. The same seed, the same masks.
     */
    anx_status (*plan_draw_masks)(void *plan, const double *dropout, uint64_t seed, anx_error *err);
} anx_backend;

/* ---- for callers ---------------------------------------------------------------------------------------- */

/* "float32", "tf32", "fast". */
const char *anx_math_mode_name(anx_math_mode mode);
/* The mode of that name into *out; false where there is none. */
bool anx_math_mode_find(const char *name, anx_math_mode *out);

/* Backends known, in order of listing; NULL past the end. One that lives in a plugin is not loaded by this. */
const anx_backend *anx_backend_at(int i);
/* The backend that a device's name ("cpu", "cuda:1") begins with, as listed; NULL if none is named so. */
const anx_backend *anx_backend_find(const char *device);
/* The backend's whole table, loaded where it lives in a plugin, its interface version checked; NULL: see err. */
const anx_backend *anx_backend_load(const anx_backend *backend, anx_error *err);

/*
 * Opens a device: "auto", a backend's name, or that with ":ORDINAL". options may be NULL. "auto" is the first backend
 * that has a device; one in a plugin that is not there, or whose device does not open, is passed over (and named in the
 * notes of the device taken, where it has one).
 * Errors: NOT_FOUND (unknown name; the message lists those known), DEVICE. The caller closes it, after its plans.
 */
anx_status anx_device_open(const char *name, const anx_device_options *options, anx_device **out, anx_error *err);
/* Opens ordinal 0 of a backend that need not be registered (a wrapper in a test, a plugin). Checks its ABI first. */
anx_status anx_device_open_backend(const anx_backend *backend, int ordinal, const anx_device_options *options,
                                   anx_device **out, anx_error *err);
void anx_device_close(anx_device *device);
void anx_device_describe(const anx_device *device, anx_device_info *out);
/*
 * Host memory for what is often written and read, of a kind that the device copies fastest; 64-byte aligned.
 * Freed before the device is closed. Errors, with *out as it was: OUT_OF_MEMORY, DEVICE.
 */
anx_status anx_device_host_alloc(anx_device *device, size_t bytes, void **out, anx_error *err);
void anx_device_host_free(anx_device *device, void *memory);
anx_status anx_device_sync(anx_device *device, anx_error *err);

/* The caller destroys the plan before closing the device. */
anx_status anx_plan_create(anx_device *device, const anx_plan_desc *desc, anx_plan **out, anx_error *err);
void anx_plan_destroy(anx_plan *plan);
const anx_graph *anx_plan_graph(const anx_plan *plan);
int64_t anx_plan_batch(const anx_plan *plan);
anx_plan_mode anx_plan_get_mode(const anx_plan *plan);
int anx_plan_group_count(const anx_plan *plan);
const anx_group *anx_plan_group(const anx_plan *plan, int group);
/* The group whose output is that node's; -1 if no group's is. */
int anx_plan_group_of_node(const anx_plan *plan, int node);

/* Shape of a value on the host (see anx_value_kind); returns the rank. */
int anx_plan_value_shape(const anx_plan *plan, anx_value value, int64_t shape[4]);
anx_status anx_plan_write(anx_plan *plan, anx_value value, const anx_tensor *host, anx_error *err);
anx_status anx_plan_read(anx_plan *plan, anx_value value, anx_tensor *host, anx_error *err);
anx_status anx_plan_run_groups(anx_plan *plan, int first, int count, anx_error *err);
anx_status anx_plan_run(anx_plan *plan, anx_error *err); /* all groups */
/*
 * Groups first+count-1 .. first backward, of a train plan: from the gradient of the last one's output, which was
 * written or is there already, to the gradients of parameters and inputs. A loss of the logits starts at their group;
 * what lies behind them (softmax) then stays out. Errors: UNSUPPORTED for a plan of another mode; INVALID_ARGUMENT
 * where a group has not run forward, or the last one's GRAD was neither written nor computed.
 */
anx_status anx_plan_run_groups_backward(anx_plan *plan, int first, int count, anx_error *err);
float *anx_plan_host_pointer(anx_plan *plan, anx_value value);
/* Whether plan_sgd_step, plan_draw_masks are there; see anx_backend. Errors of both: UNSUPPORTED; DEVICE. */
bool anx_plan_has_sgd(const anx_plan *plan);
anx_status anx_plan_sgd_step(anx_plan *plan, const anx_sgd_options *const *options, bool *has_momentum, anx_error *err);
bool anx_plan_draws_masks(const anx_plan *plan);
anx_status anx_plan_draw_masks(anx_plan *plan, const double *dropout, uint64_t seed, anx_error *err);

/* Write input, run up to the logits, read them, synchronise. input (N, C, H, W), logits (N, classes), float32. */
anx_status anx_plan_forward(anx_plan *plan, const anx_tensor *input, anx_tensor *logits, anx_error *err);

#endif
