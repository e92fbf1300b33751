// The way back to user mode: what must be done before user code runs again.
//
// The test is one load of this CPU's work word and the thread's signals; it is made with interrupts
// off, so nothing can become due between the test and the return instruction: whoever makes work
// for a CPU that is running user code, or is about to, interrupts it or leaves it to the tick.
#include <arch/cpu.h>
#include <arch/trap.h>
#include <k/rcu.h>
#include <page.h>
#include <proc.h>
#include <sched.h>
#include <signal.h>

bool return_to_user_pending(void)
{
    return load_relaxed(&this_cpu(cpu_work)) || signal_work_pending();
}

void return_to_user_work(struct trapframe *f)
{
    cond_resched();
    if (unlikely(load_relaxed(&this_cpu(cpu_work)) & WORK_CPU_TIME)) {
        // Another CPU by now, or another process: then the next tick will ask again.
        fetch_and_seq(&this_cpu(cpu_work), ~(unsigned)WORK_CPU_TIME);
        itimers_cpu_check();
    }
    if (signal_work_pending()) {
        signal_deliver(f);
    }
}
