// Files, 4: open by path.
#include <k/string.h>
#include <proc.h>
#include "fs_priv.h"

// The path of what the walk found, for /proc; NULL if there is no memory for it.
static char *walk_path(struct walk *w, struct inode *inode)
{
    char *dir, *path;
    if (S_ISDIR(inode->mode)) {
        return dir_path_locked(inode);
    }
    dir = dir_path_locked(w->dir);
    if (!dir) {
        return NULL;
    }
    size_t n = strlen(dir), m = strlen(w->name);
    path = kmalloc(n + m + 2, GFP_KERNEL);
    if (path) {
        memcpy(path, dir, n);
        n -= n == 1; // the root's slash
        path[n] = '/';
        memcpy(path + n + 1, w->name, m + 1);
    }
    kfree(dir);
    return path;
}

static int open_create(struct walk *w, u32 mode, struct inode **out)
{
    struct process *p = current_process();
    u32 umask = p ? load_relaxed(&p->umask) : 0;
    if (!w->dir->ops->create) {
        return -EACCES;
    }
    return w->dir->ops->create(w->dir, w->name, S_IFREG | (mode & 07777 & ~umask), 0, NULL, out);
}

static int open_check(const struct inode *i, unsigned flags)
{
    if (S_ISLNK(i->mode) && !(flags & O_PATH)) {
        return (flags & O_DIRECTORY) ? -ENOTDIR : -ELOOP;
    }
    if ((flags & O_DIRECTORY) && !S_ISDIR(i->mode)) {
        return -ENOTDIR;
    }
    if (S_ISDIR(i->mode) && ((flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)))) {
        return -EISDIR;
    }
    return 0;
}

// Namespace locked: find or make it.
static int open_find(struct walk *w, unsigned flags, u32 mode, struct inode **out, bool *created)
{
    bool excl = (flags & O_CREAT) && (flags & O_EXCL);
    int err;
    if ((flags & O_CREAT) && w->trailing && !w->dots) {
        return -EISDIR;
    }
    err = walk_last(w, !(flags & O_NOFOLLOW) && !excl, out);
    if (err == -ENOENT && w->absent && (flags & O_CREAT)) {
        *created = true;
        return w->trailing ? -EISDIR : open_create(w, mode, out);
    }
    if (err) {
        return err;
    }
    err = excl ? -EEXIST : open_check(*out, flags);
    if (err) {
        inode_put(*out);
    }
    return err;
}

int vfs_open_at(struct inode *start, const char *path, unsigned flags, u32 mode, struct file **out)
{
    struct walk w;
    struct inode *inode;
    char *full = NULL;
    bool created = false;
    if (flags & O_PATH) {
        flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    }
    if (flags & O_TMPFILE_BIT) {
        return -EOPNOTSUPP;
    }
    if ((flags & O_CREAT) && (flags & O_DIRECTORY)) {
        return -EINVAL;
    }
    int err = walk_begin(&w, start, path);
    if (!err) {
        err = open_find(&w, flags, mode, &inode, &created);
    }
    if (!err) {
        full = walk_path(&w, inode);
    }
    walk_end(&w);
    if (err) {
        return err;
    }
    if ((flags & O_TRUNC) && S_ISREG(inode->mode) && !created && inode->fops &&
        inode->fops->truncate) {
        err = inode->fops->truncate(inode, 0);
    }
    if (err) {
        kfree(full);
    } else {
        err = file_open_inode(inode, flags, full, out);
    }
    inode_put(inode);
    return err;
}
