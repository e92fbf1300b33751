/* The time stamp counter. Ordered against earlier loads, which is enough around a system call. */
#ifndef FAULTBENCH_CYCLES_H
#define FAULTBENCH_CYCLES_H

#include <stdint.h>

static inline uint64_t cycles_now(void)
{
    uint32_t lo, hi;
    __asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
    return (uint64_t)hi << 32 | lo;
}

static inline void cpu_relax(void)
{
    __asm__ volatile("pause" : : : "memory");
}

#endif
