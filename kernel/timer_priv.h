// What time.c (the interrupt) and timer.c (the queues) share.
#ifndef TIMER_PRIV_H
#define TIMER_PRIV_H

#include <k/types.h>

// Run this CPU's timers whose deadline is not after `now`, up to TIMER_BATCH of them; interrupts
// off, no lock. Returns when it is to be called next, TIME_NEVER: no timer is left.
#define TIMER_BATCH 64u
u64 timer_run_expired(u64 now);

// time.c: see that the timer interrupt comes at deadline_ns at the latest. Interrupts off.
void timer_need(u64 deadline_ns);

#endif
