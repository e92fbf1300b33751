// The buddy allocator: free memory as naturally aligned blocks of 2^order pages.
//
// Problem: the per-CPU lists (page.c) and users of larger blocks need a common store that does not
// fall into small pieces.
//
// Idea: one list per order. To serve a smaller order, halve a block and put the upper half on its
// own list; when a block comes back and its buddy (the other half of the block they once were, at
// pfn ^ (1 << order)) is free too, join them and look again one order up.
//
// States of a page: in a free block (its first page has PG_BUDDY, `order` and is on a list; the
// others are unmarked), or out (no PG_BUDDY in its block). buddy.lock [RANK_PAGE] protects lists,
// counts, and every change of PG_BUDDY. A page that is out belongs to its owner, who may change its
// other flags at any time; so we read a buddy's flags with an atomic load, and trust `order` only
// after seeing PG_BUDDY, which cannot change while we hold the lock.
//
// Batches: a CPU asks for up to 64 single pages at once. The smallest non-empty order serves first,
// whole blocks at a time, so that crumbs are used up before a large block is broken, and a large
// block costs one halving per order and not one per page.
//
// Rejected: a lock per order (a join needs several), a bitmap per order (the flag is in a line the
// join touches anyway).
#include <k/assert.h>
#include "page_priv.h"

#define NR_ORDERS (PAGE_MAX_ORDER + 1)

static struct {
    struct spinlock lock;        // [RANK_PAGE]
    unsigned nonempty;           // bit o: free[o] is not empty
    u64 nr_free;                 // pages in all lists
    struct list free[NR_ORDERS]; // of struct page, first page of each block
} cache_aligned buddy = {.lock = SPINLOCK_INIT(RANK_PAGE)};

void buddy_init(void)
{
    for (unsigned o = 0; o < NR_ORDERS; o++) {
        list_init(&buddy.free[o]);
    }
}

static void flags_change(struct page *p, unsigned set, unsigned clear)
{
    // The page is ours alone: no read-modify-write needed.
    store_relaxed(&p->flags, (load_relaxed(&p->flags) & ~clear) | set);
}

static void block_push_locked(struct page *p, unsigned order)
{
    p->order = order;
    flags_change(p, PG_BUDDY, 0);
    list_add_head(&buddy.free[order], &p->list);
    buddy.nonempty |= 1u << order;
}

static void block_remove_locked(struct page *p, unsigned order)
{
    list_del(&p->list);
    flags_change(p, 0, PG_BUDDY);
    if (list_empty(&buddy.free[order])) {
        buddy.nonempty &= ~(1u << order);
    }
}

// A block of exactly `order` out of the lists, halving the smallest larger one if need be.
static struct page *block_take_locked(unsigned order)
{
    unsigned fits = buddy.nonempty >> order << order;

    if (!fits) {
        return NULL;
    }
    unsigned have = (unsigned)__builtin_ctz(fits);
    struct page *p = list_first(&buddy.free[have], struct page, list);
    block_remove_locked(p, have);
    while (have > order) {
        have--;
        block_push_locked(p + (1ul << have), have);
    }
    buddy.nr_free -= 1ul << order;
    return p;
}

static bool block_is_free_locked(pfn_t pfn, unsigned order)
{
    if (pfn >= page_map_end) {
        return false;
    }
    struct page *p = pfn_to_page(pfn);
    return (load_relaxed(&p->flags) & PG_BUDDY) && p->order == order;
}

static void block_give_locked(struct page *p, unsigned order)
{
    pfn_t pfn = page_to_pfn(p);

    buddy.nr_free += 1ul << order;
    while (order < PAGE_MAX_ORDER && block_is_free_locked(pfn ^ (1ul << order), order)) {
        block_remove_locked(pfn_to_page(pfn ^ (1ul << order)), order);
        pfn &= ~(1ul << order);
        order++;
    }
    block_push_locked(pfn_to_page(pfn), order);
}

unsigned buddy_take_pages(struct page **out, unsigned want)
{
    unsigned got = 0;

    spin_lock(&buddy.lock);
    while (got < want && buddy.nonempty) {
        unsigned order = (unsigned)__builtin_ctz(buddy.nonempty);
        while ((1u << order) > want - got) {
            order--;
        }
        struct page *p = block_take_locked(order);
        for (unsigned i = 0; i < 1u << order; i++) {
            out[got++] = p + i;
        }
    }
    spin_unlock(&buddy.lock);
    return got;
}

struct page *buddy_take_block(unsigned order)
{
    spin_lock(&buddy.lock);
    struct page *p = block_take_locked(order);
    spin_unlock(&buddy.lock);
    return p;
}

void buddy_give_pages(struct page *const *pages, unsigned nr)
{
    spin_lock(&buddy.lock);
    for (unsigned i = 0; i < nr; i++) {
        block_give_locked(pages[i], 0);
    }
    spin_unlock(&buddy.lock);
}

void buddy_give_block(struct page *p, unsigned order)
{
    debug_assert((page_to_pfn(p) & ((1ul << order) - 1)) == 0);
    spin_lock(&buddy.lock);
    block_give_locked(p, order);
    spin_unlock(&buddy.lock);
}

u64 buddy_nr_free(void)
{
    spin_lock(&buddy.lock);
    u64 nr = buddy.nr_free;
    spin_unlock(&buddy.lock);
    return nr;
}
