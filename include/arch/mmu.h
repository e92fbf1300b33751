// The contract with a CPU, 2: page-table entries and address spaces.
//
// pte_t is a struct, one type for all levels. Levels count from the leaf: 0 .. PT_LEVELS-1.
// An entry is empty (all zero), a table, or a leaf mapping. mm/pgtable.c is written on this.
#ifndef ARCH_MMU_H
#define ARCH_MMU_H

#include <k/atomic.h>
#include <k/types.h>

struct mm;
struct page;

// pte protection bits for pte_make
enum pte_prot {
    PTE_P_READ = 1,
    PTE_P_WRITE = 2,
    PTE_P_EXEC = 4,
    PTE_P_USER = 8,
    PTE_P_DEVICE = 16, // uncached (kernel mappings of devices)
    PTE_P_STREAM = 32, // stores may be gathered and pass each other (framebuffers)
};

// <asm/mmu.h> gives:
//   typedef struct { u64 v; } pte_t;  typedef a slot: struct pte_slot { _Atomic u64 v; };
//   constants: PT_LEVELS, PT_ENTRIES (512), PT_INDEX_BITS, USER_END (one past the last user byte,
//              page aligned, lower-half limit less a guard page), DIRECT_MAP_BASE
//   unsigned pt_index(vaddr_t addr, unsigned level);
//   u64 pt_span(unsigned level);                     bytes one entry of this level covers
//   pte_t pte_read(struct pte_slot *);               one 64-bit load, acquire order
//   pte_t pte_read_seq(struct pte_slot *);           seq_cst load
//   void pte_write(struct pte_slot *, pte_t);        one 64-bit store, release order
//   void pte_write_seq(struct pte_slot *, pte_t);    seq_cst store
//   pte_t pte_exchange(struct pte_slot *, pte_t);    atomic swap, seq_cst (the CPU's walker may set
//                                                    accessed/dirty at any time)
//   bool pte_cas(struct pte_slot *, pte_t old, pte_t new);
//   pte_t pte_make(paddr_t pa, unsigned prot), pte_make_table(paddr_t pa), pte_none(void)
//   pte_t pte_at(pte_t, paddr_t);                    an entry made with address 0, and its address
//   bool pte_is_empty(pte_t) pte_is_present(pte_t) pte_is_leaf(pte_t, level)  pte_same(a, b)
//   bool pte_is_writable(pte_t), pte_is_exec(pte_t), pte_is_dirty(pte_t), pte_is_accessed(pte_t)
//   bool pte_is_soft_dirty(pte_t)                    not the MMU's bit: mm/clear_refs.c
//   pte_t pte_set_dirty(pte_t)                       somebody writes: dirty and soft-dirty
//   pte_t pte_set_soft_dirty(pte_t), pte_clear_soft_dirty(pte_t), pte_clear_accessed(pte_t)
//   pte_t pte_set_accessed(pte_t), pte_clear_write(pte_t)
//     the last and pte_is_writable also of a table entry: nothing below it can be written while
//     that is clear, whatever the leaves say; pte_make_table makes one through which the leaves
//     decide
//   pte_t pte_move(pte_t, paddr_t);                  the same leaf, another page
//   pte_t pte_set_prot(pte_t, unsigned prot);        keep address, accessed and both dirty bits
//   paddr_t pte_paddr(pte_t);
//   void *phys_to_virt(paddr_t); paddr_t virt_to_phys(const void *);   direct map and kernel image
//   void mmu_flush_page(vaddr_t addr);               this CPU's TLB, current address space
//   void mmu_flush_all(void);                        this CPU's TLB, all user translations
//   void mmu_load(paddr_t root);                     switch this CPU's tables (flushes user part)
//   void mem_clear_page(void *); void mem_copy_page(void *, const void *);  fast page primitives
#include <asm/mmu.h>

// Prepare a new top-level table: the kernel half is shared with every other one.
void mmu_init_root(void *root);

// The kernel's own top-level table, loaded on a CPU that runs no user address space.
paddr_t mmu_kernel_root(void);

// Pages of the page allocator that the kernel's own tables take: more with many threads or devices,
// never less.
u64 mmu_nr_kernel_tables(void);

// Map device memory [pa, pa+len) for the kernel, uncached. Boot and drivers' probe. NULL: no
// memory.
void *mmu_map_device(paddr_t pa, u64 len);
// The same for a framebuffer: stores are gathered. Slow to read.
void *mmu_map_stream(paddr_t pa, u64 len);

#endif
