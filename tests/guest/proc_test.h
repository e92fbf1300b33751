// For the tests of processes: children that run one function, and what becomes of them.
#ifndef PROC_TEST_H
#define PROC_TEST_H

#include "test.h"
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

// fork; the child runs fn and its value is the exit status.
static inline pid_t child_run(int (*fn)(void *), void *arg)
{
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        int r = fn(arg);
        _exit(checks_failed ? 100 : r);
    }
    return pid;
}

// The wait status of a child, which must end.
static inline int child_wait(pid_t pid)
{
    int status = -1;
    pid_t got;
    do {
        got = waitpid(pid, &status, 0);
    } while (got < 0 && errno == EINTR);
    MUST(got == pid);
    return status;
}

static inline int exits_with(pid_t pid, int code)
{
    int status = child_wait(pid);
    return CHECK_EQ(status, code << 8);
}

static inline int dies_of(pid_t pid, int sig)
{
    int status = child_wait(pid);
    return CHECK_EQ(status & 0x7f, sig);
}

// A pipe to wait at: the other side lets us go on by writing or closing.
struct gate {
    int rd, wr;
};
static inline void gate_make(struct gate *g)
{
    int fds[2];
    MUST(pipe2(fds, O_CLOEXEC) == 0);
    g->rd = fds[0];
    g->wr = fds[1];
}
static inline void gate_pass(struct gate *g) // let one through
{
    while (write(g->wr, "x", 1) != 1 && errno == EINTR) {
    }
}
static inline void gate_wait(struct gate *g)
{
    char c;
    while (read(g->rd, &c, 1) != 1 && errno == EINTR) {
    }
}
static inline void gate_close(struct gate *g)
{
    close(g->rd);
    close(g->wr);
}

static inline int sleep_forever(void *arg)
{
    (void)arg;
    for (;;) {
        pause();
    }
    return 0;
}

// A thread that has been joined may not be gone for the kernel yet: wait until there are n left.
static inline void threads_until(int n)
{
    for (int there = -1; there != n; sched_yield()) {
        DIR *d = opendir("/proc/self/task");
        struct dirent *e;
        there = 0;
        MUST(d != NULL);
        while ((e = readdir(d)) != NULL) {
            there += e->d_name[0] != '.';
        }
        closedir(d);
    }
}

#endif
