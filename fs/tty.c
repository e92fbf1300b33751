// Terminals, 1: what a program has open, and how its reads and writes wait.
//
//      program A  program B ...      files, each with the count of hang-ups when it was opened
//            \     /
//          struct tty                settings, size; the input ring (fs/tty_line.c)
//            |     ^                 output and echo (fs/tty_out.c)
//        driver    tty_receive
//            v     |
//        serial port, screen + keyboard (fs/tty_console.c), the master of a pty (fs/tty_pty.c)
//
// Who may read and who is stopped for it, and who gets the signals of the keyboard, is decided by
// job control: include/jobctl.h. This side only asks.
//
// Locks: in_lock guards the settings and the input, out_lock the device; the settings change under
// both, so that either half may read them. in_lock is outside, because what arrives is echoed.
// Neither is held over user memory or while waiting for the other end.
//
// A hang-up (the end of the session's leader, vhangup) counts nr_hangups up. Files opened before it
// read an end of file, and -EIO from everything else; new ones are fine, and so is /dev/console, on
// which the next login is to be asked for. `gone` means the same for ever, to all.
//
// Rejected: the discipline at the reader's end, as the console did it before. A ^C must arrive
// while nobody reads.
#include <arch/time.h>
#include <arch/uaccess.h>
#include <k/string.h>
#include <proc.h>
#include <signal.h>
#include <syscalls.h>
#include <tty.h>
#include "fs_priv.h"

#define COPY_PIECE 256
#define TENTH_NS   100000000ull // the unit of VTIME

struct tty_open {
    struct tty *tty;  // [I] counted
    unsigned hangups; // [I] tty->nr_hangups when it was opened
    bool console;     // [I] no job control: /dev/console
};

void tty_init(struct tty *t, const struct tty_driver *drv, u64 rdev, u32 cflag)
{
    static const u8 cc[] = {
        [VINTR] = 3,     [VQUIT] = 28,   [VERASE] = 127, [VKILL] = 21, [VEOF] = 4,
        [VMIN] = 1,      [VSTART] = 17,  [VSTOP] = 19,   [VSUSP] = 26, [VREPRINT] = 18,
        [VDISCARD] = 15, [VWERASE] = 23, [VLNEXT] = 22};
    t->drv = drv;
    t->job.rdev = rdev;
    store_relaxed(&t->ref, 1);
    mutex_init(&t->in_lock, RANK_TTY_IN);
    mutex_init(&t->out_lock, RANK_TTY_OUT);
    waitq_init(&t->readers);
    waitq_init(&t->typists);
    waitq_init(&t->writers);
    t->termios = (struct uapi_termios){
        .iflag = ICRNL | IXON,
        .oflag = OPOST | ONLCR,
        .cflag = cflag,
        .lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
        .ispeed = (cflag & CBAUD) == B115200 ? 115200 : 38400,
        .ospeed = (cflag & CBAUD) == B115200 ? 115200 : 38400,
    };
    memcpy(t->termios.cc, cc, sizeof(cc));
}

struct tty *tty_get(struct tty *t)
{
    fetch_add_relaxed(&t->ref, 1);
    return t;
}

void tty_put(struct tty *t)
{
    if (atomic_fetch_sub(&t->ref, 1) == 1) { // all earlier uses happen before the freeing
        job_tty_drop(&t->job);
        t->drv->free(t);
    }
}

static void wake_everybody(struct tty *t)
{
    waitq_wake_all(&t->readers);
    waitq_wake_all(&t->writers);
    waitq_wake_all(&t->typists);
}

void tty_hangup(struct tty *t, bool leader_gone)
{
    fetch_add_seq(&t->nr_hangups, 1); // pairs with file_is_dead in the waiters' conditions
    job_tty_hangup(&t->job, leader_gone);
    tty_stop(t, false);
    tty_drain_and_flush(t, true, true);
    wake_everybody(t);
}

// --- Opening and closing

