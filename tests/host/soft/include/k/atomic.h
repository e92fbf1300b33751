// k/atomic.h on the soft machine: the same accesses, each of which is a point where the schedule
// may be bent, and those that order earlier stores empty this CPU's store buffer first (soft.h).
#ifndef SOFT_K_ATOMIC_H
#define SOFT_K_ATOMIC_H

#include <soft.h>
#include_next <k/atomic.h>

#undef load_acquire
#undef load_seq
#undef store_release
#undef store_seq
#undef fetch_sub_release
#undef fetch_add_seq
#undef fetch_or_seq
#undef fetch_and_seq
#undef atomic_fence_seq
#undef atomic_fetch_add
#undef atomic_fetch_sub
#undef atomic_fetch_or
#undef atomic_fetch_and

#define load_acquire(p) (soft_point(), atomic_load_explicit((p), memory_order_acquire))
#define load_seq(p)     (soft_point(), atomic_load_explicit((p), memory_order_seq_cst))
#define store_release(p, v)                                                                        \
    (soft_drain(), soft_point(), atomic_store_explicit((p), (v), memory_order_release))
#define store_seq(p, v)                                                                            \
    (soft_drain(), soft_point(), atomic_store_explicit((p), (v), memory_order_seq_cst))

#define SOFT_RMW(op, p, v, order)                                                                  \
    (soft_drain(), soft_point(), atomic_fetch_##op##_explicit((p), (v), memory_order_##order))
#define fetch_sub_release(p, v) SOFT_RMW(sub, p, v, release)
#define fetch_add_seq(p, v)     SOFT_RMW(add, p, v, seq_cst)
#define fetch_or_seq(p, v)      SOFT_RMW(or, p, v, seq_cst)
#define fetch_and_seq(p, v)     SOFT_RMW(and, p, v, seq_cst)
#define atomic_fetch_add(p, v)  SOFT_RMW(add, p, v, seq_cst)
#define atomic_fetch_sub(p, v)  SOFT_RMW(sub, p, v, seq_cst)
#define atomic_fetch_or(p, v)   SOFT_RMW(or, p, v, seq_cst)
#define atomic_fetch_and(p, v)  SOFT_RMW(and, p, v, seq_cst)

#define atomic_fence_seq() (soft_drain(), soft_fence())

#if SOFT_TSAN
#undef data_race
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
#define data_race(expr)                                                                            \
    ({                                                                                             \
        AnnotateIgnoreReadsBegin(__FILE__, __LINE__);                                              \
        __auto_type data_race_ = (expr);                                                           \
        AnnotateIgnoreReadsEnd(__FILE__, __LINE__);                                                \
        data_race_;                                                                                \
    })
#endif

#endif
