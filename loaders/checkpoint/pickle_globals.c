#include "loaders/checkpoint/pickle_globals.h"

#include <string.h>

#include "loaders/checkpoint/text.h"
#include "src/base/checked.h"

static size_t count_of(const anx_pickle_value *tuple) {
    return tuple->u.list.count;
}

static anx_pickle_value *arg(const anx_pickle_value *args, size_t i) {
    return args->u.list.items[i];
}

static anx_status wrong_argument(anx_error *err, const char *what, const anx_pickle_value *got, const char *expected) {
    return anx_error_set(err, ANX_ERR_FORMAT, "its %s is %s; %s was expected", what, anx_pickle_kind_phrase(got->kind),
                         expected);
}

static anx_status wrong_count(anx_error *err, const anx_pickle_value *args, const char *expected) {
    return anx_error_set(err, ANX_ERR_FORMAT, "called with %zu arguments; %s were expected", count_of(args), expected);
}

/* ---- tensors -------------------------------------------------------------------------------------------- */

/* A tuple of at most ANX_MAX_RANK non-negative integers. */
static anx_status read_extents(const anx_pickle_value *v, const char *what, int *rank, int64_t *out, anx_error *err) {
    if (v->kind != ANX_PICKLE_TUPLE) return wrong_argument(err, what, v, "a tuple");
    if (v->u.list.count > ANX_MAX_RANK)
        return anx_error_set(err, ANX_ERR_LIMIT, "a tensor of %zu dimensions; at most %d are taken", v->u.list.count,
                             (int)ANX_MAX_RANK);
    for (size_t i = 0; i < v->u.list.count; i++) {
        const anx_pickle_value *item = v->u.list.items[i];
        if (item->kind != ANX_PICKLE_INT) return wrong_argument(err, what, item, "a tuple of int");
        if (item->u.integer < 0)
            return anx_error_set(err, ANX_ERR_FORMAT, "its %s has a negative entry, %lld", what,
                                 (long long)item->u.integer);
        out[i] = item->u.integer;
    }
    *rank = (int)v->u.list.count;
    return ANX_OK;
}

/* Every element that shape and strides reach must lie inside the storage. */
anx_status anx_pickle_tensor_check(const anx_pickle_tensor *t, anx_error *err) {
    int64_t elems = 0, last = t->offset;
    bool good = anx_shape_elems(t->rank, t->shape, &elems);
    for (int i = 0; i < t->rank && good && elems > 0; i++) {
        int64_t step;
        good = anx_checked_mul_i64(t->shape[i] - 1, t->stride[i], &step) && anx_checked_add_i64(last, step, &last);
    }
    if (good && (elems > 0 ? last < t->storage->n_elems : last <= t->storage->n_elems)) return ANX_OK;
    char shape[200], stride[200], key[100];
    anx_shape_format(t->rank, t->shape, shape, sizeof shape);
    anx_shape_format(t->rank, t->stride, stride, sizeof stride);
    if (!good)
        return anx_error_set(err, ANX_ERR_FORMAT, "a tensor of shape %s with strides %s overflows", shape, stride);
    return anx_error_set(err, ANX_ERR_FORMAT,
                         "a tensor of shape %s with strides %s at offset %lld reaches element %lld of storage "
                         "'%s', which has %lld",
                         shape, stride, (long long)t->offset, (long long)last,
                         anx_text_printable(t->storage->key, strlen(t->storage->key), key, sizeof key),
                         (long long)t->storage->n_elems);
}

enum { max_metadata = 16 };

/* PyTorch keeps "conj" and "neg" bits here: the stored numbers are then not the tensor's. */
static anx_status check_metadata(const anx_pickle_value *v, anx_error *err) {
    if (v->kind == ANX_PICKLE_NONE) return ANX_OK;
    if (v->kind != ANX_PICKLE_DICT) return wrong_argument(err, "metadata", v, "a dict");
    if (v->u.dict.count > max_metadata) /* it is searched once for each tensor */
        return anx_error_set(err, ANX_ERR_LIMIT, "metadata of %zu items; at most %d are taken", v->u.dict.count,
                             (int)max_metadata);
    static const char *const bits[] = {"neg", "conj"};
    for (int i = 0; i < 2; i++) {
        const anx_pickle_value *bit = anx_pickle_dict_find(v, bits[i]);
        if (bit != NULL && !(bit->kind == ANX_PICKLE_BOOL && !bit->u.boolean))
            return anx_error_set(err, ANX_ERR_UNSUPPORTED, "a tensor stored with its %s bit set; save tensor.clone()",
                                 bits[i]);
    }
    return ANX_OK;
}

