// The soft machine with the kernel's own RCU (kernel/rcu.c) in place of the oracle in rcu.c: what
// kernel/sched.c does for it, and a tick that comes at any point of a busy CPU.

#include <arch/cpu.h>
#include <arch/smp.h>
#include <k/assert.h>
#include <k/percpu.h>
#include <k/rcu.h>
#include <page.h>
#include <sched.h>
#include <soft.h>

void arch_send_ipi(u64 cpu_mask, enum ipi_kind kind)
{
    assert(cpu_mask && kind == IPI_RESCHED);
}

bool thread_wake(struct thread *t)
{
    (void)t;
    return false;
}

void soft_rcu_start(void)
{
    unsigned long flags = irq_save();
    rcu_idle_exit();
    irq_restore(flags);
}

void soft_rcu_stop(void)
{
    unsigned long flags = irq_save();
    rcu_idle_enter();
    irq_restore(flags);
}

// As safe_point in kernel/sched.c, and about as often as there.
void soft_rcu_safe_point(void)
{
    unsigned work = load_relaxed(&this_cpu(cpu_work));
    if (work & WORK_RCU_QS) {
        rcu_quiescent();
    }
    if (work & (WORK_RCU_CB | WORK_RCU_BARRIER)) {
        rcu_run_callbacks();
    }
}

void soft_rcu_tick(void)
{
    if (!rcu_idle(cpu_id())) {
        rcu_tick();
    }
}

// As sched_idle_loop and idle_halt.
void soft_idle(unsigned turns)
{
    soft_drain();
    rcu_quiescent();
    rcu_flush_batch();
    rcu_run_callbacks();
    soft_answer_drain();
    unsigned long flags = irq_save();
    rcu_idle_enter();
    for (; turns && !(load_seq(&this_cpu(cpu_work)) & ~(unsigned)WORK_RCU_QS); turns--) {
        irq_restore(flags);
        soft_wait();
        flags = irq_save();
    }
    rcu_idle_exit();
    irq_restore(flags);
}
