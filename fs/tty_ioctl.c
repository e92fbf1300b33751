// Terminals, 4: settings and everything else that is asked through ioctl; tty_ioctl(2).
//
// A change of the settings waits for both locks, so neither half ever sees half of it.
#include <arch/uaccess.h>
#include <k/string.h>
#include <proc.h>
#include <signal.h>
#include <syscalls.h>
#include <tty.h>
#include "fs_priv.h"

static s64 put_user(u64 arg, const void *from, size_t n)
{
    return arch_copy_to_user((void *)arg, from, n) ? -EFAULT : 0;
}

static s64 put_s32(u64 arg, s32 v)
{
    return put_user(arg, &v, sizeof(v));
}

// --- Settings

static u32 speed_of(u32 cflag, u32 given)
{
    static const u32 low[] = {0,   50,   75,   110,  134,  150,  200,   300,
                              600, 1200, 1800, 2400, 4800, 9600, 19200, 38400};
    static const u32 high[] = {0,       57600,   115200,  230400,  460800,  500000,
                               576000,  921600,  1000000, 1152000, 1500000, 2000000,
                               2500000, 3000000, 3500000, 4000000};
    u32 index = cflag & 15;
    if ((cflag & CBAUD) == BOTHER) {
        return given;
    }
    return (cflag & BOTHER) ? high[index] : low[index];
}

static u32 bits_pinned(u32 new, u32 old, u32 pinned)
{
    return (new & ~pinned) | (old & pinned);
}

// What is pinned stays as it is, whatever the new settings say (TIOCSLCKTRMIOS of tty_ioctl(2)).
static void settings_pin_locked(const struct tty *t, struct uapi_termios *new)
{
    const struct uapi_termios *old = &t->termios, *pin = &t->pinned;
    new->iflag = bits_pinned(new->iflag, old->iflag, pin->iflag);
    new->oflag = bits_pinned(new->oflag, old->oflag, pin->oflag);
    new->cflag = bits_pinned(new->cflag, old->cflag, pin->cflag);
    new->lflag = bits_pinned(new->lflag, old->lflag, pin->lflag);
    new->line = pin->line ? old->line : new->line;
    for (unsigned i = 0; i < array_size(new->cc); i++) {
        new->cc[i] = pin->cc[i] ? old->cc[i] : new->cc[i];
    }
}

static void settings_apply(struct tty *t, struct uapi_termios *new)
{
    mutex_lock(&t->in_lock);
    mutex_lock(&t->out_lock);
    u32 old_lflag = t->termios.lflag, old_iflag = t->termios.iflag;
    settings_pin_locked(t, new);
    new->ospeed = speed_of(new->cflag, new->ospeed);
    new->ispeed = new->ospeed;
    t->termios = *new;
    if (t->drv->event && ((old_iflag ^ new->iflag) & IXON)) {
        t->drv->event(t, (new->iflag &IXON) ? TIOCPKT_DOSTOP : TIOCPKT_NOSTOP);
    }
    mutex_unlock(&t->out_lock);
    tty_mode_changed_locked(t, old_lflag);
    mutex_unlock(&t->in_lock);
    if ((old_iflag & IXON) && !(new->iflag &IXON)) {
        tty_stop(t, false);
    }
    waitq_wake_all(&t->readers); // VMIN may be another
}

void tty_drain_and_flush(struct tty *t, bool in, bool out)
{
    mutex_lock(&t->in_lock);
    if (in) {
        tty_flush_input_locked(t);
    }
    mutex_lock(&t->out_lock);
    if (out) {
        tty_flush_output_locked(t);
    }
    if (in && t->drv->event) {
        t->drv->event(t, TIOCPKT_FLUSHREAD);
    }
    mutex_unlock(&t->out_lock);
    mutex_unlock(&t->in_lock);
}

static void drain(struct tty *t)
{
    if (t->drv->drain) {
        t->drv->drain(t);
    }
}

// how: 0 at once, 1 after the output, 2 and without the input.
static s64 settings_change(struct tty *t, struct uapi_termios *new, unsigned how)
{
    if (how) {
        drain(t);
    }
    if (how == 2) {
        tty_drain_and_flush(t, true, false);
    }
    settings_apply(t, new);
    return 0;
}

static struct uapi_termios settings_get(struct tty *t)
{
    mutex_lock(&t->in_lock);
    struct uapi_termios now = t->termios;
    mutex_unlock(&t->in_lock);
    return now;
}

