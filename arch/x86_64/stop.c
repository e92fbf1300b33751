// The ends of the machine: power-off, restart, and the end after a panic.
//
// What is most certain comes first. Power-off: the emulator's debug-exit port (only if the command
// line names it: on a real machine that port could be anything), then ACPI S5 or its
// reduced-hardware form. Restart: ACPI's reset register, the keyboard controller, the chipset's
// reset port, a triple fault. Each is given time, since firmware may do it in its own mode, behind
// our back.
//
// Into S5 (ACPI 6.4, 4.8.3 and 16.1.6), without \_PTS, which would take an AML interpreter:
//
//     SMI_CMD     the firmware hands the registers over; SCI_EN shows that it has
//     events      none may wake the machine at once: enables off, status cleared
//     PM1a, PM1b  the type alone, then type and SLP_EN: some chipsets latch the type first
//
// Registers in memory are mapped at boot: a late moment is no time to run out of anything. The
// other CPUs stop first, so that nothing goes on while firmware takes the machine down.
#include <acpi.h>
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <arch/time.h>
#include <bootinfo.h>
#include <k/printk.h>
#include <k/string.h>
#include <smp.h>
#include <uart.h>
#include "irq.h"
#include "x86_priv.h"

#define EXIT_CLEAN       0x10
#define EXIT_PANIC       0x31
#define PM1_SCI_EN       1u
#define PM1_SLEEP_TYPE   (7u << 10)
#define PM1_SLEEP_ENABLE (1u << 13)
#define PM1_STATUS       0xc731u   // timer, bus master, global lock, buttons, clock, PCIe, wake
#define PM1_ENABLE       0x0721u   // of these the ones to be enabled; bit 14 says "not" for PCIe
#define SLEEP_ENABLE     (1u << 5) // reduced hardware
#define SLEEP_WAKE       (1u << 7) // status of the same
#define PCI_ADDRESS      0xcf8
#define PCI_DATA         0xcfc
#define PCI_ENABLE       (1u << 31)
#define RESET_PORT       0xcf9 // 82371 (PIIX) data sheet, and its successors
#define KBD_STATUS       0x64
#define KBD_BUSY         0x02
#define KBD_PULSE_RESET  0xfe
#define HANDOVER_NS      3000000000ull // as long as firmware may take to turn ACPI on
#define OFF_NS           2000000000ull
#define RESET_NS         50000000ull

// --- Registers

static void register_map(struct acpi_register *r, u64 len)
{
    if (r->address && r->space == ACPI_SPACE_MEMORY) {
        r->mapped = mmu_map_device(r->address, len);
    }
}

void stop_init(void)
{
    struct acpi_register *events[] = {&acpi.pm1a_event, &acpi.pm1b_event, &acpi.gpe0, &acpi.gpe1};
    for (unsigned i = 0; i < array_size(events); i++) {
        register_map(events[i], events[i]->len_bytes);
    }
    register_map(&acpi.pm1a_control, 2);
    register_map(&acpi.pm1b_control, 2);
    register_map(&acpi.sleep_control, 1);
    register_map(&acpi.sleep_status, 1);
    register_map(&acpi.reset, 1);
}

static bool register_is_port(const struct acpi_register *r)
{
    return r->address && r->space == ACPI_SPACE_IO;
}

static u16 register_read16(const struct acpi_register *r, unsigned offset)
{
    if (r->mapped) {
        return *(volatile u16 *)((volatile u8 *)r->mapped + offset);
    }
    return register_is_port(r) ? port_in16((u16)(r->address + offset)) : 0;
}

static void register_write16(const struct acpi_register *r, unsigned offset, u16 value)
{
    if (r->mapped) {
        *(volatile u16 *)((volatile u8 *)r->mapped + offset) = value;
    } else if (register_is_port(r)) {
        port_out16((u16)(r->address + offset), value);
    }
}

static void register_write8(const struct acpi_register *r, unsigned offset, u8 value)
{
    if (r->mapped) {
        ((volatile u8 *)r->mapped)[offset] = value;
    } else if (register_is_port(r)) {
        port_out8((u16)(r->address + offset), value);
    }
}

// --- Power-off

static void debug_exit(u32 code)
{
    char text[16];
    const char *end;
    if (boot_arg("exitport", text, sizeof(text))) {
        port_out32((u16)parse_u64(text, &end), code);
    }
}

static void acpi_mode_enter(void)
{
    const struct acpi_register *pm1a = &acpi.pm1a_control;
    if (acpi.smi_command == 0 || acpi.acpi_enable == 0 || (register_read16(pm1a, 0) & PM1_SCI_EN)) {
        return;
    }
    u64 deadline = clock_ns() + HANDOVER_NS;
    port_out8((u16)acpi.smi_command, acpi.acpi_enable);
    while (!(register_read16(pm1a, 0) & PM1_SCI_EN) && clock_ns() < deadline) {
        cpu_relax();
    }
}

