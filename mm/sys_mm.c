// The memory system calls: arguments from registers to the functions of mm.h.

#include <fs.h>
#include <k/errno.h>
#include <mm.h>
#include <syscalls.h>
#include <scheme.h>
#include <uapi/mman.h>
#include "mm_priv.h"

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
    unsigned unknown = a[2] >> 32 ? 1u << 31 : 0; // as good a wrong bit as those cut off
    return mm_mprotect(current_mm(), a[0], a[1], (unsigned)a[2] | unknown);
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

// ---- Protection keys: the feature is off, so there are none to give out -----------------------

s64 sys_pkey_alloc(const u64 *a)
{
    return a[0] || a[1] & ~3ull ? -EINVAL : -ENOSPC;
}

s64 sys_pkey_free(const u64 *a)
{
    (void)a;
    return -EINVAL;
}

s64 sys_pkey_mprotect(const u64 *a)
{
    return (s32)a[3] == -1 ? sys_mprotect(a) : -EINVAL;
}

// ---- remap_file_pages -------------------------------------------------------------------------

// The file and protection of the shared mapping at addr, of which [addr, end) must be a part.
static int remap_look(struct mm *mm, vaddr_t addr, vaddr_t end, struct file **file, unsigned *prot)
{
    struct edit e;
    int err = edit_begin(&e, mm);
    if (err) {
        return err;
    }
    const struct vma *v = vma_find(mm, addr);
    if (v && v->file && (v->flags & VMA_SHARED) && end <= v->end) {
        *file = file_get(v->file);
        *prot = (v->flags & VMA_READ ? PROT_READ : 0) | (v->flags & VMA_WRITE ? PROT_WRITE : 0) |
                (v->flags & VMA_EXEC ? PROT_EXEC : 0);
    } else {
        err = -EINVAL;
    }
    edit_end(&e);
    return err;
}

// As Linux since 4.0: a mapping of other pages in the place of this one.
s64 sys_remap_file_pages(const u64 *a)
{
    vaddr_t start = page_align_down(a[0]), end = start + (a[1] & PAGE_MASK);
    unsigned prot;
    struct file *file;
    if (a[2] || end <= start || a[3] + ((end - start) >> PAGE_SHIFT) < a[3] ||
        a[3] >= 1ull << (64 - PAGE_SHIFT)) {
        return -EINVAL;
    }
    int err = remap_look(current_mm(), start, end, &file, &prot);
    if (err) {
        return err;
    }
    unsigned flags = MAP_SHARED | MAP_FIXED | MAP_POPULATE | ((unsigned)a[4] & MAP_NONBLOCK);
    s64 r = mm_mmap(current_mm(), start, end - start, prot, flags, file, a[3] << PAGE_SHIFT);
    file_put(file);
    return r < 0 ? r : 0;
}
