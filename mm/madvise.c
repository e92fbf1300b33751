// madvise, mincore, msync, mlock: calls that keep the shape of the address space (mlock only sets
// flags).
//
// MADV_DONTNEED clears entries while the VMA lives on, so a fault may refill one at once: each
// table is flushed before its lock is dropped (R7). It enters as a writer so that it cannot meet a
// half finished munmap or mremap.

#include <arch/uaccess.h>
#include <fs.h>
#include <k/errno.h>
#include <k/rcu.h>
#include <mm.h>
#include <page.h>
#include <pgtable.h>
#include <proc.h>
#include <rmap.h>
#include <sched.h>
#include <scheme.h>
#include <tlb.h>
#include <uapi/mman.h>
#include "mm_priv.h"

// Walk the VMAs of [start, end) with fn; holes are skipped and make the result -ENOMEM, as Linux's
// calls of this family do. The edit lock is held. fn may replace the VMA it is given.
static int for_each_vma(struct mm *mm, vaddr_t start, vaddr_t end,
                        int (*fn)(struct mm *, struct vma *, vaddr_t, vaddr_t, void *), void *arg)
{
    bool hole = false;
    while (start < end) {
        struct vma *v = vma_find_first(mm, start);
        if (!v || v->start >= end) {
            return -ENOMEM;
        }
        hole |= v->start > start;
        vaddr_t from = max(start, v->start), to = min(end, v->end);
        int err = fn(mm, v, from, to, arg);
        if (err) {
            return err;
        }
        start = to;
    }
    return hole ? -ENOMEM : 0;
}

// ---- madvise ----------------------------------------------------------------------------------

static int advise_dontneed(struct mm *mm, struct vma *v, vaddr_t start, vaddr_t end, void *arg)
{
    int advice = *(int *)arg;
    struct tlb_batch b;
    if ((v->flags & VMA_LOCKED) && advice != MADV_DONTNEED_LOCKED) {
        return -EINVAL;
    }
    if (advice == MADV_FREE && v->ops) {
        return -EINVAL; // anonymous memory only
    }
    tlb_begin(&b, mm);
    zap_range(mm, start, end, ZAP_FLUSH_EACH, &b);
    tlb_end(&b);
    return 0;
}

struct remove_range {
    struct file *file;
    u64 start, end;
};

// MADV_REMOVE punches a hole in the file; that happens after the lock is dropped.
static int advise_remove(struct vma *v, vaddr_t start, vaddr_t end, struct remove_range *r)
{
    if (v->flags & VMA_LOCKED || !v->file || !v->file->mapping) {
        return -EINVAL;
    }
    if (!(v->flags & VMA_SHARED) || !(v->flags & VMA_WRITE)) {
        return -EACCES;
    }
    r->file = file_get(v->file);
    r->start = vma_page_index(v, start) << PAGE_SHIFT;
    r->end = r->start + (end - start);
    return 0;
}

static int madvise_remove(struct mm *mm, vaddr_t start, vaddr_t end)
{
    bool hole = false;
    while (start < end) {
        struct remove_range r = {0};
        struct edit e;
        int err = edit_begin(&e, mm);
        if (err) {
            return err;
        }
        struct vma *v = vma_find_first(mm, start);
        hole |= !v || v->start > start;
        vaddr_t from = v ? max(start, v->start) : end;
        vaddr_t stop = v ? min(end, v->end) : end;
        err = from < stop ? advise_remove(v, from, stop, &r) : 0;
        edit_end(&e);
        if (err) {
            return err;
        }
        if (!r.file) {
            break;
        }
        mutex_lock(&r.file->inode->lock);
        mapping_punch(r.file->mapping, r.start, r.end);
        mutex_unlock(&r.file->inode->lock);
        file_put(r.file);
        start = stop;
    }
    return hole ? -ENOMEM : 0;
}

