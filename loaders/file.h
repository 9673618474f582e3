/*
 * Files: read into memory, mapped, and written atomically.
 */
#ifndef ANX_LOADERS_FILE_H
#define ANX_LOADERS_FILE_H

#include "src/base/status.h"

/*
 * A whole regular file into memory (malloc'd, *n_bytes long), refusing more than 1 GiB. The caller frees it.
 * Errors: NOT_FOUND, IO, INVALID_ARGUMENT (not a regular file), LIMIT, OUT_OF_MEMORY.
 */
anx_status anx_read_file(const char *path, uint8_t **bytes, size_t *n_bytes, anx_error *err);

/*
 * A regular file mapped for reading. `bytes` is page-aligned, NULL for an empty file. Bytes are read from the disk
 * when touched; where another process truncates the file meanwhile, or its disk fails, that access raises SIGBUS, as
 * for any mapping: a program's handler asks anx_file_map_path which file it was (tools/common/signals.c).
 */
typedef struct anx_file_map {
    const uint8_t *bytes;
    size_t n_bytes;
} anx_file_map;

#define ANX_FILE_MAP_INIT                                                                                              \
    { .bytes = NULL, .n_bytes = 0 }

/* *out must be ..._INIT; release with anx_file_map_fini. Errors: NOT_FOUND, IO, INVALID_ARGUMENT. */
anx_status anx_file_map_init(anx_file_map *out, const char *path, anx_error *err);
void anx_file_map_fini(anx_file_map *map);
/*
 * The path of the mapped file that an address belongs to; NULL where it is in none that is known (the first 64 mapped
 * at a time are). May be called from a signal handler.
 */
const char *anx_file_map_path(const void *address);
/* Lets the system start reading all of it from the disk, ahead of its use. */
void anx_file_map_prefetch(const anx_file_map *map);

/*
 * A file being written: a temporary file beside the target, which takes the target's name in one step when it is
 * committed, complete and on the disk. Until then the target is untouched; a writer destroyed without a commit leaves
 * nothing behind. Permissions are what the umask leaves of 0666. A target that is a link to a file replaces that
 * file and keeps the link. A target that is a device or pipe (/dev/stdout) is written directly.
 */
typedef struct anx_file_writer anx_file_writer;

/*
 * Errors: EXISTS where the target is there and `force` is false, INVALID_ARGUMENT (an empty name, a folder), NOT_FOUND
 * (the folder to write into), IO, OUT_OF_MEMORY. The caller destroys *out.
 */
anx_status anx_file_writer_create(const char *path, bool force, anx_file_writer **out, anx_error *err);
/* The same onto standard output, whatever it is, as the bytes come: nothing is atomic there. Messages say "standard
   output". Errors: IO, OUT_OF_MEMORY. */
anx_status anx_file_writer_stdout(anx_file_writer **out, anx_error *err);
/* Appends. Errors: IO (errno in err, e.g. ENOSPC), INTERRUPTED (src/base/interrupt.h, held while a writer lives); the
   writer can then only be destroyed. */
anx_status anx_file_writer_write(anx_file_writer *writer, const void *data, size_t n_bytes, anx_error *err);
/*
 * So many bytes are going to be appended: fails at once where the file system says that it has less room than that,
 * instead of filling it first. Errors: IO.
 */
anx_status anx_file_writer_expect(anx_file_writer *writer, uint64_t n_bytes, anx_error *err);
/* Bytes appended so far: where the next write lands. */
uint64_t anx_file_writer_offset(const anx_file_writer *writer);
/*
 * fsync, rename to the target, fsync of the folder. Errors: IO, EXISTS (the target appeared meanwhile and `force` is
 * false). Call it once, then destroy the writer.
 */
anx_status anx_file_writer_commit(anx_file_writer *writer, anx_error *err);
void anx_file_writer_destroy(anx_file_writer *writer);
/* All of a small file in one call, replacing what is there. Errors: those of create, write and commit. */
anx_status anx_file_replace(const char *path, const void *data, size_t n_bytes, anx_error *err);
/*
 * Removes the temporary files of all writers (the first 64 at a time), for a process that is about to end without
 * destroying them. May be called from a signal handler.
 */
void anx_file_writers_abandon(void);

/* Is it one file that two paths name, by whatever links? Of two that are not there: would it become one? */
bool anx_file_is_same(const char *a, const char *b);
/* Does standard output go into the file that a path names? */
bool anx_file_is_standard_output(const char *path);

#endif
