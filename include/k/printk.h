// Console output. Any context. %d %i %u %x %X %o %c %s %p %% with l, ll, z, widths, precision, 0
// and - flags. Each line is prefixed with the time and the CPU.
#ifndef K_PRINTK_H
#define K_PRINTK_H

#include <stdarg.h>
#include <k/types.h>

void printk(const char *fmt, ...) printf_like(1, 2);
int snprintf(char *buf, size_t size, const char *fmt, ...) printf_like(3, 4);
int vsnprintf(char *buf, size_t size, const char *fmt, va_list ap);

// What keeps printk's lines whole, for others who write to the serial console: a few bytes at a
// time.
unsigned long console_lock_irq(void);
void console_unlock_irq(unsigned long flags);

// Once per call site.
#define printk_once(...)                                                                           \
    do {                                                                                           \
        static atomic_bool done_;                                                                  \
        if (!atomic_exchange(&done_, true)) {                                                      \
            printk(__VA_ARGS__);                                                                   \
        }                                                                                          \
    } while (0)

// The trace ring: the last events of each CPU, printed by panic. `what` must be a literal.
void trace_event(const char *what, u64 a, u64 b);

#endif
