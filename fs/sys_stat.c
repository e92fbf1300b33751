// System calls: what a file is. stat and its family, access, readlink, statfs, modes.
#include <arch/uaccess.h>
#include <k/string.h>
#include <proc.h>
#include <syscalls.h>
#include <uapi/time.h>
#include "fs_priv.h"

static u64 inode_size(const struct inode *i)
{
    if (S_ISREG(i->mode)) {
        return load_relaxed(&((struct inode *)(uintptr_t)i)->mapping.size_bytes);
    }
    return S_ISDIR(i->mode) ? PAGE_SIZE : i->ops == &symlink_ops ? i->data : 0;
}

// The nanoseconds count forwards before 1970, too.
static struct uapi_statx_timestamp timestamp(s64 ns)
{
    s64 per_sec = NSEC_PER_SEC, sec = ns / per_sec - (ns % per_sec < 0);
    return (struct uapi_statx_timestamp){.sec = sec, .nsec = (u32)(ns - sec * per_sec)};
}

static s64 stat_copy(struct inode *i, u64 user)
{
    struct uapi_statx_timestamp at = timestamp(load_relaxed(&i->atime_ns));
    struct uapi_statx_timestamp mt = timestamp(load_relaxed(&i->mtime_ns));
    struct uapi_statx_timestamp ct = timestamp(load_relaxed(&i->ctime_ns));
    struct uapi_stat st = {
        .st_dev = makedev(0, i->sb->dev),
        .st_ino = i->ino,
        .st_nlink = load_relaxed(&i->nlink),
        .st_mode = i->mode,
        .st_uid = i->uid,
        .st_gid = i->gid,
        .st_rdev = i->rdev,
        .st_size = (s64)inode_size(i),
        .st_blksize = PAGE_SIZE,
        .st_blocks = (s64)(load_relaxed(&i->mapping.nr_pages) * (PAGE_SIZE / 512)),
        .st_atime_sec = (u64)at.sec,
        .st_atime_nsec = at.nsec,
        .st_mtime_sec = (u64)mt.sec,
        .st_mtime_nsec = mt.nsec,
        .st_ctime_sec = (u64)ct.sec,
        .st_ctime_nsec = ct.nsec,
    };
    if (!S_ISCHR(i->mode) && !S_ISBLK(i->mode)) {
        st.st_rdev = 0; // elsewhere the field serves its file system
    }
    return arch_copy_to_user((void *)user, &st, sizeof(st)) ? -EFAULT : 0;
}

