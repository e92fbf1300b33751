// TEST: linux=same timeout=120 scheme=rcu
// Timers in numbers and of absurd intervals: how many there may be, that each comes, and that a
// program goes on beside them.
#define _GNU_SOURCE
#include "proc_test.h"
#include <limits.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#define PLACES 50
#define MANY   400
#define TINY   5000 // so many that one comes while the others are worked off

static volatile unsigned came[MANY];
static volatile int count;

static void on_signal(int sig, siginfo_t *i, void *ctx)
{
    (void)sig, (void)ctx;
    count++;
    if (i->si_code == SI_TIMER && (unsigned)i->si_value.sival_int < MANY) {
        came[i->si_value.sival_int]++;
    }
}

static void handle(int sig)
{
    struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(sig, &sa, NULL);
    count = 0;
}

static void block(int how, int sig)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, sig);
    sigprocmask(how, &set, NULL);
}

static int create(int clock, int sig, int value, timer_t *t)
{
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = sig};
    ev.sigev_value.sival_int = value;
    return timer_create(clock, &ev, t);
}

// A timer has a place among the pending signals from its beginning.
static void places(void)
{
    struct rlimit r = {PLACES, PLACES}, old;
    timer_t t[PLACES + 1];
    int n = 0;
    getrlimit(RLIMIT_SIGPENDING, &old);
    r.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_SIGPENDING, &r);
    block(SIG_BLOCK, SIGRTMIN);
    while (n <= PLACES && create(CLOCK_MONOTONIC, SIGRTMIN, 0, &t[n]) == 0) {
        n++;
    }
    CHECK_EQ(n, PLACES);
    CHECK_EQ(errno, EAGAIN);
    CHECK_ERR(timer_create(CLOCK_MONOTONIC, NULL, &t[n]), EAGAIN);
    CHECK_ERR(sigqueue(getpid(), SIGRTMIN, (union sigval){0}), EAGAIN);
    struct itimerspec soon = {{0, 0}, {0, 1}};
    siginfo_t i;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    for (int k = 0; k < PLACES; k++) { // none of their signals is lost
        CHECK_EQ(timer_settime(t[k], 0, &soon, NULL), 0);
        CHECK_EQ(sigwaitinfo(&set, &i), SIGRTMIN);
        CHECK_EQ(i.si_code, SI_TIMER);
    }
    CHECK_EQ(timer_delete(t[--n]), 0);
    CHECK_EQ(sigqueue(getpid(), SIGRTMIN, (union sigval){0}), 0);
    CHECK_ERR(create(CLOCK_MONOTONIC, SIGRTMIN, 0, &t[n]), EAGAIN);
    CHECK_EQ(sigwaitinfo(&set, &i), SIGRTMIN);
    CHECK_ERR(syscall(SYS_timer_create, CLOCK_MONOTONIC, 1, &t[n]), EFAULT); // and takes no place
    CHECK_EQ(create(CLOCK_MONOTONIC, SIGRTMIN, 0, &t[n]), 0);
    for (int k = 0; k < PLACES; k++) {
        CHECK_EQ(timer_delete(t[k]), 0);
    }
    block(SIG_UNBLOCK, SIGRTMIN);
    setrlimit(RLIMIT_SIGPENDING, &old);
    group("RLIMIT_SIGPENDING bounds timers");
}

// A siginfo that says it is a timer's, with an overrun no timer has, is nothing to the timer.
static void forged(void)
{
    siginfo_t i = {0};
    sigset_t set;
    timer_t t;
    struct itimerspec soon = {{0, 0}, {0, 1}};
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    block(SIG_BLOCK, SIGRTMIN);
    CHECK_EQ(create(CLOCK_MONOTONIC, SIGRTMIN, 0, &t), 0);
    i.si_code = SI_TIMER;
    i.si_timerid = (int)(long)t;
    i.si_overrun = INT_MIN;
    CHECK_EQ(syscall(SYS_rt_sigqueueinfo, getpid(), SIGRTMIN, &i), 0);
    CHECK_EQ(timer_settime(t, 0, &soon, NULL), 0); // its own signal comes beside it
    CHECK_EQ(sigwaitinfo(&set, &i), SIGRTMIN);
    CHECK_EQ(timer_getoverrun(t), 0);
    CHECK_EQ(sigwaitinfo(&set, &i), SIGRTMIN);
    CHECK_EQ(i.si_code, SI_TIMER);
    CHECK_EQ(timer_getoverrun(t), 0);
    CHECK_EQ(timer_delete(t), 0);
    block(SIG_UNBLOCK, SIGRTMIN);
    group("a forged siginfo of a timer");
}

