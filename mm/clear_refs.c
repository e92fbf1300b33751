// /proc/PID/clear_refs: forget which pages a process has referenced, or written. Who asks for the
// second (a checkpointer, a garbage collector) wants to know later which pages changed since:
// Linux's Documentation/admin-guide/mm/soft-dirty.rst.
//
// The problem. A page's first store after the call must leave a mark, and stores are made by the
// MMU, which tells nobody, or by faults that take no lock of the address space.
//
// The idea. An entry has a soft-dirty bit of its own, that the MMU does not know. A write fault
// sets it with the dirty bit, in the same constant, so it costs the fault nothing. Clearing it
// takes the right to write away as well, so the next store faults. What must hold at all times:
//
//     an entry that permits writes is soft-dirty, or its VMA is                            (*)
//
// for then a store is recorded already or faults. (mm/audit.c asks.) A VMA is soft-dirty
// (VMA_SOFT_DIRTY) from its making until the first clearing, and again when something new has
// joined it: what it maps is not what was there before, even if nobody has written to it. It also
// lets a read fault map pages of a shared file writable, as if there were no soft-dirty bits; under
// a VMA that is not soft-dirty it maps them read-only.
//
// VMAs do not change, so a soft-dirty one is replaced by another that is not. That decides the race
// with a read fault that has looked at the old one:
//
//     read fault, shared file               clear_refs
//     finds V, soft-dirty: writable!
//                                           publishes V', V dead (full barrier)
//                                           lock table: entry empty, nothing to do; unlock
//     lock table: V is dead: again          flush; done
//     finds V': read-only
//
// Had the fault locked first, its entry would have been there to be restricted; without a table,
// the seq_cst pairs of pgtable.c decide. The same questions as for munmap, the same answers.
//
// A write fault needs no such care. What it installs is soft-dirty, so (*) holds whenever it comes;
// if clear_refs then takes the mark away the right to write goes with it, and the store, which the
// thread has yet to make, faults again:
//
//     write fault                           clear_refs
//     lock; entry = writable, soft-dirty; unlock
//                                           lock; entry = read-only; unlock
//                                           flush; done
//     return; the store faults: recorded after all
//
// Stores through translations from before are over when the shootdown is, and that is before the
// call returns. There is one shootdown, at the end: until then such stores are as if made before
// the call. The MMU may set the dirty bit of an entry until its right to write is gone, so entries
// are changed by compare and swap, and the dirty bit stays: a file's page is as dirty as it was.
//
// Pages that the kernel writes to through a pin (/proc/PID/mem, process_vm_writev) do not fault
// again. So pinning for writing makes the entry soft-dirty, and an entry that is stays as it is
// while somebody has its page pinned, whoever and what for. Both under the lock of the table.
//
// fork copies the bits, of entries and of VMAs; mremap sets them.
//
// Rejected: reading the MMU's dirty bit instead of a bit of our own. It must survive the clearing,
// as it says that a file's page is to be written back. A generation number of the address space in
// place of the walk: faults would have to read it, and entries have no room for it.

#include <arch/mmu.h>
#include <fault.h>
#include <k/explore.h>
#include <mm.h>
#include <page.h>
#include <pgtable.h>
#include <sched.h>
#include <scheme.h>
#include <tlb.h>
#include "mm_priv.h"

// A reference beside the entry's (a shared page has one for each entry), or beside the cache's.
static bool page_may_be_pinned(const struct page *page)
{
    return !(load_relaxed(&page->flags) & (PG_SHARED | PG_RESERVED)) &&
           load_acquire(&page->ref) != 1; // pairs with page_put: stores through the pin came before
}

static pte_t entry_without_soft_dirty(pte_t e, u32 arg)
{
    (void)arg;
    if (pte_is_soft_dirty(e) && page_may_be_pinned(pte_table_page(e))) {
        return e;
    }
    return pte_clear_soft_dirty(pte_clear_write(e)); // DOC: clear-write
}

static pte_t entry_without_accessed(pte_t e, u32 arg)
{
    (void)arg;
    return pte_table_page(e) == zero_page ? e : pte_clear_accessed(e);
}

static bool vma_is_meant(const struct vma *v, enum mm_clear what)
{
    return what == MM_CLEAR_ACCESSED_ANON   ? !v->file
           : what == MM_CLEAR_ACCESSED_FILE ? v->file != NULL
                                            : true;
}

static int clear_vmas(struct mm *mm, enum mm_clear what, struct tlb_batch *b)
{
    change_entry *change =
        what == MM_CLEAR_SOFT_DIRTY ? entry_without_soft_dirty : entry_without_accessed;
    struct vma *v;
    for (vaddr_t at = 0; (v = vma_find_first(mm, at));) {
        vaddr_t start = v->start;
        at = v->end;
        if (!vma_is_meant(v, what)) {
            continue;
        }
        if (what == MM_CLEAR_SOFT_DIRTY && (v->flags & VMA_SOFT_DIRTY)) {
            int err = vma_replace(mm, v, v->flags & ~(u32)VMA_SOFT_DIRTY);
            if (err) {
                return err;
            }
            yield_point("not soft-dirty");
        }
        change_entries(mm, start, at, change, 0, b);
    }
    return 0;
}

int mm_clear_refs(struct mm *mm, enum mm_clear what)
{
    struct tlb_batch b;
    struct edit e;
    int err = edit_begin(&e, mm);
    if (err) {
        return err;
    }
    tlb_begin(&b, mm);
    err = clear_vmas(mm, what, &b);
    tlb_end(&b); // DOC: clear-flush
    edit_end(&e);
    return err;
}
