// VMAs: planning and committing a change. Logic only: no page tables, no locks but the caller's
// edit lock, so that the host tests run this very file.
//
// The problem. A writer must replace some VMAs by others so that a fault, which looks at any moment
// and holds no lock, sees either what was or what will be; and it must not fail half way.
//
// The idea: plan, then commit. A plan collects two lists,
//
//     before      [---- A ----][-- B --]        [--- C ---]
//     cut [s,e)           s.....................e
//     old         A, B, C                                     (retired by the commit)
//     fresh       [- A' -]                      [-- C' --]    (remnants: what sticks out)
//     add X               [-------- X ----------]             (joined with A' or C' if equal)
//
// and takes everything that can fail: VMA objects, tree nodes. The commit stores the fresh VMAs
// into the tree, one atomic step each, erases what stays empty, and then retires the old ones.
// Between two stores a reader finds an old VMA or a fresh one, never nothing, for an address that
// is mapped before and after (R12). It may find A and A' in turn; A dies only when all of the new
// tree is public (invariant 1), and a fault that is still holding A starts again.
//
// A VMA published while the range still has old entries is PENDING until vma_commit_finish, so that
// no fault installs into a range the writer is about to zap.
//
// Joining. Two neighbours with the same flags, file and adjoining offsets become one VMA: both are
// retired and a wider one is published. Entries stay where they are; page tables know nothing of
// VMAs.
//
// Reference counts: the tree owns one (dropped by vma_commit_release), each parked fault one.
// With the last one gone the memory and the reference on the file go after a grace period.

#include <fs.h>
#include <k/assert.h>
#include <k/errno.h>
#include <k/explore.h>
#include <k/lock.h>
#include <maple.h>
#include <mm.h>
#include <rmap.h>
#include <scheme.h>
#include <slab.h>
#include <vma.h>
#include "mm_priv.h"

static struct kmem_cache *vma_cache;

void vma_cache_init(void)
{
    vma_cache = kmem_cache_create("vma", sizeof(struct vma), 64);
}

long vma_nr_used(void)
{
    return kmem_cache_nr_used(vma_cache);
}

// The file goes with the memory, not before (invariant 7): a fault that found the VMA in its RCU
// section follows v->file to the page cache.
static void vma_free_rcu(struct rcu_head *head)
{
    struct vma *v = container_of(head, struct vma, rcu);
    if (v->file) {
        file_put_later(v->file);
    }
    kmem_cache_free(vma_cache, v);
}

