// The host channel over COM2: raw bytes, with DLE (0x10) as the escape in both directions.
//
//   host to guest   DLE DLE  one 0x10         DLE 'E'  end of standard input
//   guest to host   DLE 'R'  ready, first     DLE '1', DLE '2'  what follows is stdout, stderr
//                   DLE DLE  one 0x10         DLE 'S' digits '\n'  the exit status, the last thing
//
// The host sends nothing before DLE 'R': setting up a port empties its receiver.
//
// Input is decoded in the interrupt (the port's filter), so the ring holds plain bytes and a flag
// says that the end came; a reader reports it when the ring is empty. Any number of readers may
// compete. Output is encoded into a small buffer under `out`, a sleeping lock, which also covers
// `stream`. When the port stays busy the host is not reading: the writer sleeps a little and tries
// again.
#include <arch/cpu.h>
#include <arch/time.h>
#include <bootinfo.h>
#include <hostchan.h>
#include <k/atomic.h>
#include <k/errno.h>
#include <k/printk.h>
#include <k/string.h>
#include <uart.h>

#define DLE            0x10
#define CHUNK          64
#define BATCH          4096 // a write up to this size stays in one piece
#define WRITE_PATIENCE 64   // looks at a busy port before sleeping
#define WRITE_SLEEP_NS 200000ul
#define EXIT_PATIENCE  4000000ul   // looks; some seconds
#define EXIT_LOCK_NS   100000000ul // how long an exit status waits for a writer to finish

static struct uart com2 = UART_INIT(com2, 0x2f8, 3);
static bool present;       // constant after hostchan_init
static bool in_escape;     // [com2.lock] the last byte was a DLE
static atomic_bool in_eof; // set once, by the filter
static struct mutex out;   // [RANK_SLEEP_MISC]
static int out_stream = 1; // [out] what the host takes plain bytes for

static bool hostchan_filter(struct uart *u, u8 *byte)
{
    (void)u;
    if (!in_escape) {
        in_escape = *byte == DLE;
        return !in_escape;
    }
    in_escape = false;
    if (*byte == 'E') {
        store_release(&in_eof, true); /* pairs with hostchan_read */
    }
    return *byte == DLE;
}

bool hostchan_present(void)
{
    return present;
}

void hostchan_init(void)
{
    char where[8];
    if (!boot_arg("chan", where, sizeof(where)) || strcmp(where, "com2") != 0) {
        return;
    }
    mutex_init(&out, RANK_SLEEP_MISC);
    com2.filter = hostchan_filter;
    uart_init(&com2);
    if (!com2.present) {
        printk("hostchan: no port at %#x\n", com2.port);
        return;
    }
    present = true;
    int err = uart_start_input(&com2);
    if (err) {
        printk("hostchan: no interrupt %u (%d): output only\n", com2.line, err);
        store_release(&in_eof, true);
    }
    static const u8 ready[] = {DLE, 'R'};
    uart_write(&com2, ready, sizeof(ready), EXIT_PATIENCE);
}

static void hostchan_send(const u8 *buf, size_t n)
{
    size_t done = uart_write(&com2, buf, n, WRITE_PATIENCE);
    while (done < n) {
        thread_set_state(THREAD_BLOCKED);
        schedule_until(clock_ns() + WRITE_SLEEP_NS);
        done += uart_write(&com2, buf + done, n - done, WRITE_PATIENCE);
    }
}

// One batch, so that no other writer comes between its bytes.
static void hostchan_write_batch(int stream, const u8 *from, size_t n)
{
    u8 chunk[CHUNK];
    size_t fill = 0;
    mutex_lock(&out);
    if (out_stream != stream) {
        chunk[fill++] = DLE;
        chunk[fill++] = (u8)('0' + stream);
        out_stream = stream;
    }
    for (size_t i = 0; i < n; i++) {
        if (from[i] == DLE) {
            chunk[fill++] = DLE;
        }
        chunk[fill++] = from[i];
        if (fill >= CHUNK - 2) {
            hostchan_send(chunk, fill);
            fill = 0;
        }
    }
    hostchan_send(chunk, fill);
    mutex_unlock(&out);
}

ssize_t hostchan_write(int stream, const void *kernel_buf, size_t n)
{
    const u8 *from = kernel_buf;
    if (!present) {
        return -ENODEV;
    }
    if (stream != 1 && stream != 2) {
        return -EINVAL;
    }
    for (size_t done = 0; done < n; done += BATCH) {
        hostchan_write_batch(stream, from + done, min(n - done, (size_t)BATCH));
        cond_resched();
    }
    return (ssize_t)n;
}

bool hostchan_readable(void)
{
    return uart_readable(&com2) || load_acquire(&in_eof);
}

struct waitq *hostchan_waitq(void)
{
    return &com2.readers;
}

ssize_t hostchan_read(void *kernel_buf, size_t n)
{
    if (!present) {
        return -ENODEV;
    }
    while (n > 0) {
        bool eof = load_acquire(&in_eof); /* before the ring: pairs with hostchan_filter */
        size_t got = uart_take(&com2, kernel_buf, n);
        if (got > 0 || eof) {
            return (ssize_t)got;
        }
        int err = waitq_wait_signal(&com2.readers, hostchan_readable());
        if (err) {
            return err;
        }
    }
    return 0;
}

void hostchan_exit_status(int status)
{
    char text[16];
    if (!present) {
        return;
    }
    // A writer in the middle of an escape would garble ours; give it a moment unless it cannot run.
    u64 deadline = clock_ns() + EXIT_LOCK_NS;
    while (irq_enabled() && !mutex_trylock(&out) && clock_ns() < deadline) {
        cond_resched();
    }
    int n = snprintf(text, sizeof(text), "%cS%d\n", DLE, status);
    uart_write(&com2, (const u8 *)text, (size_t)n, EXIT_PATIENCE);
    uart_drain(&com2, EXIT_PATIENCE);
}
