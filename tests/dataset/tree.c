#include "tests/dataset/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

anx_error err;

const char *tree_folder(const char *name) {
    static char ring[64][512];
    static unsigned next;
    char *path = ring[next++ % 64];
    snprintf(path, sizeof ring[0], "%s/%s", anx_test_tmpdir(), name);
    CU_ASSERT_EQUAL_FATAL(mkdir(path, 0777), 0);
    return path;
}

const char *tree_path(const char *root, const char *name) {
    static char ring[8][2048];
    static unsigned next;
    char *path = ring[next++ % 8];
    snprintf(path, sizeof ring[0], "%s/%s", root, name);
    return path;
}

static void make_folders(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        CU_ASSERT_FATAL(mkdir(path, 0777) == 0 || errno == EEXIST);
        *slash = '/';
    }
}

void tree_put(const char *root, const char *name, const void *bytes, size_t n_bytes) {
    char path[2048];
    snprintf(path, sizeof path, "%s/%s", root, name);
    make_folders(path);
    if (name[strlen(name) - 1] == '/') return;
    FILE *f = fopen(path, "wb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    CU_ASSERT_EQUAL_FATAL(fwrite(bytes, 1, n_bytes, f), n_bytes);
    CU_ASSERT_EQUAL_FATAL(fclose(f), 0);
}

void tree_text(const char *root, const char *name, const char *text) {
    tree_put(root, name, text, strlen(text));
}

void tree_images(const char *root, const char *names) {
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", names);
    for (char *rest = copy, *name; (name = strtok_r(rest, " ", &rest)) != NULL;) tree_text(root, name, name);
}

void tree_link(const char *root, const char *name, const char *target) {
    char path[2048];
    snprintf(path, sizeof path, "%s/%s", root, name);
    make_folders(path);
    CU_ASSERT_EQUAL_FATAL(symlink(target, path), 0);
}

static anx_class_names *names;

static void close_names(void) {
    anx_class_names_close(names);
}

const anx_class_names *five_classes(void) {
    if (names != NULL) return names;
    const char *path = anx_test_path("five.tsv");
    FILE *f = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    for (int i = 0; i < 5; i++) fprintf(f, "%d\tn%08d\tclass %d\n", i, 10 * (i + 1), i);
    CU_ASSERT_EQUAL_FATAL(fclose(f), 0);
    ANX_CHECK_OK(anx_class_names_open(path, &names, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(names);
    atexit(close_names);
    return names;
}

anx_dataset_options five(const char *labels, const char *synsets) {
    return (anx_dataset_options){.labels = labels, .synsets = synsets, .classes = five_classes(), .n_classes = 5};
}

anx_dataset_options unnamed(int64_t n_classes) {
    return (anx_dataset_options){.n_classes = n_classes};
}

/* Each readable file holds its name, or the end of it. */
static void check_bytes(const anx_dataset *dataset, int64_t i) {
    const anx_image_source source = anx_dataset_source(dataset);
    const anx_sample *sample = &dataset->samples[i];
    uint8_t *bytes = NULL;
    size_t n = 0;
    source.prefetch(source.context, i);
    if (sample->file_bytes == 0) return; /* a link that leads nowhere */
    ANX_CHECK_OK(source.read(source.context, i, &bytes, &n, &err), &err);
    CU_ASSERT_EQUAL(n, sample->file_bytes);
    const size_t whole = strlen(sample->name);
    CU_ASSERT(bytes != NULL && n <= whole && memcmp(sample->name + whole - n, bytes, n) == 0);
    free(bytes);
}

anx_dataset *tree_open(const char *path, anx_dataset_options options, const char *expected) {
    anx_dataset *dataset = NULL;
    ANX_CHECK_OK(anx_dataset_open(path, &options, &dataset, &err), &err);
    if (dataset == NULL) return NULL;
    char got[8192] = "";
    size_t used = 0;
    for (int64_t i = 0; i < dataset->n_samples && used < sizeof got; i++) {
        const anx_sample *s = &dataset->samples[i];
        used += (size_t)snprintf(got + used, sizeof got - used, "%lld %s\n", (long long)s->label, s->name);
        CU_ASSERT(strstr(anx_dataset_source(dataset).name(dataset->impl, i), s->name) != NULL);
        check_bytes(dataset, i);
    }
    if (strcmp(got, expected) != 0) printf("\nexpected\n%sgot\n%s", expected, got);
    CU_ASSERT_STRING_EQUAL(got, expected);
    return dataset;
}

void tree_check(const char *path, anx_dataset_options options, const char *layout, const char *expected) {
    anx_dataset *dataset = tree_open(path, options, expected);
    if (dataset == NULL) return;
    if (strcmp(dataset->layout, layout) != 0) printf("\nlayout '%s'\n", dataset->layout);
    CU_ASSERT_STRING_EQUAL(dataset->layout, layout);
    anx_dataset_close(dataset);
}

void tree_refused(const char *path, anx_dataset_options options, anx_status status, const char *message) {
    static char expected[20000], got[20000];
    anx_dataset *dataset = NULL;
    ANX_CHECK_STATUS(status, anx_dataset_open(path, &options, &dataset, &err), &err);
    CU_ASSERT_PTR_NULL(dataset);
    size_t used = 0;
    for (const char *p = message; *p != '\0'; p++)
        used +=
            (size_t)snprintf(expected + used, sizeof expected - used, *p == '$' ? "%s" : "%.1s", *p == '$' ? path : p);
    anx_error_format(&err, got, sizeof got);
    if (strcmp(got, expected) != 0) printf("\nexpected\n%s\ngot\n%s\n", expected, got);
    CU_ASSERT_STRING_EQUAL(got, expected);
}

void tree_note(const anx_dataset *dataset, const char *text) {
    bool found = false;
    for (int i = 0; i < dataset->n_notes; i++) found = found || strstr(dataset->notes[i], text) != NULL;
    if (!found)
        for (int i = 0; i < dataset->n_notes; i++) printf("\nnote: %s", dataset->notes[i]);
    CU_ASSERT(found);
}
