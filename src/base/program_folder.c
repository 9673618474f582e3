#include "src/base/program_folder.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool anx_beside_program(const char *relative, char *folder, size_t size) {
    char self[PATH_MAX];
    folder[0] = '\0';
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0) return false;
    self[n] = '\0';
    char *slash = strrchr(self, '/');
    if (slash == NULL) return false;
    *slash = '\0';
    const int length = snprintf(folder, size, "%s/%s", self, relative);
    if (length > 0 && (size_t)length < size) return true;
    folder[0] = '\0';
    return false;
}
