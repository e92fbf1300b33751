// TEST: smp=1,4 scheme=rcu linux=same
/*
 * What a process has used, how nice it is, and what the kernel said: getrusage and wait4, nice
 * values and I/O priorities, syslog, mountinfo. Prints what it sees, which must be what Linux says.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#define PAGE  4096
#define PAGES 3000

static void touch(int pages)
{
    char *m = mmap(NULL, (size_t)pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);
    CHECK(m != MAP_FAILED);
    madvise(m, (size_t)pages * PAGE, MADV_NOHUGEPAGE);
    for (int i = 0; i < pages; i++) {
        m[i * PAGE] = 1;
    }
}

// On a busy machine a sleep may be over before it has begun; not ten of them.
static void give_up_cpu(void)
{
    for (int i = 0; i < 10; i++) {
        usleep(20000);
    }
}

static struct rusage usage_of(int who)
{
    struct rusage u;
    CHECK(getrusage(who, &u) == 0);
    return u;
}

static void test_own(void)
{
    struct rusage before = usage_of(RUSAGE_SELF), after;
    touch(PAGES);
    give_up_cpu();
    after = usage_of(RUSAGE_SELF);
    CHECK(after.ru_minflt - before.ru_minflt >= PAGES);
    CHECK(after.ru_minflt - before.ru_minflt < 2 * PAGES);
    CHECK(after.ru_maxrss >= PAGES * 4);
    CHECK(after.ru_nvcsw > before.ru_nvcsw);
    before = usage_of(RUSAGE_THREAD);
    CHECK(before.ru_nvcsw > 0);
    group("own usage");
}

// A child that touches pages, and then becomes another program, or not.
static void child(bool also_exec)
{
    touch(PAGES);
    give_up_cpu();
    if (also_exec) {
        execl("/proc/self/exe", "usage", "exit", NULL);
    }
    _exit(3);
}

static void test_child(bool also_exec)
{
    struct rusage before = usage_of(RUSAGE_CHILDREN), after, u;
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        child(also_exec);
    }
    CHECK_EQ(wait4(pid, &status, 0, &u), pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    CHECK(u.ru_minflt >= PAGES && u.ru_minflt < 2 * PAGES);
    CHECK(u.ru_maxrss >= PAGES * 4 && u.ru_maxrss < PAGES * 16);
    CHECK(u.ru_nvcsw > 0);
    after = usage_of(RUSAGE_CHILDREN);
    CHECK_EQ(after.ru_minflt - before.ru_minflt, u.ru_minflt);
    CHECK(after.ru_maxrss >= u.ru_maxrss);
    CHECK_EQ(after.ru_nvcsw - before.ru_nvcsw, u.ru_nvcsw);
    group(also_exec ? "usage of a child, over execve" : "usage of a child");
}

// What a grandchild used counts once its parent has waited for it, and not for its parent itself.
static void test_grandchild(void)
{
    struct rusage u;
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        pid_t below = fork();
        if (below == 0) {
            child(false);
        }
        waitpid(below, NULL, 0);
        _exit(usage_of(RUSAGE_SELF).ru_minflt < PAGES ? 4 : 5);
    }
    CHECK_EQ(wait4(pid, &status, 0, &u), pid);
    CHECK_EQ(WEXITSTATUS(status), 4);
    CHECK(u.ru_minflt >= PAGES);
    CHECK(u.ru_maxrss >= PAGES * 4);
    group("usage of a grandchild");
}

// A child of vfork begins in our address space: what we touched before is not its.
static void test_vfork(void)
{
    struct rusage u;
    pid_t pid = vfork();
    if (pid == 0) {
        execl("/proc/self/exe", "usage", "exit", NULL);
        _exit(1);
    }
    CHECK_EQ(wait4(pid, NULL, 0, &u), pid);
    CHECK(u.ru_minflt > 0 && u.ru_minflt < PAGES);
    group("usage of vfork's child");
}

// Fields 10 (minor faults), 11 (of the children), 18 (priority) and 19 (nice) of /proc/self/stat.
static void stat_fields(long *minor, long *children, long *priority, long *nice)
{
    FILE *f = fopen("/proc/self/stat", "r");
    CHECK(f != NULL);
    CHECK_EQ(fscanf(f,
                    "%*d %*s %*c %*d %*d %*d %*d %*d %*u %ld %ld %*u %*u %*u %*u %*u %*u %ld %ld",
                    minor, children, priority, nice),
             4);
    fclose(f);
}

static void test_nice(void)
{
    long minor, children, priority, nice_value;
    CHECK_EQ(getpriority(PRIO_PROCESS, 0), 0);
    CHECK_EQ(setpriority(PRIO_PROCESS, 0, 5), 0);
    CHECK_EQ(getpriority(PRIO_PROCESS, 0), 5);
    CHECK_EQ(getpriority(PRIO_PROCESS, getpid()), 5);
    CHECK_EQ(getpriority(PRIO_PGRP, 0) <= 5, 1);
    CHECK_EQ(setpriority(PRIO_PROCESS, 0, 1000), 0);
    CHECK_EQ(getpriority(PRIO_PROCESS, 0), 19);
    CHECK_EQ(setpriority(PRIO_PROCESS, 0, -1000), 0);
    errno = 0;
    CHECK_EQ(getpriority(PRIO_PROCESS, 0), -20);
    CHECK_EQ(setpriority(PRIO_PROCESS, 0, 7), 0);
    stat_fields(&minor, &children, &priority, &nice_value);
    CHECK_EQ(priority, 27);
    CHECK_EQ(nice_value, 7);
    CHECK(minor >= PAGES);
    CHECK(children >= 3 * PAGES);
    CHECK_ERR(setpriority(3, 0, 0), EINVAL);
    CHECK_ERR(setpriority(PRIO_PROCESS, 4194304 - 1, 0), ESRCH);
    CHECK_ERR(getpriority(PRIO_PGRP, 4194304 - 1), ESRCH);
    CHECK_ERR(getpriority(PRIO_USER, 12345), ESRCH);
    group("nice values");
}

// Inherited; a group at once; and who is not root may only become nicer.
static void test_nice_children(void)
{
    int status, to[2], from[2];
    char c;
    CHECK(pipe(to) == 0 && pipe(from) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        if (getpriority(PRIO_PROCESS, 0) != 7 || setresuid(1000, 1000, 1000) ||
            getpriority(PRIO_PROCESS, 0) != 7) {
            _exit(1);
        }
        if (setpriority(PRIO_PROCESS, 0, 6) == 0 || errno != EACCES) {
            _exit(2);
        }
        if (setpriority(PRIO_PROCESS, getppid(), 8) == 0 || errno != EPERM) {
            _exit(3);
        }
        if (setpriority(PRIO_USER, 1000, 9) || getpriority(PRIO_USER, 1000) != 9) {
            _exit(4);
        }
        close(to[1]);
        CHECK_EQ(write(from[1], "x", 1), 1);
        _exit(read(to[0], &c, 1) == 0 ? 0 : 5); // until the parent closes its end
    }
    setpgid(pid, pid);
    close(from[1]);
    CHECK_EQ(read(from[0], &c, 1), 1); // nothing when the child has found something wrong
    close(from[0]);
    CHECK_EQ(setpriority(PRIO_PGRP, pid, 2), 0);
    CHECK_EQ(getpriority(PRIO_PROCESS, pid), 2);
    CHECK_EQ(getpriority(PRIO_PGRP, pid), 2);
    close(to[0]);
    close(to[1]);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(setpriority(PRIO_PROCESS, 0, 0), 0);
    group("nice values of children");
}

static long ioprio_get(int which, int who)
{
    return syscall(SYS_ioprio_get, which, who);
}

static long ioprio_set(int which, int who, int value)
{
    return syscall(SYS_ioprio_set, which, who, value);
}

static void test_ioprio(void)
{
    CHECK_EQ(ioprio_get(1, 0), 0);
    CHECK_EQ(ioprio_set(1, 0, 2 << 13 | 7), 0);
    CHECK_EQ(ioprio_get(1, getpid()), 2 << 13 | 7);
    CHECK_EQ(ioprio_set(1, 0, 3 << 13), 0);
    CHECK_EQ(ioprio_get(1, 0), 3 << 13);
    CHECK_EQ(ioprio_set(1, 0, 1 << 13 | 4), 0);
    CHECK_EQ(ioprio_set(1, 0, 2 << 13 | 8), 0); // level 0 and a hint
    CHECK_ERR(ioprio_set(1, 0, 4 << 13), EINVAL);
    CHECK_ERR(ioprio_set(1, 0, 1), EINVAL);
    CHECK_ERR(ioprio_set(0, 0, 2 << 13), EINVAL);
    CHECK_ERR(ioprio_get(4, 0), EINVAL);
    CHECK_ERR(ioprio_get(1, 4194304 - 1), ESRCH);
    CHECK_EQ(ioprio_set(1, 0, 0), 0);
    group("I/O priorities");
}

static void test_syslog(void)
{
    static char buf[1 << 20];
    int n = klogctl(3, buf, sizeof(buf)), some;
    CHECK(n > 100);
    CHECK(buf[0] == '<' && buf[n - 1] == '\n');
    CHECK(memmem(buf, (size_t)n, "] ", 2) != NULL);
    some = klogctl(3, buf, 200); // the last lines that fit
    CHECK(some > 0 && some <= 200);
    CHECK(buf[0] == '<' && buf[some - 1] == '\n');
    CHECK(klogctl(10, NULL, 0) >= 4096);
    CHECK_EQ(klogctl(3, buf, 0), 0);
    CHECK(klogctl(4, buf, sizeof(buf)) >= n);
    CHECK(klogctl(3, buf, sizeof(buf)) < n);
    CHECK(klogctl(9, NULL, 0) > 0);
    CHECK(klogctl(2, buf, 10) == 10); // bytes, from the oldest on
    CHECK_EQ(buf[0], '<');
    CHECK_ERR(klogctl(3, NULL, 10), EINVAL);
    CHECK_ERR(klogctl(3, buf, -1), EINVAL);
    CHECK_ERR(klogctl(8, NULL, 9), EINVAL);
    CHECK_ERR(klogctl(11, NULL, 0), EINVAL);
    group("syslog");
}

// A signal ends the wait for news.
static void on_alarm(int sig)
{
    (void)sig;
}

static void test_syslog_wait(void)
{
    static char buf[1 << 20];
    struct sigaction act = {.sa_handler = on_alarm};
    struct itimerval soon = {{0, 50000}, {0, 50000}}, never = {{0, 0}, {0, 0}};
    int n;
    sigaction(SIGALRM, &act, NULL);
    setitimer(ITIMER_REAL, &soon, NULL);
    do {
        errno = 0;
        n = klogctl(2, buf, sizeof(buf));
    } while (n > 0);
    CHECK_EQ(errno, EINTR);
    setitimer(ITIMER_REAL, &never, NULL);
    group("syslog waits");
}

// The parent's number of the mount at `where`, and its own.
static void mount_numbers(const char *where, int *own, int *parent)
{
    char line[512], at[256];
    FILE *f = fopen("/proc/self/mountinfo", "r");
    *own = *parent = -1;
    while (f && fgets(line, sizeof(line), f)) {
        int o, p;
        if (sscanf(line, "%d %d %*s %*s %255s", &o, &p, at) == 3 && strcmp(at, where) == 0) {
            *own = o;
            *parent = p;
        }
    }
    CHECK(f && fclose(f) == 0);
}

static void test_mounts(void)
{
    int root, dev, pts, proc, above;
    mount_numbers("/", &root, &above);
    CHECK(root >= 0);
    mount_numbers("/dev", &dev, &above);
    CHECK_EQ(above, root);
    mount_numbers("/dev/pts", &pts, &above);
    CHECK_EQ(above, dev);
    mount_numbers("/proc", &proc, &above);
    CHECK_EQ(above, root);
    group("mountinfo");
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "exit") == 0) {
        return 3;
    }
    test_own();
    test_child(false);
    test_child(true);
    test_grandchild();
    test_vfork();
    test_nice();
    test_nice_children();
    test_ioprio();
    test_syslog();
    test_syslog_wait();
    test_mounts();
    return finish();
}
