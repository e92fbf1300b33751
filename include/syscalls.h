// The system calls: one uniform handler each, found by number through a table that syscall_init()
// fills from syscalls.def.
#ifndef SYSCALLS_H
#define SYSCALLS_H

#include <k/printk.h>
#include <k/types.h>

// a: the six arguments. The result is a value or a negative errno, or one of the -ERESTART codes of
// signal.h. Thread context, interrupts on, no lock held. A call that needs the user registers takes
// current_trapframe().
#define SYSCALL(name, x86, a64)         s64 sys_##name(const u64 *a);
#define SYSCALL_RESTART(name, x86, a64) s64 sys_##name(const u64 *a);
#define SYSCALL_ABSENT(name, x86, a64)
#include <syscalls.def>

// Boot, before the first user thread.
void syscall_init(void);

// The name behind a number of this CPU's table; NULL: no such call.
const char *syscall_name(u64 nr);

// A structure that may grow, of which user mode has `size` bytes: what is missing is zero here,
// what we do not know must be zero there. 0, -EFAULT, -E2BIG.
int user_struct_read(void *to, u64 to_size, u64 user, u64 size);

// One console line for the first use of each feature the kernel lacks; `what` must be a literal.
// Returns err, so that a handler can end with: return syscall_missing("clone: fork", -ENOSYS);
#define syscall_missing(what, err)                                                                 \
    ({                                                                                             \
        printk_once("not supported: %s\n", what);                                                  \
        (s64)(err);                                                                                \
    })

#endif
