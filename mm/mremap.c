// mremap: resize or move a mapping.
//
// Moving. The destination VMA is published PENDING and the source VMA is retired (or, for
// MREMAP_DONTUNMAP, replaced by a PENDING one) before an entry is touched, so no fault installs on
// either side (invariant 10). Then entries move table by table:
//
//     lock the source table: take entries out; shoot them down; unlock
//     lock the destination table: put them in; unlock
//
// The shoot-down comes before the source lock is dropped (R6): from then on no CPU can write a page
// through its old address. The two locks are never held together, so there is no order to respect.
//
// Only private (anonymous) pages move. Pages of a file are simply unmapped at the source; the page
// cache owns them and a fault finds them again. One that is in neither table for a moment could
// be missed by truncate. So could a private copy of a file's page, which truncate removes too:
// while such a mapping moves, the file's i_mmap_lock is held, which is what truncate walks under.
//
// Memory for the destination's tables is taken before anything is committed. They may still be
// missing later: a fault may have given the source a new table meanwhile, or pruned an empty one at
// the destination. If memory has run out just then the pages cannot be kept and the process is
// killed.

#include <fs.h>
#include <k/assert.h>
#include <k/errno.h>
#include <k/explore.h>
#include <k/printk.h>
#include <k/rcu.h>
#include <mm.h>
#include <page.h>
#include <pgtable.h>
#include <proc.h>
#include <rmap.h>
#include <sched.h>
#include <scheme.h>
#include <signal.h>
#include <tlb.h>
#include <uapi/mman.h>
#include "mm_priv.h"

#define MOVE_BATCH 64

struct move {
    struct mm *mm;
    vaddr_t from, to;
    u64 len;
    pte_t taken[MOVE_BATCH];
};

// Take the entries of nr_pages addresses from addr on, MOVE_BATCH at most, out of their table; says
// how many there were.
static unsigned move_take(struct move *m, struct page *table, vaddr_t addr, u64 nr_pages)
{
    struct pte_slot *slot = table_slot(table, addr);
    struct mm_cpu *count = mm_this_cpu(m->mm);
    unsigned nr = 0;
    spin_lock(&table->ptl);
    for (u64 i = 0; i < nr_pages; i++) {
        m->taken[i] = pte_none();
        pte_t e = pte_read(slot + i);
        if (pte_is_empty(e)) {
            continue;
        }
        e = pte_exchange(slot + i, pte_none());
        table->nr_used--;
        nr++;
        u32 flags = load_relaxed(&pte_table_page(e)->flags);
        if (flags & PG_FILE) {
            if (pte_is_dirty(e)) {
                atomic_fetch_or(&pte_table_page(e)->flags, PG_DIRTY);
            }
            count->nr_file--;
        } else if (!(flags & PG_RESERVED)) {
            m->taken[i] = e;
        }
    }
    if (nr) {
        tlb_shoot(m->mm, addr, addr + nr_pages * PAGE_SIZE, false);
    }
    spin_unlock(&table->ptl);
    return nr;
}

static struct page *move_dest_table(struct move *m, vaddr_t addr)
{
    struct page *table;
    struct pte_slot *slot;
    for (;;) {
        rcu_read_lock();
        int err = pt_walk_leaf_nosleep(m->mm, addr, &table, &slot);
        if (!err) {
            yield_point("move to");
            spin_lock(&table->ptl);
            if (!(load_relaxed(&table->state) & PT_DETACHED)) {
                rcu_read_unlock(); // the lock keeps it
                return table;
            }
            spin_unlock(&table->ptl);
        }
        rcu_read_unlock();
        if (err == -ENOMEM && page_refill()) {
            return NULL;
        }
    }
}

// Give up the pages taken from index i on: they are flushed already.
static void move_drop(struct move *m, u64 i, u64 nr_pages)
{
    for (; i < nr_pages; i++) {
        if (!pte_is_empty(m->taken[i])) {
            page_put(pte_table_page(m->taken[i]));
            mm_this_cpu(m->mm)->nr_anon--;
        }
    }
}

// Put the taken entries in at addr. -ENOMEM: no memory for a table; what is left of them is freed.
static int move_put(struct move *m, vaddr_t addr, u64 nr_pages)
{
    for (u64 i = 0; i < nr_pages;) {
        struct page *table = NULL;
        vaddr_t a = addr + i * PAGE_SIZE;
        if (pte_is_empty(m->taken[i])) {
            i++;
            continue;
        }
        table = move_dest_table(m, a);
        if (!table) {
            move_drop(m, i, nr_pages);
            return -ENOMEM;
        }
        do {
            if (!pte_is_empty(m->taken[i])) {
                pte_write(table_slot(table, a), pte_set_soft_dirty(m->taken[i]));
                table->nr_used++;
                pt_state_set(table, PT_COPIES); // for all we know
            }
            i++;
            a += PAGE_SIZE;
        } while (i < nr_pages && pt_index(a, 0) != 0);
        spin_unlock(&table->ptl);
    }
    return 0;
}