// What fork is to do with the range, kept in its VMAs. Other advice changes nothing anybody can see
// and is accepted for every range that is mapped.
static int advise_fork(struct mm *mm, struct vma *v, vaddr_t start, vaddr_t end, void *arg)
{
    u32 flags = v->flags;
    switch (*(int *)arg) {
    case MADV_COLD:
    case MADV_PAGEOUT:
        if (flags & VMA_LOCKED) {
            return -EINVAL; // as Linux
        }
        break;
    case MADV_DONTFORK:
        flags |= VMA_DONTFORK;
        break;
    case MADV_DOFORK:
        flags &= ~(u32)VMA_DONTFORK;
        break;
    case MADV_WIPEONFORK:
        if (v->file || (v->flags & VMA_SHARED)) {
            return -EINVAL; // madvise(2)
        }
        flags |= VMA_WIPEONFORK;
        break;
    case MADV_KEEPONFORK:
        flags &= ~(u32)VMA_WIPEONFORK;
        break;
    default:
        break;
    }
    return flags == v->flags ? 0 : vma_set_flags(mm, v, start, end, flags);
}

static int madvise_populate(struct mm *mm, vaddr_t start, vaddr_t end, unsigned access)
{
    for (; start < end; start += PAGE_SIZE) {
        rcu_read_lock();
        struct vma *v = mt_find_rcu(mm_tree(mm, start), start, NULL, NULL); // no stack is to grow
        // To load from it may be allowed all the same: a right to write brings that with it.
        bool refused = v && access == FAULT_READ && !(v->flags & VMA_READ);
        rcu_read_unlock();
        int err = refused ? -EACCES : v ? mm_fault(mm, start, access) : -EFAULT;
        if (err) {
            // Linux: ENOMEM for holes and lack of memory, EINVAL for a forbidden access, EFAULT for
            // a page that cannot be had.
            return err == -EFAULT || err == -ENOMEM ? -ENOMEM : err == -EACCES ? -EINVAL : -EFAULT;
        }
        cond_resched();
    }
    return 0;
}

static bool advice_is_hint(int advice)
{
    switch (advice) {
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_WILLNEED:
    case MADV_DONTFORK:
    case MADV_DOFORK:
    case MADV_MERGEABLE:
    case MADV_UNMERGEABLE:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
    case MADV_WIPEONFORK:
    case MADV_KEEPONFORK:
    case MADV_COLD:
    case MADV_PAGEOUT:
        return true;
    default:
        return false;
    }
}

s64 mm_madvise(struct mm *mm, vaddr_t addr, u64 len, int advice)
{
    bool zap = advice == MADV_DONTNEED || advice == MADV_FREE || advice == MADV_DONTNEED_LOCKED;
    bool populate = advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE;
    struct edit e;
    if (!zap && !populate && advice != MADV_REMOVE && !advice_is_hint(advice)) {
        return -EINVAL;
    }
    u64 whole = page_align_up(len);
    vaddr_t end = addr + whole;
    if ((addr & ~PAGE_MASK) || (len && !whole) || end < addr) {
        return -EINVAL;
    }
    if (end == addr) {
        return 0;
    }
    if (populate) {
        return madvise_populate(mm, addr, end,
                                advice == MADV_POPULATE_WRITE ? FAULT_WRITE : FAULT_READ);
    }
    if (advice == MADV_REMOVE) {
        return madvise_remove(mm, addr, end);
    }
    int err = edit_begin(&e, mm);
    if (err) {
        return err;
    }
    err = for_each_vma(mm, addr, end, zap ? advise_dontneed : advise_fork, &advice);
    edit_end(&e);
    return err;
}

// ---- mincore ----------------------------------------------------------------------------------

static bool page_in_core(struct mm *mm, struct vma *v, vaddr_t addr)
{
    bool in = false;
    rcu_read_lock();
    struct page *t = pt_find_leaf_rcu(mm, addr);
    if (t) {
        in = !pte_is_empty(pte_read(table_slot(t, addr)));
    }
    if (!in && v->file && v->file->mapping) {
        struct page *p = mapping_find_rcu(v->file->mapping, vma_page_index(v, addr));
        in = p && (load_acquire(&p->flags) & PG_UPTODATE);
    }
    rcu_read_unlock();
    return in;
}