int tty_open_file(struct tty *t, struct file *f, bool console)
{
    struct tty_open *o = kmalloc(sizeof(*o), GFP_KERNEL);
    int err = o ? 0 : -ENOMEM;
    if (!err) {
        mutex_lock(&t->in_lock);
        err = load_acquire(&t->gone) ? -EIO : load_relaxed(&t->exclusive) ? -EBUSY : 0;
        t->nr_open += !err;
        mutex_unlock(&t->in_lock);
    }
    if (err) {
        kfree(o);
        tty_put(t);
        return err;
    }
    *o = (struct tty_open){t, load_relaxed(&t->nr_hangups), console};
    f->private = o;
    f->ops = &tty_fops;
    bool writer_only = (load_relaxed(&f->flags) & O_ACCMODE) == O_WRONLY;
    if (!console && !writer_only && !(load_relaxed(&f->flags) & O_NOCTTY)) {
        (void)job_tty_acquire(&t->job, false); // it need not be possible
    }
    return 0;
}

static void tty_release(struct file *f)
{
    struct tty_open *o = f->private;
    struct tty *t = o->tty;
    mutex_lock(&t->in_lock);
    bool last = --t->nr_open == 0;
    if (last) {
        store_relaxed(&t->exclusive, false); // not what the next to open it then sets
    }
    mutex_unlock(&t->in_lock);
    if (last && t->drv->last_close) {
        t->drv->last_close(t);
    }
    kfree(o);
    tty_put(t);
}

struct tty *tty_of_file(struct file *f)
{
    return f->ops == &tty_fops ? ((struct tty_open *)f->private)->tty : NULL;
}

static bool file_is_dead(const struct tty_open *o)
{
    // pairs with what hangs up and then wakes
    return load_acquire(&o->tty->gone) ||
           (!o->console && load_acquire(&o->tty->nr_hangups) != o->hangups);
}

// --- Reading

static u32 readable(struct tty *t)
{
    return load_acquire(&t->nr_readable);
}

// Wait for input up to a deadline. 0; -EINTR; -EAGAIN: the time is over.
static int wait_input(struct tty_open *o, u32 enough, u64 deadline)
{
    struct tty *t = o->tty;
    struct waiter w = {0};
    int r;
    for (;;) {
        waitq_prepare(&t->readers, &w, THREAD_SLEEPING);
        if (readable(t) >= enough || file_is_dead(o)) {
            r = 0;
            break;
        }
        if (thread_signal_pending()) {
            r = -EINTR;
            break;
        }
        r = schedule_until(deadline);
        if (r == 0) {
            r = -EAGAIN;
            break;
        }
    }
    waitq_finish(&t->readers, &w);
    return r;
}

// How a read waits: at least `min` bytes; after the first one (at first, when min is 0) no longer
// than `gap_ns` for each further one.
struct patience {
    bool lines;
    u32 min;
    u64 gap_ns; // 0: no limit
};

static struct patience patience_of(struct tty *t, size_t n)
{
    struct patience p = {.lines = tty_is_set(t, ICANON), .min = 1};
    if (!p.lines) {
        p.min = (u32)min(n, (size_t)t->termios.cc[VMIN]);
        p.gap_ns = t->termios.cc[VTIME] * TENTH_NS;
    }
    return p;
}

// Wait for what a read that has got `done` bytes still needs. 1: look again; 0: it is complete.
static int wait_more(struct file *f, struct tty_open *o, const struct patience *p, size_t done)
{
    bool once = p->min == 0;
    if (done && (p->lines || done >= p->min)) {
        return 0;
    }
    if (once && (done || p->gap_ns == 0)) {
        return 0;
    }
    if (load_relaxed(&f->flags) & O_NONBLOCK) {
        return done ? 0 : -EAGAIN;
    }
    bool timed = p->gap_ns && (once || done);
    int r = wait_input(o, 1, timed ? clock_ns() + p->gap_ns : TIME_NEVER);
    if (r == -EAGAIN) {
        return 0;
    }
    return r ? r : 1;
}

static ssize_t tty_read(struct file *f, void *user, size_t n, u64 *pos)
{
    struct tty_open *o = f->private;
    struct tty *t = o->tty;
    u8 buf[COPY_PIECE];
    size_t done = 0;
    int err = 1;
    (void)pos;
    while (n && err > 0) {
        bool ended = false;
        if (file_is_dead(o)) {
            break;
        }
        err = o->console ? 0 : job_tty_may(&t->job, SIGTTIN);
        if (err) {
            break;
        }
        mutex_lock(&t->in_lock);
        struct patience p = patience_of(t, n);
        size_t some = tty_take_locked(t, buf, min(n - done, sizeof(buf)), &ended);
        mutex_unlock(&t->in_lock);
        if (arch_copy_to_user((u8 *)user + done, buf, some)) {
            err = -EFAULT;
            break;
        }
        done += some;
        if (ended || done == n) {
            break;
        }
        err = some ? 1 : wait_more(f, o, &p, done);
    }
    return done ? (ssize_t)done : min(err, 0);
}

