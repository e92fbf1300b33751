/* The virtual counter: ticks at its own fixed frequency, not at the processor's. */
#ifndef FAULTBENCH_CYCLES_H
#define FAULTBENCH_CYCLES_H

#include <stdint.h>

static inline uint64_t cycles_now(void)
{
    uint64_t ticks;
    __asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(ticks) : : "memory");
    return ticks;
}

static inline void cpu_relax(void)
{
    __asm__ volatile("yield" : : : "memory");
}

#endif
