/* Backends in plugins: found, opened once, checked before they are used, and passed over by "auto" where they fail. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/backend/backends.h"
#include "src/backend/plugin.h"
#include "src/base/version.h"
#include "tests/support/anx_test.h"

static void look_in(const char *folder) {
    if (folder != NULL)
        setenv("ANX_PLUGIN_DIR", folder, 1);
    else
        unsetenv("ANX_PLUGIN_DIR");
}

static void refuse(const char *name, anx_status expected, const char *why) {
    anx_error err = ANX_ERROR_INIT;
    char file[64];
    CU_ASSERT_PTR_NULL(anx_plugin_load(name, &err));
    ANX_CHECK_STATUS(expected, err.status, &err);
    ANX_CHECK_MESSAGE(why, &err);
    snprintf(file, sizeof file, "/anx_backend_%s.so", name);
    ANX_CHECK_MESSAGE(file, &err);
    CU_ASSERT_PTR_NULL(anx_plugin_load(name, NULL));
}

static void a_plugin_is_opened_and_used(void) {
    look_in(ANX_SAMPLE_PLUGINS);
    anx_error err = ANX_ERROR_INIT;
    const anx_backend *backend = anx_plugin_load("sample", &err);
    if (backend == NULL) fprintf(stderr, "%s\n", err.message);
    CU_ASSERT_PTR_NOT_NULL_FATAL(backend);
    CU_ASSERT_STRING_EQUAL(backend->name, "sample");
    anx_device *device = NULL;
    ANX_CHECK_OK(anx_device_open_backend(backend, 0, NULL, &device, &err), &err);
    anx_device_info info;
    anx_device_describe(device, &info);
    CU_ASSERT_STRING_EQUAL(info.backend, "sample");
    anx_device_close(device);
}

static void wrong_plugins_are_refused_by_file_and_reason(void) {
    look_in(ANX_SAMPLE_PLUGINS);
    char versions[128];
    snprintf(versions, sizeof versions, "interface version 77, this program %u", ANX_BACKEND_ABI_VERSION);
    refuse("alien", ANX_ERR_UNSUPPORTED, versions);
    refuse("misnamed", ANX_ERR_FORMAT, "the backend 'another', not 'misnamed'");
    refuse("hollow", ANX_ERR_FORMAT, "gives no backend");
    refuse("mute", ANX_ERR_FORMAT, "undefined symbol: anx_backend_plugin");
    refuse("unbound", ANX_ERR_IO, "undefined symbol: nobody_has_this_function");
}

/* tmpdir/anx_backend_NAME.so, which is text. */
static void write_text_as(const char *name) {
    char file[64];
    snprintf(file, sizeof file, "anx_backend_%s.so", name);
    FILE *f = fopen(anx_test_path(file), "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fputs("no library\n", f);
    fclose(f);
}

static void a_file_that_is_no_library_is_refused(void) {
    look_in(anx_test_tmpdir());
    write_text_as("text");
    refuse("text", ANX_ERR_IO, "the plugin cannot be loaded: file too short");
}

static void a_plugin_that_failed_is_tried_anew(void) {
    look_in(anx_test_tmpdir());
    refuse("later", ANX_ERR_NOT_FOUND, "was not found");
    write_text_as("later");
    refuse("later", ANX_ERR_IO, "cannot be loaded");
}

static void the_folder_asked_for_is_the_only_one_looked_at(void) {
    look_in(anx_test_tmpdir());
    anx_error err = ANX_ERROR_INIT;
    CU_ASSERT_PTR_NULL(anx_plugin_load("missing", &err));
    CU_ASSERT_EQUAL(err.status, ANX_ERR_NOT_FOUND);
    char expected[4096];
    snprintf(expected, sizeof expected,
             "the plugin with the device 'missing' was not found; ANX_PLUGIN_DIR names a folder without it. Looked "
             "for:\n  %s/anx_backend_missing.so",
             anx_test_tmpdir());
    CU_ASSERT_STRING_EQUAL(err.message, expected);
}

static void every_place_looked_at_is_named(void) {
    const char *const unset[] = {NULL, ""};
    for (int i = 0; i < 2; i++) {
        look_in(unset[i]);
        anx_error err = ANX_ERROR_INIT;
        CU_ASSERT_PTR_NULL(anx_plugin_load("missing", &err));
        CU_ASSERT_EQUAL(err.status, ANX_ERR_NOT_FOUND);
        ANX_CHECK_MESSAGE("set ANX_PLUGIN_DIR to the folder that has it", &err);
        ANX_CHECK_MESSAGE("/tests/" ANX_PLUGINDIR_FROM_BINDIR "/anx_backend_missing.so", &err);
        ANX_CHECK_MESSAGE("\n  " ANX_INSTALL_PLUGINDIR "/anx_backend_missing.so", &err);
        ANX_CHECK_MESSAGE("\n  " ANX_BUILD_PLUGINDIR "/anx_backend_missing.so", &err);
    }
}

static void *load_cuda(void *unused) {
    (void)unused;
    const anx_backend *const backend = anx_backend_load(&anx_backend_cuda, NULL);
    return (void *)(uintptr_t)backend;
}

static void auto_passes_over_what_does_not_load(void) {
    look_in(anx_test_tmpdir());
    anx_error err = ANX_ERROR_INIT;
    for (int with_file = 0; with_file < 2; with_file++) {
        if (with_file) write_text_as("cuda");
        anx_device *device = NULL;
        anx_device_info info;
        ANX_CHECK_OK(anx_device_open("auto", NULL, &device, &err), &err);
        CU_ASSERT_EQUAL(err.status, ANX_OK);
        anx_device_describe(device, &info);
        CU_ASSERT_STRING_EQUAL(info.backend, "cpu");
        anx_device_close(device);
        device = NULL;
        ANX_CHECK_STATUS(with_file ? ANX_ERR_IO : ANX_ERR_NOT_FOUND, anx_device_open("cuda", NULL, &device, &err),
                         &err);
        ANX_CHECK_MESSAGE("anx_backend_cuda.so", &err);
        CU_ASSERT_PTR_NULL(device);
        err = (anx_error)ANX_ERROR_INIT;
    }
}

/* From here on the plugin is open. */
static void threads_that_load_at_once_get_the_same_table(void) {
    look_in(ANX_SAMPLE_PLUGINS);
    setenv("SAMPLE_TRACE", anx_test_path("opened"), 1);
    enum { n_threads = 16 };
    pthread_t threads[n_threads];
    for (int i = 0; i < n_threads; i++) CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, load_cuda, NULL), 0);
    for (int i = 0; i < n_threads; i++) {
        void *backend = NULL;
        pthread_join(threads[i], &backend);
        CU_ASSERT_PTR_NOT_NULL(backend);
        CU_ASSERT_PTR_EQUAL(backend, load_cuda(NULL));
    }
    unsetenv("SAMPLE_TRACE");
    struct stat opened;
    CU_ASSERT_EQUAL(stat(anx_test_path("opened"), &opened), 0);
    CU_ASSERT_EQUAL(opened.st_size, (off_t)strlen("cuda\n")); /* once */
    look_in(anx_test_tmpdir());
    CU_ASSERT_PTR_NOT_NULL(load_cuda(NULL)); /* kept open */
}

