// Directories in memory: tmpfs's, and with other files in them those of /dev, /proc, /sys and
// /slow. What can be done with names; fs/ramdir_index.c has the entries of a directory, and
// fs/ramtree.c what concerns whole trees.
//
// All of it is guarded by vfs_lock. An entry holds a reference to its inode; a directory's inode
// holds one to its parent (see vfs.c).
//
// A file system may have a limit on its inodes (tmpfs: nr_inodes=). As on Linux each further name
// of a file counts as one more: names take memory as inodes do.
#include <k/string.h>
#include <sched.h>
#include "ramdir_priv.h"

void ramdir_flag_child(struct inode *dir, struct inode *inode)
{
    if (unlikely(load_relaxed(&dir->notify) & NOTIFY_SELF)) {
        atomic_fetch_or(&inode->notify, NOTIFY_CHILD);
    }
}

// e takes over the caller's reference to inode.
static void entry_insert(struct inode *dir, struct entry *e, struct inode *inode)
{
    e->inode = inode;
    entry_link(dir->private, e);
    ramdir_flag_child(dir, inode);
    inode_touch(dir);
}

static void entry_remove(struct inode *dir, struct entry *e)
{
    entry_unlink(dir->private, e);
    kfree(e);
    inode_touch(dir);
}

u64 super_inodes_used(const struct super *sb)
{
    return load_relaxed(&sb->nr_inodes) + load_relaxed(&sb->nr_links);
}

// Inodes go at any time, which leaves more room; they come under vfs_lock only.
int super_inode_room(const struct super *sb)
{
    u64 limit = load_relaxed(&sb->limit_inodes);
    return limit && super_inodes_used(sb) >= limit ? -ENOSPC : 0;
}

int ramdir_lookup(struct inode *dir, const char *name, struct inode **out)
{
    struct entry *e = entry_find(dir->private, name);
    if (!e) {
        return -ENOENT;
    }
    *out = inode_get(e->inode);
    return 0;
}

int ramdir_add(struct inode *dir, const char *name, struct inode *inode)
{
    struct entry *e = load_relaxed(&dir->nlink) ? entry_new(name) : NULL;
    char *copy = NULL;
    if (!e) {
        inode_put(inode);
        return load_relaxed(&dir->nlink) ? -ENOMEM : -ENOENT;
    }
    if (S_ISDIR(inode->mode)) {
        copy = kmalloc(strlen(name) + 1, GFP_KERNEL);
        if (!copy) {
            kfree(e);
            inode_put(inode);
            return -ENOMEM;
        }
        memcpy(copy, name, strlen(name) + 1);
        inode->name = copy;
        inode->parent = inode_get(dir);
        fetch_add_relaxed(&dir->nlink, 1); // its ".."
    }
    entry_insert(dir, e, inode);
    return 0;
}

struct inode *ramdir_next_child(struct inode *dir, u64 *pos)
{
    struct entry *e = entry_from(dir->private, *pos);
    *pos = e ? e->cookie + 1 : *pos;
    return e ? e->inode : NULL;
}

struct inode *ramdir_new(struct super *sb, u32 mode, bool fixed)
{
    struct inode *i = inode_new(sb, S_IFDIR | mode);
    struct ramdir *d = i ? kzalloc(sizeof(*d), GFP_KERNEL) : NULL;
    if (!d) {
        inode_put(i);
        return NULL;
    }
    ramdir_index_init(d);
    d->inode = i;
    i->private = d;
    i->ops = fixed ? &ramdir_fixed_ops : &ramdir_ops;
    i->fops = &dir_fops;
    store_relaxed(&i->nlink, 2);
    return i;
}

static struct inode *node_new(struct super *sb, u32 mode, u64 rdev, const char *target, int *err)
{
    struct inode *i = NULL;
    *err = -ENOMEM;
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return ramdir_new(sb, mode & 07777, false);
    case S_IFLNK:
        return symlink_new(sb, target);
    case S_IFREG:
        return sb->make_file(sb, mode);
    case S_IFCHR:
        i = inode_new(sb, mode);
        if (i) {
            i->rdev = rdev;
            i->fops = device_fops(rdev); // NULL: open says -ENXIO
        }
        return i;
    case S_IFBLK:  // there are no drivers for them
    case S_IFSOCK: // connect finds it, nobody opens it
        i = inode_new(sb, mode);
        if (i) {
            i->rdev = rdev;
        }
        return i;
    case S_IFIFO:
        return fifo_new(sb, mode);
    default:
        *err = -EPERM;
        return NULL;
    }
}

