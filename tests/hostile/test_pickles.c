/* Malformed and malicious pickles in otherwise good archives: each is refused with opcode, offset and reason. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint.h"
#include "loaders/checkpoint/pickle.h"
#include "tests/support/anx_test.h"
#include "tests/support/test_zip.h"

static anx_error err;

#define BYTES(text) (text), sizeof(text) - 1
#define START "\x80\x02"

/* One pickle and the whole message after "PATH: entry 'm/data.pkl', ". */
typedef struct hostile {
    const char *bytes;
    size_t n_bytes;
    anx_status status;
    const char *message;
} hostile;

static void check_all(const hostile *cases, size_t n) {
    static char expected[4096], got[20000];
    for (size_t i = 0; i < n; i++) {
        test_zip zip;
        test_zip_checkpoint(&zip, cases[i].bytes, cases[i].n_bytes);
        const char *path = test_zip_save(&zip, "hostile.pth");
        anx_checkpoint *checkpoint = NULL;
        ANX_CHECK_STATUS(cases[i].status, anx_checkpoint_open(path, NULL, &checkpoint, &err), &err);
        CU_ASSERT_PTR_NULL(checkpoint);
        anx_checkpoint_close(checkpoint);
        snprintf(expected, sizeof expected, "%s: %s", path, cases[i].message);
        anx_error_format(&err, got, sizeof got);
        CU_ASSERT_STRING_EQUAL(got, expected);
        if (strcmp(got, expected) != 0) fprintf(stderr, "\n  expected %s\n  got      %s\n", expected, got);
        test_zip_fini(&zip);
    }
}

#define CHECK_ALL(cases) check_all((cases), sizeof(cases) / sizeof((cases)[0]))

