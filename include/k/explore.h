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
#else
#define yield_point(name) ((void)0)
#endif

void explore_init(void); // boot, one CPU

#endif
