// Physical pages. struct page describes one frame; which part of the union is alive follows from
// what the page is used for. Lock letters: a atomic, T the page-table page's own lock, C the
// mapping's lock (RANK_MAPPING), A the allocator.
#ifndef PAGE_H
#define PAGE_H

#include <arch/mmu.h>
#include <k/atomic.h>
#include <k/list.h>
#include <k/lock.h>
#include <k/percpu.h>
#include <k/rcu.h>
#include <k/types.h>
#include <san.h>
#include <slab.h>

struct mapping;

enum page_flag {
    PG_UPTODATE = 1u << 0, // contents are valid (file pages)
    PG_DIRTY = 1u << 1,    // written since it was last clean
    PG_RESERVED = 1u << 2, // never given out: firmware, kernel image, holes
    PG_FILE = 1u << 3,     // owned by a page cache: PTEs hold no reference (invariant 8)
    PG_TABLE = 1u << 4,    // a page-table page
    PG_SLAB = 1u << 5,
    PG_BUDDY = 1u << 6,  // free, first page of its block
    PG_LOCKED = 1u << 7, // being read in
    PG_SHARED = 1u << 8, // anonymous: a fork gave it to others as well; no entry is writable
    // DEBUG=1 only, the allocator's own:
    PG_FREE = 1u << 9,      // every page that is free, wherever it waits
    PG_POISONED = 1u << 10, // free, and its bytes are PAGE_POISON
    PG_RCU = 1u << 11,      // page_free_rcu was called
};

// What a page-table page has been through.
enum table_state {
    PT_DETACHED = 1, // unlinked from its parent; final
    PT_FORKING = 2, // a fork has yet to copy it: its entries may not be written through nor changed
                    // to allow it (mm/fork.c). Leaf tables only.
    PT_COPIES = 4,  // has held private copies of a file's pages; final. Leaf tables only.
};

#define PAGE_POISON 0x6b

struct page {
    atomic_uint flags; // [a] enum page_flag
    atomic_int ref;    // [a] anonymous: PTEs + pins; file: 1 for the cache + pins; 0: free
    union {
        struct {                               // file page, PG_FILE
            _Atomic(struct mapping *) mapping; // [a] NULL once truncated; decisive under a PT lock
            u64 index;                         // [C] page number in the file
        };
        struct {                 // page-table page, PG_TABLE
            struct spinlock ptl; // protects its entries, nr_used, state
            u16 nr_used;         // [T] entries that are not empty
            u8 level;            // 0 is the leaf level; fixed
            atomic_uchar state;  // [T to write] enum table_state
        };
        struct { // PG_SLAB
            void *slab_cache;
            void *slab_free;
        };
        struct { // PG_BUDDY or the head of a block given out
            u64 order;
        };
    };
    struct list list;    // [A] buddy lists; otherwise the owner's
    struct rcu_head rcu; // page_free_rcu; apart, as lockless readers still read all of the above
    union {
        u64 private; // the owner's
        struct {     // PG_SLAB, the first page of a slab
            u32 slab_used, slab_total;
        };
        struct page *fork_leaf; // [T] leaf table, PT_FORKING: the child's; NULL: nothing to copy
    };
};
_Static_assert(sizeof(struct page) == CACHE_LINE, "one page, one line: neighbours never share");

extern struct page *page_map; // by pfn
extern pfn_t page_map_end;    // one past the last pfn that has a struct page

static inline struct page *pfn_to_page(pfn_t pfn)
{
    return &page_map[pfn];
}
static inline pfn_t page_to_pfn(const struct page *p)
{
    return (pfn_t)(p - page_map);
}
static inline paddr_t page_to_phys(const struct page *p)
{
    return page_to_pfn(p) << PAGE_SHIFT;
}

// The direct map: where a page's bytes are for the kernel, and back.
static inline void *page_addr(const struct page *p)
{
    return phys_to_virt(page_to_phys(p));
}
static inline struct page *virt_to_page(const void *addr)
{
    return pfn_to_page(virt_to_phys(addr) >> PAGE_SHIFT);
}

// One page: reference 1, flags 0, contents undefined unless GFP_ZERO, and so are the other fields
// (a page-table owner must spin_init ptl, a file owner set mapping). NULL when there is none.
// GFP_KERNEL collects from every CPU's list and from RCU before it gives up, so it may sleep.
struct page *page_alloc_site(enum gfp gfp, const char *site);
#define page_alloc(gfp) page_alloc_site((gfp), __func__)

