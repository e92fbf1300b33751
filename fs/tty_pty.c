// Pseudo terminals: /dev/ptmx and /dev/pts; pty(7).
//
//      program that plays the terminal          programs on it
//           master file (one)                    slave files
//        write |        ^ read                  read ^    | write
//              v        |                            |    v
//        tty_receive   ring  <------ driver ------ struct tty
//
// The slave is a terminal like any other; the master is its device. What the slave puts out waits
// in a ring that the master reads; when it is full the slave's writers wait. What the master writes
// goes through the discipline in the master's own thread; when the slave's input is full the master
// waits.
//
// Opening /dev/ptmx makes the pair and gives it the lowest free number, under which devpts shows
// it. Closing the master takes the number back and hangs the slave up for ever: `gone`. The memory
// goes with the last use of the slave's tty; the master's file is one. Closing the last slave is
// not the end, only -EIO to a master that has read everything; another slave may be opened.
//
// Locks: pty_lock guards the table of numbers; the ring and the packet bits are under the slave's
// out_lock, as all that concerns a tty's device is.
#include <arch/uaccess.h>
#include <k/printk.h>
#include <k/string.h>
#include <signal.h>
#include <syscalls.h>
#include <tty.h>
#include "fd_priv.h"

#define PTY_MAX      1024
#define PTY_RING     4096u // a power of two
#define PTY_MAJOR    136
#define COPY_PIECE   256
#define FIRST_COOKIE 2 // of readdir: ptmx, then the numbers
#define DEVPTS_MAGIC 0x1cd1
#define PTY_CFLAG    (B38400 | CS8 | CREAD)

struct pty {
    struct tty tty;       // the slave
    unsigned number;      // [I]
    struct inode *inode;  // [I] in devpts; the table's reference
    atomic_bool locked;   // [a] TIOCSPTLCK: the slave cannot be opened
    atomic_bool opened;   // [a] the slave was open once
    atomic_bool packet;   // [a] TIOCPKT
    atomic_uint pkt;      // [a] TIOCPKT_* not yet read; written under [o]
    atomic_uint r_head;   // [a] of ring, free-running; written under [o]
    atomic_uint r_tail;   // [a]
    struct waitq readers; // of the master
    u8 ring[PTY_RING];    // [o] [r_tail, r_head)
};

static struct mutex pty_lock = MUTEX_INIT(pty_lock, RANK_SLEEP_MISC);
static struct pty *ptys[PTY_MAX]; // [pty_lock] not counted: the master's file keeps it
static struct super *pts_super;   // [I]

static struct pty *pty_of(struct tty *t)
{
    return container_of(t, struct pty, tty);
}

static u32 ring_used(struct pty *p)
{
    // The tail first: it never passes a head that is read later. Not locked, the look may mix two
    // states.
    u32 tail = load_acquire(&p->r_tail);
    return min(load_acquire(&p->r_head) - tail, PTY_RING);
}

// All slave files are closed, for now; not before the first one was opened.
static bool slave_closed(struct pty *p)
{
    // pairs with the slave's open, which counts before it sets opened
    return load_acquire(&p->opened) && load_acquire(&p->tty.nr_open) == 0;
}

// --- The slave's device

static size_t pty_room(struct tty *t)
{
    return PTY_RING - ring_used(pty_of(t));
}

static void pty_put_out(struct tty *t, const u8 *buf, size_t n)
{
    struct pty *p = pty_of(t);
    u32 head = load_relaxed(&p->r_head);
    for (size_t i = 0; i < n; i++) {
        p->ring[head++ % PTY_RING] = buf[i];
    }
    store_release(&p->r_head, head); // pairs with ring_used
    waitq_wake_all(&p->readers);
}

static void pty_discard(struct tty *t)
{
    struct pty *p = pty_of(t);
    store_release(&p->r_tail, load_relaxed(&p->r_head));
}

static void pty_event(struct tty *t, unsigned pkt)
{
    struct pty *p = pty_of(t);
    unsigned opposite = 0;
    if (!load_relaxed(&p->packet)) {
        return;
    }
    if (pkt & (TIOCPKT_STOP | TIOCPKT_START)) {
        opposite = TIOCPKT_STOP | TIOCPKT_START;
    } else if (pkt & (TIOCPKT_NOSTOP | TIOCPKT_DOSTOP)) {
        opposite = TIOCPKT_NOSTOP | TIOCPKT_DOSTOP;
    }
    store_release(&p->pkt, (load_relaxed(&p->pkt) & ~opposite) | pkt);
    waitq_wake_all(&p->readers);
}