// Give the destination its tables before anything is committed.
static int move_prepare(struct move *m)
{
    for (vaddr_t a = align_down(m->to, pt_span(1)); a < m->to + m->len; a += pt_span(1)) {
        vaddr_t src = a > m->to ? m->from + (a - m->to) : m->from;
        vaddr_t src_end = min(m->from + m->len, m->from + (a + pt_span(1) - m->to));
        rcu_read_lock();
        struct page *t = pt_next_leaf_rcu(m->mm, &src, src_end);
        rcu_read_unlock();
        if (!t) {
            continue;
        }
        struct page *table = move_dest_table(m, max(a, m->to));
        if (!table) {
            return -ENOMEM;
        }
        spin_unlock(&table->ptl);
    }
    return 0;
}

// Nothing will be moved: the tables of the destination are under no VMA, so nobody else prunes
// them.
static void move_prune_dest(struct move *m)
{
    struct tlb_batch b;
    tlb_begin(&b, m->mm);
    zap_range(m->mm, m->to, m->to + m->len, ZAP_PRUNE, &b);
    tlb_end(&b);
}

static int move_entries(struct move *m)
{
    struct tlb_batch b;
    vaddr_t end = m->from + m->len, addr = m->from;
    int err = 0;
    tlb_begin(&b, m->mm);
    while (addr < end) {
        unsigned nr = 0;
        rcu_read_lock();
        struct page *table = pt_next_leaf_rcu(m->mm, &addr, end);
        if (!table) {
            rcu_read_unlock();
            break;
        }
        vaddr_t stop = align_down(addr, pt_span(table->level + 1)) + pt_span(table->level + 1);
        stop = min(stop, end);
        u64 pages = (stop - addr) >> PAGE_SHIFT;
        if (table->level == 0) {
            pages = min(pages, (u64)MOVE_BATCH);
            nr = move_take(m, table, addr, pages);
        }
        bool empty = data_race(table->nr_used) == 0; // a hint; pt_prune asks under the locks
        rcu_read_unlock();
        yield_point("move");
        if (nr) {
            int failed = move_put(m, m->to + (addr - m->from), pages);
            err = err ? err : failed;
        }
        if (empty) {
            pt_prune(m->mm, addr, &b);
        }
        cond_resched();
        addr += pages << PAGE_SHIFT;
    }
    tlb_end(&b);
    return err;
}

// ---- The call ---------------------------------------------------------------------------------

struct remap {
    struct mm *mm;
    vaddr_t old, new_addr;
    u64 old_len, new_len;
    unsigned flags;
};

// Publish `what` PENDING, without finishing: the caller moves entries first.
static int publish_pending(struct edit *e, struct mm *mm, const struct vma_spec *what)
{
    struct vma_spec s = *what;
    s.pending = true;
    vma_plan_init(e, mm);
    int err = vma_plan_cut(e, s.start, s.end);
    if (!err) {
        err = vma_plan_add(e, &s);
    }
    if (!err) {
        err = vma_plan_ready(e);
    }
    if (err) {
        vma_plan_abort(e);
        return err;
    }
    vma_commit(e);
    return 0;
}

// Move [old, old+old_len), which lies in one VMA described by `from`, to new_addr.
static int remap_move(struct remap *r, const struct vma_spec *from)
{
    struct move m = {
        .mm = r->mm, .from = r->old, .to = r->new_addr, .len = min(r->old_len, r->new_len)};
    struct vma_spec to = *from, rest = *from;
    struct edit dst, src;

    to.pgoff = from->pgoff + ((r->old - from->start) >> PAGE_SHIFT);
    to.start = r->new_addr;
    to.end = r->new_addr + r->new_len;
    to.flags |= VMA_SOFT_DIRTY;
    int err = move_prepare(&m);
    if (!err) {
        err = publish_pending(&dst, r->mm, &to);
    }
    if (err) {
        move_prune_dest(&m);
        return err;
    }
    if (r->flags & MREMAP_DONTUNMAP) {
        rest.pgoff = to.pgoff;
        rest.start = r->old;
        rest.end = r->old + r->old_len;
        rest.flags &= ~(u32)(VMA_LOCKED | VMA_LOCKONFAULT);
        rest.flags |= VMA_SOFT_DIRTY;
        err = publish_pending(&src, r->mm, &rest);
    } else {
        vma_plan_init(&src, r->mm);
        err = vma_plan_cut(&src, r->old, r->old + r->old_len);
        if (!err) {
            err = vma_plan_ready(&src);
        }
        if (err) {
            vma_plan_abort(&src);
        } else {
            vma_commit(&src);
        }
    }
    if (err) {
        vma_commit_finish(&dst);
        vma_commit_release(&dst);
        if (unmap_locked(r->mm, to.start, to.end)) {
            printk("mremap: no memory to undo: %lx stays mapped\n", (unsigned long)to.start);
        }
        return err;
    }
    struct mutex *i_mmap =
        from->file && from->file->mapping ? &from->file->mapping->i_mmap_lock : NULL;
    if (i_mmap) {
        mutex_lock(i_mmap);
    }
    err = move_entries(&m);
    vma_commit_live(&dst);
    if (i_mmap) {
        mutex_unlock(i_mmap);
    }
    if (err) {
        printk("out of memory in mremap: killing process %d\n", current_process()->pid);
        force_signal_fault(SIGKILL, SI_KERNEL, r->old);
    }
    vma_commit_finish(&dst);
    vma_commit_release(&dst);
    if (!(r->flags & MREMAP_DONTUNMAP)) {
        src.occupied = true;
        edit_zap_hole(&src); // file pages beyond the new length, empty tables
    }
    vma_commit_finish(&src);
    vma_commit_release(&src);
    return 0;
}

