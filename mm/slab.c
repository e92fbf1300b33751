// Small objects.
//
// Problem: objects of a few sizes, allocated and freed on every CPU at once, without a shared line
// on the common path.
//
// Idea, three layers, each touched once per batch of the one above:
//
//      CPU:    loaded and spare magazine (stacks of free objects)     no lock
//      cache:  depot of full and of empty magazines                   cache->lock
//              slabs with free objects (`partial`)                    cache->lock
//      below:  the page allocator
//
// A magazine moves between a CPU and the depot as a whole. A CPU swaps loaded and spare before it
// goes to the depot, so a sequence of allocations and frees around a boundary stays local.
//
// A slab is 2^order pages cut into objects; free ones are linked through their first word. Each of
// its pages has PG_SLAB and slab_cache, the first also the free list and the counts, so the slab of
// an object is found from its address. States: full (on no list), partial, empty (partial, none in
// use; one is kept, more are given back).
//
// A CPU that has no magazine yet points at `no_magazine`, whose capacity is 0: it is empty and full
// at once, so the fast paths need no test for it. Magazines are allocated without sleeping on the
// way; when there is no memory for one, single objects go to and from the slabs directly. The cache
// of magazines itself works that way always (its `mag_slots` is 0), which ends the recursion.
//
// Locks: cache->lock [RANK_SLAB]; freeing a slab nests the page allocator's inside. Magazines are
// allocated and freed outside it (they come from a cache of the same rank). A CPU's slab_cpu is
// used by its own CPU only, in thread context. Nothing on the way sleeps but slab_grow with
// GFP_KERNEL, after which everything is looked up again: the thread may have moved.
//
// DEBUG=1: freed objects are filled with SLAB_POISON and each object ends with a word that says
// whether it is live; that finds writes after free (when the object goes out again), double frees,
// foreign frees and writes just behind an object.
#include <k/assert.h>
#include <k/errno.h>
#include <k/lock.h>
#include <k/percpu.h>
#include <k/printk.h>
#include <k/string.h>
#include <page.h>
#include <san.h>
#include "slab_priv.h"

#define MAX_CACHES     64
#define MAG_SLOTS      30   // a magazine is 256 bytes
#define MAG_BYTES      8192 // ... but does not hold more than this
#define DEPOT_FULL_MAX 8
#define SLAB_MAX_ORDER 3

#define SLAB_POISON 0x6b
#define SLAB_LIVE   0x51ab11fe51ab11feull
#define SLAB_DEAD   0x51abdead51abdeadull

struct magazine {
    struct magazine *next; // in a depot
    u32 nr, cap;
    void *obj[MAG_SLOTS];
};

struct kmem_cache {
    const char *name;         // [I]
    size_t size;              // [I] what the user asked for
    u32 stride;               // [I] distance of two objects
    u16 order, mag_slots, id; // [I]
    void (*give_back)(void);  // [I] or NULL: see kmem_cache_on_drain
    struct spinlock lock;     // [RANK_SLAB] all below
    struct list partial;      // slabs with a free object, those without any in use at the tail
    unsigned nr_empty;        // slabs with none in use
    struct magazine *full, *empty;
    unsigned nr_full;
} cache_aligned;

struct slab_cpu {
    struct magazine *loaded, *spare;
    atomic_long nr_used; // this CPU's allocations less its frees: only the sum means something
};

static struct magazine no_magazine;
static struct kmem_cache caches[MAX_CACHES];
static unsigned nr_caches;
static struct kmem_cache *mag_cache;

static DEFINE_PER_CPU(struct slab_cpu, slab_cpu[MAX_CACHES]) = {
    [0 ... MAX_CACHES - 1] = {.loaded = &no_magazine, .spare = &no_magazine},
};

// Pages in slabs: what this CPU has taken less what it has given back.
static DEFINE_PER_CPU(atomic_long, slab_pages);

static void count_slab_pages(long n)
{
    atomic_long *nr = &this_cpu(slab_pages);
    store_relaxed(nr, load_relaxed(nr) + n);
}

static struct slab_cpu *cache_cpu(struct kmem_cache *c)
{
    return &this_cpu(slab_cpu)[c->id];
}

