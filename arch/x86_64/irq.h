// Interrupt vectors, and who calls whom between the trap code (trap.c, cpu.c), the interrupt
// controllers (apic.c, ioapic.c), the clock (time.c) and the start-up code (boot.c, smp.c).
#ifndef X86_64_IRQ_H
#define X86_64_IRQ_H

#include <k/atomic.h>
#include <k/percpu.h>
#include <k/types.h>

// Vectors 0..31 are the processor's exceptions. Everything from VEC_EXTERNAL on is an interrupt
// and goes to irq_interrupt().
enum vector {
    VEC_EXTERNAL = 0x20, // first that is not an exception
    VEC_PIC = 0x20,      // 0x20..0x2f: the masked 8259s; only spurious ones can arrive
    VEC_LINE = 0x30,     // 0x30..0x6f: interrupt lines, given out by ioapic.c
    VEC_LINE_END = 0x70,
    VEC_TIMER = 0xef,    // this CPU's local timer
    VEC_IPI = 0xf0,      // another CPU set our pending word
    VEC_ERROR = 0xfe,    // local APIC error
    VEC_SPURIOUS = 0xff, // no end-of-interrupt for this one
};

// --- apic.c: the trap code calls it for every vector >= VEC_EXTERNAL, interrupts off, %gs right.
// It acknowledges the interrupt itself. from_user: the interrupted code was user code.
void irq_interrupt(unsigned vector, bool from_user);

// --- cpu.c defines these; the start-up code calls them.
// %gs base at the .percpu template (offset 0), for the boot CPU's first C code. Must not use %gs.
void cpu_local_init_early(void);
// %gs base at CPU n's own area (percpu_offset[n] is set), offset and cpu number stored in it. First
// thing on a secondary CPU, and in arch_init_cpu(0). The current thread of the boot CPU is kept.
void cpu_local_init(unsigned n);
// A boot-time IDT on the boot CPU, so that an early fault prints something. After the console.
void trap_init_early(void);
// This CPU's GDT, TSS, IDT, system call MSRs, CR0/CR4 protection bits, FPU. Called by
// arch_init_cpu(n).
void trap_init_cpu(unsigned n);

// --- kmap.c
void kmap_init(void);     // boot CPU: build and load the final tables
void kmap_init_cpu(void); // a secondary CPU: load them

// --- apic.c. Sending works in any context; the rest is for this CPU's own local APIC.
void apic_init_early(void); // boot CPU: x2APIC or xAPIC, map the registers, enable
void apic_init_cpu(void);   // every CPU
void apic_eoi(void);
u32 apic_id(void);
bool apic_is_x2(void);
bool apic_id_reachable(u32 id); // it fits the mode's destination field
void apic_send(u32 dest_apic_id, u32 icr_low);
void apic_timer_one_shot(void);       // mode: counts down from what set_ticks gives, unscaled
void apic_timer_tsc_deadline(void);   // mode: fires when the TSC reaches the deadline MSR
void apic_timer_set_ticks(u32 ticks); // 0 stops
u32 apic_timer_ticks_left(void);

// --- time.c
void time_init_early(void); // this moment is 0; the clock stands there until time_init
void time_init(void);       // after ACPI: measure the counter, start the clock
void time_init_cpu(void);   // after apic_init_cpu: this CPU's timer, off; boot CPU: measure it
void time_interrupt(bool from_user);
void clock_delay_ns(u64 ns); // busy wait

u64 clock_counter_hz(void); // of the TSC

// --- cpuinfo.c: interrupts by vector; each CPU writes its own.
struct irq_counts {
    atomic_uint nr[256 - VEC_EXTERNAL];
};
DECLARE_PER_CPU(struct irq_counts, irq_counts);

// --- ioapic.c
int ioapic_line_of(unsigned vector); // the global number of the line with this vector, -1: none
void pic_silence(void);              // before apic_init_early
void ioapic_init(void);              // after ACPI: map the I/O APICs, mask every line
void ioapic_interrupt(unsigned vector);

// --- smp.c
void smp_find_cpus(void); // after ACPI and apic_init_early
void smp_ipi_received(void);
u32 smp_apic_id_of(unsigned cpu);

// --- Port I/O
static inline void port_out8(u16 port, u8 value)
{
    __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}
static inline void port_out16(u16 port, u16 value)
{
    __asm__ volatile("outw %0, %1" ::"a"(value), "Nd"(port));
}
static inline void port_out32(u16 port, u32 value)
{
    __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}
static inline u8 port_in8(u16 port)
{
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline u16 port_in16(u16 port)
{
    u16 value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline u32 port_in32(u16 port)
{
    u32 value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

#endif
