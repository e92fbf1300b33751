// Timers that send signals: alarm, setitimer, timer_create.
//
// A process has one struct itimers, made when it first sets a timer: the three interval timers and
// the POSIX timers, which are found by number in a table of lists that grows with them. Those on a
// wall or monotonic clock have a struct timer. Its interrupt cannot send a signal (that takes
// proc->lock and memory), so it hands the timer to a kernel thread:
//
//     interrupt                     the thread "timers"
//     due list += timer; wake       take it off; its->lock; is it due? deadline += n intervals;
//                                   arm it again; unlock; send the signal, or count an overrun
//
// The timer may be set again or deleted between the two: the thread looks at the deadline, not at
// who woke it. A counted reference keeps it while it is on the due list.
//
// One process may have ten thousands of timers due at one time, and all of them again as soon as
// they have been worked off. So each has its own due list, and the thread takes one timer of one
// process, then one of the next: what a process waits for depends on how many processes have timers
// due, not on how many timers.
//
// Those on CPU time have no interrupt: kernel/itimer_cpu.c.
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
static struct list due_list =
    LIST_INIT(due_list); // [due_lock] itimers.due_link: whose turn is next
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
    struct itimers *its = u->proc->timers; // as long as the process, which the timer counts

    spin_lock(&due_lock);
    if (!u->due) {
        u->due = true;
        fetch_add_relaxed(&u->ref, 1);
        list_add_tail(&its->due, &u->due_link);
        if (list_empty(&its->due_link)) {
            list_add_tail(&due_list, &its->due_link);
        }
    }
    spin_unlock(&due_lock);
    waitq_wake_all(&due_wait);
}

static struct utimer *due_take(void)
{
    unsigned long flags = spin_lock_irq(&due_lock);
    struct itimers *its = list_first(&due_list, struct itimers, due_link);
    struct utimer *u = its ? list_first(&its->due, struct utimer, due_link) : NULL;

    if (u) {
        list_del(&u->due_link);
        u->due = false;
        list_del(&its->due_link);
        if (!list_empty(&its->due)) {
            list_add_tail(&due_list, &its->due_link); // behind all others
        }
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
    list_init(&u->id_link);
    list_init(&u->due_link);
    timer_init(&u->timer, utimer_fire);
    return u;
}

// --- Time ----------------------------------------------------------------------------------------

u64 utimer_now_locked(const struct utimer *u)
{
    if (clock_is_cpu(u->clock)) {
        return utimer_cpu_now_locked(u);
    }
    return u->wall ? wall_ns() : clock_ns();
}

// Not one on CPU time: the interrupt comes at this time of its clock.
static void utimer_arm_locked(struct utimer *u, u64 at_ns)
{
    (u->wall ? timer_arm_wall : timer_arm)(&u->timer, at_ns);
}

void utimer_set_locked(struct utimer *u, u64 deadline_ns, u64 interval_ns)
{
    struct itimers *its = u->proc->timers;

    mutex_assert_held(&its->lock);
    u->interval_ns = interval_ns;
    if (clock_is_cpu(u->clock)) {
        utimer_cpu_cancel_locked(its, u);
        u->deadline_ns = deadline_ns;
        utimer_cpu_arm_locked(its, u);
        return;
    }
    timer_cancel(&u->timer);
    u->deadline_ns = deadline_ns;
    if (deadline_ns && deadline_ns != TIME_NEVER) {
        utimer_arm_locked(u, deadline_ns);
    }
}

void utimer_read_locked(const struct utimer *u, u64 *left_ns, u64 *interval_ns)
{
    u64 now = utimer_now_locked(u);

    *interval_ns = u->interval_ns;
    *left_ns = !u->deadline_ns ? 0 : u->deadline_ns > now ? u->deadline_ns - now : 1;
}

// --- Expiring ------------------------------------------------------------------------------------

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

    spin_lock(&p->lock);
    if (u->posix) {
        posix_signal_locked(u, NULL, expirations, q);
    } else {
        signal_send_locked(p, NULL, &info, q);
    }
    spin_unlock(&p->lock);
}

// SIGEV_THREAD_ID: to a thread of p, if there is still one of that number.
static void utimer_signal_thread(struct utimer *u, u64 expirations, struct sigqueue **q)
{
    struct process *p = u->proc;
    struct task_ext *to;

    spin_lock(&proc_table_lock);
    to = task_find_locked(u->tid);
    if (to && to->proc == p) {
        spin_lock(&p->lock);
        posix_signal_locked(u, to, expirations, q);
        spin_unlock(&p->lock);
    }
    spin_unlock(&proc_table_lock);
}

