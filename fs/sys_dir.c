// System calls: names. Make, remove, rename, link, list; the current directory.
#include <arch/uaccess.h>
#include <k/string.h>
#include <proc.h>
#include <syscalls.h>
#include "fs_priv.h"

#define DENTS_MAX 32768

// ---- Making -------------------------------------------------------------------------------------

// The walk to a name that is to be made: 0, -EEXIST and others. want_dir: "name/" is fine.
static int walk_new(struct walk *w, bool want_dir)
{
    struct inode *there;
    bool trailing = w->trailing;
    if (w->dots) {
        return -EEXIST;
    }
    w->trailing = false; // whatever is there is in the way, a symbolic link too
    int err = walk_last(w, false, &there);
    if (!err) {
        inode_put(there);
        return -EEXIST;
    }
    if (err != -ENOENT || !w->absent) {
        return err;
    }
    return trailing && !want_dir ? -ENOENT : 0;
}

// *out counted.
static int make_path(struct inode *start, const char *path, u32 mode, u64 rdev, const char *target,
                     struct inode **out)
{
    struct walk w;
    int err = walk_begin(&w, start, path);
    if (!err) {
        err = walk_new(&w, S_ISDIR(mode));
    }
    if (!err) {
        err = inode_permission(w.dir, MAY_WRITE | MAY_EXEC);
    }
    bool device = S_ISCHR(mode) || S_ISBLK(mode);
    if (!err && (!w.dir->ops->create || (device && !current_has_cap(CAP_MKNOD)))) {
        err = -EPERM;
    }
    if (!err) {
        err = w.dir->ops->create(w.dir, w.name, mode, rdev, target, out);
        if (!err) {
            notify_name(w.dir, IN_CREATE, w.name, S_ISDIR(mode), 0);
        }
    }
    walk_end(&w);
    return err;
}

static int make_at(int dirfd, u64 user, u32 mode, u64 rdev, const char *target)
{
    struct inode *start, *made;
    char *path;
    int err = user_path(user, false, &path);
    if (err) {
        return err;
    }
    err = at_start(dirfd, path, &start);
    if (!err) {
        err = make_path(start, path, mode, rdev, target, &made);
        if (!err) {
            inode_put(made);
        }
        inode_put(start);
    }
    kfree(path);
    return err;
}

int vfs_make_node(const char *path, u32 mode, struct inode **out)
{
    struct inode *start = path[0] == '/' ? NULL : cwd_get();
    int err = make_path(start, path, mode, 0, NULL, out);
    inode_put(start);
    return err;
}

static s64 do_mknod(int dirfd, u64 user, u32 mode, u64 dev)
{
    u32 type = mode & S_IFMT;
    bool device = type == S_IFCHR || type == S_IFBLK;
    if (type == S_IFDIR) {
        return -EPERM;
    }
    if (type && type != S_IFREG && type != S_IFIFO && type != S_IFSOCK && !device) {
        return -EINVAL;
    }
    mode = (mode & 07777 & ~load_relaxed(&current_process()->fs->umask)) | (type ? type : S_IFREG);
    return make_at(dirfd, user, mode, device ? dev : 0, NULL);
}

s64 sys_mknod(const u64 *a)
{
    return do_mknod(AT_FDCWD, a[0], (u32)a[1], (u32)a[2]);
}

s64 sys_mknodat(const u64 *a)
{
    return do_mknod((int)a[0], a[1], (u32)a[2], (u32)a[3]);
}

static s64 do_mkdir(int dirfd, u64 user, u32 mode)
{
    u32 bits = mode & 01777 & ~load_relaxed(&current_process()->fs->umask);
    return make_at(dirfd, user, S_IFDIR | bits, 0, NULL);
}

s64 sys_mkdir(const u64 *a)
{
    return do_mkdir(AT_FDCWD, a[0], (u32)a[1]);
}

s64 sys_mkdirat(const u64 *a)
{
    return do_mkdir((int)a[0], a[1], (u32)a[2]);
}

