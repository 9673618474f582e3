#include "src/backend/dnnl/device.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl_debug.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/base/threads.h"

anx_status anx_dnnl_check(dnnl_status_t s, const char *what, anx_error *err) {
    if (s == dnnl_success) return ANX_OK;
    if (s == dnnl_out_of_memory) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "oneDNN cannot %s: no memory", what);
    anx_error_set(err, ANX_ERR_DEVICE, "oneDNN cannot %s: %s", what, dnnl_status2str(s));
    if (err != NULL) err->native_code = (long long)s;
    return ANX_ERR_DEVICE;
}

int anx_dnnl_device_count(anx_error *err) {
    (void)err;
    return (int)dnnl_engine_get_count(dnnl_cpu);
}

/* The widest set of float32 instructions that oneDNN will use; its finer grades concern other types. *loops: ours. */
static const char *isa_name(anx_isa *loops) {
    static const struct {
        unsigned bits;
        const char *name;
        anx_isa loops;
    } grades[] = {{dnnl_cpu_isa_avx512_core, "AVX-512", ANX_ISA_AVX512},
                  {dnnl_cpu_isa_avx2, "AVX2", ANX_ISA_AVX2},
                  {dnnl_cpu_isa_avx, "AVX", ANX_ISA_PORTABLE},
                  {dnnl_cpu_isa_sse41, "SSE4.1", ANX_ISA_PORTABLE}};
    const unsigned isa = (unsigned)dnnl_get_effective_cpu_isa();
    for (size_t i = 0; i < sizeof grades / sizeof grades[0]; i++) {
        if ((isa & grades[i].bits) != grades[i].bits) continue;
        *loops = grades[i].loops < anx_isa_best() ? grades[i].loops : anx_isa_best();
        return grades[i].name;
    }
    *loops = ANX_ISA_PORTABLE;
    return "portable";
}

static dnnl_status_t create_attr(dnnl_primitive_attr_t *out, dnnl_scratchpad_mode_t scratchpad, bool relu) {
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t post_ops = NULL;
    dnnl_status_t s = dnnl_primitive_attr_create(&attr);
    /* Said explicitly: an environment variable can change oneDNN's default to bfloat16 or TF32. */
    if (s == dnnl_success) s = dnnl_primitive_attr_set_fpmath_mode(attr, dnnl_fpmath_mode_strict);
    if (s == dnnl_success) s = dnnl_primitive_attr_set_scratchpad_mode(attr, scratchpad);
    if (relu) {
        if (s == dnnl_success) s = dnnl_post_ops_create(&post_ops);
        if (s == dnnl_success) s = anx_dnnl_post_ops_append_relu(post_ops);
        if (s == dnnl_success) s = dnnl_primitive_attr_set_post_ops(attr, post_ops);
    }
    if (post_ops != NULL) dnnl_post_ops_destroy(post_ops);
    if (s == dnnl_success)
        *out = attr;
    else if (attr != NULL)
        dnnl_primitive_attr_destroy(attr);
    return s;
}

