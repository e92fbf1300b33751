// The contract with a CPU, 4: kernel stacks, switching, entering user mode, FPU state, TLS.
#ifndef ARCH_THREAD_H
#define ARCH_THREAD_H

#include <k/types.h>

struct thread;
struct trapframe;

#if CONFIG_KASAN || CONFIG_KCSAN || CONFIG_UBSAN
#define KSTACK_ORDER 3 // sanitized code has larger frames
#else
#define KSTACK_ORDER 2
#endif
#define KSTACK_SIZE (PAGE_SIZE << KSTACK_ORDER)

// <asm/thread.h> gives struct arch_thread, a member `arch` of struct thread: saved stack pointer,
// thread pointer (FS base), FPU area. First member of struct thread: void *kstack (lowest address).
// Also ARCH_ELF_MACHINE, ARCH_PLATFORM (AT_PLATFORM and uname's machine) and u64
// arch_hwcap(unsigned n): AT_HWCAP for n = 0, AT_HWCAP2 for 1.
#include <asm/thread.h>

// A kernel stack of KSTACK_SIZE bytes: its lowest address, contents undefined; below it nothing is
// mapped, so that an overflow is noticed. NULL: no memory. Sleeps. free: nobody runs on it any
// more; thread context, also under RCU's callbacks.
void *arch_kstack_alloc(void);
void arch_kstack_free(void *kstack);

// Switch stacks from prev to next; returns in next with prev's thread as the value (so the caller
// can finish what must wait until prev's stack is idle). Interrupts off. Also switches thread
// pointer, FPU state and the kernel stack used at the next entry from user mode.
struct thread *arch_switch(struct thread *prev, struct thread *next);

// Make t start in fn(arg) on its own kernel stack at its first switch; interrupts are off there and
// the code must call sched_finish_switch(prev) first (the arch entry stub does).
void arch_thread_init_kernel(struct thread *t, void (*fn)(void *), void *arg);

// Make t start by returning to user mode with registers *f (copied).
void arch_thread_init_user(struct thread *t, const struct trapframe *f);

// A fresh register file that enters at ip with stack pointer sp. From kernel thread context the
// first entry: enter_user never returns.
void arch_user_regs_init(struct trapframe *f, u64 ip, u64 sp);
noreturn_fn void arch_enter_user(const struct trapframe *f);

// FPU/SIMD: allocate (-ENOMEM), free, clone the current thread's state into t, reset to initial.
int arch_fpu_alloc(struct thread *t);
void arch_fpu_free(struct thread *t);
void arch_fpu_copy_current(struct thread *t);
void arch_fpu_reset_current(void);
// Signal frames: size of the saved image; save the current state to / load from a kernel buffer.
// load returns -EINVAL for an image the CPU would refuse.
size_t arch_fpu_image_size(void);
void arch_fpu_save_image(void *buf);
int arch_fpu_load_image(const void *buf, size_t len);

// Thread pointer (FS base on x86_64, TPIDR_EL0). set refuses non-canonical: -EPERM.
int arch_set_tls(struct thread *t, u64 base);
u64 arch_get_tls(void); // of the current thread, for clone without CLONE_SETTLS

// Build / undo a signal frame on the user stack (arch/ARCH/signal.c). Both -EFAULT on a bad stack.
struct ksiginfo;
struct sigaction_k;
int arch_signal_push(struct trapframe *f, int sig, const struct ksiginfo *info,
                     const struct sigaction_k *sa, u64 old_mask, u64 sp_altstack_or_0,
                     u64 sp_lowest);
int arch_signal_pop(struct trapframe *f, u64 *old_mask);

// arch-only system calls (arch_prctl...): -ENOSYS when nr is not one of them.
s64 arch_syscall(u64 nr, struct trapframe *f);

#endif