bool vma_tryget(struct vma *v)
{
    int ref = load_relaxed(&v->ref);
    while (ref != 0) { // no order: the section has made v readable
        if (atomic_compare_exchange_weak_explicit(&v->ref, &ref, ref + 1, memory_order_relaxed,
                                                  memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

void vma_put(struct vma *v)
{
    // Release and acquire in one: the last to let go has what all others did behind it.
    if (fetch_add_seq(&v->ref, -1) == 1) {
        call_rcu(&v->rcu, vma_free_rcu);
    }
}

struct vma *vma_draft(struct mm *mm, const struct vma_spec *s)
{
    struct vma *v = kmem_cache_alloc(vma_cache, GFP_KERNEL);
    if (!v) {
        return NULL;
    }
    v->mm = mm;
    v->ops = s->ops;
    v->file = s->file ? file_get(s->file) : NULL;
    // Accessed already, so that the MMU need not write the entry.
    v->entry[0] = pte_set_accessed(pte_make(0, vma_prot(s->flags, false)));
    v->entry[1] = pte_set_accessed(pte_make(0, vma_prot(s->flags, true)));
    store_relaxed(&v->ref, 1); // the tree publishes it all
    store_relaxed(&v->scheme_word, 0);
    list_init(&v->i_mmap_link);
    list_init(&v->edit_link);
    return v;
}

void vma_draft_free(struct vma *draft)
{
    if (draft) {
        if (draft->file) {
            file_put(draft->file);
        }
        kmem_cache_free(vma_cache, draft);
    }
}

static struct vma *vma_make(struct mm *mm, const struct vma_spec *s)
{
    struct vma *v = s->draft ? *s->draft : NULL;
    if (v) {
        *s->draft = NULL;
    } else {
        v = vma_draft(mm, s);
        if (!v) {
            return NULL;
        }
    }
    v->start = s->start;
    v->end = s->end;
    v->flags = s->flags; // what the draft did not know of them is no matter of the entries
    v->pgoff = s->pgoff;
    store_relaxed(&v->state, s->pending ? VMA_PENDING : VMA_LIVE);
    return v;
}

// Never published: no reader can know it.
static void vma_discard(struct vma *v)
{
    list_del(&v->edit_link);
    vma_draft_free(v);
}

void vma_to_spec(const struct vma *v, struct vma_spec *out)
{
    *out = (struct vma_spec){.start = v->start,
                             .end = v->end,
                             .flags = v->flags,
                             .file = v->file,
                             .ops = v->ops,
                             .pgoff = v->pgoff};
}

bool vma_can_merge(const struct vma_spec *a, const struct vma_spec *b)
{
    return a->end == b->start && !((a->flags ^ b->flags) & ~(u32)VMA_SOFT_DIRTY) &&
           a->file == b->file && a->ops == b->ops &&
           a->pgoff + ((a->end - a->start) >> PAGE_SHIFT) == b->pgoff;
}

struct vma *vma_find(struct mm *mm, vaddr_t addr)
{
    return mt_find_rcu(mm_tree(mm, addr), addr, NULL, NULL);
}

struct vma *vma_find_first(struct mm *mm, vaddr_t addr)
{
    return mt_next_rcu(mm_tree(mm, addr), addr, NULL, NULL);
}

struct vma *vma_find_prev(struct mm *mm, vaddr_t addr)
{
    return mt_prev_rcu(mm_tree(mm, addr), addr, NULL, NULL);
}

void vma_plan_init(struct edit *e, struct mm *mm)
{
    e->mm = mm;
    e->start = e->end = 0;
    e->erase = e->occupied = false;
    list_init(&e->old);
    list_init(&e->fresh);
    e->nr_old = e->nr_fresh = 0;
    e->pre = (struct maple_prealloc){0};
}

static int plan_fresh(struct edit *e, const struct vma_spec *s)
{
    struct vma *v = vma_make(e->mm, s), *at;
    if (!v) {
        return -ENOMEM;
    }
    // Keep the list in address order.
    list_for_each_entry (at, &e->fresh, edit_link) {
        if (at->start > v->start) {
            break;
        }
    }
    list_add_tail(&at->edit_link, &v->edit_link); // before `at`, or at the end
    e->nr_fresh++;
    return 0;
}

static void plan_old(struct edit *e, struct vma *v)
{
    list_add_tail(&e->old, &v->edit_link);
    e->nr_old++;
}

// The part of v that lies in [start, end).
static void spec_slice(const struct vma *v, vaddr_t start, vaddr_t end, struct vma_spec *out)
{
    vma_to_spec(v, out);
    out->start = max(v->start, start);
    out->end = min(v->end, end);
    out->pgoff = vma_page_index(v, out->start);
}

int vma_plan_cut(struct edit *e, vaddr_t start, vaddr_t end)
{
    struct vma_spec s;
    struct vma *v;
    int err;

    e->start = start;
    e->end = end;
    for (v = vma_find_first(e->mm, start); v && v->start < end; v = vma_find_first(e->mm, v->end)) {
        plan_old(e, v);
        e->occupied = true;
        if (v->start < start) {
            spec_slice(v, v->start, start, &s);
            err = plan_fresh(e, &s);
            if (err) {
                return err;
            }
        }
        if (v->end > end) {
            spec_slice(v, end, v->end, &s);
            err = plan_fresh(e, &s);
            if (err) {
                return err;
            }
        }
        if (v->end >= end) {
            break;
        }
    }
    e->erase = e->occupied;
    return 0;
}

// s, joined with n, which lies directly before (left) or after it.
static void spec_join(struct vma_spec *s, const struct vma_spec *n, bool left)
{
    if (left) {
        s->start = n->start;
        s->pgoff = n->pgoff;
    } else {
        s->end = n->end;
    }
    s->flags |= n->flags & VMA_SOFT_DIRTY;
}

// A fresh remnant that ends (starts) at addr and can be joined is swallowed.
static bool plan_swallow_remnant(struct edit *e, struct vma_spec *s, bool left)
{
    struct vma *v;
    list_for_each_entry (v, &e->fresh, edit_link) {
        struct vma_spec n;
        vma_to_spec(v, &n);
        if (left ? vma_can_merge(&n, s) : vma_can_merge(s, &n)) {
            spec_join(s, &n, left);
            vma_discard(v);
            e->nr_fresh--;
            return true;
        }
    }
    return false;
}

// The same with v, a neighbour in the tree, or NULL.
static void plan_swallow_neighbour(struct edit *e, struct vma_spec *s, struct vma *v, bool left)
{
    struct vma_spec n;
    if (!v || !list_empty(&v->edit_link)) {
        return; // none, or cut already
    }
    vma_to_spec(v, &n);
    if (left ? !vma_can_merge(&n, s) : !vma_can_merge(s, &n)) {
        return;
    }
    spec_join(s, &n, left);
    plan_old(e, v);
}

int vma_plan_replace(struct edit *e, struct vma *v, u32 flags)
{
    struct vma_spec s;
    vma_to_spec(v, &s);
    s.flags = flags;
    e->start = s.start;
    e->end = s.end;
    plan_old(e, v);
    return plan_fresh(e, &s);
}

int vma_plan_add(struct edit *e, const struct vma_spec *what)
{
    struct vma_spec s = *what;
    if (!plan_swallow_remnant(e, &s, true)) {
        plan_swallow_neighbour(e, &s, vma_find_prev(e->mm, s.start), true);
    }
    if (!plan_swallow_remnant(e, &s, false)) {
        plan_swallow_neighbour(e, &s, vma_find(e->mm, s.end), false);
    }
    if (s.start <= e->start && s.end >= e->end) {
        e->erase = false; // nothing of the hole stays empty
    }
    return plan_fresh(e, &s);
}

int vma_plan_fill(struct edit *e, const struct vma_spec *what, const struct vma_gap *gap)
{
    struct vma_spec s = *what;
    e->start = s.start;
    e->end = s.end;
    plan_swallow_neighbour(e, &s, gap->prev, true);
    plan_swallow_neighbour(e, &s, gap->next, false);
    return plan_fresh(e, &s);
}

int vma_plan_ready(struct edit *e)
{
    if (e->nr_fresh > e->nr_old && e->mm->nr_vmas + e->nr_fresh - e->nr_old > mm_max_map_count) {
        return -ENOMEM;
    }
    return mt_prepare(mm_tree(e->mm, e->start), &e->pre, e->nr_fresh + (e->erase ? 1 : 0));
}

void vma_plan_abort(struct edit *e)
{
    struct vma *v, *tmp;
    list_for_each_entry_safe (v, tmp, &e->fresh, edit_link) {
        vma_discard(v);
    }
    list_for_each_entry_safe (v, tmp, &e->old, edit_link) {
        list_del(&v->edit_link);
    }
    mt_unprepare(&e->pre);
}

static void count_vma(struct mm *mm, const struct vma *v, s64 sign)
{
    s64 pages = sign * (s64)((v->end - v->start) >> PAGE_SHIFT);
    mm->nr_vmas += (u64)sign;
    mm->total_pages += (u64)pages;
    if (vma_flags_are_data(v->flags)) {
        mm->data_pages += (u64)pages;
    }
    if (v->flags & VMA_LOCKED) {
        mm->locked_pages += (u64)pages;
    }
}

// Store the hole's empty parts: everything in [start, end) that no fresh VMA covers is one stretch,
// because a plan adds at most one VMA and the remnants lie outside.
static void commit_erase(struct edit *e)
{
    struct vma *v;
    vaddr_t start = e->start, end = e->end;
    list_for_each_entry (v, &e->fresh, edit_link) {
        if (v->start <= start && v->end > start) {
            start = v->end;
        } else if (v->start < end && v->end >= end) {
            end = v->start;
        }
    }
    if (start < end) {
        mt_store(mm_tree(e->mm, start), &e->pre, start, end, NULL);
    }
}

void vma_commit(struct edit *e)
{
    struct vma *v;
    list_for_each_entry (v, &e->fresh, edit_link) {
        rmap_link(v);
    }
    list_for_each_entry (v, &e->fresh, edit_link) {
        mt_store(mm_tree(e->mm, v->start), &e->pre, v->start, v->end, v);
        count_vma(e->mm, v, 1);
        yield_point("published");
    }
    if (e->erase) {
        commit_erase(e);
    }
    list_for_each_entry (v, &e->old, edit_link) {
        count_vma(e->mm, v, -1);
        e->mm->scheme->edit_retire(e, v);
    }
    if (e->mm->total_pages > e->mm->peak_pages) {
        e->mm->peak_pages = e->mm->total_pages;
    }
}

void vma_commit_live(struct edit *e)
{
    struct vma *v;
    list_for_each_entry (v, &e->fresh, edit_link) {
        if (load_relaxed(&v->state) == VMA_PENDING) {
            store_release(&v->state, VMA_LIVE); // pairs with fault_live
        }
    }
}

void vma_commit_finish(struct edit *e)
{
    struct vma *v, *tmp;
    // Retired VMAs leave the reverse map before anything new is installed in their place: truncate
    // of their file, walking the list, would clear it.
    list_for_each_entry (v, &e->old, edit_link) {
        rmap_unlink(v);
    }
    vma_commit_live(e);
    list_for_each_entry_safe (v, tmp, &e->fresh, edit_link) {
        list_del(&v->edit_link);
    }
}

void vma_commit_release(struct edit *e)
{
    struct vma *v, *tmp;
    list_for_each_entry_safe (v, tmp, &e->old, edit_link) {
        list_del(&v->edit_link);
        vma_put(v);
    }
    mt_unprepare(&e->pre);
}

int vma_fork(const struct vma *v, struct mm *to)
{
    struct maple_prealloc pre = {0};
    struct vma_spec s;
    vma_to_spec(v, &s);
    s.flags &= ~(u32)(VMA_LOCKED | VMA_LOCKONFAULT);
    struct vma *c = vma_make(to, &s);
    if (!c) {
        return -ENOMEM;
    }
    if (mt_prepare(mm_tree(to, c->start), &pre, 1)) {
        vma_discard(c);
        return -ENOMEM;
    }
    rmap_link(c);
    mt_store(mm_tree(to, c->start), &pre, c->start, c->end, c);
    count_vma(to, c, 1);
    mt_unprepare(&pre);
    return 0;
}

int vma_find_gap(struct mm *mm, vaddr_t top, u64 len, struct vma_gap *out)
{
    struct maple_tree *mt = mm_tree(mm, 0);
    struct maple_gap g;
    for (;;) {
        int err = mt_gap_highest(mt, MMAP_MIN_ADDR, top, len, &g);
        if (err) {
            return err;
        }
        u64 room = g.hi - (g.start + len);
        struct vma *next = room < STACK_GUARD_GAP ? g.next : NULL;
        if (!next || !(next->flags & VMA_GROWSDOWN)) {
            out->start = g.start;
            out->prev = g.start == g.lo && g.lo > 0 ? vma_find(mm, g.lo - 1) : NULL;
            out->next = room == 0 ? next : NULL;
            return 0;
        }
        // Too near to a growing stack: lower in this hole, or else in those below the VMA that ends
        // it.
        top = max(g.hi - min(g.hi, STACK_GUARD_GAP), g.lo);
    }
}