static void cpu_count(struct slab_cpu *k, long n)
{
    store_relaxed(&k->nr_used, load_relaxed(&k->nr_used) + n);
}

// --- DEBUG checks -------------------------------------------------------------------------------

#if CONFIG_DEBUG

#define OBJECT_TAIL (sizeof(u64) + KASAN_GAP)

static u64 *object_tail(struct kmem_cache *c, void *obj)
{
    return (u64 *)((char *)obj + c->stride - OBJECT_TAIL);
}

static void object_panic(struct kmem_cache *c, void *obj, const char *what)
{
    panic("slab %s: %s: object %p of %zu bytes, tail %lx, first word %lx", c->name, what, obj,
          c->size, (unsigned long)*object_tail(c, obj), *(unsigned long *)obj);
}

static void object_init(struct kmem_cache *c, void *obj)
{
    memset(obj, SLAB_POISON, c->stride - OBJECT_TAIL);
    *object_tail(c, obj) = SLAB_DEAD;
}

static void object_check_alloc(struct kmem_cache *c, void *obj)
{
    const unsigned char *b = obj;

    if (*object_tail(c, obj) != SLAB_DEAD) {
        object_panic(c, obj, "free object overwritten");
    }
    // The first word linked the free object in its slab.
    for (size_t i = sizeof(void *); i < c->stride - OBJECT_TAIL; i++) {
        if (b[i] != SLAB_POISON) {
            object_panic(c, obj, "written after it was freed");
        }
    }
    *object_tail(c, obj) = SLAB_LIVE;
}

static void object_check_free(struct kmem_cache *c, void *obj)
{
    struct page *p = virt_to_page(obj);

    if (!(load_relaxed(&p->flags) & PG_SLAB) || p->slab_cache != c) {
        panic("slab %s: %p is not of this cache", c->name, obj);
    }
    uintptr_t slab = (uintptr_t)obj & ~((PAGE_SIZE << c->order) - 1);
    if (((uintptr_t)obj - slab) % c->stride != 0) {
        panic("slab %s: %p is not the start of an object", c->name, obj);
    }
    if (*object_tail(c, obj) != SLAB_LIVE) {
        object_panic(c, obj, *object_tail(c, obj) == SLAB_DEAD ? "double free" : "overrun");
    }
    object_init(c, obj);
}

#else

#define OBJECT_TAIL KASAN_GAP

static void object_init(struct kmem_cache *c, void *obj)
{
    (void)c;
    (void)obj;
}
static void object_check_alloc(struct kmem_cache *c, void *obj)
{
    (void)c;
    (void)obj;
}
static void object_check_free(struct kmem_cache *c, void *obj)
{
    (void)c;
    (void)obj;
}

#endif

// --- Slabs --------------------------------------------------------------------------------------

static struct page *slab_of(struct kmem_cache *c, void *obj)
{
    return pfn_to_page(align_down(page_to_pfn(virt_to_page(obj)), 1ul << c->order));
}

no_kasan static void slab_link(struct page *slab, void *obj)
{
    *(void **)obj = slab->slab_free;
    slab->slab_free = obj;
}

// Add a fresh slab to c. May sleep with GFP_KERNEL. 0 or -ENOMEM.
static int slab_grow(struct kmem_cache *c, enum gfp gfp)
{
    struct page *slab = page_alloc_order_site(c->order, gfp & GFP_KERNEL, NULL);

    if (!slab) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < 1u << c->order; i++) {
        slab[i].slab_cache = c;
        store_relaxed(&slab[i].flags, PG_SLAB);
    }
    count_slab_pages(1l << c->order);
    slab->slab_free = NULL;
    slab->slab_used = 0;
    slab->slab_total = (u32)((PAGE_SIZE << c->order) / c->stride);
    for (u32 i = slab->slab_total; i > 0; i--) {
        void *obj = (char *)page_addr(slab) + (size_t)(i - 1) * c->stride;
        object_init(c, obj);
        slab_link(slab, obj);
    }
    kasan_poison(page_addr(slab), PAGE_SIZE << c->order, KASAN_OBJECT_FREED);
    spin_lock(&c->lock);
    list_add_tail(&c->partial, &slab->list);
    c->nr_empty++;
    spin_unlock(&c->lock);
    return 0;
}

