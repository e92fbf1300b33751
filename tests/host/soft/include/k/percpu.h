// k/percpu.h on the host: a section name that is a C identifier gives us its bounds; the address
// arithmetic is on integers, which the sanitizers allow to wrap.
#ifndef K_PERCPU_H
#define K_PERCPU_H

#include <arch/cpu.h>
#include <k/types.h>

#define DEFINE_PER_CPU(type, name)                                                                 \
    __attribute__((section("percpu_host"))) cache_aligned typeof(type) name
#define DECLARE_PER_CPU(type, name) extern typeof(type) name

extern unsigned percpu_nr;
extern unsigned long percpu_offset[MAX_CPUS];

#define per_cpu(name, cpu) (*(typeof(name) *)((uintptr_t) & (name) + percpu_offset[cpu]))
#define this_cpu(name)     (*(typeof(name) *)((uintptr_t) & (name) + arch_percpu_offset()))

#endif
