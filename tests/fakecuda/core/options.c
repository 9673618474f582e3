#include "tests/fakecuda/core/options.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fakecuda/core/report.h"

fake_options fake_option;

static const char *text_of(const char *variable) {
    const char *value = getenv(variable);
    return value != NULL && *value != '\0' ? value : NULL;
}

static unsigned long long number_of(const char *variable, unsigned long long otherwise) {
    const char *value = text_of(variable);
    if (value == NULL) return otherwise;
    char *end;
    const unsigned long long number = strtoull(value, &end, 0);
    if (end == value || *end != '\0') fake_misuse("environment", "%s=%s is not a number", variable, value);
    return number;
}

static bool is(const char *variable, const char *expected) {
    const char *value = text_of(variable);
    return value != NULL && strcmp(value, expected) == 0;
}

static void read_capability(void) {
    const char *value = text_of("FAKECUDA_CAPABILITY");
    fake_option.capability_major = 9;
    fake_option.capability_minor = 0;
    if (value != NULL && sscanf(value, "%d.%d", &fake_option.capability_major, &fake_option.capability_minor) != 2)
        fake_misuse("environment", "FAKECUDA_CAPABILITY=%s is not of the form 9.0", value);
}

static void read_async(void) {
    const char *value = text_of("FAKECUDA_ASYNC");
    if (value != NULL && sscanf(value, "%u=%u", &fake_option.async_op, &fake_option.async_error) != 2)
        fake_misuse("environment", "FAKECUDA_ASYNC=%s is not of the form 5=700", value);
}

static void open_trace(void) {
    const char *path = text_of("FAKECUDA_TRACE");
    fake_option.trace_descriptors = !is("FAKECUDA_TRACE_DESCRIPTORS", "0");
    if (path == NULL) return;
    fake_option.trace = fopen(path, "w");
    if (fake_option.trace == NULL) fake_misuse("environment", "FAKECUDA_TRACE=%s cannot be written", path);
    setvbuf(fake_option.trace, NULL, _IOLBF, 0);
}

static fake_reading reading_of(const char *name, fake_reading otherwise) {
    if (text_of(name) == NULL) return otherwise;
    if (is(name, "early")) return FAKE_EARLY;
    if (is(name, "late")) return FAKE_LATE;
    if (!is(name, "mixed")) fake_misuse("environment", "%s=%s is neither early, late nor mixed", name, text_of(name));
    return FAKE_MIXED;
}

void fake_options_read(void) {
    fake_option.devices = (int)number_of("FAKECUDA_DEVICES", 1);
    if (fake_option.devices > FAKE_MAX_DEVICES)
        fake_misuse("environment", "FAKECUDA_DEVICES=%d: there are %d at most", fake_option.devices, FAKE_MAX_DEVICES);
    fake_option.driver = text_of("FAKECUDA_DRIVER") != NULL ? (int)number_of("FAKECUDA_DRIVER", 0) : -1;
    fake_option.count_error = (unsigned)number_of("FAKECUDA_COUNT_ERROR", 0);
    fake_option.memory = (size_t)number_of("FAKECUDA_MEM", (unsigned long long)8 << 30);
    fake_option.pageable = reading_of("FAKECUDA_PAGEABLE", FAKE_EARLY);
    fake_option.compute = is("FAKECUDA_COMPUTE", "off") ? 0 : number_of("FAKECUDA_COMPUTE", ULLONG_MAX);
    fake_option.work_early = is("FAKECUDA_WORK", "early");
    fake_option.tf32_allowed = !is("NVIDIA_TF32_OVERRIDE", "0");
    fake_option.emulate = is("CUBLAS_EMULATE_SINGLE_PRECISION", "1");
    fake_option.alloc_fail = (unsigned)number_of("FAKECUDA_ALLOC_FAIL", 0);
    fake_option.refuse = text_of("FAKECUDA_REFUSE");
    read_capability();
    read_async();
    open_trace();
}

bool fake_refuses(const char *what) {
    const char *list = fake_option.refuse;
    const size_t length = strlen(what);
    while (list != NULL && *list != '\0') {
        const size_t word = strcspn(list, ",");
        if (word == length && strncmp(list, what, length) == 0) return true;
        list += word + (list[word] == ',');
    }
    return false;
}
