// Pipes: bytes between writers and readers.
//
// What is in a pipe lies in pages, a ring of them: byte number b (they are counted from the pipe's
// making, and [tail, head) of them are there) is in slot b / PAGE_SIZE modulo the number of slots.
// That number is a power of two and gives the pipe its size: 64 KiB, or what F_SETPIPE_SZ asked
// for. A slot gets its page when a byte comes to it and loses it when the last byte has left, so
// an idle pipe is a table of pointers and the one page that is kept back for the next byte.
//
//     slot   0        1        2        3        0 (again)
//            |        |....bbbb|bbbbbbbb|bbbbbbbb|bbb.....|
//                          ^ tail                   ^ head
//
// When a ring is nearly full, head and tail may be in one slot, which then has bytes of both ends.
//
// One sleeping lock per pipe; the copy to or from user memory happens under it (a fault there takes
// only locks that rank later), and so does all else that pages and slots go through. head, tail and
// size are atomics because sleepers look at them without the lock. A write of up to PIPE_ATOMIC
// bytes, in however many pieces, waits until all of it fits and then puts all of it in or nothing,
// so it is never mixed with another's.
//
// Both ends are struct files on one inode that owns the pipe; the inode goes when both are closed.
//
// Rejected: slots with an offset and a length each, as Linux has them. They let whole pages be
// moved in and out (splice); without that they only make the room depend on how it was filled.
#include <arch/mmu.h>
#include <arch/uaccess.h>
#include <k/assert.h>
#include <k/string.h>
#include <page.h>
#include <proc.h>
#include <sched.h>
#include <signal.h>
#include "fs_priv.h"

#define PIPE_SIZE    65536u
#define PIPE_ATOMIC  4096u
#define PIPE_LARGEST (1u << 31)

struct pipe {
    struct mutex lock;                      // RANK_PIPE
    _Atomic u64 head, tail;                 // [a], written under lock: bytes ever written, read
    atomic_uint size;                       // [a], written under lock: bytes, a power of two
    struct page **slot;                     // [lock] size / PAGE_SIZE; NULL: no byte is there
    struct page *spare;                     // [lock] may be NULL
    atomic_uint readers, writers;           // [a] open ends
    atomic_uint readers_ever, writers_ever; // [a] opened so far
    struct waitq rd_wait, wr_wait;
};

atomic_uint pipe_max_size = 1u << 20;

static size_t pipe_used(struct pipe *p)
{
    // The tail first: it never passes a head that is read later.
    u64 tail = load_acquire(&p->tail); // both pair with the stores of pipe_drain and pipe_fill
    return (size_t)(load_acquire(&p->head) - tail);
}

static size_t pipe_room(struct pipe *p)
{
    size_t used = pipe_used(p), size = load_acquire(&p->size); // pairs with pipe_resize_locked
    return size > used ? size - used : 0; // not locked, the look may mix two states
}

// ---- Bytes on their way: the pieces of a call

enum pipe_way { TO_USER, FROM_USER, FROM_KERNEL };

struct pipe_io {
    const struct uapi_iovec *v; // the piece we are in
    u64 off;                    // in it
    size_t left;                // bytes to go, in it and those after it
    enum pipe_way way;
};

static struct pipe_io pipe_io_of(const struct uapi_iovec *v, u64 nr, enum pipe_way way)
{
    struct pipe_io io = {.v = v, .way = way};
    for (u64 i = 0; i < nr; i++) {
        io.left += v[i].len;
    }
    return io;
}

// Copy n bytes, not more than are to go; how many went.
static size_t pipe_io_copy(struct pipe_io *io, u8 *at, size_t n)
{
    size_t done = 0, failed = 0;
    while (done < n && !failed) {
        if (io->off == io->v->len) {
            io->v++;
            io->off = 0;
            continue;
        }
        void *user = (void *)(io->v->base + io->off);
        size_t some = min(n - done, (size_t)(io->v->len - io->off));
        if (io->way == FROM_KERNEL) {
            memcpy(at + done, user, some);
        } else {
            failed = io->way == TO_USER ? arch_copy_to_user(user, at + done, some)
                                        : arch_copy_from_user(at + done, user, some);
        }
        done += some - failed;
        io->off += some - failed;
    }
    io->left -= done;
    return done;
}

