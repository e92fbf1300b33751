// timerfd: a timer that is a file. See timerfd_create(2).
//
// The timer's interrupt counts one expiration and wakes the readers; it does not set itself again.
// A periodic timer goes on when somebody looks (read, gettime): the periods that went by meanwhile
// are counted then. So a period of a nanosecond costs one interrupt a read and not all there are.
//
//     disarmed --settime--> armed --interrupt--> expired --read--> armed (periodic) or disarmed
//
// `lock` (a mutex) makes arming and cancelling the business of one thread at a time. What the
// interrupt shares with it is one atomic: `expired`.
//
// A timer set to a time of CLOCK_REALTIME counts in wall time, so that it follows when that clock
// is set; one that is to take so long does not. With TFD_TIMER_CANCEL_ON_SET the setting itself is
// news: the timer remembers how often the clock had been set when it last looked, any other number
// makes it readable, and the read fails with ECANCELED. Somebody has to wake the readers, so such a
// timer watches the clock, from the first time it is set that way to its end.
#include <arch/time.h>
#include <arch/uaccess.h>
#include <k/string.h>
#include <proc.h>
#include <sched.h>
#include <syscalls.h>
#include <uapi/time.h>
#include "fs_priv.h"

#define TFD_TIMER_ABSTIME       1u
#define TFD_TIMER_CANCEL_ON_SET 2u
#define CLOCK_REALTIME_ALARM    8
#define CLOCK_BOOTTIME_ALARM    9
#define FAR_NS                  (TIME_NEVER >> 1) // later times are as good as this one
#define NOT_CANCELLED           (~0ul)

struct itimerspec {
    struct uapi_timespec interval, value;
};

struct timerfd {
    struct timer timer;
    struct waitq wait;
    atomic_bool expired; // [a] set by the interrupt
    struct mutex lock;   // RANK_SLEEP_MISC
    int clock;           // [I]
    bool wall;           // [lock] next_ns is a time of the wall clock
    atomic_ulong sets;   // [lock to write] wall_nr_sets() at the last look; NOT_CANCELLED by it
    struct wall_watch watch;
    u64 next_ns;     // [lock] when it is due, or was, on its clock; 0: disarmed
    u64 interval_ns; // [lock] 0: once
    u64 ticks;       // [lock] expirations not yet read
};

static void timerfd_fire(struct timer *t)
{
    struct timerfd *tf = container_of(t, struct timerfd, timer);
    store_seq(&tf->expired, true); // pairs with timerfd_ready
    waitq_wake_all_for(&tf->wait, POLLIN);
}

static void timerfd_clock_set(struct wall_watch *w)
{
    struct timerfd *tf = container_of(w, struct timerfd, watch);
    waitq_wake_all_for(&tf->wait, POLLIN);
}

static bool timerfd_is_wall(const struct timerfd *tf)
{
    return tf->clock == CLOCK_REALTIME || tf->clock == CLOCK_REALTIME_ALARM;
}

static u64 timerfd_now_locked(const struct timerfd *tf)
{
    return tf->wall ? wall_ns() : clock_ns();
}

static void timerfd_arm_locked(struct timerfd *tf)
{
    (tf->wall ? timer_arm_wall : timer_arm)(&tf->timer, tf->next_ns);
}

// The clock was set, and who reads is to be told. A look; decisive with the lock.
static bool timerfd_is_cancelled(struct timerfd *tf)
{
    u64 sets = load_relaxed(&tf->sets);
    return sets != NOT_CANCELLED && sets != wall_nr_sets();
}

// Count what has expired; forward a periodic timer.
static void timerfd_catch_up_locked(struct timerfd *tf)
{
    if (!load_seq(&tf->expired)) {
        return;
    }
    store_relaxed(&tf->expired, false); // not armed now: the interrupt cannot come
    if (tf->interval_ns == 0) {
        tf->ticks++;
        tf->next_ns = 0;
        return;
    }
    u64 now = timerfd_now_locked(tf);
    u64 n = (max(now, tf->next_ns) - tf->next_ns) / tf->interval_ns + 1;
    tf->ticks += n;
    tf->next_ns = min(tf->next_ns + n * tf->interval_ns, FAR_NS);
    // The interrupt that set `expired` may not have left timerfd_fire on its CPU. Armed on another
    // one, the timer would forget that, and release would free what it is still waking.
    (void)timer_cancel(&tf->timer);
    timerfd_arm_locked(tf);
}

