// RCU. The kernel is not preempted, so a read section is free: a CPU is quiescent when it runs
// user code, idles or switches threads. Callbacks run in thread context at safe points (return to
// user mode, idle, schedule, cond_resched) with no lock held, never in an interrupt handler.
#ifndef K_RCU_H
#define K_RCU_H

#include <k/atomic.h>
#include <k/lock.h>
#include <k/types.h>

struct rcu_head {
    struct rcu_head *next;
    void (*fn)(struct rcu_head *);
};

#if CONFIG_DEBUG
void rcu_read_lock(void); // counts, so that sleeping inside panics; nests
void rcu_read_unlock(void);
bool rcu_read_held(void);
#else
static inline void rcu_read_lock(void)
{
    compiler_barrier();
}
static inline void rcu_read_unlock(void)
{
    compiler_barrier();
}
static inline bool rcu_read_held(void)
{
    return true;
}
#endif

// Look at / publish a pointer that readers follow. Pair with each other.
#define rcu_dereference(p)       load_acquire(p)
#define rcu_assign_pointer(p, v) store_release(p, v)

// Run fn(head) after every read section that is running now has ended. Never sleeps or allocates.
// Thread context, any lock but RANK_RCU and later may be held. fn runs in thread context with no
// lock held; it may free and take spinlocks, not sleep.
void call_rcu(struct rcu_head *head, void (*fn)(struct rcu_head *));

// Wait for a grace period / for all callbacks queued before, on every CPU. Sleeps.
void synchronize_rcu(void);
void rcu_barrier(void);

// For the scheduler, the tick and the return to user mode. An interrupt handler is not a reader: it
// may have hit an idle CPU, which nobody waits for.
void rcu_quiescent(void);    // this CPU holds no read section; thread context
void rcu_tick(void);         // timer interrupt of a busy CPU
void rcu_idle_enter(void);   // interrupts off; from here to rcu_idle_exit nobody waits for this CPU
void rcu_idle_exit(void);    // interrupts off
bool rcu_idle(unsigned cpu); // seq_cst: has that CPU entered and not left
bool rcu_needs_cpu(void);    // this CPU has callbacks at all
u64 rcu_nr_waiting(void);    // callbacks that have not run, all CPUs'; a look, from any context
void rcu_flush_batch(void);  // do not wait for more callbacks: going idle
void rcu_run_callbacks(void); // run a batch of those that are ready; thread context, no lock held
void rcu_init(void);          // boot CPU

// Sleepable RCU: a read section may sleep; each domain waits only for its own readers.
struct srcu {
    atomic_uint idx;   // [a] which pair of counters new readers use
    struct mutex sync; // one synchronize_srcu at a time
    struct srcu_cpu {
        atomic_long lock[2], unlock[2]; // [a] sections begun and ended here
    } * cpu;                            // [I] MAX_CPUS entries, one cache line each
};

int srcu_init(struct srcu *s); // -ENOMEM
int srcu_read_lock(struct srcu *s);
void srcu_read_unlock(struct srcu *s, int idx);
void synchronize_srcu(struct srcu *s); // sleeps

#endif
