// The memory system calls: arguments from registers to the functions of mm.h.

#include <fs.h>
#include <k/errno.h>
#include <mm.h>
#include <syscalls.h>
#include <uapi/mman.h>

s64 sys_mmap(const u64 *a)
{
    unsigned flags = (unsigned)a[3];
    struct file *file = NULL;
    if (a[5] & ~PAGE_MASK) {
        return -EINVAL;
    }
    if (!(flags & MAP_ANONYMOUS)) {
        file = fd_get((int)a[4]);
        if (!file) {
            return -EBADF;
        }
    }
    s64 r = mm_mmap(current_mm(), a[0], a[1], (unsigned)a[2], flags, file, a[5]);
    if (file) {
        file_put(file);
    }
    return r;
}

s64 sys_munmap(const u64 *a)
{
    return mm_munmap(current_mm(), a[0], a[1]);
}

s64 sys_mprotect(const u64 *a)
{
    return mm_mprotect(current_mm(), a[0], a[1], (unsigned)a[2]);
}

s64 sys_mremap(const u64 *a)
{
    return mm_mremap(current_mm(), a[0], a[1], a[2], (unsigned)a[3], a[4]);
}

s64 sys_brk(const u64 *a)
{
    return mm_brk(current_mm(), a[0]);
}

s64 sys_madvise(const u64 *a)
{
    return mm_madvise(current_mm(), a[0], a[1], (int)a[2]);
}

s64 sys_mincore(const u64 *a)
{
    return mm_mincore(current_mm(), a[0], a[1], (u8 *)a[2]);
}

s64 sys_msync(const u64 *a)
{
    return mm_msync(current_mm(), a[0], a[1], (int)a[2]);
}

s64 sys_mlock(const u64 *a)
{
    return mm_mlock(current_mm(), a[0], a[1], 0);
}

s64 sys_mlock2(const u64 *a)
{
    return mm_mlock(current_mm(), a[0], a[1], (unsigned)a[2]);
}

s64 sys_munlock(const u64 *a)
{
    return mm_munlock(current_mm(), a[0], a[1]);
}

s64 sys_mlockall(const u64 *a)
{
    return mm_mlockall(current_mm(), (int)a[0]);
}

s64 sys_munlockall(const u64 *a)
{
    (void)a;
    return mm_munlockall(current_mm());
}
