// Timers that send signals: alarm, setitimer, timer_create.
//
// A process has one struct itimers, made when it first sets a timer: the three interval timers and
// a list of POSIX timers. Those on a wall or monotonic clock have a struct timer. Its interrupt
// cannot send a signal (that takes proc->lock and memory), so it hands the timer to a kernel
// thread:
//
//     interrupt                     the thread "timers"
//     due list += timer; wake       take it off; its->lock; is it due? deadline += n intervals;
//                                   arm it again; unlock; send the signal, or count an overrun
//
// The timer may be set again or deleted between the two: the thread looks at the deadline, not at
// who woke it. A counted reference keeps it while it is on the due list.
//
// CPU-time timers have no interrupt of their own. A tick that meets a process with such a timer
// (cpu_watch) asks this CPU for a look on the way back to user mode, so they are as exact as the
// tick. RLIMIT_CPU is looked at there, too.
//
// A POSIX timer has at most one signal in the queue. While that waits, expirations are counted in
// it (si_overrun); when it is taken, the count moves to the timer for timer_getoverrun(). Both
// pointers between the two, utimer.queued and sigqueue.timer, are set and cleared together, under
// proc->lock; so a program that sends itself a siginfo which looks like a timer's reaches none.
//
// The place that the signal takes in RLIMIT_SIGPENDING is taken when the timer is made, so an
// expiration is never lost for want of one and there are no more timers than that
// (timer_create(2)). A timer that is deleted while its signal waits leaves the place to it.
//
// its->lock (a mutex) makes setting, deleting and expiring one at a time.
#include <arch/time.h>
#include <k/assert.h>
#include <k/errno.h>
#include <proc.h>
#include <sched.h>
#include <signal.h>
#include <slab.h>
#include <uapi/misc.h>

#include "itimer_priv.h"

#define ARM_AGAIN_NS 50000 // not sooner than this after now: a shorter interval only counts

static struct spinlock due_lock = SPINLOCK_INIT(RANK_WAITQ);
static struct list due_list = LIST_INIT(due_list); // [due_lock] utimer.due_link
static struct waitq due_wait = WAITQ_INIT(due_wait);
static atomic_bool thread_started;

void utimer_put(struct utimer *u)
{
    if (atomic_fetch_sub(&u->ref, 1) == 1) { // who frees sees what the others did before
        process_put(u->proc);
        kfree(u);
    }
}

static void utimer_fire(struct timer *t)
{
    struct utimer *u = container_of(t, struct utimer, timer);

    spin_lock(&due_lock);
    if (!u->due) {
        u->due = true;
        fetch_add_relaxed(&u->ref, 1);
        list_add_tail(&due_list, &u->due_link);
    }
    spin_unlock(&due_lock);
    waitq_wake_all(&due_wait);
}

static struct utimer *due_take(void)
{
    unsigned long flags = spin_lock_irq(&due_lock);
    struct utimer *u = list_first(&due_list, struct utimer, due_link);

    if (u) {
        list_del(&u->due_link);
        u->due = false;
    }
    spin_unlock_irq(&due_lock, flags);
    return u;
}

struct utimer *utimer_create(struct process *p, int clock)
{
    struct utimer *u = kzalloc(sizeof(*u), GFP_KERNEL);

    if (!u) {
        return NULL;
    }
    store_relaxed(&u->ref, 1);
    u->proc = p;
    process_get(p);
    u->clock = clock;
    list_init(&u->link);
    list_init(&u->due_link);
    timer_init(&u->timer, utimer_fire);
    return u;
}

// --- Time ----------------------------------------------------------------------------------------

bool clock_is_cpu(int clock)
{
    return clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID ||
           clock == CLOCK_PROCESS_USER;
}

u64 utimer_now(const struct utimer *u)
{
    struct task_look look;
    u64 user_ns, kernel_ns;

    if (u->clock == CLOCK_THREAD_CPUTIME_ID) {
        return task_look(u->proc, u->clock_tid, &look) ? look.user_ns + look.kernel_ns : 0;
    }
    if (clock_is_cpu(u->clock)) {
        process_times(u->proc, &user_ns, &kernel_ns);
        return u->clock == CLOCK_PROCESS_USER ? user_ns : user_ns + kernel_ns;
    }
    return u->clock == CLOCK_REALTIME ? wall_ns() : clock_ns();
}

