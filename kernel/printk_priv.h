// For panic.c only.
#ifndef PRINTK_PRIV_H
#define PRINTK_PRIV_H

// From here on printk takes no lock; ends a line that was begun.
void printk_panic_begin(void);
// Without a prefix and without a lock.
void printk_raw(const char *s);

// ktrace.c: print the last events of each CPU.
void trace_print(void);

#endif
