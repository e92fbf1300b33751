// The first instructions. Two doors, both 32-bit protected mode, no paging: the PVH note's entry
// (qemu -kernel) and the multiboot2 entry (GRUB). Both load long mode with the static tables below
// and go to boot_main(magic, info). Secondary CPUs come from trampoline.S and enter at ap_entry.
//
// The boot tables map the first 4 GiB three times with 2 MiB pages: at 0 (we run there until the
// jump; secondary CPUs do, too, so the tables stay for them), at the direct map's place, and the
// first GiB at the kernel's link address. kmap.c replaces them.

#include <asm/mmu.h>

#define PHYS(sym) ((sym) - KERNEL_BASE)

#define PVH_MAGIC       0x336ec578
#define MULTIBOOT2_IN   0xe85250d6

#define CR0_BITS 0x80010033 /* PG WP NE ET MP PE */
#define CR4_PAE  0x20
#define MSR_EFER 0xc0000080
#define EFER_LME_NXE 0x900
#define COM1       0x3f8
#define COM1_LOOKS 100000
#define VGA_TEXT   0xb8000

    .section .multiboot2, "a"
    .balign 8
mb2_header:
    .long MULTIBOOT2_IN, 0 /* architecture: i386 */
    .long mb2_end - mb2_header
    .long -(MULTIBOOT2_IN + 0 + (mb2_end - mb2_header))
    .balign 8
    .word 3, 0 /* entry address: physical, e_entry is virtual */
    .long 12
    .long PHYS(multiboot2_entry)
    .balign 8
    .word 6, 0 /* modules on page boundaries */
    .long 8
    .balign 8
    .word 5, 1 /* a framebuffer, if there is one: any size, 32 bits */
    .long 20
    .long 0, 0, 32
    .balign 8
    .word 0, 0
    .long 8
mb2_end:

    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 8, 18 /* name and description size; XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .quad PHYS(pvh_entry)

    .section .boot.text, "ax"
    .code32
    .globl multiboot2_entry
multiboot2_entry:
    movl %eax, %edi
    jmp enter_long_mode

pvh_entry:
    movl $PVH_MAGIC, %edi

enter_long_mode:
    cli
    cld
    movl %ebx, %esi
    movl $PHYS(boot_stack_top), %esp

    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb unsuitable
    movl $0x80000001, %eax
    cpuid
    andl $((1 << 29) | (1 << 20)), %edx /* long mode, no-execute */
    cmpl $((1 << 29) | (1 << 20)), %edx
    jne unsuitable

    movl %cr4, %eax
    orl $CR4_PAE, %eax
    movl %eax, %cr4
    movl $PHYS(boot_pml4), %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    rdmsr
    orl $EFER_LME_NXE, %eax
    wrmsr
    movl $CR0_BITS, %eax
    movl %eax, %cr0
    lgdt PHYS(boot_gdtr)
    ljmp $0x08, $PHYS(long_mode)

// Says so on COM1, whose transmitter takes its time if there is one, and in the VGA's memory, which
// shows it in text mode.
unsuitable:
    movl $PHYS(unsuitable_text), %ecx
    movl $VGA_TEXT, %edi
1:  movl $COM1_LOOKS, %esi
    movw $(COM1 + 5), %dx /* line status; bit 5: may be written to */
2:  inb %dx, %al
    testb $0x20, %al
    jnz 3f
    decl %esi
    jnz 2b
3:  movb (%ecx), %al
    movw $COM1, %dx
    outb %al, %dx
    cmpb $' ', %al
    jb 4f
    movb %al, (%edi)
    movb $0x07, 1(%edi)
    addl $2, %edi
4:  incl %ecx
    testb %al, %al
    jnz 1b
5:  hlt
    jmp 5b
unsuitable_text:
    .asciz "faultline: this processor has no 64-bit mode or no NX bit\n"

    .code64
long_mode:
    movq $high_half, %rax
    jmp *%rax
high_half:
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %eax, %fs
    movl %eax, %gs
    movq $boot_stack_top, %rsp
    xorl %ebp, %ebp /* backtraces end here */
    movl %edi, %edi
    movl %esi, %esi
    call boot_main
1:  hlt
    jmp 1b

// A secondary CPU in long mode, on the boot tables: smp.c has put its stack and number here. The
// stack is mapped by the kernel's own tables only.
    .globl ap_entry
ap_entry:
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %eax, %fs
    movl %eax, %gs
    movq kernel_root(%rip), %rax
    movq %rax, %cr3
    movq ap_stack_top(%rip), %rsp
    xorl %ebp, %ebp
    call ap_main
1:  hlt
    jmp 1b

    .section .data.boot, "aw"
    .balign 8
    .globl boot_gdt
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff /* 0x08: 64-bit code */
    .quad 0x00cf93000000ffff /* 0x10: data */
    .globl boot_gdtr
boot_gdtr:
    .word . - boot_gdt - 1
    .quad PHYS(boot_gdt)

    .balign 4096
    .globl boot_pml4
boot_pml4:
    .quad PHYS(boot_pdpt) + 3
    .fill 255, 8, 0
    .quad PHYS(boot_pdpt) + 3 /* 256: DIRECT_MAP_BASE */
    .fill 254, 8, 0
    .quad PHYS(boot_pdpt_kernel) + 3
boot_pdpt:
    .quad PHYS(boot_pd) + 0x0003, PHYS(boot_pd) + 0x1003
    .quad PHYS(boot_pd) + 0x2003, PHYS(boot_pd) + 0x3003
    .fill 508, 8, 0
boot_pdpt_kernel:
    .fill 510, 8, 0
    .quad PHYS(boot_pd) + 3
    .quad 0
boot_pd:
    .set pa, 0x83 /* present, writable, 2 MiB */
    .rept 2048
    .quad pa
    .set pa, pa + 0x200000
    .endr

    .section .bss.boot, "aw", @nobits
    .balign 4096
    .globl boot_stack_guard
boot_stack_guard:
    .skip 4096
boot_stack:
    .skip 16384
    .globl boot_stack_top
boot_stack_top:

    .section .note.GNU-stack, "", @progbits
