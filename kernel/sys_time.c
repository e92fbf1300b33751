// Clocks and sleeping.
//
// There is one hardware clock, clock_ns(), and the wall clock made of it, CLOCK_REALTIME, which can
// be set (kernel/sys_settime.c). A deadline on the wall clock stays one, so that it follows; what
// is to take so long, on whatever clock, is a deadline in clock_ns units, as are times of the other
// clocks.
#include <arch/time.h>
#include <arch/uaccess.h>
#include <k/errno.h>
#include <proc.h>
#include <signal.h>
#include <syscalls.h>
#include <uapi/time.h>

#include "time_priv.h"

#define TICK_NS (NSEC_PER_SEC / 250) // what the coarse clocks claim

int clock_read_ns(int clock, u64 *ns)
{
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        *ns = wall_ns();
        return 0;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
        *ns = clock_ns();
        return 0;
    case CLOCK_PROCESS_CPUTIME_ID:
        *ns = process_runtime_ns(current_process());
        return 0;
    case CLOCK_THREAD_CPUTIME_ID:
        *ns = thread_runtime_ns(current_thread());
        return 0;
    default:
        return -EINVAL;
    }
}

// Clock numbers of other threads and processes (clock_getcpuclockid): negative, the low three bits
// say what, the rest is ~id. Only our own.
int clock_decode(s32 clock)
{
    s32 id = ~(clock >> 3);

    if (clock >= 0) {
        return clock;
    }
    if ((clock & 3) == 3 ||
        (id != 0 && id != current_process()->pid && id != current_task()->tid)) {
        return -1;
    }
    return clock & 4 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_PROCESS_CPUTIME_ID;
}

static int timespec_to_user(u64 to, u64 ns)
{
    struct uapi_timespec ts = {(s64)(ns / NSEC_PER_SEC), (s64)(ns % NSEC_PER_SEC)};

    return arch_copy_to_user((void *)to, &ts, sizeof(ts)) ? -EFAULT : 0;
}

static int timespec_from_user(u64 from, u64 *ns)
{
    struct uapi_timespec ts;

    if (arch_copy_from_user(&ts, (const void *)from, sizeof(ts))) {
        return -EFAULT;
    }
    if (ts.tv_sec < 0 || (u64)ts.tv_nsec >= NSEC_PER_SEC) {
        return -EINVAL;
    }
    // Anything beyond some 290 years is for ever.
    *ns = (u64)ts.tv_sec >= (TIME_NEVER >> 1) / NSEC_PER_SEC
              ? TIME_NEVER
              : (u64)ts.tv_sec * NSEC_PER_SEC + (u64)ts.tv_nsec;
    return 0;
}

int deadline_from_user(u64 timespec, int clock, bool absolute, u64 *deadline_ns)
{
    u64 ns;
    int err = timespec_from_user(timespec, &ns);

    if (err) {
        return err;
    }
    if (ns == TIME_NEVER) {
        *deadline_ns = ns;
        return 0;
    }
    if (!absolute) {
        *deadline_ns = clock_ns() + ns;
        return 0;
    }
    if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME) {
        return -EINVAL;
    }
    *deadline_ns = ns;
    return 0;
}

s64 sys_clock_gettime(const u64 *a)
{
    u64 ns;
    int err = clock_read_ns(clock_decode((s32)a[0]), &ns);

    return err ? err : timespec_to_user(a[1], ns);
}

s64 sys_clock_getres(const u64 *a)
{
    int clock = clock_decode((s32)a[0]);
    bool coarse = clock == CLOCK_REALTIME_COARSE || clock == CLOCK_MONOTONIC_COARSE;
    u64 ns;
    int err = clock_read_ns(clock, &ns);

    if (err || !a[1]) {
        return err;
    }
    return timespec_to_user(a[1], coarse ? TICK_NS : 1);
}

s64 sys_gettimeofday(const u64 *a)
{
    u64 ns = wall_ns();
    struct uapi_timeval tv = {(s64)(ns / NSEC_PER_SEC), (s64)(ns % NSEC_PER_SEC / NSEC_PER_USEC)};
    struct uapi_timezone zone = time_zone_get();

    if (a[0] && arch_copy_to_user((void *)a[0], &tv, sizeof(tv))) {
        return -EFAULT;
    }
    return a[1] && arch_copy_to_user((void *)a[1], &zone, sizeof(zone)) ? -EFAULT : 0;
}

s64 sys_time(const u64 *a)
{
    s64 sec = (s64)(wall_ns() / NSEC_PER_SEC);

    if (a[0] && arch_copy_to_user((void *)a[0], &sec, sizeof(sec))) {
        return -EFAULT;
    }
    return sec;
}

// --- Sleeping ------------------------------------------------------------------------------------

// 0, or -EINTR. wall: a time of the wall clock.
static int sleep_until(u64 deadline_ns, bool wall)
{
    int r = 1;

    while (r == 1) {
        thread_set_state(THREAD_SLEEPING);
        r = thread_signal_pending() ? -EINTR
            : wall                  ? schedule_until_wall(deadline_ns)
                                    : schedule_until(deadline_ns);
    }
    thread_set_state(THREAD_RUNNABLE);
    return r;
}

// A relative sleep that starts again after a signal keeps its first deadline.
static s64 sleep_relative(u64 request, u64 remaining)
{
    struct task_ext *t = current_task();
    u64 deadline, now;
    int err = deadline_from_user(request, CLOCK_MONOTONIC, false, &deadline);

    if (err) {
        return err;
    }
    if (t->resume_deadline_ns) {
        deadline = t->resume_deadline_ns;
        t->resume_deadline_ns = 0;
    }
    if (sleep_until(deadline, false) == 0) {
        return 0;
    }
    now = clock_ns();
    if (now >= deadline) {
        return 0;
    }
    if (remaining && timespec_to_user(remaining, deadline - now)) {
        return -EFAULT;
    }
    t->resume_deadline_ns = deadline;
    return -ERESTARTRESUME;
}

s64 sys_nanosleep(const u64 *a)
{
    return sleep_relative(a[0], a[1]);
}

s64 sys_clock_nanosleep(const u64 *a)
{
    int clock = (int)a[0];
    u64 deadline;
    int err;

    if (clock == CLOCK_PROCESS_CPUTIME_ID) {
        return syscall_missing("clock_nanosleep on CPU time", -EOPNOTSUPP);
    }
    if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME) {
        return clock > CLOCK_THREAD_CPUTIME_ID && clock < CLOCK_BOOTTIME ? -EOPNOTSUPP : -EINVAL;
    }
    if (!(a[1] & TIMER_ABSTIME)) {
        return sleep_relative(a[2], a[3]);
    }
    err = deadline_from_user(a[2], clock, true, &deadline);
    if (err) {
        return err;
    }
    return sleep_until(deadline, clock == CLOCK_REALTIME) ? -ERESTARTNOHAND : 0;
}
