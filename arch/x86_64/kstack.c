// Kernel stacks with nothing mapped below them.
//
// Problem: a stack that grows too far writes over what lies below it, and the kernel goes on with
// wrong data. In the direct map something always lies below.
//
// Idea: stacks live in an area of their own, STACK_MAP_BASE. It is cut into slots:
//
//      slot n:   | KSTACK_SIZE bytes that are never mapped | KSTACK_SIZE bytes of stack |
//
// A push into the lower half is a page fault whose frame cannot be pushed either: a double fault,
// which has its own stack (cpu.c) and says "kernel stack overflow" (trap.c). The gap is as large as
// a stack, so no single frame steps over it.
//
// States of a slot:
//
//      clean --slot_take--> used --arch_kstack_free--> stale --flush, of all stale at once--> clean
//
// The pages are mapped when a slot is taken and freed, one by one, when its thread is gone, so they
// come from this CPU's list and go back there. No CPU is told of either. A clean slot is in no TLB:
// what is not mapped is not cached. A stale one may still be in some: nobody uses the address, so
// its pages may have another owner, but the slot must not be mapped anew, or a CPU might use the
// old page. When no slot is clean, one flush on all CPUs cleans all that are stale. It comes once
// in some hundred threads; the area grows by a table of entries, GROUP_SLOTS slots, if less than a
// quarter is stale. Tables stay.
//
// stack_lock [RANK_SPIN_MISC] guards the states. It is held while the flush waits for the CPUs, as
// table locks are in mm/tlb.c. grow_lock [RANK_SLEEP_MISC] lets one at a time add a table.
//
// Rejected: a gap in the direct map (2 MiB and 1 GiB pages would have to be split, and each change
// told to all CPUs); keeping dead threads' stacks mapped for the next (memory that nobody else can
// use, up to an eighth of the machine after many threads); a canary alone (found at the next
// switch, after the damage).
//
// KASAN has no shadow for the area: such a kernel has its stacks in the direct map, with the canary
// that arch_switch checks.
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <arch/thread.h>
#include <k/assert.h>
#include <k/lock.h>
#include <page.h>
#include <smp.h>
#include "boot_priv.h"
#include "x86_priv.h"

#if CONFIG_KASAN

void *arch_kstack_alloc(void)
{
    struct page *stack = page_alloc_order(KSTACK_ORDER, GFP_KERNEL);
    return stack ? page_addr(stack) : NULL;
}

void arch_kstack_free(void *kstack)
{
    page_free_order(virt_to_page(kstack), KSTACK_ORDER);
}

void kstack_init(void)
{
}

static bool area_guards(vaddr_t addr)
{
    (void)addr;
    return false;
}

#else

#define KSTACK_PAGES  (1u << KSTACK_ORDER)
#define SLOT_SIZE     (2 * KSTACK_SIZE)
#define GROUP_SLOTS   (PT_ENTRIES / (2 * KSTACK_PAGES)) // the slots of one table
#define GROUP_ALL     (~0ull >> (64 - GROUP_SLOTS))
#define GROUPS_FIRST  4u    // made at boot
#define GROUPS_MAX    4096u // 2 MiB each
#define STACK_MAP_END (STACK_MAP_BASE + (u64)GROUPS_MAX * GROUP_SLOTS * SLOT_SIZE)

static struct group {
    struct pte_slot *table; // [stack_lock] written once
    u64 taken;              // [stack_lock] a bit per slot: used or stale
    u64 stale;              // [stack_lock] those that are stale
} groups[GROUPS_MAX];
static struct spinlock stack_lock = SPINLOCK_INIT(RANK_SPIN_MISC);
static unsigned nr_groups, nr_stale; // [stack_lock]
static unsigned first_clean;         // [stack_lock] no group before it has a clean slot
static struct mutex grow_lock = MUTEX_INIT(grow_lock, RANK_SLEEP_MISC);

static vaddr_t slot_addr(unsigned slot)
{
    return STACK_MAP_BASE + (u64)slot * SLOT_SIZE + KSTACK_SIZE;
}

static struct pte_slot *slot_entries(unsigned slot)
{
    return groups[slot / GROUP_SLOTS].table + slot % GROUP_SLOTS * 2 * KSTACK_PAGES + KSTACK_PAGES;
}

static bool area_guards(vaddr_t addr)
{
    return addr >= STACK_MAP_BASE && addr < STACK_MAP_END &&
           (addr - STACK_MAP_BASE) % SLOT_SIZE < KSTACK_SIZE;
}

