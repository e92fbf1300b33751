// TEST: smp=1,4 scheme=rcu linux=same timeout=120 mem=256M
// clone of processes: pidfds that cannot be told, children that end without SIGCHLD, and zombies
// until there is room for no more.
#define _GNU_SOURCE
#include "proc_test.h"
#include <pthread.h>
#include <stdatomic.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>

static const char *self;
static volatile int children;

static void on_child(int sig)
{
    (void)sig;
    children++;
}

static int descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 100; fd++) {
        n += fcntl(fd, F_GETFD) >= 0;
    }
    return n;
}

// Nothing may be left of the attempt: no child, no descriptor.
static void pidfd_untold(void)
{
    int *hole = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int *readable = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct clone_args args = {.flags = CLONE_PIDFD, .exit_signal = SIGCHLD};
    int before = descriptors(), fd = -1;
    CHECK_ERR(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, hole, 0, 0), EFAULT);
    CHECK_ERR(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, readable, 0, 0), EFAULT);
    CHECK_ERR(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, 8, 0, 0), EFAULT);
    args.pidfd = (unsigned long)hole;
    CHECK_ERR(syscall(SYS_clone3, &args, sizeof(args)), EFAULT);
    CHECK_EQ(descriptors(), before);
    CHECK_ERR(waitpid(-1, NULL, __WALL), ECHILD);
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &fd, 0, 0);
    if (pid == 0) {
        _exit(7);
    }
    CHECK(pid > 0 && fd > 2);
    CHECK_EQ(descriptors(), before + 1);
    exits_with(pid, 7);
    close(fd);
    group("CLONE_PIDFD with a bad pointer");
}

static atomic_int others_end, lost;

// Puts a descriptor at the number that a pidfd is about to have, or has: it stays there.
static void *other_thread(void *fd)
{
    while (!others_end) {
        if (dup2(1, (int)(long)fd) >= 0) {
            usleep(1);
            lost += close((int)(long)fd) != 0;
        }
    }
    return NULL;
}

static void pidfd_race(void)
{
    pthread_t t;
    int fd = dup(1);
    close(fd);
    MUST(pthread_create(&t, NULL, other_thread, (void *)(long)fd) == 0);
    for (int i = 0; i < 300; i++) {
        CHECK_ERR(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, 8, 0, 0), EFAULT);
    }
    others_end = 1;
    pthread_join(t, NULL);
    CHECK_EQ(lost, 0);
    group("CLONE_PIDFD that fails closes nobody's descriptor");
}

// Ends with 5, or, told so, by way of execve with 6.
static pid_t spawn(int exit_signal, int by_exec)
{
    pid_t pid = (pid_t)syscall(SYS_clone, exit_signal, 0, 0, 0, 0);
    if (pid == 0) {
        if (by_exec) {
            execl(self, self, "6", NULL);
        }
        _exit(5);
    }
    CHECK(pid > 0);
    return pid;
}

// wait(2): a "clone" child is one that sends something else than SIGCHLD, or nothing.
static void clone_children(void)
{
    const int signals[] = {0, SIGUSR1};
    siginfo_t i;
    int status;
    pid_t got;
    signal(SIGCHLD, on_child);
    signal(SIGUSR1, SIG_IGN);
    for (int k = 0; k < 2; k++) {
        children = 0;
        pid_t pid = spawn(signals[k], 0);
        CHECK_ERR(waitpid(pid, &status, 0), ECHILD);
        CHECK_ERR(waitpid(-1, &status, WNOHANG), ECHILD);
        CHECK_ERR(waitid(P_ALL, 0, &i, WEXITED | WNOHANG), ECHILD);
        CHECK_EQ(waitpid(pid, &status, __WCLONE), pid);
        CHECK_EQ(status, 5 << 8);
        pid = spawn(signals[k], 0);
        CHECK_EQ(waitpid(-1, &status, __WALL), pid);
        CHECK_EQ(children, 0);

        // execve makes a usual child of it.
        pid = spawn(signals[k], 1);
        while ((got = waitpid(pid, &status, WNOHANG)) < 0 && errno == ECHILD) {
            usleep(1000); // not yet
        }
        for (int n = 0; n < 20000 && !children; n++) {
            usleep(1000);
        }
        CHECK_EQ(children, 1);
        CHECK_ERR(waitpid(pid, &status, __WCLONE), ECHILD);
        CHECK_EQ(got ? got : waitpid(pid, &status, 0), pid);
        CHECK_EQ(status, 6 << 8);
    }
    pid_t pid = spawn(SIGCHLD, 0);
    CHECK_ERR(waitpid(pid, &status, __WCLONE), ECHILD);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    signal(SIGCHLD, SIG_DFL);
    group("children without SIGCHLD");
}

static void exec_child(void)
{
    int status;
    pid_t pid = spawn(0, 1);
    CHECK_EQ(waitpid(pid, &status, __WALL), pid);
    CHECK_EQ(status, 6 << 8);
    group("clone(0), execve, waitpid");
}

static void zombies(void)
{
    int n = 0, reaped = 0, status;
    pid_t pid;
    while ((pid = fork()) > 0) {
        n++;
    }
    if (pid == 0) {
        _exit(1);
    }
    CHECK_EQ(errno, EAGAIN);
    CHECK(n > 100);
    CHECK_ERR(fork(), EAGAIN);
    while (wait(&status) > 0) {
        reaped += status == 1 << 8;
    }
    CHECK_EQ(reaped, n);
    CHECK_EQ(errno, ECHILD);
    for (int k = 0; k < 50; k++) { // there is room again
        pid = fork();
        if (pid == 0) {
            _exit(2);
        }
        exits_with(pid, 2);
    }
    group("zombies until EAGAIN");
}

static int limited(void *arg)
{
    struct rlimit r = {30, 30};
    int n = 0;
    (void)arg;
    CHECK_EQ(setresuid(4711, 4711, 4711), 0);
    CHECK_EQ(setrlimit(RLIMIT_NPROC, &r), 0);
    pid_t pid;
    while ((pid = fork()) > 0) {
        siginfo_t i;
        CHECK_EQ(waitid(P_PID, (id_t)pid, &i, WEXITED | WNOWAIT), 0);
        n++;
    }
    if (pid == 0) {
        _exit(0);
    }
    CHECK_EQ(errno, EAGAIN);
    CHECK_EQ(n, 29);
    while (wait(NULL) > 0) {
        n--;
    }
    return n;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        return atoi(argv[1]);
    }
    self = argv[0];
    pidfd_untold();
    pidfd_race();
    clone_children();
    exec_child();
    zombies();
    exits_with(child_run(limited, NULL), 0);
    group("zombies count for RLIMIT_NPROC");
    return finish();
}
