// The console as a terminal, and the host channel's streams as pipes.
//
// The console edits lines as a terminal in its usual mode does: a reader gets a line once it is
// complete; backspace and ^U work, ^D ends a line or, on an empty one, the input; what is typed is
// echoed. Bytes are taken from the serial port when somebody reads or polls, under tty_lock, which
// is never held over user memory.
//
// The host channel is not a terminal: its streams behave like pipes.
#include <arch/boot.h>
#include <arch/uaccess.h>
#include <hostchan.h>
#include <k/string.h>
#include <sched.h>
#include <syscalls.h>
#include <uart.h>
#include "fs_priv.h"

#define LINE_MAX_LEN 1024
#define CHUNK        4096
#define KEY_EOF      4
#define KEY_BACK     8
#define KEY_KILL     21
#define KEY_DELETE   127

static struct mutex tty_lock = MUTEX_INIT(tty_lock, RANK_SLEEP_MISC);
static char tty_line[LINE_MAX_LEN]; // [tty_lock] [0, ready): complete; [ready, len): being typed
static unsigned tty_ready, tty_len; // [tty_lock]
static bool tty_eof;                // [tty_lock]
static atomic_bool tty_has_line;    // [a] written under tty_lock

static void tty_erase(void)
{
    if (tty_len > tty_ready) {
        tty_len--;
        arch_console_write("\b \b", 3);
    }
}

static void tty_key(char c)
{
    switch (c) {
    case KEY_BACK:
    case KEY_DELETE:
        tty_erase();
        return;
    case KEY_KILL:
        while (tty_len > tty_ready) {
            tty_erase();
        }
        return;
    case KEY_EOF:
        tty_eof |= tty_len == tty_ready;
        tty_ready = tty_len;
        return;
    default:
        break;
    }
    c = c == '\r' ? '\n' : c;
    if (tty_len < LINE_MAX_LEN - (c != '\n')) { // room for the end of the line is kept
        tty_line[tty_len++] = c;
        arch_console_putc(c);
    }
    if (c == '\n') {
        tty_ready = tty_len;
    }
}

static void tty_pump_locked(void)
{
    u8 c;
    while (tty_len < LINE_MAX_LEN && !tty_eof && uart_take(&uart_console, &c, 1)) {
        tty_key((char)c);
    }
    if (tty_len == LINE_MAX_LEN) {
        tty_ready = tty_len;
    }
    store_release(&tty_has_line, tty_ready || tty_eof); // pairs with console_input
}

static bool console_input(void)
{
    return load_acquire(&tty_has_line) || uart_readable(&uart_console);
}

// Up to n bytes of a line, into kernel memory; 0: end of input; -EAGAIN: no line.
static ssize_t tty_take(char *buf, size_t n)
{
    ssize_t r = -EAGAIN;
    mutex_lock(&tty_lock);
    tty_pump_locked();
    if (tty_ready) {
        size_t some = 0;
        while (some < min(n, (size_t)tty_ready)) {
            if (tty_line[some++] == '\n') {
                break;
            }
        }
        memcpy(buf, tty_line, some);
        memmove(tty_line, tty_line + some, tty_len - some);
        tty_len -= (unsigned)some;
        tty_ready -= (unsigned)some;
        r = (ssize_t)some;
    } else if (tty_eof) {
        tty_eof = false;
        r = 0;
    }
    store_release(&tty_has_line, tty_ready || tty_eof);
    mutex_unlock(&tty_lock);
    return r;
}

static ssize_t console_read(struct file *f, void *user, size_t n, u64 *pos)
{
    char buf[256];
    (void)pos;
    for (;;) {
        ssize_t r = n ? tty_take(buf, min(n, sizeof(buf))) : 0;
        if (r >= 0) {
            return arch_copy_to_user(user, buf, (size_t)r) ? -EFAULT : r;
        }
        if (load_relaxed(&f->flags) & O_NONBLOCK) {
            return r;
        }
        int err = waitq_wait_signal(&uart_console.readers, console_input());
        if (err) {
            return err;
        }
    }
}

