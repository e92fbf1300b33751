// assert() guards what our own code promised: it stays on in every build and panics with the
// expression. debug_assert() is for checks too dear for a measured build (DEBUG=1 only).
#ifndef K_ASSERT_H
#define K_ASSERT_H

#include <k/types.h>

// Print the message, registers, a backtrace and the trace rings, then stop the machine.
// Any context. Never returns.
noreturn_fn void panic(const char *fmt, ...) printf_like(1, 2);

#define assert(cond)                                                                               \
    do {                                                                                           \
        if (unlikely(!(cond))) {                                                                   \
            panic("assertion failed: %s (%s:%d)", #cond, __FILE__, __LINE__);                      \
        }                                                                                          \
    } while (0)

#if CONFIG_DEBUG
#define debug_assert(cond) assert(cond)
#else
#define debug_assert(cond) ((void)sizeof(cond))
#endif

#endif
