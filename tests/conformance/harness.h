/*
 * What the conformance tests share: the device under test, host memory with sentinels around it, a network with data
 * in it, and the comparison of a node's output with the truth.
 */
#ifndef ANX_TESTS_CONFORMANCE_HARNESS_H
#define ANX_TESTS_CONFORMANCE_HARNESS_H

#include "src/backend/backend.h"
#include "tests/conformance/cases.h"
#include "tests/support/anx_test.h"
#include "tests/support/random.h"

/* ---- the device under test ------------------------------------------------------------------------------ */

/* Name of the device, what it may compute with, and (NULL: its own) what its operands are rounded by first
   (tests/support/rounded_device.h): from the command line. */
extern const char *conformance_device;
extern anx_math_mode conformance_math;
extern float (*conformance_operands)(float);

/* Opens it anew; from any thread, once one is open. */
anx_status conformance_open_device(int threads, anx_device **out, anx_error *err);
/* The same; a failure ends the test. threads <= 0: as many as there are. */
anx_device *conformance_open(int threads);
/* One opened for the whole run, with two threads. */
anx_device *conformance_shared_device(void);
/* Its backend, loaded, and which of the backend's devices it is. */
const anx_backend *conformance_backend(void);
int conformance_ordinal(void);
/* Whether the device computes in double. */
bool conformance_is_double(void);
/* What it says that it computes with. */
anx_math_mode conformance_info_math(void);
/* Whether two plans of one network give the same bits: not where each may find another algorithm fastest. */
bool conformance_plans_agree(void);
/* Whether sums of the node's operands have one right answer where these are integers: TF32 holds 11 bits of each, tiles
   and transforms form other sums. t: F32 or F64. */
bool conformance_keeps_integers(const anx_node *node, const anx_tensor *t);

/* ---- host memory ---------------------------------------------------------------------------------------- */

/* A tensor with a pattern before and behind its elements; the elements start as 0xff bytes (NaN). */
anx_tensor guarded_alloc(anx_dtype dtype, int rank, const int64_t *shape);
/* The tensor for a value of a plan. */
anx_tensor guarded_value(const anx_plan *plan, anx_value value, anx_dtype dtype);
/* Fails the test if the pattern was written over, then frees. */
void guarded_free(anx_tensor *t);
static inline float *floats(const anx_tensor *t) {
    return t->data;
}
static inline double *doubles(const anx_tensor *t) {
    return t->data;
}

/* ---- a network with data -------------------------------------------------------------------------------- */

typedef enum data_kind {
    DATA_INTEGERS, /* so small that every sum in the network is exact in float32 */
    DATA_NORMAL    /* input and weights of a size that keeps the activations near 1 */
} data_kind;

typedef struct network {
    const conformance_case *c;
    anx_graph *graph;
    anx_tensor *params; /* graph->n_params, guarded */
    anx_tensor input;   /* guarded, float32 */
    anx_tensor *masks;  /* n_nodes: of each dropout 0 or 2 at random, guarded, float32; empty for the other nodes */
    test_random random; /* goes on after the data were drawn */
} network;

void network_init(network *net, const conformance_case *c, data_kind kind, uint64_t seed);
void network_fini(network *net);
/* Calls visit for every case. */
void each_network(data_kind kind, void (*visit)(network *net));
/* Calls visit for every case, lifted. */
void each_lifted(data_kind kind, void (*visit)(network *net));

/* ---- a network compiled --------------------------------------------------------------------------------- */

typedef struct subject {
    const network *net;
    anx_device *device;
    anx_plan *plan;
    const char *where; /* "infer", "observe" or "train", for messages */
} subject;

/* Compiles the network on the device; a failure ends the test. */
void subject_init(subject *s, const network *net, anx_device *device, anx_plan_mode mode);
/* A train plan; trained as in anx_plan_desc. Its masks are written. */
void subject_init_trained(subject *s, const network *net, anx_device *device, const bool *trained);
void subject_fini(subject *s);