static ssize_t console_write(struct file *f, const void *user, size_t n, u64 *pos)
{
    static struct mutex write_lock = MUTEX_INIT(write_lock, RANK_SLEEP_MISC);
    char buf[256];
    size_t done = 0;
    (void)f;
    (void)pos;
    while (done < n) {
        size_t some = min(n - done, sizeof(buf));
        if (arch_copy_from_user(buf, (const char *)user + done, some)) {
            return done ? (ssize_t)done : -EFAULT;
        }
        mutex_lock(&write_lock);
        arch_console_write(buf, some);
        mutex_unlock(&write_lock);
        done += some;
        cond_resched();
    }
    return (ssize_t)done;
}

static unsigned console_poll(struct file *f, struct pollq *pt)
{
    (void)f;
    if (pt) {
        poll_wait(pt, &uart_console.readers);
    }
    mutex_lock(&tty_lock);
    tty_pump_locked();
    mutex_unlock(&tty_lock);
    return POLLOUT | POLLWRNORM | (load_acquire(&tty_has_line) ? POLLIN | POLLRDNORM : 0);
}

// The settings of a terminal that edits lines; they cannot be changed yet.
static s64 console_ioctl(struct file *f, unsigned cmd, u64 arg)
{
    struct {
        u32 iflag, oflag, cflag, lflag;
        u8 line, cc[19];
    } termios = {
        .iflag = 0400,
        .oflag = 05,
        .cflag = 02275,
        .lflag = 0105072, // as a Linux console starts
        .cc = {3, 28, KEY_DELETE, KEY_KILL, KEY_EOF, 0, 1},
    };
    u16 window[4] = {24, 80, 0, 0};
    (void)f;
    switch (cmd) {
    case TCGETS:
        return arch_copy_to_user((void *)arg, &termios, sizeof(termios)) ? -EFAULT : 0;
    case TIOCGWINSZ:
        return arch_copy_to_user((void *)arg, window, sizeof(window)) ? -EFAULT : 0;
    case TCGETS + 1: // TCSETS, TCSETSW, TCSETSF
    case TCGETS + 2:
    case TCGETS + 3:
        return syscall_missing("ioctl: TCSETS on the console", -EINVAL);
    default:
        return -ENOTTY;
    }
}

const struct file_ops console_fops = {
    .read = console_read,
    .write = console_write,
    .poll = console_poll,
    .ioctl = console_ioctl,
    .stream = true,
};

// ---- The host's streams
// ----------------------------------------------------------------------------

// inode->data is the stream: 0 input, 1 output, 2 errors.
static ssize_t hoststream_read(struct file *f, void *user, size_t n, u64 *pos)
{
    (void)pos;
    if (f->inode->data != 0) {
        return -EBADF;
    }
    if ((load_relaxed(&f->flags) & O_NONBLOCK) && !hostchan_readable()) {
        return -EAGAIN;
    }
    char *buf = n ? kmalloc(min(n, (size_t)CHUNK), GFP_KERNEL) : NULL;
    if (!buf) {
        return n ? -ENOMEM : 0;
    }
    ssize_t r = hostchan_read(buf, min(n, (size_t)CHUNK));
    if (r > 0 && arch_copy_to_user(user, buf, (size_t)r)) {
        r = -EFAULT;
    }
    kfree(buf);
    return r;
}

static ssize_t hoststream_write(struct file *f, const void *user, size_t n, u64 *pos)
{
    size_t done = 0;
    ssize_t r = 0;
    (void)pos;
    if (f->inode->data == 0) {
        return -EBADF;
    }
    char *buf = n ? kmalloc(min(n, (size_t)CHUNK), GFP_KERNEL) : NULL;
    if (!buf) {
        return n ? -ENOMEM : 0;
    }
    while (done < n && r >= 0) {
        size_t some = min(n - done, (size_t)CHUNK);
        r = arch_copy_from_user(buf, (const char *)user + done, some) ? -EFAULT : 0;
        if (!r) {
            r = hostchan_write((int)f->inode->data, buf, some);
            done += r > 0 ? (size_t)r : 0;
        }
    }
    kfree(buf);
    return done ? (ssize_t)done : r;
}

static unsigned hoststream_poll(struct file *f, struct pollq *pt)
{
    if (f->inode->data != 0) {
        return POLLOUT | POLLWRNORM;
    }
    if (pt) {
        poll_wait(pt, hostchan_waitq());
    }
    return hostchan_readable() ? POLLIN | POLLRDNORM : 0;
}

const struct file_ops hoststream_fops = {
    .read = hoststream_read,
    .write = hoststream_write,
    .poll = hoststream_poll,
    .stream = true,
};