static void auto_takes_a_device_that_is_there(void) {
    look_in(ANX_SAMPLE_PLUGINS);
    const char *const expected[] = {"cpu", "cuda", "cuda"};
    for (int devices = 0; devices <= 2; devices++) {
        char text[16];
        snprintf(text, sizeof text, "%d", devices);
        setenv("SAMPLE_DEVICES", text, 1);
        anx_error err = ANX_ERROR_INIT;
        anx_device *device = NULL;
        anx_device_info info;
        ANX_CHECK_OK(anx_device_open("auto", NULL, &device, &err), &err);
        anx_device_describe(device, &info);
        CU_ASSERT_STRING_EQUAL(info.backend, expected[devices]);
        anx_device_close(device);
    }
    unsetenv("SAMPLE_DEVICES");
}

static void auto_says_which_device_it_cannot_use(void) {
    look_in(ANX_SAMPLE_PLUGINS);
    anx_error err = ANX_ERROR_INIT;
    anx_device *device = NULL;
    anx_device_info info;
    setenv("SAMPLE_FAULT", "open", 1);
    ANX_CHECK_OK(anx_device_open("auto", NULL, &device, &err), &err);
    anx_device_describe(device, &info);
    CU_ASSERT_STRING_EQUAL(info.backend, "cpu");
    CU_ASSERT_PTR_NOT_NULL(strstr(info.notes, "'cuda' has a device here that cannot be used: libcudnn.so.9 was not "
                                              "found. ('anx-parity devices' tells more)"));
    anx_device_close(device);
    setenv("SAMPLE_DEVICES", "0", 1);
    ANX_CHECK_OK(anx_device_open("auto", NULL, &device, &err), &err);
    anx_device_describe(device, &info);
    CU_ASSERT_TRUE(info.notes == NULL || strstr(info.notes, "cuda") == NULL);
    anx_device_close(device);
    unsetenv("SAMPLE_FAULT");
    unsetenv("SAMPLE_DEVICES");
}