no_kasan static void *slab_take_locked(struct kmem_cache *c)
{
    struct page *slab = list_first(&c->partial, struct page, list);

    if (!slab) {
        return NULL;
    }
    void *obj = slab->slab_free;
    slab->slab_free = *(void **)obj;
    if (slab->slab_used++ == 0) {
        c->nr_empty--;
    }
    if (!slab->slab_free) {
        list_del(&slab->list);
    }
    return obj;
}

static void slab_release_locked(struct kmem_cache *c, struct page *slab)
{
    list_del(&slab->list);
    c->nr_empty--;
    for (unsigned i = 0; i < 1u << c->order; i++) {
        store_relaxed(&slab[i].flags, 0);
    }
    count_slab_pages(-(1l << c->order));
    kasan_unpoison(page_addr(slab), PAGE_SIZE << c->order);
    page_free_order(slab, c->order);
}

static void slab_give_locked(struct kmem_cache *c, void *obj)
{
    struct page *slab = slab_of(c, obj);

    if (!slab->slab_free) {
        list_add_head(&c->partial, &slab->list);
    }
    slab_link(slab, obj);
    if (--slab->slab_used > 0) {
        return;
    }
    c->nr_empty++;
    list_del(&slab->list);
    list_add_tail(&c->partial, &slab->list);
    if (c->nr_empty > 1) {
        slab_release_locked(c, slab);
    }
}

// --- Magazines ----------------------------------------------------------------------------------

static void *magazine_pop(struct slab_cpu *k)
{
    struct magazine *m = k->loaded;

    if (unlikely(m->nr == 0)) {
        if (k->spare->nr == 0) {
            return NULL;
        }
        k->loaded = k->spare;
        k->spare = m;
        m = k->loaded;
    }
    return m->obj[--m->nr];
}

static bool magazine_push(struct slab_cpu *k, void *obj)
{
    struct magazine *m = k->loaded;

    if (unlikely(m->nr == m->cap)) {
        if (k->spare->nr == k->spare->cap) {
            return false;
        }
        k->loaded = k->spare;
        k->spare = m;
        m = k->loaded;
    }
    m->obj[m->nr++] = obj;
    return true;
}

static void *cache_alloc(struct kmem_cache *c, enum gfp gfp);

// An empty magazine for c, or no_magazine when there is no memory. Never sleeps.
static struct magazine *magazine_new(struct kmem_cache *c)
{
    struct magazine *m = cache_alloc(mag_cache, GFP_NOWAIT);

    if (!m) {
        return &no_magazine;
    }
    m->nr = 0;
    m->cap = c->mag_slots;
    return m;
}

static void magazines_want(struct kmem_cache *c, struct slab_cpu *k)
{
    if (c->mag_slots == 0) {
        return;
    }
    if (k->loaded == &no_magazine) {
        k->loaded = magazine_new(c);
    }
    if (k->spare == &no_magazine) {
        k->spare = magazine_new(c);
    }
}

static void magazine_flush_locked(struct kmem_cache *c, struct magazine *m)
{
    while (m->nr > 0) {
        slab_give_locked(c, m->obj[--m->nr]);
    }
}

static struct magazine *depot_pop(struct magazine **head)
{
    struct magazine *m = *head;

    if (m) {
        *head = m->next;
    }
    return m;
}

static void depot_push(struct magazine **head, struct magazine *m)
{
    m->next = *head;
    *head = m;
}

// --- Allocation and freeing ---------------------------------------------------------------------

// Both magazines are empty: trade one for a full one, or fill it from the slabs.
static void *cpu_refill_locked(struct kmem_cache *c, struct slab_cpu *k)
{
    struct magazine *m = k->loaded;

    if (c->full) {
        if (m != &no_magazine) {
            depot_push(&c->empty, m);
        }
        k->loaded = depot_pop(&c->full);
        c->nr_full--;
        return magazine_pop(k);
    }
    void *obj = slab_take_locked(c);
    while (obj && m->nr < m->cap) {
        void *more = slab_take_locked(c);
        if (!more) {
            break;
        }
        m->obj[m->nr++] = more;
    }
    return obj;
}

