#include "src/backend/cuda/search.h"

#include <dlfcn.h>
#include <glob.h>
#include <link.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- places --------------------------------------------------------------------------------------------- */

static bool add(anx_cuda_places *places, const char *folder, size_t length) {
    if (places->n == ANX_CUDA_MAX_PLACES) return true;
    places->folder[places->n] = strndup(folder, length);
    return places->folder[places->n] != NULL && ++places->n;
}

static bool add_list(anx_cuda_places *places, const char *list) {
    for (const char *at = list; *at != '\0';) {
        const size_t length = strcspn(at, ":");
        if (length > 0 && !add(places, at, length)) return false;
        at += length + (at[length] == ':');
    }
    return true;
}

/* The folders of NVIDIA's packages in a Python environment: one for all in CUDA 13, one for each library before. */
static bool add_packages(anx_cuda_places *places, const char *prefix) {
    static const char *const packages[] = {"cu13", "cuda_runtime", "cublas", "cudnn"};
    bool good = true;
    for (size_t i = 0; i < sizeof packages / sizeof packages[0] && good; i++) {
        char pattern[4096];
        glob_t found;
        if (snprintf(pattern, sizeof pattern, "%s/lib/python3*/site-packages/nvidia/%s/lib", prefix, packages[i]) >=
                (int)sizeof pattern ||
            glob(pattern, 0, NULL, &found) != 0)
            continue;
        for (size_t k = 0; k < found.gl_pathc && good; k++)
            good = add(places, found.gl_pathv[k], strlen(found.gl_pathv[k]));
        globfree(&found);
    }
    return good;
}

static bool add_toolkit(anx_cuda_places *places, const char *prefix) {
    char folder[4096];
    if (snprintf(folder, sizeof folder, "%s/lib64", prefix) >= (int)sizeof folder) return true;
    return add(places, folder, strlen(folder));
}

static const char *setting(const char *name) {
    const char *value = getenv(name);
    return value != NULL && *value != '\0' ? value : NULL;
}

bool anx_cuda_places_init(anx_cuda_places *places) {
    *places = (anx_cuda_places){.n = 0};
    const char *named = setting("ANX_CUDA_PATH");
    places->named = named != NULL;
    if (named != NULL) return add_list(places, named);
    bool good = add(places, "", 0);
    static const char *const environments[] = {"VIRTUAL_ENV", "CONDA_PREFIX"};
    for (size_t i = 0; i < 2 && good; i++)
        if (setting(environments[i]) != NULL) good = add_packages(places, setting(environments[i]));
    static const char *const toolkits[] = {"CUDA_HOME", "CUDA_PATH"};
    for (size_t i = 0; i < 2 && good; i++)
        if (setting(toolkits[i]) != NULL) good = add_toolkit(places, setting(toolkits[i]));
    return good && add_toolkit(places, "/usr/local/cuda");
}

void anx_cuda_places_fini(anx_cuda_places *places) {
    for (int i = 0; i < places->n; i++) free(places->folder[i]);
    places->n = 0;
}

char *anx_cuda_places_format(const anx_cuda_places *places, char *buf, size_t size) {
    buf[0] = '\0';
    for (int i = 0; i < places->n; i++) {
        const size_t used = strlen(buf);
        snprintf(buf + used, size - used, "%s%s", i > 0 ? ", " : "",
                 places->folder[i][0] == '\0' ? "where the loader looks" : places->folder[i]);
    }
    return buf;
}

/* ---- opening -------------------------------------------------------------------------------------------- */

/* Where an open library lies. */
static void tell_path(void *handle, const char *name, char *path, size_t size) {
    struct link_map *map = NULL;
    const bool known = dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map->l_name != NULL && map->l_name[0] != '\0';
    snprintf(path, size, "%s", known ? map->l_name : name);
}

/* In English, as open_by_name reads it, whatever language the program around has chosen. */
static void tell_why(anx_cuda_library *out) {
    const locale_t english = newlocale(LC_MESSAGES_MASK, "C", (locale_t)0);
    const locale_t before = english != (locale_t)0 ? uselocale(english) : (locale_t)0;
    const char *why = dlerror();
    snprintf(out->why, sizeof out->why, "%s", why != NULL ? why : "unknown reason");
    if (english == (locale_t)0) return;
    uselocale(before);
    freelocale(english);
}

static void open_path(const char *path, anx_cuda_library *out) {
    out->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (out->handle == NULL) tell_why(out);
}

void anx_cuda_open_in(const char *folder, const char *name, anx_cuda_library *out) {
    *out = (anx_cuda_library){.handle = NULL};
    char path[sizeof out->path];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path || access(path, F_OK) != 0) return;
    memcpy(out->path, path, sizeof path);
    open_path(path, out);
}

static void open_by_name(const char *name, anx_cuda_library *out) {
    *out = (anx_cuda_library){.handle = NULL};
    open_path(name, out);
    if (out->handle != NULL)
        tell_path(out->handle, name, out->path, sizeof out->path);
    else if (strncmp(out->why, name, strlen(name)) != 0 || strstr(out->why, "No such file") == NULL)
        snprintf(out->path, sizeof out->path, "%s", name); /* one is there, and something is wrong with it */
}

void anx_cuda_find(const anx_cuda_places *places, const char *name, anx_cuda_library *out) {
    *out = (anx_cuda_library){.handle = NULL};
    for (int i = 0; i < places->n && out->path[0] == '\0'; i++) {
        if (places->folder[i][0] == '\0')
            open_by_name(name, out);
        else
            anx_cuda_open_in(places->folder[i], name, out);
    }
}

void anx_cuda_folder_of(const char *path, char *folder, size_t size) {
    const char *slash = strrchr(path, '/');
    const size_t length = slash == NULL ? 0 : (size_t)(slash - path);
    snprintf(folder, size, "%.*s", (int)length, path);
}
