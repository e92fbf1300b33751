// k/explore.h on the soft machine: the places where a race is decided bend the schedule most.
#ifndef K_EXPLORE_H
#define K_EXPLORE_H

#include <soft.h>

#define yield_point(name) soft_race_point()

static inline void explore_init(void)
{
}

#endif
