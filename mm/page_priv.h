// Between the files of the page allocator: bootmem.c places, buddy.c keeps blocks, page.c serves.
#ifndef PAGE_PRIV_H
#define PAGE_PRIV_H

#include <page.h>

// bootmem.c: one past the last byte of RAM; hand each range that is left to fn and close the shop.
paddr_t boot_mem_end(void);
void boot_mem_release(void (*fn)(paddr_t start, paddr_t end));

// buddy.c. Each takes RANK_PAGE once, never sleeps. Pages come out with flags 0 (DEBUG: PG_FREE and
// maybe PG_POISONED still on, for page_check_take) and go in the same way, ref 0.
void buddy_init(void);
unsigned buddy_take_pages(struct page **out, unsigned want); // how many of `want` single pages
struct page *buddy_take_block(unsigned order);               // NULL: none of that size
void buddy_give_pages(struct page *const *pages, unsigned nr);
void buddy_give_block(struct page *p, unsigned order);
u64 buddy_nr_free(void);

#endif
