// The contract with a CPU, 1: identity, interrupts, waiting. All functions: any context unless
// said.
#ifndef ARCH_CPU_H
#define ARCH_CPU_H

#include <k/types.h>

struct thread;

// Each is an inline function in <asm/cpu.h>:
//   unsigned long arch_percpu_offset(void);      this CPU's distance to the .percpu template
//   unsigned cpu_id(void);                       0 .. nr_cpus-1, stable until the next sleep
//   struct thread *current_thread(void);         never NULL after sched_init
//   void current_thread_set(struct thread *t);   the context switch only
//   void cpu_relax(void);                        in a spin loop
//   bool irq_enabled(void);
//   void irq_enable(void); void irq_disable(void);
//   unsigned long irq_save(void);                off, returning the earlier state
//   void irq_restore(unsigned long flags);
//   void cpu_wait_irq(void);                     interrupts are off: turn on and halt, atomically
//   noreturn void cpu_stop(void);                interrupts off, halt for ever
//   u64 cpu_cycles(void);                        a fast counter for seeds and tracing
#include <asm/cpu.h>

#endif
