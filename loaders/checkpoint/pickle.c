#include "loaders/checkpoint/pickle.h"

#include <stdio.h>
#include <string.h>

#include "loaders/checkpoint/pickle_globals.h"
#include "loaders/checkpoint/pickle_machine.h"
#include "loaders/checkpoint/text.h"
#include "src/base/checked.h"

enum { max_global_bytes = 256 };

typedef anx_status (*opcode_handler)(anx_unpickle_machine *m);

/* ---- operands -------------------------------------------------------------------------------------------- */

static anx_status take_u8(anx_unpickle_machine *m, uint8_t *out) {
    const uint8_t *p = NULL;
    anx_status status = anx_unpickle_take(m, 1, &p);
    if (status == ANX_OK) *out = *p;
    return status;
}

static anx_status take_u32(anx_unpickle_machine *m, uint32_t *out) {
    const uint8_t *p = NULL;
    anx_status status = anx_unpickle_take(m, 4, &p);
    if (status == ANX_OK) memcpy(out, p, 4);
    return status;
}

static anx_status push_integer(anx_unpickle_machine *m, int64_t integer) {
    anx_pickle_value *v;
    anx_status status = anx_unpickle_push_new(m, ANX_PICKLE_INT, &v);
    if (status == ANX_OK) v->u.integer = integer;
    return status;
}

static anx_status push_text(anx_unpickle_machine *m, anx_pickle_kind kind, const uint8_t *bytes, size_t n_bytes) {
    anx_pickle_value *v;
    anx_status status = anx_unpickle_push_new(m, kind, &v);
    if (status != ANX_OK) return status;
    v->u.text.bytes = (const char *)bytes;
    v->u.text.n_bytes = n_bytes;
    return ANX_OK;
}

static anx_status tuple_of_last(anx_unpickle_machine *m, size_t n) {
    anx_status status = anx_unpickle_need(m, n);
    if (status != ANX_OK) return status;
    m->depth -= n;
    return anx_unpickle_push_tuple(m, m->stack + m->depth, n);
}

/* ---- opcodes, in the order of pickletools.py ------------------------------------------------------------- */

static anx_status op_binint(anx_unpickle_machine *m) {
    uint32_t v;
    anx_status status = take_u32(m, &v);
    return status == ANX_OK ? push_integer(m, (int32_t)v) : status;
}

static anx_status op_binint1(anx_unpickle_machine *m) {
    uint8_t v;
    anx_status status = take_u8(m, &v);
    return status == ANX_OK ? push_integer(m, v) : status;
}

static anx_status op_binint2(anx_unpickle_machine *m) {
    const uint8_t *p = NULL;
    anx_status status = anx_unpickle_take(m, 2, &p);
    return status == ANX_OK ? push_integer(m, p[0] | p[1] << 8) : status;
}

static anx_status op_long1(anx_unpickle_machine *m) {
    uint8_t n;
    const uint8_t *p = NULL;
    anx_status status = take_u8(m, &n);
    if (status == ANX_OK) status = anx_unpickle_take(m, n, &p);
    if (status != ANX_OK) return status;
    if (n > 8) return push_text(m, ANX_PICKLE_BIG_INT, p, n);
    uint64_t v = n > 0 && (p[n - 1] & 0x80) != 0 ? UINT64_MAX : 0; /* the sign fills what the file leaves out */
    memcpy(&v, p, n);
    return push_integer(m, (int64_t)v);
}

static anx_status op_short_binstring(anx_unpickle_machine *m) {
    uint8_t n;
    const uint8_t *p = NULL;
    anx_status status = take_u8(m, &n);
    if (status == ANX_OK) status = anx_unpickle_take(m, n, &p);
    if (status != ANX_OK) return status;
    return push_text(m, anx_utf8_valid(p, n) ? ANX_PICKLE_STRING : ANX_PICKLE_BYTES, p, n);
}

static anx_status op_binunicode(anx_unpickle_machine *m) {
    uint32_t n;
    const uint8_t *p = NULL;
    anx_status status = take_u32(m, &n);
    if (status == ANX_OK) status = anx_unpickle_take(m, n, &p);
    if (status != ANX_OK) return status;
    if (!anx_utf8_valid(p, n)) return anx_error_set(m->err, ANX_ERR_FORMAT, "the string is not UTF-8");
    return push_text(m, ANX_PICKLE_STRING, p, n);
}

static anx_status op_none(anx_unpickle_machine *m) {
    return anx_unpickle_push_new(m, ANX_PICKLE_NONE, NULL);
}

