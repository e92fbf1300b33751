// Terminals, 3: output, and the echo of what is typed.
//
// Everything for the device goes through out_lock: what programs write, and the echo. The device
// says how much it takes now (room) and takes that much. A writer that finds no room waits on
// `writers` without the lock; an echo cannot wait, because a program that does not read its pty
// would then stop the other side's typing: it is kept in a small ring until the device has room,
// and what does not fit there is lost, which is only to be seen.
//
// The column is counted for tabs, for ONOCR and for erasing. It is that of everything given to the
// device or kept in the ring; the escape sequences of programs are not understood, as on Linux.
#include <k/atomic.h>
#include <k/string.h>
#include <tty.h>

#define PIECE      128u
#define WORST_CASE 8u // bytes that one byte can become: a tab

static bool oflag(const struct tty *t, u32 flag)
{
    return t->termios.oflag & flag;
}

static size_t expand_tab(struct tty *t, u8 *out)
{
    unsigned n = 8 - (t->column & 7);
    t->column += n;
    if (!oflag(t, XTABS)) {
        out[0] = '\t';
        return 1;
    }
    memset(out, ' ', n);
    return n;
}

// One byte through OPOST: up to WORST_CASE bytes at out.
static size_t process_byte(struct tty *t, u8 c, u8 *out)
{
    size_t n = 0;
    if (c == '\n') {
        if (oflag(t, ONLCR)) {
            out[n++] = '\r';
        }
        if (oflag(t, ONLCR | ONLRET)) {
            t->column = 0;
        }
    } else if (c == '\r') {
        if (oflag(t, ONOCR) && t->column == 0) {
            return 0;
        }
        if (oflag(t, OCRNL)) {
            c = '\n';
        }
        if (!oflag(t, OCRNL) || oflag(t, ONLRET)) {
            t->column = 0;
        }
    } else if (c == '\t') {
        return expand_tab(t, out);
    } else if (c == '\b') {
        t->column -= t->column > 0;
    } else if (c >= 32 && c != 127) {
        bool middle = (t->termios.iflag & IUTF8) && (c & 0xc0) == 0x80;
        t->column += !middle;
        c = oflag(t, OLCUC) && c >= 'a' && c <= 'z' ? (u8)(c - 32) : c;
    }
    out[n++] = c;
    return n;
}

bool tty_may_write(struct tty *t)
{
    return !load_relaxed(&t->stopped) && t->drv->room(t) >= WORST_CASE;
}

size_t tty_output_locked(struct tty *t, const u8 *buf, size_t n)
{
    u8 out[PIECE];
    size_t used = 0, filled = 0, room;
    tty_echo_flush_locked(t);
    if (load_relaxed(&t->stopped) || t->echo_head != t->echo_tail) {
        return 0;
    }
    room = t->drv->room(t);
    if (!oflag(t, OPOST)) {
        used = min(n, room);
        t->drv->write(t, buf, used);
        return used;
    }
    while (used < n && room - filled >= WORST_CASE) {
        filled += process_byte(t, buf[used++], out + filled);
        if (filled + WORST_CASE > sizeof(out)) {
            t->drv->write(t, out, filled);
            room = t->drv->room(t);
            filled = 0;
        }
    }
    if (filled) {
        t->drv->write(t, out, filled);
    }
    return used;
}

// --- Echo

void tty_echo_flush_locked(struct tty *t)
{
    while (t->echo_head != t->echo_tail && !load_relaxed(&t->stopped)) {
        u32 at = t->echo_tail % TTY_ECHO;
        size_t n = min((size_t)(t->echo_head - t->echo_tail), (size_t)(TTY_ECHO - at));
        n = min(n, t->drv->room(t));
        if (n == 0) {
            return;
        }
        t->drv->write(t, t->echo + at, n);
        t->echo_tail += (u32)n;
    }
}

void tty_echo_byte(struct tty *t, u8 c)
{
    u8 out[WORST_CASE];
    mutex_lock(&t->out_lock);
    size_t n = oflag(t, OPOST) ? process_byte(t, c, out) : 1;
    if (!oflag(t, OPOST)) {
        out[0] = c;
    }
    if (t->echo_head - t->echo_tail + n > TTY_ECHO) {
        tty_echo_flush_locked(t);
    }
    for (size_t i = 0; i < n && t->echo_head - t->echo_tail < TTY_ECHO; i++) {
        t->echo[t->echo_head++ % TTY_ECHO] = out[i];
    }
    mutex_unlock(&t->out_lock);
}

void tty_echo_visible(struct tty *t, u8 c)
{
    if (tty_is_set(t, ECHOCTL) && (c < 32 || c == 127) && c != '\t') {
        tty_echo_byte(t, '^');
        c ^= 0100;
    }
    tty_echo_byte(t, c);
}

void tty_echo_commit(struct tty *t)
{
    mutex_lock(&t->out_lock);
    tty_echo_flush_locked(t);
    mutex_unlock(&t->out_lock);
}

// --- Flow

static void event(struct tty *t, unsigned pkt)
{
    if (t->drv->event) {
        t->drv->event(t, pkt);
    }
}

void tty_flush_output_locked(struct tty *t)
{
    t->echo_tail = t->echo_head;
    if (t->drv->discard) {
        t->drv->discard(t);
    }
    event(t, TIOCPKT_FLUSHWRITE);
    waitq_wake_all(&t->writers);
}

void tty_stop(struct tty *t, bool stop)
{
    mutex_lock(&t->out_lock);
    if (load_relaxed(&t->stopped) != stop) {
        store_relaxed(&t->stopped, stop);
        event(t, stop ? TIOCPKT_STOP : TIOCPKT_START);
        tty_echo_flush_locked(t);
    }
    mutex_unlock(&t->out_lock);
    if (!stop) {
        waitq_wake_all(&t->writers);
    }
}

void tty_wake_writers(struct tty *t)
{
    mutex_lock(&t->out_lock);
    tty_echo_flush_locked(t);
    mutex_unlock(&t->out_lock);
    waitq_wake_all(&t->writers);
}
