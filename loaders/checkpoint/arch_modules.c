#include "loaders/checkpoint/arch_modules.h"

#include <stdlib.h>
#include <string.h>

typedef struct listing {
    anx_arch_modules *modules;
    bool failed;
} listing;

static bool add(const char *name, void *user) {
    listing *l = user;
    anx_arch_modules *m = l->modules;
    char **names = reallocarray(m->names, m->n + 1, sizeof *names);
    if (names != NULL) {
        m->names = names;
        m->names[m->n] = strdup(name);
    }
    l->failed = names == NULL || m->names[m->n] == NULL;
    if (!l->failed) m->n++;
    return !l->failed;
}

anx_status anx_arch_modules_list(const anx_arch *arch, anx_arch_modules *out, anx_error *err) {
    listing l = {.modules = out};
    anx_arch_each_module(arch, add, &l);
    return l.failed ? anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for the modules' names") : ANX_OK;
}

void anx_arch_modules_fini(anx_arch_modules *modules) {
    for (size_t i = 0; i < modules->n; i++) free(modules->names[i]);
    free(modules->names);
    *modules = (anx_arch_modules)ANX_ARCH_MODULES_INIT;
}