// Set in an order that is none, some taken back; each of the others comes once.
static void all_come(void)
{
    struct timespec ms = {0, 1000000};
    static timer_t t[MANY];
    unsigned wrong = 0;
    handle(SIGRTMIN + 2);
    memset((void *)came, 0, sizeof(came));
    for (int k = 0; k < MANY; k++) {
        CHECK_EQ(create(CLOCK_MONOTONIC, SIGRTMIN + 2, k, &t[k]), 0);
    }
    for (int k = 0; k < MANY; k++) {
        long us = k % 7 == 0 ? 1000000000 : 1000 + k * 7919l % 100003;
        struct itimerspec at = {{0, 0}, {us / 1000000, us % 1000000 * 1000}};
        CHECK_EQ(timer_settime(t[k], 0, &at, NULL), 0);
    }
    for (int k = 0; k < MANY; k += 7) {
        CHECK_EQ(timer_delete(t[k]), 0);
    }
    for (int i = 0; i < 20000 && count < MANY - (MANY + 6) / 7; i++) {
        nanosleep(&ms, NULL);
    }
    for (int k = 0; k < MANY; k++) {
        wrong += came[k] != (k % 7 != 0);
        if (k % 7) {
            timer_delete(t[k]);
        }
    }
    CHECK_EQ(wrong, 0);
    group("many timers");
}

// So much CPU time that ticks come by.
static void work(void)
{
    struct rusage from, now;
    getrusage(RUSAGE_SELF, &from);
    do {
        for (volatile int i = 0; i < 100000; i++) {
        }
        getrusage(RUSAGE_SELF, &now);
    } while ((now.ru_utime.tv_sec - from.ru_utime.tv_sec) * 1000000 + now.ru_utime.tv_usec -
                 from.ru_utime.tv_usec <
             100000);
}

static void cpu_nanosecond(void)
{
    struct itimerspec ns = {{0, 1}, {0, 1}};
    timer_t t;
    block(SIG_BLOCK, SIGRTMIN + 3);
    handle(SIGRTMIN + 3);
    for (int round = 0; round < 2; round++) {
        int clock = round ? CLOCK_THREAD_CPUTIME_ID : CLOCK_PROCESS_CPUTIME_ID;
        CHECK_EQ(create(clock, SIGRTMIN + 3, 0, &t), 0);
        CHECK_EQ(timer_settime(t, 0, &ns, NULL), 0);
        work();
        block(SIG_UNBLOCK, SIGRTMIN + 3);
        work();
        CHECK(count > 0);
        CHECK(timer_getoverrun(t) > 0);
        CHECK_EQ(timer_delete(t), 0);
        block(SIG_BLOCK, SIGRTMIN + 3);
    }
    group("a nanosecond of CPU time");
}

#define SLEEPERS 3000 // so many that not every tick looks at the time of all

static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;

static void *sleeper(void *arg)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_mutex_lock(&held);
    pthread_mutex_unlock(&held);
    return arg;
}

static void crowded(void)
{
    struct itimerval soon = {{0, 0}, {0, 20000}};
    static pthread_t t[SLEEPERS];
    pthread_attr_t a;
    pthread_attr_init(&a);
    pthread_attr_setstacksize(&a, 32768);
    pthread_mutex_lock(&held);
    for (int k = 0; k < SLEEPERS; k++) {
        MUST(pthread_create(&t[k], &a, sleeper, NULL) == 0);
    }
    handle(SIGPROF);
    CHECK_EQ(setitimer(ITIMER_PROF, &soon, NULL), 0);
    for (int k = 0; k < 50 && !count; k++) {
        work();
    }
    CHECK_EQ(count, 1);
    pthread_mutex_unlock(&held);
    for (int k = 0; k < SLEEPERS; k++) {
        pthread_join(t[k], NULL);
    }
    group("CPU time of many threads");
}

static void tiny(void)
{
    struct itimerspec us = {{0, 1000}, {0, 1000}};
    struct rlimit r = {TINY, TINY};
    static timer_t t[TINY];
    setrlimit(RLIMIT_SIGPENDING, &r);
    block(SIG_BLOCK, SIGRTMIN + 4);
    for (int k = 0; k < TINY; k++) {
        CHECK_EQ(create(CLOCK_MONOTONIC, SIGRTMIN + 4, k, &t[k]), 0);
        CHECK_EQ(timer_settime(t[k], 0, &us, NULL), 0);
    }
    work();
    pid_t pid = fork();
    if (pid == 0) {
        work();
        _exit(3);
    }
    exits_with(pid, 3);
    for (int k = 0; k < TINY; k++) {
        CHECK_EQ(timer_delete(t[k]), 0);
    }
    group("many timers of a microsecond");
}

int main(void)
{
    places();
    forged();
    all_come();
    cpu_nanosecond();
    crowded();
    tiny();
    return finish();
}
