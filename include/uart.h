// A 16550 serial port: polled output, interrupt-driven input into a ring (drivers/uart.c).
#ifndef UART_H
#define UART_H

#include <k/lock.h>
#include <k/types.h>
#include <sched.h>

#define UART_RING 4096 // a power of two

// Lock letters: I fixed after uart_init / uart_start_input, L under lock, interrupts off.
struct uart {
    u16 port;      // [I] first of eight I/O ports
    unsigned line; // [I] ISA interrupt
    bool present;  // [I] the port answered
    // [I] Sees each received byte first, in the interrupt; may change it; false: it is not data.
    bool (*filter)(struct uart *, u8 *byte);
    struct spinlock lock;
    u32 head, tail; // [L] free-running: bytes ever put in, ever taken out
    bool
        rx_off; // [L] the ring is full: the interrupt is masked, bytes wait in the FIFO and outside
    struct waitq readers;
    u8 ring[UART_RING]; // [L]
};

#define UART_INIT(name, port_, line_)                                                              \
    {                                                                                              \
        .port = (port_), .line = (line_), .lock = SPINLOCK_INIT(RANK_TTY),                         \
        .readers = WAITQ_INIT((name).readers)                                                      \
    }

extern struct uart uart_console; // COM1

// Find out whether the port answers, set 115200 8N1, FIFOs on, interrupts off. Any context.
void uart_init(struct uart *u);

// Write bytes, polling. Returns how many the port took before it stayed busy for `patience` looks
// of about a microsecond each; less than n only then. Any context. Who writes without the lock that
// the port's other writers hold mixes with them, and bytes may be lost.
size_t uart_write(struct uart *u, const u8 *buf, size_t n, unsigned long patience);

// True when all that was written has left, within patience.
bool uart_drain(struct uart *u, unsigned long patience);

// Let input arrive. After arch_init_late. 0 or arch_irq_register's error, -ENODEV: no port.
int uart_start_input(struct uart *u);

// Up to n bytes that have arrived, never waits. Any context below RANK_TTY.
size_t uart_take(struct uart *u, u8 *buf, size_t n);

// uart_take would find something. To wait: waitq_wait_signal(&u->readers, uart_readable(u)).
bool uart_readable(struct uart *u);

#endif
