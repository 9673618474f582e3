#include "tests/fakecuda/core/call.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/fakecuda/core/memory.h"
#include "tests/fakecuda/core/options.h"
#include "tests/fakecuda/core/report.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned device_error[FAKE_MAX_DEVICES];
static _Thread_local int current_device;

/* ---- entry and exit ------------------------------------------------------------------------------------------- */

static int this_thread(void) {
    static _Thread_local int id;
    if (id == 0) id = (int)syscall(SYS_gettid);
    return id;
}

void fake_call_enter(fake_call *call, const char *name, const void *handle) {
    *call = (fake_call){.name = name, .handle = fake_object_at(handle)};
    if (call->handle != NULL) {
        int nobody = 0;
        if (!atomic_compare_exchange_strong(&call->handle->user, &nobody, this_thread()))
            fake_misuse(name, "%s is used by two threads at once", fake_name(handle));
    }
    pthread_mutex_lock(&lock);
}

void fake_call_leave(fake_call *call) {
    pthread_mutex_unlock(&lock);
    if (call->handle != NULL) atomic_store(&call->handle->user, 0);
}

/* ---- trace ----------------------------------------------------------------------------------------------------- */

bool fake_tracing;

void fake_trace(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vfprintf(fake_option.trace, format, args);
    va_end(args);
    fputc('\n', fake_option.trace);
}

/* ---- failures on request -------------------------------------------------------------------------------------- */

/* "17", "cudaMalloc:2" or "cudaMalloc:2=2"; several, separated by commas. */
typedef struct injection {
    char name[80]; /* "" : any function */
    unsigned long at, seen;
    bool with_status;
    unsigned status;
} injection;

static injection injections[16];
static int n_injections;

static void read_injection(const char *text, size_t length) {
    char word[160];
    if (length >= sizeof word || n_injections == (int)(sizeof injections / sizeof injections[0]))
        fake_misuse("environment", "FAKECUDA_FAIL is too long");
    memcpy(word, text, length);
    word[length] = '\0';
    injection *i = &injections[n_injections++];
    char *status = strchr(word, '='), *at = strchr(word, ':');
    if (status != NULL) {
        *status = '\0';
        i->with_status = true;
        i->status = (unsigned)strtoul(status + 1, NULL, 0);
    }
    if (at != NULL) {
        *at = '\0';
        snprintf(i->name, sizeof i->name, "%.79s", word);
    }
    i->at = strtoul(at != NULL ? at + 1 : word, NULL, 0);
    if (i->at == 0) fake_misuse("environment", "FAKECUDA_FAIL is not of the form 17, cudaMalloc:2 or cudaMalloc:2=2");
}

static void read_injections(void) {
    const char *list = getenv("FAKECUDA_FAIL");
    while (list != NULL && *list != '\0') {
        const size_t word = strcspn(list, ",");
        read_injection(list, word);
        list += word + (list[word] == ',');
    }
}

unsigned fake_injected(const char *name, unsigned typical) {
    unsigned status = 0;
    for (int k = 0; k < n_injections; k++) {
        injection *i = &injections[k];
        if (i->name[0] != '\0' && strcmp(i->name, name) != 0) continue;
        if (++i->seen == i->at) status = i->with_status ? i->status : typical;
    }
    return status;
}

void fake_call_start(void) {
    fake_tracing = fake_option.trace != NULL;
    read_injections();
}

/* ---- devices ---------------------------------------------------------------------------------------------------- */

int fake_current_device(void) {
    return current_device;
}

void fake_set_current_device(int device) {
    current_device = device;
}

unsigned fake_device_error(void) {
    return device_error[current_device];
}

void fake_break_device(unsigned error) {
    device_error[current_device] = error;
}

unsigned fake_count_error(int runtime_version) {
    enum { INSUFFICIENT_DRIVER = 35, NO_DEVICE = 100 };
    if (fake_option.count_error != 0) return fake_option.count_error;
    if (fake_option.driver != -1 && fake_option.driver / 1000 < runtime_version / 1000) return INSUFFICIENT_DRIVER;
    return fake_option.devices == 0 ? NO_DEVICE : 0;
}

float fake_scalar(const char *function, const void *p) {
    if (fake_is_device_address(p))
        fake_misuse(function, "alpha and beta are read from the host's memory, and %s is a device's", fake_name(p));
    float value;
    memcpy(&value, p, sizeof value);
    return value;
}
