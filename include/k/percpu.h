// Per-CPU variables. DEFINE_PER_CPU places a template in .percpu; each CPU gets a copy, reached at
// a constant distance that arch_percpu_offset() returns. A thread may move to another CPU whenever
// it blocks, never otherwise (the kernel is not preempted), so an address taken from this_cpu()
// stays good until the next sleep.
#ifndef K_PERCPU_H
#define K_PERCPU_H

#include <arch/cpu.h>
#include <k/types.h>

#define DEFINE_PER_CPU(type, name)                                                                 \
    __attribute__((section(".percpu"))) cache_aligned typeof(type) name
#define DECLARE_PER_CPU(type, name) extern typeof(type) name

extern char percpu_start[], percpu_end[];     // the template, from the linker script
extern unsigned percpu_nr;                    // CPUs that have an area; grows before they start
extern unsigned long percpu_offset[MAX_CPUS]; // filled by smp before a CPU starts

#define per_cpu(name, cpu) (*(typeof(name) *)((char *)&(name) + percpu_offset[cpu]))
#define this_cpu(name)     (*(typeof(name) *)((char *)&(name) + arch_percpu_offset()))

#endif
