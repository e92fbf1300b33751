// Mutex: one owner, sleeping waiters, first come first served when it matters.
//
// owner is the lock: NULL is free, and taking it is one compare-exchange. A thread that finds it
// taken first spins while the owner runs on another CPU, because the section is likely to end
// before a sleep would have begun. Then it queues itself under wait_lock and sleeps.
//
// No wake-up is lost, because a waiter counts itself before it looks at owner and an unlocker frees
// owner before it looks at the count, all four seq_cst (store buffering):
//
//      waiter                              unlocker
//      nr_waiters += 1                     owner = NULL
//      try owner: NULL -> me               nr_waiters == 0 ? return : wake the first
//
// If both looked too early, each load would precede the other's store in the single order of
// seq_cst operations, which is a circle.
//
// Barging: whoever comes by while the woken waiter is on its way may take the lock. That keeps the
// lock busy, but a waiter could lose for ever. So a waiter that has lost MUTEX_PATIENCE times is
// handed the lock by the next unlock that finds it awake, without the lock becoming free.
// Rejected: always handing off; each section would then cost a wake-up and a switch under
// contention.
//
// No convoy: once one thread has slept, a switch per section must not become the rule. So a woken
// waiter spins as newcomers do before it sleeps again; while it is awake (`woken`) an unlock does
// not wake it again, which would be an interrupt each; and the lock is handed only to one who is
// awake, because newcomers do not spin for an owner that is not running. `woken` loses no wake-up:
// the waiter takes it back in the same wait_lock section in which it tries the lock for the last
// time.
#include "lockrank_priv.h"

#include <arch/cpu.h>
#include <k/assert.h>
#include <k/lock.h>
#include <sched.h>

#define MUTEX_PATIENCE 2
#define MUTEX_SPIN_MAX 32000
// Looks at the owner between two cpu_relax(). That costs the waiter 140 cycles on a processor of
// today and a way out of translated code in an emulator, which is longer than most sections have
// left to go.
#define MUTEX_LOOKS 16

struct mutex_waiter {
    struct list link; // [wait_lock]
    struct thread *thread;
    unsigned nr_lost; // [wait_lock] wake-ups that found the lock taken again
    bool woken;       // [wait_lock] awake, or about to be
};

void mutex_init(struct mutex *m, enum lock_rank rank)
{
    store_relaxed(&m->owner, NULL);
    spin_init(&m->wait_lock, RANK_WAITQ);
    list_init(&m->waiters);
    store_relaxed(&m->nr_waiters, 0);
    m->rank = (u16)rank;
}

static bool mutex_take(struct mutex *m)
{
    struct thread *none = NULL;
    // seq_cst: see the drawing; acquire pairs with the stores to owner in mutex_unlock
    return atomic_compare_exchange_strong(&m->owner, &none, current_thread());
}

bool mutex_trylock(struct mutex *m) NO_LOCK_ANALYSIS
{
    if (load_relaxed(&m->owner) || !mutex_take(m)) {
        return false;
    }
    lockrank_push(m, m->rank);
    return true;
}

// Spin while the owner runs: true, it is ours. The owner may be gone by now, but its memory goes by
// RCU and nothing here is a quiescent state.
static bool mutex_spin(struct mutex *m)
{
    for (unsigned i = 0; i < MUTEX_SPIN_MAX; i++) {
        struct thread *owner = load_acquire(&m->owner); // pairs with the handoff in mutex_unlock
        if (!owner) {
            if (mutex_take(m)) {
                return true;
            }
        } else if (owner == current_thread()) {
            return true; // handed to us; nobody else stores our name
        } else if (!load_relaxed(&owner->on_cpu)) {
            return false;
        }
        if (sched_need_resched()) {
            return false;
        }
        if (i % MUTEX_LOOKS == MUTEX_LOOKS - 1) {
            cpu_relax();
        }
    }
    return false;
}

static void mutex_sleep(struct mutex *m)
{
    struct mutex_waiter w = {.thread = current_thread()};
    bool ours = false;

    unsigned long flags = spin_lock_irq(&m->wait_lock);
    list_add_tail(&m->waiters, &w.link);
    fetch_add_seq(&m->nr_waiters, 1); // before mutex_take: see the drawing
    while (!ours) {
        w.woken = false;
        thread_set_state(THREAD_BLOCKED);
        if (mutex_take(m) || load_acquire(&m->owner) == w.thread) { // pairs with the handoff
            break;
        }
        spin_unlock_irq(&m->wait_lock, flags);
        schedule();
        ours = mutex_spin(m);
        flags = spin_lock_irq(&m->wait_lock);
        w.nr_lost++;
    }
    list_del(&w.link);
    fetch_add_seq(&m->nr_waiters, -1u);
    thread_set_state(THREAD_RUNNABLE);
    spin_unlock_irq(&m->wait_lock, flags);
}

void mutex_lock(struct mutex *m) NO_LOCK_ANALYSIS
{
    might_sleep();
    lockrank_check(m, m->rank, false);
    if (unlikely(!mutex_take(m)) && !mutex_spin(m)) {
        mutex_sleep(m);
    }
    lockrank_push(m, m->rank);
}

static cold void mutex_unlock_slow(struct mutex *m)
{
    unsigned long flags = spin_lock_irq(&m->wait_lock);
    struct mutex_waiter *w = list_first(&m->waiters, struct mutex_waiter, link);

    if (load_relaxed(&m->owner) == current_thread()) {
        bool handoff = w && w->woken && w->nr_lost >= MUTEX_PATIENCE;
        store_seq(&m->owner, handoff ? w->thread : NULL); // pairs with mutex_take, mutex_spin
    }
    if (w && !w->woken) {
        w->woken = true;
        thread_wake(w->thread); // under wait_lock: w stays on its stack until we let go
    }
    spin_unlock_irq(&m->wait_lock, flags);
}

void mutex_unlock(struct mutex *m) NO_LOCK_ANALYSIS
{
    debug_assert(load_relaxed(&m->owner) == current_thread());
    lockrank_pop(m);
    if (load_relaxed(&m->nr_waiters) == 0) {
        store_seq(&m->owner, NULL); // before the count is read: see the drawing
        if (likely(load_seq(&m->nr_waiters) == 0)) {
            return;
        }
    }
    mutex_unlock_slow(m);
}

void mutex_assert_held(struct mutex *m)
{
    (void)m;
    debug_assert(load_relaxed(&m->owner) == current_thread());
}
