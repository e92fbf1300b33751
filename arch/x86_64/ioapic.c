// I/O APICs: interrupt lines to vectors (82093AA data sheet; ACPI for where they are).
//
// A driver names an ISA interrupt or a global interrupt number below 256. MADT overrides say which
// global number, polarity and trigger an ISA interrupt really has; without one it is identical,
// edge, active high. Every registered line gets a vector of its own and goes to the boot CPU.
// Registration happens at boot, one CPU; the table is only read afterwards, so the interrupt path
// takes no lock. The 8259s are moved off the exceptions' vectors and masked for good.
#include <acpi.h>
#include <arch/boot.h>
#include <arch/mmu.h>
#include <k/errno.h>
#include <k/printk.h>
#include "irq.h"

#define IOAPIC_DEFAULT 0xfec00000ul // where PCs have had it without any table saying so
#define IOREGSEL       0
#define IOWIN          4 // in 32-bit words
#define REG_VERSION    1u
#define REG_REDIRECT   0x10u
#define RED_ACTIVE_LOW (1u << 13)
#define RED_LEVEL      (1u << 15)
#define RED_MASKED     (1u << 16)
#define NR_ISA         16

struct ioapic {
    volatile u32 *registers;
    u32 gsi_base, nr_lines;
};
struct line {
    void (*fn)(void *);
    void *arg;
    u32 gsi;
};

static struct ioapic ioapics[ACPI_MAX_IOAPICS];
static unsigned nr_ioapics;
static struct line lines[VEC_LINE_END - VEC_LINE]; // by vector
static unsigned nr_lines_used;

static u32 ioapic_read(struct ioapic *io, u32 reg)
{
    io->registers[IOREGSEL] = reg;
    return io->registers[IOWIN];
}

static void ioapic_write(struct ioapic *io, u32 reg, u32 value)
{
    io->registers[IOREGSEL] = reg;
    io->registers[IOWIN] = value;
}

void pic_silence(void)
{
    static const u8 script[][2] = {
        {0x20, 0x11},    {0xa0, 0x11},        // initialise, four words
        {0x21, VEC_PIC}, {0xa1, VEC_PIC + 8}, // vectors
        {0x21, 4},       {0xa1, 2},           // cascade
        {0x21, 1},       {0xa1, 1},           // 8086 mode
        {0x21, 0xff},    {0xa1, 0xff},        // all masked
    };
    for (unsigned i = 0; i < array_size(script); i++) {
        port_out8(script[i][0], script[i][1]);
    }
}

static void ioapic_add(paddr_t address, u32 gsi_base)
{
    struct ioapic *io = &ioapics[nr_ioapics];
    io->registers = mmu_map_device(address, 32);
    if (!io->registers) {
        return;
    }
    u32 version = ioapic_read(io, REG_VERSION);
    if (version == ~0u || version == 0) {
        return; // nobody there
    }
    io->gsi_base = gsi_base;
    io->nr_lines = (version >> 16 & 0xff) + 1;
    for (u32 i = 0; i < io->nr_lines; i++) {
        ioapic_write(io, REG_REDIRECT + 2 * i, RED_MASKED);
    }
    nr_ioapics++;
}

void ioapic_init(void)
{
    for (unsigned i = 0; i < acpi.nr_ioapics; i++) {
        ioapic_add(acpi.ioapic[i].address, acpi.ioapic[i].gsi_base);
    }
    if (!acpi.have_madt) {
        ioapic_add(IOAPIC_DEFAULT, 0);
    }
    if (nr_ioapics == 0) {
        printk("ioapic: none found, no device interrupts\n");
    }
}

static struct ioapic *ioapic_of(u32 gsi)
{
    for (unsigned i = 0; i < nr_ioapics; i++) {
        if (gsi >= ioapics[i].gsi_base && gsi - ioapics[i].gsi_base < ioapics[i].nr_lines) {
            return &ioapics[i];
        }
    }
    return NULL;
}

// The global number of a driver's line, with its redirection bits.
static u32 line_resolve(unsigned line, u32 *bits)
{
    *bits = 0;
    for (unsigned i = 0; line < NR_ISA && i < acpi.nr_overrides; i++) {
        const struct acpi_override *o = &acpi.override[i];
        if (o->isa == line) {
            *bits = (o->active_low ? RED_ACTIVE_LOW : 0) | (o->level ? RED_LEVEL : 0);
            return o->gsi;
        }
    }
    if (line >= NR_ISA) {
        *bits = RED_ACTIVE_LOW | RED_LEVEL; // PCI
    }
    return line;
}

int arch_irq_register(unsigned line, void (*fn)(void *), void *arg)
{
    u32 bits, gsi = line_resolve(line, &bits);
    struct ioapic *io = ioapic_of(gsi);
    if (!io) {
        return -ENODEV;
    }
    for (unsigned i = 0; i < nr_lines_used; i++) {
        if (lines[i].gsi == gsi) {
            return -EBUSY;
        }
    }
    if (nr_lines_used == array_size(lines)) {
        return -EBUSY;
    }
    unsigned vector = VEC_LINE + nr_lines_used;
    u32 reg = REG_REDIRECT + 2 * (gsi - io->gsi_base);
    lines[nr_lines_used++] = (struct line){fn, arg, gsi};
    ioapic_write(io, reg + 1, smp_apic_id_of(0) << 24);
    ioapic_write(io, reg, bits | vector);
    return 0;
}

int ioapic_line_of(unsigned vector)
{
    unsigned i = vector - VEC_LINE;
    return vector >= VEC_LINE && i < nr_lines_used ? (int)lines[i].gsi : -1;
}

void ioapic_interrupt(unsigned vector)
{
    const struct line *l = &lines[vector - VEC_LINE];
    if (l->fn) {
        l->fn(l->arg);
    }
}
