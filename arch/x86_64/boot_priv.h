// What the start-up files share: symbols of kernel.ld and boot.S, memory before the allocator.
#ifndef X86_64_BOOT_PRIV_H
#define X86_64_BOOT_PRIV_H

#include <bootinfo.h>
#include <k/types.h>

// kernel.ld
extern char kernel_start[], kernel_end[];
extern char text_start[], text_end[], rodata_start[], rodata_end[];
extern char trampoline_start[], trampoline_end[];

// boot.S
extern char boot_gdtr[];
noreturn_fn void boot_main(u32 magic, u32 info);
noreturn_fn void ap_main(void);
extern void *ap_stack_top;
extern char boot_stack_guard[]; // a page below the first stack: not mapped
extern paddr_t kernel_root;     // kmap.c; secondary CPUs load it before they use their stack

// kmap.c: forget every translation of this CPU, those of the kernel too. Interrupts off.
void kmap_flush_cpu(void);
// The lowest table of the kernel's half that has addr, made if need be. NULL: no memory. Sleeps;
// one caller at a time for a place.
struct pte_slot *kmap_table(vaddr_t addr);
// kstack.c: the first tables of the stacks' area, from kmap_init.
void kstack_init(void);

// loader.c: fill bootinfo from the loader's records; panics if there is no memory map.
void loader_read(u32 magic, paddr_t info);

// boot.c: find len bytes (whole pages) of free RAM in the first 4 GiB, reserve them. 0: none.
paddr_t boot_take_memory(u64 len);
// The page secondary CPUs start in is RAM.
bool boot_trampoline_usable(void);
// Keep [start, end) from the page allocator.
void boot_reserve(paddr_t start, paddr_t end);

#endif
