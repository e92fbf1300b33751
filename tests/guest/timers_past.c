// TEST: smp=2 scheme=rcu linux=same
// Timers that were due before the machine began: they come at once, and count what was missed.
#define _GNU_SOURCE
#include "proc_test.h"
#include <poll.h>
#include <stdint.h>
#include <sys/timerfd.h>
#include <time.h>

#define DAY 86400

static long days_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec / DAY;
}

// From the first day of 1970 on, each midnight. Midnight may be now: then look again.
static void periodic_fd(void)
{
    struct itimerspec ts = {{DAY, 0}, {DAY, 0}}, left;
    uint64_t n = 0;
    long before, after;
    do {
        int fd = timerfd_create(CLOCK_REALTIME, 0);
        struct pollfd p = {.fd = fd, .events = POLLIN};
        before = days_now();
        CHECK_EQ(timerfd_settime(fd, TFD_TIMER_ABSTIME, &ts, NULL), 0);
        CHECK_EQ(poll(&p, 1, 10000), 1);
        CHECK_EQ(read(fd, &n, sizeof(n)), sizeof(n));
        CHECK_EQ(timerfd_gettime(fd, &left), 0);
        after = days_now();
        CHECK_EQ(poll(&p, 1, 0), 0);
        close(fd);
    } while (before != after);
    CHECK_EQ(n, before);
    CHECK(left.it_interval.tv_sec == DAY && left.it_value.tv_sec < DAY);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    long next = DAY - now.tv_sec % DAY; // that it is midnight, and not a day from now
    CHECK(left.it_value.tv_sec - next < 10 && next - left.it_value.tv_sec < 10);
    group("a timerfd from 1970 on");
}

static void once_fd(void)
{
    const int clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME};
    for (int k = 0; k < 3; k++) {
        struct itimerspec ts = {{0, 0}, {0, 1}}, left;
        uint64_t n = 0;
        int fd = timerfd_create(clocks[k], 0);
        CHECK_EQ(timerfd_settime(fd, TFD_TIMER_ABSTIME, &ts, NULL), 0);
        CHECK_EQ(read(fd, &n, sizeof(n)), sizeof(n));
        CHECK_EQ(n, 1);
        CHECK_EQ(timerfd_gettime(fd, &left), 0);
        CHECK(left.it_value.tv_sec == 0 && left.it_value.tv_nsec == 0);
        ts.it_value.tv_sec = 5000; // relative, and on its clock again
        CHECK_EQ(timerfd_settime(fd, 0, &ts, NULL), 0);
        CHECK_EQ(timerfd_gettime(fd, &left), 0);
        CHECK(left.it_value.tv_sec > 4000 && left.it_value.tv_sec <= 5000);
        close(fd);
    }
    group("timerfds due long ago");
}

static void posix(void)
{
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    struct itimerspec ts = {{DAY, 0}, {DAY, 0}}, left;
    siginfo_t i;
    sigset_t set;
    timer_t t;
    long before, after;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    CHECK_EQ(timer_create(CLOCK_REALTIME, &ev, &t), 0);
    do {
        before = days_now();
        CHECK_EQ(timer_settime(t, TIMER_ABSTIME, &ts, NULL), 0);
        CHECK_EQ(sigwaitinfo(&set, &i), SIGRTMIN);
        after = days_now();
    } while (before != after);
    CHECK_EQ(timer_getoverrun(t), before - 1);
    CHECK_EQ(timer_gettime(t, &left), 0);
    CHECK(left.it_value.tv_sec < DAY);
    ts = (struct itimerspec){{0, 0}, {5000, 0}};
    CHECK_EQ(timer_settime(t, 0, &ts, NULL), 0);
    CHECK_EQ(timer_gettime(t, &left), 0);
    CHECK(left.it_value.tv_sec > 4000 && left.it_value.tv_sec <= 5000);
    CHECK_EQ(timer_delete(t), 0);
    group("a timer from 1970 on");
}

int main(void)
{
    periodic_fd();
    once_fd();
    posix();
    return finish();
}
