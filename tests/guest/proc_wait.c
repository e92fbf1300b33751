// TEST: linux=same timeout=120
// wait4 and waitid with all their options, SIGCHLD and its siginfo, zombies, orphans.
#define _GNU_SOURCE
#include "proc_test.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>

static int exit_with(void *arg)
{
    return *(int *)arg;
}

static void statuses(void)
{
    int code = 300, status; // the low eight bits count
    struct rusage u;
    exits_with(child_run(exit_with, &code), 300 & 0xff);
    pid_t pid = child_run(sleep_forever, NULL);
    CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
    CHECK_EQ(kill(pid, SIGTERM), 0);
    dies_of(pid, SIGTERM);
    pid = child_run(sleep_forever, NULL);
    kill(pid, SIGKILL);
    memset(&u, 0xff, sizeof(u));
    CHECK_EQ(wait4(pid, &status, 0, &u), pid);
    CHECK_EQ(status, SIGKILL);
    CHECK(u.ru_utime.tv_sec >= 0 && u.ru_stime.tv_usec >= 0);
    CHECK_ERR(wait4(-1, &status, 0, NULL), ECHILD);
    CHECK_ERR(wait4(-1, &status, WNOHANG, NULL), ECHILD);
    CHECK_ERR(wait4(-1, &status, 0x100, NULL), EINVAL);
    CHECK_ERR(wait4(1 << 21, &status, 0, NULL), ECHILD);
    group("wait4");
}

static void info_check(pid_t pid, unsigned options, int code, int status)
{
    siginfo_t i;
    memset(&i, 0, sizeof(i));
    CHECK_EQ(waitid(P_PID, (id_t)pid, &i, (int)options), 0);
    CHECK_EQ(i.si_pid, pid);
    CHECK_EQ(i.si_signo, SIGCHLD);
    CHECK_EQ(i.si_code, code);
    CHECK_EQ(i.si_status, status);
    CHECK_EQ(i.si_uid, getuid());
}

static void with_waitid(void)
{
    int code = 9;
    siginfo_t i;
    pid_t pid = child_run(exit_with, &code);
    info_check(pid, WEXITED | WNOWAIT, CLD_EXITED, 9);
    info_check(pid, WEXITED | WNOWAIT, CLD_EXITED, 9);
    info_check(pid, WEXITED, CLD_EXITED, 9);
    CHECK_ERR(waitid(P_PID, (id_t)pid, &i, WEXITED), ECHILD);

    pid = child_run(sleep_forever, NULL);
    i.si_pid = i.si_signo = 77;
    CHECK_EQ(waitid(P_ALL, 0, &i, WEXITED | WNOHANG), 0);
    CHECK_EQ(i.si_pid, 0);
    CHECK_EQ(i.si_signo, 0);
    kill(pid, SIGSTOP);
    info_check(pid, WSTOPPED | WNOWAIT, CLD_STOPPED, SIGSTOP);
    info_check(pid, WSTOPPED, CLD_STOPPED, SIGSTOP);
    CHECK_EQ(waitid(P_PID, (id_t)pid, &i, WSTOPPED | WNOHANG), 0);
    CHECK_EQ(i.si_pid, 0); // told once
    kill(pid, SIGCONT);
    info_check(pid, WCONTINUED | WNOWAIT, CLD_CONTINUED, SIGCONT);
    info_check(pid, WCONTINUED, CLD_CONTINUED, SIGCONT);
    kill(pid, SIGSTOP);
    info_check(pid, WSTOPPED | WEXITED, CLD_STOPPED, SIGSTOP);
    kill(pid, SIGKILL); // ends a stopped process
    info_check(pid, WEXITED, CLD_KILLED, SIGKILL);
    CHECK_ERR(waitid(P_ALL, 0, &i, 0), EINVAL);
    CHECK_ERR(waitid(P_ALL, 0, &i, WEXITED | 0x100), EINVAL);
    CHECK_ERR(waitid(P_PID, 0, &i, WEXITED), EINVAL);
    CHECK_ERR(waitid(P_PGID, (id_t)-1, &i, WEXITED), EINVAL);
    CHECK_ERR(waitid(99, 1, &i, WEXITED), EINVAL);
    CHECK_ERR(waitid(P_PIDFD, 999, &i, WEXITED), EBADF);
    memset(&i, 0xee, sizeof(i)); // a wait that fails clears it all the same
    CHECK_ERR(waitid(P_ALL, 0, &i, WEXITED), ECHILD);
    CHECK_EQ(i.si_pid, 0);
    CHECK_EQ(i.si_signo, 0);
    CHECK_ERR(waitid(P_ALL, 0, (siginfo_t *)8, WEXITED), EFAULT);
    group("waitid");
}