static s64 do_symlink(u64 target_user, int dirfd, u64 user)
{
    char *target;
    int err = user_path(target_user, false, &target);
    if (!err) {
        err = make_at(dirfd, user, S_IFLNK | 0777, 0, target);
        kfree(target);
    }
    return err;
}

s64 sys_symlink(const u64 *a)
{
    return do_symlink(a[0], AT_FDCWD, a[1]);
}

s64 sys_symlinkat(const u64 *a)
{
    return do_symlink(a[0], (int)a[1], a[2]);
}

// ---- Removing -----------------------------------------------------------------------------------

static int unlink_check(const struct walk *w, struct inode *i, bool rmdir, bool trailing)
{
    if (!rmdir && trailing) {
        return S_ISDIR(i->mode) ? -EISDIR : -ENOTDIR;
    }
    int err = dir_may_delete(w->dir, i);
    if (err || !rmdir) {
        return err ? err : S_ISDIR(i->mode) ? -EISDIR : 0;
    }
    if (!S_ISDIR(i->mode)) {
        return -ENOTDIR;
    }
    if (i->is_root) {
        return -EBUSY;
    }
    if (!w->dir->ops->unlink || !i->ops->is_empty) {
        return 0; // -EPERM, below
    }
    return i->ops->is_empty(i) ? 0 : -ENOTEMPTY;
}

static int walk_unlink(struct walk *w, bool rmdir)
{
    bool trailing = w->trailing;
    struct inode *i;
    if (w->dots) {
        return !rmdir ? -EISDIR : w->dotdot ? -ENOTEMPTY : w->name[0] ? -EINVAL : -EBUSY;
    }
    w->trailing = false; // a link itself is removed, never what it leads to
    int err = super_may_write(w->dir->sb);
    err = err ? err : walk_last(w, false, &i);
    if (err) {
        return err;
    }
    err = unlink_check(w, i, rmdir, trailing);
    if (!err) {
        err = w->dir->ops->unlink ? w->dir->ops->unlink(w->dir, w->name, i) : -EPERM;
    }
    bool is_dir = S_ISDIR(i->mode);
    if (!err && !is_dir) {
        notify_self(i, IN_ATTRIB); // a link less
    }
    inode_put(i);
    if (!err) {
        notify_name(w->dir, IN_DELETE, w->name, is_dir, 0);
    }
    return err;
}

static s64 do_unlink(int dirfd, u64 user, bool rmdir)
{
    struct inode *start;
    struct walk w;
    char *path;
    int err = user_path(user, false, &path);
    if (err) {
        return err;
    }
    err = at_start(dirfd, path, &start);
    if (!err) {
        err = walk_begin(&w, start, path);
        if (!err) {
            err = walk_unlink(&w, rmdir);
        }
        walk_end(&w);
        inode_put(start);
    }
    kfree(path);
    return err;
}

s64 sys_unlink(const u64 *a)
{
    return do_unlink(AT_FDCWD, a[0], false);
}

s64 sys_rmdir(const u64 *a)
{
    return do_unlink(AT_FDCWD, a[0], true);
}

s64 sys_unlinkat(const u64 *a)
{
    if ((u32)a[2] & ~(u32)AT_REMOVEDIR) {
        return -EINVAL;
    }
    return do_unlink((int)a[0], a[1], (u32)a[2] & AT_REMOVEDIR);
}

// ---- Renaming and linking -----------------------------------------------------------------------

static bool dir_is_within(struct inode *dir, const struct inode *top)
{
    for (; dir != top && dir != dir->parent; dir = dir->parent) {
    }
    return dir == top;
}

// A directory that moves is written to: its ".." is another one.
static int moved_permission(const struct inode *i, const struct inode *from, const struct inode *to)
{
    return S_ISDIR(i->mode) && from != to ? inode_permission(i, MAY_WRITE) : 0;
}