// 2^order pages, naturally aligned, head's ref 1, order <= PAGE_MAX_ORDER. Free with
// page_free_order. The head keeps its order in `order` until the owner uses the union.
#define PAGE_MAX_ORDER 10
struct page *page_alloc_order_site(unsigned order, enum gfp gfp, const char *site);
#define page_alloc_order(order, gfp) page_alloc_order_site((order), (gfp), __func__)
void page_free_order(struct page *p, unsigned order);

// This CPU's order-0 pages. Only its own CPU touches the list, in thread context; the kernel is not
// preempted, so there is nothing to lock. The two atomics are for the looks of others.
#define PAGE_LIST_MAX 256
struct page_cpu {
    atomic_uint count; // written by its CPU alone; page_nr_free reads it
    struct page *slot[PAGE_LIST_MAX];
};
DECLARE_PER_CPU(struct page_cpu, page_cpu);

#if CONFIG_DEBUG
void page_check_take(struct page *p);
#endif

// Take a page from this CPU's list alone: no lock, no shared line; NULL when the list is empty,
// then call page_refill outside any RCU section and look again. As page_alloc without GFP_ZERO
// otherwise. Fault injection sees it in a DEBUG=1 kernel only, as site "page_take_local".
static inline struct page *page_take_local(void)
{
    struct page_cpu *c = &this_cpu(page_cpu);
    unsigned n = load_relaxed(&c->count);

    if (unlikely(n == 0)) {
        return NULL;
    }
#if CONFIG_DEBUG
    if (inject_should_fail("page_take_local")) {
        return NULL;
    }
#endif
    struct page *p = c->slot[n - 1];
    store_relaxed(&c->count, n - 1);
    kasan_unpoison(page_addr(p), PAGE_SIZE);
#if CONFIG_DEBUG
    page_check_take(p);
#endif
    store_relaxed(&p->ref, 1);
    return p;
}

// Make this CPU's list non-empty, by one batch if it can. 0 or -ENOMEM. May sleep, and so return on
// another CPU: look again in a loop.
int page_refill(void);

// Give a page back to this CPU's list, drained in batches. ref must be 0 or 1 and nobody else may
// hold it. No RCU delay: for pages no lockless reader can reach.
void page_free(struct page *p);

// The same after a grace period.
void page_free_rcu(struct page *p);

static inline void page_get(struct page *p)
{
    fetch_add_relaxed(&p->ref, 1);
}
// Take a reference unless it is 0 already (the page is being freed). Under RCU; look again after.
bool page_tryget(struct page *p);
// Drop a reference; the last one frees the page by RCU (file) or at once (anonymous).
void page_put(struct page *p);

// Zero, copy the contents.
static inline void page_clear(struct page *p)
{
    kasan_check(page_addr(p), PAGE_SIZE, true);
    mem_clear_page(page_addr(p));
}
static inline void page_copy(struct page *dst, const struct page *src)
{
    kasan_check(page_addr(src), PAGE_SIZE, false);
    kasan_check(page_addr(dst), PAGE_SIZE, true);
    mem_copy_page(page_addr(dst), page_addr(src));
}

// Before page_init: memory for early page tables and per-CPU areas, never given back, zeroed.
// From the start of the largest free range, below 4 GiB if it can. Uses bootinfo and phys_to_virt,
// no lock and no per-CPU data; boot CPU only, bootinfo.reserved complete. Panics when there is
// none. align: a power of two.
paddr_t boot_alloc(size_t size, size_t align);

// Boot CPU, once, with its per-CPU area in place: builds page_map for all RAM that bootinfo lists
// and gives the allocator what is neither reserved nor taken by boot_alloc.
void page_init(void);
// Give RAM that was kept back (the unpacked initramfs) to the allocator: whole pages of [start,
// end) that are still reserved. The caller vouches that nobody uses them.
void page_add_range(paddr_t start, paddr_t end);
u64 page_nr_free(void);  // pages free now, per-CPU lists included; exact when the machine is quiet
u64 page_nr_total(void); // pages the allocator was given

// Return every online CPU's page list, slab magazines, reserves (kmem_cache_on_drain) and empty
// slabs to the buddy allocator, those of idle CPUs and of CPUs in user mode too: each is
// interrupted and does it at its next safe point. Returns when all have (mm/drain.c). What waits
// for RCU is another matter: rcu_barrier first. Sleeps.
void page_drain_all(void);

// The scheduler's safe points call this when WORK_DRAIN is set: no lock, no RCU section.
void page_drain_answer(void);
// Give back what this CPU keeps. Thread context, no lock held.
void page_drain_this_cpu(void);

#endif
