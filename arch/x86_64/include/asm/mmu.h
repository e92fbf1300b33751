// x86_64: four-level page tables.
//
// An entry is zero (empty), a table, a leaf, or a leaf that nobody may touch: PROT_NONE over a page
// that must be kept has an address but no present bit. Kernel leaves are global; user ones never
// are, so that loading a top-level table flushes them.
#ifndef ASM_MMU_H
#define ASM_MMU_H

#define DIRECT_MAP_BASE   0xffff800000000000
#define STACK_MAP_BASE    0xfffffe8000000000
#define DEVICE_MAP_BASE   0xffffff0000000000
#define KERNEL_BASE       0xffffffff80000000
#define KERNEL_ROOT_FIRST 256 // top-level entries from here on are the kernel's

#ifndef __ASSEMBLER__
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
// The last page below the hole stays unused: a system call at its end would return to a
// non-canonical address.
#define USER_END 0x00007ffffffff000ul

#define PTE_PRESENT  (1ul << 0)
#define PTE_WRITE    (1ul << 1)
#define PTE_USER     (1ul << 2)
#define PTE_PWT      (1ul << 3)
#define PTE_PCD      (1ul << 4)
#define PTE_ACCESSED (1ul << 5)
#define PTE_DIRTY    (1ul << 6)
#define PTE_LARGE    (1ul << 7) // above level 0: a leaf
#define PTE_GLOBAL   (1ul << 8)
#define PTE_SOFT     (1ul << 9) // soft-dirty: a bit that the MMU ignores
#define PTE_NX       (1ul << 63)
#define PTE_ADDR     0x000ffffffffff000ul

static inline unsigned pt_index(vaddr_t addr, unsigned level)
{
    return (unsigned)(addr >> (PAGE_SHIFT + PT_INDEX_BITS * level)) & (PT_ENTRIES - 1);
}
static inline u64 pt_span(unsigned level)
{
    return 1ul << (PAGE_SHIFT + PT_INDEX_BITS * level);
}

static inline pte_t pte_read(struct pte_slot *s)
{
    return (pte_t){load_acquire(&s->v)};
}
static inline pte_t pte_read_seq(struct pte_slot *s)
{
    return (pte_t){load_seq(&s->v)};
}
static inline void pte_write(struct pte_slot *s, pte_t e)
{
    store_release(&s->v, e.v);
}
static inline void pte_write_seq(struct pte_slot *s, pte_t e)
{
    store_seq(&s->v, e.v);
}
static inline pte_t pte_exchange(struct pte_slot *s, pte_t e)
{
    return (pte_t){atomic_exchange(&s->v, e.v)};
}
static inline bool pte_cas(struct pte_slot *s, pte_t old, pte_t new)
{
    return atomic_compare_exchange_strong(&s->v, &old.v, new.v);
}

static inline u64 pte_prot_bits(unsigned prot)
{
    u64 v = prot & (PTE_P_READ | PTE_P_WRITE | PTE_P_EXEC) ? PTE_PRESENT : 0;
    v |= prot & PTE_P_WRITE ? PTE_WRITE : 0;
    v |= prot & PTE_P_EXEC ? 0 : PTE_NX;
    v |= prot & PTE_P_USER ? PTE_USER : PTE_GLOBAL | PTE_ACCESSED | PTE_DIRTY;
    v |= prot & PTE_P_DEVICE ? PTE_PCD | PTE_PWT : 0;
    v |= prot & PTE_P_STREAM ? PTE_PWT : 0; // write combining: pat_init
    return v;
}
// A leaf of level 0. prot holds at least one of READ, WRITE and EXEC, each of which implies READ.
static inline pte_t pte_make(paddr_t pa, unsigned prot)
{
    return (pte_t){pa | pte_prot_bits(prot)};
}
// An entry made before its address is known (pa 0), and the address put in.
static inline pte_t pte_at(pte_t entry, paddr_t pa)
{
    return (pte_t){entry.v | pa};
}
// Tables permit everything; the leaf decides.
static inline pte_t pte_make_table(paddr_t pa)
{
    return (pte_t){pa | PTE_PRESENT | PTE_WRITE | PTE_USER | PTE_ACCESSED};
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
    return pte_is_present(e) && (level == 0 || (e.v & PTE_LARGE));
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
    return !(e.v & PTE_NX);
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
// The same rights for another page.
static inline pte_t pte_move(pte_t e, paddr_t pa)
{
    return (pte_t){(e.v & ~PTE_ADDR) | pa};
}
static inline pte_t pte_set_prot(pte_t e, unsigned prot)
{
    u64 keep = PTE_ADDR | PTE_ACCESSED | PTE_DIRTY | PTE_SOFT | PTE_LARGE;
    return (pte_t){(e.v & keep) | pte_prot_bits(prot)};
}
static inline paddr_t pte_paddr(pte_t e)
{
    return e.v & PTE_ADDR;
}

static inline void *phys_to_virt(paddr_t pa)
{
    return (void *)(DIRECT_MAP_BASE + pa);
}
static inline paddr_t virt_to_phys(const void *p)
{
    u64 v = (u64)p;
    return v >= KERNEL_BASE ? v - KERNEL_BASE : v - DIRECT_MAP_BASE;
}

static inline void mmu_flush_page(vaddr_t addr)
{
    __asm__ volatile("invlpg (%0)" ::"r"(addr) : "memory");
}
static inline void mmu_load(paddr_t root)
{
    __asm__ volatile("mov %0, %%cr3" ::"r"(root) : "memory");
}
static inline void mmu_flush_all(void)
{
    u64 root;
    __asm__ volatile("mov %%cr3, %0" : "=r"(root));
    mmu_load(root);
}

// mem.c. Whole pages, aligned.
void mem_clear_page(void *page);
void mem_copy_page(void *dst, const void *src);
#endif
#endif
