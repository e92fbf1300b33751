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

// klog.c: who waits for news of the log. printk may be where nothing can be woken from, so it only
// leaves a note (klog_tell), and the CPU's next safe point wakes them.
extern struct waitq klog_wait;
void klog_waiting(void); // before the look at the log that comes before the wait
void klog_tell(void);    // there is news

// Where a reader of records (lines) is; klog.c.
struct klog_mark {
    u64 at, seq;
};
enum klog_place { KLOG_FIRST, KLOG_END, KLOG_CLEARED };
void klog_seek(struct klog_mark *m, enum klog_place to);
// The next line, without its newline and cut to size, with a NUL: its length; 0: there is none;
// -EPIPE: it is gone, the mark is at the oldest now.
long klog_record(struct klog_mark *m, char *to, size_t size);
bool klog_has_record(const struct klog_mark *m); // a look

// ktrace.c: print the last events of each CPU.
void trace_print(void);

#endif
