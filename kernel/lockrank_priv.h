// What spinlocks and sleeping locks share: the DEBUG record of what the current thread holds.
#ifndef LOCKRANK_PRIV_H
#define LOCKRANK_PRIV_H

#include <k/types.h>

#if CONFIG_DEBUG
void lockrank_check(const void *lock, unsigned rank, bool nested); // before a blocking acquire
void lockrank_push(void *lock, unsigned rank);
void lockrank_pop(void *lock);
bool lockrank_holds(const void *lock);
#else
static inline void lockrank_check(const void *lock, unsigned rank, bool nested)
{
    (void)lock, (void)rank, (void)nested;
}
static inline void lockrank_push(void *lock, unsigned rank)
{
    (void)lock, (void)rank;
}
static inline void lockrank_pop(void *lock)
{
    (void)lock;
}
static inline bool lockrank_holds(const void *lock)
{
    (void)lock;
    return true;
}
#endif
void lockrank_start(void); // sched_init: current_thread() is valid from here on

#endif