static void a_plugins_devices_open_by_ordinal(void) {
    look_in(ANX_SAMPLE_PLUGINS);
    anx_error err = ANX_ERROR_INIT;
    anx_device *device = NULL;
    setenv("SAMPLE_DEVICES", "0", 1);
    ANX_CHECK_STATUS(ANX_ERR_DEVICE, anx_device_open("cuda", NULL, &device, &err), &err);
    ANX_CHECK_MESSAGE("the sample has no device, as was asked for", &err);
    setenv("SAMPLE_DEVICES", "2", 1);
    ANX_CHECK_STATUS(ANX_ERR_DEVICE, anx_device_open("cuda:1", NULL, &device, &err), &err);
    ANX_CHECK_MESSAGE("device 1 of the sample", &err); /* the ordinal has come through */
    ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND, anx_device_open("cuda:2", NULL, &device, &err), &err);
    ANX_CHECK_MESSAGE("there is no device cuda:2; the last one is cuda:1", &err);
    ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND, anx_device_open("cuda:x", NULL, &device, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND, anx_device_open("auto:1", NULL, &device, &err), &err);
    ANX_CHECK_MESSAGE("unknown device 'auto:1'; known are: auto, cuda, cpu, reference, exact", &err);
    CU_ASSERT_PTR_NULL(device);
    ANX_CHECK_OK(anx_device_open("cuda:0", NULL, &device, &err), &err);
    anx_device_close(device);
    unsetenv("SAMPLE_DEVICES");
}

static const anx_test tests[] = {
    {"a plugin is opened and used", a_plugin_is_opened_and_used},
    {"wrong plugins are refused by file and reason", wrong_plugins_are_refused_by_file_and_reason},
    {"a file that is no library is refused", a_file_that_is_no_library_is_refused},
    {"a plugin that failed is tried anew", a_plugin_that_failed_is_tried_anew},
    {"the folder asked for is the only one looked at", the_folder_asked_for_is_the_only_one_looked_at},
    {"every place looked at is named", every_place_looked_at_is_named},
    {"auto passes over what does not load", auto_passes_over_what_does_not_load},
    {"threads that load at once get the same table", threads_that_load_at_once_get_the_same_table},
    {"auto takes a device that is there", auto_takes_a_device_that_is_there},
    {"auto says which device it cannot use", auto_says_which_device_it_cannot_use},
    {"a plugin's devices open by ordinal", a_plugins_devices_open_by_ordinal},
    {NULL, NULL},
};

int main(int argc, char **argv) {
    return anx_test_main("plugin", tests, argc, argv);
}