static anx_status push_boolean(anx_unpickle_machine *m, bool boolean) {
    anx_pickle_value *v;
    anx_status status = anx_unpickle_push_new(m, ANX_PICKLE_BOOL, &v);
    if (status == ANX_OK) v->u.boolean = boolean;
    return status;
}

static anx_status op_newtrue(anx_unpickle_machine *m) {
    return push_boolean(m, true);
}

static anx_status op_newfalse(anx_unpickle_machine *m) {
    return push_boolean(m, false);
}

static anx_status op_binfloat(anx_unpickle_machine *m) {
    const uint8_t *p = NULL;
    anx_pickle_value *v;
    anx_status status = anx_unpickle_take(m, 8, &p);
    if (status == ANX_OK) status = anx_unpickle_push_new(m, ANX_PICKLE_FLOAT, &v);
    if (status != ANX_OK) return status;
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++) bits = bits << 8 | p[i]; /* the one big-endian number of the language */
    memcpy(&v->u.real, &bits, sizeof bits);
    return ANX_OK;
}

static anx_status op_empty_list(anx_unpickle_machine *m) {
    return anx_unpickle_push_new(m, ANX_PICKLE_LIST, NULL);
}

static anx_status op_append(anx_unpickle_machine *m) {
    anx_status status = anx_unpickle_need(m, 2);
    if (status != ANX_OK) return status;
    m->depth--;
    return anx_unpickle_append(m, m->stack[m->depth - 1], m->stack + m->depth, 1);
}

static anx_status op_appends(anx_unpickle_machine *m) {
    anx_pickle_value **items;
    size_t n;
    anx_status status = anx_unpickle_pop_mark(m, &items, &n);
    if (status == ANX_OK) status = anx_unpickle_need(m, 1);
    return status == ANX_OK ? anx_unpickle_append(m, m->stack[m->depth - 1], items, n) : status;
}

static anx_status op_empty_tuple(anx_unpickle_machine *m) {
    return anx_unpickle_push_tuple(m, NULL, 0);
}

static anx_status op_tuple(anx_unpickle_machine *m) {
    anx_pickle_value **items;
    size_t n;
    anx_status status = anx_unpickle_pop_mark(m, &items, &n);
    return status == ANX_OK ? anx_unpickle_push_tuple(m, items, n) : status;
}

static anx_status op_tuple1(anx_unpickle_machine *m) {
    return tuple_of_last(m, 1);
}

static anx_status op_tuple2(anx_unpickle_machine *m) {
    return tuple_of_last(m, 2);
}

static anx_status op_tuple3(anx_unpickle_machine *m) {
    return tuple_of_last(m, 3);
}

static anx_status op_empty_dict(anx_unpickle_machine *m) {
    return anx_unpickle_push_new(m, ANX_PICKLE_DICT, NULL);
}

static anx_status op_setitem(anx_unpickle_machine *m) {
    anx_status status = anx_unpickle_need(m, 3);
    if (status != ANX_OK) return status;
    m->depth -= 2;
    return anx_unpickle_set_items(m, m->stack[m->depth - 1], m->stack + m->depth, 2);
}

static anx_status op_setitems(anx_unpickle_machine *m) {
    anx_pickle_value **items;
    size_t n;
    anx_status status = anx_unpickle_pop_mark(m, &items, &n);
    if (status == ANX_OK) status = anx_unpickle_need(m, 1);
    return status == ANX_OK ? anx_unpickle_set_items(m, m->stack[m->depth - 1], items, n) : status;
}

static anx_status op_empty_set(anx_unpickle_machine *m) {
    return anx_unpickle_push_new(m, ANX_PICKLE_SET, NULL);
}

static anx_status op_mark(anx_unpickle_machine *m) {
    return anx_unpickle_push_mark(m);
}

static anx_status op_binget(anx_unpickle_machine *m) {
    uint8_t index;
    anx_status status = take_u8(m, &index);
    return status == ANX_OK ? anx_unpickle_get(m, index) : status;
}

static anx_status op_long_binget(anx_unpickle_machine *m) {
    uint32_t index;
    anx_status status = take_u32(m, &index);
    return status == ANX_OK ? anx_unpickle_get(m, index) : status;
}

static anx_status op_binput(anx_unpickle_machine *m) {
    uint8_t index;
    anx_status status = take_u8(m, &index);
    return status == ANX_OK ? anx_unpickle_put(m, index) : status;
}

