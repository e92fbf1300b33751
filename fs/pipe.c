// Pipes: 64 KiB of bytes between writers and readers.
//
// One sleeping lock per pipe; the copy to or from user memory happens under it (a fault there takes
// only locks that rank later). head and tail run freely, so head - tail is what is in the pipe;
// they are atomics because sleepers look at them without the lock. A write of up to PIPE_ATOMIC
// bytes waits until all of it fits, so it is never mixed with another's.
//
// Both ends are struct files on one inode that owns the pipe; the inode goes when both are closed.
#include <arch/uaccess.h>
#include <k/assert.h>
#include <k/string.h>
#include <sched.h>
#include <signal.h>
#include "fs_priv.h"

#define PIPE_SIZE   65536u
#define PIPE_ATOMIC 4096u

struct pipe {
    struct mutex lock;            // RANK_PIPE
    atomic_uint head, tail;       // [a], written under lock: bytes ever written, ever read
    atomic_uint readers, writers; // [a] open ends
    atomic_uint readers_ever, writers_ever; // [a] opened so far
    struct waitq rd_wait, wr_wait;
    u8 *buf;
};

static unsigned pipe_used(struct pipe *p)
{
    return load_acquire(&p->head) - load_acquire(&p->tail);
}

// Move n bytes (they are there, or there is room); how many went.
enum pipe_way { TO_USER, FROM_USER, FROM_KERNEL };

static size_t pipe_move(struct pipe *p, u8 *user, size_t n, unsigned at, enum pipe_way way)
{
    size_t done = 0;
    while (done < n) {
        size_t off = (at + done) % PIPE_SIZE;
        size_t some = min(n - done, (size_t)PIPE_SIZE - off);
        size_t left = 0;
        if (way == FROM_KERNEL) {
            memcpy(p->buf + off, user + done, some);
        } else {
            left = way == TO_USER ? arch_copy_to_user(user + done, p->buf + off, some)
                                  : arch_copy_from_user(p->buf + off, user + done, some);
        }
        done += some - left;
        if (left) {
            break;
        }
    }
    return done;
}

static bool pipe_may_read(struct pipe *p)
{
    return pipe_used(p) || load_acquire(&p->writers) == 0;
}

static ssize_t pipe_read(struct file *f, void *buf, size_t n, u64 *pos)
{
    struct pipe *p = f->inode->private;
    (void)pos;
    for (;;) {
        if (n == 0) {
            return 0;
        }
        mutex_lock(&p->lock);
        bool last = load_acquire(&p->writers) == 0; // before the look at the bytes
        size_t some = min(n, (size_t)pipe_used(p));
        size_t done = pipe_move(p, buf, some, load_relaxed(&p->tail), TO_USER);
        store_release(&p->tail, load_relaxed(&p->tail) + (unsigned)done);
        mutex_unlock(&p->lock);
        if (some) {
            waitq_wake_all_for(&p->wr_wait, POLLOUT);
            return done ? (ssize_t)done : -EFAULT;
        }
        if (last) {
            return 0;
        }
        if (load_relaxed(&f->flags) & O_NONBLOCK) {
            return -EAGAIN;
        }
        int err = waitq_wait_signal(&p->rd_wait, pipe_may_read(p));
        if (err) {
            return err;
        }
    }
}

// Room for a write that has n bytes to go: all of them if they are to stay together.
static bool pipe_has_room(struct pipe *p, size_t n)
{
    return PIPE_SIZE - pipe_used(p) >= (n <= PIPE_ATOMIC ? n : 1);
}

// One piece of a write: bytes, or 0: no room, or errno.
static ssize_t pipe_write_some(struct pipe *p, const u8 *buf, size_t n, bool together,
                               enum pipe_way way)
{
    ssize_t r = 0;
    mutex_lock(&p->lock);
    size_t room = PIPE_SIZE - pipe_used(p);
    if (load_acquire(&p->readers) == 0) {
        r = -EPIPE;
    } else if (room && (!together || room >= n)) {
        size_t some = min(n, room);
        size_t done = pipe_move(p, (u8 *)(uintptr_t)buf, some, load_relaxed(&p->head), way);
        store_release(&p->head, load_relaxed(&p->head) + (unsigned)done);
        r = done ? (ssize_t)done : -EFAULT;
    }
    mutex_unlock(&p->lock);
    if (r > 0) {
        waitq_wake_all_for(&p->rd_wait, POLLIN);
    }
    return r;
}

