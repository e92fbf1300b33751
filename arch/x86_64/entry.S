/*
 * Ways into the kernel and back out.
 *
 * Each way builds a struct trapframe. For an entry from user mode that frame lies at the very top
 * of the thread's kernel stack (tss.rsp[0]), so current_trapframe() finds it. C is called with the
 * stack pointer at the frame: the backtrace relies on that (backtrace.c).
 *
 * %gs: user code may set its GS base to anything, so its value says nothing. What counts is the
 * code segment we came from: user means swapgs. A trap in the few instructions where that is wrong
 * (after the entry, before the swapgs, and the mirror image on the way out) can only be an NMI or a
 * machine check: these have a stack of their own whose top word holds the right base. They never
 * return.
 *
 * Going back never faults: segment selectors are constants, flags are masked and the instruction
 * pointer is below USER_END or equal to it (trap_set_ip), hence canonical.
 */
#include <asm/cpu.h>
#include <asm/trap.h>
#include <asm/uaccess.h>

    .macro PUSH_REGS
    push %rdi
    push %rsi
    push %rdx
    push %rcx
    push %rax
    push %r8
    push %r9
    push %r10
    push %r11
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    .endm

    .macro POP_REGS
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rax
    pop %rcx
    pop %rdx
    pop %rsi
    pop %rdi
    .endm

    .text
    .globl entry_text_start
entry_text_start:

/* The page fault, alone because it must be short. */
    .balign 64
    .globl trap_page_fault_entry
    .type trap_page_fault_entry, @function
trap_page_fault_entry:
    push $TRAP_PF
    PUSH_REGS
    cld
    CLAC
    mov %cr2, %rsi
    mov %rsp, %rdi
    testb $3, TRAPFRAME_CS(%rsp)
    jz 1f
    swapgs
    call trap_page_fault_user
return_user:
    POP_REGS
    add $16, %rsp
    swapgs
    iretq
1:
    call trap_page_fault_kernel
return_kernel:
    POP_REGS
    add $16, %rsp
    iretq
    .size trap_page_fault_entry, . - trap_page_fault_entry

/* Every other exception, and every interrupt. */
    .balign 64
    .type trap_entry_common, @function
trap_entry_common:
    PUSH_REGS
    cld
    CLAC
    mov %rsp, %rdi
    testb $3, TRAPFRAME_CS(%rsp)
    jz 1f
    swapgs
    call trap_user
    jmp return_user
1:
    call trap_kernel
    jmp return_kernel
    .size trap_entry_common, . - trap_entry_common

/* NMI, double fault, machine check: on the stack IST 1, see struct ist_stack. */
    .type trap_entry_ist, @function
trap_entry_ist:
    PUSH_REGS
    cld
    CLAC
    mov $MSR_GS_BASE, %ecx
    mov TRAPFRAME_SIZE(%rsp), %eax
    mov TRAPFRAME_SIZE + 4(%rsp), %edx
    wrmsr
    mov %rsp, %rdi
    call trap_fatal
    ud2
    .size trap_entry_ist, . - trap_entry_ist

/*
 * `syscall`: rcx and r11 hold the user's rip and flags; interrupts are off by MSR_SFMASK. `sysret`
 * is taken when that is still what the frame says; it then is right in all else, too.
 */
    .balign 64
    .globl syscall_entry
    .type syscall_entry, @function
syscall_entry:
    swapgs
    mov %rsp, %gs:CPU_BLOCK_USER_RSP
    mov %gs:CPU_BLOCK_RSP0, %rsp
    push $SEL_USER_DATA
    push %gs:CPU_BLOCK_USER_RSP
    push %r11
    push $SEL_USER_CODE
    push %rcx
    push %rax
    push $TRAP_SYSCALL
    PUSH_REGS
    mov %rsp, %rdi
    call trap_syscall
    mov TRAPFRAME_RCX(%rsp), %rcx
    mov TRAPFRAME_R11(%rsp), %r11
    cmp TRAPFRAME_RIP(%rsp), %rcx
    jne return_user
    cmp TRAPFRAME_RFLAGS(%rsp), %r11
    jne return_user
    test $(1 << 8 | 1 << 16), %r11d /* TF, RF: sysret would trap too early */
    jnz return_user
    POP_REGS
    mov TRAPFRAME_RSP - TRAPFRAME_VECTOR(%rsp), %rsp
    swapgs
    sysretq
    .size syscall_entry, . - syscall_entry

/* noreturn void trap_enter_user(struct trapframe *f): f lies at the top of this kernel stack. */
    .globl trap_enter_user
    .type trap_enter_user, @function
trap_enter_user:
    mov %rdi, %rsp
    call trap_prepare_return
    jmp return_user
    .size trap_enter_user, . - trap_enter_user

    .globl entry_text_end
entry_text_end:

/* One stub for each vector, 16 bytes apart. That of the page fault is not used. */
    .balign 16
    .globl trap_stubs
trap_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if vector == TRAP_DF
    push $vector
    jmp trap_entry_ist
    .elseif vector == TRAP_NMI || vector == TRAP_MC
    push $0
    push $vector
    jmp trap_entry_ist
    .elseif (vector >= 10 && vector <= 14) || vector == TRAP_AC || vector == 21
    push $vector
    jmp trap_entry_common
    .else
    push $0
    push $vector
    jmp trap_entry_common
    .endif
    .set vector, vector + 1
    .endr

    .section .note.GNU-stack, "", %progbits