static void code_is_not_run(void) {
    static const hostile cases[] = {
        {BYTES(START "cos\nsystem\n" TP_STR("\x0a", "echo pwned") "\x85R."), ANX_ERR_UNSUPPORTED,
         "entry 'm/data.pkl', offset 2: opcode GLOBAL: names os.system: nothing but tensors, numbers, text and "
         "containers is read from a checkpoint, and nothing in it is executed; where a whole model was saved, save "
         "model.state_dict() instead"},
        {BYTES(START "cbuiltins\neval\n" TP_STR("\x01", "1") "\x85R."), ANX_ERR_UNSUPPORTED,
         "entry 'm/data.pkl', offset 2: opcode GLOBAL: names builtins.eval: nothing but tensors, numbers, text and "
         "containers is read from a checkpoint, and nothing in it is executed; where a whole model was saved, save "
         "model.state_dict() instead"},
        {BYTES(START "c__builtin__\ngetattr\n)R."), ANX_ERR_UNSUPPORTED,
         "entry 'm/data.pkl', offset 2: opcode GLOBAL: names __builtin__.getattr: nothing but tensors, numbers, text "
         "and containers is read from a checkpoint, and nothing in it is executed; where a whole model was saved, save "
         "model.state_dict() instead"},
        {BYTES(START "ctorch\nload\n)R."), ANX_ERR_UNSUPPORTED,
         "entry 'm/data.pkl', offset 2: opcode GLOBAL: names torch.load: nothing but tensors, numbers, text and "
         "containers is read from a checkpoint, and nothing in it is executed; where a whole model was saved, save "
         "model.state_dict() instead"},
        {BYTES(START "ctorch._utils\n_rebuild_tensor_v2.__globals__\n."), ANX_ERR_UNSUPPORTED,
         "entry 'm/data.pkl', offset 2: opcode GLOBAL: names torch._utils._rebuild_tensor_v2.__globals__: nothing but "
         "tensors, numbers, text and containers is read from a checkpoint, and nothing in it is executed; where a "
         "whole model was saved, save model.state_dict() instead"},
        {BYTES(START "c\x1b]0;\x07\nx\n."), ANX_ERR_UNSUPPORTED,
         "entry 'm/data.pkl', offset 2: opcode GLOBAL: names \\x1b]0;\\x07.x: nothing but tensors, numbers, text and "
         "containers is read from a checkpoint, and nothing in it is executed; where a whole model was saved, save "
         "model.state_dict() instead"},
        {BYTES(START "(S'echo pwned'\nios\nsystem\n."), ANX_ERR_UNSUPPORTED,
         "entry 'm/data.pkl', offset 3: opcode STRING is not one that checkpoints are written with"},
        {BYTES(START "(ios\nsystem\n."), ANX_ERR_UNSUPPORTED,
         "entry 'm/data.pkl', offset 3: opcode INST is not one that checkpoints are written with"},
        {BYTES(START TP_STR("\x02", "os") TP_STR("\x06", "system") "\x93."), ANX_ERR_UNSUPPORTED,
         "entry 'm/data.pkl', offset 20: opcode STACK_GLOBAL is not one that checkpoints are written with"},
        {BYTES(START "\x82\x01."), ANX_ERR_UNSUPPORTED,
         "entry 'm/data.pkl', offset 2: opcode EXT1 is not one that checkpoints are written with"},
        {BYTES(START "Pid\n."), ANX_ERR_UNSUPPORTED,
         "entry 'm/data.pkl', offset 2: opcode PERSID is not one that checkpoints are written with"},
        {BYTES(START TP_STR("\x01", "f") ")R."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 9: opcode REDUCE: calls a str"},
        {BYTES(START "ctorch\nfloat32\n)R."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 18: opcode REDUCE: calls float32"},
        {BYTES(START "ctorch\nFloatStorage\n)R."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 23: opcode REDUCE: calls FloatStorage"},
        {BYTES(START TP_GLOBAL("collections", "OrderedDict") "]R."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 28: opcode REDUCE: the arguments are a list"},
        {BYTES(START TP_GLOBAL("collections", "OrderedDict") "K\x01K\x02\x86R."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 32: opcode REDUCE: collections.OrderedDict: called with 2 arguments; 0 or 1 were "
         "expected"},
        {BYTES(START TP_GLOBAL("collections", "OrderedDict") "]K\x01"
                                                             "a\x85R."),
         ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 32: opcode REDUCE: collections.OrderedDict: its item is an int; a pair of a str "
         "and a value was expected"},
        {BYTES(START TP_GLOBAL("_codecs", "encode") TP_STR("\x01", "x") TP_STR("\x05", "utf-7") "\x86R."),
         ANX_ERR_UNSUPPORTED,
         "entry 'm/data.pkl', offset 35: opcode REDUCE: _codecs.encode: an encoding other than latin1"},
        {BYTES(START TP_GLOBAL("_codecs", "encode") TP_STR("\x03", "\xe6\xbc\xa2") TP_STR("\x06", "latin1") "\x86R."),
         ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 38: opcode REDUCE: _codecs.encode: a character that latin1 has not"},
    };
    CHECK_ALL(cases);
}

static void bytes_that_are_no_pickle(void) {
    static const hostile cases[] = {
        {BYTES(""), ANX_ERR_FORMAT, "entry 'm/data.pkl', offset 0: the pickle ends without a STOP: truncated?"},
        {BYTES("\x80"), ANX_ERR_FORMAT, "entry 'm/data.pkl', offset 0: opcode PROTO: takes 1 bytes, 0 are left"},
        {BYTES("\x80\x04."), ANX_ERR_UNSUPPORTED,
         "entry 'm/data.pkl', offset 0: opcode PROTO: pickle protocol 4; torch.save writes protocol 2 unless told "
         "otherwise"},
        {BYTES(START "\xff."), ANX_ERR_FORMAT, "entry 'm/data.pkl', offset 2: byte 0xff is not a pickle opcode"},
        {BYTES(START "\x95\x01\0\0\0\0\0\0\0."), ANX_ERR_UNSUPPORTED,
         "entry 'm/data.pkl', offset 2: opcode FRAME is not one that checkpoints are written with"},
        {BYTES(START "}"), ANX_ERR_FORMAT, "entry 'm/data.pkl', offset 3: the pickle ends without a STOP: truncated?"},
        {BYTES(START "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 2: opcode STOP: 0 values on the stack, 1 is right"},
        {BYTES(START "NN."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 4: opcode STOP: 2 values on the stack, 1 is right"},
        {BYTES(START "(N."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 4: opcode STOP: 1 MARKs are left on the stack"},
        {BYTES(START "}.}"), ANX_ERR_FORMAT, "entry 'm/data.pkl', offset 4: 1 bytes after the pickle's end"},
        {BYTES(START "I5\n."), ANX_ERR_UNSUPPORTED,
         "entry 'm/data.pkl', offset 2: opcode INT is not one that checkpoints are written with"},
        {BYTES(START "cos\nsystem"), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 2: opcode GLOBAL: no end of line within 6 bytes"},
        {BYTES(START
               "caaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
               "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
               "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\nb\n"
               "."),
         ANX_ERR_FORMAT, "entry 'm/data.pkl', offset 2: opcode GLOBAL: no end of line within 257 bytes"},
    };
    CHECK_ALL(cases);
}

static void operands_cut_short(void) {
    static const hostile cases[] = {
        {BYTES(START "J\x01\x02\x03"), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 2: opcode BININT: takes 4 bytes, 3 are left"},
        {BYTES(START "K"), ANX_ERR_FORMAT, "entry 'm/data.pkl', offset 2: opcode BININT1: takes 1 bytes, 0 are left"},
        {BYTES(START "M\x01"), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 2: opcode BININT2: takes 2 bytes, 1 are left"},
        {BYTES(START "G\x01\x02\x03\x04"), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 2: opcode BINFLOAT: takes 8 bytes, 4 are left"},
        {BYTES(START "\x8a"), ANX_ERR_FORMAT, "entry 'm/data.pkl', offset 2: opcode LONG1: takes 1 bytes, 0 are left"},
        {BYTES(START "\x8a\xff\x01"), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 2: opcode LONG1: takes 255 bytes, 1 are left"},
        {BYTES(START "U\x05"
                     "abc"),
         ANX_ERR_FORMAT, "entry 'm/data.pkl', offset 2: opcode SHORT_BINSTRING: takes 5 bytes, 3 are left"},
        {BYTES(START "X\xff\xff\xff\xff"
                     "abc"),
         ANX_ERR_FORMAT, "entry 'm/data.pkl', offset 2: opcode BINUNICODE: takes 4294967295 bytes, 3 are left"},
        {BYTES(START "X\x02\0"), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 2: opcode BINUNICODE: takes 4 bytes, 2 are left"},
        {BYTES(START "X\x02\0\0\0\xc3\x28."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 2: opcode BINUNICODE: the string is not UTF-8"},
        {BYTES(START "h"), ANX_ERR_FORMAT, "entry 'm/data.pkl', offset 2: opcode BINGET: takes 1 bytes, 0 are left"},
        {BYTES(START "Nq"), ANX_ERR_FORMAT, "entry 'm/data.pkl', offset 3: opcode BINPUT: takes 1 bytes, 0 are left"},
        {BYTES(START "Nr\x01\0"), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 3: opcode LONG_BINPUT: takes 4 bytes, 2 are left"},
    };
    CHECK_ALL(cases);
}

static void the_stack_is_guarded(void) {
    static const hostile cases[] = {
        {BYTES(START "a."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 2: opcode APPEND: needs 2 values on the stack, there are 0"},
        {BYTES(START "]a."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 3: opcode APPEND: needs 2 values on the stack, there are 1"},
        {BYTES(START "]e."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 3: opcode APPENDS: needs a MARK on the stack, there is none"},
        {BYTES(START "(e."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 3: opcode APPENDS: needs 1 values on the stack, there are 0"},
        {BYTES(START "t."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 2: opcode TUPLE: needs a MARK on the stack, there is none"},
        {BYTES(START "N(\x85."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 4: opcode TUPLE1: needs 1 values on the stack, there are 0"},
        {BYTES(START "NN\x87."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 4: opcode TUPLE3: needs 3 values on the stack, there are 2"},
        {BYTES(START "}NN(s."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 6: opcode SETITEM: needs 3 values on the stack, there are 0"},
        {BYTES(START "u."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 2: opcode SETITEMS: needs a MARK on the stack, there is none"},
        {BYTES(START "}(Nu."), ANX_ERR_FORMAT, "entry 'm/data.pkl', offset 5: opcode SETITEMS: a key without a value"},
        {BYTES(START "q\0."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 2: opcode BINPUT: needs 1 values on the stack, there are 0"},
        {BYTES(START "N(q\0."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 4: opcode BINPUT: needs 1 values on the stack, there are 0"},
        {BYTES(START "R."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 2: opcode REDUCE: needs 2 values on the stack, there are 0"},
        {BYTES(START "b."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 2: opcode BUILD: needs 2 values on the stack, there are 0"},
        {BYTES(START "Q."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 2: opcode BINPERSID: needs 1 values on the stack, there are 0"},
        {BYTES(START "\x81."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 2: opcode NEWOBJ: needs 2 values on the stack, there are 0"},
    };
    CHECK_ALL(cases);
}

static void the_memo_is_guarded(void) {
    static const hostile cases[] = {
        {BYTES(START "h\0."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 2: opcode BINGET: nothing was put at memo index 0"},
        {BYTES(START "Nq\x01h\x02."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 5: opcode BINGET: nothing was put at memo index 2"},
        {BYTES(START "j\xff\xff\xff\xff."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 2: opcode LONG_BINGET: nothing was put at memo index 4294967295"},
        {BYTES(START "Nr\xff\xff\xff\xff."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 3: opcode LONG_BINPUT: memo index 4294967295 after 8 bytes"},
        {BYTES(START "Nr\0\0\0\x10."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 3: opcode LONG_BINPUT: memo index 268435456 after 8 bytes"},
    };
    CHECK_ALL(cases);
}

static void values_are_of_the_right_kind(void) {
    static const hostile cases[] = {
        {BYTES(START "}Na."), ANX_ERR_FORMAT, "entry 'm/data.pkl', offset 4: opcode APPEND: appends to a dict"},
        {BYTES(START "](NNu."), ANX_ERR_FORMAT, "entry 'm/data.pkl', offset 6: opcode SETITEMS: sets items of a list"},
        {BYTES(START TP_W "K\0K\x01s."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 133: opcode SETITEM: sets items of a tensor"}, /* SETITEM on a tensor:
                                                                                       CVE-2026-24747 */
        {BYTES(START TP_W "Na."), ANX_ERR_FORMAT, "entry 'm/data.pkl', offset 130: opcode APPEND: appends to a tensor"},
        {BYTES(START TP_W "}b."), ANX_ERR_FORMAT, "entry 'm/data.pkl', offset 130: opcode BUILD: changes a tensor"},
        {BYTES(START "}}b."), ANX_ERR_FORMAT, "entry 'm/data.pkl', offset 4: opcode BUILD: changes a dict"},
        {BYTES(START TP_GLOBAL("collections", "OrderedDict") ")RNb."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 30: opcode BUILD: gives an OrderedDict None as its attributes"},
        {BYTES(START "}]Ns."), ANX_ERR_FORMAT, "entry 'm/data.pkl', offset 5: opcode SETITEM: a list as a key"},
        {BYTES(START "}}Ns."), ANX_ERR_FORMAT, "entry 'm/data.pkl', offset 5: opcode SETITEM: a dict as a key"},
    };
    CHECK_ALL(cases);
}

#define ID(items) START "(" items "tQ."

static void storages_are_checked(void) {
    static const hostile cases[] = {
        {BYTES(START "NQ."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 3: opcode BINPERSID: a persistent id other than ('storage', storage class, key, "
         "location, elements)"},
        {BYTES(START "K\0Q."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 4: opcode BINPERSID: a persistent id other than ('storage', storage class, key, "
         "location, elements)"},
        {BYTES(ID("")), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 4: opcode BINPERSID: a persistent id other than ('storage', storage class, key, "
         "location, elements)"},
        {BYTES(ID(TP_STR("\x06", "module") "NNNN")), ANX_ERR_UNSUPPORTED,
         "entry 'm/data.pkl', offset 19: opcode BINPERSID: a whole module was saved, with its source code; save "
         "model.state_dict() instead"},
        {BYTES(ID(TP_STR("\x07", "storage") "ctorch\nSize\n" TP_STR("\x01", "0") TP_STR("\x03", "cpu") "K\x06")),
         ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 44: opcode BINPERSID: a persistent id other than ('storage', storage class, key, "
         "location, elements)"},
        {BYTES(START TP_STORAGE("FloatStorage", "\x01", "0", "J\xff\xff\xff\xff") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 55: opcode BINPERSID: a storage of -1 elements"},
        {BYTES(START TP_STORAGE("FloatStorage", "\x01", "0", "K\x07") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 52: opcode BINPERSID: storage '0' of 7 float32 elements (4 bytes each) does not "
         "fit its record of 24 bytes"},
        {BYTES(START TP_STORAGE("FloatStorage", "\x01", "0", "K\x05") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 52: opcode BINPERSID: storage '0' of 5 float32 elements (4 bytes each) does not "
         "fit its record of 24 bytes"},
        {BYTES(START TP_STORAGE("DoubleStorage", "\x01", "0", "K\x06") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 53: opcode BINPERSID: storage '0' of 6 float64 elements (8 bytes each) does not "
         "fit its record of 24 bytes"},
        {BYTES(START TP_STORAGE("FloatStorage", "\x01", "0", "\x8a\x08\x06\0\0\0\0\0\0\x40") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 60: opcode BINPERSID: storage '0' of 4611686018427387910 float32 elements (4 "
         "bytes each) does not fit its record of 24 bytes"},
        {BYTES(START TP_STORAGE("FloatStorage", "\x01", "0", "\x8a\x09\0\0\0\0\0\0\0\0\x01") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 61: opcode BINPERSID: a persistent id other than ('storage', storage class, key, "
         "location, elements)"},
        {BYTES(START TP_STORAGE("FloatStorage", "\x01", "2", "K\x06") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 52: opcode BINPERSID: storage '2' has no record data/2 in the archive"},
        {BYTES(START TP_STORAGE("FloatStorage", "\x0b", "../data.pkl", "K\x06") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 62: opcode BINPERSID: storage '../data.pkl' has no record data/../data.pkl in the "
         "archive"},
        {BYTES(START TP_STORAGE("FloatStorage", "\0", "", "K\x06") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 51: opcode BINPERSID: storage '' has no record data/ in the archive"},
        {BYTES(START "(" TP_FLOATS TP_STORAGE("IntStorage", "\x01", "0", "K\x06") "t."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 102: opcode BINPERSID: storage '0' of 6 int32 elements was 6 float32 elements "
         "before"},
        {BYTES(START TP_STORAGE("ComplexFloatStorage", "\x01", "0", "K\x03") "."), ANX_ERR_UNSUPPORTED,
         "entry 'm/data.pkl', offset 15: opcode GLOBAL: names torch.ComplexFloatStorage: complex tensors are not "
         "supported"},
    };
    CHECK_ALL(cases);
}

static void tensors_are_checked(void) {
    static const hostile cases[] = {
        {BYTES(START TP_REBUILD ")R."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 36: opcode REDUCE: torch._utils._rebuild_tensor_v2: called with 0 arguments; 6 or "
         "7 were expected"},
        {BYTES(START TP_REBUILD "(NNNNNNtR."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 43: opcode REDUCE: torch._utils._rebuild_tensor_v2: its requires_grad is None; "
         "a bool was expected"},
        {BYTES(START TP_REBUILD "(NNNN\x89NtR."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 43: opcode REDUCE: torch._utils._rebuild_tensor_v2: its storage is None; a "
         "storage was expected"},
        {BYTES(START TP_TENSOR("N", "K\0", ")", ")") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 70: opcode REDUCE: torch._utils._rebuild_tensor_v2: its storage is None; a "
         "storage was expected"},
        {BYTES(START TP_TENSOR(TP_FLOATS, "N", ")", ")") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 119: opcode REDUCE: torch._utils._rebuild_tensor_v2: its offset is None; an int "
         "was expected"},
        {BYTES(START TP_TENSOR(TP_FLOATS, "J\xff\xff\xff\xff", ")", ")") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 123: opcode REDUCE: torch._utils._rebuild_tensor_v2: its offset is negative, -1"},
        {BYTES(START TP_TENSOR(TP_FLOATS, "K\x06", ")", ")") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 120: opcode REDUCE: torch._utils._rebuild_tensor_v2: a tensor of shape () with "
         "strides () at offset 6 reaches element 6 of storage '0', which has 6"},
        {BYTES(START TP_TENSOR(TP_FLOATS, "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", "K\x02\x85", "K\x01\x85") "."),
         ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 132: opcode REDUCE: torch._utils._rebuild_tensor_v2: a tensor of shape (2,) with "
         "strides (1,) overflows"},
        {BYTES(START TP_TENSOR(TP_FLOATS, "K\0", "K\x06", "K\x01\x85") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 123: opcode REDUCE: torch._utils._rebuild_tensor_v2: its size is an int; a tuple "
         "was expected"},
        {BYTES(START TP_TENSOR(TP_FLOATS, "K\0", "N\x85", "K\x01\x85") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 123: opcode REDUCE: torch._utils._rebuild_tensor_v2: its size is None; a tuple "
         "of int was expected"},
        {BYTES(START TP_TENSOR(TP_FLOATS, "K\0", "K\x07\x85", "K\x01\x85") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 124: opcode REDUCE: torch._utils._rebuild_tensor_v2: a tensor of shape (7,) with "
         "strides (1,) at offset 0 reaches element 6 of storage '0', which has 6"},
        {BYTES(START TP_TENSOR(TP_FLOATS, "K\x01", "K\x06\x85", "K\x01\x85") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 124: opcode REDUCE: torch._utils._rebuild_tensor_v2: a tensor of shape (6,) with "
         "strides (1,) at offset 1 reaches element 6 of storage '0', which has 6"},
        {BYTES(START TP_TENSOR(TP_FLOATS, "K\0", "K\x02K\x03\x86", "K\x04K\x01\x86") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 128: opcode REDUCE: torch._utils._rebuild_tensor_v2: a tensor of shape (2, 3) "
         "with strides (4, 1) at offset 0 reaches element 6 of storage '0', which has 6"},
        {BYTES(START TP_TENSOR(TP_FLOATS, "K\x05", "K\x02\x85", "J\xff\xff\xff\xff\x85") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 127: opcode REDUCE: torch._utils._rebuild_tensor_v2: its stride has a negative "
         "entry, -1"},
        {BYTES(START TP_TENSOR(TP_FLOATS, "K\0", "J\xff\xff\xff\xff\x85", "K\x01\x85") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 127: opcode REDUCE: torch._utils._rebuild_tensor_v2: its size has a negative "
         "entry, -1"},
        {BYTES(START TP_TENSOR(TP_FLOATS, "K\0", "K\x02K\x03\x86", "K\x01\x85") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 126: opcode REDUCE: torch._utils._rebuild_tensor_v2: a size of 2 dimensions with "
         "a stride of 1"},
        {BYTES(START TP_TENSOR(TP_FLOATS, "K\0", "J\xff\xff\xff\x7fJ\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x87",
                               "K\0K\0K\0\x87") "."),
         ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 141: opcode REDUCE: torch._utils._rebuild_tensor_v2: a tensor of shape "
         "(2147483647, 2147483647, 2147483647) with strides (0, 0, 0) overflows"},
        {BYTES(START TP_TENSOR(TP_FLOATS, "K\0", "K\x03\x85", "\x8a\x08\0\0\0\0\0\0\0\x60\x85") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 132: opcode REDUCE: torch._utils._rebuild_tensor_v2: a tensor of shape (3,) with "
         "strides (6917529027641081856,) overflows"},
        {BYTES(START TP_TENSOR(TP_FLOATS, "K\x07", "K\0\x85", "K\x01\x85") "."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 124: opcode REDUCE: torch._utils._rebuild_tensor_v2: a tensor of shape (0,) with "
         "strides (1,) at offset 7 reaches element 7 of storage '0', which has 6"},
        {BYTES(START TP_TENSOR(TP_FLOATS, "K\0", "(K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01t", ")") "."),
         ANX_ERR_LIMIT,
         "entry 'm/data.pkl', offset 139: opcode REDUCE: torch._utils._rebuild_tensor_v2: a tensor of 9 dimensions; at "
         "most 8 are taken"},
        {BYTES(START TP_GLOBAL("torch.nn.parameter", "Parameter") "N\x85R."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 34: opcode REDUCE: torch.nn.parameter.Parameter: its data is None; a tensor was "
         "expected"},
        {BYTES(START TP_GLOBAL("torch._utils", "_rebuild_parameter") "(" TP_W "NNtR."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 166: opcode REDUCE: torch._utils._rebuild_parameter: its requires_grad is None; "
         "a bool was expected"},
        {BYTES(START TP_GLOBAL("torch", "Size") "N\x85R."), ANX_ERR_FORMAT,
         "entry 'm/data.pkl', offset 16: opcode REDUCE: torch.Size: its argument is None; a tuple was expected"},
        {BYTES(START TP_REBUILD "(" TP_FLOATS "K\0))\x89N}" TP_STR("\x03", "neg") "\x88stR."), ANX_ERR_UNSUPPORTED,
         "entry 'm/data.pkl', offset 105: opcode REDUCE: torch._utils._rebuild_tensor_v2: a tensor stored with its neg "
         "bit set; save tensor.clone()"},
    };
    CHECK_ALL(cases);
}

static void what_is_not_a_state_dict_is_refused(void) {
    static const hostile cases[] = {
        {BYTES(START "N."), ANX_ERR_FORMAT, "the file holds None; a state_dict was expected"},
        {BYTES(START TP_W "."), ANX_ERR_FORMAT, "the file holds a tensor; a state_dict was expected"},
        {BYTES(START "}."), ANX_ERR_FORMAT, "the file is an empty dict; tensors were expected in it"},
        {BYTES(START "}K\x01" TP_W "s."), ANX_ERR_FORMAT, "the state_dict has an int as a key; names were expected"},
        {BYTES(START "}X\x03\0\0\0a\0b" TP_W "s."), ANX_ERR_FORMAT, "the key 'a\\x00b' holds a NUL"},
        {BYTES(START "}(" TP_STR("\x01", "w") TP_W TP_STR("\x01", "w") TP_W "u."), ANX_ERR_FORMAT,
         "the key 'w' occurs twice"},
        {BYTES(START "}(" TP_STR("\x08", "module.w") TP_W TP_STR("\x08", "module.w") TP_W "u."), ANX_ERR_FORMAT,
         "the key 'w' occurs twice"},
        {BYTES(START "}(" TP_STR("\x05", "epoch") "K\x03" TP_STR("\x05", "\x1b[31m") "Nu."), ANX_ERR_FORMAT,
         "no tensors among 'epoch' (int), '\\x1b[31m' (None); a state_dict was expected, by itself, or under "
         "'state_dict' or 'model'"},
        {BYTES(START "}" TP_STR("\x0a", "state_dict") "}s."), ANX_ERR_FORMAT,
         "its state_dict is an empty dict; tensors were expected in it"},
        {BYTES(START "}q\0" TP_STR("\x0a", "state_dict") "h\0s."), ANX_ERR_FORMAT,
         "no tensors among 'state_dict' (dict); a state_dict was expected, by itself, or under 'state_dict' or "
         "'model'"},
    };
    CHECK_ALL(cases);
}

/* ---- bombs: little in the file, much in memory or time ---------------------------------------------------- */

static anx_status run(const uint8_t *bytes, size_t n_bytes, size_t limit_bytes, anx_pickle_value **root) {
    anx_arena arena = {.limit_bytes = limit_bytes};
    anx_pickle_value *value = NULL;
    size_t used = 0;
    const anx_pickle_input input = {.bytes = bytes, .n_bytes = n_bytes};
    const anx_status status = anx_pickle_run(&input, &arena, &value, &used, &err);
    CU_ASSERT(limit_bytes == 0 || arena.used_bytes <= limit_bytes);
    /* Whatever the pickle, its values take a bounded multiple of its bytes. */
    CU_ASSERT(limit_bytes != 0 || arena.used_bytes <= n_bytes * 256 + 4096);
    if (root != NULL) *root = status == ANX_OK ? value : NULL;
    anx_arena_fini(&arena);
    return status;
}

static void nesting_costs_no_stack(void) {
    enum { n = 1000000 };
    static uint8_t bytes[n + 4];
    static const char opcodes[] = {'\x85', '(', ']'};
    memcpy(bytes, "\x80\x02N", 3);
    memset(bytes + 3, opcodes[0], n);
    bytes[n + 3] = '.';
    ANX_CHECK_OK(run(bytes, sizeof bytes, 0, NULL), &err);
    memset(bytes + 3, opcodes[1], n);
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, run(bytes, sizeof bytes, 0, NULL), &err);
    ANX_CHECK_MESSAGE("offset 1000003: opcode STOP: 1000000 MARKs are left on the stack", &err);
    memset(bytes + 3, opcodes[2], n);
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, run(bytes, sizeof bytes, 0, NULL), &err);
    ANX_CHECK_MESSAGE("offset 1000003: opcode STOP: 1000001 values on the stack, 1 is right", &err);
}

/* Lists of lists of the same lists: 2^200 leaves for whoever walks them, 200 values here. */
static void sharing_costs_nothing(void) {
    uint8_t bytes[4096] = {0x80, 2, ']', 'q', 0};
    size_t n = 5;
    for (int i = 1; i < 200; i++) {
        const uint8_t level[] = {']', 'q', (uint8_t)i, '(', 'h', (uint8_t)(i - 1), 'h', (uint8_t)(i - 1), 'e'};
        memcpy(bytes + n, level, sizeof level);
        n += sizeof level;
    }
    /* all but the last are taken off the stack again as items of a tuple */
    memcpy(bytes + n, "h\xc7.", 3);
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, run(bytes, n + 3, 0, NULL), &err);
    memmove(bytes + 3, bytes + 2, n);
    bytes[2] = '(';
    memcpy(bytes + n + 1, "t.", 2);
    anx_pickle_value *root = NULL;
    ANX_CHECK_OK(run(bytes, n + 3, 0, &root), &err);
}

/* The same long text encoded again and again: a few bytes of pickle for each copy. */
static void copies_are_limited(void) {
    enum { text = 100000, times = 20000 };
    static uint8_t bytes[text + times * 8 + 100];
    size_t n = 0;
    memcpy(bytes, "\x80\x02](c_codecs\nencode\nq\x01X", 23);
    n = 23;
    memcpy(bytes + n, &(uint32_t){text}, 4);
    memset(bytes + n + 4, 'x', text);
    n += 4 + text;
    memcpy(bytes + n, "q\x02X\x06\0\0\0latin1\x86q\x03R", 17);
    n += 17;
    for (int i = 0; i < times; i++, n += 5) memcpy(bytes + n, "h\x01h\x03R", 5);
    memcpy(bytes + n, "e.", 2);
    ANX_CHECK_STATUS(ANX_ERR_LIMIT, run(bytes, n + 2, 1 << 20, NULL), &err);
    ANX_CHECK_MESSAGE("what it describes needs more than 1048576 bytes of memory, the limit here", &err);
}

/* The memo grows with what was read before, never with an index alone. */
static void memo_indices_are_limited(void) {
    static uint8_t bytes[100000];
    enum { put = 60000, most = put + 5 + 255 };
    for (int over = 0; over < 2; over++) {
        memset(bytes, ')', sizeof bytes);
        memcpy(bytes, "\x80\x02", 2);
        bytes[put] = 'r';
        memcpy(bytes + put + 1, &(uint32_t){most + (uint32_t)over}, 4);
        ANX_CHECK_STATUS(ANX_ERR_FORMAT, run(bytes, sizeof bytes, 0, NULL), &err);
        ANX_CHECK_MESSAGE(over == 0 ? "offset 100000: the pickle ends without a STOP: truncated?"
                                    : "offset 60000: opcode LONG_BINPUT: memo index 60261 after 60005 bytes",
                          &err);
    }
}

static void an_oversized_pickle_is_not_read(void) {
    enum { n = (16 << 20) + 1 };
    uint8_t *bytes = calloc(1, n);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    test_zip zip;
    test_zip_checkpoint(&zip, bytes, n);
    anx_checkpoint *checkpoint = NULL;
    ANX_CHECK_STATUS(ANX_ERR_LIMIT, anx_checkpoint_open(test_zip_save(&zip, "large.pth"), NULL, &checkpoint, &err),
                     &err);
    ANX_CHECK_MESSAGE("entry 'm/data.pkl': a pickle of 16777217 bytes; at most 16777216 are taken", &err);
    test_zip_fini(&zip);
    free(bytes);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"code_is_not_run", code_is_not_run},
        {"bytes_that_are_no_pickle", bytes_that_are_no_pickle},
        {"operands_cut_short", operands_cut_short},
        {"the_stack_is_guarded", the_stack_is_guarded},
        {"the_memo_is_guarded", the_memo_is_guarded},
        {"values_are_of_the_right_kind", values_are_of_the_right_kind},
        {"storages_are_checked", storages_are_checked},
        {"tensors_are_checked", tensors_are_checked},
        {"what_is_not_a_state_dict_is_refused", what_is_not_a_state_dict_is_refused},
        {"nesting_costs_no_stack", nesting_costs_no_stack},
        {"sharing_costs_nothing", sharing_costs_nothing},
        {"copies_are_limited", copies_are_limited},
        {"memo_indices_are_limited", memo_indices_are_limited},
        {"an_oversized_pickle_is_not_read", an_oversized_pickle_is_not_read},
        {NULL, NULL},
    };
    return anx_test_main("hostile_pickle", tests, argc, argv);
}
