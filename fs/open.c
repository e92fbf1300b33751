// Files, 4: open by path.
#include <k/printk.h>
#include <k/string.h>
#include <proc.h>
#include "fd_priv.h"

// "dir/name"; NULL: no memory.
static char *path_join(const char *dir, const char *name)
{
    size_t n = strlen(dir), m = strlen(name);
    char *path = kmalloc(n + m + 2, GFP_KERNEL);
    if (path) {
        memcpy(path, dir, n);
        n -= n == 1; // the root's slash
        path[n] = '/';
        memcpy(path + n + 1, name, m + 1);
    }
    return path;
}

static int path_copy(const char *path, char **out)
{
    size_t n = strlen(path) + 1;
    *out = kmalloc(n, GFP_KERNEL);
    if (*out) {
        memcpy(*out, path, n);
    }
    return *out ? 0 : -ENOMEM;
}

// The path of what the walk stands before, inode if that is there already, for /proc. *out stays
// NULL in a directory that was removed. 0 or -ENOMEM.
static int walk_path(struct walk *w, struct inode *inode, char **out)
{
    bool is_dir = inode && S_ISDIR(inode->mode);
    struct inode *root;
    char *dir;
    if (w->via && !is_dir) { // what it was opened by the first time
        return w->via->path ? path_copy(w->via->path, out) : 0;
    }
    root = root_get();
    int err = dir_path_locked(is_dir ? inode : w->dir, root, &dir, NULL);
    inode_put(root);
    if (err) {
        return err == -ENOENT ? 0 : err;
    }
    if (is_dir) {
        *out = dir;
        return 0;
    }
    *out = path_join(dir, w->name);
    kfree(dir);
    return *out ? 0 : -ENOMEM;
}

static int open_create(struct walk *w, u32 mode, struct inode **out)
{
    struct process *p = current_process();
    u32 umask = p ? load_relaxed(&p->fs->umask) : 0;
    int err = inode_permission(w->dir, MAY_WRITE | MAY_EXEC);
    if (!err && !w->dir->ops->create) {
        err = -EACCES;
    }
    return err ? err
               : w->dir->ops->create(w->dir, w->name, S_IFREG | (mode & 07777 & ~umask), 0, NULL,
                                     out);
}

// What opening with these flags asks of the file. A program is not read by who runs it.
static unsigned open_may(unsigned flags)
{
    static const unsigned may[] = {MAY_READ, MAY_WRITE, MAY_READ | MAY_WRITE, MAY_READ | MAY_WRITE};
    return flags & OPEN_EXEC ? MAY_EXEC
                             : may[flags & O_ACCMODE] | (flags & O_TRUNC ? MAY_WRITE : 0);
}

static int open_check(const struct inode *i, unsigned flags)
{
    if (S_ISLNK(i->mode) && !(flags & O_PATH)) {
        return (flags & O_DIRECTORY) ? -ENOTDIR : -ELOOP;
    }
    if ((flags & O_DIRECTORY) && !S_ISDIR(i->mode)) {
        return -ENOTDIR;
    }
    unsigned may = open_may(flags);
    if (S_ISDIR(i->mode) && ((may & MAY_WRITE) || (flags & O_CREAT))) {
        return -EISDIR;
    }
    if (flags & O_PATH) {
        return 0;
    }
    unsigned how = load_relaxed(&i->sb->flags);
    if (((S_ISCHR(i->mode) || S_ISBLK(i->mode)) && (how & MS_NODEV)) ||
        ((flags & OPEN_EXEC) && (!S_ISREG(i->mode) || (how & MS_NOEXEC)))) {
        return -EACCES;
    }
    int err = inode_permission(i, may);
    return !err && (flags & O_NOATIME) && !inode_is_mine(i) ? -EPERM : err;
}

// Namespace locked: find or make it. Making it is the last that can fail.
static int open_find(struct walk *w, unsigned flags, u32 mode, struct inode **out, char **path,
                     bool *created)
{
    bool excl = (flags & O_CREAT) && (flags & O_EXCL);
    int err;
    if ((flags & O_CREAT) && w->trailing && !w->dots) {
        return -EISDIR;
    }
    err = walk_last(w, !(flags & O_NOFOLLOW) && !excl, out);
    if (err == -ENOENT && w->absent && (flags & O_CREAT)) {
        *created = true;
        err = w->trailing ? -EISDIR : walk_path(w, NULL, path);
        err = err ? err : open_create(w, mode, out);
        if (!err) {
            notify_name(w->dir, IN_CREATE, w->name, false, 0);
        }
        return err;
    }
    if (err) {
        return err;
    }
    err = excl ? -EEXIST : open_check(*out, flags);
    if (!err) {
        err = walk_path(w, *out, path);
    }
    if (err) {
        inode_put(*out);
    }
    return err;
}