static int ramdir_create(struct inode *dir, const char *name, u32 mode, u64 rdev,
                         const char *target, struct inode **out)
{
    int err = super_inode_room(dir->sb);
    struct inode *i = err ? NULL : node_new(dir->sb, mode, rdev, target, &err);
    if (!i) {
        return err;
    }
    inode_set_owner(i, dir);
    inode_get(i); // for *out
    err = ramdir_add(dir, name, i);
    if (err) {
        inode_put(i);
        return err;
    }
    *out = i;
    return 0;
}

static int ramdir_link(struct inode *dir, const char *name, struct inode *inode)
{
    bool further = load_relaxed(&inode->nlink) > 0;
    int err = further ? super_inode_room(dir->sb) : 0;
    err = err ? err : ramdir_add(dir, name, inode_get(inode));
    if (!err) {
        fetch_add_relaxed(&dir->sb->nr_links, further);
        fetch_add_relaxed(&inode->nlink, 1);
        inode->linkable = false; // the first name it has decides from here on
        store_relaxed(&inode->ctime_ns, load_relaxed(&dir->mtime_ns));
    }
    return err;
}

// The name is gone: one link less, a directory none at all.
static void inode_unlinked(struct inode *dir, struct inode *inode)
{
    if (S_ISDIR(inode->mode)) {
        store_relaxed(&inode->nlink, 0);
        fetch_add_relaxed(&dir->nlink, (unsigned)-1);
    } else {
        unsigned others = fetch_add_relaxed(&inode->nlink, (unsigned)-1) - 1;
        fetch_add_relaxed(&dir->sb->nr_links, others ? -1ul : 0);
    }
    store_relaxed(&inode->ctime_ns, load_relaxed(&dir->mtime_ns));
    inode_put(inode);
}

static int ramdir_unlink(struct inode *dir, const char *name, struct inode *inode)
{
    entry_remove(dir, entry_find(dir->private, name));
    inode_unlinked(dir, inode);
    return 0;
}

// A directory's own idea of where it is. copy: the name, allocated, taken over.
static void dir_moved(struct inode *i, struct inode *from, struct inode *to, char *copy)
{
    struct inode *old = i->parent;
    kfree(i->name);
    i->name = copy;
    i->parent = inode_get(to);
    fetch_add_relaxed(&from->nlink, (unsigned)-1);
    fetch_add_relaxed(&to->nlink, 1);
    inode_put(old);
}

static int name_copy(const struct inode *i, const char *name, char **out)
{
    size_t n = strlen(name) + 1;
    *out = S_ISDIR(i->mode) ? kmalloc(n, GFP_KERNEL) : NULL;
    if (*out) {
        memcpy(*out, name, n);
    }
    return S_ISDIR(i->mode) && !*out ? -ENOMEM : 0;
}

static int ramdir_rename(struct inode *dir, const char *name, struct inode *inode,
                         struct inode *dir2, const char *name2, struct inode *victim, bool whiteout)
{
    struct entry *e = entry_new(name2), *old;
    struct inode *white = NULL;
    char *copy;
    int err = name_copy(inode, name2, &copy);
    if (!err && whiteout) {
        err = super_inode_room(dir->sb);
        white = err ? NULL : inode_new(dir->sb, S_IFCHR); // device 0: no driver's
    }
    if (!err && (!e || (whiteout && !white))) {
        err = -ENOMEM;
    }
    if (!err && load_relaxed(&dir2->nlink) == 0) {
        err = -ENOENT;
    }
    if (err) {
        inode_put(white);
        kfree(e);
        kfree(copy);
        return err;
    }
    if (white) {
        inode_set_owner(white, dir);
    }
    if (victim) {
        ramdir_unlink(dir2, name2, victim);
    }
    old = entry_find(dir->private, name);
    if (white) {
        old->inode = white;
        inode_touch(dir);
    } else {
        entry_remove(dir, old);
    }
    entry_insert(dir2, e, inode); // takes the old entry's reference
    if (copy) {
        dir_moved(inode, dir, dir2, copy);
    }
    store_relaxed(&inode->ctime_ns, load_relaxed(&dir2->mtime_ns));
    return 0;
}

