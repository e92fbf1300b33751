// TEST: linux=same timeout=120
// Process groups, sessions, and signals that stop and continue.
#define _GNU_SOURCE
#include "proc_test.h"
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>

static void wait_for_stop(pid_t pid, int sig)
{
    int status = 0;
    CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
    CHECK_EQ(status, sig << 8 | 0x7f);
}

static void wait_for_cont(pid_t pid)
{
    int status = 0;
    CHECK_EQ(waitpid(pid, &status, WCONTINUED), pid);
    CHECK_EQ(status, 0xffff);
}

static atomic_ulong *counters; // shared

static void *count_up(void *arg)
{
    for (;;) {
        atomic_fetch_add((atomic_ulong *)arg, 1);
    }
    return NULL;
}

static int count_in_threads(void *arg)
{
    pthread_t t;
    (void)arg;
    for (int i = 0; i < 3; i++) {
        MUST(pthread_create(&t, NULL, count_up, &counters[i]) == 0);
    }
    sleep_forever(NULL);
    return 0;
}

static void pause_ms(long ms)
{
    struct timespec ts = {0, ms * 1000000};
    nanosleep(&ts, NULL);
}

static void counters_move(void)
{
    for (int i = 0; i < 3; i++) {
        unsigned long now = counters[i];
        for (int k = 0; k < 20000 && counters[i] == now; k++) {
            pause_ms(1);
        }
        CHECK(counters[i] != now);
    }
}

static void all_threads(void)
{
    pid_t pid = child_run(count_in_threads, NULL);
    counters_move();
    for (int round = 0; round < 3; round++) {
        unsigned long was[3];
        kill(pid, SIGSTOP);
        wait_for_stop(pid, SIGSTOP);
        for (int i = 0; i < 3; i++) {
            was[i] = counters[i];
        }
        pause_ms(50);
        for (int i = 0; i < 3; i++) {
            CHECK_EQ(counters[i], was[i]);
        }
        kill(pid, SIGCONT);
        wait_for_cont(pid);
        counters_move();
    }
    kill(pid, SIGSTOP);
    wait_for_stop(pid, SIGSTOP);
    kill(pid, SIGTERM); // waits until the process goes on, or is doomed by it: either way it ends
    kill(pid, SIGCONT);
    dies_of(pid, SIGTERM);
    group("all threads stop, and go on");
}

static volatile sig_atomic_t got;
static void note(int sig)
{
    got = sig;
}

static int with_handlers(void *arg)
{
    struct gate *g = arg;
    sigset_t none, term;
    sigemptyset(&none);
    sigemptyset(&term);
    sigaddset(&term, SIGCONT);
    sigaddset(&term, SIGTSTP);
    signal(SIGTSTP, note);
    signal(SIGCONT, note);
    sigprocmask(SIG_BLOCK, &term, NULL);
    gate_pass(&g[1]);
    sigsuspend(&none);
    int first = got;
    gate_pass(&g[1]);
    sigsuspend(&none);
    return first * 100 == SIGTSTP * 100 && got == SIGCONT ? 5 : 6;
}

static void handlers(void)
{
    struct gate g[2];
    gate_make(&g[0]);
    gate_make(&g[1]);
    pid_t pid = child_run(with_handlers, g);
    gate_wait(&g[1]);
    kill(pid, SIGTSTP); // a handler: it does not stop
    gate_wait(&g[1]);
    kill(pid, SIGSTOP); // always
    wait_for_stop(pid, SIGSTOP);
    kill(pid, SIGCONT); // goes on, and the handler runs as well
    exits_with(pid, 5);
    gate_close(&g[0]);
    gate_close(&g[1]);
    group("handlers for SIGTSTP and SIGCONT");
}

static int pending_stops(void *arg)
{
    sigset_t set, pending;
    (void)arg;
    sigemptyset(&set);
    sigaddset(&set, SIGTSTP);
    sigaddset(&set, SIGTTIN);
    sigaddset(&set, SIGCONT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGCONT, note);
    raise(SIGTSTP);
    raise(SIGTTIN);
    raise(SIGCONT);
    sigpending(&pending);
    CHECK(!sigismember(&pending, SIGTSTP) && !sigismember(&pending, SIGTTIN));
    CHECK(sigismember(&pending, SIGCONT));
    raise(SIGTSTP);
    sigpending(&pending);
    CHECK(sigismember(&pending, SIGTSTP) && !sigismember(&pending, SIGCONT));
    return 0;
}

static void opposites(void)
{
    exits_with(child_run(pending_stops, NULL), 0);
    group("a stop and a SIGCONT take each other back");
}

static void stop_by_each(void)
{
    const int sigs[] = {SIGTSTP, SIGTTIN, SIGTTOU};
    for (int i = 0; i < 3; i++) {
        pid_t pid = child_run(sleep_forever, NULL);
        // Of a group with a parent in another one of the session: not orphaned.
        CHECK_EQ(setpgid(pid, pid), 0);
        kill(pid, sigs[i]);
        wait_for_stop(pid, sigs[i]);
        kill(pid, SIGCONT);
        wait_for_cont(pid);
        kill(pid, SIGKILL);
        dies_of(pid, SIGKILL);
    }
    group("SIGTSTP, SIGTTIN, SIGTTOU");
}

static int stop_in_orphanage(void *arg)
{
    (void)arg;
    CHECK_EQ(setsid(), getpid());
    raise(SIGTSTP); // nobody could continue us: nothing happens
    raise(SIGTTOU);
    return 3;
}

static int leader_with_child(void *arg)
{
    struct gate *g = arg;
    int status;
    MUST(setsid() == getpid());
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        signal(SIGHUP, note);
        raise(SIGSTOP);
        // Both are there now; SIGHUP's handler has run.
        gate_pass(&g[0]);
        _exit(got == SIGHUP ? 33 : 34);
    }
    CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
    return 0;
}