// Namespace locked: a file without a name in the directory the path leads to (O_TMPFILE).
static int open_nameless(struct walk *w, unsigned flags, u32 mode, struct inode **out, char **path)
{
    struct process *p = current_process();
    struct inode *dir;
    char name[24];
    int err = walk_last(w, !(flags & O_NOFOLLOW), &dir);
    if (err) {
        return err;
    }
    if (!S_ISDIR(dir->mode)) {
        err = -ENOTDIR;
    } else if (!dir->ops->create || !dir->sb->make_file) {
        err = -EOPNOTSUPP;
    } else {
        err = inode_permission(dir, MAY_WRITE | MAY_EXEC);
        err = err ? err : super_inode_room(dir->sb);
        err = err ? err : walk_path(w, dir, path);
    }
    if (!err) {
        u32 umask = p ? load_relaxed(&p->fs->umask) : 0;
        *out = dir->sb->make_file(dir->sb, S_IFREG | (mode & 07777 & ~umask));
        err = *out ? 0 : -ENOMEM;
    }
    if (!err) {
        inode_set_owner(*out, dir);
        store_relaxed(&(*out)->nlink, 0);
        (*out)->linkable = !(flags & O_EXCL);
        snprintf(name, sizeof(name), "#%lu", (*out)->ino);
        char *full = *path ? path_join(*path, name) : NULL;
        kfree(*path);
        *path = full; // NULL: /proc has nothing to show
        ramdir_flag_child(dir, *out);
        inode_put(w->dir);
        w->dir = dir; // there it is, if anywhere
        dir = NULL;
    }
    inode_put(dir);
    return err;
}

// f is blank and consumed.
static int open_with(struct file *f, struct inode *start, const char *path, unsigned flags,
                     u32 mode, u32 resolve)
{
    struct walk w;
    struct inode *inode;
    char *full = NULL;
    bool created = false;
    mutex_lock(&vfs_lock);
    int err = walk_begin_locked(&w, start, path, resolve);
    if (!err) {
        err = flags & O_TMPFILE_BIT ? open_nameless(&w, flags, mode, &inode, &full)
                                    : open_find(&w, flags, mode, &inode, &full, &created);
    }
    bool again = w.via && !(flags & O_TMPFILE_BIT);
    struct inode *dir = err ? NULL : again ? w.via->dir : w.dir;
    if (dir) {
        inode_get(dir);
    }
    walk_end(&w);
    if (err) {
        kfree(full);
        file_blank_free(f);
        return err;
    }
    if ((flags & O_TRUNC) && S_ISREG(inode->mode) && !created && inode->fops &&
        inode->fops->truncate) {
        err = inode_write_begin(inode);
        if (!err) {
            err = inode->fops->truncate(inode, 0);
            inode_write_end(inode);
        }
        if (!err) {
            notify_inode(inode, IN_MODIFY);
        }
    }
    if (err) {
        kfree(full);
        inode_put(dir);
        file_blank_free(f);
    } else {
        f->dir = dir;
        err = file_open_blank(f, inode, flags, full);
    }
    if (!err && !(flags & O_PATH)) {
        notify_file(f, IN_OPEN);
    }
    inode_put(inode);
    return err;
}

int vfs_open_at(struct inode *start, const char *path, unsigned flags, u32 mode, u32 resolve,
                struct file **out)
{
    if (flags & O_PATH) {
        flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    }
    if (flags & O_TMPFILE_BIT) {
        unsigned access = flags & O_ACCMODE;
        if (!(flags & O_DIRECTORY) || (flags & O_CREAT) || access == O_RDONLY) {
            return -EINVAL;
        }
    }
    if ((flags & O_CREAT) && (flags & O_DIRECTORY)) {
        return -EINVAL;
    }
    struct file *f = file_blank(); // first: a file that open has made must not be left behind
    if (!f) {
        return -ENOMEM;
    }
    int err = open_with(f, start, path, flags, mode, resolve);
    if (!err) {
        *out = f;
    }
    return err;
}

static int exec_open_again(int fd, struct file **out)
{
    struct file *f = fd_get_path(fd);
    char *path = NULL;
    int err = f ? open_check(f->inode, OPEN_EXEC) : -EBADF;

    if (!err && f->path) { // for /proc/PID/exe, which the C library reads
        err = path_copy(f->path, &path);
    }
    if (!err) {
        err = file_open_inode(f->inode, O_RDONLY, path, out);
    }

    if (f) {
        file_put(f);
    }
    return err;
}

static int exec_open_below(int dirfd, const char *path, unsigned flags, struct file **out)
{
    struct inode *start;
    int err = at_start(dirfd, path, &start);

    if (!err) {
        unsigned how = flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0;

        err = vfs_open_at(start, path, how | OPEN_EXEC, 0, 0, out);
        inode_put(start);
    }
    return err;
}

int vfs_open_exec(int dirfd, const char *path, unsigned flags, struct file **out, bool *cloexec)
{
    struct file *f;
    int err;

    if (cloexec) {
        *cloexec = dirfd != AT_FDCWD && fd_cloexec(dirfd, -1) == 1;
    }
    if (!path[0] && (flags & AT_EMPTY_PATH) && dirfd != AT_FDCWD) {
        err = exec_open_again(dirfd, &f);
    } else {
        err = exec_open_below(dirfd, path, flags, &f);
    }
    if (err) {
        return err;
    }
    err = program_deny_writers(f);
    if (err) {
        file_put(f);
    } else {
        *out = f;
    }
    return err;
}
