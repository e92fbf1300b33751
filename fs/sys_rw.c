// System calls: read, write and their vector and positioned forms.
//
// Only regular files have a position that calls share; pos_lock orders them. A file with generated
// text (no page cache) keeps its state under pos_lock too, so there even pread takes it. Streams
// (pipes, the console) may wait for ever, so nothing is held there.
#include <arch/mmu.h>
#include <arch/uaccess.h>
#include <iov.h>
#include <k/string.h>
#include <sched.h>
#include <syscalls.h>
#include "fs_priv.h"

static int io_check(struct file *f, u64 user, size_t n, bool write)
{
    unsigned mode = load_relaxed(&f->flags) & O_ACCMODE;
    if (mode != O_RDWR && mode != (write ? O_WRONLY : O_RDONLY)) {
        return -EBADF;
    }
    if (!write && S_ISDIR(f->inode->mode)) {
        return -EISDIR;
    }
    if (write ? !f->ops->write : !f->ops->read) {
        return -EINVAL;
    }
    return user > USER_END || n > USER_END - user ? -EFAULT : 0;
}

static ssize_t io_once(struct file *f, u64 user, size_t n, u64 *pos, bool write)
{
    int err = io_check(f, user, n, write);
    if (err) {
        return err;
    }
    n = min(n, (size_t)RW_MAX);
    return write ? f->ops->write(f, (const void *)user, n, pos)
                 : f->ops->read(f, (void *)user, n, pos);
}

static void io_tell(struct file *f, ssize_t moved, bool write)
{
    if (moved > 0) {
        notify_file(f, write ? IN_MODIFY : IN_ACCESS);
    }
}

// Lock and unlock the position, if this call needs that; own: the call brings its own position.
static void pos_lock(struct file *f, bool own)
{
    if (S_ISREG(f->inode->mode) && !(own && f->mapping)) {
        mutex_lock(&f->pos_lock);
    }
}

static void pos_unlock(struct file *f, bool own)
{
    if (S_ISREG(f->inode->mode) && !(own && f->mapping)) {
        mutex_unlock(&f->pos_lock);
    }
}

static s64 fd_io(int fd, u64 user, size_t n, bool write)
{
    struct file *f = fd_get(fd);
    u64 none = 0;
    ssize_t r;
    if (!f) {
        return -EBADF;
    }
    pos_lock(f, false);
    r = io_once(f, user, n, f->ops->stream ? &none : &f->pos, write);
    pos_unlock(f, false);
    io_tell(f, r, write);
    file_put(f);
    return r;
}

s64 sys_read(const u64 *a)
{
    return fd_io((int)a[0], a[1], a[2], false);
}

s64 sys_write(const u64 *a)
{
    return fd_io((int)a[0], a[1], a[2], true);
}

static s64 fd_io_at(int fd, u64 user, size_t n, u64 pos, bool write)
{
    struct file *f;
    ssize_t r;
    if ((s64)pos < 0) {
        return -EINVAL;
    }
    f = fd_get(fd);
    if (!f) {
        return -EBADF;
    }
    pos_lock(f, true);
    r = f->ops->stream ? -ESPIPE : io_once(f, user, n, &pos, write);
    pos_unlock(f, true);
    io_tell(f, r, write);
    file_put(f);
    return r;
}

s64 sys_pread64(const u64 *a)
{
    return fd_io_at((int)a[0], a[1], a[2], a[3], false);
}

s64 sys_pwrite64(const u64 *a)
{
    return fd_io_at((int)a[0], a[1], a[2], a[3], true);
}

// ---- Vectors ------------------------------------------------------------------------------------

struct rw_how {
    bool own_pos; // the call brings its position
    bool append;  // each piece goes to the end, wherever that is by then
    bool nowait;
    u64 pos;
};

