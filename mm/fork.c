// fork: a child address space with the parent's memory, while the parent's other threads go on.
//
// The problem. The child must find the parent's memory as it was at one instant; copying takes
// long; and other threads of the parent store all the while, with and without faults. Two ways to
// get it wrong, both met elsewhere:
//
//     a lost store (R20)                        a torn snapshot
//     fork: entry of P made read-only           fork: P is done, Q is not yet
//     A: write fault on P: copies P to P'       A: writes P: faults, gets a copy, goes on
//     B: stores to P through its old                and then writes Q
//        translation: only the child sees it    fork: Q: the child has A's second store, not the
//     fork: flushes                                   first
//
// Waiting for the fork (Linux holds its mmap_lock for writing throughout) is right and stops every
// thread for as long as the copying takes.
//
// The idea: first the instant, then the copying. Two bits make the instant cheap:
//
//   - the entry that leads to a leaf table can forbid writes for the 2 MiB below it
//     (pte_clear_write), so an address space becomes read-only by one store for each 2 MiB;
//   - PT_FORKING in the leaf table says, under the table's lock, "not copied yet". The fault path
//     finds it by the very test that finds PT_DETACHED, so it pays nothing.
//
//     1  PREPARE   VMAs, and leaf tables for the child where the parent has some. What can fail for
//                  want of memory fails here. Faults and stores go on.
//     2  PROTECT   fork_phase = FORK_PROTECT. Each leaf table that holds private pages: lock, set
//                  PT_FORKING, forbid writes above it. Then one shootdown of everything.
//        ......... the instant: the shootdown is over. No translation permits a write
//     3  COPY      fork_phase = FORK_COPY. Table by table, under its lock: make the entries
//                  read-only, give them to the child, clear PT_FORKING; then permit writes above.
//
// The fork walks through the tables in step 3, and a thread that wants to write to one that is not
// copied yet does not wait for it: it copies that table itself (fork_settle), which is the same
// work under the same lock, and goes on. So no access to memory waits for the copying. A write
// fault waits in step 2 alone, for a walk of the level above the leaves and one shootdown; so does
// a fault of any kind that would install a leaf table. Reads never wait for anything else. Who
// waits for all of a fork are the writers of the address space, and so a fault that grows the
// stack.
//
// Why the snapshot is that of the instant. Take a store S to private memory and the table T above
// it.
//
//     S before T's PT_FORKING was set, or through a stale translation after that: the shootdown is
//       not over. S is in the page when T is copied, later than the instant: the child has it.
//     S by a fault after PT_FORKING: its fault waits for FORK_COPY, then has T copied, then goes
//       on: the child does not have it, and S itself comes after the instant.
//     T is installed during PROTECT: pt_install refuses (the lock of the level above decides, or
//       seq_cst if that level is new: pgtable.c). T is installed after the instant: PT_FORKING is
//       not set, it is never copied, and all stores to it come after the instant.
//
// So the child has exactly the stores before the instant, whoever made them and in whatever order
// they were seen: if S is in the child, all that happened before S is.
//
//     thread A                         fork                           thread B
//                                      T(P), T(Q) closed
//     store P: faults, waits           shootdown ->                   store Q, stale: in the child
//                                      FORK_COPY; wakes A             (acknowledges: no more such)
//     copies T(P): child has old P
//     store P; tells B                 ... copies T(R) ...            reads P; store Q: faults,
//                                                                     copies T(Q): not in the child
//
// Why no store is lost. A private copy of a page the child has as well is made only after the
// page's table was copied, so after the shootdown: no CPU can store to the old page any more. No
// flush is needed when entries become read-only in step 3, because none of them could be used for
// writing.
//
// Shared pages. page->ref counts entries and pins. PG_SHARED is set, under the table lock of the
// only entry, when a page gets its second one; from then on no entry of it is writable, until
// somebody finds under its table's lock that his is the only reference left (anon_page_is_ours). A
// page without PG_SHARED has one entry; what else refers to it is a pin. So a page of ours that is
// pinned is not shared but copied for the child at once: whoever has pinned it goes on reading and
// writing the parent's memory, whatever the parent writes next (Dirty COW and its kin, R31). What
// is stored through a pin is in the child if it comes before its table's turn, not before the
// instant.
//
// Locks. The edit lock of the parent throughout: its VMAs stand still (in scheme mmap_lock faults
// stand still, too). A leaf table of the parent, then the child's for the same addresses: the same
// rank, from parent to child, always down the family tree, so no circle. (A try-lock in a loop, as
// the checker knows order by address only.) The child's table is locked because truncate, through
// the file's list of VMAs, may visit the child already. PT_FORKING keeps fork_child and fork_leaf:
// fork does not return before it has cleared the bit everywhere under the tables' locks.
//
// Failing. When memory runs out during COPY (only for copies of pinned pages) or PROTECT,
// fork_error is set and every table is opened without being copied. Pages that were shared stay
// read-only in the parent until its next write finds itself alone.
//
// What is not copied: entries of a file's pages and of the zero page (faults find them again), so
// all of a shared mapping; tables of file mappings without private copies (PT_COPIES);
// MADV_DONTFORK and MADV_WIPEONFORK.
//
// Rejected: a cursor, fork going up the address space and write faults behind it waiting: nothing
// is waited for above but one shootdown. One flush a table with its lock held: as many shootdowns
// as tables, and a torn snapshot. Closing at the top level, one entry for 512 GiB: the first
// writers would have to push the bit down level by level; a level above the leaves is 512 times
// shorter than the leaves already.

