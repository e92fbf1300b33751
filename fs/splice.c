// splice, tee, vmsplice: bytes between a pipe and something else without user memory between.
//
// The bytes are copied, through one buffer of the kernel: what a pipe has lies in pages of its own
// (pipe_ring.c), which do not change owners. That is all these calls promise; vmsplice without
// SPLICE_F_GIFT may copy, and with it may, too.
//
// What leaves a pipe must not be lost if the other side takes only some of it, and must not be
// waited for with the pipe locked. So it is held (pipe_hold): copied out, but still in the pipe and
// nobody else's to read, until pipe_let_go says how much of it has gone.
//
//     wait for room (only if the target is a pipe)
//     pipe_hold      the first bytes, copied; other readers wait
//     write          as much as the target takes
//     pipe_let_go    that much is read
//
// tee lets go of nothing. Only the first piece is waited for; after that a call returns what it
// has.
#include <iov.h>
#include <k/string.h>
#include <proc.h>
#include <syscalls.h>
#include "pipe_priv.h"

#define SPLICE_F_NONBLOCK 2u
#define SPLICE_F_ALL      15u // with MOVE, MORE and GIFT, which are hints
#define BUF_SIZE          65536u

// Move up to n bytes that the pipe has into the other one. tee: they stay where they are, too.
static ssize_t pipe_to_pipe(struct pipe *in, struct pipe *out, u8 *buf, size_t n, bool nonblock,
                            bool tee)
{
    ssize_t r;
    do {
        size_t got;
        r = pipe_hold(in, buf, min(n, (size_t)BUF_SIZE), nonblock, &got);
        if (r || !got) {
            return r;
        }
        r = pipe_put_some(out, buf, got);
        pipe_let_go(in, r > 0 && !tee ? (size_t)r : 0);
        int err = r ? 0 : pipe_wait_room(out, nonblock);
        r = err ? err : r;
    } while (r == 0);
    return r;
}

static ssize_t pipe_to_file(struct pipe *in, struct file *out, u64 *pos, u8 *buf, size_t n,
                            bool nonblock)
{
    size_t got;
    ssize_t r = pipe_hold(in, buf, min(n, (size_t)BUF_SIZE), nonblock, &got);
    if (r || !got) {
        return r;
    }
    r = out->ops->write_kernel(out, buf, got, pos);
    pipe_let_go(in, r > 0 ? (size_t)r : 0);
    return r;
}

static ssize_t file_to_pipe(struct file *in, u64 *pos, struct pipe *out, u8 *buf, size_t n,
                            bool nonblock)
{
    ssize_t r = pipe_wait_room(out, nonblock);
    while (!r) {
        r = mapping_read_kernel(in->mapping, *pos, buf, min(n, (size_t)BUF_SIZE));
        if (r <= 0) {
            break;
        }
        r = pipe_put_some(out, buf, (size_t)r);
        if (r) {
            *pos += r > 0 ? (u64)r : 0;
            break;
        }
        r = pipe_wait_room(out, nonblock); // somebody else was faster
    }
    return r;
}

struct splice {
    struct file *in, *out;
    struct pipe *pin, *pout; // NULL: no pipe
    u64 pos;                 // of the side that is none
    bool nonblock;
};

static s64 splice_all(struct splice *s, size_t n)
{
    u8 *buf = kmalloc(BUF_SIZE, GFP_KERNEL);
    size_t done = 0;
    ssize_t r = buf ? 1 : -ENOMEM;
    while (r > 0 && done < n) {
        bool nonblock = s->nonblock || done;
        r = s->pin && s->pout ? pipe_to_pipe(s->pin, s->pout, buf, n - done, nonblock, false)
            : s->pin          ? pipe_to_file(s->pin, s->out, &s->pos, buf, n - done, nonblock)
                              : file_to_pipe(s->in, &s->pos, s->pout, buf, n - done, nonblock);
        done += r > 0 ? (size_t)r : 0;
        if (thread_signal_pending()) {
            break;
        }
        cond_resched();
    }
    kfree(buf);
    if (done) {
        notify_file(s->in, IN_ACCESS);
        notify_file(s->out, IN_MODIFY);
    }
    return done ? (s64)done : r > 0 ? 0 : r;
}

static bool never_blocks(const struct file *f)
{
    return load_relaxed(&f->flags) & O_NONBLOCK;
}

// One side is a file whose position counts, at user or (0) its own.
static s64 splice_file(struct splice *s, struct file *f, u64 user, size_t n)
{
    bool streams = f->ops->stream;
    if (s->pin ? !f->ops->write_kernel || (load_relaxed(&f->flags) & O_APPEND) : !f->mapping) {
        return -EINVAL;
    }
    if (streams && user) {
        return -EINVAL;
    }
    s64 r = streams ? 0 : file_pos_from(f, user, &s->pos);
    if (!r) {
        r = splice_all(s, n);
    }
    if (r > 0 && !streams) {
        int err = file_pos_back(f, user, s->pos);
        r = err ? err : r;
    }
    return r;
}

