#include "tools/common/hub_weights.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Python's expanduser for one's own folder. */
static const char *home_folder(void) {
    const char *home = getenv("HOME");
    if (home != NULL) return home;
    const struct passwd *me = getpwuid(getuid());
    return me != NULL ? me->pw_dir : "";
}

/* torch.hub's _get_torch_home: a variable counts where it is set, even to nothing; a leading ~ is one's home. */
static int format_path(char **path, const char *name) {
    const char *torch_home = getenv("TORCH_HOME"), *cache = getenv("XDG_CACHE_HOME");
    const char *root = torch_home != NULL ? torch_home : cache != NULL ? cache : "~/.cache";
    const bool from_home = root[0] == '~' && (root[1] == '/' || root[1] == '\0');
    return asprintf(path, "%s%s%s/hub/checkpoints/%s", from_home ? home_folder() : "", from_home ? root + 1 : root,
                    torch_home != NULL ? "" : "/torch", name);
}

anx_status anx_find_hub_weights(const char *name, char **out, anx_error *err) {
    char *path = NULL;
    if (format_path(&path, name) < 0) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    if (access(path, R_OK) == 0) {
        *out = path;
        return ANX_OK;
    }
    anx_status status = anx_error_set(err, ANX_ERR_NOT_FOUND, "torchvision's published weights are not at %s", path);
    free(path);
    return status;
}
