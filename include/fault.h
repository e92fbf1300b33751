// One page fault on its way through mm/fault.c.
#ifndef FAULT_H
#define FAULT_H

#include <arch/mmu.h>
#include <arch/trap.h>
#include <k/explore.h>
#include <k/types.h>
#include <mm.h>
#include <page.h>
#include <scheme.h>
#include <tlb.h>
#include <vma.h>

struct fault {
    struct mm *mm;
    vaddr_t addr;          // page aligned
    unsigned access;       // enum fault_access
    struct vma *vma;       // between fault_enter and fault_leave / the put after fault_park
    struct page *table;    // the leaf page-table page
    struct pte_slot *slot; // the entry in it
    pte_t old;             // what the entry held when we looked

    // Carried from one pass to the next; whoever ends the fault releases what is left.
    struct page *page; // file page that ->fault returned, one reference held
    struct page *anon; // a page of our own, not yet installed
    bool anon_is_zero; // its contents are zeroes
    bool want_mkwrite; // -ENOENT means: ask ->page_mkwrite about `page`
    bool mkwrite_done; // it has agreed
    unsigned retries;
};

// Make addr accessible: 0, or -EFAULT (no VMA), -EACCES (not allowed), -EIO (no page behind the
// file's end, or it cannot be read), -ENOMEM. Sleeps; holds nothing. Any address space.
int mm_fault(struct mm *mm, vaddr_t addr, unsigned access);

// The rest of fault_lock_table, for a table that is locked but not as usual.
bool fault_lock_odd(struct fault *f);

// Lock f's leaf table: true, locked, when it is attached and the scheme says the VMA is live.
// false: unlocked; start again with -EAGAIN. (Inline, like the next ones: they are the path.)
static inline bool fault_lock_table(struct fault *f)
{
    yield_point("fault lock");
    spin_lock(&f->table->ptl);
    if (likely(!(load_relaxed(&f->table->state) & (PT_DETACHED | PT_FORKING)) &&
               f->mm->scheme->fault_live(f))) {
        yield_point("fault locked");
        return true;
    }
    return fault_lock_odd(f);
}

static inline void fault_unlock_leaf(struct fault *f)
{
    walks_remember(f->mm, f->addr);
    spin_unlock(&f->table->ptl);
}

// The same, and the entry is still f->old.
static inline bool fault_lock_leaf(struct fault *f)
{
    if (!fault_lock_table(f)) {
        return false;
    }
    if (likely(pte_same(pte_read(f->slot), f->old))) {
        return true;
    }
    fault_unlock_leaf(f);
    return false;
}

// May the one who holds the lock of its table make a private, anonymous page writable? Yes when no
// fork has shared it, or all others have let go of it: new holders would need this lock.
static inline bool anon_page_is_ours(struct page *page)
{
    if (likely(!(load_relaxed(&page->flags) & PG_SHARED))) {
        return true; // whatever holds it beside the entry has pinned it, and is to see the write
    }
    if (load_acquire(&page->ref) != 1) { // pairs with page_put: its reads of the page came before
        return false;
    }
    fetch_and_seq(&page->flags, ~(unsigned)PG_SHARED);
    return true;
}

// A page for private use, contents undefined: f->anon or this CPU's list; NULL: return -ENOMEM.
static inline struct page *fault_take_anon(struct fault *f)
{
    if (likely(!f->anon)) {
        f->anon = page_take_local();
        f->anon_is_zero = false;
    }
    return f->anon;
}

// Let go of the page ->fault returned and of what page_mkwrite said of it. May free: not under a
// lock.
void fault_drop_page(struct fault *f);

// The entry that maps page.
static inline pte_t fault_entry(const struct vma *v, struct page *page, bool writable)
{
    return pte_at(v->entry[writable], page_to_phys(page));
}

// mm/anon.c
int fault_anon(struct fault *f);                   // first touch of anonymous memory
int fault_copy(struct fault *f, struct page *src); // private write: src is a file page
int fault_write_present(struct fault *f);          // write to a present, read-only entry
extern struct page *zero_page;
void anon_init(void);

#endif