// 0, or -ECANCELED. ticks 0: nothing to read.
static int timerfd_take(struct timerfd *tf, u64 *ticks)
{
    int err = 0;
    mutex_lock(&tf->lock);
    timerfd_catch_up_locked(tf);
    *ticks = tf->ticks;
    tf->ticks = 0;
    if (timerfd_is_cancelled(tf)) {
        store_relaxed(&tf->sets, wall_nr_sets());
        err = -ECANCELED;
    }
    mutex_unlock(&tf->lock);
    return err;
}

static bool timerfd_ready(struct timerfd *tf)
{
    // ticks is only ever above 0 unread between gettime and read: a look without the lock may see
    // an old 0, but then gettime is still running.
    return load_seq(&tf->expired) || data_race(*(volatile u64 *)&tf->ticks) ||
           timerfd_is_cancelled(tf);
}

static ssize_t timerfd_read(struct file *f, void *buf, size_t n, u64 *pos)
{
    struct timerfd *tf = f->private;
    u64 ticks;
    (void)pos;
    if (n < sizeof(ticks)) {
        return -EINVAL;
    }
    for (;;) {
        int err = timerfd_take(tf, &ticks);
        if (err) {
            return err;
        }
        if (ticks) {
            break;
        }
        if (load_relaxed(&f->flags) & O_NONBLOCK) {
            return -EAGAIN;
        }
        err = waitq_wait_signal(&tf->wait, timerfd_ready(tf));
        if (err) {
            return err;
        }
    }
    return arch_copy_to_user(buf, &ticks, sizeof(ticks)) ? -EFAULT : (ssize_t)sizeof(ticks);
}

static unsigned timerfd_poll(struct file *f, struct pollq *pt)
{
    struct timerfd *tf = f->private;
    if (pt) {
        poll_wait(pt, &tf->wait);
    }
    return timerfd_ready(tf) ? POLLIN : 0;
}

static void timerfd_release(struct file *f)
{
    struct timerfd *tf = f->private;
    timer_cancel(&tf->timer);
    wall_unwatch(&tf->watch);
    kfree(tf);
}

static const struct file_ops timerfd_fops = {
    .read = timerfd_read,
    .poll = timerfd_poll,
    .release = timerfd_release,
    .stream = true,
    .seek_stays = true,
};

s64 sys_timerfd_create(const u64 *a)
{
    int clock = (int)a[0];
    u32 flags = (u32)a[1];
    bool known = clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME ||
                 clock == CLOCK_REALTIME_ALARM || clock == CLOCK_BOOTTIME_ALARM;
    if (!known || (flags & ~(u32)(O_CLOEXEC | O_NONBLOCK))) {
        return -EINVAL;
    }
    struct timerfd *tf = kzalloc(sizeof(*tf), GFP_KERNEL);
    if (!tf) {
        return -ENOMEM;
    }
    timer_init(&tf->timer, timerfd_fire);
    waitq_init(&tf->wait);
    mutex_init(&tf->lock, RANK_SLEEP_MISC);
    store_relaxed(&tf->sets, NOT_CANCELLED);
    list_init(&tf->watch.link);
    tf->watch.fn = timerfd_clock_set;
    tf->clock = clock;
    return anon_fd_open("anon_inode:[timerfd]", &timerfd_fops, O_RDWR | flags, tf, kfree);
}

static bool timespec_valid(const struct uapi_timespec *t)
{
    return t->tv_sec >= 0 && (u64)t->tv_nsec < NSEC_PER_SEC;
}