// --- Writing

static int wait_room(struct file *f, struct tty_open *o)
{
    if (load_relaxed(&f->flags) & O_NONBLOCK) {
        return -EAGAIN;
    }
    return waitq_wait_signal(&o->tty->writers, tty_may_write(o->tty) || file_is_dead(o));
}

// n bytes of kernel memory; *used counts those that are gone. 0 or errno.
static int write_piece(struct file *f, struct tty_open *o, const u8 *buf, size_t n, size_t *used)
{
    struct tty *t = o->tty;
    while (*used < n) {
        if (file_is_dead(o)) {
            return -EIO;
        }
        mutex_lock(&t->out_lock);
        size_t some = tty_output_locked(t, buf + *used, n - *used);
        mutex_unlock(&t->out_lock);
        *used += some;
        int err = some ? 0 : wait_room(f, o);
        if (err) {
            return err;
        }
    }
    return 0;
}

static bool stops_writers(struct tty *t)
{
    mutex_lock(&t->out_lock);
    bool stops = tty_is_set(t, TOSTOP);
    mutex_unlock(&t->out_lock);
    return stops;
}

static ssize_t tty_write(struct file *f, const void *user, size_t n, u64 *pos)
{
    struct tty_open *o = f->private;
    u8 buf[COPY_PIECE];
    size_t done = 0;
    int err = 0;
    (void)pos;
    if (!o->console && stops_writers(o->tty)) {
        err = job_tty_may(&o->tty->job, SIGTTOU);
    }
    while (!err && done < n) {
        size_t some = min(n - done, sizeof(buf)), used = 0;
        if (arch_copy_from_user(buf, (const u8 *)user + done, some)) {
            err = -EFAULT;
            break;
        }
        err = write_piece(f, o, buf, some, &used);
        done += used;
        cond_resched();
        if (!err && done < n && thread_signal_pending()) {
            err = -EINTR;
        }
    }
    return done ? (ssize_t)done : err;
}

static unsigned tty_poll(struct file *f, struct pollq *pt)
{
    struct tty_open *o = f->private;
    struct tty *t = o->tty;
    unsigned events = 0;
    if (pt) {
        poll_wait(pt, &t->readers);
        poll_wait(pt, &t->writers);
    }
    mutex_lock(&t->in_lock);
    bool plain = !tty_is_set(t, ICANON) && !t->termios.cc[VTIME];
    u32 enough = plain ? max(t->termios.cc[VMIN], (u8)1) : 1;
    mutex_unlock(&t->in_lock);
    if (file_is_dead(o)) {
        return POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDNORM | POLLWRNORM;
    }
    events |= readable(t) >= enough ? POLLIN | POLLRDNORM : 0;
    events |= tty_may_write(t) ? POLLOUT | POLLWRNORM : 0;
    return events;
}

static s64 tty_ioctl(struct file *f, unsigned cmd, u64 arg)
{
    struct tty_open *o = f->private;
    if (file_is_dead(o)) {
        return cmd == TIOCSPGRP ? -ENOTTY : -EIO;
    }
    return tty_ioctl_common(o->tty, f, cmd, arg);
}

const struct file_ops tty_fops = {
    .read = tty_read,
    .write = tty_write,
    .poll = tty_poll,
    .ioctl = tty_ioctl,
    .release = tty_release,
    .stream = true,
};

// Hang the caller's terminal up; vhangup(2).
s64 sys_vhangup(const u64 *a)
{
    struct job_tty *j = current_has_cap(CAP_SYS_TTY_CONFIG) ? job_tty_current() : NULL;
    (void)a;
    if (j) {
        tty_hangup(container_of(j, struct tty, job), false);
        tty_put(container_of(j, struct tty, job));
    }
    return current_has_cap(CAP_SYS_TTY_CONFIG) ? 0 : -EPERM;
}

// /dev/tty: the controlling terminal of whoever opens it.
static int current_open(struct inode *i, struct file *f)
{
    struct job_tty *j = job_tty_current();
    (void)i;
    return j ? tty_open_file(container_of(j, struct tty, job), f, false) : -ENXIO;
}

const struct file_ops tty_current_fops = {.open = current_open};
