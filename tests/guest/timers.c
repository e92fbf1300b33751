// TEST: linux=same timeout=120
// alarm, setitimer, timer_create: that they come, what they say, what survives fork and exec.
#define _GNU_SOURCE
#include "proc_test.h"
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>

static volatile int count;
static volatile siginfo_t last;
static void on_signal(int sig, siginfo_t *i, void *ctx)
{
    (void)sig, (void)ctx;
    *(siginfo_t *)&last = *i;
    count++;
}

static void handle(int sig)
{
    struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(sig, &sa, NULL);
    count = 0;
}

static void until(int n)
{
    struct timespec ms = {0, 1000000};
    for (int i = 0; i < 20000 && count < n; i++) {
        nanosleep(&ms, NULL);
    }
    CHECK(count >= n);
}

static void real(void)
{
    struct itimerval it = {{0, 5000}, {0, 5000}}, old;
    handle(SIGALRM);
    CHECK_EQ(setitimer(ITIMER_REAL, &it, NULL), 0);
    until(3);
    CHECK_EQ(last.si_code, SI_KERNEL);
    CHECK_EQ(getitimer(ITIMER_REAL, &old), 0);
    CHECK(old.it_interval.tv_usec == 5000 && old.it_value.tv_sec == 0);
    it = (struct itimerval){{0, 0}, {0, 0}};
    CHECK_EQ(setitimer(ITIMER_REAL, &it, &old), 0);
    CHECK_EQ(old.it_interval.tv_usec, 5000);
    CHECK_EQ(getitimer(ITIMER_REAL, &old), 0);
    CHECK(old.it_value.tv_sec == 0 && old.it_value.tv_usec == 0);
    CHECK_EQ(alarm(100), 0);
    CHECK_EQ(alarm(0), 100);
    CHECK_EQ(alarm(0), 0);
    it.it_value.tv_usec = 1000000;
    CHECK_ERR(setitimer(ITIMER_REAL, &it, NULL), EINVAL);
    CHECK_ERR(setitimer(9, &it, NULL), EINVAL);
    CHECK_ERR(getitimer(3, &old), EINVAL);
    group("ITIMER_REAL and alarm");
}

static void cpu(void)
{
    struct itimerval it = {{0, 0}, {0, 20000}};
    struct itimerval off = {{0, 0}, {0, 0}};
    handle(SIGPROF);
    CHECK_EQ(setitimer(ITIMER_PROF, &it, NULL), 0);
    for (volatile long i = 0; i < 20000000000l && !count; i++) {
    }
    CHECK_EQ(count, 1);
    handle(SIGVTALRM);
    CHECK_EQ(setitimer(ITIMER_VIRTUAL, &it, NULL), 0);
    for (volatile long i = 0; i < 20000000000l && !count; i++) {
    }
    CHECK_EQ(count, 1);
    it.it_value.tv_sec = 1000;
    CHECK_EQ(setitimer(ITIMER_PROF, &it, NULL), 0);
    CHECK_EQ(setitimer(ITIMER_PROF, &off, &it), 0);
    CHECK(it.it_value.tv_sec >= 990);
    group("ITIMER_PROF and ITIMER_VIRTUAL");
}

static void posix(void)
{
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1};
    struct itimerspec ts = {{0, 2000000}, {0, 2000000}}, left;
    timer_t t;
    ev.sigev_value.sival_int = 4711;
    handle(SIGRTMIN + 1);
    CHECK_EQ(timer_create(CLOCK_MONOTONIC, &ev, &t), 0);
    CHECK_EQ(timer_settime(t, 0, &ts, NULL), 0);
    until(3);
    CHECK_EQ(last.si_code, SI_TIMER);
    CHECK_EQ(last.si_value.sival_int, 4711);
    CHECK_EQ(timer_gettime(t, &left), 0);
    CHECK(left.it_interval.tv_nsec == 2000000 && left.it_value.tv_nsec > 0);
    CHECK_EQ(timer_delete(t), 0);
    CHECK_ERR(timer_settime(t, 0, &ts, NULL), EINVAL);

    // Expirations while the signal waits are counted in it.
    sigset_t set;
    siginfo_t i;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    CHECK_EQ(timer_create(CLOCK_REALTIME, &ev, &t), 0);
    CHECK_EQ(timer_settime(t, 0, &ts, NULL), 0);
    usleep(50000);
    CHECK_EQ(sigwaitinfo(&set, &i), SIGRTMIN + 1);
    CHECK(i.si_overrun >= 3);
    CHECK_EQ(timer_getoverrun(t), i.si_overrun);
    CHECK_EQ(timer_delete(t), 0);
    while (sigtimedwait(&set, &i, &(struct timespec){0, 0}) > 0) {
    }

    // One that says nothing can be read.
    ev.sigev_notify = SIGEV_NONE;
    ts = (struct itimerspec){{0, 0}, {1000, 0}};
    CHECK_EQ(timer_create(CLOCK_MONOTONIC, &ev, &t), 0);
    CHECK_EQ(timer_settime(t, 0, &ts, NULL), 0);
    CHECK_EQ(timer_gettime(t, &left), 0);
    CHECK(left.it_value.tv_sec >= 990);
    timer_delete(t);
    ev.sigev_notify = 99;
    CHECK_ERR(timer_create(CLOCK_MONOTONIC, &ev, &t), EINVAL);
    CHECK_ERR(timer_create(77, NULL, &t), EINVAL);
    group("timer_create");
}

static int exec_child(const char *self)
{
    struct itimerval it = {{0, 0}, {500, 0}};
    timer_t t;
    timer_create(CLOCK_MONOTONIC, NULL, &t);
    setitimer(ITIMER_REAL, &it, NULL);
    execl(self, self, "after", NULL);
    return 9;
}

static int after_exec(void)
{
    struct itimerval it;
    CHECK_EQ(getitimer(ITIMER_REAL, &it), 0);
    CHECK(it.it_value.tv_sec > 400);    // kept
    CHECK_ERR(timer_delete(0), EINVAL); // gone
    return finish();
}

static int burn(void *arg)
{
    (void)arg;
    for (;;) {
    }
    return 0;
}

static int limited(void *arg)
{
    struct rlimit r = {1, 2};
    setrlimit(RLIMIT_CPU, &r);
    signal(SIGXCPU, SIG_DFL);
    return burn(arg);
}

static void cpu_limit(void)
{
    dies_of(child_run(limited, NULL), SIGXCPU);
    group("RLIMIT_CPU");
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        return after_exec();
    }
    real();
    cpu();
    posix();
    pid_t pid = fork();
    if (pid == 0) {
        _exit(exec_child(argv[0]));
    }
    exits_with(pid, 0);
    group("timers and execve");
    cpu_limit();
    return finish();
}