static s64 splice_files(struct splice *s, u64 in_user, u64 out_user, size_t n)
{
    if (!file_may(s->in, O_RDONLY) || !file_may(s->out, O_WRONLY)) {
        return -EBADF;
    }
    if ((s->pin && in_user) || (s->pout && out_user)) {
        return -ESPIPE;
    }
    s->nonblock |= (s->pin && never_blocks(s->in)) || (s->pout && never_blocks(s->out));
    if (s->pin && s->pout) {
        return s->pin == s->pout ? -EINVAL : splice_all(s, n);
    }
    return s->pin    ? splice_file(s, s->out, out_user, n)
           : s->pout ? splice_file(s, s->in, in_user, n)
                     : -EINVAL;
}

s64 sys_splice(const u64 *a)
{
    size_t n = min(a[4], (u64)RW_MAX);
    u32 flags = (u32)a[5];
    if (n == 0) {
        return 0;
    }
    if (flags & ~SPLICE_F_ALL) {
        return -EINVAL;
    }
    struct splice s = {.in = fd_get((int)a[0]), .out = fd_get((int)a[2])};
    s64 r = -EBADF;
    if (s.in && s.out) {
        s.pin = pipe_of(s.in);
        s.pout = pipe_of(s.out);
        s.nonblock = flags & SPLICE_F_NONBLOCK;
        r = splice_files(&s, a[1], a[3], n);
    }
    if (s.out) {
        file_put(s.out);
    }
    if (s.in) {
        file_put(s.in);
    }
    return r;
}

static s64 tee_files(struct file *in, struct file *out, size_t n, bool nonblock)
{
    struct pipe *pin = pipe_of(in), *pout = pipe_of(out);
    if (!file_may(in, O_RDONLY) || !file_may(out, O_WRONLY)) {
        return -EBADF;
    }
    if (!pin || !pout || pin == pout) {
        return -EINVAL;
    }
    u8 *buf = kmalloc(BUF_SIZE, GFP_KERNEL);
    if (!buf) {
        return -ENOMEM;
    }
    nonblock |= never_blocks(in) || never_blocks(out);
    s64 r = pipe_to_pipe(pin, pout, buf, n, nonblock, true);
    kfree(buf);
    return r;
}

s64 sys_tee(const u64 *a)
{
    u32 flags = (u32)a[3];
    if (flags & ~SPLICE_F_ALL) {
        return -EINVAL;
    }
    if (a[2] == 0) {
        return 0;
    }
    struct file *in = fd_get((int)a[0]), *out = fd_get((int)a[1]);
    s64 r = in && out ? tee_files(in, out, a[2], flags & SPLICE_F_NONBLOCK) : -EBADF;
    if (out) {
        file_put(out);
    }
    if (in) {
        file_put(in);
    }
    return r;
}

// What there is room for, waiting for the first byte of it.
static s64 vmsplice_in(struct pipe *p, struct iov_iter *it, bool nonblock)
{
    s64 r = 0, done = 0;
    while (it->left && !r) {
        r = pipe_wait_room(p, nonblock || done);
        while (!r && it->left) {
            ssize_t some = pipe_put_iter(p, it);
            if (some <= 0) {
                r = some;
                break;
            }
            done += some;
        }
    }
    return done ? done : r;
}

static s64 vmsplice_file(struct file *f, u64 user, u64 nr, bool nonblock)
{
    struct pipe *p = pipe_of(f);
    bool writes = (load_relaxed(&f->flags) & O_ACCMODE) != O_RDONLY;
    struct uapi_iovec *v;
    s64 r = iov_read_own(user, nr, &v);
    if (!r) {
        struct iov_iter it = iov_iter_of(v, nr, writes ? IOV_FROM_USER : IOV_TO_USER);
        nonblock |= never_blocks(f);
        r = it.left == 0 ? 0
            : !p         ? -EBADF
            : writes     ? vmsplice_in(p, &it, nonblock)
                         : pipe_get(p, &it, nonblock);
    }
    kfree(v);
    return r;
}

s64 sys_vmsplice(const u64 *a)
{
    u32 flags = (u32)a[3];
    if (flags & ~SPLICE_F_ALL) {
        return -EINVAL;
    }
    struct file *f = fd_get((int)a[0]);
    if (!f) {
        return -EBADF;
    }
    s64 r = vmsplice_file(f, a[1], a[2], flags & SPLICE_F_NONBLOCK);
    file_put(f);
    return r;
}
