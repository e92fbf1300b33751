// Pages: per-CPU lists in front of the buddy allocator, references, and what happens when memory
// runs out.
//
// Problem: an anonymous fault wants one page and may neither take a lock nor write a line that
// other CPUs write; yet memory freed on one CPU must be usable on another.
//
// Idea: each CPU owns a stack of free pages, an array so that pushing and popping touch only the
// array and the page itself. Empty: refill by a batch; full: give the oldest batch back (the newest
// pages are still in this CPU's cache). The buddy lock is touched once a batch.
//
// States of a page:
//
//      reserved --page_add_range--> buddy --refill--> listed --take--> in use
//                                     ^                  |  ^             |
//                                     +------drain-------+  +--page_free--+
//                                                           +-- (RCU) <---+ page_free_rcu
//
// Why no lock: a list is used by its own CPU only, in thread context; the kernel is not preempted
// and interrupt handlers do not allocate. Nothing between reading `count` and storing it may sleep.
// Others read `count` for page_nr_free, hence the relaxed atomics (plain moves on every CPU).
//
// Who may still look at a page that is being freed: page_free_rcu keeps flags, mapping, ptl and the
// rest readable for the grace period by queueing through a field of its own. page_tryget cannot
// revive a page: it never moves ref from 0, and ref is 0 from the last page_put until the next
// owner's plain store of 1.
//
// Out of memory: GFP_KERNEL waits for the callbacks RCU holds back, has every CPU give back what it
// keeps (mm/drain.c), and tries again.
//
// DEBUG=1: PG_FREE on every free page finds double and wild frees; freed bytes are PAGE_POISON and
// checked when the page goes out again, which finds writes after free.
#include <k/assert.h>
#include <k/errno.h>
#include <k/printk.h>
#include <k/string.h>
#include <san.h>
#include "page_priv.h"

#define RECLAIM_TRIES 4

struct page *page_map;
pfn_t page_map_end;
DEFINE_PER_CPU(struct page_cpu, page_cpu);

// Written at boot only.
static struct {
    unsigned batch, high;
    atomic_ulong nr_total;
} cache_aligned page_tune = {.batch = 1, .high = 4};

#if CONFIG_DEBUG

#define FLAGS_FREED (PG_FREE | PG_POISONED)

static void page_panic(const struct page *p, const char *what)
{
    panic("page: %s: page %p pfn %lx flags %x ref %d mapping %p order %lu private %lx", what,
          (const void *)p, (unsigned long)page_to_pfn(p), load_relaxed(&p->flags),
          load_relaxed(&p->ref), (void *)load_relaxed(&p->mapping), (unsigned long)p->order,
          (unsigned long)p->private);
}

// The block is about to be free: catch the free that should not be, then poison it.
static void page_check_free(struct page *p, unsigned order)
{
    if (p < page_map || p >= page_map + page_map_end ||
        ((uintptr_t)p - (uintptr_t)page_map) % sizeof(*p) != 0) {
        panic("page: free of %p, which is no struct page", (void *)p);
    }
    for (unsigned i = 0; i < 1u << order; i++) {
        unsigned flags = load_relaxed(&p[i].flags);
        if (flags & (PG_FREE | PG_BUDDY)) {
            page_panic(p + i, "double free");
        }
        if (flags & (PG_RESERVED | PG_SLAB)) {
            page_panic(p + i, "free of a reserved or slab page");
        }
        if (load_relaxed(&p[i].ref) > 1 || load_relaxed(&p[i].ref) < 0) {
            page_panic(p + i, "free of a page that others hold");
        }
        kasan_unpoison(page_addr(p + i), PAGE_SIZE); // the end of a kmalloc block
        memset(page_addr(p + i), PAGE_POISON, PAGE_SIZE);
    }
}

void page_check_take(struct page *p)
{
    unsigned flags = load_relaxed(&p->flags);

    if (!(flags & PG_FREE) || (flags & ~FLAGS_FREED) || load_relaxed(&p->ref) != 0) {
        page_panic(p, "not free, but on a free list");
    }
    if (flags & PG_POISONED) {
        const u64 *w = page_addr(p);
        for (unsigned i = 0; i < PAGE_SIZE / sizeof(*w); i++) {
            if (w[i] != 0x0101010101010101ull * PAGE_POISON) {
                printk("page: offset %lx holds %lx\n", i * sizeof(*w), (unsigned long)w[i]);
                page_panic(p, "written after it was freed");
            }
        }
    }
    store_relaxed(&p->flags, 0);
}

#else

#define FLAGS_FREED 0

static void page_check_free(struct page *p, unsigned order)
{
    (void)p;
    (void)order;
}

