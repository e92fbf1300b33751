// TEST: smp=1,2,4 scheme=rcu linux=same timeout=60
// Affinity: a thread runs where its mask says, wherever it is moved. Policies, and what of them a
// child has.
#define _GNU_SOURCE
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
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

// A child has its parent's policy and nice value, unless the parent has said that it is not to.
static void policy_of_child(void)
{
    static const int policies[] = {SCHED_BATCH, SCHED_BATCH | SCHED_RESET_ON_FORK};
    struct sched_param param = {0};

    CHECK(setpriority(PRIO_PROCESS, 0, -5) == 0);
    for (int i = 0; i < 2; i++) {
        int status = -1;

        CHECK(sched_setscheduler(0, policies[i], &param) == 0);
        CHECK(sched_getscheduler(0) == policies[i]);
        pid_t pid = fork();
        if (pid == 0) {
            _exit(sched_getscheduler(0) * 16 - getpriority(PRIO_PROCESS, 0));
        }
        CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
        CHECK(status == (SCHED_BATCH * 16 + (i ? 0 : 5)) << 8);
    }
    CHECK(sched_setscheduler(0, SCHED_OTHER, &param) == 0);
    CHECK(setpriority(PRIO_PROCESS, 0, 0) == 0);
    ok("policy of a child");
}

struct attr {
    unsigned size, policy;
    unsigned long flags;
    int nice;
    unsigned priority;
    unsigned long deadline[3];
    unsigned util[2];
};

static long attr_set(unsigned policy, int nice, unsigned long flags)
{
    struct attr a = {.size = sizeof(a), .policy = policy, .flags = flags, .nice = nice};

    return syscall(SYS_sched_setattr, 0, &a, 0);
}

static int attr_is(unsigned policy, int nice, unsigned long flags)
{
    struct attr a = {0};

    return syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0) == 0 && a.policy == policy &&
           a.nice == nice && a.flags == flags;
}

static void attributes(void)
{
    CHECK(attr_set(SCHED_BATCH, 3, 1) == 0 && attr_is(SCHED_BATCH, 3, 1));
    CHECK(attr_set(SCHED_OTHER, 0, 0x18) == 0 && attr_is(SCHED_BATCH, 3, 1)); // keep all
    CHECK(attr_set(SCHED_OTHER, 2, 0x08) == 0 && attr_is(SCHED_BATCH, 2, 1));
    CHECK(attr_set(SCHED_IDLE, 7, 0x11) == 0 && attr_is(SCHED_BATCH, 2, 1)); // parameters
    CHECK(attr_set(SCHED_IDLE, 7, 0) == 0 && attr_is(SCHED_IDLE, 2, 0));
    CHECK_ERRNO(attr_set(SCHED_OTHER, 0, 0x80), EINVAL);
    CHECK_ERRNO(attr_set(SCHED_OTHER, 0, 0x20), EOPNOTSUPP);
    CHECK_ERRNO(attr_set(77, 0, 0), EINVAL);
    CHECK(attr_set(SCHED_OTHER, 0, 0) == 0 && attr_is(SCHED_OTHER, 0, 0));
    ok("attributes");
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
    CHECK(sched_get_priority_max(SCHED_FIFO) == 99 && sched_get_priority_min(SCHED_FIFO) == 1);
    CHECK(sched_get_priority_max(SCHED_IDLE) == 0 && sched_get_priority_min(SCHED_IDLE) == 0);
    CHECK(sched_get_priority_max(6) == 0 && sched_get_priority_min(6) == 0); // SCHED_DEADLINE
    CHECK_ERRNO(sched_get_priority_max(7), EINVAL);
    ok("policy");
    policy_of_child();
    attributes();
    CHECK_ERRNO(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0), EPERM);
    CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0);
    CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0);
    CHECK_ERRNO(syscall(SYS_membarrier, 1 << 30, 0, 0), EINVAL);
    ok("membarrier");
    return 0;
}
