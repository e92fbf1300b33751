// k/lock.h's spinlocks on the host, in both builds' forms; the DEBUG one checks ranks.
#define CONFIG_DEBUG 1
#include <k/assert.h>
#include <k/lock.h>
#include <arch/cpu.h>

void spin_lock_slow(struct spinlock *l); // not DEBUG

void spin_init(struct spinlock *l, enum lock_rank rank)
{
    *l = (struct spinlock)SPINLOCK_INIT((u16)rank);
}

NO_LOCK_ANALYSIS bool spin_trylock(struct spinlock *l)
{
    // Acquire pairs with the release in spin_unlock.
    return !atomic_exchange_explicit(&l->held, 1, memory_order_acquire);
}

void spin_lock_slow(struct spinlock *l)
{
    while (!spin_trylock(l)) {
        cpu_relax();
    }
}

// Ranks of what this thread holds.
static _Thread_local u16 held_rank[16];
static _Thread_local unsigned nr_held;

NO_LOCK_ANALYSIS void spin_lock(struct spinlock *l)
{
    assert(nr_held == 0 || held_rank[nr_held - 1] < l->rank);
    held_rank[nr_held++] = l->rank;
    spin_lock_slow(l);
}

NO_LOCK_ANALYSIS void spin_unlock(struct spinlock *l)
{
    assert(nr_held > 0 && held_rank[nr_held - 1] == l->rank);
    nr_held--;
    store_release(&l->held, 0); // pairs with spin_lock
}