static int rename_permission(const struct inode *from, const struct inode *i,
                             const struct inode *to, const struct inode *victim, u32 flags)
{
    int err = dir_may_delete(from, i);
    if (!err) {
        err = victim ? dir_may_delete(to, victim) : inode_permission(to, MAY_WRITE | MAY_EXEC);
    }
    err = err ? err : moved_permission(i, from, to);
    return !err && (flags & RENAME_EXCHANGE) ? moved_permission(victim, from, to) : err;
}

static int rename_check(const struct walk *from, const struct walk *to, struct inode *i,
                        struct inode *victim, u32 flags)
{
    if (i->is_root || (victim && victim->is_root)) {
        return -EBUSY;
    }
    if (i == victim) { // a directory is moved to where it is
        return 0;
    }
    if (S_ISDIR(i->mode) && dir_is_within(to->dir, i)) {
        return -EINVAL;
    }
    if (victim && S_ISDIR(victim->mode) && dir_is_within(from->dir, victim)) {
        return flags & RENAME_EXCHANGE ? -EINVAL : -ENOTEMPTY;
    }
    int err = i == victim ? 0 : rename_permission(from->dir, i, to->dir, victim, flags);
    if (err || i == victim || (flags & RENAME_EXCHANGE)) {
        return err;
    }
    if (victim && S_ISDIR(victim->mode)) {
        if (!S_ISDIR(i->mode)) {
            return -EISDIR;
        }
        return victim->ops->is_empty && !victim->ops->is_empty(victim) ? -ENOTEMPTY : 0;
    }
    return victim && S_ISDIR(i->mode) ? -ENOTDIR : 0;
}

static void rename_tell(struct walk *from, struct inode *i, struct walk *to, struct inode *victim)
{
    bool is_dir = S_ISDIR(i->mode);
    u32 cookie = notify_cookie();
    notify_name(from->dir, IN_MOVED_FROM, from->name, is_dir, cookie);
    notify_name(to->dir, IN_MOVED_TO, to->name, is_dir, cookie);
    if (victim) {
        notify_self(victim, IN_ATTRIB);
    }
    notify_self(i, IN_MOVE_SELF);
}

static int rename_perform(struct walk *from, struct inode *i, struct walk *to, struct inode *victim,
                          u32 flags)
{
    const struct inode_ops *ops = from->dir->ops;
    int err = -EPERM;
    if (i == victim) { // two names of one file: nothing to do
        return 0;
    }
    if (flags & RENAME_EXCHANGE) {
        if (ops->exchange) {
            err = ops->exchange(from->dir, from->name, i, to->dir, to->name, victim);
        }
        if (!err) {
            rename_tell(from, i, to, NULL);
            rename_tell(to, victim, from, NULL);
        }
    } else if (ops->rename) {
        err = ops->rename(from->dir, from->name, i, to->dir, to->name, victim,
                          flags & RENAME_WHITEOUT);
        if (!err) {
            rename_tell(from, i, to, victim);
        }
    }
    return err;
}

static int walk_rename(struct walk *from, struct walk *to, u32 flags)
{
    bool slash1 = from->trailing, slash2 = to->trailing;
    struct inode *i, *victim = NULL;
    if (from->dir->sb != to->dir->sb) {
        return -EXDEV;
    }
    if (from->dots || to->dots) {
        return to->dots && !from->dots && (flags & RENAME_NOREPLACE) ? -EEXIST : -EBUSY;
    }
    from->trailing = to->trailing = false;
    int err = super_may_write(from->dir->sb);
    err = err ? err : walk_last(from, false, &i);
    if (err) {
        return err;
    }
    err = walk_last(to, false, &victim);
    if (err == -ENOENT && to->absent && !(flags & RENAME_EXCHANGE)) {
        err = 0;
        victim = NULL;
    } else if (!err && (flags & RENAME_NOREPLACE)) {
        err = -EEXIST;
    }
    // A slash behind the second name is about what will be there.
    const struct inode *there = flags & RENAME_EXCHANGE ? victim : i;
    if (!err && ((slash1 && !S_ISDIR(i->mode)) || (slash2 && !S_ISDIR(there->mode)))) {
        err = -ENOTDIR;
    }
    err = err ? err : rename_check(from, to, i, victim, flags);
    err = err ? err : rename_perform(from, i, to, victim, flags);
    inode_put(victim);
    inode_put(i);
    return err;
}