static noinline void *cache_alloc_slow(struct kmem_cache *c, enum gfp gfp)
{
    void *obj;

    do {
        struct slab_cpu *k = cache_cpu(c);
        obj = magazine_pop(k); // after a sleep: another CPU, or others freed on this one
        if (obj) {
            break;
        }
        magazines_want(c, k);
        spin_lock(&c->lock);
        obj = cpu_refill_locked(c, k);
        spin_unlock(&c->lock);
    } while (!obj && slab_grow(c, gfp) == 0);
    return obj;
}

static void *cache_alloc(struct kmem_cache *c, enum gfp gfp)
{
    void *obj = magazine_pop(cache_cpu(c));

    if (unlikely(!obj)) {
        obj = cache_alloc_slow(c, gfp);
        if (!obj) {
            return NULL;
        }
    }
    cpu_count(cache_cpu(c), 1);
    kasan_unpoison(obj, c->stride);
    object_check_alloc(c, obj);
    kasan_shrink(obj, c->size, c->stride, KASAN_OBJECT_END);
    if (gfp & GFP_ZERO) {
        memset(obj, 0, c->size);
    }
    return obj;
}

// Both magazines are full: trade one for an empty one, or pour it into the slabs. False: the depot
// has room for a full one but no empty one to trade; not with `must`.
static bool cpu_spill_locked(struct kmem_cache *c, struct slab_cpu *k, void *obj, bool must)
{
    if (k->loaded == &no_magazine) {
        slab_give_locked(c, obj);
        return true;
    }
    if (c->empty && c->nr_full < DEPOT_FULL_MAX) {
        depot_push(&c->full, k->loaded);
        c->nr_full++;
        k->loaded = depot_pop(&c->empty);
    } else if (must || c->nr_full == DEPOT_FULL_MAX) {
        magazine_flush_locked(c, k->loaded);
    } else {
        return false;
    }
    magazine_push(k, obj);
    return true;
}

static noinline void cache_free_slow(struct kmem_cache *c, struct slab_cpu *k, void *obj)
{
    magazines_want(c, k);
    if (magazine_push(k, obj)) {
        return;
    }
    spin_lock(&c->lock);
    bool done = cpu_spill_locked(c, k, obj, false);
    spin_unlock(&c->lock);
    if (done) {
        return;
    }
    struct magazine *m = magazine_new(c);
    spin_lock(&c->lock);
    if (m != &no_magazine) {
        depot_push(&c->empty, m);
    }
    cpu_spill_locked(c, k, obj, true);
    spin_unlock(&c->lock);
}

// A free object, to this CPU's magazines.
static void cache_put(struct kmem_cache *c, struct slab_cpu *k, void *obj)
{
    if (unlikely(!magazine_push(k, obj))) {
        cache_free_slow(c, k, obj);
    }
}

static void cache_free(struct kmem_cache *c, void *obj)
{
    struct slab_cpu *k = cache_cpu(c);

    kasan_check_free(obj, c->stride);
    object_check_free(c, obj);
    kasan_poison(obj, c->stride, KASAN_OBJECT_FREED);
    cpu_count(k, -1);
    if (c != mag_cache && kasan_quarantine(&c, &obj)) {
        if (!obj) {
            return;
        }
        k = cache_cpu(c);
    }
    cache_put(c, k, obj);
}

void *kmem_cache_alloc_site(struct kmem_cache *c, enum gfp gfp, const char *site)
{
    if (inject_should_fail(site)) {
        return NULL;
    }
    return cache_alloc(c, gfp);
}

void kmem_cache_free(struct kmem_cache *c, void *obj)
{
    if (obj) {
        cache_free(c, obj);
    }
}

long kmem_cache_nr_used(struct kmem_cache *c)
{
    long nr = 0;

    for (unsigned cpu = 0; cpu < percpu_nr; cpu++) {
        nr += load_relaxed(&per_cpu(slab_cpu, cpu)[c->id].nr_used);
    }
    return nr;
}

long slab_nr_used(void)
{
    long nr = 0;

    for (unsigned i = 0; i < nr_caches; i++) {
        if (&caches[i] != mag_cache) {
            nr += kmem_cache_nr_used(&caches[i]);
        }
    }
    return nr;
}