// Not one on CPU time: the interrupt comes at this time of its clock.
static void utimer_arm_locked(struct utimer *u, u64 at_ns)
{
    timer_arm(&u->timer, u->clock == CLOCK_REALTIME ? wall_to_clock(at_ns) : at_ns);
}

void utimer_set_locked(struct utimer *u, u64 deadline_ns, u64 interval_ns)
{
    if (!clock_is_cpu(u->clock)) {
        timer_cancel(&u->timer);
    }
    u->deadline_ns = deadline_ns;
    u->interval_ns = interval_ns;
    if (deadline_ns && deadline_ns != TIME_NEVER && !clock_is_cpu(u->clock)) {
        utimer_arm_locked(u, deadline_ns);
    } else if (deadline_ns) {
        store_relaxed(&u->proc->cpu_watch, true); // a tick looks at it some time later
    }
}

void utimer_read_locked(const struct utimer *u, u64 *left_ns, u64 *interval_ns)
{
    u64 now = utimer_now(u);

    *interval_ns = u->interval_ns;
    *left_ns = !u->deadline_ns ? 0 : u->deadline_ns > now ? u->deadline_ns - now : 1;
}

// --- Expiring ------------------------------------------------------------------------------------

static struct task_ext *task_of_tid_locked(struct process *p, s32 tid)
{
    struct task_ext *t;

    list_for_each_entry (t, &p->threads, proc_link) {
        if (t->tid == tid) {
            return t;
        }
    }
    return NULL;
}

// The signal of a POSIX timer; to NULL: for any thread. proc->lock held.
static void posix_signal_locked(struct utimer *u, struct task_ext *to, u64 expirations,
                                struct sigqueue **q)
{
    struct ksiginfo info = {.signo = u->signo,
                            .code = SI_TIMER,
                            .pid = u->id,
                            .uid = (u32)min(expirations - 1, (u64)INT_MAX),
                            .value = u->value};
    struct sigqueue *mine = *q;

    if (u->queued) { // the one before still waits
        u->queued->info.uid = (u32)min(u->queued->info.uid + expirations, (u64)INT_MAX);
        return;
    }
    if (mine) {
        mine->timer = u;
    }
    signal_send_locked(u->proc, to, &info, q);
    u->queued = *q ? NULL : mine;
}

static void utimer_signal(struct utimer *u, u64 expirations, struct sigqueue **q)
{
    struct process *p = u->proc;
    struct ksiginfo info = {.signo = u->signo, .code = SI_KERNEL};
    struct task_ext *to;

    spin_lock(&p->lock);
    to = u->tid ? task_of_tid_locked(p, u->tid) : NULL;
    if (u->posix && (to || !u->tid)) {
        posix_signal_locked(u, to, expirations, q);
    } else if (!u->posix) {
        signal_send_locked(p, NULL, &info, q);
    }
    spin_unlock(&p->lock);
}

// If it is due: its signal, and the next time. its->lock is taken. false: it was not.
static bool utimer_expire(struct utimer *u)
{
    struct itimers *its = u->proc->timers;
    struct sigqueue *q = sigqueue_alloc(); // without one the signal has no siginfo
    u64 n = 1, now;
    bool due;

    mutex_lock(&its->lock);
    now = utimer_now(u);
    due = u->deadline_ns && u->deadline_ns <= now && !u->deleted;
    if (due && u->interval_ns) {
        n = (now - u->deadline_ns) / u->interval_ns + 1;
        u->deadline_ns += n * u->interval_ns;
        if (!clock_is_cpu(u->clock)) {
            timer_cancel(&u->timer);
            utimer_arm_locked(u, max(u->deadline_ns, now + ARM_AGAIN_NS));
        }
    } else if (due) {
        u->deadline_ns = 0;
    }
    if (due && u->signo) {
        utimer_signal(u, n, &q);
    }
    mutex_unlock(&its->lock);
    sigqueue_free(q);
    return due;
}

static void timers_thread(void *arg)
{
    (void)arg;
    for (;;) {
        struct utimer *u;

        waitq_wait(&due_wait, (u = due_take()) != NULL);
        utimer_expire(u);
        utimer_put(u);
        cond_resched(); // short intervals may keep the list from ever being empty
    }
}

// --- CPU time ------------------------------------------------------------------------------------

// SIGXCPU at the soft limit and each second after it; the end at the hard one.
static bool cpu_limit_check(struct process *p)
{
    struct uapi_rlimit r;
    u64 ns = process_runtime_ns(p);
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
    return r.cur != RLIM_INFINITY;
}

