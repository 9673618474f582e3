#include "loaders/checkpoint/pickle_writer.h"

#include <stdlib.h>
#include <string.h>

enum { items_in_batch = 1000, largest_short_tuple = 3 };

static void put_bytes(anx_pickle_writer *w, const void *data, size_t n) {
    if (w->failed) return;
    if (n > w->capacity - w->size) {
        size_t capacity = w->capacity == 0 ? 4096 : w->capacity * 2;
        if (capacity < w->size + n) capacity = w->size + n;
        uint8_t *bytes = realloc(w->bytes, capacity);
        if (bytes == NULL) {
            w->failed = true;
            return;
        }
        w->bytes = bytes;
        w->capacity = capacity;
    }
    memcpy(w->bytes + w->size, data, n);
    w->size += n;
}

static void put_byte(anx_pickle_writer *w, unsigned byte) {
    const uint8_t b = (uint8_t)byte;
    put_bytes(w, &b, 1);
}

/* The low n bytes, little-endian. */
static void put_le(anx_pickle_writer *w, uint64_t value, size_t n) {
    uint8_t bytes[8];
    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(value >> (8 * i));
    put_bytes(w, bytes, n);
}

void anx_pickle_init(anx_pickle_writer *w) {
    *w = (anx_pickle_writer){0};
    put_bytes(w, "\x80\x02", 2); /* PROTO 2 */
}

void anx_pickle_fini(anx_pickle_writer *w) {
    if (w == NULL) return;
    free(w->bytes);
    *w = (anx_pickle_writer){0};
}

void anx_pickle_put_op(anx_pickle_writer *w, anx_pickle_op op) {
    put_byte(w, op);
}

anx_pickle_memo anx_pickle_put_memo(anx_pickle_writer *w) {
    const uint32_t memo = w->memo++;
    put_byte(w, memo < 256 ? 'q' : 'r'); /* BINPUT, LONG_BINPUT */
    put_le(w, memo, memo < 256 ? 1 : 4);
    return memo;
}

void anx_pickle_get(anx_pickle_writer *w, anx_pickle_memo memo) {
    put_byte(w, memo < 256 ? 'h' : 'j'); /* BINGET, LONG_BINGET */
    put_le(w, (uint64_t)memo, memo < 256 ? 1 : 4);
}

void anx_pickle_put_int(anx_pickle_writer *w, int64_t value) {
    if (value >= 0 && value <= 0xff) {
        put_byte(w, 'K'); /* BININT1 */
        put_le(w, (uint64_t)value, 1);
    } else if (value >= 0 && value <= 0xffff) {
        put_byte(w, 'M'); /* BININT2 */
        put_le(w, (uint64_t)value, 2);
    } else if (value >= INT32_MIN && value <= INT32_MAX) {
        put_byte(w, 'J'); /* BININT */
        put_le(w, (uint64_t)value, 4);
    } else {
        size_t n = 8; /* the shortest two's complement */
        while (n > 1 && value >= -(INT64_C(1) << (8 * n - 9)) && value < INT64_C(1) << (8 * n - 9)) n--;
        put_byte(w, 0x8a); /* LONG1 */
        put_le(w, n, 1);
        put_le(w, (uint64_t)value, n);
    }
}

void anx_pickle_put_bool(anx_pickle_writer *w, bool value) {
    anx_pickle_put_op(w, value ? ANX_PICKLE_OP_NEWTRUE : ANX_PICKLE_OP_NEWFALSE);
}

void anx_pickle_put_big_int(anx_pickle_writer *w, const char *bytes, size_t n_bytes) {
    put_byte(w, 0x8a); /* LONG1 */
    put_le(w, n_bytes, 1);
    put_bytes(w, bytes, n_bytes);
}

void anx_pickle_put_float(anx_pickle_writer *w, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_byte(w, 'G'); /* BINFLOAT, the one big-endian number */
    put_le(w, __builtin_bswap64(bits), 8);
}

