// TEST: linux=same timeout=120
// Ten thousands of POSIX timers: each is found by its number, each on CPU time expires once and in
// order, one of a thread that has ended stands still, and other processes' timers come beside them.
#define _GNU_SOURCE
#include "proc_test.h"
#include <pthread.h>
#include <sys/resource.h>
#include <time.h>

#define MANY 20000
#define CPU  300 // on each clock
#define BEAT 20

static timer_t all[MANY];

static void sig_block(int sig)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, sig);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

// The kernel's own call: the C library's keeps a list of what it made.
static int create(int clock, int how, int sig, int value, timer_t *t)
{
    struct sigevent ev = {.sigev_notify = how, .sigev_signo = sig};
    int id = -1;
    ev.sigev_value.sival_int = value;
    int r = (int)syscall(SYS_timer_create, clock, &ev, &id);
    *t = (timer_t)(long)id;
    return r;
}

static void found(void)
{
    struct itimerspec spec = {{1, 0}, {100000, 0}}, now;
    unsigned wrong = 0;
    for (int k = 0; k < MANY; k++) {
        wrong += create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN, k, &all[k]) != 0;
        spec.it_interval.tv_sec = k + 1;
        wrong += timer_settime(all[k], 0, &spec, NULL) != 0;
    }
    for (int k = 0; k < MANY; k += 3) {
        wrong += timer_delete(all[k]) != 0;
    }
    CHECK_EQ(wrong, 0);
    for (int i = 0; i < MANY; i++) {
        int k = (int)(i * 7919l % MANY); // 7919 is prime: each once
        int r = timer_gettime(all[k], &now);
        if (k % 3 == 0) {
            wrong += r != -1 || errno != EINVAL;
        } else {
            wrong += r != 0 || now.it_interval.tv_sec != k + 1;
        }
    }
    CHECK_EQ(wrong, 0);
    for (int k = 0; k < MANY; k++) {
        int r = timer_delete(all[k]);
        wrong += k % 3 ? r != 0 : r != -1 || errno != EINVAL;
    }
    CHECK_EQ(wrong, 0);
    group("each of many timers is found");
}

static long cpu_us(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000 + r.ru_utime.tv_usec +
           r.ru_stime.tv_usec;
}

// Timers on this clock, due from lead_ns on, a microsecond apart, set in another order than they
// are due in. True: all were set before the first was due.
static int cpu_set(int clock, long lead_ns, timer_t t[CPU])
{
    struct timespec now, then;
    clock_gettime(clock, &now);
    for (int k = 0; k < CPU; k++) {
        int at = k * 7 % CPU; // 7 does not divide it
        long ns = now.tv_nsec + lead_ns + at * 1000;
        struct itimerspec spec = {{0, 0}, {now.tv_sec + ns / 1000000000, ns % 1000000000}};
        MUST(create(clock, SIGEV_SIGNAL, SIGRTMIN, at, &t[k]) == 0);
        MUST(timer_settime(t[k], TIMER_ABSTIME, &spec, NULL) == 0);
    }
    clock_gettime(clock, &then);
    return (then.tv_sec - now.tv_sec) * 1000000000 + then.tv_nsec - now.tv_nsec < lead_ns;
}

// They expire once and in order. Linux works off 20 of a clock at a tick. A machine that stands
// still meanwhile counts as CPU time: who is late sets them again, for later.
static void cpu_once(int clock, const char *what)
{
    static unsigned came[CPU];
    timer_t t[CPU];
    struct timespec none = {0, 0};
    unsigned wrong = 0;
    long lead_ns = 50000000;
    int last = -1, n = 0;
    siginfo_t i;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    memset(came, 0, sizeof(came));
    for (; !cpu_set(clock, lead_ns, t); lead_ns *= 2) {
        for (int k = 0; k < CPU; k++) {
            MUST(timer_delete(t[k]) == 0);
        }
        while (sigtimedwait(&set, &i, &none) == SIGRTMIN) {
        }
    }
    for (long from = cpu_us(); n < CPU && cpu_us() - from < 20000000;) {
        while (sigtimedwait(&set, &i, &none) == SIGRTMIN) {
            wrong += i.si_code != SI_TIMER || i.si_value.sival_int < last;
            last = i.si_value.sival_int;
            came[last]++;
            n++;
        }
    }
    for (int k = 0; k < CPU; k++) {
        wrong += came[k] != 1;
        wrong += timer_delete(t[k]) != 0;
    }
    CHECK_EQ(wrong, 0);
    group(what);
}

