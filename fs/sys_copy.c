// System calls: bytes from file to file without user memory between. sendfile(2),
// copy_file_range(2).
//
// The source is a file with a page cache; the bytes go through one buffer into the target's
// file_ops.write_kernel. Positions that come from the caller are written back; a file's own is
// held under its pos_lock only while it is read and stored, so two sendfiles that share one may
// send the same bytes, as on Linux.
#include <arch/uaccess.h>
#include <k/string.h>
#include <proc.h>
#include <sched.h>
#include <signal.h>
#include <syscalls.h>
#include "fs_priv.h"

#define BUF_SIZE 65536u
#define COPY_MAX 0x7ffff000ul

static u64 pos_read(struct file *f)
{
    mutex_lock(&f->pos_lock);
    u64 pos = f->pos;
    mutex_unlock(&f->pos_lock);
    return pos;
}

static void pos_write(struct file *f, u64 pos)
{
    mutex_lock(&f->pos_lock);
    f->pos = pos;
    mutex_unlock(&f->pos_lock);
}

bool file_may(struct file *f, unsigned mode)
{
    unsigned have = load_relaxed(&f->flags) & O_ACCMODE;
    return have == O_RDWR || have == mode;
}

// Both positions advance by what went. Bytes or errno.
static ssize_t copy_bytes(struct file *in, u64 *in_pos, struct file *out, u64 *out_pos, size_t n)
{
    u8 *buf = kmalloc(BUF_SIZE, GFP_KERNEL);
    size_t done = 0;
    ssize_t r = buf ? 0 : -ENOMEM;
    while (!r && done < n) {
        ssize_t got =
            mapping_read_kernel(in->mapping, *in_pos, buf, min(n - done, (size_t)BUF_SIZE));
        r = got > 0 ? out->ops->write_kernel(out, buf, (size_t)got, out_pos) : got;
        if (r <= 0) {
            break;
        }
        done += (size_t)r;
        *in_pos += (u64)r;
        r = r < got || thread_signal_pending() ? -EINTR : 0; // short: the next call tells why
        cond_resched();
    }
    kfree(buf);
    if (done) {
        notify_file(in, IN_ACCESS);
        notify_file(out, IN_MODIFY);
    }
    return done ? (ssize_t)done : r;
}

static s64 sendfile_files(struct file *out, struct file *in, u64 user_pos, size_t n)
{
    u64 in_pos, out_pos = 0;
    if (!file_may(in, O_RDONLY) || !file_may(out, O_WRONLY)) {
        return -EBADF;
    }
    if (user_pos && in->ops->stream) {
        return -ESPIPE;
    }
    if (!in->mapping || !out->ops->write_kernel ||
        (out->mapping && (load_relaxed(&out->flags) & O_APPEND))) {
        return -EINVAL;
    }
    if (user_pos && arch_copy_from_user(&in_pos, (const void *)user_pos, sizeof(in_pos))) {
        return -EFAULT;
    }
    in_pos = user_pos ? in_pos : pos_read(in);
    if ((s64)in_pos < 0) {
        return -EINVAL;
    }
    out_pos = out->mapping ? pos_read(out) : 0;
    s64 r = copy_bytes(in, &in_pos, out, &out_pos, min(n, COPY_MAX));
    if (r > 0 && out->mapping) {
        pos_write(out, out_pos);
    }
    if (r > 0 && !user_pos) {
        pos_write(in, in_pos);
    } else if (r >= 0 && user_pos && arch_copy_to_user((void *)user_pos, &in_pos, sizeof(in_pos))) {
        r = -EFAULT;
    }
    return r;
}

s64 sys_sendfile(const u64 *a)
{
    struct file *out = fd_get((int)a[0]), *in = fd_get((int)a[1]);
    s64 r = out && in ? sendfile_files(out, in, a[2], a[3]) : -EBADF;
    if (in) {
        file_put(in);
    }
    if (out) {
        file_put(out);
    }
    return r;
}

int file_pos_from(struct file *f, u64 user, u64 *pos)
{
    if (!user) {
        *pos = pos_read(f);
        return 0;
    }
    if (arch_copy_from_user(pos, (const void *)user, sizeof(*pos))) {
        return -EFAULT;
    }
    return (s64)*pos < 0 ? -EINVAL : 0;
}

int file_pos_back(struct file *f, u64 user, u64 pos)
{
    if (!user) {
        pos_write(f, pos);
        return 0;
    }
    return arch_copy_to_user((void *)user, &pos, sizeof(pos)) ? -EFAULT : 0;
}

// May the two be cloned? No file system shares blocks: ioctl_ficlonerange(2).
static s64 clone_check(struct file *in, struct file *out)
{
    if (in->inode->sb != out->inode->sb) {
        return -EXDEV;
    }
    if (S_ISDIR(in->inode->mode) || S_ISDIR(out->inode->mode)) {
        return -EISDIR;
    }
    if (!S_ISREG(in->inode->mode) || !S_ISREG(out->inode->mode)) {
        return -EINVAL;
    }
    if (!file_may(in, O_RDONLY) || !file_may(out, O_WRONLY) ||
        (load_relaxed(&out->flags) & O_APPEND)) {
        return -EBADF;
    }
    return -EOPNOTSUPP;
}

s64 ioctl_clone(struct file *out, unsigned cmd, u64 arg)
{
    struct uapi_file_clone_range range = {.src_fd = (int)arg};
    if (cmd == FICLONERANGE && arch_copy_from_user(&range, (const void *)arg, sizeof(range))) {
        return -EFAULT;
    }
    struct file *in = fd_get((int)range.src_fd);
    if (!in) {
        return -EBADF;
    }
    s64 r = clone_check(in, out);
    file_put(in);
    return r;
}

static s64 copy_range(struct file *in, u64 in_user, struct file *out, u64 out_user, size_t n)
{
    u64 in_pos, out_pos;
    if (S_ISDIR(in->inode->mode) || S_ISDIR(out->inode->mode)) {
        return -EISDIR;
    }
    if (!in->mapping || !out->mapping || !out->ops->write_kernel) {
        return -EINVAL;
    }
    if (!file_may(in, O_RDONLY) || !file_may(out, O_WRONLY) ||
        (load_relaxed(&out->flags) & O_APPEND)) {
        return -EBADF;
    }
    if (in->inode->sb != out->inode->sb) {
        return -EXDEV;
    }
    s64 r = file_pos_from(in, in_user, &in_pos);
    if (!r) {
        r = file_pos_from(out, out_user, &out_pos);
    }
    if (r) {
        return r;
    }
    n = min(n, COPY_MAX);
    if (in->inode == out->inode && in_pos < out_pos + n && out_pos < in_pos + n) {
        return -EINVAL;
    }
    r = copy_bytes(in, &in_pos, out, &out_pos, n);
    if (r > 0) {
        int err = file_pos_back(in, in_user, in_pos);
        err = err ? err : file_pos_back(out, out_user, out_pos);
        r = err ? err : r;
    }
    return r;
}

s64 sys_copy_file_range(const u64 *a)
{
    if (a[5]) {
        return -EINVAL;
    }
    struct file *in = fd_get((int)a[0]), *out = fd_get((int)a[2]);
    s64 r = out && in ? copy_range(in, a[1], out, a[3], a[4]) : -EBADF;
    if (in) {
        file_put(in);
    }
    if (out) {
        file_put(out);
    }
    return r;
}
