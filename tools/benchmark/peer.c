#include "tools/benchmark/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/clock.h"
#include "tools/benchmark/series.h"

extern char **environ;

struct bench_peer {
    pid_t pid;
    FILE *to, *from;
    char version[256];
};

static anx_status read_line(bench_peer *peer, char *line, int size, anx_error *err) {
    if (fgets(line, size, peer->from) == NULL)
        return anx_error_set(err, ANX_ERR_IO, "PyTorch's process ended without an answer");
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, "error: ", 7) == 0) return anx_error_set(err, ANX_ERR_UNSUPPORTED, "PyTorch: %s", line + 7);
    return ANX_OK;
}

/* A name without a slash is looked for in PATH. posix_spawnp would take texts that it could change, and does not. */
static int spawn(pid_t *pid, const posix_spawn_file_actions_t *actions, const char *const argv[]) {
    return posix_spawnp(pid, argv[0], actions, NULL, (char *const *)argv, environ);
}

/* Starts argv with its stdin and stdout on pipes. */
static anx_status spawn_piped(const char *const argv[], bench_peer *peer, anx_error *err) {
    int down[2] = {-1, -1}, up[2] = {-1, -1};
    posix_spawn_file_actions_t actions;
    if (pipe2(down, O_CLOEXEC) != 0 || pipe2(up, O_CLOEXEC) != 0)
        return anx_error_set_errno(err, ANX_ERR_IO, errno, "cannot make a pipe");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, down[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, up[1], STDOUT_FILENO);
    const int rc = spawn(&peer->pid, &actions, argv);
    posix_spawn_file_actions_destroy(&actions);
    close(down[0]);
    close(up[1]);
    peer->to = fdopen(down[1], "w");
    peer->from = fdopen(up[0], "r");
    if (rc != 0) {
        peer->pid = 0;
        return anx_error_set_errno(err, rc == ENOENT ? ANX_ERR_NOT_FOUND : ANX_ERR_IO, rc, "cannot start %s", argv[0]);
    }
    if (peer->to == NULL || peer->from == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    return ANX_OK;
}

anx_status bench_peer_start(const char *python, const char *script, const char *weights, int threads,
                            const char *device, const char *math, bench_peer **out, anx_error *err) {
    bench_peer *peer = calloc(1, sizeof *peer);
    char count[16];
    snprintf(count, sizeof count, "%d", threads);
    const char *const argv[] = {python, script, "serve", weights, count, device, math, NULL};
    anx_status status = peer != NULL ? ANX_OK : anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    signal(SIGPIPE, SIG_IGN); /* a peer that ended is an error of the next write, not our end */
    if (status == ANX_OK) status = spawn_piped(argv, peer, err);
    if (status == ANX_OK) status = read_line(peer, peer->version, sizeof peer->version, err);
    if (status == ANX_OK)
        *out = peer;
    else
        bench_peer_stop(peer);
    return status;
}

void bench_peer_stop(bench_peer *peer) {
    if (peer == NULL) return;
    if (peer->to != NULL) fclose(peer->to);
    if (peer->from != NULL) fclose(peer->from);
    if (peer->pid > 0) waitpid(peer->pid, NULL, 0);
    free(peer);
}

const char *bench_peer_version(const bench_peer *peer) {
    return peer->version;
}

anx_status bench_peer_ask(bench_peer *peer, const char *request, double *seconds, anx_error *err) {
    char line[1024];
    if (fprintf(peer->to, "%s\n", request) < 0 || fflush(peer->to) != 0)
        return anx_error_set_errno(err, ANX_ERR_IO, errno, "cannot write to PyTorch's process");
    anx_status status = read_line(peer, line, sizeof line, err);
    if (status != ANX_OK) return status;
    char *end = NULL;
    const double value = strtod(line, &end);
    if (end == line || *end != '\0')
        return anx_error_set(err, ANX_ERR_FORMAT, "PyTorch's process answered '%s', not seconds", line);
    *seconds = value;
    return ANX_OK;
}

/* The last line that a process left there, which says best what was wrong; "" if none. */
static void read_last_line(int fd, char *line, size_t size) {
    char text[4096];
    const off_t end = lseek(fd, 0, SEEK_END), from = end > (off_t)sizeof text - 1 ? end - (off_t)sizeof text + 1 : 0;
    const ssize_t n = pread(fd, text, sizeof text - 1, from);
    size_t length = n > 0 ? (size_t)n : 0;
    while (length > 0 && text[length - 1] == '\n') length--;
    text[length] = '\0';
    const char *newline = strrchr(text, '\n');
    snprintf(line, size, "%.*s", (int)size - 1, newline != NULL ? newline + 1 : text);
}

static anx_status wait_for(pid_t pid, const char *const argv[], int max_status, int said, struct rusage *usage,
                           anx_error *err) {
    int status = 0;
    char line[512];
    while (wait4(pid, &status, 0, usage) < 0)
        if (errno != EINTR) return anx_error_set_errno(err, ANX_ERR_IO, errno, "cannot wait for %s", argv[0]);
    if (WIFEXITED(status) && WEXITSTATUS(status) <= max_status) return ANX_OK;
    read_last_line(said, line, sizeof line);
    return anx_error_set(err, ANX_ERR_UNSUPPORTED, "%s %s failed%s%s", argv[0], argv[1], line[0] != '\0' ? ": " : "",
                         line);
}

anx_status bench_run_process(const char *const argv[], int max_status, bench_process *out, anx_error *err) {
    posix_spawn_file_actions_t actions;
    const int said = memfd_create("stderr", MFD_CLOEXEC);
    if (said < 0) return anx_error_set_errno(err, ANX_ERR_IO, errno, "cannot make room for what %s says", argv[0]);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, said, STDERR_FILENO);
    pid_t pid = 0;
    struct rusage usage = {.ru_maxrss = 0};
    const double start = anx_clock_seconds();
    const int rc = spawn(&pid, &actions, argv);
    posix_spawn_file_actions_destroy(&actions);
    const anx_status status = rc != 0 ? anx_error_set_errno(err, ANX_ERR_IO, rc, "cannot start %s", argv[0])
                                      : wait_for(pid, argv, max_status, said, &usage, err);
    if (status == ANX_OK)
        *out = (bench_process){.seconds = anx_clock_seconds() - start, .max_rss_bytes = usage.ru_maxrss * 1024};
    close(said);
    return status;
}