// ---- Slots. The pipe is locked.

static u64 pipe_nr_slots(struct pipe *p)
{
    return load_relaxed(&p->size) / PAGE_SIZE;
}

static struct page **pipe_slot(struct pipe *p, u64 at)
{
    return &p->slot[at / PAGE_SIZE & (pipe_nr_slots(p) - 1)];
}

// Slots that have a byte, counted again when both ends are in one.
static u64 pipe_slots_used(struct pipe *p)
{
    u64 head = load_relaxed(&p->head), tail = load_relaxed(&p->tail);
    return head == tail ? 0 : (head - 1) / PAGE_SIZE - tail / PAGE_SIZE + 1;
}

static void pipe_page_drop(struct pipe *p, struct page *page)
{
    if (page && p->spare) {
        page_free(page);
    } else if (page) {
        p->spare = page;
    }
}

// Of the slots of the bytes from `from` to `to`, empty those that have no byte.
static void pipe_prune(struct pipe *p, u64 from, u64 to)
{
    u64 used = pipe_slots_used(p), first = load_relaxed(&p->tail) / PAGE_SIZE;
    for (u64 q = from / PAGE_SIZE; q <= to / PAGE_SIZE; q++) {
        struct page **slot = pipe_slot(p, q * PAGE_SIZE);
        if (((q - first) & (pipe_nr_slots(p) - 1)) >= used) {
            pipe_page_drop(p, *slot);
            *slot = NULL;
        }
    }
}

// Where byte `at` is or goes; *n: how many bytes are to be moved there, at most those asked for.
// NULL: no memory.
static u8 *pipe_place(struct pipe *p, u64 at, size_t *n)
{
    struct page **slot = pipe_slot(p, at);
    *n = min(*n, (size_t)(PAGE_SIZE - at % PAGE_SIZE));
    if (!*slot) {
        *slot = p->spare ? p->spare : page_alloc(GFP_KERNEL);
        p->spare = NULL;
    }
    return *slot ? (u8 *)page_addr(*slot) + at % PAGE_SIZE : NULL;
}

// Move n bytes from `from` on; *end: how far that came.
static int pipe_move(struct pipe *p, struct pipe_io *io, u64 from, size_t n, u64 *end)
{
    u64 at = from;
    int err = 0;
    while (at < from + n && !err) {
        size_t some = (size_t)(from + n - at);
        u8 *place = pipe_place(p, at, &some);
        size_t went = place ? pipe_io_copy(io, place, some) : 0;
        err = !place ? -ENOMEM : went < some ? -EFAULT : 0;
        at += went;
        cond_resched();
    }
    *end = at;
    return err;
}

// Take bytes out, as many as are there and wanted; or 0, or errno.
static ssize_t pipe_drain(struct pipe *p, struct pipe_io *io)
{
    u64 from = load_relaxed(&p->tail), end;
    int err = pipe_move(p, io, from, min(io->left, pipe_used(p)), &end);
    store_release(&p->tail, end); // pairs with pipe_used
    if (end > from) {
        pipe_prune(p, from, end);
    }
    return end > from ? (ssize_t)(end - from) : err;
}

// Put n bytes in, for which there is room; whole: all or none. Bytes, or errno.
static ssize_t pipe_fill(struct pipe *p, struct pipe_io *io, size_t n, bool whole)
{
    u64 from = load_relaxed(&p->head), end;
    int err = pipe_move(p, io, from, n, &end);
    if (!err || (!whole && end > from)) {
        store_release(&p->head, end); // pairs with pipe_used
    }
    if (err) {
        pipe_prune(p, from, end); // what was made for bytes that did not come
    }
    return !err || (!whole && end > from) ? (ssize_t)(end - from) : err;
}

