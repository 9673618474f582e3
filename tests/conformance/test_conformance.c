/*
 * test_conformance DEVICE [--math MODE] [--operands ROUNDING] [FILTER...]: one suite for every backend. A backend
 * without a usable device here skips. MODE: what it may compute with. ROUNDING (tests/support/rounded_device.h): its
 * operands are rounded so first, as a device of that math would; the suite is then tried itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/harness.h"
#include "tests/conformance/suites.h"
#include "tests/support/rounded_device.h"

/* ANX_CONFORMANCE_DEVICES lists the backends for which CTest runs this program, separated by spaces. */
static void test_all_backends_are_run(void) {
    char text[256];
    for (int i = 0; anx_backend_at(i) != NULL; i++) {
        const char *name = anx_backend_at(i)->name, *at = strstr(" " ANX_CONFORMANCE_DEVICES " ", name);
        const bool listed = at != NULL && at[-1] == ' ' && at[strlen(name)] == ' ';
        snprintf(text, sizeof text, "CTest runs no conformance suite for '%s'", name);
        CU_assertImplementation(listed, __LINE__, text, __FILE__, "", CU_FALSE);
    }
}

static const anx_test registry_tests[] = {
    {"every_backend_built_in_has_a_run_of_this_suite", test_all_backends_are_run},
    {NULL, NULL},
};

static int gather(const anx_test *from, anx_test *to, int count) {
    while (from->name != NULL) to[count++] = *from++;
    return count;
}

/* Takes the options from behind the device's name: how many words, -1 where they are wrong. */
static int take_options(int argc, char **argv) {
    int at = 2;
    for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2) {
        const bool math = strcmp(argv[at], "--math") == 0, operands = strcmp(argv[at], "--operands") == 0;
        if (math && anx_math_mode_find(argv[at + 1], &conformance_math)) continue;
        if (operands && (conformance_operands = rounded_find(argv[at + 1])) != NULL) continue;
        return -1;
    }
    return at - 2;
}

int main(int argc, char **argv) {
    const int options = take_options(argc, argv);
    if (argc < 2 || options < 0) {
        fprintf(stderr, "usage: %s DEVICE [--math MODE] [--operands ROUNDING] [FILTER...]\n", argv[0]);
        return 64;
    }
    conformance_device = argv[1];
    if (anx_backend_find(conformance_device) == NULL) {
        fprintf(stderr, "%s: no backend is named so\n", conformance_device);
        return 64;
    }
    static anx_error err;
    anx_device *device = NULL;
    if (anx_device_open(conformance_device, NULL, &device, &err) != ANX_OK) {
        fprintf(stderr, "%s\n", err.message);
        const bool in_plugin = anx_backend_find(conformance_device)->load != NULL;
        if (err.status == ANX_ERR_DEVICE || (in_plugin && err.status == ANX_ERR_NOT_FOUND))
            anx_test_skip("no usable device");
        return 1;
    }
    anx_device_close(device);
    static anx_test tests[64];
    int count = gather(device_tests, tests, 0);
    count = gather(arithmetic_tests, tests, count);
    count = gather(contract_tests, tests, count);
    if (conformance_backend()->plan_run_backward != NULL) {
        count = gather(gradient_tests, tests, count);
        count = gather(training_tests, tests, count);
    }
    gather(registry_tests, tests, count);
    return anx_test_main(conformance_device, tests, argc - 1 - options, argv + 1 + options);
}
