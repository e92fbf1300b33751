// fork of an address space. Not there yet: its declaration is, so that its callers can be written.

#include <k/errno.h>
#include <mm.h>
#include <syscalls.h>

int mm_fork(struct mm *parent, struct mm **out)
{
    (void)parent, (void)out;
    return (int)syscall_missing("fork of an address space", -ENOSYS);
}
