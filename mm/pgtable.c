// Page tables: walked without a lock, installed and detached under the locks of the tables.
//
// The problem. A fault walks from the top-level table to a leaf table while other CPUs install the
// tables it misses and munmap takes empty ones away. No lock of the address space protects the
// walk.
//
// The idea. Every table is a page, and its struct page carries a lock, the number of entries in use
// and its state; one bit of that is `detached`.
//
//     parent  [ .. | x | .. ]      lock P protects every entry of the parent, P.nr_used, P.detached
//                    |
//     child   [ e e e e e e ]      lock C protects every entry of the child,  C.nr_used, C.detached
//
//   install a child    lock P; P attached? slot empty? store the slot (seq_cst); P.nr_used++;
//                      unlock
//   detach a child     lock P, lock C; slot still C, C.nr_used == 0?
//                      C.detached = true; slot = empty; P.nr_used--; unlock both;
//                      shoot down (the MMU may have cached the slot), then free by RCU
//   change an entry    lock C; C attached? then everything above C is too, for a table with a used
//                      entry is never detached; change; unlock
//
// A walker reads slots with acquire loads and follows them inside an RCU section: what it finds may
// already be detached, but not freed. It finds out when it locks the leaf. So `detached` is the
// whole re-check: no entry above needs to be read again (invariant 3).
//
// A detached table is empty and stays so. So only who puts something into a table asks; who looks
// for something there, or takes it away, finds nothing.
//
// A table can only be detached when it is empty, whoever's addresses it covers. So munmap may
// detach a table under a neighbouring VMA that has not been touched: its next fault walks again. No
// range of VMAs has to be proved empty, and so two munmaps of neighbouring ranges need not agree
// who frees.
//
// The empty slot (invariant 2). munmap retires a VMA and then looks at slots; a fault installs a
// table and then asks whether its VMA is live. Store buffering: both could read the old value.
//
//     fault                                   munmap
//     slot = table        (pte_write_seq)     vma->state = DEAD     (store_seq, edit_retire)
//     lock leaf; state?   (load_seq)          slot?                 (pte_read_seq, zap and prune)
//
// All four are seq_cst, so one of them sees the other. If munmap sees the table it zaps and prunes
// it. If the fault sees DEAD it installs nothing, and when the table it stands in is empty it
// prunes the table itself (fault_prune in fault.c): otherwise the table would leak.
//
// Rejected: one page_table_lock for the upper levels (a shared line for all CPUs that touch new
// memory); freeing tables only under ranges without VMAs, found through the VMA tree (two writers
// must then agree; a fault could not clean up after itself).

#include <arch/mmu.h>
#include <k/assert.h>
#include <k/errno.h>
#include <k/explore.h>
#include <k/percpu.h>
#include <k/rcu.h>
#include <mm.h>
#include <pgtable.h>
#include <sched.h>
#include <smp.h>
#include <tlb.h>
#include "mm_priv.h"

static DEFINE_PER_CPU(long, pt_count);

long pt_nr_tables(void)
{
    long sum = 0;
    unsigned c;
    for_each_online_cpu (c) {
        sum += per_cpu(pt_count, c);
    }
    return sum;
}

static enum lock_rank pt_rank(unsigned level)
{
    return RANK_PT_LEAF - level;
}
_Static_assert(RANK_PT_LEAF - (PT_LEVELS - 1) == RANK_PT_UPPER, "a rank for each level");

static struct page *pt_table_alloc(struct mm *mm, unsigned level, enum gfp gfp)
{
    struct page *t = page_alloc(gfp | GFP_ZERO);
    if (!t) {
        return NULL;
    }
    store_relaxed(&t->flags, PG_TABLE);
    spin_init(&t->ptl, pt_rank(level));
    t->nr_used = 0;
    t->level = level;
    store_relaxed(&t->state, 0);
    t->fork_leaf = NULL;
    this_cpu(pt_count)++;
    mm->cpu[cpu_id()].nr_tables++;
    return t;
}

static void pt_table_free(struct page *t)
{
    store_relaxed(&t->flags, 0);
    this_cpu(pt_count)--;
    page_free(t);
}

static void pt_table_free_rcu_cb(struct rcu_head *head)
{
    struct page *t = container_of(head, struct page, rcu);
    walks_check_freed(t);
    if (unlikely(load_relaxed(&pt_audit_freed))) {
        pt_audit_table_freed(t);
    }
    pt_table_free(t);
}

void pt_table_free_rcu(struct page *t)
{
    call_rcu(&t->rcu, pt_table_free_rcu_cb);
}

int pt_create_root(struct mm *mm)
{
    struct page *t = pt_table_alloc(mm, PT_TOP, GFP_KERNEL);
    if (!t) {
        return -ENOMEM;
    }
    mm->root = page_to_phys(t);
    mmu_init_root(page_addr(t));
    return 0;
}

void pt_free_root(struct mm *mm)
{
    struct page *t = pfn_to_page(mm->root >> PAGE_SHIFT);
    assert(t->nr_used == 0);
    pt_table_free(t);
}

