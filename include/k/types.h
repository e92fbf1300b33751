// Freestanding basics: fixed-width names, numbers with a unit, and small macros.
#ifndef K_TYPES_H
#define K_TYPES_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
#ifndef __ssize_t_defined
typedef long ssize_t;
#define __ssize_t_defined
#endif

typedef u64 vaddr_t; // a virtual address, user or kernel
typedef u64 paddr_t; // a physical address
typedef u64 pfn_t;   // a physical page number: paddr >> PAGE_SHIFT

#define PAGE_SHIFT 12
#define PAGE_SIZE  (1ul << PAGE_SHIFT)
#define PAGE_MASK  (~(PAGE_SIZE - 1))

#define CACHE_LINE 64
#define MAX_CPUS   64

#define page_align_down(a) ((a)&PAGE_MASK)
#define page_align_up(a)   (((a) + PAGE_SIZE - 1) & PAGE_MASK)
#define align_down(a, n)   ((a) & ~((typeof(a))(n)-1))
#define align_up(a, n)     align_down((a) + (typeof(a))(n)-1, n)

#define container_of(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))
#define array_size(a)                 (sizeof(a) / sizeof((a)[0]))
#define min(a, b)                                                                                  \
    ({                                                                                             \
        typeof(a) min_a_ = (a);                                                                    \
        typeof(b) min_b_ = (b);                                                                    \
        min_a_ < min_b_ ? min_a_ : min_b_;                                                         \
    })
#define max(a, b)                                                                                  \
    ({                                                                                             \
        typeof(a) max_a_ = (a);                                                                    \
        typeof(b) max_b_ = (b);                                                                    \
        max_a_ > max_b_ ? max_a_ : max_b_;                                                         \
    })

#define likely(x)     __builtin_expect(!!(x), 1)
#define unlikely(x)   __builtin_expect(!!(x), 0)
#define cache_aligned __attribute__((aligned(CACHE_LINE)))
#define noinline      __attribute__((noinline))
#define cold          __attribute__((__cold__, __noinline__))
// For a function of up to so many bytes, a power of two: all of it is on one page. An emulator that
// translates code leaves it at the border of a page, which a loop across one does each time.
#define on_one_page(bytes)                __attribute__((__aligned__(bytes)))
#define noreturn_fn                       __attribute__((noreturn))
#define printf_like(fmt_index, first_arg) __attribute__((format(printf, fmt_index, first_arg)))

// Lock contracts, checked by clang's thread-safety analysis; gcc ignores them.
#if defined(__clang__)
#define CAPABILITY(name)  __attribute__((capability(name)))
#define REQUIRES(...)     __attribute__((requires_capability(__VA_ARGS__)))
#define ACQUIRES(...)     __attribute__((acquire_capability(__VA_ARGS__)))
#define RELEASES(...)     __attribute__((release_capability(__VA_ARGS__)))
#define TRY_ACQUIRES(...) __attribute__((try_acquire_capability(true, __VA_ARGS__)))
#define NO_LOCK_ANALYSIS  __attribute__((no_thread_safety_analysis))
#else
#define CAPABILITY(name)
#define REQUIRES(...)
#define ACQUIRES(...)
#define RELEASES(...)
#define TRY_ACQUIRES(...)
#define NO_LOCK_ANALYSIS
#endif

#endif
