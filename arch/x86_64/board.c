// The PC as a board: console, finding the firmware's tables, ways to stop.
//
// Stopping tries what is most certain first: the emulator's debug-exit port (only if the command
// line names it: on a real machine that port could be anything), ACPI S5 or its reduced-hardware
// form. Register addresses in memory are mapped at boot, because the stop may come from a panic.
#include <acpi.h>
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <bootinfo.h>
#include <k/printk.h>
#include <k/string.h>
#include <screen.h>
#include <uart.h>
#include "irq.h"
#include "x86_priv.h"

#define EXIT_CLEAN       0x10
#define EXIT_PANIC       0x31
#define CONSOLE_PATIENCE 4000000ul // looks at a busy port: seconds; then the text is lost
#define PM1_SCI_EN       1u
#define PM1_SLEEP_ENABLE (1u << 13)
#define SLEEP_ENABLE     (1u << 5) // reduced hardware
#define VGA_TEXT_PA      0xb8000ul
#define STOP_LOOKS       100000 // how often to look for an effect

static volatile u8 *sleep_mapped, *reset_mapped;

// --- Console and ports

void arch_console_write(const char *s, size_t n)
{
    screen_write_kernel(s, n);
    while (n > 0) {
        size_t plain = 0;
        while (plain < n && s[plain] != '\n') {
            plain++;
        }
        uart_write(&uart_console, (const u8 *)s, plain, CONSOLE_PATIENCE);
        if (plain < n) {
            uart_write(&uart_console, (const u8 *)"\r\n", 2, CONSOLE_PATIENCE);
            plain++;
        }
        s += plain;
        n -= plain;
    }
}

void arch_console_putc(char c)
{
    arch_console_write(&c, 1);
}

u8 arch_port_read8(u16 port)
{
    return port_in8(port);
}

void arch_port_write8(u16 port, u8 value)
{
    port_out8(port, value);
}

// --- Screen

// Is the VGA in its colour text mode? The BIOS says so in its data area (mode number at 0x449,
// columns, rows less one); the cursor's registers and the memory must then hold what is written,
// because a machine without a VGA may have stale words there.
static void vga_text_find(void)
{
    volatile u16 *cells = phys_to_virt(VGA_TEXT_PA);
    u8 mode = *(volatile u8 *)phys_to_virt(0x449), cols = *(volatile u8 *)phys_to_virt(0x44a);
    u8 rows = *(volatile u8 *)phys_to_virt(0x484);
    u16 old = cells[0];
    if ((mode & 0x7f) > 3 || cols < 40 || cols > 132 || rows < 20 || rows > 60) {
        return;
    }
    port_out8(0x3d4, 0x0f); // cursor location, low
    port_out8(0x3d5, 0x5a);
    bool here = port_in8(0x3d4) == 0x0f && port_in8(0x3d5) == 0x5a;
    cells[0] = 0x0741;
    here &= cells[0] == 0x0741;
    cells[0] = old;
    if (here) {
        bootinfo.screen = (struct boot_screen){.address = VGA_TEXT_PA,
                                               .kind = BOOT_SCREEN_TEXT,
                                               .pitch_bytes = cols * 2u,
                                               .width = cols,
                                               .height = rows + 1u};
    }
}

// --- Start

static paddr_t rsdp_scan(paddr_t start, paddr_t end)
{
    for (paddr_t pa = align_up(start, 16); pa + 36 <= end; pa += 16) {
        if (memcmp(phys_to_virt(pa), "RSD PTR ", 8) == 0) {
            return pa;
        }
    }
    return 0;
}

// Where a BIOS leaves the ACPI root pointer (ACPI 6.4, 5.2.5.1), for loaders that did not look.
static paddr_t rsdp_find(void)
{
    u16 segment;
    memcpy(&segment, phys_to_virt(0x40e), sizeof(segment));
    paddr_t ebda = (paddr_t)segment << 4, found = 0;
    if (ebda >= 0x80000 && ebda < 0xa0000) {
        found = rsdp_scan(ebda, ebda + 1024);
    }
    return found ? found : rsdp_scan(0xe0000, 0x100000);
}

