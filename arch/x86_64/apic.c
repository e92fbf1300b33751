// The local interrupt controller of each CPU: xAPIC (memory-mapped registers) or x2APIC (the same
// registers as MSRs, 32-bit CPU numbers), Intel SDM volume 3, chapter 11. x2APIC is used wherever
// the CPU has it, unless the command line says nox2apic; a machine that the firmware left in x2APIC
// mode stays in it, because the way back needs a reset.
//
// irq_interrupt is where every interrupt arrives. Edge-like ones (timer, IPI) are acknowledged
// first; a line is acknowledged after its handler, which is right for level-triggered lines too.
#include <acpi.h>
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <arch/trap.h>
#include <bootinfo.h>
#include <k/assert.h>
#include <k/printk.h>
#include "irq.h"

#define MSR_APIC_BASE 0x1bu
#define APIC_BASE_X2  (1ul << 10)
#define APIC_BASE_EN  (1ul << 11)
#define MSR_X2APIC    0x800u // register r is MSR 0x800 + r / 16
#define CPUID_X2APIC  (1u << 21)
#define XAPIC_ID_MAX  0xfeu

enum apic_register {
    APIC_ID = 0x20,
    APIC_TPR = 0x80,
    APIC_EOI = 0xb0,
    APIC_SPURIOUS = 0xf0,
    APIC_ESR = 0x280,
    APIC_ICR = 0x300,
    APIC_ICR_HIGH = 0x310, // xAPIC only
    APIC_LVT_TIMER = 0x320,
    APIC_LVT_LINT0 = 0x350,
    APIC_LVT_LINT1 = 0x360,
    APIC_LVT_ERROR = 0x370,
    APIC_TIMER_INITIAL = 0x380,
    APIC_TIMER_CURRENT = 0x390,
    APIC_TIMER_DIVIDE = 0x3e0,
};
#define LVT_MASKED       (1u << 16)
#define LVT_EXTINT       (7u << 8)
#define LVT_NMI          (4u << 8)
#define LVT_TSC_DEADLINE (2u << 17)
#define SPURIOUS_ENABLE  (1u << 8)
#define DIVIDE_BY_1      0xbu
#define ICR_BUSY         (1u << 12)

static volatile u32 *registers; // xAPIC
static bool x2;

static u32 apic_read(unsigned reg)
{
    return x2 ? (u32)msr_read(MSR_X2APIC + reg / 16) : registers[reg / 4];
}

static void apic_write(unsigned reg, u32 value)
{
    if (x2) {
        msr_write(MSR_X2APIC + reg / 16, value);
    } else {
        registers[reg / 4] = value;
    }
}

bool apic_is_x2(void)
{
    return x2;
}

u32 apic_id(void)
{
    return x2 ? apic_read(APIC_ID) : apic_read(APIC_ID) >> 24;
}

bool apic_id_reachable(u32 id)
{
    return x2 || id <= XAPIC_ID_MAX;
}

void apic_eoi(void)
{
    apic_write(APIC_EOI, 0);
}

void apic_init_early(void)
{
    u64 base = msr_read(MSR_APIC_BASE);
    bool has_x2 = cpuid(1, 0).c & CPUID_X2APIC;
    x2 = (base & APIC_BASE_X2) || (has_x2 && !boot_flag("nox2apic"));
    if (!x2) {
        registers = mmu_map_device(base & PTE_ADDR, PAGE_SIZE);
        assert(registers != NULL);
    }
    msr_write(MSR_APIC_BASE, base | APIC_BASE_EN | (x2 ? APIC_BASE_X2 : 0));
}

void apic_init_cpu(void)
{
    u64 base = msr_read(MSR_APIC_BASE);
    msr_write(MSR_APIC_BASE, base | APIC_BASE_EN | (x2 ? APIC_BASE_X2 : 0));
    apic_write(APIC_SPURIOUS, SPURIOUS_ENABLE | VEC_SPURIOUS);
    apic_write(APIC_TPR, 0);
    // The 8259s hang on LINT0. They are silent already: masking it while they ask would leave QEMU
    // with an interrupt request that has no vector.
    apic_write(APIC_LVT_LINT0, LVT_EXTINT | LVT_MASKED);
    apic_write(APIC_LVT_LINT1, LVT_NMI);
    apic_write(APIC_LVT_ERROR, VEC_ERROR);
    apic_write(APIC_ESR, 0);
    apic_timer_one_shot();
    apic_eoi(); // in case the firmware left one unanswered
}

// --- The timer; time.c decides which of its two modes is used.

void apic_timer_one_shot(void)
{
    apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_LVT_TIMER, VEC_TIMER);
    apic_write(APIC_TIMER_INITIAL, 0);
}

void apic_timer_tsc_deadline(void)
{
    apic_write(APIC_LVT_TIMER, LVT_TSC_DEADLINE | VEC_TIMER);
    __asm__ volatile("mfence" ::: "memory"); // SDM 11.5.4.1: before the deadline MSR is written
}

void apic_timer_set_ticks(u32 ticks)
{
    apic_write(APIC_TIMER_INITIAL, ticks);
}

u32 apic_timer_ticks_left(void)
{
    return apic_read(APIC_TIMER_CURRENT);
}

// --- Sending

void apic_send(u32 dest_apic_id, u32 icr_low)
{
    if (x2) {
        // A WRMSR to x2APIC space is not ordered behind earlier stores (SDM 11.12.3).
        __asm__ volatile("mfence; lfence" ::: "memory");
        msr_write(MSR_X2APIC + APIC_ICR / 16, (u64)dest_apic_id << 32 | icr_low);
        return;
    }
    unsigned long flags = irq_save(); // the two halves belong together
    while (registers[APIC_ICR / 4] & ICR_BUSY) {
        cpu_relax();
    }
    registers[APIC_ICR_HIGH / 4] = dest_apic_id << 24;
    registers[APIC_ICR / 4] = icr_low;
    irq_restore(flags);
}

// --- Receiving

static void apic_error(void)
{
    apic_write(APIC_ESR, 0);
    u32 status = apic_read(APIC_ESR);
    apic_eoi();
    printk_once("apic: error interrupt, status %#x\n", status);
}

void irq_interrupt(unsigned vector, bool from_user)
{
    atomic_uint *count = &this_cpu(irq_counts).nr[vector - VEC_EXTERNAL];
    store_relaxed(count, load_relaxed(count) + 1);
    switch (vector) {
    case VEC_TIMER:
        apic_eoi();
        time_interrupt(from_user);
        break;
    case VEC_IPI:
        apic_eoi();
        smp_ipi_received();
        break;
    case VEC_ERROR:
        apic_error();
        break;
    case VEC_SPURIOUS:
        break;
    default:
        if (vector >= VEC_LINE && vector < VEC_LINE_END) {
            ioapic_interrupt(vector);
            apic_eoi();
        } else if (vector >= VEC_LINE_END) {
            apic_eoi();
            printk_once("apic: interrupt on unused vector %#x\n", vector);
        } // else: a spurious one from the masked 8259s, which expects no answer
        break;
    }
}