static int remap_grow_in_place(struct remap *r, const struct vma_spec *v)
{
    vaddr_t end = r->old + r->old_len, new_end = r->old + r->new_len;
    if (v->end != end || new_end > USER_END || new_end < end) {
        return -ENOMEM;
    }
    struct vma *next = vma_find_first(r->mm, end);
    u64 keep = next && (next->flags & VMA_GROWSDOWN) ? STACK_GUARD_GAP : 0;
    if (next && next->start < new_end + keep) {
        return -ENOMEM;
    }
    struct vma_spec s = *v;
    s.pgoff = v->pgoff + ((end - v->start) >> PAGE_SHIFT);
    s.start = end;
    s.end = new_end;
    s.flags |= VMA_SOFT_DIRTY;
    return map_locked(r->mm, &s);
}

static int remap_fixed_check(const struct remap *r)
{
    if ((r->new_addr & ~PAGE_MASK) || r->new_len > USER_END ||
        r->new_addr > USER_END - r->new_len) {
        return -EINVAL;
    }
    if (r->old + r->old_len > r->new_addr && r->new_addr + r->new_len > r->old) {
        return -EINVAL;
    }
    return (r->flags & MREMAP_FIXED) && r->new_addr < MMAP_MIN_ADDR ? -EPERM : 0;
}

// The VMA that holds all of the old range. -EFAULT as on Linux.
static int remap_find(struct remap *r, struct vma_spec *out)
{
    struct vma *v = vma_find(r->mm, r->old);
    if (!v) {
        return -EFAULT;
    }
    vma_to_spec(v, out);
    bool moves = r->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP);
    int err = moves ? remap_fixed_check(r) : 0;
    if (err) {
        return err;
    }
    if (!moves && r->old_len == r->new_len && r->old_len) {
        return 0; // nothing to do, and Linux does not ask how long nothing is
    }
    // A length that leaves the address space: what is to be cut off cannot be unmapped (Linux says
    // so too), and no VMA is that long.
    if (r->old_len > USER_END - r->old) {
        return r->old_len > r->new_len ? -EINVAL : -EFAULT;
    }
    if (!moves && r->old_len >= r->new_len && r->old_len) {
        return 0; // shrinking may span VMAs and holes
    }
    // Linux: duplicating (old_len 0) is for shared mappings only.
    if (r->old_len == 0 && !(v->flags & VMA_SHARED)) {
        return -EINVAL;
    }
    if (min(r->old_len, moves ? r->new_len : r->old_len) > v->end - r->old) {
        return -EFAULT;
    }
    if (r->new_len > USER_END) {
        return -ENOMEM;
    }
    if ((r->flags & MREMAP_DONTUNMAP) &&
        !mm_within_limits(r->mm, r->new_len >> PAGE_SHIFT, v->flags)) {
        return -ENOMEM;
    }
    return r->new_len > r->old_len
               ? mm_may_map(r->mm, (r->new_len - r->old_len) >> PAGE_SHIFT, v->flags)
               : 0;
}

// Duplicate a shared mapping (old_len 0).
static int remap_duplicate(struct remap *r, struct vma_spec *v)
{
    v->pgoff += (r->old - v->start) >> PAGE_SHIFT;
    v->start = r->new_addr;
    v->end = r->new_addr + r->new_len;
    v->flags |= VMA_SOFT_DIRTY;
    return map_locked(r->mm, v);
}

