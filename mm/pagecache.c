// The tree of one file's pages: a radix tree of 64-way nodes, read under RCU.
//
//     root -> node(shift 6) -> node(shift 0) -> pages          index = 6 bits a level
//
// The root pointer leads to a node that knows its own shift, so a reader learns the height and the
// node in one load. Growing puts a new root above the old one; nodes leave by RCU. Writers hold
// mapping->lock and take nodes that pc_preload allocated before; most insertions need none, so the
// first try is made without and says -EAGAIN when it needs some.
//
// A page in the tree holds one reference, the cache's own. page->mapping and page->index are set
// before the slot is published and page->mapping is cleared when it leaves (invariant 8).

#include <filemap.h>
#include <k/assert.h>
#include <k/errno.h>
#include <k/explore.h>
#include <k/percpu.h>
#include <k/rcu.h>
#include <page.h>
#include <sched.h>
#include <slab.h>
#include <smp.h>
#include "pagecache.h"

static struct kmem_cache *pc_cache;

void pagecache_init(void)
{
    pc_cache = kmem_cache_create("pagecache_node", sizeof(struct pc_node), 64);
}

static void pc_node_free_rcu(struct rcu_head *head)
{
    kmem_cache_free(pc_cache, container_of(head, struct pc_node, rcu));
}

static unsigned pc_slot(const struct pc_node *n, u64 index)
{
    return (unsigned)(index >> n->shift) & (PC_FANOUT - 1);
}

static bool pc_covers(const struct pc_node *n, u64 index)
{
    unsigned bits = n->shift + PC_BITS;
    return bits >= 64 || index >> bits == 0;
}

struct pc_node *pc_leaf_rcu(struct mapping *m, u64 index)
{
    struct pc_node *n = rcu_dereference(&m->root);
    if (!n || !pc_covers(n, index)) {
        return NULL;
    }
    while (n && n->shift > 0) {
        n = rcu_dereference(&n->slot[pc_slot(n, index)]);
    }
    return n;
}

struct page *mapping_find_rcu(struct mapping *m, u64 index)
{
    struct pc_node *n = pc_leaf_rcu(m, index);
    return n ? rcu_dereference(&n->slot[index & (PC_FANOUT - 1)]) : NULL;
}

struct page *mapping_find_get(struct mapping *m, u64 index)
{
    for (;;) {
        rcu_read_lock();
        struct page *p = mapping_find_rcu(m, index);
        if (!p) {
            rcu_read_unlock();
            return NULL;
        }
        yield_point("page found");
        bool got = page_tryget(p);
        rcu_read_unlock();
        if (!got) {
            continue; // on its way out; the slot is cleared already
        }
        if (load_acquire(&p->mapping) == m && p->index == index) {
            return p;
        }
        page_put(p);
    }
}

// Is there a page at index? *span: from index on so many, at least 1, are known to be like it.
static bool pc_look_rcu(struct mapping *m, u64 index, u64 *span)
{
    struct pc_node *n = rcu_dereference(&m->root);
    if (!n || !pc_covers(n, index)) {
        *span = UINT64_MAX - index; // the root covers every page there is
        return false;
    }
    void *slot = rcu_dereference(&n->slot[pc_slot(n, index)]);
    while (slot && n->shift > 0) {
        n = slot;
        slot = rcu_dereference(&n->slot[pc_slot(n, index)]);
    }
    u64 width = 1ull << n->shift;
    *span = width - (index & (width - 1));
    return slot != NULL;
}

u64 mapping_seek(struct mapping *m, u64 index, u64 end, bool present)
{
    while (index < end) {
        u64 span;
        rcu_read_lock();
        bool here = pc_look_rcu(m, index, &span);
        rcu_read_unlock();
        if (here == present) {
            return index;
        }
        index += span;
        cond_resched();
    }
    return end;
}

int pc_preload(struct pc_preload *pre)
{
    while (pre->nr < PC_PRELOAD) {
        struct pc_node *n = kmem_cache_alloc(pc_cache, GFP_KERNEL | GFP_ZERO);
        if (!n) {
            pc_preload_free(pre);
            return -ENOMEM;
        }
        pre->node[pre->nr++] = n;
    }
    return 0;
}

void pc_preload_free(struct pc_preload *pre)
{
    while (pre->nr) {
        kmem_cache_free(pc_cache, pre->node[--pre->nr]);
    }
}

