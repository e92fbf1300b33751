// Host stand-in for arch/cpu.h: a thread is CPU 0, or CPU n after host_cpu_enter(n) of
// shim/machine.c. No interrupts.
#ifndef ARCH_CPU_H
#define ARCH_CPU_H

#include <k/types.h>
#include <sched.h>

// Weak, so that tests of one CPU need no source to define them.
__attribute__((weak)) _Thread_local unsigned host_cpu;
__attribute__((weak)) _Thread_local unsigned long host_percpu_offset;

static inline unsigned long arch_percpu_offset(void)
{
    return host_percpu_offset;
}
static inline unsigned cpu_id(void)
{
    return host_cpu;
}
static inline void cpu_relax(void)
{
    sched_yield();
}

#endif
