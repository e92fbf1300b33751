// One page fault on its way through mm/fault.c.
#ifndef FAULT_H
#define FAULT_H

#include <arch/mmu.h>
#include <arch/trap.h>
#include <k/types.h>
#include <mm.h>
#include <page.h>
#include <scheme.h>
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

// Lock f's leaf table and look again: true, locked, when the table is attached, the scheme says the
// VMA is live and the entry is still f->old. false: unlocked; start again with -EAGAIN.
bool fault_lock_leaf(struct fault *f);
// The same without the entry (map_pages looks at many).
bool fault_lock_table(struct fault *f);
void fault_unlock_leaf(struct fault *f);

// A page for private use, contents undefined: f->anon or this CPU's list; NULL: return -ENOMEM.
struct page *fault_take_anon(struct fault *f);

// Let go of the page ->fault returned and of what page_mkwrite said of it. May free: not under a
// lock.
void fault_drop_page(struct fault *f);

// Protection bits of an entry of this VMA; write only where asked.
unsigned fault_prot(const struct vma *v, bool write);

// The entry that maps page: accessed already, so that the MMU need not write it.
static inline pte_t fault_entry(const struct vma *v, struct page *page, bool writable)
{
    return pte_set_accessed(pte_make(page_to_phys(page), fault_prot(v, writable)));
}

// mm/anon.c
int fault_anon(struct fault *f);                   // first touch of anonymous memory
int fault_copy(struct fault *f, struct page *src); // private write: src is a file page
int fault_write_present(struct fault *f);          // write to a present, read-only entry
extern struct page *zero_page;
void anon_init(void);

#endif
