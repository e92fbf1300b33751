// Timers and timed waits.
//
// A CPU's armed timers form two heaps (k/heap.h) under the queue's lock: by clock_ns(), and by the
// wall clock, which may be set (kernel/wall.c). Most are cancelled.
//
// The interrupt takes a timer off the heap, notes it as running, drops the lock and calls fn: fn
// may wake threads, whose locks come before the queue's. timer_cancel from another CPU waits while
// it is running, so the timer may live on the canceller's stack. fn's end is the last the interrupt
// has to do with the timer: fn itself may arm it again, and nothing after it looks inside.
//
// Programs may have any number of timers due at one time, and nothing else happens on this CPU
// while the interrupt runs them. So it stops after TIMER_BATCH and comes again when as much time
// has gone by as those took: however many are due, other interrupts wait for one batch, and threads
// have half of the time. Rejected: the tick for the rest (6,400 timers a second is too few).
#include "timer_priv.h"

#include <arch/cpu.h>
#include <arch/time.h>
#include <k/assert.h>
#include <k/errno.h>
#include <k/percpu.h>
#include <sched.h>

struct timer_queue {
    struct spinlock lock;   // RANK_TIMER
    struct heap_node *top;  // [lock] timer.node; NULL: none is armed
    struct heap_node *wall; // [lock] those with timer.wall
    struct timer *running;  // [lock]
};
static DEFINE_PER_CPU(struct timer_queue, timer_queue) = {.lock = SPINLOCK_INIT(RANK_TIMER)};

void timer_init(struct timer *t, void (*fn)(struct timer *))
{
    t->fn = fn;
    t->armed = false;
    store_relaxed(&t->cpu, -1);
}

static struct heap_node **timer_heap(struct timer_queue *q, const struct timer *t)
{
    return t->wall ? &q->wall : &q->top;
}

static u64 timer_deadline(const struct timer *t)
{
    return t->wall ? wall_to_clock(t->node.key) : t->node.key;
}

static void timer_arm_on(struct timer *t, u64 deadline_ns, bool wall)
{
    unsigned long flags = irq_save(); // until timer_need: kernel/wall.c says why
    struct timer_queue *q = &this_cpu(timer_queue);

    spin_lock(&q->lock);
    assert(!t->armed);
    t->node.key = deadline_ns;
    t->armed = true;
    t->wall = wall;
    store_relaxed(&t->cpu, (int)cpu_id());
    heap_insert(timer_heap(q, t), &t->node);
    u64 need_ns = timer_deadline(t);
    spin_unlock(&q->lock);
    timer_need(need_ns);
    irq_restore(flags);
}

void timer_arm(struct timer *t, u64 deadline_ns)
{
    timer_arm_on(t, deadline_ns, false);
}

void timer_arm_wall(struct timer *t, u64 wall_time_ns)
{
    timer_arm_on(t, wall_time_ns, true);
}

bool timer_cancel(struct timer *t)
{
    int cpu = load_relaxed(&t->cpu);
    if (cpu < 0) {
        return false;
    }
    struct timer_queue *q = &per_cpu(timer_queue, cpu);
    for (;;) {
        unsigned long flags = spin_lock_irq(&q->lock);
        bool armed = t->armed;
        // Running here: we are inside fn.
        bool wait = !armed && q->running == t && cpu != (int)cpu_id();
        if (armed) {
            t->armed = false;
            heap_remove(timer_heap(q, t), &t->node);
        }
        spin_unlock_irq(&q->lock, flags);
        if (!wait) {
            return armed;
        }
        cpu_relax();
    }
}

// The one that is due first, NULL: none is armed.
static struct timer *timer_first_locked(struct timer_queue *q)
{
    struct timer *t = q->top ? container_of(q->top, struct timer, node) : NULL;
    struct timer *w = q->wall ? container_of(q->wall, struct timer, node) : NULL;

    return !t || (w && timer_deadline(w) < timer_deadline(t)) ? w : t;
}

u64 timer_run_expired(u64 now)
{
    struct timer_queue *q = &this_cpu(timer_queue);
    u64 next = TIME_NEVER, due;
    struct timer *t;
    unsigned nr = 0;

    spin_lock(&q->lock);
    while ((t = timer_first_locked(q)) != NULL) {
        due = timer_deadline(t);
        if (due > now) {
            next = due;
            break;
        }
        if (nr++ == TIMER_BATCH) {
            next = clock_ns();
            next += next - now;
            break;
        }
        heap_remove(timer_heap(q, t), &t->node);
        t->armed = false;
        q->running = t;
        spin_unlock(&q->lock);
        t->fn(t);
        spin_lock(&q->lock);
        q->running = NULL;
    }
    spin_unlock(&q->lock);
    return next;
}

// --- Timed waits --------------------------------------------------------------------------------

struct alarm {
    struct timer timer;
    struct thread *thread;
    atomic_bool rang;
};

static void alarm_ring(struct timer *t)
{
    struct alarm *a = container_of(t, struct alarm, timer);
    store_relaxed(&a->rang, true); // thread_wake orders it before the wake-up
    thread_wake(a->thread);
}

static int schedule_until_on(u64 deadline_ns, bool wall)
{
    struct alarm a = {.thread = current_thread()};
    bool by_signal = load_relaxed(&a.thread->state) == THREAD_SLEEPING;

    // A signal sent after the state was set wakes us; one sent before is seen here.
    if (by_signal && thread_signal_pending()) {
        thread_set_state(THREAD_RUNNABLE);
        return -EINTR;
    }
    if (deadline_ns == TIME_NEVER) {
        schedule();
    } else if ((wall ? wall_ns() : clock_ns()) >= deadline_ns) {
        thread_set_state(THREAD_RUNNABLE);
        return 0;
    } else {
        timer_init(&a.timer, alarm_ring);
        timer_arm_on(&a.timer, deadline_ns, wall);
        schedule();
        timer_cancel(&a.timer);
    }
    if (load_relaxed(&a.rang)) {
        return 0;
    }
    return by_signal && thread_signal_pending() ? -EINTR : 1;
}

int schedule_until(u64 deadline_ns)
{
    return schedule_until_on(deadline_ns, false);
}

int schedule_until_wall(u64 wall_time_ns)
{
    return schedule_until_on(wall_time_ns, true);
}

void sleep_ns(u64 ns)
{
    u64 deadline = clock_ns() + ns;
    do {
        thread_set_state(THREAD_BLOCKED);
    } while (schedule_until(deadline) != 0);
}