// Two paths of user memory, walked up to their last names under one lock, and what is done there.
static s64 with_two_walks(int fd1, u64 user1, int fd2, u64 user2, u32 flags,
                          int (*fn)(struct walk *, struct walk *, u32))
{
    struct inode *start1 = NULL, *start2 = NULL;
    char *path1 = NULL, *path2 = NULL;
    struct walk *w = kmalloc(2 * sizeof(*w), GFP_KERNEL);
    int err = w ? user_path(user1, false, &path1) : -ENOMEM;
    if (!err) {
        err = user_path(user2, false, &path2);
    }
    if (!err) {
        err = at_start(fd1, path1, &start1);
    }
    if (!err) {
        err = at_start(fd2, path2, &start2);
    }
    if (!err) {
        mutex_lock(&vfs_lock);
        err = walk_begin_locked(&w[0], start1, path1, 0);
        if (!err) {
            err = walk_begin_locked(&w[1], start2, path2, 0);
            if (!err) {
                err = fn(&w[0], &w[1], flags);
            }
            walk_end_locked(&w[1]);
        }
        walk_end_locked(&w[0]);
        mutex_unlock(&vfs_lock);
    }
    inode_put(start2);
    inode_put(start1);
    kfree(path2);
    kfree(path1);
    kfree(w);
    return err;
}

s64 sys_rename(const u64 *a)
{
    return with_two_walks(AT_FDCWD, a[0], AT_FDCWD, a[1], 0, walk_rename);
}

s64 sys_renameat(const u64 *a)
{
    return with_two_walks((int)a[0], a[1], (int)a[2], a[3], 0, walk_rename);
}

s64 sys_renameat2(const u64 *a)
{
    u32 flags = (u32)a[4];
    if ((flags & ~(u32)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) ||
        ((flags & RENAME_EXCHANGE) && flags != RENAME_EXCHANGE)) {
        return -EINVAL;
    }
    return with_two_walks((int)a[0], a[1], (int)a[2], a[3], flags, walk_rename);
}

// Who gives another's file a name keeps it: a set-user-ID program from being replaced by a better
// one, a full quota full. So Linux wants it to be the caller's, or harmless and open to it anyway
// (protected_hardlinks of proc_sys_fs(5), which all distributions set).
static int link_source_permission(const struct inode *i)
{
    bool harmless = S_ISREG(i->mode) && !(i->mode & S_ISUID) &&
                    (i->mode & (S_ISGID | S_IXGRP)) != (S_ISGID | S_IXGRP);
    return inode_is_mine(i) || (harmless && !inode_permission(i, MAY_READ | MAY_WRITE)) ? 0
                                                                                        : -EPERM;
}

// Another name for i, which is at `to`.
static int inode_link(struct inode *i, struct walk *to)
{
    int err = walk_new(to, false);
    err = err ? err : super_may_write(to->dir->sb);
    if (!err) {
        err = i->sb != to->dir->sb ? -EXDEV : link_source_permission(i);
    }
    err = err ? err : inode_permission(to->dir, MAY_WRITE | MAY_EXEC);
    if (!err && (S_ISDIR(i->mode) || !to->dir->ops->link)) {
        err = -EPERM;
    } else if (!err && load_relaxed(&i->nlink) == 0 && !i->linkable) {
        err = -ENOENT;
    }
    err = err ? err : to->dir->ops->link(to->dir, to->name, i);
    if (!err) {
        notify_self(i, IN_ATTRIB); // a link more
        notify_name(to->dir, IN_CREATE, to->name, false, 0);
    }
    return err;
}