// The entries stay, what they stand for changes places.
static int ramdir_exchange(struct inode *dir, const char *name, struct inode *inode,
                           struct inode *dir2, const char *name2, struct inode *inode2)
{
    char *copy, *copy2 = NULL;
    int err = name_copy(inode, name2, &copy);
    if (!err) {
        err = name_copy(inode2, name, &copy2);
    }
    if (err) {
        kfree(copy);
        return err;
    }
    entry_find(dir->private, name)->inode = inode2;
    entry_find(dir2->private, name2)->inode = inode;
    ramdir_flag_child(dir, inode2);
    ramdir_flag_child(dir2, inode);
    if (copy) {
        dir_moved(inode, dir, dir2, copy);
    }
    if (copy2) {
        dir_moved(inode2, dir2, dir, copy2);
    }
    inode_touch(dir);
    inode_touch(dir2);
    store_relaxed(&inode->ctime_ns, load_relaxed(&dir2->mtime_ns));
    store_relaxed(&inode2->ctime_ns, load_relaxed(&dir2->mtime_ns));
    return 0;
}

static bool ramdir_is_empty(struct inode *dir)
{
    struct ramdir *d = dir->private;
    return d->nr == 0;
}

void ramdir_readdir(struct inode *dir, u64 *pos, struct dirent_sink *sink)
{
    struct entry *e = entry_from(dir->private, *pos);
    for (; e; e = e->next[0]) {
        if (!dirent_emit(sink, entry_name(e), e->inode->ino, e->inode->mode, e->cookie + 1)) {
            return;
        }
        *pos = e->cookie + 1;
    }
}

void ramdir_evict(struct inode *dir)
{
    // A directory goes only when it was removed, empty, or never got a name.
    struct ramdir *d = dir->private;
    if (d) {
        ramdir_index_free(d);
        kfree(d);
    }
}

void ramdir_flag_children(struct inode *dir)
{
    struct ramdir *d = dir->private;
    struct entry *e;
    if (is_ramdir(dir)) {
        ramdir_for_each (e, d) {
            atomic_fetch_or(&e->inode->notify, NOTIFY_CHILD);
            cond_resched();
        }
    }
}

bool ramdir_name_of(struct inode *dir, const struct inode *inode, char *name)
{
    struct ramdir *d = dir->private;
    struct entry *e;
    if (is_ramdir(dir)) {
        ramdir_for_each (e, d) {
            cond_resched();
            if (e->inode == inode) {
                strlcpy(name, entry_name(e), NAME_MAX_LEN + 1);
                return true;
            }
        }
    }
    return false;
}

const struct inode_ops ramdir_ops = {
    .lookup = ramdir_lookup,
    .create = ramdir_create,
    .link = ramdir_link,
    .unlink = ramdir_unlink,
    .rename = ramdir_rename,
    .exchange = ramdir_exchange,
    .is_empty = ramdir_is_empty,
    .readdir = ramdir_readdir,
    .evict = ramdir_evict,
};

const struct inode_ops ramdir_fixed_ops = {
    .lookup = ramdir_lookup,
    .is_empty = ramdir_is_empty,
    .readdir = ramdir_readdir,
    .evict = ramdir_evict,
};

// ---- Symbolic links -----------------------------------------------------------------------------

static ssize_t symlink_readlink(struct inode *link, char *buf, size_t size)
{
    size_t n = strlen(link->private);
    if (n >= size) {
        return -ENAMETOOLONG;
    }
    memcpy(buf, link->private, n + 1);
    return (ssize_t)n;
}

static void symlink_evict(struct inode *link)
{
    kfree(link->private);
}

const struct inode_ops symlink_ops = {.readlink = symlink_readlink, .evict = symlink_evict};

struct inode *symlink_new(struct super *sb, const char *target)
{
    size_t n = strlen(target) + 1;
    char *copy = kmalloc(n, GFP_KERNEL);
    struct inode *i = copy ? inode_new(sb, S_IFLNK | 0777) : NULL;
    if (!i) {
        kfree(copy);
        return NULL;
    }
    memcpy(copy, target, n);
    i->private = copy;
    i->data = n - 1;
    i->ops = &symlink_ops;
    return i;
}