/* Each prints its error; reading synchronises and checks the host memory's sentinels. */
void write_value(const subject *s, anx_value value, const anx_tensor *host);
void synchronise(const subject *s);
void run_groups(const subject *s, int first, int count);
void run_all(const subject *s);
void run_groups_backward(const subject *s, int first, int count);
anx_tensor read_value(const subject *s, anx_value value, anx_dtype dtype);
/* Output of a node in float32. */
anx_tensor read_output(const subject *s, int node);
static inline int last_node(const anx_group *group) {
    return group->nodes[group->n_nodes - 1];
}

/* ---- gradients ------------------------------------------------------------------------------------------ */

static inline anx_value grad_value(int node) {
    return (anx_value){ANX_VALUE_GRAD, node};
}

static inline anx_value param_grad_value(int param) {
    return (anx_value){ANX_VALUE_PARAM_GRAD, param};
}

/* All gradients of a train plan, as float64. */
typedef struct gradients {
    anx_tensor *of_node;  /* n_nodes: by the outputs of groups up to the logits'; empty for the others */
    anx_tensor *of_param; /* n_params; empty where not trained */
    const anx_graph *graph;
} gradients;

/* The first node with a trained parameter; NULL: all are. */
int lowest_trained(const anx_graph *graph, const bool *trained);
/* Those that a plan with these parameters trained has. */
void read_gradients(gradients *g, const subject *s, const bool *trained);
void gradients_fini(gradients *g);
/* Forward from the network's input, then backward from the gradient of the logits. */
void run_both_ways(const subject *s, const anx_tensor *logits_grad);
/* A gradient by the logits: normal numbers, or integers from -2 to 2, most of them 0. */
anx_tensor draw_logits_grad(network *net, data_kind kind);

/* ---- small things --------------------------------------------------------------------------------------- */

/* A second contiguous tensor with the same elements. */
anx_tensor guarded_copy(const anx_tensor *t);
/* Normal numbers of mean 0 and variance 1 into a float32 tensor. */
void fill_normal(anx_tensor *t, test_random *r);

/* ---- judging -------------------------------------------------------------------------------------------- */

enum { NO_NODE = -2 };

/* Fails the running test with "CASE, MODE, 'NODE': text". */
void conformance_fail(const subject *s, int node, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Whether integers leave the node as integers or short binary fractions: not softmax, nor most averages. */
bool node_is_exact(const anx_node *node);
/* Same bits, except that any NaN equals any other. */
bool same_bits(float a, float b);
/* Fails at the first element whose bits differ; both tensors of one dtype, F32 or F64. */
void expect_same_bits(const subject *s, int node, const anx_tensor *expected, const anx_tensor *got);

/*
 * What float32 may make of one node on a given float32 input: the truth y64, and the largest error each element may
 * have. Convolution, linear, average: min(h, 4 sqrt h) u G with h = terms + 1 (u = 2^-24, G the gauge); the others of
 * AlexNet's operations are exact, their bound is 0; softmax has its own (judge_softmax in harness.c). A device that
 * says it computes with less is held to what that leaves (parity/operands.h). underflow: a further absolute error per
 * term, for data near the smallest float32 numbers.
 */
typedef struct truth {
    double *y64, *bound;
    double *gauge;   /* NULL where nothing is summed, or underflow given */
    float *operands; /* s, where the device shortens operands, */
    double spread;   /* ... and how many times that the root mean square may be */
    int64_t elems;   /* of the whole batch */
    bool exact;      /* nothing was summed or exponentiated: the bits must be the same, a zero's sign included */
} truth;

void truth_init(truth *t, const network *net, int node, const anx_tensor *x, double underflow);
/* The truth of a group's nodes in order, from the group's input; error bounds carried through what follows. */
void truth_of_group(truth *t, const subject *s, const anx_group *group, const anx_tensor *x);
void truth_fini(truth *t);
/* The most that the root mean square of r may be over n elements, of which `allowed` is the sum of (s/G)^2. */
double conformance_rms_limit(double spread, double allowed, int64_t n);
/* Element by element, and the root mean square over each image (at most 4 u G) where there is a gauge. */
void expect_truth(const subject *s, int node, const truth *t, const anx_tensor *got);

#endif
