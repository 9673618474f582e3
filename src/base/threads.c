#include "src/base/threads.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int affinity_cpus(void) {
    /* Machines may have more CPUs than a cpu_set_t holds; the kernel then asks for a larger mask. */
    for (int cpus = 1024; cpus <= 1 << 20; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)cpus);
        if (set == NULL) break;
        const size_t bytes = CPU_ALLOC_SIZE((size_t)cpus);
        const int rc = sched_getaffinity(0, bytes, set);
        const int count = rc == 0 ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (count > 0) return count;
    }
    return 1;
}

static bool read_line(const char *path, char *line, int size) {
    FILE *f = fopen(path, "re");
    if (f == NULL) return false;
    const bool good = fgets(line, size, f) != NULL;
    fclose(f);
    if (good) line[strcspn(line, "\n")] = '\0';
    return good;
}

static int cpus_of_quota(long long quota, long long period) {
    if (quota <= 0 || period <= 0) return 0;
    const long long cpus = (quota + period - 1) / period;
    return cpus > 1 << 20 ? 1 << 20 : (int)cpus;
}

/* The tightest quota on the way from this process's cgroup up to the root; 0 for none. */
static int tightest(int limit, const char *root, char *group, bool v2) {
    for (;;) {
        char path[1280], line[128];
        int cpus = 0;
        long long quota = 0, period = 0;
        if (v2) {
            snprintf(path, sizeof path, "%s%s/cpu.max", root, group);
            if (read_line(path, line, sizeof line) && sscanf(line, "%lld %lld", &quota, &period) == 2)
                cpus = cpus_of_quota(quota, period);
        } else {
            snprintf(path, sizeof path, "%s%s/cpu.cfs_quota_us", root, group);
            if (read_line(path, line, sizeof line)) quota = atoll(line);
            snprintf(path, sizeof path, "%s%s/cpu.cfs_period_us", root, group);
            if (read_line(path, line, sizeof line)) period = atoll(line);
            cpus = cpus_of_quota(quota, period);
        }
        if (cpus > 0 && (limit == 0 || cpus < limit)) limit = cpus;
        char *slash = strrchr(group, '/');
        if (slash == NULL) return limit;
        *slash = '\0';
    }
}

static int cgroup_cpus(void) {
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (f == NULL) return 0;
    int limit = 0;
    char line[1024];
    while (fgets(line, sizeof line, f) != NULL) { /* "0::/path" (v2) or "4:cpu,cpuacct:/path" (v1) */
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers == NULL ? NULL : strchr(controllers + 1, ':');
        if (group == NULL) continue;
        *group++ = '\0';
        controllers++;
        if (*controllers == '\0')
            limit = tightest(limit, "/sys/fs/cgroup", group, true);
        else if (strcmp(controllers, "cpu") == 0 || strncmp(controllers, "cpu,", 4) == 0)
            limit = tightest(limit, "/sys/fs/cgroup/cpu", group, false);
    }
    fclose(f);
    return limit;
}

int anx_threads_available(void) {
    int threads = affinity_cpus();
    const int quota = cgroup_cpus();
    if (quota > 0 && quota < threads) threads = quota;
    const char *omp = getenv("OMP_NUM_THREADS");
    const int asked = omp != NULL ? atoi(omp) : 0;
    if (asked > 0 && asked < threads) threads = asked;
    return threads > 0 ? threads : 1;
}
