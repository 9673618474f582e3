#include "tests/fakecuda/core/object.h"

#include <sys/mman.h>

#include "tests/fakecuda/core/call.h"
#include "tests/fakecuda/core/report.h"

static fake_object *objects;
static _Atomic size_t n_objects; /* read without the lock */
static size_t max_objects = (size_t)1 << 22;
static int n_of_kind[FAKE_KINDS];

const char *fake_kind_name(fake_kind kind) {
    static const char *const names[FAKE_KINDS] = {[FAKE_STREAM] = "stream",
                                                  [FAKE_EVENT] = "event",
                                                  [FAKE_BLAS] = "blas",
                                                  [FAKE_LT] = "lt",
                                                  [FAKE_MATMUL] = "matmul",
                                                  [FAKE_LAYOUT] = "layout",
                                                  [FAKE_PREFERENCE] = "preference",
                                                  [FAKE_DNN] = "dnn",
                                                  [FAKE_TENSOR] = "tensor",
                                                  [FAKE_FILTER] = "filter",
                                                  [FAKE_CONVOLUTION] = "convolution",
                                                  [FAKE_ACTIVATION] = "activation",
                                                  [FAKE_POOLING] = "pooling",
                                                  [FAKE_DROPOUT] = "dropout"};
    return names[kind];
}

void fake_objects_start(void) {
    for (;; max_objects /= 2) {
        void *p = mmap(NULL, max_objects * sizeof *objects, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p != MAP_FAILED) {
            objects = p;
            return;
        }
        if (max_objects < 4096) fake_misuse("start", "no address space for handles");
    }
}

fake_object *fake_object_create(fake_kind kind) {
    if (n_objects == max_objects) fake_misuse("start", "more than %zu handles and descriptors", max_objects);
    fake_object *object = &objects[n_objects++]; /* zero */
    object->kind = kind;
    object->id = ++n_of_kind[kind];
    object->device = fake_current_device();
    object->alive = true;
    return object;
}

fake_object *fake_object_at(const void *p) {
    const uintptr_t offset = (uintptr_t)p - (uintptr_t)objects;
    if (offset >= n_objects * sizeof *objects || offset % sizeof *objects != 0) return NULL;
    return &objects[offset / sizeof *objects];
}

fake_object *fake_object_get(const char *function, const void *p, fake_kind kind) {
    fake_object *object = fake_object_at(p);
    if (object == NULL) fake_misuse(function, "%s is given where a %s belongs", fake_name(p), fake_kind_name(kind));
    if (object->kind != kind)
        fake_misuse(function, "%s is given where a %s belongs", fake_name(p), fake_kind_name(kind));
    if (!object->alive) fake_misuse(function, "%s was destroyed before", fake_name(p));
    return object;
}

fake_object *fake_object_here(const char *function, const void *p, fake_kind kind) {
    fake_object *object = fake_object_get(function, p, kind);
    if (object->device != fake_current_device())
        fake_misuse(function, "%s belongs to device %d, and the current one is %d", fake_name(p), object->device,
                    fake_current_device());
    return object;
}

void fake_object_destroy(fake_object *object) {
    object->alive = false;
}

void fake_object_leaks(void (*each)(const fake_object *object)) {
    for (size_t i = 0; i < n_objects; i++)
        if (objects[i].alive && objects[i].id != 0) each(&objects[i]);
}
