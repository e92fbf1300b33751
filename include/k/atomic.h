// Atomics: C11's, with short names for the orders this kernel uses. The order belongs to the
// access; portable code uses no bare fence except atomic_fence_seq(), whose users draw why.
#ifndef K_ATOMIC_H
#define K_ATOMIC_H

#include <stdatomic.h>

#define load_relaxed(p)     atomic_load_explicit((p), memory_order_relaxed)
#define load_acquire(p)     atomic_load_explicit((p), memory_order_acquire)
#define load_seq(p)         atomic_load_explicit((p), memory_order_seq_cst)
#define store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define store_seq(p, v)     atomic_store_explicit((p), (v), memory_order_seq_cst)

#define fetch_add_relaxed(p, v) atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define fetch_sub_relaxed(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_relaxed)
#define fetch_sub_release(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_release)
#define fetch_add_seq(p, v)     atomic_fetch_add_explicit((p), (v), memory_order_seq_cst)
#define fetch_or_seq(p, v)      atomic_fetch_or_explicit((p), (v), memory_order_seq_cst)
#define fetch_and_seq(p, v)     atomic_fetch_and_explicit((p), (v), memory_order_seq_cst)

// A full barrier between all earlier and all later accesses of this CPU.
#define atomic_fence_seq() atomic_thread_fence(memory_order_seq_cst)

// Keep the compiler, not the CPU, from moving accesses across this point.
#define compiler_barrier() atomic_signal_fence(memory_order_seq_cst)

// data_race(EXPR): its plain accesses race on purpose, whatever the other side is; say why in a
// comment. EXPR has a value and does not sleep. An atomic is better wherever one will do.
#if CONFIG_KCSAN
void kcsan_ignore_begin(void);
void kcsan_ignore_end(void);
#define data_race(expr)                                                                            \
    ({                                                                                             \
        kcsan_ignore_begin();                                                                      \
        __auto_type data_race_ = (expr);                                                           \
        kcsan_ignore_end();                                                                        \
        data_race_;                                                                                \
    })
#else
#define data_race(expr) (expr)
#endif

#endif
