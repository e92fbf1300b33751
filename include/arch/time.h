// The contract with a CPU, 6: clock and timer interrupt.
#ifndef ARCH_TIME_H
#define ARCH_TIME_H

#include <k/types.h>

// Nanoseconds since boot: monotonic, the same on every CPU, any context, no lock.
u64 clock_ns(void);

// Wall clock at boot, in ns since 1970 UTC (from the RTC), 0 if unknown.
u64 arch_boot_wall_ns(void);

// This CPU's one-shot timer: timer_interrupt() at or after deadline (clock_ns units). Replaces the
// earlier one; TIME_NEVER turns it off. Interrupts off.
#define TIME_NEVER (~0ull)
void arch_timer_set(u64 deadline_ns);

// 64 bits of hardware randomness if the CPU has it.
bool arch_random(u64 *out);

#endif