// PM1's registers are of 16 bits, the general purpose ones of 8.
static void events_silence(const struct acpi_register *pm1, const struct acpi_register *gpe)
{
    if (pm1->len_bytes >= 4) {
        unsigned enable = pm1->len_bytes / 2u;
        register_write16(pm1, enable, register_read16(pm1, enable) & ~PM1_ENABLE);
        register_write16(pm1, 0, PM1_STATUS);
    }
    for (unsigned i = 0; i < gpe->len_bytes / 2u; i++) {
        register_write8(gpe, gpe->len_bytes / 2u + i, 0);
        register_write8(gpe, i, 0xff);
    }
}

static void pm1_sleep(u16 enable)
{
    u16 a = register_read16(&acpi.pm1a_control, 0) & ~(PM1_SLEEP_TYPE | PM1_SLEEP_ENABLE);
    u16 b = register_read16(&acpi.pm1b_control, 0) & ~(PM1_SLEEP_TYPE | PM1_SLEEP_ENABLE);
    register_write16(&acpi.pm1a_control, 0, (u16)(a | (acpi.s5_type_a & 7u) << 10 | enable));
    register_write16(&acpi.pm1b_control, 0, (u16)(b | (acpi.s5_type_b & 7u) << 10 | enable));
}

static void acpi_poweroff(void)
{
    if (!acpi.have_s5) {
        return;
    }
    if (acpi.sleep_control.address) {
        register_write8(&acpi.sleep_status, 0, SLEEP_WAKE);
        register_write8(&acpi.sleep_control, 0, (u8)((acpi.s5_type_a & 7u) << 2 | SLEEP_ENABLE));
    } else {
        acpi_mode_enter();
        events_silence(&acpi.pm1a_event, &acpi.gpe0);
        events_silence(&acpi.pm1b_event, &acpi.gpe1);
        pm1_sleep(0);
        pm1_sleep(PM1_SLEEP_ENABLE);
    }
    clock_delay_ns(OFF_NS);
}

noreturn_fn void arch_poweroff(void)
{
    irq_disable();
    uart_drain(&uart_console, CONSOLE_PATIENCE);
    debug_exit(EXIT_CLEAN);
    smp_stop_others();
    acpi_poweroff();
    printk("power-off has no effect here; halted\n");
    cpu_stop();
}

// --- Restart

// The configuration space is behind the two ports (mechanism 1): the address reads back.
static bool pci_here(void)
{
    u32 old = port_in32(PCI_ADDRESS);
    port_out32(PCI_ADDRESS, PCI_ENABLE);
    bool here = port_in32(PCI_ADDRESS) == PCI_ENABLE;
    port_out32(PCI_ADDRESS, old);
    return here;
}

static void reset_acpi(void)
{
    u64 at = acpi.reset.address;
    if (acpi.reset.space != ACPI_SPACE_PCI) {
        register_write8(&acpi.reset, 0, acpi.reset_value);
    } else if (at && pci_here()) { // 5.2.3.2: device, function and offset, 16 bits each; bus 0
        u32 device = at >> 32 & 31, function = at >> 16 & 7, offset = at & 255;
        port_out32(PCI_ADDRESS, PCI_ENABLE | device << 11 | function << 8 | (offset & ~3u));
        port_out8((u16)(PCI_DATA + (offset & 3)), acpi.reset_value);
    }
}

// The controller's line to the processor's reset. It drops what comes while it is busy.
static void reset_keyboard(void)
{
    u64 deadline = clock_ns() + RESET_NS;
    while ((port_in8(KBD_STATUS) & KBD_BUSY) && clock_ns() < deadline) {
        cpu_relax();
    }
    port_out8(KBD_STATUS, KBD_PULSE_RESET);
}

// All of the machine, without power-cycling it: first the kind of reset, then the edge.
static void reset_chipset(void)
{
    if (pci_here()) {
        port_out8(RESET_PORT, 0x02);
        clock_delay_ns(50000);
        port_out8(RESET_PORT, 0x06);
    }
}

noreturn_fn void arch_reboot(void)
{
    static const struct {
        u16 limit;
        u64 base;
    } __attribute__((packed)) no_idt = {0, 0};
    irq_disable();
    uart_drain(&uart_console, CONSOLE_PATIENCE);
    smp_stop_others();
    reset_acpi();
    clock_delay_ns(RESET_NS);
    if (!acpi.no_i8042) {
        reset_keyboard();
        clock_delay_ns(RESET_NS);
    }
    reset_chipset();
    clock_delay_ns(RESET_NS);
    __asm__ volatile("lidt %0; int3" ::"m"(no_idt)); // a triple fault resets
    cpu_stop();
}

noreturn_fn void arch_panic_exit(void)
{
    irq_disable();
    uart_drain(&uart_console, CONSOLE_PATIENCE);
    debug_exit(EXIT_PANIC);
    cpu_stop();
}
