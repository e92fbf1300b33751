// Where the shadow of kernel/san/kasan.c is.
//
//      KASAN_SHADOW_FIRST   of DIRECT_MAP_BASE ...        real for RAM, 2 MiB of it for 16 MiB
//      ...                  of DEVICE_MAP_BASE ...        the zero page: anything goes
//      KASAN_SHADOW_END     of KERNEL_BASE ...            real for the image
//
// The compiler's own shadow writes (a function with arrays on its stack) start with the first lines
// of C, so the boot tables first get one page for all of it: a table of each level whose entries
// all lead to the next, and at the bottom to that page. What is written there means nothing, as
// nothing is checked yet. kasan_map_shadow then builds the real thing in the final tables, which
// use the same page, cleared now, for all that is neither RAM nor image. Nothing poisons that, so
// it stays clear; it is writable because a secondary CPU starts on the boot tables, where its
// stack's shadow is that page, too (ap_main and kmap_init_cpu have no arrays and so leave no
// poison).
//
// Memory for the shadow and its tables comes from RAM in one piece below 4 GiB: an eighth of what
// there is, so about 16 GiB is the most such a kernel can run on.
#include <arch/boot.h>
#include <arch/mmu.h>
#include <bootinfo.h>
#include <k/assert.h>
#include <k/string.h>
#include <san.h>
#include "../boot_priv.h"

#define SHADOW_FIRST ((DIRECT_MAP_BASE >> 3) + KASAN_SHADOW_OFFSET)
#define SHADOW_LAST  ((~0ul >> 3) + KASAN_SHADOW_OFFSET)
#define LEAF         pt_span(1)

extern struct pte_slot boot_pml4[]; // boot.S

static struct pte_slot zero_table[3][PT_ENTRIES] __attribute__((aligned(4096)));
static u8 zero_page[PAGE_SIZE] __attribute__((aligned(4096)));

static paddr_t leaf_next, table_next; // the block: zero from here on

void kasan_map_early(void)
{
    for (unsigned level = 0; level < array_size(zero_table); level++) {
        paddr_t below = virt_to_phys(level == 0 ? (void *)zero_page : zero_table[level - 1]);
        pte_t e = level == 0 ? pte_make(below, PTE_P_READ | PTE_P_WRITE) : pte_make_table(below);
        for (unsigned i = 0; i < PT_ENTRIES; i++) {
            pte_write(&zero_table[level][i], e);
        }
    }
    for (unsigned i = pt_index(SHADOW_FIRST, 3); i <= pt_index(SHADOW_LAST, 3); i++) {
        pte_write(&boot_pml4[i], pte_make_table(virt_to_phys(zero_table[2])));
    }
}

// The entry for the 2 MiB of shadow at addr. A table that still is the zero one becomes a copy.
static struct pte_slot *shadow_slot(vaddr_t addr)
{
    struct pte_slot *table = phys_to_virt(mmu_kernel_root());

    for (unsigned l = PT_LEVELS - 1; l > 1; l--) {
        struct pte_slot *s = &table[pt_index(addr, l)];
        if (pte_paddr(pte_read(s)) == virt_to_phys(zero_table[l - 1])) {
            memcpy(phys_to_virt(table_next), zero_table[l - 1], PAGE_SIZE);
            pte_write(s, pte_make_table(table_next));
            table_next += PAGE_SIZE;
        }
        table = phys_to_virt(pte_paddr(pte_read(s)));
    }
    return &table[pt_index(addr, 1)];
}

// Real shadow for [start, end).
static void shadow_add(vaddr_t start, vaddr_t end)
{
    vaddr_t first = align_down((start >> 3) + KASAN_SHADOW_OFFSET, LEAF);

    for (vaddr_t a = first; a < (end >> 3) + KASAN_SHADOW_OFFSET; a += LEAF) {
        struct pte_slot *s = shadow_slot(a);
        if (pte_paddr(pte_read(s)) == virt_to_phys(zero_table[0])) {
            pte_write(s, pte_make(leaf_next | PTE_LARGE, PTE_P_READ | PTE_P_WRITE));
            leaf_next += LEAF;
        }
    }
}

// At least what shadow_add will take for RAM and the image.
static void block_take(void)
{
    u64 nr_leaves = 2, nr_tables = 3;

    for (unsigned i = 0; i < bootinfo.nr_regions; i++) {
        const struct boot_region *r = &bootinfo.region[i];
        if (r->kind == BOOT_RAM) {
            nr_leaves += (r->end / 8 + LEAF - 1) / LEAF - r->start / 8 / LEAF;
            nr_tables += (r->end - r->start) / (pt_span(2) * 8) + 2;
        }
    }
    u64 len = (nr_leaves + 1) * LEAF + nr_tables * PAGE_SIZE; // one leaf lost to alignment
    paddr_t block = boot_take_memory(len);
    if (block == 0) {
        panic("no %lu MiB of memory below 4 GiB for the sanitizer's shadow", len >> 20);
    }
    memset(phys_to_virt(block), 0, len);
    leaf_next = align_up(block, LEAF);
    table_next = leaf_next + nr_leaves * LEAF;
}

void kasan_map_shadow(void)
{
    struct pte_slot *root = phys_to_virt(mmu_kernel_root());

    block_take();
    for (unsigned i = pt_index(SHADOW_FIRST, 3); i <= pt_index(SHADOW_LAST, 3); i++) {
        pte_write(&root[i], pte_make_table(virt_to_phys(zero_table[2])));
    }
    for (unsigned i = 0; i < bootinfo.nr_regions; i++) {
        const struct boot_region *r = &bootinfo.region[i];
        if (r->kind == BOOT_RAM) {
            shadow_add(DIRECT_MAP_BASE + r->start, DIRECT_MAP_BASE + r->end);
        }
    }
    shadow_add((vaddr_t)kernel_start, (vaddr_t)kernel_end);
    memset(zero_page, 0, sizeof(zero_page));
}
