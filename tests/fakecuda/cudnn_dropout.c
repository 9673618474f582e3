/* cuDNN's dropout, with masks of the double's own. */
#include <stdlib.h>
#include <string.h>

#include "tests/fakecuda/cudnn.h"
#include "tests/fakecuda/kernels/precision.h"

enum { STATE_BYTES = 1 << 20 };

/* What the states hold, at their start: how the next mask is drawn. */
typedef struct dropout_state {
    unsigned long long seed, drawn;
} dropout_state;

static size_t reserve_bytes_for(const fake_tensor *x) {
    return x->set ? (dnn_count(x->n) + 31) / 32 * 4 : 0;
}

unsigned cudnnDropoutGetStatesSize(struct cudnnContext *h, size_t *bytes) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s", fake_name(h));
    DNN_HANDLE(h, DNN_BAD_PARAM);
    (void)handle;
    DNN_NEED(bytes);
    *bytes = STATE_BYTES;
    return 0;
}

unsigned cudnnDropoutGetReserveSpaceSize(struct cudnnTensorStruct *xd, size_t *bytes) {
    FAKE_ENTER(NULL);
    FAKE_TRACE_DESCRIPTOR("%s", fake_name(xd));
    DNN_TENSOR(x, xd);
    DNN_INJECT(DNN_BAD_PARAM);
    if (bytes == NULL) fake_misuse(call.name, "NULL where a size is to be written");
    *bytes = reserve_bytes_for(x);
    return 0;
}

typedef struct seeding {
    void *states;
    unsigned long long seed;
} seeding;

static void run_seeding(const void *arguments) {
    const seeding *s = arguments;
    const dropout_state state = {s->seed, 0};
    memcpy(fake_bytes(s->states), &state, sizeof state);
}

unsigned cudnnSetDropoutDescriptor(struct cudnnDropoutStruct *d, struct cudnnContext *h, float p, void *states,
                                   size_t state_bytes, unsigned long long seed) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %s, %g, %s, %zu, %llu", fake_name(d), fake_name(h), (double)p, fake_name(states), state_bytes,
               seed);
    DNN_HANDLE(h, DNN_EXECUTION_FAILED);
    DNN_DESCRIPTOR(dropout, FAKE_DROPOUT, dropout, d);
    if (!(p >= 0.0f && p <= 1.0f)) return DNN_BAD_PARAM;
    if (states == NULL) { /* a probability alone */
        dropout->p = p;
        dropout->set = true;
        return 0;
    }
    if (state_bytes < STATE_BYTES) return DNN_BAD_PARAM;
    *dropout = (fake_dropout){true, p, states};
    const seeding s = {states, seed};
    fake_work work;
    dnn_begin(&work, &call, handle);
    fake_work_add(&work, fake_region_flat(states, STATE_BYTES, FAKE_WRITE));
    return dnn_launch(&work, run_seeding, &s, sizeof s);
}

typedef struct dropping {
    dnn_operand x, y;
    float p;
    void *states;
    unsigned char *reserve;
    size_t reserve_bytes;
} dropping;

static void run_dropout(const void *arguments) {
    const dropping *d = arguments;
    const size_t count = dnn_count(d->x.n);
    dropout_state *state = fake_bytes(d->states);
    unsigned char *kept = fake_bytes(d->reserve);
    float *own;
    const float *x = dnn_packed(&d->x, &own);
    float *r = fake_floats(count);
    const unsigned long long stream = fake_mix(state->seed ^ fake_mix(state->drawn++));
    memset(kept, 0, d->reserve_bytes);
    for (size_t i = 0; i < count; i++) {
        const bool keep = (double)(fake_mix(stream + i) >> 11) * 0x1p-53 >= (double)d->p;
        if (keep) kept[i / 8] = (unsigned char)(kept[i / 8] | 1u << i % 8);
        r[i] = keep ? x[i] / (1.0f - d->p) : 0.0f;
    }
    dnn_blend(&d->y, 1.0f, r, 0.0f);
    free(r);
    free(own);
}

unsigned cudnnDropoutForward(struct cudnnContext *h, struct cudnnDropoutStruct *const dd,
                             struct cudnnTensorStruct *const xd, const void *x, struct cudnnTensorStruct *const yd,
                             void *y, void *reserve, size_t reserve_bytes) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %s, %s, %s, %s, %s, %s, %zu", fake_name(h), fake_name(dd), fake_name(xd), fake_name(x),
               fake_name(yd), fake_name(y), fake_name(reserve), reserve_bytes);
    DNN_HANDLE(h, DNN_EXECUTION_FAILED);
    DNN_DESCRIPTOR(dropout, FAKE_DROPOUT, dropout, dd);
    DNN_TENSOR(x_tensor, xd);
    DNN_TENSOR(y_tensor, yd);
    DNN_NEED(x);
    DNN_NEED(y);
    DNN_NEED(reserve);
    if (!dropout->set || dropout->states == NULL) return DNN_BAD_PARAM;
    DNN_CHECK_FLOATS(x_tensor);
    DNN_CHECK_FLOATS(y_tensor);
    if (!dnn_same_extents(x_tensor, y_tensor)) return DNN_BAD_PARAM;
    if (reserve_bytes < reserve_bytes_for(x_tensor)) return DNN_BAD_PARAM;
    const dropping d = {.x = dnn_operand_of(x_tensor, x),
                        .y = dnn_operand_of(y_tensor, y),
                        .p = dropout->p,
                        .states = dropout->states,
                        .reserve = reserve,
                        .reserve_bytes = reserve_bytes};
    fake_work work;
    dnn_begin(&work, &call, handle);
    dnn_touches(&work, &d.x, FAKE_READ | FAKE_IN_PLACE);
    dnn_result(&work, &d.y, 0.0f);
    fake_work_add(&work, fake_region_flat(d.states, STATE_BYTES, FAKE_READ | FAKE_WRITE));
    fake_work_add(&work, fake_region_flat(reserve, reserve_bytes, FAKE_WRITE));
    return dnn_launch(&work, run_dropout, &d, sizeof d);
}
