// mprotect: other flags for a range of addresses.
//
// Each VMA in the range is replaced by one to three others (vma_set_flags) and then the entries are
// changed under their table locks and flushed. A right that is taken away is gone when the call
// returns: the old VMA is dead, so no fault installs with the old rights (R34), and no CPU holds
// the old translation (R8). A right that is given may show late in an entry: the fault repairs it.

#include <fault.h>
#include <fs.h>
#include <k/errno.h>
#include <k/rcu.h>
#include <mm.h>
#include <page.h>
#include <pgtable.h>
#include <sched.h>
#include <scheme.h>
#include <tlb.h>
#include <uapi/mman.h>
#include "mm_priv.h"

// The entry for this page under the new flags. Writable at once only where no copy and no notice is
// due, nor a store to be recorded: a page of our own that has been written, or a shared one that
// was writable already.
static pte_t protect_entry(pte_t e, u32 vma_flags)
{
    struct page *page = pte_table_page(e);
    u32 pf = load_relaxed(&page->flags);
    bool write = pte_is_writable(e);
    if (!write && !(vma_flags & VMA_SHARED)) {
        write = pte_is_soft_dirty(e) && !(pf & (PG_FILE | PG_RESERVED)) && anon_page_is_ours(page);
    }
    return pte_set_prot(e, vma_prot(vma_flags, write));
}

static void change_leaf(struct page *table, vaddr_t addr, vaddr_t end, change_entry *change,
                        u32 arg, struct tlb_batch *b)
{
    struct pte_slot *slot = table_slot(table, addr);
    spin_lock(&table->ptl);
    for (; addr < end && table->nr_used; addr += PAGE_SIZE, slot++) {
        pte_t e = pte_read(slot);
        if (pte_is_empty(e)) {
            continue;
        }
        // The MMU may set accessed or dirty between reading and writing: try again then.
        pte_t new = change(e, arg);
        if (pte_same(e, new)) {
            continue;
        }
        tlb_pend(b);
        while (!pte_cas(slot, e, new)) {
            e = pte_read(slot);
            new = change(e, arg);
        }
        tlb_note(b, addr);
    }
    spin_unlock(&table->ptl);
}

void change_entries(struct mm *mm, vaddr_t start, vaddr_t end, change_entry *change, u32 arg,
                    struct tlb_batch *b)
{
    vaddr_t addr = start;
    while (addr < end) {
        rcu_read_lock();
        struct page *table = pt_next_leaf_rcu(mm, &addr, end);
        if (!table) {
            rcu_read_unlock();
            break;
        }
        vaddr_t next = align_down(addr, pt_span(table->level + 1)) + pt_span(table->level + 1);
        next = min(next, end);
        if (table->level == 0) {
            change_leaf(table, addr, next, change, arg, b);
        }
        rcu_read_unlock();
        cond_resched();
        addr = next;
    }
}

static void protect_range(struct mm *mm, vaddr_t start, vaddr_t end, u32 vma_flags)
{
    struct tlb_batch b;
    tlb_begin(&b, mm);
    change_entries(mm, start, end, protect_entry, vma_flags, &b);
    tlb_end(&b);
}

static int mprotect_vma(struct mm *mm, struct vma *v, vaddr_t start, vaddr_t end, unsigned prot)
{
    u32 flags = (v->flags & ~VMA_ACCESS_FLAGS) | vma_flags_from_prot(prot);
    if ((prot & PROT_WRITE) && !(v->flags & VMA_MAYWRITE)) {
        return -EACCES;
    }
    if ((prot & (PROT_READ | PROT_EXEC)) && !(v->flags & VMA_MAYREAD)) {
        return -EACCES;
    }
    if ((prot & PROT_EXEC) && v->file && !file_may_run(v->file)) {
        return -EACCES;
    }
    if (flags == v->flags) {
        return 0;
    }
    u64 nr_pages = (end - start) >> PAGE_SHIFT;
    if ((flags & VMA_WRITE) && !mm_within_limits(mm, nr_pages, flags) &&
        mm_within_limits(mm, nr_pages, v->flags)) {
        return -ENOMEM; // it is RLIMIT_DATA that says no
    }
    int err = vma_set_flags(mm, v, start, end, flags);
    if (!err) {
        protect_range(mm, start, end, flags);
    }
    return err;
}

// grows: PROT_GROWSDOWN, PROT_GROWSUP or 0. No VMA grows up here.
static int mprotect_locked(struct mm *mm, vaddr_t start, vaddr_t end, unsigned prot, unsigned grows)
{
    struct vma *v = vma_find_first(mm, start);
    if (!v || (grows != PROT_GROWSDOWN && v->start > start)) {
        return -ENOMEM;
    }
    if (grows == PROT_GROWSUP) {
        return -EINVAL;
    }
    if (grows) {
        if (v->start >= end) {
            return -ENOMEM;
        }
        if (!(v->flags & VMA_GROWSDOWN)) {
            return -EINVAL;
        }
        start = v->start;
    }
    while (start < end) {
        v = vma_find(mm, start);
        if (!v) {
            return -ENOMEM; // what came before stays changed, as on Linux
        }
        vaddr_t stop = min(end, v->end);
        int err = mprotect_vma(mm, v, start, stop, prot);
        if (err) {
            return err;
        }
        start = stop;
    }
    return 0;
}

s64 mm_mprotect(struct mm *mm, vaddr_t addr, u64 len, unsigned prot)
{
    const unsigned grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
    struct edit e;
    prot &= ~(PROT_GROWSDOWN | PROT_GROWSUP);
    if (grows == (PROT_GROWSDOWN | PROT_GROWSUP) || (addr & ~PAGE_MASK)) {
        return -EINVAL;
    }
    if (len == 0) {
        return 0;
    }
    len = page_align_up(len);
    if (addr + len <= addr) {
        return -ENOMEM;
    }
    if (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | 8 /* PROT_SEM */)) {
        return -EINVAL;
    }
    if (addr >= USER_END) {
        return -ENOMEM;
    }
    int err = edit_begin(&e, mm);
    if (err) {
        return err;
    }
    err = mprotect_locked(mm, addr, min(addr + len, USER_END), prot, grows);
    edit_end(&e);
    return err;
}
