// The kernel's half of every address space, built once on the boot CPU.
//
//   DIRECT_MAP_BASE    all RAM, read-write, never executable; 1 GiB pages where a whole GiB is RAM
//   and
//                      the CPU has them, else 2 MiB pages for every 2 MiB that contains some RAM
//   DEVICE_MAP_BASE    device registers, uncached, 4 KiB pages, handed out upwards, never returned
//   STACK_MAP_BASE     kernel stacks, 4 KiB pages with gaps; changes all the time: see kstack.c
//   KERNEL_BASE        the image, 4 KiB pages: text read and execute, constants read, data
//   read-write
//
// All top-level entries above KERNEL_ROOT_FIRST that are ever used exist when kmap_init returns, so
// a process's top-level table copies them once (mmu_init_root) and never has to be told of a
// change. Nothing but the stacks is unmapped or changed later; device pages only appear, hence no
// TLB flush here.
//
// Tables come from a block taken from RAM in one piece, below 4 GiB, where the boot tables reach
// it; its size is computed first. Rejected: a static pool in the image, which would have to be
// sized for the largest machine without 1 GiB pages.
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <bootinfo.h>
#include <k/assert.h>
#include <k/printk.h>
#include <k/string.h>
#include <page.h>
#include <san.h>
#include "boot_priv.h"
#include "irq.h"

#define GIB            (1ul << 30)
#define DIRECT_MAP_MAX (64ul << 40)
#define DEVICE_MAP_END (DEVICE_MAP_BASE + GIB)
#define SPARE_TABLES   24 // for devices and stacks before the page allocator works
#define CR4_PGE        (1ul << 7)
#define CR0_WP         (1ul << 16)
#define CPUID_1G_PAGES (1u << 26) // 0x80000001, EDX

paddr_t kernel_root;
static paddr_t table_next, table_end; // the block: [next, end) is unused and zero
static vaddr_t device_next = DEVICE_MAP_BASE;
static bool have_1g_pages;
static atomic_ulong nr_tables; // from the page allocator; never given back

// A zeroed table: from the block, later from the allocator. 0: no memory.
static paddr_t table_alloc(void)
{
    if (table_next < table_end) {
        table_next += PAGE_SIZE;
        return table_next - PAGE_SIZE;
    }
    struct page *p = page_map ? page_alloc(GFP_KERNEL | GFP_ZERO) : NULL;
    fetch_add_relaxed(&nr_tables, p != NULL);
    return p ? page_to_phys(p) : 0;
}

u64 mmu_nr_kernel_tables(void)
{
    return load_relaxed(&nr_tables);
}

// The slot for addr at `level`, tables above it made as needed. NULL: no memory.
static struct pte_slot *kmap_slot(vaddr_t addr, unsigned level)
{
    struct pte_slot *table = phys_to_virt(kernel_root);
    for (unsigned l = PT_LEVELS - 1; l > level; l--) {
        struct pte_slot *s = &table[pt_index(addr, l)];
        if (pte_is_empty(pte_read(s))) {
            paddr_t t = table_alloc();
            if (t == 0) {
                return NULL;
            }
            pte_write(s, pte_make_table(t));
        }
        table = phys_to_virt(pte_paddr(pte_read(s)));
    }
    return &table[pt_index(addr, level)];
}

static void kmap_leaf(vaddr_t addr, paddr_t pa, unsigned level, unsigned prot)
{
    struct pte_slot *s = kmap_slot(addr, level);
    assert(s != NULL);
    pte_write(s, pte_make(pa | (level > 0 ? PTE_LARGE : 0), prot));
}

// How much of [start, end) is RAM: 0 none, 1 some, 2 all.
static unsigned ram_cover(paddr_t start, paddr_t end)
{
    unsigned cover = 0;
    for (unsigned i = 0; i < bootinfo.nr_regions; i++) {
        const struct boot_region *r = &bootinfo.region[i];
        if (r->kind != BOOT_RAM || r->end <= start || end <= r->start) {
            continue;
        }
        if (r->start <= start && end <= r->end) {
            return 2;
        }
        cover = 1;
    }
    return cover;
}

static paddr_t ram_end(void)
{
    paddr_t end = 0;
    for (unsigned i = 0; i < bootinfo.nr_regions; i++) {
        if (bootinfo.region[i].kind == BOOT_RAM) {
            end = bootinfo.region[i].end;
        }
    }
    return min(end, DIRECT_MAP_MAX);
}

static void direct_map_gib(paddr_t gib)
{
    unsigned cover = ram_cover(gib, gib + GIB);
    if (cover == 2 && have_1g_pages) {
        kmap_leaf(DIRECT_MAP_BASE + gib, gib, 2, PTE_P_READ | PTE_P_WRITE);
        return;
    }
    for (paddr_t pa = gib; cover != 0 && pa < gib + GIB; pa += pt_span(1)) {
        if (ram_cover(pa, pa + pt_span(1)) != 0) {
            kmap_leaf(DIRECT_MAP_BASE + pa, pa, 1, PTE_P_READ | PTE_P_WRITE);
        }
    }
}