/* torch._utils._rebuild_tensor(storage, offset, size, stride): the part that all versions share. */
static anx_status rebuild(const anx_pickle_value *args, anx_arena *arena, anx_pickle_value **out, anx_error *err) {
    if (arg(args, 0)->kind != ANX_PICKLE_STORAGE) return wrong_argument(err, "storage", arg(args, 0), "a storage");
    if (arg(args, 1)->kind != ANX_PICKLE_INT) return wrong_argument(err, "offset", arg(args, 1), "an int");
    const int64_t offset = arg(args, 1)->u.integer;
    if (offset < 0) return anx_error_set(err, ANX_ERR_FORMAT, "its offset is negative, %lld", (long long)offset);
    anx_pickle_value *v = anx_arena_alloc(arena, 1, sizeof *v);
    anx_pickle_tensor *t = anx_arena_alloc(arena, 1, sizeof *t);
    if (v == NULL || t == NULL) return anx_arena_error(arena, err);
    t->storage = arg(args, 0)->u.storage;
    t->offset = offset;
    int strides = 0;
    anx_status status = read_extents(arg(args, 2), "size", &t->rank, t->shape, err);
    if (status == ANX_OK) status = read_extents(arg(args, 3), "stride", &strides, t->stride, err);
    if (status == ANX_OK && strides != t->rank)
        status = anx_error_set(err, ANX_ERR_FORMAT, "a size of %d dimensions with a stride of %d", t->rank, strides);
    if (status == ANX_OK) status = anx_pickle_tensor_check(t, err);
    if (status != ANX_OK) return status;
    v->kind = ANX_PICKLE_TENSOR;
    v->u.tensor = t;
    *out = v;
    return ANX_OK;
}

static anx_status rebuild_tensor(const anx_pickle_global *global, const anx_pickle_value *args, anx_arena *arena,
                                 anx_pickle_value **out, anx_error *err) {
    (void)global;
    if (count_of(args) != 4) return wrong_count(err, args, "4");
    return rebuild(args, arena, out, err);
}

/* (storage, offset, size, stride, requires_grad, backward_hooks[, metadata]); hooks are never run, so never looked at.
 */
static anx_status rebuild_tensor_v2(const anx_pickle_global *global, const anx_pickle_value *args, anx_arena *arena,
                                    anx_pickle_value **out, anx_error *err) {
    (void)global;
    if (count_of(args) != 6 && count_of(args) != 7) return wrong_count(err, args, "6 or 7");
    if (arg(args, 4)->kind != ANX_PICKLE_BOOL) return wrong_argument(err, "requires_grad", arg(args, 4), "a bool");
    anx_status status = count_of(args) == 7 ? check_metadata(arg(args, 6), err) : ANX_OK;
    if (status == ANX_OK) status = rebuild(args, arena, out, err);
    if (status == ANX_OK) (*out)->u.tensor->requires_grad = arg(args, 4)->u.boolean;
    return status;
}

/* A Parameter is a tensor of its own that views the same storage: marking the argument would mark its other users. */
static anx_status make_parameter(const anx_pickle_value *data, bool requires_grad, anx_arena *arena,
                                 anx_pickle_value **out, anx_error *err) {
    if (data->kind != ANX_PICKLE_TENSOR) return wrong_argument(err, "data", data, "a tensor");
    anx_pickle_value *v = anx_arena_alloc(arena, 1, sizeof *v);
    anx_pickle_tensor *t = anx_arena_alloc(arena, 1, sizeof *t);
    if (v == NULL || t == NULL) return anx_arena_error(arena, err);
    *t = *data->u.tensor;
    t->is_parameter = true;
    t->requires_grad = requires_grad;
    v->kind = ANX_PICKLE_TENSOR;
    v->u.tensor = t;
    *out = v;
    return ANX_OK;
}