anx_status anx_dnnl_device_open(int ordinal, const anx_device_options *options, void **out, anx_error *err) {
    anx_dnnl_device *device = calloc(1, sizeof *device);
    if (device == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    device->threads = options->threads > 0 ? options->threads : anx_threads_available();
    (void)isa_name(&device->isa);
    const dnnl_version_t *v = dnnl_version();
    snprintf(device->library, sizeof device->library, "oneDNN %d.%d.%d (OpenMP)", v->major, v->minor, v->patch);
    const int previous = anx_dnnl_threads_enter(device);
    dnnl_status_t s = dnnl_engine_create(&device->engine, dnnl_cpu, (size_t)ordinal);
    if (s == dnnl_success) s = dnnl_stream_create(&device->stream, device->engine, dnnl_stream_in_order);
    if (s == dnnl_success) s = create_attr(&device->attr, dnnl_scratchpad_mode_user, false);
    if (s == dnnl_success) s = create_attr(&device->attr_relu, dnnl_scratchpad_mode_user, true);
    if (s == dnnl_success) s = create_attr(&device->attr_own, dnnl_scratchpad_mode_library, false);
    anx_dnnl_threads_leave(previous);
    anx_status status = anx_dnnl_check(s, "open the CPU", err);
    if (status == ANX_OK)
        *out = device;
    else
        anx_dnnl_device_close(device);
    return status;
}

void anx_dnnl_device_close(void *impl) {
    anx_dnnl_device *device = impl;
    if (device == NULL) return;
    if (device->attr_own != NULL) dnnl_primitive_attr_destroy(device->attr_own);
    if (device->attr_relu != NULL) dnnl_primitive_attr_destroy(device->attr_relu);
    if (device->attr != NULL) dnnl_primitive_attr_destroy(device->attr);
    if (device->stream != NULL) dnnl_stream_destroy(device->stream);
    if (device->engine != NULL) dnnl_engine_destroy(device->engine);
    free(device);
}

void anx_dnnl_device_info(const void *impl, anx_device_info *out) {
    const anx_dnnl_device *device = impl;
    anx_isa loops;
    *out = (anx_device_info){.backend = "cpu",
                             .device = "cpu",
                             .library = device->library,
                             .isa = isa_name(&loops),
                             .arithmetic = "float32",
                             .threads = device->threads,
                             .math = ANX_MATH_FLOAT32,
                             .deterministic = true,
                             .pytorch_bits = false};
}

anx_status anx_dnnl_device_sync(void *impl, anx_error *err) {
    const anx_dnnl_device *device = impl;
    return anx_dnnl_check(dnnl_stream_wait(device->stream), "finish", err);
}

int anx_dnnl_threads_enter(const anx_dnnl_device *device) {
    const int previous = omp_get_max_threads();
    if (previous != device->threads) omp_set_num_threads(device->threads);
    return previous;
}

void anx_dnnl_threads_leave(int previous) {
    if (previous != omp_get_max_threads()) omp_set_num_threads(previous);
}

anx_status anx_dnnl_execute(const anx_dnnl_device *device, dnnl_primitive_t primitive, const dnnl_exec_arg_t *args,
                            int n_args, anx_error *err) {
    dnnl_status_t s = dnnl_primitive_execute(primitive, device->stream, n_args, args);
    if (s == dnnl_success) s = dnnl_stream_wait(device->stream);
    return anx_dnnl_check(s, "run a primitive", err);
}

anx_status anx_dnnl_reorder(const anx_dnnl_device *device, anx_dnnl_const_md src_md, const void *src,
                            anx_dnnl_const_md dst_md, void *dst, anx_error *err) {
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_memory_t from = NULL, to = NULL;
    union {
        const void *in;
        void *out;
    } cast = {.in = src}; /* the source of a reorder is only read; dnnl_memory_create has no const form */
    dnnl_status_t s =
        dnnl_reorder_primitive_desc_create(&pd, src_md, device->engine, dst_md, device->engine, device->attr_own);
    if (s == dnnl_success) s = dnnl_primitive_create(&primitive, pd);
    if (s == dnnl_success) s = dnnl_memory_create(&from, src_md, device->engine, cast.out);
    if (s == dnnl_success) s = dnnl_memory_create(&to, dst_md, device->engine, dst);
    anx_status status = anx_dnnl_check(s, "set up a reorder", err);
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    if (status == ANX_OK) status = anx_dnnl_execute(device, primitive, args, 2, err);
    if (to != NULL) dnnl_memory_destroy(to);
    if (from != NULL) dnnl_memory_destroy(from);
    if (primitive != NULL) dnnl_primitive_destroy(primitive);
    if (pd != NULL) dnnl_primitive_desc_destroy(pd);
    return status;
}