size_t slab_text(char *buf, size_t size)
{
    size_t n = 0;

    for (unsigned i = 0; i < nr_caches && n < size; i++) {
        if (&caches[i] != mag_cache) {
            n += (size_t)snprintf(buf + n, size - n, "%s %ld\n", caches[i].name,
                                  kmem_cache_nr_used(&caches[i]));
        }
    }
    return min(n, size);
}

long slab_nr_pages(void)
{
    long nr = 0;

    for (unsigned cpu = 0; cpu < percpu_nr; cpu++) {
        nr += load_relaxed(&per_cpu(slab_pages, cpu));
    }
    return nr;
}

// --- Giving back --------------------------------------------------------------------------------

static void magazines_free(struct magazine *m)
{
    while (m) {
        struct magazine *next = m->next;
        cache_free(mag_cache, m);
        m = next;
    }
}

static void cache_drain(struct kmem_cache *c)
{
    struct slab_cpu *k = cache_cpu(c);
    struct magazine *mine[] = {k->loaded, k->spare}, *unused = NULL, *m;
    struct page *slab, *tmp;

    k->loaded = k->spare = &no_magazine;
    spin_lock(&c->lock);
    for (unsigned i = 0; i < array_size(mine); i++) {
        if (mine[i] != &no_magazine) {
            depot_push(&c->full, mine[i]);
        }
    }
    while ((m = depot_pop(&c->full)) != NULL) {
        magazine_flush_locked(c, m);
        depot_push(&unused, m);
    }
    while ((m = depot_pop(&c->empty)) != NULL) {
        depot_push(&unused, m);
    }
    c->nr_full = 0;
    list_for_each_entry_safe (slab, tmp, &c->partial, list) {
        if (slab->slab_used == 0) {
            slab_release_locked(c, slab);
        }
    }
    spin_unlock(&c->lock);
    magazines_free(unused);
}

void slab_drain_local(void)
{
    struct kmem_cache *c;
    void *obj;

    while (kasan_quarantine_pop(&c, &obj)) {
        cache_put(c, cache_cpu(c), obj);
    }
    for (unsigned i = 0; i < nr_caches; i++) {
        if (caches[i].give_back) {
            caches[i].give_back();
        }
    }
    for (unsigned i = nr_caches; i > 0; i--) { // the magazines' own cache, 0, comes last
        cache_drain(&caches[i - 1]);
    }
}

// --- Caches -------------------------------------------------------------------------------------

// The smallest slab that wastes at most an eighth.
static unsigned slab_order(size_t stride)
{
    unsigned order = 0;

    while (order < SLAB_MAX_ORDER && (PAGE_SIZE << order) % stride > (PAGE_SIZE << order) / 8) {
        order++;
    }
    return order;
}

static struct kmem_cache *cache_create(const char *name, size_t size, size_t align, u16 mag_slots)
{
    if (size == 0 || size >= PAGE_SIZE || (align & (align - 1)) != 0 || nr_caches == MAX_CACHES) {
        panic("slab: cannot create cache %s of %zu bytes, align %zu", name, size, align);
    }
    struct kmem_cache *c = &caches[nr_caches];
    align = max(align, sizeof(void *));
    c->name = name;
    c->size = size;
    c->stride = (u32)align_up(size + OBJECT_TAIL, align);
    c->order = (u16)slab_order(c->stride);
    c->mag_slots = mag_slots;
    c->id = (u16)nr_caches++;
    spin_init(&c->lock, RANK_SLAB);
    list_init(&c->partial);
    return c;
}

struct kmem_cache *kmem_cache_create(const char *name, size_t size, size_t align)
{
    size_t fit = MAG_BYTES / max(size, (size_t)1);

    return cache_create(name, size, align, (u16)min(max(fit, (size_t)4), (size_t)MAG_SLOTS));
}

void kmem_cache_on_drain(struct kmem_cache *c, void (*give_back)(void))
{
    c->give_back = give_back;
}

void slab_init(void)
{
    mag_cache = cache_create("magazine", sizeof(struct magazine), 0, 0);
    kmalloc_init();
}
