#include "src/backend/plugin.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/program_folder.h"
#include "src/base/version.h"

/* Those opened so far; they stay open, and on this list, as long as the program runs. */
typedef struct opened {
    const char *name;
    const anx_backend *backend;
    const struct opened *next;
} opened;

static const opened *all_opened;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The folder of the user's environment; NULL if there is none. */
static const char *environment_folder(void) {
    const char *folder = getenv("ANX_PLUGIN_DIR");
    return folder != NULL && *folder != '\0' ? folder : NULL;
}

static anx_status find_file(const char *name, char path[PATH_MAX], anx_error *err) {
    char relocated[PATH_MAX];
    const char *places[3];
    int n = 0;
    if (environment_folder() != NULL) {
        places[n++] = environment_folder();
    } else {
        if (anx_beside_program(ANX_PLUGINDIR_FROM_BINDIR, relocated, sizeof relocated)) places[n++] = relocated;
        places[n++] = ANX_INSTALL_PLUGINDIR;
        places[n++] = ANX_BUILD_PLUGINDIR;
    }
    char looked[sizeof err->message / 2] = "";
    for (int i = 0; i < n; i++) {
        const int length = snprintf(path, PATH_MAX, "%s/anx_backend_%s.so", places[i], name);
        if (length > 0 && length < PATH_MAX && access(path, F_OK) == 0) return ANX_OK;
        const size_t used = strlen(looked);
        snprintf(looked + used, sizeof looked - used, "\n  %s/anx_backend_%s.so", places[i], name);
    }
    return anx_error_set(err, ANX_ERR_NOT_FOUND, "the plugin with the device '%s' was not found; %s. Looked for:%s",
                         name,
                         environment_folder() != NULL ? "ANX_PLUGIN_DIR names a folder without it"
                                                      : "set ANX_PLUGIN_DIR to the folder that has it",
                         looked);
}

/* The loader's last complaint, without the path that the error object has anyway. */
static const char *loader_text(const char *path) {
    const char *text = dlerror();
    if (text == NULL) return "no reason is given";
    const size_t length = strlen(path);
    return strncmp(text, path, length) == 0 && strncmp(text + length, ": ", 2) == 0 ? text + length + 2 : text;
}

static anx_status check_table(const char *name, const anx_backend *backend, anx_error *err) {
    if (backend == NULL) return anx_error_set(err, ANX_ERR_FORMAT, "the plugin gives no backend");
    /* Nothing but the first member may be read before this: the table may have another layout. */
    if (backend->abi_version != ANX_BACKEND_ABI_VERSION)
        return anx_error_set(err, ANX_ERR_UNSUPPORTED,
                             "the plugin speaks interface version %u, this program %u; both must come from the same "
                             "build",
                             backend->abi_version, ANX_BACKEND_ABI_VERSION);
    if (strcmp(backend->name, name) == 0) return ANX_OK;
    return anx_error_set(err, ANX_ERR_FORMAT, "the plugin has the backend '%s', not '%s' as its file name says",
                         backend->name, name);
}

static anx_status open_file(const char *name, const char *path, const anx_backend **out, anx_error *err) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return anx_error_set(err, ANX_ERR_IO, "the plugin cannot be loaded: %s", loader_text(path));
    const anx_backend *(*table)(void);
    *(void **)&table = dlsym(library, "anx_backend_plugin");
    anx_status status =
        table != NULL ? ANX_OK : anx_error_set(err, ANX_ERR_FORMAT, "this is no plugin of anx: %s", loader_text(path));
    if (status == ANX_OK) status = check_table(name, table(), err);
    if (status == ANX_OK)
        *out = table();
    else
        dlclose(library);
    return status;
}

static const anx_backend *load_once(const char *name, anx_error *err) {
    for (const opened *o = all_opened; o != NULL; o = o->next)
        if (strcmp(o->name, name) == 0) return o->backend;
    char path[PATH_MAX];
    if (find_file(name, path, err) != ANX_OK) return NULL;
    opened *entry = malloc(sizeof *entry);
    if (entry == NULL) {
        anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
        return NULL;
    }
    if (open_file(name, path, &entry->backend, err) != ANX_OK) {
        anx_error_in_file(err, path);
        free(entry);
        return NULL;
    }
    entry->name = entry->backend->name;
    entry->next = all_opened;
    all_opened = entry;
    return entry->backend;
}

const anx_backend *anx_plugin_load(const char *name, anx_error *err) {
    pthread_mutex_lock(&lock);
    const anx_backend *const backend = load_once(name, err);
    pthread_mutex_unlock(&lock);
    return backend;
}
