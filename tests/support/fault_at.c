/*
 * Loaded before a command (LD_PRELOAD), lets something happen at one of its calls to the file system, which are
 * counted: every open, write, fsync, rename, ftruncate and unlink. So a test meets every moment of a run again and
 * again, where a signal sent by the clock meets one by chance.
 *
 * ANX_FAULT_AT: which call, from 1. ANX_FAULT: "kill", "term" or "int", that signal before the call; "full", a disk
 * that has no room from then on. ANX_FAULT_COUNT: a file into which the number of calls goes at the end.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* The project hides what is not said to be visible. */
#pragma GCC visibility push(default)
int fsync(int fd);
int rename(const char *from, const char *to);
int ftruncate(int fd, off_t length);
int unlink(const char *path);
ssize_t write(int fd, const void *bytes, size_t n);
int open(const char *path, int flags, ...);
#pragma GCC visibility pop

static atomic_long calls;
static long fault_at;
static int number; /* the signal's; 0: the disk is full */
static const char *count_path;

__attribute__((constructor)) static void begin(void) {
    const char *at = getenv("ANX_FAULT_AT"), *what = getenv("ANX_FAULT");
    count_path = getenv("ANX_FAULT_COUNT");
    fault_at = at != NULL ? atol(at) : 0;
    if (what == NULL) return;
    number = strcmp(what, "kill") == 0   ? SIGKILL
             : strcmp(what, "term") == 0 ? SIGTERM
             : strcmp(what, "int") == 0  ? SIGINT
                                         : 0;
}

__attribute__((destructor)) static void end(void) {
    FILE *f = count_path != NULL ? fopen(count_path, "w") : NULL;
    if (f == NULL) return;
    fprintf(f, "%ld\n", (long)calls);
    fclose(f);
}

/* Whether the disk is full. */
static int count(void) {
    const long n = atomic_fetch_add(&calls, 1) + 1;
    if (number != 0 && n == fault_at) kill(getpid(), number);
    return number == 0 && fault_at > 0 && n >= fault_at;
}

/* The function that this one stands before; a function's address does not fit a void pointer in standard C. */
#define NEXT(type, name) (*(type *)&(void *){dlsym(RTLD_NEXT, name)})

typedef int int_of_fd(int);
typedef int int_of_fd_length(int, off_t);
typedef int int_of_path(const char *);
typedef int int_of_paths(const char *, const char *);
typedef ssize_t size_of_bytes(int, const void *, size_t);
typedef int int_of_open(const char *, int, ...);

ssize_t write(int fd, const void *bytes, size_t n) {
    if (fd > STDERR_FILENO && count()) {
        errno = ENOSPC;
        return -1;
    }
    return NEXT(size_of_bytes *, "write")(fd, bytes, n);
}

int fsync(int fd) {
    count();
    return NEXT(int_of_fd *, "fsync")(fd);
}

int rename(const char *from, const char *to) {
    count();
    return NEXT(int_of_paths *, "rename")(from, to);
}

int ftruncate(int fd, off_t length) {
    count();
    return NEXT(int_of_fd_length *, "ftruncate")(fd, length);
}

int unlink(const char *path) {
    count();
    return NEXT(int_of_path *, "unlink")(path);
}

int open(const char *path, int flags, ...) {
    va_list ap;
    va_start(ap, flags);
    const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    count();
    return NEXT(int_of_open *, "open")(path, flags, mode);
}
