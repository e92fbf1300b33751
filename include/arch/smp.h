// The contract with a CPU, 5: other CPUs.
#ifndef ARCH_SMP_H
#define ARCH_SMP_H

#include <k/types.h>

struct thread;

enum ipi_kind {
    IPI_RESCHED = 1, // look at the run queue
    IPI_CALL = 2,    // run queued cross calls (smp_call in smp.h); TLB shootdown uses it
    IPI_STOP = 4,    // a panic elsewhere: print nothing, halt
};

// Set one kind for the target CPUs (a bit mask by CPU number) and interrupt them. Any context.
void arch_send_ipi(u64 cpu_mask, enum ipi_kind kind);

// How many CPUs the firmware lists (at most MAX_CPUS), the boot CPU included. After
// arch_init_early.
unsigned arch_count_cpus(void);

// Start CPU n (percpu area and idle thread exist); returns at once. The CPU arrives in
// smp_secondary_main(n) with interrupts off on its idle thread's stack. 0 or -EIO.
int arch_start_cpu(unsigned n, struct thread *idle);

// Per-CPU initialisation of traps, timers, FPU, interrupt controller, on each CPU (boot CPU too).
void arch_init_cpu(unsigned n);

// Text of /proc/cpuinfo of one CPU (at most 4 KiB), and of /proc/interrupts; interrupts since boot.
// Thread context. Bytes written.
size_t arch_cpuinfo_text(unsigned cpu, char *buf, size_t size);
size_t arch_interrupts_text(char *buf, size_t size);
u64 arch_nr_interrupts(void);

#endif
