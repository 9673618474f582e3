/* How many threads this process may use. */
#ifndef ANX_SRC_BASE_THREADS_H
#define ANX_SRC_BASE_THREADS_H

/*
 * The number of CPUs that the affinity mask (sched_getaffinity) and the cgroup's CPU quota (cgroup v2 cpu.max or
 * v1 cpu.cfs_quota_us, rounded up) allow; at least 1. OMP_NUM_THREADS, where set to a positive number, caps it.
 */
int anx_threads_available(void);

#endif