static void pty_last_close(struct tty *t)
{
    waitq_wake_all(&pty_of(t)->readers);
}

static void pty_free(struct tty *t)
{
    kfree(pty_of(t));
}

static s64 slave_ioctl(struct tty *t, unsigned cmd, u64 arg)
{
    if (cmd != TIOCOUTQ) {
        return -ENOTTY;
    }
    s32 n = (s32)ring_used(pty_of(t));
    return arch_copy_to_user((void *)arg, &n, sizeof(n)) ? -EFAULT : 0;
}

static const struct tty_driver pty_driver = {
    .room = pty_room,
    .write = pty_put_out,
    .discard = pty_discard,
    .event = pty_event,
    .ioctl = slave_ioctl,
    .last_close = pty_last_close,
    .free = pty_free,
};

static int slave_open(struct inode *i, struct file *f)
{
    mutex_lock(&pty_lock);
    struct pty *p = i->data < PTY_MAX ? ptys[i->data] : NULL;
    p = p && p->inode == i ? p : NULL; // an inode that outlived its pty
    if (p) {
        tty_get(&p->tty);
    }
    mutex_unlock(&pty_lock);
    if (!p) {
        return -EIO;
    }
    if (load_acquire(&p->locked)) {
        tty_put(&p->tty);
        return -EIO;
    }
    int err = tty_open_file(&p->tty, f, false);
    if (!err) {
        store_release(&p->opened, true); // after nr_open: pairs with slave_closed
    }
    return err;
}

static const struct file_ops slave_fops = {.open = slave_open};

// --- The master

static bool master_may_read(struct pty *p)
{
    return ring_used(p) || load_acquire(&p->pkt) /* pairs with its stores */ || slave_closed(p);
}

// Some of the output, or with TIOCPKT a byte that says what follows. 0: nothing there.
static size_t master_take(struct pty *p, u8 *buf, size_t n)
{
    size_t done = 0;
    mutex_lock(&p->tty.out_lock);
    u32 tail = load_relaxed(&p->r_tail), used = ring_used(p);
    unsigned pkt = load_relaxed(&p->pkt);
    if (pkt) {
        buf[done++] = (u8)pkt;
        store_release(&p->pkt, 0);
    } else if (used && load_relaxed(&p->packet)) {
        buf[done++] = 0;
    }
    while (!pkt && done < n && used--) {
        buf[done++] = p->ring[tail++ % PTY_RING];
    }
    store_release(&p->r_tail, tail);
    mutex_unlock(&p->tty.out_lock);
    if (done) {
        tty_wake_writers(&p->tty);
    }
    return done;
}

static ssize_t master_read(struct file *f, void *user, size_t n, u64 *pos)
{
    struct pty *p = f->private;
    u8 buf[COPY_PIECE];
    size_t done = 0;
    (void)pos;
    while (done < n) {
        bool closed = slave_closed(p); // before the look at the bytes
        size_t some =
            done && load_relaxed(&p->packet) ? 0 : master_take(p, buf, min(n - done, sizeof(buf)));
        if (arch_copy_to_user((u8 *)user + done, buf, some)) {
            return done ? (ssize_t)done : -EFAULT;
        }
        done += some;
        if (some) {
            continue;
        }
        if (done || closed) {
            return done ? (ssize_t)done : -EIO;
        }
        if (load_relaxed(&f->flags) & O_NONBLOCK) {
            return -EAGAIN;
        }
        int err = waitq_wait_signal(&p->readers, master_may_read(p));
        if (err) {
            return err;
        }
    }
    return (ssize_t)done;
}

// n bytes of kernel memory; *used counts those that are gone.
static int master_write_piece(struct file *f, struct pty *p, const u8 *buf, size_t n, size_t *used)
{
    while (*used < n) {
        int err = 0;
        size_t some = tty_receive(&p->tty, buf + *used, n - *used);
        *used += some;
        if (!some) {
            err = (load_relaxed(&f->flags) & O_NONBLOCK)
                      ? -EAGAIN
                      : waitq_wait_signal(&p->tty.typists, tty_has_room(&p->tty));
        }
        if (err) {
            return err;
        }
    }
    return 0;
}