// Up to a buffer full under the lock; copied out without it. How many pages before the first hole.
static int mincore_some(struct mm *mm, vaddr_t addr, u8 *vec, u64 nr)
{
    struct edit e;
    int err = edit_begin(&e, mm);
    u64 i;
    if (err) {
        return err;
    }
    for (i = 0; i < nr; i++) {
        struct vma *v = vma_find(mm, addr + i * PAGE_SIZE);
        if (!v) {
            break;
        }
        vec[i] = page_in_core(mm, v, addr + i * PAGE_SIZE);
    }
    edit_end(&e);
    return (int)i;
}

s64 mm_mincore(struct mm *mm, vaddr_t addr, u64 len, u8 *user_vec)
{
    u8 vec[256];
    if (addr & ~PAGE_MASK) {
        return -EINVAL;
    }
    if (addr > USER_END || len > USER_END - addr) {
        return -ENOMEM;
    }
    u64 nr_pages = page_align_up(len) >> PAGE_SHIFT;
    if ((u64)user_vec > USER_END || nr_pages > USER_END - (u64)user_vec) {
        return -EFAULT;
    }
    for (u64 done = 0; done < nr_pages;) {
        u64 n = min(nr_pages - done, (u64)sizeof(vec));
        int got = mincore_some(mm, addr + done * PAGE_SIZE, vec, n);
        if (got < 0) {
            return got;
        }
        if (arch_copy_to_user(user_vec + done, vec, (size_t)got)) {
            return -EFAULT;
        }
        if ((u64)got < n) {
            return -ENOMEM;
        }
        done += n;
        cond_resched();
    }
    return 0;
}

// ---- msync ------------------------------------------------------------------------------------

// Memory is the only home of every file there is so far, so there is nothing to write back; what is
// left is to judge the arguments.
static int msync_vma(struct mm *mm, struct vma *v, vaddr_t start, vaddr_t end, void *arg)
{
    (void)mm, (void)start, (void)end;
    return (*(int *)arg & MS_INVALIDATE) && (v->flags & VMA_LOCKED) ? -EBUSY : 0;
}

s64 mm_msync(struct mm *mm, vaddr_t addr, u64 len, int flags)
{
    struct edit e;
    if ((flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) || (addr & ~PAGE_MASK) ||
        ((flags & MS_ASYNC) && (flags & MS_SYNC))) {
        return -EINVAL;
    }
    u64 whole = page_align_up(len);
    if (addr + whole < addr) { // a length that wraps to 0 pages is none, as on Linux
        return -ENOMEM;
    }
    if (!whole) {
        return 0;
    }
    int err = edit_begin(&e, mm);
    if (err) {
        return err;
    }
    err = for_each_vma(mm, addr, addr + whole, msync_vma, &flags);
    edit_end(&e);
    return err;
}

// ---- mlock family: accounting and populating; nothing is ever swapped out ----------------------

static int lock_vma(struct mm *mm, struct vma *v, vaddr_t start, vaddr_t end, void *arg)
{
    u32 flags = (v->flags & ~(u32)(VMA_LOCKED | VMA_LOCKONFAULT)) | *(u32 *)arg;
    return flags == v->flags ? 0 : vma_set_flags(mm, v, start, end, flags);
}

// A look at words the process itself changes.
static u64 lock_limit_pages(void)
{
    return current_has_cap(CAP_IPC_LOCK)
               ? ~0ull
               : current_process()->rlimit[RLIMIT_MEMLOCK].cur >> PAGE_SHIFT;
}

bool mm_may_lock(struct mm *mm, u64 nr_pages)
{
    u64 limit = lock_limit_pages();
    return nr_pages <= limit && mm->locked_pages <= limit - nr_pages;
}

