// Yield points: places where a race is decided, which an EXPLORE=1 kernel makes longer.
//
// yield_point("name") is nothing in other kernels. There it sometimes waits a little, as the boot
// argument explore=SEED, the CPU, the place and a count say; never without that argument. It may
// stand anywhere, under locks and in RCU sections too: it only spends time. With `-icount` all CPUs
// take turns on one host thread and the same seed gives the same schedule: make explore SEEDS=n.
#ifndef K_EXPLORE_H
#define K_EXPLORE_H

#if CONFIG_EXPLORE
void explore_point(const char *name);
#define yield_point(name) explore_point(name)

// The idle loop asks it, interrupts off before and after: true when it has let interrupts in for a
// while, and this CPU is not to halt. Never returns true without a seed.
bool explore_stay_awake(void);
#else
#define yield_point(name)    ((void)0)
#define explore_stay_awake() false
#endif

void explore_init(void); // boot, one CPU

#endif
