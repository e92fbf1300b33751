// Sleepable RCU: a domain of its own, whose read sections may sleep.
//
// Readers count. Each CPU has two pairs of counters; srcu->idx says which pair new sections use. A
// section adds to `lock` of that pair where it begins and to `unlock` of the same pair where it
// ends, maybe on another CPU. The sections of a pair have ended when the sums over all CPUs agree.
//
// The sums are taken in this order: first all `unlock`, then a full barrier, then all `lock`. An
// ending that was counted has its beginning counted too, so the sums can only agree if every
// section that had begun before the first sum has ended.
//
// synchronize_srcu waits for both pairs, turning idx in between. Why both: a reader may have read
// idx and not counted itself yet when idx turns; it then counts in the pair that is being waited
// for, or in the one that the next round uses. Two columns, seq_cst:
//
//      reader                               synchronize_srcu
//      i = idx                              (unlink was before)
//      lock[i] += 1                         wait(other pair); idx turns; wait(first pair)
//      read the pointer                     free
//
// Either a wait sees the lock[i] += 1 and waits for its unlock, or the reader's addition comes
// after that sum and, being seq_cst, its reads see the unlinking. The first wait, of the pair that
// new readers do not use, keeps a late-comer from an earlier turn from making the second one
// endless.
//
// Waiting is polling, a millisecond apart: a writer here is never in a hurry.
#include <arch/cpu.h>
#include <arch/time.h>
#include <k/errno.h>
#include <k/rcu.h>
#include <sched.h>
#include <slab.h>
#include <smp.h>

#define SRCU_POLL_NS 1000000ull

_Static_assert(sizeof(struct srcu_cpu) <= CACHE_LINE, "one CPU, one line");

static struct srcu_cpu *srcu_counters(struct srcu *s, unsigned cpu)
{
    return (struct srcu_cpu *)((char *)s->cpu + cpu * CACHE_LINE);
}

int srcu_init(struct srcu *s)
{
    store_relaxed(&s->idx, 0);
    mutex_init(&s->sync, RANK_SLEEP_MISC);
    s->cpu = kzalloc(MAX_CPUS * CACHE_LINE, GFP_KERNEL);
    return s->cpu ? 0 : -ENOMEM;
}

int srcu_read_lock(struct srcu *s)
{
    int i = (int)(load_relaxed(&s->idx) & 1);
    fetch_add_seq(&srcu_counters(s, cpu_id())->lock[i], 1); // pairs with srcu_drained
    atomic_fence_seq();
    return i;
}

void srcu_read_unlock(struct srcu *s, int idx)
{
    fetch_add_seq(&srcu_counters(s, cpu_id())->unlock[idx], 1); // pairs with srcu_drained
}

static bool srcu_drained(struct srcu *s, unsigned i)
{
    long unlocks = 0, locks = 0;
    for (unsigned c = 0; c < percpu_nr; c++) {
        unlocks += load_seq(&srcu_counters(s, c)->unlock[i]);
    }
    atomic_fence_seq();
    for (unsigned c = 0; c < percpu_nr; c++) {
        locks += load_seq(&srcu_counters(s, c)->lock[i]);
    }
    return locks == unlocks;
}

void synchronize_srcu(struct srcu *s)
{
    might_sleep();
    mutex_lock(&s->sync);
    atomic_fence_seq(); // unlink, then sum: the drawing above
    unsigned i = load_relaxed(&s->idx) & 1;
    while (!srcu_drained(s, i ^ 1)) {
        sleep_ns(SRCU_POLL_NS);
    }
    fetch_add_seq(&s->idx, 1);
    atomic_fence_seq();
    while (!srcu_drained(s, i)) {
        sleep_ns(SRCU_POLL_NS);
    }
    mutex_unlock(&s->sync);
}
