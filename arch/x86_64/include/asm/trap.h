// x86_64: the registers saved at an entry into the kernel, for traps, interrupts and system calls.
#ifndef ASM_TRAP_H
#define ASM_TRAP_H

// Selectors: those user code sees are the ones Linux has.
#define SEL_KERNEL_CODE 0x10
#define SEL_KERNEL_DATA 0x18
#define SEL_USER_CODE32 0x23
#define SEL_USER_DATA   0x2b
#define SEL_USER_CODE   0x33
#define SEL_TSS         0x40

#define TRAP_DE        0
#define TRAP_DB        1
#define TRAP_NMI       2
#define TRAP_BP        3
#define TRAP_OF        4
#define TRAP_BR        5
#define TRAP_UD        6
#define TRAP_DF        8
#define TRAP_NP        11
#define TRAP_SS        12
#define TRAP_GP        13
#define TRAP_PF        14
#define TRAP_MF        16
#define TRAP_AC        17
#define TRAP_MC        18
#define TRAP_XM        19
#define TRAP_IRQ_FIRST 32
// Not vectors: how the frame came to be.
#define TRAP_SYSCALL 0x100
#define TRAP_NONE    0x101 // made or replaced by the kernel: first entry, rt_sigreturn

#define TRAPFRAME_SIZE   176
#define TRAPFRAME_R11    48
#define TRAPFRAME_RCX    88
#define TRAPFRAME_VECTOR 120
#define TRAPFRAME_RIP    136
#define TRAPFRAME_CS     144
#define TRAPFRAME_RFLAGS 152
#define TRAPFRAME_RSP    160
#define TRAPFRAME_SS     168

#ifndef __ASSEMBLER__
#include <arch/mmu.h>
#include <k/types.h>

struct trapframe {
    u64 r15, r14, r13, r12, rbp, rbx;
    u64 r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    u64 vector;
    u64 error; // the CPU's error code; TRAP_SYSCALL: the call's number
    u64 rip, cs, rflags, rsp, ss;
};
_Static_assert(sizeof(struct trapframe) == TRAPFRAME_SIZE, "entry.S");
_Static_assert(offsetof(struct trapframe, r11) == TRAPFRAME_R11, "entry.S");
_Static_assert(offsetof(struct trapframe, rcx) == TRAPFRAME_RCX, "entry.S");
_Static_assert(offsetof(struct trapframe, vector) == TRAPFRAME_VECTOR, "entry.S");
_Static_assert(offsetof(struct trapframe, rip) == TRAPFRAME_RIP, "entry.S");

static inline bool trap_from_user(const struct trapframe *f)
{
    return f->cs & 3;
}
static inline u64 trap_ip(const struct trapframe *f)
{
    return f->rip;
}
static inline u64 trap_sp(const struct trapframe *f)
{
    return f->rsp;
}
// An address no user code can have becomes one that faults in user mode: `iret` itself must never
// meet a non-canonical address.
static inline void trap_set_ip(struct trapframe *f, u64 ip)
{
    f->rip = ip < USER_END ? ip : USER_END;
}
static inline void trap_set_sp(struct trapframe *f, u64 sp)
{
    f->rsp = sp;
}

static inline bool trap_in_syscall(const struct trapframe *f)
{
    return f->vector == TRAP_SYSCALL;
}
static inline u64 trap_syscall_nr(const struct trapframe *f)
{
    return f->error;
}
static inline u64 trap_syscall_arg(const struct trapframe *f, unsigned i)
{
    switch (i) {
    case 0:
        return f->rdi;
    case 1:
        return f->rsi;
    case 2:
        return f->rdx;
    case 3:
        return f->r10;
    case 4:
        return f->r8;
    default:
        return f->r9;
    }
}
static inline void trap_set_result(struct trapframe *f, s64 result)
{
    f->rax = (u64)result;
}
static inline s64 trap_result(const struct trapframe *f)
{
    return (s64)f->rax;
}
// `syscall` is two bytes long.
static inline void trap_restart_syscall(struct trapframe *f)
{
    f->rax = f->error;
    f->rip -= 2;
}

#define ARCH_SYSCALL_NR(x86_64, aarch64) (x86_64)
#define ARCH_CLONE_CTID_ARG              3
#define ARCH_CLONE_TLS_ARG               4
#endif
#endif
