// 16550 serial ports.
//
// Output is polled: when the transmitter says "holding register empty" its FIFO takes 16 bytes, so
// one look at the status pays for 16 bytes of a write. How many are left is not kept from one write
// to the next: a panic and the message at the end of a program write without the lock that others
// hold, and two that take from one count go below 0. Interrupt-driven output was rejected: printk
// and panic need the polled form anyway, and the virtual ports we mostly meet take bytes at once.
//
// Input must lose nothing, because a host pipes whole files through it. The interrupt handler moves
// bytes from the FIFO to a ring. When the ring is full it leaves the rest in the FIFO and masks the
// receive interrupt; a full FIFO stops the sender (QEMU holds bytes back, a cable would use RTS).
// The reader turns the interrupt on again once the ring is half empty; the port then raises it at
// once if bytes are waiting. The line is edge-triggered: the handler goes on until no byte is left,
// else there would be no further edge.
#include <arch/boot.h>
#include <arch/cpu.h>
#include <k/errno.h>
#include <uart.h>

enum uart_register {
    REG_DATA = 0, // divisor low byte while LCR_DLAB
    REG_IER = 1,  // divisor high byte while LCR_DLAB
    REG_FCR = 2,  // write
    REG_IIR = 2,  // read
    REG_LCR = 3,
    REG_MCR = 4,
    REG_LSR = 5,
    REG_SCRATCH = 7,
};
#define IER_RX    0x01
#define FCR_SETUP 0xc7 // FIFOs on and cleared, interrupt at 14 bytes or when the sender pauses
#define LCR_8N1   0x03
#define LCR_DLAB  0x80
#define MCR_SETUP 0x0b // DTR, RTS, and OUT2, which gates the interrupt line on PCs
#define LSR_DATA  0x01
#define LSR_THRE  0x20
#define LSR_TEMT  0x40
#define TX_FIFO   16

struct uart uart_console = UART_INIT(uart_console, 0x3f8, 4);

static u8 uart_get(struct uart *u, unsigned reg)
{
    return arch_port_read8((u16)(u->port + reg));
}

static void uart_set(struct uart *u, unsigned reg, u8 value)
{
    arch_port_write8((u16)(u->port + reg), value);
}

void uart_init(struct uart *u)
{
    uart_set(u, REG_SCRATCH, 0x5a);
    if (uart_get(u, REG_SCRATCH) != 0x5a || uart_get(u, REG_LSR) == 0xff) {
        return;
    }
    uart_set(u, REG_IER, 0);
    uart_set(u, REG_LCR, LCR_DLAB);
    uart_set(u, REG_DATA, 1); // 115200
    uart_set(u, REG_IER, 0);
    uart_set(u, REG_LCR, LCR_8N1);
    uart_set(u, REG_FCR, FCR_SETUP);
    uart_set(u, REG_MCR, MCR_SETUP);
    u->present = true;
}

static bool uart_await(struct uart *u, u8 bits, unsigned long patience)
{
    while (!(uart_get(u, REG_LSR) & bits)) {
        if (patience-- == 0) {
            return false;
        }
        cpu_relax();
    }
    return true;
}

size_t uart_write(struct uart *u, const u8 *buf, size_t n, unsigned long patience)
{
    size_t done = 0;
    if (!u->present) {
        return n;
    }
    while (done < n && uart_await(u, LSR_THRE, patience)) {
        for (unsigned room = TX_FIFO; done < n && room > 0; room--) {
            uart_set(u, REG_DATA, buf[done++]);
        }
    }
    return done;
}

bool uart_drain(struct uart *u, unsigned long patience)
{
    return !u->present || uart_await(u, LSR_TEMT, patience);
}

// Move bytes from the FIFO to the ring. True: a reader has something to look at.
static bool uart_receive_locked(struct uart *u)
{
    bool news = false;
    while (uart_get(u, REG_LSR) & LSR_DATA) {
        if (u->head - u->tail == UART_RING) {
            u->rx_off = true;
            uart_set(u, REG_IER, 0);
            break;
        }
        u8 byte = uart_get(u, REG_DATA);
        if (!u->filter || u->filter(u, &byte)) {
            u->ring[u->head++ % UART_RING] = byte;
        }
        news = true; // what the filter kept may be an end of file
    }
    return news;
}

static void uart_interrupt(void *arg)
{
    struct uart *u = arg;
    unsigned long flags = spin_lock_irq(&u->lock);
    bool news = !u->rx_off && uart_receive_locked(u);
    (void)uart_get(u, REG_IIR);
    spin_unlock_irq(&u->lock, flags);
    if (news) { // the queue's lock ranks before ours
        waitq_wake_all(&u->readers);
    }
}

int uart_start_input(struct uart *u)
{
    if (!u->present) {
        return -ENODEV;
    }
    int err = arch_irq_register(u->line, uart_interrupt, u);
    if (err == 0) {
        unsigned long flags = spin_lock_irq(&u->lock);
        uart_set(u, REG_IER, IER_RX);
        spin_unlock_irq(&u->lock, flags);
    }
    return err;
}

size_t uart_take(struct uart *u, u8 *buf, size_t n)
{
    size_t done = 0;
    unsigned long flags = spin_lock_irq(&u->lock);
    while (done < n && u->tail != u->head) {
        buf[done++] = u->ring[u->tail++ % UART_RING];
    }
    if (u->rx_off && u->head - u->tail <= UART_RING / 2) {
        u->rx_off = false;
        uart_set(u, REG_IER, IER_RX);
    }
    spin_unlock_irq(&u->lock, flags);
    return done;
}

bool uart_readable(struct uart *u)
{
    unsigned long flags = spin_lock_irq(&u->lock);
    bool any = u->head != u->tail;
    spin_unlock_irq(&u->lock, flags);
    return any;
}