static ssize_t master_write(struct file *f, const void *user, size_t n, u64 *pos)
{
    u8 buf[COPY_PIECE];
    size_t done = 0;
    int err = 0;
    (void)pos;
    while (!err && done < n) {
        size_t some = min(n - done, sizeof(buf)), used = 0;
        if (arch_copy_from_user(buf, (const u8 *)user + done, some)) {
            err = -EFAULT;
            break;
        }
        err = master_write_piece(f, f->private, buf, some, &used);
        done += used;
        cond_resched();
    }
    return done ? (ssize_t)done : err;
}

static unsigned master_poll(struct file *f, struct pollq *pt)
{
    struct pty *p = f->private;
    unsigned events = 0;
    if (pt) {
        poll_wait(pt, &p->readers);
        poll_wait(pt, &p->tty.typists);
    }
    if (slave_closed(p)) {
        events |= POLLHUP;
    }
    if (load_acquire(&p->pkt)) {
        events |= POLLPRI | POLLIN | POLLRDNORM;
    }
    events |= ring_used(p) ? POLLIN | POLLRDNORM : 0;
    events |= tty_has_room(&p->tty) ? POLLOUT | POLLWRNORM : 0;
    return events;
}

static s64 put_s32(u64 arg, s32 v)
{
    return arch_copy_to_user((void *)arg, &v, sizeof(v)) ? -EFAULT : 0;
}

// TIOCGPTPEER: open the slave without its name.
static s64 peer_open(struct pty *p, u64 flags)
{
    struct file *slave;
    char *path = kmalloc(24, GFP_KERNEL);
    if (path) {
        snprintf(path, 24, "/dev/pts/%u", p->number);
    }
    int err = file_open_inode(p->inode, (unsigned)flags & (O_ACCMODE | O_NONBLOCK | O_NOCTTY), path,
                              &slave);
    return err ? err : fd_install(slave, (u32)flags & O_CLOEXEC);
}

static s64 bool_set(atomic_bool *b, u64 arg)
{
    s32 on;
    if (arch_copy_from_user(&on, (const void *)arg, sizeof(on))) {
        return -EFAULT;
    }
    store_release(b, on != 0);
    return 0;
}

static s64 packet_set(struct pty *p, u64 arg)
{
    mutex_lock(&p->tty.out_lock);
    store_release(&p->pkt, 0);
    mutex_unlock(&p->tty.out_lock);
    return bool_set(&p->packet, arg);
}

// The master's input is the slave's output, and the other way round.
static s64 master_flush(struct pty *p, u64 what)
{
    if (what > TCIOFLUSH) {
        return -EINVAL;
    }
    tty_drain_and_flush(&p->tty, what != TCIFLUSH, what != TCOFLUSH);
    return 0;
}

static s64 master_ioctl(struct file *f, unsigned cmd, u64 arg)
{
    struct pty *p = f->private;
    switch (cmd) {
    case TIOCGPTN:
        return put_s32(arg, (s32)p->number);
    case TIOCSPTLCK:
        return bool_set(&p->locked, arg);
    case TIOCGPTLCK:
        return put_s32(arg, load_acquire(&p->locked));
    case TIOCPKT:
        return packet_set(p, arg);
    case TIOCGPKT:
        return put_s32(arg, load_acquire(&p->packet));
    case TIOCGPTPEER:
        return peer_open(p, arg);
    case TIOCSIG:
        if (arg == 0 || arg > NR_SIGNALS) {
            return -EINVAL;
        }
        job_tty_signal(&p->tty.job, (int)arg);
        return 0;
    case TIOCGDEV:
        return put_s32(arg, (s32)makedev(5, 2));
    case FIONREAD:
        return put_s32(arg, (s32)ring_used(p));
    case TCFLSH:
        return master_flush(p, arg);
    default:
        return tty_ioctl_common(&p->tty, f, cmd, arg);
    }
}

