// CPUs and cross calls.
#ifndef SMP_H
#define SMP_H

#include <k/percpu.h>
#include <k/types.h>

extern unsigned nr_cpus; // online CPUs; numbers 0 .. nr_cpus-1

#define for_each_online_cpu(c) for ((c) = 0; (c) < nr_cpus; (c)++)

void smp_init_boot_cpu(void); // percpu area of CPU 0; before anything uses this_cpu
void smp_start_others(void);  // after the allocators and the scheduler
noreturn_fn void smp_secondary_main(unsigned cpu);

// For the interrupts of arch/smp.h and for panic: stop every other CPU, as far as they listen.
void smp_stop_others(void);

// Run fn(arg) on every CPU of mask but this one, in interrupt context, and wait until all have.
// Interrupts on, or the caller would not answer others: asserted. fn takes no lock that can be held
// with interrupts on.
void smp_call_mask(u64 mask, void (*fn)(void *), void *arg);

#endif
