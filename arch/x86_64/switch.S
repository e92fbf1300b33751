/* Switching kernel stacks; thread.c makes the first frames. */

/* struct thread *switch_stack(struct thread *prev, u64 *save_sp, u64 load_sp): returns prev, but on
   the other stack: the value travels in rax across the switch. */
    .text
    .globl switch_stack
    .type switch_stack, @function
switch_stack:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rsi)
    mov %rdx, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    mov %rdi, %rax
    ret
    .size switch_stack, . - switch_stack

/* A kernel thread's first instructions: rbx is its function, r12 the argument; rbp is 0, so that a
   backtrace ends here. */
    .globl thread_start_kernel
    .type thread_start_kernel, @function
thread_start_kernel:
    mov %rax, %rdi
    call sched_finish_switch
    sti
    mov %r12, %rdi
    call *%rbx
    call kthread_exit
    ud2
    .size thread_start_kernel, . - thread_start_kernel

/* A user thread's: rbx is its trapframe at the top of this stack. */
    .globl thread_start_user
    .type thread_start_user, @function
thread_start_user:
    mov %rax, %rdi
    call sched_finish_switch
    mov %rbx, %rdi
    jmp trap_enter_user
    .size thread_start_user, . - thread_start_user

    .section .note.GNU-stack, "", %progbits
