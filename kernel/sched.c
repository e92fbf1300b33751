// The scheduler: one queue per CPU, round robin.
//
// A thread is in one of these places:
//
//      running      rq->curr of its CPU; on_cpu
//      queued       RUNNABLE, on_rq, in the queue of t->cpu
//      blocked      BLOCKED or SLEEPING, in no queue; whoever ends the wait finds it elsewhere
//      in transit   RUNNABLE, in no queue: between two of the above, in the hands of one CPU
//      dead         DEAD; freed by RCU once it is off its stack
//
// t->cpu names the run queue whose lock decides about t; it changes under that lock. A waker locks
// it, looks at the state and does one of three things: nothing (not blocked); mark it RUNNABLE (it
// is still rq->curr: it has not come to the middle of schedule() yet, which will find the mark); or
// mark and queue it. As schedule() looks at the state under the same lock, no wake-up falls
// between.
//
// The lock is dropped before the switch of stacks. From rq->curr = next until sched_finish_switch,
// which runs on the next stack, the previous thread is off the queue's mind but its stack is in
// use: on_cpu says so, see balance.c for what that forbids.
//
// Idle. A CPU without work runs its idle thread, which halts with interrupts off until the halt,
// after a last look at its work word. Whoever queues a thread there sets WORK_RESCHED first and
// then looks whether the CPU idles (it does from rcu_idle_enter to rcu_idle_exit), the idle thread
// the other way round, all seq_cst: either it sees the bit, or the interrupt ends its halt.
//
// A woken thread does not displace the running one; it waits for its turn, at most a slice for each
// thread before it. Rejected for now: priorities and fairness by time used, which no test here
// needs.
#include "lockrank_priv.h"
#include "sched_priv.h"

#include <arch/cpu.h>
#include <arch/smp.h>
#include <arch/time.h>
#include <k/assert.h>
#include <k/explore.h>
#include <k/printk.h>
#include <k/rcu.h>
#include <proc.h>
#include <k/string.h>
#include <mm.h>
#include <page.h>
#include <smp.h>

#define SLICE_NS      10000000ull
#define SLICE_FUZZ_NS 1000000ull // a tick that comes a little early ends the slice all the same

DEFINE_PER_CPU(struct runq, runq);
DEFINE_PER_CPU(atomic_uint, cpu_work);
DEFINE_PER_CPU(struct cpu_books, cpu_books);

static struct thread boot_thread = {.name = "idle/0"};

// --- The work word ------------------------------------------------------------------------------

void cpu_work_post(unsigned cpu, unsigned bits)
{
    fetch_or_seq(&per_cpu(cpu_work, cpu), bits); // before rcu_idle looks: see "Idle" above
    if (cpu != cpu_id() && rcu_idle(cpu)) {
        arch_send_ipi(1ul << cpu, IPI_RESCHED);
    }
}

void cpu_work_post_now(unsigned cpu, unsigned bits)
{
    fetch_or_seq(&per_cpu(cpu_work, cpu), bits);
    if (cpu != cpu_id()) {
        arch_send_ipi(1ul << cpu, IPI_RESCHED);
    }
}

void sched_set_need_resched(void)
{
    fetch_or_seq(&this_cpu(cpu_work), WORK_RESCHED);
}

bool sched_need_resched(void)
{
    return load_relaxed(&this_cpu(cpu_work)) & WORK_RESCHED;
}

// --- Run queues ---------------------------------------------------------------------------------

void runq_add_locked(struct runq *rq, unsigned cpu, struct thread *t)
{
    debug_assert(!t->on_rq);
    t->on_rq = true;
    list_add_tail(&rq->queue, &t->rq_link);
    store_relaxed(&rq->nr, load_relaxed(&rq->nr) + 1);
    if (rq->curr == rq->idle) {
        cpu_work_post(cpu, WORK_RESCHED);
    }
}

void runq_del_locked(struct runq *rq, struct thread *t)
{
    t->on_rq = false;
    list_del(&t->rq_link);
    store_relaxed(&rq->nr, load_relaxed(&rq->nr) - 1);
}