anx_pickle_memo anx_pickle_put_text(anx_pickle_writer *w, const char *text, size_t n_bytes) {
    put_byte(w, 'X'); /* BINUNICODE */
    put_le(w, n_bytes, 4);
    put_bytes(w, text, n_bytes);
    return anx_pickle_put_memo(w);
}

anx_pickle_memo anx_pickle_put_string(anx_pickle_writer *w, const char *text) {
    return anx_pickle_put_text(w, text, strlen(text));
}

void anx_pickle_share_string(anx_pickle_writer *w, const char *text, anx_pickle_memo *memo) {
    if (*memo == ANX_PICKLE_NO_MEMO)
        *memo = anx_pickle_put_string(w, text);
    else
        anx_pickle_get(w, *memo);
}

void anx_pickle_share_global(anx_pickle_writer *w, const char *module, const char *name, anx_pickle_memo *memo) {
    if (*memo != ANX_PICKLE_NO_MEMO) {
        anx_pickle_get(w, *memo);
        return;
    }
    put_byte(w, 'c'); /* GLOBAL */
    put_bytes(w, module, strlen(module));
    put_byte(w, '\n');
    put_bytes(w, name, strlen(name));
    put_byte(w, '\n');
    *memo = anx_pickle_put_memo(w);
}

void anx_pickle_open_tuple(anx_pickle_writer *w, int n) {
    if (n > largest_short_tuple) anx_pickle_put_op(w, ANX_PICKLE_OP_MARK);
}

void anx_pickle_close_tuple(anx_pickle_writer *w, int n) {
    static const anx_pickle_op closing[largest_short_tuple + 1] = {ANX_PICKLE_OP_EMPTY_TUPLE, ANX_PICKLE_OP_TUPLE1,
                                                                   ANX_PICKLE_OP_TUPLE2, ANX_PICKLE_OP_TUPLE3};
    anx_pickle_put_op(w, n > largest_short_tuple ? ANX_PICKLE_OP_TUPLE : closing[n]);
    if (n > 0) anx_pickle_put_memo(w);
}

void anx_pickle_put_int_tuple(anx_pickle_writer *w, int n, const int64_t *values) {
    anx_pickle_open_tuple(w, n);
    for (int i = 0; i < n; i++) anx_pickle_put_int(w, values[i]);
    anx_pickle_close_tuple(w, n);
}

void anx_pickle_item(anx_pickle_writer *w, size_t i, size_t n) {
    const bool starts = i % items_in_batch == 0;
    if (starts && i > 0) anx_pickle_put_op(w, ANX_PICKLE_OP_SETITEMS); /* a full batch lies behind */
    if (i == n) {
        if (!starts) anx_pickle_put_op(w, n % items_in_batch == 1 ? ANX_PICKLE_OP_SETITEM : ANX_PICKLE_OP_SETITEMS);
    } else if (starts && n - i > 1) {
        anx_pickle_put_op(w, ANX_PICKLE_OP_MARK);
    }
}

/* _pickle.c, batch_list_exact and batch_dict_exact: a lone item has no MARK. */
static void exact_item(anx_pickle_writer *w, bool is_dict, size_t i, size_t n) {
    const anx_pickle_op many = is_dict ? ANX_PICKLE_OP_SETITEMS : ANX_PICKLE_OP_APPENDS;
    if (n == 0) return;
    if (n == 1) {
        if (i == 1) anx_pickle_put_op(w, is_dict ? ANX_PICKLE_OP_SETITEM : ANX_PICKLE_OP_APPEND);
        return;
    }
    const bool starts = i % items_in_batch == 0;
    if (i > 0 && (starts || i == n)) anx_pickle_put_op(w, many);
    if (starts && (i < n || is_dict)) anx_pickle_put_op(w, ANX_PICKLE_OP_MARK);
    if (starts && i == n && is_dict) anx_pickle_put_op(w, many);
}

void anx_pickle_dict_item(anx_pickle_writer *w, size_t i, size_t n) {
    exact_item(w, true, i, n);
}

void anx_pickle_list_item(anx_pickle_writer *w, size_t i, size_t n) {
    exact_item(w, false, i, n);
}