static void *timer_of_thread(void *arg)
{
    struct itimerspec soon = {{0, 1000000}, {0, 1}};
    CHECK_EQ(create(CLOCK_THREAD_CPUTIME_ID, SIGEV_SIGNAL, SIGRTMIN, 0, arg), 0);
    CHECK_EQ(create(CLOCK_THREAD_CPUTIME_ID, SIGEV_SIGNAL, SIGRTMIN, 0, (timer_t *)arg + 1), 0);
    CHECK_EQ(timer_settime(*(timer_t *)arg, 0, &soon, NULL), 0);
    return (void *)syscall(SYS_gettid);
}

static void ended_thread(void)
{
    struct itimerspec spec = {{0, 1000000}, {0, 1}}, now;
    struct timespec none = {0, 0};
    timer_t t[2];
    pthread_t th;
    siginfo_t i;
    sigset_t set;
    void *tid;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    MUST(pthread_create(&th, NULL, timer_of_thread, t) == 0);
    MUST(pthread_join(th, &tid) == 0);
    while (syscall(SYS_tgkill, getpid(), (int)(long)tid, 0) == 0) {
        sched_yield();
    }
    for (int k = 0; k < 2; k++) {
        CHECK_ERR(timer_settime(t[k], 0, &spec, NULL), ESRCH);
        memset(&now, 1, sizeof(now));
        CHECK_EQ(timer_gettime(t[k], &now), 0);
        CHECK(now.it_value.tv_sec == 0 && now.it_value.tv_nsec == 0);
        CHECK(now.it_interval.tv_sec == 0 && now.it_interval.tv_nsec == 0);
    }
    while (sigtimedwait(&set, &i, &none) == SIGRTMIN) { // while it lived
    }
    for (long from = cpu_us(); cpu_us() - from < 50000;) {
    }
    CHECK_ERR(sigtimedwait(&set, &i, &none), EAGAIN);
    CHECK_EQ(timer_delete(t[0]), 0);
    CHECK_EQ(timer_delete(t[1]), 0);
    group("a timer on the time of a thread that has ended");
}

// A child's timers are due all the time; ours come, and it can be killed.
static int flood(void *arg)
{
    struct itimerspec us = {{0, 1000}, {0, 1000}};
    for (int k = 0; k < MANY; k++) {
        MUST(create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN, k, &all[k]) == 0);
        MUST(timer_settime(all[k], 0, &us, NULL) == 0);
    }
    MUST(write(*(int *)arg, "", 1) == 1);
    for (;;) {
        pause();
    }
}

static void beside(void)
{
    struct itimerspec ms = {{0, 1000000}, {0, 1000000}};
    int fds[2];
    siginfo_t i;
    sigset_t set;
    timer_t t;
    char c;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    MUST(pipe(fds) == 0);
    pid_t pid = child_run(flood, &fds[1]);
    MUST(read(fds[0], &c, 1) == 1);
    CHECK_EQ(create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN, 9, &t), 0);
    CHECK_EQ(timer_settime(t, 0, &ms, NULL), 0);
    for (int n = 0; n < BEAT; n++) {
        CHECK_EQ(sigwaitinfo(&set, &i), SIGRTMIN);
        CHECK_EQ(i.si_value.sival_int, 9);
    }
    CHECK_EQ(timer_delete(t), 0);
    MUST(kill(pid, SIGKILL) == 0);
    CHECK_EQ(child_wait(pid), SIGKILL);
    group("another process's timers");
}

int main(void)
{
    struct rlimit r = {MANY + 1, MANY + 1};
    MUST(setrlimit(RLIMIT_SIGPENDING, &r) == 0);
    sig_block(SIGRTMIN);
    found();
    cpu_once(CLOCK_PROCESS_CPUTIME_ID, "many timers on the time of the process");
    cpu_once(CLOCK_THREAD_CPUTIME_ID, "many timers on the time of a thread");
    ended_thread();
    beside();
    return finish();
}
