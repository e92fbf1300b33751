// System calls: descriptors and the files behind them (open, close, dup, fcntl, ioctl, size).
#include <arch/uaccess.h>
#include <k/string.h>
#include <proc.h>
#include <sched.h>
#include <syscalls.h>
#include "fd_priv.h"

#define SETFL_MASK (O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME)

// ---- Open and close -----------------------------------------------------------------------------

static s64 do_open_how(int dirfd, u64 user, u32 flags, u32 mode, u32 resolve)
{
    bool scoped = resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT);
    struct inode *start;
    struct file *f;
    char *path;
    int err = user_path(user, false, &path);
    if (err) {
        return err;
    }
    err = scoped ? at_start_dir(dirfd, false, &start) : at_start(dirfd, path, &start);
    if (!err) {
        flags |= (flags & O_PATH) ? 0 : O_LARGEFILE;
        err = vfs_open_at(start, path, flags, mode, resolve, &f);
        inode_put(start);
    }
    kfree(path);
    return err ? err : fd_install(f, flags & O_CLOEXEC);
}

#define OPEN_PATH_FLAGS (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define OPEN_FLAGS                                                                                 \
    (O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC |          \
     O_ASYNC | O_DIRECT | O_LARGEFILE | O_NOATIME | O_TMPFILE_BIT | OPEN_PATH_FLAGS)
#define RESOLVE_ALL                                                                                \
    (RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH |             \
     RESOLVE_IN_ROOT | RESOLVE_CACHED)

static s64 do_open(int dirfd, u64 user, u32 flags, u32 mode)
{
    return do_open_how(dirfd, user, flags & OPEN_FLAGS, mode, 0);
}

// What openat ignores is an error here.
static int open_how_check(const struct uapi_open_how *how)
{
    bool makes = how->flags & (O_CREAT | O_TMPFILE_BIT);
    u64 scopes = how->resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT);
    if ((how->flags & ~(u64)OPEN_FLAGS) || (how->resolve & ~(u64)RESOLVE_ALL) ||
        scopes == (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) {
        return -EINVAL;
    }
    if (how->mode & (makes ? ~07777ull : ~0ull)) {
        return -EINVAL;
    }
    if ((how->flags & O_PATH) && (how->flags & ~(u64)OPEN_PATH_FLAGS)) {
        return -EINVAL;
    }
    // Everything is in memory already, but these do more than look.
    return (how->resolve & RESOLVE_CACHED) && (makes || (how->flags & O_TRUNC)) ? -EAGAIN : 0;
}

s64 sys_openat2(const u64 *a)
{
    struct uapi_open_how how;
    u64 size = a[3];
    if (size < sizeof(how)) {
        return -EINVAL;
    }
    if (size > PAGE_SIZE) {
        return -E2BIG;
    }
    int err = user_struct_read(&how, sizeof(how), a[2], size);
    err = err ? err : open_how_check(&how);
    return err ? err
               : do_open_how((int)a[0], a[1], (u32)how.flags, (u32)how.mode, (u32)how.resolve);
}

s64 sys_open(const u64 *a)
{
    return do_open(AT_FDCWD, a[0], (u32)a[1], (u32)a[2]);
}

s64 sys_openat(const u64 *a)
{
    return do_open((int)a[0], a[1], (u32)a[2], (u32)a[3]);
}

s64 sys_creat(const u64 *a)
{
    return do_open(AT_FDCWD, a[0], O_CREAT | O_WRONLY | O_TRUNC, (u32)a[1]);
}

s64 sys_close(const u64 *a)
{
    return fd_close((int)a[0]);
}

static s64 do_pipe(u64 user, u32 flags)
{
    struct file *rd, *wr;
    s32 fd[2];
    if (flags & ~(u32)(O_CLOEXEC | O_NONBLOCK | O_DIRECT)) {
        return -EINVAL;
    }
    if (flags & O_DIRECT) {
        return syscall_missing("pipe2: O_DIRECT", -EINVAL);
    }
    int err = pipe_open_both(&rd, &wr, flags & O_NONBLOCK);
    if (err) {
        return err;
    }
    fd[0] = fd_install(rd, flags);
    if (fd[0] < 0) {
        file_put(wr);
        return fd[0];
    }
    fd[1] = fd_install(wr, flags);
    if (fd[1] < 0) {
        fd_close(fd[0]);
        return fd[1];
    }
    if (arch_copy_to_user((void *)user, fd, sizeof(fd))) {
        fd_close(fd[0]);
        fd_close(fd[1]);
        return -EFAULT;
    }
    return 0;
}