static anx_status op_long_binput(anx_unpickle_machine *m) {
    uint32_t index;
    anx_status status = take_u32(m, &index);
    return status == ANX_OK ? anx_unpickle_put(m, index) : status;
}

/* A line of text, at most max_global_bytes long. */
static anx_status take_line(anx_unpickle_machine *m, const char **line, size_t *n_bytes) {
    const size_t left = m->in->n_bytes - m->at;
    const char *start = (const char *)m->in->bytes + m->at;
    const char *end = memchr(start, '\n', left < max_global_bytes + 1 ? left : max_global_bytes + 1);
    if (end == NULL && left > max_global_bytes)
        return anx_error_set(m->err, ANX_ERR_FORMAT, "no end of line within %d bytes", max_global_bytes + 1);
    if (end == NULL) {
        char message[80];
        snprintf(message, sizeof message, "no end of line within %zu bytes", left);
        return anx_unpickle_ran_out(m, message);
    }
    *line = start;
    *n_bytes = (size_t)(end - start);
    m->at += *n_bytes + 1;
    return ANX_OK;
}

/* A decimal number as text. */
static anx_status op_int(anx_unpickle_machine *m) {
    const char *line = NULL;
    size_t n_bytes = 0;
    anx_status status = take_line(m, &line, &n_bytes);
    if (status != ANX_OK) return status;
    const bool negative = n_bytes > 0 && line[0] == '-';
    int64_t value = 0;
    bool good = n_bytes > (negative ? 1 : 0);
    for (size_t i = negative ? 1 : 0; good && i < n_bytes; i++)
        good = line[i] >= '0' && line[i] <= '9' && anx_checked_mul_i64(value, 10, &value) &&
               anx_checked_add_i64(value, negative ? '0' - line[i] : line[i] - '0', &value);
    char text[64];
    if (!good)
        return anx_error_set(m->err, ANX_ERR_FORMAT, "'%s' is not a whole number of 64 bits",
                             anx_text_printable(line, n_bytes, text, sizeof text));
    return push_integer(m, value);
}

static anx_status op_binstring(anx_unpickle_machine *m) {
    uint32_t n;
    const uint8_t *p = NULL;
    anx_status status = take_u32(m, &n);
    if (status == ANX_OK) status = anx_unpickle_take(m, n, &p);
    if (status != ANX_OK) return status;
    return push_text(m, anx_utf8_valid(p, n) ? ANX_PICKLE_STRING : ANX_PICKLE_BYTES, p, n);
}

static anx_status op_global(anx_unpickle_machine *m) {
    const char *module = NULL, *name = NULL;
    size_t module_bytes = 0, name_bytes = 0;
    anx_status status = take_line(m, &module, &module_bytes);
    if (status == ANX_OK) status = take_line(m, &name, &name_bytes);
    if (status != ANX_OK) return status;
    const anx_pickle_global *global = anx_pickle_global_find(module, module_bytes, name, name_bytes);
    if (global == NULL) {
        char a[2 * max_global_bytes], b[2 * max_global_bytes];
        return anx_error_set(m->err, ANX_ERR_UNSUPPORTED,
                             "names %s.%s: nothing but tensors, numbers, text and containers is read from a "
                             "checkpoint, and nothing in it is executed; where a whole model was saved, save "
                             "model.state_dict() instead",
                             anx_text_printable(module, module_bytes, a, sizeof a),
                             anx_text_printable(name, name_bytes, b, sizeof b));
    }
    if (global->refusal != NULL)
        return anx_error_set(m->err, ANX_ERR_UNSUPPORTED, "names %s.%s: %s", global->module, global->name,
                             global->refusal);
    anx_pickle_value *v;
    status = anx_unpickle_push_new(m, ANX_PICKLE_GLOBAL, &v);
    if (status == ANX_OK) v->u.global = global;
    return status;
}

/* Calls the global below the argument tuple; the result takes the place of both. */
static anx_status call(anx_unpickle_machine *m) {
    anx_status status = anx_unpickle_need(m, 2);
    if (status != ANX_OK) return status;
    const anx_pickle_value *callee = m->stack[m->depth - 2], *args = m->stack[m->depth - 1];
    if (callee->kind != ANX_PICKLE_GLOBAL || callee->u.global->call == NULL)
        return anx_error_set(m->err, ANX_ERR_FORMAT, "calls %s",
                             callee->kind == ANX_PICKLE_GLOBAL ? callee->u.global->name
                                                               : anx_pickle_kind_phrase(callee->kind));
    if (args->kind != ANX_PICKLE_TUPLE)
        return anx_error_set(m->err, ANX_ERR_FORMAT, "the arguments are %s", anx_pickle_kind_phrase(args->kind));
    anx_pickle_value *result = NULL;
    status = callee->u.global->call(callee->u.global, args, m->arena, &result, m->err);
    if (status != ANX_OK) {
        anx_error_prefix(m->err, "%s.%s: ", callee->u.global->module, callee->u.global->name);
        return status;
    }
    m->depth -= 2;
    return anx_unpickle_push(m, result);
}