static struct page *pt_root(struct mm *mm, vaddr_t addr)
{
    return pfn_to_page(mm_root(mm, addr) >> PAGE_SHIFT);
}

struct page *pt_find_leaf_rcu(struct mm *mm, vaddr_t addr)
{
    struct page *t = pt_root(mm, addr);
    for (unsigned level = PT_TOP; level > 0; level--) {
        pte_t e = pte_read_seq(table_slot(t, addr)); // pairs with pt_install
        if (pte_is_empty(e)) {
            return NULL;
        }
        t = pte_table_page(e);
        yield_point("find leaf");
    }
    return t;
}

// The tables that a fork closes to writes must not become more while it does. The lock of `parent`,
// which pt_close_leaves takes for each level-1 table it finds, decides. One that it does not find
// was stored to its slot after the phase (both seq_cst), so whoever fills it sees the phase, too.
static bool pt_must_not_install(struct mm *mm, const struct page *parent)
{
    return parent->level == 1 && load_seq(&mm->fork_phase) == FORK_PROTECT;
}

// Put a new table into the empty slot of `parent`, or find that somebody else just did.
static cold int pt_install(struct mm *mm, struct page *parent, struct pte_slot *slot)
{
    struct page *t = pt_table_alloc(mm, parent->level - 1, GFP_NOWAIT);
    if (!t) {
        return -ENOMEM;
    }
    int err = 0;
    yield_point("table install");
    spin_lock(&parent->ptl);
    if ((load_relaxed(&parent->state) & PT_DETACHED) || pt_must_not_install(mm, parent)) {
        err = -EAGAIN;
    } else if (pte_is_empty(pte_read(slot))) {
        // Publishes the cleared table; seq_cst: see "the empty slot" above.
        pte_write_seq(slot, pte_make_table(page_to_phys(t))); // DOC: empty-slot
        parent->nr_used++;
        t = NULL;
    }
    spin_unlock(&parent->ptl);
    if (t) {
        mm->cpu[cpu_id()].nr_tables--;
        pt_table_free(t);
    }
    return err;
}

// The walk for those who met an empty slot: install what is missing on the way.
static cold int pt_walk_install(struct mm *mm, vaddr_t addr)
{
    struct page *t = pt_root(mm, addr);
    for (unsigned level = PT_TOP; level > 0; level--) {
        struct pte_slot *slot = table_slot(t, addr);
        if (pte_is_empty(pte_read(slot))) {
            int err = pt_install(mm, t, slot);
            if (err) {
                return err;
            }
        }
        pte_t e = pte_read(slot);
        if (pte_is_empty(e)) {
            return -EAGAIN; // pruned again already
        }
        t = pte_table_page(e);
    }
    return 0;
}

on_one_page(256) int pt_walk_leaf_nosleep(struct mm *mm, vaddr_t addr, struct page **leaf,
                                          struct pte_slot **slot)
{
    paddr_t table = mm_root(mm, addr);
    // From entry to entry by physical address: a table's struct page is needed only at the leaf.
#pragma GCC unroll 8
    for (unsigned level = PT_TOP; level > 0; level--) {
        pte_t e = pte_read((struct pte_slot *)phys_to_virt(table) + pt_index(addr, level));
        if (unlikely(pte_is_empty(e))) {
            int err = pt_walk_install(mm, addr);
            return err ? err : pt_walk_leaf_nosleep(mm, addr, leaf, slot);
        }
        table = pte_paddr(e);
        yield_point("walk");
    }
    *leaf = pfn_to_page(table >> PAGE_SHIFT);
    *slot = (struct pte_slot *)phys_to_virt(table) + pt_index(addr, 0);
    return 0;
}

// Try to unhook `child` from `slot` of `parent`. True: it is detached and its parent may be empty
// now.
static bool pt_detach(struct page *parent, struct pte_slot *slot, struct page *child)
{
    bool done = false;
    spin_lock(&parent->ptl);
    pte_t e = pte_read(slot);
    if (!pte_is_empty(e) && pte_table_page(e) == child) {
        spin_lock(&child->ptl);
        if (child->nr_used == 0) {
            pt_state_set(child, PT_DETACHED);
            pte_write(slot, pte_none());
            parent->nr_used--;
            done = true;
        }
        spin_unlock(&child->ptl);
    }
    spin_unlock(&parent->ptl);
    return done;
}

void pt_prune(struct mm *mm, vaddr_t addr, struct tlb_batch *batch)
{
    struct page *path[PT_LEVELS];
    unsigned bottom = PT_TOP;

    rcu_read_lock();
    path[PT_TOP] = pt_root(mm, addr);
    while (bottom > 0) {
        pte_t e = pte_read_seq(table_slot(path[bottom], addr)); // pairs with pt_install
        if (pte_is_empty(e)) {
            break;
        }
        path[bottom - 1] = pte_table_page(e);
        bottom--;
    }
    // A gap in the middle leaves an upper table that may be empty: start from the lowest one found.
    for (unsigned level = bottom; level < PT_TOP; level++) {
        struct page *child = path[level];
        struct page *parent = path[level + 1];
        yield_point("prune");
        if (!pt_detach(parent, table_slot(parent, addr), child)) {
            break;
        }
        mm->cpu[cpu_id()].nr_tables--;
        tlb_note(batch, addr);
        tlb_add_table(batch, child);
    }
    rcu_read_unlock();
}

