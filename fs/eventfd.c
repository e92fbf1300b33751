// eventfd: a counter that is a file. See eventfd(2).
//
// write adds, read takes all (or one: EFD_SEMAPHORE) and waits while there is nothing. The counter
// never reaches 2^64 - 1; a write that would go there waits. A spinlock guards it, the copies to
// and from user memory happen outside of it: a read whose buffer is bad has taken the value.
#include <arch/uaccess.h>
#include <k/string.h>
#include <sched.h>
#include <syscalls.h>
#include "fs_priv.h"

#define EFD_SEMAPHORE 1u
#define COUNT_MAX     (~0ull - 1)

struct eventfd {
    struct spinlock lock; // RANK_SPIN_MISC
    _Atomic u64 count;    // [a], written under lock
    bool semaphore;       // [I]
    struct waitq wait;    // readers and writers
};

// 0: nothing there.
static u64 eventfd_take(struct eventfd *e)
{
    spin_lock(&e->lock);
    u64 count = load_relaxed(&e->count);
    u64 some = e->semaphore ? min(count, 1ull) : count;
    store_seq(&e->count, count - some); // pairs with the look of who is about to wait
    spin_unlock(&e->lock);
    if (some) {
        waitq_wake_all_for(&e->wait, POLLOUT);
    }
    return some;
}

static ssize_t eventfd_read(struct file *f, void *buf, size_t n, u64 *pos)
{
    struct eventfd *e = f->private;
    u64 some;
    (void)pos;
    if (n < sizeof(some)) {
        return -EINVAL;
    }
    while ((some = eventfd_take(e)) == 0) {
        if (load_relaxed(&f->flags) & O_NONBLOCK) {
            return -EAGAIN;
        }
        int err = waitq_wait_signal(&e->wait, load_seq(&e->count) != 0);
        if (err) {
            return err;
        }
    }
    return arch_copy_to_user(buf, &some, sizeof(some)) ? -EFAULT : (ssize_t)sizeof(some);
}

static bool eventfd_add(struct eventfd *e, u64 some)
{
    spin_lock(&e->lock);
    u64 count = load_relaxed(&e->count);
    bool fits = some <= COUNT_MAX - count;
    if (fits) {
        store_seq(&e->count, count + some); // pairs with the look of who is about to wait
    }
    spin_unlock(&e->lock);
    if (fits) {
        waitq_wake_all_for(&e->wait, POLLIN);
    }
    return fits;
}

static ssize_t eventfd_write(struct file *f, const void *buf, size_t n, u64 *pos)
{
    struct eventfd *e = f->private;
    u64 some;
    (void)pos;
    if (n < sizeof(some)) {
        return -EINVAL;
    }
    if (arch_copy_from_user(&some, buf, sizeof(some))) {
        return -EFAULT;
    }
    if (some > COUNT_MAX) {
        return -EINVAL;
    }
    while (!eventfd_add(e, some)) {
        if (load_relaxed(&f->flags) & O_NONBLOCK) {
            return -EAGAIN;
        }
        int err = waitq_wait_signal(&e->wait, some <= COUNT_MAX - load_seq(&e->count));
        if (err) {
            return err;
        }
    }
    return sizeof(some);
}

static unsigned eventfd_poll(struct file *f, struct pollq *pt)
{
    struct eventfd *e = f->private;
    if (pt) {
        poll_wait(pt, &e->wait);
    }
    u64 count = load_seq(&e->count);
    return (count ? POLLIN : 0) | (count < COUNT_MAX ? POLLOUT : 0);
}

static void eventfd_release(struct file *f)
{
    kfree(f->private);
}

static const struct file_ops eventfd_fops = {
    .read = eventfd_read,
    .write = eventfd_write,
    .poll = eventfd_poll,
    .release = eventfd_release,
    .stream = true,
    .seek_stays = true,
};

static s64 do_eventfd(u32 count, u32 flags)
{
    if (flags & ~(u32)(O_CLOEXEC | O_NONBLOCK | EFD_SEMAPHORE)) {
        return -EINVAL;
    }
    struct eventfd *e = kzalloc(sizeof(*e), GFP_KERNEL);
    if (!e) {
        return -ENOMEM;
    }
    spin_init(&e->lock, RANK_SPIN_MISC);
    waitq_init(&e->wait);
    e->semaphore = flags & EFD_SEMAPHORE;
    store_relaxed(&e->count, count);
    flags &= ~(u32)EFD_SEMAPHORE;
    return anon_fd_open("anon_inode:[eventfd]", &eventfd_fops, O_RDWR | flags, e, kfree);
}

s64 sys_eventfd(const u64 *a)
{
    return do_eventfd((u32)a[0], 0);
}

s64 sys_eventfd2(const u64 *a)
{
    return do_eventfd((u32)a[0], (u32)a[1]);
}
