// A model of what processors remember of page tables, for EXPLORE=1 kernels.
//
// The problem. A processor keeps not only translations but also entries of the upper tables (Intel
// SDM volume 3, 4.10.3, "Paging-Structure Caches"), so it may read a leaf table that is no longer
// reachable from the root until it is told to forget. A table that is freed before that is read,
// and its accessed bits are written, when it is somebody else's page (R10). Emulators walk from the
// root each time: under them such a kernel passes every test.
//
// The idea. Each CPU remembers the tables below the root that led to its last faults, as the walk
// after the fault would make the processor do, and forgets all of them whenever it executes a
// flush: INVLPG of any address empties these caches too (4.10.4.1). A table that goes back to the
// allocator must be remembered by nobody.
//
//     CPU 0                                   CPU 1
//     fault: remembers T
//                                             detaches T
//                                             (shoots: CPU 0 forgets T)    left out:
//                                             frees T                      CPU 0 remembers T: panic
//
// Why it never blames the innocent. A table is remembered with its leaf's lock held and the leaf
// attached, so every table above is attached as well (pgtable.c): its detaching, and the shootdown
// after that, are yet to come.
//
// A CPU's list is its own; others read it when they free a table. It is short: what has fallen out
// of it is forgotten, so this finds less than a processor could do wrong, never more.

#include <arch/mmu.h>
#include <k/assert.h>
#include <k/atomic.h>
#include <k/percpu.h>
#include <k/printk.h>
#include <mm.h>
#include <pgtable.h>
#include <smp.h>
#include <tlb.h>

#if CONFIG_EXPLORE

#define NR_WALKS 24

struct walks {
    _Atomic(struct page *) table[NR_WALKS];
    unsigned next;
};

static DEFINE_PER_CPU(struct walks, walks);

static void remember(struct walks *w, struct page *table)
{
    for (unsigned i = 0; i < NR_WALKS; i++) {
        if (load_relaxed(&w->table[i]) == table) {
            return;
        }
    }
    store_relaxed(&w->table[w->next++ % NR_WALKS], table);
}

void walks_remember(struct mm *mm, vaddr_t addr)
{
    if (mm != tlb_loaded_mm()) {
        return; // another process's memory: this CPU's MMU does not go there
    }
    struct page *t = pfn_to_page(mm_root(mm, addr) >> PAGE_SHIFT);
    while (t->level > 0) {
        t = pte_table_page(pte_read(table_slot(t, addr)));
        remember(&this_cpu(walks), t);
    }
}

void walks_forget(void)
{
    for (unsigned i = 0; i < NR_WALKS; i++) {
        store_relaxed(&this_cpu(walks).table[i], NULL);
    }
}

void walks_check_freed(struct page *table)
{
    unsigned c;
    for_each_online_cpu (c) {
        for (unsigned i = 0; i < NR_WALKS; i++) {
            if (load_relaxed(&per_cpu(walks, c).table[i]) == table) {
                panic("page table %lx, level %u, is freed while CPU %u may walk it",
                      (unsigned long)page_to_phys(table), table->level, c);
            }
        }
    }
}

#endif