static int walk_link(struct walk *from, struct walk *to, u32 flags)
{
    struct inode *i;
    int err = walk_last(from, flags & AT_SYMLINK_FOLLOW, &i);
    if (!err) {
        err = inode_link(i, to);
        inode_put(i);
    }
    return err;
}

s64 sys_link(const u64 *a)
{
    return with_two_walks(AT_FDCWD, a[0], AT_FDCWD, a[1], 0, walk_link);
}

// What is open as fd gets a name.
static int link_open(int fd, int dirfd, u64 user)
{
    struct inode *i, *start;
    struct walk w;
    char *path;
    int err = at_start_dir(fd, true, &i);
    if (err) {
        return err;
    }
    err = user_path(user, false, &path);
    if (err) {
        goto out_put;
    }
    err = at_start(dirfd, path, &start);
    if (!err) {
        err = walk_begin(&w, start, path);
        err = err ? err : inode_link(i, &w);
        walk_end(&w);
        inode_put(start);
    }
    kfree(path);
out_put:
    inode_put(i);
    return err;
}

s64 sys_linkat(const u64 *a)
{
    u32 flags = (u32)a[4];
    char first = 0;
    if (flags & ~(u32)(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) {
        return -EINVAL;
    }
    // A descriptor alone gives no right to a name: it may have come from another (linkat(2)).
    if ((flags & AT_EMPTY_PATH) && !current_has_cap(CAP_DAC_READ_SEARCH)) {
        return -ENOENT;
    }
    if ((flags & AT_EMPTY_PATH) && arch_copy_from_user(&first, (const void *)a[1], 1)) {
        return -EFAULT;
    }
    if ((flags & AT_EMPTY_PATH) && !first) {
        return link_open((int)a[0], (int)a[2], a[3]);
    }
    return with_two_walks((int)a[0], a[1], (int)a[2], a[3], flags, walk_link);
}

// ---- Listing ------------------------------------------------------------------------------------

// The entry of getdents: the type is its last byte, behind the name and its NUL.
struct old_dirent {
    u64 ino, off;
    u16 reclen;
    char name[];
};

bool dirent_emit(struct dirent_sink *s, const char *name, u64 ino, u32 mode, u64 next)
{
    size_t n = strlen(name),
           head = s->old ? offsetof(struct old_dirent, name) : offsetof(struct uapi_dirent64, name);
    size_t len = align_up(head + n + (s->old ? 2 : 1), 8);
    u8 type = (u8)((mode & S_IFMT) >> 12); // the DT_ numbers are these
    char *to = s->buf + s->used;
    if (s->full || len > s->size - s->used) {
        s->full = true;
        return false;
    }
    memset(to, 0, len);
    if (s->old) {
        *(struct old_dirent *)to = (struct old_dirent){ino, next, (u16)len};
        to[len - 1] = (char)type;
    } else {
        struct uapi_dirent64 *d = (struct uapi_dirent64 *)to;
        d->ino = ino;
        d->off = (s64)next;
        d->reclen = (u16)len;
        d->type = type;
    }
    memcpy(to + head, name, n);
    s->used += len;
    return true;
}

static void list_dir_locked(struct inode *dir, u64 *pos, struct dirent_sink *sink)
{
    if (*pos == 0 && dirent_emit(sink, ".", dir->ino, S_IFDIR, 1)) {
        *pos = 1;
    }
    if (*pos == 1 && dirent_emit(sink, "..", dir->parent->ino, S_IFDIR, 2)) {
        *pos = 2;
    }
    if (*pos >= 2) {
        dir->ops->readdir(dir, pos, sink);
    }
}

static s64 file_getdents(struct file *f, u64 user, size_t size, bool old)
{
    struct inode *dir = f->inode;
    struct dirent_sink sink = {.size = min(size, (size_t)DENTS_MAX), .old = old};
    s64 r = 0;
    sink.buf = kmalloc(max(sink.size, (size_t)1), GFP_KERNEL);
    if (!sink.buf) {
        return -ENOMEM;
    }
    mutex_lock(&f->pos_lock);
    u64 pos = f->pos;
    mutex_lock(&vfs_lock);
    if (load_relaxed(&dir->nlink) == 0) {
        r = -ENOENT;
    } else {
        list_dir_locked(dir, &pos, &sink);
    }
    mutex_unlock(&vfs_lock);
    if (!r && !sink.used && sink.full) {
        r = -EINVAL; // not even one fits
    }
    if (!r && arch_copy_to_user((void *)user, sink.buf, sink.used)) {
        r = -EFAULT;
    }
    if (!r) {
        f->pos = pos;
        r = (s64)sink.used;
    }
    mutex_unlock(&f->pos_lock);
    if (r >= 0) {
        notify_file(f, IN_ACCESS);
    }
    kfree(sink.buf);
    return r;
}

const struct file_ops dir_fops = {0};

static s64 do_getdents(const u64 *a, bool old)
{
    struct file *f = fd_get((int)a[0]);
    if (!f) {
        return -EBADF;
    }
    s64 r = S_ISDIR(f->inode->mode) ? file_getdents(f, a[1], (u32)a[2], old) : -ENOTDIR;
    file_put(f);
    return r;
}

s64 sys_getdents64(const u64 *a)
{
    return do_getdents(a, false);
}

s64 sys_getdents(const u64 *a)
{
    return do_getdents(a, true);
}

// ---- The current directory ----------------------------------------------------------------------

s64 sys_getcwd(const u64 *a)
{
    static const char before[] = "(unreachable)";
    struct inode *cwd = cwd_get(), *root = root_get();
    size_t m = 0;
    bool outside;
    char *path;
    mutex_lock(&vfs_lock);
    s64 r = dir_path_locked(cwd, root, &path, &outside);
    mutex_unlock(&vfs_lock);
    inode_put(root);
    inode_put(cwd);
    if (r) {
        return r;
    }
    size_t n = strlen(path) + 1;
    m = outside ? sizeof(before) - 1 : 0; // getcwd(2)
    if (n + m > a[1]) {
        r = -ERANGE;
    } else if (arch_copy_to_user((void *)a[0], before, m) ||
               arch_copy_to_user((char *)a[0] + m, path, n)) {
        r = -EFAULT;
    } else {
        r = (s64)(n + m);
    }
    kfree(path);
    return r;
}

// The reference to dir is taken over. The current directory, or the root, of the current process.
static s64 fs_dir_set(struct inode *dir, bool root)
{
    struct fs_ctx *fs = current_process()->fs;
    int err = S_ISDIR(dir->mode) ? inode_permission(dir, MAY_EXEC) : -ENOTDIR;
    if (!err && root && !current_has_cap(CAP_SYS_CHROOT)) {
        err = -EPERM;
    }
    if (err) {
        inode_put(dir);
        return err;
    }
    mutex_lock(&fs->lock);
    struct inode **to = root ? &fs->root : &fs->cwd, *old = *to;
    *to = dir;
    mutex_unlock(&fs->lock);
    inode_put(old);
    return 0;
}

s64 sys_chdir(const u64 *a)
{
    struct inode *dir;
    int err = lookup_at(AT_FDCWD, a[0], LOOKUP_FOLLOW, &dir);
    return err ? err : fs_dir_set(dir, false);
}

s64 sys_fchdir(const u64 *a)
{
    struct file *f = fd_get_path((int)a[0]);
    if (!f) {
        return -EBADF;
    }
    struct inode *dir = inode_get(f->inode);
    file_put(f);
    return fs_dir_set(dir, false);
}

// The current directory stays, even outside of the new root: chroot(2).
s64 sys_chroot(const u64 *a)
{
    struct inode *dir;
    int err = lookup_at(AT_FDCWD, a[0], LOOKUP_FOLLOW, &dir);
    return err ? err : fs_dir_set(dir, true);
}

s64 sys_umask(const u64 *a)
{
    return atomic_exchange(&current_process()->fs->umask, (u32)a[0] & 0777);
}