s64 sys_pipe(const u64 *a)
{
    return do_pipe(a[0], 0);
}

s64 sys_pipe2(const u64 *a)
{
    return do_pipe(a[0], (u32)a[1]);
}

// ---- Duplicates and flags -----------------------------------------------------------------------

static s64 do_dup(int fd, unsigned lowest, u32 flags)
{
    struct file *f = fd_get_path(fd);
    return f ? files_install(current_process()->files, f, lowest, flags) : -EBADF;
}

s64 sys_dup(const u64 *a)
{
    return do_dup((int)a[0], 0, 0);
}

static s64 do_dup3(int from, int to, u32 flags)
{
    struct file *f = fd_get_path(from);
    return f ? fd_replace(to, f, flags) : -EBADF;
}

s64 sys_dup2(const u64 *a)
{
    int from = (int)a[0], to = (int)a[1];
    if (from == to) {
        return fd_cloexec(from, -1) < 0 ? -EBADF : to;
    }
    return do_dup3(from, to, 0);
}

s64 sys_dup3(const u64 *a)
{
    if ((a[2] & ~(u64)O_CLOEXEC) || (int)a[0] == (int)a[1]) {
        return -EINVAL;
    }
    return do_dup3((int)a[0], (int)a[1], (u32)a[2]);
}

static s64 file_fcntl(struct file *f, int fd, unsigned cmd, u64 arg)
{
    unsigned flags = load_relaxed(&f->flags);
    switch (cmd) {
    case F_GETFL:
        return flags;
    case F_SETFL:
        if (((u32)arg & ~flags & O_NOATIME) && !inode_is_mine(f->inode)) {
            return -EPERM;
        }
        while (!atomic_compare_exchange_weak(
            &f->flags, &flags, (flags & ~(unsigned)SETFL_MASK) | ((u32)arg & SETFL_MASK))) {
        }
        return 0;
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        return file_fcntl_lock(f, fd, cmd, arg);
    case F_ADD_SEALS:
    case F_GET_SEALS:
        return memfd_fcntl(f, cmd, arg);
    case F_SETOWN:
    case F_GETOWN:
        return 0;
    case F_GETPIPE_SZ:
    case F_SETPIPE_SZ:
        return pipe_fcntl(f, cmd, arg);
    default:
        return -EINVAL;
    }
}

s64 sys_fcntl(const u64 *a)
{
    int fd = (int)a[0];
    unsigned cmd = (unsigned)a[1];
    struct file *f;
    s64 r;
    switch (cmd) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        if (fd_cloexec(fd, -1) < 0) {
            return -EBADF;
        }
        if ((u32)a[2] >= process_rlimit(RLIMIT_NOFILE)) {
            return -EINVAL;
        }
        return do_dup(fd, (unsigned)a[2], cmd == F_DUPFD_CLOEXEC ? O_CLOEXEC : 0);
    case F_GETFD:
        return fd_cloexec(fd, -1);
    case F_SETFD:
        return min(fd_cloexec(fd, (a[2] & FD_CLOEXEC) ? 1 : 0), 0);
    default:
        break;
    }
    f = cmd == F_GETFL ? fd_get_path(fd) : fd_get(fd);
    if (!f) {
        return -EBADF;
    }
    r = file_fcntl(f, fd, cmd, a[2]);
    file_put(f);
    return r;
}

static s64 ioctl_nonblock(struct file *f, u64 user)
{
    s32 on;
    if (arch_copy_from_user(&on, (const void *)user, sizeof(on))) {
        return -EFAULT;
    }
    if (on) {
        atomic_fetch_or(&f->flags, O_NONBLOCK);
    } else {
        atomic_fetch_and(&f->flags, ~(unsigned)O_NONBLOCK);
    }
    return 0;
}

