// System calls: who owns a file and when it was used. chown(2), utimensat(2), xattr(7).
//
// Extended attributes do not exist here; every file system answers as Linux's do that lack them.
#include <arch/uaccess.h>
#include <k/string.h>
#include <proc.h>
#include <syscalls.h>
#include <uapi/time.h>
#include "fs_priv.h"

// ---- Owners -------------------------------------------------------------------------------------

static int inode_chown(struct inode *i, u32 uid, u32 gid)
{
    int err = super_may_write(i->sb);
    if (err) {
        return err;
    }
    mutex_lock(&i->lock);
    u32 drops = inode_mode_drops(i);
    err = drops && !inode_is_mine(i) ? -EPERM : inode_may_chown(i, uid, gid);
    if (!err) {
        i->mode &= ~drops;
        i->uid = uid == ~0u ? i->uid : uid;
        i->gid = gid == ~0u ? i->gid : gid;
        store_relaxed(&i->ctime_ns, wall_ns());
    }
    mutex_unlock(&i->lock);
    if (!err) {
        notify_inode(i, IN_ATTRIB);
    }
    return err;
}

static s64 do_chown(int dirfd, u64 path, unsigned how, u32 uid, u32 gid)
{
    struct inode *i;
    s64 r = lookup_at(dirfd, path, how, &i);
    if (!r) {
        r = inode_chown(i, uid, gid);
        inode_put(i);
    }
    return r;
}

s64 sys_chown(const u64 *a)
{
    return do_chown(AT_FDCWD, a[0], LOOKUP_FOLLOW, (u32)a[1], (u32)a[2]);
}

s64 sys_lchown(const u64 *a)
{
    return do_chown(AT_FDCWD, a[0], 0, (u32)a[1], (u32)a[2]);
}

s64 sys_fchownat(const u64 *a)
{
    u32 flags = (u32)a[4];
    if (flags & ~(u32)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) {
        return -EINVAL;
    }
    unsigned how = (flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW) |
                   (flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0);
    return do_chown((int)a[0], a[1], how, (u32)a[2], (u32)a[3]);
}

s64 sys_fchown(const u64 *a)
{
    struct file *f = fd_get((int)a[0]);
    if (!f) {
        return -EBADF;
    }
    int err = inode_chown(f->inode, (u32)a[1], (u32)a[2]);
    file_put(f);
    return err;
}

// ---- Times --------------------------------------------------------------------------------------

#define UTIME_NOW  0x3fffffff
#define UTIME_OMIT 0x3ffffffe

// Seconds as ns since 1970, for 292 years each way; what that cannot hold becomes the nearest whole
// second it can.
static s64 time_ns(s64 sec, s64 nsec)
{
    s64 ns_per_sec = NSEC_PER_SEC, most = INT64_MAX / ns_per_sec - 1;
    s64 near = min(max(sec, -most), most);
    return near * ns_per_sec + (near == sec ? nsec : 0);
}

static bool time_valid(const struct uapi_timespec *t)
{
    return t->tv_nsec == UTIME_NOW || t->tv_nsec == UTIME_OMIT || (u64)t->tv_nsec < NSEC_PER_SEC;
}

static void time_set(_Atomic s64 *to, const struct uapi_timespec *t, s64 now)
{
    if (t->tv_nsec != UTIME_OMIT) {
        store_relaxed(to, t->tv_nsec == UTIME_NOW ? now : time_ns(t->tv_sec, t->tv_nsec));
    }
}

// Who may write a file may have it written now; other times are its owner's to give.
static int inode_may_set_times(const struct inode *i, const struct uapi_timespec *ts)
{
    bool now = !ts || (ts[0].tv_nsec == UTIME_NOW && ts[1].tv_nsec == UTIME_NOW);
    int err = super_may_write(i->sb);
    if (err || inode_is_mine(i)) {
        return err;
    }
    return now ? inode_permission(i, MAY_WRITE) : -EPERM;
}

// ts NULL: now.
static int inode_set_times(struct inode *i, const struct uapi_timespec *ts)
{
    int err = inode_may_set_times(i, ts);
    if (err) {
        return err;
    }
    static const struct uapi_timespec both_now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
    s64 now = (s64)wall_ns();
    ts = ts ? ts : both_now;
    mutex_lock(&i->lock);
    time_set(&i->atime_ns, &ts[0], now);
    time_set(&i->mtime_ns, &ts[1], now);
    store_relaxed(&i->ctime_ns, now);
    mutex_unlock(&i->lock);
    // As Linux has it: one time alone is told like the access that sets it.
    notify_inode(i, ts[0].tv_nsec == UTIME_OMIT   ? IN_MODIFY
                    : ts[1].tv_nsec == UTIME_OMIT ? IN_ACCESS
                                                  : IN_ATTRIB);
    return 0;
}