static ssize_t io_vector(struct file *f, const struct uapi_iovec *v, u64 nr, u64 *pos, bool write,
                         const struct rw_how *how)
{
    size_t done = 0;
    int err = io_check(f, 0, 0, write);
    if (err) {
        return err;
    }
    if (write ? f->ops->writev != NULL : f->ops->readv != NULL) {
        return (write ? f->ops->writev : f->ops->readv)(f, v, nr, how->nowait);
    }
    if (how->nowait && !f->ops->in_memory) {
        return -EOPNOTSUPP;
    }
    for (u64 i = 0; i < nr; i++) {
        if (v[i].len == 0) {
            continue;
        }
        *pos = how->append && f->mapping ? POS_END : *pos;
        ssize_t r = io_once(f, v[i].base, v[i].len, pos, write);
        if (r < 0) {
            return done ? (ssize_t)done : r;
        }
        done += (size_t)r;
        if ((u64)r < v[i].len) {
            break;
        }
        // What a stream has is returned; it is not waited for more.
        if (!write && f->ops->stream && f->ops->poll && !(f->ops->poll(f, NULL) & POLLIN)) {
            break;
        }
    }
    return (ssize_t)done;
}

static s64 fd_io_vector(int fd, u64 user, u64 nr, const struct rw_how *how, bool write)
{
    struct uapi_iovec *v;
    u64 own = how->own_pos ? how->pos : 0;
    struct file *f = fd_get(fd);
    if (!f) {
        return -EBADF;
    }
    ssize_t r = iov_read_own(user, nr, &v);
    if (r) {
        file_put(f);
        return r;
    }
    if (how->own_pos && f->ops->stream) {
        r = -ESPIPE;
    } else {
        pos_lock(f, how->own_pos);
        u64 *pos = how->own_pos || f->ops->stream ? &own : &f->pos, before = *pos;
        r = io_vector(f, v, nr, pos, write, how);
        *pos = r > 0 ? *pos : before; // not POS_END
        pos_unlock(f, how->own_pos);
    }
    kfree(v);
    io_tell(f, r, write);
    file_put(f);
    return r;
}

s64 sys_readv(const u64 *a)
{
    return fd_io_vector((int)a[0], a[1], a[2], &(struct rw_how){0}, false);
}

s64 sys_writev(const u64 *a)
{
    return fd_io_vector((int)a[0], a[1], a[2], &(struct rw_how){0}, true);
}

static s64 do_vector_at(const u64 *a, bool write)
{
    struct rw_how how = {.own_pos = true, .pos = a[3]};
    return (s64)how.pos < 0 ? -EINVAL : fd_io_vector((int)a[0], a[1], a[2], &how, write);
}

s64 sys_preadv(const u64 *a)
{
    return do_vector_at(a, false);
}

s64 sys_pwritev(const u64 *a)
{
    return do_vector_at(a, true);
}

// The flags that are promises about how, which memory keeps by itself, RWF_APPEND, and RWF_NOWAIT
// for the files that can promise it: -EOPNOTSUPP from the others, as from Linux's.
#define RWF_HIPRI  1u
#define RWF_DSYNC  2u
#define RWF_SYNC   4u
#define RWF_NOWAIT 8u
#define RWF_APPEND 16u
#define RWF_KNOWN  (RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND)

static s64 do_vector2(const u64 *a, bool write)
{
    struct rw_how how = {.own_pos = true, .pos = a[3]};
    u32 flags = (u32)a[5];
    if (flags & ~RWF_KNOWN) {
        return syscall_missing("preadv2, pwritev2: RWF_NOAPPEND and later", -EOPNOTSUPP);
    }
    if ((s64)how.pos < -1) {
        return -EINVAL;
    }
    how.own_pos = (s64)how.pos != -1;
    how.append = write && (flags & RWF_APPEND);
    how.nowait = flags & RWF_NOWAIT;
    return fd_io_vector((int)a[0], a[1], a[2], &how, write);
}

s64 sys_preadv2(const u64 *a)
{
    return do_vector2(a, false);
}

s64 sys_pwritev2(const u64 *a)
{
    return do_vector2(a, true);
}