static void master_release(struct file *f)
{
    struct pty *p = f->private;
    mutex_lock(&pty_lock);
    ptys[p->number] = NULL;
    mutex_unlock(&pty_lock);
    store_release(&p->tty.gone, true); // pairs with file_is_dead
    store_relaxed(&p->inode->nlink, 0);
    tty_hangup(&p->tty, false);
    inode_put(p->inode);
    tty_put(&p->tty);
}

static const struct file_ops master_fops = {
    .read = master_read,
    .write = master_write,
    .poll = master_poll,
    .ioctl = master_ioctl,
    .release = master_release,
    .stream = true,
};

// --- Making a pair

static int pty_number(struct pty *p)
{
    int err = -ENOSPC;
    mutex_lock(&pty_lock);
    for (unsigned i = 0; i < PTY_MAX && err; i++) {
        if (!ptys[i]) {
            p->number = i;
            p->inode->data = i;
            p->inode->rdev = p->tty.job.rdev = makedev(PTY_MAJOR, i);
            ptys[i] = p;
            err = 0;
        }
    }
    mutex_unlock(&pty_lock);
    return err;
}

static void pty_get(struct job_tty *j)
{
    tty_get(container_of(j, struct tty, job));
}

static int ptmx_open(struct inode *i, struct file *f)
{
    struct pty *p = kzalloc(sizeof(*p), GFP_KERNEL);
    (void)i;
    if (!p) {
        return -ENOMEM;
    }
    tty_init(&p->tty, &pty_driver, 0, PTY_CFLAG);
    p->tty.job.get = pty_get;
    waitq_init(&p->readers);
    store_relaxed(&p->locked, true);
    p->inode = inode_new(pts_super, S_IFCHR | 0620);
    if (p->inode) {
        inode_set_owner(p->inode, NULL);
    }
    int err = p->inode ? pty_number(p) : -ENOMEM;
    if (err) {
        inode_put(p->inode);
        kfree(p);
        return err;
    }
    p->inode->fops = &slave_fops;
    f->private = p;
    f->ops = &master_fops;
    return 0;
}

const struct file_ops ptmx_fops = {.open = ptmx_open};

// --- devpts

static int pts_lookup(struct inode *dir, const char *name, struct inode **out)
{
    s32 n = name_to_number(name);
    if (strcmp(name, "ptmx") == 0) {
        *out = inode_get(dir->private);
        return 0;
    }
    if (n < 0 || n >= PTY_MAX) {
        return -ENOENT;
    }
    mutex_lock(&pty_lock);
    *out = ptys[n] ? inode_get(ptys[n]->inode) : NULL;
    mutex_unlock(&pty_lock);
    return *out ? 0 : -ENOENT;
}

static void pts_readdir(struct inode *dir, u64 *pos, struct dirent_sink *sink)
{
    char name[16];
    if (*pos <= FIRST_COOKIE) {
        struct inode *ptmx = dir->private;
        if (!dirent_emit(sink, "ptmx", ptmx->ino, S_IFCHR, FIRST_COOKIE + 1)) {
            return;
        }
        *pos = FIRST_COOKIE + 1;
    }
    for (; *pos <= FIRST_COOKIE + PTY_MAX; ++*pos) {
        unsigned n = (unsigned)*pos - FIRST_COOKIE - 1;
        mutex_lock(&pty_lock);
        u64 ino = ptys[n] ? ptys[n]->inode->ino : 0;
        mutex_unlock(&pty_lock);
        snprintf(name, sizeof(name), "%u", n);
        if (ino && !dirent_emit(sink, name, ino, S_IFCHR, *pos + 1)) {
            return;
        }
    }
}

static const struct inode_ops pts_ops = {.lookup = pts_lookup, .readdir = pts_readdir};

struct inode *devpts_mount(void)
{
    pts_super = super_new("devpts", DEVPTS_MAGIC);
    if (pts_super) {
        pts_super->pinned = true; // all terminals are there
    }
    struct inode *root = pts_super ? inode_new(pts_super, S_IFDIR | 0755) : NULL;
    struct inode *ptmx = root ? inode_new(pts_super, S_IFCHR | 0) : NULL;
    if (!ptmx) {
        return NULL; // at boot: it ends here
    }
    ptmx->rdev = makedev(5, 2);
    ptmx->fops = &ptmx_fops;
    root->private = ptmx;
    root->ops = &pts_ops;
    root->fops = &dir_fops;
    return root;
}
