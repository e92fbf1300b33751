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

// A safe point of a CPU whose work word has WORK_LOG: wakes the readers of the log.
void klog_wake(void);

// dmesg_restrict of proc_sys_kernel(5): only CAP_SYSLOG reads the log.
bool klog_is_restricted(void);
void klog_restrict(bool on);
int klog_may_read(void); // the current process: 0 or -EPERM

// Once per call site.
#define printk_once(...)                                                                           \
    do {                                                                                           \
        static atomic_bool done_;                                                                  \
        if (!atomic_exchange(&done_, true)) {                                                      \
            printk(__VA_ARGS__);                                                                   \
        }                                                                                          \
    } while (0)

// For what user mode can bring about as often as it likes: at most 10 lines in 5 seconds, as Linux
// has it; how many were left out is said by the next one. Any context.
struct printk_limit {
    u64 from_ns;   // [the console's lock] 5 s begin; 0: none have begun
    unsigned nr;   // [the console's lock] lines since
    unsigned lost; // [the console's lock] left out and not told of yet
};
bool printk_limit(struct printk_limit *l);    // may there be another line?
unsigned printk_lost(struct printk_limit *l); // how many were left out since this was asked last
#define printk_limited(...)                                                                        \
    do {                                                                                           \
        static struct printk_limit limit_;                                                         \
        if (printk_limit(&limit_)) {                                                               \
            unsigned lost_ = printk_lost(&limit_);                                                 \
            printk(__VA_ARGS__);                                                                   \
            if (lost_) {                                                                           \
                printk("%u lines like this one were left out before it\n", lost_);                 \
            }                                                                                      \
        }                                                                                          \
    } while (0)

// The trace ring: the last events of each CPU, printed by panic. `what` must be a literal.
void trace_event(const char *what, u64 a, u64 b);

#endif
