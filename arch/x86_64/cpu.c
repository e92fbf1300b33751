// What each CPU must be told before it may run user code: where its per-CPU block is (GS base), its
// descriptor tables, the system call entry, and which protections to enforce.
//
// The tables are per-CPU variables: a task state segment must not be shared, and the rest is small.
// The interrupt descriptor table is the same for all and built once. Descriptors are written anew
// at each load: loading the task register marks its descriptor busy, and would fault on a busy one.
//
// Double faults, NMIs and machine checks run on a stack of their own (IST 1), because the one in
// use may be the problem: too small, for one (kstack.c). All three panic, so one stack serves them
// all. Until there is memory for one with a gap below it, it is a per-CPU variable.
//
// Rejected: segment limits, call gates, the 32-bit system call entry; and turning on what the CPU
// has but nothing here needs (PCID: later, with a measurement).
#include <arch/thread.h>
#include <asm/uaccess.h>
#include <k/assert.h>
#include <k/percpu.h>
#include <k/string.h>
#include "irq.h"
#include "x86_priv.h"

#define CR0_MP (1ul << 1)
#define CR0_EM (1ul << 2)
#define CR0_TS (1ul << 3)
#define CR0_NE (1ul << 5)
#define CR0_WP (1ul << 16)
#define CR0_AM (1ul << 18)

#define CR4_TSD        (1ul << 2)
#define CR4_MCE        (1ul << 6)
#define CR4_PGE        (1ul << 7)
#define CR4_OSFXSR     (1ul << 9)
#define CR4_OSXMMEXCPT (1ul << 10)
#define CR4_UMIP       (1ul << 11)
#define CR4_FSGSBASE   (1ul << 16)
#define CR4_OSXSAVE    (1ul << 18)
#define CR4_SMEP       (1ul << 20)
#define CR4_SMAP       (1ul << 21)

#define CPUID_1_C_XSAVE    (1u << 26)
#define CPUID_7_B_FSGSBASE (1u << 0)
#define CPUID_7_B_SMEP     (1u << 7)
#define CPUID_7_B_ERMS     (1u << 9)
#define CPUID_7_B_SMAP     (1u << 20)
#define CPUID_7_C_UMIP     (1u << 2)

// A code or data descriptor: 64-bit or flat 4 GiB, present, accessed. dpl 0 or 3.
#define DESC_CODE64(dpl) (0x00af9b000000ffffull | (u64)(dpl) << 45)
#define DESC_DATA(dpl)   (0x00cf93000000ffffull | (u64)(dpl) << 45)
#define GDT_ENTRIES      10

#define IST_STACK_SIZE 8192

// entry.S finds the GS base right above the registers that the CPU and the stub push.
struct ist_stack {
    u8 bytes[IST_STACK_SIZE - 16];
    u64 gs_base; // IST 1 points here: 16-byte aligned
    u64 pad;
} __attribute__((aligned(16)));

struct descriptor_tables {
    u64 gdt[GDT_ENTRIES];
    struct ist_stack ist;
};

struct idt_gate {
    u16 offset_low, selector;
    u8 ist, type;
    u16 offset_mid;
    u32 offset_high, zero;
};

struct table_register {
    u16 limit;
    u64 base;
} __attribute__((packed));

DEFINE_PER_CPU(struct cpu_block, cpu_block);
static DEFINE_PER_CPU(u64 *, ist_top); // NULL: descriptor_tables.ist
static DEFINE_PER_CPU(struct descriptor_tables, descriptor_tables);
static struct idt_gate idt[256] __attribute__((aligned(16)));
bool cpu_has_fsgsbase, cpu_has_fast_strings;

static void gs_load(u64 base)
{
    __asm__ volatile("mov %0, %%fs; mov %0, %%gs" ::"r"(0) : "memory");
    msr_write(MSR_FS_BASE, 0);
    msr_write(MSR_GS_BASE, base);
    msr_write(MSR_KERNEL_GS_BASE, 0);
}

void cpu_local_init_early(void)
{
    gs_load((u64)&cpu_block);
}

void cpu_local_init(unsigned n)
{
    struct cpu_block *b = &per_cpu(cpu_block, n);
    struct thread *keep = n == 0 ? current_thread() : NULL;
    memset(b, 0, sizeof(*b));
    b->percpu_offset = percpu_offset[n];
    b->current = keep;
    b->id = n;
    gs_load((u64)b);
}

static void idt_build(void)
{
    for (unsigned v = 0; v < array_size(idt); v++) {
        u64 stub = (u64)trap_stubs + (u64)v * TRAP_STUB_SIZE;
        u64 to = v == TRAP_PF ? (u64)trap_page_fault_entry : stub;
        bool own_stack = v == TRAP_NMI || v == TRAP_DF || v == TRAP_MC;
        bool user_may = v == TRAP_BP || v == TRAP_OF;
        idt[v] = (struct idt_gate){
            .offset_low = (u16)to,
            .selector = SEL_KERNEL_CODE,
            .ist = own_stack ? 1 : 0,
            .type = user_may ? 0xee : 0x8e, // present, interrupt gate
            .offset_mid = (u16)(to >> 16),
            .offset_high = (u32)(to >> 32),
        };
    }
}

static void gdt_build(u64 *gdt, const struct tss *tss)
{
    u64 at = (u64)tss, limit = sizeof(*tss) - 1;
    memset(gdt, 0, GDT_ENTRIES * sizeof(*gdt));
    gdt[SEL_KERNEL_CODE / 8] = DESC_CODE64(0);
    gdt[SEL_KERNEL_DATA / 8] = DESC_DATA(0);
    // SEL_USER_CODE32 stays empty: user code must not reach compatibility mode (see MSR_CSTAR).
    gdt[SEL_USER_DATA / 8] = DESC_DATA(3);
    gdt[SEL_USER_CODE / 8] = DESC_CODE64(3);
    gdt[SEL_TSS / 8] = limit | (at & 0xffffff) << 16 | 0x89ull << 40 | (at >> 24 & 0xff) << 56;
    gdt[SEL_TSS / 8 + 1] = at >> 32;
}