static u64 timespec_ns(const struct uapi_timespec *t)
{
    u64 far = FAR_NS / NSEC_PER_SEC;
    return (u64)t->tv_sec >= far ? FAR_NS : (u64)t->tv_sec * NSEC_PER_SEC + (u64)t->tv_nsec;
}

static struct uapi_timespec timespec_of(u64 ns)
{
    return (struct uapi_timespec){(s64)(ns / NSEC_PER_SEC), (s64)(ns % NSEC_PER_SEC)};
}

static void timerfd_get_locked(struct timerfd *tf, struct itimerspec *out)
{
    u64 now = timerfd_now_locked(tf);
    timerfd_catch_up_locked(tf);
    out->interval = timespec_of(tf->interval_ns);
    // Due but not yet counted: as little as can be told, because 0 would be "disarmed".
    out->value = timespec_of(tf->next_ns == 0 ? 0 : tf->next_ns > now ? tf->next_ns - now : 1);
}

static void timerfd_set_locked(struct timerfd *tf, const struct itimerspec *to, bool absolute)
{
    u64 value = timespec_ns(&to->value);
    timer_cancel(&tf->timer);
    store_relaxed(&tf->expired, false);
    tf->ticks = 0;
    tf->interval_ns = timespec_ns(&to->interval);
    tf->next_ns = 0;
    if (value == 0) {
        return;
    }
    tf->wall = tf->clock == CLOCK_REALTIME_ALARM || (absolute && timerfd_is_wall(tf));
    tf->next_ns = min(absolute ? value : value + timerfd_now_locked(tf), FAR_NS);
    timerfd_arm_locked(tf);
}

// Is the clock's being set to be told of? -ECANCELED: it was set since it last was to be, too.
static int timerfd_cancel_set_locked(struct timerfd *tf, bool cancel, bool armed)
{
    int err = cancel && armed && timerfd_is_cancelled(tf) ? -ECANCELED : 0;
    store_relaxed(&tf->sets, cancel ? wall_nr_sets() : NOT_CANCELLED);
    return err;
}

static struct file *timerfd_get_file(int fd, s64 *err)
{
    struct file *f = fd_get(fd);
    *err = f ? -EINVAL : -EBADF;
    if (f && f->ops != &timerfd_fops) {
        file_put(f);
        f = NULL;
    }
    return f;
}

s64 sys_timerfd_settime(const u64 *a)
{
    u32 flags = (u32)a[1];
    struct itimerspec to, old;
    s64 r;
    if (arch_copy_from_user(&to, (const void *)a[2], sizeof(to))) {
        return -EFAULT;
    }
    if ((flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)) || !timespec_valid(&to.value) ||
        !timespec_valid(&to.interval)) {
        return -EINVAL;
    }
    struct file *f = timerfd_get_file((int)a[0], &r);
    if (!f) {
        return r;
    }
    struct timerfd *tf = f->private;
    bool absolute = flags & TFD_TIMER_ABSTIME;
    bool cancel = absolute && (flags & TFD_TIMER_CANCEL_ON_SET) && timerfd_is_wall(tf);
    if (cancel) {
        wall_watch(&tf->watch);
    }
    mutex_lock(&tf->lock);
    timerfd_get_locked(tf, &old);
    timerfd_set_locked(tf, &to, absolute);
    r = timerfd_cancel_set_locked(tf, cancel, tf->next_ns);
    mutex_unlock(&tf->lock);
    file_put(f);
    if (r) {
        return r;
    }
    return a[3] && arch_copy_to_user((void *)a[3], &old, sizeof(old)) ? -EFAULT : 0;
}

s64 sys_timerfd_gettime(const u64 *a)
{
    struct itimerspec now;
    s64 r;
    struct file *f = timerfd_get_file((int)a[0], &r);
    if (!f) {
        return r;
    }
    struct timerfd *tf = f->private;
    mutex_lock(&tf->lock);
    timerfd_get_locked(tf, &now);
    mutex_unlock(&tf->lock);
    file_put(f);
    return arch_copy_to_user((void *)a[1], &now, sizeof(now)) ? -EFAULT : 0;
}
