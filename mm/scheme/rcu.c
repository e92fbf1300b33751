// The default scheme: RCU.
//
// Idea.    A fault counts and locks nothing of the address space. It reads the VMA tree in an RCU
//          section and asks, with the lock of the table it installs into held, whether the VMA is
//          still live.
// Reader.  One RCU section from the look-up to the install. Only a fault that must wait for I/O
//          counts its VMA, leaves the section, and starts again afterwards.
// Writer.  One mutex for all writers of the address space. A writer publishes the new tree, marks
//          the old VMA dead (seq_cst, so a full barrier before it looks at tables), zaps, and never
//          waits for a fault, a count or a grace period.
//
//              fault                              writer
//              lock table                         state = DEAD
//              state == LIVE?  yes: install       lock table (or find no table: see pgtable.c)
//              unlock                             zap
//                                                 unlock
//
// Why it is correct.  Both sides take the lock of the same table. If the fault's turn comes first,
//          its entry is there when the writer zaps. If the writer's comes first, DEAD was stored
//          before its lock was taken, and the fault, taking it later, reads DEAD. For a table that
//          the writer does not find at all the seq_cst pair of pgtable.c decides. The VMA itself
//          cannot be freed while the section lasts; a parked fault holds a count.
// What it costs.  Faults: nothing shared. Writers: a grace period later, the memory of old VMAs and
//          tree nodes. Disjoint writers of one address space wait for each other.

#include <fault.h>
#include <k/errno.h>
#include <k/rcu.h>
#include <mm.h>
#include <scheme.h>

static int rcu_fault_enter(struct fault *f)
{
    rcu_read_lock();
    f->vma = mt_find_rcu(mm_tree(f->mm, f->addr), f->addr, NULL, NULL);
    if (unlikely(!f->vma)) {
        rcu_read_unlock();
        return -EFAULT;
    }
    return 0;
}

static bool rcu_fault_live(struct fault *f)
{
    return load_seq(&f->vma->state) == VMA_LIVE; // pairs with rcu_edit_retire
}

static void rcu_fault_park(struct fault *f)
{
    // A dead VMA may be parked on: its memory is there until the section ends, and from then on if
    // it could be counted.
    if (!vma_tryget(f->vma)) {
        f->vma = NULL;
    }
    rcu_read_unlock();
}

static void rcu_fault_leave(struct fault *f)
{
    (void)f;
    rcu_read_unlock();
}

static int rcu_edit_enter(struct edit *e)
{
    mutex_lock(&e->mm->edit_lock);
    return 0;
}

static void rcu_edit_retire(struct edit *e, struct vma *old)
{
    (void)e;
    store_seq(&old->state, VMA_DEAD); // pairs with rcu_fault_live
    atomic_fence_seq();               // and the loads of table slots that follow
}

static void rcu_edit_leave(struct edit *e)
{
    mutex_unlock(&e->mm->edit_lock);
}

const struct mm_scheme scheme_rcu = {
    .name = "rcu",
    .fault_enter = rcu_fault_enter,
    .fault_live = rcu_fault_live,
    .fault_park = rcu_fault_park,
    .fault_leave = rcu_fault_leave,
    .edit_enter = rcu_edit_enter,
    .edit_retire = rcu_edit_retire,
    .edit_leave = rcu_edit_leave,
};
