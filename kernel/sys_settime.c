// Setting the wall clock: clock_settime(2), settimeofday(2), adjtimex(2). The clock is in
// kernel/wall.c.
//
// Linux's adjtimex is a clock discipline: it changes the rate of CLOCK_REALTIME and CLOCK_MONOTONIC
// alike, in steps too small to see, and inserts leap seconds. This clock has the rate of the
// counter it is made of and no other. So: what the daemon of a clock tells others through the call
// is kept and told (status, errors, constant, TAI offset), ADJ_SETOFFSET moves the clock, and what
// would change the rate or wait for midnight is EOPNOTSUPP, unless it asks for what is so anyway.
// Nothing has changed then.
//
// The estimate of the largest error grows as it does on Linux, by MAX_PPM of the time since it was
// set; at the limit the clock counts as not synchronised. It is worked out when somebody asks.
#include <arch/time.h>
#include <arch/uaccess.h>
#include <k/errno.h>
#include <k/lock.h>
#include <proc.h>
#include <sched.h>
#include <syscalls.h>

#include "time_priv.h"

#define ERROR_LIMIT_US 16000000
#define MAX_PPM        500
#define PPM_UNIT       65536 // struct timex has frequencies in parts of this of a ppm
#define CONSTANT_MAX   10
#define TAI_MAX        100000
#define TICK_US        (1000000 / USER_HZ)
#define ZONE_MAX_MIN   (15 * 60)

#define STA_READ_ONLY                                                                              \
    (STA_PPSSIGNAL | STA_PPSJITTER | STA_PPSWANDER | STA_PPSERROR | STA_CLOCKERR | STA_NANO |      \
     STA_MODE | STA_CLK)

static struct mutex adjust_lock = MUTEX_INIT(adjust_lock, RANK_SLEEP_MISC);
static struct {
    s32 status, tai;              // [adjust_lock] all of it
    s64 maxerror_us, esterror_us; // the first as of `since_ns`
    s64 constant;
    u64 since_ns; // clock_ns units
} adjust = {
    .status = STA_UNSYNC,
    .maxerror_us = ERROR_LIMIT_US,
    .esterror_us = ERROR_LIMIT_US,
    .constant = 2,
};

// --- Setting -------------------------------------------------------------------------------------

// Nobody knows how good the time is that somebody has set.
static void adjust_forget(void)
{
    mutex_lock(&adjust_lock);
    adjust.status |= STA_UNSYNC;
    adjust.maxerror_us = adjust.esterror_us = ERROR_LIMIT_US;
    mutex_unlock(&adjust_lock);
}

static int time_set(u64 sec, u64 nsec)
{
    // Later ones are none that wall_set would take, and must not become ones that it would.
    u64 ns = sec < TIME_NEVER / NSEC_PER_SEC ? sec * NSEC_PER_SEC + nsec : TIME_NEVER;
    int err = wall_set(ns);

    if (!err) {
        adjust_forget();
    }
    return err;
}

static int timespec_set(const struct uapi_timespec *ts)
{
    if (ts->tv_sec < 0 || (u64)ts->tv_nsec >= NSEC_PER_SEC) {
        return -EINVAL;
    }
    return !current_has_cap(CAP_SYS_TIME) ? -EPERM : time_set((u64)ts->tv_sec, (u64)ts->tv_nsec);
}

s64 sys_clock_settime(const u64 *a)
{
    s32 clock = (s32)a[0];
    struct uapi_timespec ts;

    // A clock of CPU time that clock_getcpuclockid gave is one that nobody may set.
    if (clock != CLOCK_REALTIME && (clock >= 0 || clock_decode(clock) < 0)) {
        return -EINVAL;
    }
    if (arch_copy_from_user(&ts, (const void *)a[1], sizeof(ts))) {
        return -EFAULT;
    }
    return clock == CLOCK_REALTIME ? timespec_set(&ts) : -EPERM;
}

// --- The time zone -------------------------------------------------------------------------------

static atomic_ulong zone; // [a] struct uapi_timezone: read and replaced as one
static atomic_bool zone_was_set;

struct uapi_timezone time_zone_get(void)
{
    u64 z = load_relaxed(&zone);

