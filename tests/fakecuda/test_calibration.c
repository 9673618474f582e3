/* Calls that need no device: the double answers as NVIDIA's libraries do, wherever those are installed. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/backend/cuda/search.h"
#include "tests/fakecuda/calibration.h"
#include "tests/fakecuda/load.h"
#include "tests/support/anx_test.h"

static const char *const generations[] = {"13-9", "12-9", "12-8", "11-8"};
enum { N_GENERATIONS = sizeof generations / sizeof generations[0] };

static int cuda_of(int generation) {
    return atoi(generations[generation]);
}

static int cudnn_of(int generation) {
    return atoi(strchr(generations[generation], '-') + 1);
}

/* ---- NVIDIA's libraries --------------------------------------------------------------------------------- */

static void *opened[3];

static bool open_library(int i, const anx_cuda_places *places, const char *name, int version, const char *suffix) {
    char file[64], folder[1024];
    anx_cuda_library library;
    snprintf(file, sizeof file, "lib%s.so.%d%s", name, version, suffix);
    anx_cuda_find(places, file, &library);
    opened[i] = library.handle;
    if (library.handle != NULL && strcmp(name, "cudnn") == 0 && version == 9) { /* a part that it looks for by name */
        anx_cuda_folder_of(library.path, folder, sizeof folder);
        anx_cuda_open_in(folder, "libcudnn_graph.so.9", &library);
    }
    return opened[i] != NULL;
}

/* Each has functions of its own, or brings along the library that has them. */
static bool find(const char *name, bool optional, void *out) {
    void *address = NULL;
    for (int i = 0; i < 3 && address == NULL; i++) address = dlsym(opened[i], name);
    memcpy(out, &address, sizeof address);
    if (address == NULL && !optional) fprintf(stderr, "no function %s\n", name);
    return address != NULL || optional;
}

/* Those of a generation, from wherever the cuda device would find them; false where they are not there. */
static bool load_real(anx_cuda_api *api, int generation) {
    const int cuda = cuda_of(generation), cudnn = cudnn_of(generation);
    anx_cuda_places places;
    bool all = anx_cuda_places_init(&places) && open_library(0, &places, "cudart", cuda, cuda == 11 ? ".0" : "") &&
               open_library(1, &places, "cublas", cuda, "") && open_library(2, &places, "cudnn", cudnn, "");
    anx_cuda_places_fini(&places);
    if (!all) return false;
#define FIND(library, result, name, arguments) all = find(#name, false, &api->name) && all;
#define FIND_OPTIONAL(library, result, name, arguments, first, last)                                                   \
    all = find(#name, cudnn < first || cudnn > last, &api->name) && all;
    ANX_CUDA_TABLE(FIND)
    ANX_CUDA_TABLE_OPTIONAL(FIND_OPTIONAL)
    return all && api->cudnnGetCudartVersion() / 1000 == (size_t)cuda;
}

/* ---- asking --------------------------------------------------------------------------------------------- */

typedef struct answers {
    FILE *file; /* there until the end */
    int status; /* of the process that wrote them; ANX_TEST_SKIP: the libraries are not there */
} answers;

/* Of NVIDIA's libraries or the double's; in a child, for libraries of one name exclude each other. */
static answers ask(int generation, bool real) {
    answers a = {tmpfile(), 1};
    if (a.file == NULL) return a;
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        static anx_cuda_api api;
        char folder[4096];
        setenv("FAKECUDA_DRIVER", "0", 1);
        setenv("CUDA_VISIBLE_DEVICES", "", 1);
        snprintf(folder, sizeof folder, "%s/%s", FAKECUDA_FOLDER, generations[generation]);
        if (real ? !load_real(&api, generation) : !fake_load(&api, folder, cuda_of(generation), cudnn_of(generation)))
            _exit(ANX_TEST_SKIP);
        calibration_run(&api, a.file);
        fflush(a.file);
        _exit(0);
    }
    int status = 0;
    if (pid > 0 && waitpid(pid, &status, 0) == pid)
        a.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    rewind(a.file);
    return a;
}

static int generation;
static answers real;

static void test_the_double_answers_as_the_real_libraries(void) {
    char theirs[512], ours[512];
    const answers fake = ask(generation, false);
    CU_ASSERT_EQUAL(real.status, 0);
    CU_ASSERT_EQUAL(fake.status, 0);
    CU_ASSERT_FATAL(real.file != NULL && fake.file != NULL);
    int lines = 0, different = 0;
    while (fgets(theirs, sizeof theirs, real.file) != NULL) {
        lines++;
        if (fgets(ours, sizeof ours, fake.file) == NULL) ours[0] = '\0';
        if (strcmp(theirs, ours) == 0) continue;
        if (++different <= 20) fprintf(stderr, "the real one: %sthe double:   %s", theirs, ours);
    }
    CU_ASSERT_EQUAL(different, 0);
    CU_ASSERT(lines > 5000);
    CU_ASSERT(fgets(ours, sizeof ours, fake.file) == NULL);
    fclose(fake.file);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"the double answers as the real libraries", test_the_double_answers_as_the_real_libraries}, {NULL, NULL}};
    for (;; generation++) {
        if (generation == N_GENERATIONS)
            anx_test_skip("NVIDIA's libraries are not installed where the cuda device looks for them");
        real = ask(generation, true);
        if (real.status != ANX_TEST_SKIP) break;
        fclose(real.file);
    }
    printf("CUDA and cuDNN: %s\n", generations[generation]);
    const int rc = anx_test_main("fakecuda_calibration", tests, argc, argv);
    if (real.file != NULL) fclose(real.file);
    return rc;
}
