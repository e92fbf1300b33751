// slab.h over malloc. New objects are filled with 0xa5 and freed ones with 0x5a, so that what was
// not initialised or is used too late shows even where no sanitizer looks; failures come on demand.
#include <k/assert.h>
#include <k/atomic.h>
#include <shim.h>
#include <slab.h>
#include <stdlib.h>
#include <string.h>

struct kmem_cache {
    const char *name;
    size_t size, align;
    atomic_long nr_used;
};

static atomic_ulong countdown; // allocations left before the one that fails; 0: off
static atomic_bool failed;
static atomic_long nr_kmalloc;

atomic_bool inject_active;

bool inject_should_fail_slow(const char *site)
{
    (void)site;
    return false;
}

void shim_alloc_fail_nth(unsigned long n)
{
    atomic_store(&failed, false);
    atomic_store(&countdown, n);
}

bool shim_alloc_failed(void)
{
    return atomic_load(&failed);
}

long shim_kmalloc_used(void)
{
    return atomic_load(&nr_kmalloc);
}

static bool must_fail(void)
{
    if (load_relaxed(&countdown) == 0 || atomic_fetch_sub(&countdown, 1) != 1) {
        return false;
    }
    atomic_store(&failed, true);
    return true;
}

struct kmem_cache *kmem_cache_create(const char *name, size_t size, size_t align)
{
    struct kmem_cache *c = calloc(1, sizeof(*c)); // never freed, like the kernel's

    assert(c != NULL && size < PAGE_SIZE);
    c->name = name;
    c->align = max(align, sizeof(void *));
    c->size = align_up(size, c->align);
    return c;
}

void kmem_cache_on_drain(struct kmem_cache *c, void (*give_back)(void))
{
    (void)c;
    (void)give_back; // tests drain by name
}

void *kmem_cache_alloc_site(struct kmem_cache *c, enum gfp gfp, const char *site)
{
    void *obj;

    (void)site;
    if (must_fail()) {
        return NULL;
    }
    obj = aligned_alloc(c->align, c->size);
    assert(obj != NULL);
    memset(obj, gfp & GFP_ZERO ? 0 : 0xa5, c->size);
    atomic_fetch_add(&c->nr_used, 1);
    return obj;
}

void kmem_cache_free(struct kmem_cache *c, void *obj)
{
    if (obj == NULL) {
        return;
    }
    memset(obj, 0x5a, c->size);
    compiler_barrier(); // the poison is for others to find
    atomic_fetch_sub(&c->nr_used, 1);
    free(obj);
}

long kmem_cache_nr_used(struct kmem_cache *c)
{
    return atomic_load(&c->nr_used);
}

void *kmalloc_site(size_t size, enum gfp gfp, const char *site)
{
    void *p;

    (void)site;
    if (must_fail()) {
        return NULL;
    }
    p = malloc(size);
    assert(p != NULL);
    memset(p, gfp & GFP_ZERO ? 0 : 0xa5, size);
    atomic_fetch_add(&nr_kmalloc, 1);
    return p;
}

void kfree(void *p)
{
    if (p != NULL) {
        atomic_fetch_sub(&nr_kmalloc, 1);
        free(p);
    }
}
