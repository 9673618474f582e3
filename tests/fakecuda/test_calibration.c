/* Calls that need no device: the double answers as NVIDIA's libraries do, wherever those are installed. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fakecuda/calibration.h"
#include "tests/fakecuda/load.h"
#include "tests/support/anx_test.h"

static const char *real_folder(void) {
    const char *folder = getenv("ANX_TEST_CUDA_PATH");
    return folder != NULL && *folder != '\0' ? folder : "/usr/local/cuda/lib64";
}

/* The generation that lies there, "13-9"; NULL: none that is doubled. */
static const char *generation_in(const char *folder) {
    static const char *const generations[] = {"13-9", "12-9", "12-8", "11-8"};
    for (size_t i = 0; i < sizeof generations / sizeof generations[0]; i++) {
        const int cuda = atoi(generations[i]), cudnn = atoi(strchr(generations[i], '-') + 1);
        char runtime[4096], dnn[4096];
        snprintf(runtime, sizeof runtime, "%s/libcudart.so.%d%s", folder, cuda, cuda == 11 ? ".0" : "");
        snprintf(dnn, sizeof dnn, "%s/libcudnn.so.%d", folder, cudnn);
        if (access(runtime, R_OK) == 0 && access(dnn, R_OK) == 0) return generations[i];
    }
    return NULL;
}

/* Writes the answers to a file that is there until the end; in a child, for libraries of one name exclude each other.
 */
static FILE *answers(const char *folder, const char *generation) {
    FILE *file = tmpfile();
    if (file == NULL) return NULL;
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        static anx_cuda_api api;
        setenv("FAKECUDA_DRIVER", "0", 1);
        setenv("CUDA_VISIBLE_DEVICES", "", 1);
        if (!fake_load(&api, folder, atoi(generation), atoi(strchr(generation, '-') + 1))) _exit(4);
        calibration_run(&api, file);
        fflush(file);
        _exit(0);
    }
    int status = 1;
    CU_ASSERT(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
    rewind(file);
    return file;
}

static void test_the_double_answers_as_the_real_libraries(void) {
    const char *generation = generation_in(real_folder());
    char folder[4096], theirs[512], ours[512];
    snprintf(folder, sizeof folder, "%s/%s", FAKECUDA_FOLDER, generation);
    FILE *real = answers(real_folder(), generation), *fake = answers(folder, generation);
    CU_ASSERT_FATAL(real != NULL && fake != NULL);
    int lines = 0, different = 0;
    while (fgets(theirs, sizeof theirs, real) != NULL) {
        lines++;
        if (fgets(ours, sizeof ours, fake) == NULL) ours[0] = '\0';
        if (strcmp(theirs, ours) == 0) continue;
        if (++different <= 20) fprintf(stderr, "the real one: %sthe double:   %s", theirs, ours);
    }
    CU_ASSERT_EQUAL(different, 0);
    CU_ASSERT(lines > 5000);
    CU_ASSERT(fgets(ours, sizeof ours, fake) == NULL);
    fclose(real);
    fclose(fake);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"the double answers as the real libraries", test_the_double_answers_as_the_real_libraries}, {NULL, NULL}};
    if (generation_in(real_folder()) == NULL)
        anx_test_skip("NVIDIA's libraries are not installed (ANX_TEST_CUDA_PATH names their folder)");
    return anx_test_main("fakecuda_calibration", tests, argc, argv);
}
