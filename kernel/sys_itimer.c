// The calls of kernel/itimer.c: alarm, getitimer, setitimer, timer_*.
#include <arch/time.h>
#include <arch/uaccess.h>
#include <k/errno.h>
#include <k/string.h>
#include <proc.h>
#include <signal.h>
#include <slab.h>
#include <syscalls.h>

#include "itimer_priv.h"
#include "time_priv.h"

#define ITIMER_REAL    0
#define ITIMER_VIRTUAL 1
#define ITIMER_PROF    2

#define SIGEV_SIGNAL    0
#define SIGEV_NONE      1
#define SIGEV_THREAD    2 // the C library's business: to us, a signal
#define SIGEV_THREAD_ID 4

struct uapi_itimerval {
    struct uapi_timeval interval, value;
};
struct uapi_itimerspec {
    struct uapi_timespec interval, value;
};
struct uapi_sigevent {
    u64 value;
    s32 signo, notify, tid;
    u8 room[44];
};
_Static_assert(sizeof(struct uapi_sigevent) == 64, "struct sigevent");

// --- Interval timers -----------------------------------------------------------------------------

static const struct {
    int clock, signo;
} interval_kinds[3] = {
    [ITIMER_REAL] = {CLOCK_MONOTONIC, SIGALRM},
    [ITIMER_VIRTUAL] = {CLOCK_PROCESS_USER, SIGVTALRM},
    [ITIMER_PROF] = {CLOCK_PROCESS_CPUTIME_ID, SIGPROF},
};

// The timer, made if need be. its->lock is not held. -ENOMEM.
static int interval_get(int which, struct itimers **out)
{
    struct process *p = current_process();
    struct itimers *its = itimers_of(p, true);
    struct utimer *u = its ? utimer_create(p, interval_kinds[which].clock) : NULL;

    if (!u) {
        return -ENOMEM;
    }
    u->signo = interval_kinds[which].signo;
    mutex_lock(&its->lock);
    if (its->interval[which]) {
        utimer_put(u);
    } else {
        its->interval[which] = u;
    }
    mutex_unlock(&its->lock);
    *out = its;
    return 0;
}

static void interval_read(int which, u64 *left_ns, u64 *interval_ns)
{
    struct itimers *its = itimers_of(current_process(), false);

    *left_ns = *interval_ns = 0;
    if (its) {
        mutex_lock(&its->lock);
        if (its->interval[which]) {
            utimer_read_locked(its->interval[which], left_ns, interval_ns);
        }
        mutex_unlock(&its->lock);
    }
}

// left_ns and interval_ns: in, what is set; out, what was.
static int interval_set(int which, u64 *left_ns, u64 *interval_ns)
{
    u64 old_left, old_interval;
    struct itimers *its;
    struct utimer *u;
    int err = 0;

    if (!*left_ns && !itimers_of(current_process(), false)) {
        *interval_ns = 0;
        return 0;
    }
    err = interval_get(which, &its);
    if (err) {
        return err;
    }
    mutex_lock(&its->lock);
    u = its->interval[which];
    utimer_read_locked(u, &old_left, &old_interval);
    utimer_set_locked(u, *left_ns ? utimer_now_locked(u) + *left_ns : 0,
                      *left_ns ? *interval_ns : 0);
    mutex_unlock(&its->lock);
    *left_ns = old_left;
    *interval_ns = old_interval;
    return 0;
}

static int timeval_to_ns(const struct uapi_timeval *tv, u64 *ns)
{
    if (tv->tv_sec < 0 || tv->tv_usec < 0 || tv->tv_usec >= 1000000) {
        return -EINVAL;
    }
    *ns = min((u64)tv->tv_sec, TIME_NEVER / 4 / NSEC_PER_SEC) * NSEC_PER_SEC +
          (u64)tv->tv_usec * NSEC_PER_USEC;
    return 0;
}

// Rounded up: a timer that is set never reads as zero.
static struct uapi_timeval timeval_of(u64 ns)
{
    u64 us = (ns + NSEC_PER_USEC - 1) / NSEC_PER_USEC;

    return (struct uapi_timeval){(s64)(us / 1000000), (s64)(us % 1000000)};
}