// As F_SETFL does it: the flag is kept, SIGIO is never sent. What could send it on Linux takes it.
static s64 ioctl_async(struct file *f, u64 user)
{
    u32 mode = f->inode->mode;
    s32 on;
    if (arch_copy_from_user(&on, (const void *)user, sizeof(on))) {
        return -EFAULT;
    }
    if (!on) {
        atomic_fetch_and(&f->flags, ~(unsigned)O_ASYNC);
        return 0;
    }
    if (!S_ISFIFO(mode) && !S_ISSOCK(mode) && !(S_ISCHR(mode) && f->ops->ioctl)) {
        return -ENOTTY;
    }
    atomic_fetch_or(&f->flags, O_ASYNC);
    return syscall_missing("FIOASYNC: SIGIO", 0);
}

static s64 ioctl_bytes_left(struct file *f, u64 user)
{
    mutex_lock(&f->pos_lock);
    s32 left = (s32)(load_relaxed(&f->inode->mapping.size_bytes) - f->pos);
    mutex_unlock(&f->pos_lock);
    return arch_copy_to_user((void *)user, &left, sizeof(left)) ? -EFAULT : 0;
}

s64 sys_ioctl(const u64 *a)
{
    struct file *f = fd_get((int)a[0]);
    unsigned cmd = (unsigned)a[1];
    s64 r = -ENOTTY;
    if (!f) {
        return -EBADF;
    }
    if (cmd == FIOCLEX || cmd == FIONCLEX) {
        r = min(fd_cloexec((int)a[0], cmd == FIOCLEX), 0);
    } else if (cmd == FIONBIO) {
        r = ioctl_nonblock(f, a[2]);
    } else if (cmd == FIOASYNC) {
        r = ioctl_async(f, a[2]);
    } else if (cmd == FIONREAD && f->mapping) {
        r = ioctl_bytes_left(f, a[2]);
    } else if (cmd == FICLONE || cmd == FICLONERANGE) {
        r = ioctl_clone(f, cmd, a[2]);
    } else if (f->ops->ioctl) {
        r = f->ops->ioctl(f, cmd, a[2]);
    }
    file_put(f);
    return r;
}

// ---- Position and size --------------------------------------------------------------------------

// SEEK_DATA, SEEK_HOLE: lseek(2). The end of the file is a hole; a file system that does not know
// calls all before it data. Without this a copy of a sparse file would be as large as it looks.
static s64 seek_data(struct file *f, s64 off, s64 size, bool data)
{
    if (off < 0 || off >= size) {
        return -ENXIO;
    }
    if (!f->ops->holes) {
        return data ? off : size;
    }
    u64 end = page_align_up((u64)size) >> PAGE_SHIFT;
    u64 index = mapping_seek(f->mapping, (u64)off >> PAGE_SHIFT, end, data);
    if (index == end) {
        return data ? -ENXIO : size;
    }
    return max(off, (s64)(index << PAGE_SHIFT));
}

static s64 seek_target(struct file *f, s64 off, unsigned whence)
{
    s64 size = (s64)load_relaxed(&f->inode->mapping.size_bytes), base;
    switch (whence) {
    case SEEK_SET:
        base = 0;
        break;
    case SEEK_CUR:
        base = (s64)f->pos;
        break;
    case SEEK_END:
        base = size;
        break;
    case SEEK_DATA:
    case SEEK_HOLE:
        return f->mapping ? seek_data(f, off, size, whence == SEEK_DATA) : -EINVAL;
    default:
        return -EINVAL;
    }
    s64 to;
    if (__builtin_add_overflow(base, off, &to)) {
        return whence == SEEK_SET || off < 0 ? -EINVAL : -EOVERFLOW;
    }
    return to < 0 ? -EINVAL : to;
}

