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
struct uapi_timezone {
    s32 tz_minuteswest, tz_dsttime;
};
struct uapi_tms {
    s64 tms_utime, tms_stime, tms_cutime, tms_cstime;
};

// adjtimex(2).
struct uapi_timex {
    u32 modes, pad0; // ADJ_*
    s64 offset, freq, maxerror, esterror;
    s32 status, pad1; // STA_*
    s64 constant, precision, tolerance;
    struct uapi_timeval time; // tv_usec: ns if STA_NANO
    s64 tick, ppsfreq, jitter;
    s32 shift, pad2;
    s64 stabil, jitcnt, calcnt, errcnt, stbcnt;
    s32 tai, room[11];
};
_Static_assert(sizeof(struct uapi_timex) == 208, "struct timex");

#define ADJ_OFFSET          0x0001u
#define ADJ_FREQUENCY       0x0002u
#define ADJ_MAXERROR        0x0004u
#define ADJ_ESTERROR        0x0008u
#define ADJ_STATUS          0x0010u
#define ADJ_TIMECONST       0x0020u
#define ADJ_TAI             0x0080u
#define ADJ_SETOFFSET       0x0100u
#define ADJ_MICRO           0x1000u
#define ADJ_NANO            0x2000u
#define ADJ_TICK            0x4000u
#define ADJ_ADJTIME         0x8000u // adjtime(3): with ADJ_OFFSET
#define ADJ_OFFSET_READONLY 0x2000u // beside ADJ_ADJTIME

#define STA_PLL       0x0001
#define STA_INS       0x0010
#define STA_DEL       0x0020
#define STA_UNSYNC    0x0040
#define STA_PPSSIGNAL 0x0100
#define STA_PPSJITTER 0x0200
#define STA_PPSWANDER 0x0400
#define STA_PPSERROR  0x0800
#define STA_CLOCKERR  0x1000
#define STA_NANO      0x2000
#define STA_MODE      0x4000
#define STA_CLK       0x8000

#define TIME_OK    0
#define TIME_ERROR 5

#endif
