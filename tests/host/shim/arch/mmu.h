// Host tests: physical memory is an array.
#ifndef ARCH_MMU_H
#define ARCH_MMU_H

#include <k/atomic.h>
#include <k/string.h>
#include <k/types.h>

// Enough of page tables for headers that speak of them; no test walks any.
typedef struct {
    u64 v;
} pte_t;
struct pte_slot {
    _Atomic u64 v;
};

enum pte_prot {
    PTE_P_READ = 1,
    PTE_P_WRITE = 2,
    PTE_P_EXEC = 4,
    PTE_P_USER = 8,
};

#define PT_LEVELS 4
#define USER_END  0x00007ffffffff000ul

static inline unsigned pt_index(vaddr_t addr, unsigned level)
{
    return (unsigned)(addr >> (PAGE_SHIFT + 9 * level)) & 511;
}
static inline paddr_t pte_paddr(pte_t e)
{
    return e.v & PAGE_MASK;
}
static inline pte_t pte_make(paddr_t pa, unsigned prot)
{
    return (pte_t){pa | prot};
}
static inline pte_t pte_read(struct pte_slot *s)
{
    return (pte_t){load_acquire(&s->v)};
}
static inline bool pte_same(pte_t a, pte_t b)
{
    return a.v == b.v;
}
static inline pte_t pte_at(pte_t e, paddr_t pa)
{
    return (pte_t){e.v | pa};
}
static inline pte_t pte_set_accessed(pte_t e)
{
    return (pte_t){e.v | 0x100};
}

extern char *host_ram; // physical address 0

static inline void *phys_to_virt(paddr_t pa)
{
    return host_ram + pa;
}
static inline paddr_t virt_to_phys(const void *p)
{
    return (paddr_t)((const char *)p - host_ram);
}
static inline void mem_clear_page(void *p)
{
    memset(p, 0, PAGE_SIZE);
}
static inline void mem_copy_page(void *dst, const void *src)
{
    memcpy(dst, src, PAGE_SIZE);
}

#endif