// The slot of addr in t is empty: the address of the next one that is not, or the end of t's span.
static vaddr_t pt_next_used(struct page *t, vaddr_t addr, vaddr_t end)
{
    u64 span = pt_span(t->level);
    struct pte_slot *slot = table_slot(t, addr);
    addr = align_down(addr, span);
    do {
        addr += span;
        slot++;
    } while (addr < end && pt_index(addr, t->level) != 0 && pte_is_empty(pte_read_seq(slot)));
    return addr;
}

struct page *pt_next_leaf_rcu(struct mm *mm, vaddr_t *addr, vaddr_t end)
{
    while (*addr < end) {
        struct page *t = pt_root(mm, *addr);
        while (t->level > 0) {
            pte_t e = pte_read_seq(table_slot(t, *addr)); // pairs with pt_install
            if (pte_is_empty(e)) {
                break;
            }
            t = pte_table_page(e);
        }
        if (t->level == 0 || (t->level < PT_TOP && data_race(t->nr_used) == 0)) {
            return t;
        }
        *addr = pt_next_used(t, *addr, end);
    }
    return NULL;
}

struct page *pt_next_table_rcu(struct mm *mm, unsigned level, vaddr_t *addr, vaddr_t end)
{
    while (*addr < end) {
        struct page *t = pt_root(mm, *addr);
        while (t->level > level) {
            pte_t e = pte_read_seq(table_slot(t, *addr)); // pairs with pt_install
            if (pte_is_empty(e)) {
                break;
            }
            t = pte_table_page(e);
        }
        if (t->level == level) {
            return t;
        }
        *addr = pt_next_used(t, *addr, end);
    }
    return NULL;
}

// ---- Closing and opening, for fork.c ----------------------------------------------------------

// The level-1 table is locked. Close the leaf table behind one of its slots. True: it has pages to
// copy and nowhere to copy them to.
static bool pt_close_leaf(struct mm *mm, struct pte_slot *slot, vaddr_t addr, bool anon)
{
    pte_t e = pte_read(slot);
    if (pte_is_empty(e)) {
        return false;
    }
    struct page *leaf = pte_table_page(e);
    spin_lock(&leaf->ptl);
    pt_state_set(leaf, PT_FORKING);
    bool copy = (anon || (load_relaxed(&leaf->state) & PT_COPIES)) && leaf->nr_used > 0;
    if (copy && !leaf->fork_leaf) {
        leaf->fork_leaf = pt_find_leaf_rcu(mm->fork_child, addr);
    }
    copy = copy && !leaf->fork_leaf;
    spin_unlock(&leaf->ptl);
    pte_write(slot, pte_clear_write(e));
    return copy;
}

u64 pt_close_leaves(struct mm *mm, vaddr_t start, vaddr_t end, bool anon)
{
    u64 nr_missing = 0;
    for (vaddr_t addr = start; addr < end;) {
        rcu_read_lock();
        struct page *t = pt_next_table_rcu(mm, 1, &addr, end);
        yield_point("fork find");
        if (!t) {
            rcu_read_unlock();
            break;
        }
        vaddr_t stop = min(end, align_down(addr, pt_span(2)) + pt_span(2));
        spin_lock(&t->ptl);
        // If it was detached it is empty, and what took its place did so after the phase was
        // stored: see pt_must_not_install.
        for (; addr < stop; addr = align_down(addr, pt_span(1)) + pt_span(1)) {
            nr_missing += pt_close_leaf(mm, table_slot(t, addr), addr, anon);
        }
        spin_unlock(&t->ptl);
        rcu_read_unlock();
        yield_point("fork close");
        cond_resched();
    }
    return nr_missing;
}

void pt_open_leaf(struct mm *mm, vaddr_t addr)
{
    vaddr_t at = addr;
    rcu_read_lock();
    struct page *t = pt_next_table_rcu(mm, 1, &at, addr + 1);
    struct pte_slot *slot = t ? table_slot(t, addr) : NULL;
    if (t && !pte_is_empty(pte_read(slot)) && !pte_is_writable(pte_read(slot))) {
        spin_lock(&t->ptl);
        pte_t e = pte_read(slot);
        // A fork closes it under this lock; whoever has copied it has cleared PT_FORKING before. An
        // entry that permits more needs no flush: who has the old one faults, and that forgets it.
        if (!pte_is_empty(e) && !(load_relaxed(&pte_table_page(e)->state) & PT_FORKING)) {
            pte_write(slot, pte_make_table(pte_paddr(e)));
        }
        spin_unlock(&t->ptl);
    }
    rcu_read_unlock();
}