static ssize_t pipe_write_from(struct file *f, const void *buf, size_t n, enum pipe_way way)
{
    struct pipe *p = f->inode->private;
    bool together = n <= PIPE_ATOMIC;
    size_t done = 0;
    ssize_t r = 0;
    while (done < n) {
        r = pipe_write_some(p, (const u8 *)buf + done, n - done, together, way);
        if (r > 0) {
            done += (size_t)r;
            continue;
        }
        if (r == 0 && (load_relaxed(&f->flags) & O_NONBLOCK)) {
            r = -EAGAIN;
        } else if (r == 0) {
            size_t want = together ? n - done : PIPE_ATOMIC + 1;
            r = waitq_wait_signal(&p->wr_wait,
                                  pipe_has_room(p, want) || load_acquire(&p->readers) == 0);
        }
        if (r < 0) {
            break;
        }
    }
    if (r == -EPIPE) {
        signal_send_self(SIGPIPE);
    }
    return done ? (ssize_t)done : r;
}

static ssize_t pipe_write(struct file *f, const void *buf, size_t n, u64 *pos)
{
    (void)pos;
    return pipe_write_from(f, buf, n, FROM_USER);
}

static ssize_t pipe_write_kernel(struct file *f, const void *buf, size_t n, u64 *pos)
{
    (void)pos;
    return pipe_write_from(f, buf, n, FROM_KERNEL);
}

static unsigned pipe_poll(struct file *f, struct pollq *pt)
{
    struct pipe *p = f->inode->private;
    unsigned mode = load_relaxed(&f->flags) & O_ACCMODE, events = 0;
    if (pt && mode != O_WRONLY) {
        poll_wait(pt, &p->rd_wait);
    }
    if (pt && mode != O_RDONLY) {
        poll_wait(pt, &p->wr_wait);
    }
    if (mode != O_WRONLY) {
        // A named pipe that no writer has opened since we did has not ended.
        bool last = load_acquire(&p->writers) == 0 &&
                    load_relaxed(&p->writers_ever) != (unsigned)(uintptr_t)f->private;
        events |= pipe_used(p) ? POLLIN | POLLRDNORM : 0;
        events |= last ? POLLHUP : 0;
    }
    if (mode != O_RDONLY) {
        events |= pipe_has_room(p, PIPE_ATOMIC) ? POLLOUT | POLLWRNORM : 0;
        events |= load_acquire(&p->readers) == 0 ? POLLERR : 0;
    }
    return events;
}

static s64 pipe_ioctl(struct file *f, unsigned cmd, u64 arg)
{
    if (cmd != FIONREAD) {
        return -ENOTTY;
    }
    s32 n = (s32)pipe_used(f->inode->private);
    return arch_copy_to_user((void *)arg, &n, sizeof(n)) ? -EFAULT : 0;
}

static int pipe_open(struct inode *i, struct file *f)
{
    struct pipe *p = i->private;
    unsigned mode = load_relaxed(&f->flags) & O_ACCMODE;
    f->private = (void *)(uintptr_t)load_relaxed(&p->writers_ever);
    if (mode != O_WRONLY) {
        fetch_add_seq(&p->readers, 1);
        fetch_add_seq(&p->readers_ever, 1);
    }
    if (mode != O_RDONLY) {
        fetch_add_seq(&p->writers, 1);
        fetch_add_seq(&p->writers_ever, 1);
    }
    return 0;
}

static void pipe_release(struct file *f)
{
    struct pipe *p = f->inode->private;
    unsigned mode = load_relaxed(&f->flags) & O_ACCMODE;
    if (mode != O_WRONLY) {
        fetch_add_seq(&p->readers, (unsigned)-1);
        waitq_wake_all(&p->wr_wait);
    }
    if (mode != O_RDONLY) {
        fetch_add_seq(&p->writers, (unsigned)-1);
        waitq_wake_all(&p->rd_wait);
    }
}

