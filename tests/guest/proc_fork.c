// TEST: linux=same timeout=120
// fork: what the child has of its own, what it shares, and what it does not inherit.
#define _GNU_SOURCE
#include "proc_test.h"
#include <linux/sched.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>

static int global = 1;

static int change_memory(void *arg)
{
    int *shared = arg;
    global = 2;
    shared[0] = 5;
    shared[1] = global;
    return 4;
}

static void memory(void)
{
    int *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(p != MAP_FAILED);
    exits_with(child_run(change_memory, p), 4);
    CHECK_EQ(global, 1);
    CHECK_EQ(p[0], 5);
    CHECK_EQ(p[1], 2);
    munmap(p, 8192);
    group("memory: private is copied, shared is shared");
}

static int use_descriptors(void *arg)
{
    int *fd = arg;
    CHECK_EQ(lseek(fd[0], 3, SEEK_SET), 3); // one position for both
    CHECK_EQ(close(fd[1]), 0);
    CHECK_EQ(fcntl(fd[2], F_GETFD), FD_CLOEXEC);
    CHECK_EQ(dup2(fd[0], 200), 200);
    return 0;
}

static void descriptors(void)
{
    int fd[3] = {open("/tmp/fork", O_RDWR | O_CREAT, 0600)};
    MUST(fd[0] >= 0);
    fd[1] = dup(fd[0]);
    fd[2] = fcntl(fd[0], F_DUPFD_CLOEXEC, 300);
    MUST(fd[2] == 300);
    exits_with(child_run(use_descriptors, fd), 0);
    CHECK_EQ(lseek(fd[0], 0, SEEK_CUR), 3);
    CHECK_EQ(fcntl(fd[1], F_GETFD), 0);
    CHECK_ERR(fcntl(200, F_GETFD), EBADF);
    close(fd[0]);
    close(fd[1]);
    close(fd[2]);
    unlink("/tmp/fork");
    group("descriptors");
}

static int look_around(void *arg)
{
    char cwd[64], name[16];
    sigset_t set, pending;
    struct itimerval it;
    struct rlimit *unused = NULL;
    (void)unused;
    CHECK_EQ(getppid(), *(pid_t *)arg);
    CHECK_EQ(getpgrp(), getpgid(getppid()));
    CHECK_EQ(getsid(0), getsid(getppid()));
    CHECK_EQ(syscall(SYS_gettid), getpid());
    CHECK_EQ(strcmp(getcwd(cwd, sizeof(cwd)), "/tmp"), 0);
    CHECK_EQ(umask(0), 027);
    sigprocmask(SIG_BLOCK, NULL, &set);
    CHECK(sigismember(&set, SIGUSR1));
    sigpending(&pending);
    CHECK(!sigismember(&pending, SIGUSR1)); // pending signals are not inherited
    CHECK(signal(SIGUSR2, SIG_DFL) == SIG_IGN);
    CHECK_EQ(getitimer(ITIMER_REAL, &it), 0);
    CHECK_EQ(it.it_value.tv_sec, 0); // nor are timers
    CHECK_EQ(prctl(PR_GET_NAME, name), 0);
    CHECK_EQ(strcmp(name, "forktest"), 0);
    int sig = -1;
    CHECK_EQ(prctl(PR_GET_PDEATHSIG, &sig), 0);
    CHECK_EQ(sig, 0);
    return 0;
}

static void state(void)
{
    struct itimerval it = {.it_value = {1000, 0}}, none = {0};
    pid_t self = getpid();
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    signal(SIGUSR2, SIG_IGN);
    MUST(chdir("/tmp") == 0);
    umask(027);
    prctl(PR_SET_NAME, "forktest");
    prctl(PR_SET_PDEATHSIG, SIGHUP);
    CHECK_EQ(setitimer(ITIMER_REAL, &it, NULL), 0);
    exits_with(child_run(look_around, &self), 0);
    setitimer(ITIMER_REAL, &none, NULL);
    prctl(PR_SET_PDEATHSIG, 0);
    signal(SIGUSR1, SIG_IGN);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
    group("what is inherited and what not");
}

static void *spin_thread(void *arg)
{
    volatile int *stop = arg;
    while (!*stop) {
    }
    return NULL;
}

static int one_thread(void *arg)
{
    // Only the forking thread is there, and it may make others.
    volatile int stop = 1;
    pthread_t t;
    (void)arg;
    CHECK_EQ(pthread_create(&t, NULL, spin_thread, (void *)&stop), 0);
    CHECK_EQ(pthread_join(t, NULL), 0);
    return 0;
}

static void *fork_in_thread(void *arg)
{
    for (int i = 0; i < 10; i++) {
        exits_with(child_run(one_thread, arg), 0);
    }
    return NULL;
}

static void threads(void)
{
    pthread_t t[2], spinner;
    volatile int stop = 0;
    MUST(pthread_create(&spinner, NULL, spin_thread, (void *)&stop) == 0);
    for (int i = 0; i < 2; i++) {
        MUST(pthread_create(&t[i], NULL, fork_in_thread, NULL) == 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(t[i], NULL);
    }
    stop = 1;
    pthread_join(spinner, NULL);
    group("fork from threads");
}

static pid_t clone3_plain(unsigned long flags, int *pidfd, int exit_signal)
{
    struct clone_args args = {
        .flags = flags, .pidfd = (unsigned long)pidfd, .exit_signal = (unsigned long)exit_signal};
    return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

static void with_clone3(void)
{
    int status;
    signal(SIGUSR2, SIG_IGN);
    struct sigaction sa;
    pid_t pid = clone3_plain(0, NULL, SIGCHLD);
    MUST(pid >= 0);
    if (pid == 0) {
        _exit(6);
    }
    exits_with(pid, 6);
    signal(SIGUSR1, (void (*)(int))exit);
    pid = clone3_plain(CLONE_CLEAR_SIGHAND, NULL, 0);
    MUST(pid >= 0);
    if (pid == 0) {
        sigaction(SIGUSR1, NULL, &sa);
        int bad = sa.sa_handler != SIG_DFL;
        sigaction(SIGUSR2, NULL, &sa);
        _exit(bad || sa.sa_handler != SIG_IGN);
    }
    CHECK_ERR(waitpid(pid, &status, 0), ECHILD);
    CHECK_EQ(waitpid(pid, &status, __WALL), pid);
    CHECK_EQ(status, 0);
    signal(SIGUSR1, SIG_DFL);
    CHECK_ERR(clone3_plain(CLONE_VM | CLONE_SIGHAND | CLONE_CLEAR_SIGHAND, NULL, 0), EINVAL);
    CHECK_ERR(clone3_plain(0, NULL, 65), EINVAL);
    CHECK_ERR(clone3_plain(0x200000000ul, NULL, 0), EBADF); // into a cgroup
    group("clone3");
}

static int deep(void *arg)
{
    int n = *(int *)arg - 1;
    if (n == 0) {
        return 1;
    }
    int status = child_wait(child_run(deep, &n));
    return WEXITSTATUS(status) + 1;
}

static void many(void)
{
    pid_t pid[40];
    int depth = 20;
    exits_with(child_run(deep, &depth), 20);
    for (int i = 0; i < 40; i++) {
        pid[i] = fork();
        MUST(pid[i] >= 0);
        if (pid[i] == 0) {
            _exit(i);
        }
    }
    for (int i = 39; i >= 0; i--) {
        exits_with(pid[i], i);
    }
    group("a chain of 20 and a row of 40");
}

int main(void)
{
    memory();
    descriptors();
    state();
    threads();
    with_clone3();
    many();
    return finish();
}