static void page_check_take(struct page *p)
{
    (void)p;
}

#endif

// --- This CPU's list ----------------------------------------------------------------------------

static void list_drain(struct page_cpu *c, unsigned nr)
{
    unsigned count = load_relaxed(&c->count);

    nr = min(nr, count);
    if (nr == 0) {
        return;
    }
    buddy_give_pages(c->slot, nr);
    memmove(c->slot, c->slot + nr, (count - nr) * sizeof(c->slot[0]));
    store_relaxed(&c->count, count - nr);
}

static bool list_refill(void)
{
    struct page_cpu *c = &this_cpu(page_cpu);
    unsigned count = load_relaxed(&c->count);
    unsigned room = PAGE_LIST_MAX - count;

    count += buddy_take_pages(c->slot + count, min(page_tune.batch, room));
    store_relaxed(&c->count, count);
    return count > 0;
}

static void list_push(struct page *p)
{
    struct page_cpu *c = &this_cpu(page_cpu);

    if (unlikely(load_relaxed(&c->count) >= page_tune.high)) {
        list_drain(c, page_tune.batch);
    }
    unsigned count = load_relaxed(&c->count);
    c->slot[count] = p;
    store_relaxed(&c->count, count + 1);
}

void page_drain_this_cpu(void)
{
    slab_drain_local();
    list_drain(&this_cpu(page_cpu), PAGE_LIST_MAX);
}

// --- Allocation ---------------------------------------------------------------------------------

// Collect what is free but not in the buddy's hands. Sleeps; may return on another CPU.
static void page_reclaim(void)
{
    rcu_barrier();
    page_drain_all();
}

int page_refill(void)
{
    if (inject_should_fail(__func__)) {
        return -ENOMEM;
    }
    for (unsigned tries = 0; load_relaxed(&this_cpu(page_cpu).count) == 0; tries++) {
        if (list_refill()) {
            break;
        }
        if (tries == RECLAIM_TRIES) {
            return -ENOMEM;
        }
        page_reclaim();
    }
    return 0;
}

// The same as page_take_local, but not an injection site.
static struct page *list_pop(void)
{
    struct page_cpu *c = &this_cpu(page_cpu);
    unsigned n = load_relaxed(&c->count);

    if (unlikely(n == 0)) {
        return NULL;
    }
    struct page *p = c->slot[n - 1];
    store_relaxed(&c->count, n - 1);
    kasan_unpoison(page_addr(p), PAGE_SIZE);
    page_check_take(p);
    store_relaxed(&p->ref, 1);
    return p;
}

static struct page *page_take(enum gfp gfp)
{
    struct page *p = list_pop();

    for (unsigned tries = 0; unlikely(!p); tries++) {
        if (!list_refill()) {
            if (!(gfp & GFP_KERNEL) || tries == RECLAIM_TRIES) {
                return NULL;
            }
            page_reclaim();
        }
        p = list_pop();
    }
    return p;
}

static struct page *block_take(unsigned order, enum gfp gfp)
{
    struct page *p = buddy_take_block(order);

    for (unsigned tries = 0; unlikely(!p); tries++) {
        if (!(gfp & GFP_KERNEL) || tries == RECLAIM_TRIES) {
            return NULL;
        }
        page_reclaim();
        p = buddy_take_block(order);
    }
    kasan_unpoison(page_addr(p), PAGE_SIZE << order);
    for (unsigned i = 0; i < 1u << order; i++) {
        page_check_take(p + i);
    }
    store_relaxed(&p->ref, 1);
    return p;
}

struct page *page_alloc_site(enum gfp gfp, const char *site)
{
    if (inject_should_fail(site)) {
        return NULL;
    }
    struct page *p = page_take(gfp);
    if (p && (gfp & GFP_ZERO)) {
        page_clear(p);
    }
    return p;
}

struct page *page_alloc_order_site(unsigned order, enum gfp gfp, const char *site)
{
    if (order > PAGE_MAX_ORDER || inject_should_fail(site)) {
        return NULL;
    }
    struct page *p = order == 0 ? page_take(gfp) : block_take(order, gfp);
    if (!p) {
        return NULL;
    }
    p->order = order;
    for (unsigned i = 0; (gfp & GFP_ZERO) && i < 1u << order; i++) {
        page_clear(p + i);
    }
    return p;
}

// --- Freeing and references ---------------------------------------------------------------------

void page_free(struct page *p)
{
    page_check_free(p, 0);
    kasan_check_free(page_addr(p), PAGE_SIZE);
    kasan_poison(page_addr(p), PAGE_SIZE, KASAN_PAGE_FREED);
    store_relaxed(&p->flags, FLAGS_FREED);
    store_relaxed(&p->ref, 0);
    list_push(p);
}

