/* The one CPU device: oneDNN's engine and stream, and how its calls are made with a given number of threads. */
#ifndef ANX_SRC_BACKEND_DNNL_DEVICE_H
#define ANX_SRC_BACKEND_DNNL_DEVICE_H

#include "src/backend/backend.h"
#include "src/backend/dnnl/dnnl_compat.h"
#include "src/backend/dnnl/loops.h"

typedef struct anx_dnnl_device {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_attr_t attr;      /* float32 throughout, scratchpad handed in by the plan */
    dnnl_primitive_attr_t attr_relu; /* the same, then max(x, 0) */
    dnnl_primitive_attr_t attr_own;  /* float32 throughout, scratchpad left to oneDNN: for what runs rarely */
    int threads;
    anx_isa isa; /* of our own loops: at most oneDNN's, which an environment variable can limit */
    char library[64];
} anx_dnnl_device;

/* For an anx_backend table; see backend.h. */
int anx_dnnl_device_count(anx_error *err);
anx_status anx_dnnl_device_open(int ordinal, const anx_device_options *options, void **out, anx_error *err);
void anx_dnnl_device_close(void *device);
void anx_dnnl_device_info(const void *device, anx_device_info *out);
anx_status anx_dnnl_device_sync(void *device, anx_error *err);

/*
 * OpenMP keeps the number of threads per calling thread, for everything it runs. enter sets the device's and returns
 * what it was; leave puts that back. Every call into oneDNN, and every loop of this folder, lies between the two.
 */
int anx_dnnl_threads_enter(const anx_dnnl_device *device);
void anx_dnnl_threads_leave(int previous);

/* ANX_OK, or OUT_OF_MEMORY or DEVICE with "oneDNN cannot WHAT: REASON" and oneDNN's code. */
anx_status anx_dnnl_check(dnnl_status_t s, const char *what, anx_error *err);

/* Runs a primitive and waits for it. */
anx_status anx_dnnl_execute(const anx_dnnl_device *device, dnnl_primitive_t primitive, const dnnl_exec_arg_t *args,
                            int n_args, anx_error *err);

/* Copies src to dst, whatever their layouts; the padding of a blocked dst becomes zero. */
anx_status anx_dnnl_reorder(const anx_dnnl_device *device, anx_dnnl_const_md src_md, const void *src,
                            anx_dnnl_const_md dst_md, void *dst, anx_error *err);

#endif
