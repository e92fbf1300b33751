// Kernel stacks and what switches with them.
//
// A kernel stack, KSTACK_SIZE bytes:
//
//     kstack                                                          kstack + KSTACK_SIZE
//     | canary | ...free... | frames of kernel functions | struct trapframe |
//                                                        ^ tss.rsp[0] is the end
//
// The trapframe's place is kept free in kernel threads, too, so that one may become a user thread
// by arch_enter_user(). Below it nothing is mapped (kstack.c); where it is, under KASAN, the canary
// tells, which is checked at each switch.
//
// What user code can change but the kernel never uses (FPU, FS base, user GS base) stays in the
// registers while kernel threads run: each switch away from a user thread saves it, and a switch to
// one loads it unless this CPU still holds it. That is the case if this CPU loaded that thread last
// (cpu_block.fpu_owner) and the thread has not been loaded elsewhere since (arch.fpu_cpu). Both are
// needed: the first alone is true of a thread that ran elsewhere and came back, the second alone of
// one whose registers another thread has replaced.
//
// Fields of struct arch_thread need no lock: they belong to the thread, and the run queue's lock
// orders a switch away on one CPU before the switch to it on another.
#include <arch/cpu.h>
#include <arch/thread.h>
#include <arch/trap.h>
#include <arch/uaccess.h>
#include <k/assert.h>
#include <k/errno.h>
#include <k/string.h>
#include <sched.h>
#include "x86_priv.h"

#define STACK_CANARY 0x6b73746b5f656e64ull

#define NR_ARCH_PRCTL 158
#define ARCH_SET_GS   0x1001
#define ARCH_SET_FS   0x1002
#define ARCH_GET_FS   0x1003
#define ARCH_GET_GS   0x1004

// switch.S
struct thread *switch_stack(struct thread *prev, u64 *save_sp, u64 load_sp);
void thread_start_kernel(void);
void thread_start_user(void);

// What switch_stack pops.
struct switch_frame {
    u64 r15, r14, r13, r12, rbx, rbp;
    void (*ret)(void);
};

static u64 fs_base_read(void)
{
    u64 base;
    __asm__ volatile("rdfsbase %0" : "=r"(base)::"memory");
    return base;
}
static void fs_base_write(u64 base)
{
    if (cpu_has_fsgsbase) {
        __asm__ volatile("wrfsbase %0" ::"r"(base) : "memory");
    } else {
        msr_write(MSR_FS_BASE, base);
    }
}
// Interrupts off: between the two swapgs the GS base is the user's.
static u64 gs_base_read(void)
{
    u64 base;
    __asm__ volatile("swapgs; rdgsbase %0; swapgs" : "=r"(base)::"memory");
    return base;
}
static void gs_base_write(u64 base)
{
    if (cpu_has_fsgsbase) {
        __asm__ volatile("swapgs; wrgsbase %0; swapgs" ::"r"(base) : "memory");
    } else {
        msr_write(MSR_KERNEL_GS_BASE, base);
    }
}

u64 user_fs_base_read(const struct thread *t)
{
    return cpu_has_fsgsbase ? fs_base_read() : t->arch.fs_base;
}
u64 user_gs_base_read(const struct thread *t)
{
    if (!cpu_has_fsgsbase) {
        return t->arch.gs_base;
    }
    unsigned long flags = irq_save();
    u64 base = gs_base_read();
    irq_restore(flags);
    return base;
}

static void user_state_save(struct thread *t)
{
    fpu_save(t);
    if (cpu_has_fsgsbase) {
        t->arch.fs_base = fs_base_read();
        t->arch.gs_base = gs_base_read();
    }
}

static void user_state_load(struct thread *t)
{
    int cpu = (int)cpu_id();
    if (CPU_BLOCK_READ(fpu_owner) == t && t->arch.fpu_cpu == cpu) {
        return;
    }
    fpu_load(t);
    fs_base_write(t->arch.fs_base);
    gs_base_write(t->arch.gs_base);
    t->arch.fpu_cpu = cpu;
    CPU_BLOCK_WRITE(fpu_owner, t);
}

static u64 stack_top(const struct thread *t)
{
    return (u64)t->kstack + KSTACK_SIZE;
}