void runq_place(struct thread *t, unsigned cpu)
{
    struct runq *rq = &per_cpu(runq, cpu);
    unsigned long flags = spin_lock_irq(&rq->lock);
    store_relaxed(&t->cpu, (int)cpu);
    runq_add_locked(rq, cpu, t);
    spin_unlock_irq(&rq->lock, flags);
}

void thread_start(struct thread *t)
{
    runq_place(t, balance_choose_new(t));
}

// Lock the run queue that decides about t.
static struct runq *runq_lock_of(struct thread *t, unsigned long *flags) NO_LOCK_ANALYSIS
{
    for (;;) {
        int cpu = load_relaxed(&t->cpu);
        struct runq *rq = &per_cpu(runq, cpu);
        *flags = spin_lock_irq(&rq->lock);
        if (load_relaxed(&t->cpu) == cpu) {
            return rq;
        }
        spin_unlock_irq(&rq->lock, *flags);
    }
}

// Wake t if its state is at least `from` (BLOCKED: any wait; SLEEPING: only those signals end).
static bool thread_wake_from(struct thread *t, int from) NO_LOCK_ANALYSIS
{
    unsigned long flags;

    atomic_fence_seq(); // the waker's stores, then the state; pairs with thread_set_state
    int s = load_relaxed(&t->state);
    if (s < from || s > THREAD_SLEEPING) {
        return false;
    }
    struct runq *rq = runq_lock_of(t, &flags);
    do { // t itself may still be changing it, if it is running
        s = load_relaxed(&t->state);
        if (s < from || s > THREAD_SLEEPING) {
            spin_unlock_irq(&rq->lock, flags);
            return false;
        }
    } while (!atomic_compare_exchange_weak(&t->state, &s, THREAD_RUNNABLE));

    if (rq->curr == t) {
        spin_unlock_irq(&rq->lock, flags);
        return true;
    }
    unsigned cpu = (unsigned)load_relaxed(&t->cpu);
    // acquire: pairs with sched_finish_switch
    unsigned target = load_acquire(&t->on_cpu) ? cpu : balance_choose(t);
    if (target == cpu) {
        runq_add_locked(rq, cpu, t);
        spin_unlock_irq(&rq->lock, flags);
        return true;
    }
    store_relaxed(&t->cpu, (int)target); // in transit: RUNNABLE, so other wakers leave it alone
    spin_unlock_irq(&rq->lock, flags);
    runq_place(t, target);
    return true;
}

bool thread_wake(struct thread *t)
{
    return thread_wake_from(t, THREAD_BLOCKED);
}

void thread_notify(struct thread *t)
{
    if (thread_wake_from(t, THREAD_SLEEPING) || t == current_thread()) {
        return;
    }
    if (load_seq(&t->on_cpu)) {
        cpu_work_post_now((unsigned)load_relaxed(&t->cpu), 0);
    }
}

void thread_set_state(enum thread_state s)
{
    atomic_store(&current_thread()->state, (int)s); // pairs with thread_wake_from
    atomic_fence_seq();
}

// --- Switching ----------------------------------------------------------------------------------

// Decide what becomes of prev and who runs next.
static struct thread *runq_pick_locked(struct runq *rq, struct thread *prev) NO_LOCK_ANALYSIS
{
    unsigned cpu = cpu_id();

    if (prev != rq->idle && load_relaxed(&prev->state) == THREAD_RUNNABLE) {
        if (!balance_allowed(prev, cpu)) {
            prev->must_move = true;
        } else if (load_relaxed(&rq->nr) == 0) {
            return prev;
        } else {
            runq_add_locked(rq, cpu, prev);
        }
    }
    struct thread *next = list_first(&rq->queue, struct thread, rq_link);
    if (!next) {
        return rq->idle;
    }
    runq_del_locked(rq, next);
    return next;
}

static void thread_free_rcu(struct rcu_head *head)
{
    struct thread *t = container_of(head, struct thread, rcu);
    if (t->on_free) {
        t->on_free(t);
    }
    thread_free(t);
}