/* (data, requires_grad, backward_hooks) */
static anx_status rebuild_parameter(const anx_pickle_global *global, const anx_pickle_value *args, anx_arena *arena,
                                    anx_pickle_value **out, anx_error *err) {
    (void)global;
    if (count_of(args) != 3) return wrong_count(err, args, "3");
    if (arg(args, 1)->kind != ANX_PICKLE_BOOL) return wrong_argument(err, "requires_grad", arg(args, 1), "a bool");
    return make_parameter(arg(args, 0), arg(args, 1)->u.boolean, arena, out, err);
}

/* Parameter(data[, requires_grad]) */
static anx_status parameter(const anx_pickle_global *global, const anx_pickle_value *args, anx_arena *arena,
                            anx_pickle_value **out, anx_error *err) {
    (void)global;
    if (count_of(args) != 1 && count_of(args) != 2) return wrong_count(err, args, "1 or 2");
    if (count_of(args) == 2 && arg(args, 1)->kind != ANX_PICKLE_BOOL)
        return wrong_argument(err, "requires_grad", arg(args, 1), "a bool");
    return make_parameter(arg(args, 0), count_of(args) == 1 || arg(args, 1)->u.boolean, arena, out, err);
}

/* ---- containers and the rest ---------------------------------------------------------------------------- */

/* A pair, as Python 2 wrote an OrderedDict's items. */
static bool is_pair(const anx_pickle_value *v) {
    return (v->kind == ANX_PICKLE_LIST || v->kind == ANX_PICKLE_TUPLE) && v->u.list.count == 2 &&
           v->u.list.items[0]->kind == ANX_PICKLE_STRING;
}

/* OrderedDict() or OrderedDict([[key, value], ...]) with string keys */
static anx_status ordered_dict(const anx_pickle_global *global, const anx_pickle_value *args, anx_arena *arena,
                               anx_pickle_value **out, anx_error *err) {
    (void)global;
    if (count_of(args) > 1) return wrong_count(err, args, "0 or 1");
    anx_pickle_value *v = anx_arena_alloc(arena, 1, sizeof *v);
    if (v == NULL) return anx_arena_error(arena, err);
    v->kind = ANX_PICKLE_DICT;
    v->u.dict.ordered = true;
    if (count_of(args) == 1) {
        const anx_pickle_value *pairs = arg(args, 0);
        if (pairs->kind != ANX_PICKLE_LIST) return wrong_argument(err, "argument", pairs, "a list of pairs");
        const size_t n = pairs->u.list.count;
        v->u.dict.items = anx_arena_alloc(arena, n, 2 * sizeof *v->u.dict.items);
        if (v->u.dict.items == NULL) return anx_arena_error(arena, err);
        for (size_t i = 0; i < n; i++) {
            const anx_pickle_value *pair = pairs->u.list.items[i];
            if (!is_pair(pair)) return wrong_argument(err, "item", pair, "a pair of a str and a value");
            memcpy(&v->u.dict.items[2 * i], pair->u.list.items, 2 * sizeof *v->u.dict.items);
        }
        v->u.dict.count = n;
        v->u.dict.capacity = 2 * n;
    }
    *out = v;
    return ANX_OK;
}

/* torch.Size((2, 3)) is kept as the tuple it holds. */
static anx_status size(const anx_pickle_global *global, const anx_pickle_value *args, anx_arena *arena,
                       anx_pickle_value **out, anx_error *err) {
    (void)global, (void)arena;
    if (count_of(args) != 1) return wrong_count(err, args, "1");
    if (arg(args, 0)->kind != ANX_PICKLE_TUPLE) return wrong_argument(err, "argument", arg(args, 0), "a tuple");
    *out = arg(args, 0);
    return ANX_OK;
}

