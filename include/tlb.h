// TLB shootdown. Entries are cleared under table locks, translations are then shot down on the CPUs
// that run the address space, and only then are pages and tables freed (invariant 4). mm/tlb.c.
#ifndef TLB_H
#define TLB_H

#include <k/list.h>
#include <k/types.h>

struct mm;
struct page;

// Pages and tables on their way out of one address space. On the stack of the zapper.
struct tlb_batch {
    struct mm *mm;
    bool pending;       // tlb_pending was raised for it
    vaddr_t start, end; // what must be flushed; start == end: nothing yet
    struct list pages;  // anonymous pages whose last mapping went, by page->list
    unsigned nr_pages;
    struct page *shared[32]; // pages others hold too; our references
    unsigned nr_shared;
    struct list tables; // detached page-table pages
    unsigned nr_tables;
};

// From begin to end other CPUs may hold translations of entries that are already clear;
// mm->tlb_pending tells others (truncate) not to believe an empty entry. It is raised by tlb_pend,
// so that a batch that finds nothing to clear stores to no shared line.
void tlb_begin(struct tlb_batch *b, struct mm *mm);
// The entry whose table is locked is about to be cleared or restricted.
void tlb_pend(struct tlb_batch *b);
void tlb_note(struct tlb_batch *b, vaddr_t addr);            // the entry of this page was changed
void tlb_add_page(struct tlb_batch *b, struct page *page);   // free after the flush
void tlb_add_shared(struct tlb_batch *b, struct page *page); // put after the flush
void tlb_add_table(struct tlb_batch *b, struct page *table); // RCU-free after the flush
void tlb_flush(struct tlb_batch *b); // shoot down and free what has come together; go on using b
void tlb_end(struct tlb_batch *b);   // the same and finish

// Shoot [start, end) down on all CPUs of mm, this one included. tables: page tables were unlinked,
// so lazy CPUs must hear of it too. Interrupts on. No lock an interrupt handler takes may be held.
void tlb_shoot(struct mm *mm, vaddr_t start, vaddr_t end, bool tables);

// If anyone is between begin and end on mm: flush for them. For those who found entries empty.
void tlb_settle(struct mm *mm);

// mm has no users left: unload it everywhere. Interrupts on.
void tlb_forget(struct mm *mm);

// This CPU's address space: see mm_switch in mm.h.
struct mm *tlb_loaded_mm(void);
// The last reference of a struct mm is dropped here or by the lazy CPU that leaves last.
void mm_drop_ref(struct mm *mm);

// Which tables this CPU's MMU may go through without asking the tables above: mm/walks.c, in
// EXPLORE=1 kernels only.
#if CONFIG_EXPLORE
void walks_remember(struct mm *mm, vaddr_t addr); // the leaf table of addr is locked, attached
void walks_forget(void);                          // this CPU has flushed
void walks_check_freed(struct page *table);       // panics when a CPU remembers it
#else
static inline void walks_remember(struct mm *mm, vaddr_t addr)
{
    (void)mm, (void)addr;
}
static inline void walks_forget(void)
{
}
static inline void walks_check_freed(struct page *table)
{
    (void)table;
}
#endif

#endif