// Load this CPU's tables. The GS selector is left alone: writing it would change the GS base.
static void tables_load(void)
{
    struct descriptor_tables *d = &this_cpu(descriptor_tables);
    struct cpu_block *b = &this_cpu(cpu_block);
    struct table_register gdtr = {sizeof(d->gdt) - 1, (u64)d->gdt};
    struct table_register idtr = {sizeof(idt) - 1, (u64)idt};

    d->ist.gs_base = (u64)b;
    b->tss.ist[0] = (u64)(this_cpu(ist_top) ? this_cpu(ist_top) : &d->ist.gs_base);
    b->tss.io_map_base = sizeof(b->tss); // behind the limit: no port is user's
    gdt_build(d->gdt, &b->tss);

    __asm__ volatile("lgdt %0" ::"m"(gdtr) : "memory");
    __asm__ volatile("push %0; lea 1f(%%rip), %%rax; push %%rax; lretq; 1:" ::"i"(SEL_KERNEL_CODE)
                     : "rax", "memory");
    __asm__ volatile("mov %0, %%ss" ::"r"(SEL_KERNEL_DATA) : "memory");
    __asm__ volatile("mov %0, %%ds; mov %0, %%es" ::"r"(0) : "memory"); // unused in 64-bit mode
    __asm__ volatile("ltr %w0" ::"r"(SEL_TSS) : "memory");
    __asm__ volatile("lidt %0" ::"m"(idtr) : "memory");
}

void trap_guard_ist(unsigned n)
{
    char *stack = arch_kstack_alloc();
    if (!stack) {
        return;
    }
    u64 *top = (u64 *)(stack + KSTACK_SIZE) - 2; // as in struct ist_stack
    *top = (u64)&per_cpu(cpu_block, n);
    per_cpu(ist_top, n) = top;
    per_cpu(cpu_block, n).tss.ist[0] = (u64)top; // an offline CPU's is written anew, from ist_top
}

void trap_init_early(void)
{
    idt_build();
    tables_load();
}

static u64 cr0_read(void)
{
    u64 v;
    __asm__ volatile("mov %%cr0, %0" : "=r"(v)::"memory");
    return v;
}
static void cr0_write(u64 v)
{
    __asm__ volatile("mov %0, %%cr0" ::"r"(v) : "memory");
}
static u64 cr4_read(void)
{
    u64 v;
    __asm__ volatile("mov %%cr4, %0" : "=r"(v)::"memory");
    return v;
}
static void cr4_write(u64 v)
{
    __asm__ volatile("mov %0, %%cr4" ::"r"(v) : "memory");
}

// Turn the no-ops that stand for clac and stac into these. Boot CPU, before any other one runs;
// writing CR0 serializes, so no stale instruction is executed.
static void smap_patch(void)
{
    u64 cr0 = cr0_read();
    cr0_write(cr0 & ~CR0_WP);
    for (struct ex_entry *e = ex_table_start; e < ex_table_end; e++) {
        if (e->fixup == SMAP_OP_CLAC || e->fixup == SMAP_OP_STAC) {
            memcpy((void *)e->insn, &e->fixup, 3);
        }
    }
    cr0_write(cr0);
}

static void features_enable(unsigned n)
{
    struct cpuid c1 = cpuid(1, 0);
    struct cpuid c7 = cpuid(0, 0).a >= 7 ? cpuid(7, 0) : (struct cpuid){0};
    u64 on = CR4_MCE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT;

    on |= c1.c & CPUID_1_C_XSAVE ? CR4_OSXSAVE : 0;
    on |= c7.b & CPUID_7_B_FSGSBASE ? CR4_FSGSBASE : 0;
    on |= c7.b & CPUID_7_B_SMEP ? CR4_SMEP : 0;
    on |= c7.b & CPUID_7_B_SMAP ? CR4_SMAP : 0;
    on |= c7.c & CPUID_7_C_UMIP ? CR4_UMIP : 0;
    if (n == 0) {
        cpu_has_fsgsbase = on & CR4_FSGSBASE;
        cpu_has_fast_strings = c7.b & CPUID_7_B_ERMS;
        if (on & CR4_SMAP) {
            smap_patch();
        }
    }
    cr0_write((cr0_read() & ~(CR0_EM | CR0_TS)) | CR0_MP | CR0_NE | CR0_WP | CR0_AM);
    cr4_write((cr4_read() & ~CR4_TSD) | on);
}

void trap_init_cpu(unsigned n)
{
    tables_load();
    features_enable(n);
    msr_write(MSR_EFER, msr_read(MSR_EFER) | EFER_SCE | EFER_NXE);
    // sysret adds 16 (code) and 8 (stack) to the upper selector.
    msr_write(MSR_STAR, (u64)SEL_KERNEL_CODE << 32 | (u64)SEL_USER_CODE32 << 48);
    msr_write(MSR_LSTAR, (u64)syscall_entry);
    // For `syscall` in compatibility mode, which no descriptor leads to; never 0, which would be an
    // entry into ring 0 at address 0.
    msr_write(MSR_CSTAR, (u64)syscall_entry);
    msr_write(MSR_SFMASK,
              RFLAGS_TF | RFLAGS_IF | RFLAGS_DF | RFLAGS_IOPL | RFLAGS_NT | RFLAGS_RF | RFLAGS_AC);
    fpu_init_cpu(n);
}
