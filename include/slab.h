// Small objects: caches of one size with per-CPU magazines over slabs of pages.
#ifndef SLAB_H
#define SLAB_H

#include <k/atomic.h>
#include <k/types.h>

// How far an allocation may go. Both may fail and return NULL; callers handle it.
enum gfp {
    GFP_NOWAIT = 0, // never sleeps: under a spinlock or in an RCU section
    GFP_KERNEL = 1, // may sleep to collect memory from other CPUs' lists and from RCU
    GFP_ZERO = 2,   // or-ed in: the memory is cleared
};

struct kmem_cache;

// A cache of objects of `size` bytes, aligned to `align` (a power of two, 0: 8). `name` is a
// literal. Boot only: panics when out of memory. Objects of a page or more are refused.
struct kmem_cache *kmem_cache_create(const char *name, size_t size, size_t align);

// The cache's user keeps free objects of its own on each CPU: slab_drain_local calls give_back
// first, on the CPU that drains, for it to free them. Boot only.
void kmem_cache_on_drain(struct kmem_cache *c, void (*give_back)(void));

// site: the caller's name for fault injection; use the macros.
void *kmem_cache_alloc_site(struct kmem_cache *c, enum gfp gfp, const char *site);
#define kmem_cache_alloc(c, gfp) kmem_cache_alloc_site((c), (gfp), __func__)

// Thread context, any spinlock below RANK_SLAB may be held. NULL is allowed.
void kmem_cache_free(struct kmem_cache *c, void *obj);

// Objects now allocated (exact when no CPU is inside the allocator).
long kmem_cache_nr_used(struct kmem_cache *c);

// Any size up to KMALLOC_MAX, 0 as well; those above half a page come from the page allocator.
#define KMALLOC_MAX (1ul << 22)
void *kmalloc_site(size_t size, enum gfp gfp, const char *site);
#define kmalloc(size, gfp) kmalloc_site((size), (gfp), __func__)
#define kzalloc(size, gfp) kmalloc_site((size), (gfp) | GFP_ZERO, __func__)
void kfree(void *p);

// Boot CPU, after page_init and before the first kmem_cache_create.
void slab_init(void);

// All objects and kmalloc blocks up to half a page now allocated: for leak tests.
long slab_nr_used(void);

// The same by cache, a line each: its name and how many. Returns the length; truncates.
size_t slab_text(char *buf, size_t size);

// Pages that slabs consist of, with free objects in them or not: the frames of a leak test are
// these and the free ones.
long slab_nr_pages(void);

// Give this CPU's magazines, the depots and empty slabs back to the page allocator. Thread context,
// no lock held. page_drain_this_cpu calls it.
void slab_drain_local(void);

// Fault injection (mm/inject.c). A rule names a call site (a function's name, or "*") and fails its
// n-th matching allocation, or every n-th. Set by the boot argument inject=SITE:N or
// inject=SITE:every:N (repeatable with commas) or by writing that text to /proc/faultline/inject;
// "off" clears, "count" fails nothing. One predictable branch when unused.
// Allocations that an allocator makes for itself (a slab's pages, magazines) are not counted.
extern atomic_bool inject_active;
bool inject_should_fail_slow(const char *site);
static inline bool inject_should_fail(const char *site)
{
    return unlikely(load_relaxed(&inject_active)) && inject_should_fail_slow(site);
}
int inject_set(const char *text); // replaces all rules. 0, or -EINVAL and nothing changed
u64 inject_nr_failed(void);       // allocations failed on purpose since boot
// The i-th site that has allocated since rules were last set: its name, allocations while rules
// held, and those refused. false: no i-th. Any context that may take a leaf lock.
bool inject_seen_nth(unsigned i, const char **site, u64 *nr, u64 *failed);

#endif