static void by_group(void)
{
    int code = 3, status;
    pid_t a = child_run(sleep_forever, NULL), b = child_run(exit_with, &code);
    CHECK_EQ(setpgid(a, a), 0);
    CHECK_EQ(waitpid(-a, &status, WNOHANG), 0);
    CHECK_EQ(waitpid(0, &status, 0), b);
    CHECK_ERR(waitpid(0, &status, 0), ECHILD);
    kill(-a, SIGKILL);
    CHECK_EQ(waitpid(-a, &status, 0), a);
    CHECK_ERR(kill(-a, 0), ESRCH);
    group("by process group");
}

static volatile siginfo_t last;
static volatile int nr_chld;
static void on_chld(int sig, siginfo_t *i, void *ctx)
{
    (void)sig, (void)ctx;
    *(siginfo_t *)&last = *i;
    nr_chld++;
}

static void chld_set(int flags)
{
    struct sigaction sa = {.sa_sigaction = on_chld, .sa_flags = SA_SIGINFO | flags};
    sigaction(SIGCHLD, &sa, NULL);
    nr_chld = 0;
    memset((void *)&last, 0, sizeof(last));
}

static void chld_until(int n)
{
    struct timespec ms = {0, 1000000};
    for (int i = 0; i < 5000 && nr_chld < n; i++) {
        nanosleep(&ms, NULL);
    }
    CHECK_EQ(nr_chld, n);
}

static void sigchld(void)
{
    int code = 8, status;
    chld_set(SA_RESTART);
    pid_t pid = child_run(exit_with, &code);
    chld_until(1);
    CHECK_EQ(last.si_code, CLD_EXITED);
    CHECK_EQ(last.si_status, 8);
    CHECK_EQ(last.si_pid, pid);
    exits_with(pid, 8);
    pid = child_run(sleep_forever, NULL);
    kill(pid, SIGSTOP);
    chld_until(2);
    CHECK_EQ(last.si_code, CLD_STOPPED);
    CHECK_EQ(last.si_status, SIGSTOP);
    kill(pid, SIGCONT);
    chld_until(3);
    CHECK_EQ(last.si_code, CLD_CONTINUED);
    CHECK_EQ(last.si_status, SIGCONT);
    chld_set(SA_NOCLDSTOP | SA_RESTART);
    kill(pid, SIGSTOP);
    CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
    CHECK_EQ(status, SIGSTOP << 8 | 0x7f);
    kill(pid, SIGCONT);
    CHECK_EQ(waitpid(pid, &status, WCONTINUED), pid);
    CHECK_EQ(status, 0xffff);
    CHECK_EQ(nr_chld, 0);
    kill(pid, SIGTERM);
    CHECK_EQ(waitpid(pid, &status, 0), pid); // SA_RESTART: not ended by the SIGCHLD
    chld_until(1);
    CHECK_EQ(last.si_code, CLD_KILLED);
    CHECK_EQ(last.si_status, SIGTERM);
    group("SIGCHLD");
}

static void no_zombies(void)
{
    int code = 1;
    chld_set(SA_NOCLDWAIT | SA_RESTART);
    pid_t pid = child_run(exit_with, &code);
    CHECK_ERR(waitpid(pid, NULL, 0), ECHILD); // waits until it is gone
    chld_until(1);
    for (int i = 0; i < 1000 && kill(pid, 0) == 0; i++) {
        usleep(1000); // Linux takes its number back a moment after the wait has ended
    }
    CHECK_ERR(kill(pid, 0), ESRCH);
    signal(SIGCHLD, SIG_IGN);
    nr_chld = 0;
    for (int i = 0; i < 5; i++) {
        child_run(exit_with, &code);
    }
    CHECK_ERR(wait(NULL), ECHILD);
    CHECK_EQ(nr_chld, 0);
    signal(SIGCHLD, SIG_DFL);
    group("SA_NOCLDWAIT and SIG_IGN");
}

static void interrupted(void)
{
    struct sigaction sa = {.sa_sigaction = on_chld, .sa_flags = SA_SIGINFO};
    sigaction(SIGALRM, &sa, NULL);
    pid_t pid = child_run(sleep_forever, NULL);
    struct itimerval it = {.it_value = {0, 20000}};
    setitimer(ITIMER_REAL, &it, NULL);
    CHECK_ERR(waitpid(pid, NULL, 0), EINTR);
    kill(pid, SIGKILL);
    dies_of(pid, SIGKILL);
    group("a wait that a signal ends");
}

static int make_orphan(void *arg)
{
    struct gate *g = arg;
    pid_t pid = fork();
    if (pid == 0) {
        gate_wait(&g[0]); // until our parent is gone
        pid_t now = getppid();
        CHECK(write(g[1].wr, &now, sizeof(now)) == sizeof(now));
        _exit(44);
    }
    return pid < 0;
}

