#include "tests/train/tool_io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static char **next_number;

void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
    exit(1);
}

void check(anx_status status, const anx_error *err) {
    if (status != ANX_OK) fail(err->message);
}

void take_from(char **numbers) {
    next_number = numbers;
}

bool has_more(void) {
    return *next_number != NULL;
}

const char *take_text(void) {
    if (!has_more()) fail("too few numbers");
    return *next_number++;
}

double take_double(void) {
    return strtod(take_text(), NULL);
}

int64_t take_int(void) {
    return strtoll(take_text(), NULL, 0);
}

anx_sgd_options *take_sgd_groups(int n_groups) {
    anx_sgd_options *groups = new_array((size_t)n_groups, sizeof *groups);
    anx_error err = ANX_ERROR_INIT;
    for (int i = 0; i < n_groups; i++) {
        groups[i].lr = take_double();
        groups[i].momentum = take_double();
        groups[i].dampening = take_double();
        groups[i].weight_decay = take_double();
        groups[i].nesterov = take_int() != 0;
        groups[i].maximize = take_int() != 0;
        check(anx_sgd_options_check(&groups[i], &err), &err);
    }
    return groups;
}

void *new_array(size_t n, size_t size) {
    void *p = calloc(n + 1, size);
    if (p == NULL) fail("out of memory");
    return p;
}

void read_array(void *out, size_t n, size_t size) {
    if (fread(out, size, n, stdin) != n) fail("standard input is too short");
}

void write_array(const void *in, size_t n, size_t size) {
    if (fwrite(in, size, n, stdout) != n) fail("standard output does not take it all");
}

double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
