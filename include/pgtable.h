// Page tables: walking without a lock, installing, detaching. mm/pgtable.c tells the protocol.
#ifndef PGTABLE_H
#define PGTABLE_H

#include <arch/mmu.h>
#include <k/types.h>
#include <page.h>

struct mm;
struct tlb_batch;

#define PT_TOP (PT_LEVELS - 1)

static inline struct page *pte_table_page(pte_t e)
{
    return pfn_to_page(pte_paddr(e) >> PAGE_SHIFT);
}
static inline struct pte_slot *table_slot(struct page *table, vaddr_t addr)
{
    return (struct pte_slot *)phys_to_virt(page_to_phys(table)) + pt_index(addr, table->level);
}

// A new top-level table for mm / free it, empty. -ENOMEM.
int pt_create_root(struct mm *mm);
void pt_free_root(struct mm *mm);

// The leaf table that covers addr, or NULL. In an RCU section. Lock it before believing it, and
// look for PT_DETACHED before putting anything in: such a table is empty.
struct page *pt_find_leaf_rcu(struct mm *mm, vaddr_t addr);

// The same, installing what is missing; and the slot of addr in it. 0; -ENOMEM: no page without
// sleeping (page_refill outside the section, then again); -EAGAIN: a table on the way was detached.
// In an RCU section.
int pt_walk_leaf_nosleep(struct mm *mm, vaddr_t addr, struct page **leaf, struct pte_slot **slot);

// Detach the leaf table of addr, and the tables above it, as far as they are empty; they go to the
// batch, which flushes and then frees them by RCU. Takes RCU and table locks itself.
void pt_prune(struct mm *mm, vaddr_t addr, struct tlb_batch *batch);

// The next table from *addr on (below end) that a zap should look at: a leaf table, or an upper one
// that seems to be empty (`level` tells which). *addr moves to an address it covers. NULL: none
// left.
struct page *pt_next_leaf_rcu(struct mm *mm, vaddr_t *addr, vaddr_t end);

// The next table of this level from *addr on (below end); *addr moves to an address it covers.
// NULL: none left. In an RCU section.
struct page *pt_next_table_rcu(struct mm *mm, unsigned level, vaddr_t *addr, vaddr_t end);

// PT_DETACHED, PT_FORKING ... of a table whose lock is held.
static inline void pt_state_set(struct page *table, unsigned bits)
{
    store_relaxed(&table->state, (unsigned char)(load_relaxed(&table->state) | bits));
}
static inline void pt_state_clear(struct page *table, unsigned bits)
{
    // Release: who sees a bit cleared without the lock sees what was done before.
    store_release(&table->state, (unsigned char)(load_relaxed(&table->state) & ~bits));
}

// fork.c: close the leaf tables of [start, end), which are those of anonymous VMAs if anon, to
// writes: each gets PT_FORKING and, where it has private pages to copy, its fork_leaf; the entry
// that leads to it permits no write. Translations must be shot down afterwards. Returns how many
// have pages to copy and no table in mm->fork_child yet. mm->fork_phase is FORK_PROTECT, so no leaf
// table is installed meanwhile.
u64 pt_close_leaves(struct mm *mm, vaddr_t start, vaddr_t end, bool anon);
// Open the leaf table of addr again unless it is PT_FORKING. Any time.
void pt_open_leaf(struct mm *mm, vaddr_t addr);

// Free a detached table after a grace period; it is off every list and the TLBs have been told.
void pt_table_free_rcu(struct page *table);

// Page-table pages alive in all address spaces, those waiting for a grace period included.
long pt_nr_tables(void);

#endif
