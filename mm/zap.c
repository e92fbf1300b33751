// Clearing ranges of entries: munmap, MADV_DONTNEED, truncate, exit.
//
// The order is always: entries are cleared under the lock of their table, translations are shot
// down, and only then are pages given back (tlb.c). Two kinds of callers differ in when they must
// flush:
//
//   the VMA is dead (munmap)     nobody installs into the range any more, the flush may wait for
//                                the end of the batch; truncate, which may find the entries empty
//                                meanwhile, asks tlb_settle
//   the VMA lives on (DONTNEED)  a fault may fill an entry the moment the table lock is dropped,
//                                and another thread could still read the old page: flush before
//                                (R7)
//
// How large a batch is. A flush interrupts every CPU that runs a thread of the process and empties
// its TLB: the fewer the better. But pages wait in the batch, and whoever runs out of memory on
// another CPU does not find them there. So a batch may grow past BATCH_PAGES only while it stays
// small beside what is free, and never past BATCH_PAGES_MAX.

#include <k/assert.h>
#include <k/rcu.h>
#include <page.h>
#include <pgtable.h>
#include <rmap.h>
#include <sched.h>
#include <tlb.h>
#include "mm_priv.h"

#define BATCH_PAGES     4096  // flush and free after so many pages,
#define BATCH_PAGES_MAX 16384 // or so many where memory is plenty
#define BATCH_SHARE     4     // plenty: so many times the batch is free

// The table is locked. What happens to the page behind a cleared entry.
static void zap_page(struct tlb_batch *b, struct mm_cpu *count, pte_t e, vaddr_t addr)
{
    struct page *page = pte_table_page(e);
    u32 flags = load_relaxed(&page->flags);
    tlb_note(b, addr);
    if (flags & PG_FILE) {
        if (pte_is_dirty(e) && !(flags & PG_DIRTY)) {
            atomic_fetch_or(&page->flags, PG_DIRTY);
        }
        count->nr_file--;
    } else if (!(flags & PG_RESERVED)) {
        count->nr_anon--;
        // A reference of 1 is ours: new ones are taken under this table's lock only. Otherwise
        // whoever else holds the page may be the last to let go, so ours goes after the flush as
        // well.
        if (load_acquire(&page->ref) == 1) {
            tlb_add_page(b, page);
        } else {
            tlb_add_shared(b, page);
        }
    }
}

static void zap_leaf(struct mm *mm, struct page *table, vaddr_t addr, vaddr_t end, unsigned flags,
                     struct tlb_batch *b)
{
    struct mm_cpu *count = mm_this_cpu(mm);
    struct pte_slot *slot = table_slot(table, addr);

    spin_lock(&table->ptl);
    for (; addr < end && table->nr_used; addr += PAGE_SIZE, slot++) {
        pte_t e = pte_read(slot);
        if (pte_is_empty(e)) {
            continue;
        }
        if ((flags & ZAP_FILE_ONLY) && !(load_relaxed(&pte_table_page(e)->flags) & PG_FILE)) {
            continue;
        }
        // The MMU may set accessed or dirty until the entry is gone: read and clear in one step.
        tlb_pend(b);
        e = pte_exchange(slot, pte_none());
        table->nr_used--;
        zap_page(b, count, e, addr);
    }
    if ((flags & ZAP_FLUSH_EACH) && b->start != b->end) {
        tlb_shoot(mm, b->start, b->end, false);
        b->start = b->end = 0;
    }
    spin_unlock(&table->ptl);
}

// Is it time to flush? Counting free pages looks at every CPU's list, so small batches do not.
static bool zap_batch_full(const struct tlb_batch *b)
{
    if (likely(b->nr_pages < BATCH_PAGES && b->nr_tables < BATCH_PAGES)) {
        return false;
    }
    return b->nr_tables >= BATCH_PAGES || b->nr_pages >= BATCH_PAGES_MAX ||
           b->nr_pages > page_nr_free() / BATCH_SHARE;
}

void zap_range(struct mm *mm, vaddr_t start, vaddr_t end, unsigned flags, struct tlb_batch *b)
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
            zap_leaf(mm, table, addr, next, flags, b);
        }
        bool empty = data_race(table->nr_used) == 0; // a hint; pt_prune asks under the locks
        rcu_read_unlock();
        if ((flags & ZAP_PRUNE) && empty) {
            pt_prune(mm, addr, b);
        }
        if (zap_batch_full(b)) {
            tlb_flush(b);
        }
        cond_resched();
        addr = next;
    }
}