static s64 settings_set(struct tty *t, u64 arg, size_t size, unsigned how)
{
    struct uapi_termios new = settings_get(t);
    if (arch_copy_from_user(&new, (const void *)arg, size)) {
        return -EFAULT;
    }
    return settings_change(t, &new, how);
}

static s64 pinned_get(struct tty *t, u64 arg)
{
    mutex_lock(&t->in_lock);
    struct uapi_termios now = t->pinned;
    mutex_unlock(&t->in_lock);
    return put_user(arg, &now, TERMIOS_SIZE);
}

static s64 pinned_set(struct tty *t, u64 arg)
{
    struct uapi_termios new = {0};
    if (!current_has_cap(CAP_SYS_ADMIN)) {
        return -EPERM;
    }
    if (arch_copy_from_user(&new, (const void *)arg, TERMIOS_SIZE)) {
        return -EFAULT;
    }
    mutex_lock(&t->in_lock);
    mutex_lock(&t->out_lock);
    t->pinned = new;
    mutex_unlock(&t->out_lock);
    mutex_unlock(&t->in_lock);
    return 0;
}

static s64 old_settings_get(struct tty *t, u64 arg)
{
    struct uapi_termios now = settings_get(t);
    struct uapi_termio old = {
        .iflag = (u16)now.iflag,
        .oflag = (u16)now.oflag,
        .cflag = (u16)now.cflag,
        .lflag = (u16)now.lflag,
        .line = now.line,
    };
    memcpy(old.cc, now.cc, sizeof(old.cc));
    return put_user(arg, &old, sizeof(old));
}

static s64 old_settings_set(struct tty *t, u64 arg, unsigned how)
{
    struct uapi_termios new = settings_get(t);
    struct uapi_termio old;
    if (arch_copy_from_user(&old, (const void *)arg, sizeof(old))) {
        return -EFAULT;
    }
    new.iflag = (new.iflag & ~0xffffu) | old.iflag;
    new.oflag = (new.oflag & ~0xffffu) | old.oflag;
    new.cflag = (new.cflag & ~0xffffu) | old.cflag;
    new.lflag = (new.lflag & ~0xffffu) | old.lflag;
    new.line = old.line;
    memcpy(new.cc, old.cc, sizeof(old.cc));
    return settings_change(t, &new, how);
}

// --- Size

void tty_set_winsize(struct tty *t, const struct uapi_winsize *w)
{
    mutex_lock(&t->in_lock);
    bool other = memcmp(&t->winsize, w, sizeof(*w)) != 0;
    t->winsize = *w;
    mutex_unlock(&t->in_lock);
    if (other) {
        job_tty_signal(&t->job, SIGWINCH);
    }
}

static s64 winsize_get(struct tty *t, u64 arg)
{
    mutex_lock(&t->in_lock);
    struct uapi_winsize w = t->winsize;
    mutex_unlock(&t->in_lock);
    return put_user(arg, &w, sizeof(w));
}

static s64 winsize_set(struct tty *t, u64 arg)
{
    struct uapi_winsize w;
    if (arch_copy_from_user(&w, (const void *)arg, sizeof(w))) {
        return -EFAULT;
    }
    tty_set_winsize(t, &w);
    return 0;
}

// --- Queues and flow

static s64 flush(struct tty *t, u64 what)
{
    if (what > TCIOFLUSH) {
        return -EINVAL;
    }
    tty_drain_and_flush(t, what != TCOFLUSH, what != TCIFLUSH);
    return 0;
}

static s64 flow(struct tty *t, u64 what)
{
    u8 c;
    switch (what) {
    case TCOOFF:
    case TCOON:
        tty_stop(t, what == TCOOFF);
        return 0;
    case TCIOFF:
    case TCION:
        mutex_lock(&t->out_lock);
        c = t->termios.cc[what == TCIOFF ? VSTOP : VSTART];
        if (c && t->drv->room(t)) {
            t->drv->write(t, &c, 1);
        }
        mutex_unlock(&t->out_lock);
        return 0;
    default:
        return -EINVAL;
    }
}

static s64 pgrp_set(struct tty *t, u64 arg)
{
    s32 pgid;
    if (arch_copy_from_user(&pgid, (const void *)arg, sizeof(pgid))) {
        return -EFAULT;
    }
    return job_tty_set_fg(&t->job, pgid);
}

static s64 numbered(u64 arg, s32 r)
{
    return r < 0 ? r : put_s32(arg, r);
}