struct thread *arch_switch(struct thread *prev, struct thread *next)
{
    if (unlikely(prev->arch.has_canary && *(u64 *)prev->kstack != STACK_CANARY)) {
        panic("kernel stack of %s overflowed", prev->name);
    }
    if (prev->arch.fpu != NULL) {
        user_state_save(prev);
    }
    if (next->arch.fpu != NULL) {
        user_state_load(next);
    }
    CPU_BLOCK_WRITE(tss.rsp[0], stack_top(next));
    return switch_stack(prev, &prev->arch.sp, next->arch.sp);
}

// The first frame of a new stack; the start stub finds b in rbx and arg in r12.
static void stack_init(struct thread *t, void (*start)(void), u64 b, u64 arg)
{
    u64 top = stack_top(t) - sizeof(struct trapframe);
    struct switch_frame *s = (struct switch_frame *)top - 1;
    *s = (struct switch_frame){.rbx = b, .r12 = arg, .ret = start};
    t->arch.sp = (u64)s;
    *(u64 *)t->kstack = STACK_CANARY;
    t->arch.has_canary = true;
}

void arch_thread_init_kernel(struct thread *t, void (*fn)(void *), void *arg)
{
    memset((void *)(stack_top(t) - sizeof(struct trapframe)), 0, sizeof(struct trapframe));
    stack_init(t, thread_start_kernel, (u64)fn, (u64)arg);
}

void arch_thread_init_user(struct thread *t, const struct trapframe *f)
{
    struct trapframe *to = (struct trapframe *)(stack_top(t) - sizeof(*to));
    *to = *f;
    to->vector = TRAP_NONE;
    stack_init(t, thread_start_user, (u64)to, 0);
}

static int user_gs_set(u64 base)
{
    if (base >= USER_END) {
        return -EPERM;
    }
    unsigned long flags = irq_save();
    current_thread()->arch.gs_base = base;
    gs_base_write(base);
    irq_restore(flags);
    return 0;
}

void arch_user_regs_init(struct trapframe *f, u64 ip, u64 sp)
{
    *f = (struct trapframe){
        .vector = TRAP_NONE,
        .cs = SEL_USER_CODE,
        .rflags = RFLAGS_IF | 2, // bit 1 is always set
        .rsp = sp,
        .ss = SEL_USER_DATA,
    };
    trap_set_ip(f, ip);
    if (f == current_trapframe()) { // exec: the one register that is not in the frame
        (void)user_gs_set(0);
    }
}

noreturn_fn void arch_enter_user(const struct trapframe *f)
{
    struct trapframe *to = current_trapframe();
    assert(current_thread()->arch.fpu != NULL);
    if (to != f) {
        *to = *f;
    }
    arch_fpu_reset_current(); // what this CPU holds is another thread's
    unsigned long flags = irq_save();
    CPU_BLOCK_WRITE(tss.rsp[0], (u64)(to + 1));
    current_thread()->arch.fpu_cpu = -1;
    user_state_load(current_thread());
    irq_restore(flags);
    trap_enter_user(to);
}

u64 arch_get_tls(void)
{
    return user_fs_base_read(current_thread());
}

int arch_set_tls(struct thread *t, u64 base)
{
    if (base >= USER_END) {
        return -EPERM;
    }
    unsigned long flags = irq_save();
    t->arch.fs_base = base;
    if (t == current_thread()) {
        fs_base_write(base);
    } else {
        t->arch.fpu_cpu = -1; // registers that still hold t's state are out of date
    }
    irq_restore(flags);
    return 0;
}

static int put_user64(u64 addr, u64 value)
{
    return arch_copy_to_user((void *)addr, &value, sizeof(value)) ? -EFAULT : 0;
}

s64 arch_syscall(u64 nr, struct trapframe *f)
{
    struct thread *t = current_thread();
    u64 addr = trap_syscall_arg(f, 1);
    if (nr != NR_ARCH_PRCTL) {
        return -ENOSYS;
    }
    switch (trap_syscall_arg(f, 0)) {
    case ARCH_SET_FS:
        return arch_set_tls(t, addr);
    case ARCH_SET_GS:
        return user_gs_set(addr);
    case ARCH_GET_FS:
        return put_user64(addr, user_fs_base_read(t));
    case ARCH_GET_GS:
        return put_user64(addr, user_gs_base_read(t));
    default:
        return -EINVAL;
    }
}
