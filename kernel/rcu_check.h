// The RCU checker of DEBUG=1 kernels: does rcu.c itself wait for readers? (That readers do not
// sleep or report a quiescent state is asked where they would.) Between rcu.c and rcu_check.c.
#ifndef KERNEL_RCU_CHECK_H
#define KERNEL_RCU_CHECK_H

#include <k/percpu.h>
#include <k/types.h>

// The machine of the host tests has an oracle that knows its readers, and is slow enough.
#ifndef CONFIG_RCU_CHECK
#define CONFIG_RCU_CHECK CONFIG_DEBUG
#endif

#if CONFIG_RCU_CHECK
// The read sections under way at one time, a CPU each.
struct rcu_readers {
    u64 section[MAX_CPUS];
};
void rcu_readers_note(struct rcu_readers *r);       // after the caller's full barrier
void rcu_readers_gone(const struct rcu_readers *r); // panics if one of them is still reading
void rcu_reader_enter(void);                        // this CPU's outermost section begins
void rcu_reader_leave(void);
#else
struct rcu_readers {
};
static inline void rcu_readers_note(struct rcu_readers *r)
{
    (void)r;
}
static inline void rcu_readers_gone(const struct rcu_readers *r)
{
    (void)r;
}
static inline void rcu_reader_enter(void)
{
}
static inline void rcu_reader_leave(void)
{
}
#endif

#endif
