// Files, 1: inodes and mounts.
//
// Everything here lives in memory: a directory entry holds a counted reference to its inode, so an
// inode that has a name is never looked for on a disk and there is no cache of names. That makes
// the life of an inode short to tell:
//
//     inode_new -> [named]  entries hold references; nlink counts them (a directory counts as 2+)
//               -> [orphan] unlink: nlink 0, but open files, mappings and children go on using it
//               -> [gone]   the last reference: evict, its pages, its memory
//
// A directory also holds its parent (for ".."), and the parent's entry holds the directory: a
// circle on purpose, cut by rmdir. A removed directory keeps its ancestors until it is gone itself,
// so that ".." always leads somewhere.
//
// One mutex, vfs_lock, guards all names, parents and mounts: look-ups walk under it. Rejected: a
// lock per directory with ordering for rename, and look-ups under RCU. Names are not what this
// kernel is about; opening a file is rare beside faulting on it. What is hot (fd_get, read, write,
// faults) takes no lock of this file. No user memory is touched under vfs_lock.
//
// The inode's own lock (RANK_INODE) orders what changes a file's size: write, truncate, fallocate.
//
// The last reference may be dropped with the lock of an address space held (a mapping goes away),
// so nothing on the way to "gone" takes a lock of this layer.
//
// Mounts are in fs/mount.c.

#include <k/assert.h>
#include <k/errno.h>
#include <k/string.h>
#include <sched.h>
#include <tty.h>
#include "fs_priv.h"

struct mutex vfs_lock = MUTEX_INIT(vfs_lock, RANK_VFS);
struct inode *vfs_root;

static struct kmem_cache *inode_cache;
static _Atomic u64 last_ino;

struct inode *vfs_root_get(void)
{
    return inode_get(vfs_root);
}

struct inode *inode_new(struct super *sb, u32 mode)
{
    struct inode *i = kmem_cache_alloc(inode_cache, GFP_KERNEL | GFP_ZERO);
    u64 now = wall_ns();
    if (!i) {
        return NULL;
    }
    store_relaxed(&i->ref, 1);
    store_relaxed(&i->nlink, 1);
    i->mode = mode;
    i->sb = sb;
    fetch_add_relaxed(&sb->nr_inodes, 1);
    i->ino = fetch_add_relaxed(&last_ino, 1) + 1;
    i->btime_ns = now;
    store_relaxed(&i->atime_ns, now);
    store_relaxed(&i->mtime_ns, now);
    store_relaxed(&i->ctime_ns, now);
    mutex_init(&i->lock, RANK_INODE);
    mapping_init(&i->mapping, i, NULL);
    return i;
}

// Was it the last reference?
static bool inode_unref(struct inode *i)
{
    if (unlikely(load_relaxed(&i->notify) & NOTIFY_SELF)) {
        return notify_inode_put(i);
    }
    return atomic_fetch_sub(&i->ref, 1) == 1; // all earlier uses happen before the freeing
}

void inode_put(struct inode *i)
{
    // A loop, not recursion: a removed directory may be the last to hold its parent, and so on up.
    while (i && inode_unref(i)) {
        struct inode *parent = i->parent == i ? NULL : i->parent; // a detached root's
        struct super *sb = i->sb;
        if (i->ops && i->ops->evict) {
            i->ops->evict(i);
        }
        mapping_destroy(&i->mapping);
        inode_locks_free(i);
        kfree(i->name);
        kmem_cache_free(inode_cache, i);
        atomic_fetch_sub(&sb->nr_inodes, 1); // the last thing: umount may free it now
        i = parent;
    }
}

void inode_touch(struct inode *i)
{
    u64 now = wall_ns();
    store_relaxed(&i->mtime_ns, now);
    store_relaxed(&i->ctime_ns, now);
}

bool dir_is_or_covers(const struct inode *d, const struct inode *root)
{
    if (d == root || !d->is_root) {
        return d == root;
    }
    const struct super *sb = d->sb, *below = root->sb;
    return sb->stack->covered == root ||
           (root->is_root && below->stack == sb->stack && below->level < sb->level);
}

// Length of the path up to d, root's being 0; -1: d or an ancestor was removed, or too deep.
static ssize_t dir_path_len(struct inode *d, struct inode *root)
{
    size_t len = 0;
    for (; !dir_is_or_covers(d, root) && d != vfs_root; d = d->parent) {
        if (load_relaxed(&d->nlink) == 0 || !d->name || len > (1u << 20)) {
            return -1;
        }
        len += strlen(d->name) + 1;
    }
    return (ssize_t)len;
}

// Where its path begins: at root if it is below that.
static struct inode *dir_path_root(struct inode *d, struct inode *root)
{
    while (!dir_is_or_covers(d, root) && d != vfs_root && d->parent != d) {
        d = d->parent;
    }
    return dir_is_or_covers(d, root) ? root : vfs_root;
}

int dir_path_locked(struct inode *dir, struct inode *root, char **out, bool *unreachable)
{
    struct inode *top = dir_path_root(dir, root);
    ssize_t len = dir_path_len(dir, top);
    char *path = len < 0 ? NULL : kmalloc((size_t)len + 2, GFP_KERNEL);
    if (!path) {
        return len < 0 ? -ENOENT : -ENOMEM;
    }
    if (unreachable) {
        *unreachable = top != root;
    }
    path[0] = '/';
    path[max(len, (ssize_t)1)] = '\0';
    for (char *end = path + len; !dir_is_or_covers(dir, top); dir = dir->parent) {
        size_t n = strlen(dir->name);
        end -= n + 1;
        *end = '/';
        memcpy(end + 1, dir->name, n);
    }
    *out = path;
    return 0;
}

// ---- Boot ---------------------------------------------------------------------------------------

static void boot_mount(const char *name, struct inode *root)
{
    struct inode *at = root ? ramdir_new(vfs_root->sb, 0755, false) : NULL;
    int err = at ? ramdir_add(vfs_root, name, inode_get(at)) : -ENOMEM;
    if (!err) {
        err = mount_locked(at, root);
    }
    if (err) {
        panic("cannot mount /%s: error %d", name, -err);
    }
    inode_put(at);
}

// In a folder that devfs has made.
static void pts_mount(void)
{
    struct inode *dev = NULL, *at = NULL, *root = devpts_mount();
    int err = root ? ramdir_lookup(vfs_root, "dev", &dev) : -ENOMEM;
    if (!err) {
        err = ramdir_lookup(dev->mounted, "pts", &at);
    }
    if (!err) {
        err = mount_locked(at, root);
    }
    if (err) {
        panic("cannot mount /dev/pts: error %d", -err);
    }
    inode_put(at);
    inode_put(dev);
}

void vfs_init(void)
{
    inode_cache = kmem_cache_create("inode", sizeof(struct inode), 0);
    vfs_file_init();
    anon_file_init();
    epoll_init();
    mutex_lock(&vfs_lock);
    vfs_root = tmpfs_mount();
    if (!vfs_root) {
        panic("no memory for the root file system");
    }
    vfs_root->is_root = true;
    vfs_root->parent = vfs_root;
    super_publish_locked(vfs_root->sb, vfs_root, NULL);
    boot_mount("dev", devfs_mount());
    pts_mount();
    boot_mount("proc", procfs_mount());
    boot_mount("sys", sysfs_mount());
    boot_mount("tmp", tmpfs_mount());
    boot_mount("slow", slowfs_mount());
    mutex_unlock(&vfs_lock);
}