// ---- Reading

static bool pipe_may_read(struct pipe *p)
{
    return pipe_used(p) || load_acquire(&p->writers) == 0;
}

static ssize_t pipe_readv(struct file *f, const struct uapi_iovec *v, u64 nr)
{
    struct pipe *p = f->inode->private;
    struct pipe_io io = pipe_io_of(v, nr, TO_USER);
    if (io.left == 0) {
        return 0;
    }
    for (;;) {
        mutex_lock(&p->lock);
        bool last = load_acquire(&p->writers) == 0; // before the look at the bytes
        ssize_t r = pipe_drain(p, &io);
        mutex_unlock(&p->lock);
        if (r > 0) {
            waitq_wake_all_for(&p->wr_wait, POLLOUT);
        }
        if (r || last) {
            return r;
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

static ssize_t pipe_read(struct file *f, void *buf, size_t n, u64 *pos)
{
    struct uapi_iovec v = {(u64)buf, n};
    (void)pos;
    return pipe_readv(f, &v, 1);
}

// ---- Writing

// Room for a write that has n bytes to go: all of them if they are to stay together.
static bool pipe_has_room(struct pipe *p, size_t n)
{
    return pipe_room(p) >= (n <= PIPE_ATOMIC ? n : 1);
}

// One piece of a write: bytes, or 0: no room, or errno.
static ssize_t pipe_write_some(struct pipe *p, struct pipe_io *io, bool together)
{
    ssize_t r = 0;
    mutex_lock(&p->lock);
    size_t room = pipe_room(p);
    if (load_acquire(&p->readers) == 0) {
        r = -EPIPE;
    } else if (room && (!together || room >= io->left)) {
        r = pipe_fill(p, io, min(io->left, room), together);
    }
    mutex_unlock(&p->lock);
    if (r > 0) {
        waitq_wake_all_for(&p->rd_wait, POLLIN);
    }
    return r;
}

static ssize_t pipe_write_from(struct file *f, struct pipe_io *io)
{
    struct pipe *p = f->inode->private;
    size_t all = io->left;
    bool together = all <= PIPE_ATOMIC;
    ssize_t r = 0;
    while (io->left) {
        r = pipe_write_some(p, io, together);
        if (r > 0) {
            continue;
        }
        if (r == 0 && (load_relaxed(&f->flags) & O_NONBLOCK)) {
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
    size_t done = together && r < 0 ? 0 : all - io->left;
    return done ? (ssize_t)done : r;
}

static ssize_t pipe_writev(struct file *f, const struct uapi_iovec *v, u64 nr)
{
    struct pipe_io io = pipe_io_of(v, nr, FROM_USER);
    return pipe_write_from(f, &io);
}

static ssize_t pipe_write(struct file *f, const void *buf, size_t n, u64 *pos)
{
    struct uapi_iovec v = {(u64)buf, n};
    (void)pos;
    return pipe_writev(f, &v, 1);
}

static ssize_t pipe_write_kernel(struct file *f, const void *buf, size_t n, u64 *pos)
{
    struct uapi_iovec v = {(u64)buf, n};
    struct pipe_io io = pipe_io_of(&v, 1, FROM_KERNEL);
    (void)pos;
    return pipe_write_from(f, &io);
}

// ---- Size

#define CAP_SYS_RESOURCE_BIT (1ull << 24)

static bool may_exceed(void) // a look at a word the process itself changes
{
    struct process *p = current_process();
    return !p || (p->cred.cap_effective & CAP_SYS_RESOURCE_BIT);
}

u64 pipe_size_round(u64 bytes)
{
    u64 size = PAGE_SIZE;
    while (size < bytes && size <= PIPE_LARGEST) {
        size *= 2;
    }
    return size <= PIPE_LARGEST ? size : 0;
}

// Give the pages to a ring of another size: byte numbers stay, so do the places in the pages. Only
// a page in which both ends are, before or after, has to be two.
static int pipe_resize_locked(struct pipe *p, u64 size)
{
    u64 used = pipe_slots_used(p), first = load_relaxed(&p->tail) / PAGE_SIZE;
    u64 nr = size / PAGE_SIZE, head_bytes = (load_relaxed(&p->head) - 1) % PAGE_SIZE + 1;
    struct page *extra = NULL, **slot;
    if (nr == pipe_nr_slots(p)) {
        return 0;
    }
    if (used > nr + 1 || (used && pipe_used(p) > size)) {
        return -EBUSY;
    }
    slot = nr * sizeof(*slot) <= KMALLOC_MAX ? kzalloc(nr * sizeof(*slot), GFP_KERNEL) : NULL;
    extra = used > pipe_nr_slots(p) ? page_alloc(GFP_KERNEL) : NULL;
    if (!slot || (used > pipe_nr_slots(p) && !extra)) {
        kfree(slot);
        pipe_page_drop(p, extra);
        return -ENOMEM;
    }
    for (u64 q = first; q < first + used; q++) {
        struct page *page = *pipe_slot(p, q * PAGE_SIZE), **to = &slot[q & (nr - 1)];
        if (*to) { // the last, in the first one's page from now on
            memcpy(page_addr(*to), page_addr(page), head_bytes);
            pipe_page_drop(p, page);
        } else if (q - first == pipe_nr_slots(p)) { // no longer
            memcpy(page_addr(extra), page_addr(page), head_bytes);
            *to = extra;
        } else {
            *to = page;
        }
    }
    kfree(p->slot);
    p->slot = slot;
    store_release(&p->size, (unsigned)size); // pairs with pipe_room
    return 0;
}

static s64 pipe_resize(struct pipe *p, u32 bytes)
{
    u64 size = pipe_size_round(bytes);
    if (!size) {
        return -EINVAL;
    }
    mutex_lock(&p->lock);
    bool over = size > load_relaxed(&p->size) && size > load_relaxed(&pipe_max_size);
    int err = over && !may_exceed() ? -EPERM : pipe_resize_locked(p, size);
    mutex_unlock(&p->lock);
    if (!err) {
        waitq_wake_all_for(&p->wr_wait, POLLOUT);
    }
    return err ? err : (s64)size;
}

s64 pipe_fcntl(struct file *f, unsigned cmd, u64 arg)
{
    if (f->ops->write != pipe_write) {
        return -EBADF;
    }
    struct pipe *p = f->inode->private;
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
    .readv = pipe_readv,
    .writev = pipe_writev,
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
    if (!p) {
        return;
    }
    for (u64 k = 0; p->slot && k < pipe_nr_slots(p); k++) {
        pipe_page_drop(p, p->slot[k]);
        cond_resched();
    }
    if (p->spare) {
        page_free(p->spare);
    }
    kfree(p->slot);
    kfree(p);
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
    // Only who may exceed the limit gets more than it allows.
    unsigned most = load_relaxed(&pipe_max_size);
    store_relaxed(&p->size, may_exceed() ? PIPE_SIZE : min(PIPE_SIZE, most));
    p->slot = kzalloc(pipe_nr_slots(p) * sizeof(*p->slot), GFP_KERNEL);
    return p->slot ? 0 : -ENOMEM;
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
        u64 from = load_relaxed(&p->tail), head = load_relaxed(&p->head);
        store_release(&p->tail, head); // pairs with pipe_used
        pipe_prune(p, from, head);
    }
    mutex_unlock(&p->lock);
}

static const struct file_ops fifo_fops = {
    .read = pipe_read,
    .write = pipe_write,
    .readv = pipe_readv,
    .writev = pipe_writev,
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