// The edit lock is held; v->file is counted by us. The new address, or an error.
static s64 remap_locked(struct remap *r, struct vma_spec *v)
{
    bool fixed = r->flags & MREMAP_FIXED;
    bool must_move = fixed || (r->flags & MREMAP_DONTUNMAP) || r->old_len == 0;
    int err;

    if (!fixed && !(r->flags & MREMAP_MAYMOVE) && r->old_len == 0) {
        return -ENOMEM;
    }
    if (!fixed && r->old_len > r->new_len) {
        err = unmap_locked(r->mm, r->old + r->new_len, r->old + r->old_len);
        return err ? err : (s64)r->old;
    }
    if (!must_move) {
        if (r->old_len == r->new_len) {
            return (s64)r->old;
        }
        err = remap_grow_in_place(r, v);
        if (!err) {
            return (s64)r->old;
        }
        if (!(r->flags & MREMAP_MAYMOVE)) {
            return -ENOMEM;
        }
    }
    if (!fixed) {
        // MREMAP_DONTUNMAP takes new_addr as a hint.
        struct vma *there = vma_find_first(r->mm, r->new_addr);
        if (!(r->flags & MREMAP_DONTUNMAP) || r->new_addr < MMAP_MIN_ADDR ||
            (there && there->start < r->new_addr + r->new_len)) {
            struct vma_gap gap;
            err = mm_find_gap(r->mm, r->new_len, &gap);
            r->new_addr = err ? 0 : gap.start;
        } else {
            err = 0;
        }
    } else {
        err = unmap_locked(r->mm, r->new_addr, r->new_addr + r->new_len);
        if (!err && r->old_len > r->new_len) {
            err = unmap_locked(r->mm, r->old + r->new_len, r->old + r->old_len);
            r->old_len = r->new_len;
        }
    }
    if (err) {
        return err;
    }
    err = r->old_len == 0 ? remap_duplicate(r, v) : remap_move(r, v);
    return err ? err : (s64)r->new_addr;
}

// The edit lock is held. *v: the VMA, as it was.
static s64 remap_one(struct remap *r, struct vma_spec *v)
{
    s64 result = remap_find(r, v);
    if (!result) {
        struct file *file = v->file ? file_get(v->file) : NULL; // outlives the source VMA
        result = remap_locked(r, v);
        if (file) {
            file_put(file);
        }
    }
    return result;
}

// A move to a fixed address that changes no length may be of several VMAs, with gaps between them
// and behind them, though not before; they keep their distances, and what lies at the destination
// of a gap stays (mremap(2), since Linux 6.17). Each is moved like a call of its own: when one
// fails, those before it have moved.
static s64 remap_each(const struct remap *r)
{
    vaddr_t end = r->old + r->old_len;
    struct vma *v = vma_find(r->mm, r->old);
    int err = v ? remap_fixed_check(r) : -EFAULT;
    if (!err && r->old_len > USER_END - r->old) {
        err = -EFAULT;
    }
    if (err) {
        return err;
    }
    for (vaddr_t at = r->old; v && v->start < end;
         v = at < end ? vma_find_first(r->mm, at) : NULL) {
        struct remap piece = *r;
        struct vma_spec was;
        piece.old = max(v->start, at);
        piece.old_len = piece.new_len = min(v->end, end) - piece.old;
        piece.new_addr = r->new_addr + (piece.old - r->old);
        at = piece.old + piece.old_len;
        s64 result = remap_one(&piece, &was);
        if (result < 0) {
            return result;
        }
        cond_resched();
    }
    return (s64)r->new_addr;
}

static int remap_check(const struct remap *r)
{
    const unsigned f = r->flags;
    if ((f & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)) ||
        ((f & (MREMAP_FIXED | MREMAP_DONTUNMAP)) && !(f & MREMAP_MAYMOVE)) ||
        (r->old & ~PAGE_MASK) || r->new_len == 0) {
        return -EINVAL;
    }
    return 0;
}

s64 mm_mremap(struct mm *mm, vaddr_t old, u64 old_len, u64 new_len, unsigned flags,
              vaddr_t new_addr)
{
    struct remap r = {.mm = mm,
                      .old = old,
                      .new_addr = new_addr,
                      .old_len = page_align_up(old_len),
                      .new_len = page_align_up(new_len),
                      .flags = flags};
    struct vma_spec v;
    struct edit e;
    int err = remap_check(&r);
    if (!err && (flags & MREMAP_DONTUNMAP) && old_len != new_len) {
        err = -EINVAL;
    }
    if (err) {
        return err;
    }
    err = edit_begin(&e, mm);
    if (err) {
        return err;
    }
    bool each = (flags & MREMAP_FIXED) && r.old_len && r.old_len == r.new_len;
    s64 result = each ? remap_each(&r) : remap_one(&r, &v);
    edit_end(&e);
    if (!each && result >= 0 && (v.flags & VMA_LOCKED) && r.new_len > old_len) {
        mm_populate(mm, (vaddr_t)result, (vaddr_t)result + r.new_len, true);
    }
    return result;
}