#include <fault.h>
#include <k/assert.h>
#include <k/errno.h>
#include <k/explore.h>
#include <k/rcu.h>
#include <mm.h>
#include <page.h>
#include <pgtable.h>
#include <sched.h>
#include <scheme.h>
#include <tlb.h>
#include "mm_priv.h"

#define LEAF_SPAN pt_span(1)
#define TRIES_MAX 16

// ---- Copying one leaf table -------------------------------------------------------------------

// Both tables are locked, PT_FORKING is set, the instant has passed.
struct fork_copy {
    struct page *from, *to;
    struct page *spare; // a page for the next copy, or NULL
    unsigned nr_copied;
};

static bool page_is_private(const struct page *page)
{
    return !(load_relaxed(&page->flags) & (PG_FILE | PG_RESERVED));
}

// Give the child what the entry e in `slot` maps. -ENOMEM: a page is wanted.
static int fork_entry(struct fork_copy *c, struct pte_slot *slot, struct pte_slot *child, pte_t e)
{
    struct page *page = pte_table_page(e);
    u32 flags = load_relaxed(&page->flags);

    if (!(flags & PG_SHARED) && load_acquire(&page->ref) != 1) { // DOC: fork-pinned
        if (!c->spare) {
            return -ENOMEM;
        }
        page_copy(c->spare, page);
        pte_write(child, pte_set_accessed(pte_move(e, page_to_phys(c->spare))));
        c->spare = NULL;
        return 0;
    }
    if (flags & PG_SHARED) {
        page_get(page);
    } else {
        // Ours alone, and new references need our lock: plain stores will do.
        store_relaxed(&page->flags, flags | PG_SHARED);
        store_relaxed(&page->ref, 2);
    }
    // The MMU cannot set the dirty bit under us, no translation permits a write; accessed is set.
    pte_t ro = pte_clear_write(e);
    if (!pte_same(ro, e)) {
        pte_write(slot, ro);
    }
    pte_write(child, ro);
    return 0;
}

static int fork_entries(struct fork_copy *c, vaddr_t start, vaddr_t end)
{
    struct pte_slot *slot = table_slot(c->from, start);
    struct pte_slot *child = table_slot(c->to, start);
    for (; start < end; start += PAGE_SIZE, slot++, child++) {
        pte_t e = pte_read(slot);
        if (pte_is_empty(e) || !page_is_private(pte_table_page(e)) ||
            !pte_is_empty(pte_read(child))) { // copied before the page list was empty
            continue;
        }
        int err = fork_entry(c, slot, child, e);
        if (err) {
            return err;
        }
        c->to->nr_used++;
        c->nr_copied++;
    }
    return 0;
}

static bool vma_is_copied(const struct vma *v)
{
    return !(v->flags & (VMA_SHARED | VMA_DONTFORK | VMA_WIPEONFORK));
}

// The parts of the table that VMAs with private pages cover. VMAs stand still, see above.
static int fork_leaf_vmas(struct mm *mm, struct fork_copy *c, vaddr_t base)
{
    vaddr_t at = base, end = base + LEAF_SPAN;
    bool copies = load_relaxed(&c->from->state) & PT_COPIES;
    while (at < end) {
        struct vma *v = mt_next_rcu(mm_tree(mm, at), at, NULL, NULL);
        if (!v || v->start >= end) {
            break;
        }
        if (vma_is_copied(v) && (!v->ops || copies)) {
            int err = fork_entries(c, max(at, v->start), min(end, v->end));
            if (err) {
                return err;
            }
        }
        at = v->end;
    }
    return 0;
}

