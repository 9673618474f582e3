/*
 * Status codes and the error object.
 *
 * Library code never prints, exits or aborts. A function that can fail returns an anx_status and, when the
 * caller handed in an error object (it may be NULL), describes in it what was wrong with *this* input, where,
 * and what to do about it. Output pointers are set on success alone.
 */
#ifndef ANX_SRC_BASE_STATUS_H
#define ANX_SRC_BASE_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Only ever grows; values are not reused. */
typedef enum anx_status {
    ANX_OK = 0,
    ANX_ERR_INVALID_ARGUMENT = 1, /* the caller's mistake: a bad option, a null pointer, an unknown name */
    ANX_ERR_OUT_OF_MEMORY = 2,
    ANX_ERR_IO = 3,          /* the operating system refused; anx_error.sys_errno says why */
    ANX_ERR_NOT_FOUND = 4,   /* a file, entry, tensor, device that is not there */
    ANX_ERR_EXISTS = 5,      /* would overwrite something and was not asked to */
    ANX_ERR_FORMAT = 6,      /* malformed file */
    ANX_ERR_UNSUPPORTED = 7, /* well-formed, but not handled; the message names what would handle it */
    ANX_ERR_MISMATCH = 8,    /* two things that must fit do not (tensor shapes against a model) */
    ANX_ERR_LIMIT = 9,       /* beyond a stated limit (decompression bombs) */
    ANX_ERR_DEVICE = 10,     /* a compute library failed; anx_error.native_code is its own code */
    ANX_ERR_INTERRUPTED = 11,
    ANX_ERR_INTERNAL = 12 /* a broken invariant of our own */
} anx_status;

/*
 * Filled by the first function that fails, refined by callers that know more (file, layer). Owned by the caller,
 * holds no pointers, needs no clean-up. Start from ANX_ERROR_INIT.
 */
typedef struct anx_error {
    anx_status status;
    int sys_errno;         /* errno, 0 if none */
    long long native_code; /* code of the library that failed (libzip, oneDNN, ...), 0 if none */
    bool has_offset;
    uint64_t offset;     /* byte offset in the file or, where entry is set, in that entry */
    char file[1024];     /* path as the user gave it, "" if none */
    char entry[256];     /* zip entry, tensor, JSON path inside the file, "" if none */
    char layer[96];      /* module name, e.g. "features.3", "" if none */
    char message[16384]; /* one or more lines, no trailing newline */
} anx_error;

#define ANX_ERROR_INIT                                                                                                 \
    { .status = ANX_OK }

/* "out of memory", "malformed file", ... Never NULL. */
const char *anx_status_name(anx_status status);

/* Clears *err and sets status and message (printf style). Returns status, so that `return anx_error_set(...)`. */
anx_status anx_error_set(anx_error *err, anx_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As anx_error_set, with errno's value and strerror's text appended as ": TEXT". */
anx_status anx_error_set_errno(anx_error *err, anx_status status, int sys_errno, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts text before the message (printf style), for what only the caller knows. Accepts err == NULL. */
void anx_error_prefix(anx_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Add where it happened; each keeps what an inner function already filled in. All accept err == NULL. */
void anx_error_in_file(anx_error *err, const char *path);
void anx_error_in_entry(anx_error *err, const char *entry);
void anx_error_in_layer(anx_error *err, const char *layer);
void anx_error_at_offset(anx_error *err, uint64_t offset);

/*
 * "FILE: entry 'E', offset N: layer 'L': MESSAGE", leaving out the parts that are not set. Truncates to size,
 * always terminates. Returns buf.
 */
char *anx_error_format(const anx_error *err, char *buf, size_t size);

#endif
