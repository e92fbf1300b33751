// The Linux ABI of clocks.
#ifndef UAPI_TIME_H
#define UAPI_TIME_H

#include <k/types.h>

#define CLOCK_REALTIME           0
#define CLOCK_MONOTONIC          1
#define CLOCK_PROCESS_CPUTIME_ID 2
#define CLOCK_THREAD_CPUTIME_ID  3
#define CLOCK_MONOTONIC_RAW      4
#define CLOCK_REALTIME_COARSE    5
#define CLOCK_MONOTONIC_COARSE   6
#define CLOCK_BOOTTIME           7

#define TIMER_ABSTIME 1

#define NSEC_PER_SEC  1000000000ull
#define NSEC_PER_USEC 1000ull
#define USER_HZ       100

struct uapi_timespec {
    s64 tv_sec, tv_nsec;
};
struct uapi_timeval {
    s64 tv_sec, tv_usec;
};
struct uapi_tms {
    s64 tms_utime, tms_stime, tms_cutime, tms_cstime;
};

#endif
