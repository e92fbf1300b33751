// Readers-writer semaphore.
//
// state counts: n > 0 readers, -1 a writer, 0 free. The uncontended paths are one compare-exchange.
// Everyone else queues, first come first served, and does not take the lock when it wakes up: the
// one who lets go grants it, to one writer or to all readers up to the next writer. New readers
// queue behind a waiting writer, so a writer waits for the readers it found and no others.
//
// Granting under wait_lock by whoever lets go needs no look back by the waiter, but two things must
// not miss each other (store buffering, all seq_cst):
//
//      waiter                                   unlocker
//      nr_waiters += 1                          state: one less
//      try to grant (reads state)               nr_waiters == 0 ? return : try to grant
//
// Both "try to grant" are the same function under wait_lock; if each had looked before the other's
// store, the seq_cst order would be a circle.
#include "lockrank_priv.h"

#include <arch/cpu.h>
#include <k/assert.h>
#include <k/lock.h>
#include <sched.h>

#define RWSEM_WRITER   (-1l)
#define RWSEM_SPIN_MAX 200

struct rwsem_waiter {
    struct list link; // [wait_lock]
    struct thread *thread;
    bool writer;
    atomic_bool granted; // last access of the granter to this struct
};

void rwsem_init(struct rwsem *s, enum lock_rank rank)
{
    store_relaxed(&s->state, 0);
    spin_init(&s->wait_lock, RANK_WAITQ);
    list_init(&s->waiters);
    store_relaxed(&s->nr_waiters, 0);
    s->rank = (u16)rank;
}

static bool rwsem_take(struct rwsem *s, bool writer)
{
    long old = load_relaxed(&s->state);
    while (writer ? old == 0 : old >= 0) {
        // seq_cst: see the drawing; acquire pairs with rwsem_release
        if (atomic_compare_exchange_weak(&s->state, &old, writer ? RWSEM_WRITER : old + 1)) {
            return true;
        }
    }
    return false;
}

static void rwsem_grant_locked(struct rwsem *s)
{
    for (;;) {
        struct rwsem_waiter *w = list_first(&s->waiters, struct rwsem_waiter, link);
        if (!w || !rwsem_take(s, w->writer)) {
            return;
        }
        struct thread *t = w->thread;
        list_del(&w->link);
        fetch_add_seq(&s->nr_waiters, -1u);
        store_release(&w->granted, true); // pairs with rwsem_wait; w may be gone from here on
        thread_wake(t);                   // t's memory goes by RCU
    }
}

static void rwsem_wait(struct rwsem *s, bool writer)
{
    struct rwsem_waiter w = {.thread = current_thread(), .writer = writer};

    unsigned long flags = spin_lock_irq(&s->wait_lock);
    list_add_tail(&s->waiters, &w.link);
    fetch_add_seq(&s->nr_waiters, 1); // before the grant reads state: see the drawing
    rwsem_grant_locked(s);
    spin_unlock_irq(&s->wait_lock, flags);

    for (;;) {
        thread_set_state(THREAD_BLOCKED);
        if (load_acquire(&w.granted)) { // pairs with rwsem_grant_locked
            break;
        }
        schedule();
    }
    thread_set_state(THREAD_RUNNABLE);
}

static void rwsem_lock(struct rwsem *s, bool writer)
{
    might_sleep();
    lockrank_check(s, s->rank, false);
    for (unsigned i = 0; i < RWSEM_SPIN_MAX; i++) {
        if (load_relaxed(&s->nr_waiters) > 0) {
            break;
        }
        if (rwsem_take(s, writer)) {
            goto out;
        }
        cpu_relax();
    }
    rwsem_wait(s, writer);
out:
    lockrank_push(s, s->rank);
}

static void rwsem_release(struct rwsem *s, long delta)
{
    fetch_add_seq(&s->state, delta); // before the count is read: see the drawing
    if (load_seq(&s->nr_waiters) > 0) {
        unsigned long flags = spin_lock_irq(&s->wait_lock);
        rwsem_grant_locked(s);
        spin_unlock_irq(&s->wait_lock, flags);
    }
}

void rwsem_read_lock(struct rwsem *s)
{
    rwsem_lock(s, false);
}

bool rwsem_read_trylock(struct rwsem *s)
{
    if (load_relaxed(&s->nr_waiters) > 0 || !rwsem_take(s, false)) {
        return false;
    }
    lockrank_push(s, s->rank);
    return true;
}

void rwsem_read_unlock(struct rwsem *s)
{
    debug_assert(load_relaxed(&s->state) > 0);
    lockrank_pop(s);
    rwsem_release(s, -1);
}

void rwsem_write_lock(struct rwsem *s)
{
    rwsem_lock(s, true);
}

void rwsem_write_unlock(struct rwsem *s)
{
    debug_assert(load_relaxed(&s->state) == RWSEM_WRITER);
    lockrank_pop(s);
    rwsem_release(s, 1);
}

void rwsem_downgrade(struct rwsem *s)
{
    debug_assert(load_relaxed(&s->state) == RWSEM_WRITER);
    rwsem_release(s, 2); // -1 -> 1
}
