// The classic scheme: one readers-writer semaphore an address space.
//
// Idea.    Faults hold the semaphore for reading, writers for writing. Nothing a fault has looked
//          at can change under it.
// Reader.  Read lock from the look-up to the install. A fault that must wait for I/O counts its
//          VMA, drops the lock (or writers would wait for the disk) and starts again afterwards.
// Writer.  Write lock: waits until no fault is under way, and faults wait for it.
// Why it is correct.  Exclusion. After parking the world may have changed, so the second pass looks
//          the VMA up again. The RCU section inside is for the page tables and the page cache,
//          which truncate changes without this lock.
// What it costs.  Two atomic writes to one shared line a fault, and every fault of the address
//          space waits while any part of it is mapped, unmapped or forked.

#include <fault.h>
#include <k/errno.h>
#include <k/rcu.h>
#include <mm.h>
#include <scheme.h>

static int mmap_lock_fault_enter(struct fault *f)
{
    rwsem_read_lock(&f->mm->mmap_lock);
    rcu_read_lock();
    f->vma = mt_find_rcu(mm_tree(f->mm, f->addr), f->addr, NULL, NULL);
    if (!f->vma) {
        rcu_read_unlock();
        rwsem_read_unlock(&f->mm->mmap_lock);
        return -EFAULT;
    }
    return 0;
}

static bool mmap_lock_fault_live(struct fault *f)
{
    (void)f;
    return true; // the read lock keeps it so
}

static void mmap_lock_fault_park(struct fault *f)
{
    fetch_add_relaxed(&f->vma->ref, 1); // the tree's reference is there: no writer is about
    rcu_read_unlock();
    rwsem_read_unlock(&f->mm->mmap_lock);
}

static void mmap_lock_fault_leave(struct fault *f)
{
    rcu_read_unlock();
    rwsem_read_unlock(&f->mm->mmap_lock);
}

static int mmap_lock_edit_enter(struct edit *e)
{
    rwsem_write_lock(&e->mm->mmap_lock);
    return 0;
}

static void mmap_lock_edit_retire(struct edit *e, struct vma *old)
{
    (void)e;
    store_seq(&old->state, VMA_DEAD); // the barrier that is promised; no fault is there to ask
}

static void mmap_lock_edit_leave(struct edit *e)
{
    rwsem_write_unlock(&e->mm->mmap_lock);
}

const struct mm_scheme scheme_mmap_lock = {
    .name = "mmap_lock",
    .fault_enter = mmap_lock_fault_enter,
    .fault_live = mmap_lock_fault_live,
    .fault_park = mmap_lock_fault_park,
    .fault_leave = mmap_lock_fault_leave,
    .edit_enter = mmap_lock_edit_enter,
    .edit_retire = mmap_lock_edit_retire,
    .edit_leave = mmap_lock_edit_leave,
};