static u64 tables_needed(void)
{
    u64 n = 1 + SPARE_TABLES;
    n += (ram_end() + 512 * GIB - 1) / (512 * GIB);
    for (paddr_t gib = 0; gib < ram_end(); gib += GIB) {
        unsigned cover = ram_cover(gib, gib + GIB);
        n += cover == 1 || (cover == 2 && !have_1g_pages);
    }
    u64 image = page_align_up((u64)(kernel_end - kernel_start));
    return n + 2 + image / pt_span(1) + 2; // the image: upper tables, leaf tables at both ends
}

static void map_image(const char *start, const char *end, unsigned prot)
{
    for (vaddr_t a = (vaddr_t)start; a < (vaddr_t)end; a += PAGE_SIZE) {
        kmap_leaf(a, a - KERNEL_BASE, 0, prot);
    }
}

void kmap_init_cpu(void)
{
    u64 cr;
    msr_write(MSR_EFER, msr_read(MSR_EFER) | EFER_NXE);
    __asm__ volatile("mov %%cr0, %0" : "=r"(cr));
    __asm__ volatile("mov %0, %%cr0" ::"r"(cr | CR0_WP) : "memory");
    mmu_load(kernel_root);
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr));
    __asm__ volatile("mov %0, %%cr4" ::"r"(cr | CR4_PGE) : "memory");
}

void kmap_flush_cpu(void)
{
    u64 cr;
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr));
    __asm__ volatile("mov %0, %%cr4" ::"r"(cr & ~CR4_PGE) : "memory"); // SDM volume 3, 4.10.4.1
    __asm__ volatile("mov %0, %%cr4" ::"r"(cr) : "memory");
}

struct pte_slot *kmap_table(vaddr_t addr)
{
    return kmap_slot(align_down(addr, pt_span(1)), 0);
}

void kmap_init(void)
{
    have_1g_pages = cpuid(0x80000001, 0).d & CPUID_1G_PAGES;
    u64 len = tables_needed() * PAGE_SIZE;
    table_next = boot_take_memory(len);
    if (table_next == 0) {
        panic("no %llu bytes of memory below 4 GiB for page tables", (unsigned long long)len);
    }
    table_end = table_next + len;
    memset(phys_to_virt(table_next), 0, len);

    kernel_root = table_alloc();
    for (paddr_t gib = 0; gib < ram_end(); gib += GIB) {
        direct_map_gib(gib);
    }
    map_image(text_start, text_end, PTE_P_READ | PTE_P_EXEC);
    map_image(rodata_start, rodata_end, PTE_P_READ);
    map_image(rodata_end, kernel_end, PTE_P_READ | PTE_P_WRITE);
    pte_write(kmap_slot((vaddr_t)boot_stack_guard, 0), pte_none());
    (void)kmap_slot(DEVICE_MAP_BASE, 1);
    kstack_init();
    kasan_map_shadow();
    kmap_init_cpu();
}

paddr_t mmu_kernel_root(void)
{
    return kernel_root;
}

void mmu_init_root(void *root)
{
    const struct pte_slot *from = phys_to_virt(kernel_root);
    struct pte_slot *to = root;
    for (unsigned i = 0; i < PT_ENTRIES; i++) {
        store_relaxed(&to[i].v, i < KERNEL_ROOT_FIRST ? 0 : load_relaxed(&from[i].v));
    }
}

static void *map_device(paddr_t pa, u64 len, unsigned kind)
{
    u64 lead = pa & (PAGE_SIZE - 1);
    vaddr_t start = device_next, end = start + page_align_up(lead + len);
    if (len == 0 || end > DEVICE_MAP_END || end < start) {
        return NULL;
    }
    for (vaddr_t a = start; a < end; a += PAGE_SIZE) {
        struct pte_slot *s = kmap_slot(a, 0);
        if (s == NULL) {
            return NULL;
        }
        pte_write(s, pte_make(pa - lead + (a - start), PTE_P_READ | PTE_P_WRITE | kind));
    }
    device_next = end;
    return (char *)start + lead;
}

void *mmu_map_device(paddr_t pa, u64 len)
{
    return map_device(pa, len, PTE_P_DEVICE);
}

void *mmu_map_stream(paddr_t pa, u64 len)
{
    return map_device(pa, len, PTE_P_STREAM);
}

static bool direct_map_covers(paddr_t pa, u64 len)
{
    if (pa + len < pa || pa + len > DIRECT_MAP_MAX) {
        return false;
    }
    for (paddr_t at = align_down(pa, pt_span(1)); at < pa + len; at += pt_span(1)) {
        struct pte_slot *table = phys_to_virt(kernel_root);
        unsigned level = PT_LEVELS - 1;
        pte_t e = pte_read(&table[pt_index(DIRECT_MAP_BASE + at, level)]);
        while (pte_is_present(e) && !pte_is_leaf(e, level)) {
            level--;
            table = phys_to_virt(pte_paddr(e));
            e = pte_read(&table[pt_index(DIRECT_MAP_BASE + at, level)]);
        }
        if (!pte_is_present(e)) {
            return false;
        }
    }
    return true;
}

const void *arch_map_firmware(paddr_t pa, u64 len)
{
    return direct_map_covers(pa, len) ? phys_to_virt(pa) : mmu_map_device(pa, len);
}