static s64 interval_to_user(u64 to, u64 left_ns, u64 interval_ns)
{
    struct uapi_itimerval v = {timeval_of(interval_ns), timeval_of(left_ns)};

    return arch_copy_to_user((void *)to, &v, sizeof(v)) ? -EFAULT : 0;
}

s64 sys_getitimer(const u64 *a)
{
    u64 left, interval;

    if (a[0] > ITIMER_PROF) {
        return -EINVAL;
    }
    interval_read((int)a[0], &left, &interval);
    return interval_to_user(a[1], left, interval);
}

s64 sys_setitimer(const u64 *a)
{
    struct uapi_itimerval v = {0}; // no new value: as if it were zero, an old habit of Linux
    u64 left, interval;
    int err;

    if (a[0] > ITIMER_PROF) {
        return -EINVAL;
    }
    if (a[1] && arch_copy_from_user(&v, (const void *)a[1], sizeof(v))) {
        return -EFAULT;
    }
    if (timeval_to_ns(&v.value, &left) || timeval_to_ns(&v.interval, &interval)) {
        return -EINVAL;
    }
    err = interval_set((int)a[0], &left, &interval);
    return err || !a[2] ? err : interval_to_user(a[2], left, interval);
}

// Seconds, rounded to the nearest, but a timer that is set never reads as zero.
s64 sys_alarm(const u64 *a)
{
    u64 left = (u64)(u32)a[0] * NSEC_PER_SEC, interval = 0;
    int err = interval_set(ITIMER_REAL, &left, &interval);
    u64 sec = (left + NSEC_PER_SEC / 2) / NSEC_PER_SEC;

    return err ? err : left && !sec ? 1 : (s64)sec;
}

// --- POSIX timers --------------------------------------------------------------------------------

static int event_read(u64 from, struct utimer *u)
{
    struct uapi_sigevent e;

    if (!from) {
        u->signo = SIGALRM;
        u->value = (u64)u->id;
        return 0;
    }
    if (arch_copy_from_user(&e, (const void *)from, sizeof(e))) {
        return -EFAULT;
    }
    if (e.notify != SIGEV_NONE && e.notify != SIGEV_SIGNAL && e.notify != SIGEV_THREAD &&
        e.notify != SIGEV_THREAD_ID) {
        return -EINVAL;
    }
    if (e.notify != SIGEV_NONE && (e.signo <= 0 || e.signo > NR_SIGNALS)) {
        return -EINVAL;
    }
    if (e.notify == SIGEV_THREAD_ID) {
        if (task_signal_by_tid(current_process()->pid, e.tid, NULL)) {
            return -EINVAL;
        }
        u->tid = e.tid;
    }
    u->signo = e.notify == SIGEV_NONE ? 0 : e.signo;
    u->value = e.value;
    return 0;
}

static bool clock_may_have_timers(int clock)
{
    return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME ||
           clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID;
}

s64 sys_timer_create(const u64 *a)
{
    struct process *p = current_process();
    int clock = clock_decode((s32)a[0]);
    struct itimers *its;
    struct utimer *u;
    int err;

    if (!clock_may_have_timers(clock)) {
        return -EINVAL;
    }
    its = itimers_of(p, true);
    u = its ? utimer_create(p, clock) : NULL;
    if (!u) {
        return -EAGAIN;
    }
    u->posix = true;
    err = utimer_charge(u);
    if (!err && clock == CLOCK_THREAD_CPUTIME_ID) {
        err = utimer_of_thread(its, u) ? -EAGAIN : 0;
    }
    mutex_lock(&its->lock);
    do {
        u->id = its->next_id;
        its->next_id = its->next_id == INT_MAX ? 0 : its->next_id + 1;
    } while (utimer_find_locked(its, u->id));
    mutex_unlock(&its->lock);
    if (!err) {
        err = event_read(a[1], u);
    }
    if (!err && arch_copy_to_user((void *)a[2], &u->id, sizeof(u->id))) {
        err = -EFAULT;
    }
    mutex_lock(&its->lock);
    err = err ? err : utimer_add_locked(its, u);
    if (err) {
        utimer_delete_locked(u);
    }
    mutex_unlock(&its->lock);
    return err;
}

