// The terminals of the machine: the serial port (ttyS0), and the screen with its keyboard (tty1,
// which tty0 means, too, as there is one virtual terminal).
//
// A kernel thread for each carries bytes from the device's ring, which its interrupt fills, to the
// discipline; when that is full the ring fills, and the port holds the sender back.
//
// /dev/console is one of them: what console=NAME on the command line says, the last one there is;
// without it the screen if the machine has one, else the serial port.
//
// Output to the serial port is polled, sixteen bytes at a time under the console's lock, so that
// the kernel's own lines come between whole pieces. Between pieces a slow port is waited for
// asleep.
#include <bootinfo.h>
#include <arch/boot.h>
#include <hostchan.h>
#include <k/assert.h>
#include <k/printk.h>
#include <k/string.h>
#include <screen.h>
#include <tty.h>
#include <uart.h>
#include "fs_priv.h"

#define SERIAL_PIECE    16
#define SERIAL_POLLS    2000       // looks at a busy port before sleeping
#define SERIAL_SLEEP_NS 1000000ull // 11 bytes at 115200
#define SERIAL_PATIENCE 4000       // sleeps, then the text is lost: nobody takes it
#define RDEV_SERIAL     makedev(4, 64)
#define RDEV_SCREEN     makedev(4, 1)

static struct tty serial, screen; // static: ref never reaches 0

static bool have_screen(void)
{
    return screen_present();
}

// --- The serial port

static size_t serial_room(struct tty *t)
{
    (void)t;
    return TTY_ROOM_GREAT;
}

static void serial_write(struct tty *t, const u8 *buf, size_t n)
{
    unsigned polls = 0, sleeps = 0;
    (void)t;
    while (n > 0 && sleeps < SERIAL_PATIENCE) {
        unsigned long flags = console_lock_irq();
        size_t done = uart_write(&uart_console, buf, min(n, (size_t)SERIAL_PIECE), 0);
        console_unlock_irq(flags);
        buf += done;
        n -= done;
        polls = done ? 0 : polls + 1;
        if (polls == SERIAL_POLLS) {
            sleep_ns(SERIAL_SLEEP_NS);
            sleeps++;
            polls = 0;
        }
    }
}

static const struct tty_driver serial_driver = {.room = serial_room, .write = serial_write};

static void serial_thread(void *arg)
{
    u8 buf[64];
    (void)arg;
    for (;;) {
        waitq_wait(&uart_console.readers, uart_readable(&uart_console));
        size_t n = uart_take(&uart_console, buf, sizeof(buf)), done = 0;
        while (done < n) {
            waitq_wait(&serial.typists, tty_has_room(&serial));
            done += tty_receive(&serial, buf + done, n - done);
        }
        cond_resched();
    }
}

// --- The screen

static void screen_tty_write(struct tty *t, const u8 *buf, size_t n)
{
    char answer[SCREEN_ANSWER];
    (void)t;
    screen_write((const char *)buf, n);
    // What the screen was asked (where is the cursor?) it answers like typed text; the keyboard's
    // thread passes it on, because in_lock cannot be taken here.
    size_t len = screen_answer(answer, sizeof(answer));
    if (len) {
        keyboard_type(answer, len);
    }
}

static s64 screen_ioctl(struct tty *t, unsigned cmd, u64 arg)
{
    (void)t;
    return screen_console_ioctl(cmd, arg);
}

static const struct tty_driver screen_driver = {
    .room = serial_room,
    .write = screen_tty_write,
    .ioctl = screen_ioctl,
};

static void keyboard_thread(void *arg)
{
    u8 buf[64];
    (void)arg;
    for (;;) {
        waitq_wait(keyboard_waitq(), keyboard_readable());
        size_t n = keyboard_take(buf, sizeof(buf)), done = 0;
        while (done < n) {
            waitq_wait(&screen.typists, tty_has_room(&screen));
            done += tty_receive(&screen, buf + done, n - done);
        }
        cond_resched();
    }
}

// --- Opening

static int serial_open(struct inode *i, struct file *f)
{
    (void)i;
    return uart_console.present ? tty_open_file(tty_get(&serial), f, false) : -ENXIO;
}

static int screen_open(struct inode *i, struct file *f)
{
    bool console = i->rdev != RDEV_SCREEN; // tty0
    return have_screen() ? tty_open_file(tty_get(&screen), f, console) : -ENXIO;
}

static struct tty *console_tty(void)
{
    char name[16];
    if (boot_arg("console", name, sizeof(name))) {
        if (strcmp(name, "tty0") == 0 || strcmp(name, "tty1") == 0) {
            return &screen;
        }
        if (strncmp(name, "ttyS0", 5) == 0) {
            return &serial;
        }
    }
    return have_screen() && !hostchan_present() ? &screen : &serial;
}

static int console_open(struct inode *i, struct file *f)
{
    (void)i;
    return tty_open_file(tty_get(console_tty()), f, true);
}

const struct file_ops tty_serial_fops = {.open = serial_open};
const struct file_ops tty_screen_fops = {.open = screen_open};
const struct file_ops tty_console_fops = {.open = console_open};

static void console_get(struct job_tty *j)
{
    tty_get(container_of(j, struct tty, job));
}

static void console_leader_gone(struct job_tty *j)
{
    struct tty *t = container_of(j, struct tty, job);
    tty_hangup(t, true);
    tty_put(t);
}

void tty_consoles_init(void)
{
    int err = uart_start_input(&uart_console);
    if (err && err != -ENODEV) {
        printk("boot: no input from the serial console (error %d)\n", -err);
    }
    tty_init(&serial, &serial_driver, RDEV_SERIAL, B115200 | CS8 | CREAD | HUPCL | CLOCAL);
    tty_init(&screen, &screen_driver, RDEV_SCREEN, B38400 | CS8 | CREAD | HUPCL);
    serial.job.get = screen.job.get = console_get;
    serial.job.leader_gone = screen.job.leader_gone = console_leader_gone;
    screen.termios.iflag |= IUTF8;
    screen_size(&screen.winsize.row, &screen.winsize.col);
    bool started = kthread_create("ttyS0", serial_thread, NULL);
    if (have_screen()) {
        keyboard_init();
        started &= kthread_create("tty1", keyboard_thread, NULL) != NULL;
    }
    if (!started) {
        panic("no memory for the threads of the consoles");
    }
}
