// Timers on CPU time, and RLIMIT_CPU.
//
// They have no interrupt of their own. A tick that meets a process with such a timer or limit
// (cpu_watch) asks this CPU for a look on the way back to user mode, so they are as exact as the
// tick.
//
// The look must not cost more than what is due: a program may have ten thousands of timers. There
// are as many clocks as threads and two more, the process's time and the user part of it. Each has
// a heap of the timers set on it, the next one on top. A thread's clock goes only while it runs, so
// the look of a running thread is at its own heap and the process's two.
//
// What the process has used is the sum over its threads, made under its lock. So one thread at a
// time looks at that, and the next one after a while that grows with the number of threads: however
// many there are, a fiftieth of one CPU goes into it at most. Rejected: a running sum, which each
// switch of each thread would have to write to.
//
// A thread may end before the timers on its time: its clock is an object of its own (cpu_clock),
// counted by the thread and by each timer, and stands still from then on.
//
// In one look no timer expires twice, however short its interval is: the clock is read once, and a
// timer that expires gets a deadline behind that.
//
// cpu_watch is set by whoever sets a timer or a limit, and cleared by a look that finds neither,
// under the locks of both.
#include <arch/time.h>
#include <k/errno.h>
#include <proc.h>
#include <sched.h>
#include <signal.h>
#include <slab.h>
#include <uapi/misc.h>

#include "itimer_priv.h"

bool clock_is_cpu(int clock)
{
    return clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID ||
           clock == CLOCK_PROCESS_USER;
}

u64 utimer_cpu_now_locked(const struct utimer *u)
{
    u64 user_ns, kernel_ns;

    if (u->clock == CLOCK_THREAD_CPUTIME_ID) {
        return u->of && u->of->task ? thread_runtime_ns(u->of->task->thread) : 0;
    }
    process_times(u->proc, &user_ns, &kernel_ns);
    return u->clock == CLOCK_PROCESS_USER ? user_ns : user_ns + kernel_ns;
}

bool utimer_clock_ended_locked(const struct utimer *u)
{
    return u->of && !u->of->task;
}

void utimer_cpu_cancel_locked(struct itimers *its, struct utimer *u)
{
    if (u->heap) {
        heap_remove(u->heap, &u->node);
        u->heap = NULL;
        its->nr_cpu--;
    }
}

void utimer_cpu_arm_locked(struct itimers *its, struct utimer *u)
{
    if (!u->deadline_ns) {
        return;
    }
    u->heap = u->clock == CLOCK_THREAD_CPUTIME_ID ? &u->of->top
              : u->clock == CLOCK_PROCESS_USER    ? &its->user_top
                                                  : &its->cpu_top;
    u->node.key = u->deadline_ns;
    heap_insert(u->heap, &u->node);
    its->nr_cpu++;
    store_relaxed(&u->proc->cpu_watch, true); // a tick looks at it some time later
}

// --- The clock of a thread -----------------------------------------------------------------------

void cpu_clock_put_locked(struct cpu_clock *c)
{
    if (c && --c->ref == 0) {
        kfree(c);
    }
}

int utimer_of_thread(struct itimers *its, struct utimer *u)
{
    struct task_ext *t = current_task();
    struct cpu_clock *fresh = t->clock ? NULL : kzalloc(sizeof(*fresh), GFP_KERNEL);

    if (!t->clock && !fresh) {
        return -ENOMEM;
    }
    mutex_lock(&its->lock);
    if (fresh) {
        fresh->ref = 1;
        fresh->task = t;
        t->clock = fresh;
    }
    u->of = t->clock;
    u->of->ref++;
    mutex_unlock(&its->lock);
    return 0;
}

void itimers_thread_exit(struct task_ext *t)
{
    struct itimers *its = t->clock ? itimers_of(t->proc, false) : NULL;

    if (its) {
        mutex_lock(&its->lock);
        t->clock->task = NULL;
        cpu_clock_put_locked(t->clock);
        t->clock = NULL;
        mutex_unlock(&its->lock);
    }
}

// --- The look ------------------------------------------------------------------------------------

// SIGXCPU at the soft limit and each second after it; the end at the hard one.
static void cpu_limit_check(struct process *p, u64 ns)
{
    struct uapi_rlimit r;
    bool soft = false;

    spin_lock(&p->lock);
    r = p->rlimit[RLIMIT_CPU];
    if (r.max != RLIM_INFINITY && ns / NSEC_PER_SEC >= r.max) {
        process_doom_locked(p, SIGKILL);
    } else if (r.cur != RLIM_INFINITY && ns / NSEC_PER_SEC >= r.cur) {
        soft = ns >= p->xcpu_ns;
        p->xcpu_ns = soft ? ns + NSEC_PER_SEC : p->xcpu_ns;
    }
    spin_unlock(&p->lock);
    if (soft) {
        signal_send_self(SIGXCPU);
    }
}

// What is due on the clock that the heap belongs to.
static void heap_expire(struct itimers *its, struct heap_node **top, u64 now)
{
    struct utimer *u;

    do {
        u = NULL;
        mutex_lock(&its->lock);
        if (*top && (*top)->key <= now) {
            u = container_of(*top, struct utimer, node);
            fetch_add_relaxed(&u->ref, 1);
        }
        mutex_unlock(&its->lock);
        if (u) {
            utimer_expire(u, now);
            utimer_put(u);
            cond_resched();
        }
    } while (u);
}

#define LOOK_EVERY_NS 5000ull // for each thread; the look at one takes up to a hundred

static bool process_look_turn(struct process *p)
{
    u64 now = clock_ns(), from = load_relaxed(&p->cpu_look_ns);
    u64 next = now + LOOK_EVERY_NS * data_race(p->nr_threads);

    // Pairs with itself on other CPUs: of those that see the turn one has it. What it then looks at
    // is under p->lock.
    return now >= from && atomic_compare_exchange_strong(&p->cpu_look_ns, &from, next);
}

static void process_check(struct process *p, struct itimers *its)
{
    u64 user_ns, kernel_ns;

    process_times(p, &user_ns, &kernel_ns);
    cpu_limit_check(p, user_ns + kernel_ns);
    if (its) {
        heap_expire(its, &its->cpu_top, user_ns + kernel_ns);
        heap_expire(its, &its->user_top, user_ns);
    }
}

static void cpu_watch_end(struct process *p)
{
    struct itimers *its = itimers_of(p, false);

    if (its) {
        mutex_lock(&its->lock);
    }
    spin_lock(&p->lock);
    // Who makes p->timers after this, under the same lock, sets cpu_watch after it, too.
    if (p->timers == its && !(its && its->nr_cpu) && p->rlimit[RLIMIT_CPU].cur == RLIM_INFINITY) {
        store_relaxed(&p->cpu_watch, false);
    }
    spin_unlock(&p->lock);
    if (its) {
        mutex_unlock(&its->lock);
    }
}

void itimers_cpu_check(void)
{
    struct process *p = current_process();
    struct cpu_clock *mine;
    struct itimers *its;

    if (!p || !load_relaxed(&p->cpu_watch)) {
        return;
    }
    its = itimers_of(p, false);
    if (process_look_turn(p)) {
        process_check(p, its);
    }
    if (its) {
        mine = current_task()->clock; // this thread's to change, and it does not end here
        if (mine) {
            heap_expire(its, &mine->top, thread_runtime_ns(current_thread()));
        }
    }
    cpu_watch_end(p);
}