// No file system here has handles: name_to_handle_at(2).
s64 sys_name_to_handle_at(const u64 *a)
{
    u32 flags = (u32)a[4];
    struct inode *i;
    if (flags & ~(u32)(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) {
        return -EINVAL;
    }
    unsigned how = (flags & AT_SYMLINK_FOLLOW ? LOOKUP_FOLLOW : 0) |
                   (flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0);
    s64 r = lookup_at((int)a[0], a[1], how, &i);
    if (!r) {
        inode_put(i);
    }
    return r ? r : -EOPNOTSUPP;
}

static s64 do_stat(int dirfd, u64 path, unsigned how, u64 user)
{
    struct inode *i;
    s64 r = lookup_at(dirfd, path, how, &i);
    if (!r) {
        r = stat_copy(i, user);
        inode_put(i);
    }
    return r;
}

s64 sys_stat(const u64 *a)
{
    return do_stat(AT_FDCWD, a[0], LOOKUP_FOLLOW, a[1]);
}

s64 sys_lstat(const u64 *a)
{
    return do_stat(AT_FDCWD, a[0], 0, a[1]);
}

s64 sys_fstat(const u64 *a)
{
    struct file *f = fd_get_path((int)a[0]);
    if (!f) {
        return -EBADF;
    }
    s64 r = stat_copy(f->inode, a[1]);
    file_put(f);
    return r;
}

static unsigned how_of(u32 flags)
{
    return (flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW) |
           (flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0);
}

s64 sys_newfstatat(const u64 *a)
{
    u32 flags = (u32)a[3];
    if (flags & ~(u32)(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH)) {
        return -EINVAL;
    }
    return do_stat((int)a[0], a[1], how_of(flags), a[2]);
}

// A mount has its file system's number, as in /proc/self/mountinfo. Birth is told by those file
// systems that tell it on Linux.
static s64 statx_copy(struct inode *i, u32 mask, u64 user)
{
    struct uapi_statx st = {
        .mask = STATX_BASIC_STATS | STATX_MNT_ID,
        .attributes = i->is_root ? STATX_ATTR_MOUNT_ROOT : 0,
        .attributes_mask = STATX_ATTR_MOUNT_ROOT,
        .blksize = PAGE_SIZE,
        .nlink = load_relaxed(&i->nlink),
        .uid = i->uid,
        .gid = i->gid,
        .mode = (u16)i->mode,
        .ino = i->ino,
        .size = inode_size(i),
        .blocks = load_relaxed(&i->mapping.nr_pages) * (PAGE_SIZE / 512),
        .atime = timestamp(load_relaxed(&i->atime_ns)),
        .mtime = timestamp(load_relaxed(&i->mtime_ns)),
        .ctime = timestamp(load_relaxed(&i->ctime_ns)),
        .dev_minor = i->sb->dev,
        .mnt_id = i->sb->dev,
    };
    if ((mask & STATX_BTIME) && i->sb->magic == TMPFS_MAGIC) {
        st.mask |= STATX_BTIME;
        st.btime = timestamp(i->btime_ns);
    }
    if (S_ISCHR(i->mode) || S_ISBLK(i->mode)) {
        st.rdev_major = (u32)(i->rdev >> 8) & 0xfff;
        st.rdev_minor = (u32)(i->rdev & 0xff) | ((u32)(i->rdev >> 12) & ~0xffu);
    }
    return arch_copy_to_user((void *)user, &st, sizeof(st)) ? -EFAULT : 0;
}

s64 sys_statx(const u64 *a)
{
    u32 flags = (u32)a[2], mask = (u32)a[3];
    struct inode *i;
    const u32 known = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE;
    if ((mask & STATX_RESERVED) || (flags & ~known) ||
        (flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE) {
        return -EINVAL;
    }
    s64 r = lookup_at((int)a[0], a[1], how_of(flags), &i);
    if (!r) {
        r = statx_copy(i, mask, a[4]);
        inode_put(i);
    }
    return r;
}

// ---- access -------------------------------------------------------------------------------------

static s64 do_access(int dirfd, u64 path, u32 mode, u32 flags)
{
    struct inode *i;
    if ((mode & ~(u32)(R_OK | W_OK | X_OK)) ||
        (flags & ~(u32)(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))) {
        return -EINVAL;
    }
    bool real = !(flags & AT_EACCESS);
    s64 r = lookup_at(dirfd, path, how_of(flags) | (real ? LOOKUP_REAL : 0), &i);
    if (r) {
        return r;
    }
    if ((mode & X_OK) && S_ISREG(i->mode) && (load_relaxed(&i->sb->flags) & MS_NOEXEC)) {
        r = -EACCES;
    } else { // the bits of R_OK, W_OK and X_OK are those of MAY_*
        r = real ? inode_permission_real(i, mode) : inode_permission(i, mode);
    }
    inode_put(i);
    return r;
}

s64 sys_access(const u64 *a)
{
    return do_access(AT_FDCWD, a[0], (u32)a[1], 0);
}

s64 sys_faccessat(const u64 *a)
{
    return do_access((int)a[0], a[1], (u32)a[2], 0);
}

s64 sys_faccessat2(const u64 *a)
{
    return do_access((int)a[0], a[1], (u32)a[2], (u32)a[3]);
}

// ---- readlink -----------------------------------------------------------------------------------

static s64 link_copy(struct inode *i, u64 user, size_t size)
{
    if (!S_ISLNK(i->mode) || !i->ops->readlink) {
        return -EINVAL;
    }
    char *buf = kmalloc(PATH_MAX_LEN, GFP_KERNEL);
    if (!buf) {
        return -ENOMEM;
    }
    s64 n = i->ops->readlink(i, buf, PATH_MAX_LEN);
    if (n > 0) {
        n = min(n, (s64)size);
        n = arch_copy_to_user((void *)user, buf, (size_t)n) ? -EFAULT : n;
    }
    kfree(buf);
    return n;
}

static s64 do_readlink(int dirfd, u64 path, u64 user, s32 size)
{
    struct inode *i;
    if (size <= 0) {
        return -EINVAL;
    }
    s64 r = lookup_at(dirfd, path, LOOKUP_LINK, &i);
    if (!r) {
        r = link_copy(i, user, (size_t)size);
        inode_put(i);
    }
    return r;
}

s64 sys_readlink(const u64 *a)
{
    return do_readlink(AT_FDCWD, a[0], a[1], (s32)a[2]);
}

s64 sys_readlinkat(const u64 *a)
{
    return do_readlink((int)a[0], a[1], a[2], (s32)a[3]);
}

// ---- Modes --------------------------------------------------------------------------------------

static int inode_chmod(struct inode *i, u32 mode)
{
    int err = super_may_write(i->sb);
    if (err) {
        return err;
    }
    mutex_lock(&i->lock);
    if (inode_is_mine(i)) {
        if (!group_is_mine(i->gid)) {
            mode &= ~(u32)S_ISGID;
        }
        i->mode = (i->mode & S_IFMT) | (mode & 07777);
        store_relaxed(&i->ctime_ns, wall_ns());
    } else {
        err = -EPERM;
    }
    mutex_unlock(&i->lock);
    if (!err) {
        notify_inode(i, IN_ATTRIB);
    }
    return err;
}

static s64 do_chmod(int dirfd, u64 path, u32 mode)
{
    struct inode *i;
    s64 r = lookup_at(dirfd, path, LOOKUP_FOLLOW, &i);
    if (!r) {
        r = inode_chmod(i, mode);
        inode_put(i);
    }
    return r;
}

s64 sys_chmod(const u64 *a)
{
    return do_chmod(AT_FDCWD, a[0], (u32)a[1]);
}

s64 sys_fchmodat(const u64 *a)
{
    return do_chmod((int)a[0], a[1], (u32)a[2]);
}

s64 sys_fchmod(const u64 *a)
{
    struct file *f = fd_get((int)a[0]);
    if (!f) {
        return -EBADF;
    }
    int err = inode_chmod(f->inode, (u32)a[1]);
    file_put(f);
    return err;
}

// ---- statfs -------------------------------------------------------------------------------------

static s64 statfs_copy(struct super *sb, u64 user)
{
    u32 flags = load_relaxed(&sb->flags);
    const u32 same = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME;
    struct uapi_statfs st = {
        .type = sb->magic,
        .bsize = PAGE_SIZE,
        .frsize = PAGE_SIZE,
        .namelen = NAME_MAX_LEN,
        .fsid = {(s32)sb->dev, 0},
        .flags = ST_VALID | (flags & same) | (flags & MS_RELATIME ? ST_RELATIME : 0),
    };
    if (sb->statfs) {
        sb->statfs(sb, &st);
    }
    return arch_copy_to_user((void *)user, &st, sizeof(st)) ? -EFAULT : 0;
}

s64 sys_statfs(const u64 *a)
{
    struct inode *i;
    s64 r = lookup_at(AT_FDCWD, a[0], LOOKUP_FOLLOW, &i);
    if (!r) {
        r = statfs_copy(i->sb, a[1]);
        inode_put(i);
    }
    return r;
}

s64 sys_fstatfs(const u64 *a)
{
    struct file *f = fd_get_path((int)a[0]);
    if (!f) {
        return -EBADF;
    }
    s64 r = statfs_copy(f->inode->sb, a[1]);
    file_put(f);
    return r;
}