static const struct file_ops pipe_fops = {
    .read = pipe_read,
    .write = pipe_write,
    .write_kernel = pipe_write_kernel,
    .poll = pipe_poll,
    .ioctl = pipe_ioctl,
    .open = pipe_open,
    .release = pipe_release,
    .stream = true,
};

static void pipe_evict(struct inode *i)
{
    struct pipe *p = i->private;
    if (p) {
        kfree(p->buf);
        kfree(p);
    }
}

static const struct inode_ops pipe_inode_ops = {.evict = pipe_evict};
static struct super pipe_super = {.type = "pipefs", .magic = 0x50495045};

static int pipe_attach(struct inode *i, const struct file_ops *fops)
{
    struct pipe *p = kzalloc(sizeof(*p), GFP_KERNEL);
    if (!p) {
        return -ENOMEM;
    }
    i->private = p;
    i->ops = &pipe_inode_ops;
    i->fops = fops;
    mutex_init(&p->lock, RANK_PIPE);
    waitq_init(&p->rd_wait);
    waitq_init(&p->wr_wait);
    p->buf = kmalloc(PIPE_SIZE, GFP_KERNEL);
    return p->buf ? 0 : -ENOMEM;
}

static struct inode *pipe_inode_new(struct super *sb, u32 mode, const struct file_ops *fops)
{
    struct inode *i = inode_new(sb, mode);
    if (i && pipe_attach(i, fops)) {
        inode_put(i);
        i = NULL;
    }
    return i;
}

// ---- Named pipes: the same behind a name. Bytes nobody read are gone when both ends are closed.

// open waits for the other end, unless it is told not to: a reader never fails then, a writer does.
static int fifo_open(struct inode *i, struct file *f)
{
    struct pipe *p = i->private;
    unsigned flags = load_relaxed(&f->flags), mode = flags & O_ACCMODE;
    bool reads = mode == O_RDONLY;
    atomic_uint *others_ever = reads ? &p->writers_ever : &p->readers_ever;
    mutex_lock(&p->lock);
    bool alone = load_acquire(reads ? &p->writers : &p->readers) == 0;
    if (mode == O_WRONLY && (flags & O_NONBLOCK) && alone) {
        mutex_unlock(&p->lock);
        return -ENXIO;
    }
    unsigned before = load_acquire(others_ever);
    pipe_open(i, f);
    mutex_unlock(&p->lock);
    waitq_wake_all(&p->rd_wait);
    waitq_wake_all(&p->wr_wait);
    if (mode == O_RDWR || !alone || (flags & O_NONBLOCK)) {
        return 0;
    }
    // Whoever opens the other end lets us through, even if it closes again at once.
    int err =
        waitq_wait_signal(reads ? &p->rd_wait : &p->wr_wait, load_acquire(others_ever) != before);
    if (err) {
        pipe_release(f);
    }
    return err;
}

static void fifo_release(struct file *f)
{
    struct pipe *p = f->inode->private;
    pipe_release(f);
    mutex_lock(&p->lock);
    if (load_acquire(&p->readers) == 0 && load_acquire(&p->writers) == 0) {
        store_release(&p->tail, load_relaxed(&p->head));
    }
    mutex_unlock(&p->lock);
}

static const struct file_ops fifo_fops = {
    .read = pipe_read,
    .write = pipe_write,
    .write_kernel = pipe_write_kernel,
    .poll = pipe_poll,
    .ioctl = pipe_ioctl,
    .open = fifo_open,
    .release = fifo_release,
    .stream = true,
};

struct inode *fifo_new(struct super *sb, u32 mode)
{
    return pipe_inode_new(sb, mode, &fifo_fops);
}

int pipe_open_both(struct file **rd, struct file **wr, unsigned flags)
{
    struct inode *i = pipe_inode_new(&pipe_super, S_IFIFO | 0600, &pipe_fops);
    int err = i ? file_open_inode(i, O_RDONLY | flags, NULL, rd) : -ENOMEM;
    if (!err) {
        err = file_open_inode(i, O_WRONLY | flags, NULL, wr);
        if (err) {
            file_put(*rd);
        }
    }
    inode_put(i);
    return err;
}
