// TEST: smp=1,4 scheme=rcu linux=same timeout=60
// Clocks and sleeps.
#define _GNU_SOURCE
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static double now(clockid_t clock)
{
    struct timespec ts;

    CHECK(clock_gettime(clock, &ts) == 0);
    CHECK(ts.tv_nsec >= 0 && ts.tv_nsec < 1000000000);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void reading(void)
{
    static const clockid_t all[] = {CLOCK_REALTIME,           CLOCK_MONOTONIC,
                                    CLOCK_MONOTONIC_RAW,      CLOCK_BOOTTIME,
                                    CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
    struct timespec ts;
    struct timeval tv;

    for (unsigned c = 0; c < sizeof(all) / sizeof(all[0]); c++) {
        double last = now(all[c]);

        for (int i = 0; i < 1000; i++) {
            double t = now(all[c]);

            CHECK(t >= last);
            last = t;
        }
    }
    CHECK_ERRNO(clock_gettime(77, &ts), EINVAL);
    CHECK(gettimeofday(&tv, NULL) == 0);
    CHECK(now(CLOCK_REALTIME) - ((double)tv.tv_sec + (double)tv.tv_usec / 1e6) < 5);
    CHECK(now(CLOCK_REALTIME) > 1.6e9);
    CHECK(clock_getres(CLOCK_MONOTONIC, &ts) == 0 && ts.tv_sec == 0 && ts.tv_nsec == 1);
    CHECK(time(NULL) >= tv.tv_sec - 1);
    ok("reading");
}

static void sleeping(void)
{
    struct timespec ts = {0, 30000000}, bad = {0, -1};
    double start = now(CLOCK_MONOTONIC);

    CHECK(nanosleep(&ts, NULL) == 0);
    CHECK(now(CLOCK_MONOTONIC) - start >= 0.03);
    CHECK_ERRNO(nanosleep(&bad, NULL), EINVAL);
    CHECK_ERRNO(nanosleep((void *)8, NULL), EFAULT);
    CHECK(clock_nanosleep(77, 0, &ts, NULL) == EINVAL);
    CHECK(clock_gettime(CLOCK_REALTIME, &ts) == 0);
    start = now(CLOCK_MONOTONIC);
    ts.tv_nsec += 50000000;
    ts.tv_sec += ts.tv_nsec / 1000000000;
    ts.tv_nsec %= 1000000000;
    CHECK(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &ts, NULL) == 0);
    CHECK(now(CLOCK_MONOTONIC) - start >= 0.04);
    ts = (struct timespec){1, 0}; // long ago
    CHECK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == 0);
    ok("sleeping");
}

static void cpu_time(void)
{
    double start = now(CLOCK_PROCESS_CPUTIME_ID), wall = now(CLOCK_MONOTONIC);
    struct rusage usage;

    while (now(CLOCK_PROCESS_CPUTIME_ID) - start < 0.05) {
        CHECK(now(CLOCK_MONOTONIC) - wall < 30);
    }
    start = now(CLOCK_THREAD_CPUTIME_ID);
    usleep(50000);
    CHECK(now(CLOCK_THREAD_CPUTIME_ID) - start < 0.045);
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    CHECK(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec > 0 ||
          usage.ru_utime.tv_usec + usage.ru_stime.tv_usec >= 40000);
    CHECK(times(NULL) != (clock_t)-1);
    ok("CPU time");
}

int main(void)
{
    reading();
    sleeping();
    cpu_time();
    return 0;
}
