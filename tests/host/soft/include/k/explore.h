// k/explore.h on the soft machine: the places where a race is decided bend the schedule most, and
// are where a test may hold a CPU.
#ifndef K_EXPLORE_H
#define K_EXPLORE_H

#include <soft.h>

#define yield_point(name) soft_race_point(name)

static inline void explore_init(void)
{
}

#endif