static anx_status op_build(anx_unpickle_machine *m) {
    anx_status status = anx_unpickle_need(m, 2);
    if (status != ANX_OK) return status;
    anx_pickle_value *state = m->stack[--m->depth], *object = m->stack[m->depth - 1];
    if (object->kind == ANX_PICKLE_DICT && object->u.dict.ordered) {
        if (state->kind != ANX_PICKLE_DICT)
            return anx_error_set(m->err, ANX_ERR_FORMAT, "gives an OrderedDict %s as its attributes",
                                 anx_pickle_kind_phrase(state->kind));
        object->u.dict.attributes = state;
    } else if (object->kind == ANX_PICKLE_OBJECT) {
        object->u.object.state = state;
    } else if (object->kind == ANX_PICKLE_TENSOR && object->u.tensor->is_parameter) {
        /* torch 0.1's Parameter.__setstate__: (requires_grad, volatile, hooks); of these only the first has meaning */
        if (state->kind != ANX_PICKLE_TUPLE || state->u.list.count == 0 ||
            state->u.list.items[0]->kind != ANX_PICKLE_BOOL)
            return anx_error_set(m->err, ANX_ERR_FORMAT, "gives a Parameter a state that is not (requires_grad, ...)");
        object->u.tensor->requires_grad = state->u.list.items[0]->u.boolean;
    } else {
        return anx_error_set(m->err, ANX_ERR_FORMAT, "changes %s", anx_pickle_kind_phrase(object->kind));
    }
    return ANX_OK;
}

static anx_status op_binpersid(anx_unpickle_machine *m) {
    anx_status status = anx_unpickle_need(m, 1);
    if (status != ANX_OK) return status;
    if (m->in->load_persistent == NULL)
        return anx_error_set(m->err, ANX_ERR_FORMAT, "refers to data outside, which there are none of here");
    anx_pickle_value *v = NULL;
    status = m->in->load_persistent(m->in->user, m->stack[m->depth - 1], m->arena, &v, m->err);
    if (status != ANX_OK) return status;
    m->depth--;
    return anx_unpickle_push(m, v);
}

static anx_status op_proto(anx_unpickle_machine *m) {
    uint8_t protocol;
    anx_status status = take_u8(m, &protocol);
    if (status != ANX_OK) return status;
    if (protocol != 2)
        return anx_error_set(m->err, ANX_ERR_UNSUPPORTED,
                             "pickle protocol %d; torch.save writes protocol 2 unless told otherwise", protocol);
    return ANX_OK;
}

static anx_status op_stop(anx_unpickle_machine *m) {
    if (m->n_marks != 0) return anx_error_set(m->err, ANX_ERR_FORMAT, "%zu MARKs are left on the stack", m->n_marks);
    if (m->depth != 1) return anx_error_set(m->err, ANX_ERR_FORMAT, "%zu values on the stack, 1 is right", m->depth);
    m->stopped = true;
    return ANX_OK;
}

