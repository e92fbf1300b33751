// DEBUG=1: is anything freed under a reader?
//
// The problem. A grace period that ends too early frees what a reader looks at. That shows, if at
// all, as poison somewhere else and much later.
//
// The idea. Each CPU numbers its read sections: odd while it is in one. When callbacks begin to
// wait, the numbers of all CPUs are noted; before the callbacks may run, no CPU may be in the
// section it was in then. A section cannot change its CPU, as a reader neither sleeps nor is
// preempted.
//
//     reader                           who queued the callbacks
//     section = odd (seq_cst)          unlink
//     looks at the object              full barrier; note section
//
// Who finds an even number comes before the reader's store, so the reader finds the object
// unlinked. The checker needs nothing of what it checks: no gp, no mask, no idle flag.
#include "rcu_check.h"

#if CONFIG_RCU_CHECK
#include <k/assert.h>
#include <k/atomic.h>
#include <smp.h>

static DEFINE_PER_CPU(atomic_ulong, rcu_section); // [a] written by its CPU alone

void rcu_reader_enter(void)
{
    store_seq(&this_cpu(rcu_section), load_relaxed(&this_cpu(rcu_section)) + 1);
}

void rcu_reader_leave(void)
{
    // pairs with rcu_readers_gone: what the section read, it has read
    store_release(&this_cpu(rcu_section), load_relaxed(&this_cpu(rcu_section)) + 1);
}

void rcu_readers_note(struct rcu_readers *r)
{
    for (unsigned c = 0; c < percpu_nr; c++) {
        r->section[c] = load_seq(&per_cpu(rcu_section, c)); // pairs with rcu_reader_enter
    }
}

void rcu_readers_gone(const struct rcu_readers *r)
{
    for (unsigned c = 0; c < percpu_nr; c++) {
        // pairs with rcu_reader_leave
        if ((r->section[c] & 1) && load_acquire(&per_cpu(rcu_section, c)) == r->section[c]) {
            panic("an RCU callback is about to run under a reader on CPU %u", c);
        }
    }
}
#endif
