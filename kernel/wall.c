// The wall clock: what makes CLOCK_REALTIME of clock_ns().
//
// It is one number, `offset_ns`, to be added to clock_ns(). It is never negative: a time that would
// put the boot before 1970 is refused, as on Linux.
//
// A reader loads it and nothing else. One word cannot be torn, so no lock and no retry; and no
// order is asked for. The reader adds up a clock_ns() and an offset that were both true during its
// call:
//
//     reader                      who sets the clock
//     c = clock_ns()
//                                 offset_ns = o'
//     return c + offset_ns
//
// is the new clock's time, as old as the call took, and the other order gives the old clock's just
// before it was set. A thread never reads an old offset after a new one (a single location has one
// order of values), nor does a thread that synchronised with one which has read the new.
//
// Timers on this clock keep their deadline in wall time, in a heap of their own (kernel/timer.c),
// so nothing of them changes when it is set. What may be too late then is each CPU's timer
// interrupt. Whoever sets the clock asks all CPUs for one now:
//
//     CPU with a timer, interrupts off        who sets the clock
//     timer into the heap                     offset_ns = o'
//     ask for an interrupt, by offset_ns      cross call: ask for an interrupt now
//
// If the left column's load misses o', its interrupts are off until it is done, and the call's
// interrupt comes after it. The call orders the store before its handler, so that the interrupt it
// asks for looks at the heap with o' or a later one.
//
// `nr_sets` follows the offset, for those who are to learn that it was set (timerfd): who sees the
// number sees the offset. The offset alone does not tell of a clock that was set and set back.
//
// Rejected: a sequence count around seconds and nanoseconds, as there is no second word; one list
// of all timers on this clock, which every sleep on it would lock; stepping the clock in small
// parts to slew it (adjtime), as backwards it would show times twice.
#include <arch/cpu.h>
#include <arch/time.h>
#include <k/errno.h>
#include <k/lock.h>
#include <sched.h>
#include <smp.h>
#include <uapi/time.h>

#include "timer_priv.h"

// Times end in 2262, as an s64 does; what is set leaves room for thirty years of running.
#define WALL_MAX_NS ((u64)((INT64_MAX / 1000000000) - 30ll * 365 * 24 * 3600) * NSEC_PER_SEC)

// In a line of its own, which is written when the clock is set and else only read.
static struct {
    atomic_ulong offset_ns; // [a] written under wall_lock
    atomic_ulong nr_sets;   // [a] the same
} cache_aligned wall;

static struct mutex wall_lock = MUTEX_INIT(wall_lock, RANK_SLEEP_MISC);
static struct list watches = LIST_INIT(watches); // [wall_lock] wall_watch.link

void wall_init(void)
{
    store_relaxed(&wall.offset_ns, arch_boot_wall_ns());
}

u64 wall_ns(void)
{
    return clock_ns() + load_relaxed(&wall.offset_ns);
}

u64 wall_to_clock(u64 wall_time_ns)
{
    u64 offset = load_relaxed(&wall.offset_ns);

    return wall_time_ns > offset ? wall_time_ns - offset : 1;
}

u64 wall_nr_sets(void)
{
    return load_acquire(&wall.nr_sets); // pairs with wall_offset_set_locked
}

// --- Setting -------------------------------------------------------------------------------------

static void timers_look_again(void *arg)
{
    (void)arg;
    timer_need(clock_ns());
}

static void wall_offset_set_locked(u64 offset)
{
    struct wall_watch *w;

    store_relaxed(&wall.offset_ns, offset);
    store_release(&wall.nr_sets, load_relaxed(&wall.nr_sets) + 1); // pairs with wall_nr_sets
    smp_call_mask(~0ull, timers_look_again, NULL);
    unsigned long flags = irq_save();
    timers_look_again(NULL);
    irq_restore(flags);
    list_for_each_entry (w, &watches, link) {
        w->fn(w);
        cond_resched();
    }
}

int wall_set(u64 wall_time_ns)
{
    int err = -EINVAL;

    mutex_lock(&wall_lock);
    u64 now = clock_ns();
    if (wall_time_ns >= now && wall_time_ns < WALL_MAX_NS) {
        wall_offset_set_locked(wall_time_ns - now);
        err = 0;
    }
    mutex_unlock(&wall_lock);
    return err;
}

int wall_step(s64 delta_ns)
{
    int err = -EINVAL;

    mutex_lock(&wall_lock);
    s64 offset = (s64)load_relaxed(&wall.offset_ns), now = (s64)clock_ns();
    if (delta_ns >= -offset && delta_ns < (s64)WALL_MAX_NS - offset - now) {
        wall_offset_set_locked((u64)(offset + delta_ns));
        err = 0;
    }
    mutex_unlock(&wall_lock);
    return err;
}

// --- Learning of it ------------------------------------------------------------------------------

void wall_watch(struct wall_watch *w)
{
    mutex_lock(&wall_lock);
    if (list_empty(&w->link)) {
        list_add_tail(&watches, &w->link);
    }
    mutex_unlock(&wall_lock);
}

void wall_unwatch(struct wall_watch *w)
{
    mutex_lock(&wall_lock);
    list_del(&w->link);
    mutex_unlock(&wall_lock);
}