// Those that only a program in the foreground may do.
static bool changes_terminal(unsigned cmd)
{
    switch (cmd) {
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
    case TCSETS2:
    case TCSETSW2:
    case TCSETSF2:
    case TCSETA:
    case TCSETAW:
    case TCSETAF:
    case TCXONC:
    case TCFLSH:
    case TCSBRK:
    case TCSBRKP:
    case TIOCSBRK:
    case TIOCCBRK:
    case TIOCSETD:
    case TIOCSPGRP:
        return true;
    default:
        return false;
    }
}

static s64 settings_ioctl(struct tty *t, unsigned cmd, u64 arg)
{
    struct uapi_termios now;
    switch (cmd) {
    case TCGETS:
        now = settings_get(t);
        return put_user(arg, &now, TERMIOS_SIZE);
    case TCGETS2:
        now = settings_get(t);
        return put_user(arg, &now, sizeof(now));
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
        return settings_set(t, arg, TERMIOS_SIZE, cmd - TCSETS);
    case TCSETS2:
    case TCSETSW2:
    case TCSETSF2:
        return settings_set(t, arg, sizeof(struct uapi_termios), cmd - TCSETS2);
    case TCGETA:
        return old_settings_get(t, arg);
    case TCSETA:
    case TCSETAW:
    case TCSETAF:
        return old_settings_set(t, arg, cmd - TCSETA);
    case TIOCGLCKTRMIOS:
        return pinned_get(t, arg);
    case TIOCSLCKTRMIOS:
        return pinned_set(t, arg);
    case TIOCGWINSZ:
        return winsize_get(t, arg);
    case TIOCSWINSZ:
        return winsize_set(t, arg);
    default:
        return -ENOTTY;
    }
}

static s64 queue_ioctl(struct tty *t, unsigned cmd, u64 arg)
{
    s32 n;
    switch (cmd) {
    case FIONREAD:
        return put_s32(arg, (s32)load_acquire(&t->nr_readable));
    case TIOCOUTQ:
        mutex_lock(&t->out_lock);
        n = (s32)(t->echo_head - t->echo_tail);
        mutex_unlock(&t->out_lock);
        return put_s32(arg, n);
    case TCFLSH:
        return flush(t, arg);
    case TCXONC:
        return flow(t, arg);
    case TCSBRK: // a break signal: on none of our devices would anyone hear it
    case TCSBRKP:
        drain(t);
        return 0;
    case TIOCSBRK:
    case TIOCCBRK:
        return 0;
    default:
        return settings_ioctl(t, cmd, arg);
    }
}

s64 tty_ioctl_common(struct tty *t, struct file *f, unsigned cmd, u64 arg)
{
    s64 r = changes_terminal(cmd) ? job_tty_may(&t->job, SIGTTOU) : 0;
    bool master = tty_of_file(f) != t; // it may ask about any session
    if (r) {
        return r == -EIO && cmd == TIOCSPGRP ? -ENOTTY : r;
    }
    switch (cmd) {
    case TIOCSCTTY:
        if ((load_relaxed(&f->flags) & O_ACCMODE) == O_WRONLY) {
            return -EPERM;
        }
        return job_tty_acquire(&t->job, arg == 1);
    case TIOCNOTTY:
        return job_tty_release(&t->job);
    case TIOCGPGRP:
        return numbered(arg, job_tty_fg(&t->job, master));
    case TIOCSPGRP:
        return pgrp_set(t, arg);
    case TIOCGSID:
        return numbered(arg, job_tty_sid(&t->job, master));
    case TIOCEXCL:
    case TIOCNXCL:
        store_relaxed(&t->exclusive, cmd == TIOCEXCL);
        return 0;
    case TIOCGEXCL:
        return put_s32(arg, load_relaxed(&t->exclusive));
    case TIOCVHANGUP:
        tty_hangup(t, false);
        return 0;
    case TIOCSTI: // pretending to type into somebody's shell: Linux has it off by default
        return -EIO;
    case TIOCGETD:
        return put_s32(arg, N_TTY);
    case TIOCSETD:
        return syscall_missing("ioctl: TIOCSETD, other line disciplines", -EINVAL);
    case TIOCGDEV:
        return put_s32(arg, (s32)t->job.rdev);
    default:
        r = t->drv->ioctl ? t->drv->ioctl(t, cmd, arg) : -ENOTTY;
        return r == -ENOTTY ? queue_ioctl(t, cmd, arg) : r;
    }
}
