#include "tests/fakecuda/core/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/fakecuda/core/memory.h"
#include "tests/fakecuda/core/object.h"

void fake_misuse(const char *function, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "fakecuda: %s: ", function);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    fflush(NULL);
    _exit(FAKE_EXIT_MISUSE);
}

const char *fake_name(const void *p) {
    static _Thread_local char ring[32][48];
    static _Thread_local unsigned next;
    if (p == NULL) return "null";
    const fake_object *object = fake_object_at(p);
    const fake_block *block = fake_block_below((uintptr_t)p);
    if (object == NULL && block == NULL) return "host";
    char *name = ring[next++ % 32];
    if (object != NULL)
        snprintf(name, sizeof ring[0], "%s%d", fake_kind_name(object->kind), object->id);
    else
        snprintf(name, sizeof ring[0], "%s%d+%zu", block->pinned ? "pin" : "dev", block->id,
                 (size_t)((uintptr_t)p - block->at));
    return name;
}
