// Draining: every CPU gives back the memory that it keeps for itself.
//
// Problem: CPUs keep free pages, magazines of objects and tree nodes of their own, which no other
// CPU may touch; that is what makes allocation free of locks. When memory runs out all of it must
// come back, and a test that looks for leaks wants it back to the last node. A CPU in its idle loop
// or in user mode does not look by itself.
//
// Idea: ask each CPU to do it, and wait until it has. Requests are numbered; a CPU that drains
// answers all requests made so far, so any number of drains at once cost a CPU one or two.
//
//      asker                                   CPU
//      mine = ++asked                          take WORK_DRAIN away
//      WORK_DRAIN to each CPU, interrupt it    n = asked
//      wait until each answered >= mine        give back
//                                              answered = n; wake the askers
//
// The bit goes before `asked` is read, both seq_cst: a request that is not in n has yet to set its
// bit, so the CPU comes again. The other way round it would be lost:
//
//      asker                                   CPU
//                                              n = asked (0)
//      mine = 1; set the bit
//                                              take the bit away; answered = 0: the asker waits on
//
// Where a CPU answers: in schedule(), cond_resched() and its idle loop, before user code runs again
// (kernel/sched.c). There it is in thread context, outside every list operation. The interrupt
// itself does nothing but end a halt or user code. So allocation pays nothing: no flag is read on
// the way, nothing needs interrupts off.
//
// Why it ends: the asker may sleep, so it holds no spinlock and is in no RCU section, and each CPU
// comes to a safe point as it does for a grace period. The asker's own CPU is no exception: its
// answer comes from the schedule() of its wait. A CPU that comes online meanwhile has nothing.
//
// Rejected: draining in the interrupt; every list operation would have to be made safe against it.
// A flag that busy CPUs answer and idle ones do not: what idle CPUs kept was lost to a machine
// without memory, and every leak test had to allow for it.
#include <k/percpu.h>
#include <page.h>
#include <sched.h>
#include <smp.h>

static cache_aligned atomic_ulong asked;         // requests so far
static DEFINE_PER_CPU(atomic_ulong, answered);   // those before which this CPU has given back
static struct waitq askers = WAITQ_INIT(askers); // wait for an answer

void page_drain_answer(void)
{
    fetch_and_seq(&this_cpu(cpu_work), ~(unsigned)WORK_DRAIN); // pairs with page_drain_all
    unsigned long n = load_seq(&asked);
    page_drain_this_cpu();
    store_seq(&this_cpu(answered), n); // pairs with all_answered
    waitq_wake_all(&askers);
}

static bool all_answered(unsigned long request, unsigned nr)
{
    for (unsigned c = 0; c < nr; c++) {
        if (load_seq(&per_cpu(answered, c)) < request) { // pairs with page_drain_answer
            return false;
        }
    }
    return true;
}

void page_drain_all(void)
{
    unsigned nr = nr_cpus;

    might_sleep();
    unsigned long mine = fetch_add_seq(&asked, 1) + 1; // pairs with page_drain_answer
    for (unsigned c = 0; c < nr; c++) {
        cpu_work_post_now(c, WORK_DRAIN);
    }
    waitq_wait(&askers, all_answered(mine, nr));
}
