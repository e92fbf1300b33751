// The contract with a CPU, 3: traps. The architecture reduces a page fault to handle_page_fault()
// in mm/fault.c and a system call to syscall_dispatch(); everything else user code does wrong
// becomes force_signal() (signal.h). A trap from kernel mode that no exception-table entry covers
// panics.
#ifndef ARCH_TRAP_H
#define ARCH_TRAP_H

#include <k/types.h>

struct trapframe; // the saved user registers, complete, at the top of the kernel stack

// <asm/trap.h> gives struct trapframe and:
//   bool trap_from_user(const struct trapframe *);
//   u64 trap_ip(f), trap_sp(f); void trap_set_ip(f, ip), trap_set_sp(f, sp);
//   u64 trap_syscall_nr(f), trap_syscall_arg(f, i); void trap_set_result(f, s64)
//   s64 trap_result(f)
//   bool trap_in_syscall(f): entered by a system call; trap_restart_syscall(f), for it: back up
//     the instruction pointer and restore the number so that it runs again
//   ARCH_SYSCALL_NR(x86_64, aarch64): which of the two numbers in syscalls.def is this CPU's
//   ARCH_CLONE_TLS_ARG, ARCH_CLONE_CTID_ARG: which argument of clone is which
#include <asm/trap.h>

// The trapframe of the current thread's entry from user mode.
struct trapframe *current_trapframe(void);

// Called by the architecture on the way back to user mode, interrupts on: reschedule, deliver
// signals, run RCU callbacks until there is nothing left to do. kernel/entry.c.
void return_to_user_work(struct trapframe *f);
// Cheap test whether return_to_user_work is needed; interrupts are off.
bool return_to_user_pending(void);

// The system call entry, interrupts on; stores the result in f. kernel/syscall.c.
void syscall_dispatch(struct trapframe *f);

// Page fault, interrupts on. user: came from user mode. Returns true when handled (or a signal is
// pending); false only for kernel-mode accesses that must take their exception-table fix-up.
bool handle_page_fault(vaddr_t addr, unsigned access, bool user);
enum fault_access {
    FAULT_READ = 1,
    FAULT_WRITE = 2,
    FAULT_EXEC = 4,
};

// The tick and cross-CPU calls, called by arch interrupt code with interrupts off.
void timer_interrupt(bool from_user);   // kernel/time.c
void smp_ipi_interrupt(unsigned kinds); // kernel/smp.c: see IPI_* in arch/smp.h

#endif
