// x86_64: this CPU's block, interrupts, waiting, and the model-specific registers.
//
// In the kernel the GS base points at this CPU's copy of `cpu_block`, a per-CPU variable. Its first
// word is the distance from the .percpu template to this CPU's copies. Until the boot CPU has its
// own area, boot code points GS at the template itself, whose distance is 0: per-CPU variables and
// the functions below work from the first line of C.
#ifndef ASM_CPU_H
#define ASM_CPU_H

// Offsets in struct cpu_block, for entry.S.
#define CPU_BLOCK_USER_RSP 24
#define CPU_BLOCK_RSP0     64

#define MSR_GS_BASE 0xc0000101

#ifndef __ASSEMBLER__
#include <k/types.h>

struct trapframe;
struct thread;

struct tss {
    u32 reserved0;
    u64 rsp[3]; // [0]: the kernel stack at an entry from user mode
    u64 reserved1;
    u64 ist[7];
    u64 reserved2;
    u16 reserved3;
    u16 io_map_base;
} __attribute__((packed));

// Written by its own CPU only, with interrupts off.
struct cpu_block {
    u64 percpu_offset; // must stay first
    struct thread *current;
    u32 id;
    u64 user_rsp;                  // scratch of the system call entry
    struct trapframe *panic_frame; // registers of the trap that panicked
    struct thread *fpu_owner;      // whose state the FPU registers hold, see thread.c
    u32 pad[3];                    // so that tss.rsp[0] is aligned
    struct tss tss;                // rsp[0] also serves the system call entry
} cache_aligned;
_Static_assert(offsetof(struct cpu_block, user_rsp) == CPU_BLOCK_USER_RSP, "entry.S");
_Static_assert(offsetof(struct cpu_block, tss.rsp) == CPU_BLOCK_RSP0, "entry.S");

extern struct cpu_block cpu_block; // the template in .percpu; name it through per_cpu()

// One field of this CPU's block. The unused memory operand makes the compiler read the field again
// after a call or a compiler barrier, behind which the thread may run on another CPU.
#define CPU_BLOCK_READ(field)                                                                      \
    ({                                                                                             \
        typeof(cpu_block.field) value_;                                                            \
        __asm__("mov %%gs:%c1, %0"                                                                 \
                : "=r"(value_)                                                                     \
                : "i"(offsetof(struct cpu_block, field)), "m"(cpu_block));                         \
        value_;                                                                                    \
    })
#define CPU_BLOCK_WRITE(field, value)                                                              \
    __asm__ volatile("mov %0, %%gs:%c1"                                                            \
                     :                                                                             \
                     : "r"((typeof(cpu_block.field))(value)),                                      \
                       "i"(offsetof(struct cpu_block, field))                                      \
                     : "memory")

static inline unsigned long arch_percpu_offset(void)
{
    return CPU_BLOCK_READ(percpu_offset);
}
static inline unsigned cpu_id(void)
{
    return CPU_BLOCK_READ(id);
}
static inline struct thread *current_thread(void)
{
    return CPU_BLOCK_READ(current);
}
static inline void current_thread_set(struct thread *t)
{
    CPU_BLOCK_WRITE(current, t);
}

static inline void cpu_relax(void)
{
    __asm__ volatile("pause" ::: "memory");
}

#define RFLAGS_TF     (1ul << 8)
#define RFLAGS_IF     (1ul << 9)
#define RFLAGS_DF     (1ul << 10)
#define RFLAGS_IOPL   (3ul << 12)
#define RFLAGS_NT     (1ul << 14)
#define RFLAGS_RF     (1ul << 16)
#define RFLAGS_AC     (1ul << 18)
#define RFLAGS_ID     (1ul << 21)
#define RFLAGS_STATUS 0x8d5ul // carry, parity, adjust, zero, sign, overflow

static inline unsigned long cpu_flags(void)
{
    unsigned long flags;
    __asm__ volatile("pushfq; popq %0" : "=r"(flags)::"memory");
    return flags;
}
static inline bool irq_enabled(void)
{
    return cpu_flags() & RFLAGS_IF;
}
static inline void irq_enable(void)
{
    __asm__ volatile("sti" ::: "memory");
}
static inline void irq_disable(void)
{
    __asm__ volatile("cli" ::: "memory");
}
static inline unsigned long irq_save(void)
{
    unsigned long flags = cpu_flags();
    irq_disable();
    return flags;
}
static inline void irq_restore(unsigned long flags)
{
    if (flags & RFLAGS_IF) {
        irq_enable();
    }
}

// `sti` takes effect after the next instruction: no interrupt can slip in before the `hlt`.
static inline void cpu_wait_irq(void)
{
    __asm__ volatile("sti; hlt" ::: "memory");
}

static inline noreturn_fn void cpu_stop(void)
{
    for (;;) {
        __asm__ volatile("cli; hlt" ::: "memory");
    }
}

static inline u64 cpu_cycles(void)
{
    u32 lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return (u64)hi << 32 | lo;
}

// --- For arch/x86_64 only ------------------------------------------------------------------------

#define MSR_EFER           0xc0000080u
#define MSR_STAR           0xc0000081u
#define MSR_LSTAR          0xc0000082u
#define MSR_CSTAR          0xc0000083u
#define MSR_SFMASK         0xc0000084u
#define MSR_FS_BASE        0xc0000100u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define EFER_SCE           (1ul << 0)
#define EFER_NXE           (1ul << 11)

static inline u64 msr_read(u32 msr)
{
    u32 lo, hi;
    __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
    return (u64)hi << 32 | lo;
}
static inline void msr_write(u32 msr, u64 value)
{
    __asm__ volatile("wrmsr" ::"c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

struct cpuid {
    u32 a, b, c, d;
};
static inline struct cpuid cpuid(u32 leaf, u32 subleaf)
{
    struct cpuid r;
    __asm__ volatile("cpuid"
                     : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d)
                     : "0"(leaf), "2"(subleaf));
    return r;
}
#endif
#endif