static struct pc_node *pc_take(struct pc_preload *pre, unsigned shift)
{
    if (pre->nr == 0) {
        return NULL;
    }
    struct pc_node *n = pre->node[--pre->nr];
    n->shift = (u8)shift;
    return n;
}

// The shift of the lowest root that covers index.
static unsigned pc_shift_for(u64 index)
{
    unsigned shift = 0;
    while (shift + PC_BITS < 64 && index >> (shift + PC_BITS)) {
        shift += PC_BITS;
    }
    return shift;
}

// Pages of all files, by the CPU that put them in or took them out. Only the sum means something.
static DEFINE_PER_CPU(atomic_long, nr_cached);

static void pagecache_count(long n)
{
    atomic_long *mine = &this_cpu(nr_cached); // a spinlock is held: the CPU stays
    store_relaxed(mine, load_relaxed(mine) + n);
}

u64 pagecache_nr_pages(void)
{
    long sum = 0;
    for (unsigned c = 0; c < nr_cpus; c++) {
        sum += load_relaxed(&per_cpu(nr_cached, c));
    }
    return (u64)max(sum, 0l);
}

int pc_insert_locked(struct mapping *m, struct pc_preload *pre, u64 index, struct page *page)
{
    struct pc_node *n = load_relaxed(&m->root);
    if (!n) {
        n = pc_take(pre, pc_shift_for(index));
        if (!n) {
            return -EAGAIN;
        }
        rcu_assign_pointer(&m->root, n);
    }
    while (!pc_covers(n, index)) {
        struct pc_node *up = pc_take(pre, n->shift + PC_BITS);
        if (!up) {
            return -EAGAIN;
        }
        store_relaxed(&up->slot[0], n);
        up->nr_used = 1;
        rcu_assign_pointer(&m->root, up); // pairs with pc_leaf_rcu
        n = up;
    }
    while (n->shift > 0) {
        unsigned i = pc_slot(n, index);
        struct pc_node *child = load_relaxed(&n->slot[i]);
        if (!child) {
            child = pc_take(pre, n->shift - PC_BITS);
            if (!child) {
                return -EAGAIN; // nodes on the way stay, empty, for the next try
            }
            n->nr_used++;
            rcu_assign_pointer(&n->slot[i], child);
        }
        n = child;
    }
    unsigned i = (unsigned)index & (PC_FANOUT - 1);
    if (load_relaxed(&n->slot[i])) {
        return -EEXIST;
    }
    page->index = index;
    store_relaxed(&page->mapping, m);
    page_get(page);
    n->nr_used++;
    rcu_assign_pointer(&n->slot[i], page); // pairs with mapping_find_rcu
    store_relaxed(&m->nr_pages, load_relaxed(&m->nr_pages) + 1);
    pagecache_count(1);
    return 0;
}

// Nobody finds n any more: only now may its grace period begin.
static void pc_node_retire(struct pc_node *n)
{
    call_rcu(&n->rcu, pc_node_free_rcu);
}

// Take the pages of [first, last] that are below n out of it, onto `out`; frees the nodes below
// that become empty. True: n itself is empty, and the caller's to unlink and retire.
static bool pc_remove_below(struct mapping *m, struct pc_node *n, u64 base, u64 first, u64 last,
                            struct list *out)
{
    u64 span = 1ull << n->shift;
    for (unsigned i = 0; i < PC_FANOUT && n->nr_used; i++) {
        u64 lo = base + i * span, hi = lo + span - 1;
        void *child = load_relaxed(&n->slot[i]);
        if (!child || hi < first || lo > last) {
            continue;
        }
        if (n->shift == 0) {
            struct page *p = child;
            store_seq(&p->mapping, NULL); // pairs with the installers' load under a table lock
            list_add_tail(out, &p->list);
            store_relaxed(&m->nr_pages, load_relaxed(&m->nr_pages) - 1);
            pagecache_count(-1);
        } else if (!pc_remove_below(m, child, lo, first, last, out)) {
            continue;
        }
        store_relaxed(&n->slot[i], NULL);
        n->nr_used--;
        if (n->shift > 0) {
            pc_node_retire(child);
        }
    }
    return n->nr_used == 0;
}

void pc_remove_locked(struct mapping *m, u64 first, u64 last, struct list *out)
{
    struct pc_node *n = load_relaxed(&m->root);
    if (n && pc_remove_below(m, n, 0, first, last, out)) {
        store_relaxed(&m->root, NULL);
        pc_node_retire(n);
    }
}
