// Lock ranks: catching a deadlock without having to meet it.
//
// Every lock has a rank and a thread takes locks in rising order of rank. If all do, no circle of
// waiters can form. A DEBUG=1 kernel writes the ranks a thread holds into the thread and compares
// at each blocking acquire; the first violation panics with both locks, whether or not it would
// have deadlocked this time.
//
// The record is per thread and an interrupt handler adds to that of the thread it hit. That is
// sound: handlers take only ranks from RANK_IRQ_FIRST on, locks of those ranks are held only with
// interrupts off, so whatever the handler finds in the record is lower. For the same reason nothing
// here needs interrupts off: a handler leaves the record as it found it.
//
// A trylock is recorded, not checked: it cannot wait, so it closes no circle.
#include "lockrank_priv.h"

#include <arch/cpu.h>
#include <k/assert.h>
#include <k/lockrank.h>
#include <sched.h>

static bool lockrank_on;

void lockrank_start(void)
{
    lockrank_on = true;
}

#if CONFIG_DEBUG
static const char *rank_name(unsigned rank)
{
    static const char *const names[] = {
        [RANK_EPOLL_GRAPH] = "EPOLL_GRAPH",
        [RANK_EPOLL] = "EPOLL",
        [RANK_FILE_POS] = "FILE_POS",
        [RANK_VFS] = "VFS",
        [RANK_INODE] = "INODE",
        [RANK_PIPE] = "PIPE",
        [RANK_IPC] = "IPC",
        [RANK_FDTABLE] = "FDTABLE",
        [RANK_MMAP_LOCK] = "MMAP_LOCK",
        [RANK_MM_EDIT] = "MM_EDIT",
        [RANK_I_MMAP] = "I_MMAP",
        [RANK_FORK] = "FORK",
        [RANK_SLEEP_MISC] = "SLEEP_MISC",
        [RANK_PROC] = "PROC",
        [RANK_SIGNAL] = "SIGNAL",
        [RANK_FUTEX] = "FUTEX",
        [RANK_SOCK] = "SOCK",
        [RANK_PT_UPPER] = "PT_UPPER",
        [RANK_PT_UPPER2] = "PT_UPPER2",
        [RANK_PT_UPPER3] = "PT_UPPER3",
        [RANK_PT_LEAF] = "PT_LEAF",
        [RANK_MAPPING] = "MAPPING",
        [RANK_RCU] = "RCU",
        [RANK_SLAB] = "SLAB",
        [RANK_PAGE] = "PAGE",
        [RANK_SPIN_MISC] = "SPIN_MISC",
        [RANK_WAITQ] = "WAITQ",
        [RANK_EPOLL_WAIT] = "EPOLL_WAIT",
        [RANK_TIMER] = "TIMER",
        [RANK_RUNQ] = "RUNQ",
        [RANK_TTY] = "TTY",
        [RANK_CONSOLE] = "CONSOLE",
    };
    return rank < array_size(names) && names[rank] ? names[rank] : "?";
}

// Locks of one rank that nest in the order of a graph.
static bool rank_is_graph(unsigned rank)
{
    return rank == RANK_EPOLL || rank == RANK_EPOLL_WAIT;
}

void lockrank_check(const void *lock, unsigned rank, bool nested)
{
    if (!lockrank_on) {
        return;
    }
    struct thread *t = current_thread();
    for (unsigned i = 0; i < t->nr_held; i++) {
        unsigned held = t->held_ranks[i];
        bool upwards = nested && held == rank && (const void *)t->held_locks[i] < lock;
        bool other = rank_is_graph(rank) && held == rank && t->held_locks[i] != lock;
        if (held >= rank && !upwards && !other) {
            panic("lock order: taking %s (rank %u, %p) while holding %s (rank %u, %p)",
                  rank_name(rank), rank, lock, rank_name(held), held, t->held_locks[i]);
        }
    }
}

void lockrank_push(void *lock, unsigned rank)
{
    if (!lockrank_on) {
        return;
    }
    // An interrupt in the middle would use the same place for the locks that its handler takes.
    unsigned long flags = irq_save();
    struct thread *t = current_thread();
    assert(t->nr_held < array_size(t->held_locks));
    t->held_locks[t->nr_held] = lock;
    t->held_ranks[t->nr_held] = (u16)rank;
    t->nr_held++;
    irq_restore(flags);
}

void lockrank_pop(void *lock)
{
    if (!lockrank_on) {
        return;
    }
    struct thread *t = current_thread();
    unsigned i = t->nr_held;
    while (i > 0 && t->held_locks[i - 1] != lock) {
        i--;
    }
    if (i == 0) {
        panic("lock %p: released by thread %s, which does not hold it", lock, t->name);
    }
    for (; i < t->nr_held; i++) {
        t->held_locks[i - 1] = t->held_locks[i];
        t->held_ranks[i - 1] = t->held_ranks[i];
    }
    t->nr_held--;
}

bool lockrank_holds(const void *lock)
{
    if (!lockrank_on) {
        return true;
    }
    struct thread *t = current_thread();
    for (unsigned i = 0; i < t->nr_held; i++) {
        if (t->held_locks[i] == lock) {
            return true;
        }
    }
    return false;
}

void might_sleep(void)
{
    if (!lockrank_on) {
        return;
    }
    struct thread *t = current_thread();
    if (!irq_enabled()) {
        panic("thread %s would sleep with interrupts off", t->name);
    }
    if (t->rcu_depth > 0) {
        panic("thread %s would sleep in an RCU read section", t->name);
    }
    for (unsigned i = 0; i < t->nr_held; i++) {
        if (t->held_ranks[i] >= RANK_SPIN_FIRST) {
            panic("thread %s would sleep while holding the spinlock %s (%p)", t->name,
                  rank_name(t->held_ranks[i]), t->held_locks[i]);
        }
    }
}
#else
void might_sleep(void)
{
}
#endif
