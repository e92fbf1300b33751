// For the kernel's own tests.
#ifndef KTEST_PRIV_H
#define KTEST_PRIV_H

// Run fn(0) .. fn(n - 1), each in a kernel thread of its own, and wait for all. One pack at a time.
void ktest_pack(unsigned n, void (*fn)(unsigned));

#endif