// The table is locked and PT_FORKING.
static int fork_leaf_locked(struct mm *mm, struct page *table, vaddr_t base, struct page **spare)
{
    struct fork_copy c = {.from = table, .to = table->fork_leaf, .spare = *spare};
    int err = 0;
    if (c.to && !load_acquire(&mm->fork_error)) {
        while (!spin_trylock(&c.to->ptl)) { // truncate has it, and waits for no table
            cpu_relax();
        }
        pt_state_set(c.to, load_relaxed(&table->state) & PT_COPIES);
        err = fork_leaf_vmas(mm, &c, base);
        spin_unlock(&c.to->ptl);
        mm_this_cpu(mm->fork_child)->nr_anon += c.nr_copied;
        *spare = c.spare;
    }
    if (!err) {
        table->fork_leaf = NULL;
        pt_state_clear(table, PT_FORKING);
    }
    return err;
}

// Copy the leaf table of addr if that is still to be done. Whoever comes does it, fork or fault.
static void fork_leaf(struct mm *mm, vaddr_t addr)
{
    struct page *spare = NULL;
    int err;
    do {
        bool found = false;
        err = 0;
        rcu_read_lock();
        struct page *table = pt_find_leaf_rcu(mm, addr);
        if (table && (load_acquire(&table->state) & PT_FORKING)) { // pairs with pt_state_clear
            spin_lock(&table->ptl);
            // In the next fork's PROTECT, again, it is too early. Phase before bit: pt_close_leaf
            // takes this lock after it. A detached one has nothing to copy, and the fork that
            // closed it may be over, with its child: fork_copy_leaves does not find it.
            found = (load_relaxed(&table->state) & PT_FORKING) &&
                    !(load_relaxed(&table->state) & PT_DETACHED) &&
                    load_seq(&mm->fork_phase) == FORK_COPY;
            if (found) {
                err = fork_leaf_locked(mm, table, align_down(addr, LEAF_SPAN), &spare);
            }
            spin_unlock(&table->ptl);
        }
        rcu_read_unlock();
        if (err) {
            spare = page_alloc(GFP_KERNEL);
            if (!spare) {
                store_release(&mm->fork_error, -ENOMEM); // pairs with fork_leaf_locked
            }
        } else if (found) {
            yield_point("fork open");
            pt_open_leaf(mm, addr);
        }
    } while (err);
    if (spare) {
        page_free(spare);
    }
}

cold void fork_settle(struct mm *mm, vaddr_t addr, unsigned access)
{
    if (load_seq(&mm->fork_phase) == FORK_PROTECT) {
        mutex_lock(&mm->fork_gate); // DOC: fork-wait
        mutex_unlock(&mm->fork_gate);
    }
    if (access & FAULT_WRITE) {
        fork_leaf(mm, addr);
    }
}

// ---- Walking over the leaf tables -------------------------------------------------------------

struct fork {
    struct mm *parent, *child;
    u64 nr_missing; // closed tables whose pages have no table in the child to go to
};

// Call fn for the stretches of whole leaf tables that lie under VMAs with private pages, those of
// anonymous VMAs and those of files apart; each table once or, at the worst, once for either kind.
static int for_each_stretch(struct fork *f,
                            int (*fn)(struct fork *, vaddr_t start, vaddr_t end, bool anon))
{
    vaddr_t done[2] = {0, 0};
    struct vma *v;
    for (v = vma_find_first(f->parent, 0); v; v = vma_find_first(f->parent, v->end)) {
        if (!vma_is_copied(v)) {
            continue;
        }
        bool anon = !v->ops;
        vaddr_t start = max(align_down(v->start, LEAF_SPAN), done[anon]);
        vaddr_t end = align_up(v->end, LEAF_SPAN);
        if (start < end) {
            int err = fn(f, start, end, anon);
            if (err) {
                return err;
            }
            done[anon] = end;
        }
        cond_resched();
    }
    return 0;
}

// A leaf table for the child at addr.
static int fork_child_leaf(struct fork *f, vaddr_t addr)
{
    struct page *table;
    struct pte_slot *slot;
    for (int tries = 0; tries < TRIES_MAX; tries++) {
        rcu_read_lock();
        int err = pt_walk_leaf_nosleep(f->child, addr, &table, &slot);
        rcu_read_unlock();
        if (err != -ENOMEM) {
            return err;
        }
        err = page_refill();
        if (err) {
            return err;
        }
    }
    return -ENOMEM;
}

// The next leaf table of the parent from *addr on that has, or may have, private pages.
static bool next_leaf(struct fork *f, vaddr_t *addr, vaddr_t end, bool anon)
{
    rcu_read_lock();
    struct page *t;
    while ((t = pt_next_table_rcu(f->parent, 0, addr, end))) {
        if ((anon || (load_relaxed(&t->state) & PT_COPIES)) && data_race(t->nr_used) > 0) {
            break;
        }
        *addr = align_down(*addr, LEAF_SPAN) + LEAF_SPAN;
    }
    rcu_read_unlock();
    return t;
}

