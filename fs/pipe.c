// Pipes, 2: their ends. The bytes between them are in fs/pipe_ring.c.
//
// Both ends are struct files on one inode that owns the pipe: an inode of its own that goes when
// both are closed, or one with a name (a FIFO), which stays. Bytes nobody read are gone when all
// ends are closed.
//
// A write of up to PIPE_ATOMIC bytes, in however many pieces, waits until all of it fits and then
// puts all of it in or nothing, so it is never mixed with another's. A longer one waits for room
// again and again; another's bytes may come between.
//
// Ends are counted under the lock, so that whoever opens one knows whether the other is there;
// those who wait look at the counts without it.
#include <arch/uaccess.h>
#include <proc.h>
#include <signal.h>
#include "pipe_priv.h"

atomic_uint pipe_max_size = 1u << 20;

// ---- Reading

static bool pipe_may_read(struct pipe *p)
{
    return !load_acquire(&p->held) && (pipe_used(p) || load_acquire(&p->writers) == 0);
}

ssize_t pipe_get(struct pipe *p, struct iov_iter *it, bool nonblock)
{
    for (;;) {
        mutex_lock(&p->lock);
        bool held = load_relaxed(&p->held);
        bool last = !held && load_acquire(&p->writers) == 0; // before the look at the bytes
        ssize_t r = held ? 0 : pipe_drain_locked(p, it);
        mutex_unlock(&p->lock);
        if (r > 0) {
            waitq_wake_all_for(&p->wr_wait, POLLOUT);
        }
        if (r || last) {
            return r;
        }
        if (nonblock) {
            return -EAGAIN;
        }
        int err = waitq_wait_signal(&p->rd_wait, pipe_may_read(p));
        if (err) {
            return err;
        }
    }
}

static ssize_t pipe_readv(struct file *f, const struct uapi_iovec *v, u64 nr, bool nowait)
{
    struct iov_iter it = iov_iter_of(v, nr, IOV_TO_USER);
    nowait |= (load_relaxed(&f->flags) & O_NONBLOCK) != 0;
    return it.left ? pipe_get(f->inode->private, &it, nowait) : 0;
}

static ssize_t pipe_read(struct file *f, void *buf, size_t n, u64 *pos)
{
    struct uapi_iovec v = {(u64)buf, n};
    (void)pos;
    return pipe_readv(f, &v, 1, false);
}

// ---- Writing

// Room for a write that has n bytes to go: all of them if they are to stay together.
static bool pipe_has_room(struct pipe *p, size_t n)
{
    return pipe_room(p) >= (n <= PIPE_ATOMIC ? n : 1);
}

// One piece of a write: bytes, or 0: no room, or errno.
static ssize_t pipe_write_some(struct pipe *p, struct iov_iter *it, bool together)
{
    ssize_t r = 0;
    mutex_lock(&p->lock);
    size_t room = pipe_room(p);
    if (load_acquire(&p->readers) == 0) {
        r = -EPIPE;
    } else if (room && (!together || room >= it->left)) {
        r = pipe_fill_locked(p, it, min(it->left, room), together);
    }
    mutex_unlock(&p->lock);
    if (r > 0) {
        waitq_wake_all_for(&p->rd_wait, POLLIN);
    }
    return r;
}

