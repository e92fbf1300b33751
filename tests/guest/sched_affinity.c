// TEST: smp=1,2,4 scheme=rcu linux=same timeout=60
// Affinity: a thread runs where its mask says, wherever it is moved.
#define _GNU_SOURCE
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"

static cpu_set_t online;

static void *visit_all(void *arg)
{
    for (int round = 0; round < 5; round++) {
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
            cpu_set_t one, got;

            if (!CPU_ISSET(cpu, &online)) {
                continue;
            }
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
            CHECK(sched_getcpu() == cpu);
            CHECK(sched_getaffinity(0, sizeof(got), &got) == 0 && CPU_EQUAL(&one, &got));
            sched_yield();
            CHECK(sched_getcpu() == cpu);
        }
    }
    return arg;
}

int main(void)
{
    unsigned long mask[2] = {0, 0};
    cpu_set_t none;
    pthread_t t[4];

    CHECK(sched_getaffinity(0, sizeof(online), &online) == 0);
    CHECK(CPU_COUNT(&online) == sysconf(_SC_NPROCESSORS_ONLN) || CPU_COUNT(&online) > 0);
    CHECK(CPU_ISSET(sched_getcpu(), &online));
    CPU_ZERO(&none);
    CHECK_ERRNO(sched_setaffinity(0, sizeof(none), &none), EINVAL);
    CHECK_ERRNO(syscall(SYS_sched_getaffinity, 0, 1, mask), EINVAL);
    CHECK(syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask) == 8);
    CHECK_ERRNO(sched_getaffinity(4000000, sizeof(online), &online), ESRCH);
    ok("masks");
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_create(&t[i], NULL, visit_all, NULL) == 0);
    }
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_join(t[i], NULL) == 0);
    }
    ok("four threads on every processor");
    CHECK(sched_getscheduler(0) == SCHED_OTHER);
    CHECK(sched_get_priority_max(SCHED_FIFO) == 99);
    ok("policy");
    CHECK_ERRNO(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0), EPERM);
    CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0);
    CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0);
    CHECK_ERRNO(syscall(SYS_membarrier, 1 << 30, 0, 0), EINVAL);
    ok("membarrier");
    return 0;
}
