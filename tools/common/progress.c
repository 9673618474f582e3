#include "tools/common/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "src/base/clock.h"

static bool on_screen;

bool anx_progress_is_shown(void) {
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) && term != NULL && strcmp(term, "dumb") != 0;
}

int anx_progress_width(void) {
    struct winsize size;
    return (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80) - 1;
}

void anx_progress_show(const char *format, ...) {
    static const double pause = 0.2;
    static double last;
    if (!anx_progress_is_shown() || anx_clock_seconds() - last < pause) return;
    last = anx_clock_seconds();
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    fprintf(stderr, "\r\033[K%.*s", anx_progress_width(), line); /* K: erase to the line's end */
    fflush(stderr);
    on_screen = true;
}

void anx_progress_clear(void) {
    if (!on_screen) return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    on_screen = false;
}
