// For panic.c and klog.c only.
#ifndef PRINTK_PRIV_H
#define PRINTK_PRIV_H

#include <k/types.h>

// From here on printk takes no lock; ends a line that was begun.
void printk_panic_begin(void);
// Without a prefix and without a lock.
void printk_raw(const char *s);

// klog.c, under the console's lock: keep s in the log, in which each line begins with the time. Are
// messages not to be shown on the console?
void klog_begin_line_locked(u64 now_ns);
void klog_add_locked(const char *s, size_t len);
bool klog_is_quiet_locked(void);

// ktrace.c: print the last events of each CPU.
void trace_print(void);

#endif