static int count_locked(struct mm *mm, struct vma *v, vaddr_t start, vaddr_t end, void *arg)
{
    (void)mm;
    *(u64 *)arg += v->flags & VMA_LOCKED ? (end - start) >> PAGE_SHIFT : 0;
    return 0;
}

// mlock of [start, end): what is locked there already does not count twice.
static int lock_check(struct mm *mm, vaddr_t start, vaddr_t end)
{
    u64 had = 0;
    for_each_vma(mm, start, end, count_locked, &had); // a hole is found by who comes next
    return mm_may_lock(mm, ((end - start) >> PAGE_SHIFT) - had) ? 0 : -ENOMEM;
}

static int mlock_range(struct mm *mm, vaddr_t addr, u64 len, u32 lock_flags)
{
    struct edit e;
    vaddr_t start = page_align_down(addr);
    vaddr_t end = start + page_align_up(len + (addr - start));
    if (end < start) {
        return -EINVAL;
    }
    if (start == end) {
        return 0;
    }
    if (lock_flags && !lock_limit_pages()) {
        return -EPERM;
    }
    int err = edit_begin(&e, mm);
    if (err) {
        return err;
    }
    err = lock_flags ? lock_check(mm, start, end) : 0;
    err = err ? err : for_each_vma(mm, start, end, lock_vma, &lock_flags);
    edit_end(&e);
    if (!err && lock_flags == VMA_LOCKED) {
        err = mm_populate(mm, start, end, true);
        err = err == -ENOMEM ? -EAGAIN : err ? -ENOMEM : 0; // as POSIX wants it
    }
    return err;
}

s64 mm_mlock(struct mm *mm, vaddr_t addr, u64 len, unsigned flags)
{
    if (flags & ~(unsigned)MLOCK_ONFAULT) {
        return -EINVAL;
    }
    return mlock_range(mm, addr, len, VMA_LOCKED | (flags & MLOCK_ONFAULT ? VMA_LOCKONFAULT : 0));
}

s64 mm_munlock(struct mm *mm, vaddr_t addr, u64 len)
{
    return mlock_range(mm, addr, len, 0);
}

// Fault in what is mapped, as far as it goes.
static void populate_all(struct mm *mm)
{
    vaddr_t at = 0;
    for (;;) {
        vaddr_t start, end;
        rcu_read_lock();
        struct vma *v = mt_next_rcu(mm_tree(mm, at), at, NULL, NULL);
        start = v ? max(at, v->start) : 0;
        end = v ? v->end : 0;
        rcu_read_unlock();
        if (!v) {
            return;
        }
        mm_populate(mm, start, end, true);
        at = end;
    }
}

s64 mm_mlockall(struct mm *mm, int flags)
{
    struct edit e;
    u32 lock_flags = VMA_LOCKED | (flags & MCL_ONFAULT ? VMA_LOCKONFAULT : 0);
    if (!flags || (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) || flags == MCL_ONFAULT) {
        return -EINVAL;
    }
    if (!lock_limit_pages()) {
        return -EPERM;
    }
    int err = edit_begin(&e, mm);
    if (err) {
        return err;
    }
    if ((flags & MCL_CURRENT) && mm->total_pages > lock_limit_pages()) {
        edit_end(&e);
        return -ENOMEM;
    }
    mm->lock_future = flags & MCL_FUTURE ? lock_flags : 0;
    if (flags & MCL_CURRENT) {
        for_each_vma(mm, 0, USER_END, lock_vma, &lock_flags); // holes are no error here
    }
    edit_end(&e);
    if ((flags & MCL_CURRENT) && !(flags & MCL_ONFAULT)) {
        populate_all(mm);
    }
    return 0;
}

s64 mm_munlockall(struct mm *mm)
{
    struct edit e;
    u32 none = 0;
    int err = edit_begin(&e, mm);
    if (err) {
        return err;
    }
    mm->lock_future = 0;
    for_each_vma(mm, 0, USER_END, lock_vma, &none);
    edit_end(&e);
    return 0;
}