static s64 do_utimes(int dirfd, u64 path, unsigned how, const struct uapi_timespec *ts)
{
    struct inode *i;
    if (ts && ts[0].tv_nsec == UTIME_OMIT && ts[1].tv_nsec == UTIME_OMIT) {
        return 0; // not even the path is looked at
    }
    if (ts && (!time_valid(&ts[0]) || !time_valid(&ts[1]))) {
        return -EINVAL;
    }
    if (!path && dirfd != AT_FDCWD) { // futimens
        struct file *f = fd_get(dirfd);
        if (!f) {
            return -EBADF;
        }
        int err = inode_set_times(f->inode, ts);
        file_put(f);
        return err;
    }
    s64 r = lookup_at(dirfd, path, how, &i);
    if (!r) {
        r = inode_set_times(i, ts);
        inode_put(i);
    }
    return r;
}

s64 sys_utimensat(const u64 *a)
{
    struct uapi_timespec ts[2];
    u32 flags = (u32)a[3];
    if (flags & ~(u32)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) {
        return -EINVAL;
    }
    if (a[2] && arch_copy_from_user(ts, (const void *)a[2], sizeof(ts))) {
        return -EFAULT;
    }
    if (!a[1] && (int)a[0] != AT_FDCWD && flags) {
        return -EINVAL; // no path that they could be about
    }
    unsigned how = (flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW) |
                   (flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0);
    return do_utimes((int)a[0], a[1], how, a[2] ? ts : NULL);
}

static s64 timevals(int dirfd, u64 path, u64 user)
{
    struct uapi_timeval tv[2];
    struct uapi_timespec ts[2];
    if (!user) {
        return do_utimes(dirfd, path, LOOKUP_FOLLOW, NULL);
    }
    if (arch_copy_from_user(tv, (const void *)user, sizeof(tv))) {
        return -EFAULT;
    }
    for (unsigned i = 0; i < 2; i++) {
        if ((u64)tv[i].tv_usec >= 1000000) {
            return -EINVAL;
        }
        ts[i] = (struct uapi_timespec){tv[i].tv_sec, tv[i].tv_usec * (s64)NSEC_PER_USEC};
    }
    return do_utimes(dirfd, path, LOOKUP_FOLLOW, ts);
}

s64 sys_utimes(const u64 *a)
{
    return timevals(AT_FDCWD, a[0], a[1]);
}

s64 sys_futimesat(const u64 *a)
{
    return timevals((int)a[0], a[1], a[2]);
}

s64 sys_utime(const u64 *a)
{
    s64 t[2];
    if (!a[1]) {
        return do_utimes(AT_FDCWD, a[0], LOOKUP_FOLLOW, NULL);
    }
    if (arch_copy_from_user(t, (const void *)a[1], sizeof(t))) {
        return -EFAULT;
    }
    struct uapi_timespec ts[2] = {{t[0], 0}, {t[1], 0}};
    return do_utimes(AT_FDCWD, a[0], LOOKUP_FOLLOW, ts);
}

// ---- Extended attributes ------------------------------------------------------------------------

static s64 xattr_path(u64 path, unsigned how, s64 answer)
{
    struct inode *i;
    s64 r = lookup_at(AT_FDCWD, path, how, &i);
    if (!r) {
        inode_put(i);
    }
    return r ? r : answer;
}

static s64 xattr_fd(u64 fd, s64 answer)
{
    struct file *f = fd_get((int)fd);
    if (!f) {
        return -EBADF;
    }
    file_put(f);
    return answer;
}

#define XATTR_CALLS(op, answer)                                                                    \
    s64 sys_##op(const u64 *a)                                                                     \
    {                                                                                              \
        return xattr_path(a[0], LOOKUP_FOLLOW, answer);                                            \
    }                                                                                              \
    s64 sys_l##op(const u64 *a)                                                                    \
    {                                                                                              \
        return xattr_path(a[0], 0, answer);                                                        \
    }                                                                                              \
    s64 sys_f##op(const u64 *a)                                                                    \
    {                                                                                              \
        return xattr_fd(a[0], answer);                                                             \
    }
XATTR_CALLS(setxattr, -EOPNOTSUPP)
XATTR_CALLS(getxattr, -EOPNOTSUPP)
XATTR_CALLS(removexattr, -EOPNOTSUPP)
XATTR_CALLS(listxattr, 0)