static ssize_t pipe_write_from(struct file *f, struct iov_iter *it, bool nowait)
{
    struct pipe *p = f->inode->private;
    size_t all = it->left;
    bool together = all <= PIPE_ATOMIC;
    ssize_t r = 0;
    while (it->left) {
        r = pipe_write_some(p, it, together);
        if (r > 0) {
            continue;
        }
        if (r == 0 && (nowait || (load_relaxed(&f->flags) & O_NONBLOCK))) {
            r = -EAGAIN;
        } else if (r == 0) {
            size_t want = together ? all : PIPE_ATOMIC + 1;
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
    // Of a write that stays together nothing is in, even if pieces of it have been copied.
    size_t done = together && r < 0 ? 0 : all - it->left;
    return done ? (ssize_t)done : r;
}

static ssize_t pipe_writev(struct file *f, const struct uapi_iovec *v, u64 nr, bool nowait)
{
    struct iov_iter it = iov_iter_of(v, nr, IOV_FROM_USER);
    return pipe_write_from(f, &it, nowait);
}

static ssize_t pipe_write(struct file *f, const void *buf, size_t n, u64 *pos)
{
    struct uapi_iovec v = {(u64)buf, n};
    (void)pos;
    return pipe_writev(f, &v, 1, false);
}

static ssize_t pipe_write_kernel(struct file *f, const void *buf, size_t n, u64 *pos)
{
    struct uapi_iovec v = {(u64)buf, n};
    struct iov_iter it = iov_iter_of(&v, 1, IOV_FROM_KERNEL);
    (void)pos;
    return pipe_write_from(f, &it, false);
}

// ---- For splice

int pipe_hold(struct pipe *p, u8 *buf, size_t n, bool nonblock, size_t *got)
{
    struct uapi_iovec v = {(u64)buf, n};
    *got = 0;
    for (;;) {
        struct iov_iter it = iov_iter_of(&v, 1, IOV_TO_KERNEL);
        mutex_lock(&p->lock);
        bool held = load_relaxed(&p->held);
        bool last = !held && load_acquire(&p->writers) == 0; // before the look at the bytes
        *got = held ? 0 : pipe_peek_locked(p, &it);
        if (*got) {
            store_release(&p->held, true); // pairs with pipe_may_read
        }
        mutex_unlock(&p->lock);
        if (*got || last) {
            return 0;
        }
        int err = nonblock ? -EAGAIN : waitq_wait_signal(&p->rd_wait, pipe_may_read(p));
        if (err) {
            return err;
        }
    }
}

void pipe_let_go(struct pipe *p, size_t gone)
{
    mutex_lock(&p->lock);
    pipe_skip_locked(p, gone);
    store_seq(&p->held, false); // pairs with the look of who is about to wait
    mutex_unlock(&p->lock);
    waitq_wake_all_for(&p->rd_wait, POLLIN);
    if (gone) {
        waitq_wake_all_for(&p->wr_wait, POLLOUT);
    }
}

int pipe_wait_room(struct pipe *p, bool nonblock)
{
    while (load_acquire(&p->readers) && !pipe_room(p)) {
        int err = nonblock ? -EAGAIN
                           : waitq_wait_signal(&p->wr_wait,
                                               pipe_room(p) || load_acquire(&p->readers) == 0);
        if (err) {
            return err;
        }
    }
    if (load_acquire(&p->readers) == 0) {
        signal_send_self(SIGPIPE);
        return -EPIPE;
    }
    return 0;
}

ssize_t pipe_put_iter(struct pipe *p, struct iov_iter *from)
{
    ssize_t r = pipe_write_some(p, from, false);
    if (r == -EPIPE) {
        signal_send_self(SIGPIPE);
    }
    return r;
}

ssize_t pipe_put_some(struct pipe *p, const u8 *buf, size_t n)
{
    struct uapi_iovec v = {(u64)buf, n};
    struct iov_iter it = iov_iter_of(&v, 1, IOV_FROM_KERNEL);
    return pipe_put_iter(p, &it);
}

// ---- Size

static s64 pipe_resize(struct pipe *p, u32 bytes)
{
    u64 size = pipe_size_round(bytes);
    if (!size) {
        return -EINVAL;
    }
    mutex_lock(&p->lock);
    bool over = size > load_relaxed(&p->size) && size > load_relaxed(&pipe_max_size);
    int err = over && !current_has_cap(CAP_SYS_RESOURCE) ? -EPERM : pipe_resize_locked(p, size);
    mutex_unlock(&p->lock);
    if (!err) {
        waitq_wake_all_for(&p->wr_wait, POLLOUT);
    }
    return err ? err : (s64)size;
}

s64 pipe_fcntl(struct file *f, unsigned cmd, u64 arg)
{
    struct pipe *p = pipe_of(f);
    if (!p) {
        return -EBADF;
    }
    return cmd == F_GETPIPE_SZ ? load_relaxed(&p->size) : pipe_resize(p, (u32)arg);
}

// ---- What else files do

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
        // A FIFO that was opened before any writer, and that none has opened since, has not ended.
        bool last = load_acquire(&p->writers) == 0 &&
                    load_relaxed(&p->writers_ever) != (unsigned)(uintptr_t)f->private;
        events |= pipe_used(p) && !load_acquire(&p->held) ? POLLIN | POLLRDNORM : 0;
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

// ---- Opening and closing

static void pipe_join_locked(struct pipe *p, unsigned mode)
{
    if (mode != O_WRONLY) {
        fetch_add_seq(&p->readers, 1);
        fetch_add_seq(&p->readers_ever, 1);
    }
    if (mode != O_RDONLY) {
        fetch_add_seq(&p->writers, 1);
        fetch_add_seq(&p->writers_ever, 1);
    }
}

static void pipe_release(struct file *f)
{
    struct pipe *p = f->inode->private;
    unsigned mode = load_relaxed(&f->flags) & O_ACCMODE;
    mutex_lock(&p->lock);
    if (mode != O_WRONLY) {
        fetch_add_seq(&p->readers, (unsigned)-1);
    }
    if (mode != O_RDONLY) {
        fetch_add_seq(&p->writers, (unsigned)-1);
    }
    if (load_relaxed(&p->readers) == 0 && load_relaxed(&p->writers) == 0) {
        pipe_empty_locked(p);
    }
    mutex_unlock(&p->lock);
    if (mode != O_WRONLY) {
        waitq_wake_all(&p->wr_wait);
    }
    if (mode != O_RDONLY) {
        waitq_wake_all(&p->rd_wait);
    }
}

// The other end of a FIFO is waited for, unless the caller is told not to: a reader never fails
// then, a writer does. fifo(7). Of a pipe without a name (both ends are made at once; /proc/PID/fd
// opens one again) nothing is waited for.
static int pipe_open(struct inode *i, struct file *f)
{
    struct pipe *p = i->private;
    unsigned flags = load_relaxed(&f->flags), mode = flags & O_ACCMODE;
    bool reads = mode == O_RDONLY;
    atomic_uint *others_ever = reads ? &p->writers_ever : &p->readers_ever;
    mutex_lock(&p->lock);
    bool alone = p->named && load_relaxed(reads ? &p->writers : &p->readers) == 0;
    if (mode == O_WRONLY && (flags & O_NONBLOCK) && alone) {
        mutex_unlock(&p->lock);
        return -ENXIO;
    }
    unsigned before = load_relaxed(others_ever);
    // For pipe_poll: no writer but later ones can be the one whose end it reports.
    f->private = (void *)(uintptr_t)(reads && alone ? before : 0);
    pipe_join_locked(p, mode);
    mutex_unlock(&p->lock);
    if (!p->named) {
        return 0;
    }
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

static const struct file_ops pipe_fops = {
    .read = pipe_read,
    .write = pipe_write,
    .readv = pipe_readv,
    .writev = pipe_writev,
    .write_kernel = pipe_write_kernel,
    .poll = pipe_poll,
    .ioctl = pipe_ioctl,
    .open = pipe_open,
    .release = pipe_release,
    .stream = true,
};

struct pipe *pipe_of(struct file *f)
{
    return f->ops == &pipe_fops ? f->inode->private : NULL;
}

// ---- Making them

static void pipe_evict(struct inode *i)
{
    if (i->private) {
        pipe_ring_free(i->private);
        kfree(i->private);
    }
}

static const struct inode_ops pipe_inode_ops = {.evict = pipe_evict};
static struct super pipe_super = {.type = "pipefs", .magic = 0x50495045};

static int pipe_attach(struct inode *i, bool named)
{
    struct pipe *p = kzalloc(sizeof(*p), GFP_KERNEL);
    if (!p) {
        return -ENOMEM;
    }
    i->private = p;
    i->ops = &pipe_inode_ops;
    i->fops = &pipe_fops;
    p->named = named;
    mutex_init(&p->lock, RANK_PIPE);
    waitq_init(&p->rd_wait);
    waitq_init(&p->wr_wait);
    // Only who may exceed the limit gets more than it allows.
    unsigned most = load_relaxed(&pipe_max_size);
    return pipe_ring_init(p, current_has_cap(CAP_SYS_RESOURCE) ? PIPE_SIZE : min(PIPE_SIZE, most));
}

static struct inode *pipe_inode_new(struct super *sb, u32 mode, bool named)
{
    struct inode *i = inode_new(sb, mode);
    if (i && pipe_attach(i, named)) {
        inode_put(i);
        i = NULL;
    }
    return i;
}

struct inode *fifo_new(struct super *sb, u32 mode)
{
    return pipe_inode_new(sb, mode, true);
}

int pipe_open_both(struct file **rd, struct file **wr, unsigned flags)
{
    struct inode *i = pipe_inode_new(&pipe_super, S_IFIFO | 0600, false);
    if (i) {
        inode_set_owner(i, NULL);
    }
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