// its->lock is held when it is found; NULL: there is none.
static struct utimer *timer_lock(s32 id, struct itimers **out)
{
    struct itimers *its = itimers_of(current_process(), false);
    struct utimer *u;

    if (!its) {
        return NULL;
    }
    mutex_lock(&its->lock);
    u = utimer_find_locked(its, id);
    if (!u) {
        mutex_unlock(&its->lock);
    }
    *out = its;
    return u;
}

static s64 spec_to_user(u64 to, u64 left_ns, u64 interval_ns)
{
    struct uapi_itimerspec s = {
        {(s64)(interval_ns / NSEC_PER_SEC), (s64)(interval_ns % NSEC_PER_SEC)},
        {(s64)(left_ns / NSEC_PER_SEC), (s64)(left_ns % NSEC_PER_SEC)},
    };

    return arch_copy_to_user((void *)to, &s, sizeof(s)) ? -EFAULT : 0;
}

s64 sys_timer_gettime(const u64 *a)
{
    struct itimers *its;
    struct utimer *u = timer_lock((s32)a[0], &its);
    u64 left, interval;

    if (!u) {
        return -EINVAL;
    }
    utimer_read_locked(u, &left, &interval);
    if (utimer_clock_ended_locked(u)) {
        left = interval = 0;
    } else if (left == 1 && !u->signo && !u->interval_ns) {
        left = 0; // SIGEV_NONE: nothing stops it when it is over, so it reads as over
    }
    mutex_unlock(&its->lock);
    return spec_to_user(a[1], left, interval);
}

// From now, or to a time of its clock; 0: stop it. Only such a time follows the wall clock when
// that is set (timer_settime(2)). its->lock held.
static void timer_set_locked(struct utimer *u, u64 value_ns, u64 interval_ns, bool absolute)
{
    utimer_set_locked(u, 0, 0);
    u->wall = u->clock == CLOCK_REALTIME && absolute;
    if (value_ns) {
        value_ns += absolute ? 0 : utimer_now_locked(u);
    }
    utimer_set_locked(u, value_ns, interval_ns);
}

static int spec_to_ns(const struct uapi_timespec *ts, u64 *ns)
{
    if (ts->tv_sec < 0 || (u64)ts->tv_nsec >= NSEC_PER_SEC) {
        return -EINVAL;
    }
    *ns = min((u64)ts->tv_sec, TIME_NEVER / 4 / NSEC_PER_SEC) * NSEC_PER_SEC + (u64)ts->tv_nsec;
    return 0;
}

s64 sys_timer_settime(const u64 *a)
{
    struct uapi_itimerspec s;
    struct itimers *its;
    struct utimer *u;
    u64 value, interval, left, old_interval;
    bool ended;

    if (!a[2]) {
        return -EINVAL;
    }
    if (arch_copy_from_user(&s, (const void *)a[2], sizeof(s))) {
        return -EFAULT;
    }
    if (spec_to_ns(&s.value, &value) || spec_to_ns(&s.interval, &interval)) {
        return -EINVAL;
    }
    u = timer_lock((s32)a[0], &its);
    if (!u) {
        return -EINVAL;
    }
    ended = utimer_clock_ended_locked(u);
    if (!ended) {
        utimer_read_locked(u, &left, &old_interval);
        timer_set_locked(u, value, interval, a[1] & TIMER_ABSTIME);
    }
    mutex_unlock(&its->lock);
    if (ended) {
        return -ESRCH;
    }
    return a[3] ? spec_to_user(a[3], left, old_interval) : 0;
}

s64 sys_timer_getoverrun(const u64 *a)
{
    struct itimers *its;
    struct utimer *u = timer_lock((s32)a[0], &its);
    s64 r;

    if (!u) {
        return -EINVAL;
    }
    spin_lock(&u->proc->lock);
    r = u->overrun;
    spin_unlock(&u->proc->lock);
    mutex_unlock(&its->lock);
    return r;
}

s64 sys_timer_delete(const u64 *a)
{
    struct itimers *its;
    struct utimer *u = timer_lock((s32)a[0], &its);

    if (!u) {
        return -EINVAL;
    }
    utimer_delete_locked(u);
    mutex_unlock(&its->lock);
    return 0;
}
