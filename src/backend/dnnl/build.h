/*
 * What lowering is made of: buffers, memory objects, steps, values and parameters of a plan under construction.
 */
#ifndef ANX_SRC_BACKEND_DNNL_BUILD_H
#define ANX_SRC_BACKEND_DNNL_BUILD_H

#include "src/backend/dnnl/plan.h"

/* ---- buffers and steps ---------------------------------------------------------------------------------- */

/* A buffer alive while group `group` runs, in the pass that is being lowered. */
anx_status anx_dnnl_add_buffer(anx_dnnl_plan *plan, size_t bytes, int group, int *out, anx_error *err);
/* A buffer that nothing else ever overwrites. */
anx_status anx_dnnl_add_lasting_buffer(anx_dnnl_plan *plan, size_t bytes, int *out, anx_error *err);
/* Group `group` uses the buffer in the pass that is being lowered: it lives at least until then. */
void anx_dnnl_touch(anx_dnnl_plan *plan, int buffer, int group);
/* A memory object on a buffer, which gets its address when the buffers are placed. The plan destroys it. */
anx_status anx_dnnl_add_memory(anx_dnnl_plan *plan, anx_dnnl_const_md md, int buffer, dnnl_memory_t *out,
                               anx_error *err);
/* An empty step of the group; *out is valid until the next one is added. */
anx_status anx_dnnl_add_step(anx_dnnl_plan *plan, int group, anx_dnnl_step **out, anx_error *err);
void anx_dnnl_add_arg(anx_dnnl_step *step, int arg, dnnl_memory_t memory);
/* Creates the step's primitive and gives it the scratchpad that it asks for. */
anx_status anx_dnnl_finish_primitive(anx_dnnl_plan *plan, int step_index, dnnl_primitive_desc_t pd, anx_error *err);
/* A reorder in `group` from one memory to another. */
anx_status anx_dnnl_add_reorder(anx_dnnl_plan *plan, int group, anx_dnnl_const_md src_md, dnnl_memory_t src,
                                anx_dnnl_const_md dst_md, dnnl_memory_t dst, anx_error *err);
/*
 * A loop of our own on `elems` elements in `group`, from buffer to buffer; factor is what `run` says. -1 where there
 * is none.
 */
anx_status anx_dnnl_add_loop(anx_dnnl_plan *plan, int group,
                             anx_status (*run)(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err), int src,
                             int factor, int dst, size_t elems, anx_error *err);
/* An exact ReLU in `group` from a buffer into the memory of the node's output; they may be the same. */
anx_status anx_dnnl_add_relu(anx_dnnl_plan *plan, int group, int src_buffer, int node, anx_error *err);

/* ---- layouts -------------------------------------------------------------------------------------------- */

/* Extent of a node's output, or of the network's input. */
const anx_extent *anx_dnnl_extent_of(const anx_dnnl_plan *plan, int node);
/* Descriptor of a batch of that extent. */
dnnl_status_t anx_dnnl_extent_md(const anx_dnnl_plan *plan, const anx_extent *extent, dnnl_format_tag_t tag,
                                 anx_dnnl_md *out);
/*
 * Which of the layouts that our own loops work on a rank 4 descriptor has; dnnl_format_tag_undef for another. Fails
 * where oneDNN cannot make a descriptor to compare with: a layout unknown for want of memory is none of them.
 */
anx_status anx_dnnl_tag_of(const anx_dnnl_plan *plan, const anx_extent *extent, anx_dnnl_const_md md,
                           dnnl_format_tag_t *tag, anx_error *err);
anx_dnnl_layout anx_dnnl_layout_of(const anx_extent *extent, dnnl_format_tag_t tag);
/*
 * The layout that whoever reads the node's output would like best; undef where that does not matter. What is written
 * so at once need not be reordered.
 */
anx_status anx_dnnl_tag_wanted(const anx_dnnl_plan *plan, int node, dnnl_format_tag_t *tag, anx_error *err);

/* ---- values and parameters ------------------------------------------------------------------------------ */

/* Gives the node's output memory of its own, in the layout of md (which is copied), from group `group` on. */
anx_status anx_dnnl_own_value(anx_dnnl_plan *plan, int node, anx_dnnl_const_md md, int group, anx_error *err);
anx_status anx_dnnl_own_plain_value(anx_dnnl_plan *plan, int node, int group, anx_error *err);
/*
 * The output of `node` as `group` wants it: as wanted (NULL: as it lies), or, with flat, as (N, F) in the order of
 * NCHW. Adds a reorder into a temporary buffer where it lies otherwise.
 */
