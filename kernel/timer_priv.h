// What time.c (the interrupt) and timer.c (the queues) share.
#ifndef TIMER_PRIV_H
#define TIMER_PRIV_H

#include <k/types.h>

// Run this CPU's timers whose deadline is not after `now`; interrupts off, no lock. Returns the
// next deadline, TIME_NEVER if none.
u64 timer_run_expired(u64 now);

// time.c: see that the timer interrupt comes at deadline_ns at the latest. Interrupts off.
void timer_need(u64 deadline_ns);

#endif