static void orphaned(void)
{
    struct gate g[1];
    int status = 0;
    exits_with(child_run(stop_in_orphanage, NULL), 3);
    gate_make(&g[0]);
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    exits_with(child_run(leader_with_child, g), 0);
    gate_wait(&g[0]);
    CHECK(wait(&status) > 0);
    CHECK_EQ(status, 33 << 8);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    gate_close(&g[0]);
    group("orphaned groups");
}

static int exec_self(void *arg)
{
    execl(arg, arg, "sleep", NULL);
    return 9;
}

static void wait_until_exec(pid_t pid)
{
    while (setpgid(pid, pid) == 0) {
        pause_ms(1);
    }
    CHECK_EQ(errno, EACCES);
}

static int new_session(void *arg)
{
    (void)arg;
    CHECK_EQ(setsid(), getpid());
    CHECK_EQ(getsid(0), getpid());
    CHECK_EQ(getpgrp(), getpid());
    CHECK_ERR(setsid(), EPERM);
    CHECK_ERR(setpgid(0, 0), EPERM); // a session's leader stays
    CHECK_ERR(setpgid(0, getppid()), EPERM);
    return 0;
}

static void groups(char *self)
{
    pid_t a = child_run(sleep_forever, NULL), b = child_run(sleep_forever, NULL);
    CHECK_EQ(setpgid(a, 0), 0);
    CHECK_EQ(getpgid(a), a);
    CHECK_EQ(setpgid(b, a), 0);
    CHECK_EQ(getpgid(b), a);
    CHECK_EQ(getsid(b), getsid(0));
    CHECK_ERR(setpgid(b, 1 << 21), EPERM);
    CHECK_ERR(setpgid(1 << 21, 0), ESRCH);
    CHECK_ERR(setpgid(b, -1), EINVAL);
    CHECK_ERR(getpgid(1 << 21), ESRCH);
    CHECK_ERR(getsid(1 << 21), ESRCH);
    CHECK_EQ(kill(-a, 0), 0);
    CHECK_EQ(kill(-a, SIGTERM), 0);
    dies_of(a, SIGTERM);
    CHECK_EQ(kill(-a, 0), 0); // the group lives on with b, dead or alive
    dies_of(b, SIGTERM);
    CHECK_ERR(kill(-a, 0), ESRCH);
    a = child_run(exec_self, self);
    wait_until_exec(a);
    kill(a, SIGKILL);
    dies_of(a, SIGKILL);
    exits_with(child_run(new_session, NULL), 0);
    group("groups and sessions");
}

static int signal_own_group(void *arg)
{
    (void)arg;
    setpgid(0, 0);
    pid_t pid = child_run(sleep_forever, NULL);
    signal(SIGUSR1, SIG_IGN);
    CHECK_EQ(kill(0, SIGUSR1), 0); // us, too
    dies_of(pid, SIGUSR1);
    return 0;
}

// Children that fork all the time cannot get away from a signal to their group.
static int fork_and_fork(void *arg)
{
    for (;;) {
        pid_t pid = fork();
        if (pid > 0) {
            _exit(0); // the child goes on
        }
        if (pid < 0) {
            pause_ms(1);
        }
    }
    return *(int *)arg;
}

static void cannot_escape(void)
{
    int zero = 0;
    exits_with(child_run(signal_own_group, NULL), 0);
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    signal(SIGCHLD, SIG_IGN);
    for (int i = 0; i < 10; i++) {
        pid_t pid = fork();
        MUST(pid >= 0);
        if (pid == 0) {
            setpgid(0, 0);
            fork_and_fork(&zero);
        }
        setpgid(pid, pid);
        pause_ms(5 + i);
        kill(-pid, SIGKILL); // once is enough
        while (wait(NULL) > 0 || errno != ECHILD) {
        }
        // Linux says ECHILD a moment before the last one has left the group.
        for (int k = 0; k < 5000 && kill(-pid, 0) == 0; k++) {
            pause_ms(1);
        }
        CHECK_ERR(kill(-pid, 0), ESRCH);
    }
    signal(SIGCHLD, SIG_DFL);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    group("a signal to a group reaches all of it");
}

static int spawn_pidfd(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

static void pidfds(void)
{
    siginfo_t i;
    pid_t pid = child_run(sleep_forever, NULL);
    int fd = spawn_pidfd(pid);
    MUST(fd >= 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(poll(&p, 1, 0), 0);
    CHECK_EQ(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0), 0);
    CHECK_EQ(syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0), 0);
    CHECK_EQ(poll(&p, 1, 30000), 1);
    CHECK_EQ(p.revents, POLLIN);
    i.si_pid = 0;
    CHECK_EQ(waitid(P_PIDFD, (id_t)fd, &i, WEXITED), 0);
    CHECK_EQ(i.si_pid, pid);
    CHECK_EQ(i.si_status, SIGKILL);
    CHECK_ERR(waitid(P_PIDFD, (id_t)fd, &i, WEXITED), ECHILD);
    CHECK_ERR(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0), ESRCH);
    CHECK_ERR(syscall(SYS_pidfd_send_signal, 0, 0, NULL, 0), EBADF);
    CHECK_ERR(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 1), EINVAL);
    CHECK_ERR(spawn_pidfd(1 << 21), ESRCH);
    CHECK_ERR(spawn_pidfd(-1), EINVAL);
    close(fd);
    group("pidfds");
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        sleep_forever(NULL);
    }
    counters = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(counters != MAP_FAILED);
    all_threads();
    handlers();
    opposites();
    stop_by_each();
    orphaned();
    groups(argv[0]);
    cannot_escape();
    pidfds();
    return finish();
}