anx_status anx_dnnl_read_value(anx_dnnl_plan *plan, int node, anx_dnnl_const_md wanted, bool flat, int group,
                               dnnl_memory_t *memory, int *buffer, anx_error *err);

/* The same for something in the layout of md that lies in a buffer, in place of the output of a node. */
anx_status anx_dnnl_as_wanted(anx_dnnl_plan *plan, int group, anx_dnnl_const_md md, anx_dnnl_const_md wanted,
                              dnnl_memory_t *memory, int *buffer, anx_error *err);

/* Sets the parameter's layouts and memory object, which is without an address until params.c gives it one. */
anx_status anx_dnnl_use_param(anx_dnnl_plan *plan, int index, anx_dnnl_const_md host_md, anx_dnnl_const_md md,
                              bool in_place, anx_error *err);
/* The same for a bias, of shape (out) or (1, out). */
anx_status anx_dnnl_use_bias(anx_dnnl_plan *plan, int index, int rank, const dnnl_dim_t *dims, anx_error *err);

/* Descriptor of a convolution's weights: any layout, or with another tag PyTorch's. */
dnnl_status_t anx_dnnl_conv_weights_md(const anx_node *node, dnnl_format_tag_t plain_or_any, anx_dnnl_md *out);

/* Whether oneDNN computes it with code generated for it, and not in its plain loops, which are far slower. */
bool anx_dnnl_is_generated_code(const_dnnl_primitive_desc_t pd);

/* ---- operations ----------------------------------------------------------------------------------------- */

/* Whether the group is a convolution or linear layer with the ReLU behind it. */
bool anx_dnnl_group_has_relu(const anx_dnnl_plan *plan, int group);

/* Steps of `group` that compute node `index` (with a ReLU behind it) into the value of node `output`. */
typedef anx_status anx_dnnl_lower_fn(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err);
anx_dnnl_lower_fn anx_dnnl_lower_conv, anx_dnnl_lower_linear;

/* Lets oneDNN choose every convolution's layouts before anything is laid out. */
anx_status anx_dnnl_choose_convolutions(anx_dnnl_plan *plan, anx_error *err);

/* The loop that pools `node` between values in those of our layouts. */
anx_dnnl_pooling anx_dnnl_pooling_of(const anx_dnnl_plan *plan, int node, dnnl_format_tag_t src_tag,
                                     dnnl_format_tag_t dst_tag);

/* ---- backward ------------------------------------------------------------------------------------------- */

/*
 * Decides what has a gradient, gives it memory, and adds the steps of all groups' backward passes. trained: as in
 * anx_plan_desc.
 */
anx_status anx_dnnl_lower_backward(anx_dnnl_plan *plan, const bool *trained, anx_error *err);
/* Steps that compute gradients from that of the group's output, for node `index` without the ReLU behind it. */
anx_dnnl_lower_fn anx_dnnl_lower_conv_backward, anx_dnnl_lower_linear_backward;

/*
 * The gradient by the output of node `index`, in the layout of node `output`'s value: as it lies, or where the group
 * ends in a ReLU, taken back through that into a temporary buffer.
 */
anx_status anx_dnnl_output_grad(anx_dnnl_plan *plan, int group, int index, int output, dnnl_memory_t *memory,
                                int *buffer, anx_error *err);

/* Where a group puts the gradient by one of its inputs. */
typedef struct anx_dnnl_grad_target {
    int node;
    dnnl_memory_t memory;
    int buffer;
    anx_dnnl_md md; /* of memory, where that is not the gradient's own; else NULL */
} anx_dnnl_grad_target;
/* In the layout of wanted (NULL: as the value lies), or, with flat, as (N, F) in the order of NCHW. */
anx_status anx_dnnl_begin_grad(anx_dnnl_plan *plan, int group, int node, anx_dnnl_const_md wanted, bool flat,
                               anx_dnnl_grad_target *target, anx_error *err);
/* To be called behind the step that computes it; with another status than OK only releases the target. */
anx_status anx_dnnl_end_grad(anx_dnnl_plan *plan, int group, anx_dnnl_grad_target *target, anx_status status,
                             anx_error *err);

/* Memory for the parameter's gradient in that layout. */
anx_status anx_dnnl_use_param_grad(anx_dnnl_plan *plan, int param, anx_dnnl_const_md md, anx_error *err);

#endif
