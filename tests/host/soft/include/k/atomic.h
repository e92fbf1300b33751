// k/atomic.h on the soft machine: the same accesses, each of which is a point where the schedule
// may be bent. Stores that are at most release may wait in this CPU's store buffer (soft.h), loads
// see what this CPU has in it, and whatever C orders after earlier stores empties it first.
#ifndef SOFT_K_ATOMIC_H
#define SOFT_K_ATOMIC_H

#include <soft.h>
#include_next <k/atomic.h>

#undef load_relaxed
#undef load_acquire
#undef load_seq
#undef store_relaxed
#undef store_release
#undef store_seq
#undef fetch_add_relaxed
#undef fetch_sub_release
#undef fetch_add_seq
#undef fetch_or_seq
#undef fetch_and_seq
#undef atomic_fence_seq
#undef atomic_exchange
#undef atomic_compare_exchange_strong
#undef atomic_compare_exchange_weak
#undef atomic_fetch_add
#undef atomic_fetch_sub
#undef atomic_fetch_or
#undef atomic_fetch_and

#define SOFT_TYPE(p) __typeof__(atomic_load_explicit((p), memory_order_relaxed))

// Names that differ each time: these nest.
#define SOFT_JOIN_(a, b) a##b
#define SOFT_JOIN(a, b)  SOFT_JOIN_(a, b)
#define SOFT_LOAD_(p, order, at, raw, result)                                                      \
    ({                                                                                             \
        __auto_type at = (p);                                                                      \
        SOFT_TYPE(at) result;                                                                      \
        uint64_t raw;                                                                              \
        soft_point();                                                                              \
        if (soft_forward((const void *)at, &raw)) {                                                \
            __builtin_memcpy(&result, &raw, sizeof(result));                                       \
        } else {                                                                                   \
            result = atomic_load_explicit(at, memory_order_##order);                               \
        }                                                                                          \
        result;                                                                                    \
    })
#define SOFT_LOAD__(p, order, n)                                                                   \
    SOFT_LOAD_(p, order, SOFT_JOIN(soft_at_, n), SOFT_JOIN(soft_raw_, n), SOFT_JOIN(soft_got_, n))
#define SOFT_LOAD(p, order) SOFT_LOAD__(p, order, __COUNTER__)

#define SOFT_STORE_(p, v, at, raw, new)                                                            \
    do {                                                                                           \
        __auto_type at = (p);                                                                      \
        SOFT_TYPE(at) new = (v);                                                                   \
        uint64_t raw = 0;                                                                          \
        __builtin_memcpy(&raw, &new, sizeof(new));                                                 \
        soft_point();                                                                              \
        soft_buffer((void *)at, sizeof(new), raw);                                                 \
        soft_point();                                                                              \
    } while (0)
#define SOFT_STORE__(p, v, n)                                                                      \
    SOFT_STORE_(p, v, SOFT_JOIN(soft_to_, n), SOFT_JOIN(soft_bits_, n), SOFT_JOIN(soft_new_, n))
#define SOFT_STORE(p, v) SOFT_STORE__(p, v, __COUNTER__)

#define load_relaxed(p)     SOFT_LOAD(p, relaxed)
#define load_acquire(p)     SOFT_LOAD(p, acquire)
#define load_seq(p)         SOFT_LOAD(p, seq_cst)
#define store_relaxed(p, v) SOFT_STORE(p, v)
#define store_release(p, v) SOFT_STORE(p, v)
#define store_seq(p, v)                                                                            \
    (soft_drain(), soft_point(), atomic_store_explicit((p), (v), memory_order_seq_cst))

#define SOFT_RMW(op, p, v, order)                                                                  \
    (soft_drain(), soft_point(), atomic_fetch_##op##_explicit((p), (v), memory_order_##order))
#define fetch_add_relaxed(p, v) SOFT_RMW(add, p, v, relaxed)
#define fetch_sub_release(p, v) SOFT_RMW(sub, p, v, release)
#define fetch_add_seq(p, v)     SOFT_RMW(add, p, v, seq_cst)
#define fetch_or_seq(p, v)      SOFT_RMW(or, p, v, seq_cst)
#define fetch_and_seq(p, v)     SOFT_RMW(and, p, v, seq_cst)
#define atomic_fetch_add(p, v)  SOFT_RMW(add, p, v, seq_cst)
#define atomic_fetch_sub(p, v)  SOFT_RMW(sub, p, v, seq_cst)
#define atomic_fetch_or(p, v)   SOFT_RMW(or, p, v, seq_cst)
#define atomic_fetch_and(p, v)  SOFT_RMW(and, p, v, seq_cst)

#define atomic_exchange(p, v)                                                                      \
    (soft_drain(), soft_point(), atomic_exchange_explicit((p), (v), memory_order_seq_cst))
#define SOFT_CAS(kind, p, old, new)                                                                \
    (soft_drain(), soft_point(),                                                                   \
     atomic_compare_exchange_##kind##_explicit((p), (old), (new), memory_order_seq_cst,            \
                                               memory_order_seq_cst))
#define atomic_compare_exchange_strong(p, old, new) SOFT_CAS(strong, p, old, new)
#define atomic_compare_exchange_weak(p, old, new)   SOFT_CAS(weak, p, old, new)

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