static void orphans(void)
{
    struct gate g[2];
    pid_t now = 0;
    int status;
    gate_make(&g[0]);
    gate_make(&g[1]);
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    pid_t pid = child_run(make_orphan, g);
    exits_with(pid, 0);
    gate_pass(&g[0]);
    CHECK_EQ(read(g[1].rd, &now, sizeof(now)), sizeof(now));
    CHECK_EQ(now, getpid());
    CHECK(wait(&status) > 0);
    CHECK_EQ(WEXITSTATUS(status), 44);
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);

    pid = child_run(make_orphan, g);
    exits_with(pid, 0);
    gate_pass(&g[0]);
    CHECK_EQ(read(g[1].rd, &now, sizeof(now)), sizeof(now));
    CHECK_EQ(now, 1);
    CHECK_ERR(wait(&status), ECHILD); // process 1 has taken care of it
    gate_close(&g[0]);
    gate_close(&g[1]);
    group("orphans");
}

static int with_pdeath(void *arg)
{
    struct gate *g = arg;
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        gate_pass(&g[0]);
        sleep_forever(NULL);
    }
    gate_wait(&g[0]);
    return 0;
}

static void parent_death(void)
{
    struct gate g[2];
    int status;
    gate_make(&g[0]);
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    exits_with(child_run(with_pdeath, g), 0);
    CHECK(wait(&status) > 0);
    CHECK_EQ(status, SIGTERM);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    gate_close(&g[0]);
    group("PR_SET_PDEATHSIG");
}

static int burn(void *arg)
{
    struct timespec t;
    (void)arg;
    do {
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    } while (t.tv_sec == 0 && t.tv_nsec < 50000000);
    return 0;
}

static void usage(void)
{
    struct rusage before, after, its;
    int status;
    getrusage(RUSAGE_CHILDREN, &before);
    pid_t pid = child_run(burn, NULL);
    CHECK_EQ(wait4(pid, &status, 0, &its), pid);
    getrusage(RUSAGE_CHILDREN, &after);
    timeradd(&its.ru_utime, &its.ru_stime, &its.ru_utime);
    CHECK(its.ru_utime.tv_sec > 0 || its.ru_utime.tv_usec >= 49000);
    timeradd(&after.ru_utime, &after.ru_stime, &after.ru_utime);
    timeradd(&before.ru_utime, &before.ru_stime, &before.ru_utime);
    timersub(&after.ru_utime, &before.ru_utime, &after.ru_utime);
    CHECK(after.ru_utime.tv_sec > 0 || after.ru_utime.tv_usec >= 49000);
    group("CPU time of children");
}

#define MANY 200

static pid_t many[MANY];
static atomic_int told[MANY];

static void many_run(void)
{
    for (int i = 0; i < MANY; i++) {
        many[i] = child_run(sleep_forever, NULL);
    }
}

static void *reaper(void *arg)
{
    int status;
    pid_t pid;
    while ((pid = wait4(-1, &status, 0, NULL)) > 0) {
        for (int i = 0; i < MANY; i++) {
            told[i] += many[i] == pid && status == SIGTERM;
        }
    }
    CHECK_EQ(errno, ECHILD);
    return arg;
}

// One that has something to tell is found wherever it is among many that have not, the oldest one
// first; and by as many threads as look, each of them once.
static void among_many(void)
{
    int status, wrong = 0;
    pthread_t t[4];
    siginfo_t info;
    many_run();
    CHECK_EQ(wait4(-1, &status, WNOHANG, NULL), 0);
    for (int i = MANY - 1; i >= MANY / 2; i--) {
        kill(many[i], SIGTERM);
        wrong += wait4(-1, &status, 0, NULL) != many[i];
    }
    CHECK_EQ(wrong, 0);
    CHECK_EQ(wait4(-1, &status, WNOHANG, NULL), 0);
    for (int i = MANY / 2 - 1; i >= 0; i--) {
        kill(many[i], SIGTERM);
        wrong += waitid(P_PID, (id_t)many[i], &info, WEXITED | WNOWAIT) != 0;
    }
    for (int i = 0; i < MANY / 2; i++) {
        wrong += wait4(-1, &status, WNOHANG, NULL) != many[i];
    }
    CHECK_EQ(wrong, 0);
    CHECK_ERR(wait4(-1, &status, WNOHANG, NULL), ECHILD);
    many_run();
    for (int i = 0; i < 4; i++) {
        MUST(pthread_create(&t[i], NULL, reaper, NULL) == 0);
    }
    for (int i = 0; i < MANY; i++) {
        kill(many[i * 77 % MANY], SIGTERM);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
    }
    for (int i = 0; i < MANY; i++) {
        wrong += told[i] != 1;
    }
    CHECK_EQ(wrong, 0);
    group("among many");
}

int main(void)
{
    statuses();
    with_waitid();
    by_group();
    sigchld();
    no_zombies();
    interrupted();
    orphans();
    parent_death();
    usage();
    among_many();
    return finish();
}
