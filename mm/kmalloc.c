// kmalloc: memory of any size. Up to half a page from one of a few slab caches, the classes; above
// that a block of pages, so that two such objects of a page cost two pages and not three. kfree
// tells them apart by PG_SLAB; a block's size is in its first struct page.
#include <page.h>
#include <san.h>
#include "slab_priv.h"

static const struct {
    u16 size;
    const char *name;
} kmalloc_class[] = {
    {16, "kmalloc-16"},     {32, "kmalloc-32"},     {64, "kmalloc-64"},   {96, "kmalloc-96"},
    {128, "kmalloc-128"},   {192, "kmalloc-192"},   {256, "kmalloc-256"}, {512, "kmalloc-512"},
    {1024, "kmalloc-1024"}, {2048, "kmalloc-2048"},
};
#define KMALLOC_SLAB_MAX 2048

static struct kmem_cache *kmalloc_cache[array_size(kmalloc_class)];
static u8 kmalloc_index[KMALLOC_SLAB_MAX / 16 + 1]; // by size in units of 16, rounded up

void kmalloc_init(void)
{
    for (unsigned i = 0; i < array_size(kmalloc_class); i++) {
        size_t size = kmalloc_class[i].size;
        size_t align = (size & (size - 1)) == 0 ? min(size, (size_t)CACHE_LINE) : 32;
        kmalloc_cache[i] = kmem_cache_create(kmalloc_class[i].name, size, align);
    }
    for (unsigned units = 0, class = 0; units < array_size(kmalloc_index); units++) {
        if (units * 16 > kmalloc_class[class].size) {
            class ++;
        }
        kmalloc_index[units] = (u8) class;
    }
}

static unsigned order_for(size_t size)
{
    unsigned order = 0;

    while ((PAGE_SIZE << order) < size) {
        order++;
    }
    return order;
}

void *kmalloc_site(size_t size, enum gfp gfp, const char *site)
{
    if (size > KMALLOC_MAX || inject_should_fail(site)) {
        return NULL;
    }
    size = max(size, (size_t)1); // even an empty block is one's own, until it is freed
    if (size <= KMALLOC_SLAB_MAX) {
        unsigned class = kmalloc_index[(size + 15) / 16];
        void *obj = kmem_cache_alloc_site(kmalloc_cache[class], gfp, NULL);
        if (obj) {
            kasan_shrink(obj, size, kmalloc_class[class].size, KASAN_OBJECT_END);
        }
        return obj;
    }
    struct page *p = page_alloc_order_site(order_for(size), gfp, NULL);
    if (!p) {
        return NULL;
    }
    kasan_shrink(page_addr(p), size, PAGE_SIZE << order_for(size), KASAN_BLOCK_END);
    return page_addr(p);
}

void kfree(void *ptr)
{
    if (!ptr) {
        return;
    }
    struct page *p = virt_to_page(ptr);
    if (load_relaxed(&p->flags) & PG_SLAB) {
        kmem_cache_free(p->slab_cache, ptr);
    } else {
        page_free_order(p, (unsigned)p->order);
    }
}
