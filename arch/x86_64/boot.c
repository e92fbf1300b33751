// The first C code, on the boot CPU, with the boot tables and interrupts off.
//
// Order matters: %gs (so that per-CPU variables work), the console (so that whatever comes next can
// complain), the clock's zero, bootinfo, the final page tables, then portable code. Memory that
// portable code must not hand out is noted in bootinfo.reserved; the first MiB always is, because
// firmware keeps using parts of it and secondary CPUs start there.
#include <arch/boot.h>
#include <arch/mmu.h>
#include <bootinfo.h>
#include <k/assert.h>
#include <k/string.h>
#include <k/types.h>
#include <san.h>
#include <uart.h>
#include "boot_priv.h"
#include "irq.h"
#include "trampoline.h"

#define LOW_MEMORY_END 0x100000ul
#define EARLY_MAP_END  (4ul << 30) // what the boot tables map

void boot_reserve(paddr_t start, paddr_t end)
{
    if (bootinfo.nr_reserved == array_size(bootinfo.reserved)) {
        panic("no room to reserve memory %#llx-%#llx", (unsigned long long)start,
              (unsigned long long)end);
    }
    bootinfo.reserved[bootinfo.nr_reserved++] =
        (struct boot_region){page_align_down(start), page_align_up(end), BOOT_RESERVED};
}

// The end of a reserved range that overlaps [start, end), 0 if none does.
static paddr_t reserved_overlap_end(paddr_t start, paddr_t end)
{
    for (unsigned i = 0; i < bootinfo.nr_reserved; i++) {
        const struct boot_region *r = &bootinfo.reserved[i];
        if (r->start < end && start < r->end) {
            return r->end;
        }
    }
    return 0;
}

paddr_t boot_take_memory(u64 len)
{
    for (unsigned i = 0; i < bootinfo.nr_regions; i++) {
        const struct boot_region *r = &bootinfo.region[i];
        paddr_t at = r->start, next;
        if (r->kind != BOOT_RAM) {
            continue;
        }
        while ((next = reserved_overlap_end(at, at + len)) != 0) {
            at = next;
        }
        if (at + len <= min(r->end, EARLY_MAP_END)) {
            boot_reserve(at, at + len);
            return at;
        }
    }
    return 0;
}

bool boot_trampoline_usable(void)
{
    for (unsigned i = 0; i < bootinfo.nr_regions; i++) {
        const struct boot_region *r = &bootinfo.region[i];
        if (r->kind == BOOT_RAM && r->start <= TRAMPOLINE_PA && TRAMPOLINE_PA < r->end) {
            return true;
        }
    }
    return false;
}

// GRUB may put a small initramfs into the first MiB, over the trampoline's page: move it out.
static void initramfs_keep(void)
{
    u64 len = bootinfo.initramfs_end - bootinfo.initramfs_start;
    if (len == 0) {
        return;
    }
    if (bootinfo.initramfs_start >= LOW_MEMORY_END) {
        boot_reserve(bootinfo.initramfs_start, bootinfo.initramfs_end);
        return;
    }
    paddr_t to = boot_take_memory(page_align_up(len));
    if (to == 0) {
        panic("no memory to move the initramfs to");
    }
    memcpy(phys_to_virt(to), phys_to_virt(bootinfo.initramfs_start), len);
    bootinfo.initramfs_start = to;
    bootinfo.initramfs_end = to + len;
}

noreturn_fn void boot_main(u32 magic, u32 info)
{
    kasan_map_early();
    cpu_local_init_early();
    uart_init(&uart_console);
    trap_init_early();
    time_init_early();
    loader_read(magic, info);
    boot_reserve(0, LOW_MEMORY_END);
    boot_reserve(virt_to_phys(kernel_start), virt_to_phys(kernel_end));
    initramfs_keep();
    kmap_init();
    kasan_start();
    kernel_main();
}
