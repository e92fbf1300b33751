// The host channel's streams: not terminals, they behave like pipes.
#include <arch/uaccess.h>
#include <hostchan.h>
#include "fs_priv.h"

#define CHUNK 4096

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