void sched_finish_switch(struct thread *prev)
{
    // While on_cpu is set nobody else changes these.
    bool dead = load_relaxed(&prev->state) == THREAD_DEAD;
    bool must_move = prev->must_move;

    prev->must_move = false;
    store_release(&prev->on_cpu,
                  false); // its stack is free: pairs with thread_wake_from, steal_from
    if (dead) {
        call_rcu(&prev->rcu, thread_free_rcu);
    } else if (must_move) {
        runq_place(prev, balance_choose(prev));
    }
}

// The books of two threads at a switch; see struct thread.
static void runtime_switch(struct thread *prev, struct thread *next, u64 now)
{
    fetch_add_seq(&prev->runtime_seq, 1);
    u64 ran = now - load_relaxed(&prev->run_start_ns);
    store_relaxed(&prev->runtime_ns, load_relaxed(&prev->runtime_ns) + ran);
    store_relaxed(&prev->run_start_ns, 0);
    fetch_add_seq(&prev->runtime_seq, 1);
    store_relaxed(&next->run_start_ns, now); // alone: one word
}

static void switch_count(struct thread *prev)
{
    struct cpu_books *b = &this_cpu(cpu_books);
    bool asked = load_relaxed(&prev->state) != THREAD_RUNNABLE;
    atomic_uint *mine = asked ? &prev->switches_asked : &prev->switches_forced;

    store_relaxed(mine, load_relaxed(mine) + 1);
    store_relaxed(&b->switches, load_relaxed(&b->switches) + 1);
}

// Interrupts off.
static void switch_to(struct runq *rq, struct thread *prev, struct thread *next)
{
    u64 now = clock_ns();

    runtime_switch(prev, next, now);
    switch_count(prev);
    trace_event("switch: from, to", (u64)prev, (u64)next);
    next->slice_end_ns = now + SLICE_NS;
    if (prev == rq->idle) {
        tick_start();
    }
    mm_switch(next->mm, cpu_id());
    current_thread_set(next);
    prev = arch_switch(prev, next);
    sched_finish_switch(prev);
}

// Here this CPU holds no spinlock, is in no read section and in no allocator.
static void safe_point(unsigned work)
{
    if (work & WORK_RCU_QS) {
        rcu_quiescent();
    }
    if (work & (WORK_RCU_CB | WORK_RCU_BARRIER)) {
        rcu_run_callbacks();
    }
    if (unlikely(work & WORK_DRAIN)) {
        page_drain_answer();
    }
    if (unlikely(work & WORK_LOG)) {
        klog_wake();
    }
}

void schedule(void)
{
    struct thread *prev = current_thread();

    might_sleep();
    safe_point(load_relaxed(&this_cpu(cpu_work)));
    struct runq *rq = &this_cpu(runq);
    unsigned long flags = spin_lock_irq(&rq->lock);
    if (load_relaxed(&this_cpu(cpu_work)) & WORK_RESCHED) {
        fetch_and_seq(&this_cpu(cpu_work), ~(unsigned)WORK_RESCHED);
    }
    struct thread *next = runq_pick_locked(rq, prev);
    rq->curr = next;
    if (next != prev) {
        store_relaxed(&next->on_cpu, true);
    }
    spin_unlock(&rq->lock);
    if (next != prev) {
        switch_to(rq, prev, next); // another CPU's variables from here on
    } else {
        next->slice_end_ns = clock_ns() + SLICE_NS;
    }
    irq_restore(flags);
}

void sched_yield(void)
{
    schedule();
}

void cond_resched(void)
{
    unsigned work = load_relaxed(&this_cpu(cpu_work));
    if (likely(work == 0)) {
        return;
    }
    might_sleep();
    safe_point(work);
    if (work & WORK_RESCHED) {
        schedule();
    }
}

