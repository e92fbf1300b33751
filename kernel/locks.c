// Spinlocks: test and test-and-set.
//
// The kernel is not preempted, so the holder of a spinlock is running unless the host took its
// virtual CPU away. That case decides the algorithm: a ticket or queue lock hands itself to one
// waiter, and if the host has stopped that one, everybody waits; here whoever runs takes it.
// Waiters read until the lock looks free, so a held lock's line stays shared among them.
//
// A lock that an interrupt handler takes is always taken with interrupts off, or the handler would
// wait for the thread under it. Waiting with interrupts off is harmless for those: their holders
// wait for nobody. All other locks must be waited for with interrupts on: their holder may be
// waiting for this CPU to answer a TLB shootdown.
#include "lockrank_priv.h"

#include <arch/cpu.h>
#include <k/assert.h>
#include <k/lock.h>

void spin_init(struct spinlock *l, enum lock_rank rank)
{
    store_relaxed(&l->held, 0);
    l->rank = (u16)rank;
    l->owner = 0;
}

static inline bool spin_take(struct spinlock *l)
{
    // acquire: pairs with the release in spin_unlock
    return !atomic_exchange_explicit(&l->held, 1, memory_order_acquire);
}

static void spin_wait(struct spinlock *l)
{
    do {
        while (load_relaxed(&l->held)) {
            cpu_relax();
        }
    } while (!spin_take(l));
}

#if CONFIG_DEBUG
static void spin_note_taken(struct spinlock *l)
{
    lockrank_push(l, l->rank);
    l->owner = (u16)(cpu_id() + 1);
}

static void spin_lock_checked(struct spinlock *l, bool nested)
{
    if (l->rank >= RANK_IRQ_FIRST) {
        assert(!irq_enabled());
    }
    lockrank_check(l, l->rank, nested);
    if (!spin_take(l)) {
        spin_wait(l);
    }
    spin_note_taken(l);
}

void spin_lock(struct spinlock *l) NO_LOCK_ANALYSIS
{
    spin_lock_checked(l, false);
}

void spin_lock_nested(struct spinlock *l) NO_LOCK_ANALYSIS
{
    spin_lock_checked(l, true);
}

bool spin_trylock(struct spinlock *l) NO_LOCK_ANALYSIS
{
    if (load_relaxed(&l->held) || !spin_take(l)) {
        return false;
    }
    spin_note_taken(l);
    return true;
}

void spin_unlock(struct spinlock *l) NO_LOCK_ANALYSIS
{
    if (!load_relaxed(&l->held)) {
        panic("spinlock %p (rank %u): released while free", (void *)l, l->rank);
    }
    if (l->owner != cpu_id() + 1) {
        panic("spinlock %p (rank %u): released by CPU %u, held by CPU %d", (void *)l, l->rank,
              cpu_id(), l->owner - 1);
    }
    l->owner = 0;
    lockrank_pop(l);
    store_release(&l->held, 0); // pairs with spin_take
}

void spin_assert_held(struct spinlock *l)
{
    if (!load_relaxed(&l->held) || l->owner != cpu_id() + 1) {
        panic("spinlock %p (rank %u) should be held here", (void *)l, l->rank);
    }
}
#else
void spin_lock_slow(struct spinlock *l)
{
    spin_wait(l);
}

bool spin_trylock(struct spinlock *l) NO_LOCK_ANALYSIS
{
    return !load_relaxed(&l->held) && spin_take(l);
}

void spin_assert_held(struct spinlock *l)
{
    (void)l;
}
#endif

unsigned long spin_lock_irq(struct spinlock *l) NO_LOCK_ANALYSIS
{
    unsigned long flags = irq_save();
    spin_lock(l);
    return flags;
}

void spin_unlock_irq(struct spinlock *l, unsigned long flags) NO_LOCK_ANALYSIS
{
    spin_unlock(l);
    irq_restore(flags);
}