    return (struct uapi_timezone){(s32)(u32)z, (s32)(z >> 32)};
}

// The first zone of all, if it comes without a time, says that the clock was set by one that keeps
// local time (settimeofday(2)): it becomes UTC.
static int zone_set(const struct uapi_timezone *z, bool with_time)
{
    if (z->tz_minuteswest < -ZONE_MAX_MIN || z->tz_minuteswest > ZONE_MAX_MIN) {
        return -EINVAL;
    }
    store_relaxed(&zone, (u64)(u32)z->tz_minuteswest | (u64)(u32)z->tz_dsttime << 32);
    bool first =
        !atomic_exchange(&zone_was_set, true); // pairs with itself: one caller is the first
    if (first && !with_time && z->tz_minuteswest) {
        (void)wall_step(z->tz_minuteswest * 60ll * (s64)NSEC_PER_SEC); // or it stays as it is
        adjust_forget();
    }
    return 0;
}

s64 sys_settimeofday(const u64 *a)
{
    struct uapi_timeval tv = {0};
    struct uapi_timezone z;
    int err = 0;

    if (a[0] && arch_copy_from_user(&tv, (const void *)a[0], sizeof(tv))) {
        return -EFAULT;
    }
    if (tv.tv_sec < 0 || tv.tv_usec < 0 || tv.tv_usec >= 1000000) {
        return -EINVAL;
    }
    if (a[1] && arch_copy_from_user(&z, (const void *)a[1], sizeof(z))) {
        return -EFAULT;
    }
    if (!current_has_cap(CAP_SYS_TIME)) {
        return -EPERM;
    }
    if (a[1]) {
        err = zone_set(&z, a[0]);
    }
    return err || !a[0] ? err : time_set((u64)tv.tv_sec, (u64)tv.tv_usec * NSEC_PER_USEC);
}

// --- adjtimex ------------------------------------------------------------------------------------

static int adjust_check(const struct uapi_timex *t)
{
    s64 part = t->modes & ADJ_NANO ? (s64)NSEC_PER_SEC : 1000000;
    bool singleshot = t->modes & ADJ_ADJTIME;

    if (singleshot && !(t->modes & ADJ_OFFSET)) {
        return -EINVAL;
    }
    if ((singleshot ? !(t->modes & ADJ_OFFSET_READONLY) : t->modes != 0) &&
        !current_has_cap(CAP_SYS_TIME)) {
        return -EPERM;
    }
    if (!singleshot && (t->modes & ADJ_TICK) &&
        (t->tick < TICK_US * 9 / 10 || t->tick > TICK_US * 11 / 10)) {
        return -EINVAL;
    }
    if ((t->modes & ADJ_SETOFFSET) && (t->time.tv_usec < 0 || t->time.tv_usec >= part)) {
        return -EINVAL;
    }
    return 0;
}

// What asks for another rate, or for a leap second.
static bool adjust_is_absent_locked(const struct uapi_timex *t)
{
    s32 status = t->modes & ADJ_STATUS ? t->status : adjust.status;

    if (t->modes & ADJ_ADJTIME) {
        return !(t->modes & ADJ_OFFSET_READONLY) && t->offset;
    }
    return ((t->modes & ADJ_OFFSET) && (status & STA_PLL) && t->offset) ||
           ((t->modes & ADJ_FREQUENCY) && t->freq) ||
           ((t->modes & ADJ_TICK) && t->tick != TICK_US) ||
           ((t->modes & ADJ_STATUS) && (status & (STA_INS | STA_DEL)));
}

static int adjust_move(const struct uapi_timex *t)
{
    s64 part = t->modes & ADJ_NANO ? t->time.tv_usec : t->time.tv_usec * (s64)NSEC_PER_USEC, ns;

    if (__builtin_mul_overflow(t->time.tv_sec, (s64)NSEC_PER_SEC, &ns) ||
        __builtin_add_overflow(ns, part, &ns)) {
        return -EINVAL;
    }
    int err = wall_step(ns);
    if (!err) {
        adjust_forget();
    }
    return err;
}

static s64 between(s64 v, s64 least, s64 most)
{
    return min(max(v, least), most);
}