void utimer_expire(struct utimer *u, u64 cpu_now)
{
    struct itimers *its = u->proc->timers;
    struct sigqueue *q = sigqueue_alloc(); // without one the signal has no siginfo
    u64 n = 1, next, now;
    bool due;

    mutex_lock(&its->lock);
    now = clock_is_cpu(u->clock) ? cpu_now : utimer_now_locked(u);
    due = u->deadline_ns && u->deadline_ns <= now && !u->deleted;
    if (due && u->interval_ns) {
        n = (now - u->deadline_ns) / u->interval_ns + 1;
        next = u->deadline_ns + n * u->interval_ns;
        if (clock_is_cpu(u->clock)) {
            utimer_set_locked(u, next, u->interval_ns);
        } else {
            u->deadline_ns = next;
            timer_cancel(&u->timer);
            utimer_arm_locked(u, max(next, now + ARM_AGAIN_NS));
        }
    } else if (due) {
        utimer_set_locked(u, 0, 0);
    } else if (u->wall) {
        utimer_set_locked(u, u->deadline_ns, u->interval_ns); // the clock was set back meanwhile
    }
    if (due && u->signo) {
        (u->tid ? utimer_signal_thread : utimer_signal)(u, n, &q);
    }
    mutex_unlock(&its->lock);
    sigqueue_free(q);
}

static void timers_thread(void *arg)
{
    (void)arg;
    for (;;) {
        struct utimer *u;

        waitq_wait(&due_wait, (u = due_take()) != NULL);
        utimer_expire(u, 0); // one on CPU time is never here
        utimer_put(u);
        cond_resched(); // short intervals may keep the list from ever being empty
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
    list_init(&fresh->due);
    list_init(&fresh->due_link);
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

static struct list *id_list(struct itimers *its, s32 id)
{
    return &its->ids[(u32)id % its->nr_ids];
}

struct utimer *utimer_find_locked(struct itimers *its, s32 id)
{
    struct utimer *u;

    if (its->nr_ids) {
        list_for_each_entry (u, id_list(its, id), id_link) {
            if (u->id == id) {
                return u;
            }
        }
    }
    return NULL;
}

// Twice as many lists, or the first ones. Without memory there are as many as before.
static void ids_grow_locked(struct itimers *its)
{
    unsigned nr = max(2 * its->nr_ids, 16u);
    struct list *old = its->ids, *ids = kmalloc(nr * sizeof(*ids), GFP_KERNEL);
    struct utimer *u;

    if (!ids) {
        return;
    }
    for (unsigned i = 0; i < nr; i++) {
        list_init(&ids[i]);
    }
    its->ids = ids;
    its->nr_ids = nr;
    list_for_each_entry (u, &its->all, link) {
        list_del(&u->id_link);
        list_add_tail(id_list(its, u->id), &u->id_link);
    }
    kfree(old);
}

int utimer_add_locked(struct itimers *its, struct utimer *u)
{
    if (its->nr_all >= its->nr_ids) {
        ids_grow_locked(its);
    }
    if (!its->nr_ids) {
        return -EAGAIN;
    }
    list_add_tail(&its->all, &u->link);
    list_add_tail(id_list(its, u->id), &u->id_link);
    its->nr_all++;
    return 0;
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
    p->timers->nr_all -= !list_empty(&u->link);
    list_del(&u->link);
    list_del(&u->id_link);
    cpu_clock_put_locked(u->of);
    u->of = NULL;
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

void itimers_exec(struct process *p)
{
    struct itimers *its = itimers_of(p, false);
    struct utimer *u;

    if (!its) {
        return;
    }
    mutex_lock(&its->lock);
    while ((u = list_first(&its->all, struct utimer, link)) != NULL) {
        utimer_delete_locked(u);
        mutex_unlock(&its->lock); // the thread "timers" may be waiting for it
        cond_resched();
        mutex_lock(&its->lock);
    }
    mutex_unlock(&its->lock);
}

void itimers_exit(struct process *p)
{
    struct itimers *its = itimers_of(p, false);

    itimers_exec(p);
    if (!its) {
        return;
    }
    mutex_lock(&its->lock);
    for (int i = 0; i < 3; i++) {
        if (its->interval[i]) {
            utimer_delete_locked(its->interval[i]);
            its->interval[i] = NULL;
        }
    }
    mutex_unlock(&its->lock);
}

void itimers_free(struct itimers *its)
{
    if (its) {
        kfree(its->ids);
        kfree(its);
    }
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