// Only this CPU writes its books, and those of the thread it runs.
static void tick_count(struct thread *t, bool from_user)
{
    struct cpu_books *b = &this_cpu(cpu_books);
    atomic_uint *mine = from_user ? &t->ticks_user : &t->ticks_kernel;
    _Atomic u64 *all = from_user ? &b->ticks_user : &b->ticks_kernel;

    store_relaxed(mine, load_relaxed(mine) + 1);
    store_relaxed(all, load_relaxed(all) + 1);
}

u64 sched_idle_ns(unsigned cpu)
{
    return thread_runtime_ns(per_cpu(runq, cpu).idle);
}

unsigned sched_nr_runnable(void)
{
    unsigned c, n = 0;
    for_each_online_cpu (c) {
        struct runq *rq = &per_cpu(runq, c);
        unsigned long flags = spin_lock_irq(&rq->lock);
        n += load_relaxed(&rq->nr) + (rq->curr != rq->idle);
        spin_unlock_irq(&rq->lock, flags);
    }
    return n;
}

void sched_tick(bool from_user)
{
    struct runq *rq = &this_cpu(runq);
    struct thread *t = current_thread();

    if (t == rq->idle) {
        return;
    }
    tick_count(t, from_user);
    if (t->proc && load_relaxed(&t->proc->cpu_watch)) {
        fetch_or_seq(&this_cpu(cpu_work), WORK_CPU_TIME);
    }
    if (load_relaxed(&rq->nr) > 0 && clock_ns() + SLICE_FUZZ_NS >= t->slice_end_ns) {
        sched_set_need_resched();
    }
    if (!balance_allowed(t, cpu_id())) {
        sched_set_need_resched();
    }
    runq_kick_idle();
}

u64 thread_runtime_ns(struct thread *t)
{
    unsigned seq;
    u64 ns, start;
    do {
        seq = load_acquire(&t->runtime_seq);
        ns = load_relaxed(&t->runtime_ns);
        start = load_relaxed(&t->run_start_ns);
        atomic_thread_fence(memory_order_acquire); // the loads come before the second look
    } while ((seq & 1) || load_relaxed(&t->runtime_seq) != seq);
    u64 now = clock_ns();
    return start && now > start ? ns + (now - start) : ns;
}

// --- Idle ---------------------------------------------------------------------------------------

static void idle_halt(void)
{
    irq_disable();
    tick_stop();
    rcu_idle_enter();
    // seq_cst: pairs with cpu_work_post. A grace period does not wait for us any more.
    if (!(load_seq(&this_cpu(cpu_work)) & ~(unsigned)WORK_RCU_QS)) {
        if (!explore_stay_awake()) {
            cpu_wait_irq();
            irq_disable();
        }
    }
    rcu_idle_exit();
    irq_enable();
}

void sched_idle_loop(void)
{
    struct runq *rq = &this_cpu(runq);

    irq_enable();
    for (;;) {
        balance_idle_enter();
        rcu_quiescent();
        rcu_flush_batch();
        rcu_run_callbacks();
        safe_point(load_relaxed(&this_cpu(cpu_work)) & (WORK_DRAIN | WORK_LOG));
        if (load_relaxed(&rq->nr) == 0 && !balance_steal()) {
            idle_halt();
        }
        if (load_relaxed(&rq->nr) > 0 || sched_need_resched()) {
            balance_idle_exit();
            schedule();
        }
    }
}

void sched_init_cpu(unsigned cpu, struct thread *idle)
{
    struct runq *rq = &per_cpu(runq, cpu);

    spin_init(&rq->lock, RANK_RUNQ);
    list_init(&rq->queue);
    rq->idle = rq->curr = idle;
    store_relaxed(&idle->cpu, (int)cpu);
    store_relaxed(&idle->affinity, 1ul << cpu);
    store_relaxed(&idle->on_cpu, true);
    store_relaxed(&idle->run_start_ns, 1); // idle from boot on: it had nothing to do
}

void sched_init(void)
{
    list_init(&boot_thread.rq_link);
    list_init(&boot_thread.wait_link);
    current_thread_set(&boot_thread);
    sched_init_cpu(0, &boot_thread);
    lockrank_start();
}
