// The PC as a board: console, screen, finding the firmware's tables.
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

#define VGA_TEXT_PA 0xb8000ul

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
    stop_init();
}

void arch_init_late(void)
{
    ioapic_init();
    trap_guard_ist(0);
}
