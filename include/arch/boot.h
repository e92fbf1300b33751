// The contract with a CPU, 8: start and end of the machine.
#ifndef ARCH_BOOT_H
#define ARCH_BOOT_H

#include <k/types.h>

// kernel/main.c: where the architecture's start-up code ends. Boot CPU, interrupts off, on a boot
// stack of 16 KiB; bootinfo is filled, the final kernel mapping is loaded, the console works.
noreturn_fn void kernel_main(void);

// Called once by kernel_main right after the console: parse firmware tables, find CPUs, clock.
void arch_init_early(void); // before page_init: bootinfo is complete, direct map covers RAM
void arch_init_late(void);  // after the allocators: interrupt controllers, devices of the board

// Early console: one character, polled, works from the first instruction of C code.
void arch_console_putc(char c);
// The same for n characters, faster. No lock: the caller keeps lines apart.
void arch_console_write(const char *s, size_t n);

// Leave the machine; the other CPUs are stopped first. poweroff prefers the debug-exit port when
// exitport= was given (code 0x10), else ACPI S5, else it halts. reboot: as ACPI says, or by other
// means. Any context, once the clock runs; some firmware wants the boot CPU. panic_exit: the
// failing status (0x31) or halt; it stops nobody.
noreturn_fn void arch_poweroff(void);
noreturn_fn void arch_reboot(void);
noreturn_fn void arch_panic_exit(void);

// Call fn(arg, return_address, depth) for each frame of the stack that starts at frame pointer fp
// (0: the caller's). The kernel is built with frame pointers.
void arch_backtrace(u64 fp, void (*fn)(void *, u64 addr), void *arg);
// Print the registers of the trap that led here, if any.
void arch_print_regs(void);

// The host channel's and the console's serial ports (16550 at an I/O port): drivers/uart.c calls
// these; interrupt lines go through arch_irq_register.
u8 arch_port_read8(u16 port);
void arch_port_write8(u16 port, u8 value);

// Route the ISA/GSI interrupt `line` to fn(arg), called with interrupts off. 0, -ENODEV, -EBUSY.
int arch_irq_register(unsigned line, void (*fn)(void *), void *arg);

// Firmware tables at [pa, pa+len), readable wherever they lie: through the direct map where it
// covers them. NULL: no room. Boot only; never unmapped.
const void *arch_map_firmware(paddr_t pa, u64 len);

#endif