/* All opcodes of the language have a name, for messages; those without a handler are refused. */
static const struct {
    const char *name;
    opcode_handler run;
} opcodes[256] = {
    ['J'] = {"BININT", op_binint},
    ['K'] = {"BININT1", op_binint1},
    ['M'] = {"BININT2", op_binint2},
    [0x8a] = {"LONG1", op_long1},
    ['U'] = {"SHORT_BINSTRING", op_short_binstring},
    ['X'] = {"BINUNICODE", op_binunicode},
    ['N'] = {"NONE", op_none},
    [0x88] = {"NEWTRUE", op_newtrue},
    [0x89] = {"NEWFALSE", op_newfalse},
    ['G'] = {"BINFLOAT", op_binfloat},
    [']'] = {"EMPTY_LIST", op_empty_list},
    ['a'] = {"APPEND", op_append},
    ['e'] = {"APPENDS", op_appends},
    [')'] = {"EMPTY_TUPLE", op_empty_tuple},
    ['t'] = {"TUPLE", op_tuple},
    [0x85] = {"TUPLE1", op_tuple1},
    [0x86] = {"TUPLE2", op_tuple2},
    [0x87] = {"TUPLE3", op_tuple3},
    ['}'] = {"EMPTY_DICT", op_empty_dict},
    ['s'] = {"SETITEM", op_setitem},
    ['u'] = {"SETITEMS", op_setitems},
    [0x8f] = {"EMPTY_SET", op_empty_set},
    ['('] = {"MARK", op_mark},
    ['h'] = {"BINGET", op_binget},
    ['j'] = {"LONG_BINGET", op_long_binget},
    ['q'] = {"BINPUT", op_binput},
    ['r'] = {"LONG_BINPUT", op_long_binput},
    ['c'] = {"GLOBAL", op_global},
    ['R'] = {"REDUCE", call},
    ['b'] = {"BUILD", op_build},
    [0x81] = {"NEWOBJ", call},
    [0x80] = {"PROTO", op_proto},
    ['.'] = {"STOP", op_stop},
    ['Q'] = {"BINPERSID", op_binpersid},

    ['I'] = {"INT", op_int},
    ['L'] = {"LONG", NULL},
    [0x8b] = {"LONG4", NULL},
    ['S'] = {"STRING", NULL},
    ['T'] = {"BINSTRING", op_binstring},
    ['B'] = {"BINBYTES", NULL},
    ['C'] = {"SHORT_BINBYTES", NULL},
    [0x8e] = {"BINBYTES8", NULL},
    [0x96] = {"BYTEARRAY8", NULL},
    [0x97] = {"NEXT_BUFFER", NULL},
    [0x98] = {"READONLY_BUFFER", NULL},
    ['V'] = {"UNICODE", NULL},
    [0x8c] = {"SHORT_BINUNICODE", NULL},
    [0x8d] = {"BINUNICODE8", NULL},
    ['F'] = {"FLOAT", NULL},
    ['l'] = {"LIST", NULL},
    ['d'] = {"DICT", NULL},
    [0x90] = {"ADDITEMS", NULL},
    [0x91] = {"FROZENSET", NULL},
    ['0'] = {"POP", NULL},
    ['2'] = {"DUP", NULL},
    ['1'] = {"POP_MARK", NULL},
    ['g'] = {"GET", NULL},
    ['p'] = {"PUT", NULL},
    [0x94] = {"MEMOIZE", NULL},
    [0x82] = {"EXT1", NULL},
    [0x83] = {"EXT2", NULL},
    [0x84] = {"EXT4", NULL},
    [0x93] = {"STACK_GLOBAL", NULL},
    ['i'] = {"INST", NULL},
    ['o'] = {"OBJ", NULL},
    [0x92] = {"NEWOBJ_EX", NULL},
    [0x95] = {"FRAME", NULL},
    ['P'] = {"PERSID", NULL},
};

/* ---- the machine ---------------------------------------------------------------------------------------- */

static anx_status step(anx_unpickle_machine *m) {
    const size_t op_at = m->at;
    if (op_at >= m->in->n_bytes) {
        const anx_status ended = anx_unpickle_ran_out(m, "the pickle ends without a STOP: truncated?");
        anx_error_at_offset(m->err, op_at);
        return ended;
    }
    const uint8_t op = m->in->bytes[m->at++];
    anx_status status;
    const bool python2_alone = opcodes[op].run == op_int || opcodes[op].run == op_binstring;
    if (opcodes[op].run != NULL && (m->in->python2 || !python2_alone)) {
        status = opcodes[op].run(m);
        if (status != ANX_OK) anx_error_prefix(m->err, "opcode %s: ", opcodes[op].name);
    } else if (opcodes[op].name != NULL) {
        status = anx_error_set(m->err, ANX_ERR_UNSUPPORTED, "opcode %s is not one that checkpoints are written with",
                               opcodes[op].name);
    } else {
        status = anx_error_set(m->err, ANX_ERR_FORMAT, "byte 0x%02x is not a pickle opcode", op);
    }
    if (status != ANX_OK) anx_error_at_offset(m->err, op_at);
    return status;
}

anx_status anx_pickle_run(const anx_pickle_input *input, anx_arena *arena, anx_pickle_value **root, size_t *used,
                          anx_error *err) {
    anx_unpickle_machine m = {.in = input, .arena = arena, .err = err};
    anx_status status = ANX_OK;
    while (status == ANX_OK && !m.stopped) status = step(&m);
    if (status == ANX_OK) {
        *root = m.stack[0];
        *used = m.at;
    }
    anx_unpickle_fini(&m);
    return status;
}
