/*
 * Runs a fuzz target over files, without a fuzzer: every file that the arguments name or that lies in a folder they
 * name. So the corpus is a test like any other, with any compiler.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "loaders/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static anx_error err;

static int run_file(const char *path) {
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    if (anx_read_file(path, &bytes, &n_bytes, &err) != ANX_OK) {
        fprintf(stderr, "%s: %s\n", path, err.message);
        return -1;
    }
    fprintf(stderr, "%s\n", path); /* the last one named is the one that failed */
    LLVMFuzzerTestOneInput(bytes, n_bytes);
    free(bytes);
    return 1;
}

/* The number of files run, or -1. */
static int run_folder(const char *folder) {
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        perror(folder);
        return -1;
    }
    int count = 0;
    for (const struct dirent *entry; count >= 0 && (entry = readdir(dir)) != NULL;) {
        char path[4096];
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        const int ran = run_file(path);
        count = ran < 0 ? -1 : count + ran;
    }
    closedir(dir);
    return count;
}

int main(int argc, char **argv) {
    int count = 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        const int ran = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode) ? run_folder(argv[i]) : run_file(argv[i]);
        if (ran < 0) return 2;
        count += ran;
    }
    printf("%d files\n", count);
    return count > 0 ? 0 : 2;
}
