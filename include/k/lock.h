// Locks: spinlock, mutex, rwsem. The kernel is not preempted, so a spinlock only has to exclude
// other CPUs; one that an interrupt handler takes is always taken with interrupts off.
// Every lock carries its rank (k/lockrank.h) and a DEBUG=1 kernel checks it.
#ifndef K_LOCK_H
#define K_LOCK_H

#include <k/atomic.h>
#include <k/list.h>
#include <k/lockrank.h>
#include <k/types.h>

struct thread;

// Test-and-test-and-set: with more virtual CPUs than real ones a fair (ticket) lock would hand
// itself to a CPU that is not running. 8 bytes, so that it fits in struct page.
struct CAPABILITY("spinlock") spinlock {
    atomic_uint held; // 0 free, 1 held
    u16 rank;
    u16 owner; // CPU number + 1, DEBUG only
};

#define SPINLOCK_INIT(rank_)                                                                       \
    {                                                                                              \
        .rank = (rank_)                                                                            \
    }

void spin_init(struct spinlock *l, enum lock_rank rank);
// true: taken. Not rank checked: it cannot deadlock.
bool spin_trylock(struct spinlock *l) TRY_ACQUIRES(l);

#if CONFIG_DEBUG
void spin_lock(struct spinlock *l) ACQUIRES(l);
void spin_unlock(struct spinlock *l) RELEASES(l);
// A second lock of the rank held last: only upwards by address.
void spin_lock_nested(struct spinlock *l) ACQUIRES(l);
#else
void spin_lock_slow(struct spinlock *l);
static inline void spin_lock(struct spinlock *l) ACQUIRES(l) NO_LOCK_ANALYSIS
{
    // acquire: pairs with the store in spin_unlock
    if (unlikely(atomic_exchange_explicit(&l->held, 1, memory_order_acquire))) {
        spin_lock_slow(l);
    }
}
static inline void spin_unlock(struct spinlock *l) RELEASES(l) NO_LOCK_ANALYSIS
{
    store_release(&l->held, 0); // pairs with spin_lock
}
#define spin_lock_nested(l) spin_lock(l)
#endif

// The same with this CPU's interrupts off; returns the earlier state for the unlock.
unsigned long spin_lock_irq(struct spinlock *l) ACQUIRES(l);
void spin_unlock_irq(struct spinlock *l, unsigned long flags) RELEASES(l);

// DEBUG: panic unless this CPU holds l. Otherwise nothing.
void spin_assert_held(struct spinlock *l);

// A sleeping lock; spins a little while its owner runs on another CPU. Thread context only.
struct CAPABILITY("mutex") mutex {
    _Atomic(struct thread *) owner; // NULL free
    struct spinlock wait_lock;      // [RANK_WAITQ]
    struct list waiters;            // [wait_lock] FIFO
    atomic_uint nr_waiters;
    u16 rank;
};

#define MUTEX_INIT(name, rank_)                                                                    \
    {                                                                                              \
        .wait_lock = SPINLOCK_INIT(RANK_WAITQ), .waiters = LIST_INIT((name).waiters),              \
        .rank = (rank_)                                                                            \
    }

void mutex_init(struct mutex *m, enum lock_rank rank);
void mutex_lock(struct mutex *m) ACQUIRES(m);
bool mutex_trylock(struct mutex *m) TRY_ACQUIRES(m);
void mutex_unlock(struct mutex *m) RELEASES(m);
void mutex_assert_held(struct mutex *m);

// Readers-writer semaphore: sleeping; a waiting writer holds off new readers.
struct CAPABILITY("rwsem") rwsem {
    atomic_long state;         // > 0: readers; -1: a writer; 0: free
    struct spinlock wait_lock; // [RANK_WAITQ]
    struct list waiters;       // [wait_lock] FIFO
    atomic_uint nr_waiters;
    u16 rank;
};

#define RWSEM_INIT(name, rank_)                                                                    \
    {                                                                                              \
        .wait_lock = SPINLOCK_INIT(RANK_WAITQ), .waiters = LIST_INIT((name).waiters),              \
        .rank = (rank_)                                                                            \
    }

void rwsem_init(struct rwsem *s, enum lock_rank rank);
void rwsem_read_lock(struct rwsem *s);
bool rwsem_read_trylock(struct rwsem *s); // false: a writer has it or waits. Not rank checked.
void rwsem_read_unlock(struct rwsem *s);
void rwsem_write_lock(struct rwsem *s);
void rwsem_write_unlock(struct rwsem *s);
void rwsem_downgrade(struct rwsem *s); // write -> read without letting go

#endif
