// Where a secondary CPU starts: real mode, at the start of the page that smp.c copied this to. It
// uses nothing but this page and the boot page tables, and leaves for ap_entry (boot.S).
// Everything is addressed relative to the copy's place; the kernel's link address never shows.

#include <asm/mmu.h>
#include "trampoline.h"

#define HERE(sym) (TRAMPOLINE_PA + (sym) - begin)

    .section .trampoline, "a"
    .code16
begin:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    lgdtl gdtr - begin
    movl $0x33, %eax /* NE ET MP PE; clears the cache-disable bits that INIT sets */
    movl %eax, %cr0
    ljmpl $0x18, $HERE(protected)

    .code32
protected:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %ss
    movl $0x20, %eax /* PAE */
    movl %eax, %cr4
    movl $(boot_pml4 - KERNEL_BASE), %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx /* EFER: LME NXE */
    rdmsr
    orl $0x900, %eax
    wrmsr
    movl $0x80010033, %eax
    movl %eax, %cr0
    ljmpl $0x08, $HERE(long_mode)

    .code64
long_mode:
    movq $ap_entry, %rax
    jmp *%rax

    .balign 8
gdt:
    .quad 0
    .quad 0x00af9b000000ffff /* 0x08: 64-bit code */
    .quad 0x00cf93000000ffff /* 0x10: data */
    .quad 0x00cf9b000000ffff /* 0x18: 32-bit code */
gdtr:
    .word . - gdt - 1
    .long HERE(gdt)

    .section .note.GNU-stack, "", @progbits
