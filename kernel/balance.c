// Which CPU runs a thread.
//
// A thread that wakes up goes back to its CPU if that is idle, else to an idle CPU, else back to
// its CPU all the same: its cache is there and its turn comes within a slice. A CPU that runs out
// of work takes a thread from another queue before it halts, and the tick of a CPU with a queue
// wakes an idle one, which then does so. Nothing else moves threads; with an idle CPU in reach work
// does not wait longer than a tick.
//
// idle_mask is a hint and a claim: the idle loop sets a CPU's bit, a waker that chooses it takes
// the bit away, so that two wakers do not choose the same CPU. Nothing depends on its being right.
//
// A thread is put on another CPU's queue only when it is off its stack (on_cpu is false); else it
// goes to the queue of the CPU that is leaving its stack. So nobody who takes a thread from its own
// queue ever has to wait for another CPU, and two CPUs cannot wait for each other.
#include "sched_priv.h"

#include <arch/cpu.h>
#include <k/assert.h>
#include <k/errno.h>
#include <smp.h>

static cache_aligned atomic_ulong idle_mask;

bool balance_allowed(struct thread *t, unsigned cpu)
{
    return load_relaxed(&t->affinity) >> cpu & 1;
}

static u64 online_mask(void)
{
    return nr_cpus == 64 ? ~0ul : (1ul << nr_cpus) - 1;
}

static bool idle_claim(unsigned cpu)
{
    u64 bit = 1ul << cpu;
    return (load_relaxed(&idle_mask) & bit) && (fetch_and_seq(&idle_mask, ~bit) & bit);
}

static unsigned balance_shortest(u64 mask)
{
    unsigned best = MAX_CPUS, best_nr = ~0u;
    for (unsigned c = 0; c < nr_cpus; c++) {
        if (mask >> c & 1) {
            unsigned nr = load_relaxed(&per_cpu(runq, c).nr);
            if (nr < best_nr) {
                best = c;
                best_nr = nr;
            }
        }
    }
    return best;
}

static unsigned claim_any_idle(u64 allowed)
{
    for (u64 idle = load_relaxed(&idle_mask) & allowed; idle; idle &= idle - 1) {
        unsigned c = (unsigned)__builtin_ctzl(idle);
        if (idle_claim(c)) {
            return c;
        }
    }
    return MAX_CPUS;
}

unsigned balance_choose(struct thread *t)
{
    u64 allowed = load_relaxed(&t->affinity) & online_mask();
    unsigned prev = (unsigned)load_relaxed(&t->cpu);
    bool prev_allowed = allowed >> prev & 1;

    assert(allowed); // sched_set_affinity refuses such a mask, CPUs do not go away
    if (prev_allowed && idle_claim(prev)) {
        return prev;
    }
    unsigned c = claim_any_idle(allowed);
    if (c < MAX_CPUS) {
        return c;
    }
    return prev_allowed ? prev : balance_shortest(allowed);
}

unsigned balance_choose_new(struct thread *t)
{
    u64 allowed = load_relaxed(&t->affinity) & online_mask();
    unsigned c = claim_any_idle(allowed);

    assert(allowed);
    return c < MAX_CPUS ? c : balance_shortest(allowed);
}

void balance_idle_enter(void)
{
    u64 bit = 1ul << cpu_id();
    if (!(load_relaxed(&idle_mask) & bit)) {
        fetch_or_seq(&idle_mask, bit);
    }
}

void balance_idle_exit(void)
{
    idle_claim(cpu_id());
}

void runq_kick_idle(void)
{
    if (load_relaxed(&this_cpu(runq).nr) == 0) {
        return;
    }
    u64 idle = load_relaxed(&idle_mask);
    if (idle) {
        unsigned c = (unsigned)__builtin_ctzl(idle);
        if (idle_claim(c)) {
            cpu_work_post(c, WORK_RESCHED);
        }
    }
}

static struct thread *steal_from(unsigned victim, unsigned me)
{
    struct runq *rq = &per_cpu(runq, victim);
    struct thread *t, *found = NULL;

    if (load_relaxed(&rq->nr) == 0) {
        return NULL;
    }
    unsigned long flags = spin_lock_irq(&rq->lock);
    list_for_each_entry (t, &rq->queue, rq_link) {
        // acquire: pairs with sched_finish_switch; its stack and registers are saved
        if (balance_allowed(t, me) && !load_acquire(&t->on_cpu)) {
            found = t;
            runq_del_locked(rq, t);
            store_relaxed(&t->cpu, (int)me);
            break;
        }
    }
    spin_unlock_irq(&rq->lock, flags);
    return found;
}

bool balance_steal(void)
{
    unsigned me = cpu_id();
    for (unsigned i = 1; i < nr_cpus; i++) {
        struct thread *t = steal_from((me + i) % nr_cpus, me);
        if (t) {
            runq_place(t, me);
            return true;
        }
    }
    return false;
}

int sched_set_affinity(struct thread *t, u64 mask)
{
    if (!(mask & online_mask())) {
        return -EINVAL;
    }
    for (;;) {
        unsigned cpu = (unsigned)load_relaxed(&t->cpu);
        struct runq *rq = &per_cpu(runq, cpu);
        unsigned long flags = spin_lock_irq(&rq->lock);
        if ((unsigned)load_relaxed(&t->cpu) != cpu) {
            spin_unlock_irq(&rq->lock, flags);
            continue;
        }
        store_relaxed(&t->affinity, mask);
        bool here = mask >> cpu & 1;
        bool running = rq->curr == t;
        bool queued = t->on_rq && !load_acquire(&t->on_cpu); // pairs with sched_finish_switch
        if (!here && queued) {
            runq_del_locked(rq, t);
            spin_unlock_irq(&rq->lock, flags);
            runq_place(t, balance_choose(t));
            return 0;
        }
        spin_unlock_irq(&rq->lock, flags);
        if (!here && running) { // schedule() notices that it may not stay
            if (t == current_thread()) {
                schedule();
            } else {
                cpu_work_post_now(cpu, WORK_RESCHED);
            }
        }
        return 0;
    }
}