/* _codecs.encode(text, "latin1"): how protocol 2 writes bytes. */
static anx_status encode(const anx_pickle_global *global, const anx_pickle_value *args, anx_arena *arena,
                         anx_pickle_value **out, anx_error *err) {
    (void)global;
    if (count_of(args) != 2) return wrong_count(err, args, "2");
    const anx_pickle_value *text = arg(args, 0);
    if (text->kind != ANX_PICKLE_STRING) return wrong_argument(err, "text", text, "a str");
    if (!anx_pickle_is_string(arg(args, 1), "latin1"))
        return anx_error_set(err, ANX_ERR_UNSUPPORTED, "an encoding other than latin1");
    anx_pickle_value *v = anx_arena_alloc(arena, 1, sizeof *v);
    char *bytes = anx_arena_alloc(arena, text->u.text.n_bytes, 1);
    if (v == NULL || bytes == NULL) return anx_arena_error(arena, err);
    size_t n = 0;
    for (size_t i = 0; i < text->u.text.n_bytes; i++) {
        const uint8_t c = (uint8_t)text->u.text.bytes[i];
        if (c > 0xc3) return anx_error_set(err, ANX_ERR_FORMAT, "a character that latin1 has not");
        /* U+0080 to U+00FF are c2 80 .. c3 bf; the text was checked to be UTF-8. */
        bytes[n++] = (char)(c < 0x80 ? c : (c & 3) << 6 | (text->u.text.bytes[++i] & 0x3f));
    }
    v->kind = ANX_PICKLE_BYTES;
    v->u.text.bytes = bytes;
    v->u.text.n_bytes = n;
    *out = v;
    return ANX_OK;
}

/* An instance of a class that is kept without being understood. */
static anx_status opaque(const anx_pickle_global *global, const anx_pickle_value *args, anx_arena *arena,
                         anx_pickle_value **out, anx_error *err) {
    anx_pickle_value *v = anx_arena_alloc(arena, 1, sizeof *v), *kept = anx_arena_alloc(arena, 1, sizeof *kept);
    if (v == NULL || kept == NULL) return anx_arena_error(arena, err);
    *kept = *args;
    v->kind = ANX_PICKLE_OBJECT;
    v->u.object.class = global;
    v->u.object.args = kept;
    *out = v;
    return ANX_OK;
}

/* ---- the list ------------------------------------------------------------------------------------------- */

#define STORAGE(name_, dtype_)                                                                                         \
    { .module = "torch", .name = name_, .is_storage = true, .dtype = dtype_ }
#define TENSOR(module_, name_, dtype_)                                                                                 \
    { .module = module_, .name = name_, .is_tensor = true, .dtype = dtype_ }
#define CALL(module_, name_, call_)                                                                                    \
    { .module = module_, .name = name_, .call = call_ }
#define NAME(module_, name_)                                                                                           \
    { .module = module_, .name = name_ }
#define REFUSED(module_, name_, why)                                                                                   \
    { .module = module_, .name = name_, .refusal = why }

static const char complex_tensor[] = "complex tensors are not supported";
static const char quantized_tensor[] = "quantized tensors are not supported; save the float model";
static const char other_types[] = "element types that have no storage class of their own (unsigned of 16 bits and "
                                  "more, float8, ...) are not supported";
static const char sparse_tensor[] = "sparse tensors are not supported; save tensor.to_dense()";
static const char subclass_tensor[] = "tensor subclasses are not supported";
static const char elsewhere_tensor[] = "tensors of devices without storage are not supported; save tensor.cpu()";

