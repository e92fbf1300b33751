// What a host test may ask of the stand-ins in tests/host/shim.
//
//     shim/slab.c         kmem_cache_*, kmalloc, kfree: malloc, with poison and failures on demand
//     shim/rcu_oracle.c   k/rcu.h
//     shim/panic.c        panic, printk: stderr and abort
//     shim/lock.c         k/lock.h's spinlocks
//     shim/machine.c      CPUs as threads and RAM as an array, for the real allocators (machine.h)
//     k/ and arch/        replace headers of include/ by name; all others are the kernel's
//
// Build with -Itests/host/shim -Iinclude, in that order.
#ifndef SHIM_H
#define SHIM_H

#include <k/types.h>

// Allocations (of every kind, in every thread) counted from now: number n (1 is the next) returns
// NULL, once. 0: none fails.
void shim_alloc_fail_nth(unsigned long n);

// Whether the failure asked for has happened.
bool shim_alloc_failed(void);

// kmalloc blocks alive.
long shim_kmalloc_used(void);

// When RCU callbacks run. Lazy (the default, as in the kernel): in rcu_quiescent, synchronize_rcu
// and rcu_barrier. Eager: in call_rcu itself as soon as no reader can see the object; the harshest
// legal timing for code that promises not to touch an object after call_rcu.
void shim_rcu_eager(bool on);

// Callbacks that wait.
long shim_rcu_pending(void);

// Called around each rcu_assign_pointer when set: done says which side. Single-threaded tests.
extern void (*shim_publish_hook)(bool done);
static inline void shim_publishing(bool done)
{
    if (shim_publish_hook != NULL) {
        shim_publish_hook(done);
    }
}

// This run's seed: the environment's SEED, or the clock. Printed, so that a failure can be had
// again.
u64 shim_seed(void);
// TIMES of the environment, or 1: how much longer than in make check.
unsigned shim_times(void);

// A small generator (splitmix64); *state is the seed.
static inline u64 shim_random(u64 *state)
{
    u64 z = (*state += 0x9e3779b97f4a7c15ull);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

#endif