// How far off the clock may be by now; at the limit it is anybody's guess.
static void adjust_age_locked(void)
{
    u64 grown = (clock_ns() - adjust.since_ns) / NSEC_PER_SEC;

    adjust.since_ns += grown * NSEC_PER_SEC;
    adjust.maxerror_us += (s64)min(grown, (u64)ERROR_LIMIT_US) * MAX_PPM;
    if (adjust.maxerror_us > ERROR_LIMIT_US) {
        adjust.maxerror_us = ERROR_LIMIT_US;
        adjust.status |= STA_UNSYNC;
    }
}

static void adjust_keep_locked(const struct uapi_timex *t)
{
    if (t->modes & ADJ_STATUS) {
        adjust.status = (adjust.status & STA_READ_ONLY) | (t->status & ~STA_READ_ONLY);
    }
    if (t->modes & ADJ_NANO) {
        adjust.status |= STA_NANO;
    }
    if (t->modes & ADJ_MICRO) {
        adjust.status &= ~STA_NANO;
    }
    if (t->modes & ADJ_MAXERROR) {
        adjust.maxerror_us = between(t->maxerror, 0, ERROR_LIMIT_US);
        adjust.since_ns = clock_ns();
    }
    if (t->modes & ADJ_ESTERROR) {
        adjust.esterror_us = between(t->esterror, 0, ERROR_LIMIT_US);
    }
    if (t->modes & ADJ_TIMECONST) {
        s64 c = between(t->constant, -CONSTANT_MAX, CONSTANT_MAX);
        adjust.constant = between(c + (adjust.status & STA_NANO ? 0 : 4), 0, CONSTANT_MAX);
    }
    if ((t->modes & ADJ_TAI) && t->constant >= 0 && t->constant <= TAI_MAX) {
        adjust.tai = (s32)t->constant;
    }
}

static int adjust_tell_locked(struct uapi_timex *t)
{
    u64 now = wall_ns(), part = now % NSEC_PER_SEC;

    *t = (struct uapi_timex){
        .modes = t->modes,
        .maxerror = adjust.maxerror_us,
        .esterror = adjust.esterror_us,
        .status = adjust.status,
        .constant = adjust.constant,
        .precision = 1,
        .tolerance = (s64)MAX_PPM * PPM_UNIT,
        .time = {(s64)(now / NSEC_PER_SEC),
                 (s64)(adjust.status & STA_NANO ? part : part / NSEC_PER_USEC)},
        .tick = TICK_US,
        .tai = adjust.tai,
    };
    return adjust.status & (STA_UNSYNC | STA_CLOCKERR) ? TIME_ERROR : TIME_OK;
}

// The state of the clock (TIME_*), or errno.
static s64 clock_adjust(u64 user)
{
    struct uapi_timex t;
    s64 r;

    if (arch_copy_from_user(&t, (const void *)user, sizeof(t))) {
        return -EFAULT;
    }
    r = adjust_check(&t);
    if (r) {
        return r;
    }
    mutex_lock(&adjust_lock);
    bool absent = adjust_is_absent_locked(&t);
    mutex_unlock(&adjust_lock);
    if (absent) {
        return syscall_missing("adjtimex: another rate, a leap second", -EOPNOTSUPP);
    }
    r = t.modes & ADJ_SETOFFSET ? adjust_move(&t) : 0;
    if (r) {
        return r;
    }
    mutex_lock(&adjust_lock);
    adjust_age_locked();
    if (!(t.modes & ADJ_ADJTIME)) {
        adjust_keep_locked(&t);
    }
    r = adjust_tell_locked(&t);
    mutex_unlock(&adjust_lock);
    return arch_copy_to_user((void *)user, &t, sizeof(t)) ? -EFAULT : r;
}

s64 sys_adjtimex(const u64 *a)
{
    return clock_adjust(a[0]);
}

s64 sys_clock_adjtime(const u64 *a)
{
    u64 ns;
    int clock = clock_decode((s32)a[0]), err = clock_read_ns(clock, &ns);

    if (err) {
        return err;
    }
    return clock == CLOCK_REALTIME ? clock_adjust(a[1]) : -EOPNOTSUPP;
}