static const anx_pickle_global globals[] = {
    CALL("collections", "OrderedDict", ordered_dict),
    CALL("torch._utils", "_rebuild_tensor_v2", rebuild_tensor_v2),
    STORAGE("FloatStorage", ANX_F32),
    STORAGE("DoubleStorage", ANX_F64),
    STORAGE("HalfStorage", ANX_F16),
    STORAGE("BFloat16Storage", ANX_BF16),
    STORAGE("LongStorage", ANX_I64),
    STORAGE("IntStorage", ANX_I32),
    STORAGE("ShortStorage", ANX_I16),
    STORAGE("CharStorage", ANX_I8),
    STORAGE("ByteStorage", ANX_U8),
    STORAGE("BoolStorage", ANX_BOOL),
    CALL("torch._utils", "_rebuild_parameter", rebuild_parameter),
    CALL("torch._utils", "_rebuild_tensor", rebuild_tensor),
    CALL("torch.nn.parameter", "Parameter", parameter),
    CALL("torch", "Size", size),
    CALL("torch", "device", opaque),
    CALL("_codecs", "encode", encode),
    {.module = "argparse", .name = "Namespace", .call = opaque, .by_newobj = true},
    CALL("collections", "Counter", opaque), /* MultiStepLR's milestones */
    CALL("__builtin__", "set", opaque),     /* as protocol 2 names Python 3's builtins */
    CALL("__builtin__", "bytearray", opaque),
    CALL("__builtin__", "complex", opaque),
    CALL("torch.serialization", "_get_layout", opaque),
    NAME("torch", "float32"),
    NAME("torch", "float64"),
    NAME("torch", "float16"),
    NAME("torch", "bfloat16"),
    NAME("torch", "int64"),
    NAME("torch", "int32"),
    NAME("torch", "int16"),
    /* what the first releases called a tensor's type */
    TENSOR("torch", "FloatTensor", ANX_F32),
    TENSOR("torch", "DoubleTensor", ANX_F64),
    TENSOR("torch", "HalfTensor", ANX_F16),
    TENSOR("torch", "LongTensor", ANX_I64),
    TENSOR("torch", "IntTensor", ANX_I32),
    TENSOR("torch", "ShortTensor", ANX_I16),
    TENSOR("torch", "CharTensor", ANX_I8),
    TENSOR("torch", "ByteTensor", ANX_U8),
    TENSOR("torch.cuda", "FloatTensor", ANX_F32),
    TENSOR("torch.cuda", "DoubleTensor", ANX_F64),
    TENSOR("torch.cuda", "HalfTensor", ANX_F16),
    TENSOR("torch.cuda", "LongTensor", ANX_I64),
    TENSOR("torch.cuda", "IntTensor", ANX_I32),
    TENSOR("torch.cuda", "ShortTensor", ANX_I16),
    TENSOR("torch.cuda", "CharTensor", ANX_I8),
    TENSOR("torch.cuda", "ByteTensor", ANX_U8),
    NAME("torch", "int8"),
    NAME("torch", "uint8"),
    NAME("torch", "bool"),
    NAME("torch", "complex64"),
    NAME("torch", "complex128"),
    REFUSED("torch", "ComplexFloatStorage", complex_tensor),
    REFUSED("torch", "ComplexDoubleStorage", complex_tensor),
    REFUSED("torch", "QInt8Storage", quantized_tensor),
    REFUSED("torch", "QUInt8Storage", quantized_tensor),
    REFUSED("torch", "QInt32Storage", quantized_tensor),
    REFUSED("torch", "QUInt4x2Storage", quantized_tensor),
    REFUSED("torch", "QUInt2x4Storage", quantized_tensor),
    REFUSED("torch._utils", "_rebuild_qtensor", quantized_tensor),
    REFUSED("torch._utils", "_rebuild_tensor_v3", other_types),
    REFUSED("torch.storage", "UntypedStorage", other_types),
    REFUSED("torch._utils", "_rebuild_sparse_tensor", sparse_tensor),
    REFUSED("torch._utils", "_rebuild_sparse_csr_tensor", sparse_tensor),
    REFUSED("torch._utils", "_rebuild_nested_tensor", subclass_tensor),
    REFUSED("torch._utils", "_rebuild_wrapper_subclass", subclass_tensor),
    REFUSED("torch._tensor", "_rebuild_from_type_v2", subclass_tensor),
    REFUSED("torch._utils", "_rebuild_parameter_with_state",
            "Parameters with attributes of their own are not supported"),
    REFUSED("torch._utils", "_rebuild_meta_tensor_no_storage", elsewhere_tensor),
    REFUSED("torch._utils", "_rebuild_device_tensor_from_numpy", elsewhere_tensor),
    REFUSED("torch._utils", "_rebuild_device_tensor_from_cpu_tensor", elsewhere_tensor),
};

static bool is(const char *text, const char *bytes, size_t n_bytes) {
    return strlen(text) == n_bytes && memcmp(text, bytes, n_bytes) == 0;
}

const anx_pickle_global *anx_pickle_global_find(const char *module, size_t module_bytes, const char *name,
                                                size_t name_bytes) {
    for (size_t i = 0; i < sizeof globals / sizeof globals[0]; i++)
        if (is(globals[i].name, name, name_bytes) && is(globals[i].module, module, module_bytes)) return &globals[i];
    return NULL;
}
