#include "tools/common/data_folder.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/program_folder.h"
#include "src/base/version.h"

enum { max_places = 3 };

/* The folder of the user's environment; NULL if there is none. */
static const char *environment_folder(void) {
    const char *folder = getenv("ANX_DATA_DIR");
    return folder != NULL && *folder != '\0' ? folder : NULL;
}

bool anx_data_is_named(const char *folder) {
    return folder != NULL || environment_folder() != NULL;
}

anx_status anx_find_data(const char *folder, const char *name, char **out, anx_error *err) {
    char relocated[PATH_MAX];
    const char *places[max_places];
    const bool from_environment = folder == NULL && environment_folder() != NULL;
    int n = 0;
    if (from_environment) folder = environment_folder();
    if (folder != NULL) {
        places[n++] = folder;
    } else {
        if (anx_beside_program(ANX_DATADIR_FROM_BINDIR, relocated, sizeof relocated)) places[n++] = relocated;
        places[n++] = ANX_INSTALL_DATADIR;
        places[n++] = ANX_SOURCE_DATADIR;
    }
    char looked[sizeof err->message / 2] = "";
    for (int i = 0; i < n; i++) {
        char *path = NULL;
        if (asprintf(&path, "%s/%s", places[i], name) < 0)
            return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
        if (access(path, R_OK) == 0) {
            *out = path;
            return ANX_OK;
        }
        const size_t used = strlen(looked);
        snprintf(looked + used, sizeof looked - used, "\n  %s", path);
        free(path);
    }
    if (folder != NULL)
        return anx_error_set(err, ANX_ERR_NOT_FOUND,
                             "%s names a folder without %s, which comes with anx. Looked for:%s",
                             from_environment ? "ANX_DATA_DIR" : "--data-dir", name, looked);
    return anx_error_set(err, ANX_ERR_NOT_FOUND,
                         "%s, which comes with anx, was not found; set ANX_DATA_DIR to the folder that has it. Looked "
                         "for:%s",
                         name, looked);
}

anx_status anx_load_class_names(const char *folder, anx_class_names **out, anx_error *err) {
    char *path = NULL;
    anx_status status = anx_find_data(folder, "fixtures/imagenet_classes.tsv", &path, err);
    if (status == ANX_OK) status = anx_class_names_open(path, out, err);
    free(path);
    return status == ANX_ERR_NOT_FOUND ? ANX_OK : status;
}
