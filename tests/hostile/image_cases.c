#include "tests/hostile/image_cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "loaders/image/preprocess.h"
#include "tests/support/anx_test.h"

static anx_error err;

static void check_message(const image_case *c) {
    static char expected[4096], got[20000];
    snprintf(expected, sizeof expected, "%s: %s", c->name, c->message);
    anx_error_format(&err, got, sizeof got);
    CU_ASSERT_STRING_EQUAL(got, expected);
    if (strcmp(got, expected) != 0) fprintf(stderr, "\n  expected %s\n  got      %s\n", expected, got);
}

static void write_case(const image_case *c, const bytes *b) {
    const char *folder = getenv("ANX_WRITE_IMAGES");
    if (folder == NULL) return;
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, c->name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(b->data, 1, b->n, file) != b->n || fclose(file) != 0) {
        perror(path);
        exit(2);
    }
}

void image_cases_check(const image_case *cases, size_t n) {
    static float input[3 * 224 * 224];
    for (size_t i = 0; i < n; i++) {
        const image_case *c = &cases[i];
        bytes b = {.data = NULL};
        c->make(&b);
        write_case(c, &b);
        /* In memory of exactly its size, so that a sanitizer sees reads beyond. */
        uint8_t *exact = malloc(b.n > 0 ? b.n : 1);
        if (exact == NULL) exit(2);
        if (b.n > 0) memcpy(exact, b.data, b.n);
        anx_preprocess_stages stages = ANX_PREPROCESS_STAGES_INIT;
        const anx_preprocess_profile *profile = &anx_preprocess_torchvision;
        ANX_CHECK_STATUS(c->status, anx_preprocess_staged(profile, exact, b.n, c->name, &stages, &err), &err);
        CU_ASSERT_PTR_NULL(stages.image.pixels);
        check_message(c);
        anx_preprocess_stages_fini(&stages);
        ANX_CHECK_STATUS(c->status, anx_preprocess_fast(profile, exact, b.n, c->name, input, &err), &err);
        check_message(c);
        /* An error object is not asked for by everyone. */
        CU_ASSERT_EQUAL(c->status, anx_preprocess_fast(profile, exact, b.n, c->name, input, NULL));
        free(exact);
        bytes_fini(&b);
    }
}

static long peak_kib(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

void image_cases_check_within(const image_case *cases, size_t n, long mib) {
    const long before = peak_kib();
    image_cases_check(cases, n);
    CU_ASSERT(peak_kib() - before < mib * 1024);
}
