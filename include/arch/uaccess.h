// The contract with a CPU, 7: touching user memory from the kernel. Each may fault and sleep:
// thread context, no spinlock, no RCU section, no lock of an address space held.
#ifndef ARCH_UACCESS_H
#define ARCH_UACCESS_H

#include <k/types.h>

// Bytes NOT copied (0: all). The range is checked against USER_END first.
size_t arch_copy_from_user(void *dst, const void *user_src, size_t n);
size_t arch_copy_to_user(void *user_dst, const void *src, size_t n);
size_t arch_clear_user(void *user_dst, size_t n);
// Length without the NUL, at most max (max: no NUL found), or -EFAULT.
ssize_t arch_strncpy_from_user(char *dst, const char *user_src, size_t max);
// Atomic read / compare-exchange on an aligned user word. 0 or -EFAULT.
int arch_user_load32(const u32 *user_addr, u32 *out);
int arch_user_cas32(u32 *user_addr, u32 *expected, u32 desired); // *expected gets what was there
// The same read for a caller that holds a spinlock: the page fault it meets goes straight to its
// fix-up, never to handle_page_fault(). 0, or -EFAULT: not readable right now.
int arch_user_load32_nofault(const u32 *user_addr, u32 *out);

#endif