static volatile u8 *register_map(const struct acpi_register *r)
{
    return r->address && r->space == ACPI_SPACE_MEMORY ? mmu_map_device(r->address, 1) : NULL;
}

void arch_init_early(void)
{
    if (bootinfo.acpi_rsdp == 0) {
        bootinfo.acpi_rsdp = rsdp_find();
    }
    if (bootinfo.screen.address == 0) {
        vga_text_find();
    }
    acpi_init();
    time_init();
    pic_silence();
    apic_init_early();
    smp_find_cpus();
    sleep_mapped = register_map(&acpi.sleep_control);
    reset_mapped = register_map(&acpi.reset);
}

void arch_init_late(void)
{
    ioapic_init();
    trap_guard_ist(0);
}

// --- Stop

static void debug_exit(u32 code)
{
    char text[16];
    const char *end;
    if (boot_arg("exitport", text, sizeof(text))) {
        port_out32((u16)parse_u64(text, &end), code);
    }
}

static void register_write8(const struct acpi_register *r, volatile u8 *mapped, u8 value)
{
    if (mapped) {
        *mapped = value;
    } else if (r->address && r->space == ACPI_SPACE_IO) {
        port_out8((u16)r->address, value);
    }
}

static void pm1_sleep(const struct acpi_register *r, u8 type)
{
    if (r->address && r->space == ACPI_SPACE_IO) {
        u16 keep = port_in16((u16)r->address) & ~(u16)(7u << 10);
        port_out16((u16)r->address, (u16)(keep | (type & 7u) << 10 | PM1_SLEEP_ENABLE));
    }
}

static void acpi_mode_enter(void)
{
    u16 port = (u16)acpi.pm1a_control.address;
    if (acpi.smi_command == 0 || (port_in16(port) & PM1_SCI_EN)) {
        return;
    }
    port_out8((u16)acpi.smi_command, acpi.acpi_enable);
    for (int i = 0; i < STOP_LOOKS && !(port_in16(port) & PM1_SCI_EN); i++) {
        cpu_relax();
    }
}

static void acpi_poweroff(void)
{
    if (!acpi.have_s5) {
        return;
    }
    if (acpi.sleep_control.address) {
        u8 value = (u8)((acpi.s5_type_a & 7u) << 2 | SLEEP_ENABLE);
        register_write8(&acpi.sleep_control, sleep_mapped, value);
    } else if (acpi.pm1a_control.address && acpi.pm1a_control.space == ACPI_SPACE_IO) {
        acpi_mode_enter();
        pm1_sleep(&acpi.pm1a_control, acpi.s5_type_a);
        pm1_sleep(&acpi.pm1b_control, acpi.s5_type_b);
    }
}

noreturn_fn void arch_poweroff(void)
{
    irq_disable();
    uart_drain(&uart_console, CONSOLE_PATIENCE);
    debug_exit(EXIT_CLEAN);
    acpi_poweroff();
    for (int i = 0; i < STOP_LOOKS; i++) {
        cpu_relax();
    }
    printk("power-off has no effect here; halted\n");
    cpu_stop();
}

noreturn_fn void arch_reboot(void)
{
    static const struct {
        u16 limit;
        u64 base;
    } __attribute__((packed)) no_idt = {0, 0};
    irq_disable();
    uart_drain(&uart_console, CONSOLE_PATIENCE);
    register_write8(&acpi.reset, reset_mapped, acpi.reset_value);
    for (int i = 0; i < STOP_LOOKS; i++) {
        cpu_relax();
    }
    port_out8(0x64, 0xfe); // the keyboard controller's reset line
    for (int i = 0; i < STOP_LOOKS; i++) {
        cpu_relax();
    }
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