s64 sys_lseek(const u64 *a)
{
    struct file *f = fd_get((int)a[0]);
    u32 type;
    s64 r = -ESPIPE;
    if (!f) {
        return -EBADF;
    }
    type = f->inode->mode & S_IFMT;
    if ((u32)a[2] > SEEK_HOLE) {
        r = -EINVAL;
    } else if (f->ops->seek) {
        r = f->ops->seek(f, (s64)a[1], (unsigned)a[2]);
    } else if (type == S_IFREG || type == S_IFDIR) {
        mutex_lock(&f->pos_lock);
        r = seek_target(f, (s64)a[1], (unsigned)a[2]);
        f->pos = r >= 0 ? (u64)r : f->pos;
        mutex_unlock(&f->pos_lock);
    } else if (!f->ops->stream || f->ops->seek_stays) {
        r = 0; // /dev/null and its like have no position
    }
    file_put(f);
    return r;
}

static s64 inode_truncate(struct inode *i, s64 size)
{
    if (size < 0) {
        return -EINVAL;
    }
    if (S_ISDIR(i->mode)) {
        return -EISDIR;
    }
    if (!S_ISREG(i->mode) || !i->fops->truncate) {
        return -EINVAL;
    }
    int err = super_may_write(i->sb);
    err = err ? err : i->fops->truncate(i, (u64)size);
    if (!err) {
        notify_inode(i, IN_MODIFY);
    }
    return err;
}

s64 sys_truncate(const u64 *a)
{
    struct inode *i;
    s64 r;
    if ((s64)a[1] < 0) {
        return -EINVAL;
    }
    r = lookup_at(AT_FDCWD, a[0], LOOKUP_FOLLOW, &i);
    if (!r) {
        r = S_ISREG(i->mode) ? inode_permission(i, MAY_WRITE) : 0;
        r = r ? r : inode_write_begin(i);
        if (!r) {
            r = inode_truncate(i, (s64)a[1]);
            inode_write_end(i);
        }
        inode_put(i);
    }
    return r;
}

static bool file_is_writable(struct file *f)
{
    unsigned mode = load_relaxed(&f->flags) & O_ACCMODE;
    return mode == O_WRONLY || mode == O_RDWR;
}

s64 sys_ftruncate(const u64 *a)
{
    struct file *f;
    s64 r;
    if ((s64)a[1] < 0) {
        return -EINVAL;
    }
    f = fd_get((int)a[0]);
    if (!f) {
        return -EBADF;
    }
    r = file_is_writable(f) && S_ISREG(f->inode->mode) ? inode_truncate(f->inode, (s64)a[1])
                                                       : -EINVAL;
    file_put(f);
    return r;
}

static s64 file_fallocate(struct file *f, int mode, s64 off, s64 len)
{
    u32 type = f->inode->mode & S_IFMT;
    const int known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;
    if (off < 0 || len <= 0) {
        return -EINVAL;
    }
    if ((mode & ~known) || mode == FALLOC_FL_PUNCH_HOLE) {
        return -EOPNOTSUPP;
    }
    if (!file_is_writable(f)) {
        return -EBADF;
    }
    if (type != S_IFREG) {
        return type == S_IFIFO ? -ESPIPE : type == S_IFDIR ? -EISDIR : -ENODEV;
    }
    if ((u64)off + (u64)len > FILE_SIZE_MAX) {
        return -EFBIG;
    }
    return f->ops->fallocate ? f->ops->fallocate(f, mode, (u64)off, (u64)len) : -EOPNOTSUPP;
}

s64 sys_fallocate(const u64 *a)
{
    struct file *f = fd_get((int)a[0]);
    if (!f) {
        return -EBADF;
    }
    s64 r = file_fallocate(f, (int)a[1], (s64)a[2], (s64)a[3]);
    if (!r) {
        notify_file(f, IN_MODIFY);
    }
    file_put(f);
    return r;
}

// Nothing here has a slower copy behind it.
s64 sys_fsync(const u64 *a)
{
    struct file *f = fd_get((int)a[0]);
    if (!f) {
        return -EBADF;
    }
    s64 r = S_ISREG(f->inode->mode) || S_ISDIR(f->inode->mode) ? 0 : -EINVAL;
    file_put(f);
    return r;
}

s64 sys_fdatasync(const u64 *a)
{
    return sys_fsync(a);
}
