// What sched.c and balance.c share: the run queue of a CPU.
#ifndef SCHED_PRIV_H
#define SCHED_PRIV_H

#include <k/percpu.h>
#include <sched.h>

struct runq {
    struct spinlock lock; // RANK_RUNQ
    struct list queue;    // [lock] runnable threads, not the running one, in turn
    atomic_uint nr;       // [lock to write] length of queue
    struct thread *curr;  // [lock] who runs
    struct thread *idle;  // [I]
};
DECLARE_PER_CPU(struct runq, runq);

// Append t to the queue of `cpu`, which t->cpu names already; wakes the CPU if it is idle.
void runq_add_locked(struct runq *rq, unsigned cpu, struct thread *t) REQUIRES(&rq->lock);
void runq_del_locked(struct runq *rq, struct thread *t) REQUIRES(&rq->lock);

// Set t->cpu and queue it there. t is runnable, on no queue, off its stack; nobody else moves it.
void runq_place(struct thread *t, unsigned cpu);

// balance.c: the best CPU for a thread that becomes runnable.
unsigned balance_choose(struct thread *t);
unsigned balance_choose_new(struct thread *t); // that has never run
// The idle loop: take a thread from another CPU's queue to ours. false: nothing to take.
bool balance_steal(void);
void balance_idle_enter(void);
void balance_idle_exit(void);
bool balance_allowed(struct thread *t, unsigned cpu);

#endif
