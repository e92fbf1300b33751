// The soft machine: four levels of tables like x86_64's, with bits of their own. Bits that no entry
// has make a freed or foreign page show when it is read as a table.
#ifndef ASM_MMU_H
#define ASM_MMU_H

#include <k/atomic.h>
#include <k/types.h>

typedef struct {
    u64 v;
} pte_t;
struct pte_slot {
    _Atomic u64 v;
};

#define PT_LEVELS     4
#define PT_INDEX_BITS 9
#define PT_ENTRIES    (1u << PT_INDEX_BITS)
#define USER_END      0x00007ffffffff000ul

#define PTE_PRESENT  (1ul << 0)
#define PTE_WRITE    (1ul << 1)
#define PTE_EXEC     (1ul << 2)
#define PTE_USER     (1ul << 3)
#define PTE_ACCESSED (1ul << 4)
#define PTE_DIRTY    (1ul << 5)
#define PTE_TABLE    (1ul << 6)
#define PTE_SOFT     (1ul << 7)
#define PTE_ADDR     0x000000fffffff000ul

static inline unsigned pt_index(vaddr_t addr, unsigned level)
{
    return (unsigned)(addr >> (PAGE_SHIFT + PT_INDEX_BITS * level)) & (PT_ENTRIES - 1);
}
static inline u64 pt_span(unsigned level)
{
    return 1ul << (PAGE_SHIFT + PT_INDEX_BITS * level);
}

// mmu.c: through this CPU's store buffer; each panics when it reads what is no entry.
pte_t pte_read(struct pte_slot *s);
pte_t pte_read_seq(struct pte_slot *s);
void pte_write(struct pte_slot *s, pte_t e);
void pte_write_seq(struct pte_slot *s, pte_t e);
pte_t pte_exchange(struct pte_slot *s, pte_t e);
bool pte_cas(struct pte_slot *s, pte_t old, pte_t new);

static inline u64 pte_prot_bits(unsigned prot)
{
    u64 v = prot & (PTE_P_READ | PTE_P_WRITE | PTE_P_EXEC) ? PTE_PRESENT : 0;
    v |= prot & PTE_P_WRITE ? PTE_WRITE : 0;
    v |= prot & PTE_P_EXEC ? PTE_EXEC : 0;
    return v | PTE_USER;
}
static inline pte_t pte_make(paddr_t pa, unsigned prot)
{
    return (pte_t){pa | pte_prot_bits(prot)};
}
static inline pte_t pte_at(pte_t entry, paddr_t pa)
{
    return (pte_t){entry.v | pa};
}
static inline pte_t pte_make_table(paddr_t pa)
{
    return (pte_t){pa | PTE_PRESENT | PTE_WRITE | PTE_TABLE};
}
static inline pte_t pte_none(void)
{
    return (pte_t){0};
}
static inline bool pte_is_empty(pte_t e)
{
    return e.v == 0;
}
static inline bool pte_is_present(pte_t e)
{
    return e.v & PTE_PRESENT;
}
static inline bool pte_is_leaf(pte_t e, unsigned level)
{
    return pte_is_present(e) && level == 0; // no large pages
}
static inline bool pte_same(pte_t a, pte_t b)
{
    return a.v == b.v;
}
static inline bool pte_is_writable(pte_t e)
{
    return e.v & PTE_WRITE;
}
static inline bool pte_is_exec(pte_t e)
{
    return e.v & PTE_EXEC;
}
static inline bool pte_is_dirty(pte_t e)
{
    return e.v & PTE_DIRTY;
}
static inline bool pte_is_accessed(pte_t e)
{
    return e.v & PTE_ACCESSED;
}
static inline bool pte_is_soft_dirty(pte_t e)
{
    return e.v & PTE_SOFT;
}
static inline pte_t pte_set_dirty(pte_t e)
{
    return (pte_t){e.v | PTE_DIRTY | PTE_SOFT};
}
static inline pte_t pte_set_soft_dirty(pte_t e)
{
    return (pte_t){e.v | PTE_SOFT};
}
static inline pte_t pte_clear_soft_dirty(pte_t e)
{
    return (pte_t){e.v & ~PTE_SOFT};
}
static inline pte_t pte_clear_accessed(pte_t e)
{
    return (pte_t){e.v & ~PTE_ACCESSED};
}
static inline pte_t pte_set_accessed(pte_t e)
{
    return (pte_t){e.v | PTE_ACCESSED};
}
static inline pte_t pte_clear_write(pte_t e)
{
    return (pte_t){e.v & ~PTE_WRITE};
}
static inline pte_t pte_move(pte_t e, paddr_t pa)
{
    return (pte_t){(e.v & ~PTE_ADDR) | pa};
}
static inline pte_t pte_set_prot(pte_t e, unsigned prot)
{
    u64 keep = PTE_ADDR | PTE_ACCESSED | PTE_DIRTY | PTE_SOFT;
    return (pte_t){(e.v & keep) | pte_prot_bits(prot)};
}
static inline paddr_t pte_paddr(pte_t e)
{
    return e.v & PTE_ADDR;
}

extern char *soft_ram; // physical address 0

static inline void *phys_to_virt(paddr_t pa)
{
    return soft_ram + pa;
}
static inline paddr_t virt_to_phys(const void *p)
{
    return (paddr_t)((const char *)p - soft_ram);
}

void mmu_flush_page(vaddr_t addr);
void mmu_flush_all(void);
void mmu_load(paddr_t root);
void mem_clear_page(void *page);
void mem_copy_page(void *dst, const void *src);

#endif