// ---- Slots --------------------------------------------------------------------------------------

// Mappings of the kernel are global: only this makes a CPU forget them all.
static void flush_here(void *arg)
{
    (void)arg;
    unsigned long flags = irq_save();
    kmap_flush_cpu();
    irq_restore(flags);
}

static void slots_clean_locked(void)
{
    flush_here(NULL);
    smp_call_mask(~0ul, flush_here, NULL);
    for (unsigned g = 0; g < nr_groups; g++) {
        groups[g].taken &= ~groups[g].stale;
        groups[g].stale = 0;
    }
    nr_stale = first_clean = 0;
}

static bool slot_find_locked(unsigned *slot)
{
    for (; first_clean < nr_groups; first_clean++) {
        u64 clean = ~groups[first_clean].taken & GROUP_ALL;
        if (clean) {
            unsigned bit = (unsigned)__builtin_ctzl(clean);
            groups[first_clean].taken |= 1ull << bit;
            *slot = first_clean * GROUP_SLOTS + bit;
            return true;
        }
    }
    return false;
}

static struct pte_slot *group_table(unsigned g)
{
    return kmap_table(STACK_MAP_BASE + (u64)g * GROUP_SLOTS * SLOT_SIZE);
}

void kstack_init(void)
{
    for (; nr_groups < GROUPS_FIRST; nr_groups++) {
        groups[nr_groups].table = group_table(nr_groups);
        assert(groups[nr_groups].table);
    }
}

// One table more, unless somebody else has added one since there were `had`. False: no memory, or
// the area is full.
static bool group_add(unsigned had)
{
    bool done = true;
    mutex_lock(&grow_lock);
    if (nr_groups == had) {
        struct pte_slot *table = had < GROUPS_MAX ? group_table(had) : NULL;
        done = table != NULL;
        if (done) {
            spin_lock(&stack_lock);
            groups[had].table = table;
            nr_groups++;
            spin_unlock(&stack_lock);
        }
    }
    mutex_unlock(&grow_lock);
    return done;
}

static bool slot_take(unsigned *slot)
{
    for (bool grown = true;;) {
        spin_lock(&stack_lock);
        bool found = slot_find_locked(slot);
        bool many = nr_stale >= nr_groups * GROUP_SLOTS / 4;
        if (!found && nr_stale > 0 && (many || !grown)) {
            slots_clean_locked();
            found = slot_find_locked(slot);
        }
        unsigned had = nr_groups;
        spin_unlock(&stack_lock);
        if (found || !grown) {
            return found;
        }
        grown = group_add(had);
    }
}

// ---- Stacks -------------------------------------------------------------------------------------

static bool pages_take(struct page **page)
{
    for (unsigned i = 0; i < KSTACK_PAGES; i++) {
        page[i] = page_alloc(GFP_KERNEL);
        if (!page[i]) {
            while (i > 0) {
                page_free(page[--i]);
            }
            return false;
        }
    }
    return true;
}

void *arch_kstack_alloc(void)
{
    struct page *page[KSTACK_PAGES];
    unsigned slot;
    if (!pages_take(page)) {
        return NULL;
    }
    if (!slot_take(&slot)) {
        for (unsigned i = 0; i < KSTACK_PAGES; i++) {
            page_free(page[i]);
        }
        return NULL;
    }
    struct pte_slot *e = slot_entries(slot);
    for (unsigned i = 0; i < KSTACK_PAGES; i++) {
        pte_write(e + i, pte_make(page_to_phys(page[i]), PTE_P_READ | PTE_P_WRITE));
    }
    return (void *)slot_addr(slot);
}

void arch_kstack_free(void *kstack)
{
    unsigned slot = (unsigned)(((vaddr_t)kstack - STACK_MAP_BASE) / SLOT_SIZE);
    struct pte_slot *e = slot_entries(slot);
    debug_assert((vaddr_t)kstack == slot_addr(slot));
    for (unsigned i = 0; i < KSTACK_PAGES; i++) {
        page_free(pfn_to_page(pte_paddr(pte_exchange(e + i, pte_none())) >> PAGE_SHIFT));
    }
    spin_lock(&stack_lock);
    groups[slot / GROUP_SLOTS].stale |= 1ull << slot % GROUP_SLOTS;
    nr_stale++;
    spin_unlock(&stack_lock);
}

#endif

bool kstack_guards(vaddr_t addr)
{
    return area_guards(addr) || page_align_down(addr) == (vaddr_t)boot_stack_guard;
}