static int fork_make_tables(struct fork *f, vaddr_t start, vaddr_t end, bool anon)
{
    for (vaddr_t a = start; a < end && next_leaf(f, &a, end, anon); a += LEAF_SPAN) {
        int err = fork_child_leaf(f, a);
        if (err) {
            return err;
        }
        cond_resched();
    }
    return 0;
}

static int fork_close(struct fork *f, vaddr_t start, vaddr_t end, bool anon)
{
    f->nr_missing += pt_close_leaves(f->parent, start, end, anon);
    return 0;
}

static int fork_copy_leaves(struct fork *f, vaddr_t start, vaddr_t end, bool anon)
{
    vaddr_t a = start;
    (void)anon;
    while (a < end) {
        rcu_read_lock();
        struct page *t = pt_next_table_rcu(f->parent, 0, &a, end);
        rcu_read_unlock();
        if (!t) {
            break;
        }
        yield_point("fork copy");
        fork_leaf(f->parent, a);
        cond_resched();
        a = align_down(a, LEAF_SPAN) + LEAF_SPAN;
    }
    return 0;
}

// Tables of the child that got no entry: the parent had nothing but zero pages and file pages
// there.
static int fork_prune(struct fork *f, vaddr_t start, vaddr_t end, bool anon)
{
    struct tlb_batch b;
    (void)anon;
    tlb_begin(&b, f->child);
    for (vaddr_t a = start; a < end; a = align_down(a, LEAF_SPAN) + LEAF_SPAN) {
        rcu_read_lock();
        struct page *t = pt_next_table_rcu(f->child, 0, &a, end);
        bool empty = t && data_race(t->nr_used) == 0; // a hint; pt_prune asks under the locks
        rcu_read_unlock();
        if (!t) {
            break;
        }
        if (empty) {
            pt_prune(f->child, a, &b);
        }
        cond_resched();
    }
    tlb_end(&b);
    return 0;
}

// ---- The steps --------------------------------------------------------------------------------

static void fork_set_phase(struct mm *mm, unsigned phase)
{
    store_seq(&mm->fork_phase, phase); // pairs with pt_must_not_install, fork_leaf, fork_settle
}

// Close all tables and shoot down: on return no CPU can store to the parent's private memory.
static int fork_protect(struct fork *f)
{
    int err = 0;
    fork_set_phase(f->parent, FORK_PROTECT);
    for_each_stretch(f, fork_close);
    if (f->nr_missing) {
        // Tables that faults have installed since PREPARE. Now no more can come.
        err = for_each_stretch(f, fork_make_tables);
        for_each_stretch(f, fork_close);
    }
    if (!err) {
        yield_point("fork shoot");
        tlb_shoot(f->parent, 0, USER_END, false); // DOC: fork-flush
    }
    return err;
}

static int fork_tables(struct fork *f)
{
    struct mm *parent = f->parent;
    int err = for_each_stretch(f, fork_make_tables);
    if (err) {
        return err;
    }
    store_relaxed(&parent->fork_error, 0);
    parent->fork_child = f->child;
    mutex_lock(&parent->fork_gate);
    err = fork_protect(f);
    if (err) {
        store_release(&parent->fork_error, err); // pairs with fork_leaf_locked
    }
    fork_set_phase(parent, FORK_COPY); // the instant
    mutex_unlock(&parent->fork_gate);
    for_each_stretch(f, fork_copy_leaves);
    fork_set_phase(parent, FORK_NONE);
    err = load_acquire(&parent->fork_error);
    parent->fork_child = NULL;
    return err ? err : for_each_stretch(f, fork_prune);
}

static void fork_settings(const struct mm *from, struct mm *to)
{
    to->brk = from->brk;
    to->brk_start = from->brk_start;
    to->mmap_top = from->mmap_top;
    to->stack_top = from->stack_top;
}

static int fork_vmas(struct fork *f)
{
    struct vma *v;
    for (v = vma_find_first(f->parent, 0); v; v = vma_find_first(f->parent, v->end)) {
        int err = v->flags & VMA_DONTFORK ? 0 : vma_fork(v, f->child);
        if (err) {
            return err;
        }
        cond_resched();
    }
    return 0;
}

int mm_fork(struct mm *parent, struct mm **out)
{
    struct fork f = {.parent = parent, .child = mm_create(parent->scheme)};
    struct edit e;
    if (!f.child) {
        return -ENOMEM;
    }
    int err = edit_begin(&e, parent);
    if (err) {
        goto out_child;
    }
    fork_settings(parent, f.child);
    err = fork_vmas(&f);
    if (!err) {
        err = fork_tables(&f);
    }
    edit_end(&e);
    if (!err) {
        *out = f.child;
        return 0;
    }
out_child:
    mm_put(f.child);
    return err;
}