// The due one among the CPU-time timers that neither this check nor a later one has expired,
// counted; NULL: none. *any: there are armed ones. Once each: an interval may be shorter than the
// time it takes to expire it.
static struct utimer *cpu_due_locked(struct itimers *its, u64 look, bool *any)
{
    struct utimer *u, *found = NULL;

    list_for_each_entry (u, &its->all, link) {
        if (!clock_is_cpu(u->clock) || !u->deadline_ns) {
            continue;
        }
        *any = true;
        if (!found && u->look < look && u->deadline_ns <= utimer_now(u)) {
            found = u;
            u->look = look;
            fetch_add_relaxed(&u->ref, 1);
        }
    }
    return found;
}

void itimers_cpu_check(void)
{
    struct process *p = current_process();
    struct itimers *its;
    struct utimer *u;
    u64 look = 0;
    bool any;

    if (!p || !load_relaxed(&p->cpu_watch)) {
        return;
    }
    store_relaxed(&p->cpu_watch, false); // who sets a timer from now on sets it again
    any = cpu_limit_check(p);
    its = itimers_of(p, false);
    do {
        u = NULL;
        if (its) {
            mutex_lock(&its->lock);
            look = look ? look : ++its->looks;
            u = cpu_due_locked(its, look, &any);
            mutex_unlock(&its->lock);
        }
        if (u) {
            utimer_expire(u);
            utimer_put(u);
            cond_resched();
        }
    } while (u);
    if (any) {
        store_relaxed(&p->cpu_watch, true);
    }
}

// --- Life ----------------------------------------------------------------------------------------

// p's timers; NULL: none and !create, or no memory.
struct itimers *itimers_of(struct process *p, bool create)
{
    struct itimers *its, *fresh = NULL;

    spin_lock(&p->lock);
    its = p->timers;
    spin_unlock(&p->lock);
    if (its || !create) {
        return its;
    }
    if (!atomic_exchange(&thread_started, true) && !kthread_create("timers", timers_thread, NULL)) {
        store_relaxed(&thread_started, false);
        return NULL;
    }
    fresh = kzalloc(sizeof(*fresh), GFP_KERNEL);
    if (!fresh) {
        return NULL;
    }
    mutex_init(&fresh->lock, RANK_SLEEP_MISC);
    list_init(&fresh->all);
    spin_lock(&p->lock);
    if (!p->timers) {
        p->timers = fresh;
        fresh = NULL;
    }
    its = p->timers;
    spin_unlock(&p->lock);
    kfree(fresh);
    return its;
}

int utimer_charge(struct utimer *u)
{
    struct process *p = u->proc;

    spin_lock(&p->lock);
    u->charged = p->nr_sigqueue < p->rlimit[RLIMIT_SIGPENDING].cur;
    p->nr_sigqueue += u->charged;
    spin_unlock(&p->lock);
    return u->charged ? 0 : -EAGAIN;
}

void utimer_delete_locked(struct utimer *u)
{
    struct process *p = u->proc;

    utimer_set_locked(u, 0, 0);
    u->deleted = true;
    list_del(&u->link);
    spin_lock(&p->lock);
    if (u->queued) {
        u->queued->timer = NULL; // the place in RLIMIT_SIGPENDING is the signal's from now on
        u->queued = NULL;
    } else {
        p->nr_sigqueue -= u->charged;
    }
    spin_unlock(&p->lock);
    utimer_put(u);
}

static void itimers_delete(struct process *p, bool all)
{
    struct itimers *its = itimers_of(p, false);
    struct utimer *u, *tmp;

    if (!its) {
        return;
    }
    mutex_lock(&its->lock);
    list_for_each_entry_safe (u, tmp, &its->all, link) {
        if (all || u->posix) {
            for (int i = 0; i < 3; i++) {
                its->interval[i] = its->interval[i] == u ? NULL : its->interval[i];
            }
            utimer_delete_locked(u);
        }
    }
    mutex_unlock(&its->lock);
}

void itimers_exit(struct process *p)
{
    itimers_delete(p, true);
}

void itimers_exec(struct process *p)
{
    itimers_delete(p, false);
}

void itimers_signal_gone_locked(struct sigqueue *q, bool taken)
{
    struct utimer *u = q->timer;

    spin_assert_held(&u->proc->lock);
    u->queued = NULL;
    if (taken) {
        u->overrun = (int)q->info.uid;
    }
}
