// Host stand-in for k/rcu.h: the kernel's, with read sections as functions (the oracle in
// shim/rcu_oracle.c counts them) and a look at the state around each publication (shim.h).
#ifndef SHIM_K_RCU_H
#define SHIM_K_RCU_H

#include <k/lock.h> // as this build has it
#include <shim.h>

#pragma push_macro("CONFIG_DEBUG")
#undef CONFIG_DEBUG
#define CONFIG_DEBUG 1
#include_next <k/rcu.h>
#pragma pop_macro("CONFIG_DEBUG")

#undef rcu_assign_pointer
#define rcu_assign_pointer(p, v)                                                                   \
    do {                                                                                           \
        shim_publishing(false);                                                                    \
        store_release(p, v);                                                                       \
        shim_publishing(true);                                                                     \
    } while (0)

#endif