void page_free_order(struct page *p, unsigned order)
{
    if (order == 0) {
        page_free(p);
        return;
    }
    page_check_free(p, order);
    kasan_check_free(page_addr(p), PAGE_SIZE << order);
    kasan_poison(page_addr(p), PAGE_SIZE << order, KASAN_PAGE_FREED);
    for (unsigned i = 0; i < 1u << order; i++) {
        store_relaxed(&p[i].flags, FLAGS_FREED);
        store_relaxed(&p[i].ref, 0);
    }
    buddy_give_block(p, order);
}

static void page_free_rcu_done(struct rcu_head *head)
{
    page_free(container_of(head, struct page, rcu));
}

void page_free_rcu(struct page *p)
{
#if CONFIG_DEBUG
    if (atomic_fetch_or_explicit(&p->flags, PG_RCU, memory_order_relaxed) & (PG_RCU | PG_FREE)) {
        page_panic(p, "double free by RCU");
    }
#endif
    call_rcu(&p->rcu, page_free_rcu_done);
}

bool page_tryget(struct page *p)
{
    int ref = load_relaxed(&p->ref);

    while (ref > 0) {
        // Acquire: what the caller looks at again is no older than the reference. Pairs with the
        // release in page_put and with the publication of the page.
        if (atomic_compare_exchange_weak_explicit(&p->ref, &ref, ref + 1, memory_order_acquire,
                                                  memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

void page_put(struct page *p)
{
    // Release and acquire in one: the last to let go sees what all before did; pairs with itself.
    int ref = fetch_add_seq(&p->ref, -1);

    debug_assert(ref > 0);
    if (ref != 1) {
        return;
    }
    if (load_relaxed(&p->flags) & PG_FILE) {
        page_free_rcu(p);
    } else {
        page_free(p);
    }
}

// --- Boot and counts ----------------------------------------------------------------------------

// Lists stay a small part of a small machine: 1/256 of it a CPU, as batches of a quarter of that.
static void page_tune_lists(void)
{
    u64 high = page_nr_total() / 256;

    page_tune.high = (unsigned)min(max(high, (u64)16), (u64)PAGE_LIST_MAX);
    page_tune.batch = page_tune.high / 4;
}

// Pages [pfn, end), all PG_RESERVED, to the buddy allocator in the largest aligned blocks.
static void page_give_pfns(pfn_t pfn, pfn_t end)
{
    atomic_fetch_add_explicit(&page_tune.nr_total, end - pfn, memory_order_relaxed);
    while (pfn < end) {
        unsigned order = min((unsigned)__builtin_ctzl(pfn | 1ul << PAGE_MAX_ORDER),
                             63u - (unsigned)__builtin_clzl(end - pfn));
        struct page *p = pfn_to_page(pfn);
        for (unsigned i = 0; i < 1u << order; i++) {
            store_relaxed(&p[i].flags, FLAGS_FREED & PG_FREE);
        }
        kasan_poison(page_addr(p), PAGE_SIZE << order, KASAN_PAGE_FREED);
        buddy_give_block(p, order);
        pfn += 1ul << order;
    }
}

void page_add_range(paddr_t start, paddr_t end)
{
    pfn_t pfn = page_align_up(start) >> PAGE_SHIFT;
    pfn_t stop = min(end >> PAGE_SHIFT, page_map_end);

    while (pfn < stop) {
        pfn_t run = pfn;
        while (run < stop && (load_relaxed(&pfn_to_page(run)->flags) & PG_RESERVED)) {
            run++;
        }
        if (run > pfn) {
            page_give_pfns(pfn, run);
        }
        pfn = run + 1;
    }
}

void page_init(void)
{
    page_map_end = boot_mem_end() >> PAGE_SHIFT;
    page_map = phys_to_virt(boot_alloc(page_map_end * sizeof(struct page), CACHE_LINE));
    for (pfn_t pfn = 0; pfn < page_map_end; pfn++) {
        store_relaxed(&page_map[pfn].flags, PG_RESERVED);
    }
    buddy_init();
    boot_mem_release(page_add_range);
    page_tune_lists();
}

u64 page_nr_free(void)
{
    u64 nr = buddy_nr_free();

    for (unsigned cpu = 0; cpu < percpu_nr; cpu++) {
        nr += load_relaxed(&per_cpu(page_cpu, cpu).count);
    }
    return nr;
}

u64 page_nr_total(void)
{
    return load_relaxed(&page_tune.nr_total);
}
